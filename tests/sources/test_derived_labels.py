"""Labels that are any or all of several columns, or a number with a threshold or bins."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from toolkit.common.errors import InputError
from toolkit.sources import Source

YES_NO = {True: "harmful", False: "unharmful"}


def source(**label: Any) -> Source:
    labels = {"prompt": {"source": "human", **label}}
    given = {"name": "mod", "version": 1, "description": "d", "licence": "MIT", "files": ["*"], "columns": {"prompt": "q"}, "labels": labels}
    return Source.model_validate(given)


def lines(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps({"q": f"question {n}", **row}) + "\n" for n, row in enumerate(rows)))
    return path


def test_any_of_several_columns_of_which_rows_lack_some(read: Callable[..., Any], tmp_path: Path) -> None:
    path = lines(tmp_path / "rows.jsonl", {"S": 0, "H": 0}, {"S": 0, "H": 0, "HR": 1}, {"V": 1}, {"S": None}, {"S": True}, {"S": 2})
    rows, rejects = read(source(any=["S", "H", "V", "HR"], map=YES_NO), path)
    assert rows["label_prompt"].to_list() == ["unharmful", "harmful", "harmful", None, "harmful"]
    assert rows["label_prompt_source"].to_list() == ["human", "human", "human", "absent", "human"]
    assert rejects.select("reason", "detail").rows() == [("wrong_type", "S is 2, which is neither 0 nor 1")]


def test_all_of_several_columns_and_csv(read: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("q,a,b\none,1,0\ntwo,true,1\nthree,,True\nfour,,\n")
    assert read(source(all=["a", "b"], map=YES_NO), tmp_path / "rows.csv")[0]["label_prompt"].to_list() == ["unharmful", "harmful", "harmful", None]


def test_a_column_that_no_row_has_is_a_mistake(read: Callable[..., Any], tmp_path: Path) -> None:
    path = lines(tmp_path / "rows.jsonl", {"S": 0}, {"S": 1})
    with pytest.raises(InputError, match="no row has the column 'HH'"):
        read(source(any=["S", "HH"], map=YES_NO), path)
    (tmp_path / "rows.csv").write_text("q,S\none,1\n")
    with pytest.raises(InputError, match="needs the column 'HH'"):
        read(source(any=["S", "HH"], map=YES_NO), tmp_path / "rows.csv")


def test_a_score_with_a_threshold(read: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_text("q,toxicity\na,0.0\nb,0.83333\nc,0.4\nd,\ne,1\nf,high\n")
    rows, rejects = read(source(column="toxicity", threshold=0.5, map=YES_NO), tmp_path / "scores.csv")
    assert rows["label_prompt"].to_list() == ["unharmful", "harmful", "unharmful", None, "harmful"] and rejects["reason"].to_list() == ["wrong_type"]
    assert not any(rows["votes"].to_list())
    path = lines(tmp_path / "rows.jsonl", {"toxic": 0.25}, {"toxic": 1})
    rows, _ = read(source(column="toxic", threshold=0.5, map=YES_NO, source="vote"), path)
    assert [{(v["label"], v["share"], v["n"]) for v in votes} for votes in rows["votes"]] == [
        {("harmful", 0.25, None), ("unharmful", 0.75, None)},
        {("harmful", 1.0, None)},
    ]
    rows, _ = read(source(any=["toxic", "rude"], threshold=0.5, map=YES_NO), lines(path, {"toxic": 0.1, "rude": 0.9}, {"toxic": 0.2}))
    assert rows["label_prompt"].to_list() == ["harmful", "unharmful"]


def test_bins_of_a_score(read: Callable[..., Any], tmp_path: Path) -> None:
    path = lines(tmp_path / "rows.jsonl", *({"s": s} for s in (-1, 0.3, 0.5, 0.7, 9, None, float("nan"))))
    rows, _ = read(source(column="s", bins=[0.3, 0.7], map={0: "unharmful", 1: "unharmful", 2: "harmful"}), path)
    assert rows["label_prompt"].to_list() == ["unharmful", "unharmful", "unharmful", "harmful", "harmful", None, None]


@pytest.mark.parametrize(
    "label",
    [
        {"any": ["a"], "column": "b", "map": YES_NO},
        {"any": ["a"]},
        {"any": ["a"], "map": {True: "harmful"}},
        {"column": "a", "threshold": 0.5, "map": {0: "unharmful", 1: "harmful"}},
        {"column": "a", "bins": [0.7, 0.3], "map": {0: "unharmful", 1: "unharmful", 2: "harmful"}},
        {"any": ["a"], "bins": [0.3], "map": {0: "unharmful", 1: "harmful"}},
        {"threshold": 0.3, "map": YES_NO},
    ],
)
def test_rules_that_say_two_things_are_refused(label: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        source(**label)
