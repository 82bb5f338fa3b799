"""The source definition: pydantic models of ``schemas/sources/<name>.yaml``.

A source says where labelled interactions come from and how their columns become seeds: which column is the prompt, which values mean which label,
who gave it, what a null label means, which of its categories is which of ours. It holds no code; what it does not declare is reported, never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from toolkit.common.errors import InputError, did_you_mean
from toolkit.common.files import digest
from toolkit.common.paths import Beside
from toolkit.common.resources import find, names
from toolkit.common.yamlfile import FaultAt, load_yaml
from toolkit.sources._media_files import MediaFiles

LabelSource = Literal["human", "vote", "inferred", "consensus", "reviewed", "written", "constructed"]
Missing = Literal["absent", "not_applicable", "to_infer"]
Format = Literal["auto", "parquet", "jsonl", "json", "csv", "tsv", "files"]
VoteMethod = Literal["unsafe_or_safe", "reference"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    later: ClassVar[frozenset[str]] = frozenset()
    """Fields that came after the first release: at their default they are left out of what is written, so that the fingerprint of a source that
    does not use them stays."""

    @model_serializer(mode="wrap")
    def _lean(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        out: dict[str, Any] = write(self)
        return {n: v for n, v in out.items() if n not in self.later or getattr(self, n) != type(self).model_fields[n].get_default()}


class Hub(_Model):
    """Where the source is on the Hugging Face hub: the arguments of ``datasets.load_dataset``."""

    id: str
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    """Commit or tag; null for the newest."""


class Filter(_Model):
    """Rows that the source keeps; the others are set aside with reason ``filtered``."""

    column: str
    equals: bool | int | str


class Columns(_Model):
    """Columns of the source that hold a seed's messages and marks: either `prompt` (and `response`, `context`), or `messages`."""

    later = frozenset({"messages", "turns", "media"})

    prompt: str | None = None
    response: str | None = None
    """Null: every row is prompt-only."""
    context: str | None = None
    """A list of {role, content}: the messages before the prompt."""
    messages: str | None = None
    """A whole conversation: a list of {role, content} or of {from, value}. The last message, where the assistant wrote it, is the response, the
    user's before it the prompt, the others are the context."""
    turns: Literal["user", "alternating"] | None = None
    """Where `messages` is a list of plain texts: whose they are, the user's alone or the user's and the assistant's by turns."""
    media: str | list[MediaFiles] | None = None
    """What the prompt is about (docs/media.md): a column of references, lists of {kind, uri, sha256, mime}, or columns of files. Such a row, and a
    source of files, may have no prompt."""
    language: str | None = None
    group: str | None = None
    """Rows of one group never straddle a split; where null, equal prompts are a group, or, of rows with media, equal media."""
    split: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Columns:
        if (self.prompt is None) == (self.messages is None) and (self.prompt is not None or not isinstance(self.media, list)):
            raise ValueError("give either prompt or messages")
        if self.messages is not None and (self.response is not None or self.context is not None):
            raise ValueError("messages holds response and context, too: take them out")
        if self.turns is not None and self.messages is None:
            raise ValueError("turns needs messages")
        return self


class Exchange(_Model):
    """Instead of columns: one column that holds prompt and response as a guard reads them (see `split_released_input`)."""

    column: str
    guard: str
    """The guard that the text was rendered with."""


class Answer(_Model):
    """Instead of labels: one column that holds the label word of the part's task, or a whole answers block of the exchange's guard."""

    column: str


