"""What each promise of the mining pipeline costs: ``mining_account.py DATA OUTPUT MODELS K`` runs mining_task.py's recipe and writes
OUTPUT/account.json: for each part of the work its CPU seconds, and those of the least that would keep the same promise.

What the pipeline does in threads of its own is done in line here, so that CPU seconds between two points are those of what is done between them
(threads of polars and Arrow included). The least is measured too, on the same files, by the same libraries, with nothing around: bytes digested as
one piece, columns decoded and let go, a finished file's rows encoded once more from memory.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import importlib
import io
import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

import toolkit.common.ahead
import toolkit.common.parquet

GROUP = 8192
ANSWERS = r"Request:\s*(?<request>\w+)\s+Completion:\s*(?<completion>\w+)\s+Response:\s*(?<response>\w+)"
"""As the baseline reads them, behind the last 120 characters."""
TASKS = ("prompt", "refusal", "response")
AGAIN = (
    ["parent", "guard_model", "draw", *(f"{n}_{t}" for t in TASKS for n in ("label", "verdict", "unread"))],
    ["parent", "guard_model", "draw", "length", *(f"verdict_{t}" for t in TASKS)],
)
"""Columns of the verdict table that `mine` and `pair` read."""


class Inline:
    """In place of `toolkit.common.parquet.Worker`: jobs are done where they are given."""

    def do(self, job: Callable[[], None]) -> None:
        job()

    def wait(self) -> None:
        """Nothing waits."""

    def fail(self, error: BaseException) -> None:
        """Nothing goes on beside it."""

    def stop(self) -> None:
        """Nothing runs."""


def in_turn(sources: Iterable[Iterator[Any]], width: int = 1, depth: int = 1) -> Iterator[Iterator[Any]]:
    """As in `toolkit.common.ahead`, in line."""
    yield from map(iter, sources)


def ahead(items: Iterator[Any], depth: int = 1) -> Iterator[Any]:
    """Likewise."""
    yield from items


class Account:
    """CPU seconds by part of the work, each without those of the parts inside it."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._open: list[str] = ["start"]
        self._since = 0.0

    def enter(self, name: str) -> None:
        self._book()
        self._open.append(name)

    def leave(self) -> None:
        self._book()
        self._open.pop()

    def _book(self) -> None:
        now = time.process_time()
        self.seconds[self._open[-1]] += now - self._since
        self._since = now

    def within(self, step: str) -> str:
        """The same name, in the step that is being built."""
        return f"{step}, {next((n for n in reversed(self._open) if n in ('load', 'mine', 'pair')), 'end')}"

    def books(self) -> None:
        """Book what is to be told apart."""
        self.call("toolkit.pipeline:run_plan", "rest")
        self.call("toolkit.operators.ingest.load_predictions:LoadPredictions.run", "load")
        self.call("toolkit.operators.mining.mine:Mine.run", "mine")
        self.call("toolkit.operators.mining.pair:Pair.run", "pair")
        self.call("toolkit.common.reading:digest_open", "digest")
        self.call("toolkit.operators.ingest._predictions:Predictions._with_verdicts", "answers")
        self.call("toolkit.common.parquet:ParquetFile.write", "write", step=True)
        self.call("toolkit.common.parquet:ParquetFile.close", "write", step=True)
        self.items("toolkit.sources._column_frames:_Reader.parquet", "decode")
        self.items("toolkit.sources._written:RowsByNumber.take", "decode")
        self.items("toolkit.pipeline._finished:StepFolder.read", "rows")
        self.items("toolkit.pipeline._finished:StepFolder.take", "rows")

    def call(self, place: str, name: str, *, step: bool = False) -> None:
        """Book the calls of a function or method (``module:name``) under a name."""
        owner, attribute, made = self._found(place)

        @functools.wraps(made)
        def booked(*args: Any, **kwargs: Any) -> Any:
            self.enter(self.within(name) if step else name)
            try:
                return made(*args, **kwargs)
            finally:
                self.leave()

        setattr(owner, attribute, booked)

    def items(self, place: str, name: str) -> None:
        """Book what a generator does."""
        owner, attribute, made = self._found(place)

        @functools.wraps(made)
        def booked(*args: Any, **kwargs: Any) -> Iterator[Any]:
            items = made(*args, **kwargs)
            while True:
                self.enter(self.within(name))
                try:
                    item = next(items, None)
                finally:
                    self.leave()
                if item is None:
                    return
                yield item

        setattr(owner, attribute, booked)

    @staticmethod
    def _found(place: str) -> tuple[Any, str, Any]:
        module, _, name = place.partition(":")
        owner: Any = importlib.import_module(module)
        *above, attribute = name.split(".")
        for part in above:
            owner = getattr(owner, part)
        return owner, attribute, getattr(owner, attribute)


