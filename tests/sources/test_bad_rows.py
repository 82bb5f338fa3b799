"""What is wrong with a row costs that row, with a reason and its raw text; what is wrong with the file is an error before the first row."""

from __future__ import annotations

import errno
import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hubsets import ROWS, SCHEMAS, wildguard

from toolkit.common.errors import InputError, InputErrors
from toolkit.sources import _json_lines as json_lines
from toolkit.sources import load_source, read_source, source_files

GOOD = json.dumps(wildguard("How do I bake bread?", None, "unharmful", None, None)).encode()
NAME = "wildguard_train"


def line(**changes: object) -> bytes:
    return json.dumps({**json.loads(GOOD), **changes}).encode()


# Raw line, reason, and what the reject's row must show.
LINES = [
    (GOOD[:40], "bad_json", GOOD[:40].decode()),
    (b"}{", "bad_json", "}{"),
    (GOOD + GOOD, "bad_json", "bake bread"),
    (GOOD.replace(b"bread", b"br\xe9ad"), "not_utf8", "br\\xe9ad"),
    (GOOD.replace(b"bread", b"br\\ud83dad"), "surrogate", "br\\ud83dad"),
    (GOOD.replace(b"bread", b"br\xed\xa0\x80ad"), "surrogate", "br\\xed\\xa0\\x80ad"),
    (line(prompt="a\0b"), "nul", "a\\u0000b"),
    (line(response="a\0b"), "nul", "a\\u0000b"),
    (line(prompt=["a"]), "wrong_type", '["a"]'),
    (line(prompt=3), "wrong_type", "3"),
    (line(prompt_harm_label=True), "wrong_type", "true"),
    (line(subcategory=7), "wrong_type", "7"),
    (b"[1, 2]", "wrong_type", "[1, 2]"),
    (b"null", "wrong_type", "null"),
    (line(prompt_harm_label="Harmful"), "unknown_label", "Harmful"),
    (line(subcategory="weather"), "unknown_category", "weather"),
    (line(response_harm_label="harmful"), "label_without_response", "response_harm_label"),
    (line(prompt=None), "empty_prompt", "null"),
    (line(prompt=" \t"), "empty_prompt", "\\t"),
    (GOOD.replace(b'"prompt"', b'"prompts"'), "missing_key", "prompts"),
    (GOOD.replace(b'"response"', b'"answer"'), "missing_key", "answer"),
    (line(prompt=0).replace(b"0", b"[" * 3000 + b"]" * 3000), "bad_json", "[[["),
    (line(prompt=0).replace(b"0", b"[" * 700 + b"]" * 700), "wrong_type", "[[["),
]


@pytest.mark.parametrize(("bad", "reason", "shown"), LINES, ids=[f"{i}-{r}" for i, (_, r, _) in enumerate(LINES)])
def test_a_bad_line_costs_one_row(read, tmp_path, bad: bytes, reason: str, shown: str) -> None:
    path = tmp_path / "wildguard_train.jsonl"
    path.write_bytes(b"\n".join([GOOD, bad, GOOD, b"", GOOD]))
    rows, rejects = read(NAME, path)
    assert rows["source_row"].to_list() == [0, 2, 3]
    assert rejects.select("source", "source_row", "outcome", "reason").rows() == [(NAME, 1, "rejected", reason)]
    assert shown in rejects["row"][0] and rejects["detail"][0]


def test_all_bad_lines_at_once_at_any_block_size(read, tmp_path) -> None:
    path = tmp_path / "wildguard_train.jsonl"
    path.write_bytes(b"\r\n".join(part for bad, _, _ in LINES for part in (bad, GOOD)))
    want = read(NAME, path)
    assert want[0].height == len(LINES) and want[1]["reason"].to_list() == [r for _, r, _ in LINES]
    for block_rows in (1, 7):
        rows, rejects = read(NAME, path, block_rows=block_rows)
        assert rows.equals(want[0]) and rejects.equals(want[1])


# The array's fast parser takes a valid row's bytes; those that are no JSON at all end it.
ARRAY = [(b, r, s) for b, r, s in LINES if r not in ("bad_json", "not_utf8") and not b.startswith(b"[" * 9) and b"\xed" not in b and b"[[[" not in b]


