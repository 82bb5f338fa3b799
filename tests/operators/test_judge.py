"""`sample` and `synthesise` against a real endpoint, and `evaluate` against figures worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from frames import rows_of, run_steps, seed, seeds, verdict, verdicts
from server import Server

import toolkit
from toolkit.common.errors import InputError
from toolkit.guards import load_guard, render_input, teacher_messages

GUARD = load_guard("guardreasoner")
SEEDS: dict[str, Any] = {"id": "seeds", "use": "load", "with": {"source": "quickstart", "parts": ["home"], "limit": 3}}


def served(server: Server, model: str = "m", **options: Any) -> dict[str, Any]:
    return {"backend": "openai", "model": model, "base_url": server.base_url, "retries": 0, **options}


def test_the_template_teacher_is_no_guard(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="writes from labels and is no guard"):
        run_steps(tmp_path, [SEEDS, {"id": "s", "use": "sample", "with": {"models": {"t": {"backend": "template"}}}}])


# sample ---------------------------------------------------------------------------------------------------------------


def test_each_guard_is_asked_k_times_about_each_row(server: Server, tmp_path: Path) -> None:
    models = {name: served(server, name, temperature=1.0) for name in ("a", "b")}
    made = run_steps(tmp_path, [SEEDS, {"id": "s", "use": "sample", "with": {"k": 3, "models": models}}])
    seeds_, rows = rows_of(made["seeds"]), rows_of(made["s"])
    assert made["s"].manifest["counts"][-1]["factor"] == 6
    assert rows.height == 18 and len(server.requests) == 18
    assert rows["id"].n_unique() == 18
    assert rows.select("guard_model", "parent", "draw").rows() == [(g, p, d) for g in "ab" for p in seeds_["id"] for d in range(3)]
    assert rows["output"].n_unique() == 9, "every draw has a seed of its own, the same for both guards"
    assert set(rows["model_id"]) == {"a", "b"} and set(rows["finish"]) == {"stop"} and rows["error"].null_count() == 18
    asked = {r["messages"][-1]["content"] for r in server.requests}
    assert asked == {render_input(GUARD, r) for r in seeds_.iter_rows(named=True)}
    same = [c for c in seeds_.columns if c != "id"]
    assert rows.unique("parent", maintain_order=True).select(same).equals(seeds_.select(same)), "the seed's columns go along"


def test_a_draw_that_fails_is_rejected_and_asked_again_by_the_next_run(server: Server, tmp_path: Path) -> None:
    steps = [SEEDS, {"id": "s", "use": "sample", "with": {"k": 2, "models": {"a": served(server, temperature=1.0)}}}]
    row = rows_of(run_steps(tmp_path, [SEEDS])["seeds"]).row(1, named=True)
    server.faults[render_input(GUARD, row)] = ["400", "400"]
    made = run_steps(tmp_path, steps, raise_failures=False)
    assert made["s"].rows == 4
    rejects = pl.read_parquet(made["s"].path / "rejects.parquet")
    assert rejects["outcome"].to_list() == ["rejected"] * 2 and rejects["step"].to_list() == ["s", "s"]
    assert rejects["reason"].n_unique() == 1 and rejects["detail"].str.len_chars().min() > 0  # type: ignore[operator]
    before = len(server.requests)
    again = run_steps(tmp_path, steps)
    assert again["s"].rows == 6 and len(server.requests) == before + 2
    run_steps(tmp_path, steps)
    assert len(server.requests) == before + 2


@pytest.mark.parametrize(
    ("options", "inputs", "message"),
    [
        ({"k": 2}, {}, "no guard to ask"),
        ({"k": 2, "backend": {"backend": "transformers"}}, {"main": "seeds"}, "at temperature 0 are 2 times the same"),
        ({"k": 1}, {"main": "train"}, "needs `backend`"),
        ({"k": 1, "backend": {"backend": "transformers"}}, {"main": "seeds"}, "makes no 'model'"),
        ({"k": 1, "backend": {"backend": "transformers", "model": "x"}}, {"main": "train"}, "takes no model here"),
        ({"k": 1, "backend": {"backend": "openai"}}, {"main": "train"}, "'transformers', 'vllm'"),
        ({"k": 1, "backend": {"backend": "transformers", "temprature": 1}}, {"main": "train"}, "did you mean 'temperature'"),
        ({"k": 0}, {}, "greater than or equal to 1"),
        ({"k": 1, "models": {"a": {"backend": "transformers", "model": "guards/no/where"}}}, {}, "guards/no/where: no such model folder"),
        ({"k": 1, "backend": {"backend": "transformers"}, "models": {"main": {"backend": "openai", "model": "m"}}}, {"main": "train"}, "two guards are called 'main'"),
    ],
)  # fmt: skip
def test_a_sample_that_cannot_work_is_refused_before_anything_runs(
    options: dict[str, Any], inputs: dict[str, str], message: str, tmp_path: Path
) -> None:
    steps: list[dict[str, Any]] = [
        SEEDS,
        {"id": "r", "use": "synthesise", "with": {"backend": {"backend": "template"}}},
        {"id": "rendered", "use": "render_sft"},
        {"id": "shards", "use": "shards"},
        {"id": "train", "use": "train_sft", "with": {"model": {"scratch": {}}}},
        {"id": "s", "use": "sample", "from": {"rows": "seeds", **inputs}, "with": options},
    ]
    with pytest.raises(InputError, match=message):
        run_steps(tmp_path, steps)
    assert not (tmp_path / "out").exists()


# synthesise -----------------------------------------------------------------------------------------------------------


def test_a_teacher_behind_an_endpoint_is_named_and_its_failures_are_rejects(server: Server, tmp_path: Path) -> None:
    rows = rows_of(run_steps(tmp_path, [SEEDS])["seeds"])
    server.faults[teacher_messages(GUARD, rows.row(0, named=True))[-1]["content"]] = ["filter"]
    server.faults[teacher_messages(GUARD, rows.row(1, named=True))[-1]["content"]] = ["length"]
    steps = [SEEDS, {"id": "r", "use": "synthesise", "with": {"backend": served(server, "teacher-1")}}, {"id": "v", "use": "validate", "with": {"rules": ["truncated"]}}]  # fmt: skip
    made = run_steps(tmp_path, steps, raise_failures=False)
    got = rows_of(made["r"])
    assert got["teacher"].to_list() == ["teacher-1"] * 2
    assert got["reasoning_finish"].to_list() == ["length", "stop"]
    assert got["reasoning"].str.starts_with("answer to").all()
    assert pl.read_parquet(made["r"].path / "rejects.parquet").height == 1
    rejects = pl.read_parquet(made["v"].path / "rejects.parquet")
    assert rejects["reason"].to_list() == ["truncated"]


# evaluate -------------------------------------------------------------------------------------------------------------

H, U = "harmful", "unharmful"


def scores(rows: pl.DataFrame, folder: Path, asked: pl.DataFrame | None = None, **options: Any) -> dict[tuple[str, str], dict[str, Any]]:
    given = {"rows": rows} | ({"asked": asked} if asked is not None else {})
    toolkit.apply("evaluate", given, artefacts=folder, **options)
    return {(r["task"], r["guard"]): r for r in json.loads((folder / "scores" / "scores.json").read_text())}


def test_scores_stand_beside_the_majority_and_always_positive(tmp_path: Path) -> None:
    labels = [H, H, H, U, U, None]
    stated: dict[str, list[str | None]] = {"a": [H, H, U, U, H, H], "b": [H, None, None, U, U, H]}
    rows = [verdict(seed(n, label_prompt=v), g, 0, prompt=stated[g][n]) for g in "ab" for n, v in enumerate(labels)]
    rows.append(verdict(seed(0, label_prompt=H), "a", 1, prompt=U))  # a further draw does not count
    found = scores(verdicts(*rows), tmp_path, names={"a": "R-SFT"})
    assert set(found) == {("prompt", g) for g in ("R-SFT", "b", "majority class", "always positive")}, "tasks without a label are left out"
    a, b = found["prompt", "R-SFT"], found["prompt", "b"]
    assert (a["tp"], a["fp"], a["fn"], a["tn"], a["n"], a["unread"]) == (2, 1, 1, 1, 5, 0)
    assert a["accuracy"] == pytest.approx(60.0) and a["f1"] == pytest.approx(100 * 4 / 6)
    assert (b["tp"], b["fn"], b["tn"], b["unread"]) == (1, 2, 2, 2), "what could not be read counts once, as wrong"
    assert found["prompt", "majority class"]["accuracy"] == pytest.approx(60.0)
    assert found["prompt", "always positive"]["f1"] == pytest.approx(75.0)
    assert all(r["accuracy_low"] <= r["accuracy"] <= r["accuracy_high"] for r in found.values())


def test_a_generation_that_is_missing_counts_as_wrong(tmp_path: Path) -> None:
    rows = [seed(n, label_prompt=H) for n in range(4)]
    there = [verdict(rows[n], g, 0, prompt=H) for g, ns in (("a", (0, 1, 2)), ("b", (0, 1))) for n in ns]
    found = scores(verdicts(*there), tmp_path / "without")
    assert (found["prompt", "a"]["n"], found["prompt", "b"]["n"], found["prompt", "b"]["unread"]) == (3, 3, 1)
    asked = seeds(*({"label_prompt": H} for _ in range(4)))
    assert asked["id"].to_list() == [r["id"] for r in rows]
    found = scores(verdicts(*there), tmp_path / "with", asked)
    assert [(found["prompt", g]["n"], found["prompt", g]["unread"]) for g in "ab"] == [(4, 1), (4, 2)]
    assert found["prompt", "a"]["accuracy"] == pytest.approx(75.0)


def test_evaluate_reads_only_what_it_can(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no input called 'seeds'"):
        toolkit.apply("evaluate", {"rows": verdicts(), "seeds": seeds({})})
    with pytest.raises(InputError, match="'label_prompt' of its input 'asked'"):
        toolkit.apply("evaluate", {"rows": verdicts(), "asked": seeds({}).drop("label_prompt")})
    with pytest.raises(InputError, match="no verdict to score"):
        scores(verdicts(), tmp_path)
