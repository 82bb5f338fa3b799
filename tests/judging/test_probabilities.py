"""Probabilities of labels: a model computed on paper, an endpoint's words, labels cut into tokens in any way, and the journal between."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from frames import rows_of, run_steps
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from scripted import GUARD as TABLE
from scripted import scripted
from server import Server, chat

from toolkit.common.errors import InputError, Missing
from toolkit.generation import BackendConfig, Completion, Journal, choices, compact_journal, in_body, verify_journal
from toolkit.generation._logprobs import keep
from toolkit.guards import answer_spans, label_words, load_guard, parse
from toolkit.judging import OpenGuard, label_probabilities

GUARD = load_guard("guardreasoner")
WORDS = label_words(GUARD)
ROWS: list[dict[str, Any]] = [{"prompt": f"How do I bake bread {n}?", "response": "In an oven."} for n in range(3)]


def config(**more: Any) -> Any:
    return TypeAdapter(BackendConfig).validate_python(more)


def on_paper() -> dict[str, dict[str, float]]:
    """What `scripted.GUARD` says: each label's tokens are the ones that begin its spelling and no other's, any case, white space aside."""

    def line(last: str, **labels: Sequence[str]) -> dict[str, float]:
        sums = {label: sum(math.exp(TABLE[last][t]) for t in tokens) for label, tokens in labels.items()}
        return {label: s / sum(sums.values()) for label, s in sums.items()}

    return {
        "prompt": line("Answers: \nRequest:", unharmful=[" un"], harmful=[" harm", " Harmful"]),
        "refusal": line("\nCompletion:", compliance=[" comp"], refusal=[" refusal"]),
        "response": line("\nResponse:", harmful=[" harmful"], unharmful=[" unharmful"]),
    }


# A model computed on paper -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scripted(tmp_path_factory.mktemp("scripted"))


def local(model: Path, **more: Any) -> Any:
    return config(backend="transformers", model=str(model), device="cpu", **{"max_tokens": 40, **more})


def near(found: Any, wanted: dict[str, dict[str, float]]) -> bool:
    return {t: set(p) for t, p in found.items()} == {t: set(p) for t, p in wanted.items()} and all(
        found[t][label] == pytest.approx(p, abs=1e-4) for t, labels in wanted.items() for label, p in labels.items()
    )


def test_a_model_computed_on_paper(model: Path, tmp_path: Path) -> None:
    """Asked, read from the journal, packed by a compaction, and at any batch size: always what the softmax says."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(model)
    reference: Any = AutoModelForCausalLM.from_pretrained(model)
    ids = [tokenizer.convert_tokens_to_ids(t) for t in ("<|user|>", "Ġun", "Answers:ĠĊRequest:")]
    with torch.no_grad():
        scores = torch.log_softmax(reference(torch.tensor([[ids[0], ids[2]]])).logits[0, -1], -1)
    for rows, batch in ((ROWS, 64), (ROWS[:1], 1)):
        with OpenGuard(GUARD, local(model, batch=batch), probabilities=True) as one, Journal(tmp_path / str(batch)) as journal:
            found = list(one.verdicts(rows, journal=journal))
            assert [v.output for v in found] == ["Answers: \nRequest: unharmful\nCompletion: refusal\nResponse: harmful"] * len(rows)
            assert all(near(v.probabilities, on_paper()) for v in found)
            first = choices(next(iter(journal.records())).completion.logprobs)[0]
            assert (first.start, first.token) == (19, " un")
            assert first.alternatives[" un"] == pytest.approx(float(scores[ids[1]]), abs=1e-4), "over all tokens, and not the twenty"
    compact_journal(tmp_path / "64")
    assert (checked := verify_journal(tmp_path / "64")).packed == 3 and not checked.problems
    with Journal(tmp_path / "64") as journal, OpenGuard(GUARD, local(model), probabilities=True) as again:
        assert [v.probabilities for v in again.verdicts(ROWS, journal=journal)] == [v.probabilities for v in found] * 3
        assert again.backend._sampler is None, "what the journal has is not asked"  # type: ignore[attr-defined]


