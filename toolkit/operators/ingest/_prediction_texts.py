"""The texts of predictions, and all else of a seed, by reference: read out of the files when a step asks for them.

A row refers to its output by `file` and `row`, and by its `draw` where a row of the file has several outputs; to what was asked by the same, or by
`sample` where that is in a file of its own. Memory: a block of each file that is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import polars as pl

from toolkit.common.ahead import in_turn
from toolkit.common.reading import Files
from toolkit.guards import Guard
from toolkit.operators.ingest._predicted_rows import parted
from toolkit.operators.ingest._prediction_layouts import OF_SAMPLES
from toolkit.records import Column, content_ids, load_record, to_polars
from toolkit.sources import Layout, RowsByNumber, split_released_inputs

OF_OUTPUT = ("output", "error")
PIECE = 8192
"""Rows that are looked up at once where only what was asked is wanted."""


def by_reference(guard: Guard) -> list[Column]:
    """The columns that rows have by reference: those of a generation that a line of ``judged`` has not."""
    stored = set(load_record("judged", guard.task_names).names)
    return [c for c in load_record("generation", guard.task_names).columns if c.name not in stored]


def seed_columns(rows: pl.DataFrame, guard: Guard, label_source: str) -> pl.DataFrame:
    """What a seed has beside its id and labels.

    Args:
        rows: `prompt`, `response`, `row` (from 1), and ``label_<task>``; `source`, where it is known.
        guard: the definition.
        label_source: who gave the labels.
    """
    contents, groups = content_ids(zip(rows["prompt"].to_list(), rows["response"].to_list(), strict=True))
    types = to_polars(load_record("seed", guard.task_names).columns)
    source = pl.coalesce("source", pl.lit("predictions")) if "source" in rows.columns else pl.lit("predictions")
    fixed: dict[str, pl.Expr] = {
        **{name: pl.lit([], types[name]) for name in ("context", "categories", "votes")},
        "source": source,
        "source_row": pl.col("row") - 1,
        "licence": pl.lit("unknown"),
        **dict.fromkeys(("language", "split"), pl.lit(None, pl.String)),
    }
    for task in guard.tasks:
        none = pl.lit("absent")
        if task.applies == "response":
            none = pl.when(pl.col("response").is_null()).then(pl.lit("not_applicable")).otherwise(none)
        fixed[f"label_{task.name}_source"] = pl.when(pl.col(f"label_{task.name}").is_null()).then(none).otherwise(pl.lit(label_source))
    made = rows.with_columns(pl.Series("content_id", contents, dtype=pl.String), pl.Series("group", groups, dtype=pl.String))
    return made.with_columns(**fixed)


class PredictionTexts:
    """`toolkit.operators.base.Referred`.

    Args:
        layouts: of each file, by its number; called when the first is needed.
        samples: that of the file of samples, where there is one; likewise.
        guard: the definition.
        label_source: who gave the labels.
        held: files of the step.
        by_id: prompts that are no rendered input stand for themselves.
    """

    def __init__(
        self,
        layouts: Callable[[], Mapping[int, Layout]],
        samples: Callable[[], Layout | None],
        guard: Guard,
        label_source: str,
        held: Files,
        *,
        by_id: bool,
    ) -> None:
        self._find, self._find_samples, self._guard, self._label_source, self._held = layouts, samples, guard, label_source, held
        self._else_plain = by_id
        self._open: tuple[tuple[int, frozenset[str]], RowsByNumber] | None = None

    @cached_property
    def _layouts(self) -> Mapping[int, Layout]:
        return self._find()

    @cached_property
    def _samples(self) -> Layout | None:
        return self._find_samples()

    def by(self, columns: Sequence[str]) -> Sequence[str]:
        if all(c in OF_OUTPUT for c in columns):
            return ["file", "row", "draw"]
        labels = [f"label_{t}" for t in self._guard.task_names]
        return ["file", "row", "draw", *(["sample"] if self._samples is not None else []), *labels]

    def of(self, rows: pl.DataFrame, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """See `Referred.of`."""
        own = [c for c in columns if c in OF_OUTPUT]
        asked = len(own) < len(columns)
        if not asked or self._samples is None:
            pieces = self._with_files(rows, own, asked)
        elif not own and rows["sample"].is_sorted():
            pieces = self._in_order(rows)
        else:
            pieces = map(self._with_samples, self._with_files(rows, own, asked) if own else rows.iter_slices(PIECE))
        for piece in pieces:
            yield self._with_seed(piece, columns) if asked else piece

    def _with_files(self, rows: pl.DataFrame, own: Sequence[str], asked: bool) -> Iterator[pl.DataFrame]:
        """The rows with what their files say of them; two files are read at once."""
        if not rows.height:
            return
        keys = {*own, *(OF_SAMPLES if asked and self._samples is None else ())}
        ends = rows["file"].rle_id().unique_counts().cum_sum().to_list()
        parts = [rows[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        numbers = [int(part["file"][0]) for part in parts]
        readers = {number: self._reader(number, keys) for number in set(numbers)}
        # A file that is read in several turns has one reader, which must not run twice at once.
        width = 2 if len(readers) == len(parts) else 1
        found = in_turn((readers[n].take(part["row"].unique().sort()) for n, part in zip(numbers, parts, strict=True)), width)
        for number, part, blocks in zip(numbers, parts, found, strict=True):
            on = ["row", "draw"] if self._layouts[number].several and "output" in keys else ["row"]
            done = 0
            for block in blocks:
                upto = int(part["row"].search_sorted(int(block["row"][-1]), "right"))
                here, done = part[done:upto], upto
                lacking = [pl.lit(None, pl.String).alias(k) for k in keys if k not in block.columns]
                block = block.drop(c for c in block.columns if c in here.columns and c not in on).with_columns(lacking)
                yield here.join(block, on=on, how="left", maintain_order="left")
        self._open = (numbers[-1], frozenset(keys)), readers[numbers[-1]]

    def _reader(self, number: int, keys: set[str]) -> RowsByNumber:
        """Reads a file, from where the last rows ended if these were of the same one."""
        if self._open is not None and self._open[0] == (number, frozenset(keys)):
            return self._open[1]
        return RowsByNumber(self._layouts[number], keys, self._held)

    def _asked(self, numbers: pl.Series) -> Iterator[pl.DataFrame]:
        """Samples by their numbers, ascending."""
        assert self._samples is not None  # noqa: S101  whoever asks has looked
        return RowsByNumber(self._samples, OF_SAMPLES, self._held).take(numbers)

    def _with_samples(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with what the samples say of them."""
        return _about(rows, pl.concat(self._asked(rows["sample"].unique().sort())))

    def _in_order(self, rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """The same, a block at a time, of rows in the order of the samples: their file is read once."""
        done = 0
        for block in self._asked(rows["sample"].unique(maintain_order=True)):
            upto = int(rows["sample"].search_sorted(int(block["row"][-1]), "right"))
            yield _about(rows[done:upto], block)
            done = upto

    def _with_seed(self, rows: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
        layout = self._samples or self._layouts[int(rows["file"][0])]
        rows = asked_of(rows, self._guard, plain="response" in layout.names, else_plain=self._else_plain)
        whole = seed_columns(rows if self._samples is None else rows.with_columns(row="sample"), self._guard, self._label_source)
        return whole.with_columns(rows["row"], *(pl.lit(None, pl.String).alias(c) for c in columns if c not in whole.columns))


def _about(rows: pl.DataFrame, samples: pl.DataFrame) -> pl.DataFrame:
    """Rows with what the samples, by their numbers, say of them."""
    return rows.drop(OF_SAMPLES, strict=False).join(samples.rename({"row": "sample"}), on="sample", how="left", maintain_order="left")


def asked_of(rows: pl.DataFrame, guard: Guard, *, plain: bool, else_plain: bool = False) -> pl.DataFrame:
    """Rows with `prompt` and `response` as a seed has them; as for `parted`."""
    given = {c: rows[c] if c in rows.columns else pl.Series(c, [None] * rows.height, dtype=pl.String) for c in ("prompt", "response")}
    prompts = given["prompt"].fill_null("")
    if plain:
        return rows.with_columns(prompts, given["response"].replace("", None))
    quick = split_released_inputs(prompts, guard)
    slow = quick["prompt"].is_null().arg_true()
    if slow.len():
        found: list[tuple[Any, Any]] = [parted(text, None, plain, guard, else_plain=else_plain) for text in prompts.gather(slow)]
        quick = quick.with_columns(quick[c].scatter(slow, pl.Series([one[i] for one in found], dtype=pl.String)) for i, c in enumerate(quick.columns))
    return rows.with_columns(quick)
