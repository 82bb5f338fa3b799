"""Figures from the per-row table: policies, draws, readings, intervals, means, breakdowns, and lines that cannot be counted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.common.errors import InputError
from toolkit.evaluation import NOT_JUDGED, POLICIES, ROWS, breakdown, holm, means, results, write_evaluation
from toolkit.evaluation.scoring._bootstrap import count_figures, generator
from toolkit.evaluation.scoring._policies import Outcome

H, U = "harmful", "unharmful"
POSITIVES = {"prompt": H, "response": H, "refusal": "refusal"}


def table(*lines: tuple[Any, ...], names: Sequence[str] = ("id", "gold", "verdict"), **same: Any) -> pl.DataFrame:
    """Lines of one benchmark, model and task unless they say otherwise."""
    rows = [{"benchmark": "b", "model": "m", "draw": 0, "task": "prompt"} | same | dict(zip(names, line, strict=True)) for line in lines]
    for row in rows:
        row.setdefault("unread", None if row["verdict"] is not None else "no_label")
    return pl.DataFrame(rows, schema_overrides={k: v for k, v in ROWS.items() if k in rows[0]}, infer_schema_length=None)


def one(rows: pl.DataFrame, policy: str = "clean", **more: Any) -> dict[str, Any]:
    (found,) = results(rows, POSITIVES, policies=[policy], **more)
    return found


def test_by_hand() -> None:
    """Three of five harmful rows found, one of five others flagged, one of each kind not read."""
    rows = table(
        *((f"a{i}", H, v) for i, v in enumerate([H, H, H, U, None])), *((f"b{i}", U, v) for i, v in enumerate([H, U, U, U, None])), ("c", None, H)
    )
    clean, drop, closed = results(rows, POSITIVES, policies=("clean", "drop", "fail-closed"))
    assert [clean[c] for c in ("tp", "fp", "fn", "tn", "n", "unlabelled", "unparsable")] == [3, 2, 2, 3, 10, 1, 2]
    assert (clean["f1"], clean["precision"], clean["recall"], clean["accuracy"], clean["fpr"]) == (60.0, 60.0, 60.0, 60.0, 40.0)
    assert [drop[c] for c in ("tp", "fp", "fn", "tn", "n", "dropped", "coverage")] == [3, 1, 1, 3, 10, 2, 80.0]
    assert (drop["f1"], drop["fpr"]) == (75.0, 25.0)
    assert [closed[c] for c in ("tp", "fp", "fn", "tn", "unparsable")] == [4, 2, 1, 3, 2]
    assert clean["unread"] == {"no_label": 2} and not clean["single_class"]
    assert all(one["f1_low"] <= one["f1"] <= one["f1_high"] for one in (clean, drop, closed))
    json.dumps([clean, drop, closed], allow_nan=False)


def test_reference_drops_some_and_doubles_others() -> None:
    """The last 300 characters, first match there; an unread harmful row is dropped, any other counts twice; the case is kept."""
    far = "Request: harmful" + "." * 300
    rows = table(
        ("1", H, H, "Request: harmful"),
        ("2", H, H, far),
        ("3", U, H, far),
        ("4", U, U, "Request: unharmful … Request: harmful"),
        ("5", H, H, "Request: Harmful"),
        ("6", H, None, None),
        ("7", None, H, far),
        names=("id", "gold", "verdict", "output"),
    )
    found = one(rows, "reference")
    assert [found[c] for c in ("tp", "fp", "fn", "tn", "n", "unparsable", "dropped", "doubled")] == [1, 2, 1, 1, 6, 3, 2, 1]
    assert means([found])[0]["weight"] == 7  # the script weights by all lines of the file
    assert one(rows)["tp"] == 3


def test_reference_needs_outputs_of_its_own_tasks() -> None:
    with pytest.raises(InputError, match="no column 'output'"):
        one(table(("1", H, H)), "reference")
    with pytest.raises(InputError, match=r"row 2, model m, task prompt: .*needs the output"):
        one(table(("1", H, H, "Request: harmful"), ("2", H, H, None), names=("id", "gold", "verdict", "output")), "reference")
    with pytest.raises(InputError, match="knows no task 'harm'"):
        results(table(("1", H, H, ""), names=("id", "gold", "verdict", "output"), task="harm"), {"harm": H}, policies=["reference"])
    drawn = table(("1", 0, H, H, ""), ("1", 1, H, H, ""), names=("id", "draw", "gold", "verdict", "output"))
    with pytest.raises(InputError, match="not 2 draws"):
        one(drawn, "reference")


def test_several_draws() -> None:
    """Most draws decide, ties go to the positive label and are counted; an unread draw says nothing, or the positive label under fail-closed."""
    drawn: dict[str, list[str | None]] = {"a": [H, U, U], "b": [H, U, None], "c": [None, None, U], "d": [None, None, None], "e": [U, U, U]}
    rows = table(*((i, n, U, v) for i, votes in drawn.items() for n, v in enumerate(votes)), names=("id", "draw", "gold", "verdict"))
    clean, closed = results(rows, POSITIVES, policies=("clean", "fail-closed"))
    assert [clean[c] for c in ("fp", "tn", "unparsable", "ties", "draws", "n")] == [2, 3, 1, 1, 3, 5]  # b by the tie, d unread
    assert [closed[c] for c in ("fp", "tn", "ties")] == [3, 2, 0]
    short = one(rows.filter(~((pl.col("id") == "a") & (pl.col("draw") == 2))))
    assert (short["fewer_draws"], short["ties"]) == (1, 2)


def test_mean_of_probabilities() -> None:
    rows = table(
        ("a", 0, H, U, 0.9), ("a", 1, H, U, 0.2), ("b", 0, U, H, 0.6), ("b", 1, U, U, 0.1), names=("id", "draw", "gold", "verdict", "probability")
    )
    found = one(rows, k="mean")
    assert [found[c] for c in ("tp", "fp", "fn", "tn", "accuracy")] == [1, 0, 0, 1, 100.0]
    assert [one(rows)[c] for c in ("tp", "fp", "fn", "tn")] == [0, 1, 1, 0]
    with pytest.raises(InputError, match="mean of probabilities is not known"):
        one(table(("a", H, H)), k="mean")
    with pytest.raises(InputError, match="did you mean 'mean'"):
        one(rows, k="means")


def test_readings_of_three_labels() -> None:
    """A third label is a true negative of F1 and wrong for accuracy, until a reading says what it stands for."""
    rows = table(("1", H, "controversial", 0.4), ("2", U, "controversial", 0.3), ("3", H, H, 0.9), names=("id", "gold", "verdict", "probability"))
    assert [one(rows)[c] for c in ("tp", "fn", "tn", "accuracy", "auprc")] == [1, 1, 1, 33.33, 100.0]
    strict = one(rows, readings={"m": {"prompt": {"controversial": H}}})
    assert [strict[c] for c in ("tp", "fp", "accuracy", "auprc", "thresholds")] == [2, 1, 66.67, None, None]
    loose = one(rows, readings={"m": {"prompt": {"controversial": U}}})
    assert [loose[c] for c in ("tp", "fn", "tn", "accuracy", "auprc")] == [1, 1, 1, 66.67, 100.0]


def test_what_does_not_exist_is_none() -> None:
    harmful = one(table(("1", H, H), ("2", H, U)))
    assert harmful["single_class"] and harmful["fpr"] is None and harmful["fpr_low"] is None and harmful["f1"] == 66.67
    quiet = one(table(("1", U, U)))
    assert quiet["single_class"] and quiet["f1"] is None and quiet["f1_low"] is None and quiet["fpr"] == 0.0
    unlabelled = one(table(("1", None, H)))
    assert (unlabelled["n"], unlabelled["f1"], unlabelled["coverage"]) == (0, None, None)
    nothing = one(table(("1", H, None)), "drop")
    assert (nothing["f1"], nothing["accuracy"], nothing["coverage"]) == (None, None, 0.0)


def test_what_a_guard_does_not_judge_has_no_figure() -> None:
    lines = table(("1", H, None, NOT_JUDGED), ("2", U, None, NOT_JUDGED), names=("id", "gold", "verdict", "unread"))
    found = results(pl.concat([lines, table(("1", H, H), ("2", U, U), model="other")]), POSITIVES, policies=POLICIES[:3])
    assert [(f["judged"], f["f1"], f["fn"], f["n"]) for f in found[:3]] == [(False, None, None, 2)] * 3
    mean = {(m["model"], m["mean"]): m for m in means(found) if m["policy"] == "clean"}
    assert mean["m", "macro"]["f1"] is None and mean["m", "macro"]["left_out"] == ["b"] and mean["other", "macro"]["f1"] == 100.0


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (table(("1", H, H), ("1", H, U)), "b: row 1, model m, draw 0, task prompt: the line is there twice"),
        (pl.concat([table(("1", H, H), ("2", U, U)), table(("1", U, H), ("2", H, H), model="n")]), "row 1, .*several labels: harmful, unharmful"),
        (pl.concat([table(("1", H, H)), table(("1", None, H), model="n")]), "several labels: None, harmful"),
        (pl.concat([table(("1", H, H), ("2", U, U)), table(("1", H, H), ("1", H, H), model="n")]), "row 1, model n, .*twice"),
        (table(("1", H, "banana")), "row 1, .*verdict 'banana' is no label of task 'prompt'"),
        (table(("1", "Harmful", H)), "gold 'Harmful' is no label of task 'prompt'\n.*did you mean 'harmful'"),
        (table(("1", H, None, None), names=("id", "gold", "verdict", "unread")), "row 1, .*of verdict and unread exactly one"),
        (table(("1", H, H, "cut"), names=("id", "gold", "verdict", "unread")), "row 1, .*of verdict and unread exactly one"),
        (table((None, H, H)), "a line without benchmark, id"),
        (table(("1", H, H), task="promt"), "no positive label is known of task 'promt'\n.*did you mean 'prompt'"),
        (table(("1", H, H)).drop("gold"), "no column 'gold'"),
        (table(("1", H, H)).with_columns(tokens=pl.lit("ten")), "column 'tokens' of the per-row table holds String, not numbers"),
        (table(("1", H, H)).with_columns(gold=pl.lit(1)), "column 'gold' of the per-row table holds Int32, not texts"),
        (table(("7", H, H, 1.5), names=("id", "gold", "verdict", "probability")), "row 7, .*1.5 is no probability"),
    ],
)
def test_what_cannot_be_counted_is_named(lines: pl.DataFrame, message: str) -> None:
    with pytest.raises(InputError, match=r"(?s)" + message):
        results(lines, POSITIVES, labels={"prompt": [U, H]})


def test_unknown_policies_name_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'fail-closed'"):
        results(table(("1", H, H)), POSITIVES, policies=["fail_closed"])


def test_models_on_different_rows_are_counted() -> None:
    """Rows that a model has no line of are no fault here: `paired` tells."""
    found = results(pl.concat([table(("1", H, H), ("2", U, U)), table(("2", U, H), ("3", H, H), model="n")]), POSITIVES)
    assert [(f["model"], f["n"]) for f in found] == [("m", 2), ("n", 2)]


def test_tokens_and_seconds_are_of_a_row() -> None:
    rows = table(
        ("a", 0, H, H, 10, 1.0),
        ("a", 1, H, H, 20, 2.0),
        ("b", 0, H, H, 30, None),
        ("b", 1, H, H, 20, None),
        names=("id", "draw", "gold", "verdict", "tokens", "seconds"),
    )
    assert (one(rows)["tokens"], one(rows)["seconds"]) == (40.0, 3.0)
    assert one(rows.drop("tokens"))["tokens"] is None


def test_the_table_may_be_a_file_and_come_in_any_order(tmp_path: Path) -> None:
    """Categorical columns, a lazy file and another order of the lines: the same figures."""
    rng = np.random.default_rng(0)
    rows = pl.concat([table(*((str(i), g, v) for i, (g, v) in enumerate(rng.choice([H, U], (200, 2)).tolist())), model=m) for m in "xyz"])
    rows = rows.with_columns(pl.Series("gold", rows.filter(pl.col("model") == "x")["gold"].to_list() * 3))
    expected = results(rows, POSITIVES, policies=POLICIES[:3], seed=3)
    rows.write_parquet(tmp_path / "rows.parquet")
    assert results(pl.scan_parquet(tmp_path / "rows.parquet"), POSITIVES, policies=POLICIES[:3], seed=3) == expected
    rows.with_columns(pl.col("benchmark", "model", "task", "gold", "verdict", "unread").cast(pl.Categorical)).write_parquet(tmp_path / "cat.parquet")
    assert results(pl.scan_parquet(tmp_path / "cat.parquet"), POSITIVES, policies=POLICIES[:3], seed=3) == expected
    mixed = results(rows.sample(fraction=1, shuffle=True, seed=1), POSITIVES, policies=POLICIES[:3], seed=3)
    assert sorted(mixed, key=lambda r: (r["model"], r["policy"])) == sorted(expected, key=lambda r: (r["model"], r["policy"]))
    alone = results(rows.filter(pl.col("model") == "y"), POSITIVES, seed=3)
    assert alone == [r for r in expected if r["model"] == "y" and r["policy"] == "clean"]
    assert results(rows, POSITIVES, seed=4)[0]["f1_low"] != expected[0]["f1_low"]


def test_an_evaluations_file_is_scored_as_its_rows_are(tmp_path: Path) -> None:
    """Its words are marked as such in the file, which makes scoring fast; to whoever reads it they are the table's texts."""
    rows = table(("1", H, H), ("2", U, None), ("3", H, U))
    whole = write_evaluation(tmp_path / "e", {"models": [], "benchmarks": [], "results": [], "means": []}, rows)
    assert dict(whole.rows().collect_schema()) == ROWS and whole.rows().collect()["verdict"].to_list() == [H, None, U]
    file = pl.scan_parquet(tmp_path / "e" / "rows.parquet")
    assert file.collect_schema()["verdict"] == pl.Categorical()
    assert results(file, POSITIVES) == results(whole.rows(), POSITIVES) == results(rows, POSITIVES)


