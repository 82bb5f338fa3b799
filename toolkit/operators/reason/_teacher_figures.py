"""What `synthesise` shows of a finished step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from toolkit.operators.figures import Figure, Finished


def _teachers(step: Finished) -> dict[str, Any]:
    return {n: step.stats[n] for n in ("teachers", "questions", "blind") if n in step.stats}


def _shown(step: Finished, figure: Figure, value: Mapping[str, Any]) -> Iterator[str]:
    if set(who := value.get("teachers", {})) - {"template"}:
        yield f"Answered by ({step.step}): " + ", ".join(f"{name} {n:,}" for name, n in who.items())
    if blind := value.get("blind"):
        shares = (f"{task} {100 * b['agreed'] / b['compared']:.1f} % of {b['compared']:,}" for task, b in blind.items() if b["compared"])
        yield f"Blind verdicts that agree with the label ({step.step}): " + ", ".join(shares)


SYNTHESISED = (Figure("teachers", "rows by who answered and by number of questions; by task how often a blind verdict agreed", _teachers, _shown),)
