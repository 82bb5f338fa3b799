"""A viewer and a browser's part of it: an HTTP client that keeps cookies."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import polars as pl
import pytest
import yaml
from workspace import furnish

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "browser"))
from small_run import SOURCE, STEPS, seeds

import toolkit


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which two runs are made."""
    return tmp_path_factory.mktemp("viewed")


@pytest.fixture(scope="session")
def run(folder: Path) -> Path:
    """A run up to its shards: seeds, two of them copies of others, one without a prompt, and some that try to do harm."""
    (folder / "seeds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in seeds(12)), encoding="utf-8")
    (folder / "source.yaml").write_text(SOURCE, encoding="utf-8")
    (folder / "recipe.yaml").write_text(yaml.safe_dump({"recipe": "small", "seed": 3, "steps": STEPS[:8]}, sort_keys=False), encoding="utf-8")
    with chdir(folder):
        return toolkit.run(folder / "recipe.yaml", output=folder / "small").folder


@pytest.fixture(scope="session")
def mined(folder: Path) -> Path:
    """A run of two guards that disagree on two rows: verdicts, hard rows, a pair of each."""
    furnish(folder)
    with chdir(folder):
        toolkit.mine({"anna": folder / "anna.jsonl", "berta": folder / "berta.jsonl"}, output=folder / "mined")
    return folder / "mined"


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 300 rows: numbers, texts, lists, and in one row whatever a page could take for markup or obey."""
    path = tmp_path_factory.mktemp("many") / "many.parquet"
    hostile = '<script>alert(1)</script>\u202e"\x1b[31m\x00' + "x" * 5000
    rows = [{"id": f"row-{i}", "n": (i * 7) % 300, "prompt": f"Prompt of {i}", "tags": ["even" if i % 2 == 0 else "odd"]} for i in range(300)]
    pl.DataFrame([*rows[:-1], rows[-1] | {"prompt": hostile}]).write_parquet(path, row_group_size=64)
    return path


@pytest.fixture(scope="session")
def viewed_file(many: Path) -> Iterator[toolkit.Viewer]:
    with toolkit.view(many, port=0) as viewer:
        yield viewer


@pytest.fixture(scope="session")
def viewed_run(run: Path) -> Iterator[toolkit.Viewer]:
    with toolkit.view(run, port=0) as viewer:
        yield viewer


@pytest.fixture(scope="session")
def viewed_mined(mined: Path) -> Iterator[toolkit.Viewer]:
    with toolkit.view(mined, port=0) as viewer:
        yield viewer
