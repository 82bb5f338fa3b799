"""What operators that choose rows show of a finished step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from toolkit.operators.figures import Cell, Figure, Finished, Table, some

SHOWN = 30
"""Lines of a table for people."""


def _lines(title: str, value: list[dict[str, Any]], numbers: Mapping[str, str], more: int = 0) -> Iterator[Table | str]:
    """Lines of a manifest as a table: values in words, then the `numbers` by their headings."""
    words = [n for n in value[0] if n not in numbers]
    rows: list[list[Cell]] = [[*(_word(line[n]) for n in words), *(line[n] for n in numbers)] for line in value[:SHOWN]]
    yield Table(title, words, list(numbers.values()), rows)
    if (left := len(value) - SHOWN + more) > 0 and len(value) > SHOWN:
        yield f"{left:,} more of these: with --json"


def _word(value: Any) -> str:
    return "(none)" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _classes(step: Finished, figure: Figure, value: list[dict[str, Any]]) -> Iterator[Table | str]:
    yield from _lines(f"Rows drawn of each class ({step.step})", value, {"rows": "rows", "drawn": "drawn"}, step.stats.get("classes_not_shown", 0))


DRAWN = (Figure("classes", "rows of each class, and how many were drawn", some("classes"), _classes),)


def _capped(step: Finished, figure: Figure, value: list[dict[str, Any]]) -> Iterator[Table | str]:
    more = step.stats.get("values_over", 0) - len(value)
    yield from _lines(f"Values with more rows than they may have ({step.step})", value, {"rows": "rows", "most": "most", "kept": "kept"}, more)


def _absent(step: Finished, figure: Figure, value: list[str]) -> Iterator[str]:
    yield f"Values with a bound that no row has ({step.step}): {', '.join(value[:SHOWN])}{' …' if len(value) > SHOWN else ''}"


CAPPED = (
    Figure("over", "values with more rows than they may have, and how many were kept", some("over"), _capped),
    Figure("values_absent", "values with a bound that no row has", some("values_absent"), _absent),
)


def _parts(step: Finished, figure: Figure, value: list[dict[str, Any]]) -> Iterator[Table | str]:
    sizes = {p: sum(line["parts"][p] for line in value) for p in value[0]["parts"]}
    parts = sorted((p for p, n in sizes.items() if n), key=lambda p: -sizes[p])
    title = f"Rows of each part ({step.step})"
    if len(value) == 1:
        yield Table(title, ("part",), ("rows",), [[p, value[0]["parts"][p]] for p in parts])
    else:
        yield Table(title, ("stratum",), parts, [[line["stratum"], *(line["parts"][p] for p in parts)] for line in value[:SHOWN]])
    if len(value) > SHOWN:
        yield f"{len(value) - SHOWN:,} more of these: with --json"


PARTED = (Figure("parts", "rows of each part, by stratum where the split has strata", some("parts"), _parts),)
LEFT_OUT = (Figure("left_out", "rows left out, by what they have", some("left_out")),)


def _inputs(step: Finished) -> dict[str, dict[str, int]] | None:
    found = {n.removeprefix("rows_"): {"rows": rows} for n, rows in step.stats.items() if n.startswith("rows_")}
    return found or None


JOINED = (Figure("inputs", "rows that came from each input", _inputs),)
