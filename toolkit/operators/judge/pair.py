"""Operator `pair`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import polars as pl
from pydantic import Field

from toolkit.common.errors import InputError
from toolkit.guards import Guard
from toolkit.operators._losses import with_losses
from toolkit.operators._words import check_words
from toolkit.operators.base import DETAIL, OUTCOME, REASON, Columns, Config, Context, DatasetOperator, Operator, Output, StepInput
from toolkit.operators.judge._verdict_figures import PAIRED
from toolkit.operators.judge._votes import none_match
from toolkit.operators.reason.validate import Validate, ValidateConfig
from toolkit.records import MEDIA, Column, has_media, load_record, pair_id, to_polars


class PairConfig(Config):
    """Options of `pair`."""

    pick: Literal["longest", "shortest", "random"] = "random"
    """Which of the right and which of the wrong outputs: the longest in characters (released code), the shortest, or a seeded draw (paper)."""
    tasks: Literal["first", "each"] = "first"
    """One pair for a row, on its first hard task in the guard's order (released code), or one for each hard task."""
    chosen_right_on: Literal["task", "all"] = "task"
    """A chosen output must be right on the pair's task, or on every task that the row has a label for."""
    chosen_passes: Literal["recipe", "strict", "anything"] = "recipe"
    """What a chosen output must pass besides: the rules of the last `validate` step that its row or its guard comes from, and a strict reading
    (`recipe`; labels are for `chosen_right_on`); a strict reading alone; or nothing. What does not pass is not chosen, and counted."""
    gamma: float = Field(0.2, ge=0, lt=1)
    """Weights lie in [1 - gamma, 1 + gamma] (0.2 in the paper, section 3.3)."""
    empty: bool = False
    """Without any pair go on with none, instead of stopping with an error."""


@dataclass
class _Best:
    score: float = float("-inf")
    row: dict[str, Any] | None = None
    unsound: list[tuple[float, str]] = field(default_factory=list)
    """Score and fault of outputs that would have stood here."""

    def passed_over(self) -> list[str]:
        """Faults of those that were better than what stands here."""
        return [fault for score, fault in self.unsound if score > self.score]


