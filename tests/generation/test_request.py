"""A request's key covers all that shapes its answer, and the payload comes from the same object."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from toolkit.generation import ADDED, EXCLUDED, Attached, BackendConfig, Completion, Request, as_messages, build_request
from toolkit.generation._base_config import NOT_IN_KEY

BASE = Request("model", "https://a/v1", (("system", "judge"), ("user", "hello")), 0.7, 0.95, 100, seed=3, stop=("END",), row="r1")
OTHER: dict[str, Any] = {
    "model_id": "other",
    "endpoint": "https://b/v1",
    "messages": (("system", "judge!"), ("user", "hello")),
    "temperature": 0.8,
    "top_p": 1.0,
    "max_tokens": 101,
    "seed": None,
    "stop": (),
    "draw": 1,
    "max_tokens_name": "max_completion_tokens",
    "extra": '{"reasoning_effort":"low"}',
    "row": "r2",
    "revision": "2026-11-01",
    "schema": '{"type":"json_object"}',
    "attempt": 1,
    "system": "merge",
    "media": (Attached("image", "image/png", "a" * 64, "cat.png", Path("data")),),
    "reasoning": "think",
    "logprobs": 5,
    "words": ("harmful",),
    "raw": True,
    "form": (("Request: ", ("harmful", "unharmful")), ("", ())),
}
ADAPTER: TypeAdapter[Any] = TypeAdapter(BackendConfig)


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(Request)])
def test_every_field_is_in_the_key_or_excluded_with_a_reason(name: str) -> None:
    changed = dataclasses.replace(BASE, **{name: OTHER[name]})
    assert (changed.key == BASE.key) == (name in EXCLUDED)
    assert len(EXCLUDED.get(name, "a reason")) > 5


def test_exclusions_are_fields() -> None:
    assert set(EXCLUDED) <= {f.name for f in dataclasses.fields(Request)}


@pytest.mark.parametrize("name", sorted(set(OTHER) - {"endpoint", "row", "revision", "reasoning", "media", "words", "form"}))
def test_what_is_sent_follows_the_same_fields(name: str) -> None:
    assert dataclasses.replace(BASE, **{name: OTHER[name]}).payload() != BASE.payload()


@given(
    st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), st.text()), max_size=4),
    st.lists(st.tuples(st.just("user"), st.text()), max_size=4),
)
def test_different_messages_have_different_keys(a: list[tuple[str, str]], b: list[tuple[str, str]]) -> None:
    keys = [dataclasses.replace(BASE, messages=tuple(m)).key for m in (a, b)]
    assert (keys[0] == keys[1]) == (a == b)


def test_moving_text_between_messages_changes_the_key() -> None:
    keys = {dataclasses.replace(BASE, messages=m).key for m in ((("user", "ab"),), (("user", "a"), ("user", "b")), (("system", "a"), ("user", "b")))}
    assert len(keys) == 3


def test_equal_numbers_are_one_key() -> None:
    assert len({dataclasses.replace(BASE, temperature=t).key for t in (0, 0.0, -0.0)}) == 1
    assert dataclasses.replace(BASE, temperature=1, top_p=1).key == dataclasses.replace(BASE, temperature=1.0, top_p=1.0).key


def test_key_is_stable_across_versions() -> None:
    """A change here means that every journal out there is asked again: raise KEY_VERSION and mean it."""
    assert BASE.key == "94e10ab53995ebb9f05aaf6fd8b0c6228d4110321fa8adecf6dde8ba0bf40638"


def test_fields_that_came_later_leave_older_keys_as_they_were() -> None:
    """`BASE` has them at their old value, and its key is that of the first release; at any other they are in it (above)."""
    assert set(ADDED) == {"revision", "schema", "attempt", "system", "media", "logprobs", "words", "raw", "form"}
    assert all(getattr(BASE, name) == value for name, value in ADDED.items())


def test_what_requests_share_is_all_but_messages_draw_and_attempt() -> None:
    same = dataclasses.replace(BASE, messages=(("user", "x"),), draw=4, attempt=2, row="r9", media=OTHER["media"])
    assert same.shape == BASE.shape
    for name in set(OTHER) - {"messages", "media", "draw", "attempt", "row", "reasoning"}:
        assert dataclasses.replace(BASE, **{name: OTHER[name]}).shape != BASE.shape


def test_draws_have_seeds_of_their_own() -> None:
    seeds = [dataclasses.replace(BASE, draw=k).draw_seed for k in range(100)]
    assert seeds[0] == BASE.seed
    assert len(set(seeds)) == 100
    assert all(s is not None and 0 <= s < 2**31 for s in seeds)
    attempts = [dataclasses.replace(BASE, draw=k, attempt=a).draw_seed for k in range(10) for a in range(10)]
    assert len(set(attempts)) == 100


def test_lone_surrogates_have_a_key() -> None:
    assert len(dataclasses.replace(BASE, messages=(("user", "\ud800"),)).key) == 64


def test_a_completion_is_an_answer_or_a_failure() -> None:
    with pytest.raises(ValueError, match="either"):
        Completion("k", None)
    with pytest.raises(ValueError, match="either"):
        Completion("k", "text", error="timeout")
    with pytest.raises(ValueError, match="unknown class"):
        Completion("k", None, error="oops")


class _Stub:
    """Enough of a backend for build_request."""

    def __init__(self, config: Any) -> None:
        self.model_id = "hash of " + getattr(config, "model", "template")
        self.endpoint = getattr(config, "endpoint_name", config.backend)


CONFIGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "openai": (
        {"backend": "openai", "model": "m", "base_url": "http://a/v1"},
        {
            "model": "n",
            "base_url": "http://b/v1",
            "endpoint": "mine",
            "api_key_env": "X",
            "concurrency": 3,
            "timeout": 4,
            "retries": 0,
            "patience": 1,
            "revision": "2",
            "structured": "try",
            "price": {"input": 1, "output": 2},
            "slow_start": False,
            "video_parts": True,
            "requests_per_minute": 5,
            "tokens_per_minute": 5,
            "max_tokens_name": "max_completion_tokens",
            "extra": {"reasoning_effort": "low"},
            "temperature": 0.5,
            "top_p": 0.5,
            "max_tokens": 5,
            "seed": 6,
            "stop": ["x"],
        },
    ),
    "transformers": (
        {"backend": "transformers", "model": "m"},
        {
            "model": "n",
            "dtype": "float32",
            "batch": 2,
            "device": "cpu",
            "adapter": "a",
            "check_training": False,
            "temperature": 0.5,
            "top_p": 0.5,
            "max_tokens": 5,
            "seed": 6,
            "stop": ["x"],
        },
    ),
    "vllm": (
        {"backend": "vllm", "model": "m"},
        {
            "model": "n",
            "dtype": "float32",
            "concurrency": 2,
            "max_model_len": 9,
            "adapter": "a",
            "check_training": False,
            "engine": {"enforce_eager": True},
            "temperature": 0.5,
            "top_p": 0.5,
            "max_tokens": 5,
            "seed": 6,
            "stop": ["x"],
        },
    ),
    "openai-batch": (
        {"backend": "openai-batch", "model": "m", "base_url": "http://a/v1"},
        {
            "model": "n",
            "base_url": "http://b/v1",
            "endpoint": "mine",
            "api_key_env": "X",
            "timeout": 4,
            "retries": 0,
            "patience": 1,
            "revision": "2",
            "structured": "try",
            "price": {"input": 1, "output": 2},
            "poll": 1,
            "batch_requests": 2,
            "batch_megabytes": 3,
            "max_tokens_name": "max_completion_tokens",
            "extra": {"reasoning_effort": "low"},
            "temperature": 0.5,
            "top_p": 0.5,
            "max_tokens": 5,
            "seed": 6,
            "stop": ["x"],
        },
    ),
    "openai-moderation": (
        {"backend": "openai-moderation", "base_url": "http://a/v1"},
        {
            "model": "n",
            "base_url": "http://b/v1",
            "endpoint": "mine",
            "api_key_env": "X",
            "timeout": 4,
            "retries": 0,
            "patience": 1,
            "revision": "2",
            "price": {"input": 1, "output": 2},
            "concurrency": 3,
            "slow_start": False,
            "requests_per_minute": 4,
            "tokens_per_minute": 5,
        },
    ),
    "template": ({"backend": "template"}, {"seed": 5, "steps": [2, 4]}),
}


CONFIGS["vllm-server"] = (
    {"backend": "vllm-server", "model": "m"},
    {**CONFIGS["vllm"][1], "timeout": 4, "retries": 0, "start_timeout": 5},
)


for _name in ("openai", "openai-batch", "transformers", "vllm", "vllm-server"):
    CONFIGS[_name][1].update(system="merge", reasoning="think", logprobs=5)
for _name in ("transformers", "vllm", "vllm-server"):
    CONFIGS[_name][1].update(chat_template_kwargs={"enable_thinking": False})


@pytest.mark.parametrize(
    ("backend", "name"), [(b, n) for b in CONFIGS for n in type(ADAPTER.validate_python(CONFIGS[b][0])).model_fields if n != "backend"]
)
def test_every_config_key_shapes_the_request_or_says_why_not(backend: str, name: str) -> None:
    base, other = CONFIGS[backend]
    keys = []
    for given_ in (base, base | {name: other[name]}):
        config = ADAPTER.validate_python(given_)
        stub: Any = _Stub(config)
        keys.append(build_request(stub, config, [{"role": "user", "content": "hi"}]).key)
    excused = name in NOT_IN_KEY and name not in ("model", "base_url")
    assert (keys[0] == keys[1]) == excused


def test_a_declared_endpoint_may_move() -> None:
    a, b = (ADAPTER.validate_python({"backend": "openai", "model": "m", "endpoint": "lab", "base_url": u}) for u in ("http://a/v1", "http://b/v1"))
    assert a.endpoint_name == b.endpoint_name == "lab"


@pytest.mark.parametrize(
    "bad",
    [
        {"backend": "opnai"},
        {"backend": "openai", "model": "m", "temprature": 1},
        {"backend": "openai", "model": "m", "temperature": -1},
        {"backend": "openai", "model": "m", "temperature": float("nan")},
        {"backend": "openai", "model": "m", "base_url": "localhost:8000"},
        {"backend": "openai", "model": "m", "base_url": "https://me:secret@host/v1"},
        {"backend": "openai", "model": "m", "base_url": "https://host/v1?api-key=secret"},
        {"backend": "openai", "model": "m", "extra": {"temperature": 2}},
        {"backend": "openai", "model": "m", "extra": {"x": {1, 2}}},
        {"backend": "transformers", "model": "m", "temperature": None},
        {"backend": "vllm", "model": "m", "engine": {"quantization": "fp8"}},
        {"backend": "template", "steps": [3, 1]},
    ],
)
def test_bad_configs_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ADAPTER.validate_python(bad)


def test_payload_has_what_the_config_says_and_nothing_unset() -> None:
    config = ADAPTER.validate_python(
        {
            "backend": "openai",
            "model": "m",
            "temperature": None,
            "top_p": None,
            "seed": None,
            "extra": {"reasoning_effort": "low"},
            "max_tokens_name": "max_completion_tokens",
        }
    )
    stub: Any = _Stub(config)
    request = build_request(stub, config, [{"role": "user", "content": "hi"}], draw=2)
    body = dataclasses.replace(request, model_id="m").payload()
    assert body == {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_completion_tokens": 2048, "reasoning_effort": "low"}
    json.dumps(body)
    assert as_messages(request.messages_list()) == request.messages
