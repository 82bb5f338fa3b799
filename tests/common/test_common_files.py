"""Files that appear whole or not at all, for their owner alone: killed at each point of the way, too."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.common.errors import InputError
from toolkit.common.files import canonical_json, digest, make_file, new_file, open_own, sha256_file, tree_digests, write_atomic

# For each number, a process that is killed (-9) just before that call of those that make, fill, sync or rename; until one comes to its end.
KILLED = """
import os, signal, sys
from pathlib import Path
from toolkit.common import files

root = Path(sys.argv[1])
seen = at = 0

def counted(call):
    def before(*args, **kwargs):
        global seen
        if seen == at:
            os.kill(os.getpid(), signal.SIGKILL)
        seen += 1
        return call(*args, **kwargs)
    return before

for at in range(40):
    where = root / f"{at:03d}"
    where.mkdir()
    (where / "f.txt").write_text("old")
    pid = os.fork()
    if not pid:
        os.open, os.fchmod, os.fsync = map(counted, (os.open, os.fchmod, os.fsync))
        Path.unlink, Path.replace = counted(Path.unlink), counted(Path.replace)
        files.write_atomic(where / "f.txt", "new")
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code != -9:
        sys.exit(code)
sys.exit(2)
"""


def fill(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def read(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_a_file_killed_anywhere_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen = []
    for where in sorted(tmp_path.iterdir()):
        seen.append((where / "f.txt").read_text())
        write_atomic(where / "f.txt", "again")  # and what was left behind is no hindrance
        assert read(where) == {"f.txt": "again"}
    assert len(seen) > 6 and seen == sorted(seen, reverse=True) and set(seen) == {"old", "new"}


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    fill(tmp_path, {"a.txt": "old"})
    with pytest.raises(UnicodeEncodeError):
        write_atomic(tmp_path / "a.txt", "\ud800")

    def interrupted() -> None:
        with new_file(tmp_path / "a.txt") as new:
            new.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert read(tmp_path) == {"a.txt": "old"}


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(28, os.strerror(28))

    fill(tmp_path, {"a.txt": "old"})
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(tmp_path / "a.txt", "new")
    assert read(tmp_path) == {"a.txt": "old"}


def test_what_guardkit_writes_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Under any umask; and a file that its owner has opened to a group stays open when it is written anew."""
    mask = os.umask(0)
    try:
        write_atomic(tmp_path / "made" / "by" / "a.txt", "a")
        with new_file(tmp_path / "made" / "b.txt") as new:
            assert mode(new) == 0o600, "while it is written, too"
            new.write_text("b")
        make_file(tmp_path / "c.txt").close()
        (tmp_path / "made" / "b.txt").chmod(0o640)
        (tmp_path / "made" / "by" / "a.txt").chmod(0o664)
        os.umask(0o077)
        write_atomic(tmp_path / "made" / "by" / "a.txt", "again")
        with new_file(tmp_path / "made" / "b.txt") as new:
            new.write_text("again")
    finally:
        os.umask(mask)
    assert [mode(tmp_path / n) for n in ("made", "made/by", "made/by/a.txt", "made/b.txt", "c.txt")] == [0o700, 0o700, 0o664, 0o640, 0o600]


@pytest.mark.parametrize("how", ["atomic", "new", "own", "fresh"])
def test_no_link_is_followed_where_guardkit_writes_a_name_of_its_own(tmp_path: Path, how: str) -> None:
    (tmp_path / "precious.txt").write_text("precious")
    for name in ("f", ".f.guardkit"):
        if how != "new" or name != "f":
            (tmp_path / name).symlink_to("precious.txt")
    if how == "atomic":
        write_atomic(tmp_path / "f", "mine")
        assert (tmp_path / "f").read_text() == "mine" and not (tmp_path / "f").is_symlink()
    elif how == "fresh":
        make_file(tmp_path / "f").close()
        assert (tmp_path / "f").read_text() == ""
    else:

        def write() -> None:
            if how == "own":
                open_own(tmp_path / "f", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            with new_file(tmp_path / "f"):
                pass

        with pytest.raises(InputError, match="a link, or no regular file") as e:
            write()
        assert e.value.where is not None and e.value.hint == "remove it"
    assert (tmp_path / "precious.txt").read_text() == "precious"


def test_a_pipe_is_no_file_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="no regular file"):
        open_own(tmp_path / "pipe", os.O_WRONLY | os.O_CREAT)
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(InputError, match="no regular file"):
            make_file(tmp_path / name)
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "folder").is_dir()


def test_a_second_name_of_a_file_is_not_emptied(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("precious")
    (tmp_path / ".f.guardkit").hardlink_to(tmp_path / "precious.txt")
    with pytest.raises(InputError, match="second name"), new_file(tmp_path / "f"):
        pass
    write_atomic(tmp_path / "f", "mine")
    assert (tmp_path / "precious.txt").read_text() == "precious"


def test_somebodys_own_hidden_files_stay(tmp_path: Path) -> None:
    fill(tmp_path, {".f.new": "mine", ".f.old": "mine"})
    write_atomic(tmp_path / "f", "new")
    with new_file(tmp_path / "f") as new:
        new.write_text("newer")
    assert read(tmp_path) == {"f": "newer", ".f.new": "mine", ".f.old": "mine"}


def test_digests(tmp_path: Path) -> None:
    assert canonical_json({"b": 1, "a": ["é", None, 1.5]}) == '{"a":["\\u00e9",null,1.5],"b":1}'
    assert digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1}) != digest({"a": 2, "b": "1"})
    for odd in (math.nan, math.inf):
        with pytest.raises(ValueError, match="JSON compliant"):
            digest([odd])
    with pytest.raises(TypeError):
        digest({"x": object()})
    fill(tmp_path, {"b/c.txt": "abc", "a.txt": "", ".hidden": "h"})
    assert list(tree_digests(tmp_path)) == [".hidden", "a.txt", "b/c.txt"]
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    assert tree_digests(tmp_path)["b/c.txt"] == sha256_file(tmp_path / "b" / "c.txt") == abc
