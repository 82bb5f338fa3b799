"""A repair keeps every record that can be read, and the damaged files; whatever kills it, the same call ends it."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from journals import ask, body, chat, kill_at, version_1
from test_journal_note import LOSSES, killed

from toolkit.common.errors import InputError, Stopped
from toolkit.generation import (
    Completion,
    Journal,
    Request,
    compact_journal,
    find_records,
    purge_journal,
    repair_journal,
    verify_journal,
)
from toolkit.generation import _journal_repair as repairing
from toolkit.generation._journal_note import Note
from toolkit.generation._journal_pages import rows_in


def filled(folder: Path) -> dict[str, Completion]:
    """All kinds of records, short ones and such as go over many pages."""
    rng = random.Random(1)
    put = [chat(ask(n, seed=n % 3), f"mild words {n} " * rng.choice([1, 30, 2000]), reasoning_content="thought \ud800") for n in range(150)]
    put += [(ask(f"t{n}"), Completion(ask(f"t{n}").key, "x" * n * 97, "stop", cost=float(n), seconds=2.0, reasoning="NUL \x00")) for n in range(60)]
    put += [(ask(f"r{n}"), Completion(ask(f"r{n}").key, None, error="refused", detail="no", raw=body("x" * 9000))) for n in range(20)]
    failures = [(ask(f"f{n}"), Completion(ask(f"f{n}").key, None, error="timeout", detail="slow", raw=b"torn" * n * 500)) for n in range(20)]
    with Journal(folder) as journal:
        for n in range(0, len(put), 7):
            journal.put(put[n : n + 7], shared=[(r.key, f"twin-{r.row}") for r, _ in put[n : n + 3]])
        journal.put(failures)
    return {r.key: c for r, c in put}


def dump(folder: Path) -> list[tuple[str, list[tuple[object, ...]]]]:
    db = sqlite3.connect(folder / "journal.sqlite")
    out = [(t, sorted(db.execute(f"SELECT * FROM {t}").fetchall(), key=repr)) for t in ("answers", "failures", "askers", "shapes")]  # noqa: S608
    db.close()
    return out


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("page", [4096, 8192])
def test_every_record_of_a_sound_file_is_found_page_by_page(tmp_path: Path, packed: bool, page: int) -> None:
    folder = tmp_path / "j"
    filled(folder)
    if packed:
        compact_journal(folder)
    db = sqlite3.connect(folder / "journal.sqlite", isolation_level=None)
    db.execute("PRAGMA journal_mode=DELETE")
    db.execute(f"PRAGMA page_size={page}")
    db.execute("VACUUM")
    db.close()
    whole = dump(folder)
    found = [row for row in rows_in(folder / "journal.sqlite", folder / "none") if len(row.columns) == 20]
    assert len({row.number for row in found}) == 230
    (folder / "journal.note").write_bytes(b"?")  # all that is damaged
    done = repair_journal(folder)
    assert (done.answers, done.failures, done.unreadable, done.lost_answers, done.lost_failures, done.lost_shared) == (230, 20, [], 0, 0, 0)
    assert dump(folder) == whole
    assert verify_journal(folder).problems == []


@pytest.mark.parametrize("how", LOSSES)
def test_what_can_be_read_is_kept_whatever_was_lost(tmp_path: Path, how: str) -> None:
    folder = tmp_path / "j"
    acknowledged = killed(folder)
    LOSSES[how](folder)
    before = {p.name: p.read_bytes() for p in folder.iterdir() if p.name in ("journal.sqlite", "journal.sqlite-wal", "journal.note")}
    found = repair_journal(folder, lambda found: False)
    assert found.copy is None
    assert {p.name for p in folder.iterdir()} <= {*before, "journal.lock", "journal.sqlite-shm", "journal.sqlite-wal"}
    done = repair_journal(folder)
    assert done.copy is not None
    assert {p.name: p.read_bytes() for p in Path(done.copy).iterdir() if p.name in before} == before
    if how in ("file empty beside a log", "a bit in the log", "a bit in the log's header", "the note unreadable", "file gone beside a log"):
        assert done.answers >= acknowledged - 5  # a bit costs one page of the log at most
    elif "note" not in how and how != "only the lock is left":
        assert done.lost_answers >= acknowledged - done.answers > 0
        assert done.recorded is not None
    with Journal(folder) as journal:
        assert journal.counts()["completions"] == done.answers
        texts = journal.get(ask(n).key for n in range(acknowledged + 5))
        assert {c.text for c in texts.values()} <= {f"answer {n}" for n in range(acknowledged + 5)}
        journal.put([chat(ask("more"), "room again")])
    assert verify_journal(folder).problems == []
    again = repair_journal(folder)
    assert (again.problems, again.copy) == ([], None)


def test_bad_pages_cost_their_own_records(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    answers = filled(whole)
    data = (whole / "journal.sqlite").read_bytes()
    rng, kept = random.Random(4), []
    for trial in range(25):
        folder = tmp_path / "j"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        torn = bytearray(data)
        pages = [0] if trial == 0 else rng.sample(range(len(data) // 8192), 3)
        for page in pages:
            torn[page * 8192 : (page + 1) * 8192] = rng.randbytes(8192)
        if trial % 5 == 1:
            torn = torn[: len(torn) * 3 // 4 + 100]
        (folder / "journal.sqlite").write_bytes(torn)
        done = repair_journal(folder)
        assert done.problems
        with Journal(folder) as journal:
            found = journal.get(answers)
            assert found.items() <= answers.items()
            assert len(found) == done.answers
            assert done.answers + done.lost_answers == len(answers)
        assert verify_journal(folder).problems == []
        kept.append(done.answers)
    assert kept[0] > 200
    assert sorted(kept)[12] > 180


def test_a_record_that_cannot_be_read_is_set_aside(tmp_path: Path) -> None:
    filled(tmp_path)
    db = sqlite3.connect(tmp_path / "journal.sqlite")
    db.execute("UPDATE answers SET model = 'other' WHERE id = 3")
    db.execute("DELETE FROM shapes WHERE id = 2")
    db.commit()
    key = db.execute("SELECT key FROM answers WHERE id = 3").fetchone()[0].hex()
    db.close()
    done = repair_journal(tmp_path)
    assert (done.unreadable, done.lost_answers, done.answers) == ([key], 1, 229)
    assert verify_journal(tmp_path).problems == []
    with Journal(tmp_path) as journal:
        assert len(list(journal.records())) == 249  # those whose model and endpoint are not known, too


def test_what_is_no_journal_is_left_alone(tmp_path: Path) -> None:
    version_1(tmp_path / "old", ["a"])
    with pytest.raises(InputError, match="guardkit journal migrate"):
        repair_journal(tmp_path / "old")
    with pytest.raises(InputError, match="no journal there"):
        repair_journal(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    (other / "journal.sqlite").write_text("my own notes " * 100)
    with pytest.raises(InputError, match="nothing of guardkit's"):
        repair_journal(other)
    assert (other / "journal.sqlite").read_text() == "my own notes " * 100
    with Journal(tmp_path / "j") as journal:
        journal.put([chat(ask(1), "mild")])
        assert repair_journal(tmp_path / "j").problems == []
    killed(tmp_path / "k")
    with Journal(tmp_path / "k"):
        (tmp_path / "k" / "journal.note").write_bytes(b"?")
        with pytest.raises(InputError, match="in use by process"):
            repair_journal(tmp_path / "k")


def test_too_little_room_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed(tmp_path)
    (tmp_path / "journal.sqlite-wal").unlink()
    before = (tmp_path / "journal.sqlite").read_bytes()
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(Stopped, match=r"repairing the journal needs \d+ MB free"):
        repair_journal(tmp_path)
    assert (tmp_path / "journal.sqlite").read_bytes() == before


def test_a_purge_names_the_copies_that_repairs_kept(tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / "journal.note").write_bytes(b"?")
    done = repair_journal(tmp_path)
    assert find_records(tmp_path, rows=["row-1"]).copies == [done.copy]
    assert purge_journal(tmp_path, rows=["row-1"]).copies == [done.copy]


STEPS: list[tuple[object, str]] = [
    (os, "link"),
    (repairing, "fsync_path"),
    (Path, "rename"),
    (Path, "replace"),
    (Path, "unlink"),
    (Note, "replace"),
    (repairing, "write_state"),
]


def killed_in(repair: Callable[[], object], thing: object, name: str, after: int, before: bool) -> bool:
    """Whether a repair was killed at the call number `after` of a function."""
    if (child := os.fork()) == 0:
        kill_at(thing, name, after, before)
        try:
            repair()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.parametrize(("thing", "name"), STEPS, ids=[name for _, name in STEPS])
def test_kill_9_while_repairing_and_again_loses_nothing(tmp_path: Path, thing: object, name: str) -> None:
    whole = tmp_path / "whole"
    acknowledged = killed(whole)
    os.truncate(whole / "journal.sqlite", 0)
    kills = 0
    for after in range(20):
        folder = tmp_path / "j"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        if not killed_in(lambda: repair_journal(folder), thing, name, after, before=after % 2 == 0):  # noqa: B023
            break
        kills += 1
        try:
            Journal(folder).close()
        except InputError as e:
            assert "guardkit journal repair" in str(e)  # noqa: PT017  refused until the repair has come to its end
            done = repair_journal(folder)
            assert done.copy is not None
            assert (Path(done.copy) / "journal.sqlite-wal").read_bytes() == (whole / "journal.sqlite-wal").read_bytes()
        assert verify_journal(folder).problems == []
        with Journal(folder) as journal:
            assert len(journal.get(ask(n).key for n in range(acknowledged))) == acknowledged
    assert kills


def test_what_a_request_was_is_not_needed_to_keep_its_answer(tmp_path: Path) -> None:
    """Two repairs of one journal, with records between."""
    put: list[tuple[Request, Completion]] = []
    for n in range(3):
        more = [chat(ask(f"{n}-{k}"), "mild") for k in range(10)]
        with Journal(tmp_path) as journal:
            journal.put(more)
        put += [(r, replace(c)) for r, c in more]
        (tmp_path / "journal.note").write_bytes(b"?")
        assert repair_journal(tmp_path).answers == len(put)
    with Journal(tmp_path) as journal:
        assert journal.get(r.key for r, _ in put) == {r.key: c for r, c in put}
    assert len(list(tmp_path.glob("damaged-*"))) == 3
