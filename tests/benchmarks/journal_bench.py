"""Rates of the journal: inserting (group commit as the engine does it), looking up what is there and what is not, opening; size and memory.

    python tests/benchmarks/journal_bench.py --folder /tmp/journal --records 2000000

Each record is a chat completions body of about 2 kB. Insert rate and CPU time are given for each fifth of the records, so that a rate that falls with
the journal's size is seen. The folder is deleted at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from toolkit.generation import Completion, Journal, Request, compact_journal, verify_journal
from toolkit.generation._answers import read_answer
from toolkit.generation._commit import Committer

WORDS = "the user asks for a recipe and the answer gives one with care and detail for each step so that nobody comes to harm".split()  # noqa: SIM905
PARTS = 5


@dataclass
class Clock:
    """Wall and CPU seconds since the last look."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> Clock:
        return cls(time.perf_counter(), time.process_time())

    def since(self) -> tuple[float, float]:
        return time.perf_counter() - self.wall, time.process_time() - self.cpu


def request(n: int) -> Request:
    """The n-th request: one step of a recipe, a row each."""
    return Request("gpt-4o", "https://api.openai.com/v1", (("user", f"question {n}"),), 0.7, 1.0, 2048, 1, row=f"{n:032x}")


def bodies(size: int, seed: int = 1) -> list[bytes]:
    """Some bodies of about `size` bytes, as an endpoint sends them."""
    rng, out = random.Random(seed), []
    for n in range(200):
        text = ""
        while len(text) < size - 500:
            text += f"{rng.choice(WORDS)} {rng.randrange(10_000)} "
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
        usage = {"prompt_tokens": 300, "completion_tokens": 400, "total_tokens": 700, "prompt_tokens_details": {"cached_tokens": 0}}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        about = {"id": f"chatcmpl-{rng.getrandbits(96):x}", "object": "chat.completion", "created": 1763600000 + n, "model": "gpt-4o-2024-08-06"}
        out.append(json.dumps({**about, "choices": [choice], "usage": usage, "system_fingerprint": "fp_0123456789"}).encode())
    return out


def fill(folder: Path, records: int, pool: list[bytes]) -> Iterator[dict[str, Any]]:
    """Insert through the engine's committer; a line for each part."""
    made = [read_answer("", body, 1.0) for body in pool]
    with Journal(folder) as journal:
        committer = Committer(journal)
        for part in range(PARTS):
            first, end = records * part // PARTS, records * (part + 1) // PARTS
            wall = cpu = 0.0
            for start in range(first, end, 10_000):
                todo = [(r, Completion(r.key, *answer(made[n % len(made)]))) for n in range(start, min(start + 10_000, end)) if (r := request(n))]
                clock = Clock.now()
                for i, (r, c) in enumerate(todo):
                    committer.add(r, c)
                    if i % 1000 == 999:
                        committer.flush()
                committer.flush()
                w, c_ = clock.since()
                wall, cpu = wall + w, cpu + c_
            yield {"from": first, "to": end, "per_second": (end - first) / wall, "cpu_per_1000": cpu / (end - first) * 1000}
        committer.close()


def answer(c: Completion) -> tuple[Any, ...]:
    """All of a completion but its key, in order."""
    return (c.text, c.finish, None, None, c.model, c.prompt_tokens, c.completion_tokens, c.seconds, c.reasoning, c.raw, 0, 0.0005)


def look_up(folder: Path, records: int, times: int) -> dict[str, float]:
    """Random keys that are there and keys that are not, in blocks as the engine asks for them."""
    rng = random.Random(2)
    clock = Clock.now()
    with Journal(folder) as journal:
        opened = clock.since()[0]
        out = {"open_seconds": opened}
        for name, keys in (
            ("hits", [request(rng.randrange(records)).key for _ in range(times)]),
            ("misses", [request(records + n).key for n in range(times)]),
        ):
            clock = Clock.now()
            found = sum(len(journal.get(keys[i : i + 256])) for i in range(0, times, 256))
            wall, cpu = clock.since()
            if (found > 0) != (name == "hits"):
                raise SystemExit(f"{found} found among {name}")
            out |= {f"{name}_per_second": times / wall, f"{name}_cpu_per_1000": cpu / times * 1000}
    return out


def main() -> int:
    """Measure and print."""
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--records", type=int, default=50_000)
    ap.add_argument("--bytes", type=int, default=2000, help="of a body, about")
    ap.add_argument("--lookups", type=int, default=20_000)
    ap.add_argument("--folder", type=Path, help="where the journal is made and deleted (default: a temporary one)")
    ap.add_argument("--care", action="store_true", help="also verify, compact and verify again")
    ap.add_argument("--json", action="store_true", help="one JSON document")
    a = ap.parse_args()
    if a.folder:
        a.folder.mkdir(parents=True)  # never one that is there: it is deleted
    folder = a.folder or Path(tempfile.mkdtemp())
    try:
        found = measure(folder / "journal", a.records, bodies(a.bytes), a.lookups, a.care)
    finally:
        shutil.rmtree(folder)
    print(json.dumps(found, indent=1)) if a.json else show(found)
    return 0


def measure(folder: Path, records: int, pool: list[bytes], lookups: int, care: bool) -> dict[str, Any]:
    """All figures."""
    out: dict[str, Any] = {"records": records, "body_bytes": sum(map(len, pool)) / len(pool), "inserts": []}
    for part in fill(folder, records, pool):
        out["inserts"].append(part)
        print(f"{part['to']:,} records: {part['per_second']:,.0f} a second", file=sys.stderr)
    out["bytes"] = sum(p.stat().st_size for p in folder.iterdir())
    out |= look_up(folder, records, lookups)
    out["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if care:
        out |= keep(folder)
    return out


def keep(folder: Path) -> dict[str, float]:
    """Seconds of verifying and compacting, and the size after."""
    out: dict[str, float] = {}
    for name, work in (("verify", verify_journal), ("compact", compact_journal), ("verify_packed", verify_journal)):
        clock = Clock.now()
        work(folder)
        out[f"{name}_seconds"] = clock.since()[0]
    return out | {
        "bytes_packed": sum(p.stat().st_size for p in folder.iterdir()),
        "peak_mb_care": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def show(found: dict[str, Any]) -> None:
    """The figures as a table."""
    rows = [(f"insert, records {p['from']:,} to {p['to']:,}", f"{p['per_second']:,.0f}/s", f"{p['cpu_per_1000']:.3f}") for p in found["inserts"]]
    rows += [(f"look up {n}", f"{found[f'{n}_per_second']:,.0f}/s", f"{found[f'{n}_cpu_per_1000']:.3f}") for n in ("hits", "misses")]
    print(f"{found['records']:,} records, bodies of {found['body_bytes']:,.0f} bytes; {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}\n")
    print(f"{'':36}{'rate':>14}{'CPU s/1,000':>14}")
    for row in rows:
        print(f"{row[0]:36}{row[1]:>14}{row[2]:>14}")
    print(f"\nopen {found['open_seconds']:.3f} s, {found['bytes'] / 1e6:,.0f} MB ({found['bytes'] / found['records']:,.0f} bytes a record), ", end="")
    print(f"peak memory {found['peak_mb']:,.0f} MB")
    if "compact_seconds" in found:
        print(
            f"verify {found['verify_seconds']:.1f} s, compact {found['compact_seconds']:.1f} s, verify again {found['verify_packed_seconds']:.1f} s, ",
            end="",
        )
        print(f"{found['bytes_packed'] / 1e6:,.0f} MB compacted, peak memory {found['peak_mb_care']:,.0f} MB")


if __name__ == "__main__":
    sys.exit(main())
