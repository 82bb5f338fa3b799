"""Operator `compare`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field, field_validator

from toolkit.common.errors import InputError, did_you_mean
from toolkit.common.files import digest, write_atomic
from toolkit.evaluation import check_policies
from toolkit.guards import Guard
from toolkit.operators._drawn import compared
from toolkit.operators.base import Columns, Config, Context, DatasetOperator, Output, StepInput
from toolkit.operators.figures import Figure, Finished, Table, stat

FILE = "comparison.json"


class CompareConfig(Config):
    """Options of `compare`."""

    models: list[str] = []
    """Guards that are compared, by the names that `evaluate` gives them (default: all)."""
    baseline: str | None = None
    """The guard that the others are held against (default: the first)."""
    every_pair: bool = False
    """Each two guards, not only each against the baseline."""
    policy: str = "clean"
    """How an output that could not be read counts: `clean` (once, as wrong), `drop`, `fail-closed`, `reference`."""
    published: list[str] = []
    """Published figures that are beside, by source or model (schemas/published), where their cohort is that of the evaluation: `guardreasoner`."""
    errors: int = Field(3, ge=0)
    """Rows of each kind of error (only one of the two is wrong, both are) whose texts are listed."""
    draws: int = Field(10_000, ge=100, le=1_000_000)
    """Of the bootstrap behind the intervals and p-values of differences."""

    @field_validator("policy")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            return check_policies(value)[0]
        except InputError as e:
            raise ValueError(f"{e.message}; {e.hint}") from None


def _sentences(step: Finished, figure: Figure, value: list[dict[str, Any]]) -> Iterator[Table | str]:
    if value:
        yield f"What the differences of F1 are worth ({step.step}):"
        yield from (f"- {verdict['words']}" for verdict in value)


def _lines(step: Finished, figure: Figure, value: list[dict[str, Any]]) -> Iterator[Table | str]:
    models = list(dict.fromkeys(c["model"] for line in value for c in line["cells"]))
    rows: list[list[Any]] = []
    for line in value:
        cells = {c["model"]: c["f1"] for c in line["cells"]}
        rows.append([line["task"], line["title"], line["n"], *(cells.get(m) for m in models)])
    if rows:
        yield Table(
            f"F1 side by side ({step.step}): percent, policy {value[0]['policy']}", ("task", "benchmark"), ("rows", *models), rows, parts=True
        )


class Compare(DatasetOperator):
    """Hold guards against each other: F1 side by side, and in words whether one is better, worse or not distinguishable on each task.

    Reads the artefact `evaluation` of `evaluate` steps: one with several guards (`from: scores`), or several by name (`from: {sft: scores-sft, dpo:
    scores-dpo}`). A difference has a paired bootstrap interval, p-values (bootstrap, McNemar) and Holm's correction over the table; figures stand
    side by side only where rows, policy, reading and sampling agree. Writes the artefact `comparison` (comparison.json), with categories, sources and
    the texts of errors. Memory: the rows' labels and verdicts.
    """

    name = "compare"
    shape = "sink"
    inputs = ("*",)
    takes = {"*": "evaluation"}
    carries_media = True
    config_class = CompareConfig
    example = {"published": ["guardreasoner"]}
    uses = frozenset()
    makes = ("comparison",)
    figures = (
        Figure("lines", "F1 of each guard on each benchmark and task", stat("lines", []), _lines),
        Figure("verdicts", "for each task whether a guard is better or worse than the baseline", stat("verdicts", []), _sentences, drawn=compared),
    )
    config: CompareConfig
    _order: tuple[str, ...] = ()

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        self._order = tuple(inputs)
        return {}

    def files(self, ctx: Context) -> dict[str, str]:
        if not (published := self.config.published):
            return {}
        from toolkit.evaluation import choose_published

        return {"published": digest([f.cohort.model_dump() | {"f1": f.value} for f in choose_published(published, ctx.roots)])}

    def identity(self) -> dict[str, Any]:
        return {**self.config.model_dump(mode="json"), "order": self._order}

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        from toolkit.evaluation import Asked, choose_published, compare_sides, open_sides

        alone = len(inputs) == 1
        c = self.config
        places = [(None if alone else name, i.artefact("evaluation")) for name, i in inputs.items()]
        sides = open_sides(places, c.models)
        names = [s.name for s in sides]
        if c.baseline is not None:
            first = [s for s in sides if c.baseline in (s.name, s.model)]
            if len(first) != 1:
                raise InputError(f"no guard called {c.baseline!r} to compare with", where=f"step {ctx.step}", hint=did_you_mean(c.baseline, names))
            sides = [*first, *(s for s in sides if s is not first[0])]
        if len(sides) < 2 and not c.published:
            hint = "let `evaluate` score several, name several steps in `from`, or set published figures beside it: published"
            raise InputError(f"one guard alone, {names[0]!r}: nothing to compare it with", where=f"step {ctx.step}", hint=hint)
        published = choose_published(c.published, ctx.roots) if c.published else []
        asked = Asked(policy=c.policy, draws=c.draws, errors=c.errors, every_pair=c.every_pair, published=published)
        found = compare_sides(sides, asked, lambda words: ctx.progress(0, None, words))
        steps = {str(i.artefact("evaluation")): i.step for i in inputs.values()}
        for model, side in zip(found["models"], sides, strict=True):  # the place of a run is no part of what it says
            model.pop("folder", None)
            model["step"] = steps[str(side.evaluation.folder)]
        write_atomic(out.folder("comparison") / FILE, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
        out.stat("lines", [_short(line) for line in found["lines"]])
        out.stat("verdicts", [{n: v[n] for n in ("a", "b", "task", "outcome", "difference", "low", "high", "words")} for v in found["verdicts"]])
        out.stat("apart", found["apart"])


def _short(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line of figures, as a step's figures have it."""
    cells = [{"model": cell["model"], "published": cell.get("published"), "f1": cell["f1"]} for cell in line["cells"]]
    return {n: line[n] for n in ("task", "benchmark", "title", "policy", "n", "why")} | {"cells": cells}
