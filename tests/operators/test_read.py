"""Operator `read`: rows of files as they are."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit import apply
from toolkit.common.errors import InputError, InputErrors

COLUMNS = {"id": {"name": "n", "type": "int64"}, "prompt": {"name": "text", "nullable": False}, "score": {"name": "score", "type": "float64"}}


def write(path: Path, rows: list[Any], kind: str) -> Path:
    path = path / f"rows.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    elif kind == "jsonl.gz":
        path.write_bytes(gzip.compress("".join(json.dumps(r) + "\n" for r in rows).encode()))
    elif kind == "json":
        path.write_text(json.dumps(rows))
    elif kind == "csv":
        pl.DataFrame(rows).write_csv(path)
    else:
        pl.DataFrame(rows).write_parquet(path)
    return path


def read(*files: Path, **options: Any) -> tuple[pl.DataFrame, pl.DataFrame]:
    return apply("read", files=[str(f) for f in files], **{"columns": COLUMNS, **options})


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "json", "csv", "parquet"])
def test_every_format_gives_the_same_rows(tmp_path: Path, kind: str) -> None:
    rows = [{"n": i, "text": f"What grows in bed {i}?", "score": i / 4, "other": "not read"} for i in range(50)]
    kept, gone = read(write(tmp_path, rows, kind))
    assert kept.to_dicts() == [{"id": str(r["n"]), "prompt": r["text"], "score": r["score"]} for r in rows]
    assert gone.is_empty()


BAD = {
    '{"n": 1, "text": "torn': "bad_json",
    '{"n": 1, "text": ["a list"]}': "wrong_type",
    '{"n": 1, "text": 5}': "wrong_type",
    '{"n": "1", "text": "an id that is text"}': "wrong_type",
    '{"n": true, "text": "an id that is no number"}': "wrong_type",
    '{"n": 99999999999999999999, "text": "an id too large"}': "wrong_type",
    '{"n": 1, "text": "half \\ud800 a pair"}': "surrogate",
    '{"n": 1}': "missing_key",
    '{"n": 1, "text": null}': "missing_key",
    "[1, 2]": "wrong_type",
    '{"n": 0, "text": "an id that is there"}': "id_repeated",
    '{"n": 1, "text": "two"} {"n": 2, "text": "on a line"}': "bad_json",
}


@pytest.mark.parametrize(("line", "reason"), BAD.items())
def test_a_bad_line_costs_its_row_alone(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"n": 0, "text": "first"}}\n{line}\n{{"n": 7, "text": "last", "score": 1}}\n')
    kept, gone = read(path)
    assert kept["id"].to_list() == ["0", "7"]
    assert gone["_reason"].to_list() == [reason]
    assert gone["_detail"][0].startswith("rows.jsonl, row 2: ")


def test_a_line_that_is_not_utf8_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"n": 0, "text": "first", "score": null}\n\n{"n": 1, "text": "caf\xe9"}\n{"n": 2, "text": "last"}')
    kept, gone = read(path)
    assert kept["id"].to_list() == ["0", "2"]
    assert gone["_reason"].to_list() == ["not_utf8"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"])), st.none() | st.floats(allow_nan=False, allow_infinity=False)), max_size=30)
)
def test_what_goes_in_comes_out(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, float | None]]) -> None:
    folder = tmp_path_factory.mktemp("read")
    data = [{"n": i, "text": t, "score": s} for i, (t, s) in enumerate(rows)]
    kept, gone = read(write(folder, data, "jsonl"))
    assert gone.is_empty()
    assert kept.rows() == [(str(i), t, s) for i, (t, s) in enumerate(rows)]


ODD = [5, -0.0, 1e5, True, None, [], ["a"], {"a": 1}, "5", "1e5", "true", "[1]", "{}", "NaN", "", " 7", "a\0b", "plain", "\ud83d"]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(ODD), st.sampled_from([*ODD, 3, -3, 2**63 - 1, 2**63])), min_size=1, max_size=6))
def test_a_value_is_taken_for_text_or_number_only_if_it_is_one(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Any, Any]]) -> None:
    """Whatever is beside it in its block."""
    path = tmp_path_factory.mktemp("read") / "rows.jsonl"
    path.write_text(
        "".join(json.dumps({"id": f"r{i}", "t": t, "n": n}) + "\n" for i, (t, n) in enumerate(rows)) + '{"id": "last", "t": "x", "n": 1}\n'
    )
    kept, gone = read(path, columns={"id": "id", "t": "t", "n": {"name": "n", "type": "int64"}})
    whole = [(type(n) is int and n < 2**63) or n is None for _, n in rows]
    text = [t is None or (isinstance(t, str) and t != "\ud83d") for t, _ in rows]
    sound = [a and b for a, b in zip(whole, text, strict=True)]
    assert kept.rows() == [*((f"r{i}", t, n) for i, (t, n) in enumerate(rows) if sound[i]), ("last", "x", 1)]
    assert gone.height == sound.count(False)


def test_words_for_nothing_constants_and_ids_of_rows_without(tmp_path: Path) -> None:
    path = write(tmp_path, [{"a": "None"}, {"a": "x"}, {"a": "None"}], "jsonl")
    kept, _ = read(path, columns={"response": {"name": "a", "none": ["None"]}}, constants={"split": "test", "steps": 3})
    assert kept["response"].to_list() == [None, "x", None]
    assert kept["split"].to_list() == ["test"] * 3 and kept["steps"].to_list() == [3] * 3
    assert kept["id"].n_unique() == 3
    assert read(path, columns={"response": {"name": "a", "none": ["None"]}}, constants={"split": "test", "steps": 3})[0].equals(kept)


def test_a_missing_value_behind_a_word_is_a_reject(tmp_path: Path) -> None:
    path = write(tmp_path, [{"n": 1, "text": "None"}, {"n": 2, "text": "Plain"}], "jsonl")
    kept, gone = read(path, columns={"id": {"name": "n", "type": "int64"}, "prompt": {"name": "text", "nullable": False, "none": ["None"]}})
    assert kept["prompt"].to_list() == ["Plain"]
    assert gone["_reason"].to_list() == ["missing_value"]


def test_a_whole_record_goes_on_through_every_operator(tmp_path: Path) -> None:
    rows = [{"p": "How do I prune roses?", "r": "In spring.", "bad": "unharmful"}, {"p": "And apples?", "r": None, "bad": None}]
    path = write(tmp_path, rows, "jsonl")
    columns = {"prompt": "p", "response": "r", "label_prompt": "bad"}
    with pytest.raises(InputError, match="nothing says who gave label_prompt"):
        read(path, columns=columns, record="seed")
    kept, gone = read(path, columns=columns, record="seed", constants={"label_prompt_source": "human", "licence": "CC0-1.0"})
    assert gone.is_empty()
    assert kept["label_prompt_source"].to_list() == ["human", "absent"]
    assert kept["label_refusal_source"].to_list() == ["absent", "not_applicable"]
    again, _ = apply("deduplicate", apply("normalise", kept)[0])
    assert again["content_id"].to_list() == kept["content_id"].to_list()


def test_text_that_is_not_utf8_never_gets_through(tmp_path: Path) -> None:
    """Neither Arrow's JSON parser nor its parquet reader looks; polars then reads beyond the text."""
    lines = tmp_path / "rows.jsonl"
    lines.write_bytes(b'{"n": 0, "text": "caf\xe9", "score": 1}\n{"n": 1, "text": "sound", "score": 1}\n')
    text = pa.array([b"caf\xe9", b"sound"]).view(pa.string())
    pq.write_table(pa.table({"n": [0, 1], "text": text, "score": [1.0, 1.0]}), tmp_path / "rows.parquet")
    for path in (lines, tmp_path / "rows.parquet"):
        kept, gone = read(path)
        assert (kept["prompt"].to_list(), gone["_reason"].to_list()) == (["sound"], ["not_utf8"])


