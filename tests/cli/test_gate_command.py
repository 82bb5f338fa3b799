"""``guardkit gate``: a run that is worse than its baseline beyond limits and chance ends a CI job; one that is not does not."""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest
from commands import CHECKOUT, Result
from evaluated import evaluated, verdict_lines

import toolkit
from toolkit.common.errors import InputError, InputErrors, TooManyFailures
from toolkit.evaluation import share_change

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "operators"))
from frames import run_steps, seed, seeds, verdict, verdicts

H, U = "harmful", "unharmful"
GOLD = [H if n % 2 else U for n in range(300)]
Cli = Callable[..., Result]


def built(folder: Path, *, wrong: range, sources: int, extra: bool = True, recipe: str = "small") -> Path:
    """A run of rows, of which a step keeps those of the first `sources`, and a guard's evaluation on them; `wrong`: rows that it judges wrongly."""
    folder.mkdir()
    asked = seeds(*(seed(n, label_prompt=v, source="ab"[n >= sources]) for n, v in enumerate(GOLD))).drop("categories", "votes", "context")
    asked.write_parquet(folder / "asked.parquet")
    guard = [verdict(r, "main", 0, prompt={H: U, U: H}[v] if n in wrong else v) for n, (r, v) in enumerate(zip(asked.to_dicts(), GOLD, strict=True))]
    verdicts(*guard).drop("categories", "votes", "context").write_parquet(folder / "verdicts.parquet")
    steps: list[dict[str, Any]] = []
    for name in ("asked", "verdicts"):
        columns = {c: {"name": c, "type": "int64"} if t == pl.Int64 else c for c, t in pl.read_parquet_schema(folder / f"{name}.parquet").items()}
        steps.append({"id": name, "use": "read", "with": {"files": [str(folder / f"{name}.parquet")], "columns": columns}})
    steps.append({"id": "scores", "use": "evaluate", "from": {"rows": "verdicts", "asked": "asked"}, "with": {"policies": ["clean"]}})
    if extra:
        steps.append({"id": "kept", "use": "select", "from": "asked", "with": {"where": {"source": "a"}}})
    run_steps(folder, steps, recipe)
    return folder / "out" / "run"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three runs: `released`, `nightly`, which is as good, and `broken`."""
    folder, made = tmp_path_factory.mktemp("gate"), tmp_path_factory.mktemp("made")
    (folder / "outputs").mkdir()
    for name, wrong, sources in (("released", range(4), 280), ("nightly", range(1, 5), 276), ("broken", range(0, 300, 4), 200)):
        shutil.copytree(built(made / name, wrong=wrong, sources=sources), folder / "outputs" / name)
    return folder


@pytest.fixture
def here(runs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(runs)
    return runs


def verdict_of(found: Any, figure: str, of: str) -> Any:
    return next(x["verdict"] for x in found["lines"] if (x["figure"], x["of"]) == (figure, of))


def test_a_run_that_is_as_good_passes_and_one_that_is_worse_names_its_figures(here: Path) -> None:
    found = toolkit.gate("outputs/released", "outputs/nightly", limits={"limits": {"fpr": 5, "f1": 5}}, draws=2000)
    assert (found.verdict, found.passed) == ("pass", True)
    assert {x["figure"] for x in found.lines} == {"f1", "fpr", "kept", "label", "rows"}
    with pytest.raises(TooManyFailures, match=r"fail: worse, beyond limit and chance: 4 of \d+ figures") as e:
        toolkit.gate("outputs/released", "outputs/broken", draws=2000, raises=True)
    assert e.value.exit_code == 1
    bad = toolkit.gate("outputs/released", "outputs/broken", draws=2000)
    by = {(x["figure"], x["of"]): x for x in bad.lines if x["verdict"] == "fail"}
    assert set(by) == {
        ("f1", "scores / main / benchmark asked / prompt"),
        ("fpr", "scores / main / benchmark asked / prompt"),
        ("kept", "kept"),
        ("rows", "kept"),
    }
    kept = by["kept", "kept"]
    assert (kept["before"], kept["after"], kept["n_before"]) == (93.33, 66.67, 300) and kept["low"] < -26.66 < kept["high"] < 0
    assert by["rows", "kept"]["difference"] == round(100 * (200 - 280) / 280, 2)
    assert "beyond limit and chance" in repr(bad) and "scores / main / benchmark asked / prompt" in repr(bad)


def test_limits_speak_of_kinds_and_of_single_figures(here: Path) -> None:
    limits = {
        "limits": {"f1": None, "fpr": 60},
        "except": [{"figure": "kept", "of": "kept", "limit": 40}, {"of": "k*t", "figure": "rows", "limit": None}],
    }
    found = toolkit.gate("outputs/released", "outputs/broken", limits=limits)
    assert found.verdict == "pass" and {x["figure"] for x in found.lines} == {"fpr", "kept", "label", "rows"}
    assert not [x for x in found.lines if x["figure"] == "rows" and x["of"] == "kept"]
    Path("wrong.yaml").write_text("limits: {f1: -1, f2: 3}\nexcept:\n  - {of: x}\npolicy: reference2\n")
    with pytest.raises(InputErrors) as e:
        toolkit.gate("outputs/released", "outputs/broken", limits="wrong.yaml")
    for words in ("wrong.yaml:1:limits.f1", "unknown key 'f2'", "wrong.yaml:3:except.0.limit", "wrong.yaml:4:policy"):
        assert words in str(e.value)


def test_what_the_run_has_lost_fails_unless_it_may_go(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs)
    less = built(tmp_path / "less", wrong=range(4), sources=280, extra=False, recipe="less")
    found = toolkit.gate("outputs/released", less)
    assert found.verdict == "fail" and verdict_of(found, "rows", "kept") == "gone" and "gone since the baseline: 1" in found.words
    assert toolkit.gate("outputs/released", less, limits={"gone": "pass"}).passed
    assert toolkit.gate("outputs/released", less, limits={"except": [{"of": "kept", "limit": None}]}).passed
    assert "not in the baseline, so not looked at: the step kept" in toolkit.gate(less, "outputs/released").notes
    assert found.notes[0].startswith("these are runs of two recipes, small and less")
    evaluated(
        tmp_path / "two",
        {"main": verdict_lines("one", "prompt", "+-" * 50, "+-" * 50), "other": verdict_lines("one", "prompt", "+-" * 50, "+-" * 50)},
    )
    evaluated(tmp_path / "one", {"main": verdict_lines("one", "prompt", "+-" * 50, "+-" * 50)})
    lost = toolkit.gate(tmp_path / "two", tmp_path / "one")
    assert verdict_of(lost, "f1", "other") == "gone" and not lost.passed
    evaluated(tmp_path / "elsewhere", {"third": verdict_lines("two", "prompt", "+-" * 50, "+-" * 50)})
    with pytest.raises(InputError, match="no figure that the limits speak of is in both"):
        toolkit.gate(tmp_path / "one", tmp_path / "elsewhere")


def test_what_cannot_be_gated_is_refused(here: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    shutil.copytree("outputs/nightly", half)
    with (half / ".guardkit.lock").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="this run is being built"):
            toolkit.gate("outputs/released", half)
    shutil.rmtree(half / "scores")
    with pytest.raises(InputError, match="did not come to its end: 1 of 4 steps are not built: scores"):
        toolkit.gate("outputs/released", half)
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="neither the folder of a run nor one of an evaluation"):
        toolkit.gate("outputs/released", tmp_path / "none")
    with pytest.raises(InputError, match="a run cannot be held against an evaluation alone"):
        toolkit.gate("outputs/released", "outputs/nightly/scores")
    with pytest.raises(InputError, match="the same folder twice"):
        toolkit.gate("outputs/released", "outputs/released")
    with pytest.raises(InputError, match=r"the output must end in \.txt, \.md, \.json, \.xml"):
        toolkit.gate("outputs/released", "outputs/nightly", output="gate.pdf")


def test_the_page_on_gates_is_true(cli: Cli, runs: Path, tmp_path: Path) -> None:
    """Its files are written as they are there; each command runs, and ends with the code that the page states."""
    shutil.copytree(runs / "outputs", tmp_path / "outputs")
    ran: dict[str, Result] = {}
    for kind, name, text in re.findall(r"^```(\S+)(?: (\S+))?\n(.*?)^```$", (CHECKOUT / "docs" / "gate.md").read_text(), re.M | re.S):
        if name:
            (tmp_path / name).write_text(text)
        for line in text.splitlines() if kind == "sh" else ():
            command, _, code = line.partition("#")
            ran[command.strip()] = done = cli(*command.split()[1:])
            assert f"exit code {done.code}" in code, f"{line}\n{done.out}{done.err}"
    assert {done.code for done in ran.values()} == {0, 1, 2} and len(ran) >= 5
    suite = ElementTree.parse(tmp_path / "gate.xml").getroot()[0]  # noqa: S314  our own
    failed = [case.get("name") for case in suite if case.find("failure") is not None]
    assert suite.get("failures") == str(len(failed)) and "kept" in failed and int(suite.get("tests") or 0) == len(suite)
    assert json.loads((tmp_path / "gate.json").read_text())["kind"] == "gate"
    assert cli("gate", "outputs/released", "outputs/broken", "--json").json["passed"] is False


def test_a_share_that_has_not_changed_is_rarely_taken_for_changed_and_its_bounds_hold() -> None:
    rng = np.random.default_rng(3)
    for share, n, m in ((0.03, 60, 200), (0.5, 40, 40), (0.95, 300, 80)):
        found = [share_change((int(k), n), (int(j), m)) for k, j in zip(rng.binomial(n, share, 400), rng.binomial(m, share, 400), strict=True)]
        assert sum(one.p_fell <= 0.05 for one in found) <= 28 and sum(one.p_rose <= 0.05 for one in found) <= 28  # 20 are expected at most, ± 4.4
        assert sum(one.low > 0 for one in found) <= 34 and sum(one.high < 0 for one in found) <= 34
    assert share_change((50, 100), (40, 100)).p_fell == pytest.approx(0.1003538, abs=1e-6)  # R: fisher.test(…, alternative = "less")
    far = share_change((5, 100_000), (900, 1_000))
    assert far.p_fell == 1 and far.p_rose < 1e-200 and share_change((900, 1_000), (5, 100_000)).p_fell < 1e-200
    with pytest.raises(ValueError, match="no shares: 3 of 2"):
        share_change((3, 2), (0, 1))
