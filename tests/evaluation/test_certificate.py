"""The certificate of no regression: its error rates are those that it states, and its verdicts what a user would act on."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluated import Line, evaluated, line, verdict_lines

import toolkit
from toolkit.common.errors import InputError, TooManyFailures
from toolkit.evaluation.scoring._bounds import Change, Figure, change
from toolkit.evaluation.scoring._paired import holm
from toolkit.evaluation.scoring._policies import Outcome

TP, FN, TN, FP = Outcome("tp", 1, right=True), Outcome("fn", 1, right=False), Outcome("tn", 1, right=True), Outcome("fp", 1, right=False)
KINDS = [(TP, TP), (TP, FN), (FN, TP), (FN, FN), (TN, TN), (TN, FP), (FP, TN), (FP, FP)]
DRAWS = 399
TIMES = 250


def shares(positive: float, recall: float, lost: float, gained: float, fpr: float, flagged: float, freed: float) -> list[float]:
    """Shares of `KINDS`: before, the guard finds `recall` and flags `fpr` of the others; then it loses and gains some of each."""
    p, n = positive, 1 - positive
    found = [p * (recall - lost), p * lost, p * gained, p * (1 - recall - gained)]
    return [*found, n * (1 - fpr - flagged), n * flagged, n * freed, n * (fpr - freed)]


def sampled(truth: Sequence[float], n: int, times: int, figure: Figure, seed: int) -> list[Change]:
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(n, truth, size=times)
    found = [change(dict(zip(KINDS, map(int, some), strict=True)), figure, DRAWS, rng) for some in counts]
    return [one for one in found if one is not None]


def true_gain(truth: Sequence[float], figure: Figure) -> float:
    whole = change({k: round(1e7 * s) for k, s in zip(KINDS, truth, strict=True)}, figure, 1, np.random.default_rng(0))
    assert whole is not None
    return whole.gain


@pytest.mark.parametrize("n", [60, 300])
@pytest.mark.parametrize(
    ("truth", "figure"),
    [
        (shares(0.5, 0.95, 0.06, 0, 0.05, 0, 0), "f1"),
        (shares(0.5, 0.9, 0.06, 0.02, 0.05, 0.03, 0.01), "f1"),
        (shares(0.1, 0.9, 0.05, 0, 0.05, 0.02, 0), "f1"),
        (shares(1, 0.8, 0.05, 0.01, 0, 0, 0), "f1"),
        (shares(0, 0, 0, 0, 0.05, 0.03, 0), "fpr"),
        (shares(0.2, 0.9, 0, 0, 0.1, 0.06, 0.02), "fpr"),
    ],
)
def test_a_guard_that_is_worse_by_the_margin_passes_in_at_most_5_percent_of_samples(truth: list[float], figure: Figure, n: int) -> None:
    margin = -true_gain(truth, figure)
    assert margin > 1
    found = sampled(truth, n, TIMES, figure, n)
    passed = sum(one.p_above(-margin) <= 0.05 for one in found) / TIMES
    assert passed <= 0.05 + 0.028, "of 250 samples by chance two standard errors more"
    assert all((one.low > -margin) == (one.p_above(-margin) <= 0.05) for one in found), "the bound that is printed is the test"


def test_a_certificate_of_a_guard_that_is_nowhere_worse_fails_in_at_most_5_percent_of_samples() -> None:
    """Of six lines; and one regression among sound lines keeps it from passing."""
    same, worse = shares(0.5, 0.9, 0.03, 0.03, 0.08, 0.02, 0.02), shares(0.5, 0.9, 0.06, 0, 0.08, 0.0, 0)
    lines = [sampled(same, 300, TIMES, "f1", seed) for seed in range(6)]
    failed = sum(any((p or 1) <= 0.05 for p in holm([one.p_below(0) for one in some])) for some in zip(*lines, strict=True)) / TIMES
    assert failed <= 0.05 + 0.028
    margin = -true_gain(worse, "f1")
    fell = sampled(worse, 300, TIMES, "f1", 99)
    passed = sum(all(one.p_above(-margin) <= 0.05 for one in some) for some in zip(fell, *lines, strict=True)) / TIMES
    assert passed <= 0.05 + 0.028


def test_as_many_rows_as_it_asks_for_do() -> None:
    truth = shares(0.5, 0.92, 0.03, 0.03, 0.06, 0.02, 0.02)
    few = change(dict(zip(KINDS, [round(200 * s) for s in truth], strict=True)), "f1", DRAWS, np.random.default_rng(1))
    assert few is not None and few.p_above(-3) > 0.05
    rows = few.rows_to_pass(3)
    assert rows is not None and rows > 200
    passed = sum(one.p_above(-3) <= 0.05 for one in sampled(truth, rows, TIMES, "f1", 5)) / TIMES
    assert 0.7 < passed < 0.9, "80 % power"


def test_rows_on_which_nothing_differs_still_have_to_be_many() -> None:
    """0.97^n is 5 % at 98.4 rows: with fewer, a rate that rose by 3 points may show nothing in one sample of twenty."""
    bounds = {n: change({(TN, TN): n}, "fpr", 9999, np.random.default_rng(n)) for n in (20, 90, 110)}
    assert {n: one is not None and one.low > -3 for n, one in bounds.items()} == {20: False, 90: False, 110: True}
    few = bounds[20]
    assert few is not None and (few.rows_to_pass(3) or 0) >= 99


GOLD = "+-" * 400


def but(golds: str, share: float, seed: int) -> str:
    rng = random.Random(seed)
    return "".join({"+": "-", "-": "+"}[g] if rng.random() < share else g for g in golds)


def of_category(name: str, verdicts: str, first: int, golds: str = GOLD) -> list[Line]:
    return verdict_lines("held-out", "prompt", golds, verdicts, first=first, categories=[name])


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def two(before: Sequence[Line], after: Sequence[Line], **more: Any) -> None:
    evaluated(Path("old"), {"guard": before}, **more)
    evaluated(Path("new"), {"guard": after}, **more)


def lines_of(found: Any, **wanted: str) -> list[dict[str, Any]]:
    return [one for one in found.lines if all(one[n] == v for n, v in wanted.items())]


def test_every_benchmark_and_category_has_its_lines_and_the_new_one_has_to_rise(place: Path) -> None:
    right, fraud = but(GOLD, 0.02, 1), but(GOLD, 0.03, 2)
    refusals = verdict_lines("xs", "refusal", GOLD, but(GOLD, 0.05, 3))
    before = [*of_category("fraud", fraud, 0), *of_category("new", but(GOLD, 0.4, 4), 1000), *refusals]
    after = [*of_category("fraud", fraud, 0), *of_category("new", right, 1000), *refusals]
    two(before, after)
    with pytest.raises(InputError, match="no category or benchmark 'xs'"):
        toolkit.certify("before=old", "after=new", rises="xs")
    found = toolkit.certify("before=old", "after=new", rises=["new"], draws=2000)
    assert found.verdict == "pass" and "none of 9 figures got worse by 3 points or more, and new rose" in found.words
    assert {(x["area"], x["name"], x["task"], x["figure"]) for x in found.lines} == {
        *(("benchmark", "held-out", "prompt", f) for f in ("f1", "fpr")),
        *(("category", c, "prompt", f) for c in ("fraud", "new") for f in ("f1", "fpr")),
        *(("refusal", "xs", "refusal", f) for f in ("f1", "fpr")),
        ("look-alikes", "benign rows of a category", "prompt", "fpr"),
    }
    (rise,) = lines_of(found, name="new", figure="f1")
    assert rise["claim"] == "rise" and rise["low"] > 0 and rise["n"] == 800
    back = toolkit.certify("before=new", "after=old", rises="new", draws=2000)
    assert back.verdict == "fail" and {x["name"] for x in lines_of(back, verdict="fail")} == {"held-out", "new", "benign rows of a category"}
    assert [x["verdict"] for x in lines_of(back, name="fraud")] == ["pass", "pass"], "what stayed the same is not blamed"


def test_one_category_that_fell_fails_it_and_few_rows_are_no_proof(place: Path) -> None:
    sound, small = but(GOLD, 0.02, 1), "+-" * 8
    before = [*of_category("fraud", sound, 0), *of_category("small", small, 2000, small)]
    fell = [*of_category("fraud", but(GOLD, 0.15, 5), 0), *of_category("small", small, 2000, small)]
    two(before, fell)
    found = toolkit.certify("old", "new", draws=2000)
    assert found.verdict == "fail" and found.words.startswith("fail: ") and {x["verdict"] for x in lines_of(found, name="fraud")} == {"fail"}
    same = toolkit.certify("old", "old2" if evaluated(Path("old2"), {"guard": before}) else "", draws=2000)
    assert same.verdict == "too few rows", "nothing differs, and 16 rows show nothing"
    few = lines_of(same, verdict="too few rows")
    assert {x["name"] for x in few} == {"small"} and all(x["rows"] >= 99 for x in few)
    assert "too few rows to tell on 2 of 7 figures; the line that needs most needs about" in same.words


def test_what_the_new_guard_lost_the_form_for_is_not_passed_over(place: Path) -> None:
    """Outputs that cannot be read count as wrong here, however many they are; a task that it no longer judges keeps the certificate from passing."""
    before = [*verdict_lines("one", "prompt", GOLD, GOLD), *verdict_lines("two", "response", GOLD, GOLD)]
    two(before, [*verdict_lines("one", "prompt", GOLD, "?" * len(GOLD)), *verdict_lines("two", "response", GOLD, GOLD)], min_parse_rate=0.5)
    found = toolkit.certify("old", "new", draws=1000)
    assert found.verdict == "fail" and lines_of(found, name="one", figure="f1")[0]["after"] == 0
    lost = [dict(x, verdict=None, unread="not_judged") for x in verdict_lines("one", "prompt", GOLD, "?" * len(GOLD))]
    evaluated(Path("none"), {"guard": [*lost, *verdict_lines("two", "response", GOLD, GOLD)]})
    silent = toolkit.certify("old", "none", draws=1000)
    assert silent.verdict == "too few rows" and "not compared: one (prompt): guard (none) does not judge it" in silent.words


def test_refusals_are_certified_by_what_a_task_is_about(place: Path) -> None:
    for task in ("refusal", "declined"):
        lines = [*verdict_lines("one", "prompt", GOLD, GOLD), *verdict_lines("two", task, GOLD, GOLD, categories=["fraud"])]
        two(lines, lines)
        found = toolkit.certify("old", "new", draws=1000)
        assert {(x["area"], x["name"]) for x in lines_of(found, task=task)} == {("refusal", "two")}, "a refusal is in no category of harm"
        assert {x["area"] for x in lines_of(found, task="prompt")} == {"benchmark"}
        assert not any("refusals" in note for note in found.notes)


def test_look_alikes_may_be_benchmarks(place: Path) -> None:
    benign = [line("xstest", f"x{n}", "prompt", "unharmful", "unharmful") for n in range(200)]
    flagged = [line("xstest", f"x{n}", "prompt", "unharmful", "harmful" if n < 40 else "unharmful") for n in range(200)]
    sound = verdict_lines("one", "prompt", GOLD, GOLD)
    two([*sound, *benign], [*sound, *flagged])
    found = toolkit.certify("old", "new", look_alikes="xstest", draws=1000)
    (alike,) = lines_of(found, area="look-alikes")
    assert (alike["name"], alike["before"], alike["after"], alike["verdict"]) == ("xstest", 0, 20, "fail")
    assert any("no F1 is certified" in n and "xstest (prompt)" in n for n in found.notes) and any(
        "no category is certified" in n for n in found.notes
    )


def test_it_is_written_in_full_before_it_is_an_error(place: Path) -> None:
    two(verdict_lines("one", "prompt", GOLD, GOLD), verdict_lines("one", "prompt", GOLD, but(GOLD, 0.3, 1)))
    with pytest.raises(TooManyFailures, match="fail: 2 of 2 figures"):
        toolkit.certify("old", "new", draws=1000, fail_on="fail", output="certificate.json")
    assert json.loads(Path("certificate.json").read_text())["verdict"] == "fail"
    toolkit.certify("old", "new", draws=1000, output="certificate.md")
    written = Path("certificate.md").read_text()
    assert "| benchmark | one | prompt | F1 | fail | 800 | 100.00 |" in written and "### Verdict" in written
    assert written.replace("\\", "").count("fail:") == 2


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (["old"], {}, "a certificate is of two guards, before and after, not of 1: guard"),
        (["old", "new"], {"rises": "nwe"}, "no category or benchmark 'nwe' has rows"),
        (["old", "new"], {"look_alikes": "xs"}, "look-alikes 'xs': both evaluations have no benchmark of that name"),
        (["old", "new"], {"policy": "reference"}, "no certificate under the policy 'reference'"),
        (["old", "new"], {"margin": 0}, "margin is a number of points above 0"),
        (["old", "new"], {"fail_on": "always"}, "no fail_on 'always'"),
        (["old", "new"], {"output": "c.csv"}, "the output must end in .txt, .md, .tex, .json"),
        ([], {}, "nothing to certify"),
    ],
)
def test_what_cannot_be_certified_is_reported(place: Path, given: list[str], options: dict[str, Any], message: str) -> None:
    two(verdict_lines("one", "prompt", "+-", "+-"), verdict_lines("one", "prompt", "+-", "+-"))
    with pytest.raises(InputError) as e:
        toolkit.certify(*given, **options)
    assert message in str(e.value)