@given(st.lists(st.tuples(st.sampled_from([H, U]), st.sampled_from([H, U, None])), min_size=1, max_size=30))
@settings(max_examples=40)
def test_policies_agree_on_what_was_read(pairs: list[tuple[str, str | None]]) -> None:
    clean, drop, closed = results(table(*((str(i), g, v) for i, (g, v) in enumerate(pairs))), POSITIVES, policies=POLICIES[:3], draws=0)
    for found, n in ((clean, len(pairs)), (drop, len(pairs) - clean["unparsable"]), (closed, len(pairs))):
        assert sum(found[c] for c in ("tp", "fp", "fn", "tn")) == n
    assert drop["tp"] == clean["tp"] <= closed["tp"] and clean["fp"] == closed["fp"] and drop["tn"] == clean["tn"]


def test_intervals_are_the_bootstrap_over_rows() -> None:
    """Drawing the cells gives the distribution that resampling the rows gives: quantiles of F1 agree within their Monte Carlo error."""
    cells = {
        Outcome("tp", 1, True): 60,
        Outcome("fn", 1, False): 14,
        Outcome("fp", 1, False): 9,
        Outcome("tn", 1, True): 110,
        Outcome("fp", 2, False): 3,
    }
    rng = np.random.default_rng(1)
    kind = np.repeat(np.arange(5), list(cells.values()))
    drawn = kind[rng.integers(0, len(kind), (20_000, len(kind)))]
    tp, fn, fp, twice = ((drawn == i).sum(axis=1) for i in (0, 1, 2, 4))
    by_rows = 200 * tp / (2 * tp + fn + fp + 2 * twice)
    found = count_figures(cells, 20_000, generator(0, "x"))
    assert found["f1"] == pytest.approx(200 * 60 / (120 + 14 + 9 + 6), abs=0.005)
    assert [found["f1_low"], found["f1_high"]] == pytest.approx(np.quantile(by_rows, [0.025, 0.975]), abs=0.25)
    from toolkit.evaluation.scoring._bootstrap import figures, resample, sums

    kinds = sorted(cells)
    by_cells = figures(resample([cells[k] for k in kinds], 20_000, generator(1, "y")) @ sums(kinds))[:, 0]
    grid = np.linspace(60, 95, 400)
    gap = np.abs((by_rows[:, None] <= grid).mean(axis=0) - (by_cells[:, None] <= grid).mean(axis=0)).max()
    assert gap < 1.95 * np.sqrt(2 / 20_000)  # Kolmogorov and Smirnov's bound at one in a thousand


