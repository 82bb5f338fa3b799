"""The questions about seeds, for a model in the words of its prompts and for the embedded template as JSON; and what a judge's answer says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from toolkit.common.files import canonical_json
from toolkit.operators.reason._asking import closed_schema, read_object
from toolkit.operators.seeds._grid import Cell, Place, judged_tasks, rules_of
from toolkit.operators.seeds._prompts import Prompts

if TYPE_CHECKING:
    from toolkit.guards import Guard, Task
    from toolkit.taxonomy import Category

SHOWN = 3
"""Examples, and messages that are there already, which an author is shown at most."""
OTHERS = 6
"""Rules of the other side that it is shown at most."""

Messages = list[dict[str, str]]


class Questions:
    """Makes the messages of every question.

    Args:
        prompts: the words.
        guard: whose tasks a judge answers.
        plain: whether the template is asked, which takes the variables themselves.
    """

    def __init__(self, prompts: Prompts, guard: Guard, *, plain: bool) -> None:
        self._prompts, self._guard, self._plain = prompts, guard, plain

    def seed(self, category: Category, place: Place, style: str, turns: int, avoid: Sequence[str], turn: int) -> Messages:
        """A new seed. `avoid`: messages that are there already; `turn`: number of the round, by which the examples take turns."""
        label = place.cell.label
        rules = rules_of(category, label)
        rule, examples = rules[place.rule] if place.rule is not None else ("", [])
        shift = (place.n + turn) % len(examples) if examples else 0
        others = rules_of(category, "harmful" if label == "benign" else "benign") if label != "borderline" else []
        values = {
            **_about(category, place.cell),
            "label": label,
            "rule": rule,
            "examples": [*examples[shift:], *examples[:shift]][:SHOWN],
            "others": [text for text, _ in others[:OTHERS]],
            "style": style,
            "turns": turns,
            "avoid": list(avoid)[:SHOWN],
        }
        return self._asked("seed", values, cues=list(category.cues))

    def change(self, category: Category, place: Place, text: str) -> Messages:
        """A seed made out of another one's prompt."""
        rules = rules_of(category, place.cell.label)
        rule = rules[place.rule][0] if place.rule is not None else ""
        return self._asked("change", {**_about(category, place.cell), "change": place.cell.change, "rule": rule, "text": text})

    def reply(self, cell: Cell, messages: Sequence[str]) -> Messages:
        """A response of the cell's form."""
        return self._asked("reply", {"form": cell.form, "label": cell.label, "messages": list(messages), "language": _language(cell)})

    def judge(self, category: Category, messages: Sequence[str], response: str | None) -> Messages:
        """What a text is, by the definition alone."""
        tasks = self.tasks(response)
        asked: list[dict[str, Any]] = [{"name": t.name, "labels": list(t.labels), "positive": t.positive, "question": t.question} for t in tasks]
        asked = [one | ({} if t.says == t.name else {"about": t.says}) for one, t in zip(asked, tasks, strict=True)]
        values = {"title": category.title, "policy": category.policy_text(), "tasks": asked, "messages": list(messages), "response": response}
        sides = {side: [e for _, own in rules_of(category, label) for e in own] for side, label in _SIDES}  # type: ignore[arg-type]
        return self._asked("judge", values, **sides)

    def tasks(self, response: str | None) -> list[Task]:
        """The tasks that a judge answers."""
        return judged_tasks(self._guard, response=response is not None)

    def schema(self, response: str | None) -> str:
        """The ``response_format`` of a judge's answer."""
        words = {t.name: {"type": "string", "enum": list(t.labels)} for t in self.tasks(response)}
        return closed_schema("verdict", {"why": {"type": "string"}, "in_category": {"type": "string", "enum": ["yes", "no"]}, **words})

    def verdict(self, answer: str | None, response: str | None) -> dict[str, str] | None:
        """What a judge answered: why, in_category, and a label for each task; None where that cannot be read."""
        known = {"in_category": ["yes", "no"], **{t.name: list(t.labels) for t in self.tasks(response)}}
        found = read_object(answer, ["why", *known])
        if found is None or not all(isinstance(v, str) for v in found.values()):
            return None
        read = {name: found[name].strip().lower() for name in known}
        words = {name: {w.lower(): w for w in words} for name, words in known.items()}
        return {"why": found["why"], **{n: words[n][w] for n, w in read.items()}} if all(w in words[n] for n, w in read.items()) else None

    def _asked(self, what: str, values: Mapping[str, Any], **more: Any) -> Messages:
        if self._plain:
            return [{"role": "user", "content": canonical_json({"asked": what, **values, **more})}]
        return list(getattr(self._prompts, what).messages(values))


_SIDES = (("includes", "harmful"), ("excludes", "benign"))


def _about(category: Category, cell: Cell) -> dict[str, str]:
    return {"title": category.title, "definition": category.definition.strip(), "language": _language(cell)}


def _language(cell: Cell) -> str:
    return "English" if cell.language == "en" else f"that of the BCP 47 tag {cell.language}"


Disputed = Literal["set_aside", "keep"]
"""What becomes of a row that a judge contradicts; kept, it is a voter's word against the label (`blind_<task>`), which `noise` lists for `review`."""


def contradicted(verdict: Mapping[str, str], labels: Mapping[str, str | None]) -> str | None:
    """The tasks whose label a judge contradicts, with commas between; None for none."""
    return ",".join(task for task, label in labels.items() if label is not None and verdict[task] != label) or None


def disputes(verdict: Mapping[str, str], labels: Mapping[str, str | None], wanted_in: bool | None) -> list[str]:
    """Where a judge contradicts what a text was written, or labelled, to be; in words.

    Args:
        verdict: of `Questions.verdict`.
        labels: by task; None contradicts nothing.
        wanted_in: whether the text is to belong to the category; None: either will do.
    """
    found = [f"{task} is {label}, the judge says {verdict[task]}" for task, label in labels.items() if label is not None and verdict[task] != label]
    if wanted_in is not None and (verdict["in_category"] == "yes") != wanted_in:
        found.append(f"it is {'in' if wanted_in else 'out of'} the category, the judge says {'out' if wanted_in else 'in'}")
    return found
