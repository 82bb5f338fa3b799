"""What adaptive drawing is expected to save, before anything is drawn: the draws of a made-up or an earlier run, replayed as it would make them.

*Earlier* draws are rows of which every guard made all of its draws; rows are taken from them with replacement (a bootstrap), as many as stand for
the run to come. Without any, votes are made up as the released GuardReasoner models vote: how likely a guard is wrong on a row is a logistic
function of a normal number, most of which all guards share, fitted to their released predictions and to the hard rows that the paper counts
(`make bench-draws` prints the fit and says how it is made). How much the probability of an answer tells of that is not known of them: three
cases, the outer ones of which are the ends of what is expected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from toolkit.common.errors import InputError
from toolkit.mining._drawing import Aim, best_order, decide, replay
from toolkit.mining._draws import settled

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RATES, SPREAD, SHARED = (0.088, 0.104, 0.092), 13.3, 0.89
"""Of the released models: how often each is wrong, the spread of the log-odds of that over rows, and the share of its variance that they have in
common. A further guard has the mean rate."""
INFORMED: Mapping[str, float | None] = {"well": 1.0, "weakly": 3.0, "not at all": None}
"""How far the log-odds of an answer's probability lie from those of being right: standard deviation of normal noise; None: it says nothing."""
_RELEASED = (
    "assumed: the guards vote as the three released GuardReasoner models do (wrong on 8.8, 10.4 and 9.2 % of the rows, mostly on the same ones), "
    "on one task a row"
)
_UNKNOWN = "; how much an answer's probability tells of that is not known: from well to not at all"
_SHARE, _REST, _ORDER, _LINES, _TIMES = 6_000, 1_500, 300, 240_000, 3
"""Rows that stand for those drawn in full and for the others, those on which orders are tried, lines of a table, at most; how often earlier rows are
taken anew."""


@dataclass(frozen=True)
class ExpectedDraws:
    """What drawing until a rule is settled is expected to come to; the shares are of a run that draws everything, as (low, mid, high).

    Attributes:
        draws: share of the draws that are made.
        tokens: share of the tokens that are written.
        hard: share of the rows that are hard.
        source: what this rests on.
    """

    draws: tuple[float, float, float]
    tokens: tuple[float, float, float]
    hard: float
    source: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON, with `saved`, the share of the tokens that are not written."""
        names = ("low", "mid", "high")
        out: dict[str, Any] = {
            n: dict(zip(names, (round(v, 4) for v in of), strict=True)) for n, of in (("draws", self.draws), ("tokens", self.tokens))
        }
        out["saved"] = dict(zip(names, (round(1 - v, 4) for v in reversed(self.tokens)), strict=True))
        return out | {"hard": round(self.hard, 4), "source": self.source}


def expected_draws(aim: Aim, rows: int | None, in_full: float, earlier: pl.DataFrame | None = None) -> ExpectedDraws:
    """What adaptive drawing is expected to make.

    Args:
        aim: what it is to find, with the guards and their draws.
        rows: that it has; None: many.
        in_full: share of these that is drawn in full.
        earlier: draws of an earlier run, as for `apply_rule`, with ``probability_<task>`` and `tokens` where these are known. As many guards must
            have as many draws or more; if their names are others, they stand for these in their order. Rows that lack a draw are left out.

    Raises:
        InputError: the earlier draws are of another number of guards, or of no row in full.

    Example:
        >>> aim = Aim(load_rule("default"), toolkit.load_guard("guardreasoner"), {"a": 4, "b": 4, "c": 4}, recall=None)
        >>> found = expected_draws(aim, 10_000, 0.05)
        >>> found.draws[0] == found.draws[2], 0.8 < found.draws[1] < 0.95
        (True, True)
    """
    size = max(1, _LINES // sum(aim.k.values()))
    most = _ORDER if aim.recall is None else _SHARE
    share = max(1, min(size // 2, most, most if rows is None else round(rows * in_full)))
    rest = min(size // 2, _REST)
    found, source = [], _RELEASED + ("" if aim.recall is None else _UNKNOWN)
    if earlier is None:
        cases: Iterator[pl.DataFrame] = (made_up(aim, share + rest, noise) for noise in (INFORMED.values() if aim.recall is not None else [None]))
    else:
        whole, n = _whole(earlier, aim)
        source = f"{n:,} rows of an earlier run with all draws"
        cases = (_taken(whole, aim, share + rest, seed) for seed in range(_TIMES))
    for table in cases:
        found.append(_came_to(table, aim, share, in_full))
    draws, tokens, hard = (sorted(of) for of in zip(*found, strict=True))
    middle = len(found) // 2
    return ExpectedDraws((draws[0], draws[middle], draws[-1]), (tokens[0], tokens[middle], tokens[-1]), hard[middle], source)


def _came_to(table: pl.DataFrame, aim: Aim, share: int, in_full: float) -> tuple[float, float, float]:
    """Of a table whose first rows are those in full: the shares of draws and of tokens that are made, and of rows that are hard."""
    parent = pl.col("parent")
    whole, others = table.filter(parent < share), table.filter(parent >= share)
    order = best_order(whole.filter(parent < _ORDER), aim)
    decided = decide(pl.concat([whole, others.filter(pl.col("draw") == 0)]), pl.Series(range(share), dtype=pl.Int64), aim, order)
    made = replay(others, others["parent"].clear(), aim, decided)
    counts = [(t.height, float(t["tokens"].sum())) for t in (made, others)]
    draws, tokens = (in_full + (1 - in_full) * counts[0][i] / (counts[1][i] or 1) for i in (0, 1))
    hard = settled(others, aim.rule, aim.guard, aim.k, tasks=aim.tasks)["outcome"] == "hard"
    return draws, tokens, float(hard.mean() or 0.0)  # type: ignore[arg-type]


def made_up(aim: Aim, rows: int, noise: float | None, seed: int = 1) -> pl.DataFrame:
    """All draws of guards that vote as the released models do: columns `parent` (numbers), `guard_model`, `draw`, `tokens`, and for each task
    ``label_``, ``outcome_``, ``unread_`` and ``probability_<task>``; the rule's first task alone has labels.

    Args:
        aim: whose guards, draws, rule and tasks these are.
        rows: how many.
        noise: as in `INFORMED`.
        seed: of the numbers.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    most = max(aim.k.values())
    p = wrong_rates(rng.normal(size=(rows, 1)), rng.normal(size=(rows, len(aim.k))))
    wrong = rng.random((rows, len(aim.k), most)) < p[:, :, None]
    odds = np.log1p(-p) - np.log(p)
    right = np.full(wrong.shape, 0.9) if noise is None else 1 / (1 + np.exp(-(odds[:, :, None] + noise * rng.normal(size=wrong.shape))))
    there = np.arange(most) < np.array(list(aim.k.values()))[:, None]
    at = np.nonzero(np.broadcast_to(there, wrong.shape))
    first, *others = aim.rule.task_order(aim.guard, list(aim.tasks) if aim.tasks else None)
    others = [t for t in aim.guard.task_names if t != first]
    columns: dict[str, Any] = {"parent": at[0], "guard_model": pl.Series(list(aim.k)).gather(at[1].astype("uint32")), "draw": at[2]}
    columns |= {f"label_{first}": pl.Series([aim.guard.task(first).positive]).new_from_index(0, at[0].size)}
    columns |= {f"outcome_{first}": pl.Series(["right", "wrong"]).gather(wrong[at].astype("uint32"))}
    columns |= {f"probability_{first}": np.where(wrong[at], 1 - right[at], right[at]), "tokens": rng.integers(150, 400, at[0].size)}
    empty = [pl.lit(None, pl.String).alias(f"unread_{t}") for t in aim.guard.task_names]
    empty += [pl.lit("not_applicable").alias(f"outcome_{t}") for t in others]
    empty += [pl.lit(None, kind).alias(f"{n}_{t}") for t in others for n, kind in (("label", pl.String), ("probability", pl.Float64))]
    return pl.DataFrame(columns).with_columns(empty)


