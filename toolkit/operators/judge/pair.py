"""Operator `pair`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl
from pydantic import Field

from toolkit.common.errors import InputError
from toolkit.guards import Guard
from toolkit.operators._losses import with_losses
from toolkit.operators._words import check_words
from toolkit.operators.base import Columns, Config, Context, DatasetOperator, Output, StepInput
from toolkit.operators.judge._figures import PAIRED
from toolkit.operators.judge._votes import none_match
from toolkit.records import load_record, pair_id, to_polars


class PairConfig(Config):
    """Options of `pair`."""

    pick: Literal["longest", "shortest", "random"] = "random"
    """Which of the right and which of the wrong outputs: the longest in characters (released code), the shortest, or a seeded draw (paper)."""
    tasks: Literal["first", "each"] = "first"
    """One pair for a row, on its first hard task in the guard's order (released code), or one for each hard task."""
    chosen_right_on: Literal["task", "all"] = "task"
    """A chosen output must be right on the pair's task, or on every task that the row has a label for."""
    gamma: float = Field(0.2, ge=0, lt=1)
    """Weights lie in [1 - gamma, 1 + gamma] (0.2 in the paper, section 3.3)."""
    empty: bool = False
    """Without any pair go on with none, instead of stopping with an error."""


@dataclass
class _Best:
    score: float = float("-inf")
    row: dict[str, Any] | None = None


