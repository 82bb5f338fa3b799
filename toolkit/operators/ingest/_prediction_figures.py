"""What `load_predictions` shows of a finished step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from toolkit.operators.figures import Cell, Figure, Finished, Table, some


def _guards(step: Finished) -> dict[str, dict[str, Any]] | None:
    stats = step.stats
    draws, fewer, gaps = (stats.get(name) or {} for name in ("draws", "fewer_draws", "gaps"))
    return {
        name: {
            "rows": stats["rows"] - lacks,
            "without": lacks,
            "draws": draws.get(name, 1),
            "fewer_draws": fewer.get(name, 0),
            "gaps": gaps.get(name, []),
        }
        for name, lacks in stats["missing"].items()
    }


def _shown(step: Finished, figure: Figure, value: Mapping[str, Mapping[str, Any]]) -> Iterator[Table | str]:
    numbers = ("rows", "rows without output", "draws", "rows with fewer draws")
    rows: list[list[Cell]] = [[name, n["rows"], n["without"], n["draws"], n["fewer_draws"]] for name, n in value.items()]
    yield Table(f"Outputs of each guard, on {step.stats['rows']:,} rows ({step.step})", ("guard",), numbers, rows)
    for name, n in value.items():
        if n["gaps"]:
            yield f"Draws that no row of {name} has ({step.step}): {', '.join(map(str, n['gaps'][:20]))}{' …' if len(n['gaps']) > 20 else ''}"
    for words in step.stats.get("equal_files", ()):
        yield f"Note ({step.step}): {words}"
    if samples := step.stats.get("samples"):
        yield f"Samples without output of any guard ({step.step}): {samples['without']:,} of {samples['rows']:,}"


def _labels(step: Finished, figure: Figure, value: Mapping[str, Mapping[str, int]]) -> Iterator[Table]:
    rows: list[list[Cell]] = [[task, label, n] for task, by in value.items() for label, n in by.items()]
    yield Table(f"Rows by label ({step.step})", ("task", "label"), ("rows",), rows, parts=True)


PREDICTED = (
    Figure("guards", "for each guard rows with and without output, its draws, and rows that have fewer", _guards, _shown),
    Figure("labels", "rows by task and label", some("labels"), _labels),
)
