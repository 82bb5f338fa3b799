"""`guardkit generate` against a server without a model: speed beside a hand-written client, faults, kill -9, memory. ``make bench-generate`` prints the
tables and writes docs/benchmarks-generate.md.

Client and server run in processes of their own, on one machine, one client at a time; the ratios travel, the figures do not.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import CHECKOUT, ENV, about, table
from measure import MB, Measured, run

HERE = Path(__file__).resolve().parent
PAGE = CHECKOUT / "docs" / "benchmarks-generate.md"
ROWS = 127_544
"""GuardReasonerTrain's (paper, Table 1)."""
SYSTEM = "You judge exchanges between a person and an assistant, step by step, and end with a block of answers. " * 12
GRID = ((0.5, 1024, 10_000), (0.05, 256, 10_000))
"""Seconds of latency, requests in flight, rows."""
GOALS = {(0.5, 1024): 0.85, (0.05, 256): 0.6}
"""Share of the hand-written client's requests per second that is asked for; and at most one CPU second for 1,000 requests."""
SPEED = """The journal is on: every answer is on the disk before it counts.

At 50 ms two things hold it. Python has one lock, which the threads of a client share: by hand it is held to send a request and to read its answer, by
guardkit for that too, and to make each request's key and look it up, to keep limits and the window, to write the answer to the journal, and to hand
it out in order. And the journal promises that a kill loses what is in flight and never more: before another request is handed to the backend, all that
it has answered is on the disk, and for that transaction the handing waits."""
FAULTS = {"busy": 0.05, "error": 0.01, "hang": 0.005, "torn": 0.005, "reset": 0.005}


