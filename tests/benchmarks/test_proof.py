"""The proof's figures find what was planted and nothing else; its recipes fit each other; its page says what is not run."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import proof
import proof_dev
import proof_kept
import proof_sizes
import pytest
from proof_figures import PARTS, arm_line, compared, matrix, words
from proof_page import TITLES, page
from proof_runs import ARMS, COLUMNS, MAIN, Seed, finished

import toolkit
from toolkit.common.errors import InputError
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
    assert {f"judged-{arm}" for arm in ARMS} | {*proof.SUPERVISED, *proof.PREFERRED} <= steps
    assert {f"scored-{name}" for name in ("sft", *proof_dev.GRID)} <= steps
    files = [f"{name}.files={json.dumps([str(file)])}" for name in ("random-all", "own-test", "other-test")]
    steps = {step["id"] for step in toolkit.explain(proof.RECIPES / "size.yaml", overrides=files)["steps"]}
    assert {f"judged-{arm}" for arm in proof_sizes.ARMS} <= steps
    assert {"base", *ARMS} == set(TITLES) and {*MAIN} <= {*ARMS}


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


READ: dict[str, Any] = {"id": "parent", "parent": "parent", "prompt": "parent", "label_prompt": "label_prompt"}
HELD = {"task": "prompt", "measure": "auroc", "fpr": None, "value_a": 80.0, "value_b": 90.0, "difference": 10.0, "low": 2.0, "high": 18.0}
STAGE = {"task": "prompt", "stage": "before", "agree": 95.0, "agree_low": 90.0, "agree_high": 98.0, "chance": 51.0, "f1": 70.0, "auroc": None}
AUDIT = {"chains": {"rows": 120, "with": 100}, "stages": [STAGE], "flips": [], "twin": {"held": [HELD]}}


def _data(folder: Path, rows: pl.DataFrame) -> None:
    """The test rows of a workspace."""
    steps = []
    for name, on in (("own-test", "own"), ("other-test", "others")):
        rows.filter(pl.col("tested_on") == on).write_parquet(file := folder / f"{name}.parquet")
        given = READ | {"label_refusal": {"name": "label_refusal", "nullable": True}}
        steps.append({"id": name, "use": "read", "with": {"files": [str(file)], "columns": given}})
    toolkit.run({"recipe": "planted", "steps": steps}, output=folder / "data")


def _run(folder: Path, name: str, shares: dict[str, float], seed: int) -> None:
    """A run of arms of which so large a share of the answers is right; what could not be asked has no line."""
    steps = []
    for arm, share in shares.items():
        file = folder / f"{name.replace('/', '-')}-{arm}.parquet"
        _answers(share, seed).filter(pl.col("verdict_prompt").is_not_null()).write_parquet(file)
        given = READ | {"verdict_prompt": "verdict_prompt", "verdict_refusal": "label_refusal"}
        steps.append({"id": f"judged-{arm}", "use": "read", "with": {"files": [str(file)], "columns": given}})
        if name.startswith("size"):
            steps.append({"id": arm, "use": "read", "with": {"files": [str(file)], "columns": READ}})
    toolkit.run({"recipe": "planted", "steps": steps}, output=folder / name)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace of two seeds of two arms, an audit of one of them, and a seed of the size curve."""
    folder = tmp_path_factory.mktemp("proof")
    _data(folder, _answers(0.5, 1))
    for seed in (1, 2):
        _run(folder, f"tiny-{seed}/arms", {"sft": 0.5, "dpo-self": 0.7}, seed)
    _run(folder, "size-1/size", {"random-all": 0.6}, 1)
    (folder / "chosen.json").write_text(json.dumps({"dpo": "dpo-3", "sft": "sft-2", "rows": 90, "right": {"none": [0.6], "dpo-3": [0.7]}}))
    (folder / "tiny-1" / "audit").mkdir()
    (folder / "tiny-1" / "audit" / "audit.json").write_text(
        json.dumps(AUDIT | {"rows": ["their own"], "stages": [STAGE, STAGE | {"task": "refusal"}]})
    )
    return folder