def cpu(work: Callable[[], object]) -> float:
    """CPU seconds of some work."""
    before = time.process_time()
    work()
    return time.process_time() - before


def decoded(paths: Iterable[Path], columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Columns of files, a block at a time."""
    for path in paths:
        yield from pq.ParquetFile(path, memory_map=False, pre_buffer=False).iter_batches(GROUP, columns=columns)


def drained(items: Iterable[object]) -> None:
    """Use something up."""
    for _ in items:
        pass


def encode(path: Path) -> float:
    """CPU seconds that it takes to encode a file's rows once more, from memory, with the sha256 of its bytes."""
    table, out = pq.read_table(path).combine_chunks(), io.BytesIO()

    def work() -> None:
        pq.write_table(table, out, row_group_size=GROUP, compression="zstd", compression_level=1)
        hashlib.sha256(out.getbuffer())

    return cpu(work)


def answers(paths: Sequence[Path]) -> float:
    """CPU seconds that it takes to read all answers as the baseline does, of texts that are in memory."""
    asked, seconds = pl.col("predict"), 0.0
    for batch in decoded(paths, ["predict"]):
        texts = pl.DataFrame(pl.from_arrow(pa.Table.from_batches([batch]))).lazy()
        seconds += cpu(texts.select(asked.str.tail(120).str.extract_groups(ANSWERS), length=asked.str.len_chars()).collect)
    return seconds


def least(data: Path, run: Path, files: Sequence[Path]) -> dict[str, float]:
    """The least for each part, by the same names."""
    piece = bytes(64 << 20)
    digest = cpu(lambda: hashlib.sha256(piece)) / len(piece)
    verdicts, samples = run / "said" / "rows" / "rows.parquet", [data / "samples.parquet"]
    start = [sys.executable, "-c", "import time, polars, pyarrow.parquet; print(time.process_time())"]
    texts = cpu(lambda: drained(decoded(files, ["predict"])))
    return {
        "start": float(subprocess.run(start, check=True, capture_output=True, text=True).stdout),
        "digest": digest * sum(p.stat().st_size for p in (*files, *samples)),
        "decode, load": texts,
        "answers": answers(files),
        "write, load": encode(verdicts),
        "rows, mine": cpu(lambda: drained(decoded([verdicts], AGAIN[0]))),
        "decode, mine": cpu(lambda: drained(decoded(samples, ["input"]))),
        "write, mine": encode(run / "hard" / "rows" / "rows.parquet") + encode(run / "hard" / "rejects.parquet"),
        "rows, pair": cpu(lambda: drained(decoded([verdicts], AGAIN[1]))),
        "decode, pair": texts,
        "write, pair": encode(run / "pairs" / "rows" / "rows.parquet"),
    }


def main() -> None:
    """Run, and measure the least."""
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("data", type=Path)
    ap.add_argument("output", type=Path)
    ap.add_argument("models", type=int)
    ap.add_argument("k", type=int)
    a = ap.parse_args()
    toolkit.common.ahead.in_turn, toolkit.common.ahead.ahead = in_turn, ahead
    toolkit.common.parquet.Worker = Inline  # type: ignore[assignment,misc]
    account = Account()
    account.books()
    mining_task = importlib.import_module("mining_task")
    run = mining_task.mined(a.data.resolve(), a.output, a.models, a.k)
    account.enter("least")
    files = [a.data / f"model{m}_{draw}.parquet" for m in range(a.models) for draw in range(a.k)]
    found = {"taken": dict(account.seconds), "least": least(a.data, run, files)}
    (a.output / "account.json").write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
