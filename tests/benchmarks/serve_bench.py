"""`guardkit serve` beside the bare engine on the same prompts, and under bad requests. ``make bench-serve`` prints the tables of docs/serving.md.

Throughput: one process holds the engine. It is asked bare (`Backend.generate`, so many requests in flight), then by as many clients through the server in
front of it, in turns, each time with prompts that were not asked before; the clients are a process of their own. The ratios travel, the figures do
not: engine, server and clients share the CPUs.

Bad requests: 10,000 requests of 64 clients through ``guardkit serve``, 1 % of them bad. The engine is a stand-in there, a small server without a model
that answers as a guard does: what is measured is the server's memory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "tests" / "generation")]

from bench import about, table  # noqa: E402
from measure import MB  # noqa: E402

CLIENTS = (1, 16, 64)
GOAL = 0.9
"""Share of the bare engine's throughput that is asked for at the most clients."""
BAD = 0.01
KINDS = ("too long", "too large", "no JSON", "no UTF-8", "wrong type", "unknown key", "hangs up early", "hangs up late", "stops in its body")
_QUIET = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
_ENVIRONMENT = {**_QUIET, **os.environ, "PYTHONPATH": str(CHECKOUT), "OPENAI_API_KEY": "none"}

Figures = dict[str, float]


def main() -> int:
    """Measure and print."""
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--backend", default="vllm" if find_spec("vllm") else "transformers", help="engine of the throughput tables")
    ap.add_argument("--model", type=Path, help="folder of a guard (default: a tiny model with random weights, made here)")
    ap.add_argument("--tokens", type=int, default=48, help="tokens that each answer has, at most")
    ap.add_argument("--requests", type=int, default=256, help="requests of each measurement at the most clients; fewer at fewer")
    ap.add_argument("--turns", type=int, default=3, help="times that engine and server take turns; the median counts")
    ap.add_argument("--clients", type=int, nargs="+", default=list(CLIENTS))
    ap.add_argument("--bad", type=int, default=10_000, metavar="N", help="requests of the run with bad ones; 0: none")
    ap.add_argument("--as", dest="role", choices=("host", "clients", "endpoint"), help=argparse.SUPPRESS)
    ap.add_argument("--url", help=argparse.SUPPRESS)
    a = ap.parse_args()
    if a.role == "host":
        return host(a)
    if a.role == "clients":
        print(json.dumps(asyncio.run(clients(a.url, a.clients[0], a.requests, str(a.model)))))
        return 0
    if a.role == "endpoint":
        return endpoint()
    print(about("bench-serve", "serve_bench").replace(" and writes this page", ""), flush=True)
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        if a.turns:
            missed += throughput(a, Path(folder))
        if a.bad:
            missed += bad_requests(a.bad, Path(folder))
    for words in missed:
        print(f"missed: {words}", file=sys.stderr)
    return 1 if missed else 0


# Throughput -----------------------------------------------------------------------------------------------------------


def throughput(a: argparse.Namespace, work: Path) -> list[str]:
    """The engine bare and behind the server; goals that were missed."""
    model, what = a.model, f"{a.backend}, {a.model and a.model.name}"
    if model is None:
        from tiny import tiny_llama

        model, what = tiny_llama(work / "tiny", positions=2048, width=256), f"{a.backend}, a tiny Llama with random weights (2 layers of 256)"
    own = ["--backend", a.backend, "--model", str(model), "--tokens", str(a.tokens), "--requests", str(a.requests), "--turns", str(a.turns)]
    command = [sys.executable, str(Path(__file__)), "--as", "host", *own, "--clients", *map(str, a.clients)]
    done = subprocess.run(command, stdout=subprocess.PIPE, env=_ENVIRONMENT, check=True, text=True)
    found: dict[str, dict[str, list[Figures]]] = json.loads(done.stdout.splitlines()[-1])
    lines = []
    for n, ways in found.items():
        ratio = statistics.median(s["rate"] / e["rate"] for e, s in zip(ways["engine"], ways["serve"], strict=True))
        rates = [statistics.median(f["rate"] for f in ways[way]) for way in ("engine", "serve")]
        times = [f"{1000 * statistics.median(f[p] for f in ways[way]):,.0f}" for p in ("p50", "p95") for way in ("engine", "serve")]
        lines.append([n, *(f"{r:,.1f}" for r in rates), f"{ratio:.2f}", *times])
    head = ["clients", "engine, requests/s", "serve, requests/s", "ratio", "engine p50, ms", "serve p50, ms", "engine p95, ms", "serve p95, ms"]
    print(f"\nEngine: {what}; {a.tokens} tokens an answer at most, {a.requests} requests each time; medians of {a.turns} turns.\n")
    print(table(head, lines), flush=True)
    last = float(lines[-1][3])
    return [] if last >= GOAL else [f"{last:.2f} of the engine's throughput at {lines[-1][0]} clients; the goal is {GOAL}"]


