"""The data path at GuardReasonerTrain's size and ten times that, beside a straight polars script: ``make bench-data`` prints the tables and writes
docs/benchmarks-data.md.

Four tasks over synthetic rows with planted faults (parse and validate, exact and near de-duplication, 13-gram decontamination, export), each started as
a process of its own through data_tasks.py: real operators, real pipeline. Rows, faults, baseline, measuring and the count of what was found come from the
shared bench folder (``--bench``, default ../shared/bench or $GUARDKIT_BENCH), which is not part of the project; without it there is nothing to
run. Wall time depends on the machine: only the ratios of one run travel. Both take turns, the median counts.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import about, table
from rows import ROWS

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent
PAGE = CHECKOUT / "docs" / "benchmarks-data.md"
TASKS = ("parse", "dedup", "decontam", "export")
GOALS: dict[str, Any] = {"wall": 1.3, "memory": {"parse": 2.0, "decontam": 2.0, "export": 2.0, "dedup": 4.0}}
"""Issue 4: at most 1.3 times the baseline's wall time and less memory than it; at ten times the rows under 2 GB, near-duplicates under 4 GB."""
PROJECT = f"{sys.executable} {HERE / 'data_tasks.py'} {{task}} {{input}} {{bench}} {{output}} {{procs}}"


def main() -> int:
    """Measure, print, write the page."""
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--bench", type=Path, default=Path(os.environ.get("GUARDKIT_BENCH", CHECKOUT.parent / "shared" / "bench")))
    ap.add_argument("--rows", type=int, default=ROWS)
    ap.add_argument("--times", type=int, default=10, help="once more with this many times the rows; 0: not")
    ap.add_argument("--turns", type=int, default=3, help="runs of each at the smaller size, of which the median counts")
    ap.add_argument("--work", type=Path, help="folder for the rows, kept (default: a temporary one; ten times the rows take 10 GB)")
    ap.add_argument("--no-page", action="store_true", help="print only")
    a = ap.parse_args()
    if not (a.bench / "cpu_bench.py").is_file():
        print(f"no {a.bench / 'cpu_bench.py'}: give the shared bench folder with --bench or $GUARDKIT_BENCH", file=sys.stderr)
        return 4
    compileall.compile_dir(CHECKOUT / "toolkit", quiet=1)  # as where it is installed, also under PYTHONDONTWRITEBYTECODE
    with tempfile.TemporaryDirectory() as temporary:
        work = a.work or Path(temporary)
        text = measure(a, work)
    print(text)
    if not a.no_page:
        PAGE.write_text(text + "\n", encoding="utf-8")
    return 0


def measure(a: argparse.Namespace, work: Path) -> str:
    """The page."""
    small = rows_of(a.bench, work / str(a.rows), a.rows)
    seen: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for _ in range(a.turns):
        for task in TASKS:
            for tool in ("baseline", "project"):
                seen.setdefault((tool, task), []).append(one(a.bench, small, tool, task))
    parts = ["# Benchmarks: the data path", about("bench-data", "data_bench"), beside(a, seen)]
    if a.times:
        large = rows_of(a.bench, work / str(a.rows * a.times), a.rows * a.times)
        parts.append(growth(a, {t: median(seen["project", t]) for t in TASKS}, {t: one(a.bench, large, "project", t) for t in TASKS}))
    return "\n\n".join(parts)


def rows_of(bench: Path, folder: Path, n: int) -> Path:
    """Synthetic rows with planted faults."""
    if not (folder / "truth.json").exists():
        subprocess.run([sys.executable, str(bench / "gen.py"), "--out", str(folder), "--only", "corpus", "--rows", str(n)], check=True)
    return folder


