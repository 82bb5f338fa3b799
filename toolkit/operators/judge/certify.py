"""Operator `certify`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from toolkit.common.errors import InputError, did_you_mean
from toolkit.common.files import write_atomic
from toolkit.evaluation import MARGIN, Asked, Certified, certificate, check_policies, open_sides
from toolkit.guards import Guard
from toolkit.operators._drawn import certified
from toolkit.operators.base import Columns, Config, Context, DatasetOperator, Output, StepInput
from toolkit.operators.figures import Figure, Finished, Table, nothing, stat

FILE = "certificate.json"


class CertifyConfig(Config):
    """Options of `certify`."""

    before: str | None = None
    """The guard before, by the name that `evaluate` or `from` gives it (default: the first)."""
    after: str | None = None
    """The guard after (default: the second)."""
    margin: float = Field(MARGIN, gt=0, lt=100)
    """Points of F1, and of the false-positive rate, that it may not get worse by."""
    rises: list[str] = []
    """Categories or benchmarks whose F1 is to have risen."""
    look_alikes: list[str] = []
    """Benchmarks whose benign rows look harmful, beside those that an evaluation has so, and benign rows that carry a category."""
    policy: str = "clean"
    """How an output that could not be read counts: `clean` (once, as wrong), `drop`, `fail-closed`."""
    draws: int = Field(10_000, ge=1000, le=1_000_000)
    """Of the bootstrap behind the bounds."""
    fail: bool | Literal["unless_pass"] = False
    """Whether the run ends with exit code 1, after all is written, where the verdict is fail; `unless_pass`: where it is any but pass."""

    @field_validator("policy")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            return check_policies(value)[0]
        except InputError as e:
            raise ValueError(f"{e.message}; {e.hint}") from None


def _lines(step: Finished, figure: Figure, value: list[dict[str, Any]]) -> Iterator[Table | str]:
    numbers = ("n", "before", "after", "difference", "low", "high", "rows")
    rows = [[*(line[n] for n in ("area", "name", "task", "figure", "verdict")), *(line[n] for n in numbers)] for line in value]
    title = f"Did anything get worse ({step.step}): percent and points, with one-sided 95 % bounds"
    yield Table(title, ("area", "name", "task", "figure", "verdict"), (*numbers[:-1], "rows that would do"), rows, parts=True)
    yield f"Certificate ({step.step}): {step.stats['words']}"


class Certify(DatasetOperator):
    """Certify that a guard is nowhere worse than before: F1 and false-positive rate on the same rows, of each benchmark and category, of refusals and
    of benign rows that look harmful; pass, fail, or too few rows to tell and how many would do.

    Reads the artefact `evaluation` of `evaluate` steps: one with both guards (`from: scores`), or two by name (`from: {before: scores-old, after:
    scores-new}`). Writes the artefact `certificate` (certificate.json). Memory: the rows' labels and verdicts.
    """

    name = "certify"
    shape = "sink"
    inputs = ("*",)
    takes = {"*": "evaluation"}
    carries_media = True
    config_class = CertifyConfig
    example = {"rises": ["misinformation"], "fail": True}
    uses = frozenset()
    makes = ("certificate",)
    figures = (
        Figure("lines", "each benchmark, category, refusals and look-alikes, before and after", stat("lines", []), _lines, drawn=certified),
        Figure("verdict", "whether the guard got worse: pass, fail, too few rows", stat("verdict"), nothing),
    )
    config: CertifyConfig
    _order: tuple[str, ...] = ()

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        self._order = tuple(inputs)
        return {}

    def identity(self) -> dict[str, Any]:
        return {n: v for n, v in super().identity().items() if n != "fail"} | {"order": self._order}

    def unmet(self, stats: Mapping[str, Any]) -> str | None:
        wanted, verdict = self.config.fail, stats.get("verdict")
        if verdict == "fail" if wanted is True else wanted and verdict != "pass":
            return f"its certificate did not pass: {stats.get('words')}"
        return None

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        c, alone = self.config, len(inputs) == 1
        sides = open_sides([(None if alone else name, i.artefact("evaluation")) for name, i in inputs.items()])
        for at, name in enumerate((c.before, c.after)):
            if name is not None:
                picked = [s for s in sides if name in (s.name, s.model)]
                if len(picked) != 1:
                    known = [s.name for s in sides]
                    raise InputError(f"no guard called {name!r} to certify", where=f"step {ctx.step}", hint=did_you_mean(name, known))
                rest = [s for s in sides if s is not picked[0]]
                sides = [*rest[:at], *picked, *rest[at:]]
        if c.before is not None or c.after is not None:
            sides = sides[:2]
        wanted = Certified(c.margin, c.rises, c.look_alikes)
        found = certificate(sides, Asked(policy=c.policy, draws=c.draws), wanted, lambda words: ctx.progress(0, None, words))
        write_atomic(out.folder("certificate") / FILE, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
        names = ("area", "name", "task", "figure", "claim", "n", "before", "after", "difference", "low", "high", "verdict", "rows")
        out.stat("lines", [{n: line[n] for n in names} for line in found["lines"]])
        for name in ("verdict", "words", "apart", "notes"):
            out.stat(name, found[name])
