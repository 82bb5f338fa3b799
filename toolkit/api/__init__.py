"""All that the command line does, in Python. Every function raises `GuardkitError` for what a user can mend; nothing here prints.

`toolkit` itself offers the names that most programs need, without loading anything before they are used.
"""

from toolkit.api._apply import apply
from toolkit.api._generate import generate
from toolkit.api._look import check_sources, clean_run, describe_source, list_runs, read_run, recipe_schema, sources_table
from toolkit.api._mine import mine
from toolkit.api._recipes import check, explain, plan
from toolkit.api._run import Result, run
from toolkit.api._train import train_file

__all__ = [
    "Result",
    "apply",
    "check",
    "check_sources",
    "clean_run",
    "describe_source",
    "explain",
    "generate",
    "list_runs",
    "mine",
    "plan",
    "read_run",
    "recipe_schema",
    "run",
    "sources_table",
    "train_file",
]
