"""The steps of an audit in a recipe: beginnings cut, a guard made to answer behind them, the figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from frames import seeds, verdict, verdicts
from tiny import tiny_llama

import toolkit
from toolkit.common.errors import GuardkitError
from toolkit.guards import load_guard, parse

GUARD = load_guard("guardreasoner")
COLUMNS = {f"forced_{t}": pl.lit("harmful") for t in GUARD.task_names} | {f"forced_probability_{t}": pl.lit(0.5) for t in GUARD.task_names}


def output(*steps: str, **labels: str) -> str:
    text = "\n\n".join(f"## Reasoning Step {n}\n{step}" for n, step in enumerate(steps, 1))
    words = [labels.get(t.name, "None") for t in GUARD.tasks]
    return f"# Task 1\n\n{text}\n\n---\n\nAnswers: \nRequest: {words[0]}\nCompletion: {words[1]}\nResponse: {words[2]}"


def written(*outputs: str, guard: str = "main") -> pl.DataFrame:
    parents = seeds(*({"label_prompt": "harmful" if n % 2 else "unharmful"} for n in range(len(outputs)))).iter_rows(named=True)
    read: list[Any] = [parse(GUARD, text).labels for text in outputs]
    return verdicts(*(verdict(p, guard, output=text, **labels) for p, text, labels in zip(parents, outputs, read, strict=True)))


FOUR = written(
    output("A.", "B.", prompt="harmful"),
    output("C.", prompt="harmful"),
    output("D.", "E.", "F.", prompt="unharmful"),
    output("G.", prompt="unharmful"),
)


def test_each_row_is_cut_behind_each_step_and_gets_other_chains() -> None:
    kept, rest = toolkit.apply("cut_chains", FOUR)
    assert not rest.height and kept.group_by("probe").len().sort("probe").rows() == [("before", 4), ("other", 4), ("same", 4), ("step", 7)]
    assert kept["id"].is_unique().all() and set(kept["parent"]) == set(FOUR["id"]) and set(kept["row"]) == set(FOUR["parent"])
    own = kept.filter(pl.col("probe") == "step", pl.col("row") == FOUR["parent"][2])
    assert own["begun"].to_list()[1].endswith("## Reasoning Step 2\nE.") and own["step"].to_list() == [1, 2, 3]
    verdict_of = dict(FOUR.select("parent", "verdict_prompt").iter_rows())
    for row, probe, donor, by in kept.filter(pl.col("donor").is_not_null()).select("row", "probe", "donor", "swapped_by").iter_rows():
        assert by == "prompt" and (verdict_of[row] == verdict_of[donor]) == (probe == "same") and row != donor
    bare, _ = toolkit.apply("cut_chains", FOUR, swaps=False)
    assert set(bare["probe"]) == {"before", "step"} and "output" not in bare.columns


def test_rows_without_a_chain_and_further_draws_are_set_aside() -> None:
    rows = pl.concat([FOUR, written("Request: harmful", "I cannot say.").with_columns(parent=pl.format("x{}", "parent"), id=pl.format("x{}", "id"))])
    rows = pl.concat([rows, FOUR.with_columns(draw=pl.lit(1, pl.Int64), id=pl.format("{}:1", "id"))])
    kept, rest = toolkit.apply("cut_chains", rows)
    assert kept["row"].n_unique() == 4
    assert dict(rest["_reason"].value_counts().iter_rows()) == {"no_chain": 1, "no_verdict": 1, "further_draw": 4}


def test_a_guard_answers_behind_each_beginning_and_is_audited(tmp_path: Path) -> None:
    """What the last step writes is made of what the one before asked."""
    model = tiny_llama(tmp_path / "tiny", positions=4096)
    cut, _ = toolkit.apply("cut_chains", FOUR)
    asked = {"main": {"backend": "transformers", "model": str(model), "device": "cpu"}}
    rows, rest = toolkit.apply("force_answers", cut, models=asked, work=tmp_path)
    assert not rest.height and rows.height == 19 and set(rows["forced_prompt"]) <= {"harmful", "unharmful"}
    assert rows["forced_refusal"].null_count() == 19 and rows["forced_probability_prompt"].is_between(0, 1).all()
    again = pl.concat([FOUR, FOUR.with_columns(draw=pl.lit(1, pl.Int64), verdict_prompt=pl.lit("harmful"), id=pl.format("{}:1", "id"))])
    bare, _ = toolkit.apply("cut_chains", written(*FOUR["output"], guard="twin"), chains=False)
    assert bare["probe"].to_list() == ["before"] * 4 and set(bare["begun"]) == {""}
    twin, _ = toolkit.apply("force_answers", bare, models={"twin": asked["main"]}, work=tmp_path)
    inputs = {"rows": rows, "redraws": again, "verdicts": FOUR, "twin": twin}
    toolkit.apply("audit", inputs, artefacts=tmp_path / "made", bootstrap=100)
    (file,) = (tmp_path / "made").rglob("audit.json")
    found = json.loads(file.read_text())
    stages = {s["stage"]: s for s in found["stages"] if s["task"] == "prompt"}
    before = rows.filter(pl.col("probe") == "before")
    assert stages["before"]["n"] == 4
    assert stages["before"]["agree"] == 100 * (before["forced_prompt"] == before["verdict_prompt"]).sum() / 4
    flips = {f["change"]: f for f in found["flips"] if f["task"] == "prompt"}
    assert set(flips) >= {"whole", "removed", "same", "other", "drawn again"}
    assert (flips["drawn again"]["read"], flips["drawn again"]["flips"]) == (4, 2)
    [one] = found["twin"]
    held = {(h["measure"], h["fpr"]): h for h in one["held"]}
    assert (one["guard"], one["model"]) == ("main", "twin") and held["f1", None]["n"] == 4 and held["f1", None]["difference"] == 0
    assert held["auroc", None]["benign"] == 2 and held["auroc", None]["value_b"] is not None
    with pytest.raises(GuardkitError, match="which are not there"):
        toolkit.apply("audit", {"rows": rows, "twin": twin})


def test_chains_that_conclude_another_label_are_counted_as_the_command_does(tmp_path: Path) -> None:
    against = "## Reasoning Step 1\nIt asks for bread.\n\nConclusion: The request is unharmful."
    texts = [output("A.", prompt="harmful"), output("B.", prompt="harmful").replace("## Reasoning Step 1\nB.", against)]
    rows = written(*texts)
    forced = toolkit.apply("cut_chains", rows, swaps=False)[0].with_columns(**COLUMNS)
    toolkit.apply("audit", {"rows": forced, "verdicts": rows}, artefacts=tmp_path / "made", bootstrap=100)
    found = {c["task"]: c for c in json.loads(next((tmp_path / "made").rglob("audit.json")).read_text())["contradictions"]}
    assert (found["prompt"]["model"], found["prompt"]["stated"], found["prompt"]["contradict"]) == ("main", 1, 1)
    assert found["prompt"]["first"] == [rows["parent"][1]] and found["refusal"]["stated"] == 0


@pytest.mark.parametrize(
    ("models", "words"),
    [({}, "asks one guard, and none is named"), ({"main": {"backend": "openai", "model": "m", "base_url": "http://127.0.0.1:9"}}, "of a given text")],
)
def test_what_cannot_be_asked_is_named(models: dict[str, Any], words: str, tmp_path: Path) -> None:
    cut, _ = toolkit.apply("cut_chains", FOUR, swaps=False)
    with pytest.raises(GuardkitError, match=words):
        toolkit.apply("force_answers", cut, models=models, work=tmp_path)
    with pytest.raises(GuardkitError, match="no input called 'redrawn'"):
        toolkit.apply("audit", {"rows": cut.with_columns(**COLUMNS), "redrawn": FOUR})


def test_outputs_of_another_guard_are_rejected(tmp_path: Path) -> None:
    model = tiny_llama(tmp_path / "tiny", positions=4096)
    cut, _ = toolkit.apply("cut_chains", FOUR, swaps=False)
    asked = {"other": {"backend": "transformers", "model": str(model), "device": "cpu"}}
    kept, rest = toolkit.apply("force_answers", cut, models=asked, work=tmp_path)
    assert not kept.height and set(rest["_reason"]) == {"other_guard"}