def one(bench: Path, data: Path, tool: str, task: str) -> dict[str, Any]:
    """One process, measured; and what it found of what was planted."""
    with tempfile.TemporaryDirectory() as out:
        results = Path(out) / "results.jsonl"
        command = [sys.executable, str(bench / "cpu_bench.py"), "--data", str(data), "--tools", tool, "--tasks", task, "--project", PROJECT]
        # The variant of the baseline that carries every column through, as guardkit does.
        command += ["--limit", "3600", "--out", str(results), "--log", out, *(["--variant", "full"] if task == "parse" else [])]
        # cpu_bench makes the corpus in eight files for other tools where the folder is not there; nobody here reads it.
        (data / "shards").mkdir(exist_ok=True)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        found = json.loads(results.read_text())
        if found["rc"] != 0:
            raise SystemExit(f"{tool} {task} failed:\n{(Path(out) / f'cpu-{tool}-{task}.log').read_text()[-2000:]}")
    print(f"{tool} {task} {found['n']:,}: {found['wall']:.2f} s", file=sys.stderr)
    return dict(found)


def median(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A run with the median wall, CPU and memory of all."""
    return {**runs[0], **{k: statistics.median(r[k] for r in runs) for k in ("wall", "cpu", "rss_mb")}}


def beside(a: argparse.Namespace, seen: dict[tuple[str, str], list[dict[str, Any]]]) -> str:
    """guardkit beside the baseline."""
    body, found = [], []
    for task in TASKS:
        base, ours = median(seen["baseline", task]), median(seen["project", task])
        ratio, memory = ours["wall"] / base["wall"], ours["rss_mb"] / base["rss_mb"]
        met = "yes" if ratio <= GOALS["wall"] and memory < 1 else "no"
        body.append([task, f"{base['wall']:.2f}", f"{ours['wall']:.2f}", f"{ratio:.2f}", f"{ours['cpu'] / base['cpu']:.2f}", f"{base['rss_mb']:,.0f}",
                     f"{ours['rss_mb']:,.0f}", f"{memory:.2f}", met])  # fmt: skip
        for tool, r in (("baseline", base), ("guardkit", ours)):
            missed = r.get("missed", f"{r.get('missed_exact', '')} exact, {r.get('missed_near', '')} near" if task == "dedup" else "")
            if task != "export":
                found.append([task, tool, f"{r['planted']:,}", str(missed), str(r["wrongly"]), f"{r['rows']:,}"])
    first = table(["task", "baseline s", "guardkit s", "x wall", "x CPU", "baseline MB", "guardkit MB", "x memory", "goal met"], body)
    second = table(["task", "", "planted", "missed", "wrongly removed", "rows kept"], found)
    return (
        f"## {a.rows:,} rows\n\nWall and CPU seconds of the whole process from start to exit, median of {a.turns} runs each, the two taking turns; most resident "
        f"memory. Goal: at most {GOALS['wall']} times the baseline's wall time, less memory. guardkit's side includes reading with every fault of a line "
        f"found, rejects with reasons, sha256 of input and output, fsync and the manifest, none of which the baseline does.\n\n{first}\n\n"
        f"What was found of what was planted:\n\n{second}"
    )


def growth(a: argparse.Namespace, small: dict[str, dict[str, Any]], large: dict[str, dict[str, Any]]) -> str:
    """guardkit at ten times the rows."""
    body = []
    for task in TASKS:
        s, r, goal = small[task], large[task], GOALS["memory"][task]
        grown = (r["rss_mb"] - s["rss_mb"]) * 2**20 / (r["n"] - s["n"])
        met = "yes" if r["rss_mb"] < goal * 1024 else "no"
        missed = r.get("missed", f"{r.get('missed_exact', '')} exact, {r.get('missed_near', '')} near" if task == "dedup" else "")
        body.append([task, f"{r['wall']:.1f}", f"{r['wall'] / s['wall']:.1f}", f"{r['rss_mb']:,.0f}", f"{grown:,.0f}", f"< {goal:g} GB", met,
                     f"{r.get('planted', 0):,}", str(missed), str(r.get("wrongly", ""))])  # fmt: skip
    head = ["task", "wall s", f"x {a.rows:,} rows", "MB", "bytes a further row", "goal", "met", "planted", "missed", "wrongly"]
    return f"## {a.rows * a.times:,} rows\n\nguardkit alone; the baseline collects all rows and needs 10 GB here.\n\n{table(head, body)}"


if __name__ == "__main__":
    sys.exit(main())
