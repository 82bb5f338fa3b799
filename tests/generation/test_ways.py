"""Addresses, proxies, certificates and keys that cannot be used: a clear error before anything is asked, in every backend that asks an endpoint."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from toolkit.api._generate import read_config
from toolkit.common.errors import GuardkitError, InputError, InputErrors, Missing
from toolkit.generation import Journal, build_request, complete, open_backend

KEY = "sk-very-secret-0123456789"


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def refused(folder: Path, **options: Any) -> GuardkitError:
    """What asking one question ends in."""
    with pytest.raises(GuardkitError) as e:
        asks(folder, options)
    assert KEY not in str(e.value)
    return e.value


def asks(folder: Path, options: dict[str, Any]) -> None:
    config = read_config({"model": "m", "retries": 0, "patience": 0, **options})
    backend = open_backend(config, work=folder)
    with Journal(folder) as journal, closing(backend):
        list(complete([build_request(backend, config, [{"role": "user", "content": "hi"}])], backend, journal))


BACKENDS = ["openai", "openai-batch"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "ALL_PROXY", "https_proxy"])
@pytest.mark.parametrize(
    "proxy", ["http://[", "http://", "http://host:port", "http://ho st:1", "http://a:99999", ":::", "http://u:pa55word123@[", "socks9://h:1"]
)
def test_a_proxy_that_is_none(backend: str, name: str, proxy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, proxy)
    error = refused(tmp_path, backend=backend, base_url="https://api.example/v1")
    assert isinstance(error, InputError | Missing) and error.exit_code in (2, 4) and error.hint
    assert "pa55word123" not in str(error)


@pytest.mark.parametrize("backend", BACKENDS)
def test_certificates_that_are_none(backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    error = refused(tmp_path, backend=backend, base_url="https://api.example/v1")
    assert isinstance(error, InputError) and "SSL_CERT_FILE" in str(error)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("key", ["sk-first-half\nsk-second-half", "sk-schlüssel-0123456789", "sk-two words-123", "sk-\x00-0123456789"])
def test_a_key_that_cannot_be_sent(backend: str, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "\0" in key:  # no environment can hold it
        key = "sk-\x7f-0123456789"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    error = refused(tmp_path, backend=backend, base_url="https://api.example/v1")
    assert isinstance(error, Missing) and "OPENAI_API_KEY holds what no key holds" in str(error) and "half" not in str(error)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "url",
    [
        "http://[",
        "http://host:port/v1",
        "http://h:99999/v1",
        "https://",
        "ho st",
        "http://ho st/v1",
        "http://host\n/v1",
        "http://h\0/",
        "ftp://h/v1",
        "",
    ],
)
def test_an_address_that_is_none(backend: str, url: str, tmp_path: Path) -> None:
    error = refused(tmp_path, backend=backend, base_url=url)
    assert isinstance(error, InputErrors) and "base_url" in str(error)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "url", ["http://" + "a" * 300 + ".example/v1", "http://..example/v1", "http://xn--0.example/v1", "http://host..localhost/v1"]
)
def test_an_address_that_nobody_has(backend: str, url: str, tmp_path: Path) -> None:
    assert refused(tmp_path, backend=backend, base_url=url).exit_code in (2, 3, 4)
