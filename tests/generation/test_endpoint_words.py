"""How endpoints spell it: content filters, finish words, contents in parts, errors in the body of a 200; over real HTTP, and again from the journal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import config, run
from journals import body as journal_body
from server import Server, chat, running

from toolkit.generation import Completion, Journal, Request, build_request, open_backend, verify_journal


@pytest.fixture
def server() -> Iterator[Server]:
    with running(Server()) as s:
        yield s


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.generation.backends._http.FIRST_WAIT", 0.01)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def ask(server: Server, answers: dict[str, Any], folder: Path | None = None, **more: Any) -> dict[str, Completion]:
    """What comes of prompts that are each answered by a body, or by a status, headers and a body."""

    def script(text: str, _: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        reply = answers[text]
        return reply if isinstance(reply, tuple) else (200, {}, reply)

    server.script = script
    if folder is None:
        return dict(zip(answers, run(config(server, **more), list(answers)), strict=True))
    with Journal(folder) as journal:
        return dict(zip(answers, run(config(server, **more), list(answers), journal), strict=True))


def error(**fields: Any) -> dict[str, Any]:
    return {"error": fields}


FILTERED: dict[str, Any] = {
    "azure": (400, {}, error(message="filtered", code="content_filter", innererror={"code": "ResponsibleAIPolicyViolation"})),
    "azure, inner code alone": (400, {}, error(message="filtered", code=None, innererror={"code": "ResponsibleAIPolicyViolation"})),
    "dashscope": (400, {}, error(message="may contain unsuitable content", code="data_inspection_failed", type="data_inspection_failed")),
    "deepseek": (400, {}, error(message="Content Exists Risk", type="invalid_request_error", code="invalid_request_error")),
    "openrouter": (403, {}, error(code=403, message="requires moderation", metadata={"reasons": ["x"], "flagged_input": "…"})),
    "by type": (400, {}, error(code="421", message="Moderation Block", type="content_filter")),
    "litellm": (400, {}, error(message="litellm.ContentPolicyViolationError: no", type="invalid_request_error", code="400")),
    "openai": (400, {}, error(message="rejected", type="invalid_request_error", code="content_policy_violation")),
    "volcengine": (400, {}, error(message="no", code="InputTextSensitiveContentDetected")),
    "azure, in a 200": {"choices": [], "prompt_filter_results": [{"content_filter_results": {"hate": {"filtered": True}}}]},
    "gemini": {"choices": None, "promptFeedback": {"blockReason": "SAFETY"}},
    "minimax": {"choices": None, "base_resp": {"status_code": 1026, "status_msg": "input new_sensitive"}},
    "an error in a 200": {"choices": None, "error": {"message": "no", "code": "content_policy_violation"}},
    **{word: chat("The advice is", word) for word in ("SAFETY", "content_filtered", "PROHIBITED_CONTENT", "refusal", "sensitive", "contentFilter")},
}


def test_every_spelling_of_a_filter_is_one_outcome_that_is_asked_once(server: Server, tmp_path: Path) -> None:
    first, again = (ask(server, FILTERED, tmp_path) for _ in range(2))
    assert {name: c.error for name, c in first.items()} == dict.fromkeys(FILTERED, "content_filter")
    assert {name: c.error for name, c in again.items()} == dict.fromkeys(FILTERED, "content_filter")
    assert set(server.asked.values()) == {1}
    assert "Content Exists Risk" in (first["deepseek"].detail or "")


def test_a_word_in_a_message_is_no_filter(server: Server) -> None:
    found: Any = (400, {}, error(message="the prompt 'Content Exists Risk' is too long", code="context_length_exceeded"))
    assert ask(server, {"t": found})["t"].error == "bad_request"


@pytest.mark.parametrize("word", ["length", "max_tokens", "MAX_TOKENS", "model_length", "maxTokens", "model_context_window_exceeded"])
def test_every_spelling_of_the_token_limit_is_length(server: Server, word: str) -> None:
    c = ask(server, {"t": chat("Half of an ans", word)})["t"]
    assert (c.text, c.finish) == ("Half of an ans", "length")


@pytest.mark.parametrize("word", ["stop", "STOP", "end_turn", "eos", "eos_token", "stop_sequence", "COMPLETE"])
def test_every_spelling_of_a_whole_answer_is_stop(server: Server, word: str) -> None:
    assert ask(server, {"t": chat("Whole.", word)})["t"].finish == "stop"


@pytest.mark.parametrize("word", ["error", "abort", "ERROR", "cancelled", "insufficient_system_resource"])
def test_an_answer_that_broke_off_is_asked_again_and_never_kept(server: Server, tmp_path: Path, word: str) -> None:
    broken = ask(server, {"t": chat("The advice is about a hou", word)}, tmp_path, retries=1)["t"]
    assert (broken.error, broken.text, server.asked["t"]) == ("server_error", None, 2)
    assert word in (broken.detail or "")
    assert broken.lost == 2
    whole = ask(server, {"t": chat("The advice is about a house.")}, tmp_path)["t"]
    assert (whole.text, server.asked["t"]) == ("The advice is about a house.", 3)


def test_an_error_beside_a_cut_answer_is_what_counts(server: Server) -> None:
    cut = chat("The advice is about a hou", "error")
    cut["choices"][0]["error"] = {"code": 502, "message": "Provider disconnected"}
    c = ask(server, {"t": cut}, retries=0)["t"]
    assert (c.error, c.text) == ("server_error", None)
    assert "Provider disconnected" in (c.detail or "")
    cut["choices"][0]["finish_reason"] = None
    assert ask(server, {"t": cut}, retries=0)["t"].error == "server_error"


def test_a_content_in_parts_is_read(server: Server) -> None:
    thoughts = {"type": "thinking", "thinking": [{"type": "text", "text": "A fern likes damp soil."}]}
    out = ask(
        server,
        {
            "text": chat([{"type": "text", "text": "Twice "}, {"type": "text", "text": "a week."}]),
            "thoughts": chat([thoughts, {"type": "text", "text": "Twice a week."}]),
            "one part": chat({"type": "text", "text": "Twice a week."}),
            "refusal": chat([{"type": "refusal", "refusal": "I would rather not."}]),
            "numbers": chat([5]),
        },
        retries=1,
    )
    assert [out[n].text for n in ("text", "thoughts", "one part")] == ["Twice a week."] * 3
    assert out["thoughts"].reasoning == "A fern likes damp soil."
    assert (out["refusal"].error, out["refusal"].detail) == ("refused", "I would rather not.")
    assert out["numbers"].error == "malformed"
    assert {n: server.asked[n] for n in out} == {"text": 1, "thoughts": 1, "one part": 1, "refusal": 1, "numbers": 2}


@pytest.mark.parametrize(
    ("body", "failure", "words", "asked"),
    [
        ({"error": {"message": "Upstream is busy", "type": "server_error", "code": "upstream_error"}}, "server_error", "Upstream is busy", 2),
        ({"error": "Upstream is busy"}, "server_error", "Upstream is busy", 2),
        ({"choices": None, "error": {"message": "flagged by the provider", "code": 403}}, "forbidden", "flagged by the provider", 1),
        ({"choices": [], "error": {"message": "too long", "code": "400"}}, "bad_request", "too long", 1),
        ({"choices": None, "base_resp": {"status_code": 1000, "status_msg": "unknown"}}, "server_error", "unknown", 2),
    ],
)
def test_an_error_in_a_200_counts_as_the_status_that_it_names(server: Server, body: Any, failure: str, words: str, asked: int) -> None:
    c = ask(server, {"t": body}, retries=1)["t"]
    assert (c.error, server.asked["t"]) == (failure, asked)
    assert words in (c.detail or "")


def test_an_answer_without_text_says_where_its_tokens_went(server: Server) -> None:
    hidden = chat(None, "length", usage={"prompt_tokens": 100, "total_tokens": 2148})
    del hidden["choices"][0]["message"]["content"]
    out = ask(server, {"hidden": hidden, "shown": chat("", reasoning="Twice a week."), "tool": chat(None, "tool_calls", tool_calls=[{"id": "t"}])})
    assert {c.error for c in out.values()} == {"empty"}
    assert "(2,048) went into reasoning" in (out["hidden"].detail or "")
    assert "all of the answer is reasoning" in (out["shown"].detail or "")
    assert "tool" in (out["tool"].detail or "")


def test_counts_of_tokens_may_be_floats(server: Server) -> None:
    c = ask(server, {"t": chat("Fine.", usage={"prompt_tokens": 12.0, "completion_tokens": 2.0})})["t"]
    assert (c.prompt_tokens, c.completion_tokens) == (12, 2)


def _asked(server: Server, text: str) -> Request:
    backend = open_backend(c := config(server))
    try:
        return build_request(backend, c, [{"role": "user", "content": text}])
    finally:
        backend.close()


def test_an_older_journal_is_read_by_the_words_of_today(server: Server, tmp_path: Path) -> None:
    """An earlier guardkit kept each of these as an answer: the bodies are there, and are read anew under the same keys."""
    old = {"long": "MAX_TOKENS", "unsafe": "SAFETY", "broken": "error", "whole": "end_turn"}
    with Journal(tmp_path) as journal:
        done = []
        for text, word in old.items():
            raw = journal_body("The advice is about a hou").replace(b'"finish_reason":"stop"', b'"finish_reason":"%s"' % word.encode())
            raw = raw.replace(b'"finish_reason": "stop"', b'"finish_reason": "%s"' % word.encode())
            request = _asked(server, text)
            done.append((request, Completion(request.key, "The advice is about a hou", word, model="m", raw=raw)))
        journal.put(done)
    assert not verify_journal(tmp_path).problems
    out = ask(server, {text: chat("The advice is about a house.") for text in old}, tmp_path)
    assert {n: (c.error, c.finish) for n, c in out.items() if n != "broken"} == {
        "long": (None, "length"),
        "unsafe": ("content_filter", "content_filter"),
        "whole": (None, "stop"),
    }
    assert out["broken"].text == "The advice is about a house."
    assert server.asked == {"broken": 1}, "only what broke off is asked again"
    ask(server, {text: chat("another") for text in old}, tmp_path)
    assert server.asked == {"broken": 1}
