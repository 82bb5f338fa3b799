"""A row with several answers is a seed for each of them, in one group, out of one source file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from toolkit.common.errors import InputError
from toolkit.sources import Source

ROWS = [
    {"q": "How often do I water a fern?", "a_0": "Twice a week.", "a_1": "Never, and you are a fool to ask.", "safe_0": True, "safe_1": False},
    {"q": "Which pot suits a fern?", "a_0": "A clay pot.", "a_1": "A clay pot.", "safe_0": True, "safe_1": True},
    {"q": "And a cactus?", "a_0": "A small one.", "a_1": 5, "safe_0": True, "safe_1": True},
]


def source(**more: Any) -> Source:
    labels = {"response": {"column": "safe_{k}", "map": {True: "unharmful", False: "harmful"}, "source": "human"}}
    given = {"name": "pairs", "version": 1, "description": "d", "licence": "MIT", "files": ["*"], "columns": {"prompt": "q", "response": "a_{k}"}}
    return Source.model_validate({**given, "labels": labels, "each": {"k": [0, 1]}, **more})


def test_a_row_with_two_answers_is_two_seeds_of_one_group(read: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    rows, rejects = read(source(), tmp_path / "rows.jsonl")
    assert rows.select("source_row", "response", "label_response").rows() == [
        (0, "Twice a week.", "unharmful"),
        (0, "Never, and you are a fool to ask.", "harmful"),
        (1, "A clay pot.", "unharmful"),
        (1, "A clay pot.", "unharmful"),
        (2, "A small one.", "unharmful"),
    ]
    assert rows.group_by("prompt").agg(pl.col("group").n_unique())["group"].to_list() == [1, 1, 1] and rows["id"].n_unique() == 5
    assert rejects.select("source_row", "reason").rows() == [(2, "wrong_type")], "the one answer that is no text, and not the other"
    pl.DataFrame(ROWS[:2]).write_csv(tmp_path / "rows.csv")
    assert read(source(), tmp_path / "rows.csv")[0].drop("id").equals(rows[:4].drop("id"))


def test_every_answers_columns_must_be_there(read: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"q": "x", "a_0": "y", "safe_0": True}))
    with pytest.raises(InputError, match="needs the column 'a_1'"):
        read(source(), tmp_path / "rows.jsonl")
    with pytest.raises(ValidationError, match=r"no column's name holds \{n\}"):
        source(each={"k": [0, 1], "n": [1]})