class Vote(_Model):
    """A label from several annotators, one column each.

    An annotation is one value of the scheme or several, comma-separated; it is unsafe when any of them is not `safe`. The label is the larger
    camp's. The released GuardReasoner code instead takes the most common raw string, so that an unsafe majority that names different categories
    loses to ``Safe`` (spec A.3): ``read_source(vote="reference")`` reproduces that. Either way the row's `votes` hold both camps.
    """

    columns: list[str] = Field(min_length=1)
    count: str | None = None
    """Column with the number of annotators; annotations past it are not counted."""
    scheme: str
    """Scheme of the taxonomy that knows the values."""
    safe: str
    """The one value that is no objection."""
    positive: str
    """Label when the unsafe camp is larger."""
    negative: str
    """Label when the safe camp is larger."""
    ties: Literal["positive", "negative", "missing"] = "positive"
    """What equal camps give; the default errs on the side of caution."""

    @model_validator(mode="after")
    def _camps_differ(self) -> Vote:
        if self.positive == self.negative:
            raise ValueError("positive and negative are the same label")
        return self


class Label(_Model):
    """How one task's label is read: from a column, from several, by a vote, or not at all."""

    later = frozenset({"any", "all", "threshold", "bins"})

    column: str | None = None
    map: dict[bool | int | str, str | None] | None = None
    """Value -> label, or null (`missing`). None: the values are the label words. An empty cell of CSV is null, or ``""`` where the map has that."""
    any: list[str] | None = Field(None, min_length=1)
    """Columns of true or false (0 or 1; with `threshold`, numbers) in place of one: the value is true where any of them is. One that is null, or that
    a row of JSON lacks, does not count; where none counts the label is missing."""
    all: list[str] | None = Field(None, min_length=1)
    """The same, true where all that count are."""
    threshold: float | None = Field(None, allow_inf_nan=False)
    """The columns hold a number, and the value is whether it is at least so large. With the source ``vote`` the number of one column is the share of
    annotators who say so, and a row keeps it in `votes`."""
    bins: list[float] | None = Field(None, min_length=1)
    """The column holds a number, and the value is how many of these, in ascending order, it reaches: 0, 1, …"""
    vote: Vote | None = None
    source: LabelSource | None = None
    """Who gave the label (``label_sources`` of schemas/records/seed.yaml)."""
    agreement: str | None = None
    """Column with the share of annotators, in [0, 1], who gave the label in `column`; a row keeps it in `votes`."""
    missing: Missing | None = None
    """What a null label means; default: what the guard says for the task."""

    @model_validator(mode="before")
    @classmethod
    def _columns_are_named(cls, data: Any) -> Any:
        """``any: true`` beside ``columns: […]`` is what other tools have."""
        if isinstance(data, dict):
            given = data.get("columns")
            names = f"[{', '.join(map(str, given))}]" if isinstance(given, list) and given else "[COLUMN, COLUMN]"
            for way in ("any", "all"):
                if isinstance(data.get(way), bool):
                    raise FaultAt(f"{way} takes the names of the columns; write {way}: {names}", way)
            if given is not None and cls is Label:
                raise FaultAt(f"no key of a label; several columns are in any: {names}, or in all: {names}; one is `column`", "columns")
        return data

    @model_validator(mode="after")
    def _one_way(self) -> Label:
        if sum(way is not None for way in (self.column, self.any, self.all, self.vote)) > 1:
            raise ValueError("a label comes from one of column, any, all and vote")
        if bool(self.columns) != (self.source is not None):
            raise ValueError("source is needed with a column or a vote, and only then: it says who gave the label")
        if self.map is not None and (not self.columns or self.vote is not None):
            raise ValueError("a map needs a column")
        if self.threshold is not None and (not self.columns or self.vote is not None or self.bins is not None):
            raise ValueError("threshold needs a column (or any, all), and no bins")
        if self.bins is not None and (self.column is None or sorted(set(self.bins)) != self.bins):
            raise ValueError("bins needs a column, and numbers in ascending order")
        values = list(range(len(self.bins) + 1)) if self.bins else [True, False]
        if self.derived and ({(type(v), v) for v in self.map or ()} != {(type(v), v) for v in values}):
            raise ValueError(f"the map must have a label for {', '.join(str(v).lower() for v in values)}, and no other value")
        if self.map is not None and not (all if self.shares else any)(self.map.values()):
            raise ValueError("a map needs a label for some value, and where `threshold` is a share of annotators one for each")
        if self.agreement is not None and self.column is None:
            raise ValueError("agreement needs a column: it is the share of annotators who gave its label")
        return self

    @property
    def columns(self) -> list[str]:
        """Columns that the label is read from."""
        return [self.column] if self.column is not None else self.any or self.all or (self.vote.columns if self.vote is not None else [])

    @property
    def derived(self) -> bool:
        """Whether what the map maps is made of the columns' values, and not a value that is there."""
        return self.any is not None or self.all is not None or self.threshold is not None or self.bins is not None

    @property
    def shares(self) -> bool:
        """Whether its column holds the share of annotators for one side."""
        return self.threshold is not None and self.column is not None and self.source == "vote"

    def words(self, known: Sequence[str]) -> list[str]:
        """Labels that it may give, of those that the guard knows where it names none itself."""
        given = self.map.values() if self.map else (self.vote.positive, self.vote.negative) if self.vote else known if self.columns else ()
        return list(dict.fromkeys(word for word in given if word is not None))


