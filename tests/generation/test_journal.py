"""The journal gives back what it was given, keeps what it has acknowledged, and says so when its file is damaged."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journals import ask, chat, write

from toolkit.common.errors import GuardkitError, InputError, Stopped
from toolkit.common.locks import Lock
from toolkit.generation import FAILURES, FINAL, Completion, Journal


def test_what_was_put_is_there_next_time(tmp_path: Path) -> None:
    full = Completion(ask(1).key, "text", "stop", model="served", prompt_tokens=3, completion_tokens=4, seconds=0.5, reasoning="thought")
    odd = Completion(ask(2).key, "NUL \x00, surrogate \ud800, \x1b[31m", None)
    with Journal(tmp_path / "j") as journal:
        journal.put([(ask(1), full), (ask(2), odd)])
        assert journal.get([ask(1).key, ask(2).key, ask(3).key]) == {ask(1).key: full, ask(2).key: odd}
    with Journal(tmp_path / "j") as journal:
        assert journal.get([ask(1).key, ask(2).key, ask(3).key]) == {ask(1).key: full, ask(2).key: odd}
        assert journal.get([]) == {}


@pytest.mark.parametrize("error", FAILURES)
def test_a_failure_is_served_only_where_it_is_the_models_own(tmp_path: Path, error: str) -> None:
    failure = Completion(ask(1).key, None, error=error, detail="no \x1b", raw=b'{"n": 1}', prompt_tokens=3, reasoning="thought", cost=0.5, lost=1)
    later = Completion(ask(1).key, "at last")
    with Journal(tmp_path) as journal:
        journal.put([(ask(1), failure)])
        assert journal.get([ask(1).key]) == ({ask(1).key: failure} if error in FINAL else {})
        journal.put([(ask(1), later)])
        assert journal.get([ask(1).key]) == {ask(1).key: failure if error in FINAL else later}
        assert journal.counts() == ({"completions": 1, "failures": 0} if error in FINAL else {"completions": 1, "failures": 1})
        assert [r.completion.error for r in journal.records()] == ([error] if error in FINAL else [None, error])


def test_what_came_with_a_failure_is_kept_up_to_a_size(tmp_path: Path) -> None:
    failure = Completion(ask(1).key, None, error="malformed", detail="torn \ud800", raw=b"x" * 100_000, lost=2, cost=0.25)
    with Journal(tmp_path) as journal:
        journal.put([(ask(1), failure)])
        (record,) = journal.records()
        assert record.completion == replace(failure, raw=b"x" * 65536, detail="torn ?")
        assert (record.row, record.served, record.shape) == ("row-1", False, json.loads(ask(1).shape))


def test_an_endpoints_answer_is_kept_as_it_came_and_once(tmp_path: Path) -> None:
    words = "words that are in the body, and nowhere else. " * 40
    with Journal(tmp_path) as journal:
        put = [chat(ask(n), f"{words}{n} \ud800", reasoning_content=words) for n in range(50)]
        put = [(r, replace(c, cost=0.125, lost=n % 2)) for n, (r, c) in enumerate(put)]
        journal.put(put)
        assert journal.get(r.key for r, _ in put) == {r.key: c for r, c in put}
    data = (tmp_path / "journal.sqlite").read_bytes()
    assert data.count(words.encode()) == 100  # reasoning and content of the body, and no second copy of either


def test_a_body_is_read_anew_each_time(tmp_path: Path) -> None:
    """Whatever a later guardkit reads from a body, it reads from the body."""
    request, completion = chat(ask(1), "as sent")
    with Journal(tmp_path) as journal:
        journal.put([(request, replace(completion, text="as an earlier reader took it"))])
        assert journal.get([request.key])[request.key].text == "as sent"


def test_the_first_answer_stays(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.put([(ask(1), Completion(ask(1).key, "first"))])
        journal.put([(ask(1), Completion(ask(1).key, "second"))])
        assert journal.get([ask(1).key])[ask(1).key].text == "first"


@settings(max_examples=30, deadline=None)
@given(texts=st.lists(st.text(st.characters(), max_size=30), max_size=1200))
def test_any_text_comes_back(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    with Journal(tmp_path_factory.mktemp("j")) as journal:
        put = [(ask(i), Completion(ask(i).key, t)) for i, t in enumerate(texts)]
        journal.put(put)
        assert journal.get(r.key for r, _ in put) == {r.key: c for r, c in put}


@pytest.mark.parametrize("size", [1, 31, 32, 33, 64, 100])
def test_of_a_group_of_any_size_each_key_is_put_once_and_every_row_is_known(tmp_path: Path, size: int) -> None:
    with Journal(tmp_path) as journal:
        journal.put([chat(ask(n), "first") for n in range(0, size, 3)])
        group = [chat(ask(n), "second") for n in range(size)]
        journal.put([*group, chat(ask(size - 1, row="twin"), "third")])
        assert journal.counts() == {"completions": size, "failures": 0}
        found = journal.get([ask(n).key for n in range(size)])
        assert [found[ask(n).key].text for n in range(size)] == ["second" if n % 3 else "first" for n in range(size)]
        assert journal.asking([ask(size - 1).key]) == {ask(size - 1).key: ["twin"]}
    with Journal(tmp_path) as journal:  # the note agrees
        assert journal.counts()["completions"] == size


def test_a_batch_is_all_or_nothing(tmp_path: Path) -> None:
    def broken():
        yield ask(1), Completion(ask(1).key, "x")
        raise ZeroDivisionError

    with Journal(tmp_path) as journal:
        with pytest.raises(ZeroDivisionError):
            journal.put(broken())
        assert journal.get([ask(1).key]) == {}
        journal.put([(ask(2), Completion(ask(2).key, "x"))])
        assert len(journal.get([ask(1).key, ask(2).key])) == 1


def test_a_second_writer_learns_who_holds_it(tmp_path: Path) -> None:
    with Journal(tmp_path), pytest.raises(InputError, match=rf"in use by process {os.getpid()} \(this one\)"):
        Journal(tmp_path)
    writer = write(tmp_path, 0, 1)
    assert writer.stdout is not None
    writer.stdout.readline()
    with pytest.raises(InputError, match=f"in use by process {writer.pid}\n"):
        Journal(tmp_path)
    writer.kill()
    writer.communicate()
    with Journal(tmp_path) as journal:  # the kernel dropped the lock
        assert journal.get([ask(0).key])


def test_rows_that_share_a_record_are_known(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.put([chat(ask(1), "x"), (ask(2), Completion(ask(2).key, None, error="timeout", detail=""))], shared=[(ask(1).key, "twin")])
        journal.share([(ask(1).key, "other"), (ask(1).key, "row-1"), (ask(2).key, "odd \ud800")])
        size = journal.path.with_name("journal.sqlite-wal").stat().st_size
        journal.share([(ask(1).key, "other"), (ask(1).key, "twin"), (ask(1).key, "row-1")])
        assert journal.path.with_name("journal.sqlite-wal").stat().st_size == size  # what is known costs no write
        journal.put([chat(ask(1, row="late"), "y")])  # asked by two at once, answered twice: the second row shares the first answer
        assert journal.asking([ask(1).key, ask(2).key, ask(3).key]) == {ask(1).key: ["late", "other", "twin"], ask(2).key: ["odd \\ud800"]}
        (known,) = journal.get_with_rows([ask(1).key, ask(2).key]).values()
        assert (known.completion.text, known.row) == ("x", "row-1")


def test_a_reader_works_beside_a_writer(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no journal there"):
        Journal(tmp_path, readonly=True)
    with Journal(tmp_path) as journal:
        journal.put([chat(ask(1), "x")])
        with Journal(tmp_path, readonly=True) as reader:
            assert reader.get([ask(1).key])[ask(1).key].text == "x"
            journal.put([chat(ask(2), "y")])
            assert [r.completion.text for r in reader.records()] == ["x", "y"]
            with pytest.raises(InputError, match="cannot be written"):
                reader.put([chat(ask(3), "z")])
            assert reader.counts() == {"completions": 2, "failures": 0}
    with Journal(tmp_path, readonly=True) as reader:  # nobody writes
        assert len(list(reader.records([ask(1).key, ask(9).key]))) == 1


def test_many_records_stream_in_the_order_of_arrival(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        for start in range(0, 1300, 100):
            journal.put([(ask(n, seed=n % 3), Completion(ask(n, seed=n % 3).key, str(n))) for n in range(start, start + 100)])
        found = list(journal.records())
    assert [r.completion.text for r in found] == [str(n) for n in range(1300)]
    assert [r.shape["seed"] for r in found[:4]] == [0, 1, 2, 0]


def test_many_threads_share_one_journal(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:

        def work(k: int) -> None:
            for n in range(k * 100, k * 100 + 20):
                journal.put([(ask(n), Completion(ask(n).key, str(n)))])
                assert journal.get([ask(n).key])[ask(n).key].text == str(n)

        threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert journal.counts()["completions"] == 80


def damaged(folder: Path, what: str) -> None:
    file = folder / "journal.sqlite"
    data = bytearray(file.read_bytes())
    if what == "header":
        data[:64] = b"\x00" * 64
    elif what == "pages":
        data[4096:] = random.Random(1).randbytes(len(data) - 4096)
    elif what == "torn":
        data = data[: len(data) // 3]
    elif what == "not sqlite":
        data = bytearray(b"hello, this is no database at all\n" * 10)
    file.write_bytes(bytes(data))


@pytest.mark.parametrize("what", ["header", "pages", "torn", "not sqlite"])
def test_a_damaged_file_is_named(tmp_path: Path, what: str) -> None:
    with Journal(tmp_path) as journal:
        journal.put([(ask(n), Completion(ask(n).key, f"answer number {n}")) for n in range(1000)])
    damaged(tmp_path, what)
    with pytest.raises(GuardkitError, match=r"journal is damaged[\s\S]*restore it from a backup"), Journal(tmp_path) as journal:
        journal.get(ask(n).key for n in range(1000))
    Lock(tmp_path / "journal.lock", "the journal").release()  # the failed one has let go of it


def test_another_programs_file_is_left_alone(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "journal.sqlite")
    db.execute("CREATE TABLE notes (x)")
    db.commit()
    db.close()
    before = (tmp_path / "journal.sqlite").read_bytes()
    with pytest.raises(InputError, match="not guardkit's journal"):
        Journal(tmp_path)
    assert (tmp_path / "journal.sqlite").read_bytes() == before


def test_a_newer_journal_is_refused(tmp_path: Path) -> None:
    Journal(tmp_path).close()
    db = sqlite3.connect(tmp_path / "journal.sqlite")
    db.execute("UPDATE meta SET value = '99' WHERE name = 'schema'")
    db.commit()
    db.close()
    with pytest.raises(InputError, match=r"version 99[\s\S]*newer"):
        Journal(tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be opened"):
        Journal(tmp_path / "file" / "journal")


def test_closed_is_closed(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.close()
    journal.close()
    with pytest.raises(ValueError, match="closed"):
        journal.get([ask(1).key])
    with pytest.raises(ValueError, match="closed"):
        journal.put([(ask(1), Completion(ask(1).key, "x"))])
    assert issubclass(Stopped, GuardkitError)
