"""The keys of a rule, with what they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from toolkit.common.documented import Documented
from toolkit.common.files import digest
from toolkit.common.yamlfile import FaultAt
from toolkit.mining._rule_condition import Condition, parse_condition

if TYPE_CHECKING:
    from toolkit.guards import Guard

Unread = Literal["left_out", "wrong"]
OTHER = "other"
"""In `unread` by reason: all reasons that are not named."""
MISSING = "missing"
"""The reason that an output which is not there could not be read."""


class Part(Documented):
    """A part of a rule: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class GuardsPart(Part):
    """Whose outputs are looked at together."""

    count: Literal["pooled", "each"] = "pooled"
    """The outputs of all guards together, or those of each guard alone."""
    hard_for: Literal["any", "all"] | Annotated[int, Field(ge=1)] = "any"
    """Of guards that are counted alone: how many a row must be hard for to be hard."""
    only: list[str] | None = Field(None, min_length=1)
    """Names of guards whose outputs count; default: all."""
    order: list[str] = []
    """Names of guards that come first, in this order; the others follow by name."""
    take: Literal["every", "first"] = "every"
    """Of guards that a row is hard for: each is a unit of its own, or the first alone."""


class TasksPart(Part):
    """Which tasks are looked at, and in which order."""

    order: list[str] = []
    """Names of tasks that come first, in this order; the others follow in the guard's."""
    hard_on: Literal["any", "all"] = "any"
    """A row is hard if any task that it has a label for is, or only if all of these are."""
    take: Literal["every", "first"] = "every"
    """Of hard tasks: each is a unit of its own, or the first alone (of each guard, where guards are counted alone)."""


class DrawsPart(Part):
    """How outputs were drawn where the rule comes from; it shapes nothing."""

    k: int | None = Field(None, ge=1)
    """Draws of each guard."""
    temperature: float | None = Field(None, ge=0)
    """Temperature."""
    top_p: float | None = Field(None, gt=0, le=1)
    """Nucleus."""


class PairsPart(Part):
    """How `pair` makes pairs of the hard units, where the rule says it: for ``preset: NAME``; `pair`'s own options win. None: not given."""

    pick: Literal["closest", "longest", "shortest", "random"] | None = None
    """Which right and which wrong output."""
    tasks: Literal["each", "first"] | None = None
    """A pair for each hard unit of a row, or for the first alone."""
    guards: Literal["each", "first"] | None = None
    """Of a row that is hard for several guards the pairs of each, or of the first alone."""
    chosen_right_on: Literal["task", "all"] | None = None
    """Whether a chosen output is right on the pair's task, or on every task that the row has a label for."""
    chosen_passes: Literal["recipe", "strict", "anything"] | None = None
    """What a chosen output must pass besides."""
    rejected_passes: Literal["recipe", "strict", "read", "anything"] | None = None
    """What a rejected output must pass besides."""
    gamma: float | None = Field(None, ge=0, lt=1)
    """Weights lie in [1 - gamma, 1 + gamma]."""
    weights: Literal["difference", "entropy", "margin", "divergence", "uniform"] | None = None
    """Scheme of weights."""
    normalise: Literal["all", "per_guard"] | None = None
    """Over which pairs weights are normalised."""


