"""A file that is read is the file that was digested."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from toolkit.common import reading
from toolkit.common.errors import InputError
from toolkit.common.files import digest, sha256_file
from toolkit.common.parquet import batches, open_parquet
from toolkit.common.reading import Files, digest_path, sha256_once

LONG = reading.SMALL + 12_345


def old(path: Path) -> Path:
    """The file, once its times are no longer those of just now."""
    time.sleep(reading.TICK / 1e9 * 1.5)
    return path


def planned(path: Path) -> Files:
    files = Files()
    files.digest(path)
    files.begin()
    return files


def read(path: Path, files: Files) -> bytes:
    with path.open("rb") as f, files.reading(f.fileno(), path):
        return f.read()


@pytest.mark.parametrize("size", [0, 10, reading.SMALL, LONG])
def test_a_file_that_stays_is_read_as_often_as_one_likes(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a"
    path.write_bytes(os.urandom(size))
    files = planned(path)
    assert read(path, files) == read(path, files) == path.read_bytes()
    files.end()


@pytest.mark.parametrize("size", [10, LONG])
def test_a_file_that_has_changed_since_the_plan_is_an_error(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"a" * size)
    files = planned(path)
    path.write_bytes(b"a" * (size - 1) + b"b")
    with pytest.raises(InputError, match="has changed since the run was planned"):
        read(path, files)
    path.write_bytes(b"a" * size)
    with pytest.raises(InputError, match="has changed since the run was planned"):
        files.end()


def test_a_change_at_the_end_is_found_by_a_reader_that_stops_at_the_beginning(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"a" * LONG)
    files = planned(path)
    path.write_bytes(b"a" * (LONG - 1) + b"b")

    def lines():
        with path.open("rb") as f, files.reading(f.fileno(), path):
            yield f.read(10)
            yield f.read(10)

    reader = lines()
    assert next(reader) == b"a" * 10
    with pytest.raises(InputError, match="has changed"):
        reader.close()
    with pytest.raises(InputError, match="has changed"):
        files.end()


@pytest.mark.parametrize("known", [True, False])
def test_a_file_that_changes_while_it_is_read_is_an_error(tmp_path: Path, known: bool) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"a" * 100)
    files = planned(path) if known else Files()

    def changed() -> None:
        with path.open("rb") as f, files.reading(f.fileno(), path):
            f.read(10)
            old(path).write_bytes(b"b" * 100)

    with pytest.raises(InputError, match="has changed"):
        changed()


def test_another_file_in_its_place_is_another_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"a")
    files = planned(path)
    path.unlink()
    path.write_bytes(b"a")
    assert read(path, files) == b"a"
    files.end()
    (tmp_path / "new").write_bytes(b"b")
    with pytest.raises(InputError, match="was not there when the run was planned"):
        read(tmp_path / "new", files)


def test_what_a_library_opens_by_name_must_not_be_written_to(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "w").write_bytes(b"1")
    files = Files()
    files.digest(folder, lambda p: sha256_file(p / "w"), lambda p: sorted(p.iterdir()))
    files.begin()
    (folder / "w").chmod(0o600)
    os.link(folder / "w", tmp_path / "another name")
    files.end()
    old(folder)
    (folder / "w").write_bytes(b"2")
    (folder / "w").write_bytes(b"1")
    with pytest.raises(InputError, match="has changed since it was digested"):
        files.end()


def test_digests_are_taken_again_only_where_something_was_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    real = reading.digest_open
    monkeypatch.setattr(reading, "digest_open", lambda fd, *a: taken.append(1) or real(fd, *a))  # type: ignore[func-returns-value]
    path = tmp_path / "a"
    path.write_bytes(b"a")
    files = Files()
    assert files.digest(path) == files.digest(path) == sha256_file(path) and len(taken) == 1
    old(path).write_bytes(b"b")
    assert files.digest(path) == sha256_file(path) and len(taken) == 2


def test_digests_of_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PIECE", 1000)
    path = tmp_path / "a"
    for n in (0, 1, 999, 1000, 1001, 5_500):
        path.write_bytes(os.urandom(n))
        parts = [path.read_bytes()[i : i + 1000] for i in range(0, n, 1000)]
        for i, part in enumerate(parts):
            (tmp_path / "part").write_bytes(part)
            parts[i] = sha256_file(tmp_path / "part")  # type: ignore[call-overload]
        assert digest_path(path, "pieces") == digest([n, *parts])


def test_a_digest_is_remembered_until_the_file_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    real = reading.digest_open
    monkeypatch.setattr(reading, "digest_open", lambda fd, *a: taken.append(1) or real(fd, *a))  # type: ignore[func-returns-value]
    path = tmp_path / "a"
    path.write_bytes(b"a")
    sha256_once(path, path)
    sha256_once(path, path)
    assert len(taken) == 2, "written just now: another write might leave the same times"
    old(path)
    sha256_once(path, path)
    sha256_once(path, path)
    assert len(taken) == 3
    before = path.stat()
    path.write_bytes(b"b")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert sha256_once(path, path) == sha256_file(path), "its mtime was put back, its ctime cannot be"


@pytest.mark.parametrize("what", ["folder", "pipe", "nothing"])
def test_what_is_no_file(tmp_path: Path, what: str) -> None:
    path = tmp_path / "a"
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    for do in (lambda: digest_path(path), lambda: sha256_once(path, path), lambda: open_parquet(path).__enter__()):
        with pytest.raises(InputError, match=r"folder|regular|No such file"):
            do()


def test_parquet_is_read_through_the_descriptor_that_was_digested(tmp_path: Path) -> None:
    path, other = tmp_path / "a" / "x.parquet", tmp_path / "b" / "x.parquet"
    path.parent.mkdir()
    other.parent.mkdir()
    pq.write_table(pa.table({"n": range(5000)}), path, row_group_size=1000)
    pq.write_table(pa.table({"n": range(1, 5001)}), other, row_group_size=1000)
    with open_parquet(path, sha256=sha256_file(path)) as f:
        first = next(batches(f, path, 100))
        path.parent.rename(tmp_path / "c")
        other.parent.rename(path.parent)  # another file by the name: the one that was digested is read on
        rest = [n for b in batches(f, path, 1000) for n in b.column(0).to_pylist()]
    assert first.num_rows == 100 and rest == list(range(5000))
    with pytest.raises(InputError, match="not those of the manifest"), open_parquet(path, sha256="0" * 64):
        pass
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="cannot be read as parquet"), open_parquet(path):
        pass
