"""Outputs and verdicts of guards in files, joined to the rows that they are about; and files that bring their labels along as sets of their own.

Rows join by id, or by their text where no id is one of the set's, or where more texts fit than ids whose texts agree (ids that only number the rows);
never by their place. Of rows with the same text (a set may hold some twice) those
with the same label come together, where the file has labels, then the first with the first. What does not fit is reported, never left out unseen:

- a row of the set that the file lacks is a row without a verdict (``not_there``), which counts as wrong;
- a row of the file that is about no row of a set is counted (`Joining.extra`); where none is about one, that is an error;
- a row that is there more often than in the set, saying the same, counts once (`Joined.repeated`); saying something else, it is an error;
- a row that cannot be read is counted with its reason (`Written.faults`); where the file is the set itself, it is an error;
- a row with the id of a row of the set whose text is another is counted (`Joined.text_differs`); where all are so, it is an error;
- a label that differs from the set's is counted (`Joined.label_differs`), and the set's counts; labels that are all none of the task's are an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from toolkit.common.errors import InputError, InputErrors, short_path
from toolkit.evaluation.benchmarks._sets import RowSet
from toolkit.evaluation.benchmarks._written_sets import SHOWN, Written, odd_label, read_labels
from toolkit.guards import Guard, render_input
from toolkit.records import content_id, row_id

if TYPE_CHECKING:
    import polars as pl

    from toolkit.evaluation.benchmarks._benchmarks_model import BenchmarkTask


@dataclass(frozen=True)
class Joined:
    """Outputs and verdicts about a set's rows.

    Attributes:
        rows: for each row of the set and draw a line, in the set's order: ``at`` (number of the row), ``draw``, ``n`` (of the line in the file; null:
            it has none).
        by: ``id`` or ``text``.
        missing: rows of the set and draws that are not there.
        repeated: rows that were there before, saying the same.
        label_differs: rows whose label is not the set's, and the place of the first.
        text_differs: rows of the same id whose text is not the set's, and the place of the first.
    """

    rows: pl.DataFrame
    by: str
    missing: int
    repeated: int
    label_differs: tuple[int, str | None] = (0, None)
    text_differs: tuple[int, str | None] = (0, None)

    def only(self, numbers: Sequence[int]) -> Joined:
        """The same for a sample of the set (`RowSet.sample`)."""
        import polars as pl

        kept = pl.DataFrame({"at": list(numbers)}, schema={"at": pl.Int64}).with_row_index("now").with_columns(pl.col("now").cast(pl.Int64))
        rows = self.rows.join(kept, on="at", maintain_order="left").select("now", "draw", "n").rename({"now": "at"})
        return replace(self, rows=rows, missing=rows["n"].null_count())


@dataclass
class Joining:
    """Joins what a model's files say to sets, one after the other, and knows what is about none of them."""

    written: Written
    guard: Guard
    file_of: Mapping[int, str] = field(default_factory=dict)
    """By number of a file the one set that it is about; files that are not there may be about any."""
    strict: bool = True
    """Whether labels of another task are an error, not just no rows of that set."""
    used: set[int] = field(default_factory=set)

    def join(self, to: RowSet) -> Joined | None:
        """What the files say of a set; None where nothing is about one of its rows.

        Raises:
            InputError: two rows about the same one that differ; ids that were named and fit no row; labels of another task.
        """
        import polars as pl

        mine = [i for i in range(len(self.written.paths)) if self.file_of.get(i, to.name) == to.name]
        predictions = self.written.rows.filter(pl.col("file").is_in(mine))
        if not predictions.height:
            return None
        predictions = predictions.with_columns(
            draw=pl.col("draw").fill_null(0) if "draw" in predictions.columns else pl.lit(0, pl.Int64), predicted_label=self._labels(predictions, to)
        )
        rows = to.rows.with_row_index("at").select(pl.col("at").cast(pl.Int64), "id", "prompt", "response", "context", gold=self._gold(to))
        found, by, predictions, others = self._pairs(rows, predictions)
        if not found.height:
            return None
        self._one_text_at_least(found, others, to)
        if self._of_no_task(to) and not self.strict:
            return None
        if self._of_no_task(to):
            hint = f"name it for one: --column verdict_{next(iter(to.tasks))}=verdict, or judge one alone (--task)"
            raise InputError(
                f"of which task are the verdicts in its column? {to.name} has {', '.join(to.tasks)}", where=str(self.written.paths[0]), hint=hint
            )
        fault, differs = self._differs(rows, predictions, found, to)
        if fault is not None and not self.strict:
            return None
        if fault is not None:
            raise fault
        repeated = self._repeats(predictions, found)
        self.used |= set(found["n"]) | {n for n, _ in repeated}
        draws = pl.DataFrame({"draw": sorted(found["draw"].unique())}, schema={"draw": pl.Int64})
        whole = rows.select("at").join(draws, how="cross").join(found.select("at", "draw", "n"), on=["at", "draw"], how="left", maintain_order="left")
        texts = len(others), self.written.where(others[0]) if others else None
        return Joined(whole, by, whole["n"].null_count(), len(repeated), differs, texts)

    def extra(self) -> list[int]:
        """Rows that are about no row of any set that was joined, but for those of files about another."""
        files = set(self.file_of)
        return [n for n, file in self.written.rows.select("n", "file").iter_rows() if n not in self.used and file not in files]

    def _gold(self, to: RowSet) -> pl.Expr:
        import polars as pl

        return pl.col(f"label_{next(iter(to.tasks))}") if len(to.tasks) == 1 else pl.lit(None, pl.String)

    def _of_no_task(self, to: RowSet) -> bool:
        """Whether the files have verdicts, but in one column for a set of several tasks."""
        w = self.written
        return w.has("verdict") and len(to.tasks) > 1 and not w.has("output") and not any(w.has(f"verdict_{task}") for task in to.tasks)

    def _labels(self, predictions: pl.DataFrame, to: RowSet) -> pl.Series:
        """The files' labels of a set's one task."""
        import polars as pl

        (task, *more) = to.tasks.values()
        if more or (column := self.written.column("label", task.name, to.tasks)) is None:
            return pl.Series("label", [None] * predictions.height, dtype=pl.String)
        return read_labels(predictions.select(column).to_series(), task, self.guard)

    def _pairs(self, rows: pl.DataFrame, predictions: pl.DataFrame) -> tuple[pl.DataFrame, str, pl.DataFrame, list[int]]:
        """at, draw, n of what belongs together, by what (id or text), the predictions with that as their `key`, and each n whose text is another."""
        import polars as pl

        if "id" not in predictions.columns:
            return *self._by_text(rows, predictions), []
        named = predictions.with_columns(key="id")
        found = pl.concat(_matched(rows.with_columns(key="id"), one, ["key"]) for one in _by_draw(named))
        others = _other_texts(rows, predictions, found)
        if "id" not in self.written.named and (others or not found.height):
            by_text = self._by_text(rows, predictions)
            if by_text[0].height > found.height - len(others):
                return *by_text, []
        return found, "id", named, others

    def _one_text_at_least(self, found: pl.DataFrame, others: Sequence[int], to: RowSet) -> None:
        """Raise InputError where every row has the id of a row with another text."""
        if others and len(others) == found.height:
            message = f"has the id of a row of {to.name} whose text is another; so has every other row here"
            hint = f"are these rows of {to.name}, and its ids? name the column: id=COLUMN"
            raise InputError(message, where=self.written.where(others[0]), hint=hint)

    def _by_text(self, rows: pl.DataFrame, predictions: pl.DataFrame) -> tuple[pl.DataFrame, str, pl.DataFrame]:
        """As `_pairs`, by text."""
        import polars as pl

        keyed = rows.with_columns(key=_keys(rows))
        predictions = self._as_rendered(rows, keyed["key"], predictions)
        out = []
        for one in _by_draw(predictions):
            labelled = _matched(keyed.with_columns(predicted_label="gold"), one, ["key", "predicted_label"])
            left = keyed.filter(~pl.col("at").is_in(labelled["at"].implode())), one.filter(~pl.col("n").is_in(labelled["n"].implode()))
            out += [labelled, _matched(*left, ["key"])]
        return pl.concat(out), "text", predictions

    def _as_rendered(self, rows: pl.DataFrame, keys: pl.Series, predictions: pl.DataFrame) -> pl.DataFrame:
        """The predictions, with the keys of rows that the guard renders as just that text, where it could not be parted."""
        import polars as pl

        if self.guard.grammar is not None or not predictions["text"].is_not_null().any():
            return predictions
        known: dict[str, str] = {}
        for key, row in zip(keys, rows.select("prompt", "response", "context").iter_rows(named=True), strict=True):
            known.setdefault(render_input(self.guard, row), key)
        found = [known.get(text) if text is not None else None for text in predictions["text"].to_list()]
        return predictions.with_columns(key=pl.coalesce(pl.Series(found, dtype=pl.String), "key"))

    def _repeats(self, predictions: pl.DataFrame, found: pl.DataFrame) -> list[tuple[int, int]]:
        """Rows that are there once more than in the set, each with the one whose place it would take.

        Raises:
            InputError: one that says something else.
        """
        import polars as pl

        taken = predictions.filter(pl.col("n").is_in(found["n"].implode()))
        left = predictions.filter(~pl.col("n").is_in(found["n"].implode()), pl.col("key").is_in(taken["key"].drop_nulls().implode()))
        if not left.height:
            return []
        says = [c for c in predictions.columns if c in ("output", "error", "verdict") or c.startswith("verdict_")]
        before: dict[tuple[int, str], dict[tuple[str | None, ...], int]] = {}
        for n, draw, key, *what in taken.select("n", "draw", "key", *says).iter_rows():
            before.setdefault((draw, key), {}).setdefault(tuple(what), n)
        out = []
        for n, draw, key, *what in left.select("n", "draw", "key", *says).iter_rows():
            others = before.get((draw, key), {})
            if others and tuple(what) not in others:
                first = self.written.where(min(others.values()))
                message = f"says of the same row something else than {short_path(first)}"
                raise InputError(
                    message, where=self.written.where(n), hint="keep one of them; where they are several draws, name the column: draw=COLUMN"
                )
            out += [(n, others[tuple(what)])] if others else []
        return out

    def _differs(
        self, rows: pl.DataFrame, predictions: pl.DataFrame, found: pl.DataFrame, to: RowSet
    ) -> tuple[InputError | None, tuple[int, str | None]]:
        """An error where no label is one of the task's; rows whose label is another than the set's, and the place of the first."""
        import polars as pl

        (task, *more) = to.tasks.values()
        if more or (column := self.written.column("label", task.name, to.tasks)) is None:
            return None, (0, None)
        both = (
            found.join(rows.select("at", "gold"), on="at")
            .join(predictions.select("n", word=column, mine="predicted_label"), on="n")
            .filter(pl.col("word").is_not_null())
        )
        if both.height and both["mine"].null_count() == both.height:
            n, word = both.sort("n").select("n", "word").row(0)
            message = f"{odd_label(word, task)}; nor is any other label here one of the task {task.name!r}"
            hint = f"{to.name} is about the task {task.name!r}: is this file about another?"
            return InputError(message, where=self.written.where(n), hint=hint), (0, None)
        odd = both.filter(pl.col("mine").ne_missing(pl.col("gold"))).sort("n")
        return None, (odd.height, self.written.where(odd["n"][0]) if odd.height else None)