class Pair(DatasetOperator):
    """From each hard sample a right and a wrong output with a weight (paper, section 3.3).

    weight = 1 + Norm(n_wrong - n_right, gamma), Norm mapping the smallest to -gamma and the largest to +gamma over all pairs of the step; 1 where all
    are equal. A hard sample without a pair (its right outputs are wrong elsewhere, say) is set aside as `no_pair`. An output that could not be read
    on the pair's task is neither right nor wrong. Of outputs of equal length the first is taken. Memory: two outputs per hard task.
    """

    name = "pair"
    shape = "pick"
    inputs = ("rows", "verdicts")
    config_class = PairConfig
    example = {"pick": "longest", "chosen_right_on": "all"}
    uses = frozenset({"guard", "seed"})
    figures = PAIRED
    config: PairConfig

    def reads(self, guard: Guard) -> list[str]:
        return load_record("hard", guard.task_names).names

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        super().columns(inputs, guard)
        for name in self._verdict_columns(guard):
            if name not in inputs.get("verdicts", {}):
                raise InputError(f"pair reads the column {name!r} of its input 'verdicts', which that step does not write")
        return {c.name: c for c in load_record("preference").columns}

    def factor(self, inputs: Sequence[str]) -> float | None:
        return None

    def _verdict_columns(self, guard: Guard) -> list[str]:
        return ["id", "parent", "guard_model", "output", *(f"{k}_{t}" for t in guard.task_names for k in ("label", "verdict"))]

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        tasks = ctx.guard.task_names
        hard: dict[tuple[str, str], tuple[_Best, _Best]] = {}
        for block in inputs["rows"].blocks(["id", *(f"status_{t}" for t in tasks)]):
            for row in block.iter_rows(named=True):
                hard |= {(row["id"], t): (_Best(), _Best()) for t in tasks if row[f"status_{t}"] == "hard"}
        self._choose(inputs["verdicts"], hard, ctx)
        pairs = self._pairs(inputs["rows"], hard, tasks)
        weights = pair_weights([p["n_wrong"] - p["n_right"] for p in pairs], self.config.gamma)
        for p, w in zip(pairs, weights, strict=True):
            p["weight"] = w
        if not pairs and not self.config.empty:
            raise _nothing(inputs["rows"].rows or 0, ctx)
        types = to_polars(load_record("preference").columns)
        out.keep(pl.DataFrame(pairs, schema=types, orient="row"))
        paired = pl.Series([p["parent"] for p in pairs], dtype=pl.String).implode()
        for block in inputs["rows"].blocks():
            out.set_aside(block.filter(~pl.col("id").is_in(paired)), "no_pair", "no output fits the policy")
        out.stat("pairs_by_task", {t: sum(p["task"] == t for p in pairs) for t in tasks})

    def _choose(self, verdicts: StepInput, hard: dict[tuple[str, str], tuple[_Best, _Best]], ctx: Context) -> None:
        parents = pl.Series(list({p for p, _ in hard}), dtype=pl.String).implode()
        tasks = ctx.guard.task_names
        done = mine = 0
        for block in verdicts.blocks(self._verdict_columns(ctx.guard)):
            check_words(block, ctx.guard, f"step {ctx.step}")
            done += block.height
            ctx.progress(done, verdicts.rows, "verdicts")
            about = block.filter(pl.col("parent").is_in(parents))
            mine += about.height
            for row in about.iter_rows(named=True):
                right = {t: row[f"verdict_{t}"] == row[f"label_{t}"] for t in tasks if row[f"label_{t}"] is not None}
                for t, ok in right.items():
                    if (row["parent"], t) not in hard or row[f"verdict_{t}"] is None:
                        continue
                    if ok and self.config.chosen_right_on == "all" and not all(right.values()):
                        continue
                    best = hard[row["parent"], t][0 if ok else 1]
                    if (score := self._score(row, t, ctx)) > best.score:
                        best.score, best.row = score, row
        if hard and done and not mine:
            raise none_match(done, verdicts.step, len({p for p, _ in hard}))

    def _score(self, row: Mapping[str, Any], task: str, ctx: Context) -> float:
        if self.config.pick == "random":
            return ctx.rng_seed("pair", task, row["id"]) / 2**60
        return len(row["output"]) * (1 if self.config.pick == "longest" else -1)

    def _pairs(self, rows: StepInput, hard: dict[tuple[str, str], tuple[_Best, _Best]], tasks: tuple[str, ...]) -> list[dict[str, Any]]:
        pairs = []
        copied = ("source", "licence", "split", "context", "prompt", "response")
        for block in rows.blocks():
            for row in block.iter_rows(named=True):
                for t in tasks:
                    right, wrong = (b.row for b in hard.get((row["id"], t), (_Best(), _Best())))
                    if right is None or wrong is None:
                        continue
                    pairs.append(
                        {
                            "id": pair_id(row["id"], t, right["output"], wrong["output"]),
                            "parent": row["id"],
                            "task": t,
                            **{c: row[c] for c in copied},
                            "chosen": right["output"],
                            "rejected": wrong["output"],
                            "chosen_model": right["guard_model"],
                            "rejected_model": wrong["guard_model"],
                            "n_right": row[f"n_right_{t}"],
                            "n_wrong": row[f"n_wrong_{t}"],
                            "n_unread": row[f"n_unread_{t}"],
                        }
                    )
                    if self.config.tasks == "first":
                        break
        return pairs


def _nothing(hard: int, ctx: Context) -> InputError:
    where = f"step {ctx.step}"
    if hard:
        message = f"none of the {hard:,} hard samples has a right and a wrong output that fit the policy: nothing to train DPO on"
        return InputError(message, where=where, hint="chosen_right_on: task asks less of an output; empty: true goes on without pairs")
    hint = "more draws, a higher temperature or longer trained guards find more; empty: true goes on without pairs"
    return InputError(with_losses("no hard samples: nothing to train DPO on", ctx), where=where, hint=hint)


def pair_weights(raw: list[int], gamma: float) -> list[float]:
    """``1 + Norm(raw, gamma)``: the smallest becomes 1 - gamma, the largest 1 + gamma; all 1 where there is no spread (paper, section 3.3)."""
    if not raw or min(raw) == max(raw):
        return [1.0] * len(raw)
    low, spread = min(raw), max(raw) - min(raw)
    return [1 - gamma + 2 * gamma * (r - low) / spread for r in raw]
