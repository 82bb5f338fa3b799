"""Drawing until a rule is settled: the option ``adaptive`` of `sample`. Who draws what is decided in `toolkit.mining`; here answers become its
table."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import polars as pl
from pydantic import Field

from toolkit.common.errors import InputError, did_you_mean, short_path
from toolkit.common.parquet import first_line
from toolkit.judging import asked_of, label_probabilities, read_output, scores
from toolkit.mining import SCREENED as SCREENED
from toolkit.mining import SETTLED as SETTLED
from toolkit.mining import Aim, Decided, ExpectedDraws, Rule, decide, expected_draws, load_rule, wanted
from toolkit.operators.base import Config, Context, Unasked
from toolkit.operators.judge._rule_option import RuleGiven

if TYPE_CHECKING:
    from toolkit.generation import BaseBackendConfig, Completion, Request
    from toolkit.guards import Guard

_WORDS = {
    SCREENED: "every guard's first draw was right and sure",
    SETTLED: "whether the row is hard no longer depends on this draw",
}


class ScreenConfig(Config):
    """Which rows a screen leaves out."""

    recall: float = Field(0.98, gt=0, lt=1)
    """Share of the hard rows that it must keep, at the lower bound of what the rows drawn in full show."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Of that bound."""


class AdaptiveConfig(Config):
    """Draw no more than a rule needs."""

    rule: RuleGiven = "default"
    """What counts as hard, as for `mine`: the name of a rule, the path of one, or its keys."""
    tasks: list[str] | None = Field(None, min_length=1)
    """Tasks to look at (default: the rule's)."""
    in_full: float = Field(0.05, gt=0, le=1)
    """Share of the rows, drawn by seed, that is drawn in full whatever comes: what is lost is measured on these."""
    screen: ScreenConfig | None = ScreenConfig()
    """Leave out rows of which every guard is sure after its first draw; needs `logprobs` in the backends. null: stop at settled rows alone."""
    finish: bool = False
    """Draw rows in full that turned out hard, so that pairs are chosen and weights counted from all draws."""

    expect: str | None = None
    """Draws of an earlier run, which drew in full, by which a plan says what is expected to be saved: the folder of its step `verdicts`, or a parquet
    file of such rows. Default: an assumption, that guards vote as the released models do. It shapes no answer."""

    def aim(self, rule: Rule, guard: Guard, k: Mapping[str, int]) -> Aim:
        """What drawing so is to find."""
        if self.screen is None:
            return Aim(rule, guard, k, recall=None, finish=self.finish, tasks=self.tasks)
        return Aim(rule, guard, k, recall=self.screen.recall, confidence=self.screen.confidence, finish=self.finish, tasks=self.tasks)

    def earlier_file(self, ctx: Context) -> Path | None:
        """The file of `expect`.

        Raises:
            InputError: there is none, it cannot be read, or it holds no verdicts.
        """
        if self.expect is None:
            return None
        folder = ctx.roots.first(self.expect, Path.is_dir)
        file = ctx.roots.file(self.expect if folder is None else folder / "rows" / "rows.parquet")
        there = _parquet(file, lambda: pl.scan_parquet(file).collect_schema())
        needed = ["parent", "guard_model", "draw", *(f"{n}_{t}" for t in ctx.guard.task_names for n in ("label", "verdict"))]
        if missing := [n for n in needed if n not in there]:
            message = f"these are no draws with verdicts: the column {missing[0]!r} is missing"
            raise InputError(message, where=short_path(file), hint="`expect` takes the folder of a step `verdicts`, or its rows.parquet")
        return file

    def expected(self, ctx: Context, k: Mapping[str, int], rows: int | None) -> ExpectedDraws:
        """What drawing so is expected to come to.

        Raises:
            InputError: the draws of `expect` cannot be read, or are no draws of such guards.
        """
        rule, file = load_rule(self.rule, ctx.roots), self.earlier_file(ctx)
        earlier = None if file is None else _earlier(file, ctx.guard)
        return expected_draws(self.aim(rule, ctx.guard, k), rows, self.in_full, earlier)

    def forecast(self, ctx: Context, k: Mapping[str, int], rows: int | None) -> dict[str, Any]:
        """What is expected, for a plan, with `words`."""
        found = self.expected(ctx, k, rows).as_dict()
        found["recall"] = None if self.screen is None else self.screen.recall
        low, mid, high = (found["saved"][n] for n in ("low", "mid", "high"))
        span = "" if f"{low:.0%}" == f"{high:.0%}" else f" ({low:.0%} to {high:.0%})"
        words = (
            f"{self.words(max(k.values()))}. Expected to be saved: {mid:.0%}{span} of the tokens that all draws would take, and {found['hard']:.1%} "
        )
        words += f"of the rows to be hard ({found['source']})"
        if self.screen is not None and rows is not None:
            needed = math.ceil(math.log(1 - self.screen.confidence) / math.log(self.screen.recall))
            if (there := rows * self.in_full * found["hard"]) < needed:
                words += f". A screen needs {needed:,} hard rows among those drawn in full, and about {there:,.0f} are to be expected"
        return {**found, "words": words}

    def words(self, k: int) -> str:
        """What drawing so comes to, of `k` draws of each guard; without a screen no hard row is lost."""
        least = self.in_full + (1 - self.in_full) / k
        sentence = f"{least:.0%} of these at least, as each guard draws once of every row; {self.in_full:.0%} of the rows are drawn in full, "
        sentence += "the others until the rule is settled"
        if self.screen is None:
            sentence += ", which loses no hard row"
        else:
            sentence += (
                f", and those that every guard is sure of once: at least {self.screen.recall:.0%} of the hard rows are kept, or none is left out"
            )
        return sentence


