"""The format in which a guard that guardkit trains writes: reasoning, then answers."""

from __future__ import annotations

from collections.abc import Collection
from string import Formatter
from typing import Any

from pydantic import Field, field_validator, model_validator

from toolkit.common.errors import did_you_mean
from toolkit.common.facets import Part
from toolkit.common.yamlfile import FaultAt
from toolkit.guards._tasks import one_word


def _placeholders(value: str, known: Collection[str], needed: Collection[str]) -> str:
    """`value` if its ``{…}`` are those of `known`, each at most once, and all of `needed`."""
    found = []
    for _, name, spec, conversion in Formatter().parse(value):
        if name is None:
            continue
        if name not in known or spec or conversion:
            raise ValueError(f"unknown placeholder {{{name}}}: {did_you_mean(name, known)}" if known else "no placeholder is known here")
        found.append(name)
    for name in known:
        if found.count(name) > 1 or (name in needed and name not in found):
            raise ValueError(f"it must hold {{{name}}} once")
    return value


class DataField(Part):
    """A text that a guard writes beside its labels: a harmless version of a request, say. It is data: nothing in it is read as an answer."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    open: str = Field(min_length=3)
    """In a line before it: ``<rewrite>``."""
    close: str = Field(min_length=3)
    """In a line after it."""

    @model_validator(mode="after")
    def _marks(self) -> DataField:
        for name in ("open", "close"):
            if getattr(self, name) != getattr(self, name).strip() or "\n" in getattr(self, name):
                raise FaultAt("a mark is in one line, without white space at its ends", name)
        if self.open in self.close or self.close in self.open:
            raise FaultAt("one of the marks is within the other", "close")
        return self


class Output(Part):
    """How the guard writes: optional `open`; for each task its heading, steps and conclusion; optional `close` and `separator`; the answers.

    ``{n}`` is the task's number, ``{k}`` the step's, both from 1. Each is one line.
    """

    later = frozenset({"data"})

    open: str = ""
    """Written before the reasoning: ``<think>``, say."""
    close: str = ""
    """Written after the reasoning."""
    task_heading: str = "# Task {n}"
    """Empty for none, where there is one task."""
    step_heading: str = "## Reasoning Step {k}"
    """Empty for none: a paragraph is a step."""
    conclusion_heading: str = "## Conclusion"
    """Empty for none: then no conclusion is written."""
    separator: str = ""
    """A line between reasoning and answers."""
    answers_heading: str = "Answers: "
    """First line of the answers block; empty for none."""
    answer_line: str = "{field}: {label}"
    """One line a task. For a boxed answer: ``\\boxed{{{label}}}``."""
    answers_close: str = ""
    """Last line of the answers block; empty for none."""
    missing_word: str = "None"
    """Written for a label that is missing; never itself a label."""

    data: list[DataField] = []
    """Texts that are written after the answers, each between its marks, where there is one."""

    @field_validator("*")
    @classmethod
    def _one_line(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value and not value.strip():
            raise ValueError("blank: leave it empty for none")
        if "\n" in value or "\r" in value:
            raise ValueError("it must be one line")
        return value

    @field_validator("task_heading")
    @classmethod
    def _has_task_number(cls, value: str) -> str:
        return _placeholders(value, ("n",), ("n",)) if value else value

    @field_validator("step_heading")
    @classmethod
    def _has_step_number(cls, value: str) -> str:
        return _placeholders(value, ("k",), ("k",)) if value else value

    @field_validator("answer_line")
    @classmethod
    def _has_label(cls, value: str) -> str:
        return _placeholders(value, ("field", "label"), ("label",))

    @field_validator("missing_word")
    @classmethod
    def _missing_is_a_word(cls, value: str) -> str:
        return one_word(value)
