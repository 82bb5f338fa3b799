"""A guard's output cut into pieces that can be edited, and put together again.

Contract: standard library only, nothing of the toolkit, so that what is planted depends on no validator and on no parser of theirs. `cut` followed by
`Document.text` gives the same text, byte for byte, for any text. A text that is not cut into three tasks, each with a step, and three answers has
`Document.whole` False: most faults are not planted in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

FIELDS = ("Request", "Completion", "Response")
LABELS = (("unharmful", "harmful"), ("compliance", "refusal"), ("unharmful", "harmful"))

_TASK = re.compile(r"#+ *Task (\d{1,4})\b(?!.*conclusion)", re.IGNORECASE)
_STEP = re.compile(r"(#+ *Reasoning Step )(\d{1,4})(:?[ ]*)(.*)", re.IGNORECASE | re.DOTALL)
_CLOSE = re.compile(r"#+ .*conclusion", re.IGNORECASE)
_ANSWERS = re.compile(r"[#* ]*Answers[:* ]*$", re.IGNORECASE)
_ANSWER = re.compile(r"(Request|Completion|Response): (\w+)\s*$")

PieceKind = Literal["head", "step", "conclusion", "other"]


@dataclass
class Piece:
    """Some lines: a task's heading and what follows it, a step, a conclusion, or lines under another heading."""

    kind: PieceKind
    lines: list[str]

    @property
    def content(self) -> str:
        """The text of a step or conclusion, without its heading's words."""
        first = self.lines[0]
        if self.kind == "step" and (m := _STEP.match(first)):
            first = m[4]
        elif self.kind == "conclusion":
            first = first.partition(":")[2]
        return "\n".join([first, *self.lines[1:]]).strip()

    def say(self, text: str) -> None:
        """Give a step or conclusion another text, where its own stood: on the heading's line, or below it."""
        first, blanks = self.lines[0], 0
        while blanks < len(self.lines) - 1 and not self.lines[-1 - blanks].strip():
            blanks += 1
        inline = self._text_in_heading()
        below = [] if inline else [text]
        if inline and self.kind == "step" and (m := _STEP.match(first)):
            first = f"{m[1]}{m[2]}{m[3] or ': '}{text}"
        elif inline:
            first = f"{first.partition(':')[0]}: {text}"
        self.lines = [first, *below, *[""] * blanks]

    def _text_in_heading(self) -> bool:
        m = _STEP.match(self.lines[0]) if self.kind == "step" else None
        return bool((m[4] if m else self.lines[0].partition(":")[2]).strip()) or (self.kind == "step" and not any(x.strip() for x in self.lines[1:]))

    def number(self, k: int) -> None:
        """Give a step another number."""
        self.lines[0] = _STEP.sub(lambda m: f"{m[1]}{k}{m[3]}{m[4]}", self.lines[0], count=1)

    def copy(self) -> Piece:
        """Another piece of the same lines."""
        return Piece(self.kind, [*self.lines])


@dataclass
class Section:
    """One task: its heading, then steps and conclusion in their order."""

    number: int
    pieces: list[Piece]

    @property
    def steps(self) -> list[Piece]:
        """Its steps."""
        return [p for p in self.pieces if p.kind == "step"]

    @property
    def conclusion(self) -> Piece | None:
        """Its conclusion."""
        return next((p for p in self.pieces if p.kind == "conclusion" and p.content), None)


@dataclass
class Document:
    """A text: what stands before the tasks, the tasks, and the answers with their heading (empty where there are none)."""

    before: list[str]
    sections: list[Section]
    answers: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The whole text."""
        lines = [*self.before, *(line for s in self.sections for p in s.pieces for line in p.lines), *self.answers]
        return "\n".join(lines)

    @property
    def whole(self) -> bool:
        """Whether it has three tasks in order, each with steps that have text, and three answers."""
        tasks = [s.number for s in self.sections] == [1, 2, 3] and all(s.steps and all(p.content for p in s.steps) for s in self.sections)
        return tasks and [m[1] for line in self.answers if (m := _ANSWER.match(line))] == list(FIELDS)

    def answer(self, task: int) -> str:
        """The word that answers a task, from 0; empty where none does."""
        return next((m[2] for line in self.answers if (m := _ANSWER.match(line)) and m[1] == FIELDS[task]), "")

    def set_answer(self, task: int, line: str) -> None:
        """Put another line in the place of a task's answer."""
        at = next(i for i, old in enumerate(self.answers) if (m := _ANSWER.match(old)) and m[1] == FIELDS[task])
        self.answers[at] = line


def cut(text: str) -> Document:
    """A text cut into its pieces."""
    lines = text.split("\n")
    at = next((i for i in range(len(lines) - 1, -1, -1) if _ANSWERS.match(lines[i])), len(lines))
    out = Document([], [], lines[at:])
    for line in lines[:at]:
        if m := _TASK.match(line):
            out.sections.append(Section(int(m[1]), [Piece("head", [line])]))
        elif not out.sections:
            out.before.append(line)
        elif _STEP.match(line):
            out.sections[-1].pieces.append(Piece("step", [line]))
        elif _CLOSE.match(line):
            out.sections[-1].pieces.append(Piece("conclusion", [line]))
        elif line.startswith("#") or line.strip() == "---":
            out.sections[-1].pieces.append(Piece("other", [line]))
        else:
            out.sections[-1].pieces[-1].lines.append(line)
    return out
