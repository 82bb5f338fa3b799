"""docs/review.md: its files are written as they stand there, its commands run in order, and what it says of the rows is so."""

from __future__ import annotations

import io
import json
import re
import shlex
import sys
from pathlib import Path

import pytest

import toolkit
from toolkit.cli import _say, main

PAGE = Path(__file__).resolve().parents[2] / "docs" / "review.md"
BLOCK = re.compile(r"^```(\S+)(?: (\S+))?\n(.*?)^```$", re.M | re.S)


def test_the_page_on_review_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    printed = []
    for kind, name, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if name:
            Path(name).write_text(text, encoding="utf-8")
        for line in text.splitlines() if kind == "sh" else ():
            command, _, answers = line.partition(" < ")
            monkeypatch.setattr("sys.stdin", io.StringIO(Path(answers).read_text() if answers else ""))
            monkeypatch.setattr(sys, "argv", shlex.split(command))
            monkeypatch.setattr(_say, "documents", 0)
            with pytest.raises(SystemExit) as end:
                main()
            assert not end.value.code, f"{line}\n{capsys.readouterr().err}"
            printed.append(capsys.readouterr().out)
    assert "1 decisions by anna" in printed[-1] and len(json.loads(Path("for-studio/prompt/tasks.json").read_text())) == 4
    figures = json.loads(printed[3])
    assert (figures["decided"], figures["adjudicated"], figures["disagreements"]) == (4, 1, 0)
    assert [p["rows"] for p in figures["agreement"][0]["pairs"]] == [4]
    rows = {row["id"]: row for row in toolkit.read_run("outputs/next")["reviewed"].polars().iter_rows(named=True)}
    assert {i: (row["label_prompt"], row["label_prompt_source"]) for i, row in rows.items()} == {
        "a": ("unharmful", "reviewed"),
        "b": ("harmful", "reviewed"),
        "c": ("unharmful", "reviewed"),
    }
    (trail,) = json.loads(rows["a"]["label_trail"])
    assert (trail["label"], trail["reviewer"], trail["why"]) == ("harmful", "anna, berta", "anna: bread is food")
    assert "adjudicated (anna: unharmful; berta: harmful)" in rows["c"]["label_trail"]
