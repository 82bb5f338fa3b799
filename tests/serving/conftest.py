"""The serving room's tests ask the generation room's small server, and its tiny model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "generation"))

from behind import verdict
from server import Server, chat, running
from tiny import tiny_llama


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A guard behind an endpoint: it calls what asks for bread unharmful, what has ``silent`` in it nothing, and refuses what has ``broken`` in it."""

    def says(text: str, body: dict[str, object]) -> tuple[int, dict[str, str], object]:
        return (400, {}, {"error": {"message": "no"}}) if "broken" in text else (200, {}, chat(verdict(text)))

    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with running(Server()) as served:
        served.script = says
        yield served


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with random weights, which has learnt nothing."""
    return tiny_llama(tmp_path_factory.mktemp("model") / "tiny", positions=2048)
