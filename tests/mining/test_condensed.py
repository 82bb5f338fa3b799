"""A condensed benchmark: whom it ranks as all rows do, and that the error it states is the one that is made."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from toolkit.common.errors import InputError
from toolkit.mining import TaskVotes, Votes, condense
from toolkit.mining._condensed import every_so_many, figures

POSITIVE = {"prompt": "harmful"}


def votes(found: Any, gold: Any, unread: Any = None) -> Votes:
    """One draw of each guard: 1 for harmful, 0 for unharmful; shape (rows, guards)."""
    found, gold = np.asarray(found), np.asarray(gold, np.int8)
    unread = np.zeros(found.shape, np.int32) if unread is None else np.asarray(unread, np.int32)
    counts = np.stack([found == 0, found == 1], axis=2).astype(np.int32) * (1 - unread)[..., None]
    right = np.take_along_axis(counts, np.maximum(gold, 0)[:, None, None].astype(np.int64), axis=2)[..., 0] * (gold >= 0)[:, None]
    wrong = (counts.sum(axis=2) - right) * (gold >= 0)[:, None]
    task = TaskVotes(["unharmful", "harmful"], counts, right, wrong, gold, unread)
    return Votes(pl.Series("id", [f"r{i}" for i in range(len(gold))]), [f"g{i}" for i in range(found.shape[1])], {"prompt": task})


def world(rows: int, guards: int, seed: int = 0) -> Votes:
    rng = np.random.default_rng(seed)
    gold = (rng.random(rows) < 0.4).astype(np.int8)
    p = 1 / (1 + np.exp(rng.normal(0, 2.5, rows)[:, None] + rng.normal(0, 0.7, (rows, guards)) - np.linspace(0.5, 3.5, guards)))
    return votes(np.where(rng.random((rows, guards)) < p, gold[:, None], 1 - gold[:, None]), gold)


def test_figures_by_hand() -> None:
    one = votes([[1], [1], [0], [1], [0], [0]], [1, 1, 1, 0, 0, -1], [[0], [0], [0], [0], [1], [0]]).tasks["prompt"]
    # two hits, one miss, two false alarms (the unread one, too); the row without a label counts nowhere
    assert figures(one, 1, 0, slice(None)) == pytest.approx((100 * 4 / 7, 40.0))
    assert np.isnan(figures(one, 1, 0, np.array([5]))).all()


def test_every_row_has_the_same_chance_and_every_part_its_share() -> None:
    order = np.random.default_rng(0).permutation(1003)
    hits = np.zeros(1003)
    for start in np.linspace(0, 1, 400, endpoint=False):
        some = every_so_many(order, 100, start)
        assert len(set(some.tolist())) == 100
        hits[some] += 1
    assert hits.min() >= 36 and hits.max() <= 44
    known = world(2000, 5)
    gold = known.tasks["prompt"].gold
    groups = pl.Series(["a"] * 500 + ["b"] * 1500)
    chosen = condense(known, POSITIVE, 0.1, groups=groups).chosen
    assert chosen.sum() == 200 and chosen[:500].sum() == 50
    assert abs(chosen[gold == 1].sum() - (gold == 1).sum() / 10) <= 2


def test_the_stated_error_is_the_error_on_new_guards() -> None:
    """Guards that no part of it has seen come out, on rows chosen three times, with about the error that was stated, below that of chance."""
    whole = world(3000, 10)
    seen = [0, 2, 3, 5, 6, 8]
    task = whole.tasks["prompt"]
    counts, right, wrong, unread = (x[:, seen] for x in (task.counts, task.right, task.wrong, task.unread))
    known = Votes(whole.parents, [f"g{i}" for i in seen], {"prompt": TaskVotes(task.labels, counts, right, wrong, task.gold, unread)})
    errors = []
    for seed in range(3):
        made = condense(known, POSITIVE, seed=seed)
        (check,) = made.checks
        at = np.flatnonzero(made.chosen)
        errors += [figures(task, 1, g, at)[0] - figures(task, 1, g, slice(None))[0] for g in (1, 4, 7, 9)]
    assert check["f1_error"] < 0.9 * check["f1_by_chance"]
    assert 0.4 < np.sqrt(np.mean(np.square(errors))) / check["f1_error"] < 1.7
    assert check["in_order"] / check["pairs"] > 0.9
    assert (check["rows"], check["chosen"]) == (3000, 300)


def test_two_guards_can_be_condensed_and_not_checked() -> None:
    (check,) = condense(world(300, 2), POSITIVE).checks
    assert (check["f1_error"], check["accuracy_error"], check["pairs"], check["in_order"]) == (None, None, 0, None)


def test_rows_without_a_label_are_never_in_and_the_seed_decides() -> None:
    known = world(400, 3)
    known.tasks["prompt"].gold[:200] = -1
    one, same, other = (condense(known, POSITIVE, 0.2, seed).chosen for seed in (1, 1, 2))
    assert one.sum() == 40 and not one[:200].any()
    assert (one == same).all() and (one != other).any()


def test_a_share_of_nothing_is_reported() -> None:
    with pytest.raises(InputError, match=r"a share of 0.1 of 4 rows with a label is no row"):
        condense(world(4, 3), POSITIVE)
