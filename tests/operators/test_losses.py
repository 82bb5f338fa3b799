"""The report on the steps before one to which no row came."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from toolkit.operators._losses import losses


@dataclass
class Before:
    """As much of a context as is asked for."""

    steps: list[dict[str, Any]] = field(default_factory=list)

    def history(self) -> dict[str, Any]:
        return {"steps": self.steps}


def step(name: str, came: int, kept: int) -> dict[str, Any]:
    return {"step": name, "in": came, "kept": kept, "merged": 0, "rejected": {}, "set_aside": {"why": came - kept} if came > kept else {}}


def test_the_step_that_kept_none_is_named_whatever_others_lost() -> None:
    side = [step(f"side-{n}", 9000, 100 + n) for n in range(4)]
    found = losses(Before([step("all", 9, 9), *side, step("hard", 100, 0)]))  # type: ignore[arg-type]
    assert found.count("; ") == 3 and found.endswith("of 100 rows hard set aside 100 (why 100); 2 more steps lost some")
    assert losses(Before([step("all", 9, 9)])) == ""  # type: ignore[arg-type]
