"""Figures of probabilities: against scikit-learn, by hand, and their intervals against resampled rows."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from toolkit.evaluation import budget_threshold, results
from toolkit.evaluation.scoring._curves import at_threshold, average_precision, calibration_error, curve_figures, recall_at, roc_area

scores = st.lists(st.tuples(st.booleans(), st.one_of(st.integers(0, 5).map(lambda x: x / 5), st.floats(0, 1))), min_size=1, max_size=40)


def arrays(pairs: list[tuple[bool, float]]) -> tuple[Any, Any]:
    return np.array([p for p, _ in pairs]), np.array([s for _, s in pairs])


@given(scores)
@settings(max_examples=80)
def test_areas_are_scikit_learns(pairs: list[tuple[bool, float]]) -> None:
    """Average precision and the area under the ROC curve, ties and all."""
    positive, score = arrays(pairs)
    if not positive.any():
        assert average_precision(positive, score) is None
    else:
        assert average_precision(positive, score) == pytest.approx(average_precision_score(positive, score))
    if positive.all() or not positive.any():
        assert roc_area(positive, score) is None
    else:
        assert roc_area(positive, score) == pytest.approx(roc_auc_score(positive, score))


def test_calibration_by_hand() -> None:
    """Three bins: 2/15 closes its bin, 0 is in the first, 1 in the last."""
    positive, score = arrays([(False, 0.0), (True, 1 / 15), (False, 2 / 15), (True, 1.0), (False, 0.95)])
    bins = [abs(1 - 1 / 15), abs(0 - 2 / 15), abs(1 - 1.95)]
    assert calibration_error(positive, score) == pytest.approx(sum(bins) / 5)
    rng = np.random.default_rng(0)
    p = rng.random(200_000)
    assert calibration_error(rng.random(200_000) < p, p) < 0.005  # type: ignore[operator]
    assert calibration_error(rng.random(200_000) < p / 2, p) == pytest.approx(0.25, abs=0.005)


@given(scores, st.sampled_from([1.0, 2.0, 5.0, 25.0, 50.0]))
@settings(max_examples=80)
def test_recall_at_a_rate_is_the_best_threshold_that_keeps_it(pairs: list[tuple[bool, float]], rate: float) -> None:
    positive, score = arrays(pairs)
    if positive.all() or not positive.any():
        return
    found = recall_at(score[positive], score[~positive], rate, 0, np.random.default_rng(0))
    kept = [t for t in [*score.tolist(), 2.0] if (score[~positive] >= t).mean() <= rate / 100 + 1e-12]
    assert found["recall"] == pytest.approx(100 * max((score[positive] >= t).mean() for t in kept), abs=0.006)
    if found["threshold"] is None:
        assert kept == [2.0]
    else:
        assert found["threshold"] in kept
        assert found["recall"] == at_threshold(positive, score, found["threshold"])["recall"]


@pytest.mark.parametrize("ties", [False, True])
def test_the_interval_of_recall_is_the_bootstrap_over_rows(ties: bool) -> None:
    rng = np.random.default_rng(2)
    harmful, benign = rng.beta(5, 2, 120), rng.beta(2, 5, 180)
    if ties:
        harmful, benign = np.round(harmful, 1), np.round(benign, 1)
    positive, score = np.repeat([True, False], [120, 180]), np.concatenate([harmful, benign])
    again = []
    for _ in range(4000):
        at = rng.integers(0, 300, 300)
        p, s = positive[at], score[at]
        down = np.sort(s[~p])[::-1]
        k = int(0.05 * len(down) + 1e-9)
        again.append(100 * (s[p] > down[k]).mean())
    found = recall_at(harmful, benign, 5.0, 20_000, np.random.default_rng(3))
    assert [found["recall_low"], found["recall_high"]] == pytest.approx(np.quantile(again, [0.025, 0.975]), abs=1.7)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.sampled_from([0.0, 1.0, 10.0, 50.0, 100.0]))
def test_a_budget_is_kept_and_used(values: list[float], share: float) -> None:
    score = np.array(values)
    threshold = budget_threshold(score, share)
    allowed = share / 100 * len(score) + 1e-9
    if threshold is None:
        assert (score >= score.max()).sum() > allowed
    else:
        assert (score >= threshold).sum() <= allowed
        lower = score[score < threshold]
        assert not len(lower) or (score >= lower.max()).sum() > allowed


def test_figures_without_both_classes() -> None:
    rng = np.random.default_rng(0)
    found = curve_figures(np.array([True, True]), np.array([0.9, 0.2]), 10, rng)
    assert (found["auprc"], found["auroc"], found["recall_at_fpr"]) == (100.0, None, None)
    assert found["thresholds"][9] == {"threshold": 0.5, "flagged": 50.0, "recall": 50.0, "precision": 100.0, "fpr": None, "f1": 66.67}
    assert curve_figures(np.array([False]), np.array([0.1]), 10, rng)["auprc"] is None
    assert set(curve_figures(np.array([], bool), np.array([]), 10, rng).values()) == {None}


def test_figures_of_a_table() -> None:
    """Rows without a probability are left out and counted; draws are averaged; curves are the same under each policy."""
    rng = np.random.default_rng(1)
    gold = rng.random(60) < 0.5
    p = np.clip(gold * 0.4 + rng.random((2, 60)) * 0.6, 0, 1)
    rows = pl.DataFrame(
        [
            {
                "benchmark": "b",
                "id": str(i),
                "model": "m",
                "draw": d,
                "task": "t",
                "gold": "yes" if g else "no",
                "verdict": "yes" if p[d, i] > 0.5 else "no",
            }
            | {"probability": None if i == 7 else p[d, i]}
            for i, g in enumerate(gold)
            for d in (0, 1)
        ],
        schema_overrides={"probability": pl.Float64},
        infer_schema_length=None,
    )
    clean, closed = results(rows, {"t": "yes"}, policies=["clean", "fail-closed"])
    keep = np.arange(60) != 7
    assert clean["probability_n"] == 59
    assert clean["auprc"] == pytest.approx(100 * average_precision_score(gold[keep], p.mean(axis=0)[keep]), abs=0.005)
    assert clean["auroc"] == pytest.approx(100 * roc_auc_score(gold[keep], p.mean(axis=0)[keep]), abs=0.005)
    assert [r["fpr"] for r in clean["recall_at_fpr"]] == [1.0, 2.0, 5.0] and [b["budget"] for b in clean["budgets"]] == [1.0, 2.0, 5.0, 10.0, 20.0]
    assert all(r["recall_low"] <= r["recall"] <= r["recall_high"] for r in clean["recall_at_fpr"])
    assert clean["thresholds"] == closed["thresholds"] and clean["recall_at_fpr"] == closed["recall_at_fpr"]
    json.dumps(clean, allow_nan=False)
