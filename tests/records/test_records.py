"""Record schemas and content ids."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.common.errors import InputError, InputErrors
from toolkit.common.resources import names
from toolkit.records import Column, content_id, content_ids, load_record, pair_id, row_id, to_arrow, to_polars

TASKS = ("prompt", "refusal", "response")
RECORDS = ("generation", "hard", "preference", "reasoned", "reject", "seed", "verdict")


def test_every_record_is_there_and_has_a_version() -> None:
    assert set(names("records")) >= set(RECORDS)
    for name in names("records"):
        record = load_record(name, TASKS)
        assert record.name == name and record.version >= 1
        assert all(c.doc for c in record.columns), name
        assert "labels" not in record.names  # TRL's collators claim that name
        assert len(set(record.names)) == len(record.names)


def test_the_seed() -> None:
    seed = load_record("seed", TASKS)
    assert seed.names == [
        "id",
        "content_id",
        "context",
        "prompt",
        "response",
        "label_prompt",
        "label_prompt_source",
        "label_refusal",
        "label_refusal_source",
        "label_response",
        "label_response_source",
        "categories",
        "votes",
        "source",
        "source_row",
        "licence",
        "language",
        "group",
        "split",
    ]
    may_be_null = {c.name for c in seed.columns if c.nullable}
    assert may_be_null == {"response", *(f"label_{t}" for t in TASKS), "language", "split"}
    assert seed.label_sources == (
        "human",
        "vote",
        "inferred",
        "consensus",
        "reviewed",
        "policy",
        "written",
        "constructed",
        "absent",
        "not_applicable",
        "to_infer",
    )


def test_records_that_extend_others_keep_their_columns() -> None:
    seed = load_record("seed", TASKS).names
    for name in ("reasoned", "generation", "hard"):
        assert load_record(name, TASKS).names[: len(seed)] == seed
    generation = load_record("generation", TASKS).names
    verdict = load_record("verdict", TASKS)
    assert verdict.names == [*generation, *(f"{kind}_{t}" for t in TASKS for kind in ("verdict", "unread"))]
    assert verdict.label_sources == load_record("seed").label_sources
    assert load_record("seed").names == [n for n in seed if not n.startswith("label_")]


@pytest.mark.parametrize("name", RECORDS)
def test_arrow_and_polars_agree(name: str) -> None:
    columns = load_record(name, TASKS).columns
    arrow, polars = to_arrow(columns), to_polars(columns)
    assert arrow.names == list(polars) == [c.name for c in columns]
    assert [f.nullable for f in arrow] == [c.nullable for c in columns]
    frame = pl.DataFrame(schema=polars)
    assert frame.to_arrow().cast(arrow).schema == arrow
    assert pl.from_arrow(arrow.empty_table()).schema == frame.schema  # type: ignore[union-attr]


def test_a_row_goes_there_and_back() -> None:
    columns = load_record("seed", ("prompt",)).columns
    row = {
        "id": "a",
        "content_id": "b",
        "context": [{"role": "system", "content": "Be brief."}],
        "prompt": "Hello",
        "response": None,
        "label_prompt": "unharmful",
        "label_prompt_source": "human",
        "categories": ["x"],
        "votes": [{"task": "prompt", "label": "unharmful", "share": 1.0, "n": 3}],
        "source": "s",
        "source_row": 3,
        "licence": "CC0-1.0",
        "language": None,
        "group": "g",
        "split": None,
    }
    table = pl.DataFrame([row], schema=to_polars(columns)).to_arrow().cast(to_arrow(columns))
    assert table.to_pylist() == [row]
    with pytest.raises(ValueError, match="null values to non-nullable"):
        pl.DataFrame([{**row, "prompt": None}], schema=to_polars(columns)).to_arrow().cast(to_arrow(columns))


def test_types() -> None:
    columns = tuple(Column(k, k) for k in ("string", "int64", "float64", "bool"))
    assert to_arrow(columns).types == [pa.large_string(), pa.int64(), pa.float64(), pa.bool_()]
    assert list(to_polars(columns).values()) == [pl.String, pl.Int64, pl.Float64, pl.Boolean]
    nested = (Column("x", {"list": {"struct": {"a": "int64", "b": {"list": "string"}}}}),)
    assert to_arrow(nested).types == [pa.large_list(pa.struct([("a", pa.int64()), ("b", pa.large_list(pa.large_string()))]))]
    assert to_polars(nested) == {"x": pl.List(pl.Struct({"a": pl.Int64, "b": pl.List(pl.String)}))}
    bad: object
    for bad in ("int", {"list": "text"}, {"struct": {}}, {"list": "string", "struct": {}}, None, ["string"]):
        for made in (to_arrow, to_polars):
            with pytest.raises(ValueError, match="unknown column type"):
                made((Column("x", bad),))


def own(folder: Path, text: str, name: str = "mine") -> None:
    (folder / "schemas" / "records").mkdir(parents=True, exist_ok=True)
    (folder / "schemas" / "records" / f"{name}.yaml").write_text(text)


HEAD = "name: mine\nversion: 1\ndescription: Mine.\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "columns:\n  - {name: x, type: strng}\n", "mine.yaml:5:columns.0.type: unknown column type 'strng': did you mean 'string'?"),
        (HEAD + "columns:\n  - {name: x, type: string, nulable: true}\n", "mine.yaml:5:columns.0.nulable: unknown key 'nulable'\n  did you mean"),
        (HEAD + "columns:\n  - {type: string}\n", "mine.yaml:5:columns.0.name: the key 'name' is missing"),
        (HEAD + "colums: []\n", "mine.yaml:4:colums: unknown key 'colums'\n  did you mean 'columns'?"),
        (HEAD + "per_task:\n  - {name: x, type: string}\n", "mine.yaml:5:per_task.0.name: a column under per_task must hold {task} in its name"),
        (HEAD + "extends: seed\ncolumns:\n  - {name: prompt, type: string}\n", "two columns are called 'prompt'"),
        (HEAD + "extends: mine\n", "mine.yaml:4:extends: the record 'mine' extends itself"),
        (HEAD + "extends: sed\n", "no record called 'sed'\n  did you mean 'seed'?"),
        ("name: mine\nversion: 0\ndescription: x\n", "mine.yaml:2:version: "),
    ],
)
def test_faults_of_a_records_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    own(tmp_path, text)
    with pytest.raises((InputError, InputErrors)) as e:
        load_record("mine", TASKS)
    assert message in str(e.value)


def test_records_that_extend_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own(tmp_path, HEAD + "extends: other\n")
    own(tmp_path, HEAD.replace("mine", "other") + "extends: mine\n", "other")
    with pytest.raises(InputError, match="extends itself"):
        load_record("mine")


def test_ids_are_the_same_for_ever() -> None:
    """Golden values: another value is another id for every row that anyone has."""
    system = ("system", "Be brief.")
    assert content_id([], "How do I boil an egg?", None) == "65f3368d3853e8ca1c9c6dec"
    assert content_id([system], "How do I boil an egg?", "In water.") == "18ebe1ff941150427abe9682"
    assert content_id([], "\ud800 lone \x00", "") == "3250119186f8df9be27b7ef8"
    texts = [("How do I boil an egg?", None), ("How do I boil an egg?", "In water."), ("\ud800 lone \x00", "")]
    assert content_ids(texts) == ([content_id([], *text) for text in texts], [content_id([], prompt, None) for prompt, _ in texts])
    assert row_id("wildguard_train", "65f3368d3853e8ca1c9c6dec", 0) == "ed5b2c073ff91595f1fb3a9c"
    assert pair_id("ed5b2c073ff91595f1fb3a9c", "prompt", "right", "wrong") == "5e59357b3080261253688856"


def test_different_content_has_different_ids() -> None:
    ids = [
        content_id([], "a", None),
        content_id([], "a", "None"),
        content_id([], "a", ""),
        content_id([], "a", "0"),
        content_id([], "", "a"),
        content_id([("user", "a")], "", None),
        content_id([("usera", "")], "", None),
        content_id([("user", ""), ("", "a")], "", None),
        content_id([("system", "a")], "", None),
        content_id([("user", "a"), ("user", "b")], "c", None),
        content_id([("user", "a")], "b", "c"),
        row_id("s", "c", 0),
        row_id("s", "c", 1),
        row_id("sc", "", 0),
        pair_id("p", "t", "a", "b"),
        pair_id("p", "t", "b", "a"),
        pair_id("p", "", "ta", "b"),
    ]
    assert len(set(ids)) == len(ids)
    assert all(len(i) == 24 and set(i) <= set("0123456789abcdef") for i in ids)


texts = st.text(st.characters(exclude_categories=[]), max_size=4)
contents = st.tuples(st.lists(st.tuples(texts, texts), max_size=2), texts, st.none() | texts)


@settings(deadline=None)
@given(contents, contents)
def test_equal_ids_mean_equal_content(a: tuple[list[tuple[str, str]], str, str | None], b: tuple[list[tuple[str, str]], str, str | None]) -> None:
    assert (content_id(*a) == content_id(*b)) == (a == b)
