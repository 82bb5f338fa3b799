"""`verdicts`, `mine` and `pair`: hard samples against a recount by hand, pairs and weights by the paper's rules."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import polars as pl
import pytest
from frames import TASKS, reasons, seed, seeds, verdict, verdicts
from hypothesis import given, settings
from hypothesis import strategies as st

import toolkit
from toolkit.common.errors import InputError
from toolkit.guards import load_guard
from toolkit.mining import STATUSES, apply_rule, load_rule
from toolkit.records import pair_id

LABELS = {"prompt": ("harmful", "unharmful"), "refusal": ("refusal", "compliance"), "response": ("harmful", "unharmful")}


# verdicts -------------------------------------------------------------------------------------------------------------


def test_verdicts_are_read_with_the_reason_of_those_that_cannot_be() -> None:
    texts = ["Answers: \nRequest: harmful\nCompletion: None\nResponse: perhaps", "", None, "**Request:** *Unharmful*"]
    rows = verdicts(*(verdict(seed(), draw=i, output=t) for i, t in enumerate(texts)))
    kept, rest = toolkit.apply("verdicts", rows)
    assert not rest.height, "an unread output is no fault of the row"
    assert kept["verdict_prompt"].to_list() == ["harmful", None, None, "unharmful"]
    assert kept["unread_prompt"].to_list() == [None, "empty", "empty", None]
    assert kept["unread_refusal"][0] == "none" and kept["unread_response"][0] == "not_a_label"
    strict, _ = toolkit.apply("verdicts", rows, mode="strict")
    assert strict["verdict_prompt"].to_list() == ["harmful", None, None, None]


# mine -----------------------------------------------------------------------------------------------------------------

GUARDS = ("a", "b")
DRAWS = 2
GIVEN = st.fixed_dictionaries({t: st.sampled_from([None, *LABELS[t]]) for t in TASKS})
DRAWN = st.none() | GIVEN  # None: the generation failed and is not there
ROWS = st.lists(st.tuples(GIVEN, st.lists(DRAWN, min_size=4, max_size=4)), min_size=1, max_size=6)


def generations(rows: list[tuple[Mapping[str, Any], list[Mapping[str, Any] | None]]]) -> pl.DataFrame:
    out = []
    for n, (labels, answer) in enumerate(rows):
        parent = seed(n, **{f"label_{t}": v for t, v in labels.items()})
        for i, one in enumerate(answer):
            if one is not None:
                out.append(verdict(parent, GUARDS[i // DRAWS], i % DRAWS, **one))
    return verdicts(*out)


def by_hand(
    labels: Mapping[str, Any], verdicts: list[Mapping[str, Any] | None], tasks: tuple[str, ...]
) -> tuple[str, dict[str, tuple[int, int, int, str]]]:
    """Status of a row and, for each task, right, wrong, unread and status: the definition once more, in plain Python."""
    per_task = {}
    for t in TASKS:
        if t not in tasks or labels[t] is None:
            per_task[t] = (0, 0, 0, "no_label")
            continue
        right = sum(s is not None and s[t] == labels[t] for s in verdicts)
        wrong = sum(s is not None and s[t] is not None and s[t] != labels[t] for s in verdicts)
        unread = len(verdicts) - right - wrong
        status = (
            "hard" if right and wrong else "always_right" if right == len(verdicts) else "always_wrong" if wrong == len(verdicts) else "undecided"
        )
        per_task[t] = (right, wrong, unread, status)
    found = {s for *_, s in per_task.values()}
    own = next((s for s in ("hard", "always_wrong", "undecided", "always_right") if s in found), "no_label")
    return own, per_task


@settings(max_examples=80, deadline=None)
@given(ROWS, st.sampled_from([TASKS, ("prompt",), ("refusal", "response")]))
def test_statuses_agree_with_a_recount_by_hand(rows: list[Any], tasks: tuple[str, ...]) -> None:
    everyone_answers_once = (dict.fromkeys(TASKS), [dict.fromkeys(TASKS)] * 4)
    rows = [everyone_answers_once, *rows]  # so that how often each guard was asked is known
    table = apply_rule(generations(rows), load_rule("default"), load_guard("guardreasoner"), tasks=tasks)
    there = {
        seed(n, **{f"label_{t}": v for t, v in labels.items()})["id"]: (labels, answer) for n, (labels, answer) in enumerate(rows) if any(answer)
    }
    assert table["parent"].to_list() == list(there)
    for line in table.iter_rows(named=True):
        own, per_task = by_hand(*there[line["parent"]], tasks)
        assert line["status"] == own
        for t, (right, wrong, unread, status) in per_task.items():
            assert (line[f"n_right_{t}"], line[f"n_wrong_{t}"], line[f"n_unread_{t}"], line[f"status_{t}"]) == (right, wrong, unread, status)


@settings(max_examples=25, deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_every_row_comes_out_once_in_any_order(rows: list[Any], rng: random.Random) -> None:
    frame = generations([(dict.fromkeys(TASKS), [dict.fromkeys(TASKS)] * 4), *rows])
    order = list(range(frame.height))
    rng.shuffle(order)
    kept, rest = toolkit.apply("mine", frame)
    other, other_rest = toolkit.apply("mine", frame[order])
    assert set(kept["id"]) | set(rest["id"]) == set(frame["parent"]) and kept.height + rest.height == frame["parent"].n_unique()
    assert kept.sort("id").equals(other.sort("id")) and reasons(rest) == reasons(other_rest)
    assert set(reasons(rest)) <= set(STATUSES[1:]) and set(rest["_outcome"]) <= {"set_aside"}


def test_a_hard_sample_is_a_seed_again_with_its_counts() -> None:
    one = seed(7, prompt="p", response="r", label_prompt="harmful", label_refusal="refusal", source="home", split="train", group="g", language="de")
    kept, _ = toolkit.apply(
        "mine",
        verdicts(
            verdict(one, "a", 0, prompt="harmful", refusal="refusal"),
            verdict(one, "a", 1, prompt="unharmful", refusal="refusal"),
            verdict(one, "b", 0, refusal="refusal"),
            verdict(one, "b", 1, prompt="harmful", refusal="refusal"),
        ),
    )
    row = kept.row(0, named=True)
    assert {k: row[k] for k in one} == one
    assert (row["n_right_prompt"], row["n_wrong_prompt"], row["n_unread_prompt"], row["status_prompt"]) == (2, 1, 1, "hard")
    assert row["status_refusal"] == "always_right" and row["status_response"] == "no_label"


def test_a_failed_draw_makes_a_row_undecided_and_never_always_right() -> None:
    whole, broken = seed(0, label_prompt="harmful"), seed(1, label_prompt="harmful")
    rows = [verdict(p, g, d, prompt="harmful") for p in (whole, broken) for g in GUARDS for d in range(2)]
    _, rest = toolkit.apply("mine", verdicts(*rows[:-1]))
    assert dict(rest.select("id", "_reason").iter_rows()) == {whole["id"]: "always_right", broken["id"]: "undecided"}
    # A different draw failed for each row: nobody has all four answers, and still four were asked for.
    _, rest = toolkit.apply("mine", verdicts(*rows[1:-1]))
    assert reasons(rest) == {"undecided": 2}


def test_tasks_that_are_not_there_are_refused_and_no_rows_are_a_normal_case() -> None:
    with pytest.raises(InputError, match="did you mean 'prompt'"):
        toolkit.apply("mine", verdicts(verdict(seed())), tasks=["promt"])
    kept, rest = toolkit.apply("mine", verdicts())
    assert not kept.height and not rest.height


# pair -----------------------------------------------------------------------------------------------------------------


def mined(*rows: Mapping[str, Any], **options: Any) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Pairs whatever the outputs look like: what a chosen one must be like is `test_pair_sound`'s."""
    frame = verdicts(*rows)
    hard, _ = toolkit.apply("mine", frame)
    paper = {"pick": "random", "tasks": "first", "chosen_right_on": "task", "chosen_passes": "anything", "rejected_passes": "anything"}
    return toolkit.apply("pair", {"rows": hard, "verdicts": frame}, **{**paper, **options})


