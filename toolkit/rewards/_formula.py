"""Formulas of rewards, as data: ``schemas/rewards/<name>.yaml``, a file of one's own, or a mapping."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from toolkit.common.errors import InputError, did_you_mean
from toolkit.common.paths import Beside
from toolkit.common.resources import find, names
from toolkit.common.yamlfile import FaultAt, YamlFile, load_yaml
from toolkit.guards import Guard


class _Keys(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Length(_Keys):
    """What the length of an output does to its reward. Which of the numbers a kind has is in docs/rewards.md."""

    kind: Literal["aware", "concise", "explore"]
    """``aware``: `length_aware` of the base; ``concise``: `conciseness`, where all is right; ``explore``: `exploration`, where not all is. The last
    two only where the form is sound."""
    weight: float = Field(0.2, ge=0)
    """Most that it costs or earns (``concise``, ``explore``)."""
    free: float = Field(250.0, ge=0)
    """Length that costs nothing (``concise``)."""
    scale: float = Field(250.0, gt=0)
    """Length over which it grows (``concise``, ``explore``)."""
    most: float = Field(1.0, gt=0, le=1)
    """Share from which on length changes nothing (``aware``)."""
    floor: float = Field(0.01, gt=0, le=1)
    """Smallest share (``aware``)."""
    whole: Literal["group"] | float = "group"
    """Length of which shares are taken (``aware``): a number, or the longest output about the same row."""

    @model_validator(mode="after")
    def _kinds_have_their_numbers(self) -> Length:
        of = {"aware": ("most", "floor", "whole"), "concise": ("weight", "free", "scale"), "explore": ("weight", "scale")}[self.kind]
        if odd := next((n for n in sorted(self.model_fields_set) if n not in ("kind", *of)), None):
            raise FaultAt(f"the kind {self.kind!r} has no {odd!r}: {', '.join(of)}", odd)
        if self.kind == "aware" and self.floor > self.most:
            raise FaultAt(f"the smallest share, {self.floor:g}, is above the largest, {self.most:g}", "floor")
        if self.whole != "group" and not float(self.whole) > 0:
            raise FaultAt("a length above 0, or group", "whole")
        return self


class Formula(_Keys):
    """How a reward is made of the form, the accuracy, scores and the length of an output. Load one with `load_formula`.

    The base is ``form + accuracy * (mean accuracy) + sum of weight * score`` where the form is sound, else 0; then comes the length.
    """

    name: str = "formula"
    version: int = 1
    description: str = ""
    source: str = ""
    """Where it was published."""
    form: float = Field(0.0, ge=0)
    """Weight of the form alone."""
    accuracy: float = Field(1.0, ge=0)
    """Weight of the mean accuracy."""
    tasks: dict[str, float] | None = None
    """Weights of tasks in the mean; null: each alike."""
    ordinal: bool = False
    """Whether a verdict near the label counts in part (`closeness`); else it is right or wrong."""
    scores: dict[str, float] = Field(default_factory=dict)
    """By name the weight of a score in [0, 1] that something else gives an output, a reward model say."""
    length: Length | None = None

    @model_validator(mode="after")
    def _can_be_computed(self) -> Formula:
        for key in ("tasks", "scores"):
            if odd := next((name for name, weight in (getattr(self, key) or {}).items() if not weight > 0), None):
                raise FaultAt("a weight is above 0; leave out what has none", key, odd)
        whole = self.form + self.accuracy + sum(self.scores.values())
        if self.length is not None and self.length.kind == "aware" and abs(whole - 1) > 1e-9:
            raise FaultAt(f"`aware` takes a base of 1 for the best: form, accuracy and scores make {whole:g}", "length", "kind")
        return self

    def check(self, guard: Guard) -> None:
        """Raise InputError where it weighs a task that the guard does not have."""
        for name in self.tasks or ():
            if name not in guard.task_names:
                raise InputError(
                    f"the formula {self.name!r} weighs the task {name!r}, which the guard {guard.name!r} does not have: "
                    f"{did_you_mean(name, guard.task_names)}",
                    where="tasks",
                )


def load_formula(formula: str | Path | Mapping[str, Any] | Formula, beside: Beside = None) -> Formula:
    """A formula by name or path, or of its keys.

    Args:
        formula: name of a file in ``schemas/rewards``, path of a YAML file, a mapping of keys, or a formula.
        beside: folder that a relative path is also looked up from.

    Raises:
        InputError: no such formula; InputErrors: faults in it, each with its line.

    Example:
        >>> toolkit.rewards.load_formula("rsafe").form
        0.1
    """
    if isinstance(formula, Formula):
        return formula
    if isinstance(formula, str | Path):
        return load_yaml(find("rewards", formula, beside)).model(Formula)
    return YamlFile("formula", dict(formula)).model(Formula)


def formula_names(beside: Beside = None) -> list[str]:
    """Names that `load_formula` knows, the user's own included.

    Example:
        >>> "rsafe" in toolkit.rewards.formula_names()
        True
    """
    return names("rewards", beside)


def default_formula(guard: Guard, beside: Beside = None) -> str:
    """The name of a guard's formula where none is named: the guard's own, where there is one of that name, else ``accuracy``.

    Example:
        >>> toolkit.rewards.default_formula(toolkit.load_guard("rsafe")), toolkit.rewards.default_formula(toolkit.load_guard("guardreasoner"))
        ('rsafe', 'accuracy')
    """
    return guard.name if guard.name in formula_names(beside) else "accuracy"


def formula_of(guard: Guard, formula: str | Path | Mapping[str, Any] | Formula | None = None, beside: Beside = None) -> Formula:
    """A formula for a guard: the one that is named, else `default_formula`.

    Args:
        guard: the definition.
        formula, beside: as `load_formula` takes them; without a formula none is named.

    Raises:
        InputError: no such formula, or one that weighs a task that the guard does not have; InputErrors: faults in it, each with its line.

    Example:
        >>> toolkit.rewards.formula_of(toolkit.load_guard("rsafe")).name, toolkit.rewards.formula_of(toolkit.load_guard("guardreasoner")).name
        ('rsafe', 'accuracy')
    """
    found = load_formula(formula if formula is not None else default_formula(guard, beside), beside)
    found.check(guard)
    return found
