"""A folder is taken where files are, and a step's where its shards are; a mistaken task or name says which is meant."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import Result

import toolkit
from toolkit.guards import load_guard, render_input

Cli = Callable[..., Result]
GUARD = load_guard("guardreasoner")


def prediction(n: int, label: str, verdict: str) -> dict[str, str]:
    return {"prompt": render_input(GUARD, {"prompt": f"question {n}", "response": "answer"}), "label": label, "predict": verdict}


def write(path: Path, *rows: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))


def test_mine_says_which_task_the_labels_fit(cli: Cli, tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path / f"{name}.jsonl", *(prediction(n, ("refusal", "compliance")[n % 2], "Completion: refusal") for n in range(4)))
    files = ("--predictions", "a=a.jsonl", "--predictions", "b=b.jsonl", "--output", "out")
    result = cli("mine", *files)
    assert result.code == 2 and "the labels fit the task 'refusal' (4 rows)" in result.err and "--task" in result.err, result.err
    assert cli("mine", *files[:-1], "right", "--task", "refusal").code == 0


def test_mine_takes_folders(cli: Cli, tmp_path: Path) -> None:
    for name, word in (("a", "harmful"), ("b", "unharmful")):
        write(tmp_path / name / "one.jsonl", *(prediction(n, "harmful", f"Request: {word}") for n in range(2)))
        write(tmp_path / name / "two.jsonl", *(prediction(n, "harmful", f"Request: {word}") for n in range(2, 5)))
        write(tmp_path / f"{name}.jsonl", *(prediction(n, "harmful", f"Request: {word}") for n in range(5)))
    figures = ("rows", "hard", "missing")
    folders = cli("mine", "--predictions", "a=a", "--predictions", "b=b", "--output", "out", "--json")
    assert folders.code == 0, folders.err
    single = cli("mine", "--predictions", "a=a.jsonl", "--predictions", "b=b.jsonl", "--output", "single", "--json")
    assert [folders.json[f] for f in figures] == [single.json[f] for f in figures] == [5, 5, {"a": 0, "b": 0}]
    (tmp_path / "empty").mkdir()
    result = cli("mine", "--predictions", "a=a", "--predictions", "b=empty", "--output", "none")
    assert result.code == 2 and "no parquet, JSON or CSV file in this folder" in result.err


def test_train_takes_a_steps_folder_and_a_run_names_its_steps(cli: Cli, tmp_path: Path) -> None:
    steps = [
        {"id": "seeds", "use": "load", "with": {"source": "quickstart", "limit": 2}},
        {"id": "reasoning", "use": "synthesise", "with": {"backend": {"backend": "template"}}},
        {"id": "rows", "use": "render_sft"},
        {"id": "papers", "use": "shards"},
    ]
    toolkit.run({"recipe": "r", "steps": steps}, output="outputs/r")
    more = {"output": "guard", "model": {"scratch": {}}, "trainer": {"learning_rat": 1}}
    for place, message in (("outputs/r/papers", "learning_rat"), ("outputs/r/papers/shards", "learning_rat"), ("outputs/r", "outputs/r/papers")):
        (tmp_path / "t.yaml").write_text(json.dumps({"shards": place, **more}))
        result = cli("train", "sft", "t.yaml")
        assert result.code == 2 and message in result.err, result.err
    result = cli("verify", "outputs/r/rows")
    assert result.code == 2 and "'rows' made no shards" in result.err and "guardkit verify outputs/r`" in result.err, result.err
    result = cli("train", "sft", "outputs/r")
    assert result.code == 2 and "a folder, where a file is read" in result.err and "outputs/r/recipe.yaml" in result.err, result.err
    result = cli("overlaps", "--rows", "all=outputs/r", "--source", "quickstart")
    assert result.code == 2 and "outputs/r/seeds" in result.err, result.err


def test_the_journal_is_found_in_its_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    steps = [
        {"id": "seeds", "use": "load", "with": {"source": "quickstart", "limit": 1}},
        {"id": "r", "use": "synthesise", "with": {"backend": {"backend": "template"}}},
    ]
    toolkit.run({"recipe": "r", "steps": steps}, output="elsewhere/r")
    if (tmp_path / "elsewhere" / "journal").is_dir():
        assert toolkit.journal_show("elsewhere")["answers"] == toolkit.journal_show("elsewhere/journal")["answers"] > 0


@pytest.mark.parametrize("layout", ["recipe.yaml", "recipes/recipe.yaml", "recipes/mine/recipe.yaml"])
def test_schemas_beside_a_recipe_are_found_from_anywhere(layout: str, cli: Cli, tmp_path: Path) -> None:
    """As a project has them: `recipes` and `schemas` side by side."""
    project = tmp_path / "project"
    guard = toolkit.load_guard("guardreasoner").model_dump(mode="json")
    for kind, name, text in (
        ("guards", "ours", json.dumps({**guard, "name": "ours"})),
        (
            "sources",
            "rows",
            json.dumps(
                {
                    "name": "rows",
                    "version": 1,
                    "description": "d",
                    "licence": "MIT",
                    "files": ["*.jsonl"],
                    "columns": {"prompt": "q"},
                    "labels": {"prompt": {}},
                }
            ),
        ),
    ):
        file = project / "schemas" / kind / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    write(project / "rows.jsonl", {"q": "How often?"})
    recipe = project / layout
    recipe.parent.mkdir(parents=True, exist_ok=True)
    files = {"source": "rows", "files": [str(project / "rows.jsonl")]}
    recipe.write_text(json.dumps({"recipe": "r", "guard": "ours", "steps": [{"id": "seeds", "use": "load", "with": files}]}))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    result = cli("run", str(recipe), "--output", str(elsewhere / "out"))
    assert result.code == 0, result.err
    assert cli("runs", "status", str(elsewhere / "out")).code == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("generate", "--model", "m", "--input", "prompt.jsonl", "--output", "o.jsonl"), "did you mean 'prompts.jsonl'?"),
        (("verify", "prompts.jsonll"), "did you mean 'prompts.jsonl'?"),
        (("export", "prompts.jsonll", "--format", "trl"), "did you mean 'prompts.jsonl'?"),
        (("train", "sft", "prompts.jsonn"), "did you mean 'prompts.jsonl'?"),
        (("overlaps", "--rows", "a=prompts.json"), "did you mean 'prompts.jsonl'?"),
        (("mine", "--predictions", "a=promts.jsonl", "--output", "o"), "did you mean 'prompts.jsonl'?"),
    ],
)
def test_the_nearest_file_stands_beside_a_mistaken_one(args: tuple[str, ...], message: str, cli: Cli, tmp_path: Path) -> None:
    write(tmp_path / "prompts.jsonl", {"id": "a", "user": "Hello."})
    result = cli(*args)
    assert result.code == 2 and message in result.err, result.err
