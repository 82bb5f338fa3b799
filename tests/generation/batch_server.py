"""A small server that speaks OpenAI's files and batches for tests: real sockets, real HTTP, no model.

A batch moves one status further each time it is looked at: validating, in_progress, finalizing, its end. `BatchServer.plans` says, in the order
in which batches are made, how each ends:

    ok                  all rows served
    expired:N           N rows served, then expired
    cancelled:N         N rows served, then cancelled by somebody
    CODE, CODE@LINE     invalid, with that error code (and line)
    stuck               in_progress until it is taken out of `stuck`
    nothing             completed, with neither output nor error file
    gone                served, but its output file cannot be had
    late                served, but its output file's name comes two looks later

`BatchServer.faults` maps a last message to what its first attempts meet: a status, ``missing`` (in neither file), ``torn`` (half a line),
``zero`` (status 0), ``filter``, ``refusal``, ``empty``, ``shape``; `BatchServer.http` is a list of statuses, or ``reset``, that the next
HTTP requests meet before they take effect (an empty string is no fault), and `BatchServer.after` likewise once they have (or ``cut``: half of the
next file that is read). `max_rows` is how many rows may be enqueued.
Every request line is checked against the openai package's types, and so is every batch and answer that is sent.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from openai.types import Batch, FileObject
from openai.types.batch_create_params import BatchCreateParams
from openai.types.chat import ChatCompletion
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from pydantic import TypeAdapter

from toolkit.generation import Completion, Journal, OpenAIBatchConfig, build_request, complete, open_backend

BODY = TypeAdapter(CompletionCreateParamsNonStreaming)
CREATE = TypeAdapter(BatchCreateParams)


def answer(text: str) -> str:
    """What the server answers."""
    return f"batch answer to {text!r}"


class BatchServer:
    """Keeps files and batches; counts what it would charge for."""

    def __init__(self) -> None:
        self.base_url = ""
        self.files: dict[str, bytes] = {}
        self.names: dict[str, str] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.plan: dict[str, str] = {}
        self.plans: list[str] = []
        self.stuck: set[str] = set()
        self.faults: dict[str, list[str]] = {}
        self.http: list[str] = []
        self.after: list[str] = []
        self.max_rows: int | None = None
        self.billed: Counter[str] = Counter()
        self.looks: Counter[str] = Counter()
        self.headers: list[dict[str, str]] = []
        self.problems: list[str] = []
        self._numbers = itertools.count()

    # -- what a test asks about

    def rows(self, batch: dict[str, Any]) -> list[dict[str, Any]]:
        """The request lines of a batch."""
        return [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]

    def sizes(self) -> list[int]:
        """Rows of each batch that was made and did not fail validation."""
        return [len(self.rows(b)) for b in self.batches.values() if b["status"] != "failed"]

    # -- the API

    async def upload(self, http: web.Request) -> web.Response:
        form = await http.post()
        field = form["file"]
        assert isinstance(field, web.FileField)
        if form["purpose"] != "batch" or not field.filename.endswith(".jsonl"):
            return _error(400, "purpose or name", "invalid_request_error")
        name = f"file-{len(self.files)}"
        self.files[name] = field.file.read()
        self.names[name] = field.filename
        sent = {"id": name, "object": "file", "bytes": len(self.files[name]), "created_at": int(time.time()), "filename": field.filename}
        sent |= {"purpose": "batch", "status": "processed"}
        FileObject.model_validate(sent)
        return web.json_response(sent)

    async def content(self, http: web.Request) -> web.StreamResponse:
        data = self.files.get(http.match_info["id"])
        if data is None:
            return _error(404, "no such file", "not_found")
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream", "Content-Length": str(len(data))})
        await response.prepare(http)
        if self.after and self.after[0] == "cut":
            self.after.pop(0)
            await response.write(data[: len(data) // 2])
            assert http.transport is not None
            http.transport.close()
            return response
        await response.write(data)
        return response

    async def create(self, http: web.Request) -> web.Response:
        body = await http.json()
        CREATE.validate_python(body)
        if len(json.dumps(body["metadata"])) > 16 * 576:
            return _error(400, "metadata", "invalid_request_error")
        name = f"batch_{next(self._numbers)}"
        batch = {"id": name, "object": "batch", "status": "validating", "created_at": int(time.time()), **body}
        batch["request_counts"] = {"total": 0, "completed": 0, "failed": 0}
        self.plan[name] = self.plans.pop(0) if self.plans else "ok"
        if self.plan[name] == "stuck":
            self.stuck.add(name)
        self.batches[name] = batch
        return self._sent(batch)

    async def retrieve(self, http: web.Request) -> web.Response:
        batch = self.batches.get(http.match_info["id"])
        if batch is None:
            return _error(404, "no such batch", "not_found")
        self.looks[batch["id"]] += 1
        self._advance(batch)
        return self._sent(batch)

    async def list(self, http: web.Request) -> web.Response:
        newest = list(reversed(self.batches.values()))
        if after := http.query.get("after"):
            at = [b["id"] for b in newest].index(after) + 1
            newest = newest[at:]
        page = newest[: min(int(http.query.get("limit", 20)), 2)]  # short pages, so that tests meet a second one
        ids = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {}
        return web.json_response({"object": "list", "data": page, "has_more": len(newest) > len(page), **ids})

    def _sent(self, batch: dict[str, Any]) -> web.Response:
        Batch.model_validate(batch, strict=True)
        return web.json_response(batch)

    # -- how batches go on

    def _advance(self, batch: dict[str, Any]) -> None:
        now = int(time.time())
        plan, _, detail = self.plan[batch["id"]].partition(":")
        if batch["status"] == "validating":
            self._validate(batch, plan, now)
        elif batch["status"] == "in_progress":
            if batch["id"] not in self.stuck:
                batch |= {"status": "finalizing", "finalizing_at": now}
        elif batch["status"] == "finalizing":
            self._end(batch, plan, int(detail or 0), now)
        elif plan == "late" and self.looks[batch["id"]] == 6:
            batch["output_file_id"] = batch.pop("_output")

    def _validate(self, batch: dict[str, Any], plan: str, now: int) -> None:
        rows = self.rows(batch)
        enqueued = sum(len(self.rows(b)) for b in self.batches.values() if b["status"] in ("in_progress", "finalizing"))
        errors = [f"wrong@{n}" for n, row in enumerate(rows, 1) if not self._valid(row)]
        if self.max_rows is not None and enqueued + len(rows) > self.max_rows:
            errors.append("token_limit_exceeded")
        if plan not in ("ok", "expired", "cancelled", "stuck", "nothing", "gone", "late"):
            errors.append(plan)
        if errors:
            found = [e.partition("@") for e in errors]
            data = [{"code": code, "message": "see the code", "line": int(line) if line else None, "param": None} for code, _, line in found]
            batch |= {"status": "failed", "failed_at": now, "errors": {"object": "list", "data": data}}
        else:
            batch |= {"status": "in_progress", "in_progress_at": now}
            batch["request_counts"] = {"total": len(rows), "completed": len(rows) // 2, "failed": 0}

    def _valid(self, row: dict[str, Any]) -> bool:
        try:
            assert set(row) == {"custom_id", "method", "url", "body"}
            assert (row["method"], row["url"]) == ("POST", "/v1/chat/completions")
            assert len(row["custom_id"]) <= 64
            BODY.validate_python(row["body"], extra="forbid")
        except (AssertionError, ValueError) as e:
            self.problems.append(repr(e))
            return False
        return True

    def _end(self, batch: dict[str, Any], plan: str, served: int, now: int) -> None:
        rows = self.rows(batch)
        served = served if plan in ("expired", "cancelled") else 0 if plan == "nothing" else len(rows)
        output: list[Any] = []
        errors: list[Any] = []
        for n, row in enumerate(rows):
            if n < served:
                line, fine = self._serve(row)
                if line is not None:
                    (output if fine else errors).append(line)
            elif plan != "nothing":
                error = {"code": f"batch_{plan}", "message": "the batch ended before it was its turn"}
                errors.append(json.dumps({"id": f"r{n}", "custom_id": row["custom_id"], "response": None, "error": error}))
        output.reverse()  # the order of the output is not that of the input
        end = {"expired": "expired", "cancelled": "cancelled"}.get(plan, "completed")
        batch |= {"status": end, f"{end}_at": now}
        batch["request_counts"] = {"total": len(rows), "completed": len(output), "failed": len(errors)}
        for name, lines in (("output", output), ("error", errors)):
            if lines:
                batch[f"{name}_file_id"] = f"file-{batch['id']}-{name}"
                if plan != "gone":
                    self.files[batch[f"{name}_file_id"]] = ("\n".join(lines) + "\n").encode()
        if plan == "late":
            batch["_output"] = batch.pop("output_file_id")

    def _serve(self, row: dict[str, Any]) -> tuple[str | None, bool]:
        """The result line of a row, and whether it goes into the output file."""
        text = row["body"]["messages"][-1]["content"]
        left = self.faults.get(text) or []
        fault = left.pop(0) if left else ""
        status = 0 if fault == "zero" else int(fault) if fault.isdigit() else 200
        if status == 200:
            self.billed[text] += 1
            body = _completion(row["body"], text, fault)
        else:
            code = "insufficient_quota" if fault == "429" and text.startswith("quota") else "whatever"
            body = {"error": {"message": "no, for Bearer sk-very-secret-0123456789", "type": "x", "param": None, "code": code}}
        line = json.dumps(
            {"id": "batch_req_1", "custom_id": row["custom_id"], "response": {"status_code": status, "request_id": "q", "body": body}, "error": None}
        )
        if fault == "missing":
            return None, True
        return (line[: len(line) // 2] if fault == "torn" else line), status == 200


def _completion(body: dict[str, Any], text: str, fault: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": answer(text), "refusal": None}
    choice = {"index": 0, "finish_reason": "stop", "message": message, "logprobs": None}
    whole = {"id": "x", "object": "chat.completion", "created": 1, "model": "served-" + body["model"], "choices": [choice]}
    whole["usage"] = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    if fault == "filter":
        choice["finish_reason"] = "content_filter"
    if fault in ("refusal", "empty"):
        message |= {"content": None, "refusal": "I would rather not." if fault == "refusal" else None}
    ChatCompletion.model_validate(whole, strict=True)
    if fault == "shape":
        whole["choices"] = []
    return whole


def _error(status: int, message: str, code: str) -> web.Response:
    return web.json_response({"error": {"message": message, "type": "x", "code": code}}, status=status, headers={"Retry-After": "0"})


@contextmanager
def running(server: BatchServer) -> Iterator[BatchServer]:
    """Serve on a free port of this machine, on a thread."""

    @web.middleware
    async def faulty(http: web.Request, handler: Any) -> web.StreamResponse:
        server.headers.append(dict(http.headers))
        if server.http and (fault := server.http.pop(0)):
            return _failing(http, fault)
        response: web.StreamResponse = await handler(http)
        if server.after and server.after[0] != "cut" and not response.prepared and (fault := server.after.pop(0)):
            return _failing(http, fault)
        return response

    loop = asyncio.new_event_loop()
    app = web.Application(client_max_size=1 << 28, middlewares=[faulty])  # type: ignore[list-item]
    app.router.add_post("/v1/files", server.upload)
    app.router.add_get("/v1/files/{id}/content", server.content)
    app.router.add_post("/v1/batches", server.create)
    app.router.add_get("/v1/batches", server.list)
    app.router.add_get("/v1/batches/{id}", server.retrieve)
    runner = web.AppRunner(app, access_log=None)

    async def start() -> None:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, shutdown_timeout=0.1)
        await site.start()
        assert site._server is not None
        server.base_url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/v1"  # type: ignore[attr-defined]

    loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def _failing(http: web.Request, fault: str) -> web.Response:
    if fault == "reset":
        assert http.transport is not None
        http.transport.abort()
        return web.Response()
    status, _, code = fault.partition("/")
    return _error(int(status), f"no, for {http.headers.get('Authorization')}", code or "whatever")


def config(server: BatchServer | None, **more: Any) -> OpenAIBatchConfig:
    base = {"base_url": server.base_url} if server else {}
    return OpenAIBatchConfig.model_validate({"backend": "openai-batch", "model": "m", "timeout": 5, "poll": 0.003, "retries": 2, **base, **more})


def run(c: OpenAIBatchConfig, texts: list[str], work: Path, **more: Any) -> list[Completion]:
    """One run of a program: its own journal and backend."""
    with Journal(work) as journal:
        backend = open_backend(c, work=work)
        try:
            return list(complete((build_request(backend, c, [{"role": "user", "content": t}]) for t in texts), backend, journal, **more))
        finally:
            backend.close()


def texts(n: int) -> list[str]:
    return [f"t{i}" for i in range(n)]


def folders(work: Path) -> list[str]:
    return sorted(p.name for p in (work / "batches").iterdir()) if (work / "batches").exists() else []


def billed_once(server: BatchServer, rows: list[str]) -> bool:
    return server.billed == dict.fromkeys(rows, 1)


@contextmanager
def interrupted(server: BatchServer, before: Callable[[], object] = lambda: None) -> Iterator[None]:
    """An interrupt of the main thread, as Ctrl-C gives it, once every batch that is stuck has been looked at a dozen times."""

    def watch() -> None:
        while not server.stuck or any(server.looks[b] < 12 for b in server.stuck):
            time.sleep(0.005)
        before()
        signal.pthread_kill(main, signal.SIGINT)

    main = threading.main_thread().ident or 0
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    yield
    watcher.join()
