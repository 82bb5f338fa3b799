"""Start-up, the data part's speed and its memory, as ratios measured in one run. ``make bench`` prints the tables and writes docs/benchmarks.md.

Every measured thing runs in a process of its own; wall time depends on the machine and on what else it does, so each figure is beside a yardstick of the same
run: an empty Python start, and a hand-written copy of the same rows to parquet (plain.py). Row counts are GuardReasonerTrain's and ten times that.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from measure import MB, Measured, run
from rows import ROWS, SOURCE, write_rows

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent
PAGE = CHECKOUT / "docs" / "benchmarks.md"
GUARDKIT = [sys.executable, "-c", "from toolkit.cli import main; main()"]
ENV = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
STARTS = {
    "an empty Python": ([sys.executable, "-c", "pass"], None),
    "import toolkit": ([sys.executable, "-c", "import toolkit"], 0.1),
    "guardkit --help": ([*GUARDKIT, "--help"], 0.3),
}
"""What is started, and how many seconds over an empty start it may take (the project's goals)."""
RECIPE = """
recipe: bench
seed: 1
steps:
  - {id: seeds, use: load, with: {source: synthetic.yaml, files: [rows.jsonl]}}
  - {id: clean, use: normalise}
  - {id: unique, use: deduplicate}
  - {id: parts, use: split, with: {parts: {train: 0.9, test: 0.1}}}
  - {id: reasoning, use: synthesise, with: {backend: {backend: template}}}
  - {id: valid, use: validate}
  - {id: rendered, use: render_sft}
  - {id: shards, use: shards}
"""


def main() -> int:
    """Measure, print, write the page."""
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--rows", type=int, default=ROWS)
    ap.add_argument("--times", type=int, default=10, help="memory is measured again with this many times the rows; 0: it is not")
    ap.add_argument("--limit", type=float, default=1800, help="seconds after which the large run is stopped")
    ap.add_argument("--starts", type=int, default=10, help="starts of each command, of which the median counts")
    ap.add_argument("--work", type=Path, help="folder for rows and runs (default: a temporary one; ten times the rows take 7 GB)")
    ap.add_argument("--no-page", action="store_true", help="print only")
    a = ap.parse_args()
    with tempfile.TemporaryDirectory(dir=a.work) as folder:
        work = Path(folder)
        parts = [starts(a.starts, work), *data_part(work, a.rows, a.times, a.limit)]
    text = "\n\n".join(parts)
    print(text)
    if not a.no_page:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(f"# Benchmarks\n\n{about()}\n\n{text}\n", encoding="utf-8")
    return 0


def about(target: str = "bench", script: str = "bench") -> str:
    """Where and with what this was measured."""
    return (
        f"`make {target}` prints these tables and writes this page; `python tests/benchmarks/{script}.py --help` says what may be set. "
        f"Only the ratios travel to another machine.\n\n{conditions()}"
    )


def conditions() -> str:
    """When, on what, at which load and with which packages."""
    cpu = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "unknown CPU"
    )
    packages = ", ".join(f"{p} {version(p)}" for p in ("polars", "pyarrow", "pydantic", "typer"))
    return f"Measured on {time.strftime('%Y-%m-%d')}: {os.cpu_count()} CPUs ({cpu}), load {os.getloadavg()[1]:.1f}, Python {platform.python_version()}, {packages}."


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A markdown table that reads well unrendered too."""
    widths = [max(len(r[i]) for r in (head, *body)) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))) + " |"

    rule = "| " + " | ".join("-" * w if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(widths)) + " |"
    return "\n".join([line(head), rule, *map(line, body)])


# Start-up ---------------------------------------------------------------------------------------------------------------


def starts(times: int, work: Path) -> str:
    """Median seconds of each start, the starts taking turns."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in STARTS}
    for turn in range(times + 1):
        for name, (command, _) in STARTS.items():
            one = timed(command, work)
            if turn:  # the first warms the disk's cache and the compiled files
                seen[name].append(one)
    medians = {name: (statistics.median(w for w, _ in s), statistics.median(c for _, c in s)) for name, s in seen.items()}
    empty, empty_cpu = next(iter(medians.values()))
    body = []
    for name, (wall, cpu) in medians.items():
        goal, over = STARTS[name][1], wall - empty
        against = [f"{over:.3f}", f"{goal:.1f}", "yes" if over <= goal else "no"] if goal else [""] * 3
        body.append([name, f"{wall:.3f}", *against, f"{wall / empty:.1f}", f"{cpu - empty_cpu:.3f}" if goal else ""])
    head = ["start", "median s", "over empty, s", "goal, s", "met", "x empty", "CPU over empty, s"]
    return f"## Start-up\n\nMedian of {times} starts each, taking turns.\n\n{table(head, body)}"