H, U = "harmful", "unharmful"
ONE = seed(0, prompt="p", response="r", label_prompt=H, label_refusal="refusal", split="train", source="home", licence="CC0-1.0")


def draws_of(outputs: list[tuple[str, str | None, str]], parent: Mapping[str, Any] = ONE) -> list[dict[str, Any]]:
    return [verdict(parent, "ab"[i % 2], i // 2, text, prompt=p, refusal=r) for i, (text, p, r) in enumerate(outputs)]


def test_policies_pick_the_output_that_they_name() -> None:
    rows = draws_of([("short", H, "refusal"), ("wrong", U, "refusal"), ("right and long", H, "refusal"), ("very wrong indeed", U, "refusal")])
    for policy, chosen, rejected in (("longest", "right and long", "very wrong indeed"), ("shortest", "short", "wrong")):
        pair, rest = mined(*rows, pick=policy)
        got = pair.row(0, named=True)
        assert (got["chosen"], got["rejected"], got["task"]) == (chosen, rejected, "prompt")
        assert not rest.height
    assert got["id"] == pair_id(ONE["id"], "prompt", "short", "wrong")
    assert {k: got[k] for k in ("parent", "source", "licence", "split", "prompt", "response")} == {
        "parent": ONE["id"], "source": "home", "licence": "CC0-1.0", "split": "train", "prompt": "p", "response": "r"
    }  # fmt: skip
    assert (got["chosen_model"], got["rejected_model"], got["n_right"], got["n_wrong"], got["n_unread"]) == ("a", "b", 2, 2, 0)


def test_length_is_counted_in_characters_and_the_first_of_equals_wins() -> None:
    rows = draws_of([("\u00e9" * 6, H, "refusal"), ("aaaaaa", U, "refusal"), ("bbbbbbb", H, "refusal"), ("bbbbbb", U, "refusal")])
    got = mined(*rows, pick="longest")[0].row(0, named=True)
    assert (got["chosen"], got["rejected"]) == ("bbbbbbb", "aaaaaa")


def test_an_output_that_could_not_be_read_is_neither_right_nor_wrong() -> None:
    rows = draws_of([("x", H, "refusal"), ("y", U, "refusal"), ("unread and long", None, "refusal")])
    got = mined(*rows, pick="longest")[0].row(0, named=True)
    assert (got["chosen"], got["rejected"], got["n_unread"]) == ("x", "y", 1)


def test_one_pair_a_row_on_its_first_hard_task_or_one_for_each() -> None:
    rows = draws_of([("a", H, "refusal"), ("b", U, "compliance"), ("c", H, "compliance"), ("d", U, "refusal")])
    assert mined(*rows)[0]["task"].to_list() == ["prompt"]
    pairs, _ = mined(*rows, tasks="each")
    assert pairs["task"].to_list() == ["prompt", "refusal"] and pairs["id"].n_unique() == 2


def test_a_chosen_output_can_be_asked_to_be_right_on_every_task() -> None:
    rows = draws_of([("right on one", H, "compliance"), ("wrong", U, "refusal"), ("ok", H, "refusal")])
    assert mined(*rows, pick="longest")[0]["chosen"].to_list() == ["right on one"]
    assert mined(*rows, pick="longest", chosen_right_on="all")[0]["chosen"].to_list() == ["ok"]
    pairs, rest = mined(*rows[:2], chosen_right_on="all", empty=True)
    assert not pairs.height and reasons(rest) == {"no_pair": 1}


def test_without_a_pair_the_step_says_that_there_is_nothing_to_train_on() -> None:
    with pytest.raises(InputError, match="no hard samples: nothing to train DPO on"):
        mined(*draws_of([("a", H, "refusal"), ("b", H, "refusal")]))
    with pytest.raises(InputError, match="none of the 1 hard samples"):
        mined(*draws_of([("a", H, "compliance"), ("b", U, "refusal")]), chosen_right_on="all")
    pairs, rest = mined(*draws_of([("a", H, "refusal")]), empty=True)
    assert not pairs.height and not rest.height


def test_weights_follow_the_paper() -> None:
    rows = [
        *draws_of([("a", H, "refusal"), ("b", H, "refusal"), ("c", H, "refusal"), ("d", U, "refusal")], seed(0, label_prompt=H)),
        *draws_of([("a", U, "refusal"), ("b", U, "refusal"), ("c", H, "refusal"), ("d", U, "refusal")], seed(1, label_prompt=H)),
    ]
    pairs, _ = mined(*rows)
    assert pairs["weight"].to_list() == pytest.approx([0.8, 1.2])
    assert mined(*rows, gamma=0.1)[0]["weight"].to_list() == pytest.approx([0.9, 1.1])


def test_a_random_pick_depends_on_the_seed_and_not_on_the_order() -> None:
    rows = draws_of([(f"right {i}", H, "refusal") if i % 2 else (f"wrong {i}", U, "refusal") for i in range(40)])
    first = mined(*rows)[0].row(0, named=True)
    for n in range(3):
        shuffled = rows[:]
        random.Random(n).shuffle(shuffled)
        again = mined(*shuffled)[0].row(0, named=True)
        assert (again["chosen"], again["rejected"]) == (first["chosen"], first["rejected"])
    others = {mined(*rows, seed=s)[0]["chosen"][0] for s in range(8)}
    assert len(others) > 3


def test_verdicts_of_another_kind_are_refused_before_anything_runs() -> None:
    hard, _ = toolkit.apply("mine", verdicts(*draws_of([("a", H, "refusal"), ("b", U, "refusal")])))
    with pytest.raises(InputError, match="'parent' of its input 'verdicts'"):
        toolkit.apply("pair", {"rows": hard, "verdicts": seeds({})})
    with pytest.raises(InputError, match="takes rows, verdicts"):
        toolkit.apply("pair", hard)
