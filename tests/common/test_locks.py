"""Locks: one holder, no link followed, no file of anybody's written over."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.common.errors import InputError
from toolkit.common.locks import Busy, Lock, is_lock


def test_a_second_taker_learns_who_holds_it(tmp_path: Path) -> None:
    held = Lock(tmp_path / "lock", "the thing")
    with pytest.raises(Busy, match=rf"the thing is in use by process {os.getpid()} \(this one\)"):
        Lock(tmp_path / "lock", "the thing")
    code = "import sys; from pathlib import Path; from toolkit.common.locks import Lock; Lock(Path(sys.argv[1]), 'the thing', 'wait')"
    other = subprocess.run([sys.executable, "-c", code, str(tmp_path / "lock")], capture_output=True, text=True, check=False)
    assert f"the thing is in use by process {os.getpid()}\n  wait" in other.stderr
    held.release()
    held.release()
    assert is_lock(tmp_path / "lock")
    Lock(tmp_path / "lock", "the thing").remove()
    assert not (tmp_path / "lock").exists()


def test_a_lock_of_a_process_that_is_gone_is_free(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from toolkit.common.locks import Lock; a = Lock(Path(sys.argv[1]), 'it'); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "lock")], check=False).returncode == -9
    Lock(tmp_path / "lock", "it").release()
    (tmp_path / "lock").write_text("4711")  # as an earlier version wrote it
    Lock(tmp_path / "lock", "it").release()
    assert (tmp_path / "lock").read_text() == f"guardkit {os.getpid()}"


@pytest.mark.parametrize("link", ["soft", "hard", "broken"])
def test_a_link_is_not_followed(tmp_path: Path, link: str) -> None:
    (tmp_path / "precious.txt").write_text("precious")
    if link == "hard":
        (tmp_path / "lock").hardlink_to(tmp_path / "precious.txt")
    else:
        (tmp_path / "lock").symlink_to("precious.txt" if link == "soft" else "made.txt")
    with pytest.raises(InputError, match=r"link|did not write") as e:
        Lock(tmp_path / "lock", "it")
    assert e.value.where == str(tmp_path / "lock") and e.value.hint
    assert (tmp_path / "precious.txt").read_text() == "precious" and not (tmp_path / "made.txt").exists()


def test_a_file_that_is_no_lock_is_not_written_over(tmp_path: Path) -> None:
    for text in ("my diary", "guardkit is fine", "12 eggs", "4" * 65):
        (tmp_path / "lock").write_text(text)
        with pytest.raises(InputError, match="did not write"):
            Lock(tmp_path / "lock", "it")
        assert (tmp_path / "lock").read_text() == text and not is_lock(tmp_path / "lock")


@pytest.mark.parametrize("size", range(10))
def test_a_lock_whose_text_a_kill_cut_short_is_free(tmp_path: Path, size: int) -> None:
    (tmp_path / "lock").write_text("guardkit 4242"[:size])
    Lock(tmp_path / "lock", "it").release()
    assert is_lock(tmp_path / "lock")


def test_a_lock_that_is_taken_away_while_it_is_taken_is_looked_for_again(tmp_path: Path) -> None:
    """Two takers and removers in turn: never both at once, and no lock on a name that is gone."""
    code = """
import sys
from pathlib import Path
from toolkit.common.locks import Busy, Lock
path, inside = Path(sys.argv[1]), Path(sys.argv[2])
done = 0
while done < 200:
    try:
        lock = Lock(path, "it")
    except Busy:
        continue
    inside.touch(exist_ok=False)
    assert path.exists()
    inside.unlink()
    lock.remove()
    done += 1
"""
    both = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "lock"), str(tmp_path / "inside")]) for _ in range(2)]
    assert [p.wait(timeout=120) for p in both] == [0, 0]
    assert list(tmp_path.iterdir()) == []
