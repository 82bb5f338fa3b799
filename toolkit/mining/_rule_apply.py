"""A rule applied to a table of verdicts: what each row's outputs come to, and which units are hard.

Arrays all the way: an output is a row number, a guard number and for each task a code of one byte; counts are sums over these. Memory: about 40
bytes an output while it runs, 12 bytes a row, guard and task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from toolkit.common.errors import InputError, did_you_mean
from toolkit.guards import Guard
from toolkit.mining._judged import OUTCOMES, outcome
from toolkit.mining._rule import Rule
from toolkit.mining._rule_keys import MISSING
from toolkit.mining._rule_measures import unit_measures
from toolkit.mining._tally import row_numbers, word_places

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RIGHT, WRONG, UNREAD, NONE = range(len(OUTCOMES))
STATUSES = ("hard", "always_right", "always_wrong", "suspect", "undecided", "not_hard", "not_asked", "no_label")
"""What a row comes to on a task, and in all. `undecided`: an output that is not there or could not be read might have decided; `suspect`: the rule's
`suspect` holds; `not_hard`: all was read, and it is neither hard nor always right or wrong; `not_asked`: no guard was asked."""
HARD, ALWAYS_RIGHT, ALWAYS_WRONG, SUSPECT, UNDECIDED, NOT_HARD, NOT_ASKED, NO_LABEL = range(8)
_WINS = (ALWAYS_RIGHT, NOT_HARD, UNDECIDED, SUSPECT, ALWAYS_WRONG, HARD)
"""Of the statuses of its tasks a row has the one that comes last here."""
HARD_OF = pl.List(pl.Struct({"task": pl.String, "guard": pl.String, "right": pl.Int64, "wrong": pl.Int64, "unread": pl.Int64}))
"""Type of the column `hard_of`."""


def apply_rule(
    table: pl.DataFrame,
    rule: Rule,
    guard: Guard,
    *,
    tasks: Sequence[str] | None = None,
    missing: Missing = "unread",
    ids: pl.Series | None = None,
) -> pl.DataFrame:
    """What a rule makes of the outputs of each row.

    Each row is taken to have been asked of each guard as often as that guard's distinct draws in the table: an output that is not there counts as
    unread.

    Args:
        table: one line an output: `parent`, `guard_model`, `draw`; for each task ``outcome_<task>``, or else ``label_<task>`` and
            ``verdict_<task>``; ``unread_<task>`` where the rule asks why. A line without `guard_model` is no output: it says that the row is there.
        rule: a whole one (`load_rule`).
        guard: whose tasks these are.
        tasks: those alone, in this order; default: the rule's.
        missing: what it means that an output is not there: ``unread``, as one that could not be read; ``not_asked``, the same, but a guard
            without any output for a row was not asked about it; ``undrawn``, that it was not needed (`toolkit.mining.settled`): it may have been
            anything, and only the outputs that are there are counted and can be suspect, undecided, or always right or wrong.
        ids: where `parent` holds numbers, the ids that these are the places of, for messages.

    Raises:
        InputError: a task or guard that is named is not there, two lines are the same draw, or a draw has a negative number.

    Returns:
        A line a row, in order of first appearance: `parent`; for each task of the guard ``n_right_<task>``, ``n_wrong_<task>``, ``n_unread_<task>``
        (of all outputs, whatever the rule makes of them) and ``status_<task>``; `hard_of`, a list of the hard units ``{task, guard, right, wrong,
        unread}`` as the rule counts them, in the order of guards and then of tasks (`guard` null: of all together; `task` null: outputs are judged
        as a whole); and `status`. `STATUSES` has the words.

    Example:
        >>> draws = pl.DataFrame({"parent": ["a", "a", "b", "b"], "guard_model": "m", "draw": [0, 1, 0, 1],
        ...     "outcome_prompt": ["right", "wrong", "right", "right"], "outcome_refusal": "not_applicable", "outcome_response": "not_applicable"})
        >>> apply_rule(draws, load_rule("default"), toolkit.load_guard("guardreasoner"))["status"].to_list()
        ['hard', 'always_right']
    """
    for name in tasks or ():
        if name not in guard.task_names:
            raise InputError(f"the guard {guard.name!r} has no task {name!r}", hint=did_you_mean(name, guard.task_names))
    outputs = _outputs(table, rule, ids)
    order = rule.task_order(guard, list(tasks) if tasks else None)
    raw = {t: outcome_codes(table, t) for t in guard.task_names}
    judged = rule_outcomes(table, rule, guard, tasks=order, codes=raw)
    asked = outputs.asked(missing)
    columns: dict[str, Any] = {"parent": outputs.parents}
    status: dict[str, NDArray[np.int8]] = {}
    made = outputs.made() if missing == "undrawn" else asked
    units = _Units(rule, outputs, asked, made)
    for of, codes in judged.items():
        measured: dict[str, Any] = {}
        if rule.measures:
            right, wrong = (outputs.count(raw[of] == c) for c in (RIGHT, WRONG))
            measured = unit_measures(table, of, guard.task(of).labels, outputs.cell, right, wrong, each=rule.guards.count == "each")
        found = units.add(None if of == WHOLE else of, codes, measured)
        status |= dict.fromkeys(order if of == WHOLE else [of], found)
    for t in guard.task_names:
        columns |= _facts(t, raw[t] if t in order else None, outputs, made)
    known = {t: outputs.any_of(raw[t] != NONE) for t in order}
    by_task = {t: _labelled(status.get(t), known.get(t), outputs.parents.len()) for t in guard.task_names}
    words = pl.Series(STATUSES)
    columns |= {f"status_{t}": words.gather(by_task[t].astype("uint32")) for t in guard.task_names}
    own = _own(rule, [by_task[t] for t in order])
    columns["hard_of"] = units.lists(own == HARD)
    columns["status"] = words.gather(own.astype("uint32"))
    names = ["parent", *(f"{n}_{t}" for t in guard.task_names for n in ("n_right", "n_wrong", "n_unread", "status")), "hard_of", "status"]
    return pl.DataFrame(columns).select(names)


Missing = Literal["unread", "not_asked", "undrawn"]
"""What it means that an output is not there (`apply_rule`)."""
WHOLE = ""
"""In place of a task: outputs are judged as a whole."""


def outcome_codes(table: pl.DataFrame, task: str) -> NDArray[np.uint8]:
    """What each output comes to on a task, as places in `OUTCOMES`, whatever a rule makes of it."""
    there = f"outcome_{task}" in table.columns
    found = table[f"outcome_{task}"] if there else table.select(outcome(pl.col(f"label_{task}"), pl.col(f"verdict_{task}"))).to_series()
    if found.dtype == pl.Enum(OUTCOMES):
        return found.to_physical().cast(pl.UInt8).fill_null(NONE).to_numpy()
    codes = {w: i for i, w in enumerate(OUTCOMES)}
    return found.cast(pl.String).replace_strict(codes, default=NONE, return_dtype=pl.UInt8).fill_null(NONE).to_numpy()


def rule_outcomes(
    table: pl.DataFrame, rule: Rule, guard: Guard, *, tasks: Sequence[str] | None = None, codes: Mapping[str, NDArray[np.uint8]] | None = None
) -> dict[str, NDArray[np.uint8]]:
    """What each output counts as by a rule, as places in `OUTCOMES`: by task, or under `WHOLE` where outputs are judged as a whole.

    Args:
        table: as for `apply_rule`.
        rule: a whole one.
        guard: whose tasks these are.
        tasks: those alone.
        codes: of `outcome_codes` for each of them, where they are at hand.
    """
    import numpy as np

    order = rule.task_order(guard, list(tasks) if tasks else None)
    out = {t: outcome_codes(table, t) if codes is None else codes[t] for t in order}
    if rule.unread != "left_out":
        out = {t: np.where((c == UNREAD) & _counts_as_wrong(table, rule, t), np.uint8(WRONG), c) for t, c in out.items()}
    if rule.complete:
        whole = np.ones(table.height, dtype=bool)
        for t in guard.task_names:
            whole &= _was_read(table, rule, t)
        out = {t: np.where((c != NONE) & ~whole, np.uint8(UNREAD), c) for t, c in out.items()}
    if rule.right_on == "task":
        return out
    every = np.stack(list(out.values()))
    known = every != NONE
    one = np.where((every == WRONG).any(0), WRONG, np.where(((every == RIGHT) | ~known).all(0), RIGHT, UNREAD))
    return {WHOLE: np.where(known.any(0), one, NONE).astype(np.uint8)}


def _counts_as_wrong(table: pl.DataFrame, rule: Rule, task: str) -> Any:
    """Of outputs that could not be read, which count as wrong."""
    if isinstance(rule.unread, str):
        return rule.unread == "wrong"
    if (name := f"unread_{task}") not in table.columns:
        raise InputError(f"the rule {rule.name!r} asks why an output could not be read, and the table has no column {name!r}")
    named = list(rule.unread)
    found = pl.col(name).cast(pl.String)
    wrong = found.is_in([r for r in named if rule.unread[r] == "wrong"])
    if rule.unread_as("") == "wrong":
        wrong = wrong | ~found.is_in(named)
    return table.select(wrong.fill_null(rule.unread_as("") == "wrong").alias("_"))["_"].to_numpy()


def _was_read(table: pl.DataFrame, rule: Rule, task: str) -> Any:
    """Whether an output says something of a task: a label, that there is none, or what the rule counts as wrong."""
    if f"verdict_{task}" not in table.columns:
        codes = outcome_codes(table, task)
        return codes != UNREAD
    read = pl.col(f"verdict_{task}").is_not_null()
    if f"unread_{task}" in table.columns:
        read = read | (pl.col(f"unread_{task}").cast(pl.String) == "none").fill_null(False)
    return table.select(read.alias("_"))["_"].to_numpy() | _counts_as_wrong(table, rule, task)


@dataclass(frozen=True)
class _Outputs:
    """The outputs of a table by number: `row` of `parents`, `guard` of `guards`. `there`: lines that are outputs of a guard that counts."""

    parents: pl.Series
    guards: list[str]
    row: NDArray[np.int64]
    guard: NDArray[np.int64]
    is_output: NDArray[np.bool_]
    draws: NDArray[np.int32]
    """By guard: its distinct draws."""

    @property
    def cell(self) -> NDArray[np.int64]:
        """Of each line its place among rows and guards; -1 for what is no output."""
        import numpy as np

        return np.where(self.is_output, self.row * max(len(self.guards), 1) + self.guard, -1)

    def count(self, mask: NDArray[np.bool_]) -> NDArray[np.int32]:
        """Outputs for which `mask` holds, by row and guard."""
        import numpy as np

        rows, guards = self.parents.len(), max(len(self.guards), 1)
        place = (self.row * guards + self.guard)[mask & self.is_output]
        return np.bincount(place, minlength=rows * guards).astype(np.int32).reshape(rows, guards)

    def any_of(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Rows with a line for which `mask` holds."""
        import numpy as np

        out = np.zeros(self.parents.len(), dtype=bool)
        out[self.row[mask]] = True
        return out

    def asked(self, missing: str) -> NDArray[np.int32]:
        """How often each guard was asked about each row."""
        import numpy as np

        asked = np.broadcast_to(self.draws, (self.parents.len(), len(self.draws)))
        return asked if missing != "not_asked" else np.where(self.made() > 0, asked, 0).astype(np.int32)

    def made(self) -> NDArray[np.int32]:
        """How many outputs of each guard there are of each row."""
        import numpy as np

        return self.count(np.ones(self.row.size, dtype=bool))


