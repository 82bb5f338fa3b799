"""The option `checkpoint`: how often a training writes down where it is."""

from __future__ import annotations

import re
from typing import Any

from pydantic import ConfigDict, Field, GetJsonSchemaHandler, model_validator

from toolkit.common.documented import Documented

_TIME = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(min|minutes?|h|hours?)\s*")


class Checkpoint(Documented):
    """When checkpoints are written, and how many are held. In short: a number of updates, or a time as `30 min` or `2 h`."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)

    updates: int | None = Field(None, ge=1)
    """Updates between two."""
    minutes: float | None = Field(None, gt=0)
    """Minutes between two; with `updates`, whichever is over first."""
    keep: int = Field(2, ge=1)
    """How many are held at a time; each is as large as the model and its optimizer's state."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            return {"updates": value}
        if isinstance(value, str):
            found = _TIME.fullmatch(value)
            if found is None:
                raise ValueError(f"{value!r} is neither a number of updates nor a time such as 30 min or 2 h")
            return {"minutes": float(found[1]) * (60 if found[2].startswith("h") else 1)}
        return value

    @model_validator(mode="after")
    def _some(self) -> Checkpoint:
        if self.updates is None and self.minutes is None:
            raise ValueError("checkpoint needs updates or minutes")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        whole = super().__get_pydantic_json_schema__(core_schema, handler)
        short = {"type": "string", "pattern": f"^{_TIME.pattern}$"}
        return {"anyOf": [{"type": "integer", "minimum": 1}, short, whole]}
