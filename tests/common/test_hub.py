"""Whether a model on the hub can be had: a hub of this machine's, real HTTP."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import close_session, get_session
from huggingface_hub.errors import OfflineModeIsEnabled
from huggingface_hub.utils._http import http_backoff

from toolkit.common import hub
from toolkit.common.http import careful_hub
from toolkit.common.hub import lacking

ANSWERS = {
    "owner/free": (200, ""),
    "owner/moved": (307, ""),
    "owner/gated": (401, "GatedRepo"),
    "owner/not-for-you": (403, "GatedRepo"),
    "owner/nowhere": (401, "RepoNotFound"),
    "owner/plain-404": (404, ""),
    "owner/no-config": (404, "EntryNotFound"),
    "owner/busy": (503, ""),
    "short": (401, "RepoNotFound"),
    "sentence-transformers/short": (200, ""),
}
LARGE = 10**12
"""Weights of every model here, as its page says."""


class Hub(ThreadingHTTPServer):
    """Answers HEAD requests by `ANSWERS`, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                server.asked.append((self.path, self.headers.get("Authorization")))
                status, code = ANSWERS[self.path.strip("/").removesuffix("/resolve/main/config.json")]
                self.send_response(status)
                if code:
                    self.send_header("X-Error-Code", code)
                if status == 307:
                    self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.end_headers()

            def do_GET(self) -> None:
                server.asked.append((self.path, self.headers.get("Authorization")))
                body = json.dumps({"id": "x", "safetensors": {"parameters": {"BF16": LARGE}, "total": LARGE}}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", *hub._CACHES, "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with Hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        hub._lacking.cache_clear()
        hub._parameters.cache_clear()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize("name", ["owner/free", "owner/moved", "owner/no-config", "owner/busy"])
def test_nothing_is_known_against_it(served: Hub, name: str) -> None:
    assert lacking(name) is None


@pytest.mark.parametrize(
    ("name", "token", "message"),
    [
        ("owner/gated", None, "is gated, and HF_TOKEN is not set: accept its terms"),
        ("owner/not-for-you", "a-token-of-mine", "is gated, and the token of HF_TOKEN has no leave for it"),
        ("owner/nowhere", None, "has no model 'owner/nowhere'"),
        ("owner/plain-404", None, "has no model 'owner/plain-404'"),
    ],
)
def test_why_it_cannot_be_had(served: Hub, monkeypatch: pytest.MonkeyPatch, name: str, token: str | None, message: str) -> None:
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    assert message in str(lacking(name)) and "a-token-of-mine" not in str(lacking(name))
    assert served.asked == [(f"/{name}/resolve/main/config.json", f"Bearer {token}" if token else None)], "asked once, and nothing else"


def test_what_lies_in_the_cache_is_not_asked_for(served: Hub, tmp_path: Path) -> None:
    place = tmp_path / "hf" / "hub" / "models--owner--gated" / "snapshots" / "abc"
    place.mkdir(parents=True)
    (place / "tokenizer.json").write_text("{}")
    assert lacking("owner/gated", "tokenizer") is None and lacking("owner/gated") is not None
    (place / "model.safetensors").write_bytes(b"")
    assert lacking("owner/gated") is None and len(served.asked) == 1


def test_an_embedding_model_without_an_owner_is_found_where_its_library_looks(served: Hub) -> None:
    assert lacking("short", "embedding model") is None
    assert "has no model 'short'" in str(lacking("short"))


def test_offline_and_out_of_reach(served: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE is set" in str(lacking("owner/free")) and served.asked == []
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "cannot be reached" in str(lacking("owner/free"))
    assert "does not answer" in str(lacking("owner/other")), "it is asked no second time"


def test_a_hub_whose_name_is_unknown_is_asked_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """huggingface_hub would ask six times, within 23 seconds."""
    asked = []

    def unknown(host: str, *_: object, **__: object) -> None:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(OfflineModeIsEnabled, match="not known"), careful_hub():
        http_backoff("HEAD", "https://hub.invalid/datasets/a/b/resolve/main/README.md")
    assert asked == ["hub.invalid"]


def test_a_client_that_is_made_after_a_failed_connection_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """huggingface_hub closes the client that it shares when a connection fails, and makes another one."""
    close_session()
    with careful_hub():
        close_session()
        with careful_hub():
            assert "send" in vars(get_session())
        assert "send" in vars(get_session()), "the inner block leaves it to the outer one"
        close_session()
        with pytest.raises(httpx2.ConnectError):
            http_backoff("HEAD", "http://127.0.0.1:9/x", max_retries=1, base_wait_time=0)
        assert "send" in vars(get_session())
    assert "send" not in vars(get_session())
    close_session()
    assert "send" not in vars(get_session())