def test_by_category_and_source() -> None:
    rows = table(
        ("1", H, H, ["a", "b"], "s"),
        ("2", H, U, ["a", "a"], "s"),
        ("3", U, U, [], "t"),
        ("4", U, H, None, "t"),
        names=("id", "gold", "verdict", "categories", "source"),
    )
    found = {f["part"]: f for f in breakdown(rows, POSITIVES, "categories")}
    assert {k: (f["n"], f["tp"], f["fn"], f["fp"], f["tn"]) for k, f in found.items()} == {
        "a": (2, 1, 1, 0, 0),
        "b": (1, 1, 0, 0, 0),
        None: (2, 0, 0, 1, 1),
    }
    assert [(f["by"], f["part"], f["n"]) for f in breakdown(rows, POSITIVES, "source")] == [("source", "s", 2), ("source", "t", 2)]
    with pytest.raises(InputError, match="no column 'kind'"):
        breakdown(rows, POSITIVES, "kind")


SIZES: dict[str, int | dict[str, int]] = {
    "toxic_chat": 2853, "harmbench_prompt": 239, "openai_moderation": 1680, "aegis_safety_test": 359, "simple_safety_tests": 100,
    "harmbench_response": 602, "safe_rlhf": 2000, "beavertails": 3021, "xstest_response_harmful": 446,
    "xstest_response_refusal": 499, "wildguard_test": {"prompt": 1756, "response": 1768, "refusal": 1777},
}  # fmt: skip
"""The paper's table 3 (arXiv 2501.18492)."""
TRUE = {"xstest_response_refusal": 449, "wildguard_test": 1725}
COLUMNS = {
    "prompt": ["toxic_chat", "harmbench_prompt", "openai_moderation", "aegis_safety_test", "simple_safety_tests", "wildguard_test"],
    "response": ["harmbench_response", "safe_rlhf", "beavertails", "xstest_response_harmful", "wildguard_test"],
    "refusal": ["xstest_response_refusal", "wildguard_test"],
}
PAPER = {
    "1B": ([72.43, 96.31, 70.06, 89.34, 98.99, 87.37], [84.75, 68.39, 85.84, 90.12, 74.81], [91.34, 87.71], (77.68, 79.06, 88.51, 81.75)),
    "3B": ([78.20, 89.10, 71.87, 91.39, 100.0, 89.01], [85.66, 69.02, 86.72, 91.36, 79.70], [80.31, 87.54], (80.76, 80.80, 85.95, 82.50)),
    "8B": ([78.79, 91.86, 72.00, 90.18, 99.50, 89.17], [85.47, 70.04, 87.60, 94.34, 78.20], [93.68, 88.91], (81.09, 81.22, 89.96, 84.09)),
}
"""F1 of GuardReasoner by size and task, and the means that the paper gives (its tables 2 to 4 and 10)."""