def _outputs(table: pl.DataFrame, rule: Rule, ids: pl.Series | None = None) -> _Outputs:
    """Number rows and guards, and refuse what is the same draw twice."""
    import numpy as np

    parents, row = row_numbers(table["parent"])
    names = table["guard_model"]
    every = sorted(names.unique().drop_nulls().cast(pl.String))
    wanted = [*rule.guards.order, *(rule.guards.only or [])]
    if every and (strange := [g for g in wanted if g not in every]):
        raise InputError(f"the rule {rule.name!r} names the guard {strange[0]!r}, of which there is no output", hint=did_you_mean(strange[0], every))
    guards = rule.guard_order(every)
    who = word_places(names, every)
    coded = np.array([*(guards.index(g) if g in guards else -1 for g in every), -1], np.int64)[who]
    is_output = coded >= 0
    guard = np.where(is_output, coded, 0)
    draw = table["draw"].cast(pl.Int64).fill_null(0).to_numpy()
    _check_draws(table["parent"], ids, row, who, every, draw)
    draws = [np.unique(draw[is_output & (coded == g)]).size for g in range(len(guards))] or [0]
    return _Outputs(parents, guards, row, guard, is_output, np.array(draws, dtype=np.int32))


def _check_draws(
    parents: pl.Series, ids: pl.Series | None, row: NDArray[np.int64], who: NDArray[np.int64], names: Sequence[str], draw: NDArray[np.int64]
) -> None:
    """Refuse a draw that is there twice. `who`: of each line the place of its guard in `names`, -1 for none."""
    import numpy as np

    real = who >= 0
    if not real.any():
        return
    if int(draw[real].min()) < 0:
        raise InputError(f"a draw has the number {int(draw[real].min())}: draws are numbered from 0")
    place = ((row * len(names) + who) * (int(draw[real].max()) + 1) + draw)[real]
    ordered = np.sort(place)
    if not (again := ordered[1:] == ordered[:-1]).any():
        return
    twice = int(np.isin(place, ordered[1:][again]).sum())
    at = int(np.flatnonzero(real)[np.flatnonzero(place == ordered[1:][again][0])[0]])
    which = f"draw {draw[at]} of {names[who[at]]!r} for {parents[at] if ids is None else ids[parents[at]]!r}"
    hint = "each must have a `draw` of its own, and each row an `id` of its own"
    raise InputError(f"{twice:,} generations are the same draw of a guard for one row: {which}", hint=hint)


