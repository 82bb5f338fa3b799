"""Item response against simulated truth: abilities, difficulties and discriminations within their stated errors, and rows without a middle."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from spoken import GUARD, H, U, table

from toolkit.common.errors import InputError
from toolkit.mining import ItemResponse, fit_item_response, item_response

ABLE = np.array([-0.5, 0.3, 1.0, 1.4, 2.5, 3.0])


def truth(rows: int, draws: int, *, two: bool = False, spread: float = 1.5, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    b, a = rng.normal(0, spread, rows), np.exp(rng.normal(0, 0.5, rows)) if two else np.ones(rows)
    a *= np.where(rng.random(rows) < 0.05, -1, 1) if two else 1
    n = np.full((rows, len(ABLE)), draws, np.int32)
    p = 1 / (1 + np.exp(-a[:, None] * (ABLE - b[:, None])))
    return {"b": b, "a": a, "n": n, "x": rng.binomial(n, p).astype(np.int32)}


def fitted(x: Any, n: Any, parameters: Any = 1, **more: Any) -> ItemResponse:
    parents = pl.Series("parent", [f"r{i}" for i in range(len(x))])
    return fit_item_response(parents, [f"g{i}" for i in range(x.shape[1])], x, n, "prompt", parameters, **more)


def abilities(found: ItemResponse) -> pl.DataFrame:
    return found.guards.sort("guard")


@pytest.mark.parametrize("parameters", [1, 2])
def test_truth_lies_within_the_stated_errors(parameters: int) -> None:
    made = truth(4000, 4, two=parameters == 2)
    found = fitted(made["x"], made["n"], parameters)
    assert found.converged and found.steps < 30
    able = abilities(found)
    z = (able["ability"].to_numpy() - ABLE) / able["ability_se"].to_numpy()
    assert np.abs(z).max() < 3.5
    assert abs(found.spread - 1.5) < 3.5 * found.spread_se
    for name, true in (("difficulty", made["b"]), ("discrimination", made["a"]))[:parameters]:
        off = (found.rows[name].to_numpy() - true) / found.rows[f"{name}_se"].to_numpy()
        assert np.mean(np.abs(off) < 1.96) == pytest.approx(0.95, abs=0.015)
    assert found.guards["guard"].to_list() == ["g5", "g4", "g3", "g2", "g1", "g0"]


def test_errors_of_abilities_are_those_of_repeating_it() -> None:
    """Also where a guard's draws are one and the same, and say no more than one would."""
    for alike in (False, True):
        points, errors = [], []
        for seed in range(24):
            made = truth(400, 1, seed=seed) if alike else truth(400, 4, seed=seed)
            x, n = (made[k] * (4 if alike else 1) for k in ("x", "n"))
            able = abilities(fitted(x, n))
            points.append(able["ability"].to_numpy())
            errors.append(able["ability_se"].to_numpy())
        assert np.mean(errors, axis=0).mean() == pytest.approx(np.std(points, axis=0).mean(), rel=0.25)


def test_draws_as_one_answer() -> None:
    made = truth(300, 1)
    once = fitted(made["x"], made["n"])
    again = fitted(made["x"] * 4, made["n"] * 4, draws="one")
    assert again.rows["difficulty"].to_numpy() == pytest.approx(once.rows["difficulty"].to_numpy())
    assert abilities(again)["ability_se"].to_numpy() == pytest.approx(abilities(once)["ability_se"].to_numpy())


def test_a_label_that_is_wrong_shows_as_reversed() -> None:
    made = truth(2000, 4)
    swapped = np.random.default_rng(7).random(2000) < 0.03
    x = np.where(swapped[:, None], made["n"] - made["x"], made["x"])
    found = fitted(x, made["n"], 2)
    scores = found.rows["reversed"].to_numpy()
    ranks = scores.argsort().argsort()[swapped]
    area = (ranks.mean() - (swapped.sum() - 1) / 2) / (~swapped).sum()
    assert area > 0.95
    assert set(np.argsort(-scores)[:20]) <= set(np.flatnonzero(swapped))


def test_the_ends_are_finite() -> None:
    """Rows that all get right or wrong, a guard that is always right, one that never answers, rows without an answer."""
    x = np.array([[2, 2, 0], [2, 0, 0], [2, 2, 0], [2, 1, 0], [0, 0, 0]], np.int32)
    n = np.array([[2, 2, 0]] * 4 + [[0, 0, 0]], np.int32)
    for parameters in (1, 2):
        found = fitted(x, n, parameters)
        assert found.converged
        rows = found.rows.drop("parent")
        assert rows[4].row(0) == (None,) * rows.width
        assert np.isfinite(rows[:4].to_numpy()).all()
        easy, hard = rows["difficulty"][0], rows["difficulty"][1]
        assert easy == rows["difficulty"][2] < hard
        able = abilities(found)
        assert able["ability"][2] is None and able["ability_se"][2] is None
        assert able["ability"][0] > able["ability"][1]
    all_right = fitted(np.full((50, 2), 3, np.int32), np.full((50, 2), 3, np.int32))
    assert all_right.converged and np.isfinite(all_right.guards["ability"].to_numpy()).all()


def test_from_a_table_in_any_order() -> None:
    lines = [(f"{p}", g, H if (p * 7 + i) % (3 + "abc".index(g)) else U) for p in range(40) for g in "abc" for i in range(2)]
    one = item_response(table(lines), GUARD, "prompt")
    other = item_response(table(lines[::-1]), GUARD, "prompt")
    assert one.guards["answers"].to_list() == [80] * 3
    assert one.rows.sort("parent")["difficulty"].to_numpy() == pytest.approx(other.rows.sort("parent")["difficulty"].to_numpy())
    assert item_response(table([*lines, ("0", "c", None)]), GUARD, "prompt").guards.equals(one.guards)  # what is unread is no wrong answer


def test_nothing_to_fit_is_reported() -> None:
    with pytest.raises(InputError, match="no row has a label and a verdict"):
        item_response(table([("r", "a", H)], label=None), GUARD, "prompt")
    with pytest.raises(InputError, match="two parameters take the answers of two guards"):
        item_response(table([("r", "a", H)]), GUARD, "prompt", 2)
    with pytest.raises(InputError, match="no task 'promt'"):
        item_response(table([("r", "a", H)]), GUARD, "promt")