def test_the_page_says_what_is_not_run_and_how_many_seeds_are(two: Path, tmp_path: Path) -> None:
    assert page(tmp_path).count("Not run yet") == 3
    text = page(two)
    assert "0 of 10 seeds are finished. Of 2 more some arms are" in text and "Too few to go by" in text and "Not run yet: labels only" in text
    assert "9 tries" in text and "`dpo-3`: HS-DPO, ensemble | 0.0003 | 0.01 | 70.0% |" in text
    assert "95.0 (90.0 … 98.0)" in text and "By AUROC the twin is the better one." in text and "Of 120 outputs 100 have a chain" in text
    assert "| R-SFT on checked reasoning | 2 | 50.0%" in text and "`dpo-self` | `sft` | 2 | +20.0 |" in text


def test_the_page_of_what_is_kept_is_that_of_the_workspace_which_another_machine_need_not_have(
    two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof_kept, "BY_SEED", ())
    kept = tmp_path / "kept"
    proof_kept.keep_chosen(two, kept)
    assert proof_kept.keep(two, kept, "tiny") == ["tiny-1", "tiny-2"] and proof_kept.keep(two, kept, "size", [1]) == ["size-1"]
    assert page(tmp_path, kept) == page(two) == page(two, kept)
    assert proof_kept.keep(two, kept, "tiny") == []  # nothing new
    assert "their own" not in "".join(file.read_text() for file in kept.glob("*.json"))
    assert pl.read_parquet(kept / "tiny-1.parquet").columns == ["arm", *COLUMNS]
    seed = Seed({"sft": _answers(0.1, 1), "dpo-coin": _answers(0.9, 1)}, {"sft": 5.0})
    assert proof_kept.write(kept, "tiny", 1, seed)  # an arm more; what was kept stays
    found = proof_kept.read(kept, "tiny")[1]
    assert list(found.answers) == ["dpo-self", "sft", "dpo-coin"] and found.answers["sft"].equals(finished(two, "tiny")[1].answers["sft"])
    assert found.audit == AUDIT and found.seconds["sft"] == 5.0


def test_a_small_guards_seed_is_kept_once_it_is_whole(two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert proof_kept.keep(two, tmp_path, "tiny") == [] and not list(tmp_path.iterdir())
    assert not Seed(dict.fromkeys(ARMS, pl.DataFrame())).whole("tiny") and Seed(dict.fromkeys(ARMS, pl.DataFrame()), audit=AUDIT).whole("tiny")
    assert Seed(dict.fromkeys(MAIN, pl.DataFrame()), audit=AUDIT).whole("smollm2-135m")
    ran: list[Any] = []
    monkeypatch.setattr(proof, "arms", lambda *given: ran.append(given[-1]))
    proof_kept.write(tmp_path, "tiny", 7, Seed(dict.fromkeys(ARMS, _answers(0.5, 7)), audit=AUDIT))
    proof_kept.write(tmp_path, "smollm2-135m", 7, Seed({"sft": _answers(0.5, 7)}))
    for base in ("tiny", "smollm2-135m"):
        proof.one_seed(tmp_path / "none", tmp_path, base, 7, smoke=False)
    assert ran == [["judged-labels-only"], ["judged-sft-chosen-self"], ["judged-dpo-self"]]


def test_kept_seeds_of_other_rows_or_of_another_recipe_are_refused(two: Path, tmp_path: Path) -> None:
    changed = pl.when(pl.col("parent") == "r0").then(pl.lit("unharmful")).otherwise("label_prompt").alias("label_prompt")
    for number, rows in ((1, _answers(0.5, 1).with_columns(changed)), (2, _answers(0.5, 1).tail(ROWS - 1))):
        proof_kept.write(kept := tmp_path / str(number), "tiny", number, Seed({"sft": rows}, options="one"))
        with pytest.raises(InputError) as caught:
            page(two, kept)
        message = "1 of 200 ids with another label" if number == 1 else "1 of 199 ids only there"
        assert f"tiny-{number}.parquet" in str(caught.value) and message in str(caught.value) and "GUARDKIT_DATA" in str(caught.value)
    with pytest.raises(InputError, match="another recipe"):
        proof_kept.same_options(kept, "tiny", 3, "another")
    proof_kept.same_options(kept, "tiny", 3, "one")
    (kept / "tiny-2.json").write_text("{}")
    with pytest.raises(InputError, match="no kept results of the proof"):
        page(tmp_path, kept)