class RuleKeys(Part):
    """The keys of a rule."""

    name: str = "own"
    """Its name, for messages."""
    version: int = Field(1, ge=1)
    """Raised whenever what it says changes."""
    description: str = ""
    """One sentence."""
    source: str = ""
    """Where it is stated."""
    extends: str | None = None
    """Name or path of the rule whose keys it has where it says nothing itself."""
    hard: str = "mixed"
    """When outputs make a row hard: `mixed` (at least one right and one wrong), `all_wrong`, `any_wrong`, or a comparison of the counts right,
    wrong, unread and read with numbers and k: ``0 < wrong < k``; or of a measure of these outputs (error_rate, entropy, margin, divergence) with a
    number: ``entropy >= 0.5``."""
    suspect: str | None = None
    """When outputs make the label doubtful, in the same words: such rows are set aside as `suspect`, unless they are hard."""
    right_on: Literal["task", "row"] = "task"
    """An output is right or wrong on each task by itself, or as a whole: right if it is right on every task that the row has a label for, wrong if it
    is wrong on any."""
    unread: Unread | dict[str, Unread] = "left_out"
    """What an output counts as on a task that it could not be read on: neither right nor wrong, or wrong. Or by reason (`none`: it says that there is
    no label; `not_a_label`, `empty`, …; `missing`: it is not there; `other`: the rest)."""
    complete: bool = False
    """Whether an output counts on a task only if all tasks of it could be read; one that says of a task that it has no label was read there."""
    guards: GuardsPart = GuardsPart()
    """Whose outputs are looked at together."""
    tasks: TasksPart = TasksPart()
    """Which tasks, in which order."""
    draws: DrawsPart = DrawsPart()
    """How outputs were drawn where the rule comes from: a plan says where a recipe draws otherwise."""
    pairs: PairsPart = PairsPart()
    """How pairs are made where the rule comes from."""

    @field_validator("hard", "suspect")
    @classmethod
    def _is_condition(cls, value: str | None) -> str | None:
        if value is not None:
            parse_condition(value)
        return value

    @model_validator(mode="after")
    def _holds_together(self) -> RuleKeys:
        if self.guards.count == "pooled" and self.guards.hard_for != "any":
            raise FaultAt("of guards that are counted together none is hard alone: say `count: each`", "guards", "hard_for")
        if self.guards.only is not None and (strange := [g for g in self.guards.order if g not in self.guards.only]):
            raise FaultAt(f"the order names {strange[0]!r}, which `only` leaves out", "guards", "order")
        for key, condition in (("hard", self.condition), ("suspect", self.doubt)):
            measured = condition.measures if condition is not None else []
            if measured and self.right_on == "row":
                raise FaultAt(f"{measured[0]!r} measures the votes on a task, and outputs count as a whole: say `right_on: task`", key)
            if "divergence" in measured and self.guards.count == "each":
                raise FaultAt("'divergence' is how far guards differ, and each guard is counted alone: say `count: pooled`", key)
        for part, given in (("guards", self.guards.order), ("guards", self.guards.only or []), ("tasks", self.tasks.order)):
            if twice := [n for n in given if given.count(n) > 1]:
                raise FaultAt(f"{twice[0]!r} is named twice", part)
        return self

    @property
    def measures(self) -> list[str]:
        """The measures that its conditions name."""
        return list(dict.fromkeys([*self.condition.measures, *(self.doubt.measures if self.doubt is not None else [])]))

    @property
    def condition(self) -> Condition:
        """When a unit is hard."""
        return parse_condition(self.hard)

    @property
    def doubt(self) -> Condition | None:
        """When the label is in doubt."""
        return None if self.suspect is None else parse_condition(self.suspect)

    def unread_as(self, reason: str) -> Unread:
        """What an output counts as that could not be read for this reason."""
        if isinstance(self.unread, str):
            return self.unread
        return self.unread.get(reason, self.unread.get(OTHER, "left_out"))

    def task_order(self, guard: Guard, tasks: list[str] | None = None) -> list[str]:
        """The tasks that are looked at, in order.

        Args:
            guard: whose tasks.
            tasks: those alone, in this order, which takes the place of the rule's own.
        """
        own = [t for t in self.tasks.order if t in guard.task_names]
        return list(tasks) if tasks else list(dict.fromkeys([*own, *guard.task_names]))

    def guard_order(self, guards: list[str]) -> list[str]:
        """Those of `guards` that count, in order."""
        there = sorted(g for g in guards if self.guards.only is None or g in self.guards.only)
        return list(dict.fromkeys([*(g for g in self.guards.order if g in there), *there]))

    @property
    def fingerprint(self) -> str:
        """Digest of what shapes the hard rows."""
        shaping = self.model_dump(mode="json", include={"hard", "suspect", "right_on", "unread", "complete", "guards", "tasks"})
        return digest(shaping | {"judge": shaping.pop("right_on")})  # its name when the first digests were made, so that they stay