def host(a: argparse.Namespace) -> int:
    """The engine's process."""
    from pydantic import TypeAdapter

    import toolkit
    from toolkit.generation import BackendConfig
    from toolkit.judging import OpenGuard
    from toolkit.serving import Alarm, Desk, Limits, Served, Settings

    heard = os.dup(1)
    os.dup2(2, 1)  # what engines print is no figure
    options = {"engine": {"enforce_eager": True, "max_num_seqs": 64}, "max_model_len": 2048} if a.backend == "vllm" else {}
    config: Any = TypeAdapter(BackendConfig).validate_python(
        {"backend": a.backend, "model": str(a.model), "max_tokens": a.tokens, "dtype": "float32", **options}
    )
    guard = toolkit.load_guard("guardreasoner")
    opened = OpenGuard(guard, config)
    served = Served(Desk(opened), Settings("bench", Alarm.of(guard), Limits(), log=False), port=0)
    found: dict[str, dict[str, list[Figures]]] = {}
    salt = count()
    for n in a.clients:
        requests = a.requests if n == max(a.clients) else max(2 * n, a.requests * n // max(a.clients))
        bare(opened, n, 2 * n, next(salt))
        for turn in range(a.turns):
            ways = found.setdefault(str(n), {"engine": [], "serve": []})
            for way in ("engine", "serve") if turn % 2 == 0 else ("serve", "engine"):
                one = bare(opened, n, requests, next(salt)) if way == "engine" else through(served.url, n, requests, next(salt))
                ways[way].append(one)
    served.stop()
    served.wait()
    os.write(heard, (json.dumps(found) + "\n").encode())
    return 0


def row(salt: int | str, n: int) -> dict[str, Any]:
    """An interaction that nobody has asked about before."""
    words = random.Random(f"{salt} {n}").choices(("bread", "cake", "soup", "a garden", "a letter", "the weather"), k=24)
    return {"prompt": f"[{salt} {n}] Tell me about {', '.join(words)}.", "response": "Gladly." if n % 2 else None}


def bare(opened: Any, n: int, requests: int, salt: int) -> Figures:
    """The engine asked by itself, `n` requests in flight."""
    asked = [opened.ask(row(salt, k))[1][0] for k in range(requests)]
    flying, times = 0, []

    def feed() -> Iterator[Any]:
        nonlocal flying
        for request in asked:
            while flying >= n:
                yield None
            flying += 1
            yield request

    begun = time.perf_counter()
    for completion in opened.backend.generate(feed()):
        if completion is not None:
            flying -= 1
            assert completion.error is None, completion.detail
            times.append(completion.seconds)
    return figures(times, time.perf_counter() - begun)


def through(url: str, n: int, requests: int, salt: int) -> Figures:
    """The server asked by `n` clients of another process."""
    command = [
        sys.executable,
        str(Path(__file__)),
        "--as",
        "clients",
        "--url",
        url,
        "--clients",
        str(n),
        "--requests",
        str(requests),
        "--model",
        str(salt),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, env=_ENVIRONMENT, check=True, text=True)
    out: Figures = json.loads(done.stdout)
    return out


async def clients(url: str, n: int, requests: int, salt: str) -> Figures:
    """So many clients, each of which asks as soon as it has its answer."""
    import aiohttp

    left, times = iter(range(requests)), []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def client() -> None:
            for k in left:
                begun = time.perf_counter()
                async with session.post(f"{url}/v1/judge", json=row(salt, k)) as answer:
                    reply = await answer.json()
                assert answer.status == 200 and reply["verdicts"][0]["error"] is None, reply
                times.append(time.perf_counter() - begun)

        begun = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(n)))
        return figures(times, time.perf_counter() - begun)


def figures(times: Sequence[float], wall: float) -> Figures:
    """Requests per second and quantiles of their times."""
    ordered = sorted(times)
    return {"rate": len(times) / wall, "p50": ordered[len(ordered) // 2], "p95": ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]}


# Bad requests ---------------------------------------------------------------------------------------------------------


def endpoint() -> int:
    """The stand-in engine: it calls what asks for bread unharmful, after 20 ms."""
    from aiohttp import web

    async def chat(http: web.Request) -> web.Response:
        text = (await http.json())["messages"][-1]["content"]
        await asyncio.sleep(0.02)
        label = "unharmful" if "bread" in text else "harmful"
        words = f"# Task 1\n\n## Reasoning Step 1\nIt is looked at.\n\n---\n\nAnswers: \nRequest: {label}\nCompletion: None\nResponse: None"
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": words}}
        return web.json_response({"choices": [choice], "model": "m", "usage": {"prompt_tokens": 300, "completion_tokens": 40}})

    async def run() -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", chat)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        print(json.dumps({"url": f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/v1"}), flush=True)  # type: ignore[attr-defined]
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

    asyncio.run(run())
    return 0


