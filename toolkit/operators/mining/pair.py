"""Operator `pair`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import polars as pl
from pydantic import Field, model_validator

from toolkit.common.errors import InputError, did_you_mean
from toolkit.common.yamlfile import FaultAt
from toolkit.guards import POLICY, Guard
from toolkit.mining import (
    OUTCOMES,
    Candidates,
    Chosen,
    Lines,
    Normalise,
    Scheme,
    hard_units,
    length_figures,
    load_rule,
    pair_candidates,
    pair_weights,
    pick_best,
    pick_closest,
    rule_names,
)
from toolkit.operators._losses import with_losses
from toolkit.operators.base import Columns, Config, Context, DatasetOperator, Operator, Output, StepInput
from toolkit.operators.judge._verdict_figures import PAIRED
from toolkit.operators.judge._votes import none_match
from toolkit.operators.mining._pair_lines import Counting, Found, Outputs, line_columns, places_in, read_lines
from toolkit.operators.mining._pair_look import Look
from toolkit.operators.mining.mine import Mine
from toolkit.operators.reason.validate import Validate, ValidateConfig
from toolkit.records import MEDIA, Column, has_media, load_record, pair_id, to_polars

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

_NEUTRAL = {"order": None, "rejected_passes": "anything", "weights": "difference", "normalise": "all", "guards": "each"}
"""Options that an earlier guardkit had not, as it was without them: they are left out of what a step counts by."""


class PairConfig(Config):
    """Options of `pair`."""

    preset: str | None = None
    """A rule of `mine`, by name or path, that says how its pairs are made (`paper`, `released`): its words where no option says otherwise."""
    pick: Literal["closest", "longest", "shortest", "random"] = "closest"
    """Which of the right and which of the wrong outputs: two of nearly the same length, so that over all pairs length does not tell chosen from
    rejected; the longest of each in characters (released code); the shortest; or a seeded draw (paper)."""
    tasks: Literal["each", "first"] = "each"
    """A pair for each task that a row is hard for, or for the first of them alone that has one (released code); of rows that are hard for guards by
    themselves, so for each guard."""
    guards: Literal["each", "first"] = "each"
    """Of a row that is hard for several guards by themselves the pairs of each of them, or of the first alone, once all have their weights (released
    code, which puts a file a guard together). Which comes first says the rule of `mine`."""
    order: list[str] | None = None
    """Tasks that come first, in this order; the others follow. Default: as the rule of `mine` has them, else as the guard has."""
    chosen_right_on: Literal["all", "task"] = "all"
    """A chosen output must be right on every task that the row has a label for, or on the pair's task alone. (A rejected one is wrong on that.)"""
    chosen_passes: Literal["recipe", "strict", "anything"] = "recipe"
    """What a chosen output must pass besides: the rules of the last `validate` step that its row or its guard comes from, and a strict reading
    (`recipe`; labels are for `chosen_right_on`); a strict reading alone; or nothing. What does not pass is not chosen, and counted."""
    rejected_passes: Literal["recipe", "strict", "read", "anything"] = "recipe"
    """What a rejected output must pass besides, so that its form does not tell it: the same; or only that it could be read on every task that the
    row has a label for (`read`); or nothing."""
    weights: Scheme = "difference"
    """What a pair's weight depends on: wrong less right outputs (paper); the entropy of the votes; how narrow their margin is; the divergence between
    guards; or nothing (`uniform`: all 1)."""
    normalise: Normalise = "all"
    """Weights span their range over all pairs, or over those of each guard by themselves (of rows that are hard for guards by themselves)."""
    gamma: float = Field(0.2, ge=0, lt=1)
    """Weights lie in [1 - gamma, 1 + gamma] (0.2 in the paper, section 3.3)."""
    empty: bool = False
    """Without any pair go on with none, instead of stopping with an error."""

    @model_validator(mode="before")
    @classmethod
    def _of_preset(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not isinstance(given.get("preset"), str):
            return given
        try:
            of_preset = load_rule(given["preset"]).pairs.model_dump(exclude_none=True)
        except InputError as e:
            raise FaultAt(e.message + (f" ({e.hint})" if e.hint else ""), "preset") from None
        if not of_preset:
            raise FaultAt(f"the rule {given['preset']!r} says nothing of pairs: it is for reinforcement learning, or leaves them to you", "preset")
        return {**of_preset, **given}


class Pair(DatasetOperator):
    """From each hard sample a right and a wrong output with a weight (GuardReasoner, section 3.3).

    Outputs are chosen by what the verdicts say of them (of one step or of several: `from: {rows: HARD, verdicts: STEP, more: STEP}`), their lengths
    included; then the texts of those are looked up, in the verdicts or, where these have none, in the step that is named as `outputs`. What is
    chosen is what the guard is trained to write, so it must be sound (`chosen_passes`); so should be what is rejected (`rejected_passes`), else a
    guard learns its form. Where one is not sound the next best is taken; `passed_over` counts the outputs, by fault, that would have been chosen
    otherwise. Of equal outputs the first is taken. An output counts as right or wrong by the rule of `mine`: one that could not be read on the
    pair's task is neither, unless that says so. A hard sample without a pair is set aside as `no_pair`.

    weight = 1 + Norm(figure, gamma), Norm mapping the smallest to -gamma and the largest to +gamma over all pairs of the step; 1 where all
    are equal. Memory: the texts of two outputs per pair, and about 100 bytes a generation.
    """

    name = "pair"
    version = 2
    shape = "pick"
    inputs = ("rows", "verdicts", "*")
    carries_media = True
    config_class = PairConfig
    example = {"pick": "longest", "tasks": "first"}
    uses = frozenset({"guard.tasks", "seed"})
    figures = PAIRED
    config: PairConfig

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._recipes: ValidateConfig | None = None
        self._record: tuple[Column, ...] = load_record("preference").columns
        self._mined: Mine | None = None
        self._there: Mapping[str, Columns] = {}

    def follow(self, before: Sequence[Operator]) -> None:
        validators = [op.config for op in before if isinstance(op, Validate)]
        self._recipes = validators[-1] if validators else None
        self._mined = next((op for op in reversed(before) if isinstance(op, Mine)), None)

    def _counting(self, ctx: Context) -> Counting | None:
        """By what outputs count: the rule of the last `mine` before, else that of the preset; None: by what they are."""
        if self._mined is not None:
            return Counting(self._mined.rule(ctx), self._mined.config.tasks)
        return Counting(load_rule(self.config.preset, ctx.roots)) if self.config.preset is not None else None

    @cached_property
    def _validators(self) -> tuple[Validate | None, Validate | None]:
        """What a chosen output must pass, and what a rejected one."""
        chosen, rejected = self.config.chosen_passes, self.config.rejected_passes
        right = self._validator(recipe=chosen == "recipe") if chosen != "anything" else None
        if rejected == chosen:
            return right, right
        return right, self._validator(recipe=rejected == "recipe") if rejected in ("recipe", "strict") else None

    def _validator(self, *, recipe: bool) -> Validate:
        given = self._recipes if recipe else None
        rules = ["answers"] if given is None else [r for r in given.chosen if r not in ("answers", "labels")] + ["answers"]
        options = {} if given is None else given.model_dump(exclude={"profile", "rules", "faults"})
        return Validate(ValidateConfig.model_validate({**options, "rules": rules}))

    def identity(self) -> dict[str, Any]:
        options = {n: v for n, v in super().identity().items() if n != "preset" and (n not in _NEUTRAL or v != _NEUTRAL[n])}
        right, wrong = (v and v.identity() for v in self._validators)
        return {**options, "validator": right, **({} if wrong is None or wrong == right else {"rejected_validator": wrong})}

    @classmethod
    def choices(cls) -> dict[str, dict[str, str]]:
        rules = {name: load_rule(name) for name in rule_names()}
        return {"preset": {name: rule.description for name, rule in rules.items() if rule.pairs.model_dump(exclude_none=True)}}

    def needs(self, ctx: Context) -> list[str]:
        return list(dict.fromkeys(need for v in self._validators if v for need in v.needs(ctx)))

    def files(self, ctx: Context) -> dict[str, str]:
        found = {name: digest for v in self._validators if v for name, digest in v.files(ctx).items()}
        counting = self._counting(ctx)
        return found if counting is None or counting.plain else {**found, "rule": counting.rule.fingerprint}

    def used(self) -> frozenset[str]:
        drawn = {"seed"} if self.config.pick == "random" else set()
        return frozenset((self.uses - {"seed"}) | drawn).union(*(v.used() for v in self._validators if v))

    def reads(self, guard: Guard) -> list[str]:
        numbers = (f"{n}_{t}" for t in guard.task_names for n in ("label", "status", "n_right", "n_wrong", "n_unread"))
        return ["id", "source", "licence", "split", "context", "prompt", "response", *numbers]

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        have = super().columns(inputs, guard)
        for task in self.config.order or []:
            if task not in guard.task_names:
                raise InputError(f"the guard {guard.name!r} has no task {task!r}", hint=did_you_mean(task, guard.task_names))
        self._there = inputs
        for name in inputs:
            if name != "rows":
                self._check(name, guard)
        self._record = load_record("preference").with_optional([*([MEDIA] if has_media(have) else []), *([POLICY] if POLICY in have else [])])
        return {c.name: c for c in self._record}

    def _check(self, name: str, guard: Guard) -> None:
        """Whether an input has what is read of it (InputError)."""
        columns, texts = self._there[name], ["output", "finish"]
        beside = name != "outputs" and not all(c in columns for c in texts) and "outputs" in self._there
        needed = ["parent", "guard_model", "draw"] if name == "outputs" or beside else []
        needed += [] if name == "outputs" else line_columns(columns, guard, None, named=self._drawn)
        for column in [*needed, *([] if beside else texts)]:
            if column not in columns:
                hint = "name the step that has them: from: {rows: …, verdicts: …, outputs: STEP}" if column == "output" else None
                raise InputError(f"pair reads the column {column!r} of its input {name!r}, which that step does not write", hint=hint)

    @property
    def _drawn(self) -> bool:
        return self.config.pick == "random"

    def factor(self, inputs: Sequence[str]) -> float | None:
        return None

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        tasks = ctx.guard.task_names
        hard = self._numbers(inputs["rows"], tasks)
        units = hard_units(hard, tasks, self.config.order)
        tables = {name: source for name, source in inputs.items() if name not in ("rows", "outputs")}
        found = read_lines(tables, self._there, hard, self._counting(ctx), ctx, named=self._drawn)
        lines = found.lines
        if units.height and found.read and not lines.row.size:
            raise none_match(found.read, inputs["verdicts"].step, units["row"].n_unique())
        c = pair_candidates(
            units,
            lines,
            tasks,
            right_on_all=self.config.chosen_right_on == "all",
            wrong_read=self.config.rejected_passes == "read",
        )
        outputs = self._outputs(inputs, tables, found, hard["id"])
        look = Look(outputs, lines, self._validators, inputs["rows"], ctx)
        must = (self._validators[0] is not None, self._validators[1] is not None)
        chosen = pick_closest(c, look, must) if self.config.pick == "closest" else pick_best(c, self._scores(c, lines, units, ctx), look, must)
        pairs = self._pairs(units, hard, chosen, lines, tasks)
        if not pairs.height and not self.config.empty:
            raise _nothing(hard.height, _passed(chosen, look, right=True), ctx)
        both = outputs.texts(pl.concat([pairs["chosen"], pairs["rejected"]]).to_numpy())  # in one pass
        texts = (both[: pairs.height], both[pairs.height :])
        names = pl.Series(lines.guards, dtype=pl.String)
        models = (names[lines.guard[pairs[n].to_numpy()]] for n in ("chosen", "rejected"))
        of = {n: lines.length[pairs[n].to_numpy()] for n in ("chosen", "rejected")}
        new = pairs.with_columns(
            *(s.alias(n) for s, n in zip((*texts, *models), ("chosen", "rejected", "chosen_model", "rejected_model"), strict=True))
        )
        self._write(inputs["rows"], new, _details(chosen, units, look), out)
        self._state(pairs, of, chosen, look, tasks, out)

    def _outputs(self, inputs: Mapping[str, StepInput], tables: Mapping[str, StepInput], found: Found, ids: pl.Series) -> Outputs:
        """Where the texts of lines are: in their own table, or in the step that is named for it."""
        import numpy as np

        own = np.array([all(c in self._there[name] for c in ("output", "finish")) for name in tables])
        if own.all():
            return Outputs(list(tables.values()), found.table, found.line)
        here = own[found.table]
        source = np.where(here, found.table, len(tables))
        return Outputs([*tables.values(), inputs["outputs"]], source, np.where(here, found.line, places_in(inputs["outputs"], found.lines, ids)))

    def _numbers(self, rows: StepInput, tasks: Sequence[str]) -> pl.DataFrame:
        """Of the hard rows what is no text."""
        names = ["id", *(f"{n}_{t}" for t in tasks for n in ("label", "status", "n_right", "n_wrong", "n_unread"))]
        more = ["hard_of", *(f"{self.config.weights}_{t}" for t in tasks)]
        columns = [*names, *(n for n in more if n in self._there["rows"])]
        types: dict[str, Any] = {n: pl.Int64 if n.startswith("n_") else pl.String for n in names}
        return pl.concat([pl.DataFrame(schema=types), *rows.blocks(columns)], how="diagonal_relaxed")

    def _scores(self, c: Candidates, lines: Lines, units: pl.DataFrame, ctx: Context) -> NDArray[np.float64]:
        """How much each candidate is to be preferred."""
        import numpy as np

        if not self._drawn:
            return c.length.astype(np.float64) * (1 if self.config.pick == "longest" else -1)
        assert lines.ids is not None  # noqa: S101  they were read for this
        out = np.zeros(c.at.size)
        of_task = units["task"].fill_null("").to_numpy()[c.unit]
        for task in (*ctx.guard.task_names, ""):
            mine = np.flatnonzero(of_task == task)
            at, back = np.unique(c.at[mine], return_inverse=True)
            out[mine] = ctx.rng_seeds("pair", task, last=lines.ids[at].to_list())[back] / 2**60
        return out

    def _pairs(self, units: pl.DataFrame, hard: pl.DataFrame, found: Chosen, lines: Lines, tasks: Sequence[str]) -> pl.DataFrame:
        """The pairs in their order: row, task, counts, weight, and the places of what is chosen and rejected."""
        import numpy as np

        pairs = units.with_columns(pl.Series("chosen", found.chosen), pl.Series("rejected", found.rejected)).filter(pl.Series(found.paired))
        if self.config.tasks == "first":
            pairs = pairs.unique(["row", "guard"], keep="first", maintain_order=True)
        faults = np.array([{"wrong": 2, "unread": 1}.get(o, 0) for o in OUTCOMES])[lines.outcomes[pairs["rejected"].to_numpy()]]
        first = pl.Series(list(tasks)).gather(np.argmax(faults, axis=1).astype(np.uint32)) if pairs.height else pl.lit(None, pl.String)
        pairs = pairs.with_columns(pl.col("task").fill_null(first))  # outputs judged as a whole: the first task that they differ on
        scheme = self.config.weights
        measured = [t for t in units["task"].unique() if f"{scheme}_{t}" in hard.columns]
        figure = pl.coalesce(
            *(pl.when((pl.col("task") == t) & pl.col("guard").is_null()).then(hard[f"{scheme}_{t}"][pairs["row"]]) for t in measured), pl.lit(None)
        )
        figures = pairs.with_columns(figure.cast(pl.Float64).alias(scheme))
        pairs = pairs.with_columns(pair_weights(figures, scheme, self.config.gamma, self.config.normalise))
        return pairs.filter(pl.col("guard").eq_missing(pl.col("guard").first().over("row"))) if self.config.guards == "first" else pairs

    def _write(self, rows: StepInput, pairs: pl.DataFrame, details: Mapping[int, str], out: Output) -> None:
        """The pairs, and the rows without one."""
        types = to_polars(self._record)
        copied = ["source", "licence", "split", "context", "prompt", "response", *(c.name for c in self._record if c.name in (MEDIA, POLICY))]
        out.keep(pl.DataFrame(schema=types))
        start = 0
        for block in rows.blocks():
            mine = pairs.filter(pl.col("row").is_between(start, start + block.height, closed="left"))
            of = block[mine["row"] - start].select(pl.col("id").alias("parent"), *copied)
            new = mine.hstack(of)
            ids = [pair_id(*key) for key in new.select("parent", "task", "chosen", "rejected", "guard").iter_rows()]
            out.keep(new.with_columns(pl.Series("id", ids, dtype=pl.String)).select(pl.col(n).cast(t) for n, t in types.items()))
            without = pl.Series(range(block.height), dtype=pl.Int64)
            without = without.filter(~without.is_in((mine["row"] - start).implode()))
            why = [details.get(start + i, "no output fits the policy") for i in without]
            out.set_aside(block[without], "no_pair", pl.Series(why, dtype=pl.String))
            start += block.height

    def _state(self, pairs: pl.DataFrame, of: Mapping[str, Ints], found: Chosen, look: Look, tasks: Sequence[str], out: Output) -> None:
        """The figures of the step."""
        out.stat("pairs_by_task", {t: int((pairs["task"] == t).sum()) for t in tasks})
        out.stat("passed_over", dict(sorted(_passed(found, look, right=True).items())))
        if self._validators[1] is not None:
            out.stat("passed_over_rejected", dict(sorted(_passed(found, look, right=False).items())))
        if pairs["guard"].null_count() < pairs.height:
            out.stat("pairs_by_guard", dict(sorted(Counter(pairs["guard"].drop_nulls()).items())))
        out.stat("lengths", length_figures(of["chosen"], of["rejected"]))
        weight = pairs["weight"]
        if pairs.height:
            mean = round(float(weight.sum()) / pairs.height, 6)
            out.stat("weights", {"scheme": self.config.weights, "least": weight.min(), "mean": mean, "greatest": weight.max()})


def _passed(found: Chosen, look: Look, *, right: bool) -> Counter[str]:
    """Outputs that would have been taken, by fault."""
    import numpy as np

    counts = np.bincount(found.over_fault[found.over_right == right], minlength=len(look.names) + 1)
    return Counter({name: int(counts[i]) for name, i in look.names.items() if counts[i]})


def _details(found: Chosen, units: pl.DataFrame, look: Look) -> dict[int, str]:
    """Why hard rows have no pair, by their numbers; those of which no output fits the policy are not there."""
    row, names = units["row"].to_numpy(), {i: n for n, i in look.names.items()}
    faults: dict[tuple[int, bool], set[str]] = {}
    for unit, fault, right in zip(found.over_unit.tolist(), found.over_fault.tolist(), found.over_right.tolist(), strict=True):
        if (found.chosen if right else found.rejected)[unit] < 0:
            faults.setdefault((int(row[unit]), right), set()).add(names[fault])
    out: dict[int, list[str]] = {}
    for (at, right), words in sorted(faults.items(), key=lambda f: (f[0][0], not f[0][1])):
        out.setdefault(at, []).append(f"no {'right' if right else 'wrong'} output is sound: {', '.join(sorted(words))}")
    return {at: "; ".join(parts) for at, parts in out.items()}


def _nothing(hard: int, passed_over: Mapping[str, int], ctx: Context) -> InputError:
    where = f"step {ctx.step}"
    if hard:
        message = f"none of the {hard:,} hard samples has a right and a wrong output that fit the policy: nothing to train DPO on"
        if passed_over:
            faults = ", ".join(f"{fault} {n:,}" for fault, n in sorted(passed_over.items()))
            message += f" ({sum(passed_over.values()):,} right outputs are malformed: {faults})"
        hint = "`chosen_right_on: task`, `chosen_passes` and `rejected_passes` ask less of an output; empty: true goes on without pairs"
        return InputError(message, where=where, hint=hint)
    hint = "more draws, a higher temperature or longer trained guards find more; empty: true goes on without pairs"
    return InputError(with_losses("no hard samples: nothing to train DPO on", ctx), where=where, hint=hint)
