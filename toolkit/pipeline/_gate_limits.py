"""What a gate allows: how far a figure of a run may be worse than that of the baseline.

A figure is called by its kind and by what it is of, ``valid / no_conclusion`` or ``scores / hs-dpo / category privacy / prompt``. Each kind has a
limit; an exception gives another one to the figures whose name it matches (``*`` stands for anything), and the last one that does counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from toolkit.common.errors import InputError
from toolkit.common.yamlfile import YamlFile, load_yaml
from toolkit.evaluation import MARGIN, check_policies

Kind = Literal["f1", "fpr", "kept", "rejected", "hard", "label", "rows"]
Points = float | None


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class Limits(_Strict):
    """A limit for each kind of figure, in points (of `rows` in percent); null: such figures are not looked at."""

    f1: Points = Field(MARGIN, gt=0, le=100)
    """Points that F1 may fall by."""
    fpr: Points = Field(MARGIN, gt=0, le=100)
    """Points that the false-positive rate may rise by."""
    kept: Points = Field(5.0, gt=0, le=100)
    """Points that the share of a step's rows that it keeps may fall by."""
    rejected: Points = Field(5.0, gt=0, le=100)
    """Points that the share of a step's rows that it rejects for one reason may rise by."""
    hard: Points = Field(10.0, gt=0, le=100)
    """Points by which the share of hard rows may change."""
    label: Points = Field(5.0, gt=0, le=100)
    """Points by which the share of rows with one label may change."""
    rows: Points = Field(10.0, gt=0, le=100)
    """Percent by which the rows of a step may become fewer."""


class Exception_(_Strict):  # noqa: N801 (an exception to a rule)
    """Another limit for some figures."""

    figure: Kind | None = None
    """Their kind; none: of each kind."""
    of: str = "*"
    """What they are of; ``*`` stands for anything."""
    limit: Points = Field(gt=0, le=100)
    """The limit, as in `Limits`; null: they are not looked at."""


class GateLimits(_Strict):
    """What a gate allows."""

    limits: Limits = Limits()
    exceptions: list[Exception_] = Field(default=[], alias="except")
    policy: str = "clean"
    """How a verdict that could not be read counts: clean, drop, fail-closed."""
    combine: Literal["majority", "mean"] | None = None
    """How several draws become one verdict, where the two evaluations do not do it alike."""
    gone: Literal["fail", "pass"] = "fail"
    """What a figure of the baseline comes to that the run lacks."""
    fail_on: Literal["fail", "unless_pass"] = "fail"
    """Which verdict fails the gate: fail, or any but pass."""

    @field_validator("policy")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            return check_policies([value])[0]
        except InputError as e:
            raise ValueError(f"{e.message}; {e.hint}") from None

    def limit(self, figure: str, of: str) -> float | None:
        """The limit of a figure; None: it is not looked at."""
        found: float | None = getattr(self.limits, figure)
        for one in self.exceptions:
            if one.figure in (None, figure) and fnmatchcase(of, one.of):
                found = one.limit
        return found


def gate_limits(given: str | Path | Mapping[str, Any] | None) -> GateLimits:
    """The limits of a file, of a mapping as in one, or those by default.

    Raises:
        InputError: the file cannot be read; InputErrors: its faults, each with its place.
    """
    if given is None:
        return GateLimits()
    file = load_yaml(Path(given)) if isinstance(given, str | Path) else YamlFile("limits", dict(given))
    return GateLimits() if file.data is None else file.model(GateLimits)
