"""The guard definition: pydantic models of ``schemas/guards/<name>.yaml``.

What a definition says is checked when it is read, with file, line and key: templates, placeholders, names that would make two columns or
two answers the same. A definition that loads can be rendered and parsed.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from string import Formatter
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from toolkit.common.errors import did_you_mean
from toolkit.common.facets import Faceted, Part
from toolkit.common.files import digest
from toolkit.common.paths import Beside
from toolkit.common.resources import find
from toolkit.common.yamlfile import FaultAt, load_yaml
from toolkit.guards._templates import check_template
from toolkit.records import KINDS

_WORD = re.compile(r"[^\W_](?:[^\r\n]*[^\W_])?")


def _word(value: str) -> str:
    if not _WORD.fullmatch(value):
        raise ValueError("it must begin and end with a letter or a digit, in one line")
    return value


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


class Task(Part):
    """One question that the guard answers."""

    later = frozenset({"readings"})

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    """Names the columns ``label_<name>``."""
    question: str
    """For the teacher: "is the request harmful or unharmful"."""
    subject: str
    """What is judged, as a sentence begins: "The human user's request"."""
    field: str
    """Name of the answer in the answers block."""
    labels: list[str] = Field(min_length=2)
    """The label words, from least to most severe where they are ordinal."""
    positive: str
    """The label that F1 counts."""
    applies: Literal["always", "response"] = "always"
    """``response``: only where the row has a response."""
    missing: Literal["absent", "not_applicable", "to_infer"] = "absent"
    """What a null label means where a source does not say."""
    readings: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Ways to take its labels for fewer, by a name of the guard's own choice, each as {label: the one that it stands for}:
    ``{strict: {controversial: unsafe}, loose: {controversial: safe}}``. Labels that a reading does not name stay as they are."""

    @field_validator("field")
    @classmethod
    def _field_is_a_word(cls, value: str) -> str:
        return _word(value)

    @field_validator("labels")
    @classmethod
    def _labels_differ(cls, value: list[str]) -> list[str]:
        seen: dict[str, str] = {}
        for i, label in enumerate(value):
            try:
                _word(label)
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


class Output(Part):
    """How the guard writes: optional `open`; for each task its heading, steps and conclusion; optional `close` and `separator`; the answers.

    ``{n}`` is the task's number, ``{k}`` the step's, both from 1. Each is one line.
    """

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

    @field_validator("*")
    @classmethod
    def _one_line(cls, value: str) -> str:
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
        return _word(value)


_BLIND = ("tasks", "steps", "missing_word", "exchange", "structured")
"""Variables of every teacher's prompt. None of them depends on a label of the row."""

_FEEDBACK = """\
Your answer cannot be used:
{% for reason in reasons -%}
- {{ reason }}
{% endfor -%}
Write the whole answer again, in the form asked for and without these faults.
"""


class Blind(Part):
    """Prompt templates for a teacher that is to judge by itself (sandboxed Jinja). Variables: tasks, steps, missing_word, exchange, structured."""

    system: str
    user: str

    @field_validator("system", "user")
    @classmethod
    def _renders(cls, value: str, info: ValidationInfo) -> str:
        check_template(value, _BLIND, ("exchange",) if info.field_name == "user" else ())
        return value


class Teacher(Part):
    """Prompt templates for the teacher (sandboxed Jinja). Variables: tasks, steps, missing_word, infer, exchange, answers, structured."""

    system: str
    user: str
    """The interaction, and the row's labels."""
    blind: Blind | None = None
    """The same without the labels; none: this teacher cannot be asked blind."""
    feedback: str = _FEEDBACK
    """Said after an answer that is not taken. Variable: reasons, a list of sentences."""

    @field_validator("system", "user")
    @classmethod
    def _renders(cls, value: str, info: ValidationInfo) -> str:
        check_template(value, (*_BLIND, "infer", "answers"), ("exchange",) if info.field_name == "user" else ())
        return value

    @field_validator("feedback")
    @classmethod
    def _tells_why(cls, value: str) -> str:
        check_template(value, ("reasons",), ("reasons",))
        return value


class Prompt(Teacher):
    """A teacher's prompt in a file of its own, ``schemas/prompts/<name>.yaml``: stands in for a guard's `teacher`."""

    name: str = Field(min_length=1)
    version: int
    description: str = ""

    @cached_property
    def fingerprint(self) -> str:
        """Digest of what shapes a request."""
        return digest(self.model_dump(exclude={"name", "version", "description"}))


