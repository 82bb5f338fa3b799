"""Operator `mix`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from toolkit.common.errors import InputError, did_you_mean
from toolkit.operators._losses import with_losses
from toolkit.operators.base import Config, Context
from toolkit.operators.choose._draw import apportion
from toolkit.operators.choose._quota import Quota, Way, class_name, too_few


class MixConfig(Config):
    """Options of `mix`."""

    parts: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(min_length=1)
    """Weight of each source (or value of `by`): {wildguard_train: 2, aegis_train: 1} takes twice as many of the first. Rows of others
    are set aside."""
    by: str = "source"
    """Column whose values `parts` names."""
    total: int | None = Field(None, ge=1)
    """Rows in all; default: as many as the scarcest part allows."""
    replacement: Way | dict[str, Way] = "never"
    """Whether a row may come several times, for all parts or by part: see `balance`. A part with replacement is never scarce."""
    most: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    """Most rows of a part, whatever its share comes to."""
    short: Literal["error", "fewer", "others"] = "error"
    """A part that has fewer rows than its share of `total`, and no replacement, or may give fewer (`most`): stop; take what there is; or take the
    rest from the `others`, in their proportions. The shares are then no longer met."""

    @model_validator(mode="after")
    def _bounded(self) -> MixConfig:
        if self.total is None and all(self.way(p) != "never" for p in self.parts):
            raise ValueError("where every part may be drawn with replacement none is scarce: give `total`")
        for option, given in (("replacement", self.replacement), ("most", self.most)):
            if isinstance(given, dict) and (unknown := [p for p in given if p not in self.parts]):
                raise ValueError(f"{option} names {unknown[0]!r}, which is no part: {did_you_mean(unknown[0], self.parts)}")
        return self

    def way(self, part: str) -> Way:
        """How rows of a part are drawn."""
        return self.replacement.get(part, "never") if isinstance(self.replacement, dict) else self.replacement


class Mix(Quota):
    """A mixture of sources in given proportions, drawn by id.

    The numbers are exact: they add up to the total, and each is its share of it rounded down or up (largest remainder). Rows that are not drawn
    are set aside as `not_drawn`, those of other sources as `not_in_mix`. With replacement the rows name the row that they are a copy of in
    `parent`. A part that no row comes from stops the run; what becomes of one that runs out, `short` says. Memory: about 60 bytes per row.
    """

    name = "mix"
    config_class = MixConfig
    example = {"parts": {"wildguard_train": 2, "toxicchat_train": 1}}
    config: MixConfig

    def by(self) -> list[str]:
        return [self.config.by]

    def identity(self) -> dict[str, Any]:
        return {n: v for n, v in super().identity().items() if n != "most" or v}

    def copies(self) -> bool:
        return any(self.config.way(p) != "never" for p in self.config.parts)

    def rows_planned(self, came: int | None) -> int | None:
        return None if self.config.short == "fewer" else self.config.total

    def wanted(self, sizes: Sequence[tuple[tuple[Any, ...], int]], ctx: Context) -> list[tuple[int | None, Way, str]]:
        c = self.config
        have = {class_name(values[0]): n for values, n in sizes}
        for part in c.parts:
            if part not in have:
                hint = did_you_mean(part, [v for v in have if v is not None]) if have else with_losses("there are no rows", ctx)
                raise InputError(f"mix: no row has {c.by} {part!r}", where=f"step {ctx.step}", hint=hint)
        weights = {p: Fraction(str(w)) for p, w in c.parts.items()}
        whole = sum(weights.values())
        bounds = {p: ([have[p]] if c.way(p) == "never" else []) + ([c.most[p]] if p in c.most else []) for p in weights}
        can = {p: min(bound) for p, bound in bounds.items() if bound}
        total = c.total if c.total is not None else int(min(n * whole / weights[p] for p, n in can.items()))
        goals = dict(zip(weights, apportion(total, list(weights.values())), strict=True))
        lacking = [p for p, n in goals.items() if n > can.get(p, n)]
        if c.short == "others" and lacking:
            goals = _filled(total, weights, can)
            if (have_all := sum(goals.values())) < total:
                raise too_few("mix", ctx, [f"all parts together: {have_all:,} of {total:,}"])
        elif lacking and c.short == "error":
            raise too_few("mix", ctx, [f"{c.by} is {p}: {can[p]:,} of {goals[p]:,}" for p in lacking])
        out: list[tuple[int | None, Way, str]] = []
        for values, _ in sizes:
            name = class_name(values[0])
            if name is None or name not in goals:
                out.append((None, "never", "not_in_mix"))
            else:
                way = c.way(name)
                out.append((min(goals[name], can.get(name, goals[name])), way, "not_drawn"))
        return out


def _filled(total: int, weights: Mapping[str, Fraction], can: Mapping[str, int]) -> dict[str, int]:
    """Rows of each part, where those that have less than their share give all and the others share the rest by their weights. They add up to `total`
    unless all parts together have less.
    """
    goals: dict[str, int] = {}
    left = dict(weights)
    while left:
        shares = dict(zip(left, apportion(total - sum(goals.values()), list(left.values())), strict=True))
        spent = [p for p, n in shares.items() if n > can.get(p, n)]
        goals |= {p: can[p] for p in spent} if spent else shares
        left = {p: w for p, w in left.items() if p not in spent} if spent else {}
    return {p: goals[p] for p in weights}
