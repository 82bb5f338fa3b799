"""Small DataFrames of records for tests: what is not given is filled with sound values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import yaml

import toolkit
from toolkit.guards import load_guard
from toolkit.pipeline import StepFolder
from toolkit.records import content_id, load_record, row_id, to_polars

TASKS = load_guard("guardreasoner").task_names


def _frame(record: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=to_polars(load_record(record, TASKS).columns), orient="row")


def seed(n: int = 0, **given: Any) -> dict[str, Any]:
    """One seed; labels as ``prompt_label="harmful"`` or the whole column name."""
    prompt, response, context = given.get("prompt", f"question {n}"), given.get("response"), given.get("context", [])
    content = content_id([(m["role"], m["content"]) for m in context], prompt, response)
    row: dict[str, Any] = {
        "content_id": content,
        "context": context,
        "prompt": prompt,
        "response": response,
        "categories": [],
        "votes": [],
        "source": "here",
        "source_row": n,
        "licence": "CC0-1.0",
        "language": None,
        "group": content_id([], prompt, None),
        "split": None,
    }
    for task in TASKS:
        row[f"label_{task}"] = None
        row[f"label_{task}_source"] = "human" if given.get(f"label_{task}") else "absent"
    row |= given
    row.setdefault("id", row_id(row["source"], content, n))
    return row


def seeds(*rows: Mapping[str, Any]) -> pl.DataFrame:
    """Seeds from a few values each."""
    return _frame("seed", [seed(n, **row) for n, row in enumerate(rows)])


def verdict(parent: Mapping[str, Any], guard: str = "a", draw: int = 0, output: str | None = "x", **verdicts: str | None) -> dict[str, Any]:
    """One generation of a seed with its verdicts by task; a task that is not named could not be read."""
    row = dict(parent) | {
        "id": f"{parent['id']}:{guard}:{draw}",
        "parent": parent["id"],
        "guard_model": guard,
        "model_id": guard,
        "draw": draw,
        "output": output,
        "output_key": "",
        "finish": "stop",
        "error": None,
    }
    for task in TASKS:
        row[f"verdict_{task}"] = verdicts.get(task)
        row[f"unread_{task}"] = None if verdicts.get(task) else "field_missing"
    return row


def verdicts(*rows: Mapping[str, Any]) -> pl.DataFrame:
    """Generations with verdicts."""
    return _frame("verdict", [dict(r) for r in rows])


def reasons(rest: pl.DataFrame) -> dict[str, int]:
    """How many rows were not kept, by reason."""
    return dict(sorted(rest["_reason"].value_counts().iter_rows())) if rest.height else {}


def run_steps(folder: Path, steps: list[dict[str, Any]], name: str = "small", **options: Any) -> dict[str, StepFolder]:
    """Run a recipe of these steps in a folder; its finished steps."""
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump({"recipe": name, "seed": 5, "steps": steps}, sort_keys=False))
    return toolkit.read_run(toolkit.run(file, output=folder / "out" / "run", **options).folder)


def rows_of(step: StepFolder) -> pl.DataFrame:
    """All kept rows of a step."""
    return pl.concat(list(step.blocks()))
