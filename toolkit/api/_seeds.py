"""Rows of a notebook as seeds: any table, no file and no source definition."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.api._frames import arrow_table
from toolkit.common.errors import GuardkitError, InputError, InputErrors, did_you_mean
from toolkit.common.yamlfile import YamlFile
from toolkit.guards import Guard, load_guard
from toolkit.records import MEDIA
from toolkit.sources import Source, arrow_rows, has_surrogate, read_rows
from toolkit.taxonomy import load_taxonomy

if TYPE_CHECKING:
    import polars as pl

_BLOCK = 8192
_SHOWN = 20
"""Faults that are listed."""
_MARKS = ("response", "context", "language", "group", "split")
"""Columns that are taken by their own name where they are there."""


def seeds(
    rows: Any,
    *,
    prompt: str = "prompt",
    columns: Mapping[str, str] | None = None,
    labels: Mapping[str, str | Mapping[str, Any]] | None = None,
    maps: Mapping[str, Mapping[bool | int | str, str]] | None = None,
    labelled_by: str | None = None,
    source: str = "table",
    licence: str = "unknown",
    guard: str | Path = "guardreasoner",
    taxonomy: str | Path = "guardkit",
) -> pl.DataFrame:
    """Rows with named columns as seeds, with the ids and the label provenance that a source of that name would give them.

    Args:
        rows: a table of polars, pandas, pyarrow or datasets, or dicts. NaN in a pandas table is null.
        prompt: column of the last user message.
        columns: the columns of ``response``, ``context`` (a list of {role, content}: the messages before the prompt), ``media`` (docs/media.md),
            ``language``, ``group`` and ``split``; by default those of these names that are there.
        labels: by task of the guard the column of its label, or more of what a source definition says (`toolkit.sources.Label`); by default the
            columns ``label_<task>`` that are there. A task without a column has no label.
        maps: by task the guard's label for each value of its column; by default the values are the labels themselves.
        labelled_by: who gave the labels: human, vote, inferred, consensus, reviewed or written. Nobody is assumed.
        source: name of the source, which the ids depend on.
        licence: SPDX id of the rows.
        guard, taxonomy: by name or file.

    Returns:
        The seeds, in the columns of the record ``seed``, in the order of the rows; feed them to `apply`, or write them to parquet.

    Raises:
        InputErrors: rows that can be no seeds (a label outside the map, no prompt, a label of an answer that is not there), by what is wrong with
            them, and all that does not fit among the arguments. Nothing is dropped.

    Example:
        >>> frame = polars.DataFrame({"prompt": ["How do I bake bread?", "Write an insult."], "toxic": [0, 1]})
        >>> found = toolkit.seeds(frame, labels={"prompt": "toxic"}, maps={"prompt": {0: "unharmful", 1: "harmful"}}, labelled_by="human")
        >>> found["label_prompt"].to_list(), found["label_prompt_source"].to_list()
        (['unharmful', 'harmful'], ['human', 'human'])
    """
    import polars as pl

    definition = load_guard(guard)
    blocks = _blocks(rows)
    first = next(blocks, [])
    there = next((list(row) for row in first if isinstance(row, dict)), [])
    marks = [*_MARKS, *([MEDIA] if any(isinstance(row, dict) and isinstance(row.get(MEDIA), list) for row in first) else [])]
    if not first:
        raise InputError("no rows", where="rows")
    given = {n: n for n in marks if n in there} if columns is None else dict(columns)
    meaning = _source(prompt, given, labels, maps, labelled_by, source, licence, definition, there)
    parts, faults = [], _Faults()
    media = "" if meaning.has_media else None
    for block in read_rows(meaning, _all(first, blocks), guard=definition, taxonomy=load_taxonomy(taxonomy), media=media):
        parts.append(block.rows)
        faults.add(block.rejects)
    faults.check()
    return pl.concat(parts)


def _all(first: list[Any], rest: Iterator[list[Any]]) -> Iterator[list[Any]]:
    yield first
    yield from rest


def _source(
    prompt: str,
    given: Mapping[str, str],
    labels: Mapping[str, str | Mapping[str, Any]] | None,
    maps: Mapping[str, Mapping[bool | int | str, str]] | None,
    labelled_by: str | None,
    name: str,
    licence: str,
    guard: Guard,
    there: list[str],
) -> Source:
    """What the columns mean, as the file of a source would say it."""
    if labels is None:
        labels = {t: f"label_{t}" for t in guard.task_names if f"label_{t}" in there}
    faults: list[GuardkitError] = [
        InputError(f"the guard {guard.name!r} has no task {t!r}", where="labels", hint=did_you_mean(t, guard.task_names))
        for t in dict.fromkeys([*labels, *(maps or {})])
        if t not in guard.task_names
    ]
    faults += [InputError("a map for a task without a column", where=f"maps.{t}") for t in maps or {} if t in guard.task_names and t not in labels]
    named = {n: c for n, c in given.items() if isinstance(c, str) and c not in there}
    faults += [InputError(f"no column {c!r}", where=f"columns.{n}", hint=did_you_mean(c, there)) for n, c in named.items()]
    rules: dict[str, dict[str, Any]] = {}
    for task, rule in labels.items():
        rules[task] = {"column": rule} if isinstance(rule, str) else dict(rule)
        if maps and task in maps:
            rules[task]["map"] = dict(maps[task])
        if labelled_by is not None:
            rules[task].setdefault("source", labelled_by)
        if rules[task].get("source") is None and {"column", "vote"} & rules[task].keys():
            hint = "labelled_by='human', say: a label that a model gave must never be taken for a person's"
            faults.append(InputError("nothing says who gave the labels", where=f"labels.{task}", hint=hint))
    if faults:
        raise faults[0] if len(faults) == 1 else InputErrors(faults)
    definition = {"name": name, "version": 1, "description": "rows of a table", "licence": licence, "obtain": "a table in memory"}
    definition |= {"columns": {"prompt": prompt, **given}, "labels": rules or {guard.task_names[0]: {}}}
    return YamlFile("seeds", definition).model(Source)


class _Faults:
    """What is wrong with rows, by reason and detail, with the number of rows and the first of them."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], tuple[int, int]] = {}

    def add(self, rejects: pl.DataFrame) -> None:
        for row, reason, detail in rejects.select("source_row", "reason", "detail").iter_rows():
            n, first = self._found.get((reason, detail), (0, row))
            self._found[reason, detail] = (n + 1, first)

    def check(self) -> None:
        if not self._found:
            return
        rows = sum(n for n, _ in self._found.values())
        hint = "give `maps`, leave the rows out, or mend them: none is dropped unasked"
        out: list[GuardkitError] = [
            InputError(f"{n:,} row{'s' if n > 1 else ''} {reason}: {detail}", where=f"rows[{first}]", hint=hint if i == 0 else None)
            for i, ((reason, detail), (n, first)) in enumerate(islice(self._found.items(), _SHOWN))
        ]
        if len(self._found) > _SHOWN:
            out.append(InputError(f"and {len(self._found) - _SHOWN:,} further faults; {rows:,} rows in all can be no seeds"))
        raise out[0] if len(out) == 1 else InputErrors(out)


def _blocks(rows: Any) -> Iterator[list[Any]]:
    """The rows of any table as lists of dicts."""
    if (table := arrow_table(rows)) is not None:
        start = 0
        for batch in table.to_batches(max_chunksize=_BLOCK):
            yield arrow_rows(batch, start)
            start += batch.num_rows
        return
    if isinstance(rows, str | bytes | Path | Mapping) or not isinstance(rows, Iterable):
        hint = "a table of polars, pandas, pyarrow or datasets, or a list of dicts; of a dict of splits, one of them"
        raise InputError(f"no table of rows: {type(rows).__name__}", where="rows", hint=hint)
    each, number = iter(rows), 0
    while block := list(islice(each, _BLOCK)):
        yield [_row(row, i) for i, row in enumerate(block, number)]
        number += len(block)


def _row(row: Any, number: int) -> dict[str, Any]:
    if not isinstance(row, Mapping):
        raise InputError(f"a row is a dict of its columns, not {type(row).__name__}", where=f"rows[{number}]")
    if has_surrogate(found := dict(row)):
        raise InputError("a text holds half of a surrogate pair", where=f"rows[{number}]")
    return found
