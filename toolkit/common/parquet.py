"""Parquet files: written in fixed row groups, encoded on a background thread while the caller goes on; and read, held to their digest.

`ParquetFile` takes frames of any size and writes row groups of exactly `group` rows (the last one may be smaller, and so are those of long rows,
which end with the row that reaches `GROUP_BYTES`), in the order in which the rows came. Equal rows under an equal schema give equal bytes, whatever
the frames were cut into and however many threads there are: each row group is encoded from one contiguous table, by one thread, and nothing but the
rows, the schema and the settings goes into the file. The sha256 is taken of the bytes as they are written, so nobody has to read the file again.

Encoding (zstd) releases Python's lock, so on a second core it costs the caller nothing. At most `AHEAD` jobs wait for the thread, beside the
rows that do not fill a row group yet; where those are few they are copied out of their frame, so that they do not keep a whole block in memory.

Failure semantics: what goes wrong on the thread (a full disk, a null where none may be) is raised in the caller, by the next `write` or at the
latest by `close`, as the exception that it was; nothing is written after it. The thread ends when the writer is closed, stopped or
forgotten. A file is whole when `close` has returned; durability (fsync) is the business of whoever owns the folder.

`open_parquet` opens a file once and digests it through the descriptor that it is decoded through. Nothing is mapped, and nothing read ahead: a
reader holds the compressed columns of one row group, and decodes them side by side.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError
from toolkit.common.files import make_folder, private
from toolkit.common.reading import Files, regular, sha256_once, unchanged, written
from toolkit.common.sizes import BLOCK_BYTES, row_bytes

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa
    import pyarrow.parquet as pq

AHEAD = 3
"""Row groups that may wait for the thread."""
GROUP_BYTES = 64 << 20
"""Bytes of rows (`toolkit.common.sizes`) with which a row group ends before it has all its rows: rows of more than 8 kB, on the average."""
BUFFER = 4 << 20
"""Bytes collected before Python is asked to write them: each such call needs Python's lock."""


