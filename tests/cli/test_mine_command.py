"""``guardkit mine`` on what three released models really wrote, and on what it cannot use."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from commands import Result, guardkit

from toolkit.guards import load_guard, parse, render_input
from toolkit.shards import verify

GUARD = load_guard("guardreasoner")
SIZES = ("1B", "3B", "8B")


@pytest.mark.parametrize(
    ("benchmark", "task", "rows", "hard", "right", "wrong", "undecided", "unparsable"),
    [
        ("AegisSafetyTest", "prompt", 359, 38, 294, 27, 0, 1),
        ("HarmBenchPrompt", "prompt", 239, 50, 181, 8, 0, 0),
        ("XSTestResponseRefusal", "refusal", 449, 26, 404, 18, 1, 1),
    ],
)
def test_released_predictions(
    benchmark: str, task: str, rows: int, hard: int, right: int, wrong: int, undecided: int, unparsable: int, real_data: Path, tmp_path: Path
) -> None:
    files = {size: real_data / "guardreasoner" / "predictions" / size / f"{benchmark}.jsonl" for size in SIZES}
    result = guardkit(
        "mine", *(f"--predictions={name}={file}" for name, file in files.items()), "--guard", "guardreasoner", "--task", task,
        "--pairs", "longest", "--output", "out", "--json", cwd=tmp_path,
    )  # fmt: skip
    assert result.code == 0, result.err
    found = result.json
    assert {"rows", "hard", "always_right", "always_wrong", "undecided", "with_unparsable", "pairs", "output"} <= set(found)
    figures = [found[k] for k in ("rows", "hard", "always_right", "always_wrong", "undecided", "with_unparsable")]
    assert figures == [rows, hard, right, wrong, undecided, unparsable]
    assert hard + right + wrong + undecided == rows
    assert found["rejected"] == {} and set(found["missing"].values()) == {0}
    assert "[1/5] predictions" in result.err, "progress goes to stderr"
    check_pairs(tmp_path / found["shards"], found["pairs"], {s: read(f) for s, f in files.items()}, task)


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def check_pairs(shards: Path, pairs: int, predictions: dict[str, list[dict[str, Any]]], task: str) -> None:
    """The pairs hold the longest right and the longest wrong text of each hard row that read strictly: worked out from the files alone."""
    wanted: dict[tuple[str, str, str], float] = {}
    for rows in zip(*predictions.values(), strict=True):
        assert len({r["prompt"] for r in rows}) == 1, "the released files hold the same rows in the same order"
        verdicts = [parse(GUARD, r["predict"]).labels[task] for r in rows]
        right = [r["predict"] for r, v in zip(rows, verdicts, strict=True) if v == r["label"]]
        sound = [text for text in right if not parse(GUARD, text, "strict").problems]
        wrong = [r["predict"] for r, v in zip(rows, verdicts, strict=True) if v not in (None, r["label"])]
        sound_wrong = [text for text in wrong if not parse(GUARD, text, "strict").problems]
        if sound and sound_wrong:
            wanted[rows[0]["prompt"], max(sound, key=len), max(sound_wrong, key=len)] = len(wrong) - len(right)
    manifest = verify(shards)
    found = pl.concat([pl.read_parquet(shards / name) for name in manifest["files"]])
    assert found.height == pairs == len(wanted)
    low, high = min(wanted.values()), max(wanted.values())
    for row in found.iter_rows(named=True):
        key = tuple(row[c][0]["content"] for c in ("prompt", "chosen", "rejected"))
        assert row["weight"] == pytest.approx(0.8 + 0.4 * (wanted[key] - low) / (high - low))
        assert row["task"] == task


# What it cannot use ---------------------------------------------------------------------------------------------------


def prediction(n: int, predict: str, label: str = "harmful") -> dict[str, str]:
    return {"prompt": render_input(GUARD, {"prompt": f"question {n}", "response": None}), "label": label, "predict": predict}


RIGHT, WRONG = (f"Answers: \nRequest: {label}\nCompletion: None\nResponse: None" for label in ("harmful", "unharmful"))
UNREAD = "I cannot say."


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Writes a file of predictions of questions 0, 1, … ; gives its name."""

    def file(name: str, *texts: str, first: int = 0, label: str = "harmful", torn: str = "") -> str:
        lines = [json.dumps(prediction(first + n, t, label)) for n, t in enumerate(texts)]
        (tmp_path / name).write_text("\n".join([*lines, *([torn] if torn else [])]) + "\n")
        return name

    return file


