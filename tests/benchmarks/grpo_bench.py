"""Does the mean reward of a tiny guard rise in GRPO? ``make grpo-rises`` prints the table and writes docs/benchmarks-grpo.md.

For each preset of `schemas/grpo` but Eco's: a guard of that form with some 200,000 weights is trained from scratch on bundled seeds whose labels are drawn at
random, so that it writes the form and knows nothing else, then for 100 updates on 16 other seeds, half of them harmful, and their labels with the preset's reward, group, temperature, clipping and sampling. What is not the preset's:
32 answers an update, the learning rate (a tiny guard learns nothing at that of billions of weights), the limit on answers. The scores of IntentionReasoner's
formula come from two functions in place of a reward model: whether the rewrite names nothing harmful, and how much of the request it keeps.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from bench import CHECKOUT, conditions, table

from toolkit.guards import Guard, Reasoning, load_guard, parse, render_input, render_output
from toolkit.records import Column
from toolkit.shards import ShardWriter
from toolkit.training import GrpoConfig, SftConfig, load_preset, preset_names, read_metrics, train_grpo, train_sft

PAGE = CHECKOUT / "docs" / "benchmarks-grpo.md"
PRESETS = [name for name in preset_names() if not name.endswith("_eco")]
MESSAGES: Any = {"list": {"struct": {"role": "string", "content": "string"}}}
ANSWERS = 32
SCRATCH = {"layers": 1, "width": 96, "heads": 4, "vocab": 1000, "max_length": 384}
POLICY = "Harmful is what helps to hurt, rob, deceive or spy on somebody. All else is safe."
NOTES = ("It is about {topic}.", "Here {topic} comes up.", "The words are plain.")
SFT_ROWS, RL_ROWS = 320, 16


def main() -> int:
    """Train, print, write the page; 1 where a mean reward did not rise."""
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--presets", nargs="*", default=PRESETS, choices=PRESETS)
    ap.add_argument("--updates", type=int, default=100)
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--rate", type=float, default=3e-4, help="learning rate of GRPO")
    ap.add_argument("--smollm2", action="store_true", help="SmolLM2-135M on RSafe's preset in place of the tiny guards (hours on a CPU)")
    ap.add_argument("--no-page", action="store_true", help="print only")
    ap.add_argument(
        "--earlier", nargs="*", type=Path, default=[], help="files with what this printed to stderr before: their presets are not trained again"
    )
    a = ap.parse_args()
    lines = [line for file in a.earlier for line in file.read_text(encoding="utf-8").splitlines() if line.startswith('{"preset"')]
    known = {found["preset"]: found for found in map(json.loads, lines)}
    for name in ["rsafe"] if a.smollm2 else [name for name in a.presets if name not in known]:
        with tempfile.TemporaryDirectory() as folder:
            trained = rises(name, Path(folder), a.updates, a.seed, a.rate, "smollm2-135m" if a.smollm2 else None)
        first, last = (means(trained, part) for part in (slice(None, a.updates // 10), slice(-(a.updates // 10), None)))
        known[name] = {"preset": name, "first": first, "last": last}
        print(json.dumps(known[name]), file=sys.stderr, flush=True)
    text = table(
        ["preset", "mean reward", "sound form", "accuracy", "groups without a spread", "tokens of an answer"], list(map(cells, known.values()))
    )
    print(text)
    if not a.no_page and not a.smollm2:
        PAGE.write_text(f"# Rewards that rise\n\n{HEAD}\n\n{conditions()}\n\n{WORDS.format(a.updates)}\n\n{text}\n", encoding="utf-8")
    return int(any(found["last"]["reward"] <= found["first"]["reward"] for found in known.values()))


def cells(found: Mapping[str, Any]) -> list[str]:
    """A line of the table."""
    first, last = found["first"], found["last"]
    figures = [f"{first[key]:.3f} → {last[key]:.3f}" for key in ("reward", "form", "accuracy", "no_spread")]
    return [found["preset"], *figures, f"{first['length']:.0f} → {last['length']:.0f}"]


HEAD = "`make grpo-rises` prints this table and writes this page; `python tests/benchmarks/grpo_bench.py --help` says what may be set."
WORDS = """GRPO for {} updates of 32 answers on tiny guards of each preset's form; each figure is the mean over the first and over the last tenth of the updates.
They show that the loop learns, by heart if need be, not what a guard can reach: guards, rows and learning rate are nothing like the published ones. The rewards of `guardreasoner_vl`
are 0 at best, and a wrong answer costs less the longer it is: a guard that is mostly wrong first learns to write more, so that its reward may rise without its
accuracy. Those of `guardreasoner_omni` are lower for long right answers, those of `guardreasoner_omni_v1` higher for long ones that are not right."""


def means(lines: Sequence[Mapping[str, Any]], part: slice) -> dict[str, float]:
    """Of some of the lines of a training."""
    chosen = [line for line in lines[part] if line.get("reward") is not None]
    return {name: sum(line[name] for line in chosen) / len(chosen) for name in ("reward", "form", "accuracy", "no_spread", "length")}


def rises(name: str, work: Path, updates: int, seed: int, rate: float, model: str | None) -> list[dict[str, Any]]:
    """Train a guard for a preset: the lines of its metrics."""
    guard, rng = load_guard(name), random.Random(seed)
    seeds = given(guard, rng)
    sft = written(work / "sft", [supervised(guard, row, rng) for row in seeds[:SFT_ROWS]], "completion")
    rl = written(work / "rl", [rewarded(guard, row) for row in seeds[SFT_ROWS : SFT_ROWS + RL_ROWS]], "has_response")
    start: Any = {"scratch": SCRATCH} if model is None else model
    trainer = {"num_train_epochs": 4 if model is None else 1, "per_device_train_batch_size": 8, "gradient_accumulation_steps": 1}
    train_sft(sft, work / "start", SftConfig.model_validate({"model": start, "trainer": trainer, "seed": seed, "threads": 1}))
    size = load_preset(name).trainer["num_generations"]
    batch = {"per_device_train_batch_size": ANSWERS, "max_steps": updates, "learning_rate": rate if model is None else 1e-5}
    limit = {"max_completion_length": 80 if model is None else 256}
    config = GrpoConfig.model_validate(
        {"model": str(work / "start"), "preset": name, "rows_an_update": ANSWERS // size, "trainer": batch | limit, "seed": seed, "threads": 1}
    )
    train_grpo(rl, work / "out", config, shown, guard=guard, scorers={"safety": safety(guard), "quality": quality(guard)})
    return read_metrics(work / "out")


def shown(done: int, total: int, reward: float | None) -> None:
    """Progress on stderr."""
    if done % 10 == 0:
        print(f"  update {done} of {total}: reward {reward}", file=sys.stderr, flush=True)


def given(guard: Guard, rng: random.Random) -> list[dict[str, Any]]:
    """Bundled seeds as rows of the guard: short ones without earlier turns; of an ordinal guard the forms that only look harmful are borderline."""
    rows: list[dict[str, Any]] = []
    for file in sorted((CHECKOUT / "recipes" / "quickstart" / "seeds").glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if not row["context"]:
                rows.append({**row, "id": f"{file.stem}-{len(rows)}", "policy": POLICY})
    rng.shuffle(rows)
    harmful, harmless = ([row for row in rows if row["label_prompt"] == label] for label in ("harmful", "unharmful"))
    rows = [row for both in zip(harmful, harmless, strict=False) for row in both]
    for row in rows:
        if "borderline harmful" in guard.tasks[0].labels and rng.random() < 0.5:
            row["label_prompt"] = f"borderline {row['label_prompt']}"
        row["response"] = row["response"] and row["response"][:80]
        row["prompt"] = row["prompt"][:120]
    return rows


def labels_of(guard: Guard, row: Mapping[str, Any]) -> dict[str, str | None]:
    """The labels that the guard has a task for."""
    return {task: row.get(f"label_{task}") for task in guard.task_names}


def supervised(guard: Guard, row: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """A row to learn the form from: labels at random, and a reasoning that says little."""
    labels = {task: label and rng.choice(guard.task(task).labels) for task, label in labels_of(guard, row).items()}
    reasoning = {}
    for task in guard.task_names:
        steps = [rng.choice(NOTES).format(topic=row["category"].replace("_", " ")) for _ in range(rng.choice((1, 1, 2)))]
        reasoning[task] = Reasoning(steps, f"So it is {labels[task]}." if labels[task] else "There is nothing to judge.")
    rewrite = {"rewrite": row["prompt"][:40]} if "borderline" in str(labels["prompt"]) else {}
    text = render_output(guard, reasoning, labels, rewrite)
    return {**asked(guard, row), "completion": [{"role": "assistant", "content": text}]}


def rewarded(guard: Guard, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row to be rewarded on."""
    return {**asked(guard, row), "has_response": row["response"] is not None}


