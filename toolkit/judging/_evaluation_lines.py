"""From sets of rows to the lines of an evaluation (`toolkit.evaluation.ROWS`): guards asked, or what they wrote elsewhere read.

Both yield blocks in the same order: set, row, draw, task. A row has a line for each task of its set that the guard judges; rows without any label of
these tasks are not asked about. Of a task that the guard does not judge each row with a label has a line that says so (``not_judged``), at the end.

Memory: a block, and what the engine has under way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from toolkit.evaluation import NOT_JUDGED, ROWS, Joined, RowSet, Written
from toolkit.evaluation import read_labels as as_labels
from toolkit.guards import Guard, parse
from toolkit.judging._ask import OpenGuard
from toolkit.judging._read_frame import read_frame
from toolkit.judging._table import NOT_THERE, UNREAD
from toolkit.judging._verdict import Verdict

if TYPE_CHECKING:
    from toolkit.generation import Completion, Journal, Meter

BLOCK = 2048
"""Lines of a block, about."""


def judged_tasks(guard: Guard, of: RowSet) -> tuple[str, ...]:
    """The tasks of a set that a guard judges."""
    return tuple(task for task in of.tasks if task in guard.task_names)


def to_ask(guard: Guard, of: RowSet) -> pl.DataFrame:
    """The rows of a set that have a label of a task which the guard judges."""
    tasks = judged_tasks(guard, of)
    return of.rows.filter(pl.any_horizontal(pl.col(f"label_{task}").is_not_null() for task in tasks)) if tasks else of.rows.clear()


def asked_lines(
    one: OpenGuard,
    sets: Sequence[RowSet],
    draws: int = 1,
    *,
    journal: Journal | None = None,
    meter: Meter | None = None,
    on_done: Callable[[Completion], None] | None = None,
) -> Iterator[pl.DataFrame]:
    """Ask a guard about the rows of sets; its name is the `model` of the lines.

    Args:
        one: the guard.
        sets: their rows are asked about in one go, so that the model is never without work.
        draws: how often about each row.
        journal, meter, on_done: as for `OpenGuard.verdicts`.

    Raises:
        as `OpenGuard.verdicts`.
    """
    waiting: deque[tuple[RowSet, tuple[str, ...], dict[str, Any]]] = deque()

    def rows() -> Iterator[dict[str, Any]]:
        for of in sets:
            tasks = judged_tasks(one.guard, of)
            for row in to_ask(one.guard, of).iter_rows(named=True):
                waiting.append((of, tasks, row))
                yield row | {"only_tasks": tasks}

    lines: list[tuple[Any, ...]] = []
    for verdict in one.verdicts(rows(), draws, journal=journal, meter=meter, on_done=on_done):
        if verdict.draw == 0:
            of, tasks, row = waiting.popleft()
        lines += (_line(of, task, row, verdict) for task in tasks)
        if len(lines) >= BLOCK:
            yield pl.DataFrame(lines, schema=ROWS, orient="row")
            lines = []
    if lines:
        yield pl.DataFrame(lines, schema=ROWS, orient="row")
    for of in sets:
        yield from _not_judged(of, judged_tasks(one.guard, of), one.name)


def _not_judged(of: RowSet, judged: Sequence[str], model: str) -> Iterator[pl.DataFrame]:
    """The lines of the tasks that a guard does not judge."""
    texts = ("id", "categories", "source", "prompt", "response")
    for task in of.tasks:
        if task not in judged:
            known = of.rows.select(*texts, gold=f"label_{task}").filter(pl.col("gold").is_not_null())
            same = {"benchmark": of.name, "model": model, "draw": 0, "task": task, "unread": NOT_JUDGED}
            for block in known.iter_slices(BLOCK):
                empty = {name: None for name in ROWS if name not in (*same, *block.columns)}
                yield block.with_columns(pl.lit(value).alias(name) for name, value in {**same, **empty}.items()).select(*ROWS).cast(ROWS)  # type: ignore[arg-type]


def _line(of: RowSet, task: str, row: Mapping[str, Any], v: Verdict) -> tuple[Any, ...]:
    probability = v.probabilities.get(task, {}).get(of.tasks[task].positive)
    gold = row[f"label_{task}"]
    read = v.labels[task], v.unread[task], probability, v.tokens, v.seconds
    texts = row["categories"], row["source"], row["prompt"], row["response"], v.output, v.key
    return (of.name, row["id"], v.guard, v.draw, task, gold, *read, *texts)


def written_lines(guard: Guard, of: RowSet, written: Written, joined: Joined, model: str) -> Iterator[pl.DataFrame]:
    """The lines of what a model wrote elsewhere: its outputs are read, and verdicts that are in columns of their own are taken as they are.

    Args:
        guard: reads the outputs.
        of: the set.
        written: what the files say.
        joined: of which of its rows.
        model: its name.
    """
    tasks = written_tasks(guard, of, written)
    size = max(1, BLOCK // max(1, len(tasks)))
    rows_of_file = written.rows
    for start in range(0, joined.rows.height if tasks else 0, size):
        block = joined.rows[start : start + size]
        rows = of.rows[block["at"]]
        there = block["n"].is_not_null()
        file = (
            rows_of_file[block["n"].fill_null(0)].with_columns(pl.when(there).then(pl.all()).otherwise(None)) if rows_of_file.height else rows_of_file
        )
        whole = pl.concat([rows.drop("source"), file.select(pl.all().name.prefix("given_"))], how="horizontal").with_columns(
            rows["source"], draw=block["draw"], there=there
        )
        yield _as_rows(_read(guard, of, written, whole), of, tasks, model)
    yield from _not_judged(of, tasks, model)


def written_tasks(guard: Guard, of: RowSet, written: Written) -> tuple[str, ...]:
    """The tasks of a set on which files have verdicts, or outputs of a guard that judges them."""
    return tuple(t for t in of.tasks if written.column("verdict", t, of.tasks) is not None or (written.has("output") and t in guard.task_names))


def _read(guard: Guard, of: RowSet, written: Written, whole: pl.DataFrame) -> pl.DataFrame:
    """With ``verdict_<task>`` and ``unread_<task>`` of each task, and ``given_word_<task>`` where a word stands in the place of a label."""
    failed = pl.col("given_error") if written.has("error") else pl.lit(None, pl.String)
    gone = pl.when(~pl.col("there")).then(pl.lit(NOT_THERE)).otherwise(failed)
    if written.has("output"):
        parsed = read_frame(guard, whole.select(output="given_output", context="context", prompt="prompt", response="response"))
        whole = pl.concat([whole, _by_call(guard, of, parsed, whole["given_output"])], how="horizontal")
        whole = whole.with_columns(
            change
            for task in guard.task_names
            for change in (
                pl.when(gone.is_null()).then(pl.col(f"verdict_{task}")).alias(f"verdict_{task}"),
                pl.coalesce(gone, f"unread_{task}").alias(f"unread_{task}"),
            )
        )
    for task in of.tasks.values():
        name = f"verdict_{task.name}"
        if (column := written.column("verdict", task.name, of.tasks, "given_")) is not None:
            words = whole.select(column).to_series()
            taken = as_labels(words, _wider(task, guard), None)
            blank = words.is_null() | (words.str.strip_chars() == "")
            why = pl.when(gone.is_not_null()).then(gone).when(blank).then(pl.lit(UNREAD)).otherwise(pl.lit("not_a_label"))
            whole = whole.with_columns(taken.alias(name)).with_columns(
                pl.when(pl.col(name).is_null()).then(why).otherwise(pl.lit(None, pl.String)).alias(f"unread_{task.name}"),
                pl.when(pl.col(name).is_null() & (why == "not_a_label")).then(words).alias(f"given_word_{task.name}"),
            )
    return whole


def _by_call(guard: Guard, of: RowSet, parsed: pl.DataFrame, outputs: pl.Series) -> pl.DataFrame:
    """Of a guard that is asked once for each of its tasks, the outputs that answer one of these questions alone, read as such."""
    for task in of.tasks if len(guard.calls) > 1 else ():
        calls = [call.name for call in guard.calls if task in call.tasks]
        alone = (parsed[f"unread_{task}"] == "not_joined").fill_null(False) if task in guard.task_names else None
        if len(calls) == 1 and alone is not None and alone.any():
            read = [parse(guard, text, call=calls[0]) if one else None for text, one in zip(outputs.to_list(), alone.to_list(), strict=True)]
            found = {f"verdict_{task}": [r and r.labels[task] for r in read], f"unread_{task}": [r and r.reasons[task] for r in read]}
            parsed = parsed.with_columns(
                pl.when(alone).then(pl.Series(name, values, dtype=pl.String)).otherwise(pl.col(name)).alias(name) for name, values in found.items()
            )
    return parsed


def _wider(task: Any, guard: Guard) -> Any:
    """A task with the guard's further labels, which readings may take for others."""
    from dataclasses import replace

    more = [w for w in guard.task(task.name).labels if w not in task.labels] if task.name in guard.task_names else []
    return replace(task, labels=(*more, *task.labels))


def _as_rows(whole: pl.DataFrame, of: RowSet, tasks: Sequence[str], model: str) -> pl.DataFrame:
    """One line a task."""
    there = set(whole.columns)

    def given(*names: str) -> pl.Expr:
        found = [f"given_{name}" for name in names if f"given_{name}" in there]
        return pl.coalesce(found) if found else pl.lit(None)

    parts: Iterable[pl.DataFrame] = (
        whole.select(
            benchmark=pl.lit(of.name),
            id="id",
            model=pl.lit(model),
            draw="draw",
            task=pl.lit(task),
            gold=f"label_{task}",
            verdict=f"verdict_{task}",
            unread=f"unread_{task}",
            probability=given(f"probability_{task}", *(["probability"] if len(of.tasks) == 1 else [])),
            tokens=given("tokens"),
            seconds=given("seconds"),
            categories="categories",
            source="source",
            prompt="prompt",
            response="response",
            output=given("output", f"word_{task}"),
            key=pl.lit(None),
        ).with_row_index("_row")
        for task in tasks
    )
    return pl.concat(part.with_columns(pl.lit(i).alias("_task")) for i, part in enumerate(parts)).sort("_row", "_task").select(*ROWS).cast(ROWS)  # type: ignore[arg-type]
