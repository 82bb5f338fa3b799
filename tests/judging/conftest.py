"""The judging room's tests ask the generation room's small server, and use the operators' frames."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

for folder in ("generation", "operators"):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / folder))

from server import Server, chat, running  # noqa: E402


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A guard behind an endpoint: it calls what asks for bread unharmful, and what has the word ``silent`` in it nothing."""

    def says(text: str, body: dict[str, object]) -> tuple[int, dict[str, str], object]:
        label = "unharmful" if "bread" in text else "harmful"
        words = "I cannot say." if "silent" in text else f"# Task 1\n\nEggs.\n\n---\n\nAnswers: \nRequest: {label}\nCompletion: None\nResponse: None"
        return (400, {}, {"error": {"message": "no"}}) if "broken" in text else (200, {}, chat(words))

    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with running(Server()) as served:
        served.script = says
        yield served
