"""A record that cannot be read costs itself alone: everyone goes on without it, names it, and a run asks for it again."""

from __future__ import annotations

import sqlite3
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from journals import ask, chat
from test_engine import Scripted

from toolkit.common.errors import InputError
from toolkit.generation import (
    FINAL,
    Completion,
    Journal,
    Request,
    compact_journal,
    complete,
    journal_figures,
    read_records,
    repair_journal,
    verify_journal,
)
from toolkit.generation import _journal_records as kept
from toolkit.generation._commit import Committer


def damage(folder: Path, statement: str) -> None:
    db = sqlite3.connect(folder / "journal.sqlite")
    db.execute(statement)
    db.commit()
    db.close()


def filled(folder: Path) -> list[tuple[Request, Completion]]:
    put = [chat(ask(n), f"answer {n}") for n in range(6)]
    with Journal(folder) as journal:
        journal.put(put, shared=[(ask(1).key, "twin"), (ask(2).key, "twin")])
        journal.put([(ask(f"f{n}"), Completion(ask(f"f{n}").key, None, error="timeout", detail="slow")) for n in range(3)])
    return put


FAULTS = [
    "UPDATE answers SET raw = CAST('{}' AS BLOB) WHERE id = 2",
    "UPDATE answers SET model = CAST(X'6dff' AS TEXT) WHERE id = 2",
    "UPDATE answers SET created = 'soon' WHERE id = 2",
    "UPDATE answers SET error = X'00' WHERE id = 2",
    "UPDATE answers SET form = 'new' WHERE id = 2",
]


@pytest.mark.parametrize("fault", FAULTS)
def test_every_reader_goes_on_and_names_it(tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    put = filled(tmp_path)
    bad = ask(1).key
    damage(tmp_path, fault)
    damage(tmp_path, "UPDATE failures SET detail = 'other' WHERE id = 2")
    with Journal(tmp_path) as journal:
        assert journal.get(r.key for r, _ in put) == {r.key: c for r, c in put if r.key != bad}
        assert list(journal.unreadable) == [bad]
        assert caplog.text.count(f"record {bad} is damaged and cannot be read") == 1
        assert len(list(journal.records())) == 7
        assert list(journal.unreadable) == [bad, ask("f1").key]
        assert len(journal.history(ask(1).shape)) >= 5
        assert journal.asking([bad, ask(2).key]) == {bad: ["twin"], ask(2).key: ["twin"]}
    faults: dict[str, str] = {}
    assert len(list(read_records(tmp_path, failures=True, unreadable=faults))) == 7
    assert set(faults) == {bad, ask("f1").key}
    met: list[Any] = []
    with pytest.raises(InputError, match=f"2 records cannot be read: {bad}"):
        met.extend(read_records(tmp_path, failures=True))
    assert len(met) == 7
    figures = journal_figures(tmp_path)
    assert sum(g.records for g in figures.groups) + len(figures.unreadable) == 9
    assert compact_journal(tmp_path).unreadable == [bad]
    assert sorted(verify_journal(tmp_path).damaged) == sorted([bad, ask("f1").key])


def test_a_row_that_shares_and_cannot_be_read_costs_itself_alone(tmp_path: Path) -> None:
    filled(tmp_path)
    damage(tmp_path, "UPDATE askers SET checksum = checksum + 1 WHERE key = (SELECT key FROM answers WHERE id = 2)")
    with Journal(tmp_path) as journal:
        assert journal.asking([ask(1).key, ask(2).key]) == {ask(2).key: ["twin"]}
        assert list(journal.unreadable) == [ask(1).key]
        assert len(journal.get([ask(1).key])) == 1


def test_a_run_asks_for_it_again_and_only_for_it_and_the_new_answer_stays(tmp_path: Path) -> None:
    put = filled(tmp_path)
    damage(tmp_path, FAULTS[0])
    for asked in (1, 0):
        with Journal(tmp_path) as journal, complete((r for r, _ in put), Scripted(), journal) as results:
            texts = [c.text for c in results]
            assert (results.stats.asked, results.stats.unreadable) == (asked, asked)
        assert texts[0] == "answer 0"
        assert texts[1] != "answer 1"
        assert None not in texts
    assert verify_journal(tmp_path).problems == []
    with Journal(tmp_path) as journal:
        journal.put([chat(ask(1), "third")])
        assert journal.get([ask(1).key])[ask(1).key].text == texts[1]  # the first one that can be read stays
        assert journal.counts() == {"completions": 6, "failures": 3}


def test_the_row_of_a_replaced_record_is_still_found(tmp_path: Path) -> None:
    filled(tmp_path)
    damage(tmp_path, FAULTS[0])
    with Journal(tmp_path) as journal:
        journal.put([chat(ask(1, row="late"), "new")])
        assert journal.asking([ask(1).key]) == {ask(1).key: ["row-1", "twin"]}
    assert verify_journal(tmp_path).problems == []


@pytest.mark.parametrize("fault", ["UPDATE shapes SET checksum = checksum + 1", "UPDATE shapes SET shape = shape || ' '"])
def test_a_damaged_model_and_endpoint_stop_no_run(tmp_path: Path, fault: str) -> None:
    put = filled(tmp_path)
    damage(tmp_path, fault)
    assert verify_journal(tmp_path).problems
    for asked in (3, 0):
        with Journal(tmp_path) as journal, complete([*(r for r, _ in put), *(ask(f"new {n}") for n in range(3))], Scripted(), journal) as results:
            assert None not in [c.text for c in results]
            assert results.stats.asked == asked
    assert bool(verify_journal(tmp_path).problems) == ("checksum" not in fault)
    repair_journal(tmp_path)
    with Journal(tmp_path) as journal:
        assert len(list(journal.records())) == 12
    assert verify_journal(tmp_path).problems == []


TEXTS = st.text(st.characters(), max_size=60) | st.sampled_from(["\ud800", "\x00", "stop\udfff", "x" * 200_000, ""])
NUMBERS = st.none() | st.integers(-(2**80), 2**80) | st.booleans()
REALS = st.none() | st.floats()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=TEXTS,
    error=st.none() | st.sampled_from([*sorted(FINAL), "timeout", "malformed"]),
    words=st.tuples(*[st.none() | TEXTS] * 4),
    counts=st.tuples(NUMBERS, NUMBERS),
    reals=st.tuples(REALS, REALS),
    raw=st.none() | st.binary(max_size=100_000),
    row=TEXTS,
    lost=st.integers(0, 2**40),
)
@example("a\ud800\x00", None, ("st\ud800", None, "m\ud800", "\udfff"), (2**63, -1), (float("nan"), float("inf")), None, "row \ud800\x00", 1)
def test_whatever_a_completion_holds_can_be_kept_and_read_again(
    tmp_path_factory: pytest.TempPathFactory,
    text: str,
    error: str | None,
    words: tuple[str | None, ...],
    counts: tuple[int | None, ...],
    reals: tuple[float | None, ...],
    raw: bytes | None,
    row: str,
    lost: int,
) -> None:
    folder = tmp_path_factory.mktemp("j")
    request = ask(1, row=row)
    finish, detail, model, reasoning = words
    given_ = Completion(
        request.key,
        None if error else text,
        finish,
        error,
        detail,
        model,
        counts[0],
        counts[1],
        reals[0],
        reasoning,
        raw if error else None,
        lost,
        reals[1],
    )
    with Journal(folder) as journal:
        journal.put([(request, given_)])
        journal.put([chat(ask(2), "another")])
        records = {r.completion.key: r.completion for r in journal.records()}
        assert journal.unreadable == {}
        found = records[request.key]
        if given_.final:
            assert journal.get([request.key]) == {request.key: found}
    assert verify_journal(folder).problems == []
    assert (found.text, found.error, found.lost) == (given_.text, given_.error, lost)  # text as it came
    for name in ("finish", "detail", "model"):
        before, after = getattr(given_, name), getattr(found, name)
        if given_.final or name == "detail":
            assert after == (before if before is None else before.encode("utf-8", "replace").decode())
    for f in fields(found):
        if f.name not in ("text", "reasoning") and isinstance(value := getattr(found, f.name), str):
            value.encode()
    for n in (found.prompt_tokens, found.completion_tokens):
        assert n is None or 0 <= n < 2**53


