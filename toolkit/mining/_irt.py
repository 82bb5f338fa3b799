"""Item response: how hard each row is, how well it tells guards apart, and how able each guard is, on one scale.

The model (Rasch, 1960; Birnbaum, 1968, in Lord and Novick, Statistical Theories of Mental Test Scores): guard g is right on row i with probability ::

    1 / (1 + exp(-a_i (ability_g - b_i)))        b: difficulty, a: discrimination (1 for every row where there is one parameter)

*How it is fitted.* There are few guards and many rows, each with few votes, so rows are what is integrated over (marginal maximum likelihood; Bock
and Aitkin, 1981, Psychometrika 46:443, with rows for persons: to estimate both jointly is inconsistent, Neyman and Scott, 1948, Econometrica 16:1).
Difficulties are normal with mean 0 and a spread that is estimated. With two parameters, the logarithm of a row's discrimination is normal(0, 0.5),
as in BILOG (Mislevy, 1986, Psychometrika 51:177, on priors for items), and before anything is known one row in 20 has its label reversed, and so its
sign: better guards get it wrong more often than worse ones, the mark of a wrong label (Rodriguez et al., 2021, ACL, Evaluation examples are not
equally informative).
Abilities and the spread are found by Newton steps with the scores' outer product for the curvature (Berndt, Hall, Hall and Hausman, 1974), halved
until the likelihood rises; it has converged when what a full step promises is below 1e-7 of log-likelihood. Weak priors, normal(0, 5) for an ability
and normal(0, 2) for the logarithm of the spread, keep finite a guard that is always right and rows that are all alike; elsewhere they do not show.

*Error bars.* Of abilities and spread: the sandwich (Huber, 1967; White, 1982, Econometrica 50:1), with rows as what is independent, so it also holds
where draws of a guard on one row are alike. Of a row: mean and standard deviation of its posterior, abilities taken as known. A row on which all are
right, or all wrong, has a finite difficulty for that reason, with a wide error. Rows without a label or a readable vote have none (null). What could
not be read is left out; it is no wrong answer here.

*Draws.* By default each draw is an answer of its own. Draws of one guard at a low temperature are much alike, and rows then seem surer than they are:
``draws="one"`` takes a guard's share of right draws as its one answer.

Cost: rows with the same counts are fitted as one. 127,544 rows with 4 draws of 4 guards have at most 625 patterns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import polars as pl

from toolkit.common.errors import InputError
from toolkit.guards import Guard
from toolkit.mining._tally import Votes, count_votes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_MANY = 8192
"""Patterns beyond which a part of them gives the start of the climb, and the curvature for the errors."""
_CHUNK = 4096
"""Patterns whose posteriors are held at once."""
_STEPS = 200
"""Newton steps, at most."""
_SPREAD_OF_A = 0.5
_REVERSED = 0.05
_PRIOR_ABILITY, _PRIOR_LOG_SPREAD = 5.0, 2.0


@dataclass(frozen=True)
class ItemResponse:
    """What was found.

    Attributes:
        task: of which.
        parameters: 1 or 2.
        rows: `parent`, `difficulty`, `difficulty_se`, and with two parameters `discrimination`, `discrimination_se` and `reversed` (the probability
            that the label is: its discrimination is negative); one line a row of the table, null where it has no label or no vote.
        guards: `guard`, `ability`, `ability_se`, `answers`; the most able first, null without an answer.
        spread: standard deviation of difficulties, and its error `spread_se`.
        log_likelihood: of the answers.
        steps: Newton steps taken.
        converged: whether they came to an end by themselves.
    """

    task: str
    parameters: int
    rows: pl.DataFrame
    guards: pl.DataFrame
    spread: float
    spread_se: float
    log_likelihood: float
    steps: int
    converged: bool


def item_response(
    table: pl.DataFrame | Votes, guard: Guard, task: str, parameters: Literal[1, 2] = 1, *, draws: Literal["each", "one"] = "each"
) -> ItemResponse:
    """Fit the logistic model with one or two parameters a row (the module's docstring has it).

    Args:
        table: verdicts in `judged` columns, or their votes (`count_votes`).
        guard: whose task it is.
        task: which.
        parameters: 1: difficulty; 2: difficulty and discrimination, which takes two guards at least.
        draws: ``each`` draw is an answer; ``one``: a guard's share of right ones is its one answer.

    Raises:
        InputError: no such task; no row with a label and a vote; two parameters of one guard's answers.
    """
    votes = table if isinstance(table, Votes) else count_votes(table, guard, [task])
    task_votes = votes.tasks[task]
    return fit_item_response(votes.parents, votes.guards, task_votes.right, task_votes.right + task_votes.wrong, task, parameters, draws=draws)


def fit_item_response(
    parents: pl.Series,
    guards: Sequence[str],
    right: NDArray[np.int32],
    answers: NDArray[np.int32],
    task: str,
    parameters: Literal[1, 2] = 1,
    *,
    draws: Literal["each", "one"] = "each",
) -> ItemResponse:
    """`item_response` of counts.

    Args:
        parents: ids of the rows.
        guards: names.
        right: right answers, shape (rows, guards).
        answers: all that could be read, likewise.
        task: named in the result and in errors.
        parameters, draws: as there.
    """
    import numpy as np

    asked = np.flatnonzero(answers.sum(axis=1) > 0)
    there = np.flatnonzero(answers.sum(axis=0) > 0)
    if not len(asked):
        raise InputError(f"item response of {task!r}: no row has a label and a verdict that could be read")
    if parameters == 2 and len(there) < 2:
        raise InputError(f"item response of {task!r}: two parameters take the answers of two guards", hint="parameters: 1 takes one")
    both = np.concatenate([right[:, there], answers[:, there]], axis=1)[asked]
    patterns, number, weight = _patterns(both)
    x, n = (half.astype(np.float64) for half in np.split(patterns, 2, axis=1))
    if draws == "one":
        x, n = x / np.maximum(n, 1), np.minimum(n, 1)
    model = _Model(x, n, weight.astype(np.float64), parameters)
    point, steps, converged = model.climb()
    error = model.errors(point)
    posterior = model.posterior(point)[number]
    columns = ["difficulty", "difficulty_se", *(["discrimination", "discrimination_se", "reversed"] if parameters == 2 else [])]
    values = np.full((len(parents), len(columns)), np.nan)
    values[asked] = posterior[:, : len(columns)]
    rows = pl.DataFrame({"parent": parents} | {c: pl.Series(c, values[:, i], nan_to_null=True) for i, c in enumerate(columns)})
    ability, ability_se = (np.full(len(guards), np.nan) for _ in range(2))
    ability[there], ability_se[there] = point[:-1], error[:-1]
    able = pl.DataFrame({"guard": list(guards), "ability": ability, "ability_se": ability_se, "answers": answers.sum(axis=0).astype(np.int64)})
    able = able.with_columns(pl.col("ability", "ability_se").fill_nan(None)).sort("ability", "guard", descending=[True, False], nulls_last=True)
    spread = float(np.exp(point[-1]))
    return ItemResponse(task, parameters, rows, able, spread, spread * float(error[-1]), model.value(point)[1], steps, converged)


def _patterns(both: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """The different lines, the number of each line's, and how often each is there."""
    import numpy as np

    base = both.max(axis=0).astype(object) + 1
    key = both if _product(base) >= 2**62 else _packed(both, [int(b) for b in base])
    _, first, number, weight = np.unique(key, axis=0, return_index=True, return_inverse=True, return_counts=True)
    return both[first], number.reshape(-1), weight


def _product(numbers: Sequence[int]) -> int:
    out = 1
    for n in numbers:
        out *= int(n)
    return out


def _packed(both: NDArray[np.int32], base: Sequence[int]) -> NDArray[np.int64]:
    """A number for each line."""
    import numpy as np

    key = np.zeros(len(both), np.int64)
    for column, b in enumerate(base):
        key = key * b + both[:, column]
    return key


class _Model:
    """The marginal likelihood of patterns of answers, with its slope.

    A point is the abilities and the logarithm of the spread of difficulties.

    Args:
        x: right answers, shape (patterns, guards).
        n: answers.
        weight: rows of each pattern.
        parameters: 1 or 2.
    """

    def __init__(self, x: Floats, n: Floats, weight: Floats, parameters: int) -> None:
        import numpy as np

        self._x, self._n, self._weight, self._parameters = x, n, weight, parameters
        z = np.linspace(-5, 5, _nodes(n, parameters))
        a, known = np.array([1.0]), np.zeros(1)
        if parameters == 2:
            u = np.linspace(-3, 3, 7)
            sizes = np.exp(_SPREAD_OF_A * u)
            a = np.concatenate([sizes, -sizes])
            known = np.concatenate([np.log(1 - _REVERSED) - 0.5 * u**2, np.log(_REVERSED) - 0.5 * u**2])
        log = -0.5 * z[:, None] ** 2 + known
        self._prior = (log - np.log(np.exp(log).sum())).ravel()
        self._z, self._a = np.repeat(z, len(a)), np.tile(a, len(z))

    def climb(self) -> tuple[Floats, int, bool]:
        """The highest point, steps, and whether it was reached."""
        import numpy as np

        if (part := self._part()) is not None:
            point = part.climb()[0]
        else:
            share = (self._weight @ self._x + 0.5) / (self._weight @ self._n + 1)
            point = np.append(1.5 * np.log(share / (1 - share)), 0.0)
        height, _ = self.value(point)
        for step in range(_STEPS):
            slope, outer = self.slope(point)
            way = np.linalg.solve(outer + self._stiffness(), slope)
            if float(slope @ way) < 1e-7:
                return point, step, True
            way *= min(1.0, 2.0 / float(np.abs(way).max()))
            for _ in range(30):
                higher, _ = self.value(point + way)
                if higher > height:
                    break
                way /= 2
            else:  # no way up is left at this precision
                return point, step, float(slope @ way) < 1e-3
            point, height = point + way, higher
        return point, _STEPS, False

    def _part(self) -> _Model | None:
        """The same of fewer patterns: the most frequent ones, and every so many of the others for all of these; None where there are few."""
        import numpy as np

        if len(self._x) <= _MANY:
            return None
        order = np.argsort(-self._weight, kind="stable")
        head, rest = order[: _MANY // 2], order[_MANY // 2 :]
        some = rest[:: 2 * len(rest) // _MANY + 1]
        weight = np.append(self._weight[head], self._weight[some] * (self._weight[rest].sum() / self._weight[some].sum()))
        at = np.append(head, some)
        return _Model(self._x[at], self._n[at], weight, self._parameters)

    def value(self, point: Floats) -> tuple[float, float]:
        """Log-likelihood with the priors, and without."""
        import numpy as np

        total = 0.0
        for at, log, _ in self._parts(point):
            top = log.max(axis=1)
            total += float(self._weight[at] @ (top + np.log(np.exp(log - top[:, None]).sum(axis=1))))
        prior = 0.5 * float((point[:-1] ** 2).sum()) / _PRIOR_ABILITY**2 + 0.5 * float(point[-1]) ** 2 / _PRIOR_LOG_SPREAD**2
        return total - prior, total

    def slope(self, point: Floats) -> tuple[Floats, Floats]:
        """First derivatives, priors included, and the sum of outer products of the rows' own."""
        import numpy as np

        size = len(point)
        slope, outer = np.zeros(size), np.zeros((size, size))
        spread = np.exp(point[-1])
        for at, log, p in self._parts(point):
            post = _normal(log)
            x, n = self._x[at], self._n[at]
            own = np.empty((len(x), size))
            own[:, :-1] = x * (post @ self._a)[:, None] - n * (post @ (self._a * p).T)
            az = self._a * self._z
            own[:, -1] = -spread * (x.sum(axis=1) * (post @ az) - (n * (post @ (az * p).T)).sum(axis=1))
            weighted = own * self._weight[at][:, None]
            slope += weighted.sum(axis=0)
            outer += weighted.T @ own
        return slope - np.diag(self._stiffness()) * point, outer

    def errors(self, point: Floats) -> Floats:
        """Standard errors of a highest point, by the sandwich; what curves by the priors alone has theirs."""
        import numpy as np

        part = self._part() or self
        here = part.slope(point)[0]
        curve = np.empty((len(point), len(point)))
        for i in range(len(point)):
            step = np.zeros(len(point))
            step[i] = 1e-4
            curve[i] = (here - part.slope(point + step)[0]) / 1e-4
        bread = np.linalg.inv((curve + curve.T) / 2)
        outer = self.slope(point)[1] + self._stiffness()
        out: Floats = np.sqrt(np.maximum(np.diag(bread @ outer @ bread), 0))
        return out

    def posterior(self, point: Floats) -> Floats:
        """Of each pattern: mean and deviation of difficulty and of discrimination, and the probability that this is negative."""
        import numpy as np

        spread = np.exp(point[-1])
        out = np.empty((len(self._x), 5))
        for at, log, _ in self._parts(point):
            post = _normal(log)
            for column, values in ((0, spread * self._z), (2, self._a)):
                mean = post @ values
                out[at, column] = mean
                out[at, column + 1] = np.sqrt(np.maximum(post @ values**2 - mean**2, 0))
            out[at, 4] = post @ (self._a < 0)
        return out

    def _parts(self, point: Floats) -> Iterator[tuple[slice, Floats, Floats]]:
        """Of some patterns at a time: the logarithm of prior times likelihood at each node, and the guards' chances of being right there."""
        import numpy as np

        logit = self._a * (point[:-1, None] - np.exp(point[-1]) * self._z)
        log_right, log_wrong = -np.logaddexp(0, -logit), -np.logaddexp(0, logit)
        p = np.exp(log_right)
        for start in range(0, len(self._x), _CHUNK):
            at = slice(start, start + _CHUNK)
            x = self._x[at]
            yield at, x @ log_right + (self._n[at] - x) @ log_wrong + self._prior, p

    def _stiffness(self) -> Floats:
        """Curvature of the priors."""
        import numpy as np

        out: Floats = np.diag([_PRIOR_ABILITY**-2] * self._x.shape[1] + [_PRIOR_LOG_SPREAD**-2])
        return out


def _nodes(n: Floats, parameters: int) -> int:
    """Nodes for difficulties: closer where a row has many answers, whose posterior is narrow."""
    most = float(n.sum(axis=1).max())
    return (61 if most <= 64 else 241) if parameters == 1 else (41 if most <= 64 else 121)


def _normal(log: Floats) -> Floats:
    """Logarithms as shares of each line."""
    import numpy as np

    out: Floats = np.exp(log - log.max(axis=1, keepdims=True))
    out /= out.sum(axis=1, keepdims=True)
    return out
