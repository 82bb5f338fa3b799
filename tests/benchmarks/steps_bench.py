"""What `validate` takes a row in each profile, and what `guardkit run --processes` makes of it. ``make bench-steps`` prints the table and writes
docs/benchmarks-steps.md.

The rows are the template teacher's, in a step that all runs go on from; each figure is the wall time of a run of that one step, the least of several, workers
and their start included, beside a step that only reads and writes the same rows (`select` with a condition that holds for all).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import CHECKOUT, about, table
from rows import SOURCE, write_rows

import toolkit

PAGE = CHECKOUT / "docs" / "benchmarks-steps.md"
STEPS: dict[str, dict[str, Any]] = {
    "select (reads and writes)": {"use": "select", "with": {"where_not": {"prompt": ""}}},
    "validate, basic": {"use": "validate", "with": {"profile": "basic"}},
    "validate, standard": {"use": "validate", "with": {"profile": "standard"}},
    "validate, strict": {"use": "validate", "with": {"profile": "strict"}},
}


def main() -> int:
    """Measure, print, write the page."""
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--rows", type=int, default=20_000)
    ap.add_argument("--times", type=int, default=3, help="runs of each, of which the fastest counts")
    ap.add_argument("--processes", type=int, default=2)
    ap.add_argument("--no-page", action="store_true", help="print only")
    a = ap.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "synthetic.yaml").write_text(SOURCE)
        write_rows(work / "rows.jsonl", a.rows)
        rows = written(work)
        seconds = {(name, n): min(one(work, step, n) for _ in range(a.times)) for name, step in STEPS.items() for n in (1, a.processes)}
    base = seconds[next(iter(STEPS)), 1]
    body = []
    for name in STEPS:
        alone, shared = seconds[name, 1], seconds[name, a.processes]
        body.append([name, f"{1e6 * alone / rows:.1f}", f"{1e6 * shared / rows:.1f}", f"{alone / shared:.2f}", f"{alone / base:.1f}"])
    head = ["step", "µs a row", f"with --processes {a.processes}", "times as fast", "x the first"]
    text = f"{rows:,} rows of the template teacher, the fastest of {a.times} runs each.\n\n{table(head, body)}"
    print(text)
    if not a.no_page:
        PAGE.write_text(f"# Row steps and processes\n\n{about('bench-steps', 'steps_bench')}\n\n{text}\n", encoding="utf-8")
    return 0


BASE = [
    {"id": "seeds", "use": "load", "with": {"source": "synthetic.yaml", "files": ["rows.jsonl"]}},
    {"id": "reasoning", "use": "synthesise", "with": {"backend": {"backend": "template"}}},
]


def written(work: Path) -> int:
    """The rows that the steps are tried on; how many."""
    recipe(work, {"use": "select"})
    toolkit.run(work / "recipe.yaml", output=work / "run", until="reasoning")
    rows = toolkit.read_run(work / "run")["reasoning"].rows
    assert rows is not None
    return rows


def one(work: Path, step: dict[str, Any], processes: int) -> float:
    """Seconds of a step over those rows, with all that a run takes beside it."""
    recipe(work, step)
    began = time.perf_counter()
    toolkit.run(work / "recipe.yaml", output=work / "run", only="step", force=True, processes=processes)
    return time.perf_counter() - began


def recipe(work: Path, step: dict[str, Any]) -> None:
    """The recipe whose last step is that one."""
    (work / "recipe.yaml").write_text(json.dumps({"recipe": "steps", "seed": 1, "steps": [*BASE, {"id": "step", **step}]}))


if __name__ == "__main__":
    sys.exit(main())