def test_what_is_too_large_is_a_failure_and_not_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "LARGEST", 100_000)
    large = [
        (ask(0), Completion(ask(0).key, "x" * 100_001, cost=0.5, lost=1, prompt_tokens=3)),
        (ask(1), Completion(ask(1).key, "ok", reasoning="ä" * 50_001)),
        (ask(2), Completion(ask(2).key, None, error="refused", detail="d" * 100_001)),
        chat(ask(3), "y" * 100_001),
    ]
    put = [*large, chat(ask(4), "y" * 90_000), (ask(5), Completion(ask(5).key, "ä" * 49_000))]
    with Journal(tmp_path) as journal:
        committer = Committer(journal)
        for one in put:
            committer.add(*one)
        out = {r.key: c for r, c in committer.flush()}
        committer.close()
        found = journal.get(r.key for r, _ in put)
    assert found == out  # a run hands out what the next one will find
    assert [found[ask(n).key].error for n in range(6)] == ["too_large"] * 4 + [None] * 2
    assert (found[ask(0).key].cost, found[ask(0).key].lost, found[ask(0).key].prompt_tokens) == (0.5, 1, 3)
    assert "100,001 bytes; the journal keeps 100,000 at most" in (found[ask(0).key].detail or "")
    assert (found[ask(0).key].raw or b"").startswith(b"xxx")
    assert (found[ask(3).key].raw or b"").startswith(b'{"id"')
    assert verify_journal(tmp_path).problems == []
    with Journal(tmp_path) as journal, complete((r for r, _ in put), Scripted(), journal) as results:
        assert [c.error for c in results].count("too_large") == 4
        assert results.stats.asked == 0


def test_the_bound_lies_below_sqlites_own() -> None:
    limit = sqlite3.connect(":memory:").getlimit(sqlite3.SQLITE_LIMIT_LENGTH)
    assert limit > kept.LARGEST + (64 << 20)
    assert kept.storable(replace(Completion("00", "x"), reasoning="y")).text == "x"