class Server:
    """The endpoint, in a process of its own."""

    def __init__(self) -> None:
        self._process = subprocess.Popen([sys.executable, str(HERE / "endpoint.py")], stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._at = f"http://127.0.0.1:{json.loads(self._process.stdout.readline())['port']}"
        self.url = self._at + "/v1"

    def setup(self, **values: float) -> None:
        """Begin anew."""
        self._call("/setup", json.dumps(values).encode())

    def counts(self) -> dict[str, Any]:
        """What was asked so far."""
        return self._call("/counts")

    def _call(self, path: str, body: bytes | None = None) -> dict[str, Any]:
        with urllib.request.urlopen(self._at + path, body, timeout=10) as answer:  # noqa: S310  our own address
            return dict(json.load(answer))

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()


@contextmanager
def serving() -> Iterator[Server]:
    """A server while the block lasts."""
    server = Server()
    try:
        yield server
    finally:
        server.stop()


def prompts(path: Path, n: int) -> Path:
    """Prompts of about 1,600 characters."""
    with path.open("w") as file:
        for i in range(n):
            file.write(json.dumps({"id": i, "system": SYSTEM, "user": f"[row {i}] " + "Is this request harmful, and was it refused? " * 8}) + "\n")
    return path


def guardkit(server: Server, source: Path, name: str, concurrency: int, *more: str) -> list[str]:
    """The command, with an output and a journal of its own."""
    where = ["--input", str(source), "--output", str(source.parent / f"{name}.jsonl"), "--work", str(source.parent / name)]
    options = ["--base-url", server.url, "--model", "bench", "--concurrency", str(concurrency), "--timeout", "10", "--retries", "8"]
    return [sys.executable, "-m", "toolkit", "generate", "--backend", "openai", *options, *where, *more]


def plain(server: Server, source: Path, name: str, concurrency: int) -> list[str]:
    """The hand-written client."""
    return [sys.executable, str(HERE / "plain_client.py"), server.url, str(source), str(source.parent / f"{name}.jsonl"), str(concurrency), "10", "8"]


def timed(server: Server, command: Sequence[str], **setup: float) -> tuple[Measured, dict[str, Any]]:
    """Run one client against a fresh server."""
    server.setup(**setup)
    found = run(command, cwd=CHECKOUT, env=ENV)
    if found.code not in (0, 1):
        raise SystemExit(f"exit code {found.code}: {found.error[-2000:]}")
    return found, server.counts()


def speed(server: Server, work: Path, share: float) -> str:
    """Requests per second while sending, and CPU."""
    lines = []
    for latency, concurrency, n in GRID:
        source = prompts(work / "speed.jsonl", int(n * share))
        clients = {
            "by hand on aiohttp": plain(server, source, "plain", concurrency),
            "guardkit, window given": guardkit(server, source, f"given{concurrency}", concurrency, "--no-slow-start"),
            "guardkit, slow start": guardkit(server, source, f"slow{concurrency}", concurrency),
        }
        base = 0.0
        for name, command in clients.items():
            m, c = timed(server, command, latency=latency)
            rate = c["answered"] / (c["last"] - c["first"])
            base = base or rate
            cpu = 1000 * m.cpu / c["answered"]
            goal = "" if "hand" in name else f"{GOALS[latency, concurrency]:.2f}"
            lines.append(
                [f"{latency * 1000:.0f} ms x {concurrency:,}", name, f"{rate:,.0f}", f"{rate / base:.2f}", goal, f"{cpu:.2f}", f"{m.wall:.1f}"]
            )
    head = ["latency x in flight", "client", "requests/s while sending", "x by hand", "goal", "CPU s / 1,000", "wall s"]
    return f"## Speed\n\n{SPEED}\n\n{table(head, lines)}"


def faults(server: Server, work: Path, rows: int) -> str:
    """20,000 requests, some of which meet a fault."""
    source = prompts(work / "faults.jsonl", rows)
    lines = []
    base = 0.0
    for name, command in (("by hand on aiohttp", plain(server, source, "fp", 256)), ("guardkit", guardkit(server, source, "fg", 256))):
        m, c = timed(server, command, latency=0.05, **FAULTS)
        out = [json.loads(line) for line in (source.parent / f"{'fp' if 'hand' in name else 'fg'}.jsonl").read_text().splitlines()]
        whole = sum(r["content"] is not None for r in out)
        named = sum(r["content"] is None and bool(r.get("error")) for r in out)
        base = base or m.wall
        lines.append([name, f"{whole:,}", f"{named:,}", f"{rows - whole - named:,}", f"{c['again']:,}", f"{m.wall:.1f}", f"{m.wall / base:.2f}"])
    head = ["client", "completions", "named failures", "lost", "asked again after an answer", "wall s", "x by hand"]
    text = ", ".join(f"{share:.1%} {name}" for name, share in FAULTS.items())
    return f"## Faults\n\n{rows:,} prompts at 50 ms with 256 in flight; {text}.\n\n" + table(head, lines)


def kills(server: Server, work: Path, rows: int, times: int, concurrency: int = 64) -> str:
    """kill -9 at random moments; the output against an undisturbed run's, the server's count against its bound."""
    source = prompts(work / "kills.jsonl", rows)
    timed(server, guardkit(server, source, "whole", concurrency), latency=0.05)
    server.setup(latency=0.05)
    killed = in_flight = 0
    for i in range(times):
        before = server.counts()["requests"]
        process = subprocess.Popen(
            guardkit(server, source, "killed", concurrency), cwd=CHECKOUT, env=ENV, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        goal = before + random.Random(i).randint(1, max(1, rows // times))
        while process.poll() is None and server.counts()["requests"] < goal:
            time.sleep(0.01)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += 1
            in_flight += concurrency
        process.wait()
    last = run(guardkit(server, source, "killed", concurrency), cwd=CHECKOUT, env=ENV)
    asked = server.counts()["requests"]
    same = (work / "killed.jsonl").read_bytes() == (work / "whole.jsonl").read_bytes() and last.code == 0
    head = ["rows", "kills", "requests at the server", "rows + in flight at each kill", "within", "output as undisturbed"]
    line = [f"{rows:,}", str(killed), f"{asked:,}", f"{rows + in_flight:,}", "yes" if asked <= rows + in_flight else "NO", "yes" if same else "NO"]
    return f"## kill -9\n\n{concurrency} requests in flight.\n\n" + table(head, [line])


def memory(server: Server, work: Path, rows: int) -> str:
    """Peak memory at a tenth of the rows and at all of them."""
    lines = []
    base = 0
    for n in (rows // 10, rows):
        source = prompts(work / f"memory{n}.jsonl", n)
        m, c = timed(server, guardkit(server, source, f"m{n}", 256), latency=0.05)
        base = base or m.peak
        again, _ = timed(server, guardkit(server, source, f"m{n}", 256), latency=0.05)
        size = sum(p.stat().st_size for p in (work / f"m{n}").rglob("*") if p.is_file())
        lines.append(
            [
                f"{n:,}",
                f"{m.peak / MB:.0f}",
                f"{m.peak / base:.2f}",
                f"{m.wall:.1f}",
                f"{n / m.wall:,.0f}",
                f"{size / MB:,.0f}",
                f"{again.wall:.1f}",
                f"{again.peak / MB:.0f}",
            ]
        )
        source.unlink()
        assert c["again"] == 0
    head = ["rows", "peak MB", "x a tenth", "wall s", "rows/s", "journal MB", "again, all from the journal: wall s", "peak MB"]
    return "## Memory\n\n50 ms, 256 in flight.\n\n" + table(head, lines)


def main() -> int:
    """Measure, print, write the page."""
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--parts", default="speed,faults,kills,memory")
    ap.add_argument("--scale", type=float, default=1.0, help="share of all row counts")
    ap.add_argument("--kills", type=int, default=20)
    ap.add_argument("--work", type=Path, help="folder for prompts and journals (default: a temporary one; they take 2 GB)")
    ap.add_argument("--no-page", action="store_true", help="print only")
    a = ap.parse_args()
    with tempfile.TemporaryDirectory(dir=a.work) as folder, serving() as server:
        work = Path(folder)
        made = {
            "speed": lambda: speed(server, work, a.scale),
            "faults": lambda: faults(server, work, int(20_000 * a.scale)),
            "kills": lambda: kills(server, work, int(5_000 * a.scale), a.kills),
            "memory": lambda: memory(server, work, int(ROWS * a.scale)),
        }
        parts = []
        for name in a.parts.split(","):
            parts.append(made[name]())
            print(parts[-1] + "\n", flush=True)
    if not a.no_page:
        how = about("bench-generate", "generate_bench")
        PAGE.write_text("# Benchmarks of `guardkit generate`\n\n" + how + "\n\n" + "\n\n".join(parts) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
