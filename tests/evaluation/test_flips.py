"""How verdicts hold under changes: flips counted on tables made by hand, and against a count in plain Python."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.common.errors import InputError
from toolkit.evaluation import ROWS, flips
from toolkit.evaluation.scoring._score import wilson

POSITIVE = {"prompt": "harmful"}
H, U = "harmful", "unharmful"


def table(*lines: tuple[str, str | None, str | None], change: str | None = None, **more: Any) -> pl.DataFrame:
    """Lines of (row, gold, verdict)."""
    made = []
    for row, gold, verdict in lines:
        one = dict.fromkeys(ROWS) | {"benchmark": "b", "model": "m", "draw": 0, "task": "prompt", **more}
        one |= {"id": row, "gold": gold, "verdict": verdict, "unread": None if verdict else "field_missing"}
        if change is not None:
            one |= {"id": f"{row}:{change}", "parent": row, "change": change}
        made.append(one)
    return pl.DataFrame(made, schema={**ROWS, **({"parent": pl.String, "change": pl.String} if change else {})})


BASE = table(("1", H, H), ("2", U, U), ("3", H, U), ("4", U, None), ("5", None, H))


def test_flips_of_a_table_made_by_hand() -> None:
    after = table(("1", H, U), ("2", U, H), ("3", H, U), ("4", U, U), ("5", None, None), change="upper")
    (found,) = flips(after, BASE, POSITIVE)
    low, high = wilson(2, 3)
    assert found == {
        "benchmark": "b",
        "model": "m",
        "task": "prompt",
        "change": "upper",
        "n": 5,
        "read": 3,
        "flips": 2,
        "flip_rate": 66.67,
        "flip_low": round(100 * low, 2),
        "flip_high": round(100 * high, 2),
        "to_positive": 1,
        "to_negative": 1,
        "newly_unread": 1,
        "newly_read": 1,
        "labelled": 4,
        "f1_before": 50.0,  # row 1 right; 3 missed; 4 unread, so a false alarm
        "f1_after": 0.0,
    }


def test_a_change_that_leaves_rows_alone_is_judged_on_the_others() -> None:
    (found,) = flips(table(("1", H, H), change="tabs"), BASE, POSITIVE)
    assert (found["n"], found["flips"], found["flip_rate"], found["f1_before"], found["f1_after"]) == (1, 0, 0.0, 100.0, 100.0)


def test_nothing_read_has_no_rate() -> None:
    (found,) = flips(table(("4", U, None), change="tabs"), BASE, POSITIVE)
    assert (found["read"], found["flip_rate"], found["flip_low"]) == (0, None, None)


def test_several_benchmarks_also_come_together() -> None:
    base = pl.concat([BASE, table(("1", H, H), benchmark="c")])
    after = pl.concat([table(("1", H, U), change="upper"), table(("1", H, H), change="upper", benchmark="c")])
    found = {r["benchmark"]: (r["n"], r["flips"]) for r in flips(after, base, POSITIVE)}
    assert found == {"b": (1, 1), "c": (1, 0), None: (2, 1)}


def test_a_reading_takes_labels_before_they_are_compared() -> None:
    base, after = table(("1", H, "controversial")), table(("1", H, H), change="upper")
    assert flips(after, base, POSITIVE)[0]["flips"] == 1
    strict = {"m": {"prompt": {"controversial": H}}}
    assert flips(after.lazy(), base.lazy(), POSITIVE, readings=strict)[0]["flips"] == 0


def test_of_several_draws_most_decide() -> None:
    base = pl.concat([table(("1", H, v), draw=n) for n, v in enumerate([H, H, U])])
    after = pl.concat([table(("1", H, v), change="upper", draw=n) for n, v in enumerate([U, None, U])])
    (found,) = flips(after, base, POSITIVE)
    assert (found["n"], found["flips"], found["to_negative"], found["f1_before"], found["f1_after"]) == (1, 1, 1, 100.0, 0.0)


def test_a_task_that_is_not_judged_has_no_figures() -> None:
    why = pl.lit("not_judged").alias("unread")
    base, after = table(("1", H, None)).with_columns(why), table(("1", H, None), change="upper").with_columns(why)
    assert flips(after, base, POSITIVE) == []


@pytest.mark.parametrize(
    ("after", "positives", "message"),
    [(table(("9", H, H), change="upper"), POSITIVE, "'9', m, prompt"), (table(("1", H, H), change="upper"), {"promt": H}, "did you mean 'promt'")],
)
def test_what_cannot_be_compared_is_reported(after: pl.DataFrame, positives: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        flips(after, BASE, positives)


def test_a_table_of_another_form_is_refused() -> None:
    with pytest.raises(InputError, match="verdicts on changed rows have no column 'parent'"):
        flips(BASE, BASE, POSITIVE)


labels = st.sampled_from([H, U, "controversial", None])


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from([H, U, None]), labels, labels), min_size=1, max_size=30))
def test_flips_against_a_plain_count(lines: list[tuple[str | None, str | None, str | None]]) -> None:
    base = table(*((str(n), gold, before) for n, (gold, before, _) in enumerate(lines)))
    after = table(*((str(n), gold, now) for n, (gold, _, now) in enumerate(lines)), change="upper")
    (found,) = flips(after, base, POSITIVE)
    read = [(b, a) for _, b, a in lines if b and a]
    assert found["n"] == len(lines) and found["read"] == len(read) and found["flips"] == sum(b != a for b, a in read)
    assert found["to_positive"] == sum(b != H and a == H for b, a in read) and found["to_negative"] == sum(b == H and a != H for b, a in read)
    assert found["newly_unread"] == sum(bool(b) and not a for _, b, a in lines)
    tp = sum(g == H == a for g, _, a in lines)
    wrong = sum(a != H for g, _, a in lines if g == H) + sum(a in (None, H) for g, _, a in lines if g == U)
    assert found["f1_after"] == (round(200 * tp / (2 * tp + wrong), 2) if tp + wrong else None)
