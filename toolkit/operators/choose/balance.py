"""Operator `balance`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from toolkit.common.errors import InputError, did_you_mean
from toolkit.operators.base import Config, Context
from toolkit.operators.choose._quota import Quota, Way, class_name, shown_class, too_few


class BalanceConfig(Config):
    """Options of `balance`."""

    by: str
    """Column whose values are the classes, `label_prompt` say."""
    within: list[str] = []
    """Balance in each combination of values of these columns on its own: `[source]` for the same numbers in every source."""
    to: Literal["smallest", "largest"] | Annotated[int, Field(ge=1)] | dict[str, Annotated[int, Field(ge=0)]] = "smallest"
    """Rows of each class: as many as the smallest or the largest class has, a number, or a number for each class by name (a class that is not named
    takes no part)."""
    classes: list[str] | None = None
    """Classes that must be there; rows of others are set aside. Default: all that occur in the rows, or that `to` names."""
    replacement: Way | dict[str, Way] = "never"
    """Whether a row may come several times, for all classes or by class: `never`; `even`, all rows of a class equally often and no other number
    than one more or less; `random`, each draw is from the whole class (sampling with replacement), so that some rows come often and some not."""
    short: Literal["error", "fewer"] = "error"
    """A class with fewer rows than wanted, and no replacement: stop, or take what there is."""

    @model_validator(mode="after")
    def _agree(self) -> BalanceConfig:
        if self.by in self.within:
            raise ValueError(f"{self.by!r} cannot be both `by` and in `within`")
        if self.classes is not None and isinstance(self.to, dict):
            raise ValueError("`to` names the classes already: leave `classes` out")
        return self


class Balance(Quota):
    """The same number of rows, or a given one, of each class, drawn by id.

    The sample of RSafe, 1,000 safe and 1,000 unsafe rows of every source, the unsafe ones drawn with replacement, is `by: label_prompt, within:
    [source], to: 1000, replacement: {harmful: random}`. Rows that are not drawn are set aside as `not_drawn`, those without a class as `no_class`
    and those of a class that takes no part as `not_in_classes`. With replacement the rows name the row that they are a copy of in `parent`.
    A class that has no row at all in one of `within` is one with too few; one that
    is named and that no row has stops the run. Memory: about 60 bytes per row.
    """

    name = "balance"
    config_class = BalanceConfig
    example = {"by": "label_prompt", "within": ["source"], "to": 1000, "replacement": {"harmful": "random"}, "short": "fewer"}
    config: BalanceConfig

    def by(self) -> list[str]:
        return [*self.config.within, self.config.by]

    def copies(self) -> bool:
        given = self.config.replacement
        return any(way != "never" for way in (given.values() if isinstance(given, dict) else [given]))

    def rows_planned(self, came: int | None) -> int | None:
        c = self.config
        if c.within or c.short == "fewer":
            return None
        if isinstance(c.to, dict):
            return sum(c.to.values())
        return c.to * len(c.classes) if isinstance(c.to, int) and c.classes is not None else None

    def wanted(self, sizes: Sequence[tuple[tuple[Any, ...], int]], ctx: Context) -> list[tuple[int | None, Way, str]]:
        classes = self._taking_part(sizes)
        known = {name for values, _ in sizes if (name := class_name(values[-1])) is not None}
        given = self.config.replacement
        for name in dict.fromkeys([*classes, *(given if isinstance(given, dict) else ())]):
            if name not in known and sizes:
                message = f"balance: no row has {self.config.by} {name!r}"
                raise InputError(message, where=f"step {ctx.step}", hint=did_you_mean(name, known) if known else None)
        groups: dict[tuple[Any, ...], dict[str, int]] = {}
        for values, n in sizes:
            if (name := class_name(values[-1])) in classes:
                groups.setdefault(values[:-1], dict.fromkeys(classes, 0))[name] = n
        goals = {group: self._goals(have) for group, have in groups.items()}
        self._check(groups, goals, ctx)
        out: list[tuple[int | None, Way, str]] = []
        for values, n in sizes:
            name = class_name(values[-1])
            if name not in classes:
                out.append((None, "never", "no_class" if name is None else "not_in_classes"))
                continue
            goal, way = goals[values[:-1]][name], self._way(name)
            out.append((min(goal, n) if way == "never" else goal, way, "not_drawn"))
        return out

    def _taking_part(self, sizes: Sequence[tuple[tuple[Any, ...], int]]) -> list[str]:
        if isinstance(self.config.to, dict):
            return list(self.config.to)
        if self.config.classes is not None:
            return self.config.classes
        return sorted({name for values, _ in sizes if (name := class_name(values[-1])) is not None})

    def _way(self, name: str) -> Way:
        given = self.config.replacement
        return given.get(name, "never") if isinstance(given, dict) else given

    def _goals(self, have: dict[str, int]) -> dict[str, int]:
        """Rows wanted of each class of one group."""
        to = self.config.to
        if isinstance(to, dict):
            return dict(to)
        if isinstance(to, int):
            return dict.fromkeys(have, to)
        there = [n for n in have.values() if n]
        return dict.fromkeys(have, (min if to == "smallest" else max)(there))

    def _check(self, groups: dict[tuple[Any, ...], dict[str, int]], goals: dict[tuple[Any, ...], dict[str, int]], ctx: Context) -> None:
        if self.config.short == "fewer":
            return
        lacking = []
        for group, have in groups.items():
            for name, n in have.items():
                goal = goals[group][name]
                if n < goal and (self._way(name) == "never" or not n):
                    lacking.append(f"{shown_class(self.by(), [*group, name])}: {n:,} of {goal:,}")
        if lacking:
            raise too_few("balance", ctx, lacking)
