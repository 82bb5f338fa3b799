"""A recipe as written: the keys that it may have, each with its help. `guardkit schema` is drawn from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag

from toolkit.common.documented import Documented

TIMES = 100
"""Rounds of a loop, at most."""


class Failures(Documented):
    """What may fail of a step; above it the run ends with exit code 1."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    generations: float = Field(0.0, ge=0.0, le=1.0)
    """Share of its generations, or of its rows, where an operator fails on a row."""
    validation: float = Field(1.0, ge=0.0, le=1.0)
    """Share of the rows of a step that validates (`validate`) that it may reject."""


class Rounds(Documented):
    """Mine again from the guard that was just trained (docs/mining.md): the steps from `start` to `model` run in rounds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    times: int = Field(ge=1, le=TIMES)
    """Rounds, at most."""
    model: str | None = None
    """Step that trains the guard of a round, from which the next round goes on (default: the only step that trains on from another's model, as
    `train_dpo` does)."""
    start: str | None = None
    """Step that has the guard of the first round: wherever the loop reads it, later rounds read the guard of the round before (default: the step
    that `model` trains on from)."""
    hard: str | None = None
    """Step whose rows are the hard ones (default: the only `mine` between `start` and `model`)."""
    score: str | None = None
    """Step that scores the guard of every round (`evaluate`): it runs in each of them, as does all between `model` and it."""
    least_fall: float | None = Field(0.01, ge=0, lt=1)
    """Share by which the hard rows must be fewer than in the round before, else the loop ends there; null: it ends where none is hard, alone."""
    draws: Literal["new", "kept"] = "new"
    """Draws of guards that no round trains: new ones in each round (another seed), or those of the first, which are in the journal."""


class StepSpec(Documented):
    """One step as written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    """Name of the step, of its folder and in every report: a letter, then letters, digits, `_`, `.` and `-`."""
    use: str
    """Operator: see `guardkit operators`."""
    from_: str | dict[str, str] | None = Field(None, alias="from")
    """Step that it reads (default: the one before), or a step for each named input."""
    with_: dict[str, Any] = Field(default_factory=dict, alias="with")
    """Options of the operator."""
    each: dict[str, Annotated[list[str], Field(min_length=1)]] | None = None
    """Write this step once for each value: {part: [a, b]} replaces {part}."""
    doc: str | None = None
    """A line for people."""


class RecipeSpec(Documented):
    """A recipe as written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: str = Field(pattern=r"^[a-zA-Z][a-zA-Z0-9_.-]*$")
    """Name; also the name of its folder in outputs/."""
    version: int = 1
    """Version of the recipe, for people."""
    description: str = ""
    """What it builds."""
    guard: str = "guardreasoner"
    """Guard definition: a name, or a path ending in .yaml."""
    taxonomy: str = "guardkit"
    """Harm categories: a name, or a path ending in .yaml."""
    seed: int = Field(0, ge=0)
    """Seed of everything random."""
    failures: Annotated[float, Field(ge=0.0, le=1.0)] | Failures = 0.0
    """Share of a step's generations (or of its rows, where an operator fails on a row) that may fail; above it the run ends with exit code 1.
    Rejects of validation do not count but with `{generations: 0.01, validation: 0.2}`."""
    rounds: (
        Annotated[
            Annotated[int, Field(ge=1, le=TIMES), Tag("times")] | Annotated[Rounds, Tag("keys")],
            Discriminator(lambda value: "keys" if isinstance(value, Mapping | Rounds) else "times"),
        ]
        | None
    ) = None
    """Mine again from the guard that was just trained: rounds at most, or `{times: 3, score: evaluation}`. The steps between the guard that mining
    starts from and the one that `train_dpo` makes of it run in rounds, which end where hard rows no longer fall (docs/mining.md)."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Values that the recipe names as `{category}`, for users to give with `--set category=fraud`: names and values, null for one that must be given.
    Filled into steps (`id`, `from`, `with`) and the recipe's own keys."""
    beside: str | list[str] | None = None
    """Folder, or folders, that relative paths are looked up in after the working folder (default: the recipe's own)."""
    media: str | None = None
    """The dataset's folder, which the uris of media are relative to (docs/media.md); default: as `beside`."""
    sources: dict[str, list[str]] = Field(default_factory=dict)
    """Local files for sources by name, as `--source` gives them."""
    steps: list[StepSpec] = Field(min_length=1)
    """What to do, in order."""

    @property
    def may_fail(self) -> Failures:
        """`failures` whole."""
        return self.failures if isinstance(self.failures, Failures) else Failures(generations=self.failures)
