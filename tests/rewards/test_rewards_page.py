"""The commands and programs of docs/rewards.md run as they stand there, and its formulas are those that ship."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import polars as pl
import pytest

from toolkit.cli._app import app
from toolkit.rewards import formula_names, load_formula

PAGE = (Path(__file__).parents[2] / "docs" / "rewards.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    return [text for word, text in re.findall(r"^```([^\n]*)\n(.*?)^```$", PAGE, re.M | re.S) if word == kind]


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "150")
    Path("outputs.jsonl").write_text(blocks("json")[0])
    commands = blocks("sh")[0].splitlines()
    printed = [CliRunner().invoke(app, shlex.split(line)[1:], catch_exceptions=False) for line in commands]
    assert [done.exit_code for done in printed] == [0, 0, 0]
    assert "0.55" in printed[0].stdout and '"formula": "guardreasoner_vl"' in printed[2].stdout
    assert [line.rstrip() for line in printed[1].stdout.splitlines() if line.strip()] == [line for line in blocks("")[0].splitlines() if line.strip()]
    assert pl.read_parquet("rewards.parquet")["reward"].to_list() == [1.0, 0.652319, 0.0]
    for program in blocks("python"):
        exec(program, {})  # noqa: S102
    Path("mine.yaml").write_text(blocks("yaml")[0])
    assert load_formula("mine.yaml").tasks == {"prompt": 2, "response": 1}


def test_its_table_names_every_formula() -> None:
    assert set(re.findall(r"^\| `(\w+)` \| .* \| .* \| .* \|$", PAGE, re.M)) == set(formula_names())
