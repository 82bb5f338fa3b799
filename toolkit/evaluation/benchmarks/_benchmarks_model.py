"""What a benchmark is: pydantic models of ``schemas/benchmarks/<name>.yaml``.

A benchmark is some rows with labels for one task or several. Its file says which columns hold the messages and the labels, which label F1 counts,
where the rows are (files, the hub, a file that GuardReasoner released), and what is known of the set: sizes, licence, rows by label. A fact that is
not known is null or left out. How rows are read is a source's business (`toolkit.sources`), so there is one reader, and one kind of row id.

No guard is meant: tasks and labels are words, and a guard judges a benchmark's task where it has one of that name with those labels. Only a released
file was written in a guard's form, which its source names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from toolkit.common.errors import InputError, did_you_mean
from toolkit.common.files import digest
from toolkit.common.yamlfile import FaultAt
from toolkit.sources import Columns, Filter, Hub, Label, Source, load_source

_TASK = re.compile(r"[a-z][a-z0-9_]*")


class _Model(BaseModel):
    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)


class Released(_Model):
    """The file that GuardReasoner released: a part of a source, which knows its name and columns."""

    source: str
    part: str


class HubSet(_Model):
    """Where the set lies on the Hugging Face hub; `config` and `split` are null where that is not known."""

    id: str
    config: str | None = None
    split: str | None = None


class Sizes(_Model):
    """Rows by where they are counted; null where that is not known."""

    paper: int | None = None
    """What the paper's table 3 says: the weight in its means."""
    released: int | None = None
    """Rows of the released file; null where none was released."""
    hub: int | None = None
    """Rows of the hub's split, which may be more than the benchmark's."""


class BenchmarkLabel(Label):
    """How the label of one task is read: as in a source."""

    applies: Literal["always", "response"] = "always"
    """``response``: it judges the response, and a row that has none has no such label."""

    def plain(self) -> Label:
        """As a source has it."""
        return Label(**{name: getattr(self, name) for name in Label.model_fields})


class BenchmarkCategories(_Model):
    """Where the set's own categories stand, for scores by category. The words are the set's own, and none is mapped to another."""

    columns: list[str] = Field(min_length=1)
    kind: Literal["string", "comma", "list", "struct"] = "string"
    """One value; several, comma-separated; a list of values; or a struct of booleans whose field names are the values."""
    none: list[str] = []
    """Values that name no category: ``Safe``, say."""


@dataclass(frozen=True)
class BenchmarkTask:
    """One question that a benchmark's labels answer. `positive`: the label that F1 counts; `labels`: all, that one last; `ordinal`: whether they are
    on a scale; `about`: what the positive one says, where the name does not (`toolkit.guards.Task.about`)."""

    name: str
    labels: tuple[str, ...]
    positive: str
    applies: Literal["always", "response"] = "always"
    ordinal: bool = False
    about: str | None = None