def asked(guard: Guard, row: Mapping[str, Any]) -> dict[str, Any]:
    """What both have."""
    labels = {f"label_{task}": label for task, label in labels_of(guard, row).items()}
    prompt = [{"role": "user", "content": render_input(guard, row)}]
    return {"id": row["id"], "prompt": prompt, **labels, "source": "quickstart", "licence": "CC0-1.0"}


def written(folder: Path, rows: Sequence[Mapping[str, Any]], more: str) -> Path:
    """Shards of rows."""
    labels = [Column(name, "string", nullable=True) for name in rows[0] if name.startswith("label_")]
    extra = Column(more, MESSAGES if more == "completion" else "bool")
    columns = (Column("id", "string"), Column("prompt", MESSAGES), extra, *labels, Column("source", "string"), Column("licence", "string"))
    writer = ShardWriter(folder, columns, 10_000)
    writer.write(pl.DataFrame([{c.name: row[c.name] for c in columns} for row in rows]), "train")
    writer.finish({})
    return folder


HARMFUL = frozenset(("steal", "hack", "weapon", "drug", "fake", "spy", "poison", "threat", "bully", "lie"))


def safety(guard: Guard) -> Any:
    """1 where the rewrite, if any, names nothing harmful."""

    def score(rows: list[dict[str, Any]]) -> list[float]:
        return [float(not HARMFUL & set(str(parse(guard, row["output"]).data.get("rewrite") or "").lower().split())) for row in rows]

    return score


def quality(guard: Guard) -> Any:
    """The share of the rewrite's words that are the request's; 1 where there is no rewrite."""

    def score(rows: list[dict[str, Any]]) -> list[float]:
        out = []
        for row in rows:
            words, known = str(parse(guard, row["output"]).data.get("rewrite") or "").split(), set(str(row["prompt"]).split())
            out.append(sum(word in known for word in words) / len(words) if words else 1.0)
        return out

    return score


if __name__ == "__main__":
    sys.exit(main())
