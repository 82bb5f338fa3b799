"""The rules over a block of rows: what depends on a text's outline alone (`_outline`) is judged once for all rows that are alike in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import polars as pl

from toolkit.guards import Guard, Parsed
from toolkit.operators.reason._outline import outline, outlines_of
from toolkit.operators.reason._reading import Reading
from toolkit.operators.reason._rule_limits import Limits
from toolkit.operators.reason._rules import LIMITS, Check, checks_of, faults_of, independent

_MOST = 65536
"""Outlines that are remembered."""
_ALIKE = 8
"""Where a block has more rows than so many for each outline, one that a single row has is judged too: later blocks may have it again."""

_LISTS = {"reasons": pl.List(pl.String), "details": pl.List(pl.String)}

Measure = Callable[[Sequence[Mapping[str, Any]]], list[tuple[str, str] | None]]
"""A rule over many rows at once: their faults."""


class Checker:
    """Checks blocks of rows.

    Args:
        guard: the definition.
        rules: names of the rules, but for those of `Measured`.
        limits: their thresholds.
        every: whether each rule's first fault is reported, not only the first of all.
        measures: further rules, in order, which come after those.
    """

    def __init__(self, guard: Guard, rules: Sequence[str], limits: Limits, *, every: bool, measures: Sequence[Measure] = ()) -> None:
        self._guard = guard
        self._strict = "answers" in rules
        self._checks = checks_of(tuple(rules))
        self._rest = [c for c in self._checks if not c.outlined]
        self._limits = limits
        self._every = every
        self._measures = measures
        self._read = {"steps": pl.Int64, **{f"label_{t}": pl.String for t in guard.task_names}}
        self._outlines = outlines_of(guard)
        self._none = (None,) * len(self._read)

    @property
    def dtype(self) -> pl.Struct:
        """Of what is found."""
        return pl.Struct({**self._read, **_LISTS})

    def __call__(self, rows: pl.Series) -> pl.Series:
        """What is found of each row, given as a struct of the columns that the rules read: see `dtype`; at most one fault where not `every`."""
        block = rows.struct.unnest()
        read = self._outlined(block)
        at = pl.Series(range(block.height), dtype=pl.UInt32) if self._rest else read["steps"].is_null().arg_true()
        own = block[at]
        may = [own.select(c.may(self._guard, self._limits, pl.col("reasoning"))).to_series().to_list() if c.may else None for c in self._checks]
        found: dict[int, list[tuple[str, str]]] = {}
        new = []
        for n, (i, row, known) in enumerate(zip(at.to_list(), own.iter_rows(named=True), read[at].iter_rows(), strict=True)):
            reading = Reading(self._guard, row, strict=self._strict)
            sound = known[0] is not None
            if sound:
                reading.parsed = Parsed(dict(zip(self._guard.task_names, known[1:], strict=True)), {})
            checks = [c for c, where in zip(self._checks, may, strict=True) if (where is None or where[n]) and not (sound and c.outlined)]
            if faults := self._faults(reading, checks):
                found[i] = faults
            if not sound:
                new.append((i, *_steps_and_labels(reading)))
        for measure in self._measures:
            left = [i for i in range(block.height) if self._every or i not in found]
            for i, fault in zip(left, measure(block[left].to_dicts()), strict=True):
                if fault:
                    found.setdefault(i, []).append(fault)
        of = pl.DataFrame(new, schema={"i": pl.UInt32, **self._read}, orient="row")
        return _with_faults(read.with_columns(read[n].scatter(of["i"], of[n]) for n in self._read), found).to_struct(rows.name)

    def _faults(self, reading: Reading, checks: Sequence[Check]) -> list[tuple[str, str]]:
        found = faults_of(reading, checks, self._limits)
        if self._every:
            return independent(list(found))
        first = next(found, None)
        return [first[1]] if first else []

    def _outlined(self, block: pl.DataFrame) -> pl.DataFrame:
        """Steps and labels of the rows whose outline is sound; null of the others."""
        if self._outlines is None:
            return pl.DataFrame({name: pl.Series([None] * block.height, dtype=kind) for name, kind in self._read.items()})
        values = [c for c in block.columns if c == "reasoning_finish" or c.startswith("label_")]
        keys = block.select(*self._outlines.columns(pl.col("reasoning")), *(pl.col(c).alias(f"of {c}") for c in values))
        with_end = keys.with_row_index("row").filter(pl.col("end").is_not_null())
        alike = with_end.group_by(keys.columns).agg("row")
        known = _known(self._guard, self._checks, tuple(values))
        most = block.height > _ALIKE * alike.height
        judged: list[tuple[int | str | None, ...]] = [self._none]
        for *key, rows in alike.select(*keys.columns, pl.col("row").list.len()).iter_rows():
            outlined = known.get(tuple(key))
            if outlined is None and (most or rows > 1):
                outlined = known[tuple(key)] = self._judged(outline(*key[:3]), dict(zip(values, key[3:], strict=True)))
            judged.append(outlined or self._none)
        if len(known) > _MOST:
            known.clear()
        found = pl.DataFrame(judged, schema=self._read, orient="row")
        of = alike.select("row", number=pl.int_range(1, pl.len() + 1, dtype=pl.UInt32)).explode("row")
        return found[_place(block.height, of["row"], of["number"])]

    def _judged(self, text: str, values: Mapping[str, Any]) -> tuple[int | str | None, ...]:
        """Steps and labels of an outline; nulls where it is not sound."""
        reading = Reading(self._guard, {"reasoning": text, **values}, strict=True)
        # Read leniently, a missing word is passed over for a label further up.
        sure = not reading.parsed.problems and (self._strict or None not in reading.parsed.labels.values())
        sound = sure and not any(faults_of(reading, [c for c in self._checks if c.outlined], LIMITS))
        return _steps_and_labels(reading) if sound else self._none


@lru_cache(maxsize=16)
def _known(guard: Guard, checks: Sequence[Check], columns: Sequence[str]) -> dict[tuple[Any, ...], tuple[int | str | None, ...]]:
    """What is known of outlines, with the columns that the checks look at."""
    return {}


def _steps_and_labels(reading: Reading) -> tuple[int | str | None, ...]:
    return sum(len(p.steps) for p in reading.parts), *reading.parsed.labels.values()


def _with_faults(read: pl.DataFrame, found: Mapping[int, Sequence[tuple[str, str]]]) -> pl.DataFrame:
    """`read` with the lists `reasons` and `details`, made for the rows that have a fault alone: a list for each row would take most of the time."""
    each = [(i, *fault) for i in sorted(found) for fault in found[i]]
    flat = pl.DataFrame(each, schema={"i": pl.UInt32, "reasons": pl.String, "details": pl.String}, orient="row")
    of = flat.group_by("i", maintain_order=True).agg(pl.all())
    lists = pl.concat([pl.DataFrame([([], [])], schema=_LISTS, orient="row"), of.drop("i")])
    return read.hstack(lists[_place(read.height, of["i"], pl.int_range(1, len(of) + 1, dtype=pl.UInt32, eager=True))])


def _place(height: int, rows: pl.Series, numbers: pl.Series) -> pl.Series:
    """For each of `height` rows its number; 0 where it has none."""
    return pl.zeros(height, dtype=pl.UInt32, eager=True).scatter(rows, numbers)
