"""Looking at a journal needs no room on the disk and no right to write; a journal that cannot be opened says why."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from journals import ask, chat
from test_journal_note import killed

from toolkit.common.errors import GuardkitError
from toolkit.generation import Journal, compact_journal, find_records, journal_figures, purge_journal, read_records, repair_journal, verify_journal

LOOK = """
import json, resource, sys
from pathlib import Path
from toolkit.common.errors import GuardkitError
from toolkit.generation import Journal, find_records, journal_figures, read_records, verify_journal
folder = Path(sys.argv[1])
if sys.argv[2] == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # not a byte to any file
def run():
    Journal(folder).close()
    return "opened"
def get():
    with Journal(folder, readonly=True) as journal:
        return journal.counts()["completions"]
ways = {"verify": lambda: verify_journal(folder).answers, "show": lambda: sum(g.records for g in journal_figures(folder).groups),
    "records": lambda: len(list(read_records(folder))), "find": lambda: find_records(folder, rows=["row-1"]).answers, "get": get, "run": run}
found = {}
for name, way in ways.items():
    try:
        found[name] = way()
    except GuardkitError as e:
        found[name] = f"{e.exit_code} {e}"
print(json.dumps(found))
"""


@pytest.fixture(params=["limit", "full", "read-only"])
def without_room(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[Callable[[Path], None]], dict[str, object]]]:
    """Look at a journal made by a function on a disk without room: a full one, a read-only one, or under a limit of no bytes. Where nothing may be
    mounted, the limit stands for all."""
    disk = tmp_path / "disk"
    disk.mkdir()
    tmpfs = ["mount", "-t", "tmpfs", "-o", "size=4m", "guardkit", str(disk)]
    mounted = request.param != "limit" and subprocess.run(tmpfs, check=False, capture_output=True).returncode == 0

    def look(make: Callable[[Path], None]) -> dict[str, object]:
        make(disk / "j")
        if mounted and request.param == "read-only":
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        elif mounted:
            with suppress(OSError), (disk / "rest").open("wb", buffering=0) as f:
                while f.write(b"x" * 4096):
                    pass
        before = {p.name: p.read_bytes() for p in (disk / "j").iterdir() if p.name.endswith(("sqlite", "-wal", "note")) and p.stat().st_size}
        run = subprocess.run([sys.executable, "-c", LOOK, str(disk / "j"), "" if mounted else "limit"], capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        found: dict[str, object] = json.loads(run.stdout)
        if found["run"] != "opened":
            assert {p.name: p.read_bytes() for p in (disk / "j").iterdir() if p.name in before} == before
        return found

    yield look
    if mounted:
        subprocess.run(["umount", str(disk)], check=True)


def closed(folder: Path) -> None:
    with Journal(folder) as journal:
        journal.put([chat(ask(n), "mild") for n in range(20)])


def killed_writer(folder: Path) -> None:
    killed(folder, groups=4)


def no_index(folder: Path) -> None:
    killed(folder, groups=4)
    (folder / "journal.sqlite-shm").unlink()


@pytest.mark.parametrize("make", [closed, killed_writer, no_index])
def test_looking_needs_no_room(without_room: Callable[[Callable[[Path], None]], dict[str, object]], make: Callable[[Path], None]) -> None:
    found = without_room(make)
    n = found["verify"]
    assert isinstance(n, int)
    assert n >= 20
    assert (found["show"], found["records"], found["find"], found["get"]) == (n, n, 1, n)
    assert str(found["run"]).startswith(("2 ", "3 ", "opened"))


def torn(folder: Path) -> None:
    killed(folder, groups=4)
    (folder / "journal.sqlite-shm").unlink()
    os.truncate(folder / "journal.sqlite-wal", 9000)  # a whole page, and no whole transaction


def test_a_damaged_one_is_refused_without_room_too(without_room: Callable[[Callable[[Path], None]], dict[str, object]]) -> None:
    found = without_room(torn)
    assert found.pop("verify") == 0
    for answer in found.values():
        assert str(answer).startswith("2 ")
        assert "guardkit journal repair" in str(answer)


def made(folder: Path, name: str, what: str) -> None:
    path = folder / name
    path.unlink(missing_ok=True)
    if what == "a folder":
        path.mkdir()
    elif what == "a link to itself":
        path.symlink_to(name)
    elif what == "a link to nothing":
        path.symlink_to("/nonexistent/file")
    elif what == "a pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/proc/self/mem")  # a read of it fails


USES: list[Callable[[Path], object]] = [
    lambda folder: Journal(folder).close(),
    lambda folder: Journal(folder, readonly=True).close(),
    verify_journal,
    journal_figures,
    lambda folder: list(read_records(folder, rows=["row-1"])),
    lambda folder: find_records(folder, rows=["row-1"]),
    compact_journal,
    lambda folder: purge_journal(folder, rows=["row-1"]),
    lambda folder: repair_journal(folder, lambda found: False),
]


@pytest.mark.parametrize("what", ["a folder", "a link to itself", "a link to nothing", "an unreadable file"])
@pytest.mark.parametrize("name", ["journal.sqlite", "journal.sqlite-wal", "journal.note", "journal.lock", "batches"])
def test_whatever_stands_in_the_place_of_its_files_ends_in_a_clear_error(tmp_path: Path, name: str, what: str) -> None:
    folder = tmp_path / "j"
    closed(folder)
    made(folder, name, what)
    for use in USES:
        try:
            use(folder)
        except GuardkitError as e:
            assert (e.exit_code in (2, 3), bool(e.where)) == (True, True)  # noqa: PT017  some uses may succeed


@pytest.mark.parametrize("what", ["a folder", "a link to itself", "a file"])
def test_whatever_stands_in_the_place_of_its_folder_ends_in_a_clear_error(tmp_path: Path, what: str) -> None:
    if what == "a file":
        (tmp_path / "j").write_text("x")
    else:
        made(tmp_path, "j", what)
    for use in USES[1:]:
        with pytest.raises(GuardkitError) as e:
            use(tmp_path / "j")
        assert e.value.exit_code in (2, 3)
