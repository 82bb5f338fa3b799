"""The rows of the planted-faults benchmark: released outputs, the template teacher's, and the faulty ones that `plant` makes of both.

Contract: no validator is imported or run here. A released output's labels are the words of its own answers, with source `inferred`, so that it is as
sound as it can be: no benchmark's gold label is held against it. Released outputs lie under the folder `data` (see ``main`` of `faults_bench`).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from plant import Row
from released_text import LABELS, cut

import toolkit
from toolkit.guards import load_guard
from toolkit.records import content_id, load_record, to_polars
from toolkit.sources import split_released_input

GUARD = load_guard("guardreasoner")
MODELS = ("1B", "3B", "8B")


def released(data: Path) -> list[Row]:
    """The released outputs; `origin` is ``released:MODEL/FILE.jsonl/LINE``, lines counted from 1."""
    out = []
    for model in MODELS:
        for file in sorted((data / "guardreasoner" / "predictions" / model).glob("*.jsonl")):
            with file.open(encoding="utf-8") as lines:
                for number, line in enumerate(lines, 1):
                    raw = json.loads(line)
                    prompt, response = split_released_input(raw["prompt"], GUARD)
                    labels = own_labels(raw["predict"])
                    out.append(Row(f"released:{model}/{file.name}/{number}", raw["predict"], prompt, response, labels))
    return out


def own_labels(text: str) -> tuple[str | None, str | None, str | None]:
    """The labels that an output's own answers state; None where they cannot be read or say so."""
    doc = cut(text)
    a, b, c = (word if (word := doc.answer(t)) in LABELS[t] else None for t in range(3))
    return a, b, c


def templates(teachers: int) -> list[Row]:
    """What the template teacher writes on the quickstart seeds with so many seeds of its own; no text twice."""
    steps: list[dict[str, Any]] = [
        {"id": "seeds", "use": "load", "with": {"source": "quickstart"}},
        {"id": "clean", "use": "normalise"},
        *(
            {"id": f"t{n:02}", "use": "synthesise", "from": "clean", "with": {"backend": {"backend": "template", "seed": n}}}
            for n in range(1, teachers + 1)
        ),
    ]
    found: dict[str, Row] = {}
    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder) / "recipe.yaml"
        recipe.write_text(yaml.safe_dump({"recipe": "faults", "seed": 5, "steps": steps}))
        run = toolkit.read_run(toolkit.run(recipe, output=Path(folder) / "run").folder)
        for n in range(1, teachers + 1):
            for block in run[f"t{n:02}"].blocks():
                for r in block.iter_rows(named=True):
                    labels = tuple(r[f"label_{t}"] for t in GUARD.task_names)
                    found.setdefault(r["reasoning"], Row(f"template:{n}/{r['id']}", r["reasoning"], r["prompt"], r["response"], labels))
    return list(found.values())


def frame(rows: Sequence[Row]) -> pl.DataFrame:
    """The rows as `validate` reads them, in their order, with an `id` each."""
    types = to_polars(load_record("reasoned", GUARD.task_names).columns)
    return pl.DataFrame(list(_records(rows, list(types))), schema=types, orient="row")


def _records(rows: Sequence[Row], columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    for n, row in enumerate(rows):
        labels = dict(zip(GUARD.task_names, row.labels, strict=True))
        content = content_id([], row.prompt, row.response)
        record = dict.fromkeys(columns) | {
            "id": f"row-{n:06}",
            "content_id": content,
            "context": [],
            "prompt": row.prompt,
            "response": row.response,
            "categories": [],
            "source": row.origin.partition(":")[0],
            "source_row": n,
            "licence": "CC0-1.0",
            "group": content,
            "reasoning": row.reasoning,
            "teacher": row.origin,
            "reasoning_key": "",
            "reasoning_finish": row.finish,
            **{f"label_{t}": label for t, label in labels.items()},
            **{f"label_{t}_source": "inferred" if label else "absent" for t, label in labels.items()},
        }
        yield record
