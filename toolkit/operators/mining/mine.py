"""Operator `mine`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import polars as pl
from pydantic import Field

from toolkit.common.errors import InputError, did_you_mean
from toolkit.guards import POLICY, Guard
from toolkit.mining import STATUSES, Missing, Rule, apply_rule, count_votes, load_rule, measures, rule_names
from toolkit.operators.base import Columns, Config, Context, DatasetOperator, Operator, Output, StepInput
from toolkit.operators.ingest.load_predictions import LoadPredictions
from toolkit.operators.ingest.read import Read
from toolkit.operators.judge._rule_option import RuleGiven
from toolkit.operators.judge._verdict_figures import MINED
from toolkit.operators.judge._votes import Rows, are_verdicts, check_inputs
from toolkit.operators.judge.ask_guards import AskGuards
from toolkit.operators.judge.sample import Sample
from toolkit.operators.mining._mine_figures import VOTES, HardShare, statistics
from toolkit.operators.mining._mine_table import OutputTable, draw_remarks, drawn
from toolkit.records import MEDIA, has_media, load_record, to_polars


class MineConfig(Config):
    """Options of `mine`."""

    rule: RuleGiven = "default"
    """What is hard: the name of a rule (docs/mining.md lists them), the path of one, or its keys: {hard: 0 < wrong < k, guards: {count: each}}."""
    tasks: list[str] | None = Field(None, min_length=1)
    """Tasks to look at, in this order (default: all of the guard's, in the rule's order)."""
    missing: Missing | None = None
    """What it means that a generation is not there: `unread`, that none could be read; `not_asked`, that a guard without any for a row was not asked
    about it, as where guards sample different parts; `undrawn`, that it was not needed. By default `undrawn` after a `sample` with `adaptive`,
    else `unread`."""


class Mine(DatasetOperator):
    """Find the hard samples: rows on whose generations the guards disagree with the label and with each other (paper, section 3.3), or whatever else
    the rule says.

    Verdicts come from steps beside the rows (`from: {rows: SEEDS, verdicts: STEP}`, further ones under any name: several tasks, files and draws count
    together), or the rows are themselves verdicts: then each row is as the first of its generations has it. By the default rule a row is
    *hard* on a task that it has a label for if at least one of all generations is right and one wrong. A row that is not hard is set aside, by its
    tasks: `always_wrong` (a doubtful label rather than a lesson), `suspect` (by the rule), `undecided` (a generation that is missing or could not be
    read might have decided), `not_hard`, `always_right`, `not_asked`, `no_label`. Rows of verdicts whose generations carry two labels for a
    task are rejected (`conflicting_labels`). Memory: about 60 bytes a generation, and 200 a row.
    """

    name = "mine"
    version = 2
    shape = "merge"
    inputs = ("rows", "*")
    carries_media = True
    config_class = MineConfig
    example = {"tasks": ["prompt"]}
    uses = frozenset({"guard.tasks"})
    figures = (*MINED, *VOTES)
    config: MineConfig

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._optional: Sequence[str] = ()
        self._draws: dict[str, int] = {}
        self._names: list[str] = []
        self._adaptive = False

    def follow(self, before: Sequence[Operator]) -> None:
        self._adaptive = any(isinstance(op, Sample) and op.config.adaptive is not None for op in before)
        # How often `load_predictions` drew is in its files, and whose verdicts `read` brings; those of `ask_guards` may have been used up on the way.
        known = not any(isinstance(op, LoadPredictions | AskGuards) for op in before)
        self._draws = {name: op.config.k for op in before if isinstance(op, Sample) for name in op.asked} if known else {}
        asked = {name for op in before for name in _asked(op)}
        self._names = [] if any(isinstance(op, Read) for op in before) else sorted(asked)

    def reads(self, guard: Guard) -> list[str]:
        return load_record("seed", guard.task_names).names

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        check_inputs(self.name, inputs, self.config.tasks, guard)
        have = super().columns(inputs, guard)
        for which, columns in inputs.items():
            if (which != "rows" or are_verdicts(columns, guard)) and "draw" not in columns:
                raise InputError(f"mine reads verdicts from the input {which!r}, which has no column 'draw'", hint=did_you_mean("draw", columns))
        self._optional = [*([MEDIA] if has_media(have) else []), *([POLICY] if POLICY in have else [])]
        return {c.name: c for c in load_record("hard", guard.task_names).with_optional(self._optional)}

    def files(self, ctx: Context) -> dict[str, str]:
        rule = self.rule(ctx)
        rule.check(ctx.guard, self._draws, self._names)
        return {"rule": rule.fingerprint}

    def words(self, ctx: Context) -> list[str]:
        rule = self.rule(ctx)
        remarks = {f"{words}." for words in rule.check(ctx.guard, self._draws, self._names)}
        return [rule.explain(ctx.guard, _common(self._draws), len(self._draws) or None), *sorted(remarks)]

    @classmethod
    def choices(cls) -> dict[str, dict[str, str]]:
        return {"rule": {name: load_rule(name).description for name in rule_names()}}

    def rule(self, ctx: Context) -> Rule:
        """The rule, with the tasks of the options in its own order."""
        rule = load_rule(self.config.rule, ctx.roots)
        return rule if self.config.tasks is None else rule.model_copy(update={"tasks": rule.tasks.model_copy(update={"order": self.config.tasks})})

    def identity(self) -> dict[str, Any]:
        return self.config.model_dump(mode="json", exclude={"rule"}) | {"missing": self._missing}

    @property
    def _missing(self) -> Missing:
        return self.config.missing or ("undrawn" if self._adaptive else "unread")

    def factor(self, inputs: Sequence[str]) -> float | None:
        return None

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        rule, guard = self.rule(ctx), ctx.guard
        rule.check(guard)
        rows = Rows(inputs["rows"], guard, sources=False)
        outputs = OutputTable(rows, guard)
        for name, source in inputs.items():
            if name != "rows" or rows.of_verdicts:
                outputs.read(source)
        table = outputs.whole()
        draws = drawn(table)
        remarks = draw_remarks(draws)
        try:
            remarks += rule.check(guard, {g: len(n) for g, n in draws.items()})
        except InputError as e:
            remarks.append(e.message)
        found = apply_rule(table, rule, guard, tasks=self.config.tasks, missing=self._missing, ids=rows.table["id"])
        votes = count_votes(table.drop_nulls("guard_model"), guard)
        del table
        found = found.join(measures(votes, guard), on="parent", how="left", maintain_order="left")
        with ThreadPoolExecutor(1) as beside:  # figures are numpy's work, which leaves a core to whoever reads and writes
            figures = beside.submit(statistics, votes, found, guard)
            self._write(rows, found, outputs, out, ctx)
        tasks = self.config.tasks or list(guard.task_names)
        for status in STATUSES:
            out.stat(status, found.filter(pl.col("status") == status).height)
        out.stat("rows", found.height)
        out.stat("with_unread", found.filter(pl.any_horizontal(pl.col(f"n_unread_{t}") > 0 for t in tasks)).height)
        out.stat("hard_by_task", {t: found.filter(pl.col(f"status_{t}") == "hard").height for t in tasks})
        asked = {g: len(n) for g, n in draws.items()}
        out.stat("rule", {"name": rule.name, "words": rule.explain(guard, _common(asked), len(asked) or None)})
        out.stat("draws", asked)
        if outputs.tokens:
            out.stat("tokens", dict(sorted(outputs.tokens.items())))
        out.stat("verdicts_of_other_rows", outputs.strangers)
        out.stat("labels_differ", {t: n for t, n in outputs.differing.items() if n})
        out.stat("remarks", remarks)
        for name, value in figures.result().items():
            out.stat(name, value)

    def _write(self, rows: Rows, found: pl.DataFrame, outputs: OutputTable, out: Output, ctx: Context) -> None:
        """Each row with what the rule makes of it."""
        types = to_polars(load_record("hard", ctx.guard.task_names).with_optional(self._optional))
        conflicting = pl.Series("_", [False]).new_from_index(0, rows.height).scatter(sorted(outputs.conflicting) if rows.of_verdicts else [], True)
        share = HardShare()
        at = 0
        for block in rows.blocks():
            part = found[at : at + block.height].drop("parent")
            whole = block.select(c for c in types if c in block.columns).hstack(part)
            whole = whole.with_columns(pl.lit(None, dtype).alias(c) for c, dtype in types.items() if c not in whole.columns)
            bad = conflicting[at : at + block.height]
            hard = (part["status"] == "hard") & ~bad
            share.add(block, hard)
            shown = whole.select(*types)
            out.keep(shown.filter(hard))
            left = pl.when(bad).then(pl.lit("conflicting_labels")).otherwise(part["status"])
            fate = pl.when(bad).then(pl.lit("rejected")).otherwise(pl.lit("set_aside"))
            marks = pl.DataFrame({"reason": pl.select(left).to_series(), "outcome": pl.select(fate).to_series()}).filter(~hard)
            out.leave(shown.filter(~hard), marks["outcome"], marks["reason"])
            at += block.height
            ctx.progress(at, rows.height, "rows")
        out.stat("hard_share", share.lines())
        if rows.of_verdicts:
            out.merge_count(rows.read - rows.height)


def _asked(before: Operator) -> Sequence[str]:
    """The guards whose outputs a step before brings, as far as its options name them."""
    if isinstance(before, Sample):
        return before.asked
    if isinstance(before, AskGuards):
        return list(before.config.guards)
    return list(before.config.files) if isinstance(before, LoadPredictions) else []


def _common(draws: Mapping[str, int]) -> int | None:
    """The draws of each guard, where that is one number."""
    found = set(draws.values())
    return found.pop() if len(found) == 1 else None