class Pair(DatasetOperator):
    """From each hard sample a right and a wrong output with a weight (paper, section 3.3).

    weight = 1 + Norm(n_wrong - n_right, gamma), Norm mapping the smallest to -gamma and the largest to +gamma over all pairs of the step; 1 where all
    are equal. A hard sample without a pair (its right outputs are wrong elsewhere or malformed, say) is set aside as `no_pair`. An output that could
    not be read on the pair's task is neither right nor wrong. What is chosen is what the guard is trained to write, so it must be sound
    (`chosen_passes`); `passed_over` counts the outputs, by fault, that would have been chosen otherwise. Of outputs of equal length the first is
    taken. Memory: two outputs per hard task.
    """

    name = "pair"
    version = 2
    shape = "pick"
    inputs = ("rows", "verdicts")
    carries_media = True
    config_class = PairConfig
    example = {"pick": "longest", "chosen_right_on": "all"}
    uses = frozenset({"guard.tasks", "seed"})
    figures = PAIRED
    config: PairConfig

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._recipes: ValidateConfig | None = None
        self._record: tuple[Column, ...] = load_record("preference").columns

    def follow(self, before: Sequence[Operator]) -> None:
        validators = [op.config for op in before if isinstance(op, Validate)]
        self._recipes = validators[-1] if validators and self.config.chosen_passes == "recipe" else None

    @cached_property
    def _validator(self) -> Validate:
        """What a chosen output must pass."""
        given = self._recipes
        rules = ["answers"] if given is None else [r for r in given.chosen if r not in ("answers", "labels")] + ["answers"]
        options = {} if given is None else given.model_dump(exclude={"profile", "rules", "faults"})
        return Validate(ValidateConfig.model_validate({**options, "rules": rules}))

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "validator": self._validator.identity() if self.config.chosen_passes != "anything" else None}

    def needs(self, ctx: Context) -> list[str]:
        return self._validator.needs(ctx)

    def files(self, ctx: Context) -> dict[str, str]:
        return self._validator.files(ctx)

    def used(self) -> frozenset[str]:
        drawn = {"seed"} if self.config.pick == "random" else set()
        return (self.uses - {"seed"}) | drawn | (self._validator.used() if self.config.chosen_passes != "anything" else set())

    def reads(self, guard: Guard) -> list[str]:
        return load_record("hard", guard.task_names).names

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        have = super().columns(inputs, guard)
        for name in self._verdict_columns(guard):
            if name not in inputs.get("verdicts", {}):
                raise InputError(f"pair reads the column {name!r} of its input 'verdicts', which that step does not write")
        self._record = load_record("preference").with_optional([MEDIA] if has_media(have) else [])
        return {c.name: c for c in self._record}

    def factor(self, inputs: Sequence[str]) -> float | None:
        return None

    def _verdict_columns(self, guard: Guard) -> list[str]:
        read = ("id", "parent", "context", "prompt", "response", "guard_model", "output", "finish")
        return [*read, *(f"{k}_{t}" for t in guard.task_names for k in ("label", "verdict"))]

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        tasks = ctx.guard.task_names
        hard: dict[tuple[str, str], tuple[_Best, _Best]] = {}
        for block in inputs["rows"].blocks(["id", *(f"status_{t}" for t in tasks)]):
            for row in block.iter_rows(named=True):
                hard |= {(row["id"], t): (_Best(), _Best()) for t in tasks if row[f"status_{t}"] == "hard"}
        self._choose(inputs["verdicts"], hard, ctx)
        pairs = self._pairs(inputs["rows"], hard, tasks)
        passed_over = Counter(fault for best, _ in hard.values() for fault in best.passed_over())
        weights = pair_weights([p["n_wrong"] - p["n_right"] for p in pairs], self.config.gamma)
        for p, w in zip(pairs, weights, strict=True):
            p["weight"] = w
        if not pairs and not self.config.empty:
            raise _nothing(inputs["rows"].rows or 0, passed_over, ctx)
        types = to_polars(self._record)
        out.keep(pl.DataFrame(pairs, schema=types, orient="row"))
        paired = pl.Series([p["parent"] for p in pairs], dtype=pl.String).implode()
        faults = {parent: best.passed_over() for (parent, _), (best, _) in hard.items() if best.row is None and best.unsound}
        for block in inputs["rows"].blocks():
            left = block.filter(~pl.col("id").is_in(paired))
            out.set_aside(left, "no_pair", pl.Series([_why(faults.get(parent)) for parent in left["id"]], dtype=pl.String))
        out.stat("pairs_by_task", {t: sum(p["task"] == t for p in pairs) for t in tasks})
        out.stat("passed_over", dict(sorted(passed_over.items())))

    def _choose(self, verdicts: StepInput, hard: dict[tuple[str, str], tuple[_Best, _Best]], ctx: Context) -> None:
        parents = pl.Series(list({p for p, _ in hard}), dtype=pl.String).implode()
        done = mine = 0
        for block in verdicts.blocks(self._verdict_columns(ctx.guard)):
            check_words(block, ctx.guard, f"step {ctx.step}")
            done += block.height
            ctx.progress(done, verdicts.rows, "verdicts")
            about = block.filter(pl.col("parent").is_in(parents))
            mine += about.height
            right: list[tuple[_Best, float, int]] = []
            for n, row in enumerate(about.iter_rows(named=True)):
                for best, score, ok in self._places(row, hard, ctx):
                    if ok:
                        right.append((best, score, n))
                    elif score > best.score:
                        best.score, best.row = score, row
            self._sound(right, about, ctx)
        if hard and done and not mine:
            raise none_match(done, verdicts.step, len({p for p, _ in hard}))

    def _places(
        self, row: Mapping[str, Any], hard: Mapping[tuple[str, str], tuple[_Best, _Best]], ctx: Context
    ) -> Iterator[tuple[_Best, float, bool]]:
        """Where an output may stand in a pair: its score there, and whether it is right."""
        right = {t: row[f"verdict_{t}"] == row[f"label_{t}"] for t in ctx.guard.task_names if row[f"label_{t}"] is not None}
        for t, ok in right.items():
            if (row["parent"], t) not in hard or row[f"verdict_{t}"] is None:
                continue
            if not ok or self.config.chosen_right_on != "all" or all(right.values()):
                yield hard[row["parent"], t][0 if ok else 1], self._score(row, t, ctx), ok

    def _sound(self, right: Sequence[tuple[_Best, float, int]], block: pl.DataFrame, ctx: Context) -> None:
        """Put the best sound ones of right outputs where they belong. Only what is better than what stands there is looked at."""
        right = [(best, score, n) for best, score, n in right if score > best.score]
        at = sorted({n for _, _, n in right})
        faults = dict(zip(at, self._faults(block[at], ctx), strict=True))
        for best, score, n in right:
            if (fault := faults[n]) is not None:
                best.unsound.append((score, fault))
            elif score > best.score:
                best.score, best.row = score, block.row(n, named=True)

    def _faults(self, rows: pl.DataFrame, ctx: Context) -> list[str | None]:
        """What is wrong with each output as one to be learnt; None for nothing."""
        if self.config.chosen_passes == "anything" or not rows.height:
            return [None] * rows.height
        texts = rows.select("context", "prompt", "response", pl.col("output").alias("reasoning"), pl.col("finish").alias("reasoning_finish"))
        marked = texts.lazy().with_columns(pl.lit(None, pl.String).alias(m) for m in (OUTCOME, REASON, DETAIL))
        return self._validator.apply(marked, ctx).select(REASON).collect()[REASON].to_list()

    def _score(self, row: Mapping[str, Any], task: str, ctx: Context) -> float:
        if self.config.pick == "random":
            return ctx.rng_seed("pair", task, row["id"]) / 2**60
        return len(row["output"]) * (1 if self.config.pick == "longest" else -1)

    def _pairs(self, rows: StepInput, hard: dict[tuple[str, str], tuple[_Best, _Best]], tasks: tuple[str, ...]) -> list[dict[str, Any]]:
        pairs = []
        media = [c.name for c in self._record if c.name == MEDIA]
        copied = ("source", "licence", "split", "context", "prompt", "response", *media)
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