class Worker:
    """One background thread that does jobs one after the other, in the order in which they were given.

    Args:
        ahead: jobs that may wait; one more and `do` waits itself.
    """

    def __init__(self, ahead: int = AHEAD) -> None:
        self._pool = ThreadPoolExecutor(1, "parquet")
        self._ahead = ahead
        self._waiting: deque[Future[None]] = deque()
        self._error: BaseException | None = None

    def do(self, job: Callable[[], None]) -> None:
        """Hand over a job. What an earlier one raised is raised here, and then again each time."""
        while len(self._waiting) > self._ahead:
            self._waiting.popleft().result()
        self._raise()
        self._waiting.append(self._pool.submit(self._run, job))

    def wait(self) -> None:
        """Wait until every job is done; raises what one of them raised."""
        while self._waiting:
            self._waiting.popleft().result()
        self._raise()

    def fail(self, error: BaseException) -> None:
        """Take no more jobs: from now on `do` and `wait` raise this error, where no job has failed before."""
        self._error = self._error or error

    def stop(self) -> None:
        """Drop what waits, let the thread finish what it is at, and end it. Raises nothing."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._waiting.clear()

    def _run(self, job: Callable[[], None]) -> None:
        if self._error is None:
            try:
                job()
            except BaseException as e:  # noqa: BLE001  whatever it was, it is raised in the caller's thread
                self._error = e

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error


@dataclass(frozen=True)
class Written:
    """A file that is whole: its rows, its size in bytes, its sha256 in hex."""

    rows: int
    bytes: int
    sha256: str


class ParquetFile:
    """Writes one parquet file; see the module's docstring.

    Args:
        path: of the file; its folder is made, and a file that is there is replaced.
        schema: of the file. Frames are cast to it; a null in a column that is not nullable is refused.
        group: rows in a row group.
        level: of zstd.
        index: write the page index (offsets and statistics of each page), with which a reader skips pages inside a row group.
        worker: the thread that encodes; default: one of its own, which `close` ends. Files that share one are written one row group at a time.
    """

    def __init__(self, path: Path, schema: pa.Schema, *, group: int, level: int = 1, index: bool = False, worker: Worker | None = None) -> None:
        make_folder(path.parent)
        self.path = path
        self.schema = schema
        self.rows = 0
        self._group = group
        self._waiting: list[pl.DataFrame] = []
        self._n_waiting = self._held = 0
        self._worker = worker or Worker()
        self._own = worker is None
        self._out = _Hashing(path)
        self._stream = _buffered(self._out)
        self._writer: pq.ParquetWriter | None = None
        self._settings = {"compression": "zstd", "compression_level": level, "write_page_index": index}

    def write(self, rows: pl.DataFrame) -> None:
        """Add rows; columns are taken by name.

        Raises:
            what an earlier row group met with.
        """
        rows = rows.select(self.schema.names)
        self.rows += rows.height
        while rows.height:
            part, rows = rows[: self._group - self._n_waiting], rows[self._group - self._n_waiting :]
            self._waiting.append(part if 4 * part.height >= self._group else _copied(part))
            self._n_waiting += part.height
            self._held += int(part.estimated_size())
            if self._n_waiting == self._group or self._held >= GROUP_BYTES:
                self._fill()

    def _fill(self) -> None:
        """Hand over the row groups that are full: with `group` rows, or with the row that reaches `GROUP_BYTES`; the rows after them wait on."""
        import polars as pl

        rows, held = pl.concat(self._waiting, how="vertical_relaxed"), 0
        if rows.height == self._group and self._held < GROUP_BYTES and (table := self._table(self._waiting)).nbytes < GROUP_BYTES // 8 * 7:
            self._submit(table)  # nearly always: nothing needs to be counted
            rows = rows.clear()
        while rows.height:
            ends = row_bytes(rows).cumsum()
            if (n := min(self._group, int(ends.searchsorted(GROUP_BYTES)) + 1)) > rows.height:
                held = int(ends[-1])
                break
            self._submit(self._table([rows[:n]]))
            self._worker.wait()  # one at a time: those that wait for the thread are bounded in bytes, too
            rows = rows[n:]
        self._waiting = [rows] if rows.height else []
        self._n_waiting, self._held = rows.height, held

    def close(self) -> Written:
        """Write what waits and the footer, and wait for them; a file without rows is whole, too.

        Raises:
            what any row group met with.
        """
        if self._waiting:
            self._fill()
        if self._waiting:
            self._submit(self._table(self._waiting))
            self._waiting = []
        self._worker.do(self._end)
        self._worker.wait()
        if self._own:
            self._worker.stop()
        sha256 = self._out.sha256.hexdigest()
        written(self.path, sha256)
        return Written(self.rows, self._out.size, sha256)

    def stop(self) -> None:
        """Give up after a failure. The file is not whole; removing it is the caller's business. A shared worker is stopped before. Raises nothing."""
        if self._own:
            self._worker.stop()
        with suppress(Exception):  # the footer of a file that is thrown away; the disk may be full
            self._end()
        self._out.close()

    def _table(self, parts: list[pl.DataFrame]) -> pa.Table:
        """One contiguous table. Polars joins texts without copying them, Arrow would."""
        import polars as pl

        try:
            return pl.concat(parts, how="vertical_relaxed", rechunk=True).to_arrow().cast(self.schema).combine_chunks()
        except BaseException as e:
            self._worker.fail(e)  # a file without these rows must not be closed as if it were whole
            raise

    def _submit(self, table: pa.Table) -> None:
        """Hand one row group over."""
        self._worker.do(lambda: self._opened(table).write_table(table, row_group_size=self._group))

    def _opened(self, first: pa.Table) -> pq.ParquetWriter:
        """The writer, opened with the first row group: a text column that hardly repeats itself in it gets no dictionary, which only costs time."""
        import pyarrow.parquet as pq

        if self._writer is None:
            plain = {c for c in self.schema.names if _hardly_repeats(first.column(c))}
            dictionary = [path for f in self.schema if f.name not in plain for path in _leaves(f)]
            self._writer = pq.ParquetWriter(self._stream, self.schema, use_dictionary=dictionary or False, **self._settings)
        return self._writer

    def _end(self) -> None:
        import pyarrow as pa

        self._opened(pa.Table.from_batches([], self.schema)).close()  # `empty_table` would load pandas, where there is one
        self._stream.close()


