"""`rephrase`: prompts in another language or other words, written by a model that is no guard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from frames import reasons, seeds
from server import running
from teachers import Teacher, openai

import toolkit
from toolkit.common.errors import GuardkitError, InputError
from toolkit.records import content_id

REPHRASED = {"Hello there": "Bonjour", "Again": "Again ", "No": "I'm sorry, but I can't help with that.", "Sorry, I can't help": "Désolé", "Gone": ""}


@pytest.fixture
def model() -> Iterator[Teacher]:
    with running(Teacher(lambda body: REPHRASED[body["messages"][-1]["content"]])) as served:
        assert isinstance(served, Teacher)
        yield served


def test_prompts_are_rewritten_and_labels_kept(model: Teacher, tmp_path: Path) -> None:
    rows = seeds(*({"prompt": p, "response": "Hi.", "label_prompt": "unharmful"} for p in [*REPHRASED, " "]))
    options: dict[str, Any] = {"backend": openai(model), "language": "French", "stop_if": None, "work": tmp_path}
    kept, rest = toolkit.apply("rephrase", rows, **options)
    assert kept["prompt"].to_list() == ["Bonjour", "Désolé"], "a prompt that declines may be translated so"
    assert kept["id"].to_list() == [f"{i}:translation" for i in kept["parent"]] and set(kept["change"]) == {"translation"}
    assert set(kept["label_prompt"]) == {"unharmful"} and set(kept["response"]) == {"Hi."}
    assert kept["content_id"][0] == content_id([], "Bonjour", "Hi.") and len(kept["change_key"][0]) == 64
    assert reasons(rest) == {"declined": 1, "empty": 1, "unchanged": 2}
    assert "into French" in model.requests[0]["messages"][0]["content"]
    asked = len(model.requests)
    assert toolkit.apply("rephrase", rows, **options).kept.equals(kept) and len(model.requests) == asked, "the journal has the answers"
    found = toolkit.apply("rephrase", rows[:1], backend=openai(model), change="paraphrase", work=tmp_path).kept
    assert found["id"].to_list() == [f"{rows['id'][0]}:paraphrase"] and "other words" in model.requests[-1]["messages"][0]["content"]


def test_a_guard_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "config.json").write_text("{}")
    (tmp_path / "g" / "model.safetensors").write_bytes(b"x")
    (tmp_path / "g" / "guardkit.json").write_text('{"guard": "guardreasoner 3", "input": null, "chat_template": null, "prompts": null}')
    with pytest.raises(InputError, match=r"trained as a guard \(guardreasoner 3\)"):
        toolkit.apply("rephrase", seeds({}), backend={"backend": "transformers", "model": str(tmp_path / "g")}, change="paraphrase", work=tmp_path)


MODEL = {"backend": "openai", "model": "m", "base_url": "http://localhost:1/v1"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": MODEL}, "a translation needs `language`"),
        ({"backend": MODEL, "change": "paraphrase", "language": "French"}, "`language` is for a translation"),
        ({"backend": {"backend": "template"}, "language": "French"}, "translates nothing"),
        ({"backend": {**MODEL, "structured": "try"}, "language": "French"}, "asks for text"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(GuardkitError, match=message):
        toolkit.apply("rephrase", seeds({}), **options, work=tmp_path)
