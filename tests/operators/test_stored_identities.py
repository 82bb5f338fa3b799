"""What the options of a recipe come to in journal keys and fingerprints, as it was before backends described themselves: a value here that changes means
that answers out there are asked again, or finished steps rebuilt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from toolkit.common.files import digest
from toolkit.generation import BackendConfig, build_request
from toolkit.guards import load_guard
from toolkit.operators import Context, operator_class
from toolkit.taxonomy import load_taxonomy

BACKENDS: dict[str, dict[str, Any]] = {
    "openai": {"backend": "openai", "model": "m", "base_url": "http://a/v1"},
    "openai, all": {
        "backend": "openai",
        "model": "m",
        "base_url": "http://a/v1",
        "endpoint": "lab",
        "revision": "2",
        "structured": "try",
        "system": "merge",
        "reasoning": "think",
        "extra": {"reasoning_effort": "low"},
        "max_tokens_name": "max_completion_tokens",
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 100,
        "seed": 7,
        "stop": ["x"],
        "concurrency": 3,
        "price": {"input": 1, "output": 2},
    },
    "openai-batch": {"backend": "openai-batch", "model": "m", "structured": "require", "poll": 5},
    "transformers": {"backend": "transformers", "model": "o/m"},
    "transformers, all": {
        "backend": "transformers",
        "model": "o/m",
        "adapter": "o/a",
        "dtype": "float32",
        "batch": 3,
        "system": "drop",
        "reasoning": "keep",
        "temperature": 1.0,
        "top_p": 0.95,
    },
    "vllm": {"backend": "vllm", "model": "o/m", "max_model_len": 512, "engine": {"enforce_eager": True}},
    "vllm-server": {"backend": "vllm-server", "model": "o/m", "max_model_len": 512, "dtype": "bfloat16"},
    "template": {"backend": "template", "seed": 4, "steps": [2, 3]},
}
ONE, ALL = BACKENDS["openai"], BACKENDS["openai, all"]
T = {**BACKENDS["transformers"], "temperature": 1.0}
STEPS: dict[str, tuple[str, dict[str, Any]]] = {
    "synthesise": ("synthesise", {"backend": ONE}),
    "synthesise, template": ("synthesise", {"backend": BACKENDS["template"]}),
    "synthesise, all": ("synthesise", {"backend": ALL, "fallback": [BACKENDS["openai-batch"], BACKENDS["vllm"]], "attempts": 3, "labels": "given"}),
    "generate": ("generate", {"backend": ONE, "user": "Say: {{ prompt }}", "system": "Be brief.", "column": "plain"}),
    "generate, local": ("generate", {"backend": T, "user": "{{ prompt }}"}),
    "rederive": ("rederive", {"backend": ALL, "hide": ["b", "A"], "on_fault": "reject"}),
    "grade": ("grade", {"backend": ONE, "criteria": {"z": "?", "a": "?"}, "on_fault": "reject", "least": 3}),
    "swap_labels": ("swap_labels", {"backend": ONE, "task": "prompt"}),
    "sample": ("sample", {"k": 2, "models": {"a": T, "b": {**ONE, "temperature": 1.0}}}),
    "sample, of a step": ("sample", {"k": 2, "backend": {"backend": "vllm", "temperature": 1.0}}),
    "sample, of a step, transformers": ("sample", {"k": 1, "backend": {"backend": "transformers", "batch": 8}}),
    "shards": ("shards", {"title": "t"}),
    "shards, all": ("shards", {"rows_per_shard": 10, "licence": "CC-BY-4.0", "empty": True}),
}

KEYS = {
    "openai": "62b97945183c1dde35cf5f4e77ad41354f1c330ddcdf64c81c14c4e3490d1af5",
    "openai, all": "857879437ae33dedb381403771e605a0b88d2eeb7ea12af6fab724cd964daade",
    "openai-batch": "aa847f804be2de453109ba80fe5a7bd93eb3ed852db24d47f9aee362e1df3b2f",
    "transformers": "9d255fa161c19d03e2da574192ace9673179bea481940978dd0b5488a5496104",
    "transformers, all": "195b3a835561b0f8d228e4202ba6718040e775aa04a607aa805ff30a87837f8f",
    "vllm": "a0aefd462b1e03adba6d0db31ce99c7d33105192368ab4890836f82e2c59e4fe",
    "vllm-server": "76b27f4bc30064e0da8805402e6973fe56d72505bc7cb32fc1e57a61b8d42aba",
    "template": "a01d4a5b6564bc991ce25a66846895fa669c4f54b5253509ebbe6b1e810cadd6",
}
IDENTITIES = {
    "synthesise": "578e1bec6023b93e57fbca48a1f78e53dfa30a67213d954d5459ccfafa5209bf",
    "synthesise, template": "6866ba4d13381878e39055e15f2b5ffa5fd33f1d50c737ecd7e63e9864691e08",
    "synthesise, all": "f1a7ec16ab2b99a3fe1d125292ee51a821bb2821258c7cf460b6fb04a09d6c34",
    "generate": "85c8c00b2d8a45b10646b0c75ab6a7dec430c8e40e76e082df4958eba7f9ebfa",
    "generate, local": "9974cdeef6c565ea7601c64b1a81190bbb37d1cd5642e434eee016a387e0250e",
    "rederive": "51951c606449ed0f8500406394817eb72d9210574a145534a9470b1465dd1748",
    "grade": "92e354614d71e431da7b6b8406ff3b5ba963451b08b5e771f1d9c8fee42cb066",
    "swap_labels": "6e6221f686608a1661832df10c775c842b9c45a60e5d63fa40494572b94f59f7",
    "sample": "054c9b6b01f800103d302f3ba7f0e39232887a6a267e0c562c4f3d4fe7629655",
    "sample, of a step": "ebebaf569b405a2c45a88899abba64447ea338b8f854b9652af3f5d34bcdec13",
    "sample, of a step, transformers": "a17bb20de736abf07975fded430af49b3b0035a24f3ab0316996163d74da9079",
    "shards": "f0253cc8aa846edb8e14d327a590afbf0300fb4dbc2263594ab0cc5c229838fc",
    "shards, all": "ebe12601341f4bbd8008d34ada0082a84364b1e0982e35b2f109832354862b3a",
}
FILES: dict[str, list[str]] = {
    "synthesise, all": ["2.model"],
    "generate, local": ["model"],
    "rederive": ["prompt"],
    "grade": ["prompt"],
    "sample": ["a.model"],
}
ADAPTER: TypeAdapter[Any] = TypeAdapter(BackendConfig)


class _Stub:
    """Enough of a backend for a request."""

    def __init__(self, config: Any) -> None:
        self.model_id = "hash of " + getattr(config, "model", "template")
        self.endpoint = config.endpoint_name


@pytest.mark.parametrize("name", BACKENDS)
def test_a_request_has_the_key_that_it_had(name: str) -> None:
    config = ADAPTER.validate_python(BACKENDS[name])
    stub: Any = _Stub(config)
    assert build_request(stub, config, [{"role": "user", "content": "hi"}], draw=1, row="r").key == KEYS[name]


@pytest.mark.parametrize("name", STEPS)
def test_a_step_has_the_identity_that_it_had(name: str) -> None:
    use, options = STEPS[name]
    cls = operator_class(use)
    op = cls(cls.config_class.model_validate(options))
    assert digest(op.identity()) == IDENTITIES[name]
    if use != "shards":  # whose tables of licences are files
        ctx = Context(load_guard("guardreasoner"), load_taxonomy(), 0, "s", Path(__file__).parent)
        assert sorted(op.files(ctx)) == FILES.get(name, [])
