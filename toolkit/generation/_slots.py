"""What the engine holds of a row and of a key until they are answered."""

from __future__ import annotations

from dataclasses import dataclass

from toolkit.generation._request import Completion, Request


@dataclass(slots=True)
class Slot:
    """One row's place in the order."""

    index: int
    request: Request
    trail: tuple[Completion, ...] = ()
    completion: Completion | None = None
    spilled: int = -1
    """Where it is in the spill."""

    @property
    def ready(self) -> bool:
        return self.completion is not None or self.spilled >= 0


@dataclass(slots=True)
class Asked:
    """A key on its way: with a backend, or arrived and not yet in the journal."""

    slots: list[Slot]
    """Who waits for it; once it has arrived, those whose last word it is."""
    row: str
    """Under whose name it will be in the journal."""
    completion: Completion | None = None
