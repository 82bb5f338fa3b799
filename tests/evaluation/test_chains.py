"""What a chain does to a verdict: figures of lines made by hand, and intervals against resamples of the rows themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from toolkit.evaluation import CHAINS, chain_flips, chain_settled, chain_stages, matched_rates, redrawn
from toolkit.evaluation.chains._areas import area, area_ends, blocks, recall_at_rate
from toolkit.evaluation.scoring._bootstrap import generator
from toolkit.evaluation.scoring._curves import recall_at, roc_area
from toolkit.evaluation.scoring._score import wilson

H, U = "harmful", "unharmful"
POSITIVE = {"prompt": H}


def lines(
    row: str, gold: str | None, final: str | None, *labels: str | None, same: str | None = None, other: str | None = None
) -> list[dict[str, Any]]:
    """A row's label before the chain and after each step, and behind other rows' chains."""
    one = {"model": "m", "id": row, "task": "prompt", "gold": gold, "final": final, "steps": len(labels) - 1}
    probes = [("before" if n == 0 else "step", n, label) for n, label in enumerate(labels)]
    probes += [(kind, 9, label) for kind, label in (("same", same), ("other", other)) if label]
    known = {H: 0.9, U: 0.2, None: None}
    return [{**one, "probe": kind, "step": step, "label": label, "probability": known[label]} for kind, step, label in probes]


def table(*rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame([line for row in rows for line in row], schema=CHAINS)


FOUR = table(
    lines("a", H, H, U, U, H, H, other=U, same=H),  # settled at step 2
    lines("b", U, U, U, U, U, other=U, same=U),  # before the chain; another chain changes nothing
    lines("c", H, U, U, H, U, other=H),  # back at step 2
    lines("d", None, H, H, U, other=U),  # the whole chain, read again, says something else
)


def test_where_four_verdicts_are_settled() -> None:
    (found,) = chain_settled(FOUR)
    low, high = (round(100 * end, 2) for end in wilson(1, 4))
    assert (found["n"], found["before"], found["before_low"], found["before_high"]) == (4, 25.0, low, high)
    assert (found["never"], found["by_step"], found["share"]) == (1, {0: 1, 2: 2}, round(100 * (2 / 3 + 0 + 1) / 3, 2))


def test_the_label_at_each_stage() -> None:
    found = {one["stage"]: one for one in chain_stages(FOUR, POSITIVE)}
    before, whole = found["before"], found["whole"]
    assert list(found) == ["before", "a quarter", "half", "three quarters", "whole", "step 1", "step 2", "step 3"]
    assert [found[s]["n"] for s in found] == [4, 4, 4, 4, 4, 4, 3, 1]
    assert (before["agree"], whole["agree"]) == (75.0, 75.0)
    assert before["chance"] == 50.0, "one H and three U before, two of each at the end"
    assert (before["labelled"], before["f1"], whole["f1"]) == (3, 0.0, 66.67)
    assert (before["auroc"], whole["auroc"], found["half"]["auroc"]) == (50.0, 75.0, 100.0)
    assert whole["f1_low"] <= 66.67 <= whole["f1_high"] and whole["auroc_low"] <= 75.0 <= whole["auroc_high"]


def test_what_changes_the_verdict() -> None:
    found = {one["change"]: (one["read"], one["flips"], one["to_positive"], one["to_negative"]) for one in chain_flips(FOUR, POSITIVE)}
    assert found == {
        "whole": (4, 1, 0, 1),
        "removed": (4, 1, 0, 1),
        "first step": (3, 2, 1, 1),
        "half": (3, 1, 1, 0),
        "all but the last": (3, 1, 1, 0),
        "same": (2, 0, 0, 0),
        "other": (4, 3, 1, 2),
    }


def test_what_is_not_known_is_left_out_and_counted() -> None:
    some = table(lines("a", H, H, None, H), lines("b", U, None, U, U), lines("c", U, U, U, U))
    (settled,) = chain_settled(some)
    before = next(one for one in chain_stages(some, POSITIVE) if one["stage"] == "before")
    removed = next(one for one in chain_flips(some, POSITIVE) if one["change"] == "removed")
    assert (settled["n"], before["n"], removed["n"], removed["read"], removed["newly_unread"]) == (1, 1, 2, 1, 1)


def test_draws_of_one_row_hang_together() -> None:
    """Ten rows, of which one flips in each of its fifty draws: a row more or less makes a difference of ten points."""
    keys = {"model": "m", "task": "prompt"}
    base = pl.DataFrame(
        [{**keys, "id": str(n), "verdict": U} for n in range(10)] + [{**keys, "id": "x", "verdict": None}], schema_overrides={"verdict": pl.String}
    )
    again = pl.DataFrame([{**keys, "id": i, "verdict": H if i == "0" else U} for i in base["id"] for _ in range(50)])
    (found,) = redrawn(base, again, POSITIVE)
    assert (found["n"], found["read"], found["rows"], found["flips"], found["flip_rate"], found["to_positive"]) == (550, 500, 10, 50, 10.0, 50)
    assert found["flip_low"] == 0.0 and found["flip_high"] >= 30.0 > 100 * wilson(50, 500)[1]
    assert redrawn(base, again, POSITIVE) == [found] and redrawn(base, again, POSITIVE, draws=0)[0]["flip_low"] is None


def test_resamples_are_scored_as_their_rows_are() -> None:
    """Each resample against the same rows written out, with ties."""
    rng = np.random.default_rng(0)
    positive, score = rng.random(60) < 0.4, np.round(rng.random(60), 1)
    (times,) = blocks(60, 40, generator(0, "x"))
    assert (times.sum(1) == 60).all()
    recalls = recall_at_rate(positive, score, times, 10.0).tolist()
    for own, found, recall in zip(times, area(positive, score, times).tolist(), recalls, strict=True):
        up, s = np.repeat(positive, own), np.repeat(score, own)
        wanted = recall_at(s[up], s[~up], 10.0, 0, rng)["recall"]
        assert found == pytest.approx(roc_area(up, s)) and 100 * recall == pytest.approx(wanted, abs=0.006)


def test_an_area_without_two_classes_has_no_interval() -> None:
    assert area_ends(np.array([True, True]), np.array([0.1, 0.2]), 100, generator(0)) == (None, None)


def scored(**values: list[float]) -> pl.DataFrame:
    n = len(next(iter(values.values())))
    made = [(str(i), m, "prompt", H if i % 2 else U, p) for m, own in values.items() for i, p in enumerate(own)]
    assert len(made) == n * len(values)
    return pl.DataFrame(made, schema=["id", "model", "task", "gold", "probability"], orient="row")


def test_two_guards_at_the_same_rate_of_false_alarms() -> None:
    """The twin is as good a judge and says everything higher: at its own threshold it flags more, at the same rate it is no other guard."""
    rng = np.random.default_rng(1)
    guard = [float(p) for p in np.clip(0.3 * (np.arange(200) % 2) + 0.6 * rng.random(200), 0, 1)]
    found = matched_rates(scored(guard=guard, twin=[p**0.5 for p in guard], worse=list(rng.random(200))), "guard", "twin", POSITIVE)
    assert [(one["measure"], one["fpr"]) for one in found] == [("auroc", None), ("recall", 1.0), ("recall", 2.0), ("recall", 5.0), ("recall", 10.0)]
    assert all(
        one["difference"] == 0 and one["low"] == one["high"] == 0 and one["p"] == 1 and (one["n"], one["benign"]) == (200, 100) for one in found
    )
    worse = matched_rates(scored(guard=guard, worse=list(rng.random(200))), "guard", "worse", POSITIVE)
    assert all(one["high"] < 0 and one["p"] < 0.05 for one in worse if one["fpr"] in (None, 10.0))
