"""Folders that appear whole or not at all and take the place of nothing but guardkit's own: killed at each point of the way, too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from toolkit.common.errors import InputError
from toolkit.common.files import tree_digests
from toolkit.common.folders import Kind, check_own, new_folder, recover_folder, remove_folder, sweep, work_beside

OLD = {"a.txt": "old a", "sub/b.txt": "old b"}
NEW = {"a.txt": "new a", "c.txt": "new c"}


def wrote(folder: Path) -> dict[str, str | None] | None:
    listed = folder / "listed.json"
    return {"listed.json": None, **json.loads(listed.read_text())} if listed.exists() else None


LISTED = Kind("listed folder", wrote, "give another folder", "--overwrite")

# For each number, a process that is killed (-9) just before that call of those that make, fill, sync, move or remove; until one comes to its end.
KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[4])
from test_folders import LISTED, NEW, OLD, make
from toolkit.common import folders

what, root, old = sys.argv[1], Path(sys.argv[2]), sys.argv[3] == "old"
seen = at = 0

def counted(call):
    def before(*args, **kwargs):
        global seen
        if seen == at:
            os.kill(os.getpid(), signal.SIGKILL)
        seen += 1
        return call(*args, **kwargs)
    return before

def work(where):
    os.fsync, os.open, os.pwrite, os.rmdir, os.unlink = map(counted, (os.fsync, os.open, os.pwrite, os.rmdir, os.unlink))
    for name in ("mkdir", "rename", "write_text", "unlink", "rmdir", "chmod"):
        setattr(Path, name, counted(getattr(Path, name)))
    if what == "remove":
        folders.remove_folder(where / "f", LISTED)
    else:
        with folders.new_folder(where / "f", LISTED) as new:
            (folders.work_beside(new) / "cache").write_text("cache")
            make(new, NEW)

for at in range(200):
    where = root / f"{at:03d}"
    where.mkdir()
    if old:
        make(where / "f", OLD)
    pid = os.fork()
    if not pid:
        try:
            work(where)
        finally:
            os._exit(0 if sys.exc_info()[0] is None else 1)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code != -9:
        sys.exit(code)
sys.exit(2)
"""


