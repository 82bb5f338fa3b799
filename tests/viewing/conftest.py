"""A viewer and a browser's part of it: an HTTP client that keeps cookies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import yaml
from workspace import RECIPE

import toolkit


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run: seeds, some of them copies of others, selected, reasoned about, rendered, in shards."""
    folder = tmp_path_factory.mktemp("viewed")
    steps = [*RECIPE["steps"][:2], {"id": "unique", "use": "deduplicate"}, *RECIPE["steps"][2:]]
    (folder / "small.yaml").write_text(yaml.safe_dump({**RECIPE, "steps": steps}, sort_keys=False))
    before = Path.cwd()
    os.chdir(folder)
    try:
        toolkit.run("small.yaml", output="outputs/small")
    finally:
        os.chdir(before)
    return folder / "outputs" / "small"


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
