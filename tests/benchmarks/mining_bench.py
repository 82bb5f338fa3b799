"""Mining 2 million generations, beside a straight polars script: ``make bench-mining`` prints the tables and writes docs/benchmarks-mining.md.

Both mine the same pairs from the same files by the same rule (`baseline`: GuardReasoner's released code, each guard alone); guardkit through
mining_task.py: real operators, real pipeline. Generations, baseline and measuring come from the shared bench folder (``--bench``, default
../shared/bench or $GUARDKIT_BENCH), which is not part of the project; without it there is nothing to run. Both take turns, the median counts.
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

import polars as pl
from bench import about, conditions, table
from measure import Measured, run
from rows import ROWS

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent
PAGE = CHECKOUT / "docs" / "benchmarks-mining.md"
MODELS, K = 4, 4
WALL, MEMORY, JSONL = 1.3, 2048, 2.0
"""Goals: wall time beside the baseline's, MB, wall time from JSON Lines beside that from parquet."""
TASKS = {"request": "prompt", "completion": "refusal"}
PARTS = {
    "start": ("libraries, recipe, plan", "polars and pyarrow imported"),
    "digest": ("sha256 of the files, so that they are known again", "one piece of memory digested"),
    "decode, load": ("texts decoded, to be read", "pyarrow alone"),
    "answers": ("three answers and a length of each text, or why there is none", "as the baseline reads them"),
    "load": ("ids joined, labels, lines of the verdict table", ""),
    "write, load": ("verdict table with its reasons, written", "encoded from memory, sha256"),
    "rows, mine": ("verdict table, read by `mine`", "pyarrow alone"),
    "decode, mine": ("what was asked, decoded", "pyarrow alone"),
    "mine": ("rule, votes, measures, agreement; ids of the rows", ""),
    "write, mine": ("hard rows and all others with their reasons, written", "encoded from memory, sha256"),
    "rows, pair": ("verdict table, read by `pair`", "pyarrow alone"),
    "decode, pair": ("texts decoded once more, for those of the pairs", "pyarrow alone"),
    "pair": ("candidates, pairs, their ids", ""),
    "write, pair": ("pairs, written", "encoded from memory, sha256"),
    "write, end": ("files closed", ""),
    "rest": ("all else: steps begun and ended, manifests, fsync", ""),
}
"""By their names in mining_account.py, what the work is for and what its least is."""


def main() -> int:
    """Measure, print, write the page."""
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--bench", type=Path, default=Path(os.environ.get("GUARDKIT_BENCH", CHECKOUT.parent / "shared" / "bench")))
    ap.add_argument("--data", type=Path, help="folder with the generations, kept (default: a temporary one; they take 6 GB)")
    ap.add_argument("--rows", type=int, default=ROWS)
    ap.add_argument("--times", type=int, default=10, help="once more with this many times the guards, from the same files; 1: not")
    ap.add_argument("--turns", type=int, default=3, help="runs of each, of which the median counts")
    more = "once more with all in one thread, to say what each part of the work costs"
    ap.add_argument("--account", action=argparse.BooleanOptionalAction, default=True, help=more)
    ap.add_argument("--no-page", action="store_true", help="print only")
    a = ap.parse_args()
    if not (a.bench / "mining" / "baseline.py").is_file():
        print(f"no {a.bench / 'mining' / 'baseline.py'}: give the shared bench folder with --bench or $GUARDKIT_BENCH", file=sys.stderr)
        return 4
    compileall.compile_dir(CHECKOUT / "toolkit", quiet=1)  # as where it is installed, also under PYTHONDONTWRITEBYTECODE
    with tempfile.TemporaryDirectory() as temporary:
        text = measure(a, (a.data or Path(temporary)).resolve(), Path(temporary))
    print(text)
    if not a.no_page:
        PAGE.write_text(text + "\n", encoding="utf-8")
    return 0


def measure(a: argparse.Namespace, data: Path, work: Path) -> str:
    """The page."""
    if not (data / "mining" / "samples.parquet").exists():
        made = [sys.executable, str(a.bench / "gen.py"), "--out", str(data), "--only", "mining", "--rows", str(a.rows), "--jsonl"]
        subprocess.run(made, check=True)
    data = data / "mining"
    ours = [sys.executable, str(HERE / "mining_task.py"), str(data), "OUT", str(MODELS), str(K)]
    base = [sys.executable, str(a.bench / "mining" / "baseline.py"), "--data", str(data), "--output", "OUT", "--models", str(MODELS), "--k", str(K)]
    commands = {"baseline": base, "guardkit": ours}
    if (data / "model0_0.jsonl").exists():
        commands["guardkit, JSON Lines"] = [*ours, "--form", "jsonl"]
    seen: dict[str, list[Measured]] = {}
    for turn in range(a.turns):
        for name, command in commands.items():
            seen.setdefault(name, []).append(one(name, command, work / f"{name}-{turn}"))
    parts = ["# Benchmarks: mining", about("bench-mining", "mining_bench"), beside(a.rows, seen), same(work / "baseline-0", work / "guardkit-0")]
    if a.account:
        parts.append(account(statistics.median(r.cpu for r in seen["baseline"]), data, work / "account"))
    if a.times > 1:
        parts.append(growth(a, seen["guardkit"], one(f"{a.times} times", [*ours, "--times", str(a.times)], work / "large")))
    return "\n\n".join(parts)


def one(name: str, command: Sequence[str], out: Path) -> Measured:
    """One process, measured."""
    out.mkdir(parents=True)
    found = run([str(out) if word == "OUT" else word for word in command], cwd=out)
    if found.code:
        raise SystemExit(f"{name} failed:\n{found.error[-2000:]}")
    print(f"{name}: {found.wall:.2f} s", file=sys.stderr)
    return found


