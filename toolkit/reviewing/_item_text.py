"""A label that is to be decided, and the instructions, as lines of text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from toolkit.common.text import plain
from toolkit.guards import Guard, Task
from toolkit.reviewing._item import Item, Shown
from toolkit.taxonomy import Taxonomy

ADVICE = (
    "One label at a time, with what speaks against it and the texts. Text that may be harmful is hidden until you ask for it.",
    "Decide by the task's definition and the category's policy, not by what the evidence says: it is there because it doubts the label.",
    "Each decision is on the disk at once. Take a break when you need one; what is left waits.",
)
"""What each reviewer is to know, before the keys."""
START = 60
"""Letters of a text that `start` shows."""
_WIDE = 12


def item_lines(item: Item, guard: Guard, taxonomy: Taxonomy, *, shown: Shown = "hidden") -> list[str]:
    """What a reviewer sees of a label: what it is about, what speaks against it, the task's definition, the categories' policies, and the texts, as
    far as they are shown."""
    as_it_is = f"{item.label or 'none'}{f' ({item.label_source})' if item.label_source else ''}"
    lines = [f"row {item.id}{f', {item.source}' if item.source else ''}", f"task {item.task}: {question(item, guard)}", f"label: {as_it_is}"]
    if item.suggested is not None:
        lines[-1] += f"; suggested: {item.suggested}"
    shown = shown if item.may_harm(guard) else "all"
    lines += [_folded(f"{e.name}: {_text(e.text, shown) if e.quoted else e.text}") for e in item.evidence]
    lines += [_folded(line) for line in policy_lines(item, taxonomy)]
    lines += [_folded(f"{name}: {_text(text, shown)}") for name, text in item.texts]
    return lines


def question(item: Item, guard: Guard) -> str:
    """What is asked about an item."""
    if item.about_categories(guard):
        return "which categories does the row fall under (one of these by its key, any others of the taxonomy by their names, none)"
    return definition(guard.task(item.task))


def definition(task: Task) -> str:
    """What a task asks, and which words answer it."""
    return f"{task.question or task.subject or 'which label'} ({', '.join(task.labels)})"


def policy_lines(item: Item, taxonomy: Taxonomy) -> Iterator[str]:
    """The policy of each of the row's categories."""
    for name in item.categories:
        try:
            category = taxonomy.category(name)
        except KeyError:
            yield f"category {name}: not in the taxonomy {taxonomy.name!r}"
            continue
        yield f"category {name}: {category.title}. {category.policy_text()}"


def _text(text: str, shown: Shown) -> str:
    if shown == "all":
        return text
    begun = f"{text[:START]}… " if shown == "start" and len(text) > START else text if shown == "start" else ""
    if begun == text:
        return text
    return f"{begun}[{len(text) - (START if begun else 0):,} letters hidden]"


def _folded(text: str) -> str:
    return plain(text).replace("\n", "\n    ")


def instructions(guard: Guard, keys: Mapping[str, str]) -> list[str]:
    """The page for who reviews: what is asked, what decisions mean, what the keys are."""
    tasks = [f"{task.name}: {definition(task)}" for task in guard.tasks]
    width = max(map(len, keys), default=0)
    return [*ADVICE, "", *tasks, "", *(f"{key:<{width}}  {what}" for key, what in keys.items())]
