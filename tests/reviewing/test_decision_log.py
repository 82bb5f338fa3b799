"""A decision that was acknowledged is on the disk, whatever happens next."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import pytest

from toolkit.common.errors import InputError
from toolkit.reviewing import DecisionLog, read_log


def test_kill_9_loses_no_decision_that_was_acknowledged(tmp_path: Path) -> None:
    for _ in range(3):
        read, write = os.pipe()
        child = os.fork()
        if not child:  # pragma: no cover  another process
            try:
                log = DecisionLog(tmp_path, "anna")
                for n in range(100_000):
                    log.add(f"r{n % 1000}", "prompt", "harmful", "unharmful", note="x" * 50)
                    os.write(write, b".")
            finally:
                os._exit(1)
        os.close(write)
        acknowledged = 0
        while acknowledged < 20:
            acknowledged += len(os.read(read, 1))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        while found := os.read(read, 4096):
            acknowledged += len(found)
        os.close(read)
        lines = (tmp_path / "anna.jsonl").read_bytes().count(b"\n")
        assert lines >= acknowledged >= 20
        with DecisionLog(tmp_path, "anna") as log:  # the lock went with its process
            log.add("after", "prompt", None, "unsure")
        assert read_log(tmp_path / "anna.jsonl")[-1].id == "after"
        (tmp_path / "anna.jsonl").unlink()


def test_a_torn_last_line_never_counts_and_is_cut_off_by_the_next_writer(tmp_path: Path) -> None:
    path = tmp_path / "anna.jsonl"
    with DecisionLog(tmp_path, "anna") as log:
        log.add("a", "prompt", "harmful", "unharmful")
        log.add("b", "prompt", "harmful", "unharmful", note="näher\nbesehen")
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in range(first, len(whole), 11):
        path.write_bytes(whole[:cut])
        assert [d.id for d in read_log(path)] == ["a"]
        DecisionLog(tmp_path, "anna").close()
        assert path.read_bytes() == whole[:first]
    path.write_bytes(whole)
    assert [(d.id, d.note) for d in read_log(path)] == [("a", None), ("b", "näher\nbesehen")]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "anna.jsonl"
    for line, what in ((b"{]\n", "not a JSON object"), (b"[1]\n", "not a JSON object"), (b'{"id": 7}\n', "'id' is 7")):
        path.write_bytes(line)
        with pytest.raises(InputError, match=what) as e:
            read_log(path)
        assert str(e.value.where).endswith("anna.jsonl:1") and "decide again" in str(e.value.hint)


def test_a_full_disk_leaves_no_half_of_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with DecisionLog(tmp_path, "anna") as log:
        log.add("a", "prompt", "harmful", "unharmful")
        before = log.path.read_bytes()
        whole = os.write

        def full(fd: int, data: bytes) -> int:
            if len(data) < 40:
                raise OSError(errno.ENOSPC, "No space left on device")
            return whole(fd, data[: len(data) // 2])

        monkeypatch.setattr("toolkit.reviewing._decision_log.os.write", full)
        with pytest.raises(OSError, match="No space left"):
            log.add("b", "prompt", "harmful", "unharmful")
        monkeypatch.undo()
        assert log.path.read_bytes() == before
        log.add("c", "prompt", "harmful", "unharmful")
    assert [d.id for d in read_log(log.path)] == ["a", "c"]
