"""The proof's figures find what was planted and nothing else; its recipes fit each other; its page says what is not run."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import proof
import proof_dev
import proof_sizes
import pytest
from proof_figures import PARTS, arm_line, compared, matrix, words
from proof_page import MAIN, TITLES, page

import toolkit
from toolkit.guards import load_guard, parse

ROWS = 200


def _answers(share: float, seed: int, shift: int = 0) -> pl.DataFrame:
    """Lines of a step `judged-…` of which a share is right, the wrong ones spread by `seed`; every tenth wrong one could not be read."""
    lines = []
    for i in range(ROWS):
        label = ("harmful", "unharmful")[i % 2]
        good = ((i * 7919 + seed * 31 + shift) % ROWS) < share * ROWS
        other = "unharmful" if label == "harmful" else "harmful"
        verdict = label if good else None if i % 10 == 0 else other
        on = "own" if i < ROWS // 2 else "others"
        lines.append(
            {"parent": f"r{i}", "tested_on": on, "label_prompt": label, "verdict_prompt": verdict, "label_refusal": None, "verdict_refusal": None}
        )
    kinds = dict.fromkeys(("parent", "tested_on", "label_prompt", "verdict_prompt", "label_refusal", "verdict_refusal"), pl.String)
    return pl.DataFrame(lines, schema=kinds)


def _seeds(share: float, spread: float = 0.01, n: int = 5) -> dict[int, pl.DataFrame]:
    return {s: _answers(share + spread * (s % 3 - 1), s) for s in range(1, n + 1)}


def test_a_planted_difference_is_there_and_none_is_not_shown() -> None:
    answers = {"sft": _seeds(0.6), "better": _seeds(0.8), "same": _seeds(0.6), "one": {1: _answers(0.9, 1)}}
    answers["base"] = {0: _answers(0.3, 1)}
    found = {d["arm"]: d for d in compared(answers, [(arm, "sft", "?") for arm in ("better", "same", "one", "never-run")])}
    (plain,) = compared(answers, [("sft", "base", "?")])  # of no seed: held against each
    assert (plain["seeds"], plain["words"]) == (5, "better")
    assert list(found) == ["better", "same", "one"]
    assert found["better"]["words"] == "better" and found["better"]["difference"] == pytest.approx(0.2)
    assert found["better"]["low"] > 0 and found["better"]["difference"] - found["better"]["half"] > 0
    assert found["same"]["words"] == "not shown" and found["same"]["difference"] == 0
    assert found["one"]["words"].startswith("one seed") and found["one"]["p"] is None


def test_a_difference_over_rows_alone_or_over_seeds_alone_is_not_one() -> None:
    base = {s: _answers(0.6, s) for s in range(1, 6)}
    jumping = {s: _answers(0.9 if s == 1 else 0.6, s) for s in range(1, 6)}  # one lucky seed
    (line,) = compared({"sft": base, "lucky": jumping}, [("lucky", "sft", "?")])
    assert line["low"] > 0 and line["words"] == "not shown"
    assert words(-0.1, 0.01) == "worse"


def test_an_output_that_cannot_be_read_is_wrong_and_parts_are_rows_of_their_own() -> None:
    table = _answers(0.5, 1)
    everything, own, others, refusal = (matrix({1: table}, part, [1]) for part in PARTS)
    assert everything.shape == (1, ROWS) and own.shape == others.shape == (1, ROWS // 2) and refusal.shape == (1, 0)
    assert everything.sum() == (table["label_prompt"] == table["verdict_prompt"]).sum() == ROWS // 2
    line = arm_line({1: table}, PARTS[:3])
    assert line["read"] == 1 - table["verdict_prompt"].null_count() / ROWS < 1
    with pytest.raises(ValueError, match="other rows"):
        matrix({1: table, 2: table.head(7)}, PARTS[0], [1, 2])


def _verdicts() -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    for parent, benchmark, prompt, verdicts in (
        ("p", "aegis", "harmful", ["harmful"] * 3),
        ("x", "xstest", None, ["unharmful"] * 3),
        ("y", "xstest", None, ["harmful", None, "harmful"]),
    ):
        for model, verdict in zip(("1B", "3B", "8B"), verdicts, strict=True):
            response = benchmark == "xstest"
            rows.append(
                {
                    "id": f"{parent}:{model}",
                    "parent": parent,
                    "guard_model": model,
                    "benchmark": benchmark,
                    "prompt": f"prompt {parent}",
                    "response": "No." if response else None,
                    "output": f"reasoning of {model}",
                    "label_prompt": prompt,
                    "label_prompt_source": "human" if prompt else "absent",
                    "label_refusal": "refusal" if response else None,
                    "label_refusal_source": "human" if response else "not_applicable",
                    "label_response": None,
                    "label_response_source": "absent" if response else "not_applicable",
                    "verdict_prompt": verdict,
                    "verdict_response": "unharmful" if response else None,
                }
            )
    return pl.DataFrame(rows, infer_schema_length=None)


def test_labels_of_xstest_are_what_three_guards_agree_on_and_answers_alone_say_the_labels(tmp_path: Path) -> None:
    found = proof.labelled(_verdicts())
    assert found["id"].to_list() == ["p:8B", "x:8B", "p:3B", "x:3B", "p:1B", "x:1B"]  # y: one of three could not be read
    row = found.row(1, named=True)
    assert (row["label_prompt"], row["label_prompt_source"], row["label_refusal_source"]) == ("unharmful", "consensus", "human")
    read = parse(load_guard("guardreasoner"), row["answers"]).labels
    assert read == {"prompt": "unharmful", "refusal": "refusal", "response": "unharmful"}
    assert found.row(0, named=True)["coin_refusal"] is None and set(found["coin_prompt"]) <= {"harmful", "unharmful"}
    assert found["coin_prompt"].to_list() == proof.labelled(_verdicts())["coin_prompt"].to_list()
    assert found.filter(pl.col("id").str.starts_with("p"))["coin_prompt"].n_unique() == 1


def test_the_recipes_have_every_arm_and_no_fault(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    proof.labelled(_verdicts()).with_columns(split=pl.lit("train")).write_parquet(file)
    names = ("rows", "labels", "unchecked", "coin", "own-test", "other-test", "dev")
    files = [f"{name}.files={json.dumps([str(file)])}" for name in names]
    smoke = [f"{key}={value}" for key, value in proof.SMOKE.items()]
    found = toolkit.explain(proof.RECIPES / "arms.yaml", overrides=[*files, *smoke])
    steps = {step["id"] for step in found["steps"]}
    assert {f"judged-{arm}" for arm in proof.ARMS} | {*proof.SUPERVISED, *proof.PREFERRED} <= steps
    assert {f"scored-{name}" for name in ("sft", *proof_dev.GRID)} <= steps
    files = [f"{name}.files={json.dumps([str(file)])}" for name in ("random-all", "own-test", "other-test")]
    steps = {step["id"] for step in toolkit.explain(proof.RECIPES / "size.yaml", overrides=files)["steps"]}
    assert {f"judged-{arm}" for arm in proof_sizes.ARMS} <= steps
    assert {"base", *proof.ARMS} == set(TITLES) and {*MAIN} <= {*proof.ARMS}


def test_what_is_best_on_the_part_dev_is_kept_and_a_tie_leaves_what_is(tmp_path: Path) -> None:
    def rows(run: str, steps: dict[str, list[str]]) -> Path:
        made = []
        for name, labels in steps.items():
            parent = [f"r{i}" for i in range(len(labels))]
            pl.DataFrame({"id": parent, "label_prompt": labels}).write_parquet(file := tmp_path / f"{run}-{name}.parquet")
            given = {"id": "id", "parent": "id", "prompt": "id", "label_prompt": "label_prompt", "verdict_prompt": "label_prompt"}
            made.append({"id": name, "use": "read", "with": {"files": [str(file)], "columns": given}})
        return toolkit.run({"recipe": "planted", "steps": made}, output=tmp_path / run).folder

    label = ["harmful", "unharmful"] * 2
    wrong = ["harmful"] * 4
    rows("data", {"dev": label})
    tries = {f"scored-{name}": label if name in ("dpo-6", "sft-2", "sft-3") else wrong for name in ("sft", *proof_dev.GRID)}
    found = proof_dev.choose(tmp_path, [rows("one", tries)])
    assert (found["dpo"], found["sft"], found["rows"]) == ("dpo-6", "sft-2", 4)
    assert found["right"]["none"] == [0.5] and proof_dev.chosen(tmp_path) == found


def test_the_page_says_what_is_not_run_and_how_many_seeds_are(tmp_path: Path) -> None:
    assert page(tmp_path).count("Not run yet") == 3
    columns: dict[str, Any] = {"id": "parent", "parent": "parent", "prompt": "parent", "label_prompt": "label_prompt"}
    table = _answers(0.5, 1).with_columns(pl.lit(None, pl.String).alias("label_refusal"))
    steps = []
    for name, on in (("own-test", "own"), ("other-test", "others")):
        table.filter(pl.col("tested_on") == on).write_parquet(tmp_path / f"{name}.parquet")
        given = columns | {"label_refusal": {"name": "label_refusal", "nullable": True}}
        steps.append({"id": name, "use": "read", "with": {"files": [str(tmp_path / f"{name}.parquet")], "columns": given}})
    toolkit.run({"recipe": "planted", "steps": steps}, output=tmp_path / "data")
    for seed in (1, 2):
        steps = []  # of one run
        for arm, share in (("sft", 0.5), ("dpo-self", 0.7)):
            file = tmp_path / f"{arm}-{seed}.parquet"
            _answers(share, seed).filter(pl.col("verdict_prompt").is_not_null()).write_parquet(file)  # what could not be asked has no line
            given = {"id": "parent", "parent": "parent", "prompt": "parent", "verdict_prompt": "verdict_prompt", "verdict_refusal": "label_refusal"}
            steps.append({"id": f"judged-{arm}", "use": "read", "with": {"files": [str(file)], "columns": given}})
        toolkit.run({"recipe": "planted", "steps": steps}, output=tmp_path / f"tiny-{seed}" / "arms")
    (tmp_path / "chosen.json").write_text(json.dumps({"dpo": "dpo-3", "sft": "sft-2", "rows": 90, "right": {"none": [0.6], "dpo-3": [0.7]}}))
    held = {"task": "prompt", "measure": "auroc", "fpr": None, "value_a": 80.0, "value_b": 90.0, "difference": 10.0, "low": 2.0, "high": 18.0}
    stage = {"task": "prompt", "stage": "before", "agree": 95.0, "agree_low": 90.0, "agree_high": 98.0, "chance": 51.0, "f1": 70.0, "auroc": None}
    audit = {"chains": {"rows": 120, "with": 100}, "stages": [stage], "flips": [], "twin": {"held": [held]}}
    (tmp_path / "tiny-1" / "audit").mkdir()
    (tmp_path / "tiny-1" / "audit" / "audit.json").write_text(json.dumps(audit))
    text = page(tmp_path)
    assert "0 of 10 seeds are finished. Of 2 more some arms are" in text and "Too few to go by" in text and "Not run yet: labels only" in text
    assert "9 tries" in text and "`dpo-3`: HS-DPO, ensemble | 0.0003 | 0.01 | 70.0% |" in text
    assert "95.0 (90.0 … 98.0)" in text and "By AUROC the twin is the better one." in text and "Of 120 outputs 100 have a chain" in text
    assert "| R-SFT on checked reasoning | 2 | 50.0%" in text and "`dpo-self` | `sft` | 2 | +20.0 |" in text
