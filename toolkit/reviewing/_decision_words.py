"""What a reviewer's words come to: a label of the task, names of categories, ``drop`` or ``unsure``."""

from __future__ import annotations

from toolkit.common.errors import InputError, did_you_mean
from toolkit.reviewing._item import NONE, Item
from toolkit.reviewing._queue import Queue

ALWAYS = ("drop", "unsure")
"""Decisions that any task has, beside its labels."""


def decision_word(queue: Queue, item: Item, decision: str) -> str:
    """What a decision about a label of a queue comes to.

    Args:
        queue: whose guard and taxonomy know the words.
        item: what is decided on.
        decision: a label of the task, ``keep``, ``flip``, ``drop`` or ``unsure``; of categories their names, ``none`` or these.

    Raises:
        InputError: none of them, or nothing to keep or flip.
    """
    if item.about_categories(queue.guard):
        return _categories(queue, item, decision)
    labels = queue.guard.task(item.task).labels
    known = {w.casefold(): w for w in (*labels, "keep", "flip", *ALWAYS)}
    word = known.get(decision.strip().casefold())
    if word is None:
        raise InputError(f"unknown decision {decision[:60]!r}", hint=did_you_mean(decision, known.values()))
    if word not in ("keep", "flip"):
        return word
    if item.label is None:
        raise InputError(f"{word}, but there is no label", hint=f"say which: {', '.join(labels)}")
    if word == "keep":
        return item.label
    if len(labels) != 2:
        raise InputError(f"flip, but the task {item.task!r} has {len(labels)} labels", hint=f"say which: {', '.join(labels)}")
    return next(w for w in labels if w != item.label)


def _categories(queue: Queue, item: Item, decision: str) -> str:
    """Names in order, ``none``, ``drop`` or ``unsure``."""
    words = decision.replace(",", " ").split()
    if len(words) == 1 and (word := words[0].casefold()) in ("keep", NONE, *ALWAYS):
        return word if word != "keep" else item.label or NONE
    scheme = queue.taxonomy.scheme(queue.taxonomy.name)
    strange = next((w for w in words if scheme.get(w) is None and w not in item.choices), "" if not words else None)
    if strange is not None:
        raise InputError(f"unknown decision {decision[:60]!r}", hint=did_you_mean(strange, [*scheme, "keep", NONE, *ALWAYS]))
    return " ".join(sorted({scheme.get(w) or w for w in words if w != NONE})) or NONE
