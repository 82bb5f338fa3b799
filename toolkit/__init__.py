"""guardkit: the dataset construction toolkit for reasoning guard models (distribution and command `guardkit`, import package `toolkit`).

    import toolkit
    result = toolkit.run("quickstart", output="outputs/mine")
    result.summary["scores"]
    kept, rejected = toolkit.apply("normalise", frame)
    guard = toolkit.load_guard("guardreasoner")
    toolkit.parse(guard, "Request: harmful").labels["prompt"]
    rows = next(toolkit.read_run("outputs/quickstart")["seeds"].blocks())

Importing this package loads nothing heavy: each name loads what it needs when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit._version import __version__
from toolkit.common.lazy import lazily

if TYPE_CHECKING:
    from toolkit.api import Result, apply, check, explain, generate, mine, plan, read_run, run
    from toolkit.common.errors import GuardkitError
    from toolkit.guards import load_guard, parse
    from toolkit.shards import verify

__all__ = [
    "GuardkitError",
    "Result",
    "__version__",
    "apply",
    "check",
    "explain",
    "generate",
    "load_guard",
    "mine",
    "parse",
    "plan",
    "read_run",
    "run",
    "verify",
]

__getattr__ = lazily(
    __name__,
    {
        "toolkit.api": "Result apply check explain generate mine plan read_run run",
        "toolkit.common.errors": "GuardkitError",
        "toolkit.guards": "load_guard parse",
        "toolkit.shards": "verify",
    },
)
