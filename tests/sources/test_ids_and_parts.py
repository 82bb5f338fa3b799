"""Ids across rows, files and parts; the bundled seeds; faults of a source's own file."""

from __future__ import annotations

import json
import random
from collections import Counter

import polars as pl
import pytest
from hubsets import wildguard
from hypothesis import given
from hypothesis import strategies as st

from toolkit.common.errors import InputError, InputErrors
from toolkit.records import content_id, row_id
from toolkit.sources import Occurrences, list_sources, load_source, source_files

NAME = "wildguard_train"


def write(path, rows) -> None:
    path.write_text("\n".join(json.dumps(r) for r in rows))


def plain(prompt: str, response: str | None = None):
    return wildguard(prompt, response, "unharmful", None, None)


def test_ids_do_not_depend_on_the_order_or_the_block(read, tmp_path) -> None:
    rows = [plain(f"question {i}", f"answer {i}" if i % 2 else None) for i in range(200)]
    write(tmp_path / "a.jsonl", rows)
    random.Random(3).shuffle(rows)
    write(tmp_path / "b.jsonl", rows)
    columns = ["id", "content_id", "group", "prompt"]
    first, _ = read(NAME, tmp_path / "a.jsonl")
    second, _ = read(NAME, tmp_path / "b.jsonl", block_rows=7)
    assert first.select(columns).sort("id").equals(second.select(columns).sort("id"))
    assert first["id"].n_unique() == 200


def test_repeated_texts_stay_rows_of_their_own(read, tmp_path) -> None:
    write(tmp_path / "a.jsonl", [plain("same"), plain("same", "yes"), plain("same"), plain("same", "yes"), plain("same")])
    for block_rows in (1, 2, 100):
        rows, _ = read(NAME, tmp_path / "a.jsonl", block_rows=block_rows)
        assert rows["id"].n_unique() == 5 and rows["content_id"].n_unique() == 2
        alone = content_id([], "same", None)
        assert rows["id"].to_list()[::2] == [row_id(NAME, alone, n) for n in range(3)]
        assert set(rows["group"]) == {alone}  # one prompt, one group: it never straddles a split


def test_a_bad_row_does_not_count_as_an_occurrence(read, tmp_path) -> None:
    write(tmp_path / "a.jsonl", [{**plain("same"), "subcategory": "?"}, plain("same")])
    assert read(NAME, tmp_path / "a.jsonl")[0]["id"].to_list() == [row_id(NAME, content_id([], "same", None), 0)]