class Guard(Faceted):
    """A guard definition. Equal definitions are equal and hash alike.

    `facets` are the parts by which a step counts a guard: a step that does not ask the teacher is not built anew for a word that the teacher is told.
    """

    facets = {
        "name": ("name",),
        "version": ("version",),
        "tasks": ("tasks.name", "tasks.labels", "tasks.positive", "tasks.applies", "tasks.missing"),
        "readings": ("tasks.readings",),
        "questions": ("tasks.question", "tasks.subject"),
        "steps": ("steps",),
        "input": ("instruction", "input", "context", "inputs"),
        "output": ("output", "tasks.field"),
        "system": ("teacher.system",),
        "user": ("teacher.user",),
        "blind": ("teacher.blind",),
        "feedback": ("teacher.feedback",),
    }
    always = "name"
    later = frozenset({"inputs"})

    name: str = Field(min_length=1)
    version: int
    description: str
    tasks: list[Task] = Field(min_length=1)
    steps: Steps = Steps()
    instruction: str
    """Put before every input, a newline after it; an interface of the trained model. Empty for none."""
    input: str
    """Template of the interaction (Jinja). Variables: prompt, response (None where there is none)."""
    context: str = "{% for m in context %}{{ m.role }}: {{ m.content }}\n{% endfor %}\n"
    """Template of earlier messages, put before the input. Variable: context, a list of {role, content}."""
    inputs: list[Literal["prompt", "response", "image", "video", "audio"]] = ["prompt", "response"]
    """What it judges. A row with media of a kind that is not named here is refused, not judged by its text; without `response` every row is judged
    by its prompt. Media stand before the text, in the row's order."""
    output: Output = Output()
    teacher: Teacher

    @field_validator("context")
    @classmethod
    def _context_renders(cls, value: str) -> str:
        check_template(value, ("context",), ("context",))
        return value

    @model_validator(mode="after")
    def _input_renders(self) -> Guard:
        needed = ("prompt", "response") if any(t.applies == "response" for t in self.tasks) else ("prompt",)
        if missing := next((name for name in needed if name not in self.inputs), None):
            raise FaultAt(f"{missing!r} is not among them, and a task is about it", "inputs")
        if twice := next((name for name in self.inputs if self.inputs.count(name) > 1), None):
            raise FaultAt(f"{twice!r} is named twice", "inputs")
        try:
            check_template(self.input, [name for name in ("prompt", "response") if name in self.inputs], needed)
        except ValueError as e:
            raise FaultAt(str(e), "input") from None
        return self

    @model_validator(mode="after")
    def _tasks_differ(self) -> Guard:
        for i, task in enumerate(self.tasks):
            for j, other in enumerate(self.tasks):
                if i > j and task.name == other.name:
                    raise FaultAt(f"two tasks are called {task.name!r}", "tasks", i, "name")
                if i != j and task.name == f"{other.name}_source":
                    raise FaultAt(f"the task {other.name!r} has a column of that name for the source of its label", "tasks", i, "name")
                if i != j and re.search(rf"(?<!\w){re.escape(task.field)}$", other.field, re.IGNORECASE):
                    raise FaultAt(f"the field {other.field!r} ends in {task.field!r}: the answers could not be told apart", "tasks", i, "field")
        return self

    @model_validator(mode="after")
    def _output_tells_apart(self) -> Guard:
        if len(self.tasks) > 1 and not self.output.task_heading:
            raise FaultAt("a guard with several tasks needs task headings", "output", "task_heading")
        if len(self.tasks) > 1 and "{field}" not in self.output.answer_line:
            raise FaultAt("a guard with several tasks needs {field} in its answer line", "output", "answer_line")
        if self.output.missing_word.casefold() in {w.casefold() for t in self.tasks for w in t.labels}:
            raise FaultAt(f"missing_word {self.output.missing_word!r} is also a label", "output", "missing_word")
        return self

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the tasks in order."""
        return tuple(t.name for t in self.tasks)

    @property
    def media(self) -> tuple[str, ...]:
        """Kinds of media that it judges."""
        return tuple(name for name in self.inputs if name in KINDS)

    def task(self, name: str) -> Task:
        """The task of that name (KeyError if there is none)."""
        for t in self.tasks:
            if t.name == name:
                return t
        raise KeyError(name)

    @property
    def readings(self) -> tuple[str, ...]:
        """Names of the readings that its tasks declare."""
        return tuple(dict.fromkeys(name for t in self.tasks for name in t.readings))

    def with_teacher(self, teacher: Teacher) -> Guard:
        """This guard with other prompts for its teacher."""
        return self.replaced(teacher=Teacher.model_construct(**{name: getattr(teacher, name) for name in Teacher.model_fields}))


def unknown_label(word: str, labels: Collection[str]) -> str:
    """What is wrong with a word that should be a label of a task."""
    return f"label not of the task: {word[:60]!r} ({did_you_mean(word[:60], labels)})"


def load_guard(name: str | Path, beside: Beside = None) -> Guard:
    """Load a guard by name or path.

    Raises:
        InputError: no such guard; InputErrors: faults in its file, each with its line.

    Example:
        >>> toolkit.load_guard("guardreasoner").task_names
        ('prompt', 'refusal', 'response')
    """
    return load_yaml(find("guards", name, beside)).model(Guard)


def load_prompt(name: str, beside: Beside = None) -> Prompt:
    """Load a teacher's prompt by name or path.

    Raises:
        InputError: no such prompt; InputErrors: faults in its file, each with its line.
    """
    return load_yaml(find("prompts", name, beside)).model(Prompt)
