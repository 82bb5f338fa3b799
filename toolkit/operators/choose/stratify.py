"""Operator `stratify`."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from pydantic import Field, model_validator

from toolkit.common.errors import InputError
from toolkit.operators.base import Config, Context
from toolkit.operators.choose._draw import apportion
from toolkit.operators.choose._quota import Quota, Way


class StratifyConfig(Config):
    """Options of `stratify`."""

    by: list[str] = Field(min_length=1)
    """Columns whose combinations of values are the strata; a missing value is a value of its own."""
    total: int | None = Field(None, ge=1)
    """Rows to draw; or:"""
    share: float | None = Field(None, gt=0, le=1)
    """Share of the rows to draw; exactly one of the two."""

    @model_validator(mode="after")
    def _one(self) -> StratifyConfig:
        if (self.total is None) == (self.share is None):
            raise ValueError("give one of `total` and `share`")
        return self


class Stratify(Quota):
    """A sample in which every stratum has the share that it has in all rows, drawn by id.

    The numbers are exact: they add up to what was asked for (a share is rounded to the nearest row), and each stratum gets its quota rounded down or
    up (largest remainder; of equal ones the first by value). Half of every source, as GuardReasoner-VL takes of its text, is `by: [source],
    share: 0.5`. The others are set aside as `not_drawn`. Memory: about 60 bytes per row.
    """

    name = "stratify"
    config_class = StratifyConfig
    example = {"by": ["source", "label_prompt"], "share": 0.5}
    config: StratifyConfig

    def by(self) -> list[str]:
        return self.config.by

    def rows_planned(self, came: int | None) -> int | None:
        c = self.config
        return c.total if c.share is None else None if came is None else round(came * c.share)

    def wanted(self, sizes: Sequence[tuple[tuple[Any, ...], int]], ctx: Context) -> list[tuple[int | None, Way, str]]:
        c = self.config
        of = sum(n for _, n in sizes)
        total = c.total if c.total is not None else int(Fraction(str(c.share)) * of + Fraction(1, 2))
        if total > of:
            raise InputError(f"stratify: {total:,} rows are wanted of {of:,}", where=f"step {ctx.step}")
        return [(n, "never", "not_drawn") for n in apportion(total, [Fraction(n) for _, n in sizes])]
