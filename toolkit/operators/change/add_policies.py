"""Operator `add_policies`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, ClassVar, Literal

import polars as pl
from pydantic import Field, model_validator

from toolkit.common.errors import InputError, did_you_mean
from toolkit.common.files import digest
from toolkit.common.yamlfile import FaultAt
from toolkit.guards import POLICY, Guard, Task
from toolkit.operators._harm_tasks import harm_tasks
from toolkit.operators.base import Columns, Config, Context, DatasetOperator, Output, Shape, StepInput
from toolkit.operators.figures import Figure, some
from toolkit.operators.labels._trail import COLUMN, TRAIL, entry, extended
from toolkit.records import Column, to_polars
from toolkit.taxonomy import Taxonomy, policies_text

RULES = {
    "present": "the policies of the row's categories are among them",
    "absent": "the row has categories, and none of their policies is among them",
    "none": "the row has no category",
    "same": "every row has these policies",
}
"""What the column `policy_rules` says."""


class AddPoliciesConfig(Config):
    """Options of `add_policies`."""

    distractors: int = Field(3, ge=0, le=100)
    """Policies of other categories beside those of the row's own, as far as there are so many."""
    absent: float = Field(0.2, ge=0, le=1)
    """Share of the rows with a category whose own policies are left out, drawn by id: others stand in for them, and the row's harmful labels become
    what the policies that are left say, unharmful."""
    hide: list[str] = []
    """Categories whose policies, and those of what is below them, no row is shown; a row that has no other one is as if they were left out."""
    catch_all: list[str] = ["other", "dangerous_content", "illegal_activity", "unethical_conduct", "jailbreak"]
    """Categories that may cover whatever another one covers: never shown to a row that is not of them."""
    harm_tasks: list[str] | None = Field(None, min_length=1)
    """Tasks whose positive label says that a policy covers the row (default: `prompt` and `response`, or all of a guard that has neither)."""
    same: Literal["all"] | list[str] | None = None
    """The same policies beside every row, in this order, whatever its categories: of the categories named, or of `all` (but for `hide` and
    `catch_all`), as a guard is asked that knows one set of rules, or about benchmarks that do not say which rule a row breaks. Labels stay as they
    are, no row is rejected for its categories, and `distractors` and `absent` are not used."""

    @model_validator(mode="after")
    def _something_is_left(self) -> AddPoliciesConfig:
        if self.absent and not self.distractors:
            raise FaultAt("with no distractors, a row whose own policy is left out would have none: absent: 0, or distractors: 1 and more", "absent")
        return self


class AddPolicies(DatasetOperator):
    """Put the policies beside each row by which it is to be judged: those of its categories and of some others, in an order drawn for each row.

    A row is shown the texts of the taxonomy (`policy`). Where the policies of its own categories are left out (`policy_rules: absent`), its harmful
    labels become the task's first label that is not the positive one, with the source `policy`; what they were is in `label_trail`. Policies of a
    category's parents and of what is below it are never shown beside it, nor in its place. A row with a harmful label and no category is rejected
    (`no_category`: `assign_categories` gives it one), and so is one with a category that the taxonomy does not have (`unknown_category`). The same
    rows get the same policies whatever their order: drawn by id and the recipe's seed.
    """

    name = "add_policies"
    shape: ClassVar[Shape] = "one_to_one"
    passes = 1
    carries_media = True
    config_class = AddPoliciesConfig
    example = {"distractors": 3, "absent": 0.25}
    uses = frozenset({"guard.tasks", "taxonomy", "seed"})
    figures = (Figure("policies", "rows by whether their own policies are among those beside them, and labels that changed", some("policies")),)
    config: AddPoliciesConfig

    def identity(self) -> dict[str, Any]:
        return {name: value for name, value in super().identity().items() if name != "same" or value}  # it came later

    def reads(self, guard: Guard) -> list[str]:
        return ["id", "categories", *(f"label_{t}{s}" for t in harm_tasks(guard, self.config.harm_tasks) for s in ("", "_source"))]

    def writes(self, guard: Guard) -> list[Column]:
        return [
            Column(POLICY, "string", doc="the policies that the row is judged by"),
            Column("policy_categories", {"list": "string"}, doc="the categories that they are of, in their order"),
            Column("policy_rules", "string", doc="; ".join(f"{word}: {meaning}" for word, meaning in RULES.items())),
            COLUMN,
        ]

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        out = super().columns(inputs, guard)
        if POLICY in inputs.get("rows", {}):
            raise InputError(f"the rows have a column {POLICY!r}: add_policies would write over it, and over the labels that were made by it")
        return out

    def files(self, ctx: Context) -> dict[str, str]:
        _Policies(ctx.taxonomy, self.config)
        return {}

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        beside = _Policies(ctx.taxonomy, self.config)
        tasks = [ctx.guard.task(t) for t in harm_tasks(ctx.guard, self.config.harm_tasks)]
        types = to_polars(tuple(self.writes(ctx.guard))) | dict.fromkeys((f"label_{t.name}{s}" for t in tasks for s in ("", "_source")), pl.String)
        seed, done = ctx.rng_seed("add_policies"), 0
        rules_of = ["same"] if self.config.same else [rule for rule in RULES if rule != "same"]
        counts: Counter[str] = Counter(dict.fromkeys([*rules_of, "labels_changed"], 0))
        for block in inputs["rows"].blocks():
            new: list[dict[str, Any]] = []
            faults: list[tuple[str, str] | None] = []
            for row in block.iter_rows(named=True):
                fault = beside.fault(row, tasks)
                faults.append(fault)
                if fault is None:
                    shown, rules = beside.of(row["categories"] or [], Random(int(digest([seed, row["id"]])[:15], 16)))
                    labels, changed = _labels(row, tasks, rules, ctx.step)
                    new.append({POLICY: beside.text(shown), "policy_categories": shown, "policy_rules": rules, **labels})
                    counts.update({rules: 1, "labels_changed": changed})
            sound = pl.Series([fault is None for fault in faults], dtype=pl.Boolean)
            made = pl.DataFrame(new, schema=types, orient="row")
            out.keep(block.filter(sound).with_columns(made.get_columns()))
            gone = [fault for fault in faults if fault is not None]
            out.reject(block.filter(~sound), *(pl.Series([f[n] for f in gone], dtype=pl.String) for n in (0, 1)))
            done += block.height
            ctx.progress(done, inputs["rows"].rows, "rows")
        out.stat("policies", dict(counts))