def test_rows_are_numbered_and_texts_counted_across_files(read, tmp_path) -> None:
    write(tmp_path / "a.jsonl", [plain("x"), plain("y")])
    write(tmp_path / "b.jsonl", [plain("y"), {"prompt": 3}, plain("z")])
    rows, rejects = read(NAME, tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    assert rows["source_row"].to_list() == [0, 1, 2, 4] and rejects["source_row"].to_list() == [3]
    assert rows["id"].n_unique() == 4 and rows["content_id"].n_unique() == 3


@given(st.lists(st.lists(st.integers(0, 12))))
def test_occurrences_count_like_a_dictionary(blocks: list[list[int]]) -> None:
    seen, plain_count = Occurrences(), Counter[str]()
    for block in blocks:
        ids = [content_id([], str(i), None) for i in block]
        want = []
        for i in ids:
            want.append(plain_count[i])
            plain_count[i] += 1
        assert seen.number(ids) == want


def test_the_bundled_seeds(read) -> None:
    rows, rejects = read("quickstart")
    assert rejects.height == 0 and rows.height >= 600
    assert list(dict.fromkeys(rows["source"])) == ["quickstart-core", "quickstart-home", "quickstart-school", "quickstart-work"]
    assert rows.height == load_source("quickstart").rows()
    assert rows["id"].n_unique() == rows.height and set(rows["licence"]) == {"CC0-1.0"}
    for task in ("prompt", "refusal", "response"):
        labelled = rows.filter(pl.col(f"label_{task}").is_not_null())
        assert set(labelled[f"label_{task}_source"]) == {"written"}
    alone = rows.filter(pl.col("response").is_null())
    assert set(alone["label_refusal_source"]) | set(alone["label_response_source"]) == {"not_applicable"}
    harmful = (pl.col("label_prompt") == "harmful") | (pl.col("label_response") == "harmful").fill_null(value=False)
    assert rows.filter(harmful)["categories"].list.len().unique().to_list() == [1]
    assert rows.filter(~harmful)["categories"].list.len().unique().to_list() == [0]
    assert rows["context"].list.len().max() >= 2 and rows["language"].n_unique() > 3
    assert rows["group"].str.starts_with("quickstart:").all()


def test_some_parts_of_the_seeds(read) -> None:
    source = load_source("quickstart")
    rows, _ = read(source, parts=["work", "home"])
    assert list(dict.fromkeys(rows["source"])) == ["quickstart-home", "quickstart-work"]
    assert rows.height == source.rows(["work", "home"])
    whole, _ = read(source)
    assert rows.equals(whole.filter(pl.col("source").is_in(["quickstart-home", "quickstart-work"])))
    with pytest.raises(InputError, match="did you mean 'home'"):
        source_files(source, parts=["hom"])
    with pytest.raises(InputError, match="has no parts"):
        source_files(load_source(NAME), parts=["a"])


def test_a_file_that_is_no_part_is_an_error(tmp_path) -> None:
    (tmp_path / "cores.jsonl").write_text("{}")
    with pytest.raises(InputError, match=r"did you mean 'core\.jsonl'"):
        source_files(load_source("quickstart"), [tmp_path / "cores.jsonl"])
    with pytest.raises(InputError, match=r"looked for core\.jsonl"):
        source_files(load_source("quickstart"), [tmp_path])


OWN = """name: own
version: 1
description: A set of one's own.
licence: CC0-1.0
obtain: it is beside
columns: {prompt: q, context: earlier, group: thread, language: lang, split: part}
labels:
  prompt: {column: bad, map: {true: harmful, false: unharmful}, source: human}
  refusal: {missing: to_infer}
categories: {columns: [tags], kind: list, scheme: guardkit}
"""


def test_a_source_of_ones_own(read, tmp_path) -> None:
    (tmp_path / "own.yaml").write_text(OWN)
    turns = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    good = {"q": "And now?", "bad": True, "tags": ["privacy", "privacy", "other"], "earlier": turns, "thread": "t1", "lang": "en", "part": "test"}
    rows = [
        good,
        {"q": "Alone", "bad": False, "tags": None},
        {**good, "tags": ["weather"]},
        {**good, "tags": "privacy"},
        {**good, "earlier": [{"role": "user"}]},
        {**good, "earlier": [{"role": "user", "content": "x", "tool_calls": [1]}]},
        {**good, "earlier": "Hi"},
        {**good, "earlier": [{"role": "user", "content": "a\0"}]},
        {**good, "bad": 1},
    ]
    write(tmp_path / "rows.jsonl", rows)
    found, rejects = read(load_source("own.yaml", tmp_path), "rows.jsonl", beside=tmp_path)
    assert found["context"].to_list() == [turns, []] and found["categories"].to_list() == [["privacy", "other"], []]
    assert found["group"].to_list() == ["own:t1", content_id([], "Alone", None)]
    assert found.select("language", "split").rows() == [("en", "test"), (None, None)]
    assert found["content_id"][0] == content_id([(m["role"], m["content"]) for m in turns], "And now?", None)
    assert found["label_prompt"].to_list() == ["harmful", "unharmful"]
    assert rejects["reason"].to_list() == ["unknown_category", "wrong_type", "wrong_type", "wrong_type", "wrong_type", "nul", "wrong_type"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("licence:", "license:", "did you mean 'licence'"),
        ("source: human", "source: people", "labels.prompt"),
        (", source: human", "", "who gave the label"),
        ("columns: {prompt: q,", "columns: {promt: q,", "did you mean 'prompt'"),
        ("obtain: it is beside\n", "", "where the data comes from"),
        ("kind: list", "kind: set", "categories.kind"),
        ("refusal: {missing: to_infer}", "refusal: {missing: unknown}", "labels.refusal.missing"),
        ("refusal: {missing", "refusal: {map: {a: b}, missing", "a map needs a column"),
    ],
)
def test_a_fault_of_a_source_file_is_reported_with_its_place(tmp_path, old, new, message) -> None:
    assert old in OWN
    (tmp_path / "own.yaml").write_text(OWN.replace(old, new))
    with pytest.raises(InputErrors) as e:
        load_source("own.yaml", tmp_path)
    assert message in str(e.value) and "own.yaml:" in str(e.value)


def test_an_own_source_is_found_by_name_and_a_broken_one_hides_no_other(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "schemas" / "sources").mkdir(parents=True)
    (tmp_path / "schemas" / "sources" / "own.yaml").write_text(OWN)
    (tmp_path / "schemas" / "sources" / "broken.yaml").write_text("name: [")
    known = {s.name: s for s in list_sources()}
    assert known["own"].licence == "CC0-1.0" and "not valid YAML" in (known["broken"].problem or "")
    assert "wildguard_train" in known and load_source("own").fingerprint == load_source("own").fingerprint
    with pytest.raises(InputError, match="did you mean 'wildguard_train'"):
        load_source("wildguard_tran")
