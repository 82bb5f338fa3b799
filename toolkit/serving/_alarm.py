"""Which verdicts raise the alarm: labels of some tasks, and, closed, what could not be read of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolkit.common.errors import InputError, did_you_mean
from toolkit.common.several import several

if TYPE_CHECKING:
    from toolkit.guards import Guard

HARMFUL = "harmful"


@dataclass(frozen=True)
class Alarm:
    """A rule over the verdicts on one interaction; a task that does not apply to it (a response that is not there) raises none.

    Attributes:
        labels: by task, the labels that raise it; a task that is not there raises none.
        closed: whether a task of `labels` whose label could not be read raises it, too.
    """

    labels: Mapping[str, frozenset[str]]
    closed: bool = True

    @classmethod
    def of(cls, guard: Guard, words: str | Iterable[str] = HARMFUL, *, closed: bool = True) -> Alarm:
        """The rule that words say for a guard: ``TASK=LABEL``; a label, of every task that has it; ``positive``, the positive label of every task.
        ``harmful`` is that, too, for a guard none of whose labels is called so.

        Raises:
            InputError: no such task or label.
        """
        labels: dict[str, set[str]] = {}
        for word in several(words):
            for task, label in _meant(guard, word):
                labels.setdefault(task, set()).add(label)
        return cls({t: frozenset(found) for t, found in labels.items()}, closed)

    def raised(self, labels: Mapping[str, str | None], applying: Collection[str]) -> bool:
        """Whether labels by task raise it.

        Args:
            labels: None where none could be read.
            applying: the tasks that apply to the interaction.
        """
        return any((found := labels.get(t)) in some or (self.closed and found is None) for t, some in self.labels.items() if t in applying)


def _meant(guard: Guard, word: str) -> list[tuple[str, str]]:
    name, eq, label = (part.strip() for part in word.partition("="))
    if eq:
        if name not in guard.task_names:
            raise InputError(f"the guard {guard.name} has no task {name!r}", hint=did_you_mean(name, guard.task_names))
        labels = guard.task(name).labels
        return [(name, _same(label, labels, f"the task {name} has no label {label!r}"))]
    wanted = name.casefold()
    found = [(t.name, known) for t in guard.tasks for known in t.labels if known.casefold() == wanted]
    if found or wanted not in ("positive", HARMFUL):
        known = {"positive", *(label for t in guard.tasks for label in t.labels)}
        return found or [("", _same(name, known, f"the guard {guard.name} has no label {name!r}"))]
    return [(t.name, t.positive) for t in guard.tasks]


def _same(word: str, known: Collection[str], what: str) -> str:
    for label in known:
        if label.casefold() == word.casefold():
            return label
    raise InputError(what, hint=did_you_mean(word, known))
