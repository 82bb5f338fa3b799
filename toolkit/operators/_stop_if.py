"""When to stop asking a model: the option ``stop_if`` of the operators that ask one."""

from __future__ import annotations

from pydantic import Field

from toolkit.operators.base import Config


class StopIf(Config):
    """Stop asking once too many rows come to nothing: all answers are kept, the step is not built, and the exit code is 4."""

    rejected: float = Field(0.5, gt=0, lt=1)
    """Share of the rows so far above which asking stops: rows that failed, that the operator itself rejects, and that a `validate` step
    after it would reject (of these the share is found from the first `after` rows and from as many more each time their number has doubled)."""
    after: int = Field(200, ge=1)
    """Rows that are asked about before that is looked at."""