def test_the_table_for_people_says_what_was_odd(cli: Callable[..., Result], write: Callable[..., str]) -> None:
    write("a.jsonl", RIGHT, RIGHT, WRONG, RIGHT, torn='{"prompt": "to')
    write("b.jsonl", WRONG, RIGHT, WRONG, UNREAD)
    write("c.jsonl", RIGHT, RIGHT, WRONG)
    result = cli("mine", "--predictions", "a=a.jsonl", "--predictions", "b=b.jsonl", "--predictions", "c=c.jsonl", "--output", "out")
    assert result.code == 0
    numbers = next(line for line in result.out.splitlines() if line.split()[:1] == ["4"]).split()
    assert numbers == ["4", "1", "1", "1", "1", "1", "1"]
    assert "rejected, bad_json: 1" in result.out and "rows that c lacks: 1" in result.out
    found = cli("mine", "--predictions", "a=a.jsonl", "--predictions", "b=b.jsonl", "--predictions", "c=c.jsonl", "--output", "out", "--json").json
    assert found["rejected"] == {"bad_json": 1} and found["missing"] == {"a": 0, "b": 0, "c": 1}


def test_pairs_are_made_as_a_recipe_makes_them_where_nothing_else_is_asked_for(cli: Callable[..., Result], tmp_path: Path) -> None:
    """One for each hard task, chosen outputs right on every task, of like length; `--rule released` goes by its own."""
    rows = {"id": ["x"], "prompt": ["question"], "response": ["answer"], "label_prompt": ["harmful"], "label_response": ["harmful"]}
    step = "# Task 1\n## Reasoning Step 1\n{}\n---\n"
    answers = [(0, "harmful", "harmful"), (90, "harmful", "unharmful"), (9, "unharmful", "harmful"), (3, "unharmful", "unharmful")]
    texts = [f"{step.format('x' * n)}Answers: \nRequest: {p}\nCompletion: compliance\nResponse: {r}\n" for n, p, r in answers]
    pl.DataFrame({**rows, "output": [texts]}).write_parquet(tmp_path / "a.parquet")
    found = cli("mine", "--predictions", "a=a.parquet", "--output", "out", "--json").json
    made = pl.read_parquet(tmp_path / "out" / "pairs" / "rows" / "*.parquet")
    assert dict(made.select("task", "chosen").iter_rows()) == {"prompt": texts[0], "response": texts[0]}
    assert dict(made.select("task", "rejected").iter_rows()) == {"prompt": texts[3], "response": texts[3]}
    assert found["pairs"] == 2 and found["lengths"]["mean_difference"] == len(texts[0]) - len(texts[3])
    assert "Lengths (pairs): " in cli("mine", "--predictions", "a=a.parquet", "--output", "out").out
    (tmp_path / "nobody.yaml").write_text("{name: nobody, hard: wrong >= 9}")
    found = cli("mine", "--predictions", "a=a.parquet", "--output", "none", "--rule", "nobody.yaml")
    assert "Note: the rule 'nobody': 'wrong >= 9' reaches to 9, and there are 4 outputs\n" in found.out
    of_code = cli("mine", "--predictions", "a=a.parquet", "--output", "code", "--rule", "released", "--json").json
    made = pl.read_parquet(tmp_path / "code" / "pairs" / "rows" / "*.parquet")
    assert of_code["pairs"] == 1 and made["chosen"].to_list() == [texts[1]]


def test_a_copy_under_another_guards_name_is_noted(cli: Callable[..., Result], write: Callable[..., str]) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        write(name, RIGHT, WRONG)
    result = cli("mine", "--predictions", "a=a.jsonl", "--predictions", "b=b.jsonl", "--output", "out")
    assert "Note: a file of 'a' and one of 'b' are equal, byte by byte: a.jsonl and b.jsonl\n" in result.out


