"""`split`, `select` and `leave_out`: which rows go where, and that nothing else moves them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import polars as pl
import pytest
from frames import reasons, seeds
from hypothesis import given, settings
from hypothesis import strategies as st

import toolkit
from toolkit.common.errors import InputError, InputErrors

GROUPS = st.lists(st.tuples(st.sampled_from([f"g{i}" for i in range(12)]), st.sampled_from([None, None, None, "test"])), min_size=1, max_size=25)


def parts(rows: pl.DataFrame, **options: Any) -> dict[str, str]:
    kept, rest = toolkit.apply("split", rows, **options)
    assert not rest.height
    found: dict[str, str] = {}
    for group, part in kept.select("group", "split").iter_rows():
        assert found.setdefault(group, part) == part, "a group straddles two parts"
    return found


def grouped(groups: list[tuple[str, str | None]]) -> pl.DataFrame:
    return seeds(*({"prompt": f"p{i}", "group": g, "split": s} for i, (g, s) in enumerate(groups)))


@settings(max_examples=40, deadline=None)
@given(GROUPS, GROUPS)
def test_groups_never_straddle_and_more_rows_move_nothing(some: list[tuple[str, str | None]], more: list[tuple[str, str | None]]) -> None:
    given_test = {g for g, s in some if s == "test"}
    alone = parts(grouped(some), seed=3)
    assert all(alone[g] == "test" for g in given_test), "rows that come with a split keep it, and take their group along"
    others = [(g, s) for g, s in more if s is None]
    together = parts(grouped([*others, *some]), seed=3)
    assert {g: together[g] for g in alone} == alone


def test_shares_are_met_and_another_seed_splits_otherwise() -> None:
    rows = seeds(*({"prompt": f"p{i}"} for i in range(3000)))
    shares = {"train": 0.7, "dev": 0.1, "test": 0.2}
    found = parts(rows, parts=shares)
    count = Counter(found.values())
    assert all(abs(count[p] / 3000 - share) < 0.03 for p, share in shares.items())
    other = parts(rows, parts=shares, seed=1)
    assert sum(found[g] != other[g] for g in found) > 500


def test_a_group_that_comes_with_two_splits_is_rejected_and_a_split_can_be_made_anew() -> None:
    rows = grouped([("a", "train"), ("a", "test"), ("b", "test"), ("b", None), ("a", None)])
    kept, rest = toolkit.apply("split", rows)
    assert kept["split"].to_list() == ["test", "test"]
    assert reasons(rest) == {"group_straddles": 3}
    assert "train" in rest["_detail"][0]
    assert rest["split"].to_list() == ["train", "test", None], "the rejected row stays as it came"
    kept, rest = toolkit.apply("split", rows, keep_existing=False, parts={"only": 1.0})
    assert kept["split"].to_list() == ["only"] * 5 and not rest.height


@pytest.mark.parametrize(
    "shares", [{"train": 0.5, "test": 0.4}, {"train": 1.2, "test": -0.2}, {"train": 1.0, "test": 0.0}, {}, {"a/b": 1.0}, {"": 1.0}]
)
def test_shares_that_are_no_shares_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(InputErrors):
        toolkit.apply("split", seeds({}), parts=shares)


# select ---------------------------------------------------------------------------------------------------------------


def test_select_by_value_by_list_and_by_missing() -> None:
    rows = seeds({"split": "train", "language": "de"}, {"split": "test"}, {"split": None, "language": "fr"}, {"split": "train", "language": "en"})
    kept, rest = toolkit.apply("select", rows, where={"split": "train"})
    assert kept["source_row"].to_list() == [0, 3]
    assert rest["_outcome"].to_list() == ["set_aside"] * 2 and reasons(rest) == {"not_selected": 2}
    assert rest["_detail"].to_list() == ["split is test", "split is null"]
    assert toolkit.apply("select", rows, where={"split": ["train", "test"], "language": ["de", "fr"]})[0]["source_row"].to_list() == [0]
    assert toolkit.apply("select", rows, where={"split": "null"})[0]["source_row"].to_list() == [2]
    assert toolkit.apply("select", rows, where={"language": "not_null"})[0]["source_row"].to_list() == [0, 2, 3]


def test_select_by_bounds() -> None:
    rows = seeds(*({} for _ in range(5))).with_columns(steps=pl.Series([1, 2, 3, None, 9]))
    kept, rest = toolkit.apply("select", rows, at_least={"steps": 2}, at_most={"steps": 3})
    assert kept["steps"].to_list() == [2, 3]
    assert rest["_detail"].to_list() == ["steps is 1, wanted at least 2", "steps is null, wanted at least 2", "steps is 9, wanted at most 3"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"where": {"splt": "train"}}, "did you mean 'split'"),
        ({"where": {"source_row": "3"}}, "compares text"),
        ({"at_least": {"prompt": 3}}, "compare numbers"),
        ({"share": 0}, "greater than 0"),
    ],
)
def test_select_refuses_what_it_cannot_compare(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        toolkit.apply("select", seeds({}), **options)


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False))
def test_a_share_is_drawn_by_id_whatever_the_order(rng: object) -> None:
    rows = seeds(*({} for _ in range(60)))
    kept, rest = toolkit.apply("select", rows, share=0.4)
    assert set(reasons(rest)) == {"not_drawn"} and 10 < kept.height < 40
    order = list(range(60))
    rng.shuffle(order)  # type: ignore[attr-defined]
    assert set(toolkit.apply("select", rows[order], share=0.4)[0]["id"]) == set(kept["id"])
    assert set(toolkit.apply("select", rows[:30], share=0.4)[0]["id"]) <= set(kept["id"])
    more, _ = toolkit.apply("select", rows, share=0.7)
    assert set(kept["id"]) < set(more["id"]), "a larger share adds rows and drops none"


# leave_out ------------------------------------------------------------------------------------------------------------


def test_leave_out_sets_rows_aside_by_source() -> None:
    rows = seeds({"source": "core"}, {"source": "home"}, {"source": "work"}, {"source": "home"})
    kept, rest = toolkit.apply("leave_out", rows, sources=["home"])
    assert kept["source"].to_list() == ["core", "work"]
    assert rest["_outcome"].to_list() == ["set_aside"] * 2 and reasons(rest) == {"not_in_subset": 2}


def test_leaving_out_what_is_not_there_is_a_mistake() -> None:
    with pytest.raises(InputError, match="did you mean 'home'"):
        toolkit.apply("leave_out", seeds({"source": "core"}, {"source": "home"}), sources=["hme"])
