"""What an edit that plants a fault works on: an output, its pieces and a random stream. Standard library and neighbours only."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from released_text import LABELS, Document, Piece, Section, cut


@dataclass(frozen=True)
class Row:
    """An output with what it judges. `labels` are the row's own, by task; `origin` names where it comes from, `kind` what was planted."""

    origin: str
    reasoning: str
    prompt: str
    response: str | None
    labels: tuple[str | None, str | None, str | None]
    finish: str | None = "stop"
    kind: str = ""


@dataclass(frozen=True)
class Draw:
    """What an edit may use: the row, its pieces, a random stream, and other rows to take sentences from."""

    row: Row
    doc: Document
    rng: random.Random
    others: Sequence[Row]

    def section(self) -> tuple[int, Section]:
        """One of the three sections, with its task from 0."""
        task = self.rng.randrange(3)
        return task, self.doc.sections[task]

    def judged(self) -> tuple[int, str, str] | None:
        """A task that is answered with a label: its number, its label and the other label."""
        tasks = [t for t in range(3) if self.doc.answer(t) in LABELS[t]]
        if not tasks:
            return None
        task = self.rng.choice(tasks)
        label = self.doc.answer(task)
        return task, label, LABELS[task][1 - LABELS[task].index(label)]

    def step(self) -> Piece:
        """Any step."""
        return self.rng.choice(self.section()[1].steps)

    def foreign(self) -> str:
        """A step's text of another output."""
        while True:
            doc = cut(self.rng.choice(self.others).reasoning)
            if doc.whole:
                return self.rng.choice(doc.sections[self.rng.randrange(3)].steps).content


Edit = Callable[[Draw], Row | str | None]


def done(d: Draw) -> str:
    return d.doc.text


def flip(text: str, task: int, other: str) -> str:
    """The text with every label of the task replaced by `other`."""
    return re.sub(rf"(?<!\w)(?:{'|'.join(LABELS[task])})(?!\w)", other, text, flags=re.IGNORECASE)
