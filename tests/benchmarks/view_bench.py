"""`guardkit view` on shards of 20 thousand and of 2 million rows: time to each page, and the most memory: ``make bench-view``.

    python tests/benchmarks/view_bench.py                 # measures both, prints the tables and writes docs/benchmarks-view.md
    python tests/benchmarks/view_bench.py --sizes 5000    # prints alone

The shards are made-up rows in the form and the sizes that `guardkit run` writes. The server is the command in a process of its own; times are those of HTTP, from
the request until the last byte of the page. Each page is one that nobody asked for before, so that nothing is remembered; a search that a request leaves
unfinished after some seconds is followed by the page's own link until all rows have been looked at. Memory is the process's high-water mark.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT), str(HERE)]

SIZES = (20_000, 2_000_000)
GOAL_SECONDS, GOAL_MEMORY = 1.0, 500
PAGE = ROOT / "docs" / "benchmarks-view.md"
MB = 1 << 20
RARE = "heliotrope"
"""A word that one row has, far behind."""
BLOCK = 50_000


def write_shards(folder: Path, rows: int) -> None:
    """Shards of `rows` made-up rows, of 350 characters of prompt and 800 of completion on the average."""
    import numpy as np
    import polars as pl
    from rows import SYLLABLES

    from toolkit.records import Column
    from toolkit.shards import ShardWriter

    rng = np.random.default_rng(5)
    words = np.array(["".join(rng.choice(SYLLABLES, size=rng.integers(1, 5))) for _ in range(8_000)])
    pool = pl.Series([" ".join(words[rng.integers(0, 8_000, size=rng.integers(6, 16))]).capitalize() + "." for _ in range(20_000)])

    def text(n: int, least: int, most: int) -> pl.Series:
        """Of each row some sentences."""
        some = [pool.gather(rng.integers(0, len(pool), n)).alias(str(i)) for i in range(most)]
        many = rng.integers(least, most + 1, n)
        kept = [s if i < least else s.set(pl.Series(many <= i), None) for i, s in enumerate(some)]
        return pl.DataFrame(kept).select(pl.concat_str(pl.all(), separator=" ", ignore_nulls=True)).to_series()

    names = ("id", "prompt", "completion", "source", "licence", "label_prompt", "label_prompt_source", "split")
    writer = ShardWriter(folder, (*(Column(n, "string") for n in names), Column("steps", "int64")), 50_000)
    sources = pl.Series([f"source-{i}" for i in range(8)])
    for start in range(0, rows, BLOCK):
        n = min(BLOCK, rows - start)
        harmful = pl.Series(rng.random(n) < 0.4).replace_strict({True: "harmful", False: "unharmful"})
        frame = pl.DataFrame(
            {"id": [f"{start + i:024x}" for i in range(n)], "prompt": text(n, 3, 8), "completion": text(n, 9, 14)}
            | {"source": sources.gather(rng.integers(0, 8, n)), "licence": "CC0-1.0", "label_prompt": harmful, "label_prompt_source": "human"}
            | {"split": "train", "steps": rng.integers(1, 12, n)}
        )
        if start + n == rows:
            at = max(0, n - 17)
            frame = frame.with_columns(completion=pl.when(pl.int_range(n) == at).then(pl.lit(f"So much of the {RARE}.")).otherwise("completion"))
        writer.write(frame, "train")
    writer.finish(lambda counts: {"guard": "guardreasoner 1"})


class Pages:
    """A viewer's pages over one connection.

    Attributes:
        table: address of the rows of the only table.
        peak: most memory of the server, in MB, until now.
    """

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self._process = process
        parts = urlsplit(address)
        self._http = HTTPConnection(parts.hostname or "", parts.port, timeout=300)
        self._cookie = ""
        _, text = self.get(f"{parts.path}?{parts.query}")
        self.table = html.unescape(re.findall(r'href="(/rows/[^"?]+)', text)[0])

    def get(self, path: str) -> tuple[float, str]:
        """Seconds until a page is there, and the page."""
        began = time.perf_counter()
        for _ in range(3):
            self._http.request("GET", path, headers={"Cookie": self._cookie} if self._cookie else {})
            answer = self._http.getresponse()
            text = answer.read().decode()
            if answer.status not in (302, 303, 307):
                break
            self._cookie = (answer.getheader("set-cookie") or "").partition(";")[0]
            path = answer.getheader("location") or "/"
        assert answer.status == 200, (path, answer.status, text[:2000])
        return time.perf_counter() - began, text

    def rows(self, **query: Any) -> tuple[float, str]:
        """The same of the table's rows."""
        return self.get(f"{self.table}?{urlencode(query)}" if query else self.table)

    def whole(self, **query: Any) -> tuple[float, str]:
        """The same until all rows have been looked at."""
        took, text = self.rows(**query)
        while "looked at" in text:
            more, text = self.rows(**query, count=1)
            took += more
        return took, text

    @property
    def peak(self) -> float:
        text = Path(f"/proc/{self._process.pid}/status").read_text(encoding="utf-8")
        return int(re.findall(r"VmHWM:\s+(\d+)", text)[0]) / 1024


