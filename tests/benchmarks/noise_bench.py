"""Flipped labels: how well the operator `noise` ranks them, by real votes.

    python tests/benchmarks/noise_bench.py                 # prints the tables
    python tests/benchmarks/noise_bench.py --docs          # and writes them into docs/label-noise.md

Data: what the three released GuardReasoner models wrote on four benchmark files (1,147 inputs, their gold labels), from $GUARDKIT_DATA or
../shared/data. For each seed 5 % of the gold labels of each task are flipped at random in copies of the files, and a recipe (load_predictions,
verdicts, noise) scores every label. Precision at k: the share of flipped labels among the first k; recall at k: the share of the flipped labels
found there. Where rows tie at place k, both are the mean over all orders of the tied rows, so that no figure depends on luck.

The other labels count as right. They are not: the true data has errors of its own, which a good ranking puts on top, too.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import polars as pl
import yaml

import toolkit
from toolkit.guards import load_guard, parse

ROOT = Path(__file__).resolve().parent.parent.parent
FILES = {"prompt": ["AegisSafetyTest", "HarmBenchPrompt", "SimpleSafetyTests"], "refusal": ["XSTestResponseRefusal"]}
MODELS = ["1B", "3B", "8B"]
SHARE = 0.05
FIRST_SEED = 1000
"""The first of the seeds; scores were chosen on others (0 to 29)."""
MARK = "<!-- made by tests/benchmarks/noise_bench.py -->"


def read(data: Path, task: str) -> dict[str, list[dict[str, Any]]]:
    """The released lines of a task by model, with the gold label as a word."""
    guard = load_guard("guardreasoner")
    out: dict[str, list[dict[str, Any]]] = {}
    for model in MODELS:
        paths = [data / "guardreasoner" / "predictions" / model / f"{name}.jsonl" for name in FILES[task]]
        lines = [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
        for line in lines:
            label = line["label"].strip()
            line["label"] = label if label in guard.task(task).labels else parse(guard, label).labels[task]
        out[model] = lines
    assert all([x["prompt"] for x in lines] == [x["prompt"] for x in out[MODELS[0]]] for lines in out.values())
    return out


def flipped(lines: Sequence[dict[str, Any]], task: str, seed: int | None) -> dict[int, str]:
    """New label by place, for 5 % of the lines; none where `seed` is None."""
    words = load_guard("guardreasoner").task(task).labels
    places = random.Random(f"{task}{seed}").sample(range(len(lines)), round(SHARE * len(lines))) if seed is not None else []
    return {i: next(w for w in words if w != lines[i]["label"]) for i in sorted(places)}


def recipe(folder: Path) -> Path:
    """The recipe whose files `run` writes."""
    steps: list[dict[str, Any]] = []
    for task in FILES:
        files = {m: f"{m}-{task}.jsonl" for m in MODELS}
        steps += [
            {"id": f"predictions-{task}", "use": "load_predictions", "with": {"files": files, "task": task}},
            {"id": f"verdicts-{task}", "use": "verdicts"},
            {"id": f"noise-{task}", "use": "noise", "with": {"tasks": [task]}},
        ]
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({"recipe": "noise", "seed": 1, "steps": steps}, sort_keys=False))
    return path


def scored(released: dict[str, dict[str, list[dict[str, Any]]]], folder: Path, seed: int | None) -> dict[str, pl.DataFrame]:
    """For each task a line for each row: whether it was flipped, and its scores, the higher the more suspect."""
    changed = {}
    for task, by in released.items():
        changed[task] = flipped(by[MODELS[0]], task, seed)
        for model, lines in by.items():
            text = "".join(json.dumps({**x, "label": changed[task].get(i, x["label"])}) + "\n" for i, x in enumerate(lines))
            (folder / f"{model}-{task}.jsonl").write_text(text, encoding="utf-8")
    made = toolkit.read_run(toolkit.run(recipe(folder), output=folder / "run").folder)
    out = {}
    for task in released:
        rows = pl.concat(list(made[f"noise-{task}"].blocks()))
        assert rows.height == len(released[task][MODELS[0]])
        out[task] = rows.select(
            pl.col("source_row").is_in(list(changed[task])).alias("flipped"),
            pl.lit(0.0).alias("random order"),
            pl.col(f"always_wrong_{task}").cast(pl.Float64).alias("always wrong"),
            (1 - pl.col(f"self_confidence_{task}")).alias("self-confidence"),
            (1 - pl.col(f"margin_{task}")).alias("margin, adjusted"),
            pl.col(f"noise_{task}").alias("noise (combined)"),
        )
    return out


def hits(table: pl.DataFrame, score: str, k: int) -> float:
    """Flipped rows among the first k, in the mean over all orders of tied rows."""
    groups = table.group_by(score).agg(pl.len().alias("n"), pl.col("flipped").sum().alias("of")).sort(score, descending=True)
    found, left = 0.0, k
    for n, of in groups.select("n", "of").iter_rows():
        take = min(n, left)
        found, left = found + of * take / n, left - take
    return found


def measure(tables: dict[str, pl.DataFrame]) -> list[dict[str, Any]]:
    """Precision and recall at k of each score, by task and over all."""
    out = []
    for task, table in {**tables, "all": pl.concat(tables.values())}.items():
        n = int(table["flipped"].sum())
        for name, k in (("flipped", n), ("2 x flipped", 2 * n), ("50", 50), ("100", 100)):
            for score in table.columns[1:]:
                found = hits(table, score, k)
                out.append({"task": task, "score": score, "at": name, "k": k, "precision": found / k, "recall": found / n})
    return out


def summary(runs: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Mean and standard deviation over the seeds."""
    out = []
    for lines in zip(*runs, strict=True):
        spread = {
            f: (statistics.mean(x[f] for x in lines), statistics.stdev([x[f] for x in lines]) if len(lines) > 1 else 0.0)
            for f in ("precision", "recall")
        }
        out.append({**{k: lines[0][k] for k in ("task", "score", "at", "k")}, **spread})
    return out


