"""`sample` with `adaptive`: the hard rows of a full draw from fewer draws, every draw accounted for, nothing asked twice."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from frames import rows_of, run_steps
from server import Server, chat

import toolkit
from toolkit.common.errors import GuardkitError, InputError, InputErrors, TooManyFailures
from toolkit.guards import load_guard
from toolkit.pipeline import StepFolder
from toolkit.report import summarise

GUARD = load_guard("guardreasoner")
ROWS, K = 80, 3
GUARDS = ("sure", "torn")


def share(*parts: Any) -> float:
    """A number in [0, 1) of what it is given."""
    return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:12], 16) / 16**12


def says(model: str, prompt: str, seed: int) -> tuple[str, float]:
    """A guard's word and how likely that was: a fifth of the rows are disputed, mostly by the guard called torn."""
    number = int(prompt.split("number ")[1].split("?")[0])
    wrong = {"sure": 0.1, "torn": 0.5}[model] if number % 5 == 0 else 0.0
    text = "harmful" if share(model, number, seed) < wrong else "unharmful"
    return text, (wrong if text == "harmful" else 1 - wrong) or 0.999


@pytest.fixture
def guards(server: Server) -> Server:
    def script(message: str, body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        found, p = says(body["model"], message, body["seed"])
        answer = chat(f"Request: {found}")
        other = "unharmful" if found == "harmful" else "harmful"
        tokens = [{"token": "Request:", "logprob": 0.0, "top_logprobs": [{"token": "Request:", "logprob": 0.0}]}]
        tops = [{"token": f" {w}", "logprob": math.log(q)} for w, q in ((found, p), (other, 1 - p)) if q > 0]
        tokens.append({"token": f" {found}", "logprob": math.log(p), "top_logprobs": tops})
        answer["choices"][0]["logprobs"] = {"content": tokens}
        return 200, {}, answer

    server.script = script
    return server


def steps(server: Server, file: Path, adaptive: dict[str, Any] | None, **model: Any) -> list[dict[str, Any]]:
    if not file.exists():
        pl.DataFrame({"prompt": [f"Is this number {i}?" for i in range(ROWS)], "label": "unharmful"}).write_csv(file)
        source = file.with_name("small.yaml")
        source.write_text(
            f"name: small\nversion: 1\ndescription: Small.\nlicence: CC0-1.0\nfiles: [{file.name}]\nformat: csv\ncolumns: {{prompt: prompt}}\n"
            "labels:\n  prompt: {column: label, source: human, map: {unharmful: unharmful, harmful: harmful}}\n"
        )
    model = {"backend": "openai", "base_url": server.base_url, "temperature": 1.0, "logprobs": 2, **model}
    return [
        {"id": "rows", "use": "load", "with": {"source": "small.yaml"}},
        {
            "id": "samples",
            "use": "sample",
            "with": {"k": K, "models": {g: {**model, "model": g} for g in GUARDS}, **({"adaptive": adaptive} if adaptive is not None else {})},
        },
        {"id": "verdicts", "use": "verdicts"},
        {"id": "hard", "use": "mine", "with": {"tasks": ["prompt"]}},
    ]


def made_by(folder: Path, recipe: list[dict[str, Any]]) -> dict[str, StepFolder]:
    return run_steps(folder, recipe, sources={"small": folder / "rows.csv"})


def hard(made: dict[str, StepFolder]) -> set[str]:
    return set(rows_of(made["hard"])["id"])


def test_settled_rows_are_not_drawn_further_and_the_hard_ones_are_the_same(guards: Server, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    adaptive = {"in_full": 0.2, "screen": None}
    made = made_by(tmp_path, steps(guards, file, adaptive))
    asked = guards.asked.total()
    counts = made["samples"].manifest["counts"][-1]
    figures = made["samples"].manifest["stats"]["adaptive"]
    assert counts["kept"] == asked and counts["kept"] + counts["set_aside"]["settled"] == ROWS * K * len(GUARDS)
    assert figures["drawn"] == asked and figures["of"] == 480 and figures["left_out"] == {"screened": 0, "settled": 480 - asked}
    assert figures["saved"] == pytest.approx(1 - asked / 480, abs=1e-4) and sorted(figures["order"]) == sorted(GUARDS)
    shown = [f["value"] for f in summarise(tmp_path / "out" / "run")["figures"] if f["name"] == "adaptive"]
    assert [f["drawn"] for f in shown] == [asked], "a run shows it"
    few = hard(made)

    made = made_by(tmp_path, steps(guards, file, None))
    assert guards.asked.total() == 480, "the draws that were made are in the journal: only the others were asked"
    assert hard(made) == few and few
    assert 480 - asked > 0


def test_a_screen_leaves_out_what_every_guard_is_sure_of(guards: Server, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    adaptive = {"in_full": 0.4, "screen": {"recall": 0.5, "confidence": 0.8}}
    made = made_by(tmp_path, steps(guards, file, adaptive))
    figures = made["samples"].manifest["stats"]["adaptive"]
    assert figures["screen"]["recall_low"] >= 0.5 and figures["screen"]["rows"] == figures["in_full"]
    assert figures["left_out"]["screened"] > 100 and figures["saved"] > 0.3
    asked = guards.asked.total()
    again = made_by(tmp_path, steps(guards, file, adaptive))
    assert guards.asked.total() == asked and again["samples"].manifest["stats"]["adaptive"] == figures
    rows = rows_of(made["samples"])
    assert rows["id"].n_unique() == rows.height == asked and set(rows["draw"]) == {0, 1, 2}
    aside = made["samples"].manifest["counts"][-1]["set_aside"]
    assert aside == {n: v for n, v in figures["left_out"].items() if v} and asked + sum(aside.values()) == 480


def test_a_run_that_is_stopped_goes_on_where_it_was(guards: Server, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    adaptive = {"in_full": 0.2, "screen": None, "finish": True}
    whole = steps(guards, file, adaptive)
    script = guards.script
    assert script is not None
    guards.script = lambda message, body: script(message, body) if guards.asked.total() < 200 else (402, {}, {"error": {"message": "no credit left"}})
    with pytest.raises(GuardkitError):
        made_by(tmp_path, whole)
    answered = guards.answered.total() if guards.answered else None
    guards.script = script
    made = made_by(tmp_path, whole)
    table = rows_of(made["samples"])
    per_row = table.group_by("parent").len()
    assert set(per_row.filter(pl.col("parent").is_in(list(hard(made))))["len"]) == {K * len(GUARDS)}, "hard rows are drawn in full"
    assert answered is None or guards.answered.total() == table.height


def test_a_draw_that_fails_is_rejected_and_the_others_are_accounted_for(guards: Server, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    script = guards.script
    assert script is not None

    def broken(message: str, body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        if "number 7?" in message:
            return 400, {}, {"error": {"message": "content", "code": "content_filter"}}
        return script(message, body)

    guards.script = broken
    with pytest.raises(TooManyFailures, match="in step 'samples' failed"):
        made_by(tmp_path, steps(guards, file, {"in_full": 0.2, "screen": None}))
    made = toolkit.read_run(tmp_path / "out" / "run")
    counts = made["samples"].manifest["counts"][-1]
    assert sum(counts["rejected"].values()) >= 2, counts
    assert counts["kept"] + sum(counts["rejected"].values()) + sum(counts["set_aside"].values()) == 480


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"adaptive": {"screen": {}}, "logprobs": 0}, "not asked for any"),
        ({"adaptive": {"screen": None}, "k": 1}, "no draw to leave out"),
        ({"adaptive": {"screen": None, "tasks": ["prompts"]}}, "did you mean 'prompt'"),
        ({"adaptive": {"screen": None, "rule": "defalt"}}, "default"),
        ({"adaptive": {"in_ful": 0.1}}, "in_full"),
    ],
)
def test_what_cannot_be_is_reported_before_anything_is_asked(guards: Server, tmp_path: Path, change: dict[str, Any], words: str) -> None:
    recipe = steps(guards, tmp_path / "rows.csv", change["adaptive"], logprobs=change.get("logprobs", 2))
    recipe[1]["with"]["k"] = change.get("k", K)
    with pytest.raises((InputErrors, InputError)) as e:
        made_by(tmp_path, recipe)
    assert words in str(e.value)
    assert guards.asked.total() == 0


def test_a_plan_says_that_these_are_the_most(guards: Server, tmp_path: Path) -> None:
    recipe = {"recipe": "small", "seed": 5, "steps": steps(guards, tmp_path / "rows.csv", {})}
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    found = toolkit.plan(tmp_path / "recipe.yaml", output=tmp_path / "out", sources={"small": tmp_path / "rows.csv"})
    notes = " ".join(found["notes"])
    assert "the most that it may ask: 37% of these at least" in notes and "98%" in notes
    expected = found["steps"][1]["expected"]
    assert expected["source"].startswith("assumed") and expected["source"] in notes and expected["recall"] == 0.98
    assert 0 <= expected["saved"]["low"] <= expected["saved"]["mid"] <= expected["saved"]["high"] < 0.63


def test_a_plan_goes_by_an_earlier_run_where_it_is_given_one(guards: Server, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    made_by(tmp_path, steps(guards, file, None))
    (tmp_path / "out" / "run").rename(tmp_path / "earlier")
    adaptive = {"in_full": 0.2, "screen": None, "expect": str(tmp_path / "earlier" / "verdicts")}
    recipe: dict[str, Any] = {"recipe": "small", "seed": 5, "steps": steps(guards, file, adaptive)}
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    at: dict[str, Any] = {"output": tmp_path / "out" / "run", "sources": {"small": file}}
    planned = toolkit.plan(tmp_path / "recipe.yaml", **at)["steps"][1]["expected"]
    assert planned["source"] == f"{ROWS} rows of an earlier run with all draws"
    run = toolkit.run(tmp_path / "recipe.yaml", **at)
    figures = toolkit.read_run(run.folder)["samples"].manifest["stats"]["adaptive"]
    assert guards.asked.total() == 480, "the journal has all"
    assert figures["expected"]["draws"] == planned["draws"] and planned["draws"]["mid"] == pytest.approx(1 - figures["saved"], abs=0.05)
    assert "expected were" in repr(run)

    recipe["steps"][1]["with"]["adaptive"]["expect"] = str(tmp_path / "earlier" / "samples")
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    with pytest.raises((InputErrors, InputError), match="no draws with verdicts: the column"):
        toolkit.run(tmp_path / "recipe.yaml", **at)
