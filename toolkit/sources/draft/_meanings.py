"""What the names and values of labels mean, as public sets spell them: for drafting a source, where a person reads what comes.

A *family* is a question that labels answer (is it harmful, is it a refusal); its two sides are known by words. A guard's task is of a family where
its labels are, so that another guard's words are found the same way; a task of other labels is found by those labels alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from toolkit.guards import Guard, Task

FAMILIES: Mapping[str, tuple[str, str]] = {
    "harm": (
        "harmful harm harmfulness unsafe toxic toxicity malicious bad flagged flag flags violating violation violates offensive hateful hate abusive "
        "abuse jailbreak jailbreaking attack injection dangerous inappropriate illegal unethical blocked block moderated severity risk risky nsfw",
        "unharmful harmless nonharmful safe benign nontoxic ok okay good clean neutral normal legitimate appropriate allowed allow acceptable",
    ),
    "refusal": (
        "refusal refused refuse refuses refusing declined decline declines rejection full_refusal partial_refusal abstain abstained",
        "compliance complied comply complies compliant answered accepted fulfilled full_compliance partial_compliance non_refusal",
    ),
}
"""By name the words of both sides: what a task's positive label says, and what its other one says."""
_SIDES = {
    word: (family, side) for family, sides in FAMILIES.items() for side, words in zip((True, False), sides, strict=True) for word in words.split()
}
_NOT = ("not", "non", "no", "un", "isn", "isnt", "aint")
YES, NO = frozenset(("yes", "true", "1", "y", "t", "positive", "pos")), frozenset(("no", "false", "0", "n", "f", "negative", "neg"))
PROMPT = frozenset(["prompt", "request", "user", "input", "question", "query", "human", "instruction"])
RESPONSE = frozenset(["response", "completion", "output", "answer", "assistant", "reply", "model", "bot", "generation"])


@dataclass(frozen=True)
class Named:
    """What a column's name says: the family, and what true means in it."""

    family: str
    positive: bool


def side_of(value: str) -> tuple[str, bool] | None:
    """Family and side that a value's words say; None where they say neither, or both."""
    word = re.sub(r"[^a-z0-9]+", "_", value.strip().lower()).strip("_")
    if word in _SIDES:
        return _SIDES[word]
    parts = word.split("_")
    if len(parts) > 1 and parts[0] in _NOT and "_".join(parts[1:]) in _SIDES:
        family, side = _SIDES["_".join(parts[1:])]
        return family, not side
    return None


def yes_or_no(value: Any) -> bool | None:
    """What a plain yes or no says, however it is spelled."""
    word = str(value).strip().lower().removesuffix(".0")
    return True if word in YES else False if word in NO else None


def named(words: Iterable[str]) -> Named | None:
    """What the words of a column's name say true means; None where they name no side, or two."""
    parts = list(words)
    found: set[tuple[str, bool]] = set()
    for i, word in enumerate(parts):
        pair = f"{parts[i - 1]}_{word}" if i else word
        hit = _SIDES.get(pair) or _SIDES.get(word)
        if hit is not None:
            negated = pair not in _SIDES and i > 0 and parts[i - 1] in _NOT
            found.add((hit[0], hit[1] != negated))
    return Named(*found.pop()) if len(found) == 1 else None


def labels_of(task: Task) -> dict[tuple[str, bool], str]:
    """The label of each side of the family that a task is of; empty for a task of no family."""
    found = {side: label for label in task.labels if (side := side_of(label)) is not None}
    family = {f for f, _ in found}
    return found if len(task.labels) == 2 and len(found) == 2 and len(family) == 1 else {}


def word_map(values: Iterable[Any], task: Task) -> dict[Any, str]:
    """The label for each value that is one, is spelled like one, or says its side; yes and no say none by themselves."""
    exact = {label.casefold(): label for label in task.labels}
    sides = labels_of(task)
    out = {}
    for value in values:
        if isinstance(value, str):
            label = exact.get(value.strip().casefold()) or sides.get(side_of(value) or ("", False))
            if label is not None:
                out[value] = label
    return out


def aim(words: Iterable[str], task: Task, guard: Guard, response: bool) -> tuple[int, bool]:
    """How well a column's name fits a task of its family, 0 for not at all; and whether the name says so.

    Args:
        words: of the column's name.
        task: the task.
        guard: the guard, for its other tasks.
        response: whether the rows have a response.
    """
    own = set(words)
    if task.applies == "response" and not response:
        return 0, False
    if {task.name, task.field.lower()} & own and not any({t.name, t.field.lower()} & own for t in guard.tasks if t is not task):
        return 4, True
    of_response, of_prompt = bool(own & RESPONSE) and own != {"output"}, bool(own & PROMPT)  # what a guard puts out is a label
    if of_response != of_prompt:
        return (3, True) if (task.applies == "response") == of_response else (0, False)
    asks = labels_of(task).keys() or set(task.labels)
    alike = [t for t in guard.tasks if (labels_of(t).keys() or set(t.labels)) == asks and (response or t.applies != "response")]
    likelier = next((t for t in alike if t.applies == ("response" if response else "always")), alike[0] if alike else task)
    return (2 if task is likelier else 1), len(alike) < 2
