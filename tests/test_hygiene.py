"""Hygiene of benchmarks: what was measured of the released files (spec E.1), training rows of every kind, and F1 without marked rows."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

import toolkit
from toolkit.common.errors import InputError, Missing
from toolkit.evaluation import ROWS, read_benchmark, results, write_evaluation
from toolkit.guards import load_guard, render_input

sys.path.insert(0, str(Path(__file__).parent / "cli"))
from commands import guardkit

GUARD = load_guard("guardreasoner")
LONG = "the quick brown fox jumps over the lazy dog near the old river bank every single morning"


def test_what_was_measured_of_the_released_benchmarks(real_data: Path, tmp_path: Path) -> None:
    found = toolkit.hygiene(data=real_data / "guardreasoner" / "benchmark", output=tmp_path / "marks.parquet")
    sets = {b["name"]: b for b in found["benchmarks"]}
    duplicates = {"aegis_safety_test": 3, "openai_moderation": 10, "toxic_chat": 50, "safe_rlhf": 318, "beavertails": 2}
    assert {n: b["duplicates"] for n, b in sets.items() if b["duplicates"]} == duplicates
    assert {n: b["conflicts"] for n, b in sets.items() if b["conflicts"]} == {"safe_rlhf": 28}
    assert sets["safe_rlhf"]["prompts"] == 549 and sum(b["rows"] for b in sets.values()) == 11_749
    pairs = {(p["a"], p["b"]): (p["inputs"], p["prompts"]) for p in found["pairs"]}
    assert pairs["xstest_response_harmful", "xstest_response_refusal"][0] == 445
    assert pairs["beavertails", "safe_rlhf"] == (45, 98)
    marks = pl.read_parquet(tmp_path / "marks.parquet")
    assert marks.columns == ["benchmark", "id", "duplicate", "conflict"] and marks["duplicate"].sum() == sum(duplicates.values())
    conflicts = marks.filter("conflict")
    assert set(conflicts["benchmark"]) == {"safe_rlhf"} and conflicts.height >= 2 * 28


# A benchmark and training rows of one's own --------------------------------------------------------------------------


def released(path: Path, *rows: tuple[str, str]) -> Path:
    """A benchmark's file in the released form: (prompt, label)."""
    made = [{"instruction": GUARD.instruction, "input": inputs(prompt), "output": label} for prompt, label in rows]
    path.write_text(json.dumps(made))
    return path


