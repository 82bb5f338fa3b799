"""How the answers of a guard that was trained elsewhere are read: where each stands, and which label its words mean.

The answer to a task is the first word of the text; or what is behind the last occurrence of a `field` at the beginning of a line; or in the
last element `tag`; or under `key` of the last JSON object. `words` says which label each word means; one that means no label (``N/A``) has null.
"""

from __future__ import annotations

import re

from pydantic import Field, field_validator, model_validator

from toolkit.common.facets import Part
from toolkit.common.yamlfile import FaultAt


def _phrase(value: str) -> str:
    if value != value.strip() or "\n" in value or not re.search(r"\w", value):
        raise ValueError("it must be one line of words, without spaces around it")
    return value


class _Place(Part):
    """Where something is in an answer; the text itself where nothing is named."""

    field: str = ""
    """What is before it at the beginning of a line, without the colon."""
    tag: str = ""
    """Name of the element that holds it: ``score`` for ``<score>…</score>``."""
    key: str = ""
    """Key of a JSON object."""

    @field_validator("field", "key")
    @classmethod
    def _is_a_phrase(cls, value: str) -> str:
        return _phrase(value)

    @field_validator("tag")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z][\w-]*", value):
            raise ValueError("the name of a tag alone, without its brackets")
        return value

    @model_validator(mode="after")
    def _one_place(self) -> _Place:
        if len(named := [n for n in ("field", "tag", "key") if getattr(self, n)]) > 1:
            raise FaultAt(f"it may be in one place only: {' or '.join(named)}", named[1])
        return self


class Answer(_Place):
    """How the answer to one task is read. Without `field`, `tag` and `key` it is the first word of the text."""

    task: str
    words: dict[str, str | None] = Field(min_length=1)
    """By word, in any case, the label that it means; null for none. Of the words of one label the first is the one that the guard writes."""
    scores: str = ""
    """Key of a JSON object that has the probability of the positive label: a number, or an object of numbers, of which the largest counts."""

    @field_validator("words")
    @classmethod
    def _words_differ(cls, value: dict[str, str | None]) -> dict[str, str | None]:
        seen: dict[str, str] = {}
        for word in value:
            _phrase(word)
            if (other := seen.setdefault(word.casefold(), word)) != word:
                raise FaultAt(f"the words {other!r} and {word!r} are the same but for case", word)
        return value

    @model_validator(mode="after")
    def _scores_are_json(self) -> Answer:
        if self.scores and not self.key:
            raise FaultAt("scores are in the JSON object that `key` is one of", "scores")
        return self


class Categories(_Place):
    """What of an answer names categories of harm; without a place anything behind the first word."""

    words: list[str] = Field(min_length=1)
    """The categories. Under a `key` they may be a list, a text, or an object whose values say whether each is meant."""


class Grammar(Part):
    """How a guard's answers are read."""

    harmony: bool = False
    """The model writes OpenAI's harmony format: what is not in its final channel is a draft, and is never read."""
    answers: list[Answer] = Field(min_length=1)
    """One for each task."""
    categories: Categories | None = None

    def answer(self, task: str) -> Answer:
        """The way in which the answer to a task is read."""
        return next(a for a in self.answers if a.task == task)
