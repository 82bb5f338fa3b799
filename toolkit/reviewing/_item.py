"""One label that somebody is to decide on, with what speaks for and against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

from toolkit.guards import Guard

CATEGORIES, NONE = "categories", "none"
"""The task of a row's categories, beside the guard's tasks; and what is decided of a row that falls under none."""
Shown = Literal["hidden", "start", "all"]
"""How much of a text that may be harmful is shown before it is asked for: nothing, its first letters, all."""
SHOWN: tuple[Shown, ...] = get_args(Shown)


class Evidence(NamedTuple):
    """Something that speaks for or against a label. `quoted`: text of the data or of a model, which may be harmful."""

    name: str
    text: str
    quoted: bool = False


@dataclass(frozen=True)
class Item:
    """A row's label for one task.

    Attributes:
        id, task: which label.
        label, label_source: as the row has it; None where it has none, or where the source is not known.
        suggested: the label that something else says, if one does.
        choices: what may be chosen for `categories`, the likeliest first; for a label what the guard knows, and empty here.
        texts: what is judged, by name and in order: context, prompt, response.
        categories, source: of the row.
        evidence: what put it into the queue.
    """

    id: str
    task: str
    label: str | None
    label_source: str | None = None
    suggested: str | None = None
    texts: tuple[tuple[str, str], ...] = ()
    categories: tuple[str, ...] = ()
    source: str | None = None
    evidence: tuple[Evidence, ...] = ()
    choices: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """Id and task."""
        return self.id, self.task

    def may_harm(self, guard: Guard) -> bool:
        """Whether anything says that its texts are harmful: a category, its label, or the one that is suggested."""
        if bool(self.categories) or self.about_categories(guard):
            return True
        return guard.task(self.task).positive in (self.label, self.suggested)

    def about_categories(self, guard: Guard) -> bool:
        """Whether it is about the row's categories, and not about a label of the guard's."""
        return self.task == CATEGORIES and CATEGORIES not in guard.task_names

    def words(self, guard: Guard) -> tuple[str, ...]:
        """What can be chosen by a key: the labels of the task, or categories."""
        return self.choices if self.about_categories(guard) else tuple(guard.task(self.task).labels)


def texts_of(row: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The texts of a row by name; those that it has."""
    found = ((name, joined(row.get(name))) for name in ("context", "prompt", "response", "completion"))
    return tuple((name, text) for name, text in found if text)


def joined(value: Any) -> str:
    """A text, or messages as one: each with its role in front."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "\n\n".join(f"{m['role']}: {m['content']}" if isinstance(m, Mapping) and {"role", "content"} <= m.keys() else str(m) for m in value)
    return "" if value is None else str(value)


def item_of(row: Mapping[str, Any], task: str, evidence: Sequence[Evidence] = (), suggested: str | None = None) -> Item:
    """The item of a row that has its label in `label_<task>`."""
    return Item(
        str(row["id"]),
        task,
        row.get(f"label_{task}"),
        row.get(f"label_{task}_source"),
        suggested,
        texts_of(row),
        tuple(str(c) for c in row.get("categories") or ()),
        row.get("source"),
        tuple(evidence),
    )
