"""What one draw of a guard says of one row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from toolkit.common.shown import Sheet, Shown


@dataclass(frozen=True, repr=False)
class Verdict(Shown):
    """One verdict. For each task exactly one of `labels` and `unread` is None.

    Attributes:
        id: of the row.
        guard: name of the guard that was asked.
        draw: number of the draw, from 0.
        labels: by task, the label that was read.
        unread: by task, why none could be read; where the generation failed, the class of the failure.
        gold: by task, the row's own label; None where it has none.
        output: what the guard wrote; None where the generation failed. Of several calls a JSON object of those that were answered.
        finish: why the generation ended.
        error: class of the failure, where it failed.
        detail: what exactly went wrong.
        model_id: content hash of a local model, name of a remote one.
        key: journal key of the generation; of several calls those of all, with spaces between them.
        tokens: that the guard wrote, where known; of several calls together.
        seconds: that it took, where known; likewise.
        probabilities: by task, of each of its labels, in [0, 1] and together 1; a task of which they are not known is not there.
        categories: of harm that the guard names, in its own words.
    """

    id: str
    guard: str
    draw: int
    labels: Mapping[str, str | None]
    unread: Mapping[str, str | None]
    gold: Mapping[str, str | None]
    output: str | None = None
    finish: str | None = None
    error: str | None = None
    detail: str | None = None
    model_id: str | None = None
    key: str | None = None
    tokens: int | None = None
    seconds: float | None = None
    probabilities: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    categories: tuple[str, ...] = ()

    def _sheet(self) -> Sheet:
        rows = [[task, label or f"({self.unread[task]})", self.gold.get(task) or ""] for task, label in self.labels.items()]
        notes = [f"failed: {self.error}"] if self.error is not None else []
        return Sheet(f"{self.guard} on {self.id}, draw {self.draw}", ("task", "verdict", "label"), rows, notes)

    @property
    def read(self) -> bool:
        """Whether any label was read."""
        return any(label is not None for label in self.labels.values())