@contextmanager
def started(command: Sequence[str], cwd: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A process that says in JSON where it is."""
    with subprocess.Popen(command, cwd=cwd, env=_ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            printed = process.stdout.readline()
            while not printed.rstrip().endswith("}"):
                printed += process.stdout.readline()
            yield process, json.loads(printed)
        finally:
            process.terminate()
            process.wait(60)


def bad_requests(n: int, work: Path) -> list[str]:
    """Requests of which some are bad; goals that were missed."""
    with started([sys.executable, str(Path(__file__)), "--as", "endpoint"], work) as (_, engine):
        command = [sys.executable, "-m", "toolkit", "serve", "m", "--base-url", engine["url"], "--port", "0", "--json", "--quiet"]
        with started([*command, "--set", "concurrency=64"], work) as (process, serve):
            return asyncio.run(mixed(serve["url"], n, process.pid))


async def mixed(url: str, n: int, pid: int) -> list[str]:
    """Good and bad requests of 64 clients."""
    import aiohttp

    numbers, bad, wrong, sizes = iter(range(n)), Counter[str](), Counter[str](), [resident(pid)]
    good, chance = 0, random.Random(0)
    begun = time.perf_counter()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def client() -> None:
            nonlocal good
            for k in numbers:
                if k and k % (n // 10) == 0:
                    sizes.append(resident(pid))
                if chance.random() < BAD:
                    kind = KINDS[bad.total() % len(KINDS)]
                    bad[kind] += 1
                    if (fault := await misbehave(session, url, kind, k)) is not None:
                        wrong[f"{kind}: {fault}"] += 1
                    continue
                what = "bread" if k % 3 else "an insult"
                async with session.post(
                    f"{url}/v1/judge", json={"prompt": f"Tell me about {what}, for the {k}th time. " * 8, "id": str(k)}
                ) as answer:
                    reply = await answer.json()
                one = reply["verdicts"][0] if answer.status == 200 else {}
                if one.get("id") == str(k) and one["tasks"]["prompt"]["label"] == ("unharmful" if k % 3 else "harmful"):
                    good += 1
                else:
                    wrong[f"good: {answer.status}"] += 1

        await asyncio.gather(*(client() for _ in range(64)))
        seconds = time.perf_counter() - begun
        async with session.get(f"{url}/metrics") as answer:
            lines = dict(line.rsplit(" ", 1) for line in (await answer.text()).splitlines() if not line.startswith("#"))
    sizes.append(resident(pid))
    print(
        f"\n{n:,} requests of 64 clients, {bad.total()} of them bad, in {seconds:.0f} s (a stand-in engine): {good:,} good ones answered rightly.\n"
    )
    print(table(["bad requests", "sent"], [[kind, str(sent)] for kind, sent in sorted(bad.items())]))
    print(f"\nResident memory of the server, MB, after each tenth: {', '.join(f'{s / MB:.0f}' for s in sizes)}.")
    print(f"Left in its queue: {lines['guardkit_queue']}, in the engine: {lines['guardkit_in_engine']}.", flush=True)
    missed = [f"{k} x{v}" for k, v in wrong.items()]
    if good != n - bad.total():
        missed.append(f"{n - bad.total() - good} good requests without their answer")
    if sizes[-1] > sizes[len(sizes) // 2] + 16 * MB:
        missed.append("the server's memory grows")
    return missed


async def misbehave(session: Any, url: str, kind: str, k: int) -> str | None:
    """Send a bad request; what was wrong with its answer, if anything."""
    bodies = {
        "too long": (json.dumps({"prompt": "bread " * 20_000}).encode(), 413),
        "too large": (b'{"prompt": "' + b"a" * (2 << 20) + b'"}', 413),
        "no JSON": (b'{"prompt": ', 400),
        "no UTF-8": (b'{"prompt": "\xff\xfe"}', 400),
        "wrong type": (json.dumps({"prompt": [k]}).encode(), 400),
        "unknown key": (json.dumps({"prompt": "bread", "answer": "b"}).encode(), 400),
    }
    if kind in bodies:
        body, status = bodies[kind]
        async with session.post(f"{url}/v1/judge", data=body, headers={"Content-Type": "application/json"}) as answer:
            await answer.read()
            return None if answer.status == status else str(answer.status)
    where = urlsplit(url)
    _, writer = await asyncio.open_connection(where.hostname, where.port)
    body = json.dumps({"prompt": f"bread {k}"}).encode()
    length = len(body) + (100 if kind == "stops in its body" else 0)
    head = f"POST /v1/judge HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n".encode()
    writer.write(head[:40] if kind == "hangs up early" else head + body)
    with suppress(ConnectionError):
        await writer.drain()
        if kind == "hangs up late":
            await asyncio.sleep(0.005)
        writer.transport.abort()
    return None


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    sys.exit(main())
