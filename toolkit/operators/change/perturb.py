"""Operator `perturb`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field, field_validator

from toolkit.common.errors import InputError
from toolkit.evaluation import choose_changes, perturbed
from toolkit.guards import Guard
from toolkit.operators.base import Columns, Config, Context, DatasetOperator, Output, Shape, StepInput
from toolkit.operators.figures import Figure, stat
from toolkit.records import Column


class PerturbConfig(Config):
    """Options of `perturb`."""

    changes: str | list[str] = Field("all", min_length=1)
    """One change or several by name, or all of a kind: case (upper, lower), white_space (double_space, trailing_space, newlines, tabs), unicode
    (homoglyphs, full_width, zero_width), benign (benign_before, benign_after), policy (policy_sentence, policy_block: a claim that everything is
    allowed), turns (turn_order), markdown (bold, code_block, quote, list)."""
    original: bool = False
    """Whether each row goes on as it is, too, with the change `original`: so that one step asks a guard about both."""

    @field_validator("changes")
    @classmethod
    def _known(cls, value: str | list[str]) -> str | list[str]:
        try:
            choose_changes(value)
        except InputError as e:
            raise ValueError(f"{e.message}; {e.hint}" if e.hint else e.message) from None
        return value


class Perturb(DatasetOperator):
    """Change how rows look and not what they say: case, white space, Unicode look-alikes, a benign sentence, the order of earlier turns, markdown.

    One row out for each row and change, with the labels of the row that it is made of (`parent`) and the name of the `change`. Where a change
    leaves a row as it is (upper case of a text without letters), that row of the change is set aside as `unchanged`. What a guard says of the rows
    before and after shows how its verdict holds. Drawn places depend on the text and the recipe's seed alone.
    """

    name = "perturb"
    shape: ClassVar[Shape] = "expand"
    passes = 1
    carries_media = True
    config_class = PerturbConfig
    example = {"changes": ["case", "white_space"], "original": True}
    uses = frozenset({"seed"})
    figures = (Figure("changed", "rows that each change makes", stat("changed")),)
    config: PerturbConfig

    def __init__(self, config: PerturbConfig) -> None:
        super().__init__(config)
        self._changes = choose_changes(config.changes)

    def reads(self, guard: Guard) -> list[str]:
        return ["id", "prompt"]

    def writes(self, guard: Guard) -> list[Column]:
        return [Column("parent", "string", doc="id of the row that it is made of"), Column("change", "string", doc="name of the change")]

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        have = inputs.get("rows", {})
        for name in ("prompt", "response"):
            if name in have and have[name].type != "string":
                raise InputError(f"the column {name!r} holds no text: perturb the rows before they are rendered")
        if "context" in have and not isinstance(have["context"].type, dict):
            raise InputError("the column 'context' holds no messages: a list of {role, content} for each row")
        if {"parent", "guard_model"} <= set(have):
            why = "`parent` says which row each generation is about, and would say what it is made of"
            raise InputError(f"perturb: {why}", hint="perturb the rows before they are sampled")
        return super().columns(inputs, guard)

    def identity(self) -> dict[str, Any]:
        return {"changes": [c.name for c in self._changes], "original": self.config.original}

    def factor(self, inputs: Sequence[str]) -> float:
        return float(len(self._changes) + self.config.original)

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        import polars as pl

        seed = ctx.rng_seed("perturb")
        made: Counter[str] = Counter({c.name: 0 for c in self._changes})
        done = 0
        for block in inputs["rows"].blocks():
            found = perturbed(block, self._changes, seed, original=self.config.original)
            out.keep(found.rows)
            out.set_aside(found.unchanged, "unchanged", pl.format("{} leaves it as it is", "change"))
            made.update(dict(found.rows["change"].value_counts().iter_rows()))
            done += block.height
            ctx.progress(done, inputs["rows"].rows, "rows")
        out.stat("changed", dict(made))