class Benchmark(_Model):
    """A test set for one task or several; see schemas/benchmarks/ for all thirteen of GuardReasoner's paper (table 3).

    One of your own needs a name, `positive`, `files`, `columns`, and either `task` and `label` or `labels`.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    version: int = 1
    title: str = ""
    """Its name for people; default: its name."""
    aliases: list[str] = []
    """How else it is spelled, in names of files of predictions say."""
    description: str = ""
    task: str | None = None
    """The task that its labels are for, where it is one; of several, see `labels`."""
    positive: str | dict[str, str] | None = None
    """The label that F1 counts; where tasks differ in it, by task."""
    adversarial: bool | None = None
    licence: str = "unknown"
    """SPDX id where there is one."""
    gated: bool | None = None
    """Whether the hub hands it out only to an account that has accepted its terms; null: not known."""
    url: str | None = None
    """The set's page; null: not known."""
    citation: str = ""
    """Where the sizes and the task are from."""
    released: Released | None = None
    hub: HubSet | None = None
    sizes: Sizes = Sizes()
    label_counts: dict[str, int] | dict[str, dict[str, int]] | None = None
    """Rows by label (of several tasks: by task and label), of the released file or, where there is none, of the hub's split; null: not known."""
    files: list[str] = []
    """Files with these columns, or patterns of their names. They are looked for in folders that a user names; those that a schema of one's own names
    also beside it, and in the working folder."""
    delimiter: str | None = Field(None, min_length=1, max_length=1)
    """What parts the cells of CSV; null: a comma, in TSV a tab."""
    columns: Columns | None = None
    """The columns that hold the messages, as in a source; null: the released file alone can be read."""
    filter: Filter | None = None
    label: BenchmarkLabel | None = None
    """How the label of `task` is read from the columns."""
    labels: dict[str, BenchmarkLabel] = {}
    """In place of `task` and `label`, by task: two labels of one file are two tasks of it."""
    categories: BenchmarkCategories | None = None
    _file: Path | None = PrivateAttr(None)

    @model_validator(mode="before")
    @classmethod
    def _called_by_its_name(cls, data: Any) -> Any:
        return {**data, "title": data.get("title") or data["name"]} if isinstance(data, Mapping) and isinstance(data.get("name"), str) else data

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> Benchmark:
        if self.labels and (self.task is not None or self.label is not None):
            raise ValueError("labels stands for task and label: give either")
        if not self.labels and self.task is None:
            raise ValueError("which task are its labels for? give task and label, or labels by task")
        rules = self.label_rules
        if (self.columns is None) != (not rules):
            raise ValueError("columns and label belong together: give both or neither")
        if self.columns is None and (self.files or self.filter or self.categories or self.delimiter):
            raise ValueError("files, filter, categories and delimiter need columns and label")
        if self.released is None and self.columns is None:
            raise ValueError("give released, or columns and label: how the rows are read")
        if self.labels and self.released is not None:
            raise ValueError("a released file has one label: give task and label")
        return self

    @model_validator(mode="after")
    def _tasks_and_words_fit(self) -> Benchmark:
        for task in self.task_names:
            at = ("labels", task) if self.labels else ("task",)
            if not _TASK.fullmatch(task):
                raise FaultAt(f"a task is a word of a to z, digits and _, and begins with a letter: {task!r}", *at)
            if task.endswith("_source") and task.removesuffix("_source") in self.task_names:
                raise FaultAt(f"the task {task.removesuffix('_source')!r} has a column of that name for the source of its label", *at)
        for task in self.positive if isinstance(self.positive, dict) else ():
            if task not in self.task_names:
                raise FaultAt(f"it has no task {task!r}; {did_you_mean(task, self.task_names)}", "positive", task)
        for task, counts in self.counts.items():
            at = ("label_counts", task) if task in (self.label_counts or ()) else ("label_counts",)
            if task not in self.task_names:
                raise FaultAt(f"it has no task {task!r}; {did_you_mean(task, self.task_names)}", *at)
            if odd := next((w for w in counts if w not in self.words(task)), None):
                raise FaultAt(f"{odd!r} is no label of the task {task!r}; {did_you_mean(odd, self.words(task))}", *at, odd)
        for task in self.task_names:
            word, words = self.positive_of(task), self.words(task)
            if word is not None and words and word not in words:
                place = ("positive", task) if isinstance(self.positive, dict) else ("positive",)
                several = "; where tasks differ, give it by task" if isinstance(self.positive, str) and self.labels else ""
                raise FaultAt(f"{word!r} is no label of the task {task!r}; {did_you_mean(word, words)}{several}", *place)
        return self

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of its tasks in order."""
        return tuple(self.labels) or ((self.task,) if self.task is not None else ())

    @property
    def tasks(self) -> dict[str, BenchmarkTask]:
        """Its tasks by name.

        Raises:
            InputError: its file does not say what their labels are, or which is the positive one.
        """
        out = {}
        for task in self.task_names:
            positive, words = self.positive_of(task), self.words(task)
            if positive is None or not words:
                what = "what the labels of the task {!r} are" if not words else "which label of the task {!r} F1 counts"
                hint = "give its label a map: {VALUE: LABEL}" if not words else f"write `positive: LABEL`, one of {', '.join(words)}"
                where = str(self._file) if self._file else f"benchmark {self.name!r}"
                raise InputError(f"the file does not say {what.format(task)}", where=where, hint=hint)
            rule = self.label_rules.get(task)
            others = [w for w in words if w != positive]
            out[task] = BenchmarkTask(task, (*others, positive), positive, rule.applies if rule else "always")
        return out

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Stated rows by task and label; a task of which they are not known is not there."""
        given = self.label_counts or {}
        by_task: dict[str, dict[str, int]] = {t: c for t, c in given.items() if isinstance(c, dict)}
        flat = {w: n for w, n in given.items() if isinstance(n, int)}
        return by_task or ({self.task_names[0]: flat} if flat and self.task_names else {})

    @property
    def label_rules(self) -> dict[str, BenchmarkLabel]:
        """How each task's label is read from the columns."""
        return self.labels or ({self.task: self.label} if self.task is not None and self.label is not None else {})

    @property
    def scored_on_hub(self) -> bool:
        """Whether the hub's split is the benchmark, as far as its sizes say: that of ToxicChat has more rows than what is scored."""
        return None in (self.sizes.hub, self.sizes.released) or self.sizes.hub == self.sizes.released

    @cached_property
    def fingerprint(self) -> str:
        """Digest of all that says how its texts are read."""
        return digest([w.fingerprint for w in self.ways])

    @cached_property
    def rows_fingerprint(self) -> str:
        """Digest of all that says how its rows are read: texts, labels and categories."""
        rules = {t: rule.applies for t, rule in self.label_rules.items()}
        return digest([self.fingerprint, list(self.task_names), rules, self.categories and self.categories.model_dump(mode="json")])

    @cached_property
    def ways(self) -> list[Source]:
        """The sources that its rows can be read with: the released file's part, then its own columns."""
        out = []
        if self.released is not None:
            source = load_source(self.released.source)
            part = source.parts[source.part_names([self.released.part])[0]]
            out.append(source.model_copy(update={"parts": {self.released.part: part}}))
        if self.columns is not None:
            hub = Hub(**{k: v for k, v in self.hub.model_dump().items() if v is not None}) if self.hub else None
            out.append(
                Source(
                    name=self.name,
                    version=self.version,
                    description=self.description,
                    licence=self.licence,
                    gated=bool(self.gated),
                    url=self.url,
                    obtain="" if hub else self.citation or "name a file of its columns",
                    hub=hub,
                    files=self.files,
                    delimiter=self.delimiter,
                    filter=self.filter,
                    columns=self.columns,
                    labels={task: rule.plain() for task, rule in self.label_rules.items()},
                )
            )
        return out

    @property
    def file_names(self) -> list[str]:
        """Patterns of the names of its files, released ones first."""
        return [p for way in self.ways for p in patterns(way)]

    def positive_of(self, task: str) -> str | None:
        """The label of a task that F1 counts; None where the file does not say."""
        return self.positive.get(task) if isinstance(self.positive, dict) else self.positive

    def words(self, task: str) -> list[str]:
        """All labels that the file names for a task; empty where it names none but, perhaps, the positive one."""
        rule = self.label_rules.get(task)
        return (rule.words(()) if rule else []) or list(self.counts.get(task, ()))


def patterns(way: Source) -> list[str]:
    """Patterns of the names of a source's files."""
    return [p for part in way.parts.values() for p in part.files] or list(way.files)
