"""Guards held against each other: what is compared with what, the words for it, and the message when it cannot be."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from evaluated import Line, evaluated, line, verdict_lines

import toolkit
from toolkit.common.errors import InputError
from toolkit.evaluation import paired, results

GOLD = "+-" * 60


def flipped(golds: str, share: float, seed: int) -> str:
    """Verdicts that err on that share of the rows."""
    rng = random.Random(seed)
    return "".join({"+": "-", "-": "+"}[g] if rng.random() < share else g for g in golds)


def two(folder: Path, a: Sequence[Line], b: Sequence[Line], **more: Any) -> None:
    evaluated(folder / "a", {"a": a}, **more)
    evaluated(folder / "b", {"b": b}, **more)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_better_guard_is_called_better_and_the_other_way_round_worse(place: Path) -> None:
    two(place, verdict_lines("one", "prompt", GOLD, flipped(GOLD, 0.4, 1)), verdict_lines("one", "prompt", GOLD, flipped(GOLD, 0.02, 2)))
    found = toolkit.compare("a", "b")
    (verdict,) = found.verdicts
    assert (verdict["a"], verdict["b"], verdict["outcome"]) == ("a", "b", "better")
    assert verdict["words"].startswith("prompt: b is better than a: +") and "p < 0.001 corrected" in verdict["words"]
    assert verdict["low"] > 0 and verdict["p_corrected"] < 0.05
    (back,) = toolkit.compare("b", "a").verdicts
    assert back["outcome"] == "worse" and back["difference"] == -verdict["difference"]


def test_a_handful_of_rows_tells_nobody_apart(place: Path) -> None:
    """Of two rows the bootstrap makes a certainty: each resample says the same. Five rows that differ can have come about by chance (2 of 32 ways)."""
    for n, outcome in ((1, "not distinguishable"), (5, "not distinguishable"), (12, "better")):
        for name, verdicts in (("a", "-" * n + "+" * 9), ("b", "+" * (n + 9))):
            evaluated(place / f"{name}{n}", {name: verdict_lines("one", "prompt", "+" * (n + 9), verdicts)})
        found = toolkit.compare(f"a{n}", f"b{n}")
        assert found.verdicts[0]["outcome"] == outcome, found.verdicts
        assert found.differences[0]["p"] >= 2 ** (1 - n)


def test_equal_guards_are_not_distinguishable(place: Path) -> None:
    verdicts = flipped(GOLD, 0.2, 3)
    two(place, verdict_lines("one", "prompt", GOLD, verdicts), verdict_lines("one", "prompt", GOLD, verdicts))
    (verdict,) = toolkit.compare("a", "b").verdicts
    assert verdict["outcome"] == "not distinguishable" and verdict["difference"] == 0 and verdict["p"] == 1
    assert "b and a are not distinguishable: +0.00 points of F1 (95 % interval +0.00 to +0.00; p 1.000 corrected" in verdict["words"]


def test_the_figures_are_those_of_results_and_paired(place: Path) -> None:
    """Nothing is computed here that the evaluation does not compute."""
    a = verdict_lines("one", "prompt", GOLD, flipped(GOLD, 0.2, 1)) + verdict_lines("two", "response", GOLD, flipped(GOLD, 0.1, 2))
    b = verdict_lines("one", "prompt", GOLD, flipped(GOLD, 0.1, 3)) + verdict_lines("two", "response", GOLD, flipped(GOLD, 0.3, 4))
    whole = evaluated(place / "both", {"a": a, "b": b})
    found = toolkit.compare("both", draws=500, seed=7)
    positives = {"prompt": "harmful", "response": "harmful"}
    own = {(r["benchmark"], r["model"]): r["f1"] for r in results(whole.rows(), positives, draws=0)}
    assert {(x["benchmark"], c["model"]): c["f1"] for x in found.lines for c in x["cells"]} == own
    pairs = paired(whole.rows(), "a", "b", positives, draws=500, seed=7)
    same = ("benchmark", "task", "n", "f1_a", "f1_b", "difference", "low", "high", "p", "right_a", "right_b", "mcnemar")
    assert [{n: d[n] for n in same} for d in found.differences] == [{n: d[n] for n in same} for d in pairs if d["benchmark"]]
    assert [v["task"] for v in found.verdicts] == ["prompt", "response", None]


def test_p_is_corrected_over_the_whole_table(place: Path) -> None:
    a = [x for n in range(6) for x in verdict_lines(f"set{n}", "prompt", GOLD, flipped(GOLD, 0.25, n))]
    b = [x for n in range(6) for x in verdict_lines(f"set{n}", "prompt", GOLD, flipped(GOLD, 0.15, 50 + n))]
    two(place, a, b)
    found = toolkit.compare("a", "b").differences
    smallest = min(found, key=lambda d: d["p"])
    assert smallest["p_corrected"] == pytest.approx(min(1, 6 * smallest["p"]))
    assert all(d["p_corrected"] >= d["p"] and d["mcnemar_corrected"] >= d["mcnemar"] for d in found)


def test_rows_that_one_lacks_are_counted_and_the_rest_is_compared(place: Path) -> None:
    verdicts = flipped(GOLD, 0.1, 1)
    two(
        place,
        verdict_lines("one", "prompt", GOLD, verdicts),
        [*verdict_lines("one", "prompt", GOLD[:100], verdicts[:100]), line("one", "x", "prompt", "harmful", "harmful")],
    )
    found = toolkit.compare("a", "b")
    assert found.lacking == [{"a": "a", "b": "b", "benchmark": "one", "task": "prompt", "shared": 100, "a_lacks": 1, "b_lacks": 20, "relabelled": 0}]
    assert found.differences[0]["n"] == 100 and found.differences[0]["difference"] == 0
    assert [(x["line"], x["n"], x["why"]) for x in found.lines] == [(0, 120, None), (1, 101, "101 rows against 120")]
    assert all(m["f1"] is None for m in found.means) or found.means == []
    text = found.as_text()
    assert "share 100 rows; a lacks 1 of the other's; b lacks 20 of the other's" in text


def test_rows_with_another_label_are_counted_and_not_compared(place: Path) -> None:
    other = "-" + GOLD[1:]
    two(place, verdict_lines("one", "prompt", GOLD, GOLD), verdict_lines("one", "prompt", other, other))
    found = toolkit.compare("a", "b")
    assert found.lacking[0]["relabelled"] == 1 and found.differences[0]["n"] == 119
    assert found.lines[1]["why"] == "other rows or labels"


def test_rows_of_one_id_and_other_texts_are_counted_and_not_compared(place: Path) -> None:
    lines = verdict_lines("one", "prompt", GOLD, GOLD)
    two(place, lines, [{**lines[0], "prompt": "something else"}, {**lines[1], "prompt": None}, *lines[2:]])
    found = toolkit.compare("a", "b")
    assert found.lacking[0]["relabelled"] == 1 and found.lacking[0]["shared"] == found.differences[0]["n"] == 119
    assert found.lines[1]["why"] == "other rows or labels" and "1 have another label or text" in found.as_text()
    evaluated(place / "c", {"c": [{**one, "prompt": f"another {i}"} for i, one in enumerate(lines)]})
    with pytest.raises(InputError, match="no row in common"):
        toolkit.compare("a", "c")


def test_no_row_in_common_is_an_error_that_says_what_each_has(place: Path) -> None:
    two(place, verdict_lines("one", "prompt", "+-", "+-"), verdict_lines("two", "prompt", "+-", "+-"))
    with pytest.raises(InputError, match="a and b have no row in common") as caught:
        toolkit.compare("a", "b")
    assert "a has one (prompt); b has two (prompt)" in str(caught.value.hint)
    evaluated(place / "c", {"c": verdict_lines("one", "prompt", "+-", "+-", first=50)})
    with pytest.raises(InputError, match="both have one"):
        toolkit.compare("a", "c")


def test_several_models_of_one_folder_each_against_the_first_or_each_pair(place: Path) -> None:
    evaluated(place / "e", {n: verdict_lines("one", "prompt", GOLD, flipped(GOLD, 0.2, i)) for i, n in enumerate("abc")})
    assert [(d["a"], d["b"]) for d in toolkit.compare("e").differences] == [("a", "b"), ("a", "c")]
    assert [(d["a"], d["b"]) for d in toolkit.compare("e", every_pair=True).differences] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [m["name"] for m in toolkit.compare("e", models=["c", "b"]).models] == ["b", "c"]
    with pytest.raises(InputError, match="no model called 'd'"):
        toolkit.compare("e", models="d")


def test_models_of_one_name_get_the_names_of_their_folders_or_of_the_user(place: Path) -> None:
    lines = verdict_lines("one", "prompt", "+-", "+-")
    for name in ("x/run", "y/run"):
        evaluated(place / name, {"guard": lines})
    assert [m["name"] for m in toolkit.compare("x/run", "y/run").models] == ["guard (x/run)", "guard (y/run)"]
    assert [m["name"] for m in toolkit.compare("before=x/run", "after=y/run").models] == ["before", "after"]
    evaluated(place / "two", {"p": lines, "q": lines})
    assert [m["name"] for m in toolkit.compare("mine=two", "x/run").models] == ["mine/p", "mine/q", "guard"]
    with pytest.raises(InputError, match="the same evaluation twice"):
        toolkit.compare("x/run", "again=x/run")
    with pytest.raises(InputError, match="two models are called 'same'"):
        toolkit.compare("same=x/run", "same=y/run")


def test_a_folder_whose_name_has_an_equals_sign_is_a_folder(place: Path) -> None:
    evaluated(place / "a=b", {"p": verdict_lines("one", "prompt", "+-", "+-"), "q": verdict_lines("one", "prompt", "+-", "+-")})
    assert [m["name"] for m in toolkit.compare("a=b").models] == ["p", "q"]


def test_what_is_no_evaluation_or_damaged_is_named(place: Path) -> None:
    evaluated(place / "e", {"a": verdict_lines("one", "prompt", "+-", "+-"), "b": verdict_lines("one", "prompt", "+-", "+-")})
    (place / "empty").mkdir()
    for folder in ("empty", "nowhere"):
        with pytest.raises(InputError, match="not the folder of an evaluation"):
            toolkit.compare("e", folder)
    with pytest.raises(InputError, match="nothing to compare"):
        toolkit.compare()
    whole = (place / "e/rows.parquet").read_bytes()
    (place / "e/rows.parquet").write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    with pytest.raises(InputError, match=r"rows\.parquet"):
        toolkit.compare("e")
    (place / "e/rows.parquet").unlink()
    with pytest.raises(InputError, match=r"rows\.parquet"):
        toolkit.compare("e")


def test_one_model_alone_is_an_error_but_may_stand_beside_published_ones(place: Path) -> None:
    evaluated(place / "e", {"a": verdict_lines("toxic_chat", "prompt", GOLD, GOLD)})
    with pytest.raises(InputError, match="one model: nothing to compare it with"):
        toolkit.compare("e")
    found = toolkit.compare("e", published="singguard")
    assert found.verdicts == [] and found.differences == []


def test_documents_that_lack_what_is_needed_are_named(place: Path) -> None:
    evaluated(place / "e", {"a": verdict_lines("one", "prompt", "+-", "+-"), "b": verdict_lines("one", "prompt", "+-", "+-")})
    path = place / "e/evaluation.json"
    whole = json.loads(path.read_text())
    lacks = [{k: v for k, v in whole["benchmarks"][0].items() if k != "label_counts"}]
    elsewhere = [{**whole["benchmarks"][0], "name": "two"}]
    changes: list[dict[str, Any]] = [
        {"benchmarks": lacks},
        {"benchmarks": elsewhere},
        {"models": [{}]},
        {"models": []},
        {"benchmarks": [{"name": "one"}]},
        {"kind": "comparison"},
        {"settings": 3},
    ]
    for change in changes:
        path.write_text(json.dumps({**whole, **change}))
        with pytest.raises(InputError) as caught:
            toolkit.compare("e")
        assert "evaluation.json" in str(caught.value), change


def test_a_benchmark_of_one_class_is_called_so(place: Path) -> None:
    lines = verdict_lines("up", "prompt", "++++", "+++-") + verdict_lines("down", "prompt", "----", "---+")
    two(place, lines, lines)
    found = toolkit.compare("a", "b")
    assert "Up (prompt): all rows have the positive label: F1 says nothing of false alarms" in found.notes
    assert "Down (prompt): no row has the positive label: there is no F1" in found.notes
    assert found.differences[1]["f1_a"] is None or found.differences[1]["f1_a"] == 0


# Cohorts ----------------------------------------------------------------------------------------------------------------


def test_another_sampling_or_reading_is_not_compared_unless_asked_for(place: Path) -> None:
    lines = verdict_lines("one", "prompt", GOLD, GOLD)
    evaluated(place / "a", {"a": lines}, about={"a": {"sampling": "greedy", "reading": "strict"}})
    evaluated(place / "b", {"b": lines}, about={"b": {"sampling": "4 draws, temperature 1, majority", "reading": "loose"}})
    found = toolkit.compare("a", "b")
    why = "reading strict against loose; sampling greedy against 4 draws, temperature 1, majority"
    assert found.apart == [{"a": "a", "b": "b", "benchmark": "one", "task": "prompt", "why": why}]
    assert found.differences == [] and found.verdicts == [] and len(found.lines) == 2
    assert f"b against a: one (prompt): {why}" in found.as_text()
    forced = toolkit.compare("a", "b", across=True)
    assert forced.apart == [] and forced.differences[0]["remark"] == why
    assert forced.verdicts[0]["remarks"] == [f"one: {why}"] and forced.verdicts[0]["words"].endswith(f"although cohorts differ (one: {why})")


def test_one_output_and_the_majority_of_three_are_not_compared_unless_asked_for(place: Path) -> None:
    """Of files nothing is known of the sampling but how many draws there are."""
    golds = GOLD[:20]
    one = verdict_lines("one", "prompt", golds, golds)
    three = [line for draw in range(3) for line in verdict_lines("one", "prompt", golds, golds, draw=draw)]
    two(place, one, three, about={name: {"sampling": None} for name in "ab"})
    found = toolkit.compare("a", "b")
    assert [(c["why"], found.differences) for c in found.apart] == [("1 draw a row against 3", [])] and found.lines[1][
        "why"
    ] == "3 draws a row against 1"
    assert toolkit.compare("a", "b", across=True).differences[0]["remark"] == "1 draw a row against 3"


def test_one_model_asked_in_two_ways_is_apart_and_two_models_are_not(place: Path) -> None:
    lines = verdict_lines("one", "prompt", GOLD, GOLD)
    evaluated(place / "a", {"a": lines}, about={"a": {"prompt": "p", "model_id": "m"}})
    for name, model in (("b", "m"), ("c", "n")):
        evaluated(place / name, {name: lines}, about={name: {"prompt": "q", "model_id": model}})
    assert toolkit.compare("a", "b").apart[0]["why"] == "another prompt"
    found = toolkit.compare("a", "c")
    assert found.apart == [] and any("not all asked with the same prompt" in n for n in found.notes)


def test_a_task_that_one_does_not_judge_is_reported_and_not_scored(place: Path) -> None:
    gone = [line("one", f"r{i:04d}", "refusal", "refusal", None, unread="not_judged") for i in range(4)]
    both = verdict_lines("two", "prompt", GOLD, GOLD)
    two(place, verdict_lines("one", "refusal", "++++", "+++-") + both, gone + both)
    found = toolkit.compare("a", "b")
    assert [(x["benchmark"], x["why"]) for x in found.apart] == [("one", "b does not judge it")]
    cells = next(x["cells"] for x in found.lines if x["benchmark"] == "one")
    assert [(c["model"], c["state"]) for c in cells] == [("a", None), ("b", "not judged")] and cells[1]["f1"] is None
    assert {m["task"] for m in found.means if m["f1"] is not None} <= {"prompt", None}


def test_too_few_outputs_read_is_no_figure(place: Path) -> None:
    two(place, verdict_lines("one", "prompt", GOLD, "?" * 119 + "-"), verdict_lines("one", "prompt", GOLD, GOLD), min_parse_rate=0.5)
    found = toolkit.compare("a", "b")
    assert found.apart[0]["why"] == "too few outputs of a could be read"
    assert next(c for c in found.lines[0]["cells"] if c["model"] == "a")["state"] == "withheld"
    assert any("no figures, 119 of 120 outputs could not be read" in n for n in found.notes)


def test_published_figures_share_a_line_only_where_cohorts_agree(place: Path) -> None:
    golds = "+-" * 224 + "+"
    evaluated(place / "e", {"mine": verdict_lines("xstest_response_refusal", "refusal", golds, golds)})
    found = toolkit.compare("e", published=["guardreasoner", "qwen3guard"])
    first, *rest = found.lines
    assert [c["model"] for c in first["cells"] if c["published"] == "qwen3guard"] == [
        "WildGuard 7B",
        "Qwen3Guard-Gen 0.6B",
        "Qwen3Guard-Gen 4B",
        "Qwen3Guard-Gen 8B",
    ]
    assert not any(c["published"] == "guardreasoner" for c in first["cells"]), "499 rows are not 449"
    assert all("499 rows against 449" in x["why"] for x in rest if any("5 %" not in x["why"] for _ in x["cells"])) and rest
    assert {s["source"] for s in found.published} == {"guardreasoner", "qwen3guard"}
    text = found.as_text()
    assert any("WildGuard 7B" in line and "qwen3guard" in line for line in text.splitlines()) and "arXiv:2510.14276v1" in text


def test_the_same_policy_brings_the_papers_figures_onto_the_line(place: Path) -> None:
    golds = "+" * 239
    lines = [{**x, "output": "Request: harmful"} for x in verdict_lines("harmbench_prompt", "prompt", golds, golds)]
    evaluated(place / "e", {"mine": lines})
    for policy, together in (("clean", False), ("reference", True)):
        first = toolkit.compare("e", published=["GuardReasoner 8B"], policy=policy).lines[0]
        assert any(c["published"] == "guardreasoner" for c in first["cells"]) is together


def test_strict_and_loose_readings_never_share_a_line(place: Path) -> None:
    evaluated(place / "e", {"mine": verdict_lines("toxic_chat", "prompt", GOLD, GOLD)}, about={"mine": {"reading": "loose"}})
    for x in toolkit.compare("e", published=["qwen3guard"]).lines:
        assert len({"strict" if "(strict)" in c["model"] else "loose" for c in x["cells"] if "(" in c["model"]}) <= 1


# Policies and draws -----------------------------------------------------------------------------------------------------


def test_any_policy_is_computed_from_the_rows(place: Path) -> None:
    two(place, verdict_lines("one", "prompt", "++--", "+?-?"), verdict_lines("one", "prompt", "++--", "++--"), policies=["clean"])
    f1 = {p: toolkit.compare("a", "b", policy=p).lines[0]["cells"][0]["f1"] for p in ("clean", "drop", "fail-closed")}
    assert f1 == {"clean": 50.0, "drop": 100.0, "fail-closed": 80.0}
    assert any("a was evaluated under clean; here all is counted as drop" in n for n in toolkit.compare("a", "b", policy="drop").notes)
    with pytest.raises(InputError, match="drop"):
        toolkit.compare("a", "b", policy="dropp")


def test_evaluations_that_settle_draws_in_different_ways_are_refused_until_one_is_named(place: Path) -> None:
    lines = [{**x, "probability": 0.9 if x["verdict"] == "harmful" else 0.1} for x in verdict_lines("one", "prompt", GOLD, GOLD)]
    evaluated(place / "a", {"a": lines}, k="majority")
    evaluated(place / "b", {"b": lines}, k="mean")
    with pytest.raises(InputError, match="different ways"):
        toolkit.compare("a", "b")
    assert toolkit.compare("a", "b", combine="mean").k == "mean"


# Breakdown, errors, costs -----------------------------------------------------------------------------------------------


def test_categories_and_sources_are_broken_down(place: Path) -> None:
    def with_parts(verdicts: str) -> list[Line]:
        lines = verdict_lines("one", "prompt", "++--", verdicts)
        return [{**x, "categories": ["fraud", "spam"] if i < 2 else [], "source": "s1" if i % 2 else "s2"} for i, x in enumerate(lines)]

    two(place, with_parts("++--"), with_parts("+---"))
    found = toolkit.compare("a", "b").breakdown
    by = {(x["by"], x["part"]): {c["model"]: c["accuracy"] for c in x["cells"]} for x in found}
    assert by["categories", "fraud"] == by["categories", "spam"] == {"a": 100.0, "b": 50.0}
    assert by["categories", None] == {"a": 100.0, "b": 100.0}
    assert by["source", "s1"] == {"a": 100.0, "b": 50.0} and by["source", "s2"] == {"a": 100.0, "b": 100.0}
    assert "(no category)" in toolkit.compare("a", "b").as_text()


def test_the_gallery_shows_who_is_wrong_with_texts(place: Path) -> None:
    a = verdict_lines("one", "prompt", "++--", "--+-") + verdict_lines("two", "prompt", "+", "-")
    b = verdict_lines("one", "prompt", "++--", "-++?") + verdict_lines("two", "prompt", "+", "-")
    two(place, a, b)
    found = {e["wrong"]: e for e in toolkit.compare("a", "b", errors=5).errors}
    assert {k: e["rows"] for k, e in found.items()} == {"both": 3, "only_a": 1, "only_b": 1}
    assert found["both"]["benchmarks"] == {"one": 2, "two": 1}
    assert [(r["benchmark"], r["id"]) for r in found["both"]["shown"]] == [("one", "r0000"), ("two", "r0000"), ("one", "r0002")]
    (only,) = found["only_b"]["shown"]
    assert (only["id"], only["gold"], only["prompt"]) == ("r0003", "unharmful", "prompt of r0003")
    assert only["a"] == {"verdict": "unharmful", "unread": None, "output": "it is unharmful"}
    assert only["b"] == {"verdict": None, "unread": "field_missing", "output": "it is None"}


def test_the_gallery_is_bounded_and_counts_all(place: Path) -> None:
    long = [{**x, "output": "w" * 5000} for x in verdict_lines("one", "prompt", "+" * 30, "-" * 30)]
    two(place, long, verdict_lines("one", "prompt", "+" * 30, "+" * 30))
    (group,) = toolkit.compare("a", "b", errors=2).errors
    assert group["rows"] == 30 and len(group["shown"]) == 2
    assert group["shown"][0]["a"]["output"].endswith("… (3,000 more characters)")
    assert toolkit.compare("a", "b", errors=0).errors == []


def test_of_several_draws_the_gallery_shows_one_that_says_what_counts(place: Path) -> None:
    draws = [line("one", "r", "prompt", "harmful", v, draw=i, output=f"draw {i}") for i, v in enumerate(["harmful", "unharmful", "unharmful"])]
    right = [line("one", "r", "prompt", "harmful", "harmful", draw=i) for i in range(3)]
    two(place, draws, right)
    (group,) = toolkit.compare("a", "b").errors
    assert group["wrong"] == "only_a" and group["shown"][0]["a"] == {"verdict": "unharmful", "unread": None, "output": "draw 1"}


def test_tokens_and_seconds_stand_beside_f1(place: Path) -> None:
    two(
        place, verdict_lines("one", "prompt", "+-", "+-", tokens=100, seconds=2.0), verdict_lines("one", "prompt", "+-", "++", tokens=10, seconds=0.5)
    )
    assert toolkit.compare("a", "b").costs == [
        {"model": "a", "rows": 2, "f1": 100.0, "tokens": 100.0, "seconds": 2.0},
        {"model": "b", "rows": 2, "f1": 66.67, "tokens": 10.0, "seconds": 0.5},
    ]


def test_the_papers_sizes_weight_a_mean_of_their_own(place: Path) -> None:
    a = verdict_lines("one", "prompt", "+-" * 5, "+-" * 5) + verdict_lines("two", "prompt", "+-" * 5, "-+" * 5)
    evaluated(place / "e", {"a": a, "b": a}, paper={"one": 30, "two": 10})
    found = {(m["model"], m["mean"], m["task"]): m["f1"] for m in toolkit.compare("e").means}
    assert (found["a", "weighted", "prompt"], found["a", "stated", "prompt"], found["a", "macro", "prompt"]) == (50.0, 75.0, 50.0)


# On the released files --------------------------------------------------------------------------------------------------


def test_the_released_guards_compared(real_data: Path, place: Path) -> None:
    """Spec E.8, clean: the 3B is not worse than the others on refusal, where the paper has it 13 points below."""
    of = real_data / "guardreasoner"
    files = {s: str(of / "predictions" / s / "XSTestResponseRefusal.jsonl") for s in ("3B", "8B")}
    toolkit.evaluate(predictions=files, benchmarks="xstest_response_refusal", data=str(of / "benchmark"), output="e")
    found = toolkit.compare("e", published="guardreasoner", errors=1)
    assert {c["model"]: c["f1"] for c in found.lines[0]["cells"]} == {"3B": 91.38, "8B": 93.68}
    (verdict,) = found.verdicts
    assert verdict["difference"] == 2.3 and verdict["low"] > -1 and verdict["high"] < 6
    stated = {c["model"]: (c["f1"], x["why"]) for x in found.lines for c in x["cells"] if c["published"]}
    assert stated["GuardReasoner 3B"] == (80.31, "499 rows against 449; policy reference against clean")
    assert pl.DataFrame(found.errors)["rows"].sum() == sum(e["rows"] for e in found.errors) > 0
