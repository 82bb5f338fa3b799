"""A new harm category: docs/extend-category.md, on a small dataset and a guard of random weights up to the training; whole in the slow test."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import yaml

import toolkit
from toolkit.cli import _say, main
from toolkit.common.errors import InputError
from toolkit.common.resources import shipped
from toolkit.taxonomy import load_taxonomy

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests" / "generation"), str(ROOT / "tests" / "operators"), str(ROOT / "tests" / "benchmarks")]
import extend_smollm2  # noqa: E402
from server import running  # noqa: E402
from teachers import openai, sound  # noqa: E402
from test_generate_seeds import Author  # noqa: E402
from tiny import tiny_llama  # noqa: E402

QUICKSTART = [
    {"id": "seeds", "use": "load", "with": {"source": "quickstart", "limit": 12}},
    {"id": "parts", "use": "split", "with": {"parts": {"train": 0.7, "test": 0.3}}},
    {"id": "test-rows", "use": "select", "with": {"where": {"split": "test"}}},
    {"id": "train-rows", "use": "select", "from": "parts", "with": {"where": {"split": "train"}}},
    {"id": "reasoning", "use": "synthesise", "with": {"backend": {"backend": "template"}}},
    {"id": "sft-rows", "use": "render_sft"},
    {"id": "sft-shards", "use": "shards", "with": {"title": "Quickstart reasoning"}},
]
"""As far as the recipe reads it."""


def commands() -> list[list[str]]:
    page = (ROOT / "docs" / "extend-category.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for line in block.splitlines()]


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a dataset and a guard, where the quickstart has them."""
    monkeypatch.chdir(tmp_path)
    toolkit.run({"recipe": "quickstart", "seed": 11, "steps": QUICKSTART})
    tiny_llama(tmp_path / "outputs" / "quickstart" / "guard-main", positions=4096)
    return tmp_path


def test_the_page_runs_as_it_stands_up_to_the_training(old: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for program, *words in commands():
        assert program == "guardkit"
        if words[0] == "quickstart":
            continue
        more = ["--set", "seeds.count=3", "--until", "mixed-shards", "--until", "extended"] if words[0] == "run" else []
        monkeypatch.setattr(sys, "argv", ["guardkit", *words, *more])
        monkeypatch.setattr(_say, "documents", 0)
        with pytest.raises(SystemExit) as end:
            main()
        shown = capsys.readouterr()
        assert not end.value.code, f"{shlex.join(words)}\n{shown.out}{shown.err}"
    run = toolkit.read_run("outputs/extend-category")
    rows = run["unique"].polars()
    cells = rows.group_by("seed_label", "seed_form").len().sort("seed_label", "seed_form").rows()
    assert {cell[:2] for cell in cells} == {
        ("benign", "comply"), ("benign", "prompt"), ("benign", "refuse"), ("borderline", "prompt"), ("borderline", "refuse"), ("harmful", "prompt"),
        ("harmful", "refuse"),
    }  # fmt: skip
    assert set(rows["licence"]) == {"synthetic"} and not set(rows.filter(pl.col("seed_label") == "harmful")["label_prompt"]) - {"harmful"}
    manifest = json.loads(Path("outputs/extend-category/extended/shards/manifest.json").read_text())
    old_rows = json.loads(Path("outputs/quickstart/sft-shards/shards/manifest.json").read_text())["rows"]
    new = run["rendered"].polars().height
    assert manifest["rows"] == old_rows + new and new > 6
    assert {line["category"] for line in manifest["tables"]["categories"]} > {"academic-dishonesty", "none"}
    assert run["mixed"].polars().height == 2 * new, "as many old rows as new ones"


def test_models_behind_an_endpoint_write_judge_and_reason(old: Path) -> None:
    """Author, judge and teacher are three models of an OpenAI-compatible server."""
    with running(Author()) as served:
        assert isinstance(served, Author)
        write = served.say
        served.say = lambda body: sound(body) if body["model"] == "teacher" else write(body)
        backends = {
            "seeds.backend": openai(served, "author") | {"temperature": 1.0, "concurrency": 1},
            "seeds.judge": openai(served, "judge"),
            "reasoning.backend": openai(served, "teacher"),
        }
        sets = [f"{key}={json.dumps(value)}" for key, value in backends.items()]
        toolkit.run("extend-category", overrides=[*sets, "seeds.count=2", "reasoning.definitions=row"], until=["mixed-shards", "extended"])
    rows = toolkit.read_run("outputs/extend-category")["rendered"].polars()
    assert set(rows["seed_model"]) == {"author"} and set(rows["judge_model"]) == {"judge"} and set(rows["teacher"]) == {"teacher"}
    shown = [b["messages"][0]["content"] for b in served.requests if b["model"] == "teacher"]
    defined = (
        load_taxonomy(shipped("recipes") / "extend-category" / "schemas" / "taxonomies" / "academic-dishonesty.yaml").categories[-1].policy_text()
    )
    assert sum(defined in text for text in shown) == rows["categories"].list.len().sum(), "the teacher is shown what the category of harmful rows is"


def test_the_worked_example_is_a_category_that_guardkits_taxonomy_lacks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    file = shipped("recipes") / "extend-category" / "schemas" / "taxonomies" / "academic-dishonesty.yaml"
    assert "academic-dishonesty" not in load_taxonomy().names
    assert toolkit.check_category(file)["findings"] == []
    with pytest.raises(InputError, match=r"outputs/quickstart/test-rows/rows/rows\.parquet: no such file"):
        toolkit.check("extend-category")
    on_smollm2 = extend_smollm2.extension(tmp_path / "copy", tmp_path, 10, 200)
    with pytest.raises(InputError, match=r"test-rows/rows/rows\.parquet: no such file"):
        toolkit.check(on_smollm2)  # no other fault
    recipe = yaml.safe_load((shipped("recipes") / "extend-category" / "recipe.yaml").read_text())
    assert recipe["parameters"]["category"] == load_taxonomy(file).name == "academic-dishonesty"
    assert [name for name in (line["name"] for line in toolkit.list_recipes()) if "schemas" in name] == [], "what is beside a recipe is none"


@pytest.mark.timeout(3600)  # a whole quickstart before it
def test_the_page_runs_whole_and_the_category_rises(tmp_path: Path) -> None:
    for _, *words in commands():
        command = [sys.executable, "-m", "toolkit", *words]
        done = subprocess.run(command, cwd=tmp_path, env={**os.environ, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True)
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}"
    found = json.loads((tmp_path / "outputs" / "extend-category" / "certificate" / "certificate" / "certificate.json").read_text())
    lines = {(line["area"], line["name"], line["task"], line["figure"]): line for line in found["lines"]}
    new = lines["benchmark", "new", "prompt", "f1"]
    assert new["verdict"] == "pass" and new["low"] > 0, "the guard has learned the category, and the interval shows it"
    others = [line for line in found["lines"] if line["name"] not in ("new", "academic-dishonesty")]
    assert {line["verdict"] for line in others} <= {"pass", "too few rows"}, "no other category, benchmark or refusal behaviour got worse"
    assert all(line["rows"] > line["n"] for line in others if line["verdict"] == "too few rows"), "how many rows would tell is said"
    assert len({line["name"] for line in others if line["area"] == "category"}) > 8
    known = [line for line in others if line["name"] == "known"]
    scores = [line for line in known if line["figure"] == "f1"]
    assert len(known) == 6 and all(line["high"] > 0 for line in scores), "no task's F1 on rows of before is shown to have fallen"
