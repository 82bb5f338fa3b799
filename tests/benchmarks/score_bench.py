"""Scoring 2 million verdicts of 13 benchmarks and 4 guards with 1,000 bootstrap draws, beside a plain numpy script: ``make bench-score``.

    python tests/benchmarks/score_bench.py                 # measures and prints the table
    python tests/benchmarks/score_bench.py --docs          # and writes it into docs/evaluation.md

The file is a `rows.parquet` as `guardkit evaluate` writes it. Ours is `toolkit.evaluation.results` on it: all figures of counts with their intervals, tokens
and seconds, and the refusal of doubled lines and rows of several labels. The plain script (`plain`, below) is what one would write for this file
alone: pyarrow hands it the words as codes, `bincount` counts, the cells are drawn from the multinomial; F1 with its interval, mean tokens and
seconds, no checks. With ``checked`` it looks for doubled lines, too, by a sort of hashes. Each runs in a process of its own, in turns; medians count.
Start is what Python and imports take, which no number of rows changes. Only the ratios travel to another machine.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT), str(HERE)]

BENCHMARKS, GUARDS = 13, 4
DRAWS = 1000
MARK = "<!-- made by tests/benchmarks/score_bench.py -->"
MB = 1 << 20
KEYS = ["benchmark", "model", "task", "gold", "verdict"]


def plain(path: Path, checked: bool = False) -> list[dict[str, Any]]:
    """F1 with its interval, tokens and seconds of each benchmark, guard and task, in numpy."""
    import numpy as np
    import pyarrow.parquet as pq

    more = ["id", "draw"] if checked else []
    table = pq.read_table(path, columns=[*KEYS, "tokens", "seconds", *more], read_dictionary=KEYS).unify_dictionaries()
    code, words = np.zeros(table.num_rows, np.int64), []
    for key in KEYS:
        column = table[key].combine_chunks()
        words.append([*column.dictionary.to_pylist(), None])
        code = code * len(words[-1]) + column.indices.fill_null(len(words[-1]) - 1).to_numpy(zero_copy_only=False)
    if checked:
        import polars as pl

        place = (code // (len(words[3]) * len(words[4]))).astype(np.uint64)
        ids = pl.Series(table["id"]).hash().to_numpy() + place * np.uint64(0x9E3779B97F4A7C15)
        ids += table["draw"].to_numpy().astype(np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F)
        ids.sort()
        assert not (ids[1:] == ids[:-1]).any()
    shape = [len(w) for w in words]
    n = np.bincount(code, minlength=int(np.prod(shape))).reshape(shape)
    sums = [np.bincount(code, table[c].to_numpy(), minlength=n.size).reshape(shape).sum(axis=(3, 4)) for c in ("tokens", "seconds")]
    rng = np.random.default_rng(0)
    gold, stated = (w.index("harmful") for w in words[3:])
    out = []
    for b, m, t in np.argwhere(n.sum(axis=(3, 4)) > 0):
        cells = n[b, m, t]
        unread = cells[:, -1]
        tp, fn = cells[gold, stated], cells[gold].sum() - cells[gold, stated]
        fp = cells[:, stated].sum() - tp + unread.sum() - unread[gold]
        total = cells.sum()
        counts = np.array([tp, fn, fp, total - tp - fn - fp])
        drawn = rng.multinomial(total, counts / total, size=DRAWS)
        low, high = np.quantile(200 * drawn[:, 0] / (2 * drawn[:, 0] + drawn[:, 1] + drawn[:, 2]), [0.025, 0.975])
        found = {"benchmark": words[0][b], "model": words[1][m], "task": words[2][t], "n": int(total), "f1": 200 * tp / (2 * tp + fn + fp)}
        out.append(found | {"f1_low": low, "f1_high": high, "tokens": sums[0][b, m, t] / total, "seconds": sums[1][b, m, t] / total})
    return out


def ours(path: Path) -> list[dict[str, Any]]:
    """The same, and the rest, by guardkit."""
    import polars as pl

    from toolkit.evaluation import results

    return results(pl.scan_parquet(path), {"prompt": "harmful"}, draws=DRAWS)


def child(way: str, path: Path) -> None:
    """What a measured process does: import, say so, score, say so."""
    if way == "guardkit":
        import polars

    else:
        import numpy
        import pyarrow.parquet  # noqa: F401

        assert numpy
        if way == "checked":
            import polars  # noqa: F401
    print("started", file=sys.stderr, flush=True)
    found = ours(path) if way == "guardkit" else plain(path, way == "checked")
    print("scored", file=sys.stderr, flush=True)
    names = ("benchmark", "model", "task", "n", "f1", "f1_low", "f1_high", "tokens", "seconds")
    path.with_name(f"{way}.json").write_text(json.dumps([{c: x[c] for c in names} for x in found], default=float), encoding="utf-8")


def blocks(rows: int) -> Iterator[Any]:
    """Lines of made-up guards that differ in how often they err and are not read."""
    import numpy as np
    import polars as pl

    rng, each = np.random.default_rng(0), -(-rows // (BENCHMARKS * GUARDS))
    for b in range(BENCHMARKS):
        ids = [hashlib.sha256(f"{b}/{i}".encode()).hexdigest()[:32] for i in range(each)]
        gold = rng.random(each) < 0.1 + 0.06 * b
        for g in range(GUARDS):
            found = gold ^ (rng.random(each) < 0.08 + 0.03 * g)
            unread = rng.random(each) < 0.01
            word = pl.Series(found).replace_strict({True: "harmful", False: "unharmful"})
            yield pl.DataFrame(
                {"benchmark": f"benchmark_number_{b}", "id": ids, "model": f"guard-{g + 1}b", "draw": 0, "task": "prompt"}
                | {"gold": pl.Series(gold).replace_strict({True: "harmful", False: "unharmful"}), "verdict": word.zip_with(pl.Series(~unread), pl.Series([None] * each, dtype=pl.String))}
                | {"unread": pl.Series(unread).replace_strict({True: "no_label", False: None}, return_dtype=pl.String)}
                | {"tokens": rng.integers(80, 400, each), "seconds": rng.random(each)}
            )  # fmt: skip


def made(folder: Path, rows: int) -> Path:
    """The file, as an evaluation's folder has it."""
    from toolkit.evaluation import write_evaluation

    empty: dict[str, Any] = {"models": [], "benchmarks": [], "results": [], "means": []}
    return write_evaluation(folder / "evaluation", empty, blocks(rows)).folder / "rows.parquet"