def _copied(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows in memory of their own: a few that wait must not keep the texts of a whole block."""
    import polars as pl

    return pl.DataFrame(pl.from_arrow(rows.to_arrow()))


class _Hashing:
    """A file that is written from front to back, with the sha256 of its bytes; as much of a file object as Arrow asks for."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "wb", buffering=0, opener=private)  # noqa: SIM115  closed by `close`
        self.sha256 = hashlib.sha256()
        self.size = 0

    @property
    def closed(self) -> bool:
        return self._file.closed

    def write(self, data: Any) -> int:
        view = memoryview(data)
        done = 0
        while done < len(view):  # a raw file may take less than it is given
            done += self._file.write(view[done:]) or 0
        self.sha256.update(view)
        self.size += len(view)
        return len(view)

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        """Nothing is held back here."""

    def close(self) -> None:
        self._file.close()


def _buffered(out: _Hashing) -> Any:
    import pyarrow as pa

    return pa.BufferedOutputStream(pa.PythonFile(out, mode="w"), BUFFER)


def _hardly_repeats(column: pa.ChunkedArray) -> bool:
    """Whether more than half of a text column's values are there once only; files in a column are taken for such."""
    import pyarrow as pa

    if not pa.types.is_large_string(column.type) or not len(column):
        return "binary" in str(column.type)
    first = column.slice(0, 1024).to_pylist()
    return 2 * len(set(first)) > len(first)


def _leaves(field: pa.Field, above: str = "") -> list[str]:
    """Paths of a column's leaves as parquet names them (parquet-format, "Nested types")."""
    import pyarrow as pa

    path, kind = above + field.name, field.type
    if pa.types.is_struct(kind):
        return [leaf for child in kind for leaf in _leaves(child, path + ".")]
    if pa.types.is_large_list(kind):
        return _leaves(kind.value_field, path + ".list.")
    return [path]


# Reading ----------------------------------------------------------------------------------------------------------------


@contextmanager
def open_parquet(path: Path, *, sha256: str | None = None, files: Files | None = None, hint: str | None = None) -> Iterator[pq.ParquetFile]:
    """A parquet file, to be read a block at a time (`batches`).

    Args:
        path: of the file.
        sha256: what a manifest says of its bytes: they are digested before any is handed on, once a process as long as the file is not touched.
        files: of a step, for an outside file: digested while it is decoded, with the verdict at the end of the block.
        hint: what to do where the bytes are not those of the manifest, or no parquet.

    Raises:
        InputError: it cannot be opened, is not what it should be, or no parquet; at the end of the block: it has changed meanwhile.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with ExitStack() as stack:
        regular(path, path)
        try:
            source = stack.enter_context(pa.OSFile(str(path)))
        except OSError as e:
            raise InputError(f"cannot be read: {first_line(e)}", where=str(path)) from None
        if sha256 is not None and sha256_once(source.fileno(), path) != sha256:
            raise InputError("its bytes are not those of the manifest (sha256)", where=str(path), hint=hint)
        stack.enter_context(unchanged(source.fileno(), path) if files is None else files.reading(source.fileno(), path))
        try:
            # pre_buffer, pyarrow's default, would hold the whole compressed file until it has been read.
            file = stack.enter_context(pq.ParquetFile(source, memory_map=False, pre_buffer=False))
            _ = file.schema_arrow.names  # decoded only now, and perhaps not UTF-8
        except (pa.ArrowException, OSError, UnicodeDecodeError) as e:
            raise InputError(f"cannot be read as parquet: {first_line(e)}", where=str(path), hint=hint) from None
        yield file


def batches(
    file: pq.ParquetFile, path: Path, size: int, columns: Sequence[str] | None = None, groups: Sequence[int] | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of an open file in order: `size` at a time at most, and fewer where that many would take more than `BLOCK_BYTES`. `groups`: of these
    row groups alone.

    Raises:
        InputError: it cannot be decoded, or the system does not give its bytes.
    """
    import pyarrow as pa

    try:
        spans = _spans(file, size, columns, groups)
    except UnicodeDecodeError as e:  # the names of columns once more, as the row groups have them
        raise InputError(f"cannot be read as parquet: {first_line(e)}", where=str(path)) from None
    done = 0
    for together, n in spans:
        found = file.iter_batches(n, row_groups=together, columns=list(columns) if columns is not None else None, use_threads=True)
        while True:
            try:
                batch = next(found, None)
            except (pa.ArrowException, OSError, UnicodeDecodeError) as e:
                raise InputError(f"damaged after row {done:,}: {first_line(e)}", where=str(path)) from None
            if batch is None:
                break
            done += batch.num_rows
            yield batch


def _spans(file: pq.ParquetFile, size: int, columns: Sequence[str] | None, groups: Sequence[int] | None = None) -> list[tuple[list[int], int]]:
    """Row groups that are read together, each time with the rows of a batch; what a row takes is what its row group says."""
    about = file.metadata
    out: list[tuple[list[int], int]] = []
    for i in range(about.num_row_groups) if groups is None else groups:
        group = about.row_group(i)
        chunks = [group.column(j) for j in range(group.num_columns)]
        taken = sum(c.total_uncompressed_size for c in chunks if columns is None or c.path_in_schema.partition(".")[0] in columns)
        n = min(size, max(1, BLOCK_BYTES * group.num_rows // max(1, taken)))
        if out and out[-1][1] == n == size:
            out[-1][0].append(i)
        else:
            out.append(([i], n))
    return out


def taken_batches(
    file: pq.ParquetFile, path: Path, size: int, rows: pl.Series, columns: Sequence[str] | None = None
) -> Iterator[tuple[pa.RecordBatch, pl.Series]]:
    """Of an open file the batches that some rows are in, and which of each batch's they are; what is behind the last of a row group, and row groups
    without one of them, are not read (InputError: as `batches`).

    Args:
        file, path, size, columns: as for `batches`.
        rows: their numbers from 0, ascending.
    """
    start, find = 0, rows.to_numpy().searchsorted  # that of polars starts a query each time
    for i in range(file.metadata.num_row_groups):
        n = file.metadata.row_group(i).num_rows
        if find(start) < (last := find(start + n)):
            at = start
            for batch in batches(file, path, size, columns, [i]):
                low, high = int(find(at)), int(find(at + batch.num_rows))
                if low < high:
                    yield batch, rows[low:high] - at
                at += batch.num_rows
                if high == last:
                    break
        start += n


def first_line(error: Exception) -> str:
    """The first line of what a library says."""
    return str(error).partition("\n")[0][:200]
