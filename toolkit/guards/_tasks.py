"""The tasks of a guard, and how many steps it reasons in."""

from __future__ import annotations

import re
from typing import Literal, get_args

from pydantic import Field, ValidationInfo, field_validator, model_validator

from toolkit.common.facets import Part
from toolkit.common.yamlfile import FaultAt

About = Literal["prompt", "refusal", "response"]

_WORD = re.compile(r"[^\W_](?:[^\r\n]*[^\W_])?")


def one_word(value: str) -> str:
    if not _WORD.fullmatch(value):
        raise ValueError("it must begin and end with a letter or a digit, in one line")
    return value


class Task(Part):
    """One question that the guard answers."""

    later = frozenset({"about", "ordinal", "readings", "words"})

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    """Names the columns ``label_<name>``."""
    question: str = ""
    """For the teacher: "is the request harmful or unharmful"."""
    subject: str = ""
    """What is judged, as a sentence begins: "The human user's request"."""
    field: str = ""
    """Name of the answer in the answers block."""
    labels: list[str] = Field(min_length=2)
    """The label words, from least to most severe where they are ordinal. In a file also the categories of a taxonomy: see `TaxonomyLabels`."""
    positive: str
    """The label that F1 counts."""
    applies: Literal["always", "response"] = "always"
    """``response``: only where the row has a response."""
    ordinal: bool = False
    """Whether the labels are on a scale, the positive one at its end: then `evaluate` also says how far verdicts are from labels."""
    about: About | None = None
    """What the positive label says: that the prompt asks for harm, that the response refuses, or that the response does harm. Default: the task's
    name where it is one of these words. Operators that make seeds, texts or labels go by it (`Task.says`), whatever the task is called."""
    missing: Literal["absent", "not_applicable", "to_infer"] = "absent"
    """What a null label means where a source does not say."""
    readings: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Ways to take its labels for fewer, by a name of the guard's own choice, each as {label: the one that it stands for}:
    ``{strict: {controversial: unsafe}, loose: {controversial: safe}}``. Labels that a reading does not name stay as they are."""

    words: dict[str, str] = Field(default_factory=dict)
    """How a guard that guardkit trains writes labels, where that differs from how they are called everywhere else: ``{unharmful: safe}``."""

    @field_validator("field")
    @classmethod
    def _field_is_a_word(cls, value: str) -> str:
        return one_word(value)

    @field_validator("labels")
    @classmethod
    def _labels_differ(cls, value: list[str]) -> list[str]:
        seen: dict[str, str] = {}
        for i, label in enumerate(value):
            try:
                one_word(label)
            except ValueError as e:
                raise FaultAt(f"not a label, {e}: {label!r}", i) from None
            if label.casefold() in seen:
                raise FaultAt(f"the labels {seen[label.casefold()]!r} and {label!r} are the same but for case", i)
            seen[label.casefold()] = label
        return value

    @field_validator("positive")
    @classmethod
    def _positive_is_a_label(cls, value: str, info: ValidationInfo) -> str:
        labels = info.data.get("labels")  # absent where the labels themselves have a fault
        if labels is not None and value not in labels:
            raise ValueError(f"positive is none of the labels {', '.join(labels)}")
        return value

    @model_validator(mode="after")
    def _readings_lead_to_labels(self) -> Task:
        for name, stands_for in self.readings.items():
            for label, other in stands_for.items():
                if word := next((w for w in (label, other) if w not in self.labels), None):
                    raise FaultAt(f"{word!r} is none of the labels {', '.join(self.labels)}", "readings", name, label)
                if other in stands_for or label == self.positive:
                    why = f"{other!r} stands for another itself" if other in stands_for else "F1 counts it: let others stand for it"
                    raise FaultAt(f"{label!r} cannot stand for {other!r}: {why}", "readings", name, label)
        return self

    @model_validator(mode="after")
    def _positive_ends_the_scale(self) -> Task:
        if self.ordinal and self.positive != self.labels[-1]:
            raise FaultAt(f"the labels are from least to most severe, and the positive one, {self.positive!r}, is not the last", "labels")
        return self

    @model_validator(mode="after")
    def _words_differ(self) -> Task:
        for label, word in self.words.items():
            if label not in self.labels:
                raise FaultAt(f"{label!r} is none of the labels {', '.join(self.labels)}", "words", label)
            if not _WORD.fullmatch(word):
                raise FaultAt("it must begin and end with a letter or a digit, in one line", "words", label)
            if other := next((one for one in self.labels if one != label and self.word(one).casefold() == word.casefold()), None):
                raise FaultAt(f"{label!r} and {other!r} would be written alike", "words", label)
        return self

    @property
    def says(self) -> str | None:
        """``about``, or the name where that is one of its words; None where neither says.

        Example:
            >>> Task(name="unsafe", about="prompt", labels=["no", "yes"], positive="yes").says
            'prompt'
        """
        return self.about or (self.name if self.name in get_args(About) else None)

    def word(self, label: str) -> str:
        """How a label is written."""
        return self.words.get(label, label)

    @property
    def written(self) -> list[str]:
        """How its labels are written, in their order."""
        return [self.word(label) for label in self.labels]

    def read_as(self, label: str | None, reading: str) -> str | None:
        """The label that one stands for in a reading; itself where the task has no such reading or the reading does not name it."""
        return self.readings.get(reading, {}).get(label, label) if label is not None else None


class Steps(Part):
    """Bounds on the reasoning steps of one task (paper, section 3.2: 1 to 10)."""

    min: int = Field(1, ge=0)
    max: int = Field(10, ge=1)

    @field_validator("max")
    @classmethod
    def _in_order(cls, value: int, info: ValidationInfo) -> int:
        if value < info.data.get("min", 0):
            raise ValueError("max is below min")
        return value
