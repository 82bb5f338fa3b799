"""All that the command line does, in Python. Every function raises `GuardkitError` for what a user can mend; nothing here prints.

`toolkit` itself offers the names that most programs need. Nothing is loaded before it is used.
"""

from typing import TYPE_CHECKING

from toolkit.common.lazy import lazily

if TYPE_CHECKING:
    from toolkit.api._apply import Applied, apply
    from toolkit.api._diff import diff, rejects
    from toolkit.api._export import export
    from toolkit.api._generate import generate, too_many
    from toolkit.api._journal import (
        EXPORT_COLUMNS,
        journal_compact,
        journal_export,
        journal_migrate,
        journal_purge,
        journal_records,
        journal_repair,
        journal_show,
        journal_unread,
        journal_verify,
    )
    from toolkit.api._look import Steps, check_sources, clean_run, describe_source, list_runs, read_run, recipe_schema, sources_table
    from toolkit.api._mine import mine
    from toolkit.api._overlaps import overlaps
    from toolkit.api._plan import plan
    from toolkit.api._recipes import check, explain
    from toolkit.api._run import Result, run
    from toolkit.api._seeds import seeds
    from toolkit.api._train import train, train_file
    from toolkit.api._verify import sign, verify

__all__ = [
    "EXPORT_COLUMNS",
    "Applied",
    "Result",
    "Steps",
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
    "journal_unread",
    "journal_verify",
    "list_runs",
    "mine",
    "overlaps",
    "plan",
    "read_run",
    "recipe_schema",
    "rejects",
    "run",
    "seeds",
    "sign",
    "sources_table",
    "too_many",
    "train",
    "train_file",
    "verify",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "_apply": "Applied apply",
        "_diff": "diff rejects",
        "_export": "export",
        "_generate": "generate too_many",
        "_journal": "EXPORT_COLUMNS journal_compact journal_export journal_migrate journal_purge journal_records journal_repair journal_show "
        "journal_unread journal_verify",
        "_look": "Steps check_sources clean_run describe_source list_runs read_run recipe_schema sources_table",
        "_mine": "mine",
        "_overlaps": "overlaps",
        "_plan": "plan",
        "_recipes": "check explain",
        "_run": "Result run",
        "_seeds": "seeds",
        "_train": "train train_file",
        "_verify": "sign verify",
    },
)