def measure(path: Path, turns: int) -> dict[str, dict[str, float]]:
    """Medians of seconds to start and to score, of processor seconds, and of the most memory, by way."""
    from measure import run

    seen: dict[str, list[dict[str, float]]] = {}
    for _ in range(turns):
        for way in ("plain", "checked", "guardkit"):
            one = run([sys.executable, str(Path(__file__).resolve()), "--as", way, "--file", str(path)], cwd=ROOT)
            assert one.code == 0, one.error
            start, score = (seconds for _, seconds, _ in one.phases[:2])
            seen.setdefault(way, []).append({"start": start, "score": score, "wall": one.wall, "peak": one.peak / MB})
    return {way: {k: statistics.median(x[k] for x in some) for k in some[0]} for way, some in seen.items()}


def same(folder: Path) -> None:
    """That all ways found the same F1, tokens and seconds, and nearly the same intervals."""
    plain_, checked, found = (json.loads((folder / f"{way}.json").read_text(encoding="utf-8")) for way in ("plain", "checked", "guardkit"))
    by = {(x["benchmark"], x["model"], x["task"]): x for x in found}
    assert plain_ == checked and len(by) == len(plain_) == BENCHMARKS * GUARDS
    for x in plain_:
        mine = by[x["benchmark"], x["model"], x["task"]]
        assert mine["n"] == x["n"] and all(abs(mine[c] - x[c]) <= 0.0051 for c in ("f1", "tokens", "seconds")), (mine, x)
        assert all(abs(mine[c] - x[c]) < 0.35 * (x["f1_high"] - x["f1_low"]) for c in ("f1_low", "f1_high")), (mine, x)


def text(rows: int, found: dict[str, dict[str, float]]) -> str:
    """The table."""
    from bench import about, table

    names = {"plain": "plain numpy script", "checked": "the same, looking for doubled lines", "guardkit": "`toolkit.evaluation.results`"}
    body = [[names[w], *(f"{x[c]:.2f}" for c in ("start", "score", "wall")), f"{x['peak']:.0f}"] for w, x in found.items()]
    for way in ("plain", "checked"):
        x, y = found["guardkit"], found[way]
        body.append([f"ours / {names[way]}", *(f"{x[c] / y[c]:.2f}" for c in ("start", "score", "wall", "peak"))])
    head = ["", "start, s", "scoring, s", "whole, s", "most memory, MB"]
    words = f"{rows:,} verdicts ({BENCHMARKS} benchmarks x {GUARDS} guards), {DRAWS:,} bootstrap draws, from the parquet file."
    return "\n\n".join([words, table(head, body), about("bench-score", "score_bench")])


def main() -> int:
    """Measure, print, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--docs", action="store_true", help="write the table into docs/evaluation.md, too")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--as", dest="way", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        child(args.way, args.file)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = made(Path(folder), args.rows)
        found = measure(path, args.turns)
        same(path.parent)
    page = text(args.rows, found)
    print(json.dumps(found) if args.json else page)
    if args.docs:
        place = ROOT / "docs" / "evaluation.md"
        before, _, after = place.read_text(encoding="utf-8").split(MARK)
        place.write_text(f"{before}{MARK}\n\n{page}\n\n{MARK}{after}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
