"""A key that occurs twice in a row costs that row, with its reason, whichever parser reads it and however the row is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toolkit.common.jsontext import keys_written, loads_once, may_repeat, repeated_key
from toolkit.records import Column
from toolkit.sources import Fault, read_blocks, read_frames

NAMES = ("id", "text", "q", "a:b", 'd"e', "é")
COLUMNS = tuple(Column(n, "string", nullable=True) for n in ("id", "text", "q"))
MESSAGES: Any = {"list": {"struct": {"role": "string", "content": "string"}}}
TEXT = st.text(':" \\!aé\t{}[],', max_size=6)
BREAK = st.sampled_from(["", " ", "\t", "  "])


def written(pairs: list[tuple[str, Any]], spaces: list[str], ascii_only: bool) -> str:
    """An object as text, its keys as often as they are given."""
    gaps = iter(spaces * (1 + len(pairs)))

    def value(v: Any) -> str:
        return written(v, spaces, ascii_only) if isinstance(v, list) else json.dumps(v, ensure_ascii=ascii_only)

    return "{" + ",".join(f"{json.dumps(k, ensure_ascii=ascii_only)}{next(gaps)}:{next(gaps)}{value(v)}" for k, v in pairs) + "}"


def repeats(pairs: list[tuple[str, Any]]) -> bool:
    names = [k for k, _ in pairs]
    return len(set(names)) < len(names) or any(repeats(v) for _, v in pairs if isinstance(v, list))


FLAT = st.lists(st.tuples(st.sampled_from(NAMES), TEXT | st.none()), min_size=1, max_size=5)
NESTED = st.lists(st.tuples(st.sampled_from(NAMES), TEXT | st.none() | FLAT), min_size=1, max_size=5)


@settings(deadline=None, max_examples=500)
@given(NESTED, st.lists(BREAK, min_size=2, max_size=4), st.booleans())
def test_no_repeated_key_is_missed_and_none_is_made_up(pairs: list[tuple[str, Any]], spaces: list[str], ascii_only: bool) -> None:
    text = written(pairs, spaces, ascii_only)

    def object_pairs(found: list[tuple[str, Any]]) -> Any:
        twice.append(len({k for k, _ in found}) < len(found))
        return dict(found)

    twice: list[bool] = []
    value = json.loads(text, object_pairs_hook=object_pairs)
    assert (repeated_key(text) is not None) == repeats(pairs)
    assert may_repeat(text.encode(), value) or not any(twice)
    if not any(twice):
        assert loads_once(text) == value and keys_written(text.encode()) >= len(twice)
    else:
        with pytest.raises(ValueError, match="is given twice"):
            loads_once(text)


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(FLAT, min_size=1, max_size=6), st.lists(BREAK, min_size=2, max_size=4), st.booleans(), st.integers(0, 30))
def test_every_reader_costs_the_same_rows(tmp_path: Path, rows: list[Any], spaces: list[str], ascii_only: bool, plain: int) -> None:
    plain_rows: list[Any] = [[("id", str(i)), ("text", "t"), ("q", "q")] for i in range(plain)]
    texts = [written(pairs, spaces, ascii_only) for pairs in [*rows, *plain_rows]]
    bad = [n for n, pairs in enumerate(rows, 1) if any([k for k, _ in pairs].count(c.name) > 1 for c in COLUMNS)]
    lines, array = tmp_path / "d.jsonl", tmp_path / "d.json"
    lines.write_text("\n".join(texts) + "\n", encoding="utf-8")
    array.write_text("[" + ",\n".join(texts) + "]", encoding="utf-8")
    for path, kind in ((lines, "jsonl"), (array, "json")):
        found = [(n, f.reason) for frame in read_frames(path, kind, COLUMNS) for n, f in frame.faults]
        assert found == [(n, "repeated_key") for n in bad], kind
        blocks = [row for block in read_blocks(path, kind, [c.name for c in COLUMNS], 2) for row in block]
        assert [n for n, row in enumerate(blocks, 1) if isinstance(row, Fault)] == bad, kind


@pytest.mark.parametrize("more", ["", ', "more": {"x": 1, "x": 2}', ', "q": null'])
@pytest.mark.parametrize("spaced", [False, True])
def test_one_bad_line_among_thousands(more: str, spaced: bool, tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    colon = " : " if spaced else ":"
    line = '{"id"%s"%d", "text"%s"so it is: \\"a\\": b\\n"%s}\n'
    twice = '{"id": "x", "text": "a", "id": "y"}\n'
    missing = '{"id": "z"}\n'
    rows = [line % (colon, i, colon, more) for i in range(3000)]
    path.write_text("".join([*rows[:2000], twice, missing, *rows[2000:]]))
    frames = list(read_frames(path, "jsonl", COLUMNS))
    assert [(n, f.reason, f.detail) for frame in frames for n, f in frame.faults] == [
        (2001, "repeated_key", "line 2001: the key 'id' is given twice")
    ]
    assert sum(frame.rows.height for frame in frames) == 3001


@pytest.mark.parametrize("kind", ["jsonl", "json"])
def test_a_key_twice_inside_a_message(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"d.{kind}"
    good = '{"m": [{"role": "user", "content": "a"}]}'
    bad = '{"m": [{"role": "user", "role": "system", "content": "a"}]}'
    path.write_text("\n".join([good, bad]) if kind == "jsonl" else f"[{good}, {bad}]")
    columns = (Column("m", MESSAGES, nullable=True),)
    faults = [(n, f.reason, f.detail) for frame in read_frames(path, kind, columns) for n, f in frame.faults]
    place = "line 2" if kind == "jsonl" else "element 1"
    assert faults == [(2, "repeated_key", f"{place}: the key 'm.0.role' is given twice")]


@pytest.mark.parametrize("deep", ["[" * 100_000, '{"a":' * 100_000, '{"id": "a", "text": ' + "[" * 100_000 + "]" * 100_000 + "}"])
@pytest.mark.parametrize("kind", ["jsonl", "json"])
def test_a_row_that_is_nested_too_deeply_costs_itself(deep: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"d.{kind}"
    good = '{"id": "a", "text": "b", "q": "c"}'
    path.write_text("\n".join([good, deep]) if kind == "jsonl" else f"[{good}, {deep}]")
    frames = list(read_frames(path, kind, COLUMNS))
    assert [(n, f.reason) for frame in frames for n, f in frame.faults] == [(2, "bad_json")]
    assert sum(frame.rows.height for frame in frames) == 1
    blocks = [row for block in read_blocks(path, kind, ["id"], 8) for row in block]
    assert isinstance(blocks[0], dict) and isinstance(blocks[1], Fault)