class _Policies:
    """Which policies are put beside a row.

    Args:
        taxonomy: all of it.
        config: distractors, absent, hide, catch_all.

    Raises:
        InputError: a category that is named and not there.
    """

    def __init__(self, taxonomy: Taxonomy, config: AddPoliciesConfig) -> None:
        self._taxonomy, self._config = taxonomy, config
        for option in ("hide", "catch_all", "same"):
            given = getattr(config, option)
            for name in given if isinstance(given, list) else ():
                if name not in taxonomy.names and option in config.model_fields_set:
                    hint = did_you_mean(name, taxonomy.names)
                    raise InputError(f"add_policies.{option}: the taxonomy {taxonomy.name!r} has no category {name!r}", hint=hint)
        self._named = {word: name for word, name in taxonomy.scheme(taxonomy.name).items() if name is not None}
        self._line = {name: (name, *taxonomy.above(name)) for name in taxonomy.names}
        self._hidden = {name for name, line in self._line.items() if not set(line).isdisjoint(config.hide)}
        every = [name for name in taxonomy.names if name not in self._hidden.union(config.catch_all)]
        self._same = every if config.same == "all" else config.same

    def fault(self, row: Mapping[str, Any], tasks: Sequence[Task]) -> tuple[str, str] | None:
        """Why nothing says which policy rules a row; None where something does."""
        if self._same:
            return None
        if unknown := [c for c in row["categories"] or () if c not in self._named]:
            return "unknown_category", f"{unknown[0]!r} is no category of the taxonomy {self._taxonomy.name!r}"
        if not row["categories"] and any(row[f"label_{t.name}"] == t.positive for t in tasks):
            return "no_category", "a harmful label, and no category says which policy covers the row"
        return None

    def of(self, categories: Sequence[str], rng: Random) -> tuple[list[str], str]:
        """The categories whose policies a row of some categories is shown, in their order, and one of `RULES`."""
        if self._same:
            return self._same, "same"
        c, own = self._config, list(dict.fromkeys(self._named[name] for name in categories))
        left_out, order = rng.random() < c.absent, {name: rng.random() for name in self._taxonomy.names}
        ruling = [] if left_out else [name for name in own if name not in self._hidden]
        others = [name for name in order if name not in self._hidden.union(c.catch_all) and not any(self._related(name, mine) for mine in own)]
        wanted = c.distractors + (len(own) or 1) - len(ruling)  # so that their number says nothing
        chosen = sorted(others, key=order.__getitem__)[:wanted]
        return sorted([*ruling, *chosen], key=order.__getitem__), "none" if not own else "present" if ruling else "absent"

    def _related(self, one: str, other: str) -> bool:
        """Whether one is the other, or is somewhere above it."""
        return one in self._line[other] or other in self._line[one]

    def text(self, names: Sequence[str]) -> str:
        """Their policies."""
        return policies_text(self._taxonomy.category(name) for name in names)


def _labels(row: Mapping[str, Any], tasks: Sequence[Task], rules: str, step: str) -> tuple[dict[str, Any], int]:
    """The labels of a row by the policies beside it, with their sources and trail, and how many changed."""
    out = {f"label_{t.name}{s}": row[f"label_{t.name}{s}"] for t in tasks for s in ("", "_source")}
    entries = []
    for task in tasks:
        label, source = (row[f"label_{task.name}{s}"] for s in ("", "_source"))
        if rules == "absent" and label == task.positive:
            new = next(word for word in task.labels if word != task.positive)
            why = f"none of the policies beside the row is of {', '.join(row['categories'])}"
            entries.append(entry(task.name, (label, source), (new, "policy"), f"{step} (add_policies)", "policy", why=why))
            out |= {f"label_{task.name}": new, f"label_{task.name}_source": "policy"}
    return out | {TRAIL: extended(row.get(TRAIL), entries)}, len(entries)
