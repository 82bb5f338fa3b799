"""`benchmarks`: the rows of benchmarks as seeds, from whatever files there are; what is left out or cannot be read is reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from frames import rows_of, run_steps

import toolkit
from toolkit import api
from toolkit.common.errors import InputError, Missing
from toolkit.evaluation import benchmark_names, load_benchmark
from toolkit.guards import load_guard, render_input
from toolkit.records import load_record

GUARD = load_guard("guardreasoner")
OURS = """name: ours
positive: harmful
files: [ours.csv]
columns: {prompt: question, response: answer}
labels:
  prompt: {column: bad, map: {"yes": harmful, "no": unharmful}, source: human}
  response: {column: worse, map: {1: harmful, 0: unharmful}, source: human, applies: response}
categories: {columns: [topic], kind: string}
"""


def step(**options: Any) -> dict[str, Any]:
    return {"id": "rows", "use": "benchmarks", "with": options}


def released(path: Path, *rows: tuple[str, str | None, str]) -> Path:
    """A file of the form of those that GuardReasoner released."""
    made = [{"input": render_input(GUARD, {"prompt": p, "response": r}).removeprefix(GUARD.instruction + "\n"), "output": o} for p, r, o in rows]
    path.write_text(json.dumps(made))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Some benchmarks' files, and one of the user's own."""
    (tmp_path / "bench").mkdir()
    released(tmp_path / "bench" / "0_0_SimpleSafetyTests.json", ("One", None, "harmful"), ("Two", None, "harmful"))
    released(tmp_path / "bench" / "0_7_xstest_response_refusal.json", ("One", "No.", "refusal"))
    (tmp_path / "ours.yaml").write_text(OURS)
    lines = ["question,answer,bad,worse,topic", "Why?,So.,no,0,tea", "How?,,yes,,insults", "When?,Now.,maybe,1,tea"]
    (tmp_path / "ours.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_rows_are_seeds_with_the_name_of_their_benchmark(folder: Path) -> None:
    made = run_steps(folder, [step(benchmarks=["ours.yaml", "xstest_response_refusal", "simple_safety_tests"], files=["bench"], max_rejected=0.5)])[
        "rows"
    ]
    rows = rows_of(made)
    assert rows.columns == [*load_record("seed", GUARD.task_names).names, "benchmark"]
    assert rows["benchmark"].to_list() == ["ours", "ours", "simple_safety_tests", "simple_safety_tests", "xstest_response_refusal"]
    assert rows["label_prompt"].to_list() == ["unharmful", "harmful", "harmful", "harmful", None]
    assert rows["label_response"].to_list() == ["unharmful", None, None, None, None]
    assert rows["label_refusal"].to_list() == [None] * 4 + ["refusal"]
    assert rows["label_refusal_source"].to_list() == ["absent", "not_applicable", "not_applicable", "not_applicable", "human"]
    assert rows["categories"].to_list() == [["tea"], ["insults"], [], [], []], "the set's own words"
    same, _ = toolkit.apply("load", source="guardreasoner_benchmark", files=[str(folder / "bench")])
    assert set(rows["id"][2:]) == set(same["id"]), "the ids that the rows have as seeds"
    rejects = pl.read_parquet(made.path / "rejects.parquet")
    assert rejects["reason"].to_list() == ["unknown_label"] and rejects["detail"][0].startswith("ours, row 3: bad: 'maybe'")
    counts = made.manifest["stats"]["benchmarks"]
    assert counts["ours"] == {"rows": 2, "rejected": 1, "stated": None} and counts["simple_safety_tests"] == {"rows": 2, "rejected": 0, "stated": 100}


def test_what_no_file_holds_is_reported_and_left_out_where_that_is_asked_for(folder: Path) -> None:
    made = run_steps(folder, [step(benchmarks="all", files=["bench"], hub=False, without="leave_out")])["rows"]
    left = made.manifest["stats"]["left_out"]
    assert set(left) == set(benchmark_names()) - {"simple_safety_tests", "xstest_response_refusal"}
    assert "0_8_toxic_chat.json" in left["toxic_chat"] and made.rows == 3
    with pytest.raises(Missing, match=r"0_8_toxic_chat.json"):
        run_steps(folder, [step(benchmarks="all", files=["bench"], hub=False)])


def test_nothing_at_all_to_read_stops_the_run_before_it_starts(folder: Path) -> None:
    with pytest.raises(Missing, match="none of the 1 benchmarks of the step 'rows' can be read here"):
        run_steps(folder, [step(benchmarks=["toxic_chat"], hub=False, without="leave_out")])


def test_the_command_line_gives_files_by_benchmark_or_all_released_ones_at_once(folder: Path) -> None:
    steps = [step(benchmarks=["simple_safety_tests", "xstest_response_refusal"])]
    shared = run_steps(folder, steps, sources={"guardreasoner_benchmark": [folder / "bench"]})["rows"]
    assert shared.rows == 3
    one = released(folder / "other.json", ("Three", None, "harmful"))
    found = run_steps(folder, steps, sources={"guardreasoner_benchmark": [folder / "bench"], "simple_safety_tests": [one]})["rows"]
    assert rows_of(found)["prompt"].to_list() == ["Three", "One"], "what is named for one benchmark comes first"


def test_where_files_lie_and_in_which_order_benchmarks_are_named_changes_nothing(folder: Path) -> None:
    names = ["xstest_response_refusal", "simple_safety_tests"]
    first = run_steps(folder, [step(benchmarks=names, files=["bench"])])["rows"]
    (folder / "bench").rename(folder / "moved")
    assert run_steps(folder, [step(benchmarks=names[::-1], files=["moved"])])["rows"].manifest == first.manifest
    released(folder / "moved" / "0_0_SimpleSafetyTests.json", ("Another", None, "harmful"))
    assert run_steps(folder, [step(benchmarks=names, files=["moved"])])["rows"].manifest["fingerprint"] != first.manifest["fingerprint"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"benchmarks": ["toxicchat"]}, "no benchmark called 'toxicchat'\n  did you mean 'toxic_chat'?"),
        ({"benchmarks": ["ours.yaml", "ours.yaml"]}, "named twice"),
        ({"benchmarks": []}, "at least 1 item"),
        ({"benchmarks": ["toxic_chat"], "files": {"toxicchat": ["x"]}}, "files for 'toxicchat', which is not read; did you mean 'toxic_chat'?"),
        ({"benchmarks": ["ours.yaml"]}, "1 of 3 rows are rejected"),
        ({"benchmarks": ["ours.yaml"], "files": ["gone"]}, "no such file"),
        ({"benchmarks": ["other.yaml"]}, "'fine', of benchmark 'other', is no label of guard 'guardreasoner' for 'prompt'"),
        ({"benchmarks": ["tone.yaml"]}, "the guard 'guardreasoner' does not judge tone"),
        ({"benchmarks": ["unsaid.yaml"]}, "does not say which label of the task 'prompt' F1 counts"),
        ({"benchmarks": ["wrong.yaml"]}, "needs the column 'badd', which is not there"),
    ],
)
def test_what_cannot_be_read_is_reported(folder: Path, options: dict[str, Any], message: str) -> None:
    one = 'name: {}\npositive: {}\ntask: {}\nfiles: [ours.csv]\ncolumns: {{prompt: question}}\nlabel: {{column: {}, map: {{"yes": {}, "no": fine}}, source: human}}\n'
    (folder / "other.yaml").write_text(one.format("other", "bad", "prompt", "bad", "bad"))
    (folder / "tone.yaml").write_text(one.format("tone", "rude", "tone", "bad", "rude"))
    (folder / "unsaid.yaml").write_text(one.format("unsaid", "x", "prompt", "bad", "harmful").replace("positive: x\n", ""))
    (folder / "wrong.yaml").write_text(one.format("wrong", "harmful", "prompt", "badd", "harmful").replace("fine", "unharmful"))
    with pytest.raises(InputError) as e:
        run_steps(folder, [step(**options)])
    assert message in str(e.value)


