"""One guard, the rows of a benchmark, every way to ask it: ``make same-verdicts`` prints the table that docs/evaluation.md has.

    python tests/benchmarks/same_verdicts.py GUARD --data FOLDER [--benchmark NAME] [--limit N]

GUARD is a trained guard's folder (``outputs/quickstart/guard-main``), FOLDER holds the benchmark's file. It is asked through `toolkit.evaluate` with the backend
transformers and, where it is installed, vllm, and through ``guardkit serve`` in front of each, by 16 clients at a time; at temperature 0, in float32. F1 of each
way, and on how many rows its verdict is another than that of the first. The exit code is 1 where one is.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
from bench import CHECKOUT, ENV, table

import toolkit
from toolkit.evaluation import results

OPTIONS: dict[str, dict[str, Any]] = {
    "transformers": {"dtype": "float32"},
    "vllm": {"dtype": "float32", "engine": {"enforce_eager": True, "gpu_memory_utilization": 0.4}},
}
"""Options of each backend beside the model."""
TOKENS, CLIENTS = 400, 16


def main() -> int:
    """Ask, compare, print."""
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("guard", type=Path)
    ap.add_argument("--data", type=Path, required=True)
    ap.add_argument("--benchmark", default="xstest_response_refusal")
    ap.add_argument("--limit", type=int, help="rows, drawn by a seed; default: all")
    a = ap.parse_args()
    ENV["VLLM_CPU_KVCACHE_SPACE"] = os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    backends = [name for name in OPTIONS if find_spec(name)]
    ways: dict[str, tuple[pl.DataFrame, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in backends:
            ways[name] = asked(a, name, Path(folder) / name)
        rows = next(iter(ways.values()))[0]
        for name in backends:
            ways[f"serve, {name}"] = served(a.guard, name, rows)
    return reported(ways, a.benchmark)


def asked(a: argparse.Namespace, backend: str, folder: Path) -> tuple[pl.DataFrame, float]:
    """The per-row table of an evaluation, and its seconds."""
    model = {"backend": backend, "model": str(a.guard), "temperature": 0, "max_tokens": TOKENS, **OPTIONS[backend]}
    began = time.perf_counter()
    found = toolkit.evaluate({"guard": model}, benchmarks=[a.benchmark], data=[a.data], limit=a.limit, work=folder, min_parse_rate=0, failures=1)
    return found.rows().collect().sort("id", "task"), time.perf_counter() - began


def served(guard: Path, backend: str, rows: pl.DataFrame) -> tuple[pl.DataFrame, float]:
    """The same from a server: the rows' verdicts in its place."""
    texts = rows.unique("id", keep="first", maintain_order=True).select("id", "prompt", "response").to_dicts()
    with server(guard, backend) as address, ThreadPoolExecutor(CLIENTS) as clients:
        began = time.perf_counter()
        answers = list(clients.map(lambda row: judged(address, row), texts))
        seconds = time.perf_counter() - began
    by_id = {row["id"]: answer for row, answer in zip(texts, answers, strict=True)}
    verdicts = [by_id[r["id"]]["tasks"][r["task"]]["label"] for r in rows.iter_rows(named=True)]
    return rows.with_columns(verdict=pl.Series(verdicts, dtype=pl.String)), seconds


@contextmanager
def server(guard: Path, backend: str) -> Iterator[str]:
    """``guardkit serve`` as a user starts it; its address."""
    command = [sys.executable, "-m", "toolkit", "serve", str(guard), "--backend", backend, "--port", "0", "--json", "--quiet", "--timeout", "600"]
    command += ["--max-tokens", str(TOKENS), *(f"--set={k}={json.dumps(v)}" for k, v in OPTIONS[backend].items())]
    with subprocess.Popen(command, cwd=CHECKOUT, env=ENV, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            words = ""
            for line in process.stdout:
                words += line
                if line.startswith("}") or words.rstrip().endswith("}"):
                    break
            yield json.loads(words)["url"]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(120)


def judged(address: str, row: dict[str, Any]) -> dict[str, Any]:
    """The server's verdict on a row."""
    body = json.dumps({"prompt": row["prompt"], "response": row["response"]}).encode()
    request = urllib.request.Request(f"{address}/v1/judge", body, {"Content-Type": "application/json"})  # noqa: S310  our own
    with urllib.request.urlopen(request, timeout=600) as response:  # noqa: S310
        found: dict[str, Any] = json.load(response)["verdicts"][0]
    return found


def reported(ways: dict[str, tuple[pl.DataFrame, float]], benchmark: str) -> int:
    """Print the table; 1 where verdicts differ."""
    first = next(iter(ways.values()))[0]
    positives = {t.name: t.positive for t in toolkit.load_guard("guardreasoner").tasks}
    body, differing = [], 0
    for name, (rows, seconds) in ways.items():
        scored = results(rows.with_columns(unread=pl.when(pl.col("verdict").is_null()).then(pl.lit("unread"))), positives, draws=0)[0]
        differ = int(rows.filter(pl.col("verdict").ne_missing(first["verdict"])).height)
        differing += differ
        body.append([name, str(scored["n"]), f"{scored['f1'] or 0:.2f}", str(scored["unparsable"]), str(differ), f"{seconds:.1f}"])
    print(f"{benchmark}, temperature 0, float32, {TOKENS} tokens at most:\n")
    print(table(["way", "rows", "F1", "unread", "verdicts that differ", "s"], body))
    return int(differing > 0)


if __name__ == "__main__":
    sys.exit(main())
