"""The reasoning in a step's rows, as a figure: shared by the operators whose rows are what a run has of it."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.operators.figures import Figure, Finished, nothing


def _steps(step: Finished) -> int | None:
    if "steps" not in step.columns:
        return None
    return sum(int(b["steps"].fill_null(0).sum()) for b in step.blocks(["steps"]))


def _shown(step: Finished, figure: Figure, value: int) -> Iterator[str]:
    yield f"Reasoning steps: {value:,} in {step.rows:,} rows" + (f", {value / step.rows:.2f} a row" if step.rows else "")


REASONED = (
    Figure("reasoned_rows", "rows with reasoning", lambda step: step.rows if "steps" in step.columns else None, nothing, whole="first"),
    Figure("reasoning_steps", "steps of the reasoning in them", _steps, _shown, whole="first"),
)