def _keys(rows: pl.DataFrame) -> pl.Series:
    """What each row's text is known by, as `Written` has it."""
    import polars as pl

    keys = [
        content_id([(m["role"], m["content"]) for m in context or ()], prompt, response or None)
        for prompt, response, context in rows.select("prompt", "response", "context").iter_rows()
    ]
    return pl.Series(keys, dtype=pl.String)


def _other_texts(rows: pl.DataFrame, predictions: pl.DataFrame, found: pl.DataFrame) -> list[int]:
    """Numbers of predictions about rows whose prompt or response is another. A text that holds the other one (a rendered input, a text cut short) is
    none, nor is one of which nothing is known."""
    import polars as pl

    out: set[int] = set()
    for column in (c for c in ("prompt", "response") if c in predictions.columns):
        both = found.join(rows.select("at", row=column), on="at").join(predictions.select("n", given=column), on="n")
        odd = both.filter(pl.col("row").is_not_null() & pl.col("given").is_not_null() & (pl.col("row") != pl.col("given")))
        for n, row, text in odd.select("n", "row", "given").iter_rows():
            plain, other = _letters(row), _letters(text)
            if plain not in other and other not in plain:
                out.add(n)
    return sorted(out)


def _letters(text: str) -> str:
    return "".join(c for c in text.casefold() if c.isalnum())