@pytest.mark.parametrize("size", PAPER)
def test_the_papers_means_come_out_with_its_stated_sizes(size: str) -> None:
    *columns, given = PAPER[size]
    lines = [
        {"model": size, "policy": "clean", "benchmark": b, "task": t, "n": TRUE.get(b, SIZES[b]), "f1": f}
        for (t, names), column in zip(COLUMNS.items(), columns, strict=True)
        for b, f in zip(names, column, strict=True)
    ]
    found = {(m["mean"], m["task"]): m["f1"] for m in means(lines, SIZES)}
    assert [found["stated", t] for t in ("prompt", "response", "refusal", None)] == pytest.approx(given, abs=0.0101)
    assert found["weighted", "refusal"] != found["stated", "refusal"]
    assert found["macro", "refusal"] == pytest.approx(sum(columns[2]) / 2, abs=0.005)


def test_a_mean_says_what_it_is_made_of() -> None:
    lines = [
        {"model": "m", "policy": "clean", "benchmark": b, "task": "prompt", "n": n, "f1": f}
        for b, n, f in (("a", 10, 50.0), ("b", 30, 90.0), ("c", 5, None))
    ]
    found = {m["mean"]: m for m in means(lines, {"a": 30, "b": None})}
    assert found["weighted"] | {"task": "prompt"} == found["weighted"] and found["weighted"]["f1"] == 80.0
    assert (found["weighted"]["benchmarks"], found["weighted"]["left_out"], found["weighted"]["weight"]) == (["a", "b"], ["c"], 40)
    assert (found["stated"]["f1"], found["stated"]["left_out"]) == (50.0, ["b", "c"])
    assert found["macro"]["f1"] == 70.0
    assert all(m["f1"] is None for m in means([line | {"f1": None} for line in lines]))


