"""Tables of a notebook as seeds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import numpy
import pandas
import polars as pl
import pyarrow as pa
import pytest
import yaml

import toolkit
from toolkit.common.errors import InputError, InputErrors

ROWS: list[dict[str, Any]] = [
    {"text": "How do I bake bread?", "answer": "With flour.", "toxic": 0, "kind": "fine"},
    {"text": "Write an insult.", "answer": None, "toxic": 1, "kind": "bad"},
    {"text": "How do I bake bread?", "answer": "With flour.", "toxic": None, "kind": "fine"},
]
MEANING: dict[str, Any] = {
    "prompt": "text",
    "columns": {"response": "answer"},
    "labels": {"prompt": "toxic"},
    "maps": {"prompt": {0: "unharmful", 1: "harmful"}},
    "labelled_by": "human",
    "source": "mine",
    "licence": "CC0-1.0",
}
TABLES = {
    "dicts": list,
    "generator": iter,
    "polars": pl.DataFrame,
    "lazy": pl.LazyFrame,
    "arrow": pa.Table.from_pylist,
    "pandas": pandas.DataFrame,
    "datasets": datasets.Dataset.from_list,
}


def from_file(folder: Path) -> pl.DataFrame:
    """The same rows through a source's file and the operator `load`."""
    (folder / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    definition = {
        "name": "mine",
        "version": 1,
        "description": "rows",
        "licence": "CC0-1.0",
        "bundled": "mine",
        "files": ["*.jsonl"],
        "columns": {"prompt": "text", "response": "answer"},
        "labels": {"prompt": {"column": "toxic", "map": {0: "unharmful", 1: "harmful"}, "source": "human"}},
    }
    (folder / "schemas" / "sources").mkdir(parents=True)
    (folder / "schemas" / "sources" / "mine.yaml").write_text(yaml.safe_dump(definition))
    (folder / "recipes" / "mine").mkdir(parents=True)
    (folder / "mine.jsonl").rename(folder / "recipes" / "mine" / "mine.jsonl")
    return toolkit.apply("load", source="mine")[0]


@pytest.mark.parametrize("kind", TABLES)
def test_any_table_gives_the_seeds_that_its_file_would(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = toolkit.seeds(TABLES[kind](ROWS), **MEANING)
    assert found.equals(from_file(tmp_path)), "ids, provenance, licence and all"
    assert found["label_prompt"].to_list() == ["unharmful", "harmful", None] and found["id"].n_unique() == 3
    assert found["label_prompt_source"].to_list()[0] == "human" and found["label_refusal_source"].to_list()[1] == "not_applicable"
    kept, rejected = toolkit.apply("normalise", found)
    assert (kept.height, rejected.height) == (3, 0)


def test_a_dataset_that_was_filtered_and_shuffled_gives_the_rows_that_it_has() -> None:
    some = datasets.Dataset.from_list(ROWS).select([1])
    assert toolkit.seeds(some, **MEANING)["prompt"].to_list() == ["Write an insult."]


def test_columns_of_the_usual_names_are_taken() -> None:
    rows = [{"prompt": "a", "response": "b", "label_prompt": "harmful", "label_response": "unharmful", "split": "test", "other": 1}]
    found = toolkit.seeds(rows, labelled_by="reviewed").to_dicts()[0]
    assert (found["response"], found["split"], found["label_response"], found["label_response_source"]) == ("b", "test", "unharmful", "reviewed")
    assert toolkit.seeds([{"prompt": "a"}])["label_prompt"].to_list() == [None], "no labels is no fault"


def test_an_unknown_label_is_refused_with_its_values_and_rows() -> None:
    with pytest.raises(InputErrors) as e:
        toolkit.seeds([*ROWS, {**ROWS[0], "kind": "fien"}], **{**MEANING, "labels": {"prompt": "kind"}, "maps": {"prompt": {"fine": "unharmful"}}})
    bad, typo = e.value.errors
    assert "1 row unknown_label: kind: 'bad' is not in the map" in bad.message and bad.where == "rows[1]"
    assert "did you mean 'fine'" in typo.message and typo.where == "rows[3]"
    with pytest.raises(InputError, match="'hamful' is no label of guard"):
        toolkit.seeds(ROWS, **{**MEANING, "maps": {"prompt": {0: "unharmful", 1: "hamful"}}})


@pytest.mark.parametrize(
    ("rows", "change", "message"),
    [
        (ROWS, {"labelled_by": None}, "nothing says who gave the labels"),
        (ROWS, {"labelled_by": "me"}, "Input should be 'human'"),
        (ROWS, {"labels": {"promt": "toxic"}}, "did you mean 'prompt'"),
        (ROWS, {"prompt": "txt"}, "needs the column 'txt'"),
        (ROWS, {"columns": {"response": "anser"}}, "did you mean 'answer'"),
        (ROWS, {"columns": {"answer": "answer"}}, "unknown key 'answer'"),
        (ROWS, {"source": "My Rows"}, "seeds:name"),
        ([{**ROWS[0], "text": " "}], {}, "empty_prompt"),
        ([{**ROWS[0], "text": "\ud800"}], {}, "surrogate"),
        ([{**ROWS[0], "text": 3}], {}, "not text but int"),
        ([], {}, "no rows"),
        (["text"], {}, "a row is a dict"),
        ("rows.jsonl", {}, "no table of rows: str"),
        (datasets.DatasetDict({"train": datasets.Dataset.from_list(ROWS)}), {}, "of a dict of splits, one of them"),
        (numpy.zeros(3), {}, "a row is a dict"),
        (pandas.DataFrame({"text": ["a", 3]}), {}, "the table cannot be read"),
    ],
)
def test_what_does_not_fit_is_reported(rows: Any, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        toolkit.seeds(rows, **{**MEANING, **change})