def _facts(task: str, codes: NDArray[np.uint8] | None, outputs: _Outputs, asked: NDArray[np.int32]) -> dict[str, Any]:
    """What there is of each row on a task, whatever a rule makes of it."""
    import numpy as np

    rows = outputs.parents.len()
    if codes is None:
        return {f"n_{kind}_{task}": np.zeros(rows, dtype=np.int64) for kind in ("right", "wrong", "unread")}
    right, wrong = (outputs.count(codes == c).sum(1, dtype=np.int64) for c in (RIGHT, WRONG))
    unread = np.where(outputs.any_of(codes != NONE), asked.sum(1, dtype=np.int64) - right - wrong, 0)
    return {f"n_right_{task}": right, f"n_wrong_{task}": wrong, f"n_unread_{task}": unread}


def _labelled(status: NDArray[np.int8] | None, known: NDArray[np.bool_] | None, rows: int) -> NDArray[np.int8]:
    import numpy as np

    if status is None or known is None:  # a task that is not looked at
        return np.full(rows, NO_LABEL, dtype=np.int8)
    return np.where(known, status, NO_LABEL).astype(np.int8)


def _own(rule: Rule, by_task: Sequence[NDArray[np.int8]]) -> NDArray[np.int8]:
    """The status of each row, of those of its tasks."""
    import numpy as np

    every = np.stack(by_task)
    out = np.where((every == NOT_ASKED).any(0), NOT_ASKED, NO_LABEL)
    for kind in _WINS:
        out = np.where((every == kind).any(0), kind, out)
    if rule.tasks.hard_on == "all":
        some = (every == HARD).any(0) & ((every != HARD) & (every != NO_LABEL)).any(0)
        out = np.where(some, NOT_HARD, out)
    return out.astype(np.int8)


