"""One of four tasks over a file of rows, as a guardkit recipe of two steps: what a benchmark starts to time the real operators in the real pipeline.

    python tests/benchmarks/data_tasks.py TASK INPUT BENCH OUTPUT PROCS      (parse, dedup, decontam or export)

INPUT holds {id, source, prompt, response, reasoning, gold_request, gold_completion, gold_response}, BENCH {id, text}. OUTPUT gets the kept rows
as parquet with the id of the input; the run itself, with rejects and reasons, stays beside it in OUTPUT.run.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

LABELS = {"label_prompt": "gold_request", "label_refusal": "gold_completion", "label_response": "gold_response"}


def read(rows: Path, *, labels: bool) -> dict[str, Any]:
    """The first step. `labels`: the gold columns are labels; else columns like any other, which nothing is decided by."""
    names = LABELS if labels else {name: name for name in LABELS.values()}
    columns = {
        "id": {"name": "id", "type": "int64"},
        **{n: n for n in ("source", "prompt", "reasoning")},
        "response": {"name": "response", "none": ["None"]},
        **{column: {"name": name, "none": ["None"]} for column, name in names.items()},
    }
    constants = {**(dict.fromkeys((f"{label}_source" for label in LABELS), "human") if labels else {}), "reasoning_finish": "stop"}
    return {"id": "rows", "use": "read", "with": {"files": [str(rows)], "columns": columns, "constants": constants}}


def recipe(task: str, rows: Path, bench: Path) -> dict[str, Any]:
    """The recipe of a task."""
    steps: dict[str, dict[str, Any]] = {
        "parse": {"use": "validate", "with": {"rules": ["answers", "labels", "structure"]}},
        "dedup": {"use": "deduplicate", "with": {"on": "prompt", "methods": ["near"]}},
        "decontam": {"use": "decontaminate", "with": {"against": [str(bench)]}},
        "export": {"use": "shards", "with": {"rows_per_shard": 16384}},
    }
    return {"recipe": task, "steps": [read(rows, labels=task == "parse"), {"id": "kept", **steps[task]}]}


def main(task: str, rows: str, bench: str, output: str, procs: str) -> None:
    """Run a task."""
    os.environ.setdefault("POLARS_MAX_THREADS", procs)
    import json

    import toolkit

    out = Path(output).resolve()
    run = out.with_name(out.name + ".run")
    run.mkdir(parents=True, exist_ok=True)
    file = run / "recipe.yaml"
    file.write_text(json.dumps(recipe(task, Path(rows).resolve(), Path(bench).resolve())))
    toolkit.run(str(file), output=run / task)
    out.mkdir(exist_ok=True)
    for path in sorted((run / task / "kept").glob("shards/data/*.parquet" if task == "export" else "rows/*.parquet")):
        os.link(path, out / path.name)


if __name__ == "__main__":
    main(*sys.argv[1:])
