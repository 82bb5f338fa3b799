"""Rounds with the real operators: a guard that is trained, sampled, mined and trained on again, killed in its second round, and gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import yaml

import toolkit
from toolkit.common.files import tree_digests
from toolkit.guards import Reasoning, load_guard, render_output

CHECKOUT = Path(__file__).resolve().parent.parent
GUARD = load_guard("guardreasoner")
TINY = {"scratch": {"layers": 1, "width": 32, "heads": 2, "vocab": 600, "max_length": 4096}}
STEPS = {"max_steps": 2, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 1}
LOCAL = {"backend": "transformers", "max_tokens": 8}


def guardkit(folder: Path, *args: str) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-m", "toolkit", *args]
    return subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def recipe(folder: Path, **rounds: Any) -> None:
    """Beside the guard in training, which writes nonsense, another one is mined whose outputs are made by hand."""
    steps: list[dict[str, Any]] = [
        {"id": "pool", "use": "load", "with": {"source": "quickstart", "limit": 2}},
        {"id": "reasoning", "use": "synthesise", "with": {"backend": {"backend": "template"}}},
        {"id": "sft-rows", "use": "render_sft"},
        {"id": "sft-shards", "use": "shards"},
        {"id": "sft", "use": "train_sft", "with": {"model": TINY, "trainer": STEPS}},
        {"id": "other", "use": "load_predictions", "with": {"files": {"other": ["a.jsonl", "b.jsonl"]}, "samples": "samples.jsonl", "read": "lenient"}},
        {"id": "samples", "use": "sample", "from": {"rows": "pool", "main": "sft"}, "with": {"k": 2, "backend": {**LOCAL, "temperature": 1.0}}},
        {"id": "verdicts", "use": "verdicts"},
        {"id": "hard", "use": "mine", "from": {"rows": "pool", "verdicts": "verdicts", "other": "other"}},
        {"id": "pairs", "use": "pair", "from": {"rows": "hard", "verdicts": "other"}, "with": {"chosen_passes": "anything", "rejected_passes": "anything"}},
        {"id": "dpo-rows", "use": "render_dpo"},
        {"id": "dpo-shards", "use": "shards"},
        {"id": "dpo", "use": "train_dpo", "from": {"shards": "dpo-shards", "model": "sft"}, "with": {"trainer": {**STEPS, "learning_rate": 1e-3}}},
        {"id": "held-out", "use": "select", "from": "pool", "with": {"share": 0.5}},
        {"id": "tested", "use": "sample", "from": {"rows": "held-out", "r-sft": "sft", "hs-dpo": "dpo"}, "with": {"k": 1, "backend": LOCAL}},
        {"id": "read", "use": "verdicts"},
        {"id": "scores", "use": "evaluate", "from": {"rows": "read", "asked": "held-out"}, "with": {"names": {"hs-dpo": "HS-DPO"}}},
    ]  # fmt: skip
    (folder / "loop.yaml").write_text(yaml.safe_dump({"recipe": "loop", "seed": 2, "rounds": rounds, "steps": steps}, sort_keys=False))


def outputs_by_hand(folder: Path) -> int:
    """Two draws on each row, of which the second is wrong on the prompt of every other row. How many rows that makes hard."""
    toolkit.run(folder / "loop.yaml", output=folder / "outputs" / "first", until="pool")
    rows = toolkit.read_run(folder / "outputs" / "first")["pool"].polars()
    labels = [f"label_{t}" for t in GUARD.task_names]
    (folder / "samples.jsonl").write_text(
        "".join(json.dumps(r) + "\n" for r in rows.select("id", "prompt", "response", *labels).iter_rows(named=True))
    )
    hard = 0
    for draw, name in enumerate("ab"):
        lines = []
        for n, row in enumerate(rows.iter_rows(named=True)):
            stated = {t.name: row[f"label_{t.name}"] for t in GUARD.tasks}
            if draw and n % 2:
                stated["prompt"] = next(w for w in GUARD.tasks[0].labels if w != stated["prompt"])
                hard += 1
            reasoning = {t.name: Reasoning(["It is looked at."], "That is it.") for t in GUARD.tasks}
            lines.append(json.dumps({"id": row["id"], "output": render_output(GUARD, reasoning, stated)}) + "\n")
        (folder / f"{name}.jsonl").write_text("".join(lines))
    return hard


def killed_in(folder: Path, step: str, *args: str) -> None:
    """kill -9 once the step has been begun."""
    process = guardkit(folder, *args)
    log = folder / "outputs" / "loop" / "events.jsonl"
    while process.poll() is None and not (log.exists() and f'"step": "{step}"' in log.read_text()):
        time.sleep(0.01)
    process.kill()
    _, err = process.communicate()
    assert process.returncode == -signal.SIGKILL, err


def made(step: Path) -> dict[str, str]:
    """A step's files; of a training not its times, nor the manifest, which has their sha256."""
    timed = {"model/metrics.jsonl", "manifest.json"} if (step / "model").exists() else set()
    return {name: sha256 for name, sha256 in tree_digests(step).items() if name not in timed}


def test_a_loop_that_is_killed_in_its_second_round_ends_in_the_same_bytes(tmp_path: Path) -> None:
    recipe(tmp_path, times=2, least_fall=None, score="scores")
    hard = outputs_by_hand(tmp_path)
    assert hard > 1
    killed_in(tmp_path, "dpo.2", "run", "loop.yaml")
    assert not (tmp_path / "outputs" / "loop" / "dpo.2").exists()
    process = guardkit(tmp_path, "run", "loop.yaml", "--json")
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    summary = json.loads(out)
    assert summary["built"][0] == "dpo.2" and "samples.2" in summary["reused"] and "dpo" in summary["reused"]
    run = tmp_path / "outputs" / "loop"

    whole = toolkit.run(tmp_path / "loop.yaml", output=tmp_path / "elsewhere" / "loop")
    steps = [s["step"] for s in whole.summary["steps"]]
    assert {s: made(run / s) for s in steps if (run / s).exists()} == {s: made(whole.folder / s) for s in steps if (run / s).exists()}

    first, second = summary["rounds"]["rounds"]
    assert [r["hard"] for r in (first, second)] == [r["pairs"] for r in (first, second)] == [hard, hard]
    assert first["hard_by_task"]["prompt"] == hard and first["guard"] == "sft" and second["guard"] == "dpo"
    asked = len(toolkit.read_run(run)["pool"].polars()) * 2
    assert 0 < first["tokens"] <= asked * 8 and second["state"] == "trained"
    scored = {s["task"]: s["f1"] for s in toolkit.read_run(run)["scores.2"].manifest["stats"]["scores"] if s["guard"] == "HS-DPO"}
    assert second["f1"] == {task: f1 for task, f1 in scored.items() if f1 is not None} != {}
    keys = [set(toolkit.read_run(run)[s].polars("output_key").to_series()) for s in ("samples", "samples.2")]
    assert keys[0].isdisjoint(keys[1]), "each round draws anew"
    models = [tree_digests(run / s / "model")["model.safetensors"] for s in ("sft", "dpo", "dpo.2")]
    assert len(set(models)) == 3

    recipe(tmp_path, times=3, score="scores")
    ended = toolkit.run(tmp_path / "loop.yaml", output=run)
    assert ended.built == [] and ended.summary["rounds"]["ended"] == 2
    assert "hard rows" in repr(ended) and "The rounds ended before their time: round 2 found" in repr(ended)
    assert toolkit.verify(run)["missing"] == []
    assert pl.DataFrame(ended.summary["rounds"]["rounds"])["state"].to_list() == ["trained", "mined", "skipped"]
