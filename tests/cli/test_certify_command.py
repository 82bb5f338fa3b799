"""``guardkit certify`` and ``guardkit coverage``: what they print, and the exit code that a script goes by."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from commands import Result
from evaluated import evaluated, verdict_lines

Cli = Callable[..., Result]
GOLD = "+-" * 100


@pytest.fixture
def folders(tmp_path: Path, cli: Cli) -> Path:
    evaluated(tmp_path / "old", {"guard": verdict_lines("one", "prompt", GOLD, GOLD)})
    evaluated(tmp_path / "new", {"guard": verdict_lines("one", "prompt", GOLD, "-+" * 15 + "+-" * 85)})
    return tmp_path


def test_a_guard_that_got_worse_ends_with_1_once_all_is_printed_and_written(folders: Path, cli: Cli) -> None:
    found = cli("certify", "before=old", "after=new")
    assert found.code == 1 and found.out.rstrip().splitlines()[-1].startswith("fail: 2 of 2 figures got worse")
    assert "no category is certified: the rows carry none" in found.out
    written = cli("certify", "before=old", "after=new", "--output", "c.md")
    assert written.code == 1 and "Written: c.md" in written.out and (folders / "c.md").read_text().startswith("### after after, before before")
    document = cli("certify", "before=old", "after=new", "--fail-on", "never", "--json")
    assert document.code == 0 and document.json["verdict"] == "fail" and document.json["kind"] == "certificate"


def test_too_few_rows_are_a_failure_only_where_they_are_to_be(folders: Path, cli: Cli) -> None:
    evaluated(folders / "few", {"guard": verdict_lines("one", "prompt", GOLD[:20], GOLD[:20])})
    evaluated(folders / "few2", {"guard": verdict_lines("one", "prompt", GOLD[:20], GOLD[:20])})
    assert cli("certify", "few", "few2").code == 0
    found = cli("certify", "few", "few2", "--fail-on", "unless-pass")
    assert found.code == 1 and found.out.rstrip().splitlines()[-1].startswith("too few rows to tell on 2 of 2 figures")


def test_coverage_prints_its_tables_and_writes_its_files(tmp_path: Path, cli: Cli) -> None:
    rows = [{"id": f"r{n}", "prompt": "p", "label_prompt": "harmful", "categories": ["privacy"], "source": "a"} for n in range(3)]
    pl.DataFrame(rows).write_parquet(tmp_path / "rows.parquet")
    found = cli("coverage", "rows.parquet", "--category", "privacy", "--output", "next.yaml")
    assert found.code == 0 and found.out.rstrip().splitlines()[-1] == "Written: next.yaml"
    for words in (
        "rows.parquet: 3 rows, taxonomy guardkit",
        "no benign look-alikes in privacy; privacy has only one source, a",
        "What to generate next: 37 rows",
    ):
        assert words in found.out
    assert cli("coverage", "rows.parquet", "--json").json["categories"][0]["harmful"] == 3