def test_means_are_of_the_exact_figures() -> None:
    """66.666… and 0: 33.33, where the two rounded ones give 33.34."""
    rows = pl.concat(
        pl.DataFrame({"benchmark": "b", "id": ["r", "s"], "model": "m", "task": task, "gold": [H, U], "verdict": verdicts})
        for task, verdicts in (("prompt", [H, H]), ("response", [U, U]))
    )
    found = results(rows, {"prompt": H, "response": H}, draws=0)
    assert [one["f1"] for one in found] == [66.67, 0.0]
    assert {m["task"]: m["f1"] for m in means(found) if m["mean"] == "macro"} == {"prompt": 66.67, "response": 0.0, None: 33.33}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda rows: results("outputs/evaluation", {"prompt": H}), "a frame of polars, not str"),  # type: ignore[arg-type]
        (lambda rows: results(rows, "harmful"), "labels by task"),  # type: ignore[arg-type]
        (lambda rows: results(rows, {"prompt": H}, readings={"m": {"prompt": "strict"}}), "labels by model and task"),  # type: ignore[dict-item]
        (lambda rows: results(rows, {"prompt": H}, policies=None), "no policy"),  # type: ignore[arg-type]
        (lambda rows: results(rows, {"prompt": H}, draws=2.5), "2.5 draws"),  # type: ignore[arg-type]
        (lambda rows: means("results"), "not str"),  # type: ignore[arg-type]
        (lambda rows: means(rows), "not Series"),
        (lambda rows: means([{"model": "m", "f1": 1.0}]), "a result without 'policy', 'benchmark'"),
        (lambda rows: means(results(rows, {"prompt": H}, draws=0), {"b": "499"}), "the size of b is a number of rows, not '499'"),  # type: ignore[dict-item]
        (lambda rows: holm([0.1, float("nan")]), "nan is no p-value"),
    ],
)
def test_arguments_of_another_shape_are_reported(call: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        call(table(("a", H, H)))


def test_an_interval_does_not_depend_on_what_a_model_is_called() -> None:
    """Two models that answered the same have the same figures."""
    listed = [(f"a{i}", H, v) for i, v in enumerate([H, H, H, U])] + [(f"b{i}", U, v) for i, v in enumerate([H, U, U])]
    found = results(pl.concat([table(*listed), table(*listed, model="other")]), POSITIVES)
    assert len(found) == 2 and found[0] | {"model": "other"} == found[1] and found[0]["f1_low"] < found[0]["f1_high"]
