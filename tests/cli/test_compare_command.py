"""``guardkit compare``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Result
from evaluated import evaluated, verdict_lines

Cli = Callable[..., Result]
GOLD = "+-" * 40


@pytest.fixture
def folders(tmp_path: Path, cli: Cli) -> Path:
    evaluated(tmp_path / "sft", {"guard": verdict_lines("toxic_chat", "prompt", GOLD, "-+" * 15 + "+-" * 25, tokens=200)})
    evaluated(tmp_path / "dpo", {"guard": verdict_lines("toxic_chat", "prompt", GOLD, "+-" * 40, tokens=250)})
    return tmp_path


def test_the_tables_end_with_the_verdict_in_words(folders: Path, cli: Cli) -> None:
    found = cli("compare", "before=sft", "after=dpo")
    assert found.code == 0
    assert found.out.rstrip().splitlines()[-1].startswith("prompt: after is better than before: +37.50 points of F1 (95 % interval +")
    for words in ("prompt: F1 in percent", "Price of a verdict", "prompt: only before wrong", "prompt of r0000", "Toxic_Chat"):
        assert words in found.out


def test_one_document_on_stdout(folders: Path, cli: Cli) -> None:
    found = cli("compare", "before=sft", "after=dpo", "--json")
    assert found.json["verdicts"][0]["outcome"] == "better" and found.json["kind"] == "comparison"
    again = cli("compare", "before=sft", "after=dpo", "--format", "json")
    assert again.json == found.json


def test_every_format_to_stdout_and_into_a_file(folders: Path, cli: Cli) -> None:
    begins = {"table": "prompt: F1", "markdown": "### In words", "latex": "\\documentclass", "csv": '\ufeff"table"', "json": "{"}
    for form, begin in begins.items():
        assert cli("compare", "before=sft", "after=dpo", "--format", form).out.startswith(begin), form
        written = cli("compare", "before=sft", "after=dpo", "--format", form, "--output", f"out.{form}")
        assert written.code == 0 and f"Written: out.{form}" in written.out and "after is better" in written.out
        assert (folders / f"out.{form}").read_text(encoding="utf-8").startswith(begin)
    quiet = cli("compare", "before=sft", "after=dpo", "--output", "all.md", "--json")
    assert quiet.json["kind"] == "comparison" and (folders / "all.md").is_file()


def test_published_figures_stand_beside_in_marked_columns(folders: Path, cli: Cli) -> None:
    found = cli("compare", "sft", "dpo", "--published", "--json")
    assert {c["published"] for x in found.json["lines"] for c in x["cells"]} >= {None, "guardreasoner", "qwen3guard", "guardreasoner_vl"}
    one = cli("compare", "sft", "dpo", "--cite", "GuardReasoner 8B")
    assert "GuardReasoner 8B [published: guardreasoner]" in one.out and "2,853 rows against 80" in one.out
    odd = cli("compare", "sft", "dpo", "--cite", "GuardReasner 8B")
    assert odd.code == 2 and "did you mean 'GuardReasoner 8B'?" in odd.err


def test_the_spread_of_published_figures_needs_no_evaluation(cli: Cli, tmp_path: Path) -> None:
    found = cli("compare", "--published-spread")
    assert found.code == 0 and "cells were published more than once" in found.out and "SingGuard's own selection" in found.out
    whole = cli("compare", "--published-spread", "--json").json["spread"]
    assert {"model", "figures", "spread", "why"} <= set(whole[0]) and whole == sorted(whole, key=lambda c: -c["spread"])
    one = cli("compare", "--published-spread", "--cite", "ShieldGemma 9B", "--json").json["spread"]
    assert {c["model"] for c in one} == {"ShieldGemma 9B"}
    for form, begin in (("csv", '\ufeff"model"'), ("markdown", "### The same cell"), ("latex", "\\documentclass")):
        assert cli("compare", "--published-spread", "--format", form).out.startswith(begin)
    assert cli("compare", "--published-spread", "--output", "s.csv").code == 0 and (tmp_path / "s.csv").stat().st_size > 1000
    assert cli("compare", "x", "--published-spread").code == 2


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((), "nothing to compare"),
        (("sft",), "one model: nothing to compare it with"),
        (("sft", "nosuch"), "not the folder of an evaluation"),
        (("sft", "sft"), "the same evaluation twice"),
        (("sft", "dpo", "--policy", "clene"), "did you mean 'clean'?"),
        (("sft", "dpo", "--output", "x.doc"), "must end in"),
        (("sft", "dpo", "--output", "sft/x.md"), "take the place of"),
        (("sft", "dpo", "--model", "nobody"), "no model called 'nobody'"),
        (("=sft", "dpo"), "is not of the form NAME=FOLDER"),
        (("sft", "dpo", "--errors", "-1"), "--errors"),
        (("sft", "dpo", "--draws", "5"), "--draws"),
        (("sft", "dpo", "--format", "word"), "--format"),
    ],
)
def test_what_cannot_be_is_reported_in_a_line_and_leaves_nothing(args: tuple[str, ...], words: str, folders: Path, cli: Cli) -> None:
    before = {p: p.stat().st_mtime_ns for p in folders.rglob("*")}
    found = cli("compare", *args)
    assert found.code == 2 and words in found.err and "Traceback" not in found.err
    assert {p: p.stat().st_mtime_ns for p in folders.rglob("*")} == before
    if "--json" not in args:
        result = cli("compare", *args, "--json")
        assert result.code == 2 and json.loads(result.out)["exit_code"] == 2


def test_the_policy_reference_needs_outputs(folders: Path, cli: Cli) -> None:
    bare = [{**x, "output": None} for x in verdict_lines("one", "prompt", "+-", "+-")]
    evaluated(folders / "bare", {"a": bare, "b": bare})
    found = cli("compare", "bare", "--policy", "reference")
    assert found.code == 2 and "needs the output" in found.err


@pytest.mark.parametrize("width", ["80", "150"])
def test_many_published_figures_have_a_line_each(width: str, folders: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dozens of columns fit no terminal; beside each other stand few."""
    monkeypatch.setenv("COLUMNS", width)
    found = cli("compare", "sft", "dpo", "--published")
    table = found.out.partition("*1: on a line of its own")[0]
    assert max(map(len, table.splitlines())) <= int(width)
    lines = [line.split() for line in table.splitlines()]
    assert ["Toxic_Chat", "80", "guard", "(dpo)", "100.00"] in lines
    assert ["Toxic_Chat", "80", "Qwen3Guard-Stream", "0.6B", "(strict)", "qwen3guard", "72.00"] in lines
    assert "Qwen3Guard-Gen 8B (strict) [published: qwen3guard]" in cli("compare", "sft", "dpo", "--published", "--format", "markdown").out.replace(
        "\\", ""
    )