def timed(command: Sequence[str], work: Path) -> tuple[float, float]:
    """Wall and CPU seconds of one start."""
    began = time.perf_counter()
    p = subprocess.Popen(command, cwd=work, env=ENV, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(p.pid, 0)
    p.returncode = os.waitstatus_to_exitcode(status)
    if p.returncode:
        raise SystemExit(f"exit {p.returncode}: {' '.join(command)}")
    return time.perf_counter() - began, used.ru_utime + used.ru_stime


# The data part ----------------------------------------------------------------------------------------------------------


def data_part(work: Path, rows: int, times: int, limit: float) -> list[str]:
    """Speed by step at `rows`, memory at `rows` and at `times` as many."""
    plain, one = measured(work, rows, None)
    out = [speed(rows, plain, one)]
    sizes = [(rows, plain, one)]
    if times:
        sizes.append((rows * times, *measured(work, rows * times, limit)))
    return [*out, memory(sizes)]


def measured(work: Path, rows: int, limit: float | None) -> tuple[Measured, Measured]:
    """The yardstick and the data part on so many rows."""
    folder = work / str(rows)
    folder.mkdir()
    (folder / "synthetic.yaml").write_text(SOURCE)
    (folder / "recipe.yaml").write_text(RECIPE)
    write_rows(folder / "rows.jsonl", rows)
    plain = run([sys.executable, str(HERE / "plain.py"), "rows.jsonl", "plain.parquet"], cwd=folder)
    whole = run([*GUARDKIT, "run", "recipe.yaml", "--output", "run"], cwd=folder, env=ENV, limit=limit)
    for one in (plain, whole):
        if one.code and not (limit and one.wall >= limit):
            raise SystemExit(f"exit {one.code}:\n{one.error}")
    return plain, whole


def steps_of(one: Measured) -> list[tuple[str, float, int]]:
    """Each step with its seconds and most memory, from the lines ``[3/7] unique: ...``; a long step writes several."""
    out: dict[str, tuple[float, int]] = {}
    for text, seconds, peak in one.phases:
        if text.startswith("["):
            name = text.partition("] ")[2].partition(":")[0]
            before = out.get(name, (0.0, 0))
            out[name] = before[0] + seconds, max(before[1], peak)
    return [(name, seconds, peak) for name, (seconds, peak) in out.items()]


def speed(rows: int, plain: Measured, one: Measured) -> str:
    """Table of the steps."""
    body = [
        [name + (" (and the start)" if i == 0 else ""), f"{s:.1f}", f"{rows / s:,.0f}", f"{s / plain.wall:.2f}", f"{peak / MB:,.0f}"]
        for i, (name, s, peak) in enumerate(steps_of(one))
    ]
    body.append(["all", f"{one.wall:.1f}", f"{rows / one.wall:,.0f}", f"{one.wall / plain.wall:.2f}", f"{one.peak / MB:,.0f}"])
    body.append(["a plain copy to parquet", f"{plain.wall:.1f}", f"{rows / plain.wall:,.0f}", "1.00", f"{plain.peak / MB:,.0f}"])
    words = (
        f"{rows:,} rows of JSON Lines (texts of about 450 and 1,000 characters) through load, normalise, deduplicate, split, synthesise (template teacher), validate, "
        f"render and shards: {one.cpu:.0f} s of CPU time, {one.cpu / plain.cpu:.1f} times the plain copy's. Steps that run as one query share a line."
    )
    return f"## The data part: rows per second\n\n{words}\n\n{table(['step', 'wall s', 'rows/s', 'x plain copy', 'peak MB'], body)}"


def memory(sizes: Sequence[tuple[int, Measured, Measured]]) -> str:
    """Table of the peaks."""
    base = sizes[0][2].peak
    body = []
    for rows, plain, one in sizes:
        stopped = " (stopped at its limit)" if one.code else ""
        body.append([f"{rows:,}{stopped}", f"{one.peak / MB:,.0f}", f"{one.peak / base:.2f}", f"{one.peak / plain.peak:.2f}", f"{one.wall:.0f}"])
    words = "Most resident memory of the process that ran the whole data part."
    out = f"## The data part: memory\n\n{words}\n\n{table(['rows', 'peak MB', f'x {sizes[0][0]:,} rows', 'x plain copy', 'wall s'], body)}"
    if len(sizes) > 1:
        rows, _, one = sizes[-1]
        per_row = (one.peak - base) / (rows - sizes[0][0])
        steps = [[name, f"{s:.1f}", f"{peak / MB:,.0f}"] for name, s, peak in steps_of(one)]
        out += f"\n\nGrowth: {per_row:,.0f} bytes for each further row. By step at {rows:,} rows:\n\n{table(['step', 'wall s', 'peak MB'], steps)}"
    return out


if __name__ == "__main__":
    sys.exit(main())