def beside(rows: int, seen: dict[str, list[Measured]]) -> str:
    """guardkit beside the baseline."""
    mid = {name: [statistics.median(getattr(r, k) for r in runs) for k in ("wall", "cpu", "peak")] for name, runs in seen.items()}
    first, body = mid["baseline"], []
    for name, (wall, cpu, peak) in mid.items():
        rss = peak / 2**20
        goal = {"guardkit": wall / first[0] <= WALL and rss < MEMORY, "guardkit, JSON Lines": wall / mid["guardkit"][0] <= JSONL}.get(name)
        body.append(
            [
                name,
                f"{wall:.1f}",
                f"{wall / first[0]:.2f}",
                f"{cpu:.1f}",
                f"{cpu / first[1]:.2f}",
                f"{rss:,.0f}",
                {None: "", True: "yes", False: "no"}[goal],
            ]
        )
    head = ["", "wall s", "x baseline", "CPU s", "x baseline", "peak MB", "goal met"]
    turns = len(seen["baseline"])
    runs = "one run each" if turns == 1 else f"the median of {turns} runs each, taking turns"
    return (
        f"## {rows * MODELS * K:,} generations\n\n{rows:,} rows, {MODELS} guards, {K} draws of each. Wall and CPU seconds of the whole process and most "
        f"resident memory, of {runs}. Goals: at most {WALL} times the baseline's wall time and under 2 GB; "
        f"from JSON Lines at most {JSONL:.0f} times the run from parquet. guardkit's side includes sha256 of input and output, a verdict table of "
        "every generation with its reasons, rows that are not hard with theirs, and fsync.\n\n" + table(head, body)
    )


def same(baseline: Path, ours: Path) -> str:
    """Whether the pairs are the same."""
    parts = [pl.read_parquet(p).with_columns(guard=pl.lit(p.stem)) for p in sorted(baseline.glob("model*.parquet"))]
    key = ["parent", "guard", "task", "chosen", "rejected"]
    by = pl.concat(parts).select(pl.col("id").cast(pl.String).alias("parent"), "guard", pl.col("task").replace(TASKS), "chosen", "rejected", "weight")
    made = pl.read_parquet(ours / "pairs.parquet").select("parent", pl.col("chosen_model").alias("guard"), "task", "chosen", "rejected", "weight")
    both = by.join(made, on=key)
    weights = both.filter((pl.col("weight") - pl.col("weight_right")).abs() > 1e-9).height
    figures: list[Any] = [by.height, made.height, both.height, by.height - both.height, made.height - both.height, weights]
    head = ["pairs of the baseline", "of guardkit", "in both", "baseline alone", "guardkit alone", "other weight"]
    return (
        "### The same pairs\n\nRow, guard, task, both texts and the weight are compared. The baseline asks for a word behind all three fields before an output "
        "counts; guardkit reads an output that was cut off just behind its last field, and takes that answer for a wrong one.\n\n"
        + table(head, [[f"{n:,}" for n in figures]])
    )


def account(baseline: float, data: Path, out: Path) -> str:
    """What each part of the work costs, and the least that it could."""
    one("account", [sys.executable, str(HERE / "mining_account.py"), str(data), str(out), str(MODELS), str(K)], out)
    found = json.loads((out / "account.json").read_text(encoding="utf-8"))
    taken, least = found["taken"], found["least"]
    assert taken.keys() <= PARTS.keys(), f"of no known part: {taken.keys() - PARTS.keys()}"
    body = [[what, f"{taken.get(k, 0):.1f}", f"{least[k]:.1f}" if k in least else "", how] for k, (what, how) in PARTS.items()]
    all_taken, all_least = sum(taken.values()), sum(least.values())
    body.append(["**all**", f"{all_taken:.1f}", f"{all_least:.1f}", ""])
    return (
        "## What each promise costs\n\nCPU seconds of a further run with all in one thread, and the least that would keep the same promise, "
        "measured beside it with nothing around it; where there is no figure, nothing is counted for the work. The baseline keeps no table, no "
        "reasons and no digest, and decodes each text once: it holds all draws of a row at once, where steps that begin and end by themselves, in "
        "bounded memory, read the texts of the pairs again.\n\n"
        + table(["for", "CPU s", "least", "measured as"], body)
        + f"\n\nThe baseline takes {baseline:.1f} CPU s in this run. With the cores as busy as it keeps them, the least of all comes to "
        f"{all_least / baseline:.2f} times its wall time, {(all_least - least['decode, pair']) / baseline:.2f} times without the texts decoded once more; "
        f"the goal is {WALL}.\n\n{conditions()}"
    )


def growth(a: argparse.Namespace, small: list[Measured], large: Measured) -> str:
    """What more generations cost."""
    n = a.rows * MODELS * K
    wall, peak = (statistics.median(getattr(r, k) for r in small) for k in ("wall", "peak"))
    rss, most, further = peak / 2**20, large.peak / 2**20, (large.peak - peak) / (n * (a.times - 1))
    body = [
        [f"{n:,}", f"{wall:.1f}", "", f"{rss:,.0f}", ""],
        [f"{n * a.times:,}", f"{large.wall:.1f}", f"{large.wall / wall:.1f}", f"{most:,.0f}", f"{further:.0f}"],
    ]
    head = ["generations", "wall s", "x", "peak MB", "bytes a further generation"]
    return f"## {a.times} times the guards\n\nThe same files under {a.times} names each.\n\n" + table(head, body)


if __name__ == "__main__":
    sys.exit(main())
