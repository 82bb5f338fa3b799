"""The openai-moderation backend against a real server on this machine, as the guard that it plays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter
from server import Server, running

from toolkit.common.errors import InputError
from toolkit.generation import BackendConfig, Journal, Meter, open_backend
from toolkit.guards import load_guard
from toolkit.judging import OpenGuard, Verdict

GUARD = load_guard("openai_moderation")
NAMES = ("harassment", "harassment/threatening", "violence", "self-harm")


def result(flagged: bool, **scores: float) -> dict[str, Any]:
    """A result as OpenAI's reference has it, with some of its categories."""
    known = {name: scores.get(name.replace("/", "_").replace("-", "_"), 0.001) for name in NAMES}
    return {"flagged": flagged, "categories": {n: s > 0.5 for n, s in known.items()}, "category_scores": known}


def script(text: str, body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
    found = result("threat" in text, **({"harassment": 0.81, "harassment_threatening": 0.93} if "threat" in text else {}))
    return 200, {}, {"id": "modr-1", "model": "omni-moderation-2024-09-26", "results": [found]}


def config(server: Server, **more: Any) -> Any:
    return TypeAdapter(BackendConfig).validate_python({"backend": "openai-moderation", "base_url": server.base_url, "retries": 1, **more})


def judged(server: Server, rows: list[dict[str, Any]], journal: Journal | None = None, **more: Any) -> list[Verdict]:
    with OpenGuard(GUARD, config(server, **more)) as one:
        return list(one.verdicts(rows, journal=journal, meter=Meter(cap=1.0)))


def test_flagged_is_the_label_and_the_largest_score_the_probability(tmp_path: Path) -> None:
    rows = [{"prompt": "How do tulips grow?", "response": "A threat."}, {"prompt": "A threat."}]
    with running(Server()) as server, Journal(tmp_path / "journal") as journal:
        server.script = script
        first, second = judged(server, rows, journal)
        assert (first.labels, second.labels) == ({"prompt": "unharmful", "response": "harmful"}, {"prompt": "harmful", "response": None})
        assert second.unread == {"prompt": None, "response": "not_asked"}
        assert first.probabilities["response"] == pytest.approx({"unharmful": 0.07, "harmful": 0.93})
        assert first.probabilities["prompt"]["harmful"] == 0.001
        assert first.categories == ("harassment", "harassment/threatening")
        assert set(server.paths) == {"/v1/moderations"} and server.asked == {"How do tulips grow?": 1, "A threat.": 1}, "equal texts are asked once"
        assert sorted(server.requests[0]) == ["input", "model"] and server.requests[0]["model"] == "omni-moderation-latest"
        asked = len(server.requests)
        again = judged(server, rows, journal)
        assert [v.labels for v in again] == [first.labels, second.labels] and again[0].probabilities == first.probabilities
        assert len(server.requests) == asked, "what the journal has is not asked again"


@pytest.mark.parametrize(
    ("faults", "unread", "asked"),
    [
        (["429:0"], None, 2),
        (["503"], None, 2),
        (["torn"], None, 2),
        (["400"], "bad_request", 1),
        (["shape", "shape"], "malformed", 2),
    ],
)
def test_faults_are_those_of_any_endpoint(faults: list[str], unread: str | None, asked: int) -> None:
    with running(Server()) as server:
        server.faults["x"] = list(faults)
        server.moderates = script
        (found,) = judged(server, [{"prompt": "x"}])
        assert (found.unread["prompt"], server.asked["x"]) == (unread, asked)
        assert found.labels["prompt"] == (None if unread else "unharmful") and (found.error or None) == unread


def test_it_is_a_guard_of_one_text_and_no_teacher() -> None:
    with running(Server()) as server:
        with pytest.raises(InputError, match="no teacher"):
            open_backend(config(server))
        for name in ("guardreasoner", "llama_guard_3", "wildguard", "gpt4o"):
            with pytest.raises(InputError, match="one text and no instruction"):
                OpenGuard(load_guard(name), config(server))
        assert not server.requests


def test_what_the_endpoint_cannot_be_asked_is_no_option() -> None:
    for name in ("temperature", "max_tokens", "extra", "structured"):
        with pytest.raises(ValueError, match="Extra inputs"):
            TypeAdapter(BackendConfig).validate_python({"backend": "openai-moderation", name: 1})
