"""Whatever an endpoint sends costs at most the request that it answers: bounded in memory, cleaned, recorded, read back as it came."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from raw_server import Reply, answer, http, last_message, running

from toolkit import generate
from toolkit.generation._answers import largest


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def ask(folder: Path, url: str, rows: int, budget: float | None = None, **options: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The verb `generate` on rows whose texts are their numbers: its figures, and its output."""
    prompts = folder / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"id": f"r{n}", "user": str(n)}) + "\n" for n in range(rows)))
    config = {"backend": "openai", "model": "m", "base_url": url, "retries": 0, "timeout": 20, **options}
    out = generate(prompts, folder / "out.jsonl", config, work=folder / "work", budget=budget, raise_failures=False)
    return out, [json.loads(line) for line in (folder / "out.jsonl").read_text().split("\n") if line]


# -- any value in any field

numbers = st.integers() | st.floats() | st.sampled_from([10**400, -1, 2**53, 1e308])
texts = st.text(st.characters() | st.sampled_from("\0\ud800\udfff\x1b\u202e\x85"), max_size=20) | st.just("long " * 5000)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts, lambda v: st.lists(v, max_size=3) | st.dictionaries(texts, v, max_size=3), max_leaves=5
)


def maybe(*usual: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(usual) | values


messages = st.fixed_dictionaries(
    {"content": texts | maybe("Fine.", None)}, optional={name: maybe("words") for name in ("refusal", "reasoning", "reasoning_content", "role")}
)
choices = st.fixed_dictionaries(
    {"message": messages | values}, optional={"finish_reason": maybe("stop", "length", "content_filter"), "index": maybe(0)}
)
counts = st.fixed_dictionaries({}, optional={name: maybe(1, 0) for name in ("prompt_tokens", "completion_tokens", "completion_tokens_details")})
good = st.fixed_dictionaries(
    {"choices": st.lists(choices, min_size=1, max_size=2) | values},
    optional={"usage": counts | values, "model": maybe("m"), "id": values, "created": values, "error": values},
)
faults = st.fixed_dictionaries(
    {}, optional={"message": values, "code": maybe("content_filter", "invalid_prompt", 500), "type": values, "param": maybe("response_format")}
)
bad = st.fixed_dictionaries({"error": faults | values}, optional={"detail": maybe([{"loc": ["response_format", 1]}])}) | values
answers = st.tuples(st.just(200), good | bad) | st.tuples(st.sampled_from([400, 403, 418, 422]), bad)


LONE = {"choices": [{"message": {"content": "Fine. \ud800", "reasoning": "\udfff"}, "finish_reason": "st\ud800\0p"}], "model": "m\ud800\0"}
HUGE = {**LONE, "usage": {"prompt_tokens": 10**400, "completion_tokens": -1}}
LONG = {"choices": [{"message": {"content": None, "refusal": "no\0 " * 500}, "finish_reason": "word " * 500}], "model": "m" * 5000}


@settings(max_examples=15, deadline=None)
@example([(200, LONE), (200, HUGE), (200, LONG), (400, {"error": {"message": "\ud800\0", "code": "content_filter"}})])
@given(st.lists(answers, min_size=12, max_size=12))
def test_any_value_in_any_field_is_read_back_as_it_came(sent: list[tuple[int, Any]]) -> None:
    def reply(head: str, body: bytes) -> bytes:
        status, value = sent[int(last_message(body))]
        return http(json.dumps(value).encode(), f"{status} Whatever", f"Retry-After: {'9' * 400}", "x-ratelimit-reset-tokens: nan")

    with tempfile.TemporaryDirectory() as folder, running(reply) as server:
        first, rows = ask(Path(folder), server.base_url, len(sent))
        asked = server.asked
        again, same = ask(Path(folder), server.base_url, len(sent))
    assert rows == same and first["failed"] == again["failed"]
    lasting = {"refused", "content_filter", "empty", "no_schema", "too_large", None}
    assert (asked, again["asked"]) == (len(sent), sum(r["error"] not in lasting for r in rows))
    written = json.dumps(rows, ensure_ascii=False)
    written.encode()  # no lone surrogate is left
    assert "\0" not in "".join(str(v) for r in rows for v in r.values())
    assert all(len(r[name] or "") <= 500 for r in rows for name in ("finish", "model", "detail"))


# -- any size


def packed(size: int, window: int) -> bytes:
    """So many MiB of spaces, compressed."""
    packer = zlib.compressobj(9, zlib.DEFLATED, window)
    return b"".join(packer.compress(b" " * (1 << 20)) for _ in range(size)) + packer.flush()


def endless(head: str) -> Iterator[bytes]:
    yield f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{head}\r\n".encode()
    while True:
        yield b"100000\r\n" + b"a" * 0x100000 + b"\r\n"


def long_line(head: str) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nX-A: "
    while True:
        yield b"a" * (1 << 20)


SIZES: dict[str, tuple[Callable[[], Reply], str]] = {
    "gzip": (lambda: http(packed(300, 31), "200 OK", "Content-Encoding: gzip"), "too_large"),
    "deflate": (lambda: http(packed(300, 15), "200 OK", "Content-Encoding: deflate"), "too_large"),
    "plain": (lambda: [http(b"", "200 OK").replace(b": 0", b": %d" % (600 << 20)), *[b"a" * (1 << 20)] * 600], "too_large"),
    "chunks": (lambda: endless(""), "too_large"),
    "no length": (lambda: [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", *[b"a" * (1 << 20)] * 600], "too_large"),
    "error": (lambda: http(packed(300, 31), "400 Bad", "Content-Encoding: gzip"), "bad_request"),
    "headers": (lambda: long_line(""), "connection"),
}

CLIENT = """
import sys
from pathlib import Path
from toolkit import generate
folder = Path(sys.argv[1])
config = {"backend": "openai", "model": "m", "base_url": sys.argv[2], "endpoint": "here", "retries": 0, "concurrency": 3, "slow_start": False}
found = generate(folder / "prompts.jsonl", folder / "out.jsonl", config, work=folder / "work", raise_failures=False)
print(found["errors"], found["asked"], int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024, sep="|")
"""


def run(folder: Path, reply: Callable[[str, bytes], Reply]) -> tuple[str, int, int]:
    """A program of its own that asks three rows: its failures, how many it asked, and its memory in MiB at most."""
    folder.mkdir(exist_ok=True)
    (folder / "prompts.jsonl").write_text("".join(f'{{"id": "{n}", "user": "{n}"}}\n' for n in range(3)))
    with running(reply) as server:
        done = subprocess.run([sys.executable, "-c", CLIENT, str(folder), server.base_url], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    errors, asked, peak = done.stdout.strip().split("|")
    return errors, int(asked), int(peak)


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> int:
    """Memory of a program whose answers are short."""
    return run(tmp_path_factory.mktemp("usual"), lambda head, body: http(json.dumps(answer()).encode()))[2]


@pytest.mark.parametrize("kind", SIZES)
def test_an_answer_without_measure_costs_little_memory_and_is_not_paid_for_again(kind: str, tmp_path: Path, usual: int) -> None:
    make, error = SIZES[kind]
    folder = tmp_path / "run"
    errors, asked, peak = run(folder, lambda head, body: make())
    assert (errors, asked) == (str({error: 3}), 3)
    assert peak < usual + 12 * (largest(2048) >> 20), "a few times the bound for each of three"
    if error == "too_large":
        assert run(folder, lambda head, body: http(json.dumps(answer()).encode()))[:2] == (errors, 0)


def test_what_an_answer_may_be_is_read() -> None:
    """Well beyond what 2,048 tokens of text take, and with logprobs what those take."""
    assert largest(2048) == 4 << 20 and largest(10**9) == largest(2048, '{"logprobs":true}') == 256 << 20
