"""Keeping house: older versions are brought up to date, packing changes no answer, a purge leaves nothing, damage is found."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journals import ask, body, chat, version_1

from toolkit.common.errors import InputError
from toolkit.generation import (
    Completion,
    Journal,
    compact_journal,
    find_records,
    journal_figures,
    migrate_journal,
    purge_journal,
    read_records,
    verify_journal,
)
from toolkit.generation._journal_records import ANSWER_COLUMNS, FAILURE_COLUMNS
from toolkit.generation.backends._batch_lines import line_of
from toolkit.generation.backends._batch_store import OUTPUT, Draft, adopt, hand_over

WORDS = "words that a takedown names"


def bytes_of(folder: Path) -> bytes:
    return b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file())


def damage(folder: Path, statement: str) -> None:
    db = sqlite3.connect(folder / "journal.sqlite")
    db.execute(statement)
    db.commit()
    db.close()


# Migration ------------------------------------------------------------------------------------------------------------


def test_a_journal_of_version_1_is_served_as_it_was(tmp_path: Path) -> None:
    put = version_1(tmp_path / "j", ["text", "NUL \x00, surrogate \ud800", "", *(f"text {n}" for n in range(300))])
    with pytest.raises(InputError, match="guardkit journal migrate"):
        Journal(tmp_path / "j", readonly=True)
    with Journal(tmp_path / "j") as journal:
        assert journal.get(r.key for r, _ in put) == {r.key: c for r, c in put}
        records = list(journal.records())
    assert [r.completion for r in records] == [*(c for _, c in put), Completion(ask("f").key, None, error="timeout", detail="slow", seconds=1.0)]
    assert [(r.row, r.shape, r.created, r.served) for r in records[:2]] == [
        ("row-0", {"model_id": "m0", "endpoint": "e"}, 1e9, True),
        ("row-1", {"model_id": "m1", "endpoint": "e"}, 1e9 + 1, True),
    ]
    found = verify_journal(tmp_path / "j")
    assert (found.answers, found.failures, found.problems) == (303, 1, [])


def test_migrating_says_from_where_to_where(tmp_path: Path) -> None:
    version_1(tmp_path / "j", ["text"])
    assert migrate_journal(tmp_path / "j") == (1, 2, True)
    assert migrate_journal(tmp_path / "j") == (2, 2, False)
    with pytest.raises(InputError, match="no journal there"):
        migrate_journal(tmp_path)


def test_a_damaged_record_of_version_1_is_found_after_it(tmp_path: Path) -> None:
    put = version_1(tmp_path / "j", ["one text", "another"])
    damage(tmp_path / "j", "UPDATE completions SET text = CAST('ONE text' AS BLOB) WHERE rowid = 1")
    Journal(tmp_path / "j").close()
    assert verify_journal(tmp_path / "j").damaged == [put[0][0].key]


# Compaction -----------------------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.tuples(st.text(st.characters(), max_size=400), st.sampled_from(["chat", "text", "refused"])), max_size=40))
def test_packing_changes_no_record(tmp_path_factory: pytest.TempPathFactory, texts: list[tuple[str, str]]) -> None:
    folder = tmp_path_factory.mktemp("j")
    put = []
    for n, (text, kind) in enumerate(texts):
        request = ask(n)
        if kind == "chat":
            put.append(chat(request, text))
        elif kind == "text":
            put.append((request, Completion(request.key, text)))
        else:
            put.append((request, Completion(request.key, None, error=kind, detail="no", raw=body(text))))
    with Journal(folder) as journal:
        journal.put(put)
        before = journal.get(r.key for r, _ in put), list(journal.records())
    compact_journal(folder)
    with Journal(folder) as journal:
        assert (journal.get(r.key for r, _ in put), list(journal.records())) == before
    assert verify_journal(folder).problems == []


def test_what_came_after_a_compaction_is_packed_by_the_next(tmp_path: Path) -> None:
    found: list[tuple[int, int]] = []
    with Journal(tmp_path) as journal:
        journal.put([chat(ask(n), "mild words " * 50) for n in range(1200)])
    first = compact_journal(tmp_path, lambda done, total: found.append((done, total)))
    assert first.packed == 1200
    assert first.after < first.before / 2
    assert found == [(500, 1200), (1000, 1200), (1200, 1200)]
    with Journal(tmp_path) as journal:
        journal.put([chat(ask("new"), "mild words " * 50)])
    assert compact_journal(tmp_path).packed == 1
    assert compact_journal(tmp_path).packed == 0
    with Journal(tmp_path, readonly=True), pytest.raises(InputError, match="another program has the journal's file open"):
        purge_journal(tmp_path, rows=["row-1"])
    with Journal(tmp_path), pytest.raises(InputError, match="in use by process"):
        compact_journal(tmp_path)


# Purge ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("by", ["row", "twin", "key"])
def test_what_is_purged_is_nowhere_in_the_folder(tmp_path: Path, by: str, packed: bool) -> None:
    request = ask(1)
    with Journal(tmp_path) as journal:
        journal.put([chat(ask(n), "mild") for n in range(2, 400)])
        journal.put([(request, Completion(request.key, None, error="malformed", detail=WORDS, raw=WORDS.encode()))])
        journal.put([chat(request, WORDS * 500)], shared=[(request.key, "twin")])
        journal.put([(ask(1, draw=1), Completion(ask(1, draw=1).key, WORDS, reasoning=WORDS))])
        journal.put([chat(ask(n), "mild") for n in range(400, 800)])
    if packed:
        compact_journal(tmp_path)
    given: dict[str, Any] = {
        "row": {"rows": ["row-1"]},
        "twin": {"rows": ["twin"], "keys": [ask(1, draw=1).key]},
        "key": {"keys": [request.key, ask(1, draw=1).key]},
    }[by]
    found = find_records(tmp_path, **given)
    assert (found.answers, found.failures) == (2, 1)
    assert found.also == {"row": ["twin"], "twin": ["row-1"], "key": ["row-1", "twin"]}[by]
    with Journal(tmp_path) as journal:  # finding deletes nothing
        assert len(journal.get(found.keys)) == 2
    done = purge_journal(tmp_path, **given)
    assert (done.keys, done.also, done.rewritten) == (found.keys, found.also, True)
    data = bytes_of(tmp_path)
    assert not [w for w in (WORDS.encode(), b"twin", b"row-1\x00", bytes.fromhex(request.key)) if w in data]
    with Journal(tmp_path) as journal:
        assert journal.get(found.keys) == {}
        assert journal.counts() == {"completions": 798, "failures": 0}
        assert journal.asking(found.keys) == {}
        journal.put([chat(request, "asked again")])
        assert journal.get([request.key])[request.key].text == "asked again"


def test_what_is_not_there_cannot_be_purged(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.put([chat(ask(1), "mild")])
    found = purge_journal(tmp_path, rows=["row-9", "row-1"], keys=["ab" * 32])
    assert found.unknown == ["row-9", "ab" * 32]
    assert found.answers == 1
    assert not purge_journal(tmp_path, rows=["row-1"]).rewritten
    for bad in ("ab", "x" * 64, ""):
        with pytest.raises(InputError, match="not a key"):
            purge_journal(tmp_path, keys=[bad])


def test_a_batch_on_its_way_loses_the_row_too(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.put([chat(ask(1), WORDS), chat(ask(2), "mild")])
    requests = [replace(ask(n), messages=(("user", f"{WORDS if n != 2 else 'mild'} {n}"),)) for n in (1, 2, 3)]
    draft = Draft(tmp_path / "batches")
    for r in requests:
        draft.add(r, line_of(r))
    parcel = draft.seal("e", "m")
    parcel.record("downloaded")
    results = [{"custom_id": r.key, "response": {"status_code": 200, "body": json.loads(body(r.messages[0][1]))}} for r in requests]
    (parcel.folder / OUTPUT).write_text("".join(json.dumps(line) + "\n" for line in results) + f'{{"custom_id": "{requests[0].key}", "torn {WORDS}')
    with pytest.raises(InputError, match="a batch is in use"):
        purge_journal(tmp_path, rows=["row-1"])
    parcel.release()
    left = parcel.folder.with_name(".000002-cd.old")
    left.mkdir()
    (left / OUTPUT).write_text(WORDS)
    found = purge_journal(tmp_path, rows=["row-1", "row-3"])  # row 3 has no answer yet
    assert found.batches == {str(parcel.folder): "downloaded"}
    assert found.unknown == []
    assert WORDS.encode() not in bytes_of(tmp_path)
    (again,) = adopt(tmp_path / "batches", "e", "m")
    assert again.keys == [requests[1].key]
    with Journal(tmp_path) as journal:  # the batch still has what was not purged
        assert hand_over(again, journal)
        assert [r.row for r in journal.records()] == ["row-2", "row-2"]
    again.release()


# Looking and verifying --------------------------------------------------------------------------------------------------


def test_figures_put_together_what_belongs_together(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.put([chat(ask(n, seed=n), "mild") for n in range(10)], shared=[(ask(1, seed=1).key, "twin")])
        journal.put([(ask("p"), Completion(ask("p").key, "x", prompt_tokens=1, cost=0.5))])
        journal.put([(ask("f"), Completion(ask("f").key, None, error="timeout", detail="", cost=0.25, lost=1))])
        journal.put([(ask("r"), Completion(ask("r").key, None, error="refused", detail=""))])
        found = journal_figures(tmp_path)
    assert [(g.outcome, g.served, g.records, g.prompt_tokens, g.completion_tokens, g.cost, g.unpriced) for g in found.groups] == [
        ("answer", True, 11, 31, 50, 0.5, 10),
        ("refused", True, 1, 0, 0, 0.0, 1),
        ("timeout", False, 1, 0, 0, 0.25, 0),
    ]
    assert (found.shared, found.unfinished, found.bytes > 30_000) == (1, None, True)
    assert [(r.row, shared) for r, shared in read_records(tmp_path, rows=["twin", "row-f"], failures=True)] == [("row-1", ["twin"]), ("row-f", [])]
    assert [r.row for r, _ in read_records(tmp_path, model="m")] == [*(f"row-{n}" for n in range(10)), "row-p", "row-r"]
    assert len(list(read_records(tmp_path, model="served"))) == 10


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE answers SET raw = CAST('{}' AS BLOB) WHERE id = 2", "checksum"),
        ("UPDATE answers SET raw = 'text' WHERE id = 2", "another type"),
        ("UPDATE answers SET form = 'chat+zlib' WHERE id = 2", "unpacked"),
        ("UPDATE answers SET form = 'new' WHERE id = 2", "form is 'new'"),
        ("UPDATE answers SET form = 'chat' WHERE id = 3", "checksum"),
        ("UPDATE answers SET error = 'empty' WHERE id = 2", "checksum"),
        ("UPDATE failures SET error = 'other'", "checksum"),
        ("UPDATE answers SET shape = 9 WHERE id = 2", "checksum"),
        ("UPDATE answers SET cost = 'dear' WHERE id = 2", "checksum"),
        ("UPDATE answers SET model = X'ff' WHERE id = 2", "another type"),
        ("UPDATE answers SET model = CAST(X'ff' AS TEXT) WHERE id = 2", "checksum"),
        ("UPDATE failures SET detail = CAST(X'ff' AS TEXT)", "checksum"),
        ("UPDATE askers SET row = CAST(X'ff' AS TEXT)", "checksum"),
        ("UPDATE shapes SET shape = CAST(X'ff' AS TEXT)", "model and endpoint of 4 records"),
        ("DELETE FROM shapes", "model and endpoint"),
        ("DROP TABLE askers", "askers"),
    ],
)
def test_damage_is_found_and_named(tmp_path: Path, statement: str, words: str) -> None:
    with Journal(tmp_path) as journal:
        journal.put([chat(ask(1), "x"), chat(ask(2), "y"), (ask(3), Completion(ask(3).key, "z"))], shared=[(ask(2).key, "twin")])
        journal.put([(ask("f"), Completion(ask("f").key, None, error="timeout", detail=""))])
    assert verify_journal(tmp_path).problems == []
    damage(tmp_path, statement)
    found = verify_journal(tmp_path)
    assert words in " ".join(found.problems)
    assert found.answers == 3
    assert found.damaged in ([], [ask(2).key], [ask(3).key], [ask("f").key])


COLUMNS = {"answers": ANSWER_COLUMNS, "failures": FAILURE_COLUMNS, "askers": "key, row, checksum", "shapes": "id, shape, checksum"}


@pytest.mark.parametrize(("table", "column"), [(t, c) for t, names in COLUMNS.items() for c in names.split(", ")])
def test_every_column_is_covered(tmp_path: Path, table: str, column: str) -> None:
    """Whatever changes in a record, if only by one, verify sees it; what is damaged is still found by its key, and can be purged."""
    reply = Completion(ask(1).key, None, error="refused", detail="no", finish="stop", model="m", prompt_tokens=3, completion_tokens=4, seconds=0.5)
    reply = replace(reply, cost=0.25, lost=1, reasoning="thought", raw=b"body")
    with Journal(tmp_path) as journal:
        journal.put([(ask(1), reply)], shared=[(ask(1).key, "twin")])
        journal.put([(ask(2), replace(reply, key=ask(2).key, error="timeout"))])
    assert verify_journal(tmp_path).problems == []
    other = f"CASE typeof({column}) WHEN 'text' THEN {column} || 'x' WHEN 'blob' THEN CAST({column} || 'x' AS BLOB) ELSE {column} + 1 END"
    damage(tmp_path, f"UPDATE {table} SET {column} = {other}")  # noqa: S608  our own names
    assert verify_journal(tmp_path).problems
    damage(tmp_path, f"UPDATE {table} SET {column} = CASE typeof({column}) WHEN 'text' THEN CAST(X'ff' AS TEXT) ELSE {column} END")  # noqa: S608
    assert verify_journal(tmp_path).problems
    if (table, column) != ("askers", "key"):  # that one only verify can see
        with pytest.raises(InputError, match="cannot be read"):
            list(read_records(tmp_path, failures=True))
    found = purge_journal(tmp_path, keys=[ask(1).key, ask(2).key])
    assert found.answers + found.failures == (2 if column != "key" or table in ("askers", "shapes") else 1)


def test_migrating_blesses_no_damage(tmp_path: Path) -> None:
    """A checksum of version 1 covered key, text and reasoning; text that is none, or a time that is none, is seen as well."""
    put = version_1(tmp_path / "j", [f"text {n}" for n in range(6)])
    for n, change in enumerate(
        ("text = X'00'", "model = CAST(X'ff' AS TEXT)", "row = CAST(X'ff' AS TEXT)", "created = 1e300", "created = 'soon'"), 1
    ):
        damage(tmp_path / "j", f"UPDATE completions SET {change} WHERE rowid = {n}")  # noqa: S608  likewise
    damage(tmp_path / "j", "UPDATE failures SET detail = CAST(X'ff' AS TEXT), endpoint = CAST(X'ff' AS TEXT)")
    Journal(tmp_path / "j").close()
    found = verify_journal(tmp_path / "j")
    assert sorted(found.damaged) == sorted([*(r.key for r, _ in put[:5]), ask("f").key])
    with Journal(tmp_path / "j") as journal:
        assert journal.get([put[5][0].key]) == {put[5][0].key: put[5][1]}


def test_a_damaged_page_is_found(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.put([chat(ask(n), "mild words " * 100) for n in range(500)])
    file = tmp_path / "journal.sqlite"
    data = bytearray(file.read_bytes())
    at = data.index(b"mild words") // 8192 * 8192
    data[at : at + 8192] = b"\x55" * 8192
    file.write_bytes(bytes(data))
    assert verify_journal(tmp_path).problems