def _why(faults: Sequence[str] | None) -> str:
    """Why a hard sample has no pair."""
    return f"no right output is sound: {', '.join(sorted(set(faults)))}" if faults else "no output fits the policy"


def _nothing(hard: int, passed_over: Mapping[str, int], ctx: Context) -> InputError:
    where = f"step {ctx.step}"
    if hard:
        message = f"none of the {hard:,} hard samples has a right and a wrong output that fit the policy: nothing to train DPO on"
        if passed_over:
            faults = ", ".join(f"{fault} {n:,}" for fault, n in sorted(passed_over.items()))
            message += f" ({sum(passed_over.values()):,} right outputs are malformed: {faults})"
        hint = "`chosen_right_on: task` and `chosen_passes` ask less of an output; empty: true goes on without pairs"
        return InputError(message, where=where, hint=hint)
    hint = "more draws, a higher temperature or longer trained guards find more; empty: true goes on without pairs"
    return InputError(with_losses("no hard samples: nothing to train DPO on", ctx), where=where, hint=hint)


def pair_weights(raw: list[int], gamma: float) -> list[float]:
    """``1 + Norm(raw, gamma)``: the smallest becomes 1 - gamma, the largest 1 + gamma; all 1 where there is no spread (paper, section 3.3)."""
    if not raw or min(raw) == max(raw):
        return [1.0] * len(raw)
    low, spread = min(raw), max(raw) - min(raw)
    return [1 - gamma + 2 * gamma * (r - low) / spread for r in raw]
