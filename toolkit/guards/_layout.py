"""The lines of a guard's answers block, and where in a text it begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from toolkit.guards._definition import Guard
from toolkit.guards._tasks import Task


@dataclass(frozen=True)
class Layout:
    """The answers block as lines without trailing spaces. `answers` has for each task what each of its lines says (None: the missing word)."""

    heading: str
    answers: tuple[dict[str, str | None], ...]
    close: str

    @property
    def size(self) -> int:
        """Lines of a whole block."""
        return bool(self.heading) + len(self.answers) + bool(self.close)

    @cached_property
    def lines(self) -> frozenset[str]:
        """The heading and every answer: such a line outside the block makes a text ambiguous."""
        return frozenset([line for lines in self.answers for line in lines] + [self.heading] * bool(self.heading))

    def start(self, lines: Sequence[str]) -> int | None:
        """Index of the first line of the last block; without a heading that is the first task's answer."""
        for i in range(len(lines) - 1, -1, -1):
            if lines[i] == self.heading if self.heading else lines[i] in self.answers[0]:
                return i
        return None

    def loose_start(self, lines: Sequence[str]) -> int | None:
        """As `start`, but the heading may be written as a Markdown heading, emphasised, or without its colon (spec A.4)."""
        exact = self.start(lines)
        if exact is not None or not self.heading:
            return exact
        bare = _bare(self.heading)
        return next((i for i in range(len(lines) - 1, -1, -1) if _bare(lines[i]) == bare), None)


def _bare(line: str) -> str:
    return line.strip("#*_: \t").casefold()


def answer_line(guard: Guard, task: Task, label: str | None) -> str:
    """The line that answers a task; None is written as the missing word."""
    return guard.output.answer_line.format(field=task.field, label=guard.output.missing_word if label is None else task.word(label))


def before_label(guard: Guard, task: Task) -> str:
    """What is before the label in a task's answer line."""
    return guard.output.answer_line.format(field=task.field, label="\0").partition("\0")[0].strip()


@lru_cache(maxsize=32)
def layout_of(guard: Guard) -> Layout:
    """The layout of a guard's answers."""
    o = guard.output
    answers = tuple({answer_line(guard, t, label).rstrip(): label for label in (*t.labels, None)} for t in guard.tasks)
    return Layout(o.answers_heading.rstrip(), answers, o.answers_close.rstrip())


@lru_cache(maxsize=8)
def split_lines(text: str) -> tuple[str, ...]:
    """Lines without trailing spaces, and without blank lines at the end. The last texts are remembered: each is read for several things in turn."""
    return tuple([line.rstrip() for line in text.rstrip().split("\n")])
