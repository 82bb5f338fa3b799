"""What was acknowledged and is not there any more is noticed; what a crash leaves is never called damaged."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from journals import ask, chat, kill_at, version_1, write

from toolkit.common.errors import InputError
from toolkit.generation import (
    Completion,
    Journal,
    _journal_file,
    compact_journal,
    migrate_journal,
    purge_journal,
    read_records,
    repair_journal,
    verify_journal,
)
from toolkit.generation._journal_note import Note


def killed(folder: Path, groups: int = 40, size: int = 5) -> int:
    """A journal whose writer was killed, with a live log; how many answers it had acknowledged."""
    writer = write(folder, 0, size)
    assert writer.stdout is not None
    for _ in range(groups):
        writer.stdout.readline()
    os.kill(writer.pid, signal.SIGKILL)
    rest = [int(line) for line in writer.communicate()[0].split("\n") if line]
    return rest[-1] if rest else groups * size


def files(folder: Path) -> dict[str, bytes]:
    """What is there of the journal itself; a reader may leave an empty log."""
    return {
        p.name: data
        for p in folder.iterdir()
        if p.name.startswith("journal.") and not p.name.endswith(("-shm", ".lock")) and (data := p.read_bytes())
    }


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def truncate(name: str, keep: Callable[[int], int]) -> Callable[[Path], None]:
    return lambda folder: os.truncate(folder / name, keep((folder / name).stat().st_size))


LOSSES: dict[str, Callable[[Path], object]] = {
    "file empty beside a log": truncate("journal.sqlite", lambda size: 0),
    "file gone beside a log": lambda folder: (folder / "journal.sqlite").unlink(),
    "file and log gone": lambda folder: [(folder / name).unlink() for name in ("journal.sqlite", "journal.sqlite-wal")],  # type: ignore[func-returns-value]
    "only the lock is left": lambda folder: [p.unlink() for p in folder.iterdir() if p.name != "journal.lock"],  # type: ignore[func-returns-value]
    "log gone": lambda folder: (folder / "journal.sqlite-wal").unlink(),
    "log empty": truncate("journal.sqlite-wal", lambda size: 0),
    "log cut": truncate("journal.sqlite-wal", lambda size: size // 2),
    "a bit in the log": lambda folder: flip(folder / "journal.sqlite-wal", (folder / "journal.sqlite-wal").stat().st_size // 2),
    "a bit in the log's header": lambda folder: flip(folder / "journal.sqlite-wal", 9),
    "the note unreadable": lambda folder: (folder / "journal.note").write_bytes(b"x" * 512),
}


@pytest.mark.parametrize("how", LOSSES)
def test_what_was_acknowledged_and_is_gone_is_reported_and_refused_as_it_lies(tmp_path: Path, how: str) -> None:
    folder = tmp_path / "j"
    killed(folder)
    LOSSES[how](folder)
    before = files(folder)
    for look in (
        lambda: Journal(folder),
        lambda: Journal(folder, readonly=True),
        lambda: list(read_records(folder)),
        lambda: compact_journal(folder),
        lambda: purge_journal(folder, rows=["row-1"]),
        lambda: migrate_journal(folder),
    ):
        with pytest.raises(InputError, match=r"journal is damaged[\s\S]*guardkit journal repair"):
            look()
    try:
        assert verify_journal(folder).problems
    except InputError as e:
        assert "damaged" in e.message  # noqa: PT017  either way it is reported
    assert files(folder) == before  # nothing of it is gone before a repair has looked at it


def test_a_torn_log_is_refused_only_where_it_lost_what_was_acknowledged(tmp_path: Path) -> None:
    whole, copy = tmp_path / "whole", tmp_path / "copy"
    acknowledged = killed(whole)
    log = (whole / "journal.sqlite-wal").read_bytes()
    rng = random.Random(2)
    torn = [log + b"\x17" * 5000, *(log[: rng.randrange(len(log))] for _ in range(10))]
    for _ in range(10):
        at = rng.randrange(len(log))
        torn.append(log[:at] + bytes([log[at] ^ (1 << rng.randrange(8))]) + log[at + 1 :])
    seen = set()
    for data in torn:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(whole, copy)
        (copy / "journal.sqlite-wal").write_bytes(data)
        with sqlite3.connect(f"file:{copy}/journal.sqlite?mode=ro", uri=True) as db:
            there = db.execute("SELECT count(*) FROM answers").fetchone()[0]
        db.close()
        try:
            with Journal(copy) as journal:
                assert journal.counts()["completions"] == there >= acknowledged
            seen.add("sound")
        except InputError as e:
            assert there < acknowledged, e  # noqa: PT017  likewise
            seen.add("refused")
    assert seen == {"sound", "refused"}


MOMENTS: dict[str, object] = {"pwrite": os, "fsync": os, "write": Note, "begin": Note, "write_state": _journal_file, "fsync_path": _journal_file}


def write_until_killed(folder: Path, first: int, name: str, before: bool, after: int) -> list[int]:
    """Put twenty answers in a process that is killed at the call number `after` of a function; what was acknowledged."""
    got, put = os.pipe()
    if (child := os.fork()) == 0:
        kill_at(MOMENTS[name], name, after, before)
        try:
            with Journal(folder) as journal:
                for n in range(first, first + 20):
                    journal.put([(ask(n), Completion(ask(n).key, f"answer {n}"))])
                    os.write(put, f"{n}\n".encode())
        finally:
            os._exit(0)
    os.close(put)
    with os.fdopen(got) as lines:
        found = [int(line) for line in lines]
    os.waitpid(child, 0)
    return found


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("name", MOMENTS)
def test_kill_9_between_commit_and_note_is_no_damage(tmp_path: Path, name: str, before: bool) -> None:
    """Also while the journal is being made: each moment at its first few calls."""
    for after in range(4):
        folder = tmp_path / str(after)
        found = [n for first in (0, 20) for n in write_until_killed(folder, first, name, before, after)]
        with Journal(folder) as journal:
            assert len(journal.get(ask(n).key for n in found)) == len(found)
        assert verify_journal(folder).problems == []


def test_kill_9_anywhere_and_readers_beside_it_see_no_damage(tmp_path: Path) -> None:
    rng, first = random.Random(8), 0
    for _ in range(8):
        writer = write(tmp_path, first, 3)
        assert writer.stdout is not None
        writer.stdout.readline()
        until = time.monotonic() + rng.uniform(0, 0.4)
        while time.monotonic() < until:
            with Journal(tmp_path, readonly=True) as reader:
                assert reader.counts()["completions"]
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
        assert verify_journal(tmp_path).problems == []
        with Journal(tmp_path) as journal:
            first = journal.counts()["completions"]


def test_readers_beside_a_compaction_and_a_purge_see_no_damage(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.put([chat(ask(n), "mild words " * 20) for n in range(3000)])
    code = "import sys, toolkit.generation as g\nfrom pathlib import Path\ng.compact_journal(Path(sys.argv[1]))\n"
    code += "for n in range(8): g.purge_journal(Path(sys.argv[1]), rows=[f'row-{n}'])"
    for _ in range(3):  # a reader that is in the way makes them give up, which is no matter here
        child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stderr=subprocess.DEVNULL)
        while child.poll() is None:
            try:
                Journal(tmp_path, readonly=True).close()
            except InputError as e:
                assert "damaged" not in e.message, e  # noqa: PT017
    assert verify_journal(tmp_path).problems == []


def test_a_journal_of_an_earlier_guardkit_gets_its_note(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "j"
    with Journal(folder) as journal:
        journal.put([chat(ask(n), "mild") for n in range(3)])
    db = sqlite3.connect(folder / "journal.sqlite")
    db.execute("DELETE FROM meta WHERE name = 'state'")
    db.commit()
    db.close()
    (folder / "journal.note").unlink()
    assert not verify_journal(folder).noted
    assert verify_journal(folder).problems == []
    with caplog.at_level("INFO"), Journal(folder) as journal:
        assert journal.counts()["completions"] == 3
    assert "journal.note is kept beside it from now on" in caplog.text
    assert verify_journal(folder).noted
    caplog.clear()
    with caplog.at_level("INFO"):
        Journal(folder).close()
    assert caplog.text == ""
    (folder / "journal.sqlite").unlink()  # though nothing was ever put since
    with pytest.raises(InputError, match="3 answers and 0 failures were recorded"):
        Journal(folder)


def test_version_1_gets_its_note_with_its_migration(tmp_path: Path) -> None:
    version_1(tmp_path / "j", ["a", "b"])
    assert migrate_journal(tmp_path / "j") == (1, 2, True)
    (tmp_path / "j" / "journal.sqlite").unlink()
    with pytest.raises(InputError, match="2 answers and 1 failures were recorded"):
        Journal(tmp_path / "j")


def test_a_note_that_is_gone_is_reported_and_made_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Journal(tmp_path) as journal:
        journal.put([chat(ask(1), "mild")])
    (tmp_path / "journal.note").unlink()
    with Journal(tmp_path) as journal:
        assert len(journal.get([ask(1).key])) == 1
    assert "was not there; it is made anew" in caplog.text
    assert verify_journal(tmp_path).noted


def test_an_older_copy_and_another_journal_are_distinguished_from_the_noted_one(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    with Journal(one) as journal:
        journal.put([chat(ask(1), "mild")])
    old = (one / "journal.sqlite").read_bytes()
    with Journal(one) as journal:
        journal.put([chat(ask(2), "mild")])
    with Journal(other) as journal:
        for n in range(9):
            journal.put([chat(ask(n), "mild")])
    for data, words in (
        (old, r"what was recorded last is not there any more \(1 answers\)"),
        ((other / "journal.sqlite").read_bytes(), "not the file"),
    ):
        (one / "journal.sqlite").write_bytes(data)
        for readonly in (False, True):
            with pytest.raises(InputError, match=words):
                Journal(one, readonly=readonly)


def test_records_that_left_behind_our_back_are_missed(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.put([chat(ask(n), "mild") for n in range(5)], shared=[(ask(1).key, "twin")])
        journal.put([(ask("f"), Completion(ask("f").key, None, error="timeout", detail=""))])
    purge_journal(tmp_path, rows=["row-3"])
    compact_journal(tmp_path)
    assert verify_journal(tmp_path).problems == []  # what was purged is not missed
    db = sqlite3.connect(tmp_path / "journal.sqlite")
    for table in ("answers", "failures", "askers"):
        db.execute(f"DELETE FROM {table} WHERE rowid = 1" if table != "askers" else "DELETE FROM askers")  # noqa: S608  our own names
    db.commit()
    db.close()
    text = " ".join(verify_journal(tmp_path).problems)
    for words in ("1 answers", "1 failures", "1 rows that share an answer"):
        assert f"{words} that were recorded are not there any more" in text


def test_a_repaired_journal_is_sound_for_a_reader_that_came_just_before(tmp_path: Path) -> None:
    killed(tmp_path)
    (tmp_path / "journal.sqlite-wal").unlink()
    with pytest.raises(InputError, match="damaged"):
        Journal(tmp_path, readonly=True)
    repair_journal(tmp_path)
    with Journal(tmp_path, readonly=True), Journal(tmp_path) as journal:
        journal.put([chat(ask("new"), "mild")])
    assert verify_journal(tmp_path).problems == []


@pytest.mark.parametrize("damage", [0, 19, 256 + 40, "cut at 256", "cut at 300"])
def test_one_damaged_copy_of_the_note_is_reported_and_made_anew(tmp_path: Path, damage: int | str, caplog: pytest.LogCaptureFixture) -> None:
    with Journal(tmp_path) as journal:
        for n in range(5):
            journal.put([chat(ask(n), "an answer")])
    note = tmp_path / "journal.note"
    sound = note.read_bytes()
    if isinstance(damage, int):
        flip(note, damage)
    else:
        os.truncate(note, int(damage.split()[-1]))
    assert any("one of the two copies in journal.note" in p for p in verify_journal(tmp_path).problems)
    compact_journal(tmp_path)
    assert "made anew" in caplog.text
    assert verify_journal(tmp_path).problems == []
    newest = max(Note(tmp_path).read().commits, 0)  # type: ignore[union-attr]
    assert newest >= 5
    assert all(str(newest).encode() in half for half in (note.read_bytes()[:256], note.read_bytes()[256:]))
    assert len(note.read_bytes()) == len(sound)
