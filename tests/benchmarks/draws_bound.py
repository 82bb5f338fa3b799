"""The least that any way of drawing needs: the third table of `draws_bench`.

Whoever draws chooses after each answer which guard draws next, or stops. How likely the guards are wrong on a row is known of rows in general (the
distribution that `draws_bench` simulates), or (`oracle`) of each row by itself. The best policy for a price of a lost hard row is then exact: a state
is how often each guard was right and wrong so far, and from the last states backward the cheaper of drawing and stopping is taken (dynamic
programming; Bertsekas, Dynamic Programming and Optimal Control). The price is raised until the recall is what was asked for; between two prices the
mixture of their policies is taken, so that the recall is exactly that. Nothing is spent on a share that is drawn in full, and nothing need be learned.
"""

from __future__ import annotations

from typing import Any

K, GUARDS = 4, 4
STATES = [(r, w) for r in range(K + 1) for w in range(K + 1 - r)]
"""Of one guard: how often it was right, and wrong."""
PRICES = [float(4**n) for n in range(1, 11)]
"""Of a lost hard row, in draws."""
HEADER = ["rule", "known", "hard rows %", "draws % at recall 98 %", "draws % at recall 100 %"]


class Bound:
    """Of a rule, pooled over guards or guard by guard."""

    def __init__(self, rule: str) -> None:
        import numpy as np

        from toolkit.mining import load_rule

        of, shape = load_rule(rule), (len(STATES),) * GUARDS
        self.at = np.indices(shape).reshape(GUARDS, -1)
        right, wrong = np.array(STATES).T[:, self.at]
        self.total = (right + wrong).sum(0)
        if of.guards.count == "pooled":
            right, wrong = right.sum(0, keepdims=True), wrong.sum(0, keepdims=True)
        k = K * GUARDS // len(right)
        units = of.condition.holds(right, wrong, np.zeros_like(right), np.full_like(right, k)).sum(0)
        least: Any = 1 if of.guards.hard_for == "any" or len(right) == 1 else GUARDS if of.guards.hard_for == "all" else of.guards.hard_for
        self.hard = (units >= least) & (self.total == K * GUARDS)
        number = {state: i for i, state in enumerate(STATES)}
        size = len(STATES)
        self.next: list[tuple[Any, Any, Any]] = []
        """By guard the states in which it may draw, and the states after a right and a wrong answer."""
        for g in range(GUARDS):
            here = np.nonzero(np.array([r + w < K for r, w in STATES])[self.at[g]])[0]
            step = size ** (GUARDS - 1 - g)
            after = [np.array([number.get((r + dr, w + 1 - dr), 0) for r, w in STATES])[self.at[g][here]] for dr in (1, 0)]
            self.next.append((here, *(here + (a - self.at[g][here]) * step for a in after)))

    def likelihood(self, p: Any) -> Any:
        """How likely one order of each state's answers is, mean over rows; `p`: (rows, guards)."""
        import numpy as np

        one = [np.stack([(1 - p[:, g]) ** r * p[:, g] ** w for r, w in STATES], -1) for g in range(GUARDS)]
        pair = [np.einsum("ni,nj->nij", one[g], one[g + 1]).reshape(len(p), -1) for g in (0, 2)]
        return (pair[0].T @ pair[1] / len(p)).ravel()

    def solve(self, likely: Any, prices: Any) -> Any:
        """For each price draws and hard rows lost, and the share that is hard, of the best policy: (prices, 2) and a number."""
        import numpy as np

        chance = np.where(self.hard, 1.0, 0.0)
        sure = self.hard.copy()
        draws, lost = np.zeros((2, len(prices), likely.size))
        for total in range(K * GUARDS - 1, -1, -1):
            level = np.nonzero(self.total == total)[0]
            place = np.full(likely.size, -1)
            place[level] = np.arange(level.size)
            best, d, m = (np.full((len(prices), level.size), v) for v in (np.inf, 0.0, 0.0))
            proven = np.ones(level.size, dtype=bool)
            for here, right, wrong in self.next:
                mine = self.total[here] == total
                now, r, w = place[here[mine]], right[mine], wrong[mine]
                p = likely[r] / np.maximum(likely[r] + likely[w], 1e-300)
                chance[level[now]] = p * chance[r] + (1 - p) * chance[w]
                proven[now] &= sure[r] & sure[w]
                these = 1 + p * draws[:, r] + (1 - p) * draws[:, w], p * lost[:, r] + (1 - p) * lost[:, w]
                cost = these[0] + prices[:, None] * these[1]
                better = cost < best[:, now]
                for whole, part in ((best, cost), (d, these[0]), (m, these[1])):
                    whole[:, now] = np.where(better, part, whole[:, now])
            sure[level] = proven
            gone = np.where(proven, 0.0, chance[level])
            stop = prices[:, None] * gone <= best
            draws[:, level], lost[:, level] = np.where(stop, 0.0, d), np.where(stop, gone, m)
        return np.stack([draws[:, 0], lost[:, 0]], -1), float(chance[0])


def needed(rule: str, p: Any, recall: float, *, oracle: bool = False) -> tuple[float, float, float]:
    """The share of the rows that are hard, and the least share of all draws that finds `recall` of them, and all of them.

    Args:
        rule: its name.
        p: how likely each guard is wrong on each row, (rows, guards).
        recall: as a share.
        oracle: whether that is known of each row.
    """
    import numpy as np

    bound, prices = Bound(rule), np.array([*PRICES, 1e15])
    found = [bound.solve(bound.likelihood(rows), prices) for rows in (p[:, None] if oracle else [p])]
    table, hard = np.mean([f[0] for f in found], 0), float(np.mean([f[1] for f in found]))
    draws, recalls = table[:, 0] / (K * GUARDS), 1 - table[:, 1] / hard
    return hard, float(np.interp(recall, recalls, draws)), float(draws[-1])


def lines(rules: tuple[str, ...], p: Any, rows: int = 200) -> list[list[str]]:
    """The table; the oracle's part from so many rows, evenly from all by how likely the guards are wrong on them."""
    import numpy as np

    even = p[np.argsort(p.mean(1), kind="stable")][np.linspace(0, len(p) - 1, 2 * rows + 1).astype(int)[1::2]]
    out = []
    for rule in rules:
        for words, of, oracle in (("votes alone", p[:20_000], False), ("each row's error rates", even, True)):
            figures = needed(rule, of, 0.98, oracle=oracle)
            out.append([rule, words, *(f"{100 * v:.1f}" for v in figures)])
    return out


def section(rules: tuple[str, ...], p: Any) -> str:
    """The page's part on them."""
    from bench import table

    return "\n".join(
        [
            HEADING,
            "",
            "`python tests/benchmarks/draws_bench.py --docs --bound` prints this table and writes this part; `make bench-draws` does so, too.",
            "",
            "The best policy there is for the rows simulated above: after each answer it chooses which guard draws next, row by row, or stops. It is told how likely guards are wrong, so that it need not draw "
            "a share in full, and loses 2 % of the hard rows on purpose. *Votes alone*: it knows that of the rows in general, and of a row what the guards answered. *Each row's error rates*: it knows how likely "
            "each guard is wrong on that very row, which no answer's probability tells in full.",
            "",
            table(HEADER, lines(rules, p)),
            "",
            "So where probabilities tell nothing, no order of guards, no stopping by posterior and no other screen comes to half of the draws, but for rules of rows that all guards get wrong: a row of which every "
            "answer so far was right can be hard by its last one, and most rows are of that kind. All that a screen saves it saves by knowing more of a row than its votes.",
        ]
    )


HEADING = "## The least that is needed"