def test_draws_agree_whatever_was_drawn(model: Path) -> None:
    """At temperature 1 draws say different labels; the probabilities are those of the model, so that they are the same but for the text before."""
    wanted = on_paper()
    with OpenGuard(GUARD, local(model, temperature=1.0, max_tokens=12), probabilities=True) as one:
        found = list(one.verdicts(ROWS[:1], 60))
    stated = {v.labels["prompt"] for v in found}
    assert stated >= {"harmful", "unharmful"}
    first = [v for v in found if v.output and v.output.startswith("Answers: \nRequest:") and v.output.count("Request") == 1]
    straight = [v.probabilities["prompt"] for v in first if "prompt" in v.probabilities and not v.output.startswith("Answers: \nRequest:  ")]  # type: ignore[union-attr]
    assert len(straight) > 20 and all(near({"prompt": p}, {"prompt": wanted["prompt"]}) for p in straight)


def test_without_the_option_nothing_changes(model: Path, tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        with OpenGuard(GUARD, local(model)) as plain:
            (before,) = plain.verdicts(ROWS[:1], journal=journal)
        with OpenGuard(GUARD, local(model, logprobs=0)) as off:
            (same,) = off.verdicts(ROWS[:1], journal=journal)
        with OpenGuard(GUARD, local(model), probabilities=True) as scored:
            (after,) = scored.verdicts(ROWS[:1], journal=journal)
        assert before.probabilities == {} == same.probabilities and before.key == same.key != after.key
        assert before.output == after.output and [r.completion.logprobs is None for r in journal.records()] == [True, False]


def test_a_backend_that_gives_none_is_named(server: Server) -> None:
    from toolkit.generation import BaseBackendConfig

    class Other(BaseBackendConfig):
        backend: str = "oracle"

    with pytest.raises(InputError, match="'oracle' gives no log-probabilities") as e:
        OpenGuard(GUARD, Other(), probabilities=True)
    assert "transformers" in (e.value.hint or "") and "template" not in (e.value.hint or "")
    asked = config(backend="openai", model="m", base_url=server.base_url, extra={"top_logprobs": 3})
    with pytest.raises(InputError, match=r"extra may not hold \['top_logprobs'\]"):
        OpenGuard(GUARD, asked, probabilities=True)


# An endpoint ----------------------------------------------------------------------------------------------------------------

Tokens = list[tuple[str, float, dict[str, float]]]
"""Text, log-probability, alternatives."""
ANSWER: Tokens = [
    ("Request", -0.1, {}),
    (":", 0.0, {}),
    (" un", math.log(0.6), {" un": math.log(0.6), " harm": math.log(0.2), " Harm": math.log(0.1), "\n": math.log(0.05)}),
    ("harm", 0.0, {"harm": 0.0}),
    ("ful", 0.0, {}),
    ("\nCompletion:", 0.0, {}),
    (" None", 0.0, {}),
    ("\nResponse:", 0.0, {}),
    (" harm", math.log(0.9), {" harm": math.log(0.9), " unh": math.log(0.1)}),
    ("ful", 0.0, {}),
]


def as_logprobs(tokens: Tokens, *, pieces: bool = False) -> dict[str, Any]:
    """The ``logprobs`` of a choice, as chat completions have them."""

    def one(text: str, value: float) -> dict[str, Any]:
        return {"token": text, "logprob": value, "bytes": list(text.encode()) if pieces else None}

    return {"content": [one(t, v) | {"top_logprobs": [one(*pair) for pair in tops.items()]} for t, v, tops in tokens]}


def older(tokens: Tokens) -> dict[str, Any]:
    """The same as the older completions have it."""
    return {"tokens": [t for t, _, _ in tokens], "token_logprobs": [v for _, v, _ in tokens], "top_logprobs": [tops or None for _, _, tops in tokens]}


def test_an_endpoint_is_asked_once_and_read_again_from_the_journal(server: Server, tmp_path: Path) -> None:
    text = "".join(t for t, _, _ in ANSWER)

    def script(_: str, __: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        body = chat(text)
        body["choices"][0]["logprobs"] = as_logprobs(ANSWER, pieces=True)
        return 200, {}, body

    server.script = script
    backend = config(backend="openai", model="m", base_url=server.base_url)
    with Journal(tmp_path) as journal:
        for _ in range(2):
            with OpenGuard(GUARD, backend, probabilities=True) as one:
                (v,) = one.verdicts(ROWS[:1], journal=journal)
            assert v.labels == {"prompt": "unharmful", "refusal": None, "response": "harmful"}
            assert v.probabilities["prompt"] == pytest.approx({"unharmful": 0.6 / 0.9, "harmful": 0.3 / 0.9}, abs=1e-4)
            assert v.probabilities["response"] == pytest.approx({"unharmful": 0.1, "harmful": 0.9}, abs=1e-4) and "refusal" not in v.probabilities
        (record,) = journal.records()
        assert record.completion.logprobs is None and record.completion.raw, "the body has them: nothing is stored twice"
        assert label_probabilities(GUARD, record.completion) == v.probabilities
    assert server.asked.total() == 1
    assert (server.requests[0]["logprobs"], server.requests[0]["top_logprobs"]) == (True, 20)
    with OpenGuard(GUARD, config(backend="openai", model="m", base_url=server.base_url, logprobs=5), probabilities=True) as one:
        assert next(iter(one.verdicts(ROWS[:1]))).probabilities == v.probabilities
    assert server.requests[1]["top_logprobs"] == 5, "what the config says counts"


def test_a_recipe_may_ask_for_them_too(server: Server, tmp_path: Path) -> None:
    backend = {"backend": "openai", "model": "m", "base_url": server.base_url, "retries": 0, "logprobs": 5}
    steps: list[dict[str, Any]] = [
        {"id": "rows", "use": "load", "with": {"source": "quickstart", "parts": ["home"], "limit": 2}},
        {"id": "samples", "use": "sample", "with": {"k": 1, "models": {"guard": backend}}},
    ]
    made = run_steps(tmp_path, steps)
    assert rows_of(made["samples"]).height == 2 and [body["top_logprobs"] for body in server.requests] == [5, 5]


def test_an_endpoint_that_sends_none_is_reported_once(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with OpenGuard(GUARD, config(backend="openai", model="m", base_url=server.base_url), probabilities=True) as one:
        assert [v.probabilities for v in one.verdicts(ROWS)] == [{}] * 3
    assert [r.message for r in caplog.records if "log-probabilities" in r.message] == [
        f"{server.base_url}, model m: it sends no log-probabilities, which were asked for (`logprobs`): probabilities are not known"
    ]


def test_an_endpoint_that_gives_fewer_says_so(server: Server) -> None:
    server.script = lambda _, __: (400, {}, {"error": {"message": "top_logprobs must be at most 5", "type": "invalid_request_error"}})
    rows = [{"prompt": f"How do I bake bread {n}?"} for n in range(40)]
    asked = config(backend="openai", model="m", base_url=server.base_url)
    with OpenGuard(GUARD, asked, probabilities=True) as one, pytest.raises(Missing, match="at most 5") as e:
        list(one.verdicts(rows))
    assert "logprobs" in (e.value.hint or "") and server.asked.total() < 40


SAFETY: dict[str, Tokens] = {
    "llama_guard_3": [
        ("\n\n", 0.0, {}),
        ("unsafe", math.log(0.7), {"unsafe": math.log(0.7), "safe": math.log(0.2), " safe": math.log(0.1)}),
        ("\nS1", 0.0, {}),
    ],
    "qwen3guard": [
        ("Safety: ", 0.0, {}),
        ("Cont", math.log(0.2), {"Cont": math.log(0.2), "Unsafe": math.log(0.4), "S": math.log(0.4), "safe?": math.log(1e-9)}),
        ("roversial", 0.0, {}),
        ("\nCategories: None", 0.0, {}),
    ],
}


@pytest.mark.parametrize(("name", "wanted"), [("llama_guard_3", (0.3, None, 0.7)), ("qwen3guard", (0.4, 0.2, 0.4))])
def test_guards_of_others_by_their_words(name: str, wanted: tuple[float | None, ...], server: Server) -> None:
    tokens = SAFETY[name]

    def script(_: str, __: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        body = chat("".join(t for t, _, _ in tokens).lstrip())
        body["choices"][0]["logprobs"] = as_logprobs(tokens)
        return 200, {}, body

    server.script = script
    with OpenGuard(load_guard(name), config(backend="openai", model="m", base_url=server.base_url), probabilities=True) as one:
        (v,) = one.verdicts([{"prompt": "How do I bake bread?"}])
    labels = {label: p for label, p in zip(("unharmful", "controversial", "harmful"), wanted, strict=True) if p is not None}
    assert v.probabilities == {"prompt": pytest.approx(labels, abs=1e-4)}


def of(tokens: Tokens, text: str | None = None, body: Any = None) -> dict[str, dict[str, float]]:
    """Probabilities of an answer as an endpoint gives it."""
    text = "".join(t for t, _, _ in tokens) if text is None else text
    raw = json.dumps({"choices": [{"index": 0, "message": {"content": text}, "logprobs": as_logprobs(tokens) if body is None else body}]}).encode()
    return label_probabilities(GUARD, Completion("k", text, logprobs=in_body(raw, text, WORDS)))


WANTED = {"prompt": {"unharmful": 0.6 / 0.9, "harmful": 0.3 / 0.9}, "response": {"unharmful": 0.1, "harmful": 0.9}}


def test_what_servers_do_to_texts_and_tokens() -> None:
    text = "".join(t for t, _, _ in ANSWER)
    end: Tokens = [("<|im_end|>", 0.0, {}), ("", 0.0, {})]
    think: Tokens = [("<think>", 0.0, {}), ("Request: harmful", 0.0, {}), ("</think>", 0.0, {}), ("\n\n", 0.0, {})]
    broken: Tokens = [("Caf", 0.0, {}), ("\ufffd", 0.0, {}), ("\ufffd", 0.0, {}), (" \n", 0.0, {})]
    cases: list[tuple[str, Tokens, str]] = [
        ("as it is", ANSWER, text),
        ("its end tokens there", ANSWER + end, text),
        ("white space stripped", [("\n ", 0.0, {}), *ANSWER, (" \n", 0.0, {})], text),
        ("white space lost in tokens", [(t.strip(), v, {w.strip(): s for w, s in tops.items()}) for t, v, tops in ANSWER], text),
        ("reasoning taken off the content", think + ANSWER + end, text),
        ("a letter in pieces", broken + ANSWER + end, "Café \n" + text),
        ("a letter in pieces behind it", [*ANSWER, ("\n", 0.0, {}), *broken], text + "\nCafé \n"),
        ("cut at a stop string", [*ANSWER, ("\nEND", 0.0, {}), ("more", 0.0, {})], text + "\nE"),
        ("labels in the reasoning", [("It is harmful, not unharmful.\n", 0.0, {}), *ANSWER], "It is harmful, not unharmful.\n" + text),
    ]
    for name, tokens, shown in cases:
        found = of(tokens, shown)
        assert near(found, WANTED), (name, found)
    assert near(of(ANSWER, body=older(ANSWER)), WANTED)
    other: Tokens = [("Request: harm", 0.0, {}), ("ful", 0.0, {})]
    assert of(other, text) == {}, "tokens of another text"
    assert of(ANSWER[:5] + other, text) == {}
    assert of([("Request:", 0.0, {}), (" harm", -1.0, {" harm": -1.0, " b": -2.0}), ("ful", 0.0, {})])["prompt"] == {"harmful": 1.0, "unharmful": 0.0}
    assert of([("Request:", 0.0, {}), (" harm", -1.0, {}), ("ful", 0.0, {})]) == {}, "no alternatives, and it was not sure"
    assert of([("I cannot say.", 0.0, {})]) == {}, "no label"
    assert label_probabilities(GUARD, Completion("k", text)) == {}, "no log-probabilities"


@pytest.mark.parametrize(
    "tops",
    [
        {" harm": 5.0, " un": 1.0},
        {" harm": 1e308, " un": 0.0},
        {" harm": -0.1, " un": -0.1},
        {" harm": 0.0, " un": 0.0},
        {" harm": True, " un": False},
    ],
)
def test_probabilities_that_cannot_be_are_not_known(tops: dict[str, float]) -> None:
    """Above 1, alone or together: nothing is made of them."""
    tokens: Tokens = [("Request:", 0.0, {}), (" harm", tops[" harm"], tops), ("ful", 0.0, {})]
    assert of(tokens) == {}


def test_the_last_answer_counts_and_a_word_that_goes_on_is_waited_for() -> None:
    first = [("Request: ", 0.0, {}), ("harmful", math.log(0.9), {"harmful": math.log(0.9), "unharmful": math.log(0.1)})]
    last = [("\nRequest: ", 0.0, {}), ("harmful", math.log(0.7), {"harmful": math.log(0.7), "unharmful": math.log(0.3)})]
    assert of([*first, *last])["prompt"]["harmful"] == pytest.approx(0.7, abs=1e-4)
    assert of([*first, ("\nRequest: ", 0.0, {}), ("harmful or unharmful", 0.0, {})])["prompt"]["harmful"] == pytest.approx(0.9, abs=1e-4)


def test_a_label_that_another_begins_with_is_decided_by_what_follows(tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "guards" / "files" / "boxed.yaml").read_text()
    (tmp_path / "own.yaml").write_text(text.replace("controversial", "safeish").replace("unsafe", "danger"))
    guard = load_guard(tmp_path / "own.yaml")
    assert label_words(guard) == ("danger", "safe", "safeish")
    tokens = ["I think: \\boxed{", "safe", "}"]
    scores = [{tokens[0]: 0.0}, {"safe": math.log(0.8), "danger": math.log(0.2)}, {"}": math.log(0.75), "ish": math.log(0.25)}]
    packed = keep(tokens, lambda n: scores[n].items(), "".join(tokens), label_words(guard))
    found = label_probabilities(guard, Completion("k", "".join(tokens), logprobs=packed))
    assert found["safety"] == pytest.approx({"safe": 0.6, "safeish": 0.2, "danger": 0.2}, abs=1e-4)


# Any way of cutting ---------------------------------------------------------------------------------------------------------


@st.composite
def cut(draw: st.DrawFn, word: str) -> list[str]:
    """A word in pieces, white space before the first or not."""
    at = sorted(draw(st.sets(st.integers(1, len(word) - 1), max_size=4)))
    pieces = [word[a:b] for a, b in zip([0, *at], [*at, len(word)], strict=True)]
    return [draw(st.sampled_from([" ", "", " \n"])) + pieces[0], *pieces[1:]]


@given(cut("harmful"), cut("unharmful"), st.floats(0.01, 0.99), st.booleans(), st.text("ab \né€", max_size=20))
def test_however_labels_are_cut_into_tokens(harmful: list[str], unharmful: list[str], p: float, is_harmful: bool, before: str) -> None:
    way = harmful if is_harmful else unharmful
    field = [f"{before}\nThis is harmful or unharmful.\n", "Request", ":"]
    first = {unharmful[0]: math.log(1 - p), harmful[0]: math.log(p)}
    tokens = [*field, *way, "\n", "Completion: None"]
    text = "".join(tokens)
    scores = [{t: 0.0} for t in field] + [first] + [{t: 0.0, "x": -9.0} for t in tokens[4:]]
    found = label_probabilities(GUARD, Completion("k", text, logprobs=keep(tokens, lambda n: scores[n].items(), text, WORDS)))
    assert found["prompt"] == pytest.approx({"harmful": p, "unharmful": 1 - p}, abs=1e-4)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5), lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner)
)


def _hostile() -> Iterator[Any]:
    good = as_logprobs(ANSWER)
    for n in range(len(ANSWER)):
        for name, value in (
            ("token", 5),
            ("logprob", "x"),
            ("logprob", None),
            ("logprob", 1e400),
            ("top_logprobs", {"a": 1}),
            ("bytes", [999]),
            ("bytes", [255]),
        ):
            content = [dict(t) for t in good["content"]]
            content[n][name] = value
            yield {"content": content}
    yield from (
        {"content": []},
        {"content": [None]},
        {"content": None},
        {},
        [],
        5,
        "x",
        {"tokens": ["a"], "token_logprobs": [], "top_logprobs": [{}]},
    )
    yield {"tokens": [5], "token_logprobs": [0.0], "top_logprobs": [{"a": [1]}]}


def test_what_an_endpoint_sends_breaks_nothing() -> None:
    for body in _hostile():
        for labels in of(ANSWER, body=body).values():
            assert math.isclose(sum(labels.values()), 1.0) and all(0 <= p <= 1 for p in labels.values()), body


@given(JSON)
def test_no_json_in_its_place_breaks_anything(body: Any) -> None:
    for sent in (body, {"content": body}, {"tokens": body, "token_logprobs": body, "top_logprobs": body}):
        assert all(math.isclose(sum(labels.values()), 1.0) for labels in of(ANSWER, body=sent).values())


def test_a_long_reasoning_keeps_little(model: Path) -> None:
    """Of 250 tokens and 20 alternatives to each, what the labels' tokens need."""
    tokens: Tokens = [(f" step{n}", -0.1, {f" word{n}.{k}": -float(k) for k in range(20)}) for n in range(250)]
    tokens += [(t, v, {t: v, **{f" other{k}": -5.0 - k for k in range(19)}}) for t, v, _ in ANSWER]
    text = "".join(t for t, _, _ in tokens)
    packed = keep([t for t, _, _ in tokens], lambda n: tokens[n][2].items(), text, WORDS)
    assert packed is not None and len(choices(packed)) == 5 and len(packed) < 3000
    everywhere = "harmful " * 5000
    packed = keep(["harmful "] * 5000, lambda _: [("harmful ", 0.0)], everywhere, WORDS)
    assert len(choices(packed)) == 64, "bounded, whatever is written"
    assert len(choices(keep(["a ", "b"], lambda n: [(("a ", "b")[n], 0.0)], "a b", ()))) == 2, "without words all are kept"


# Where labels stand ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "Request: harmful",
        "**Request:** Harmful\n## Completion: *refusal*",
        "| Request | harmful |",
        "Request: harmful\nRequest: harmful or unharmful",
        "Request: unharmful\nRequest: harmful",
        "Request: harmful\nRequest: not harmful",
        "<think>Request: unharmful</think>Request: harmful",
        "<|im_start|>user\nRequest: unharmful<|im_end|>\n<|im_start|>assistant\nRequest: harmful<|im_end|>",
        "Request: harmful<|im_end|>\n<|im_start|>assistant\nRequest: harmful",
        "Request: harmful<|im_end|>\n<|im_start|>assistant\nRequest: unharmful",
        "Ｒequest: ｈarmful",
        "Request: harm\u200bful",
        "é́́ Request: harmful",
        "e\u0301 is a letter\nRequest: harmful\nﬁn e\u0301",
        "Request: None",
        "",
    ],
)
def test_the_place_of_a_label_is_where_it_is_read(text: str) -> None:
    read = parse(GUARD, text).labels
    spans = answer_spans(GUARD, text)
    assert set(spans) == {t for t, label in read.items() if label is not None}
    for task, span in spans.items():
        assert parse(GUARD, f"{GUARD.tasks[GUARD.task_names.index(task)].field}: {text[span.start : span.end]}").labels[task] == read[task]


def test_places_in_released_outputs(real_data: Path) -> None:
    for line in (real_data / "guardreasoner" / "predictions" / "8B" / "XSTestResponseRefusal.jsonl").read_text(encoding="utf-8").splitlines():
        text = json.loads(line)["predict"]
        read = parse(GUARD, text).labels
        spans = answer_spans(GUARD, text)
        assert {t: text[s.start : s.end].lower() for t, s in spans.items()} == {t: label for t, label in read.items() if label is not None}
        assert all(text.find(text[s.start : s.end], s.end) < 0 or s.start > len(text) - 80 for s in spans.values())


# Draws ------------------------------------------------------------------------------------------------------------
