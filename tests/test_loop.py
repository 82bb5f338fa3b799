"""The whole loop in little, through the real command line: the quickstart's own recipe with tiny guards, and its second half on verdicts made by hand.

Guards of two training steps write nonsense, so the first half ends where a user's would: without hard samples there is nothing to train DPO on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from toolkit.common.models import model_hash
from toolkit.guards import Reasoning, load_guard, render_input, render_output
from toolkit.pipeline import StepFolder, load_recipe
from toolkit.shards import verify

CHECKOUT = Path(__file__).resolve().parent.parent
GUARD = load_guard("guardreasoner")
TINY = {"scratch": {"layers": 1, "width": 32, "heads": 2, "vocab": 600, "max_length": 4096}}
STEPS = {"max_steps": 2, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 1}


def guardkit(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "2"}
    return subprocess.run([sys.executable, "-m", "toolkit", *args], cwd=folder, env=env, capture_output=True, text=True, timeout=600)


def check_conservation(run: Path) -> dict[str, dict[str, Any]]:
    """Rows in = rows accounted for, at every step, worked out anew from the manifests and the files. The counts, by step."""
    found: dict[str, dict[str, Any]] = {}
    for path in run.glob("*/manifest.json"):
        step = StepFolder.open(path.parent)
        assert sum(b.height for b in step.blocks()) == step.rows if (path.parent / "rows").exists() else step.rows == 0
        for c in step.manifest["counts"]:
            out = c["parents"] if c["shape"] == "pick" else c["kept"]
            out += sum(c["rejected"].values()) + sum(c["set_aside"].values()) + c["merged"]
            assert out == c["in"] * c.get("factor", 1), c
            found[c["step"]] = c
    return found


def journal_bytes(workspace: Path) -> dict[str, int]:
    return {p.relative_to(workspace).as_posix(): p.stat().st_size for p in sorted((workspace / "journal").rglob("*")) if p.is_file()}


def test_the_quickstart_with_tiny_guards_stops_where_there_is_nothing_to_learn_from(tmp_path: Path) -> None:
    recipe = load_recipe("quickstart")
    overrides = ["seeds.limit=24", "pool.share=0.1", "samples.k=2", "samples.backend.max_tokens=24", "test-samples.backend.max_tokens=24"]
    for step in recipe.steps:
        if step.use == "train_sft":
            overrides += [f"{step.id}.model={json.dumps(TINY)}", f"{step.id}.trainer={json.dumps(STEPS)}"]
    args = ["run", "quickstart", *(a for o in overrides for a in ("--set", o))]
    first = guardkit(tmp_path, *args)
    assert first.returncode == 2, first.stderr
    assert "step pairs: no hard samples: nothing to train DPO on" in first.stderr

    run = tmp_path / "outputs" / "quickstart"
    counts = check_conservation(run)
    built = [s.id for s in recipe.steps][: [s.id for s in recipe.steps].index("pairs")]
    assert list(counts) and set(counts) == set(built), "everything before is kept, and nothing after was begun"
    assert counts["seeds"]["kept"] == 96 and counts["samples"]["factor"] == 8
    for part in ("home", "school", "work"):
        assert counts[f"rows-no-{part}"]["set_aside"]["not_in_subset"] > 0
        assert verify(run / f"shards-no-{part}" / "shards")["counts"]["source"].keys().isdisjoint({f"quickstart-{part}"})
    models = {model_hash(run / s.id / "model") for s in recipe.steps if s.use == "train_sft"}
    assert len(models) == 4, "four guards, each another"

    before = journal_bytes(tmp_path / "outputs")
    again = guardkit(tmp_path, *args, "--json")
    assert again.returncode == 2 and again.stderr.count("up to date") == len([line for line in again.stderr.splitlines() if line.startswith("[")])
    assert json.loads(again.stdout)["faults"][0]["message"].startswith("no hard samples")
    assert journal_bytes(tmp_path / "outputs") == before, "no call was made"

    status = guardkit(tmp_path, "runs", "status", str(run))
    assert status.returncode == 0 and "not built" in status.stdout and "undecided 12" in status.stdout
    plan = json.loads(guardkit(tmp_path, "plan", *args[1:], "--json").stdout)
    assert [s["step"] for s in plan["steps"] if s["state"] == "reuse"] == built


# The second half ------------------------------------------------------------------------------------------------------


def output(label: str) -> str:
    """What a well-behaved guard writes about a prompt without a response."""
    steps = {
        t.name: Reasoning([f"The {t.name} is looked at."], f"It is {label}." if t.name == "prompt" else "There is no response.") for t in GUARD.tasks
    }
    return render_output(GUARD, steps, {"prompt": label, "refusal": None, "response": None})


def predictions(folder: Path) -> dict[str, str]:
    """Three guards on ten prompts: they agree on six, and are torn on four."""
    stated = {"a": "hhhhhhuuhh", "b": "hhhhhhhuuh", "c": "hhhhhhhhuu"}
    words = {"h": "harmful", "u": "unharmful"}
    for name, verdicts in stated.items():
        lines = [
            {"prompt": render_input(GUARD, {"prompt": f"question {n}", "response": None}), "label": "harmful", "predict": output(words[v])}
            for n, v in enumerate(verdicts)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {name: f"{name}.jsonl" for name in stated}


def test_the_second_half_on_verdicts_made_by_hand(tmp_path: Path) -> None:
    local = {"backend": "transformers", "max_tokens": 24}
    steps: list[dict[str, Any]] = [
        {"id": "seeds", "use": "load", "with": {"source": "quickstart", "limit": 5}},
        {"id": "reasoning", "use": "synthesise", "with": {"backend": {"backend": "template"}}},
        {"id": "sft-rows", "use": "render_sft"},
        {"id": "sft-shards", "use": "shards"},
        {"id": "sft", "use": "train_sft", "with": {"model": TINY, "trainer": STEPS}},
        {"id": "predictions", "use": "load_predictions", "with": {"files": predictions(tmp_path), "task": "prompt"}},
        {"id": "verdicts", "use": "verdicts", "with": {"mode": "strict"}},
        {"id": "hard", "use": "mine"},
        {"id": "pairs", "use": "pair", "from": {"rows": "hard", "verdicts": "verdicts"}, "with": {"pick": "longest"}},
        {"id": "dpo-rows", "use": "render_dpo"},
        {"id": "dpo-shards", "use": "shards"},
        {"id": "dpo", "use": "train_dpo", "from": {"shards": "dpo-shards", "model": "sft"}, "with": {"trainer": {**STEPS, "learning_rate": 1e-3}}},
        {"id": "test-rows", "use": "select", "from": "seeds", "with": {"share": 0.4}},
        {"id": "test-samples", "use": "sample", "from": {"rows": "test-rows", "r-sft": "sft", "hs-dpo": "dpo"}, "with": {"k": 1, "backend": local}},
        {"id": "test-verdicts", "use": "verdicts"},
        {
            "id": "evaluation",
            "use": "evaluate",
            "from": {"rows": "test-verdicts", "asked": "test-rows"},
            "with": {"names": {"r-sft": "R-SFT", "hs-dpo": "HS-DPO"}},
        },
    ]
    (tmp_path / "half.yaml").write_text(yaml.safe_dump({"recipe": "half", "seed": 2, "steps": steps}, sort_keys=False))
    first = guardkit(tmp_path, "run", "half.yaml")
    assert first.returncode == 0, first.stderr
    for words in (
        "Hard by task: prompt 4",
        "Preference pairs (pairs): 4",
        "R-SFT",
        "HS-DPO",
        "majority class",
        "always positive",
        "Rows given to guards",
    ):
        assert words in first.stdout

    run = tmp_path / "outputs" / "half"
    counts = check_conservation(run)
    assert set(counts) == {s["id"] for s in steps}
    assert counts["hard"]["set_aside"] == {"always_right": 6} and counts["hard"]["merged"] == 20
    assert counts["pairs"]["kept"] == counts["dpo"]["kept"] == 4
    weights = sorted(w for b in StepFolder.open(run / "pairs").blocks(["n_wrong", "weight"]) for w in b.iter_rows())
    assert [n for n, _ in weights] == [1, 1, 2, 2] and [w for _, w in weights] == pytest.approx([0.8, 0.8, 1.2, 1.2])
    assert model_hash(run / "sft" / "model") != model_hash(run / "dpo" / "model")
    scores = json.loads((run / "evaluation" / "scores" / "scores.json").read_text())
    asked = counts["test-rows"]["kept"]
    assert {(s["guard"], s["n"]) for s in scores if s["task"] == "prompt"} == {
        (g, asked) for g in ("R-SFT", "HS-DPO", "majority class", "always positive")
    }

    before = journal_bytes(tmp_path / "outputs")
    again = guardkit(tmp_path, "run", "half.yaml", "--json")
    assert again.returncode == 0
    summary = json.loads(again.stdout)
    assert summary["built"] == [] and summary["reused"] == [s["id"] for s in steps]
    assert journal_bytes(tmp_path / "outputs") == before, "no call was made"
    assert summary["sampled"] == asked and summary["scores"]["evaluation"] == scores
