"""Two models on the same rows: the paired bootstrap against resampled rows, McNemar and Holm against known values."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.common.errors import InputError
from toolkit.evaluation import NOT_JUDGED, holm, mcnemar, paired, results

H, U = "harmful", "unharmful"
POSITIVES = {"prompt": H, "response": H}


def side(model: str, gold: list[str | None], verdicts: list[str | None], *, first: int = 0, **same: Any) -> pl.DataFrame:
    rows = [
        {"benchmark": "b", "id": str(first + i), "model": model, "draw": 0, "task": "prompt", "gold": g, "verdict": v, "unread": None if v else "cut"}
        | same
        for i, (g, v) in enumerate(zip(gold, verdicts, strict=True))
    ]
    return pl.DataFrame(rows, schema_overrides=dict.fromkeys(("gold", "verdict", "unread"), pl.String), infer_schema_length=None)


def drawn(n: int = 300, seed: int = 0) -> tuple[list[str | None], list[str | None], list[str | None]]:
    """Labels, and two models of which the second is better and errs on some of the same rows."""
    rng = np.random.default_rng(seed)
    gold = rng.random(n) < 0.4
    hard = rng.random(n) < 0.15
    a, b = gold ^ (hard | (rng.random(n) < 0.10)), gold ^ (hard & (rng.random(n) < 0.9))
    first, second, third = ([H if y else U for y in x] for x in (gold, a, b))
    return [*first], [*second], [*third]


def test_the_difference_is_that_of_resampled_rows() -> None:
    gold, a, b = drawn()
    rows = pl.concat([side("a", gold, a), side("b", gold, b)])
    found = paired(rows, "a", "b", POSITIVES, draws=20_000)[0]
    f1 = {r["model"]: r["f1"] for r in results(rows, POSITIVES)}
    assert (found["f1_a"], found["f1_b"]) == (f1["a"], f1["b"])
    assert found["difference"] == pytest.approx(f1["b"] - f1["a"], abs=0.011)
    g, x, y = (np.array([v == H for v in some]) for some in (gold, a, b))
    at = np.random.default_rng(5).integers(0, len(g), (20_000, len(g)))

    def scored(verdicts: Any) -> Any:
        tp, wrong = (g & verdicts)[at].sum(axis=1), (g ^ verdicts)[at].sum(axis=1)
        return 200 * tp / (2 * tp + wrong)

    difference = scored(y) - scored(x)
    assert [found["low"], found["high"]] == pytest.approx(np.quantile(difference, [0.025, 0.975]), abs=0.3)
    assert found["p"] == pytest.approx(2 * min((difference <= 0).mean(), (difference >= 0).mean()), abs=0.003)
    assert (found["right_a"], found["right_b"]) == (int(((x == g) & (y != g)).sum()), int(((x != g) & (y == g)).sum()))
    assert found["mcnemar"] == mcnemar(found["right_a"], found["right_b"])[0] and found["test"] == "exact"
    json.dumps(found, allow_nan=False)


def test_rows_of_one_alone_are_counted_and_left_out() -> None:
    rows = pl.concat([side("a", [H, U, H], [H, U, U]), side("b", [U, H, None, H], [U, H, H, H], first=1)])
    found = paired(rows, "a", "b", POSITIVES)[0]
    assert (found["n"], found["only_a"], found["only_b"]) == (2, 1, 1)  # row 0, row 4; row 3 has no label
    assert (found["f1_a"], found["f1_b"], found["difference"], found["right_a"], found["right_b"]) == (0.0, 100.0, 100.0, 0, 1)


def test_the_same_verdicts_do_not_differ() -> None:
    gold, a, _ = drawn()
    found = paired(pl.concat([side("a", gold, a), side("b", gold, a)]), "a", "b", POSITIVES)[0]
    assert (found["difference"], found["low"], found["high"], found["p"], found["mcnemar"], found["test"]) == (0.0, 0.0, 0.0, 1.0, None, None)


def test_policies_draws_and_readings_reach_the_pair() -> None:
    gold: list[str | None] = [H, H, U, U]
    rows = pl.concat([side("a", gold, [H, None, U, None]), side("b", gold, ["bad", H, U, "bad"])])
    reading = {"b": {"prompt": {"bad": H}}}
    by = {p: paired(rows, "a", "b", POSITIVES, policy=p, readings=reading)[0] for p in ("clean", "drop", "fail-closed")}
    assert {p: (f["f1_a"], f["f1_b"]) for p, f in by.items()} == {"clean": (50.0, 80.0), "drop": (100.0, 80.0), "fail-closed": (80.0, 80.0)}
    assert paired(rows, "a", "b", POSITIVES)[0]["f1_b"] == 66.67
    twice = pl.concat([rows, rows.with_columns(draw=pl.lit(1, pl.Int64), verdict=pl.lit(U), unread=pl.lit(None, pl.String))])
    assert paired(twice, "a", "b", POSITIVES, readings=reading)[0]["f1_a"] == 66.67  # a tie of two draws goes to harmful
    written = rows.with_columns(output=pl.lit("Request: harmful"))
    assert paired(written, "a", "b", POSITIVES, policy="reference")[0]["f1_a"] == 66.67


def test_means_of_differences() -> None:
    gold, a, b = drawn(200)
    fewer = [x[:50] for x in (gold, b, a)]
    rows = pl.concat(
        [side("a", gold, a), side("b", gold, b), side("a", fewer[0], fewer[1], benchmark="c"), side("b", fewer[0], fewer[2], benchmark="c")]
    )
    other = [side("a", gold, a, benchmark="d", task="response"), side("b", gold, b, benchmark="d", task="response")]
    rows = pl.concat([rows, *other])
    found = paired(rows, "a", "b", POSITIVES, sizes={"b": 50, "c": 150, "d": 1})
    each = {f["benchmark"]: f for f in found if f["mean"] is None}
    mean = {(f["mean"], f["task"]): f for f in found if f["mean"]}
    assert list(each) == ["b", "c", "d"] and len(mean) == 9
    weighted = (200 * each["b"]["difference"] + 50 * each["c"]["difference"]) / 250
    assert mean["weighted", "prompt"]["difference"] == pytest.approx(weighted, abs=0.01)
    assert mean["stated", "prompt"]["difference"] == pytest.approx((50 * each["b"]["difference"] + 150 * each["c"]["difference"]) / 200, abs=0.01)
    tasks = [mean["macro", t]["difference"] for t in ("prompt", "response")]
    assert mean["macro", None]["difference"] == pytest.approx(sum(tasks) / 2, abs=0.01)
    assert mean["weighted", None]["low"] < mean["weighted", None]["difference"] < mean["weighted", None]["high"]
    width = {k: f["high"] - f["low"] for k, f in mean.items()}
    assert width["weighted", "prompt"] < each["c"]["high"] - each["c"]["low"]


def test_by_source() -> None:
    gold, a, b = drawn(100)
    rows = pl.concat([side("a", gold, a), side("b", gold, b)]).with_columns(source=pl.when(pl.col("id").cast(pl.Int64) < 40).then(pl.lit("x")))
    found = paired(rows, "a", "b", POSITIVES, by="source")
    assert [(f["by"], f["part"], f["n"]) for f in found] == [("source", None, 60), ("source", "x", 40)]


def test_a_task_that_one_does_not_judge_has_no_difference() -> None:
    gold, a, _ = drawn(20)
    unjudged = side("b", gold, [None] * 20, unread=NOT_JUDGED)
    found = paired(pl.concat([side("a", gold, a), unjudged]), "a", "b", POSITIVES)
    assert [(f["f1_a"], f["difference"], f["p"], f["mcnemar"], f["right_a"]) for f in found] == [(None,) * 5] * 3


def test_unknown_models_name_the_nearest() -> None:
    gold, a, b = drawn(20)
    rows = pl.concat([side("guard-1b", gold, a), side("guard-3b", gold, b)])
    with pytest.raises(InputError, match="did you mean 'guard-3b'"):
        paired(rows, "guard-1b", "guard3b", POSITIVES)
    with pytest.raises(InputError, match="against itself"):
        paired(rows, "guard-1b", "guard-1b", POSITIVES)


def test_mcnemar_against_known_values() -> None:
    """By scipy's binomial test, and by its chi-squared distribution beyond the exact counts."""
    from scipy.stats import binomtest, chi2

    for a, b in ((0, 6), (5, 20), (12, 9), (300, 350)):
        p, test = mcnemar(a, b)
        assert test == "exact" and p == pytest.approx(binomtest(a, a + b).pvalue)
    p, test = mcnemar(600, 700)
    assert test == "chi-squared" and p == pytest.approx(chi2.sf(99**2 / 1300, 1))
    assert mcnemar(0, 0) == (None, None)


def test_holm_by_hand() -> None:
    """Four p-values of Holm's procedure as R's p.adjust gives them."""
    assert holm([0.01, 0.04, None, 0.03, 0.005]) == pytest.approx([0.03, 0.06, None, 0.06, 0.02])
    assert holm([]) == [] and holm([None]) == [None] and holm([0.9, 0.8]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_keeps_the_order_and_never_lowers(pvalues: list[float]) -> None:
    found = holm(pvalues)
    assert all(q is not None and p <= q <= 1 for p, q in zip(pvalues, found, strict=True))
    assert [q for _, q in sorted(zip(pvalues, found, strict=True))] == sorted(q for q in found if q is not None)