def test_a_limit_is_so_many_rows_of_each(folder: Path) -> None:
    made = run_steps(folder, [step(benchmarks=["ours.yaml", "simple_safety_tests"], files=["bench"], limit=1)])["rows"]
    assert rows_of(made)["prompt"].to_list() == ["Why?", "One"] and made.manifest["counts"][0]["in"] == 2


def test_plan_counts_the_rows_of_the_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = folder / "r.yaml"
    recipe.write_text(json.dumps({"recipe": "r", "steps": [step(benchmarks=["ours.yaml", "simple_safety_tests"], files=["bench"])]}))
    monkeypatch.chdir(folder)
    assert api.plan(str(recipe))["steps"][0]["rows"] == 5


def test_the_released_rows(tmp_path: Path, real_data: Path) -> None:
    found = run_steps(tmp_path, [step(benchmarks="all", hub=False, without="leave_out", files=[str(real_data / "guardreasoner" / "benchmark")])])[
        "rows"
    ]
    rows = rows_of(found)
    assert rows.height == 11_749 == rows["id"].n_unique()
    for name, frame in rows.group_by("benchmark"):
        b = load_benchmark(str(name[0]))
        (task,) = b.task_names
        counts = dict(frame[f"label_{task}"].value_counts().iter_rows())
        assert {w: n for w, n in b.counts[task].items() if n} == counts
        assert all(frame[f"label_{t}"].is_null().all() for t in GUARD.task_names if t != task)
    assert set(found.manifest["stats"]["left_out"]) == {"wildguard_test_prompt", "wildguard_test_refusal", "wildguard_test_response"}