def check_adaptive(config: AdaptiveConfig, guard: Guard, backends: Mapping[str, BaseBackendConfig], k: int) -> None:
    """Raise InputError where a step cannot draw so: a guard with several calls, a screen without log-probabilities, one draw, an unknown task."""
    if guard.calls:
        raise InputError(f"the guard {guard.name!r} is asked by calls of its own: leave out `adaptive`")
    if k == 1:
        raise InputError("with k: 1 there is no draw to leave out", hint="leave out `adaptive`, or set k")
    silent = [name for name, backend in backends.items() if not scores(backend)]
    if config.screen is not None and silent:
        raise InputError(
            f"a screen needs the probability of each answer, and the backend of {silent[0]!r} is not asked for any",
            hint="set logprobs: 5 in its backend, or screen: null",
        )
    for task in config.tasks or ():
        if task not in guard.task_names:
            raise InputError(f"the guard {guard.name!r} has no task {task!r}", hint=did_you_mean(task, guard.task_names))


class Drawing:
    """The answers of an adaptive step so far, and what the next pass asks.

    Memory: about 200 bytes a draw.
    """

    def __init__(self, config: AdaptiveConfig, guard: Guard, names: Sequence[str], k: int, ctx: Context) -> None:
        self.aim = config.aim(load_rule(config.rule, ctx.roots), guard, dict.fromkeys(names, k))
        self._expected = partial(config.expected, ctx, self.aim.k)
        self._k, self._guard, self._ctx, self._in_full = k, guard, ctx, config.in_full
        self._lines: dict[str, list[Any]] = {name: [] for name in _line_types(guard)}
        self._shares: dict[str, bool] = {}
        self._whole: dict[str, set[str]] = {name: set() for name in names}
        """By guard the rows of the share that it was asked about in full."""
        self._decided: Decided | None = None
        self._number = 0
        self._next: frozenset[str] = frozenset()
        self._screened: frozenset[str] = frozenset()
        self.who = ""
        self._draw = 0
        self.left_out = {SCREENED: 0, SETTLED: 0}

    @property
    def further(self) -> int:
        """Passes after the first draws."""
        return len(self.aim.k) * (self._k - 1)

    def begin(self, number: int) -> str:
        """Begin a pass; the guard that is asked."""
        guards = len(self.aim.k)
        self._number = number
        if number < guards:
            self.who, self._draw = list(self.aim.k)[number], 0
            return self.who
        table = self.table()
        share = pl.Series([r for r, mine in self._shares.items() if mine], dtype=pl.String)
        if self._decided is None:
            self._decided = decide(table, share, self.aim)
            self._screened = frozenset(self._decided.screened)
        place, draw = divmod(number - guards, self._k - 1)
        self.who, self._draw = self._decided.order[place], draw + 1
        self._next = frozenset(wanted(table, self.aim, self._decided, share))
        return self.who

    def of_row(self, row_id: str, every: Callable[[], Sequence[Request]]) -> list[Request]:
        """Of all requests of a row to the guard that is asked, as `every` makes them, those of this pass.

        Raises:
            Unasked: there is none.
        """
        if self._number < len(self.aim.k):
            in_share, found = self.in_share(row_id), list(every())
            if not in_share:
                return found[:1]
            self._whole[self.who].add(row_id)
            return found
        if row_id in self._whole[self.who]:
            raise Unasked(SETTLED, "drawn in full", draws=0)
        if row_id in self._next or self.in_share(row_id):
            return [every()[self._draw]]
        why = SCREENED if row_id in self._screened else SETTLED
        self.left_out[why] += 1
        raise Unasked(why, _WORDS[why], set_aside=True)

    def in_share(self, row_id: str) -> bool:
        """Whether a row is drawn in full."""
        if row_id not in self._shares:
            self._shares[row_id] = self._ctx.rng_seed("in full", row_id) < self._in_full * 2**60
        return self._shares[row_id]

    def take(self, row: Mapping[str, Any], draw: int, completion: Completion) -> None:
        """Count what came of a draw."""
        guard = self._guard
        asked = asked_of(guard, completion.text, row)
        parsed = read_output(guard, completion.text, row=row)
        known = label_probabilities(guard, completion, asked=asked) if draw == 0 else {}
        line: dict[str, Any] = {"parent": row["id"], "guard_model": self.who, "draw": draw, "tokens": completion.completion_tokens}
        for t in guard.tasks:
            line[f"label_{t.name}"] = row[f"label_{t.name}"]
            line[f"verdict_{t.name}"], line[f"unread_{t.name}"] = parsed.labels[t.name], parsed.reasons[t.name]
            line[f"probability_{t.name}"] = known.get(t.name, {}).get(t.positive or "")
        for name, values in self._lines.items():
            values.append(line[name])

    def table(self) -> pl.DataFrame:
        """The draws so far."""
        return pl.DataFrame(self._lines, schema=_line_types(self._guard))

    def stats(self) -> dict[str, Any]:
        """Figures for the manifest."""
        table, rows = self.table(), len(self._shares)
        found = self._decided.screen if self._decided is not None else None
        drawn, in_full = table.height, rows * len(self.aim.k) * self._k
        out: dict[str, Any] = {"rows": rows, "in_full": sum(self._shares.values()), "drawn": drawn, "of": in_full, "left_out": dict(self.left_out)}
        out["saved"] = round(1 - drawn / in_full, 4) if in_full else 0.0
        out |= self._tokens(table, rows) | {"expected": self._expected(rows).as_dict()}
        out["order"] = list(self._decided.order) if self._decided is not None else list(self.aim.k)
        out["screen"] = None if found is None else {n: round(v, 6) if isinstance(v, float) else v for n, v in vars(found).items()}
        return {"adaptive": out}

    def _tokens(self, table: pl.DataFrame, rows: int) -> dict[str, Any]:
        """Tokens that were written, and the share saved: a draw that was not made counts as the mean of its guard's; null where not known."""
        known = table.filter(pl.col("tokens").is_not_null())
        by_guard = known.group_by("guard_model").agg(pl.col("tokens").mean()).iter_rows()
        means, drawn = dict(by_guard), dict(table.group_by("guard_model").len().iter_rows())
        if known.height < table.height or set(means) != set(self.aim.k):
            return {"tokens": None, "tokens_saved": None}
        written = int(known["tokens"].sum())
        left = sum(mean * (rows * self._k - drawn[name]) for name, mean in means.items())
        return {"tokens": written, "tokens_saved": round(left / (left + written), 4) if left + written else 0.0}


T = TypeVar("T")


def _parquet(file: Path, read: Callable[[], T]) -> T:
    try:
        return read()
    except (pl.exceptions.PolarsError, OSError) as e:
        raise InputError(f"cannot be read: {first_line(e)}", where=short_path(file)) from None


def _earlier(file: Path, guard: Guard) -> pl.DataFrame:
    """The columns of an earlier run's verdicts that count."""
    types = _line_types(guard)
    there = _parquet(file, lambda: pl.scan_parquet(file).collect_schema())
    found = _parquet(file, lambda: pl.read_parquet(file, columns=[n for n in types if n in there]))
    return found.with_columns(pl.lit(None, kind).alias(n) for n, kind in types.items() if n not in there and n != "tokens")


def _line_types(guard: Guard) -> dict[str, Any]:
    types: dict[str, Any] = {"parent": pl.String, "guard_model": pl.String, "draw": pl.Int64, "tokens": pl.Int64}
    for t in guard.task_names:
        types |= {f"label_{t}": pl.String, f"verdict_{t}": pl.String, f"unread_{t}": pl.String, f"probability_{t}": pl.Float64}
    return types
