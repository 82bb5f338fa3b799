"""What an exporter sees of a shard folder, and the shape in which it takes its rows.

Every format is a few polars expressions over a block of the shards' rows: no Python runs per row, and a block's size changes no byte. A
format whose rows have no place for what the shards say of a row (its licence, its weight) says so in `Made` or `Format.left_out`; the
export's own manifest repeats it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from toolkit.common.errors import InputError, did_you_mean
from toolkit.records import MEDIA
from toolkit.shards._kinds import SHARD_KINDS, ShardKind, holds_media, kind_of, refuse
from toolkit.shards.exporters._pair_weights import Weights

if TYPE_CHECKING:
    import polars as pl

Form = Literal["messages", "text"]

TEXT = ("string", "large_string")
"""Types of a column of text, as a manifest names them."""
CONVERSATION = r"^(system,)?(user,assistant,)*user$"
"""Roles of a prompt that every trainer takes: turns that alternate, the last one the user's."""


@dataclass(frozen=True)
class ShardSet:
    """A shard folder as exporters see it.

    Attributes:
        folder: where it is.
        manifest: what its manifest says.
        of: their kind.
        form: whether prompt and answers are chat messages or plain text.
        columns: those of the shards that rows come with, in order.
        splits: the splits that are exported, and how many rows each has.
    """

    folder: Path
    manifest: dict[str, Any]
    of: ShardKind
    form: Form
    columns: tuple[str, ...]
    splits: dict[str, int]

    @property
    def kind(self) -> str:
        """Name of their kind: ``sft`` (prompt, completion), ``preference`` (prompt, chosen, rejected, weight), …"""
        return self.of.name

    @property
    def has_media(self) -> bool:
        """Whether their rows may have media."""
        return holds_media((c["name"], c["type"]) for c in self.manifest["columns"])

    @property
    def tasks(self) -> list[str]:
        """Tasks of which the shards carry a label, in order of their columns ``label_<task>``."""
        there = set(self.columns)
        labels = [c for c in self.columns if c.startswith("label_") and not (c.endswith("_source") and c.removesuffix("_source") in there)]
        return [c.removeprefix("label_") for c in labels]

    def has(self, *names: str) -> list[str]:
        """Those of the names that are columns here."""
        return [n for n in names if n in self.columns]


@dataclass(frozen=True)
class Made:
    """Rows of one output file.

    Attributes:
        config: which of the export's data sets they belong to; each holds every row once.
        split: of that data set.
        path: of the file below the export's folder; ``.jsonl`` or ``.parquet``.
        rows: in the columns and types of the format.
        lines: the rows as they are to be written to a ``.jsonl``, where that is otherwise than `rows` would be: one's types differ from another's.
    """

    config: str
    split: str
    path: str
    rows: pl.DataFrame
    lines: Sequence[bytes] | None = None


class Format(ABC):
    """Another trainer's format.

    Args:
        shards: what is exported.

    Raises:
        InputError: the format has no place for shards of this kind.
    """

    name: ClassVar[str]
    """What ``--format`` takes."""
    doc: ClassVar[str]
    """The page that defines the format."""
    kinds: ClassVar[tuple[str, ...]] = ("sft", "preference")
    """Kinds of shards that it has a place for."""
    weighs: ClassVar[bool] = False
    """Whether a pair's weight has a place."""
    chat: ClassVar[bool] = False
    """Whether plain text becomes messages of a chat in its files, which is reported."""
    media: ClassVar[tuple[str, ...]] = ()
    """Kinds of media that it has a place for beside chat messages; rows with others are refused."""

    def __init__(self, shards: ShardSet) -> None:
        if shards.kind not in self.kinds:
            raise InputError(
                f"the format {self.name!r} has no place for {shards.of.words}",
                where=str(shards.folder),
                hint=f"it takes {' and '.join(SHARD_KINDS.get(k).words for k in self.kinds)}",
            )
        self.shards = shards
        self.written: Counter[str] = Counter()
        """Rows that each split has in the files; complete when `notes` and `beside` are called."""

    @classmethod
    def opened(cls, shards: ShardSet, guard: str | None) -> Self:
        """The format for these shards.

        Args:
            shards: what is exported.
            guard: name or file of their guard, where the user gave one; by default the manifest's.

        Raises:
            InputError: it has no place for them, or needs a guard that is not there.
        """
        return cls(shards)

    def again(self, folder: Path) -> None:
        """Take from an export's files what `carried` and `beside` need, where only these are asked for, and the constructor was not called.

        Args:
            folder: of the export.

        Raises:
            InputError: a file that is not there, or cannot be read.
        """
        return

    @classmethod
    def splits(cls, counts: Mapping[str, Mapping[str, int]], rows: int) -> Mapping[str, int]:
        """Rows of each split of its files, by what an export's record counts of the rows (``split``, ``source``, …)."""
        return counts.get("split", {})

    @abstractmethod
    def convert(self, rows: pl.DataFrame, split: str, start: int) -> list[Made]:
        """A block's rows in this format.

        Args:
            rows: of the shards, checked by `checked`.
            split: whose they are.
            start: rows of this split before them.

        Raises:
            InputError: rows that the format cannot say.
        """

    def configs(self) -> list[str]:
        """The data sets that an export holds: each has every row."""
        return ["default"]

    def carried(self) -> list[str]:
        """Columns of the shards that the files say in one way or another, ``split`` among them where files are split."""
        return [*self.shards.of.wants, "split"]

    def notes(self) -> list[str]:
        """What a reader must know of this export. Called after the last row."""
        if self.chat and self.shards.form == "text":
            return ["The shards are plain text; here each is a user's and an assistant's message, which the trainer's chat template wraps."]
        return []

    def beside(self) -> dict[str, str]:
        """Other files of the export: path -> text. Called after the last row."""
        return {}