@pytest.mark.parametrize(("bad", "reason", "shown"), ARRAY, ids=[f"{i}-{r}" for i, (_, r, _) in enumerate(ARRAY)])
def test_a_bad_element_of_an_array_costs_one_row(read, tmp_path, bad: bytes, reason: str, shown: str) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(b"\xef\xbb\xbf [" + b",\n".join([GOOD, bad, GOOD]) + b"]\n")
    rows, rejects = read(NAME, path)
    assert rows["source_row"].to_list() == [0, 2]
    assert rejects.select("source_row", "reason").rows() == [(1, reason)] and shown in rejects["row"][0]


def test_a_latin_1_byte_in_an_array_costs_one_row(read, tmp_path) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(b"[" + b",".join([GOOD, GOOD.replace(b"bread", b"br\xe9ad"), GOOD, GOOD.replace(b"bread", b"br\\ud83dad")]) + b"]")
    rows, rejects = read(NAME, path)
    assert rows["source_row"].to_list() == [0, 2]
    assert rejects.select("source_row", "reason").rows() == [(1, "not_utf8"), (3, "surrogate")]


@pytest.mark.parametrize("tail", [b"", b",", b", {", b" 7", b"]]"])
def test_an_array_that_breaks_off_keeps_its_whole_rows(read, tmp_path, tail: bytes) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(b"[" + GOOD + b"," + GOOD + tail)
    rows, rejects = read(NAME, path)
    assert rows.height == 2 and rejects["reason"].to_list() == ["bad_json"]


def test_json_lines_under_the_name_of_json(read, tmp_path) -> None:
    path = tmp_path / "rows.json"  # what ``Dataset.to_json`` writes by default
    path.write_bytes(GOOD + b"\n" + GOOD[:20] + b"\n")
    rows, rejects = read(NAME, path)
    assert rows.height == 1 and rejects["reason"].to_list() == ["bad_json"]


def test_a_surrogate_or_a_type_in_an_unused_column_costs_nothing(read, tmp_path) -> None:
    path = tmp_path / "wildguard_train.jsonl"
    path.write_bytes(GOOD[:-1] + b', "note": "\\ud83d", "n": NaN}\n' + line(adversarial="?"))
    rows, rejects = read(NAME, path)
    assert rows.height == 2 and rejects.height == 0


