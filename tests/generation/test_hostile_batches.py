"""A Batch API that answers what it likes: results without measure, wrong types, echoed keys; nothing of it ends a run but what must."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from batch_server import BatchServer, answer, config, run, running, texts

from toolkit.common.errors import InputError
from toolkit.generation import build_request, complete, open_backend
from toolkit.generation.backends._client import lines

SECRET = "sk-very-secret-0123456789"  # noqa: S105


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setattr("toolkit.generation.backends._http.FIRST_WAIT", 0.01)


class Hostile(BatchServer):
    """Serves lines as they are put into `says` (by last message), and does to batches what `odd` says."""

    def __init__(self) -> None:
        super().__init__()
        self.says: dict[str, str] = {}
        self.odd: dict[str, Any] = {}
        self.first: list[web.Response] = []
        self.endless = False

    def _serve(self, row: dict[str, Any]) -> tuple[str | None, bool]:
        line, fine = super()._serve(row)
        text = row["body"]["messages"][-1]["content"]
        return (line.replace(answer(text), self.says[text]) if line is not None and text in self.says else line), fine

    def _sent(self, batch: dict[str, Any]) -> web.Response:
        return web.json_response({**batch, **self.odd})

    async def retrieve(self, http: web.Request) -> web.Response:
        return self.first.pop(0) if self.first else await super().retrieve(http)

    async def content(self, http: web.Request) -> web.StreamResponse:
        if not self.endless:
            return await super().content(http)
        response = web.StreamResponse()
        await response.prepare(http)
        while True:
            await response.write(b"[1, 2]\n" * 9000)


@pytest.fixture
def server() -> Iterator[Hostile]:
    with running(Hostile()) as s:
        assert isinstance(s, Hostile)
        yield s


def test_a_result_without_measure_costs_itself_and_is_kept(server: Hostile, tmp_path: Path) -> None:
    server.says["t1"] = "x" * (3 << 20)
    c = config(server, max_tokens=16)
    for _ in range(2):
        out = run(c, texts(3), tmp_path)
        assert [(x.text and x.text[:12], x.error) for x in out] == [("batch answer", None), (None, "too_large"), ("batch answer", None)]
    assert server.billed == {"t0": 1, "t1": 1, "t2": 1}
    server.says.clear()
    assert run(config(server, max_tokens=17), ["t1"], tmp_path)[0].ok


def test_a_file_of_results_without_end_is_left(server: Hostile, tmp_path: Path) -> None:
    server.endless = True
    out = run(config(server, max_tokens=16, retries=0), texts(2), tmp_path)
    assert [x.error for x in out] == ["unanswered"] * 2


@pytest.mark.parametrize(
    "odd",
    [
        {"request_counts": "many"},
        {"request_counts": {"completed": -1, "failed": [1]}, "created_at": "now", "completed_at": 10**300},
        {"errors": {"data": 5}, "error_file_id": 5},
        {"error_file_id": "a\ud800\n"},
        {"metadata": [1], "usage": 3, "input_file_id": None},
    ],
    ids=str,
)
def test_fields_of_other_types_are_not_looked_at(server: Hostile, tmp_path: Path, odd: dict[str, Any]) -> None:
    server.odd = odd
    assert [x.text for x in run(config(server), texts(2), tmp_path)] == [answer("t0"), answer("t1")]


def test_faults_of_other_types(server: Hostile, tmp_path: Path) -> None:
    server.odd = {"status": "failed", "errors": {"data": [{"code": [1], "message": {"a": 1}, "line": "x"}, 5]}}
    with pytest.raises(InputError, match="found a batch of 1 requests invalid"):
        run(config(server), ["t"], tmp_path)


def test_answers_of_another_form_are_asked_again(server: Hostile, tmp_path: Path) -> None:
    bodies = [b"[1]", b'"batch"', b"<html>", b"[" * 100_000, b'{"status": 5}', b'{"status": "\\ud800"}', b"null"]
    server.first = [web.Response(body=body, content_type="application/json") for body in bodies]
    assert run(config(server), ["t"], tmp_path)[0].ok


def test_an_answer_about_a_batch_is_bounded(server: Hostile, tmp_path: Path) -> None:
    server.first = [web.Response(body=json.dumps({"status": "x" * (20 << 20)}).encode(), content_type="application/json")]
    with pytest.raises(InputError, match="more than 16 MiB"):
        run(config(server), ["t"], tmp_path)


def test_an_echoed_key_reaches_no_folder(server: Hostile, tmp_path: Path) -> None:
    """Without a journal the folders of the batches stay."""
    server.says = {"t0": f"the key is {SECRET}", "t1": f"cut {SECRET[:12]}", "t2": SECRET.replace("s", "\\u0073")}
    server.faults = {"t3": ["400"]}
    server.odd = {"note": SECRET, "errors": None, "metadata": {"key": SECRET}}
    c = config(server)
    backend = open_backend(c, work=tmp_path)
    out = list(complete((build_request(backend, c, [{"role": "user", "content": t}]) for t in texts(4)), backend, None))
    backend.close()
    assert [x.text for x in out[:2]] == ["the key is ***", "cut ***"] and "secret" not in (out[2].text or "")
    assert out[3].error == "bad_request" and "***" in (out[3].detail or "")
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert any(p.name == "output.jsonl" for p in files)
    assert not [p for p in files if SECRET[:8].encode() in p.read_bytes()]


def test_lines_are_cut_at_the_bound_and_nowhere_else() -> None:
    data = b"a\nbb\r\n\n" + b"c" * 50 + b"\nd"
    for size in (1, 2, 3, 7, 100):
        chunks = [data[i : i + size] for i in range(0, len(data), size)]
        found = list(lines(chunks, 10))
        assert [(line[:10], whole) for line, whole in found if not line.startswith(b"c")] == [
            (b"a\n", True),
            (b"bb\r\n", True),
            (b"\n", True),
            (b"d", True),
        ]
        assert [(whole, len(line) <= max(10, size)) for line, whole in found if line.startswith(b"c")] == [(False, True)]
