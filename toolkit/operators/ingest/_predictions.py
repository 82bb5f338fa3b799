"""Files of predictions as generations, a block at a time: what `load_predictions` does."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from toolkit.common.ahead import in_turn
from toolkit.common.errors import InputError, InputErrors
from toolkit.guards import Guard, repeats_its_input, unknown_label
from toolkit.judging import TEXTS, read_frame
from toolkit.mining import judged
from toolkit.operators.base import Context, Output, Referred
from toolkit.operators.ingest._intake import Intake
from toolkit.operators.ingest._predicted_rows import UNKNOWN, ById, ByText, LabelWords, Parents, coverage
from toolkit.operators.ingest._prediction_files import Part
from toolkit.operators.ingest._prediction_layouts import OF_SAMPLES, file_layout, sample_layout
from toolkit.operators.ingest._prediction_options import LoadPredictionsConfig
from toolkit.operators.ingest._prediction_texts import asked_of, seed_columns
from toolkit.records import Column, load_record
from toolkit.sources import Layout, file_columns, format_of, read_layout, unreadable_rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from toolkit.sources import Fault

FILE = (Column("file", "int64", doc="number of the file that the output is in"), Column("row", "int64", doc="its row there, from 1"))
_SPACE = r"[\s\x1c-\x1f]"
"""A character that Python strips."""
LISTED = 20
"""Faults of samples that are listed."""


class Block(NamedTuple):
    """Rows of a file, and those that could not be read; without a layout no row could."""

    layout: Layout | None
    rows: pl.DataFrame
    faults: Sequence[tuple[int, Fault]]


class Predictions:
    """One run of the operator.

    Args:
        config: its options.
        parts: the files, in order.
        sample: the file of samples.
        out: where generations go.
        ctx: of the step.
        texts: reads what rows refer to.
    """

    def __init__(self, config: LoadPredictionsConfig, parts: Sequence[Part], sample: Path | None, out: Output, ctx: Context, texts: Referred) -> None:
        self._config, self._parts, self._out, self._ctx, self._guard, self._texts = config, parts, out, ctx, ctx.guard, texts
        self._mode = config.read or ("lenient" if config.texts == "reference" else None)
        self._parents = Parents(ctx.guard)
        self._by_id = ById(self._parents)
        self._by_text = ByText(self._parents, ctx.guard)
        self._words = {t: LabelWords(ctx.guard, t, strict=False) for t in ctx.guard.task_names}
        self._plain_words = None if config.task is None else LabelWords(ctx.guard, config.task, strict=True)
        self._sample, self._sample_rows, self._done = sample, pl.Series("sample", [], dtype=pl.Int64), 0

    def run(self) -> None:
        """Read all files."""
        if self._sample is not None:
            self._samples(self._sample)
        parts = [p for name in self._config.files for p in self._parts if p.guard == name]
        for part, blocks in zip(parts, in_turn(map(self._blocks, parts)), strict=True):
            self._file(part, blocks)
        self._figures()

    # Samples ------------------------------------------------------------------------------------------------------------

    def _samples(self, path: Path) -> None:
        """Ids and labels of the rows that were asked about.

        Raises:
            InputErrors: rows that cannot be read, or of which a label is none; InputError: no ids, or one that is there twice.
        """
        layout = sample_layout(path, self._config, self._ctx)
        if layout is None or "id" not in layout.names:
            there = ", ".join(map(repr, sorted(file_columns(path, format_of(path)) or ()))) or "none"
            raise InputError(f"no column with ids; it has {there}", where=str(path), hint="name it: sample_id=COLUMN")
        labels = self._labels_of(layout)
        rows: list[pl.Series] = []
        for block, faults in read_layout(layout, self._ctx.files, ("id", *labels)):
            numbers = self._by_id.numbers(block["id"])
            wrong = [(n, f.reason, f.detail) for n, f in faults]
            wrong += [(block["row"][int(i)], "missing_key", "no id") for i in (numbers < 0).nonzero()[0]]
            before = sum(map(len, rows))
            if wrong or self._parents.height < before + block.height:
                raise self._unsound(path, block, numbers, wrong, pl.concat([pl.Series("row", [], dtype=pl.Int64), *rows]))
            codes, odd = self._codes(block, labels)
            if odd:
                raise InputErrors(InputError(f"unknown_label: {odd[i]}", where=f"{path}: row {block['row'][i]}") for i in sorted(odd)[:LISTED])
            for task, of_task in codes.items():
                self._parents.tell(task, numbers, of_task)
            rows.append(block["row"])
        self._sample_rows = pl.concat(rows).rename("sample") if rows else self._sample_rows
        self._by_id.closed = True
        if not rows:
            raise InputError("no rows", where=str(path))

    def _unsound(
        self, path: Path, block: pl.DataFrame, numbers: NDArray[np.int64], wrong: Sequence[tuple[int, str, str]], rows: pl.Series
    ) -> InputError:
        """The error of samples that cannot be distinguished, or read."""
        if wrong:
            n, reason, detail = min(wrong)
            return InputError(f"{reason}: {detail}", where=f"{path}: row {n}", hint="each sample needs a sound row: ids and labels are taken from it")
        place: dict[int, int] = dict(enumerate(rows.to_list()))
        for i, number in enumerate(numbers.tolist()):
            if (first := place.setdefault(number, block["row"][i])) != block["row"][i]:
                return InputError(f"the id {block['id'][i]!r} is there twice (row {first})", where=f"{path}: row {block['row'][i]}")
        raise AssertionError("no id is there twice")

    def _labels_of(self, layout: Layout) -> list[str]:
        """By what they hold the columns of labels."""
        keys = [f"label_{t}" for t in self._guard.task_names if f"label_{t}" in layout.names]
        if "label" not in layout.names or (self._config.task is None and keys):
            return keys
        if self._config.task is None:
            hint = f"say so with {{--task|task}}: {', '.join(self._guard.task_names)}"
            raise InputError("of which task is the column of labels?", where=str(layout.path), hint=hint)
        return [*keys, "label"] if f"label_{self._config.task}" not in keys else keys

    def _codes(self, rows: pl.DataFrame, labels: Sequence[str]) -> tuple[dict[str, NDArray[np.int8]], dict[int, str]]:
        """By task the numbers of labels; and by place what is wrong with one."""
        codes: dict[str, NDArray[np.int8]] = {}
        odd: dict[int, str] = {}
        for key in labels:
            task = self._config.task if key == "label" else key.removeprefix("label_")
            assert task is not None  # noqa: S101  `_labels_of`
            words = self._plain_words if key == "label" and self._plain_words is not None else self._words[task]
            codes[task] = words.codes(rows[key])
            for i in (codes[task] == UNKNOWN).nonzero()[0]:
                odd.setdefault(int(i), unknown_label(rows[key][int(i)], self._guard.task(task).labels))
        return codes, odd

    # Predictions --------------------------------------------------------------------------------------------------------

    def _blocks(self, part: Part) -> Iterator[Block]:
        """The rows of a file; in a thread of its own, so that nothing of other files is touched."""
        layout = file_layout(part.path, self._config, self._ctx)
        if layout is None:
            yield from (Block(None, pl.DataFrame(), faults) for faults in unreadable_rows(part.path, self._ctx.files))
            return
        self._check(layout)
        for rows, faults in read_layout(layout, self._ctx.files, self._keys(layout)):
            yield Block(layout, self._with_verdicts(rows), faults)

    def _file(self, part: Part, blocks: Iterator[Block]) -> None:
        """One file."""
        intake, rows, layout = Intake(f"{part.guard!r}, {part.path.name}"), 0, None
        for block in blocks:
            layout = block.layout
            gone = [(n, f.text, f.reason, f.detail) for n, f in block.faults]
            rows += self._gone(part, intake, gone) if layout is None else self._block(part, layout, intake, block.rows, gone)
            self._ctx.progress(self._done + rows, None, part.guard)
        self._done += rows
        if not rows:
            raise InputError("no rows", where=str(part.path))
        try:
            intake.check(self._config, self._ctx.step)
        except InputError as e:
            raise InputError(e.message, where=e.where, hint=self._fitting(part.path, layout) or e.hint) from None

    def _joins_by_id(self, layout: Layout) -> bool:
        return self._config.by_id or "prompt" not in layout.names

    def _keys(self, layout: Layout) -> list[str]:
        """What is wanted of a file."""
        texts = () if self._joins_by_id(layout) and self._config.texts == "reference" else OF_SAMPLES
        own = ("output", "error", "draw", "tokens", "seconds", "finish", *(f"probability_{t}" for t in self._guard.task_names))
        return [*texts, *own, *self._labels_of(layout), *(["id"] if self._joins_by_id(layout) else [])]

    def _check(self, layout: Layout) -> None:
        """Refuse (InputError) a file without what cannot be done without."""
        there = ", ".join(map(repr, sorted(file_columns(layout.path, layout.kind) or ())))
        for key in ("output", *(["id"] if self._joins_by_id(layout) else [])):
            if key not in layout.names and not (key == "output" and "prompt" in layout.names):
                what = {"output": "outputs", "id": "ids"}[key]
                hint = f"name it: {{--column {key}=COLUMN|columns, {key}: COLUMN}}"
                raise InputError(f"no column with {what}; it has {there}", where=str(layout.path), hint=hint)
        if self._sample is None and not self._labels_of(layout):
            hint = "name it: {--column label_TASK=COLUMN|columns, label_TASK: COLUMN}, or give the file that has them: {--samples FILE|samples}"
            raise InputError(f"no column with labels; it has {there}", where=str(layout.path), hint=hint)

    def _block(self, part: Part, layout: Layout, intake: Intake, rows: pl.DataFrame, gone: list[tuple[int, str, str, str]]) -> int:
        """One block of a file, and what of it is gone already; how many rows it has."""
        import numpy as np

        wrong: dict[int, tuple[str, str]] = {}
        needed = ["output", *(["prompt"] if not self._joins_by_id(layout) else []), *(["label"] if "label" in rows.columns else [])]
        for key in needed:
            lacks = rows[key].is_null()
            if key == "output" and "error" in rows.columns:
                lacks = lacks & rows["error"].is_null()
            for i in lacks.arg_true():
                wrong.setdefault(i, ("missing_key", f"{key} is no text"))
        draws = rows["draw"] if "draw" in rows.columns else None
        if draws is not None and (negative := draws.filter(draws < 0)).len():
            raise InputError(f"a draw has the number {negative[0]}: draws are numbered from 0", where=str(part.path))
        if draws is not None and draws.null_count():
            wrong = {**dict.fromkeys(draws.is_null().arg_true(), ("missing_key", "draw is no number")), **wrong}
        numbers = self._numbers(part, layout, rows, draws, wrong)
        good = np.ones(rows.height, np.bool_)
        good[list(wrong)] = False
        sound = (rows, numbers) if good.all() else (rows.filter(pl.Series(good)), numbers[good])
        kept = self._made(part, layout, *sound)
        for i, (reason, detail) in wrong.items():
            row = rows.row(i, named=True)
            shown = {layout.names.get(k, k): v for k, v in row.items() if k in (*layout.names, "draw") and not (v is None and k not in needed)}
            gone.append((row["row"], json.dumps(shown, ensure_ascii=False, default=str), reason, detail))
        intake.add(kept, pl.DataFrame())
        self._out.count_in(kept.height)
        self._out.keep(kept)
        return kept.height + self._gone(part, intake, gone)

    def _gone(self, part: Part, intake: Intake, gone: Sequence[tuple[int, str, str, str]]) -> int:
        """Rows that are rejected: number, text, reason, detail."""
        if gone:
            types = {"number": pl.Int64, "raw": pl.String, "reason": pl.String, "detail": pl.String}
            frame = pl.DataFrame(gone, schema=types, orient="row").sort("number", maintain_order=True)
            intake.add(pl.DataFrame(), frame.with_columns(outcome=pl.lit("rejected")))
            self._out.count_in(frame.height)
            where = pl.format("{}, row {}: {}", pl.lit(part.path.name), "number", "detail")
            self._out.reject(frame.select("raw"), frame["reason"], frame.select(where).to_series())
        return len(gone)

    def _numbers(
        self, part: Part, layout: Layout, rows: pl.DataFrame, draws: pl.Series | None, wrong: dict[int, tuple[str, str]]
    ) -> NDArray[np.int64]:
        """The number of each generation's row; what is wrong with one is added to `wrong`."""
        import numpy as np

        drawn = np.full(rows.height, part.draw, np.int64) if draws is None else draws.fill_null(-1).to_numpy()
        if self._joins_by_id(layout):
            found = self._by_id.numbers(rows["id"])
            for i in np.flatnonzero(found < 0):
                none = rows["id"][int(i)] is None
                detail = "no id" if none else f"no sample has the id {rows['id'][int(i)]!r}"
                wrong.setdefault(int(i), ("missing_key" if none else "unknown_id", detail))
        else:
            sound = rows.with_columns(pl.col("prompt").fill_null("")) if rows["prompt"].null_count() else rows
            found, faults = self._by_text.texts(sound)
            for i, detail in faults.items():
                wrong.setdefault(i, ("not_this_guard", detail))
        codes, odd = self._codes(rows, self._labels_of(layout))
        for i, detail in odd.items():
            wrong.setdefault(i, ("unknown_label", detail))
        at = np.setdiff1d(np.arange(rows.height), list(wrong)) if wrong else np.arange(rows.height)
        if not self._joins_by_id(layout):
            found[at] = self._by_text.numbers(found[at], part.guard, drawn[at])
        for task, of_task in codes.items():
            self._contradicted(task, found, at, of_task, wrong)
        at = np.setdiff1d(at, list(wrong)) if wrong else at
        for draw in np.unique(drawn[at]):
            here = at[drawn[at] == draw]
            for i in here[self._parents.draw(part.guard, int(draw), found[here])]:
                wrong[int(i)] = ("draw_repeated", f"an earlier row is draw {draw} of {part.guard!r} for the same row")
        return found

    def _contradicted(
        self, task: str, found: NDArray[np.int64], at: NDArray[np.int64], codes: NDArray[np.int8], wrong: dict[int, tuple[str, str]]
    ) -> None:
        labels = [*self._guard.task(task).labels, "none"]
        for i in at[self._parents.tell(task, found[at], codes[at])]:
            earlier = self._parents.labels(task, found[[i]])[0] or "none"
            wrong.setdefault(int(i), ("conflicting_labels", f"the label is {labels[codes[i]]}, an earlier file says {earlier}"))

    # Rows ---------------------------------------------------------------------------------------------------------------

    def _made(self, part: Part, layout: Layout, rows: pl.DataFrame, numbers: NDArray[np.int64]) -> pl.DataFrame:
        """Generations as the step's rows."""
        refers = self._config.texts == "reference"
        draw = pl.col("draw") if "draw" in rows.columns else pl.lit(part.draw, pl.Int64).alias("draw")
        made = rows.drop("label", *(f"label_{t}" for t in self._guard.task_names), strict=False).with_columns(
            self._parents.ids(numbers),
            draw,
            *self._labels(numbers),
            guard_model=pl.lit(part.guard),
            model_id=pl.lit(part.guard),
            output_key=pl.lit(""),
            file=pl.lit(part.number, pl.Int64),
        )
        if self._sample is not None:
            made = made.with_columns(self._sample_rows.gather(numbers))
        if not refers:
            made = self._with_texts(layout, made)
        if self._mode is not None:
            made = self._read(layout, made)
        made = made.with_columns(pl.format("{}:{}:{}", "parent", "guard_model", "draw").alias("id"))
        if refers:
            return judged(made, self._guard).hstack(made.select("file", "row", *(["sample"] if self._sample is not None else [])))
        record = load_record("generation" if self._mode is None else "verdict", self._guard.task_names)
        return made.with_columns(pl.lit(None, pl.String).alias(c) for c in ("finish", "error") if c not in made.columns).select(record.names)

    def _labels(self, numbers: NDArray[np.int64]) -> Iterator[pl.Series]:
        """The labels of some rows, by task, as the reading takes them."""
        for name in self._guard.task_names:
            labels = self._parents.labels(name, numbers)
            yield labels if (reading := self._config.reading) is None else labels.replace(self._guard.task(name).readings.get(reading, {}))

    def _with_texts(self, layout: Layout, made: pl.DataFrame) -> pl.DataFrame:
        """With all that a seed has."""
        if self._sample is None:
            if "prompt" not in layout.names:
                hint = "give the file that has them: {--samples FILE|samples}; or texts: reference"
                raise InputError("no column with prompts", where=str(layout.path), hint=hint)
            asked = asked_of(made, self._guard, plain="response" in layout.names, else_plain=self._config.by_id)
            return seed_columns(asked, self._guard, self._config.label_source)
        wanted = [c for c in load_record("seed", self._guard.task_names).names if c != "id" and c not in made.columns]
        return pl.concat(self._texts.of(made, wanted)) if made.height else made.with_columns(pl.lit(None).alias(c) for c in wanted)

    def _with_verdicts(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows with what their outputs say by themselves, where their texts stay where they are."""
        if "output" not in rows.columns:
            rows = rows.with_columns(output=pl.lit(None, pl.String))
        if self._mode is None or self._config.texts != "reference":
            return rows
        about = rows.with_columns(length=pl.col("output").str.len_chars().cast(pl.Int64), _doubtful=may_repeat(self._guard))
        return about.hstack(read_frame(self._guard, rows.select("output"), self._mode, reading=self._config.reading))

    def _read(self, layout: Layout, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows with what their outputs say, those that may repeat their own input read behind it."""
        assert self._mode is not None  # noqa: S101
        if self._config.texts == "copy":
            return rows.hstack(read_frame(self._guard, rows.select("output", *TEXTS), self._mode, reading=self._config.reading))
        if self._mode != "lenient" or not rows["_doubtful"].any() or (self._sample is None and "prompt" not in layout.names):
            return rows
        wanted = ["context", "prompt", "response"]
        doubtful = rows.with_row_index("_at").filter("_doubtful").drop("prompt", "response", strict=False)
        whole = pl.concat(self._texts.of(doubtful, wanted))
        again = [repeats_its_input(self._guard, text or "", prompt or "") for text, prompt in whole.select("output", "prompt").iter_rows()]
        whole = whole.filter(pl.Series(again, dtype=pl.Boolean))
        if not whole.height:
            return rows
        new = read_frame(self._guard, whole.select("output", *TEXTS), self._mode, reading=self._config.reading).with_columns(whole["_at"])
        return rows.with_row_index("_at").update(new, on="_at", include_nulls=True).drop("_at")

    # The end ------------------------------------------------------------------------------------------------------------

    def _figures(self) -> None:
        """Figures of the step.

        Raises:
            InputError: guards, or draws of one, that share no row.
        """
        names, parents = list(self._config.files), self._parents
        drawn = {name: parents.of(name) for name in names}
        rows = {name: reduce(or_, draws.values()) for name, draws in drawn.items() if draws}
        paths = {name: next(p.path for p in self._parts if p.guard == name) for name in names}
        for name, draws in drawn.items():
            if len(draws) > 1 and sum(int(d.sum()) for d in draws.values()) == int(rows[name].sum()):
                hint = "are they parts of one draw? put them into a folder, and name that"
                raise InputError(f"no row of {name!r} has more than one of its {len(draws)} draws", where=str(paths[name]), hint=hint)
        first, *others = names
        for name in others:
            if not (rows[first] & rows[name]).any():
                message = f"no row of {name!r} is a row of {first!r}: guards are compared on the same rows"
                raise InputError(message, where=str(paths[name]), hint=f"{first!r} is {paths[first]}")
        seen = int(reduce(or_, rows.values()).sum())
        self._out.stat("rows", seen)
        for stat, value in coverage(parents, names).items():
            self._out.stat(stat, dict(value))
        if self._sample is not None:
            self._out.stat("samples", {"rows": parents.height, "without": parents.height - seen})

    def _fitting(self, path: Path, layout: Layout | None) -> str | None:
        """Which other tasks the labels of a file fit, where they do not fit this one."""
        if layout is None or "label" not in layout.names or self._config.task is None:
            return None
        fit: Counter[str] = Counter()
        block = next(iter(read_layout(layout, None, ["label"])), (pl.DataFrame({"label": []}), []))[0]
        for word, n in block["label"].drop_nulls().value_counts().iter_rows():
            value = pl.Series([word])
            fit.update({t: n for t in self._guard.task_names if LabelWords(self._guard, t, strict=True).codes(value)[0] >= 0})
        mine = fit.pop(self._config.task, 0)
        better = [f"task {t!r} ({n:,} rows)" for t, n in fit.most_common() if n > mine]
        return f"the labels fit the {' or the '.join(better)}; say so with {{--task|task}}" if better else None


def may_repeat(guard: Guard) -> pl.Expr:
    """Whether an output may repeat its own input: true wherever `toolkit.guards.repeats_its_input` is."""
    if not (instruction := guard.instruction.strip()[:40]):
        return pl.col("output").is_not_null()
    begins = rf"\A{_SPACE}*(?:[<\[]|(?:system|user)[ \t]*\n|{pl.escape_regex(instruction)})"
    return pl.col("output").str.contains(begins).fill_null(False)