def killed(what: str, root: Path, old: bool) -> list[Path]:
    """What is there for each number of calls, the last one not killed."""
    root.mkdir()
    command = [sys.executable, "-c", KILLED, what, str(root), "old" if old else "-", str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return sorted(root.iterdir())


def fill(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def make(folder: Path, files: dict[str, str]) -> None:
    """A folder as guardkit would make it."""
    fill(folder, files)
    (folder / "listed.json").write_text(json.dumps(tree_digests(folder)))


def read(folder: Path) -> dict[str, str] | None:
    if not folder.exists():
        return None
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file() and p.name != "listed.json"}


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize(
    ("what", "old", "goal"), [("make", OLD, NEW), ("make", None, NEW), ("remove", OLD, None)], ids=["replace", "first", "remove"]
)
def test_a_folder_killed_anywhere_is_whole_after_recovery(tmp_path: Path, what: str, old: dict[str, str] | None, goal: dict[str, str] | None) -> None:
    """While the hidden folder is made or marked, inside a write, before, between and after the renames, while what is left is removed."""
    seen = []
    for where in killed(what, tmp_path / "at", old is not None):
        left = sweep(where)
        assert left == [".f.guardkit"] * len(left)
        assert read(where / "f") in (old, goal)
        assert names(where) == ["f"] * (read(where / "f") is not None)
        seen.append(read(where / "f"))
    assert len(seen) > 13
    assert seen[0] == old and seen[-1] == goal
    assert seen == sorted(seen, key=lambda found: found == goal), "once it is the new one, it stays so"


def test_a_half_written_folder_never_wins(tmp_path: Path) -> None:
    half = [at for at in killed("make", tmp_path / "at", old=True) if (at / ".f.guardkit" / "new" / "a.txt").exists() and (at / "f").exists()]
    tmp_path = half[1]
    with new_folder(tmp_path / "f", LISTED) as new:
        assert list(new.iterdir()) == []
        make(new, NEW)
    assert read(tmp_path / "f") == NEW and names(tmp_path) == ["f"]
    recover_folder(tmp_path / "f")  # with nothing to do
    recover_folder(tmp_path / "nothing")
    assert read(tmp_path / "f") == NEW


def test_a_folder_put_where_a_swap_was_cut_short_costs_neither(tmp_path: Path) -> None:
    folder = next(at for at in killed("make", tmp_path / "at", old=True) if not (at / "f").exists())
    fill(folder / "f", {"diary": "mine"})
    for _ in range(2):
        with pytest.raises(InputError, match="put here while guardkit replaced"), new_folder(folder / "f", LISTED):
            pass
    (folder / "f").rename(folder / "mine")
    assert sweep(folder) == [".f.guardkit"]
    assert read(folder / "f") == NEW and read(folder / "mine") == {"diary": "mine"}


@pytest.mark.parametrize("name", [".f.new", ".f.old", ".f.work", ".f.guardkit"])
@pytest.mark.parametrize("link", [False, True])
def test_somebodys_own_hidden_folder_is_no_leftover(tmp_path: Path, name: str, link: bool) -> None:
    fill(tmp_path / "elsewhere" if link else tmp_path / name, {"diary": "mine", "lock": "mine", "new/x": "mine", "old/x": "mine"})
    if link:
        (tmp_path / name).symlink_to("elsewhere")
    before = read(tmp_path / name)
    assert sweep(tmp_path) == []
    if name == ".f.guardkit":
        with pytest.raises(InputError, match="is in the way") as e, new_folder(tmp_path / "f", LISTED):
            pass
        assert e.value.where == str(tmp_path / name) and e.value.hint == "move it elsewhere"
    else:
        with new_folder(tmp_path / "f", LISTED) as new:
            make(new, NEW)
        remove_folder(tmp_path / "f", LISTED)
    assert read(tmp_path / name) == before and not (tmp_path / "f").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"listed.json": None}, "not empty, and no listed folder that guardkit made"),
        ({"diary": "mine", "sub/.more": "mine"}, "something else is in this listed folder: diary, sub/.more"),
        ({"sub/b.txt": "corrected by hand"}, "were changed since guardkit wrote them: sub/b.txt"),
        ({f"note-{i}": "mine" for i in range(9)}, "note-0, note-1, note-2, note-3, note-4 and 4 more"),
    ],
)
def test_what_is_not_guardkits_is_neither_replaced_nor_removed(tmp_path: Path, change: dict[str, str | None], message: str) -> None:
    folder = tmp_path / "f"
    make(folder, OLD)
    for name, text in change.items():
        (folder / name).unlink() if text is None else (folder / name).write_text(text)
    before = read(folder)
    with pytest.raises(InputError, match=message) as e, new_folder(folder, LISTED):
        raise AssertionError("refused before any work begins")
    assert e.value.where == str(folder) and e.value.hint is not None and "give another folder" in e.value.hint
    with pytest.raises(InputError, match=message):
        remove_folder(folder, LISTED)
    assert read(folder) == before and names(tmp_path) == ["f"]


def test_changes_may_be_lost_where_that_is_asked_for_and_nothing_else_may(tmp_path: Path) -> None:
    make(tmp_path / "f", OLD)
    (tmp_path / "f" / "a.txt").write_text("corrected by hand")
    with pytest.raises(InputError, match="or say --overwrite: these changes would be lost"):
        check_own(tmp_path / "f", LISTED)
    with new_folder(tmp_path / "f", LISTED, overwrite=True) as new:
        make(new, NEW)
    assert read(tmp_path / "f") == NEW
    (tmp_path / "f" / "diary").write_text("mine")
    with pytest.raises(InputError, match="something else is in this listed folder: diary"), new_folder(tmp_path / "f", LISTED, overwrite=True):
        pass


def test_a_link_in_place_of_a_file_is_a_change(tmp_path: Path) -> None:
    make(tmp_path / "f", OLD)
    (tmp_path / "f" / "a.txt").rename(tmp_path / "a.txt")
    (tmp_path / "f" / "a.txt").symlink_to("../a.txt")
    with pytest.raises(InputError, match=r"changed since guardkit wrote them: a\.txt"):
        remove_folder(tmp_path / "f", LISTED)


def test_a_file_or_a_link_is_not_replaced_by_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    make(tmp_path / "folder", OLD)
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "broken").symlink_to("nowhere")
    for name, answer in (("file", "a file where a folder"), ("link", "a link where a folder"), ("broken", "a link where a folder")):
        with pytest.raises(InputError, match=answer), new_folder(tmp_path / name, LISTED):
            pass
    assert (tmp_path / "file").read_text() == "mine" and read(tmp_path / "folder") == OLD
    assert names(tmp_path) == ["broken", "file", "folder", "link"]


def test_what_a_file_browser_leaves_behind_is_nobodys(tmp_path: Path) -> None:
    with new_folder(tmp_path / "f", LISTED) as new:
        make(new, OLD)
    for name in (".DS_Store", "sub/.DS_Store", "sub/Thumbs.db", ".nfs000000000012ab3400000001"):
        (tmp_path / "f" / name).write_bytes(b"\0")
    check_own(tmp_path / "f", LISTED)
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "f" / "desktop.ini").symlink_to("../mine")
    with pytest.raises(InputError, match=r"something else is in this listed folder: desktop\.ini"):
        check_own(tmp_path / "f", LISTED)
    (tmp_path / "f" / "desktop.ini").unlink()
    with new_folder(tmp_path / "f", LISTED) as new:
        make(new, NEW)
    assert read(tmp_path / "f") == NEW