def _by_draw(predictions: pl.DataFrame) -> Sequence[pl.DataFrame]:
    return predictions.partition_by("draw", maintain_order=True)


def _matched(rows: pl.DataFrame, predictions: pl.DataFrame, on: Sequence[str]) -> pl.DataFrame:
    """at, draw, n: the first with the first of those that are equal in `on`, the second with the second."""
    import polars as pl

    def numbered(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.filter(pl.all_horizontal(pl.col(c).is_not_null() for c in on)).with_columns(nth=pl.int_range(pl.len()).over(on))

    both = numbered(rows).select("at", "nth", *on).join(numbered(predictions).select("n", "draw", "nth", *on), on=["nth", *on])
    return both.select("at", "draw", "n").sort("at")


def own_set(written: Written, name: str, tasks: Mapping[str, BenchmarkTask], guard: Guard, *, asked: bool = False) -> tuple[RowSet, Written]:
    """The set that files are which bring their labels along, and the files with its ids.

    Args:
        written: the files.
        name: of the set.
        tasks: of which labels are wanted.
        guard: who may have written them.
        asked: guards are to be asked about the rows, so that each needs a prompt.

    Raises:
        InputErrors: rows that cannot be read, have no prompt where one is needed, or a label that is none.
        InputError: no row at all, no label, or an id that is there twice.
    """
    import polars as pl

    if (fault := written.fault()) is not None:
        raise fault
    where = ", ".join(map(str, written.paths))
    rows = written.rows
    if not rows.height:
        raise InputError("no rows", where=where)
    if asked and (none := rows.filter(pl.col("prompt").is_null() if "prompt" in rows.columns else pl.lit(True))).height:
        raise InputError("a row without a prompt", where=written.where(none["n"][0]), hint="name the column: prompt=COLUMN")
    labels = {f"label_{t.name}": _own_labels(written, t, guard, where) for t in tasks.values()}
    texts = [pl.col(c) if c in rows.columns else pl.lit(None, pl.String).alias(c) for c in ("prompt", "response", "source")]
    written = replace(written, rows=rows.with_columns(id=_ids(written, name)))
    first = rows["draw"].min() if "draw" in rows.columns else None
    chosen = written.rows.filter(pl.col("draw").fill_null(0) == (first or 0)) if "draw" in rows.columns else written.rows
    if (twice := chosen.filter(pl.col("id").is_duplicated())).height:
        raise InputError(
            f"the id {twice['id'][0]!r} is there twice", where=written.where(twice["n"][1]), hint="several draws? name the column: draw=COLUMN"
        )
    context = pl.lit([], pl.List(pl.Struct({"role": pl.String, "content": pl.String})))
    made = chosen.with_columns(**{c: labels[c].gather(chosen["n"]) for c in labels}).select(
        "id", *texts, *labels, context=context, categories=pl.lit([], pl.List(pl.String))
    )
    return RowSet(name, name, dict(tasks), made, "file", made.height), written


def _ids(written: Written, name: str) -> pl.Series:
    """The files' own ids; without, what a row's text says, or where there is none its place."""
    import polars as pl

    rows = written.rows
    if "id" in rows.columns and not rows["id"].null_count():
        return rows["id"]
    draws = ["draw"] if "draw" in rows.columns else []
    nth = rows.select(pl.int_range(pl.len()).over("key", *draws)).to_series()
    ids = [f"{name}:{n}" if key is None else row_id("predictions", key, i) for n, key, i in zip(rows["n"], rows["key"], nth, strict=True)]
    return pl.Series("id", ids, dtype=pl.String)


def _own_labels(written: Written, task: BenchmarkTask, guard: Guard, where: str) -> pl.Series:
    column = f"label_{task.name}"
    if column not in written.rows.columns:
        raise InputError(
            f"no labels for the task {task.name!r}: no column 'label' or {column!r}", where=where, hint=f"name the column: {column}=COLUMN"
        )
    words = written.rows[column]
    found = read_labels(words, task, guard)
    odd = [n for n, (word, label) in enumerate(zip(words.to_list(), found.to_list(), strict=True)) if word is not None and label is None]
    if odd:
        better = [t.name for t in guard.tasks if t.name != task.name and words[odd[0]] in t.labels]
        hint = f"the word fits the task {better[0]!r}: say {{--task {better[0]}|task={better[0]!r}}}" if better else None
        some = [InputError(odd_label(words[n], task), where=written.where(n), hint=hint) for n in odd[:SHOWN]]
        if (more := len(odd) - SHOWN) > 0:
            some.append(InputError(f"and {more:,} further rows: {len(odd):,} of {len(words):,} have no label of the task", hint=hint))
        raise InputErrors(some)
    if found.null_count() == found.len():
        raise InputError(f"no row has a label for the task {task.name!r}", where=where)
    return found
