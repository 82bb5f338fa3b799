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

from toolkit._version import __version__
from toolkit.common.lazy import lazily

if TYPE_CHECKING:
    from toolkit.api import (
        Applied,
        Result,
        Steps,
        apply,
        check,
        check_sources,
        clean_run,
        describe_source,
        diff,
        explain,
        export,
        generate,
        journal_compact,
        journal_export,
        journal_migrate,
        journal_purge,
        journal_records,
        journal_repair,
        journal_show,
        journal_verify,
        list_runs,
        mine,
        overlaps,
        plan,
        read_run,
        recipe_schema,
        rejects,
        run,
        seeds,
        sign,
        sources_table,
        train,
        verify,
    )
    from toolkit.common.errors import GuardkitError
    from toolkit.guards import load_guard, parse

__all__ = [
    "Applied",
    "GuardkitError",
    "Result",
    "Steps",
    "__version__",
    "apply",
    "check",
    "check_sources",
    "clean_run",
    "describe_source",
    "diff",
    "explain",
    "export",
    "generate",
    "journal_compact",
    "journal_export",
    "journal_migrate",
    "journal_purge",
    "journal_records",
    "journal_repair",
    "journal_show",
    "journal_verify",
    "list_runs",
    "load_guard",
    "mine",
    "overlaps",
    "parse",
    "plan",
    "read_run",
    "recipe_schema",
    "rejects",
    "run",
    "seeds",
    "sign",
    "sources_table",
    "train",
    "verify",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "toolkit.api": "Applied Result Steps apply check check_sources clean_run describe_source diff explain export generate journal_compact "
        "journal_export journal_migrate journal_purge journal_records journal_repair journal_show journal_verify "
        "list_runs mine overlaps plan read_run recipe_schema rejects run seeds sign sources_table train verify",
        "toolkit.common.errors": "GuardkitError",
        "toolkit.guards": "load_guard parse",
    },
)
