"""``guardkit doctor``: what is there and what is not, without a secret, without waiting for a hub that is silent."""

from __future__ import annotations

import json
import socket
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from commands import CHECKOUT, Result

from toolkit.api import _doctor

Cli = Callable[..., Result]
GATED = "allenai/wildguardmix"


def lines(result: Result) -> dict[str, dict[str, Any]]:
    return {line["name"]: line for line in result.json["found"]}


@contextmanager
def hub(statuses: dict[str, int], seen: list[tuple[str, str | None]]) -> Iterator[str]:
    """A hub on this machine: the status of each path, and what was asked with which token."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path, self.headers.get("Authorization")))
            self.send_response(next((s for part, s in statuses.items() if part in self.path), 200))
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "GUARDKIT_WORKSPACE", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


def test_the_packages_are_those_of_the_project() -> None:
    extras = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {n: tuple(p) for n, p in extras.items() if n != "dev"} == _doctor.EXTRAS


@pytest.mark.parametrize(
    ("found", "wanted", "fits"),
    [
        ("2.13.0+cpu", "torch>=2.13,<2.14", True),
        ("2.14.1", "torch>=2.13,<2.14", False),
        ("2.9.1", "torch>=2.13,<2.14", False),
        ("46.0.3", "cryptography>=46", True),
    ],
)
def test_versions_are_compared_as_numbers(found: str, wanted: str, fits: bool) -> None:
    assert _doctor._fits(found, wanted) is fits


def test_what_is_there_is_reported_and_keys_by_their_names_alone(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-proj-veryveryverysecret0123456789")
    monkeypatch.setenv("TOGETHER_API_KEY", "with a space")
    monkeypatch.setenv("HF_TOKEN", "hf_alsoverysecretindeed0123456789")
    result = cli("doctor", "--offline", "--json")
    found = lines(result)
    assert result.code == 0 and result.json["ok"] is True
    assert found["guardkit"]["state"] == "ok" and "GB" in found["memory"]["says"] and "GB free" in found["disk"]["says"]
    assert found["OPENAI_API_KEY"]["state"] == "ok" and found["TOGETHER_API_KEY"]["state"] == "warning"
    assert found["network"] == {"part": "hub", "name": "network", "state": "off", "says": "not asked", "hint": None}
    assert "secret" not in result.out + result.err and "with a space" not in result.out
    assert "secret" not in cli("doctor", "--offline").out


def test_a_missing_package_says_how_to_get_it_and_counts_where_it_is_needed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_doctor.EXTRAS, "noise", ("no-such-package-at-all>=1",))
    result = cli("doctor", "--offline", "--json")
    assert result.code == 0 and lines(result)["noise"]["state"] == "missing" and "pip install 'guardkit[noise]'" in lines(result)["noise"]["hint"]
    assert cli("doctor", "sign", "--offline").code == 0
    result = cli("doctor", "noise", "--offline")
    assert result.code == 4 and "not ready: noise" in result.err and "no-such-package-at-all is missing" in " ".join(result.out.split())
    result = cli("doctor", "nois", "--offline")
    assert result.code == 2 and "did you mean 'noise'?" in result.err


def test_a_workspace_that_cannot_be_written_is_not_ready(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARDKIT_WORKSPACE", "/proc/nowhere")
    result = cli("doctor", "--offline", "--json")
    assert result.code == 4 and lines(result)["workspace"]["state"] == "missing" and json.loads(result.out)["needed"] == ["workspace"]


@pytest.mark.parametrize(("status", "state"), [(200, "ok"), (403, "missing"), (401, "missing"), (500, "warning"), (302, "warning")])
def test_gated_sources_are_asked_about_with_the_token_and_nobody_else_gets_it(
    status: int, state: str, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str | None]] = []
    monkeypatch.setenv("HF_TOKEN", "hf_token_of_a_test_0123456789")
    with hub({"auth-check": status}, seen) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        result = cli("doctor", "--json")
    found = lines(result)
    assert result.code == 0 and found["network"]["state"] == "ok" and found[GATED]["state"] == state
    assert (f"/api/datasets/{GATED}/auth-check", "Bearer hf_token_of_a_test_0123456789") in seen
    assert "hf_token_of_a_test" not in result.out


def test_offline_by_the_environment_asks_nobody(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str | None]] = []
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with hub({}, seen) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        result = cli("doctor", "--json")
    assert result.code == 0 and lines(result)["network"]["says"] == "off, as HF_HUB_OFFLINE says" and seen == []


def test_a_hub_that_takes_the_call_and_says_nothing_is_not_waited_for(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_doctor, "SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        result = cli("doctor", "--json")
        took = time.monotonic() - began
    assert result.code == 0 and lines(result)["network"]["state"] == "warning" and "does not answer" in lines(result)["network"]["says"]
    assert took < 30, "it would wait for ever"
