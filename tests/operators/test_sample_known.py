"""`sample` says how many tokens each draw took and how likely its answer was; `verdicts` and `mine` go on with them."""

from __future__ import annotations

import hashlib
import math
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from frames import rows_of, run_steps
from server import Server, chat

import toolkit
from toolkit.common.errors import GuardkitError, InputError
from toolkit.guards import load_guard

GUARD = load_guard("guardreasoner")
K = 3


@pytest.fixture
def guard(server: Server) -> Server:
    """One that says harmful at every odd seed, with as many tokens as the seed has digits and one more."""

    def script(message: str, body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        p = 0.9 if int(hashlib.sha256(f"{message} {body['seed']}".encode()).hexdigest(), 16) % 2 else 0.25
        label, other = ("harmful", "unharmful") if p > 0.5 else ("unharmful", "harmful")
        answer = chat(f"Request: {label}", usage={"prompt_tokens": 7, "completion_tokens": 40 if p > 0.5 else 2})
        tops = [{"token": f" {label}", "logprob": math.log(max(p, 1 - p))}, {"token": f" {other}", "logprob": math.log(min(p, 1 - p))}]
        first = {"token": "Request:", "logprob": 0.0, "top_logprobs": [{"token": "Request:", "logprob": 0.0}]}
        if body.get("logprobs"):
            answer["choices"][0]["logprobs"] = {"content": [first, {**tops[0], "top_logprobs": tops}]}
        return 200, {}, answer

    server.script = script
    return server


def steps(server: Server, *, texts: bool = False, **model: Any) -> list[dict[str, Any]]:
    model = {"backend": "openai", "model": "m", "base_url": server.base_url, "temperature": 1.0, "retries": 0, **model}
    return [
        {"id": "rows", "use": "load", "with": {"source": "quickstart", "parts": ["home"], "limit": 8}},
        {"id": "samples", "use": "sample", "with": {"k": K, "models": {"main": model}}},
        {"id": "verdicts", "use": "verdicts", "with": {"texts": texts}},
        {"id": "hard", "use": "mine", "from": {"rows": "rows", "verdicts": "verdicts"}, "with": {"tasks": ["prompt"]}},
    ]


@pytest.mark.parametrize("texts", [False, True])
def test_verdicts_have_the_tokens_of_each_draw_and_the_probability_of_its_answer(guard: Server, tmp_path: Path, texts: bool) -> None:
    table = rows_of(run_steps(tmp_path, steps(guard, texts=texts, logprobs=2))["verdicts"])
    assert table.height == 8 * K
    by_word = {w: part for (w,), part in table.group_by("verdict_prompt")}
    assert {w: part["tokens"].unique().to_list() for w, part in by_word.items()} == {"harmful": [40], "unharmful": [2]}
    assert by_word["harmful"]["probability_prompt"].to_list() == pytest.approx([0.9] * by_word["harmful"].height, abs=1e-4)
    assert by_word["unharmful"]["probability_prompt"].to_list() == pytest.approx([0.25] * by_word["unharmful"].height, abs=1e-4)
    assert table["probability_refusal"].null_count() == table.height, "what was not answered has none"
    assert texts or table["seconds"].null_count() == table.height, "a step holds no time unless it is asked to"


@pytest.mark.parametrize("texts", [False, True])
def test_verdicts_have_the_seconds_of_each_draw_where_they_are_to_be_kept_and_the_journal_gives_the_same_again(
    guard: Server, tmp_path: Path, texts: bool
) -> None:
    recipe = steps(guard, texts=texts)
    recipe[1]["with"]["seconds"] = True
    first = rows_of(run_steps(tmp_path, recipe)["verdicts"])["seconds"]
    assert first.null_count() == 0 and 0 < first.min() <= first.max() < 60 and first.n_unique() > 1  # type: ignore[operator]
    shutil.rmtree(tmp_path / "out" / "run")
    assert rows_of(run_steps(tmp_path, recipe)["verdicts"])["seconds"].equals(first) and guard.asked.total() == 8 * K


def test_a_guard_that_was_not_asked_for_probabilities_has_tokens_alone(guard: Server, tmp_path: Path) -> None:
    made = run_steps(tmp_path, steps(guard))
    assert "tokens" in rows_of(made["samples"]).columns and not any(c.startswith("probability") for c in rows_of(made["samples"]).columns)
    table = rows_of(made["verdicts"])
    assert set(table["tokens"]) == {40, 2} and table["probability_prompt"].null_count() == table.height
    drawn = made["hard"].manifest["stats"]["tokens"]
    assert drawn == {"main": table["tokens"].sum()}


def test_the_bytes_are_those_of_a_run_that_was_not_stopped_and_of_one_that_asked_nothing(guard: Server, tmp_path: Path) -> None:
    """From the endpoint, from the journal, and from both: tokens and probabilities are the same."""
    recipe, sums = steps(guard, logprobs=2), []
    script = guard.script
    assert script is not None
    for name, limit in (("whole", 99), ("stopped", 11)):
        folder = tmp_path / name
        folder.mkdir()
        guard.asked.clear()
        guard.script = lambda m, b, limit=limit: script(m, b) if guard.asked.total() <= limit else (402, {}, {"error": {"message": "no credit"}})
        if limit < 8 * K:
            with pytest.raises(GuardkitError):
                run_steps(folder, recipe)
        guard.script = script
        sums.append(run_steps(folder, recipe)["samples"].manifest["files"])
    asked = guard.asked.total()
    shutil.rmtree(tmp_path / "whole/out/run")
    sums.append(run_steps(tmp_path / "whole", recipe)["samples"].manifest["files"])
    assert guard.asked.total() == asked, "all of it was in the journal"
    assert sums[0] == sums[1] == sums[2]


def test_rows_of_earlier_versions_are_read(tmp_path: Path, guard: Server) -> None:
    """Generations without the columns: what they do not hold is null."""
    samples = rows_of(run_steps(tmp_path, steps(guard, logprobs=2))["samples"])
    old = samples.drop("tokens", *(f"probability_{t}" for t in GUARD.task_names))
    table = toolkit.apply("verdicts", old, texts=False).kept
    assert table.height == old.height and table["tokens"].null_count() == table["probability_prompt"].null_count() == table.height


def test_rows_of_votes_do_not_keep_what_is_a_draws_own(tmp_path: Path, guard: Server) -> None:
    """Of a table of verdicts `noise` makes rows: tokens and probabilities are not theirs."""
    recipe = [*steps(guard, texts=True, logprobs=2)[:3], {"id": "checked", "use": "noise", "from": "verdicts"}]
    columns = rows_of(run_steps(tmp_path, recipe)["checked"]).columns
    assert "prompt" in columns and not {"tokens", "probability_prompt", "guard_model"} & set(columns)


def test_mine_goes_by_measures_and_drawing_until_settled_does_not(guard: Server, tmp_path: Path) -> None:
    *before, mine = steps(guard)
    mine["with"] = {"rule": {"hard": "error_rate > 0.5"}, "tasks": ["prompt"]}
    made = run_steps(tmp_path, [*before, mine])
    wrong = rows_of(made["verdicts"]).group_by("parent").agg((pl.col("outcome_prompt") == "wrong").sum().alias("n"))
    most = set(wrong.filter(pl.col("n") >= 2)["parent"])
    assert set(rows_of(made["hard"])["id"]) == most and 0 < len(most) < 8
    assert "the error rate is above 0.5" in made["hard"].manifest["stats"]["rule"]["words"]
    before[1]["with"]["adaptive"] = {"rule": {"hard": "error_rate > 0.5"}, "screen": None}
    with pytest.raises(InputError, match="follows from counts alone"):
        run_steps(tmp_path, before)
