"""The order of disputed rows and its reasons, by hand."""

from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from spoken import GUARD, H, U, table

from toolkit.mining import count_votes, measures, ranked_disputes

ROWS: dict[str, list[tuple[str, str | None]]] = {
    "agreed": [("a", H), ("a", H), ("b", H), ("b", H)],
    "between": [("a", H), ("a", H), ("b", U), ("b", U)],
    "within": [("a", H), ("a", U), ("b", H), ("b", U)],
    "few": [("a", H), ("b", U), ("b", None)],
    "slight": [("a", H), ("a", H), ("b", H), ("b", U)],
    "alone": [("a", H), ("a", U), ("a", U)],
}


def lines() -> list[tuple[str, str, str | None]]:
    return [(row, guard, task_votes) for row, votes in ROWS.items() for guard, task_votes in votes]


def test_the_order_and_its_reasons() -> None:
    found = ranked_disputes(count_votes(table(lines()), GUARD, ["prompt"]))
    assert found["id"].to_list() == ["between", "within", "few", "alone", "slight"], "entropy, then votes, then divergence"
    assert found["rank"].to_list() == [1, 2, 3, 4, 5]
    assert dict(found.select("id", "why").iter_rows()) == {
        "between": "2 of 4 votes say unharmful, the label is harmful; guards differ from each other",
        "within": "2 of 4 votes say unharmful, the label is harmful; guards differ from draw to draw",
        "few": "1 of 2 votes say unharmful, the label is harmful; guards differ from each other",
        "alone": "2 of 3 votes say unharmful, the label is harmful; one guard, which differs from draw to draw",
        "slight": "3 of 4 votes say harmful, the label is harmful; guards differ from each other and from draw to draw",
    }
    assert found.row(2, named=True).items() >= {"votes": 2, "right": 1, "wrong": 1, "unread": 1, "margin": 0.0, "divergence": 1.0}.items()


def test_a_row_without_a_label_is_disputed_all_the_same() -> None:
    found = ranked_disputes(count_votes(table([("r", "a", H), ("r", "b", U)], label=None), GUARD))
    assert found.select("label", "right", "wrong", "why").row(0) == (None, 0, 0, "1 of 2 votes say unharmful; guards differ from each other")


VOTES = st.lists(st.tuples(st.sampled_from("pqrs"), st.sampled_from("ab"), st.sampled_from([H, U, None])), max_size=24)


@given(VOTES)
@settings(max_examples=30, deadline=None)
def test_every_disputed_row_is_there_once_and_in_order(marks: list[tuple[str, str, str | None]]) -> None:
    votes = count_votes(table(marks), GUARD)
    found = ranked_disputes(votes)
    split = {p for p, _, _ in marks if {H, U} <= {v for q, _, v in marks if q == p}}
    assert sorted(found["id"]) == sorted(split)
    assert found["entropy"].to_list() == sorted(found["entropy"], reverse=True)
    assert found.schema["rank"] == pl.Int64
    known = measures(votes, GUARD)
    joined = found.join(known, left_on="id", right_on="parent", maintain_order="left")
    assert joined["entropy"].to_list() == joined["entropy_prompt"].round(9).to_list()