MESSAGES = {
    "[]": "sound",
    "null": "sound",
    '[{"role": "user", "content": "x", "more": 1}]': "sound",
    '[{"from": "human", "value": "x"}]': "missing_value",
    '[{"role": "user", "content": null}]': "missing_value",
    "[null]": "missing_value",
    '{"role": "user", "content": "x"}': "wrong_type",
}


def test_messages_of_json_lines_are_whole_or_rejected(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    columns = {"id": "id", "context": {"name": "m", "type": "messages"}}
    for lines in ([*MESSAGES][:-1], [*MESSAGES]):  # all at once, and line by line
        path.write_text("".join(f'{{"id": {json.dumps(m)}, "m": {m}}}\n' for m in lines))
        kept, gone = read(path, columns=columns)
        assert kept["id"].to_list() == [m for m in lines if MESSAGES[m] == "sound"]
        assert gone["_reason"].to_list() == [MESSAGES[m] for m in lines if MESSAGES[m] != "sound"]
    pl.DataFrame({"id": ["1"], "m": [[{"from": "human", "value": "x"}]]}).write_parquet(tmp_path / "rows.parquet")
    with pytest.raises(InputError, match="the column 'm' holds"):
        read(tmp_path / "rows.parquet", columns=columns)


def test_a_bad_line_far_down_is_named_by_its_own_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.sources._column_frames.BLOCK_BYTES", 64)
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"n": i, "text": "sound", "score": 0.5}) + "\n" for i in range(9)) + "{torn\n")
    assert "line 10:" in read(path)[1]["_detail"].item()


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv"])
def test_a_column_that_no_row_has_is_a_mistake(tmp_path: Path, kind: str) -> None:
    with pytest.raises(InputError, match=r"no row has the column 'text'\n.*did you mean 'txt'"):
        read(write(tmp_path, [{"n": 1, "txt": "x"}], kind), columns={"prompt": "text"})


def test_names_of_columns_that_are_guardkits_own_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputErrors, match="'_number'"):
        read(write(tmp_path, [{"n": 1}], "jsonl"), columns={"_number": "n"})
    with pytest.raises(InputErrors, match="does not fit into 64 bits"):
        read(write(tmp_path, [{"n": 1}], "jsonl"), constants={"k": 2**63})


def test_faults_of_a_whole_file_stop_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "nothing.jsonl")
    with pytest.raises(InputError, match="no column 'text'"):
        read(write(tmp_path, [{"n": 1, "txt": "x"}], "parquet"))
    with pytest.raises(InputError, match=r"holds .*, not text"):
        read(write(tmp_path, [{"n": 1, "text": 5, "score": 1.0}], "parquet"))
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(InputError, match="cannot be read as parquet"):
        read(tmp_path / "torn.parquet")
