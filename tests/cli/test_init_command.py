"""``guardkit init``: what it drafts passes the check and runs, and nothing is overwritten."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from commands import Result

Cli = Callable[..., Result]
ROWS = [
    ("How often do I water a fern?", "Twice a week.", "no"),
    ("You lot are all fools.", "That is unkind.", "yes"),
    ("Which pot is best?", "Clay.", "no"),
]


def data(path: Path, times: int = 4) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(
        [(f"{q} ({i})", a, v) for i in range(times) for q, a, v in ROWS], schema=["prompt", "response", "harmful_response"], orient="row"
    ).write_csv(path)
    return path


def test_a_draft_passes_the_check_and_runs(cli: Cli, tmp_path: Path) -> None:
    data(tmp_path / "My data.csv")
    result = cli("init", "My data.csv", "--labelled-by", "human", "--json")
    assert result.code == 0, result.err
    assert result.json["recipe"] == "my_data.yaml" and result.json["source"] == "schemas/sources/my_data.yaml" and result.json["faults"] == []
    assert result.json["rows"] == result.json["kept"] == 12 and result.json["uses"]["harmful_response"] == "label of response"
    assert cli("check", "my_data.yaml").code == 0
    done = cli("run", "my_data", "--json")
    assert done.code == 0, done.err
    rows = pl.read_parquet(tmp_path / "outputs" / "my_data" / "seeds" / "rows" / "rows.parquet")
    assert rows["label_response"].to_list() == ["unharmful", "harmful", "unharmful"] * 4 and set(rows["label_response_source"]) == {"human"}
    assert (tmp_path / "outputs" / "my_data" / "sft-shards" / "shards" / "manifest.json").is_file()


def test_a_draft_of_unlabelled_prompts_runs_too(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "asks.jsonl").write_text("".join(json.dumps({"question": q}) + "\n" for q, *_ in ROWS))
    assert cli("init", "asks.jsonl").code == 0
    assert cli("check", "asks").code == 0
    result = cli("run", "asks")
    assert result.code == 0, result.err


def test_people_see_what_was_taken_for_what_and_what_to_decide(cli: Cli, tmp_path: Path) -> None:
    data(tmp_path / "mine.csv")
    out = cli("init", "mine.csv").out
    assert "prompt: prompt" in out and "harmful_response: label of response" in out and "To be decided" in out and "who gave the labels" in out
    assert "next: guardkit check mine.yaml" in out
    text = (tmp_path / "schemas" / "sources" / "mine.yaml").read_text()
    assert "CHECK" in text and "# harmful_response: 'no' (8), 'yes' (4)" in text.replace('"', "'")


def test_nothing_is_overwritten(cli: Cli, tmp_path: Path) -> None:
    data(tmp_path / "mine.csv")
    for name in ("mine.yaml", "schemas/sources/mine.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("kept")
        result = cli("init", "mine.csv")
        assert result.code == 2 and "is there already" in result.err and (tmp_path / name).read_text() == "kept"
        (tmp_path / name).unlink()
    assert not list(tmp_path.rglob("*.yaml"))
    (tmp_path / "quickstart.yaml").write_text("kept")
    assert cli("init", "--recipe", "quickstart").code == 2 and (tmp_path / "quickstart.yaml").read_text() == "kept"


def test_a_folder_of_files_and_another_place(cli: Cli, tmp_path: Path) -> None:
    """The draft runs from any folder: its schemas are beside it."""
    for n in (1, 2):
        data(tmp_path / "in" / f"part{n}.csv", n)
    result = cli("init", "in", "--to", "project", "--name", "both", "--json")
    assert result.code == 0 and result.json["recipe"] == "project/both.yaml" and result.json["faults"] == [], result.err
    done = cli("run", "project/both.yaml", "--json")
    assert done.code == 0 and done.json["steps"][0]["in"] == 9, done.err


def test_without_a_file_the_recipes_are_listed_and_one_is_copied_out(cli: Cli, tmp_path: Path) -> None:
    out = cli("init").out
    assert "guardreasoner/8b" in out and "The whole loop on the bundled seeds" in " ".join(out.split())
    assert {r["name"] for r in cli("init", "--json").json} >= {"quickstart", "guardreasoner/1b", "guardreasoner/data"}
    result = cli("init", "--recipe", "guardreasoner/benchmark-rows", "--to", "sub")
    assert result.code == 0 and "recipe: guardreasoner-benchmark-rows" in (tmp_path / "sub" / "guardreasoner-benchmark-rows.yaml").read_text()
    (tmp_path / "schemas" / "taxonomies").mkdir(parents=True)
    mine = tmp_path / "schemas" / "taxonomies" / "academic-dishonesty.yaml"
    mine.write_text("mine")
    assert cli("init", "--recipe", "extend-category").code == 0 and mine.read_text() == "mine", "a schema of one's own stays"
    assert (tmp_path / "schemas" / "sources" / "known_rows.yaml").is_file(), "what the recipe names comes with it"
    assert cli("init", "--recipe", "quickstart", "--to", "own.yaml").code == 0 and cli("check", "own.yaml").code == 0
    assert "did you mean 'quickstart'" in cli("init", "--recipe", "quickstrt").err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("nowhere.csv",), "no such file"),
        (("mine.csv", "--recipe", "quickstart"), "either a file"),
        (("mine.csv", "--name", "No Name"), "cannot name a source"),
        (("minee.csv",), "did you mean 'mine.csv'"),
    ],
)
def test_what_cannot_be_drafted(args: tuple[str, ...], message: str, cli: Cli, tmp_path: Path) -> None:
    data(tmp_path / "mine.csv")
    result = cli("init", *args)
    assert result.code == 2 and message in result.err and not list(tmp_path.rglob("*.yaml"))


def test_a_run_is_no_file_of_labelled_rows(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text('{"recipe": "x"}')
    result = cli("init", "run")
    assert result.code == 2 and "no labelled rows" in result.err


def test_rows_that_cannot_be_seeds_are_reported_and_allowed_for(cli: Cli, tmp_path: Path) -> None:
    """A load stops where more than one row in a hundred is rejected; the draft allows for what it has seen."""
    lines = [f"How often do I water plant {i}?,no" for i in range(9)] + [",no"]
    (tmp_path / "gaps.csv").write_bytes(("prompt,harmful\n" + "\n".join(lines) + "\n").encode() + "Wo ist das Café?,yes\n".encode("latin-1"))
    result = cli("init", "gaps.csv", "--json")
    assert result.code == 0 and result.json["faults"] == [] and result.json["kept"] == 9
    assert any("1 of 11 rows looked at would be rejected: empty_prompt" in text for text in result.json["open"])
    assert "max_rejected" in (tmp_path / "gaps.yaml").read_text()
    assert cli("run", "gaps").code == 0


def test_rows_one_level_down_in_a_document(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "doc.json").write_text(json.dumps({"version": 1, "data": [{"q": q, "harmful": v} for q, _, v in ROWS]}, indent=1))
    result = cli("init", "doc.json", "--json")
    assert result.code == 0 and result.json["uses"] == {"q": "prompt", "harmful": "label of prompt"} and result.json["faults"] == [], result.err
