"""The rules over a block of rows: plain rows as columns, the others one by one, with the same result."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from toolkit.generation import FINISHED
from toolkit.guards import Guard, Parsed
from toolkit.operators.reason import _refused, _text, _told, _voice
from toolkit.operators.reason._limits import RULES, Limits, Rule
from toolkit.operators.reason._reading import Fault, Reading
from toolkit.operators.reason._rules import CHECKS, faults_of, told
from toolkit.operators.reason._skeleton import Shape, escaped, shape_of, skeleton_of

_COLUMNS: frozenset[Rule] = frozenset(("truncated", "answers", "labels", "structure", "ending", "control"))
"""Rules that columns alone tell of a plain row."""

_RUN = 40
"""Longest run that is looked for in columns: the pattern grows with it."""

_BEGUN = 24
"""Characters of a sentence that are looked for in columns."""

Check = Callable[[Reading, Limits], Fault]
Measure = Callable[[Sequence[Mapping[str, Any]]], list[tuple[str, str] | None]]
"""A rule over many rows at once: their faults."""


class Judge:
    """Judges blocks of rows.

    Args:
        guard: the definition.
        rules: names of the rules, but for those of `Measured`.
        limits: their thresholds.
        every: whether each rule's first fault is told, not only the first of all.
        measures: further rules, in order, which come after those.
    """

    def __init__(self, guard: Guard, rules: Sequence[str], limits: Limits, *, every: bool, measures: Sequence[Measure] = ()) -> None:
        self._guard = guard
        self._rules = tuple(r for r in RULES if r in rules)
        self._limits = limits
        self._every = every
        self._measures = measures
        self._labels = [f"label_{t}" for t in guard.task_names]
        self._skeleton = skeleton_of(guard)

    @property
    def dtype(self) -> pl.Struct:
        """Of what is found."""
        lists = {"reasons": pl.List(pl.String), "details": pl.List(pl.String)}
        return pl.Struct({"steps": pl.Int64, **dict.fromkeys(self._labels, pl.String), **lists})

    def __call__(self, rows: pl.Series) -> pl.Series:
        """What is found of each row, given as a struct of the columns that the rules read: see `dtype`; at most one fault where not `every`."""
        block = rows.struct.unnest()
        plain = self._plain(block)
        at = plain["plain"].not_().arg_true()
        found: dict[int, list[tuple[str, str]]] = {}
        steps: list[int] = []
        said: dict[str, list[str | None]] = {name: [] for name in self._labels}
        for i, row in zip(at.to_list(), block[at].iter_rows(named=True), strict=True):
            reading = Reading(self._guard, row, strict="answers" in self._rules)
            if faults := self._faults(reading):
                found[i] = faults
            steps.append(sum(len(p.steps) for p in reading.parts))
            for task, name in zip(self._guard.task_names, self._labels, strict=True):
                said[name].append(reading.parsed.labels[task])
        for measure in self._measures:
            left = [i for i in range(block.height) if self._every or i not in found]
            for i, fault in zip(left, measure(block[left].to_dicts()), strict=True):
                if fault:
                    found.setdefault(i, []).append(fault)
        read = {"steps": plain["steps"].scatter(at, pl.Series(steps, dtype=pl.Int64))}
        read |= {name: plain[name].scatter(at, pl.Series(v, dtype=pl.String)) for name, v in said.items()}
        return _with_faults(pl.DataFrame(read), found).to_struct(rows.name)

    def _faults(self, reading: Reading) -> list[tuple[str, str]]:
        found = faults_of(reading, self._rules, self._limits)
        if self._every:
            return told(list(found))
        first = next(found, None)
        return [first[1]] if first else []

    def _plain(self, block: pl.DataFrame) -> pl.DataFrame:
        """For each row whether it is plain and sound, its steps and its answers."""
        height = block.height
        steps = pl.Series([None] * height, dtype=pl.Int64)
        if self._skeleton is None:
            none = {name: pl.Series([None] * height, dtype=pl.String) for name in self._labels}
            return pl.DataFrame({"plain": pl.Series([False] * height, dtype=pl.Boolean), "steps": steps, **none})
        read = self._skeleton.read(block["reasoning"])
        shapes = {k: s for k in read.filter("plain")["key"].unique().to_list() if (s := shape_of(self._guard, k))}
        if not shapes:
            return read.with_columns(plain=pl.lit(False), steps=steps).drop("key")
        sound = read["key"].replace_strict({k: self._shaped(s) for k, s in shapes.items()}, default=False, return_dtype=pl.Boolean)
        steps = read["key"].replace_strict({k: s.steps for k, s in shapes.items()}, default=None, return_dtype=pl.Int64)
        read = read.with_columns(plain=read["plain"] & sound & self._columns_sound(block, read), steps=steps).drop("key")
        return self._texts_sound(block, read)

    def _shaped(self, shape: Shape) -> bool:
        """Whether no rule finds a fault in a row's headings."""
        if "structure" in self._rules and shape.tasks != tuple(range(1, len(self._guard.tasks) + 1)):
            return False
        if "steps" in self._rules and not self._numbered(shape.numbers):
            return False
        return "loops" not in self._rules or max(shape.tasks, default=0) <= _text.endless(self._guard)

    def _numbered(self, numbers: Sequence[Sequence[int]]) -> bool:
        bounds = self._guard.steps
        return all(list(n) == list(range(1, len(n) + 1)) and bounds.min <= len(n) <= bounds.max for n in numbers)

    def _columns_sound(self, block: pl.DataFrame, read: pl.DataFrame) -> pl.Series:
        """Where no rule that columns can tell of finds a fault."""
        text = pl.col("reasoning")
        sound = [pl.lit(True)]
        if "truncated" in self._rules:
            sound.append(pl.col("reasoning_finish").is_null() | pl.col("reasoning_finish").is_in(FINISHED))
        if "labels" in self._rules:
            for name in self._labels:
                free = pl.col(f"{name}_source").eq_missing("to_infer")
                said = pl.col(f"said_{name}")
                sound.append(pl.when(free).then(said.is_not_null()).otherwise(said.eq_missing(pl.col(name))))
        if "structure" in self._rules and (heading := self._guard.output.task_heading):
            first = re.escape(heading.lstrip("# ").partition("{")[0])
            sound.append(text.str.contains(rf"(?i)\A\s*#*[ \t]*{first}"))  # else text may stand before it
        if "control" in self._rules:
            sound.append(~text.str.contains(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"))
        if "loops" in self._rules:
            sound.append(~text.str.contains(rf"\S{{{min(self._limits.run, _RUN)}}}"))
        if "answers" not in self._rules:  # read leniently, a missing word is passed over for a label further up
            sound += [pl.col(f"said_{n}").is_not_null() for n in self._labels]
        said_columns = {f"said_{n}": read[n] for n in self._labels}
        return block.with_columns(**said_columns).select(pl.all_horizontal(sound).alias("s"))["s"].fill_null(False)

    def _texts_sound(self, block: pl.DataFrame, read: pl.DataFrame) -> pl.DataFrame:
        """`read` with the rows not plain in which a rule finds a fault that takes the text."""
        rules = [r for r in self._rules if r not in _COLUMNS and r != "steps"]
        plain, at = read["plain"].to_list(), read["plain"].arg_true()
        if "steps" in self._rules and not rules and self._skeleton:
            at = at.filter(self._skeleton.doubtful(block["reasoning"].gather(at)))
        checks = self._checks(block["reasoning"].gather(at))
        if not checks:
            return read
        known = read.select(self._labels)[at]
        rows = block.select(c for c in ("reasoning", "prompt", "response") if c in block.columns)[at]
        for n, (i, row, said) in enumerate(zip(at.to_list(), rows.iter_rows(named=True), known.iter_rows(), strict=True)):
            reading = Reading(self._guard, row, strict=True)
            reading.parsed = Parsed(dict(zip(self._guard.task_names, said, strict=True)), {})
            for check, where in checks:
                if (where is None or where[n]) and check(reading, self._limits):
                    plain[i] = False
                    break
        return read.with_columns(plain=pl.Series(plain, dtype=pl.Boolean))

    def _checks(self, texts: pl.Series) -> list[tuple[Check, list[bool] | None]]:
        """What takes the text: each with the texts of plain rows in which it may find something (None: any)."""
        out: list[tuple[Check, list[bool] | None]] = []
        scaffold, rests = _told.wide(self._guard)
        for rule in (r for r in self._rules if r not in _COLUMNS):
            if rule == "copied":
                sentences = _text.told_sentences(self._guard)
                begun = "|".join(escaped(s[:_BEGUN]) for s in sentences)
                out += [(_text.instructed, texts.str.contains(f"(?i){begun}").to_list()), (_text.runs, None)] if sentences else [(_text.runs, None)]
            elif rule == "leakage":
                out += [(_voice.told, texts.str.contains(rests).to_list()), (_voice.opens, None)]
            elif rule == "scaffold":
                out.append((CHECKS[rule], texts.str.contains(scaffold).to_list()))
            elif rule == "refusal":
                own, no, bare = (texts.str.contains(wide) for wide in _refused.WIDE)
                out.append((CHECKS[rule], (own & no | bare).to_list()))
            else:
                out.append((_text.ngrams if rule == "loops" else CHECKS[rule], None))
        return out


def _with_faults(read: pl.DataFrame, found: Mapping[int, Sequence[tuple[str, str]]]) -> pl.DataFrame:
    """`read` with the lists `reasons` and `details`, made for the rows that have a fault alone: a list for each row would take most of the time."""
    faulty = sorted(found)
    lists = {n: pl.Series([[f[k] for f in found[i]] for i in faulty], dtype=pl.List(pl.String)) for k, n in enumerate(("reasons", "details"))}
    told = pl.DataFrame({"i": pl.Series(faulty, dtype=pl.UInt32), **lists})
    joined = read.with_row_index("i").join(told, on="i", how="left", maintain_order="left").drop("i")
    return joined.with_columns(pl.col(n).fill_null(pl.lit([], pl.List(pl.String))) for n in lists)