@contextmanager
def viewer(shards: Path) -> Iterator[tuple[float, Pages]]:
    """The command on shards: seconds until it listens, and its pages."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "toolkit", "view", str(shards), "--port", "0", "--json"]
    process = subprocess.Popen(command, cwd=shards.parent, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        text = ""
        while not text.endswith("}\n"):
            line = process.stdout.readline()
            assert line, f"the viewer ended: {process.poll()}"
            text += line
        yield time.perf_counter() - began, Pages(process, json.loads(text)["address"])
    finally:
        process.terminate()
        process.wait(30)


def measure(shards: Path) -> dict[str, tuple[float, float]]:
    """By what was asked for the seconds that it took, and the server's most memory until then."""
    found: dict[str, tuple[float, float]] = {}
    with viewer(shards) as (start, pages):
        found["the server listens"] = start, pages.peak

        def add(name: str, answer: tuple[float, str], words: str = "") -> None:
            assert words in answer[1], (name, words, answer[1][:3000])
            found[name] = answer[0], pages.peak

        harmful = {"column": "label_prompt", "operator": "is", "value": "harmful"}
        add("first page", pages.rows(), "0" * 24)
        add("page 300", pages.rows(page=300))
        add("one row", pages.get(f"{pages.table.replace('/rows/', '/row/')}?row=9001"))
        add("filter by a label, first page", pages.rows(**harmful), "harmful")
        add("filter by a label, all counted", pages.whole(**harmful, count=1))
        add("search for a frequent syllable, first page", pages.rows(q="badu"))
        add("search for a rare word, until found", pages.whole(q=RARE.upper()), RARE)
        add("sort by a number", pages.rows(sort="steps", descending=1))
        add("sort by a text", pages.rows(sort="prompt"))
    return found


def page_of(sizes: dict[int, dict[str, tuple[float, float]]], bytes_of: dict[int, int]) -> str:
    """The tables."""
    from bench import about, table

    largest = sizes[max(sizes)]
    head = ["", *(f"{n:,} rows: s" for n in sizes), *(f"{n:,} rows: MB" for n in sizes)]
    body = [
        [name, *(f"{found[name][0]:.2f}" for found in sizes.values()), *(f"{found[name][1]:.0f}" for found in sizes.values())] for name in largest
    ]
    first, peak = largest["first page"][0], max(mb for _, mb in largest.values())
    goals = [
        ["first page within", f"{GOAL_SECONDS:.0f} s", f"{first:.2f} s", "yes" if first <= GOAL_SECONDS else "no"],
        ["most memory below", f"{GOAL_MEMORY} MB", f"{peak:.0f} MB", "yes" if peak < GOAL_MEMORY else "no"],
    ]
    held = "; ".join(f"{n:,} rows: {size / MB:,.0f} MB" for n, size in bytes_of.items())
    return "\n\n".join(
        [
            "# Benchmarks: the viewer",
            about("bench-view", "view_bench"),
            f"`guardkit view` on shards ({held} of parquet). Seconds of one request, from its first byte to the last of the page, each the first of its kind; "
            "the most memory of the server until then.",
            table(head, body),
            f"Goals, at {max(sizes):,} rows:",
            table(["", "goal", "measured", "met"], goals),
        ]
    )


def main() -> int:
    """Measure, print, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="rows; the page is written where these are the usual ones")
    parser.add_argument("--folder", type=Path, help="where the shards are kept from one time to the next")
    args = parser.parse_args()
    found, held = {}, {}
    with tempfile.TemporaryDirectory() as temporary:
        for rows in args.sizes:
            shards = (args.folder or Path(temporary)) / f"shards-{rows}"
            if not shards.is_dir():
                write_shards(shards, rows)
            held[rows] = sum(p.stat().st_size for p in shards.rglob("*.parquet"))
            found[rows] = measure(shards)
    text = page_of(found, held)
    print(text)
    if tuple(args.sizes) == SIZES:
        PAGE.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
