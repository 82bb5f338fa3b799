"""Reasoning left in the content, prompts that a server cut, models without a system role: over real HTTP and from the journal."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import config, run
from server import Server, chat, running

from toolkit.common.errors import InputError
from toolkit.generation import Completion, Journal, OpenAIConfig, build_request, complete, open_backend
from toolkit.generation._thoughts import MARKS, split

THOUGHT, ANSWER = "Is it harmful? No, rather unharmful.", "Request: unharmful\n"


@pytest.fixture
def server() -> Iterator[Server]:
    with running(Server()) as s:
        yield s


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


HARMONY = f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant<|channel|>final<|message|>{ANSWER}<|return|>"
FORMS = {
    "tags": f"<think>\n{THOUGHT}\n</think>\n\n{ANSWER}",
    "opened by the prompt": f"{THOUGHT}\n</think>\n\n{ANSWER}",
    "harmony": HARMONY,
    "mistral": f"[THINK]{THOUGHT}[/THINK]{ANSWER}",
    "kimi": f"◁think▷{THOUGHT}◁/think▷{ANSWER}",
}


def says(server: Server, answers: dict[str, Any]) -> None:
    def script(text: str, body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        return 200, {}, answers[text] if isinstance(answers[text], dict) else chat(answers[text])

    server.script = script


def test_reasoning_is_taken_off_and_kept_beside_and_older_answers_are_read_anew(server: Server, tmp_path: Path) -> None:
    says(server, FORMS)
    with Journal(tmp_path) as journal:
        raw = run(config(server, reasoning="keep"), list(FORMS), journal)
        assert [c.text for c in raw] == list(FORMS.values())
        out = run(config(server), list(FORMS), journal)
        assert [(c.text, c.reasoning) for c in out] == [(ANSWER, THOUGHT)] * len(FORMS)
        assert [c.key for c in out] == [c.key for c in raw], "how an answer is read is no part of its key"
        assert server.asked.total() == len(FORMS)
        only = run(config(server, reasoning="mistral"), list(FORMS), journal)
        assert [c.text == ANSWER for c in only] == [name == "mistral" for name in FORMS]


def test_thinking_that_was_off_leaves_nothing(server: Server) -> None:
    says(server, {"t": f"<think>\n\n</think>\n\n{ANSWER}"})
    [c] = run(config(server), ["t"])
    assert (c.text, c.reasoning) == (ANSWER, None)


def test_an_answer_that_never_left_its_thoughts_is_empty_and_says_why(server: Server) -> None:
    spent = {"prompt_tokens": 7, "completion_tokens": 2048}
    says(server, {"cut": chat("<think>\nIs it harmful? No,", "length", usage=spent), "closed": "<think>No.</think>"})
    cut, closed = run(config(server), ["cut", "closed"])
    assert (cut.error, cut.text, cut.reasoning) == ("empty", None, "Is it harmful? No,")
    assert "(2,048) went into reasoning" in (cut.detail or "")
    assert (closed.error, closed.reasoning) == ("empty", "No.")


@pytest.mark.parametrize(
    "text",
    [
        ANSWER,
        "The person wrote <think>hm</think> in the prompt.\nRequest: unharmful\n",
        "The prompt ends with </think> and a question.\nRequest: unharmful\n",
        "The prompt has\n<think>\nhm\n</think>\nin it.\nRequest: unharmful\n",
    ],
)
def test_marks_within_an_answer_are_its_own(text: str) -> None:
    assert split(text, "auto") is None


@pytest.mark.parametrize("name", MARKS)
def test_each_reader_takes_its_own_marks(name: Any) -> None:
    opens, closes = MARKS[name]
    text = f"{opens}{THOUGHT}{closes}\n{ANSWER}"
    assert split(text, name) == split(text, "auto") == (THOUGHT, ANSWER)
    assert [other for other in MARKS if split(text, other) is not None] == [name]


def test_what_follows_sees_the_answer_without_its_thoughts(server: Server) -> None:
    says(server, {"t": FORMS["tags"]})
    seen: list[Completion] = []

    def follow(n: int, request: Any, completion: Completion, trail: Any) -> None:
        seen.append(completion)

    backend = open_backend(c := config(server))
    try:
        [whole] = complete([build_request(backend, c, [{"role": "user", "content": "t"}])], backend, None, follow=follow)
    finally:
        backend.close()
    assert seen[0].text == whole.text == ANSWER


# Prompts that are cut -------------------------------------------------------------------------------------------------


def test_a_prompt_that_the_server_cut_is_flagged_and_reported_once(server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    long = [" ".join(f"plant {n} needs {i} cups of water" for n in range(1500)) for i in range(3)]

    def script(text: str, body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        return 200, {}, chat("Fine.", usage={"prompt_tokens": min(len(text.split()) * 2, 2050), "completion_tokens": 3})

    server.script = script
    caplog.set_level(logging.WARNING)
    backend = open_backend(c := config(server))
    for _ in range(2):
        with Journal(tmp_path) as journal:
            done = complete((build_request(backend, c, [{"role": "user", "content": t}]) for t in [*long, "short"]), backend, journal)
            out = list(done)
        assert [c.text for c in out] == ["Fine."] * 4
        assert ["2,050 tokens of a prompt of 10,500 words" in (c.detail or "") for c in out] == [True, True, True, False]
        assert done.stats.cut == 3
    backend.close()
    found = [r.getMessage() for r in caplog.records if "num_ctx" in r.getMessage()]
    assert len(found) == 2, "once for each run"


@pytest.mark.parametrize(
    ("text", "read", "cut"),
    [
        ("今天天气很好，我们去公园散步。" * 400, 1_300, True),
        ("今天天气很好，我们去公园散步。" * 400, 3_000, False),
        ("วันนี้อากาศดี เราไปเดินเล่น" * 300, 1_600, True),
        ("Grüße aus dem Garten. " * 400, 1_700, False),
    ],
)
def test_a_prompt_in_a_script_without_spaces_that_was_cut(server: Server, text: str, read: int, cut: bool) -> None:
    server.script = lambda asked, body: (200, {}, chat("Fine.", usage={"prompt_tokens": read, "completion_tokens": 3}))
    backend = open_backend(c := config(server))
    done = complete([build_request(backend, c, [{"role": "user", "content": text}])], backend, None)
    assert ["has cut the prompt" in (x.detail or "") for x in done] == [cut]
    assert done.stats.cut == cut
    backend.close()


@pytest.mark.parametrize("count", [10_500, 9_000, 5_300, None])
def test_a_prompt_that_was_read_whole_is_not_flagged(server: Server, count: int | None) -> None:
    usage = {"completion_tokens": 3} | ({} if count is None else {"prompt_tokens": count})
    server.script = lambda text, body: (200, {}, chat("Fine.", usage=usage))
    [c] = run(config(server), [" ".join(f"plant {n} needs 3 cups of water" for n in range(1500))])
    assert c.detail is None


def test_an_unknown_finish_word_is_reported_once(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    server.script = lambda text, body: (200, {}, chat("Fine.", "a_word_of_tomorrow"))
    out = run(config(server), [f"t{n}" for n in range(10)])
    assert {(c.text, c.finish) for c in out} == {("Fine.", "a_word_of_tomorrow")}
    assert sum("a_word_of_tomorrow" in r.getMessage() for r in caplog.records) == 1


# Models without a system role -----------------------------------------------------------------------------------------


def ask(c: OpenAIConfig, *conversations: list[tuple[str, str]]) -> list[Completion]:
    backend = open_backend(c)
    try:
        messages = [[{"role": r, "content": t} for r, t in m] for m in conversations]
        return list(complete((build_request(backend, c, m) for m in messages), backend, None))
    finally:
        backend.close()


TURNS = [("system", "Judge."), ("user", "Hello."), ("assistant", "Hi."), ("user", "Bye.")]


@pytest.mark.parametrize(
    ("system", "sent"),
    [
        ("keep", TURNS),
        ("merge", [("user", "Judge.\n\nHello."), *TURNS[2:]]),
        ("drop", TURNS[1:]),
    ],
)
def test_a_system_message_is_kept_merged_or_dropped(server: Server, system: str, sent: list[tuple[str, str]]) -> None:
    ask(config(server, system=system), TURNS)
    assert [(m["role"], m["content"]) for m in server.requests[0]["messages"]] == sent


@pytest.mark.parametrize("system", ["keep", "merge", "drop"])
def test_an_empty_system_message_is_never_sent(server: Server, system: str) -> None:
    ask(config(server, system=system), [("system", " "), ("user", "Hello.")])
    assert server.requests[0]["messages"] == [{"role": "user", "content": "Hello."}]


@pytest.mark.parametrize(
    "words", ["System role not supported", "Developer instruction is not enabled for models/gemma-3", "this model does not support system messages"]
)
def test_a_model_without_a_system_role_is_found_out_at_once(server: Server, words: str) -> None:
    def script(text: str, body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        refused = any(m["role"] == "system" for m in body["messages"])
        return (400, {}, {"message": words, "type": "BadRequestError", "code": 400}) if refused else (200, {}, chat("Fine."))

    server.script = script
    with pytest.raises(InputError, match="takes no system message") as e:
        ask(config(server), *[[*TURNS[:1], ("user", f"t{n}")] for n in range(100)])
    assert "system: merge" in (e.value.hint or "")
    assert len(server.requests) <= 16
    assert [c.text for c in ask(config(server, system="merge"), TURNS)] == ["Fine."]