def test_a_line_without_end_does_not_fill_the_memory(read, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(json_lines, "LINE_BYTES", 1000)
    path = tmp_path / "wildguard_train.jsonl"
    path.write_bytes(GOOD + b"\n" + b"x" * 5000 + b"\n" + GOOD)
    rows, rejects = read(NAME, path)
    assert rows["source_row"].to_list() == [0, 2] and rejects["reason"].to_list() == ["too_long"]


def test_long_texts_markup_and_escapes_pass_unchanged(read, tmp_path) -> None:
    texts = ["x" * 1_000_000, "\x1b[31mred\x1b[0m", "<script>alert(1)</script>", "é" * 300_000, "{{ prompt }}", "a\r\nb\u2028c"]
    path = tmp_path / "wildguard_train.jsonl"
    path.write_bytes(b"\n".join(line(prompt=t) for t in texts))
    csv = tmp_path / "wildguard_train.csv"
    pq_path = tmp_path / "wildguard_train.parquet"
    table = pa.Table.from_pylist([wildguard(t, None, None, None, None) for t in texts], schema=SCHEMAS[NAME])
    pq.write_table(table, pq_path)
    import polars as pl

    pl.DataFrame(table).write_csv(csv)
    for file in (path, csv, pq_path):
        rows, rejects = read(NAME, file)
        assert rows["prompt"].to_list() == texts and rejects.height == 0


def test_bad_bytes_in_parquet_cost_their_rows(read, tmp_path) -> None:
    rows = [wildguard("bread", "tea", "unharmful", "compliance", "unharmful") for _ in range(4)]
    table = pa.Table.from_pylist(rows, schema=SCHEMAS[NAME])
    raw = pa.array([b"fine", b"br\xe9ad", b"br\xed\xa0\x80", b"a\0b"], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 4, raw.buffers())
    pq.write_table(table.set_column(0, "prompt", text), tmp_path / "wildguard_train.parquet")
    found, rejects = read(NAME, tmp_path)
    assert found["prompt"].to_list() == ["fine"]
    assert rejects["reason"].to_list() == ["not_utf8", "surrogate", "nul"]
    assert "br\\\\xe9ad" in rejects["row"][0] and "row 1, prompt: byte 0xe9" in rejects["detail"][0]


def test_parquet_of_other_types_says_so_row_by_row(read, tmp_path) -> None:
    table = pa.Table.from_pylist(ROWS[NAME], schema=SCHEMAS[NAME]).set_column(0, "prompt", pa.array([1, 2, None, 4]))
    pq.write_table(table, tmp_path / "wildguard_train.parquet")
    rows, rejects = read(NAME, tmp_path)
    assert rows.height == 0 and rejects["reason"].to_list() == ["wrong_type", "wrong_type", "empty_prompt", "wrong_type"]
    assert rejects["detail"][0] == "prompt is not text but int"


def test_whole_numbers_kept_as_floats_are_numbers(read, tmp_path) -> None:
    table = pa.Table.from_pylist(ROWS["toxicchat_train"], schema=SCHEMAS["toxicchat_train"])
    pq.write_table(table.set_column(4, "toxicity", pa.array([0.0, 1.0, 0.5])), tmp_path / "t.parquet")
    assert read("toxicchat_train", tmp_path / "t.parquet")[0]["label_prompt"].to_list() == ["unharmful", "harmful"]
    pq.write_table(table.set_column(4, "toxicity", pa.array(["0", "1", "1"])), tmp_path / "t.parquet")
    assert read("toxicchat_train", tmp_path / "t.parquet")[1]["reason"].to_list() == ["wrong_type", "wrong_type", "filtered"]


def test_bad_rows_of_csv(read, tmp_path) -> None:
    path = tmp_path / "wildguard_train.csv"
    head = b"prompt,response,prompt_harm_label,response_refusal_label,response_harm_label,subcategory\r\n"
    body = [b"bread,,unharmful,,,benign", b"torn,x", b"br\xe9ad,,,,,", b"a\0b,,,,,", b",,harmful,,,", b'"two\nlines, one field",,harmful,,,others']
    path.write_bytes(b"\xef\xbb\xbf" + head + b"\r\n".join(body) + b"\r\n")
    rows, rejects = read(NAME, path)
    assert rows["prompt"].to_list() == ["bread", "two\nlines, one field"] and rows["source_row"].to_list() == [0, 5]
    assert rejects["reason"].to_list() == ["bad_csv", "not_utf8", "nul", "empty_prompt"]
    assert "br\\udce9ad" in rejects["row"][1]


def test_gzipped_lines_and_a_torn_archive(read, tmp_path) -> None:
    path = tmp_path / "wildguard_train.jsonl.gz"
    path.write_bytes(gzip.compress(GOOD + b"\n" + GOOD))
    assert read(NAME, path)[0].height == 2
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(InputError, match="not a whole gzip file"):
        read(NAME, path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"", "0 rows"),
        ("a.jsonl", b"\n \n", "0 rows"),
        ("a.json", b"[]", "0 rows"),
        ("a.csv", b"", "not even a header"),
        ("a.csv", b"prompt,response,prompt\nx,y,z\n", "two columns are called 'prompt'"),
        ("a.csv", b"prompt,response,prompt_harm_label,response_refusal_label,response_harm_label,subcategory\n", "0 rows"),
        ("a.csv", b"prompt,response\nx,y\n", "needs the column 'prompt_harm_label'"),
        ("a.jsonl", b'{"text": "x"}\n', "needs the column 'prompt'"),
        ("a.json", b'[{"text": "x"}]', "needs the column 'prompt'"),
        ("a.parquet", b"PAR1 but not really", "cannot be read as parquet"),
        ("a.parquet", b"", "cannot be read as parquet"),
        ("a.txt", GOOD, "suffix 'txt'"),
        ("a.jsonl.gz", b"no archive", "not a whole gzip file"),
    ],
)
def test_a_file_that_cannot_be_the_source_is_an_error_before_the_first_row(guard, taxonomy, tmp_path, name, content, message) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_source(load_source(NAME), guard=guard, taxonomy=taxonomy, files=[tmp_path / name])


def test_two_columns_of_one_name_in_parquet(guard, taxonomy, tmp_path) -> None:
    pq.write_table(pa.Table.from_arrays([pa.array(["x"]), pa.array(["y"])], names=["prompt", "prompt"]), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="two columns are called 'prompt'"):
        read_source(load_source(NAME), guard=guard, taxonomy=taxonomy, files=[tmp_path / "a.parquet"])


