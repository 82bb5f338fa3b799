"""What the journal has acknowledged outlives kill -9 at any moment, a torn log and a full disk; what was purged does not."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from journals import ask, chat, version_1, write

from toolkit.common.errors import Stopped
from toolkit.generation import Completion, Journal, compact_journal, migrate_journal, purge_journal, verify_journal

ROWS = 3000
WORDS = "the text that a takedown names"
FILES = {"journal.sqlite", "journal.sqlite-wal", "journal.sqlite-shm", "journal.lock", "journal.note"}


def text(n: int) -> str:
    return f"answer {n}: " + (WORDS if n % 100 == 7 else "mild words") + " and more" * 60


def fill(folder: Path) -> dict[str, Completion]:
    with Journal(folder) as journal:
        put = [chat(ask(n), text(n)) for n in range(ROWS)]
        journal.put(put, shared=[(ask(n).key, f"twin-{n}") for n in range(0, ROWS, 10)])
        journal.put([(ask(7), Completion(ask("f").key, None, error="malformed", detail=WORDS, raw=WORDS.encode()))])
    return {r.key: c for r, c in put}


def bytes_of(folder: Path) -> bytes:
    return b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file())


def kill_in(code: str, folder: Path, rng: random.Random, whole: float) -> bool:
    """Run `code`, and kill it somewhere within `whole` seconds of its work; whether it came to its end before."""
    script = f"import sys, toolkit.generation as g\nfrom pathlib import Path\nfolder = Path(sys.argv[1])\nprint(flush=True)\n{code}"
    child = subprocess.Popen([sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    time.sleep(rng.uniform(0, whole))
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    return child.returncode == 0


def until_done(code: str, folder: Path, undisturbed: Callable[[Path], object], check: Callable[[], None], kills: int = 7) -> None:
    """Kill it at `kills` random moments, checking after each; then let it end."""
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    began = time.perf_counter()
    undisturbed(copy)
    whole = time.perf_counter() - began
    rng = random.Random(3)
    for _ in range(kills):
        kill_in(code, folder, rng, whole)
        check()
    undisturbed(folder)
    check()
    assert verify_journal(folder).unfinished is None


def test_kill_9_while_writing_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    rng = random.Random(5)
    first = 0
    for size in (1, 7, 64, 64, 300):
        writer = write(tmp_path, first, size)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(rng.uniform(0, 0.3))
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged = [int(line) for line in writer.communicate()[0].split("\n") if line] or [first + size]
        assert verify_journal(tmp_path).problems == []  # a reader, too, sees a whole journal
        with Journal(tmp_path) as journal:
            found = journal.get(ask(n).key for n in range(acknowledged[-1]))
            assert [found[ask(n).key].text for n in range(acknowledged[-1])] == [f"answer {n}" for n in range(acknowledged[-1])]
            stored = journal.counts()["completions"]
            assert stored in (acknowledged[-1], acknowledged[-1] + size)  # the last batch is there whole or not at all
        first = stored


def test_kill_9_while_compacting_changes_no_answer(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    answers = fill(folder)
    size = len(bytes_of(folder))

    def check() -> None:
        assert verify_journal(folder).problems == []  # a reader, before any writer has cleared up
        with Journal(folder) as journal:
            assert journal.get(answers) == answers
            assert len(journal.asking(answers)) == ROWS / 10

    until_done("g.compact_journal(folder)", folder, compact_journal, check)
    assert verify_journal(folder).packed == ROWS
    assert len(bytes_of(folder)) < size / 2


def test_kill_9_while_migrating_loses_no_answer(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    answers = {r.key: c for r, c in version_1(folder, [text(n) for n in range(ROWS)])}
    code = "g.migrate_journal(folder)"
    whole, rng, seen = 0.3, random.Random(4), set()
    for _ in range(12):
        copy = tmp_path / "copy"
        shutil.copytree(folder, copy)
        kill_in(code, copy, rng, whole)
        with Journal(copy) as journal:  # migrates what is not
            assert journal.get(answers) == answers
            assert journal.counts() == {"completions": ROWS, "failures": 1}
        seen.add(migrate_journal(copy))
        assert verify_journal(copy).problems == []
        shutil.rmtree(copy)
    assert seen == {(2, 2, False)}


def test_kill_9_while_purging_and_again_leaves_no_byte(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    answers = fill(folder)
    gone = [n for n in range(ROWS) if n % 100 == 7]
    rows = [ask(n).row for n in gone]
    code = f"g.purge_journal(folder, rows={rows!r})"
    kept = {k: c for k, c in answers.items() if k not in {ask(n).key for n in gone}}
    assert WORDS.encode() in bytes_of(folder)

    def check() -> None:
        assert verify_journal(folder).problems == []
        with Journal(folder) as journal:
            assert journal.get(kept) == kept
            assert len(journal.get(answers)) in (len(kept), ROWS)  # all or nothing

    until_done(code, folder, lambda where: purge_journal(where, rows=rows), check)
    assert WORDS.encode() not in bytes_of(folder)
    assert {p.name for p in folder.iterdir()} <= FILES


FULL = """
import os, resource, sys
from pathlib import Path
from toolkit.common.errors import Stopped
from toolkit.generation import Completion, Journal, Request, compact_journal
folder, mode, limit = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
def ask(n):
    return Request("m", "e", (("user", str(n)),), 0, 1, 1)
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
n = 0
try:
    if mode == "compact":
        compact_journal(folder)
    with Journal(folder) as journal:
        while True:
            journal.put([(ask(n), Completion(ask(n).key, "x" * 3000))])
            n += 1
except Stopped as e:
    print(n, e.exit_code, e)
"""


@pytest.mark.parametrize("mode", ["limit", "tmpfs"])
def test_a_full_disk_stops_with_everything_kept(tmp_path: Path, mode: str) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "guardkit", str(folder)]
    if mode == "tmpfs" and (os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode):
        pytest.skip("needs the right to mount a tmpfs")
    try:
        limit = "0" if mode == "tmpfs" else "800000"
        run = subprocess.run([sys.executable, "-c", FULL, str(folder / "j"), "write", limit], capture_output=True, text=True, check=True)
        n, code, message = run.stdout.split(" ", 2)
        assert (code, "make room on the disk" in message) == ("3", True)
        if mode == "tmpfs":
            with pytest.raises(Stopped, match=r"compacting the journal needs \d+ MB free"):
                compact_journal(folder / "j")
            subprocess.run(["mount", "-o", "remount,size=50m", str(folder)], check=True)
        with Journal(folder / "j") as journal:
            assert int(n) > 20
            assert len(journal.get(ask(k, row="").key for k in range(int(n) + 1))) == int(n)
            journal.put([chat(ask("more"), "room again")])
    finally:
        if mode == "tmpfs":
            subprocess.run(["umount", str(folder)], check=False)


def test_a_compaction_on_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    answers = fill(tmp_path)
    with Journal(tmp_path) as journal:
        journal.put([(ask(f"u{n}"), Completion(ask(f"u{n}").key, random.Random(n).randbytes(1000).hex())) for n in range(500)])
    limit = str(tmp_path.joinpath("journal.sqlite").stat().st_size // 5)  # less than what is left of it
    run = subprocess.run([sys.executable, "-c", FULL, str(tmp_path), "compact", limit], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("0 3 ")
    assert {p.name for p in tmp_path.iterdir()} <= FILES
    with Journal(tmp_path) as journal:
        assert journal.get(answers) == answers
    compact_journal(tmp_path)
    assert verify_journal(tmp_path).packed == ROWS + 500