def wrong_rates(shared: NDArray[np.float64], own: NDArray[np.float64]) -> NDArray[np.float64]:
    """How likely guards are wrong on rows, as the released models are: of shape (rows, guards), from standard normal numbers of the shapes (rows, 1)
    and (rows, guards)."""
    import numpy as np

    x = SPREAD * (np.sqrt(SHARED) * shared + np.sqrt(1 - SHARED) * own)
    out = np.empty_like(x)
    for g in range(x.shape[1]):
        rate = RATES[g] if g < len(RATES) else sum(RATES) / len(RATES)
        low, high = -80.0, 80.0
        for _ in range(30):
            middle = (low + high) / 2
            low, high = (middle, high) if (1 / (1 + np.exp(-(x[:, g] + middle)))).mean() < rate else (low, middle)
        out[:, g] = 1 / (1 + np.exp(-(x[:, g] + (low + high) / 2)))
    found: NDArray[np.float64] = np.clip(out, 1e-12, 1 - 1e-12)
    return found


def _whole(table: pl.DataFrame, aim: Aim) -> tuple[pl.DataFrame, int]:
    """The lines of rows that have all draws, in order of row, guard and draw, and how many rows these are."""
    names, asked = [str(g) for g in table["guard_model"].drop_nulls().unique().sort()], list(aim.k)
    if set(asked) <= set(names):
        names = asked
    elif len(names) != len(asked):
        message = f"the earlier draws are of {len(names)} guards ({', '.join(names)}), and {len(asked)} are asked ({', '.join(asked)})"
        raise InputError(message, hint="give those of as many guards, or of guards with these names")
    place = {g: i for i, g in enumerate(names)}
    most = pl.col("_guard").replace_strict(dict(enumerate(aim.k.values())), return_dtype=pl.Int64)
    lines = table.filter(pl.col("guard_model").is_in(names)).with_columns(_guard=pl.col("guard_model").replace_strict(place, return_dtype=pl.Int64))
    lines = lines.sort("parent", "_guard", "draw", maintain_order=True)
    lines = lines.with_columns(draw=pl.int_range(pl.len()).over("parent", "_guard")).filter(pl.col("draw") < most)
    lines = lines.filter(pl.len().over("parent") == sum(aim.k.values()))
    if not lines.height:
        raise InputError(
            f"no row of the earlier draws has {max(aim.k.values())} draws of each guard", hint="give a run that drew as often, or oftener"
        )
    if "tokens" not in lines.columns or lines["tokens"].null_count():
        lines = lines.with_columns(tokens=pl.lit(1, pl.Int64))
    return lines.with_columns(guard_model=pl.col("_guard").replace_strict(dict(enumerate(asked)), return_dtype=pl.String)), lines.n_unique("parent")


def _taken(lines: pl.DataFrame, aim: Aim, rows: int, seed: int) -> pl.DataFrame:
    """So many rows of whole ones, with replacement."""
    import numpy as np

    each = sum(aim.k.values())
    chosen = np.random.default_rng(seed).integers(lines.height // each, size=rows)
    at = (chosen[:, None] * each + np.arange(each)).ravel().astype("uint32")
    return lines[at].with_columns(parent=pl.Series(np.repeat(np.arange(rows), each)))
