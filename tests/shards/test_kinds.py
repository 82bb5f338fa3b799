"""Kinds of shards: guardkit's own are known by their columns, another package's where the manifest names it; one may have no answers at all."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from toolkit.common.errors import InputError, InputErrors
from toolkit.records import Column
from toolkit.shards import ShardWriter, kind_of, unproven, verify
from toolkit.shards.exporters import export, verify_export

MODULE = """
from toolkit.shards import ShardKind
from toolkit.shards.exporters import Format, Made

TRUTHS = ShardKind("truths", "prompts with a ground truth", columns=("ground_truth",))


class Prompts(Format):
    name = "prompts"
    doc = "https://prompts.example"
    kinds = ("truths",)

    def convert(self, rows, split, start):
        return [Made("default", split, f"{split}.parquet", rows.select("prompt", "ground_truth"))]
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    site = tmp_path / "site"
    info = site / "my_kinds-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "my_kinds.py").write_text(MODULE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-kinds\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[guardkit.shard_kinds]\ntruths = my_kinds:TRUTHS\n[guardkit.exporters]\nprompts = my_kinds:Prompts\n")
    monkeypatch.syspath_prepend(str(site))
    yield
    sys.modules.pop("my_kinds", None)


def write(folder: Path, **about: Any) -> Path:
    columns = tuple(Column(n, "string") for n in ("id", "prompt", "ground_truth", "source", "licence"))
    writer = ShardWriter(folder, columns, 10)
    rows = [{"id": str(i), "prompt": f"Question {i}", "ground_truth": "harmful", "source": "s", "licence": "CC0-1.0"} for i in range(4)]
    writer.write(pl.DataFrame(rows), "train")
    writer.finish(about)
    return folder


def test_a_kind_without_answers_is_exported_and_verified(package: None, tmp_path: Path) -> None:
    shards = write(tmp_path / "shards", kind="truths")
    assert verify(shards)["kind"] == "truths" and "kind" not in unproven(verify(shards))
    record = export(shards, "prompts", tmp_path / "out")
    assert record["rows"] == 4 and pl.read_parquet(tmp_path / "out" / "train.parquet").columns == ["prompt", "ground_truth"]
    assert verify_export(tmp_path / "out")["to"] == "prompts"
    with pytest.raises(InputError, match="the format 'openai' has no place for prompts with a ground truth"):
        export(shards, "openai", tmp_path / "no")


def test_no_package_changes_what_shards_are_by_being_installed(package: None, tmp_path: Path) -> None:
    shards = write(tmp_path / "shards")
    with pytest.raises(InputError, match="neither of the columns prompt, completion or prompt, chosen, rejected or prompt, has_response"):
        export(shards, "prompts", tmp_path / "out")
    assert kind_of(["prompt", "completion", "ground_truth"], None, "here").name == "sft"


def test_a_kind_that_the_columns_belie_is_a_fault(package: None, tmp_path: Path) -> None:
    with pytest.raises(InputErrors, match="kind: shards of the kind 'sft' have the column 'completion', and these have not"):
        verify(write(tmp_path / "shards", kind="sft"))
    named = write(tmp_path / "unknown", kind="dreams")
    assert "kind" in unproven(verify(named)) and json.loads((named / "manifest.json").read_text())["kind"] == "dreams"
