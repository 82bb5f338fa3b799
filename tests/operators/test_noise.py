"""`noise`: planted flips rank above what nobody doubts, every row stays as it was, and the votes are counted as they are."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from frames import TASKS, rows_of, run_steps, seed, seeds, verdict, verdicts
from hypothesis import given, settings
from hypothesis import strategies as st

import toolkit
from toolkit.common.errors import InputError, Missing
from toolkit.evaluation import disagreement, fractions, pooled, score_labels
from toolkit.operators.judge import _votes

LABELS = {"prompt": ("unharmful", "harmful"), "refusal": ("compliance", "refusal"), "response": ("unharmful", "harmful")}
GUARDS = ("a", "b", "c")


def other(task: str, label: str) -> str:
    return next(w for w in LABELS[task] if w != label)


def world(n: int = 120, wrong: int = 8, accuracy: float = 0.9, seed_: int = 1) -> tuple[pl.DataFrame, pl.DataFrame, set[str]]:
    """Rows, verdicts of three guards (two draws each), and the ids of rows whose prompt label was flipped."""
    rng = random.Random(seed_)
    rows, found, planted = [], [], set()
    for i in range(n):
        true = rng.choice(LABELS["prompt"])
        bad = i < wrong
        row = seed(i, prompt=f"a mild question, number {i}", label_prompt=other("prompt", true) if bad else true)
        rows.append(row)
        if bad:
            planted.add(row["id"])
        for guard in GUARDS:
            for draw in range(2):
                word = true if rng.random() < accuracy else other("prompt", true)
                found.append(verdict(row, guard, draw, f"I hold it {word}.", prompt=word))
    return seeds(*rows), verdicts(*found), planted


def noise(rows: pl.DataFrame, verdicts: pl.DataFrame, **options: Any) -> pl.DataFrame:
    kept, rest = toolkit.apply("noise", {"rows": rows, "verdicts": verdicts}, **options)
    assert rest.height == 0 and kept["id"].to_list() == rows["id"].to_list(), "it drops nothing"
    assert kept.select(rows.columns).equals(rows), "and changes nothing"
    return kept


# Ranking ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed_", [1, 2, 3])
def test_planted_flips_rank_above_the_rest(seed_: int) -> None:
    rows, result, planted = world(seed_=seed_)
    kept = noise(rows, result, tasks=["prompt"])
    top = set(kept.sort("noise_prompt", "id", descending=[True, False]).head(len(planted))["id"])
    assert len(top & planted) >= len(planted) - 1
    for column, low in (("self_confidence_prompt", True), ("margin_prompt", True), ("against_prompt", False)):
        mean = kept.group_by(pl.col("id").is_in(list(planted)).alias("bad")).agg(pl.col(column).mean())
        by = dict(mean.iter_rows())
        assert (by[True] < by[False]) == low
    found = kept.filter("off_diagonal_prompt")
    assert found.height and (found["against_prompt"] > 0.5).all() and len(set(found["id"]) & planted) > found.height / 2
    assert found["suggested_prompt"].to_list() == [other("prompt", label) for label in found["label_prompt"]]


def test_votes_are_counted_as_they_are() -> None:
    row = seed(0, label_prompt="harmful", label_refusal="refusal", response="Sure.")
    verdict_rows = [
        verdict(row, "a", 0, prompt="unharmful", refusal="refusal"),
        verdict(row, "a", 1, prompt="harmful"),
        verdict(row, "b", 0, prompt="unharmful", response="harmful"),
        verdict(seed(1), "b", 0, prompt="unharmful"),
    ]
    kept = noise(seeds(row), verdicts(*verdict_rows))
    got = kept.row(0, named=True)
    counted = {t: tuple(got[f"{n}_{t}"] for n in ("n_votes", "n_against", "n_unread")) for t in TASKS}
    assert counted == {"prompt": (3, 2, 0), "refusal": (1, 0, 2), "response": (1, 0, 2)}
    assert got["against_prompt"] == pytest.approx(2 / 3) and not got["always_wrong_prompt"]
    # One voice a guard: a is half for the label, b against it.
    assert got["self_confidence_prompt"] == pytest.approx(0.25) and got["suggested_prompt"] == "unharmful"
    assert got["noise_response"] == 0 and got["self_confidence_response"] == 1, "no label, so nothing speaks against it"
    assert got["noise"] == max(got[f"noise_{t}"] for t in TASKS)


def test_always_wrong_takes_every_readable_vote() -> None:
    row = seed(0, label_prompt="harmful")
    verdict_rows = [verdict(row, "a", 0, prompt="unharmful"), verdict(row, "b", 0), verdict(row, "c", 0, prompt="unharmful")]
    got = noise(seeds(row), verdicts(*verdict_rows), tasks=["prompt"]).row(0, named=True)
    assert got["always_wrong_prompt"] and got["n_unread_prompt"] == 1
    verdict_rows[1] = verdict(row, "b", 0, prompt="harmful")
    assert not noise(seeds(row), verdicts(*verdict_rows), tasks=["prompt"])["always_wrong_prompt"][0]


def test_a_blind_teacher_and_annotators_speak_too() -> None:
    votes = [{"task": "prompt", "label": "harmful", "share": 0.6, "n": 3}, {"task": "prompt", "label": "unharmful", "share": 0.4, "n": 2}]
    sure = [{"task": "prompt", "label": "harmful", "share": 1.0, "n": 5}]
    agreed = [{"task": "prompt", "label": "harmful", "share": 0.6, "n": None}]
    rows = seeds(*({"prompt": f"q{i}", "label_prompt": "harmful", "votes": v} for i, v in enumerate([votes, sure, agreed, sure])))
    kept, _ = toolkit.apply("noise", rows, tasks=["prompt"])
    split, clear, by_share, _ = kept["disagreement_prompt"]
    assert clear == 0 < split == by_share < 1, "the rest of a share is the other label's"
    assert kept["noise_prompt"][0] > kept["noise_prompt"][1] > 0 and kept["n_votes_prompt"].to_list() == [0] * 4
    found = rows.with_columns(pl.Series("blind_prompt", ["harmful", "harmful", None, "unharmful"]))
    kept, _ = toolkit.apply("noise", found, tasks=["prompt"])
    assert kept["n_votes_prompt"].to_list() == [1, 1, 0, 1] and kept["n_against_prompt"].to_list() == [0, 0, 0, 1]
    assert kept["noise_prompt"][3] > kept["noise_prompt"][1] and kept["always_wrong_prompt"].to_list() == [False, False, False, True]


def test_annotators_of_one_mind_against_the_label_are_heard() -> None:
    """They do not disagree with each other, and nothing but their word is against the label."""
    sure, none = ([{"task": "prompt", "label": label, "share": share, "n": None}] for label, share in (("harmful", 1.0), ("unharmful", 0.0)))
    rows = [{"prompt": f"q{i}", "label_prompt": "unharmful" if i == 3 else "harmful", "votes": none if i == 3 else sure} for i in range(8)]
    kept, _ = toolkit.apply("noise", seeds(*rows), tasks=["prompt"])
    assert kept["suggested_prompt"].to_list() == [None] * 3 + ["harmful"] + [None] * 4 and kept["noise_prompt"].arg_max() == 3


def test_votes_of_a_guard_on_what_it_was_trained_on_do_not_count() -> None:
    rows, result, planted = world()
    rows = rows.with_columns(pl.Series("split", ["train" if i in planted else "test" for i in rows["id"]]))
    repeats = result.with_columns(
        pl.when(pl.col("guard_model") == "a").then(pl.col("label_prompt")).otherwise(pl.col("verdict_prompt")).alias("verdict_prompt")
    )
    taught = noise(rows, repeats, tasks=["prompt"])
    honest = noise(rows, repeats, tasks=["prompt"], in_sample={"a": {"split": ["train"]}})
    bad = pl.col("id").is_in(list(planted))
    assert honest.filter(bad)["n_votes_prompt"].unique().to_list() == [4] and honest.filter(~bad)["n_votes_prompt"].unique().to_list() == [6]
    honest_mean, taught_mean = (found.filter(bad).select(pl.mean("self_confidence_prompt")).item() for found in (honest, taught))
    assert honest_mean < taught_mean
    # A weight of 0 takes a voter out of the scores; its votes are still counted.
    without = noise(rows, repeats, tasks=["prompt"], weights={"a": 0})
    assert without["n_votes_prompt"].unique().to_list() == [6]
    alone = noise(rows, result.filter(pl.col("guard_model") != "a"), tasks=["prompt"])
    assert without["noise_prompt"].to_list() == alone["noise_prompt"].to_list()
    with pytest.raises(InputError, match="no votes of a guard 'd'"):
        noise(rows, result, weights={"d": 2})


def test_what_cannot_be_judged_is_reported_before_anything_runs() -> None:
    rows, result, _ = world(5, 1)
    with pytest.raises(InputError, match="noise has no votes to go by"):
        toolkit.apply("noise", rows.drop("votes"))
    with pytest.raises(InputError, match="the input 'verdicts', which has no column 'parent'"):
        toolkit.apply("noise", {"rows": rows, "verdicts": rows})
    with pytest.raises(InputError, match="did you mean 'prompt'"):
        toolkit.apply("noise", {"rows": rows, "verdicts": result}, tasks=["promt"])
    with pytest.raises(InputError, match=r"none of the 30 verdicts of 'verdicts' is about one of the 1 rows"):
        toolkit.apply("noise", {"rows": seeds({"prompt": "of another set"}), "verdicts": result})
    with pytest.raises(InputError, match="compares text"):
        toolkit.apply("noise", {"rows": rows, "verdicts": result}, in_sample={"a": {"source_row": ["1"]}})


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, result, _ = world(5, 1)
    monkeypatch.setattr("toolkit.operators.labels.noise.find_spec", lambda name: None)
    with pytest.raises(Missing, match=r"pip install 'guardkit\[noise\]'"):
        noise(rows, result)


# Invariants -------------------------------------------------------------------------------------------------------------

WORDS = st.sampled_from([None, "harmful", "unharmful"])
ROWS = st.lists(st.tuples(WORDS, st.lists(st.tuples(st.sampled_from(GUARDS), WORDS), max_size=5)), min_size=1, max_size=12)


@settings(max_examples=30, deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_scores_stay_in_range_and_depend_on_no_order(given_: list[Any], rng: random.Random) -> None:
    rows = [seed(n, label_prompt=label) for n, (label, _) in enumerate(given_)]
    verdict_rows = [verdict(rows[n], guard, i, prompt=word) for n, (_, votes) in enumerate(given_) for i, (guard, word) in enumerate(votes)]
    if not verdict_rows:
        return
    table = verdicts(*verdict_rows)
    kept = noise(seeds(*rows), table)
    shuffled = verdicts(*rng.sample(verdict_rows, len(verdict_rows)))
    assert noise(seeds(*rows), shuffled).equals(kept)
    for name in ("noise", "against", "self_confidence", "margin", "disagreement"):
        assert kept[f"{name}_prompt"].is_between(0, 1).all() and not kept[f"{name}_prompt"].is_nan().any()
    for (label, votes), row in zip(given_, kept.iter_rows(named=True), strict=True):
        words = [w for _, w in votes if w is not None]
        assert row["n_votes_prompt"] == len(words) and row["n_unread_prompt"] == len(votes) - len(words)
        assert row["n_against_prompt"] == (sum(w != label for w in words) if label else 0)
        if label is None or not words:
            assert row["noise_prompt"] == 0


def test_more_votes_against_a_label_make_it_more_suspect() -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, 400)
    truth = np.where(rng.random(400) < 0.9, labels, rng.integers(0, 3, 400))
    voices = {v: fractions(np.eye(3)[np.where(rng.random(400) < 0.85, truth, rng.integers(0, 3, 400))] * 2) for v in "abcd"}
    found = score_labels(labels, voices)
    against = sum(1 - f[np.arange(400), labels] for f in voices.values())
    means = [found.noise[against == n].mean() for n in range(5)]
    assert means == sorted(means) and 0 < found.correlation < 1
    assert (found.best != labels).all()
    # What one voter says counts once, however often it is asked.
    again = score_labels(labels, {**voices, "a": fractions(np.round(voices["a"] * 40).astype(int))})
    assert np.array_equal(again.noise, found.noise)
    # Copies of one voter are one voter: the correlation is 1.
    twice = score_labels(labels, {"a": voices["a"], "b": voices["a"].copy()})
    assert twice.correlation == pytest.approx(1) and np.allclose(twice.noise, score_labels(labels, {"a": voices["a"]}).noise)


def test_fractions_and_entropy() -> None:
    one, two = np.array([[2, 0], [0, 0], [1, 1]]), np.array([[0, 1], [0, 0], [0, 4]])
    assert pooled({"a": fractions(one), "b": fractions(two)}, {}).tolist() == [[0.5, 0.5], [0, 0], [0.25, 0.75]]
    assert pooled({"a": fractions(one), "b": fractions(two)}, {"a": 3}).tolist() == [[0.75, 0.25], [0, 0], [0.375, 0.625]]
    assert disagreement(np.array([[1.0, 0], [0.5, 0.5], [0, 0]])).tolist() == [0, 1, 0]


# In a recipe ------------------------------------------------------------------------------------------------------------


def predictions(folder: Path, n: int = 40, wrong: int = 3) -> tuple[list[dict[str, Any]], set[int]]:
    """Files of three guards in the released layout, in `folder`, and the steps that score them; the first labels are flipped."""
    from toolkit.guards import load_guard, render_input

    guard = load_guard("guardreasoner")
    rng = random.Random(4)
    files = {}
    truth = [rng.choice(LABELS["prompt"]) for _ in range(n)]
    for name in GUARDS:
        lines = []
        for i, true in enumerate(truth):
            found = true if rng.random() < 0.95 else other("prompt", true)
            text = render_input(guard, {"context": [], "prompt": f"question {i} about tea", "response": None})
            label = other("prompt", true) if i < wrong else true
            lines.append(
                {"prompt": text, "label": label, "predict": f"Reasoning of {name}.\n\nAnswers: \nRequest: {found}\nCompletion: None\nResponse: None"}
            )
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
        files[name] = f"{name}.jsonl"
    steps: list[dict[str, Any]] = [
        {"id": "p", "use": "load_predictions", "with": {"files": files, "task": "prompt"}},
        {"id": "v", "use": "verdicts"},
        {"id": "n", "use": "noise", "with": {"tasks": ["prompt"]}},
    ]
    return steps, set(range(wrong))


def test_predictions_are_ranked_and_listed_in_a_recipe(tmp_path: Path) -> None:
    steps, wrong = predictions(tmp_path)
    steps.append({"id": "sure", "use": "select", "with": {"at_most": {"against_prompt": 0.5}}})
    made = run_steps(tmp_path, steps)
    rows, counts = rows_of(made["n"]), made["n"].manifest["counts"][0]
    assert (counts["in"], counts["kept"], counts["merged"]) == (120, 40, 80)
    assert "verdict_prompt" not in rows.columns and "guard_model" not in rows.columns and rows["id"].n_unique() == 40
    assert set(rows.sort("noise_prompt", descending=True).head(3)["source_row"]) == wrong
    assert not set(rows_of(made["sure"])["source_row"]) & wrong
    stats = made["n"].manifest["stats"]["task_prompt"]
    assert stats["labelled"] == 40 == stats["voted_on"] and set(stats["voters"]) == set(GUARDS) and stats["always_wrong"] == 2
    listed = pl.read_parquet(made["n"].artefact("review") / "review.parquet")
    assert listed["rank"].to_list() == list(range(1, listed.height + 1)) and listed["noise"].is_sorted(descending=True)
    assert 3 <= listed.height < 40, "rows that nothing speaks against are not listed"
    first = listed.row(0, named=True)
    assert first["against"].startswith(f"Reasoning of {first['against_by']}") and first["suggested"] == other("prompt", first["label"])
    assert first["prompt"].startswith("question") and first["votes"].startswith("a: ") and first["label_source"] == "human"
    assert {"decision", "reviewer", "note"} <= set(listed.columns) and listed["decision"].null_count() == listed.height


def test_bytes_depend_on_no_block_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for rows, chunk in ((8192, 262_144), (7, 10), (1, 1)):
        monkeypatch.setattr(_votes, "CHUNK", chunk)
        folder = tmp_path / str(rows)
        folder.mkdir()
        steps, _ = predictions(folder)
        made.append(run_steps(folder, steps, block_rows=rows)["n"].manifest["files"])
    assert made[0] == made[1] == made[2]