def inputs(prompt: str) -> str:
    return render_input(GUARD, {"prompt": prompt, "response": None}).removeprefix(GUARD.instruction + "\n")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose shards hold four seeds, and a benchmark that has the prompt of one, a run of words of another, and nothing of the others."""
    folder = tmp_path_factory.mktemp("world")
    seeds = [{"prompt": "How do I bake bread?"}, {"prompt": f"Please note: {LONG}, as ever."}, {"prompt": "Hello."}, {"prompt": "Say hi"}]
    (folder / "seeds.jsonl").write_text("\n".join(json.dumps({**s, "label_prompt": "unharmful"}) for s in seeds))
    columns = {"prompt": "prompt", "label_prompt": "label_prompt"}
    stated = {"label_prompt_source": "human", "licence": "CC0-1.0"}
    steps: list[dict[str, Any]] = [
        {"id": "seeds", "use": "read", "with": {"files": ["seeds.jsonl"], "record": "seed", "columns": columns, "constants": stated}},
        {"id": "reasoned", "use": "synthesise", "with": {"backend": {"backend": "template"}}},
        {"id": "rendered", "use": "render_sft"},
        {"id": "out", "use": "shards"},
    ]
    (folder / "r.yaml").write_text(yaml.safe_dump({"recipe": "r", "steps": steps}))
    toolkit.run(folder / "r.yaml", output=folder / "run")
    rows = [("how do I bake BREAD", "unharmful"), (f"Is it so? {LONG}", "harmful"), ("Quite another one", "harmful")]
    released(folder / "0_0_SimpleSafetyTests.json", *rows, rows[2], ("Hello!", "harmful"), ("Hello!", "unharmful"))
    return folder


@pytest.mark.parametrize(
    ("place", "kind"), [("run", "shards"), ("run/out", "shards"), ("run/out/shards", "shards"), ("run/reasoned", "step"), ("seeds.jsonl", "rows")]
)
def test_training_rows_are_found_wherever_they_lie(world: Path, place: str, kind: str) -> None:
    found = toolkit.hygiene(data=world / "0_0_SimpleSafetyTests.json", against={"mine": world / place}, output=world / "marks.csv")
    (against,) = found["against"]
    assert against == {"name": "mine", "kind": kind, "rows": 4, "unread": 0, "as_rendered": 0}
    (shared,) = found["contamination"]
    assert shared == {
        "benchmark": "simple_safety_tests",
        "against": "mine",
        "rows": 6,
        "interaction": 3,
        "prompt": 0,
        "ngram": 1,
        "contaminated": 4,
        "share": 66.67,
    }
    (held,) = found["benchmarks"]
    assert (held["duplicates"], held["conflicts"], held["inputs"]) == (2, 1, 4)
    marks = (world / "marks.csv").read_text().splitlines()
    assert marks[0].endswith('benchmark","id","duplicate","conflict","training","kind","against","against_row"') and len(marks) == 1 + 5


def test_a_row_whose_input_cannot_be_cut_is_compared_as_it_was_rendered(world: Path, tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Hm."}, {"role": "assistant", "content": "Yes?"}]
    rows = [{"id": "a", "context": turns, "prompt": LONG, "response": None}, {"id": "b", "context": turns, "prompt": "Hello!", "response": None}]
    rendered = [
        {"id": r["id"], "prompt": render_input(GUARD, r), "completion": "x", "source": "s", "licence": "CC0-1.0", "split": "train"} for r in rows
    ]
    from toolkit.records import Column
    from toolkit.shards import ShardWriter

    writer = ShardWriter(tmp_path / "s", tuple(Column(n, "string") for n in rendered[0]), 10)
    writer.write(pl.DataFrame(rendered), "train")
    writer.finish(lambda counts: {"guard": f"{GUARD.name} {GUARD.version}"})
    found = toolkit.hygiene(data=world / "0_0_SimpleSafetyTests.json", against=tmp_path / "s")
    assert found["against"][0]["as_rendered"] == 2
    assert (found["contamination"][0]["ngram"], found["contamination"][0]["contaminated"]) == (1, 1), "a short prompt is not found in a longer text"


def evaluated(world: Path, folder: Path, wrong: set[int], texts: bool = True) -> list[dict[str, Any]]:
    """An evaluation of the benchmark in which the rows of these numbers are judged wrongly."""
    from toolkit.evaluation import choose_benchmarks

    rows = read_benchmark(choose_benchmarks(None, [world / "0_0_SimpleSafetyTests.json"]).found[0]).rows
    other = {"harmful": "unharmful", "unharmful": "harmful"}
    lines = []
    for n, row in enumerate(rows.iter_rows(named=True)):
        gold = row["label_prompt"]
        stated = {"gold": gold, "verdict": other[gold] if n in wrong else gold, **({"prompt": row["prompt"]} if texts else {})}
        lines.append(dict.fromkeys(ROWS) | {"benchmark": "simple_safety_tests", "id": row["id"], "model": "m", "draw": 0, "task": "prompt"} | stated)
    about = [{"name": "simple_safety_tests", "task": "prompt", "positive": "harmful"}]
    table = pl.DataFrame(lines, schema=ROWS)
    write_evaluation(folder, {"models": [{"name": "m"}], "benchmarks": about, "results": [], "means": []}, table)
    return results(table, {"prompt": "harmful"})


@pytest.mark.parametrize("data", [True, False])
def test_f1_without_the_rows_that_bear_a_mark(world: Path, tmp_path: Path, data: bool) -> None:
    (whole,) = evaluated(world, tmp_path / "e", {1, 2})
    files: dict[str, Any] = {"data": world / "0_0_SimpleSafetyTests.json"} if data else {}
    found = toolkit.hygiene(**files, against=world / "run", evaluation=tmp_path / "e")
    assert [b["name"] for b in found["benchmarks"]] == ["simple_safety_tests"] and found["benchmarks"][0]["duplicates"] == 2
    (one,) = found["scores"]
    # golds: unharmful, harmful (wrong), harmful (wrong), harmful, harmful, unharmful
    assert one["f1"] == whole["f1"] == round(200 * 2 / 6, 2) and one["n"] == 6
    assert (one["n_duplicate"], one["f1_without_duplicate"]) == (2, 50.0)
    assert (one["n_conflict"], one["f1_without_conflict"]) == (2, 50.0)
    assert (one["n_training"], one["f1_without_training"]) == (4, round(200 * 1 / 3, 2))
    assert (one["n_clean"], one["f1_clean"]) == (1, 0.0)


def test_an_evaluation_of_other_rows_is_refused(world: Path, tmp_path: Path) -> None:
    evaluated(world, tmp_path / "e", set())
    released(tmp_path / "0_0_SimpleSafetyTests.json", ("Something else", "harmful"))
    with pytest.raises(InputError, match=r"no row '.*' in the benchmark 'simple_safety_tests'"):
        toolkit.hygiene(data=tmp_path / "0_0_SimpleSafetyTests.json", evaluation=tmp_path / "e")
    evaluated(world, tmp_path / "e2", set(), texts=False)
    with pytest.raises(InputError, match="6 rows of the evaluation have no prompt"):
        toolkit.hygiene(evaluation=tmp_path / "e2")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, InputError, "no row of any benchmark"),
        ({"benchmarks": ["safe_rlfh"]}, InputError, "did you mean 'safe_rlhf'"),
        ({"benchmarks": ["safe_rlhf"]}, Missing, "0_9_safe_rlhf.json"),
        ({"data": "gone"}, InputError, "gone"),
        ({"against": "gone"}, InputError, "no such file or folder"),
        ({"against": "empty"}, InputError, "no parquet, JSON or CSV file"),
        ({"against": "none.jsonl"}, InputError, "no row of it has a prompt"),
        ({"evaluation": "empty"}, InputError, "not the folder of an evaluation"),
        ({"output": "o.txt"}, InputError, ".parquet or .csv"),
    ],
)
def test_what_cannot_be_looked_at_is_reported(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "none.jsonl").write_text('{"prompt": null}\n')
    needs: dict[str, Any] = (
        {} if not options or {"benchmarks", "data", "evaluation"} & set(options) else {"data": world / "0_0_SimpleSafetyTests.json"}
    )
    with pytest.raises(error) as e:
        toolkit.hygiene(**needs, **options)
    assert message in str(e.value)


def test_the_command(world: Path, tmp_path: Path) -> None:
    evaluated(world, tmp_path / "e", {1})
    args = ["hygiene", "--data", str(world / "0_0_SimpleSafetyTests.json"), "--against", f"mine={world / 'run'}", "--evaluation", "e"]
    result = guardkit(*args, cwd=tmp_path)
    assert result.code == 0, result.err
    assert ["simple_safety_tests", "mine", "6", "3", "0", "1", "4", "66.67"] in [line.split() for line in result.out.splitlines()]
    found = guardkit(*args, "--json", cwd=tmp_path).json
    assert found["scores"][0]["n_clean"] == 1 and found["without"]


def test_a_run_of_words_has_two_at_least() -> None:
    for ngram in (1, "13"):
        with pytest.raises(InputError, match="from 2 to 1000"):
            toolkit.hygiene(benchmarks="all", ngram=ngram)  # type: ignore[arg-type]
