"""A recipe as written: the keys that it may have, each with its help. `guardkit schema` is drawn from them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class Failures(BaseModel):
    """What may fail of a step; above it the run ends with exit code 1."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    generations: float = Field(0.0, ge=0.0, le=1.0)
    """Share of its generations, or of its rows, where an operator fails on a row."""
    validation: float = Field(1.0, ge=0.0, le=1.0)
    """Share of the rows of a step that validates (`validate`) that it may reject."""


class StepSpec(BaseModel):
    """One step as written."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

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


class RecipeSpec(BaseModel):
    """A recipe as written."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

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
