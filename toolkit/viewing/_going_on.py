"""How far a run is: what its log says of each step, and whether a process is at work in it."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.common.errors import InputError, stopped_by
from toolkit.common.locks import is_alive
from toolkit.common.reading import regular, unreadable
from toolkit.pipeline import recipe_steps, step_folders

_TAIL = 4 << 20
"""Bytes of the log's end that are read."""


@dataclass
class StepState:
    """A step: not built, building, built, stopped; seconds that it took or has taken so far; what is done of how much."""

    step: str
    state: str = "not built"
    seconds: float | None = None
    done: int | None = None
    total: int | None = None
    words: str = ""


@dataclass
class RunState:
    """A run.

    Attributes:
        state: running, done, stopped (with `why`), broken off (its process is gone), or not begun.
        steps: in the order of the recipe.
        why: in words what stopped it.
        host: machine on which it was last at work.
        seen: seconds since its log was last written to.
    """

    state: str
    steps: list[StepState]
    why: str = ""
    host: str = ""
    seen: float | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def built(self) -> int:
        """Steps that are there."""
        return sum(s.state == "built" for s in self.steps)


def run_state_now(run: Path) -> RunState:
    """How far a run is.

    Raises:
        InputError: its recipe, its log or a manifest cannot be read.
    """
    counted = {count["step"]: done.step for done in step_folders(run) for count in done.manifest["counts"]}
    steps = {step: StepState(step, "built" if step in counted else "not built") for step in recipe_steps(run)}
    found = RunState("not begun", list(steps.values()))
    last: dict[str, Any] = {}
    began = 0.0
    for event in _events(run / "events.jsonl"):
        last = event
        step = steps.get(str(event.get("step")))
        match event["event"]:
            case "started" if step is not None:
                began, step.done, step.total = event["time"], None, None
                step.state, step.seconds = "building", None
            case "progress" if step is not None:
                step.done, step.total, step.words = _number(event.get("done")), _number(event.get("total")), str(event.get("words", ""))
            case "built" if step is not None:
                step.state, step.seconds, step.done = "built" if step.step in counted else "not built", event.get("seconds"), None
    if not last:
        return found
    found.host, found.seen = str(last.get("host", "")), max(0.0, time.time() - last["time"])
    found.why = stopped_by(str(last.get("error", ""))) if last["event"] == "stopped" else ""
    here, alive = found.host == platform.node(), is_alive(last.get("pid"))
    ended = last["event"] in ("done", "stopped")
    found.state = last["event"] if ended else "running" if alive or not here else "broken off"
    if not ended and not here:
        found.notes.append(f"Its log was written on {found.host}: whether it is still at work there cannot be seen from here.")
    for one in found.steps:
        if one.state == "building":
            if found.state == "running":
                one.seconds = time.time() - began
            else:
                one.state = "built" if one.step in counted else "stopped"
    return found


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _events(path: Path) -> Iterator[dict[str, Any]]:
    """The events of the end of a log; a line that was not written to its end is left out."""
    if not path.exists():
        return
    regular(path, path)
    try:
        with path.open("rb") as f:
            f.seek(max(0, f.seek(0, os.SEEK_END) - _TAIL))
            lines = f.read().split(b"\n")
    except OSError as e:
        raise unreadable(e, path) from None
    for line in lines:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict) and isinstance(event.get("event"), str) and isinstance(event.get("time"), int | float):
            yield event


def described(run: Path) -> tuple[RunState | None, str | None]:
    """The state, or in words why it cannot be known."""
    try:
        return run_state_now(run), None
    except InputError as e:
        return None, str(e)
