"""The guard definition: pydantic models of ``schemas/guards/<name>.yaml``.

What a definition says is checked when it is read, with file, line and key: templates, placeholders, names that would make two columns or
two answers the same. A definition that loads can be rendered and parsed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from toolkit.common.errors import InputError, did_you_mean
from toolkit.common.facets import Faceted
from toolkit.common.paths import Beside, Roots
from toolkit.common.resources import find
from toolkit.common.yamlfile import FaultAt, load_yaml
from toolkit.guards._calls import Call
from toolkit.guards._grammar import Answer, Grammar
from toolkit.guards._output import Output
from toolkit.guards._policy import POLICY, PolicyBlock
from toolkit.guards._switch import Switch
from toolkit.guards._tasks import Steps, Task
from toolkit.guards._taxonomy_labels import with_labels
from toolkit.guards._teacher import Prompt, Teacher
from toolkit.guards._templates import check_template, variables
from toolkit.records import KINDS

_OWN = ("instruction", "input", "teacher")
"""Keys that a guard has which guardkit trains."""
_OF_TASK = ("question", "subject", "field")


class Guard(Faceted):
    """A guard definition. Equal definitions are equal and hash alike.

    It is one of two kinds. A guard that guardkit trains has `instruction`, `input`, `output` and `teacher`. A guard that was trained elsewhere has
    `calls`, which say how it is asked, and a `grammar`, which says how its answers are read.

    `facets` are the parts by which a step counts a guard: a step that does not ask the teacher is not built anew for a word of the teacher's prompt.
    """

    facets = {
        "name": ("name",),
        "version": ("version",),
        "tasks": (
            "tasks.name",
            "tasks.labels",
            "tasks.positive",
            "tasks.applies",
            "tasks.missing",
            "tasks.about",
            "tasks.ordinal",
            "calls.name",
            "calls.tasks",
            "calls.needs_response",
        ),
        "readings": ("tasks.readings",),
        "questions": ("tasks.question", "tasks.subject"),
        "steps": ("steps",),
        "input": (
            "instruction",
            "input",
            "context",
            "inputs",
            "policy",
            "switch",
            *(f"calls.{n}" for n in ("messages", "text", "earlier", "chat_template_kwargs", "max_tokens")),
        ),
        "output": ("output", "tasks.field", "tasks.words", "grammar"),
        "system": ("teacher.system",),
        "user": ("teacher.user",),
        "blind": ("teacher.blind",),
        "feedback": ("teacher.feedback",),
    }
    always = "name"
    later = frozenset({"inputs", "calls", "grammar", "policy", "switch"})

    name: str = Field(min_length=1)
    version: int
    description: str
    tasks: list[Task] = Field(min_length=1)
    steps: Steps = Steps()
    instruction: str = ""
    """Put before every input, a newline after it; an interface of the trained model. Empty for none."""
    input: str = ""
    """Template of the interaction (Jinja). Variables: prompt, response (None where there is none), and policy where the guard has one."""
    context: str = "{% for m in context %}{{ m.role }}: {{ m.content }}\n{% endfor %}\n"
    """Template of earlier messages, put before the input. Variable: context, a list of {role, content}."""
    inputs: list[Literal["prompt", "response", "image", "video", "audio"]] = ["prompt", "response"]
    """What it judges. A row with media of a kind that is not named here is refused, not judged by its text; without `response` every row is judged
    by its prompt. Media are before the text, in the row's order."""
    policy: PolicyBlock | None = None
    """Where it judges by a policy that comes with the question (a row's column `policy`): the marks around it. Its input, or each of its calls, must
    hold ``{{ policy }}``."""
    switch: Switch | None = None
    """Words behind the input that say whether it is to reason (a row's column `thinks`): one guard for both. Null for a guard that always does."""
    output: Output = Output()
    teacher: Teacher | None = None
    """Null for a guard that learns from rewards alone."""
    calls: list[Call] = []
    """The requests about a row. Where several judge one task, it has its positive label if any of them says so, none if one of the others cannot be
    read, else the most severe of their labels."""
    grammar: Grammar | None = None

    @field_validator("context")
    @classmethod
    def _context_renders(cls, value: str) -> str:
        check_template(value, ("context",), ("context",))
        return value

    @model_validator(mode="after")
    def _one_kind(self) -> Guard:
        given = self.model_fields_set
        if not self.calls:
            if self.grammar is not None:
                raise FaultAt("a grammar reads the answers to `calls`, and there are none", "grammar")
            if name := next((n for n in _OWN if n not in given), None):
                raise FaultAt(f"the key {name!r} is missing", name)
            for i, task in enumerate(self.tasks):
                if name := next((n for n in _OF_TASK if n not in task.model_fields_set), None):
                    raise FaultAt(f"the key {name!r} is missing", "tasks", i, name)
            return self
        if name := next((n for n in (*_OWN, "output", "steps") if n in given), None):
            raise FaultAt(f"a guard that is asked by `calls` has no {name!r}: it is neither taught nor trained here", name)
        if worded := [i for i, t in enumerate(self.tasks) if t.words]:
            raise FaultAt("the words of a guard that is asked by `calls` are in its grammar", "tasks", worded[0], "words")
        if self.switch is not None:
            raise FaultAt("a guard that is asked by `calls` has its switch in these: chat_template_kwargs, or a message", "switch")
        if self.grammar is None:
            raise FaultAt("the key 'grammar' is missing: it says how the answers to `calls` are read", "grammar")
        self._check_calls()
        for i, task in enumerate(self.tasks):
            if not any(task.name in call.tasks for call in self.calls):
                raise FaultAt(f"no call judges the task {task.name!r}", "tasks", i, "name")
            if task.applies == "always" and not any(task.name in call.tasks and not call.needs_response for call in self.calls):
                raise FaultAt(f"only calls that need a response judge the task {task.name!r}: add `applies: response`", "tasks", i, "applies")
            found = [n for n, a in enumerate(self.grammar.answers) if a.task == task.name]
            if len(found) != 1:
                raise FaultAt(f"the grammar has {len(found) or 'no'} answers for the task {task.name!r}", "grammar", "answers")
            self._check_answer(task, self.grammar.answers[found[0]], found[0])
        for i, answer in enumerate(self.grammar.answers):
            if answer.task not in self.task_names:
                raise FaultAt(f"no task {answer.task!r}: {did_you_mean(answer.task, self.task_names)}", "grammar", "answers", i, "task")
        return self

    def _check_calls(self) -> None:
        if self.raw and self.media:
            raise FaultAt(f"a `text` cannot carry media: {', '.join(self.media)}", "inputs")
        for i, call in enumerate(self.calls):
            if call.name in (c.name for c in self.calls[:i]):
                raise FaultAt(f"two calls are called {call.name!r}", "calls", i, "name")
            if bool(call.text) != self.raw:
                raise FaultAt("all calls have `messages`, or all have a `text`", "calls", i, "text" if call.text else "messages")
            for n, name in enumerate(call.tasks):
                if name not in self.task_names:
                    raise FaultAt(f"no task {name!r}: {did_you_mean(name, self.task_names)}", "calls", i, "tasks", n)
            assert self.grammar is not None  # noqa: S101  the caller has looked
            if sum(a.task in call.tasks and not (a.field or a.tag or a.key) for a in self.grammar.answers) > 1:
                raise FaultAt("two of its tasks are read from the first word: name a field, a tag or a key", "calls", i, "tasks")

    def _check_answer(self, task: Task, answer: Answer, number: int) -> None:
        for word, label in answer.words.items():
            if label is not None and label not in task.labels:
                raise FaultAt(f"{label!r} is none of the labels {', '.join(task.labels)}", "grammar", "answers", number, "words", word)
        if lost := next((label for label in task.labels if label not in answer.words.values()), None):
            raise FaultAt(f"no word means the label {lost!r}", "grammar", "answers", number, "words")

    @model_validator(mode="after")
    def _input_renders(self) -> Guard:
        needed = ("prompt", "response") if any(t.applies == "response" for t in self.tasks) else ("prompt",)
        if missing := next((name for name in needed if name not in self.inputs), None):
            raise FaultAt(f"{missing!r} is not among them, and a task is about it", "inputs")
        if twice := next((name for name in self.inputs if self.inputs.count(name) > 1), None):
            raise FaultAt(f"{twice!r} is named twice", "inputs")
        if self.calls:
            self._calls_show_the_policy()
            return self
        own = [POLICY] if self.policy is not None else []
        try:
            check_template(self.input, [*(name for name in ("prompt", "response") if name in self.inputs), *own], [*needed, *own])
        except ValueError as e:
            raise FaultAt(str(e), "input") from None
        return self

    def _calls_show_the_policy(self) -> None:
        for i, call in enumerate(self.calls):
            shown = any(POLICY in variables(m.content) for m in call.messages)
            if shown != (self.policy is not None):
                words = "holds {{ policy }}, and the guard has no key `policy`" if shown else "does not hold {{ policy }}: it would judge without one"
                raise FaultAt(f"the call {words}", "calls", i, "messages" if call.messages else "text")

    @model_validator(mode="after")
    def _tasks_differ(self) -> Guard:
        for i, task in enumerate(self.tasks):
            for j, other in enumerate(self.tasks):
                if i > j and task.name == other.name:
                    raise FaultAt(f"two tasks are called {task.name!r}", "tasks", i, "name")
                if i != j and task.name == f"{other.name}_source":
                    raise FaultAt(f"the task {other.name!r} has a column of that name for the source of its label", "tasks", i, "name")
                if i != j and task.field and re.search(rf"(?<!\w){re.escape(task.field)}$", other.field, re.IGNORECASE):
                    raise FaultAt(f"the field {other.field!r} ends in {task.field!r}: the answers could not be distinguished", "tasks", i, "field")
        return self

    @model_validator(mode="after")
    def _output_tells_apart(self) -> Guard:
        if self.calls:
            return self
        if len(self.tasks) > 1 and not self.output.task_heading:
            raise FaultAt("a guard with several tasks needs task headings", "output", "task_heading")
        if len(self.tasks) > 1 and "{field}" not in self.output.answer_line:
            raise FaultAt("a guard with several tasks needs {field} in its answer line", "output", "answer_line")
        if self.output.missing_word.casefold() in {w.casefold() for t in self.tasks for w in t.written}:
            raise FaultAt(f"missing_word {self.output.missing_word!r} is also a label", "output", "missing_word")
        names = [field.name for field in self.output.data]
        if twice := next((i for i, name in enumerate(names) if name in names[:i]), None):
            raise FaultAt(f"two fields are called {names[twice]!r}", "output", "data", twice, "name")
        return self

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the tasks in order."""
        return tuple(t.name for t in self.tasks)

    def call(self, name: str) -> Call:
        """The call of that name.

        Raises:
            InputError: there is none.
        """
        for c in self.calls:
            if c.name == name:
                return c
        known = [c.name for c in self.calls]
        raise InputError(f"the guard {self.name!r} has no call {name!r}", hint=did_you_mean(name, known) if known else "it is asked in one way")

    def calls_about(self, row: Mapping[str, Any]) -> list[Call]:
        """The calls that are made about a row; where it names tasks in `only_tasks`, those that judge one of them."""
        wanted = row.get("only_tasks")
        return [c for c in self.calls if c.about(row.get("response") is not None) and (wanted is None or not set(wanted).isdisjoint(c.tasks))]

    @property
    def raw(self) -> bool:
        """Whether its calls are texts that no chat template writes."""
        return bool(self.calls) and bool(self.calls[0].text)

    @property
    def taught(self) -> Teacher:
        """The prompts of its teacher.

        Raises:
            InputError: it has none.
        """
        if self.teacher is None:
            if self.calls:
                raise not_ours(self, "has no teacher")
            raise InputError(f"the guard {self.name!r} has no teacher", hint="name a prompt (`prompt`), or give its file the key `teacher`")
        return self.teacher

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

    def with_policy(self, text: str) -> Guard:
        """This guard with a policy for rows that bring none.

        Raises:
            InputError: it is shown no policy.

        Example:
            >>> toolkit.load_guard("policyreasoner").with_policy("Nothing on tulips.").policy.text
            'Nothing on tulips.'
        """
        if self.policy is None:
            known = "its `input` holds {{ policy }}, and it has the key `policy`"
            raise InputError(f"the guard {self.name!r} is shown no policy: it judges by what it has learnt", hint=f"of a guard that is, {known}")
        return self.replaced(policy=self.policy.replaced(text=text))

    def with_teacher(self, teacher: Teacher) -> Guard:
        """This guard with other prompts for its teacher."""
        return self.replaced(teacher=Teacher.model_construct(**{name: getattr(teacher, name) for name in Teacher.model_fields}))


def not_ours(guard: Guard, what: str) -> InputError:
    """The error for a guard that is asked by `calls` where one that guardkit trains is needed."""
    hint = "it can be asked, read and scored; to teach and train one, take a guard with `instruction`, `input`, `output` and `teacher`"
    return InputError(f"the guard {guard.name!r} was trained elsewhere and {what}", hint=hint)


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
    roots = Roots.of(beside)
    path = find("guards", name, roots)
    file = load_yaml(path)
    return file.model(Guard, with_labels(file, Roots((path.parent, *roots.folders), roots.read)))


def load_prompt(name: str, beside: Beside = None) -> Prompt:
    """Load a teacher's prompt by name or path.

    Raises:
        InputError: no such prompt; InputErrors: faults in its file, each with its line.
    """
    return load_yaml(find("prompts", name, beside)).model(Prompt)
