"""Drawing no more than a rule needs: what is settled is settled whatever comes, and a screen keeps the recall that it states."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from toolkit.common.errors import InputError
from toolkit.guards import load_guard
from toolkit.mining import (
    Aim,
    apply_rule,
    best_order,
    check_screen,
    choose_screen,
    expected_draws,
    first_doubt,
    load_rule,
    made_up,
    replay,
    rule_names,
    settled,
    share_low,
)

GUARD = load_guard("guardreasoner")
RULES: list[Any] = [
    "default",
    "paper",
    "released",
    "guardreasoner-vl",
    "omni",
    "nvidia",
    {"hard": "mixed", "guards": {"count": "each", "hard_for": 2}},
]
RULES.append({"hard": "1 <= wrong <= 50%", "right_on": "row", "unread": "wrong"})
RULES.append({"hard": "mixed", "tasks": {"hard_on": "all"}})
WORDS = ("right", "wrong", "unread")


def lines(parent: str, draws: list[tuple[str, int, str, str]]) -> list[dict[str, Any]]:
    """Draws of a row: guard, number, outcome on the prompt, on the response; refusals have no label."""
    return [
        {"parent": parent, "guard_model": g, "draw": n, "outcome_prompt": p, "outcome_refusal": "not_applicable", "outcome_response": r}
        | {f"unread_{t}": "field_missing" if o == "unread" else None for t, o in (("prompt", p), ("refusal", ""), ("response", r))}
        for g, n, p, r in draws
    ]


@settings(max_examples=60)
@given(st.sampled_from(RULES), st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(WORDS)), min_size=1, max_size=4), st.booleans())
def test_a_row_is_settled_exactly_when_nothing_that_may_come_changes_it(rule: Any, answers: list[tuple[str, str]], one_label: bool) -> None:
    k = {"a": 2, "b": 2}
    every = [(g, n) for g in k for n in range(k[g])]
    made = [(g, n, p, "not_applicable" if one_label else r) for (g, n), (p, r) in zip(every, answers, strict=False)]
    of = load_rule(rule)
    found = settled(pl.DataFrame(lines("row", made)), of, GUARD, k)["outcome"].item()

    ways = list(product(WORDS, ["not_applicable"] if one_label else WORDS))
    futures = product(ways, repeat=len(every) - len(made))
    whole = [x for i, f in enumerate(futures) for x in lines(f"{i}", [*made, *((*e, *w) for e, w in zip(every[len(made) :], f, strict=True))])]
    whole += lines("guards", [(g, n, "right", "right") for g, n in every])  # every guard and draw is in the table
    came = apply_rule(pl.DataFrame(whole), of, GUARD).filter(pl.col("parent") != "guards")["status"] == "hard"
    assert found == ("hard" if came.all() else "not_hard" if not came.any() else "open")


def test_what_is_settled_stays_so_when_the_rest_is_never_drawn() -> None:
    table = pl.DataFrame(
        [*lines("a", [("a", 0, "right", "wrong"), ("a", 1, "wrong", "wrong")]), *lines("b", [("a", i, "right", "right") for i in range(4)])]
    )
    for rule in ("default", "paper"):
        of = load_rule(rule)
        assert settled(table, of, GUARD, {"a": 4})["outcome"].to_list() == ["hard", "not_hard"]
        assert apply_rule(table, of, GUARD)["status"].to_list() == ["hard", "always_right"]


def test_more_draws_than_can_be_looked_at_are_refused() -> None:
    with pytest.raises(InputError, match="80 draws are looked at together"):
        settled(pl.DataFrame(lines("a", [("a", 0, "right", "right")])), load_rule("default"), GUARD, {"a": 80})


@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (149, 149), (148, 149), (50, 200), (7, 8)])
def test_the_bound_is_clopper_and_pearsons(k: int, n: int) -> None:
    assert share_low(k, n, 0.95) == pytest.approx(beta.ppf(0.05, k, n - k + 1) if k else 0.0, abs=1e-9)


def test_a_screen_needs_enough_hard_rows_to_say_anything() -> None:
    doubt = np.concatenate([np.full(1000, 0.001), np.linspace(0.5, 1, 149)])
    hard = np.arange(1149) >= 1000
    few = choose_screen(doubt[:1148], hard[:1148], recall=0.98, confidence=0.95)
    assert (few.threshold, few.left_out, few.hard) == (0.0, 0.0, 148)
    enough = choose_screen(doubt, hard, recall=0.98, confidence=0.95)
    assert enough.threshold == 0.5 and enough.left_out == pytest.approx(1000 / 1149) and enough.recall == 1.0 and enough.recall_low >= 0.98
    none = choose_screen(np.zeros(5), np.zeros(5, dtype=bool), recall=0.98, confidence=0.95)
    assert none.threshold == 0.0 and none.hard == 0


def test_the_recall_that_a_screen_states_holds_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    broken = used = 0
    for _ in range(300):
        doubt = rng.beta(0.4, 3, 40_000)
        hard = rng.random(40_000) < doubt**0.7
        share = slice(0, 2_000)
        screen = choose_screen(doubt[share], hard[share], recall=0.95, confidence=0.9)
        used += screen.threshold > 0
        broken += bool((doubt[hard] >= screen.threshold).mean() < 0.95)
    assert used > 250 and broken <= 300 * 0.1 * 1.5


def test_doubt_is_that_of_the_least_sure_guard_and_whole_where_one_was_wrong_or_gave_no_probability() -> None:
    table = pl.DataFrame(
        {
            "parent": ["a", "a", "b", "b", "c", "d"],
            "guard_model": ["x", "y", "x", "y", "x", "x"],
            "draw": 0,
            "label_prompt": ["harmful", "harmful", "unharmful", "unharmful", "harmful", None],
            "verdict_prompt": ["harmful", "harmful", "unharmful", "harmful", "harmful", "harmful"],
            "probability_prompt": [0.9, 0.7, 0.1, 0.8, None, 0.5],
            **{
                f"{n}_{t}": pl.Series([None] * 6, dtype=pl.Float64 if n == "probability" else pl.String)
                for t in ("refusal", "response")
                for n in ("label", "verdict", "probability")
            },
        }
    )
    found = first_doubt(table, load_rule("default"), GUARD)
    assert found["parent"].to_list() == ["a", "b", "c", "d"]
    assert found["doubt"].to_list() == [pytest.approx(0.3), 1.0, 1.0, 0.0]


def drawn(seed: int, rows: int, k: int) -> pl.DataFrame:
    """Full draws of three guards that are wrong ever more often; where a row is easy they are right and sure of it."""
    rng = np.random.default_rng(seed)
    easy = rng.random(rows) < 0.7
    out = []
    for guard, p in (("good", 0.05), ("fair", 0.2), ("bad", 0.5)):
        wrong = rng.random((rows, k)) < np.where(easy, 0.0, p)[:, None]
        sure = np.where(easy, 0.999, 1 - p) - rng.random(rows) * 0.0005
        for draw in range(k):
            found = np.where(wrong[:, draw], "unharmful", "harmful")
            out.append(
                pl.DataFrame(
                    {"parent": [f"r{i}" for i in range(rows)], "guard_model": guard, "draw": draw, "label_prompt": "harmful", "verdict_prompt": found}
                ).with_columns(probability_prompt=pl.Series(np.where(wrong[:, draw], 1 - sure, sure)), unread_prompt=pl.lit(None, pl.String))
            )
    table = pl.concat(out)
    for t in ("refusal", "response"):
        table = table.with_columns(
            pl.lit(None, pl.Float64 if n == "probability" else pl.String).alias(f"{n}_{t}") for n in ("label", "verdict", "unread", "probability")
        )
    return table


@pytest.mark.parametrize("name", rule_names())
def test_no_rule_calls_a_row_hard_that_is_not_and_stopping_loses_none(name: str) -> None:
    table, k, rule = drawn(1, 900, 3), {"good": 3, "fair": 3, "bad": 3}, load_rule(name)
    share = pl.Series([f"r{i}" for i in range(100)])

    def hard(of: pl.DataFrame, **options: Any) -> set[str]:
        return set(apply_rule(of, rule, GUARD, **options).filter(pl.col("status") == "hard")["parent"])

    every = hard(table)
    settled_only = replay(table, share, Aim(rule, GUARD, k, recall=None))
    assert hard(settled_only, missing="undrawn") == every
    check_screen(rule, k)
    screened = replay(table, share, Aim(rule, GUARD, k, recall=0.5, confidence=0.6))
    assert hard(screened, missing="undrawn") <= every and screened.height <= settled_only.height
    found = apply_rule(screened, rule, GUARD, missing="undrawn")
    assert found["n_unread_prompt"].sum() == 0, "what was not drawn is not unread"


def test_a_screen_is_refused_where_nobody_need_be_wrong() -> None:
    with pytest.raises(InputError, match="no guard was wrong on"):
        check_screen(load_rule({"hard": "right < 50%"}), {"a": 4})


def test_half_the_draws_find_what_all_of_them_find() -> None:
    table, k = drawn(1, 6_000, 4), {"good": 4, "fair": 4, "bad": 4}
    share = pl.Series([f"r{i}" for i in range(900)])
    rule = load_rule("default")
    hard = set(apply_rule(table, rule, GUARD).filter(pl.col("status") == "hard")["parent"])

    only_settled = replay(table, share, Aim(rule, GUARD, k, recall=None))
    assert set(apply_rule(only_settled, rule, GUARD).filter(pl.col("status") == "hard")["parent"]) == hard, "stopping at settled rows loses none"

    made = replay(table, share, Aim(rule, GUARD, k))
    found = set(apply_rule(made, rule, GUARD).filter(pl.col("status") == "hard")["parent"])
    assert found <= hard and len(found) >= 0.98 * len(hard)
    assert made.height < 0.5 * table.height < only_settled.height

    finished = replay(table, share, Aim(rule, GUARD, k, finish=True))
    of_hard = finished.filter(pl.col("parent").is_in(list(found)))
    assert set(of_hard["parent"]) == found and of_hard.height == len(found) * 12, "hard rows are drawn in full"


def test_the_guard_that_settles_most_draws_first() -> None:
    table = drawn(2, 400, 3)
    rule = load_rule("default")
    assert best_order(table, Aim(rule, GUARD, {"good": 3, "fair": 3, "bad": 3}))[0] == "bad"
    dear = table.with_columns(tokens=pl.when(pl.col("guard_model") == "bad").then(5_000).otherwise(100))
    assert best_order(dear, Aim(rule, GUARD, {"good": 3, "fair": 3, "bad": 3}))[-1] == "bad", "tokens count, not draws"


def test_of_many_guards_those_that_are_wrong_more_often_draw_first() -> None:
    table = drawn(2, 200, 2).filter(pl.col("guard_model") != "fair")
    more = pl.concat([table, *(table.filter(pl.col("guard_model") == "good").with_columns(guard_model=pl.lit(f"good {i}")) for i in range(4))])
    assert best_order(more, Aim(load_rule("default"), GUARD, dict.fromkeys(["good", *(f"good {i}" for i in range(4)), "bad"], 2)))[0] == "bad"


@pytest.mark.parametrize("recall", [0.9, None])
def test_what_is_expected_of_an_earlier_run_is_what_the_next_one_saves(recall: float | None) -> None:
    """A pilot of 500 rows, drawn in full, and 3,000 further rows of the same kind: to within 4 points."""
    table, aim = drawn(1, 3_500, 3).with_columns(tokens=100), Aim(load_rule("default"), GUARD, {"good": 3, "fair": 3, "bad": 3}, recall=recall)
    number = pl.col("parent").str.slice(1).cast(pl.Int64)
    pilot, rest = table.filter(number < 500), table.filter(number >= 500)
    made = replay(rest, pl.Series([f"r{i}" for i in range(500, 950)]), aim)
    found = expected_draws(aim, 3_000, 0.15, pilot)
    assert found.draws[1] == pytest.approx(made.height / rest.height, abs=0.04) == pytest.approx(found.tokens[1], abs=0.04)
    assert found.draws[0] <= found.draws[1] <= found.draws[2] and found.source.startswith("500 rows of an earlier run")


def test_what_is_expected_without_an_earlier_run_is_what_such_guards_save() -> None:
    aim = Aim(load_rule("paper"), GUARD, dict.fromkeys("abc", 3), recall=None)
    table = made_up(aim, 3_000, None, seed=7)
    made = replay(table, pl.Series(range(150), dtype=pl.Int64), aim)
    found = expected_draws(aim, 3_000, 0.05)
    assert found.tokens[1] == pytest.approx(float(made["tokens"].sum()) / float(table["tokens"].sum()), abs=0.02)
    assert found.source.startswith("assumed: the guards vote as the three released")
    wrong = table.group_by("guard_model", maintain_order=True).agg((pl.col("outcome_prompt") == "wrong").mean())["outcome_prompt"]
    assert wrong.to_list() == pytest.approx([0.088, 0.104, 0.092], abs=0.015)


def test_earlier_draws_that_cannot_stand_for_these_are_refused() -> None:
    aim = Aim(load_rule("default"), GUARD, dict.fromkeys("abcd", 3), recall=None)
    with pytest.raises(InputError, match="of 3 guards"):
        expected_draws(aim, 100, 0.5, drawn(1, 20, 3))
    more = Aim(load_rule("default"), GUARD, dict.fromkeys("abc", 4), recall=None)
    with pytest.raises(InputError, match="no row of the earlier draws has 4 draws"):
        expected_draws(more, 100, 0.5, drawn(1, 20, 3))
