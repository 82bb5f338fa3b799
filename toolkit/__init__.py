"""guardkit: the dataset construction toolkit for reasoning guard models (distribution and command `guardkit`, import package `toolkit`).

    import toolkit
    result = toolkit.run("quickstart", output="outputs/mine")
    result.summary["scores"]
    kept, rejected = toolkit.apply("normalise", frame)
    guard = toolkit.load_guard("guardreasoner")
    toolkit.parse(guard, "Request: harmful").labels["prompt"]
    rows = next(toolkit.read_run("outputs/quickstart")["seeds"].blocks())
    toolkit.verify("outputs/quickstart")

All that the command line does is here; a file or folder is a text or a `Path`. Importing this package loads nothing heavy: each name loads what it
needs when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit._version import __version__ as __version__
from toolkit.common.lazy import lazily

if TYPE_CHECKING:
    from toolkit.api import *  # noqa: F403
    from toolkit.common.errors import GuardkitError as GuardkitError
    from toolkit.guards import load_guard as load_guard
    from toolkit.guards import parse as parse

__getattr__, __dir__ = lazily(__name__)
