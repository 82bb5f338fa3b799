"""What `item_response` shows of a finished step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from toolkit.operators.figures import Cell, Figure, Finished, Table, stat


def _abilities(step: Finished, figure: Figure, value: Mapping[str, Any] | None) -> Iterator[Table]:
    rows: list[list[Cell]] = []
    for task, found in (value or {}).items():
        for line in found["guards"]:
            ability = None if line["ability"] is None else f"{line['ability']:.2f} ± {1.96 * line['ability_se']:.2f}"
            rows.append([task, line["guard"], line["answers"], ability])
    if rows:
        yield Table(
            f"Abilities, with 95 % intervals; 0 is the difficulty of the mean row ({step.step})",
            ("task", "guard"),
            ("answers", "ability"),
            rows,
            True,
        )


def _check(step: Finished, figure: Figure, value: list[dict[str, Any]] | None) -> Iterator[Table | str]:
    rows: list[list[Cell]] = []
    for c in value or ():
        order = None if c["in_order"] is None else f"{100 * c['in_order'] / c['pairs']:.1f}"
        errors = (None if c[n] is None else f"{c[n]:.2f}" for n in ("f1_error", "f1_by_chance"))
        rows.append([c["task"], c["rows"], c["chosen"], *errors, order])
    if rows:
        title = f"Condensed benchmark: error of F1 on guards held out, in points ({step.step})"
        yield Table(title, ("task",), ("rows", "chosen", "error", "rows by chance", "pairs in order %"), rows)
    if any(c["f1_error"] is None for c in value or ()):
        yield "An error that is not stated could not be tried: that takes verdicts of three guards on rows with both labels."


def _lines(step: Finished, figure: Figure, value: list[str]) -> Iterator[str]:
    for words in value:
        yield f"{words} ({step.step})"


FITTED = (
    Figure("item_response", "abilities of guards, and how the fit went, by task", stat("item_response"), _abilities),
    Figure("condensed", "how nearly guards held out come out on the condensed benchmark as on all rows", stat("condensed"), _check),
    Figure("remarks", "what whoever reads the item response must know", stat("remarks", []), _lines),
)
