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

from typing import TYPE_CHECKING, Any

from toolkit._version import __version__

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

_HOME = {"GuardkitError": "toolkit.common.errors", "load_guard": "toolkit.guards", "parse": "toolkit.guards", "verify": "toolkit.shards"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME.get(name, "toolkit.api")), name)