def test_all_faults_of_all_files_at_once(guard, taxonomy, tmp_path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"prompt": "x"}')
    (tmp_path / "b.parquet").write_bytes(b"")
    with pytest.raises(InputErrors) as e:
        read_source(load_source(NAME), guard=guard, taxonomy=taxonomy, files=[tmp_path / "a.jsonl", tmp_path / "b.parquet"])
    assert len(e.value.errors) == 6 and "b.parquet" in str(e.value) and "subcategory" in str(e.value)


def test_damage_in_the_middle_of_a_parquet_file_is_reported(read, tmp_path) -> None:
    path = tmp_path / "wildguard_train.parquet"
    table = pa.Table.from_pylist(ROWS[NAME] * 2000, schema=SCHEMAS[NAME])
    pq.write_table(table, path, row_group_size=1000, compression="zstd", use_dictionary=False)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2 : len(raw) // 2 + 200] = bytes(200)
    path.write_bytes(raw)
    with pytest.raises(InputError, match="damaged after row"):
        read(NAME, path)


def test_files_folders_and_patterns(tmp_path) -> None:
    source = load_source(NAME)
    for name in ("train/wildguard_train.parquet", "more/a.jsonl", "more/b.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(GOOD)
    found = [f.path.name for f in source_files(source, [tmp_path])]
    assert found == ["wildguard_train.parquet"]
    assert [f.path.name for f in source_files(source, [f"{tmp_path}/more/*.jsonl"])] == ["a.jsonl", "b.jsonl"]
    assert [f.path.name for f in source_files(source, ["more/b.jsonl", "more/../more/b.jsonl"], beside=tmp_path)] == ["b.jsonl"]
    assert source_files(source) == []
    for files, answer in (
        (["more/c.jsonl"], "did you mean 'a.jsonl'|did you mean 'b.jsonl'"),
        (["x/*.jsonl"], "no file matches"),
        (["more"], "no file of source"),
    ):
        with pytest.raises(InputError, match=answer):
            source_files(source, files, beside=tmp_path)


def test_a_guard_that_the_labels_do_not_fit_is_an_error(guard, taxonomy, tmp_path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(GOOD)
    words = guard.model_copy(update={"tasks": [guard.tasks[0].model_copy(update={"labels": ["safe", "harmfull"], "positive": "harmfull"})]})
    with pytest.raises(InputErrors, match="'unharmful' is no label of guard"):
        read_source(load_source(NAME), guard=words, taxonomy=taxonomy, files=[path])
    other = guard.model_copy(update={"tasks": [guard.tasks[0].model_copy(update={"name": "toxicity"})]})
    with pytest.raises(InputError, match="labels for no task"):
        read_source(load_source(NAME), guard=other, taxonomy=taxonomy, files=[path])
    with pytest.raises(InputError, match="no map for the labels of 'wildguard'"):
        read_source(load_source(NAME), guard=guard, taxonomy=taxonomy.model_copy(update={"maps": {}}), files=[path])


def test_a_guard_with_fewer_tasks_reads_fewer_columns(guard, taxonomy, tmp_path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"prompt": "x", "response": "y", "prompt_harm_label": "harmful", "subcategory": "others"}')
    small = guard.model_copy(update={"tasks": guard.tasks[:1]})
    rows = next(iter(read_source(load_source(NAME), guard=small, taxonomy=taxonomy, files=[path]))).rows
    assert [c for c in rows.columns if c.startswith("label_")] == ["label_prompt", "label_prompt_source"]
    assert rows["label_prompt"].to_list() == ["harmful"]


def test_parquet_is_not_held_whole(read, guard, taxonomy, tmp_path) -> None:
    path = tmp_path / "wildguard_train.parquet"
    with pq.ParquetWriter(path, SCHEMAS[NAME], compression="none", use_dictionary=False) as writer:
        for group in range(40):
            rows = [wildguard(f"{group} {i} " + "x" * 2000, None, "unharmful", None, None) for i in range(250)]
            writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMAS[NAME]))
    before, most = pa.total_allocated_bytes(), 0
    for block in read_source(load_source(NAME), guard=guard, taxonomy=taxonomy, files=[path], block_rows=250):
        assert block.rows.height == 250
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < path.stat().st_size / 4


def test_a_full_disk_while_fetching_is_no_missing_set() -> None:
    from toolkit.common.errors import Missing, Stopped
    from toolkit.sources._hub import _failed

    full = RuntimeError("generation failed")
    full.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert isinstance(_failed(load_source(NAME), full), Stopped)
    assert isinstance(_failed(load_source(NAME), OSError("no route")), Missing)