def show(lines: Sequence[dict[str, Any]], rows: dict[str, int], natural: dict[str, int], seeds: int) -> str:
    """The tables as Markdown."""
    out = []
    for task in [*rows, "all"]:
        mine = [x for x in lines if x["task"] == task]
        ats = list(dict.fromkeys((x["at"], x["k"]) for x in mine))
        total, wrong = (sum(d.values()) if task == "all" else d[task] for d in (rows, natural))
        n = ats[0][1]
        out.append(
            f"**{'All' if task == 'all' else f'Task `{task}`'}**: {total:,} rows, {n} flipped; {wrong} rows on which every model is against the label as released.\n"
        )
        out.append("| precision / recall at k, % | " + " | ".join(f"k = {k}" if at == str(k) else f"k = {k} ({at})" for at, k in ats) + " |")
        out.append("|---|" + "---|" * len(ats))
        for score in dict.fromkeys(x["score"] for x in mine):
            cells = []
            for at, _ in ats:
                x = next(x for x in mine if x["score"] == score and x["at"] == at)
                cells.append(" / ".join(f"{100 * x[f][0]:.0f} ± {100 * x[f][1]:.0f}" for f in ("precision", "recall")))
            out.append(f"| {score} | " + " | ".join(cells) + " |")
        out.append("")
    out.append(f"Mean ± standard deviation over {seeds} seeds.")
    return "\n".join(out)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("GUARDKIT_DATA") or ROOT.parent / "shared" / "data"))
    parser.add_argument("--seeds", type=int, default=20, help="how often 5 %% are flipped (default 20)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    parser.add_argument("--docs", action="store_true", help="write the tables into docs/label-noise.md, too")
    args = parser.parse_args()
    if not (args.data / "guardreasoner" / "predictions").is_dir():
        sys.exit(f"{args.data} holds no guardreasoner/predictions: set GUARDKIT_DATA, or give --data")
    released = {task: read(args.data, task) for task in FILES}
    runs = []
    with tempfile.TemporaryDirectory() as place:
        plain = scored(released, Path(place), None)
        natural = {task: int(table["always wrong"].sum()) for task, table in plain.items()}
        for seed in range(FIRST_SEED, FIRST_SEED + args.seeds):
            runs.append(measure(scored(released, Path(place), seed)))
    rows = {task: table.height for task, table in plain.items()}
    lines = summary(runs)
    if args.json:
        print(json.dumps({"seeds": args.seeds, "rows": rows, "always_wrong_as_released": natural, "scores": lines}))
        return
    text = show(lines, rows, natural, args.seeds)
    print(text)
    if args.docs:
        page = ROOT / "docs" / "label-noise.md"
        before, _, after = page.read_text(encoding="utf-8").split(MARK)
        page.write_text(f"{before}{MARK}\n\n{text}\n\n{MARK}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
