"""Files of what others wrote, a block at a time, with columns by what they hold: what guards answered, and rows with labels of one's own.

Columns are known by their usual names (`USUAL`), or named: ``{"output": "completion", "label_prompt": "gold"}``. Formats: JSON Lines, JSON, parquet,
CSV, TSV. Ids may be texts or whole numbers. The outputs of a row may be one text, or several in a list (texts; ``{text: …}`` as vLLM has them; lists
of ``{role, content}`` as TRL has them, of which the last message is the output): then each is a row of its own with its place as its `draw`.
A row that cannot be read (torn, not UTF-8, of another type) is a `Fault` with its place. Memory: a block.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError, did_you_mean
from toolkit.common.parquet import open_parquet, taken_batches
from toolkit.common.reading import Files
from toolkit.records import Column
from toolkit.sources._column_frames import BLOCK_ROWS, read_frames
from toolkit.sources._faults import Fault
from toolkit.sources._formats import DELIMITED, file_columns, format_of, read_blocks

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

USUAL: dict[str, tuple[str, ...]] = {
    "id": ("parent", "id"),
    "prompt": ("prompt",),
    "response": ("response",),
    "output": ("predict", "output", "content", "outputs", "completions"),
    "error": ("error",),
    "label": ("label",),
    "verdict": ("verdict",),
    "draw": ("draw",),
    "probability": ("probability",),
    "tokens": ("tokens", "completion_tokens"),
    "seconds": ("seconds",),
    "finish": ("finish", "finish_reason"),
    "source": ("source",),
}
"""What a file may say of a row, and the names that its columns usually have. `label`, `verdict` and `probability` may also stand for each task,
``label_<task>``."""
PER_TASK = ("label", "verdict", "probability")
TYPES = {"draw": "int64", "tokens": "int64", "seconds": "float64", "probability": "float64", "score": "float64"}
"""Of columns that are no text; `score_…` are those of rewards, which are asked for by name."""
_LOOK = 64
"""Rows that are looked at for the types of ids and outputs."""
_MESSAGES: Any = {"list": {"struct": {"content": "string"}}}
_LISTS: dict[str, Any] = {
    "texts": {"list": "string"},
    "parts": {"list": {"struct": {"text": "string"}}},
    "conversation": _MESSAGES,
    "conversations": {"list": _MESSAGES},
}


def known_columns(tasks: Collection[str]) -> list[str]:
    """All that a column may be named for."""
    return [*USUAL, *(f"{key}_{task}" for key in PER_TASK for task in tasks)]


def check_columns(given: Mapping[str, str], tasks: Collection[str], where: str = "--column") -> None:
    """Refuse (InputError) names for what there is not."""
    known = known_columns(tasks)
    if odd := next((key for key in given if key not in known), None):
        raise InputError(f"nothing is called {odd!r}", where=where, hint=did_you_mean(odd, known))


@dataclass(frozen=True)
class Layout:
    """How a file says what it says.

    Attributes:
        path, kind: the file and its format.
        names: by what they hold (`USUAL`, ``label_<task>``) the columns that it has of it.
        types: of these columns.
        outputs: how a row's outputs lie: ``text``, or a key of `_LISTS`.
    """

    path: Path
    kind: str
    names: Mapping[str, str]
    types: Mapping[str, Any] = field(default_factory=dict)
    outputs: str = "text"

    @property
    def several(self) -> bool:
        """Whether a row may have several outputs."""
        return self.outputs not in ("text", "conversation")

    def columns(self, keys: Collection[str] | None = None) -> tuple[Column, ...]:
        """The columns of the file that hold these."""
        wanted = {name: self.types[key] for key, name in self.names.items() if keys is None or key in keys}
        return tuple(Column(name, kind, nullable=True) for name, kind in wanted.items())


def layout_of(path: Path, tasks: Collection[str], given: Mapping[str, str], held: Files | None = None, absent: Collection[str] = ()) -> Layout | None:
    """How a file says what it says; None where no row of its beginning can be read.

    Args:
        path: the file.
        tasks: whose labels, verdicts and probabilities are wanted.
        given: names of columns, by what they hold.
        held: files of a step.
        absent: what of these it may lack.

    Raises:
        InputError: it cannot be read, or lacks a column that is named.
    """
    kind = format_of(path)
    if (there := file_columns(path, kind)) is None:
        return None
    names = _names(path, there, tasks, given, absent)
    types: dict[str, Any] = {key: TYPES.get(key if key in TYPES else key.partition("_")[0], "string") for key in names}
    outputs = "text"
    if kind not in DELIMITED and names.keys() & {"id", "output"}:
        looked = _looked(path, kind, [names[key] for key in ("id", "output") if key in names], held)
        if "id" in names:
            types["id"] = "int64" if _is_number(looked[names["id"]]) else "string"
        if "output" in names:
            outputs = _how(looked[names["output"]])
            types["output"] = _LISTS.get(outputs, "string")
    return Layout(path, kind, names, types, outputs)


def _names(path: Path, there: Collection[str], tasks: Collection[str], given: Mapping[str, str], absent: Collection[str]) -> dict[str, str]:
    """By key the column that is meant, of those that are there."""
    out: dict[str, str] = {}
    for key, name in given.items():
        if name in there:
            out[key] = name
        elif key not in absent:
            raise InputError(f"no column {name!r}, which was named for {key}", where=str(path), hint=did_you_mean(name, there))
    for key, usual in USUAL.items():
        if key not in given and (found := next((name for name in usual if name in there and name not in given.values()), None)):
            out[key] = found
    for key in PER_TASK:
        out |= {own: own for task in tasks if (own := f"{key}_{task}") in there and own not in given}
        out |= {f"{key}_{task}": out.pop(key) for task in tasks if len(tasks) == 1 and key in out and f"{key}_{task}" not in out}
    return out


def _looked(path: Path, kind: str, columns: list[str], held: Files | None) -> dict[str, Any]:
    """The first value of each column that is there in the first rows."""
    found: dict[str, Any] = dict.fromkeys(columns)
    for block in read_blocks(path, kind, columns, _LOOK, held):
        for row in (r for r in block if isinstance(r, dict)):
            found |= {name: row.get(name) for name in columns if found[name] in (None, [])}
        break
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _how(value: Any) -> str:
    """How outputs lie, by the first of them."""
    if not isinstance(value, list) or not value:
        return "texts" if isinstance(value, list) else "text"
    first = value[0]
    if isinstance(first, list):
        return "conversations"
    return ("parts" if "text" in first else "conversation") if isinstance(first, dict) else "texts"


def read_layout(
    layout: Layout, held: Files | None = None, keys: Collection[str] | None = None
) -> Iterator[tuple[pl.DataFrame, list[tuple[int, Fault]]]]:
    """The rows of a file: `row` (from 1), and what it says by its keys (`keys`: these alone); beside them those that cannot be read.

    Raises:
        InputError: as `toolkit.sources.read_frames`.
    """
    names = {key: name for key, name in layout.names.items() if keys is None or key in keys}
    for frame in read_frames(layout.path, layout.kind, layout.columns(keys), held):
        yield _by_contents(layout, frame.rows, frame.numbers, names), frame.faults


def unreadable_rows(path: Path, held: Files | None = None) -> Iterator[list[tuple[int, Fault]]]:
    """The rows of a file that has no other (`layout_of`)."""
    start = 0
    for block in read_blocks(path, format_of(path), [], 4096, held):
        yield [(start + i + 1, row) for i, row in enumerate(block) if isinstance(row, Fault)]
        start += len(block)


def _by_contents(layout: Layout, rows: pl.DataFrame, numbers: pl.Series, names: Mapping[str, str]) -> pl.DataFrame:
    """Rows by what they hold."""
    import polars as pl

    out = rows.select(numbers.alias("row"), **{key: pl.col(name) for key, name in names.items()})
    if "id" in names:
        out = out.with_columns(pl.col("id").cast(pl.String))
    if "output" not in names or layout.outputs == "text":
        return out
    value, each = pl.col("output"), pl.element()
    made = {
        "texts": value,
        "parts": value.list.eval(each.struct.field("text")),
        "conversation": value.list.last().struct.field("content"),
        "conversations": value.list.eval(each.list.last().struct.field("content")),
    }[layout.outputs]
    out = out.with_columns(made.alias("output"))
    if not layout.several:
        return out
    numbered = out.with_columns(draw=pl.int_ranges(pl.col("output").list.len().fill_null(1).clip(1), dtype=pl.Int64))
    return numbered.explode("output", "draw", empty_as_null=True, keep_nulls=True)


class RowsByNumber:
    """Rows of a file by their numbers. Parquet is read where they are; of another file all rows up to them, once as long as they are asked for in
    order.

    Args:
        layout: of the file.
        keys: what is wanted of a row.
        held: files of a step.
    """

    def __init__(self, layout: Layout, keys: Collection[str], held: Files | None = None) -> None:
        self._layout, self._held = layout, held
        self._names = {key: name for key, name in layout.names.items() if key in keys}
        self._frames: Iterator[tuple[pl.DataFrame, list[tuple[int, Fault]]]] | None = None
        self._waiting: pl.DataFrame | None = None

    def take(self, numbers: pl.Series) -> Iterator[pl.DataFrame]:
        """The rows with these numbers (from 1, ascending, each once), as `read_layout` gives them; of several outputs all.

        Raises:
            InputError: the file cannot be read.
        """
        if not numbers.len():
            return
        yield from self._parquet(numbers) if self._layout.kind == "parquet" else self._others(numbers)

    def _parquet(self, numbers: pl.Series) -> Iterator[pl.DataFrame]:
        import polars as pl
        import pyarrow as pa

        path, rows = self._layout.path, numbers - 1
        columns = list(dict.fromkeys(self._names.values()))
        with open_parquet(path, files=self._held or Files()) as file:
            done = 0
            for batch, here in taken_batches(file, path, BLOCK_ROWS, rows, columns):
                found = pl.DataFrame(pl.from_arrow(pa.table(_picked(batch, here))))
                yield _by_contents(self._layout, found, numbers[done : done + here.len()], self._names)
                done += here.len()

    def _others(self, numbers: pl.Series) -> Iterator[pl.DataFrame]:
        import polars as pl

        if self._waiting is None or int(numbers[0]) < int(self._waiting["row"][0]):
            self._frames, self._waiting = read_layout(self._layout, self._held, {*self._names}), None
        left = numbers
        while left.len():
            if self._waiting is None:
                assert self._frames is not None  # noqa: S101  set above
                while (found := next(self._frames, (None, []))[0]) is not None and not found.height:
                    pass
                if found is None:
                    return
                self._waiting = found
            last = int(self._waiting["row"][-1])
            now = left.filter(left <= last)
            if now.len():
                yield self._waiting.filter(pl.col("row").is_in(now.implode()))
            left = left[now.len() :]
            if left.len():
                self._waiting = None


def _picked(batch: pa.RecordBatch, rows: pl.Series) -> dict[str, Any]:
    return {name: batch.column(i).take(rows.to_arrow()) for i, name in enumerate(batch.schema.names)}


def names_of(paths: Sequence[Path]) -> str:
    """Files in a message."""
    return ", ".join(map(str, paths[:3])) + (", …" if len(paths) > 3 else "")
