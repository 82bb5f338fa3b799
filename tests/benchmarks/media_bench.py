"""Rows with images from a folder to shards, beside a plain pyarrow loop: ``make bench-media`` prints the table and writes docs/benchmarks-media.md.

Both read JPEG images of about 20 KB, hash them, drop copies, give each its prompt and label, and write parquet with the bytes. They take turns.
"""

from __future__ import annotations

import argparse
import compileall
import json
import statistics
import sys
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
from bench import about, table
from measure import Measured, run

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent
PAGE = CHECKOUT / "docs" / "benchmarks-media.md"
WALL, MEMORY = 1.3, 1000
"""Goals: wall time beside the plain loop's that decodes, too; MB."""


def main() -> int:
    """Measure, print, write the page."""
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--rows", type=int, default=100_000)
    ap.add_argument("--turns", type=int, default=1, help="runs of each, of which the median counts")
    ap.add_argument("--work", type=Path, help="folder for what is made (default: a temporary one; 6 GB at 100,000 rows)")
    ap.add_argument("--json", action="store_true", help="print seconds and bytes as JSON, write no page")
    a = ap.parse_args()
    compileall.compile_dir(CHECKOUT / "toolkit", quiet=1)  # as where it is installed, also under PYTHONDONTWRITEBYTECODE
    with tempfile.TemporaryDirectory(dir=a.work) as work:
        seen = measured(Path(work), a.rows, a.turns)
    if a.json:
        print(
            json.dumps(
                {name: {"wall": [r.wall for r in runs], "cpu": [r.cpu for r in runs], "peak": [r.peak for r in runs]} for name, runs in seen.items()}
            )
        )
        return 0
    text = page(a.rows, seen)
    print(text)
    PAGE.write_text(text + "\n", encoding="utf-8")
    return 0


def measured(work: Path, rows: int, turns: int) -> dict[str, list[Measured]]:
    """The sides, in turns; each must have written the same number of rows."""
    one("make", work / "images", work / "made", str(rows))
    seen: dict[str, list[Measured]] = {}
    for turn in range(turns):
        counts = {}
        for side in ("plain", "checked", "guardkit"):
            out = work / f"{side}-{turn}"
            seen.setdefault(side, []).append(one(side, work / "images", out))
            counts[side] = sum(pq.read_metadata(p).num_rows for p in out.rglob("*.parquet") if side != "guardkit" or p.parent.parent.name == "shards")
        assert len(set(counts.values())) == 1, counts
    return seen


def one(side: str, data: Path, out: Path, *more: str) -> Measured:
    """One process, measured."""
    out.mkdir(parents=True)
    found = run([sys.executable, str(HERE / "media_task.py"), side, str(data), str(out), *more], cwd=out)
    if found.code:
        raise SystemExit(f"{side} failed:\n{found.error[-2000:]}")
    print(f"{side}: {found.wall:.1f} s, {found.peak / 1e6:,.0f} MB", file=sys.stderr)
    return found


def page(rows: int, seen: dict[str, list[Measured]]) -> str:
    """The page."""
    mid = {name: [statistics.median(getattr(r, k) for r in runs) for k in ("wall", "cpu", "peak")] for name, runs in seen.items()}
    words = {"plain": "pyarrow, images not looked at", "checked": "pyarrow, each image decoded", "guardkit": "guardkit"}
    wall, memory = mid["guardkit"][0] / mid["checked"][0], mid["guardkit"][2] / 1e6
    body = [
        [words[n], f"{w:.1f}", f"{rows / w:,.0f}", f"{w / mid['plain'][0]:.2f}", f"{w / mid['checked'][0]:.2f}", f"{c:.1f}", f"{p / 1e6:,.0f}"]
        for n, (w, c, p) in mid.items()
    ]
    runs = len(seen["plain"])
    met = (f"wall time at most {WALL} times that of the loop that decodes: {'met' if wall <= WALL else 'not met'}", f"under {MEMORY:,} MB: "
           f"{'met' if memory < MEMORY else 'not met'}")  # fmt: skip
    return (
        f"# Benchmarks: images\n\n{about('bench-media', 'media_bench')}\n\n## {rows:,} images\n\nJPEG images of about 20 KB in a folder, one in ten a copy of "
        "another, to parquet shards that hold their bytes. guardkit by the steps `load`, `deduplicate`, `render_rl`, `shards` (`media: embed`): it also keeps "
        "each step's rows with what became of them, and reads and hashes every image a second time when it embeds it; several threads read, hash and decode. "
        f"{'One run each' if runs == 1 else f'Medians of {runs} runs each, taking turns'}; most resident memory of the process.\n\n"
        + table(["", "wall s", "rows/s", "x plain", "x decoded", "CPU s", "peak MB"], body)
        + f"\n\nGoals: {'; '.join(met)}."
    )


if __name__ == "__main__":
    sys.exit(main())