def as_messages(column: str, form: Form, role: str) -> pl.Expr:
    """A column as chat messages: a list of {role, content}.

    Args:
        column: of the shards.
        form: its form.
        role: of the message that plain text becomes.
    """
    import polars as pl

    return pl.col(column) if form == "messages" else pl.concat_list(pl.struct(role=pl.lit(role), content=pl.col(column))).alias(column)


def conversation(form: Form, answer: str) -> pl.Expr:
    """Prompt and answer as one conversation."""
    import polars as pl

    return pl.concat_list(as_messages("prompt", form, "user"), as_messages(answer, form, "assistant"))


def answer_text(column: str, form: Form) -> pl.Expr:
    """The text of a column that holds an assistant's one message."""
    import polars as pl

    return pl.col(column) if form == "text" else pl.col(column).list.first().struct.field("content")


def provenance(shards: ShardSet) -> list[pl.Expr]:
    """Which row it is, whence and under which licence, for formats that leave other columns alone. Null becomes ``unknown``: readers that
    guess types from the first lines of a JSON file must see one type throughout."""
    import polars as pl

    texts = {c["name"] for c in shards.manifest["columns"] if c["type"] in TEXT}
    return [pl.col(n).fill_null("unknown") if n in texts else pl.col(n) for n in shards.has("id", "source", "licence", "teacher", "task")]


def checked(rows: pl.DataFrame, shards: ShardSet) -> pl.DataFrame:
    """The rows, which are what their kind says.

    Raises:
        InputError: a null, roles that do not alternate, an answer of more than one message, or two equal answers in a pair; with the rows.
    """
    import polars as pl

    names = shards.of.answers
    if shards.form == "messages":
        roles = {n: pl.col(n).list.eval(pl.element().struct.field("role")).list.join(",") for n in ("prompt", *names)}
        nulls = pl.any_horizontal(pl.element().struct.field("role", "content").is_null())
        texts = [pl.col(n).list.eval(nulls).list.any() for n in ("prompt", *names)]
        bad = roles["prompt"].str.contains(CONVERSATION).not_() | pl.any_horizontal(*(roles[n] != "assistant" for n in names), *texts)
    else:
        bad = pl.lit(value=False)
    bad = bad.fill_null(value=True) | pl.any_horizontal(pl.col("prompt", *names).is_null())
    hint = "leave the rows out in a step before the shards"
    refuse(rows.filter(bad), "no conversation that a trainer takes: turns that alternate, then one answer", str(shards.folder), hint)
    shards.of.check(rows, str(shards.folder), hint=hint)
    return rows


def shard_set(folder: Path, manifest: dict[str, Any], split: str | None, weights: Weights | None) -> ShardSet:
    """What is exported of shards with this manifest (InputError: nothing that a trainer takes)."""
    names = [c["name"] for c in manifest["columns"]]
    kind = kind_of(names, manifest.get("kind"), str(folder))
    types = {c["name"]: c["type"] for c in manifest["columns"]}
    columns = {"prompt", *kind.answers}
    texts = {n for n in columns if types[n] in TEXT}
    chats = {n for n in columns if "role" in types[n] and "content" in types[n]}
    if columns not in (texts, chats):
        raise InputError("prompt and answers must all be chat messages, or all plain text", where=str(folder))
    sizes: Counter[str] = Counter()
    for about in manifest["files"].values():
        sizes[about["split"]] += about["rows"]
    if split is not None and split not in sizes:
        raise InputError(f"the shards have no split called {split!r}", where=str(folder), hint=did_you_mean(split, sizes))
    form: Form = "text" if texts else "messages"
    kept = tuple(n for n in names if not (n == "weight" and weights))
    return ShardSet(folder, manifest, kind, form, kept, {split: sizes[split]} if split else dict(sorted(sizes.items())))


def left_out(shards: ShardSet, form: Format, weights: str | None) -> list[str]:
    """Columns that the format has no place for."""
    carried = {*form.carried(), *(["weight"] if weights == "repeat" else []), *([MEDIA] if shards.has_media and form.media else [])}
    return [c["name"] for c in shards.manifest["columns"] if c["name"] not in carried]