def test_no_disagreement_is_a_result_and_no_error(cli: Callable[..., Result], write: Callable[..., str]) -> None:
    write("a.jsonl", RIGHT, WRONG)
    result = cli("mine", "--predictions", "a=a.jsonl", "--output", "out", "--json")
    assert result.code == 0
    assert result.json["pairs"] == 0 and result.json["shards"] is None and result.json["always_right"] == result.json["always_wrong"] == 1


A = ("--predictions", "a=a.jsonl")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((*A, "--predictions", "b=nowhere.jsonl"), "nowhere.jsonl: no such file"),
        ((*A, "--predictions", "a=b.jsonl"), "two draws of 'a' are the same, byte by byte"),
        ((*A, "--predictions", "b=a.jsonl"), "are the same file"),
        ((*A, "--predictions", "b.jsonl"), "not of the form NAME=FILE"),
        ((*A, "--task", "promt"), "did you mean 'prompt'"),
        ((*A, "--guard", "guardreasner"), "did you mean 'guardreasoner'"),
        ((*A, "--task", "refusal"), "a.jsonl: no row is kept, 2 are rejected: unknown_label 2"),
        ((*A, "--predictions", "c=odd.jsonl"), "odd.jsonl: no row is kept, 2 are rejected: unknown_label 2"),
        ((*A, "--predictions", "d=other.jsonl"), "no row of 'd' is a row of 'a'"),
        (("--predictions", "e=empty.jsonl"), "empty.jsonl"),
        (("--predictions", "t=torn.jsonl"), "no row is kept, 1 are rejected: bad_json 1"),
        (("--predictions", "f=folder"), "folder"),
        (("--predictions", "n=negative.jsonl"), "negative.jsonl: a draw has the number -1"),
        (("--predictions", "p=plain.jsonl"), "a prompt alone is read where the ids' column is named"),
        ((*A, "--pairs", "best"), "is not one of 'closest'"),
        ((), "Missing option '--predictions'"),
    ],
)
def test_bad_arguments_and_files_end_with_2(
    args: tuple[str, ...], message: str, cli: Callable[..., Result], write: Callable[..., str], tmp_path: Path
) -> None:
    write("a.jsonl", RIGHT, WRONG)
    write("b.jsonl", RIGHT, WRONG)
    write("odd.jsonl", RIGHT, WRONG, label="perhaps")
    write("other.jsonl", RIGHT, WRONG, first=100)
    (tmp_path / "torn.jsonl").write_text("{\n")
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "negative.jsonl").write_text(json.dumps({**prediction(0, RIGHT), "draw": -1}) + "\n")
    (tmp_path / "plain.jsonl").write_text(json.dumps({"id": "x", "prompt": "question", "label_prompt": "harmful", "output": RIGHT}) + "\n")
    (tmp_path / "folder").mkdir()
    result = cli("mine", *args, "--output", "out")
    assert result.code == 2, result.err
    assert message in " ".join(result.err.replace("│", " ").split()) or message in result.err
    assert not result.out
    assert not (tmp_path / "out" / "preference").exists()


def test_a_folder_that_holds_something_else_is_left_alone(cli: Callable[..., Result], write: Callable[..., str], tmp_path: Path) -> None:
    write("a.jsonl", RIGHT)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "diary.txt").write_text("mine")
    result = cli("mine", *A, "--output", "out")
    assert result.code == 2 and "no run of guardkit's" in result.err
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["diary.txt"]
    (tmp_path / "file").write_text("x")
    assert cli("mine", *A, "--output", "file").code == 2


def test_a_guard_of_the_users_own_is_mined_too(cli: Callable[..., Result], tmp_path: Path) -> None:
    definition = (Path(__file__).parents[2] / "schemas" / "guards" / "guardreasoner.yaml").read_text()
    own = definition.replace("name: guardreasoner", "name: own").replace("field: Request", "field: Verdict").replace("name: prompt", "name: asked")
    (tmp_path / "own.yaml").write_text(own)
    rows = [{**prediction(n, t), "predict": t} for n, t in enumerate(["Verdict: harmful", "Verdict: unharmful"])]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    result = cli("mine", *A, "--guard", "own.yaml", "--output", "deep/out", "--json")
    assert result.code == 0, result.err
    assert (result.json["always_right"], result.json["always_wrong"]) == (1, 1)
