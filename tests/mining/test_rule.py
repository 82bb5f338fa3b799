"""Rules: the language, each preset on a hand-made table, `apply_rule` against a recount in plain Python, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.common.errors import InputError
from toolkit.guards import load_guard
from toolkit.mining import Rule, apply_rule, load_rule, rule_names

GUARD = load_guard("guardreasoner")
TASKS = GUARD.task_names
WORDS = {"+": "right", "-": "wrong", "?": "unread", "n": "unread", "0": "not_applicable"}
"""An output on a task: right, wrong, unread, unread as it says `None`, no label."""


def table(given: Mapping[str, Mapping[str, Sequence[str]]]) -> pl.DataFrame:
    """Outputs as three signs (prompt, refusal, response; one stands for all three tasks having it on prompt alone) by row, guard and draw."""
    lines = []
    for row, guards in given.items():
        for guard, draws in guards.items():
            for draw, signs in enumerate(draws):
                line: dict[str, Any] = {"parent": row, "guard_model": guard, "draw": draw}
                for task, sign in zip(TASKS, signs if len(signs) == 3 else f"{signs}00", strict=True):
                    label = None if sign == "0" else "x"
                    verdict = {"+": "x", "-": "y"}.get(sign)
                    reason = {"n": "none", "?": "empty", "0": "none"}.get(sign)
                    line |= {f"outcome_{task}": WORDS[sign], f"label_{task}": label, f"verdict_{task}": verdict, f"unread_{task}": reason}
                lines.append(line)
    kinds = {n: pl.Int64 if n == "draw" else pl.String for n in lines[0]}
    return pl.DataFrame(lines, schema=kinds)


def units(found: pl.DataFrame) -> dict[str, list[tuple[Any, ...]]]:
    """By hard row its units."""
    return {r["parent"]: [tuple(u.values()) for u in r["hard_of"]] for r in found.iter_rows(named=True) if r["status"] == "hard"}


def mined(draws: Mapping[str, Mapping[str, Sequence[str]]], rule: Any, **options: Any) -> pl.DataFrame:
    return apply_rule(table(draws), load_rule(rule), GUARD, **options)


def statuses(found: pl.DataFrame) -> dict[str, str]:
    return dict(found.select("parent", "status").iter_rows())


# The presets -------------------------------------------------------------------------------------------------------------

SURE = {"a": ["+", "+"], "b": ["-", "-"]}
MIXED_A = {"a": ["+", "-"], "b": ["+", "+"]}
ROWS = {
    "sure": SURE,
    "mixed": MIXED_A,
    "right": {"a": ["+", "+"], "b": ["+", "+"]},
    "wrong": {"a": ["-", "-"], "b": ["-", "-"]},
    "torn": {"a": ["+", "?"], "b": ["+", "+"]},
}


def test_default_pools_the_guards() -> None:
    found = mined(ROWS, "default")
    assert statuses(found) == {"sure": "hard", "mixed": "hard", "right": "always_right", "wrong": "always_wrong", "torn": "undecided"}
    assert units(found) == {"sure": [("prompt", None, 2, 2, 0)], "mixed": [("prompt", None, 3, 1, 0)]}
    both = mined({"r": {"a": ["+-+"], "b": ["--+"]}}, "default")
    assert units(both) == {"r": [("prompt", None, 1, 1, 0)]}
    every = mined({"r": {"a": ["++-"], "b": ["--+"]}}, "default")
    assert [u[0] for u in units(every)["r"]] == list(TASKS)


def test_paper_asks_each_guard_and_unites_their_rows() -> None:
    found = mined(ROWS, "paper")
    assert statuses(found) == {"sure": "not_hard", "mixed": "hard", "right": "always_right", "wrong": "always_wrong", "torn": "undecided"}
    two = mined({"r": {"b": ["-+-", "+--"], "a": ["++-", "+-+"]}}, "paper")
    assert units(two) == {"r": [("refusal", "a", 1, 1, 0), ("prompt", "b", 1, 1, 0)]}, "the first hard task of each guard, in the guard's order"


def test_released_takes_the_first_task_in_its_own_order_and_counts_whole_outputs() -> None:
    one = mined({"r": {"a": ["++-", "+-+"]}}, "baseline")
    assert units(one) == {"r": [("response", "a", 1, 1, 0)]}, "prompt, response, refusal"
    torn = mined({"r": {"a": ["+++", "-+?", "+++"]}}, "baseline")
    assert statuses(torn) == {"r": "undecided"}, "an output of which one field cannot be read counts for none"
    none_answered = mined({"r": {"a": ["+++", "++n", "+++"]}}, "baseline")
    assert units(none_answered) == {"r": [("response", "a", 2, 1, 0)]}, "`None` where there is a label is an answer, and wrong"
    prompt_only = mined({"r": {"a": ["+00", "-00"]}}, "baseline")
    assert units(prompt_only) == {"r": [("prompt", "a", 1, 1, 0)]}, "`None` where there is none is an answer, too"


def test_guardreasoner_vl_wants_all_outputs_wrong() -> None:
    found = mined(
        {"all": {"a": ["-++", "++-"]}, "one": {"a": ["-++", "+++"]}, "unread": {"a": ["-++", "??+"]}, "right": {"a": ["+++", "+++"]}},
        "guardreasoner-vl",
    )
    assert statuses(found) == {"all": "hard", "one": "not_hard", "unread": "hard", "right": "always_right"}
    assert units(found)["all"] == [(None, "a", 0, 2, 0)], "an output that is wrong on a task is wrong"


def test_omni_wants_some_errors_and_not_only_errors() -> None:
    rows = {"none": {"a": ["+++"] * 8}, "some": {"a": ["+++"] * 7 + ["+-+"]}, "unread": {"a": ["+++"] * 7 + ["++?"]}, "all": {"a": ["-++"] * 8}}
    assert statuses(mined(rows, "omni")) == {"none": "always_right", "some": "hard", "unread": "hard", "all": "always_wrong"}
    assert units(mined(rows, "omni"))["some"] == [(None, "a", 7, 1, 0)]
    assert statuses(mined(rows, "omni-v1")) == {"none": "always_right", "some": "hard", "unread": "hard", "all": "hard"}


@pytest.mark.parametrize(("right", "status"), [(4, "always_right"), (3, "hard"), (2, "hard"), (1, "suspect"), (0, "always_wrong")])
def test_nvidia_takes_two_or_three_of_four_and_suspects_the_rest(right: int, status: str) -> None:
    assert statuses(mined({"r": {"a": ["+"] * right + ["-"] * (4 - right)}}, "nvidia")) == {"r": status}


def test_every_preset_says_what_it_is_and_where_it_is_stated() -> None:
    assert set(rule_names()) >= {"default", "paper", "released", "baseline", "guardreasoner-vl", "omni", "omni-v1", "nvidia"}
    for name in rule_names():
        rule = load_rule(name)
        assert rule.name == name and rule.description and rule.source
        words = rule.explain(GUARD, rule.draws.k or 4, 2)
        assert words.startswith("A row is hard") and words.endswith(".")
        assert rule.check(GUARD, dict.fromkeys("ab", rule.draws.k or 4)) == []


# The language --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hard", "those"),
    [
        ("mixed", {1, 2, 3}),
        ("all_wrong", {4}),
        ("any_wrong", {1, 2, 3, 4}),
        ("0 < wrong < k", {1, 2, 3}),
        ("1 <= wrong <= k - 1", {1, 2, 3}),
        ("right = 2", {2}),
        ("right != 2", {0, 1, 3, 4}),
        ("wrong >= 75%", {3, 4}),
        ("wrong > right", {3, 4}),
        ("wrong == 1 or wrong == 4", {1, 4}),
        ("right >= 1 and wrong >= 2", {2, 3}),
    ],
)
def test_conditions_mean_what_they_say(hard: str, those: set[int]) -> None:
    rows = {str(wrong): {"a": ["-"] * wrong + ["+"] * (4 - wrong)} for wrong in range(5)}
    assert {int(r) for r in units(mined(rows, {"hard": hard}))} == those


@pytest.mark.parametrize("text", ["mixed", "all_wrong", "0 < wrong < k", "wrong >= 50% or unread == 3", "read < k - 1 and right != 2"])
def test_a_condition_holds_for_one_row_as_for_many(text: str) -> None:
    k, condition = 6, load_rule({"right_on": "task", "hard": text}).condition
    ways = [(r, w, k - r - w) for r in range(k + 1) for w in range(k + 1 - r)]
    right, wrong, unread = np.array(ways).T
    many = condition.holds(right, wrong, unread, np.full(len(ways), k))
    assert [condition.holds_for(*way, k) for way in ways] == many.tolist()
    assert 0 < many.sum() < len(ways)


def test_hard_for_how_many_guards_and_for_which() -> None:
    each = {"count": "each"}
    assert statuses(mined({"r": MIXED_A}, {"guards": {**each, "hard_for": "all"}})) == {"r": "not_hard"}
    assert statuses(mined({"r": MIXED_A}, {"guards": {**each, "hard_for": 2}})) == {"r": "not_hard"}
    assert statuses(mined({"r": MIXED_A}, {"guards": {**each, "only": ["b"]}})) == {"r": "always_right"}
    assert units(mined({"r": MIXED_A}, {"guards": {**each, "only": ["a"]}})) == {"r": [("prompt", "a", 1, 1, 0)]}
    assert statuses(mined({"r": SURE}, {"guards": {"only": ["a"]}})) == {"r": "always_right"}
    twice = {"r": {"a": ["+", "-"], "b": ["-", "+"]}}
    assert [u[1] for u in units(mined(twice, {"guards": each}))["r"]] == ["a", "b"]
    assert [u[1] for u in units(mined(twice, {"guards": {**each, "order": ["b"]}}))["r"]] == ["b", "a"]
    assert [u[1] for u in units(mined(twice, {"guards": {**each, "order": ["b"], "take": "first"}}))["r"]] == ["b"]


def test_over_tasks() -> None:
    rows = {"one": {"a": ["+++", "-++"]}, "all": {"a": ["+-0", "-+0"]}}
    assert statuses(mined(rows, {"tasks": {"hard_on": "all"}})) == {"one": "not_hard", "all": "hard"}
    assert [u[0] for u in units(mined(rows, {"tasks": {"order": ["refusal"]}}))["all"]] == ["refusal", "prompt"]
    assert [u[0] for u in units(mined(rows, {"tasks": {"order": ["refusal"], "take": "first"}}))["all"]] == ["refusal"]
    alone = mined(rows, "default", tasks=["refusal"])
    assert alone["status_prompt"].to_list() == ["no_label", "no_label"] and statuses(alone) == {"one": "always_right", "all": "hard"}


def test_unread_by_reason() -> None:
    rows = {"none": {"a": ["+", "n"]}, "empty": {"a": ["+", "?"]}, "gone": {"a": ["+"]}}
    assert statuses(mined(rows, {"unread": {"none": "wrong"}})) == {"none": "hard", "empty": "undecided", "gone": "undecided"}
    assert statuses(mined(rows, {"unread": {"missing": "wrong"}})) == {"none": "undecided", "empty": "undecided", "gone": "hard"}
    assert statuses(mined(rows, {"unread": "wrong"})) == dict.fromkeys(rows, "hard")
    assert statuses(mined(rows, {"unread": {"none": "left_out", "other": "wrong"}})) == {"none": "undecided", "empty": "hard", "gone": "hard"}


def test_a_guard_that_was_not_asked() -> None:
    rows = {"both": MIXED_A, "a alone": {"a": ["+", "+"]}}
    assert statuses(mined(rows, "default")) == {"both": "hard", "a alone": "undecided"}
    found = mined(rows, "default", missing="not_asked")
    assert statuses(found) == {"both": "hard", "a alone": "always_right"} and found["n_unread_prompt"].to_list() == [0, 0]


def test_a_rule_that_extends_another_says_what_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = load_rule({"extends": "released", "guards": {"order": ["main"]}, "unread": "wrong"})
    base = load_rule("released")
    assert found.guards.order == ["main"] and found.guards.count == "each" and found.unread == "wrong" and found.tasks == base.tasks
    assert found.fingerprint != base.fingerprint and found.pairs == base.pairs
    assert load_rule({"extends": "released"}).fingerprint == base.fingerprint
    monkeypatch.chdir(tmp_path)
    (tmp_path / "schemas" / "mining").mkdir(parents=True)
    (tmp_path / "schemas" / "mining" / "loop.yaml").write_text("name: loop\nextends: loop\n")
    with pytest.raises(InputError, match="extends itself"):
        load_rule("loop")
    (tmp_path / "mine.yaml").write_text("name: mine\nhard: wrong > 1\n")
    assert load_rule("mine.yaml").hard == "wrong > 1"


def test_words() -> None:
    rule = load_rule({"hard": "0 < wrong < k", "guards": {"count": "each", "hard_for": "all"}})
    assert rule.explain(GUARD, 4).startswith(
        "A row is hard on a task when, of a guard's 4 outputs, at least 1 and at most 3 are wrong. It must be so for every guard."
    )
    assert "at most k - 1 are wrong" in rule.explain(GUARD)
    assert "of the 8 outputs of all guards together" in load_rule("default").explain(GUARD, 4, 2)
    assert "counts as neither right nor wrong, but as wrong if the reason is none or not_a_label" in load_rule("released").explain(GUARD)
    assert "in the order prompt, response, refusal" in load_rule("released").explain(GUARD)
    assert "Where at most 1 is right, the label is in doubt" in load_rule("nvidia").explain(GUARD, 4)
    assert "all 4 are wrong" in load_rule("guardreasoner-vl").explain(GUARD, 4)


# What is refused -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("papr", "did you mean 'paper'"),
        ({"hrd": "mixed"}, "did you mean 'hard'"),
        ({"hard": "mixd"}, "did you mean 'mixed'"),
        ({"hard": "wron > 1"}, "did you mean 'wrong'"),
        ({"hard": "wrong ~ 1"}, "'~ 1' in the condition"),
        ({"hard": "0 <"}, "one side of a comparison is missing"),
        ({"hard": "wrong"}, "compares nothing"),
        ({"hard": "1 < 2"}, "looks at no count"),
        ({"hard": ""}, "a condition is missing"),
        ({"suspect": "wrong > > 1"}, "one side"),
        ({"guards": {"hard_for": 2}}, "count: each"),
        ({"guards": {"only": ["a"], "order": ["b"]}}, "which `only` leaves out"),
        ({"tasks": {"order": ["prompt", "prompt"]}}, "named twice"),
        ({"guards": {"cuont": "each"}}, "did you mean 'count'"),
        ({"unread": "rong"}, "left_out"),
    ],
)  # fmt: skip
def test_a_faulty_rule_is_refused_in_words(rule: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_rule(rule)


@pytest.mark.parametrize(
    ("rule", "draws", "message"),
    [
        ({"hard": "wrong > 4"}, {"a": 4}, "no row of which there are 4 outputs"),
        ({"hard": "0 < wrong < 5"}, {"a": 4}, "reaches to 5, and there are 4 outputs"),
        ({"hard": "wrong >= 0"}, {"a": 4}, "every row of which there are 4 outputs"),
        ({"hard": "unread >= 1", "unread": "wrong"}, {"a": 4}, "no row of which"),
        ("default", {"a": 1}, "no row of which there are 1 outputs"),
        ("paper", {"a": 1, "b": 1}, "no row of which there are 1 outputs"),
        ({"guards": {"count": "each", "hard_for": 3}}, {"a": 4, "b": 4}, "hard for 3 guards, and 2 are asked"),
        ({"guards": {"only": ["c"]}}, {"aa": 4, "cc": 4}, "names the guard 'c', which is not asked"),
        ({"tasks": {"order": ["promt"]}}, None, "did you mean 'prompt'"),
        ({"hard": "right >= 1 and right < 1"}, None, "no row can be 'right >= 1 and right < 1', however many"),
        ({"hard": "wrong > k"}, None, "no row can be 'wrong > k', however many"),
        ({"hard": "wrong >= 0 or right == 9"}, None, "every row is 'wrong >= 0 or right == 9', however many"),
        ({"hard": "error_rate > 1"}, None, "no row can be 'error_rate > 1', however many"),
        ({"hard": "entropy >= 0"}, None, "every row is 'entropy >= 0', however many"),
        ({"hard": "margin <= 1"}, {"a": 4}, "every row of which there are 4 outputs"),
        ({"unread": {"not_a_lable": "wrong"}}, None, "'not_a_lable', which there is not\\n  did you mean 'not_a_label'"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_before_a_run(rule: Any, draws: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_rule(rule).check(GUARD, draws)


def test_names_of_models_are_enough_to_refuse_what_names_others() -> None:
    with pytest.raises(InputError, match="names the guard 'c', which is not asked"):
        load_rule({"guards": {"only": ["c"]}}).check(GUARD, names=["a", "b"])
    with pytest.raises(InputError, match="hard for 3 guards, and 2 are asked"):
        load_rule({"guards": {"count": "each", "hard_for": 3}}).check(GUARD, names=["a", "b"])


@pytest.mark.parametrize(
    "rule",
    [
        {"hard": "wrong >= 9"},
        {"hard": "wrong < 9"},
        {"hard": "right == k - 20"},
        {"hard": "wrong >= 33%"},
        {"hard": "wrong > 40"},
        {"unread": {"empty": "wrong"}},
        {"unread": {"not_judged": "left_out"}},
    ],
)
def test_what_some_number_of_outputs_can_meet_is_not_refused_where_it_is_not_known(rule: Any) -> None:
    assert load_rule(rule).check(GUARD) == []


def test_what_is_odd_is_reported() -> None:
    assert "not drawn from equally often (a 4, b 3)" in load_rule("default").check(GUARD, {"a": 4, "b": 3})[0]
    found = load_rule("paper").check(GUARD, {"a": 4, "b": 1})
    assert "b: no row of which there are 1 outputs can be 'mixed'" in found[0]
    assert "comes from 8 draws of a guard, and here there are 4" in load_rule("omni").check(GUARD, {"a": 4})[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"draw": 0}, "2 generations are the same draw of a guard for one row: draw 0 of 'a' for 'r'"),
        ({"draw": -1}, "draws are numbered from 0"),
    ],
)
def test_draws_that_cannot_be(change: Mapping[str, int], message: str) -> None:
    twice = table({"r": {"a": ["+", "-"]}}).with_columns(pl.lit(v, pl.Int64).alias(n) for n, v in change.items())
    with pytest.raises(InputError, match=message):
        apply_rule(twice, load_rule("default"), GUARD)


def test_tasks_and_guards_that_are_not_there() -> None:
    with pytest.raises(InputError, match="did you mean 'prompt'"):
        mined({"r": SURE}, "default", tasks=["promt"])
    with pytest.raises(InputError, match="names the guard 'c', of which there is no output"):
        mined({"r": SURE}, {"guards": {"order": ["c"]}})


# Against a recount in plain Python -------------------------------------------------------------------------------------------

SIGNS = st.tuples(*(st.sampled_from("+-?n0") for _ in TASKS)).map("".join)
DRAWS = st.lists(SIGNS, min_size=0, max_size=3)
RULES = st.fixed_dictionaries(
    {
        "hard": st.sampled_from(
            ["mixed", "all_wrong", "any_wrong", "0 < wrong < k", "50% <= right < k", "wrong > right", "read >= 2 and wrong == 1"]
        ),
        "suspect": st.sampled_from([None, "right <= 25%"]),
        "right_on": st.sampled_from(["task", "row"]),
        "unread": st.sampled_from(["left_out", "wrong", {"none": "wrong"}, {"none": "left_out", "other": "wrong"}]),
        "complete": st.booleans(),
        "guards": st.sampled_from(
            [{}, {"only": ["b"]}, *({"count": "each", "hard_for": h, "take": t} for h in ("any", "all", 2) for t in ("every", "first"))]
        ),
        "tasks": st.sampled_from([{}, {"order": ["response", "prompt"], "take": "first"}, {"hard_on": "all"}]),
    }
)
HOLDS: dict[str, Any] = {
    "mixed": lambda r, w, u, k: r >= 1 and w >= 1,
    "all_wrong": lambda r, w, u, k: w == k,
    "any_wrong": lambda r, w, u, k: w >= 1,
    "0 < wrong < k": lambda r, w, u, k: 0 < w < k,
    "50% <= right < k": lambda r, w, u, k: k / 2 <= r < k,
    "wrong > right": lambda r, w, u, k: w > r,
    "read >= 2 and wrong == 1": lambda r, w, u, k: r + w >= 2 and w == 1,
    "right <= 25%": lambda r, w, u, k: r <= k / 4,
}


def as_wrong(rule: Rule, reason: str) -> bool:
    return rule.unread == "wrong" if isinstance(rule.unread, str) else rule.unread.get(reason, rule.unread.get("other")) == "wrong"


def counts(rule: Rule, signs: str, task: int | None) -> str:
    """What an output counts as: ``+``, ``-``, ``?`` or ``0``."""
    reason = {"n": "none", "?": "empty"}
    read = [s in "+-0n" or as_wrong(rule, reason[s]) for s in signs]
    found = ["0" if s == "0" else "?" if rule.complete and not all(read) else "-" if s in reason and as_wrong(rule, reason[s]) else s for s in signs]
    found = ["?" if s == "n" else s for s in found]
    if task is not None:
        return found[task]
    known = [s for s in found if s != "0"]
    return "0" if not known else "-" if "-" in known else "+" if set(known) == {"+"} else "?"


def by_hand(rows: Mapping[str, Mapping[str, Sequence[str]]], rule: Rule) -> dict[str, tuple[str, set[Any]]]:
    """Status and units of each row: the rule once more, row by row."""
    guards = [g for g in sorted({g for by in rows.values() for g, d in by.items() if d}) if rule.guards.only is None or g in rule.guards.only]
    k = {g: max((len(by.get(g, ())) for by in rows.values()), default=0) for g in guards}
    order = rule.task_order(GUARD)
    out = {}
    for row, by in rows.items():
        found: dict[Any, Any] = {}
        status: dict[Any, str] = {}
        for task in [None] if rule.right_on == "row" else order:
            t = None if task is None else TASKS.index(task)
            figures = {g: [counts(rule, s, t) for s in by.get(g, ())] for g in guards}
            if not any(counts(rule, s, t) != "0" for d in by.values() for s in d):
                continue
            each: dict[Any, Any] = {}
            for g in guards:
                gone = k[g] - len(figures[g])
                wrong = figures[g].count("-") + (gone if as_wrong(rule, "missing") else 0)
                each[g] = (figures[g].count("+"), wrong, k[g] - figures[g].count("+") - wrong, k[g])
            groups: dict[Any, Any] = each if rule.guards.count == "each" else {None: tuple(map(sum, zip(*each.values(), strict=True)))}
            asked = {g: c for g, c in groups.items() if c and c[3]}
            need: Any = {"any": 1, "all": max(len(asked), 1)}.get(str(rule.guards.hard_for), rule.guards.hard_for)
            hard = [g for g, c in asked.items() if HOLDS[rule.hard](*c)]
            doubt = [g for g, c in asked.items() if rule.suspect and HOLDS[rule.suspect](*c)]
            right, wrong, unread, total = (sum(c[i] for c in asked.values()) for i in range(4))
            status[task] = (
                "hard" if len(hard) >= need else "not_asked" if not total else "always_right" if right == total else "always_wrong" if wrong == total
                else "suspect" if len(doubt) >= need else "undecided" if unread else "not_hard"
            )  # fmt: skip
            if len(hard) >= need:
                found[task] = {g: asked[g][:3] for g in hard}
        own = next(
            (s for s in ("hard", "always_wrong", "suspect", "undecided", "not_hard", "always_right", "not_asked") if s in status.values()), "no_label"
        )
        if own == "hard" and rule.tasks.hard_on == "all" and set(status.values()) != {"hard"}:
            own = "not_hard"
        made = {(task, g, *c) for task, of in found.items() for g, c in of.items()} if own == "hard" else set()
        if rule.tasks.take == "first":
            made = {u for u in made if u[0] == next(t for t in found if u[1] in found[t])}
        if rule.guards.take == "first" and made:
            first = min(u[1] for u in made)
            made = {u for u in made if u[1] == first}
        out[row] = (own, made)
    return out


@settings(max_examples=120, deadline=None)
@given(st.dictionaries(st.sampled_from("vwxyz"), st.fixed_dictionaries({"a": DRAWS, "b": DRAWS}), min_size=1), RULES)
def test_rules_agree_with_a_recount_by_hand(rows: dict[str, dict[str, list[str]]], keys: dict[str, Any]) -> None:
    rows = {"all": {"a": ["+++"] * 3, "b": ["+++"] * 2}} | {r: by for r, by in rows.items() if any(by.values())}
    rows = {r: {g: [_labelled(s, by) for s in d] for g, d in by.items()} for r, by in rows.items()}
    rule = load_rule(keys)
    found = mined(rows, keys)
    wanted = by_hand(rows, rule)
    for line in found.iter_rows(named=True):
        own, made = wanted[line["parent"]]
        assert line["status"] == own, (line, rows[line["parent"]])
        listed = [tuple(u.values()) for u in line["hard_of"]]
        assert set(listed) == made and len(listed) == len(made)
        order = rule.task_order(GUARD)
        assert listed == sorted(listed, key=lambda u: (u[1] or "", order.index(u[0]) if u[0] else 0))


def _labelled(signs: str, by: Mapping[str, Sequence[str]]) -> str:
    """A row has a label for a task or not, whoever judges it: as its first output has it."""
    first = next(s for d in by.values() for s in d)
    return "".join("0" if f == "0" else "?" if s == "0" else s for s, f in zip(signs, first, strict=True))


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_lines_plays_no_part_but_for_that_of_rows(rng: Any) -> None:
    whole = table({r: {g: [rng.choice("+-?") for _ in range(3)] for g in "ab"} for r in "vwxyz"})
    order = list(range(whole.height))
    rng.shuffle(order)
    for name in ("default", "paper", "released"):
        one, other = (apply_rule(t, load_rule(name), GUARD).sort("parent") for t in (whole, whole[order]))
        assert one.equals(other)