class _Units:
    """The hard units of all tasks, found one task after another."""

    def __init__(self, rule: Rule, outputs: _Outputs, asked: NDArray[np.int32], made: NDArray[np.int32]) -> None:
        self._rule, self._outputs, self._asked, self._made = rule, outputs, asked, made
        self._found: list[tuple[str | None, NDArray[np.bool_], tuple[NDArray[np.int32], ...]]] = []

    def add(self, task: str | None, codes: NDArray[np.uint8], measured: Mapping[str, Any]) -> NDArray[np.int8]:
        """The status of each row on a task (None: outputs are judged as a whole), the row having a label; its units are kept."""
        import numpy as np

        outputs, rule = self._outputs, self._rule
        known = outputs.any_of(codes != NONE)[:, None]
        right, wrong = outputs.count(codes == RIGHT), outputs.count(codes == WRONG)
        asked, made = self._asked, self._made
        if rule.unread_as(MISSING) == "wrong":
            wrong = wrong + np.where(known, made - outputs.made(), 0).astype(np.int32)
        if rule.guards.count == "pooled":
            right, wrong, asked, made = (a.sum(1, keepdims=True, dtype=np.int32) for a in (right, wrong, asked, made))
        unread = np.where(known, made - right - wrong, 0).astype(np.int32)
        there = (asked > 0) & known
        hard = rule.condition.holds(right, wrong, unread + asked - made, asked, measured) & there
        enough = self._enough(hard, there)
        doubt = None if rule.doubt is None else rule.doubt.holds(right, wrong, unread, made, measured)
        suspect = np.zeros_like(enough) if doubt is None else self._enough(doubt & there, there)
        self._found.append((task, hard & enough[:, None], (right, wrong, unread)))
        total, n_right, n_wrong, n_unread = (a.sum(1) for a in (made, right, wrong, unread))
        cases = [
            (enough, HARD),
            (total == 0, NOT_ASKED),
            (n_right == total, ALWAYS_RIGHT),
            (n_wrong == total, ALWAYS_WRONG),
            (suspect, SUSPECT),
            (n_unread > 0, UNDECIDED),
        ]
        return np.select([c for c, _ in cases], [w for _, w in cases], NOT_HARD).astype(np.int8)

    def _enough(self, hard: NDArray[np.bool_], there: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Whether a row is hard, by the guards that it is hard for."""
        import numpy as np

        wanted = self._rule.guards.hard_for
        least: Any = 1 if wanted == "any" else np.maximum(there.sum(1), 1) if wanted == "all" else wanted
        return np.asarray(hard.sum(1) >= least)

    def lists(self, rows: NDArray[np.bool_]) -> pl.Series:
        """The column `hard_of`; empty for all but these rows."""
        import numpy as np

        hard = np.stack([h for _, h, _ in self._found], axis=2) & rows[:, None, None]  # row, guard, task
        if self._rule.tasks.take == "first":
            hard &= np.cumsum(hard, axis=2) == 1
        if self._rule.guards.take == "first":
            some = hard.any(2)
            hard &= (some & (np.cumsum(some, axis=1) == 1))[:, :, None]
        at, guard, task = np.nonzero(hard)
        names = pl.Series([t for t, _, _ in self._found], dtype=pl.String)
        pooled = self._rule.guards.count == "pooled"
        guards = pl.Series([None] if pooled else self._outputs.guards or [None], dtype=pl.String)
        counts = [np.stack([c[i] for _, _, c in self._found], axis=2)[at, guard, task].astype(np.int64) for i in range(3)]
        units = pl.DataFrame(
            {
                "task": names.gather(task.astype(np.uint32)),
                "guard": guards.gather(guard.astype(np.uint32)),
                **dict(zip(("right", "wrong", "unread"), counts, strict=True)),
            }
        )
        each = pl.DataFrame({"_row": at, "unit": units.to_struct("unit")}).group_by("_row", maintain_order=True).agg("unit")
        every = pl.DataFrame({"_row": np.arange(rows.size, dtype=np.int64)}).join(each, on="_row", how="left", maintain_order="left")
        return every.select(pl.col("unit").cast(HARD_OF).fill_null(pl.lit([], dtype=HARD_OF)).alias("hard_of"))["hard_of"]
