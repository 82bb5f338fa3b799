"""A run's figures and tables, from what is in its folder."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import toolkit
from toolkit.common.errors import InputError
from toolkit.guards import load_guard, render_input
from toolkit.report import print_summary, summarise

GUARD = load_guard("guardreasoner")
ODD = "b\x1b[31m"


def prediction(n: int, predict: str) -> dict[str, str]:
    return {"prompt": render_input(GUARD, {"prompt": f"question {n}", "response": None}), "label": "harmful", "predict": predict}


def run(folder: Path, steps: list[dict[str, Any]], **options: Any) -> Path:
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump({"recipe": "small", "steps": steps}, sort_keys=False))
    return toolkit.run(file, output=folder / "run", **options).folder


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    """A run that mines and scores two guards' predictions on four rows."""
    texts = {"a": ["harmful", "unharmful", "harmful", "harmful"], ODD: ["unharmful", "unharmful", "harmful", "?"]}
    for i, answer in enumerate(texts.values()):
        (tmp_path / f"{i}.jsonl").write_text(
            "".join(json.dumps(prediction(n, f"Answers: \nRequest: {w}\nCompletion: None\nResponse: None")) + "\n" for n, w in enumerate(answer))
            + "{torn\n"
        )
    files = {name: str(tmp_path / f"{i}.jsonl") for i, name in enumerate(texts)}
    return run(
        tmp_path,
        [
            {"id": "predictions", "use": "load_predictions", "with": {"files": files, "task": "prompt"}},
            {"id": "verdicts", "use": "verdicts"},
            {"id": "hard", "use": "mine"},
            {"id": "pairs", "use": "pair", "from": {"rows": "hard", "verdicts": "verdicts"}},
            {"id": "scores", "use": "evaluate", "from": "verdicts"},
        ],
    )


def printed(summary: dict[str, Any]) -> str:
    out = io.StringIO()
    print_summary(summary, out)
    return out.getvalue()


def test_figures_come_from_the_manifests(judged: Path) -> None:
    found = summarise(judged)
    steps = {s["step"]: s for s in found["steps"]}
    assert [steps[s]["in"] for s in ("predictions", "verdicts", "hard", "pairs")] == [10, 8, 8, 1]
    assert steps["predictions"]["rejected"] == {"bad_json": 2} and steps["hard"]["merged"] == 4
    assert steps["hard"]["set_aside"] == {"always_right": 1, "always_wrong": 1, "undecided": 1}
    assert all(s["seconds"] >= 0 and Path(s["folder"]).is_dir() for s in found["steps"])
    assert found["hard"]["hard"]["hard_by_task"] == {"prompt": 1, "refusal": 0, "response": 0}
    assert found["pairs"]["pairs"] == {"prompt": 1, "refusal": 0, "response": 0}
    assert [f["value"] for f in found["figures"] if f["name"] == "passed_over"] == [{}]
    assert {r["guard"] for r in found["scores"]["scores"]} == {"a", ODD, "majority class", "always positive"}
    assert found["notes"] == [] and found["seconds"] == pytest.approx(sum(s["seconds"] for s in found["steps"]), abs=0.06)
    json.dumps(found)


def test_tables_show_every_number_and_obey_nothing(judged: Path) -> None:
    text = printed(summarise(judged))
    for words in (
        "rows at each step",
        "bad_json 2",
        "always_wrong 1",
        "Hard by task: prompt 1",
        "Preference pairs (pairs): 1",
        "majority class",
        "75.0 [",
    ):
        assert words in text
    assert "\x1b" not in text and "b\\x1b[31m" in text
    assert str(judged) in text, "where everything is"


def test_a_killed_run_is_shown_as_far_as_it_came(judged: Path) -> None:
    with (judged / "events.jsonl").open("a") as log:
        log.write('{"event": "built"}\n[1]\n"x"\n{"event": "built", "st')
    with (judged / "events.jsonl").open("ab") as raw:
        raw.write(b"\xff\xfe\0\n")
    (judged / "scores" / "manifest.json").unlink()
    found = summarise(judged)
    assert found["steps"][-1] == {"step": "scores", "use": "evaluate", "state": "not built"}
    assert "not built" in printed(found)
    with pytest.raises(InputError, match="not the folder of a run"):
        summarise(judged.parent)


SEEDS: dict[str, Any] = {"id": "seeds", "use": "load", "with": {"source": "quickstart", "limit": 6}}


def test_template_reasoning_and_its_steps_are_reported(tmp_path: Path) -> None:
    steps: list[dict[str, Any]] = [
        SEEDS,
        {"id": "r", "use": "synthesise", "with": {"backend": {"backend": "template"}}},
        {"id": "v", "use": "validate"},
    ]
    folder = run(tmp_path, steps)
    found = summarise(folder)
    rows = next(toolkit.read_run(folder)["v"].blocks(["steps"]))
    assert found["reasoning_steps"] == rows["steps"].sum() > 24
    assert "template teacher" in found["notes"][0]
    text = printed(found)
    assert f"Reasoning steps: {found['reasoning_steps']}" in text and "Note: The reasoning" in text


def test_steps_that_ran_together_keep_their_own_counts_and_what_was_built_last_holds(tmp_path: Path) -> None:
    where = {"label_prompt": "harmful"}
    alone: list[dict[str, Any]] = [
        SEEDS,
        {"id": "clean", "use": "normalise"},
        {"id": "few", "use": "select", "with": {"where": where}},
        {"id": "x", "use": "select", "from": "clean"},
    ]
    folder = run(tmp_path, alone)
    before = {s["step"]: s["kept"] for s in summarise(folder)["steps"]}
    assert (folder / "clean" / "manifest.json").exists()
    folder = run(tmp_path, [{**SEEDS, "with": {"source": "quickstart", "limit": 3}}, *alone[1:3]])  # now the two run as one
    found = {s["step"]: s for s in summarise(folder)["steps"]}
    assert before["clean"] == 24 and found["clean"]["kept"] == 12 == found["few"]["in"]
    assert found["few"]["kept"] + sum(found["few"]["set_aside"].values()) == 12