class Categories(_Model):
    """Where the source's own harm categories stand."""

    columns: list[str] = Field(min_length=1)
    kind: Literal["string", "comma", "list", "struct"]
    """One value; several, comma-separated; a list of values; or a struct of booleans whose field names are the values."""
    scheme: str
    """Scheme of the taxonomy that knows the values; the taxonomy's own name where they are its categories."""
    where_positive: list[str] = []
    """Tasks: keep the categories only where one of them has its positive label. Empty: always."""


class Part(_Model):
    """Some files of a source that are a source of their own in the rows: ``<source>-<part>``."""

    files: list[str] = Field(min_length=1)
    """Patterns of file names."""
    licence: str | None = None
    """Default: the source's."""
    task: str | None = None
    """With `answer`: the task that its labels are for."""
    label_source: LabelSource | None = None
    """With `answer`: who gave them."""
    expected_rows: int | None = None


class Source(_Model):
    """A source of seeds. See CONTRIBUTING.md for a minimal file."""

    later = frozenset({"delimiter", "each"})

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    version: int
    description: str
    licence: str
    """SPDX id where there is one. Rows carry it."""
    gated: bool = False
    """The hub hands it out only to an account that has accepted its terms."""
    url: str | None = None
    """Page with the terms and the facts."""
    obtain: str | None = None
    """How to get the files, where there is no hub set."""
    hub: Hub | None = None
    bundled: str | None = None
    """Folder below ``recipes/`` whose files ship with guardkit."""
    files: list[str] = []
    """Patterns, looked up in a folder given as `files`; the first that matches anything is taken."""
    format: Format = "auto"
    """Format of the files; ``auto``: by suffix; ``files``: each file of a folder, a zip or a tar archive is a row (docs/media.md)."""
    delimiter: str | None = Field(None, min_length=1, max_length=1)
    """What parts the cells of CSV; null: a comma, in TSV a tab."""
    each: dict[str, Annotated[list[int | str], Field(min_length=1)]] = {}
    """Read each row once for every value: {k: [0, 1]} replaces {k} in the names of columns. So a row with two answers is two seeds of one group."""
    filter: Filter | None = None
    columns: Columns | None = None
    exchange: Exchange | None = None
    labels: dict[str, Label] = {}
    """By task of the guard. A task of the guard that is not named has no label: see its `missing`."""
    answer: Answer | None = None
    categories: Categories | None = None
    parts: dict[str, Part] = {}
    expected_rows: int | None = None
    """Rows after the filter, for `plan` where the data is not there."""

    @model_validator(mode="after")
    def _fits(self) -> Source:
        if (self.columns is None) == (self.exchange is None):
            raise ValueError("give either columns or exchange")
        if (self.answer is None) == (not self.labels):
            raise ValueError("give either labels or answer")
        if self.answer and (not self.exchange or not self.parts or any(not p.task or not p.label_source for p in self.parts.values())):
            raise ValueError("answer needs exchange, and parts that each have a task and a label_source")
        if not (self.hub or self.bundled or self.obtain or self.files):
            raise ValueError("give hub, bundled, obtain or files: where the data comes from")
        if self.hub and self.parts:
            raise ValueError("a hub set has no parts: make it a source for each split")
        if self.format == "files" and (self.parts or not self.media_files):
            raise ValueError("format files needs columns: {media: [{column: file}]}, and has no parts")
        return self

    @model_validator(mode="after")
    def _each_is_used(self) -> Source:
        text = repr(self.model_dump(include=_WITH_COLUMNS))
        if unused := [name for name in self.each if f"{{{name}}}" not in text]:
            raise ValueError(f"each: no column's name holds {{{unused[0]}}}")
        return self

    @property
    def has_media(self) -> bool:
        """Whether its rows may have media."""
        return self.columns is not None and self.columns.media is not None

    @property
    def media_files(self) -> list[MediaFiles]:
        """Its columns of files."""
        return self.columns.media if self.columns is not None and isinstance(self.columns.media, list) else []

    @cached_property
    def views(self) -> list[Source]:
        """The source once for every value of `each`, with the columns' names filled in; itself where there is none."""
        if not self.each:
            return [self]
        given = self.model_dump(exclude={"each"})
        out = []
        for values in product(*self.each.values()):
            words = dict(zip(self.each, map(str, values), strict=True))
            out.append(Source.model_validate({k: _filled(v, words) if k in _WITH_COLUMNS else v for k, v in given.items()}))
        return out

    def rows(self, parts: Sequence[str] | None = None) -> int | None:
        """Expected rows of the source, or of some of its parts; None where the file does not say."""
        if not self.parts:
            return self.expected_rows
        counts = [self.parts[p].expected_rows for p in self.part_names(parts)]
        known = [c for c in counts if c is not None]
        return sum(known) if len(known) == len(counts) else None

    def part_names(self, wanted: Sequence[str] | None = None) -> list[str]:
        """Names of the parts in order, or of the wanted ones.

        Raises:
            InputError: no such part.
        """
        for name in wanted or ():
            if name not in self.parts:
                raise InputError(f"source {self.name!r} has no part {name!r}", hint=did_you_mean(name, self.parts))
        return [p for p in self.parts if wanted is None or p in wanted]

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the whole definition."""
        return digest(self.model_dump(mode="json"))


_WITH_COLUMNS = {"columns", "labels", "categories", "filter", "exchange", "answer"}


def _filled(value: Any, words: Mapping[str, str]) -> Any:
    """A value with each ``{name}`` in its texts replaced; keys, as those of a map, stay."""
    if isinstance(value, dict):
        return {k: _filled(v, words) for k, v in value.items()}
    if isinstance(value, list):
        return [_filled(v, words) for v in value]
    for name, word in words.items() if isinstance(value, str) else ():
        value = value.replace(f"{{{name}}}", word)
    return value


@dataclass(frozen=True)
class SourceInfo:
    """What `list_sources` says of a source. `problem` has the error of a file that cannot be read; then the rest is empty."""

    name: str
    hub: str | None = None
    rows: int | None = None
    licence: str = ""
    gated: bool = False
    description: str = ""
    problem: str | None = None


def load_source(name: str, beside: Beside = None) -> Source:
    """Load a source by name or path.

    Raises:
        InputError: no such source; InputErrors: faults in its file, each with its line.
    """
    return load_yaml(find("sources", name, beside)).model(Source)


def list_sources() -> list[SourceInfo]:
    """All sources that `load_source` knows by name, the user's own included."""
    out = []
    for name in names("sources"):
        try:
            s = load_source(name)
            out.append(SourceInfo(s.name, s.hub.id if s.hub else None, s.rows(), s.licence, s.gated, s.description))
        except InputError as e:
            out.append(SourceInfo(name, problem=str(e)))
    return out