def test_an_empty_folder_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / "f" / "sub").mkdir(parents=True)
    with new_folder(tmp_path / "f", LISTED) as new:
        make(new, NEW)
    assert read(tmp_path / "f") == NEW


@pytest.mark.parametrize("old", [OLD, None])
def test_what_comes_there_during_the_work_is_not_lost_nor_is_the_work(tmp_path: Path, old: dict[str, str] | None) -> None:
    if old is not None:
        make(tmp_path / "f", old)
    (tmp_path / "f-2").mkdir()

    def work() -> None:
        with new_folder(tmp_path / "f", LISTED) as new:
            make(new, NEW)
            fill(tmp_path / "f", {"diary": "mine"})

    with pytest.raises(InputError, match=r"diary changed or came there while guardkit worked; what it made is in .*/f-3"):
        work()
    assert read(tmp_path / "f") == {**(old or {}), "diary": "mine"} and read(tmp_path / "f-3") == NEW
    assert names(tmp_path) == ["f", "f-2", "f-3"]


def test_what_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(28, os.strerror(28))

    def interrupted() -> None:
        with new_folder(tmp_path / "f", LISTED) as new:
            fill(work_beside(new), NEW)
            fill(new, NEW)
            raise KeyboardInterrupt

    make(tmp_path / "f", OLD)
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"), new_folder(tmp_path / "f", LISTED) as new:
        fill(new, NEW)
    assert read(tmp_path / "f") == OLD and names(tmp_path) == ["f"]


def test_a_rename_that_fails_brings_the_old_one_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "f", OLD)
    rename, seen = Path.rename, []

    def broken(self: Path, target: Path) -> Path:
        seen.append(self.name)
        if seen == ["f", "new"]:
            raise OSError(5, os.strerror(5))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", broken)
    with pytest.raises(OSError, match="Input/output"), new_folder(tmp_path / "f", LISTED) as new:
        make(new, NEW)
    assert read(tmp_path / "f") in (OLD, NEW) and names(tmp_path) == ["f"]


def test_what_cannot_be_removed_is_reported_and_goes_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path / "d", OLD)
    real = os.unlink

    def failing(path: Any, *a: Any, **k: Any) -> None:
        if k.get("dir_fd") is not None:
            raise OSError(5, "Input/output error")
        real(path, *a, **k)

    monkeypatch.setattr(os, "unlink", failing)
    with new_folder(tmp_path / "d", LISTED) as new:
        make(new, NEW)
    assert read(tmp_path / "d") == NEW
    assert (tmp_path / ".d.guardkit" / "old").is_dir()
    assert ".d.guardkit/old, which nobody needs, could not be removed" in caplog.text
    monkeypatch.undo()
    with new_folder(tmp_path / "d", LISTED) as new:
        make(new, OLD)
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


def test_two_writers_of_one_folder_do_not_mix(tmp_path: Path) -> None:
    with new_folder(tmp_path / "f", LISTED) as new:
        make(new, NEW)
        with pytest.raises(InputError, match=rf"in use by process {os.getpid()} \(this one\)"), new_folder(tmp_path / "f", LISTED):
            pass
        assert sweep(tmp_path) == [], "what another one works on is no leftover"
    assert read(tmp_path / "f") == NEW


def test_a_folder_is_for_its_owner_alone_until_he_opens_it(tmp_path: Path) -> None:
    def modes() -> list[int]:
        return [(tmp_path / n).stat().st_mode & 0o777 for n in ("g", "g/f", "g/f/a.txt", "g/f/c.txt")]

    mask = os.umask(0)
    try:
        with new_folder(tmp_path / "g" / "f", LISTED) as new:
            make(new, NEW)
        assert modes() == [0o700, 0o700, 0o600, 0o600]
        (tmp_path / "g" / "f").chmod(0o750)
        (tmp_path / "g" / "f" / "a.txt").chmod(0o640)
        with new_folder(tmp_path / "g" / "f", LISTED) as new:
            make(new, NEW)
    finally:
        os.umask(mask)
    assert modes() == [0o700, 0o750, 0o640, 0o600]


def test_a_place_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file" / "f", Path("/proc/guardkit-f")):
        with pytest.raises(InputError, match="cannot be written"), new_folder(place, LISTED):
            pass
