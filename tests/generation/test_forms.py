"""Words scored behind given beginnings of an answer, against a plain reading of each text."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny import tiny_llama

from toolkit.generation import Journal, Request, build_request, choices, complete, open_backend, read_config

FORM = (("\n\nAnswers: \nRequest: ", ("unharmful", "harmful")), ("\nCompletion: ", ("compliance", "refusal", "none at all")), ("\nEnd", ()))


def asked(backend: Any, config: Any, prompt: str, begun: str, form: Any = FORM) -> Request:
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": begun}]
    return replace(build_request(backend, config, messages, row=prompt), form=form)


@lru_cache(maxsize=1)
def loaded(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)


def by_hand(folder: Path, prompt: str, before: str, words: Sequence[str]) -> dict[str, float]:
    """Log-probabilities of words of one token each letter, by one plain pass for each."""
    tokenizer, model = loaded(folder)
    start = tokenizer.apply_chat_template([{"role": "user", "content": prompt}], add_generation_prompt=True, tokenize=False) + before
    first = len(tokenizer(start, add_special_tokens=False)["input_ids"])
    out = {}
    for word in words:
        ids = tokenizer(start + word, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            scores = torch.log_softmax(model(torch.tensor([ids])).logits[0].float(), -1)
        out[word] = sum(float(scores[i - 1, ids[i]]) for i in range(first, len(ids)))
    return out


def shares(one: dict[str, float]) -> dict[str, float]:
    total = math.fsum(map(math.exp, one.values()))
    return {word: math.exp(value) / total for word, value in one.items()}


@pytest.mark.parametrize("tree", [True, False])
def test_each_word_has_the_probability_that_a_plain_reading_gives(tree: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beginnings of two conversations together; the second place is behind the likeliest word of the first."""
    from toolkit.generation.backends._fill_forms import Forms

    folder = tiny_llama(tmp_path / "tiny")
    if not tree:
        monkeypatch.setattr(Forms, "_sees_trees", lambda *_: False)
    config = read_config({"backend": "transformers", "model": str(folder), "device": "cpu", "batch": 5})
    backend = open_backend(config)
    chain = "# Task 1\n\n## Reasoning Step 1\nA recipe.\n\n## Reasoning Step 2\nHarmless."
    cases = [(prompt, begun) for prompt in ("How do I bake?", "Hello") for begun in ("", chain[:40], chain, chain.replace("less", "ful"))]
    done = list(complete((asked(backend, config, *case) for case in cases), backend, None))
    assert backend._forms._as_tree is tree  # type: ignore[attr-defined]
    for case, completion in zip(cases, done, strict=True):
        first, second = choices(completion.logprobs)
        assert completion.text is not None and completion.prompt_tokens is not None
        assert completion.prompt_tokens >= len(case[1])  # of a tokenizer of letters: what the answer begins with was read, too
        text = case[1] + completion.text
        assert text == case[1] + "".join(before + word for (before, _), word in zip(FORM, [first.token, second.token, ""], strict=True))
        for place, words in ((first, FORM[0][1]), (second, FORM[1][1])):
            assert completion.text[place.start :].startswith(place.token) and place.token == max(words, key=lambda w: place.alternatives[w])
            wanted = by_hand(folder, case[0], case[1] + completion.text[: place.start], words)
            assert shares(dict(place.alternatives)) == pytest.approx(shares(wanted), abs=2e-4)


def test_a_word_that_begins_another_one_is_decided_by_what_follows(tmp_path: Path) -> None:
    folder = tiny_llama(tmp_path / "tiny")
    config = read_config({"backend": "transformers", "model": str(folder), "device": "cpu"})
    backend = open_backend(config)
    form = (("Safety: ", ("safe", "safeish")), ("\n", ()))
    (done,) = complete([asked(backend, config, "Hi", "So.", form)], backend, None)
    (found,) = choices(done.logprobs)
    shared = by_hand(folder, "Hi", "So.Safety: ", ["safe"])["safe"]
    wanted = by_hand(folder, "Hi", "So.Safety: ", ["safe\n<|end|>", "safeish\n<|end|>"])
    assert list(found.alternatives.values()) == pytest.approx([value - shared for value in wanted.values()], abs=1e-3)


def test_what_was_scored_is_not_asked_again_and_a_text_that_is_too_long_fails(tmp_path: Path) -> None:
    folder = tiny_llama(tmp_path / "tiny", positions=128)
    config = read_config({"backend": "transformers", "model": str(folder), "device": "cpu"})
    backend = open_backend(config)
    requests = [asked(backend, config, "Hi", "So."), asked(backend, config, "Hi", "So. " * 40)]
    assert len({r.key for r in requests} | {replace(requests[0], form=()).key}) == 3
    with Journal(tmp_path / "journal") as journal:
        first, long = complete(requests, backend, journal)
        assert first.ok and long.error == "bad_request" and "the model reads 128" in (long.detail or "")
        again = _stopped(backend)
        (same,) = complete(requests[:1], again, journal)
    assert (same.text, same.logprobs) == (first.text, first.logprobs)


class _Llm:
    """Answers ``prompt_logprobs=0`` as ``vllm.LLM`` 0.32 does: for each token of a prompt a dict of it alone, for the first one None."""

    def __init__(self, folder: Path) -> None:
        self._model = loaded(folder)[1]
        self.llm_engine = SimpleNamespace(model_config=SimpleNamespace(max_model_len=256))

    def generate(self, prompts: Sequence[dict[str, list[int]]], params: Any, *, use_tqdm: bool, lora_request: Any) -> list[Any]:
        assert (params.prompt_logprobs, params.max_tokens, use_tqdm, lora_request) == (0, 1, False, None)
        out = []
        for ids in (prompt["prompt_token_ids"] for prompt in prompts):
            with torch.no_grad():
                scores = torch.log_softmax(self._model(torch.tensor([ids])).logits[0].float(), -1)
            of = [{ids[n]: SimpleNamespace(logprob=float(scores[n - 1, ids[n]]))} for n in range(1, len(ids))]
            out.append(SimpleNamespace(prompt_logprobs=[None, *of]))
        return out


def test_vllm_fills_forms_by_what_it_says_of_prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_llama(tmp_path / "tiny")
    monkeypatch.setattr("toolkit.generation.backends._vllm.require", lambda *_: None)
    monkeypatch.setattr("toolkit.generation.backends._vllm_engine.take", lambda *_: SimpleNamespace(llm=_Llm(folder)))
    monkeypatch.setattr("toolkit.generation.backends._vllm_engine.give_back", lambda *_, **__: None)
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(SamplingParams=SimpleNamespace))
    monkeypatch.setitem(sys.modules, "vllm.v1.engine.exceptions", SimpleNamespace(EngineDeadError=ZeroDivisionError))
    found = []
    for name in ("vllm", "transformers"):
        config = read_config({"backend": name, "model": str(folder)})
        backend = open_backend(config)
        found.append(list(complete((asked(backend, config, "Hi", begun) for begun in ("", "So. ", "So. " * 60)), backend, None)))
    for ours, theirs in zip(found[0][:2], found[1][:2], strict=True):
        assert (ours.text, ours.prompt_tokens) == (theirs.text, theirs.prompt_tokens)
        for one, other in zip(choices(ours.logprobs), choices(theirs.logprobs), strict=True):
            assert dict(one.alternatives) == pytest.approx(dict(other.alternatives), abs=1e-3)
    assert found[0][2].error == "bad_request" and "the model reads 255" in (found[0][2].detail or "")


def _stopped(backend: Any) -> Any:
    class Stopped:
        model_id, endpoint, journalled, parallel = backend.model_id, backend.endpoint, True, 1

        def generate(self, requests: Any) -> Any:
            raise AssertionError("it was asked")

    return Stopped()


@pytest.mark.parametrize(
    ("kind", "more", "tree"),
    [
        ("Gemma3Text", {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]}, False),
        ("Mistral", {"sliding_window": 8}, False),
        ("Qwen3", {}, True),
        ("GPT2", {"n_positions": 512, "n_embd": 64, "n_layer": 2, "n_head": 4}, None),
    ],
)
def test_other_architectures(kind: str, more: dict[str, Any], tree: bool | None, tmp_path: Path) -> None:
    """A model whose layers see a window of the text would see another one in a tree, and reads each text by itself."""
    import transformers

    folder = tiny_llama(tmp_path / "tiny")
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
    own = {} if kind == "GPT2" else {**shape, "max_position_embeddings": 512}
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=261, eos_token_id=1, bos_token_id=None, pad_token_id=0, initializer_range=0.3, **own, **more
    )
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    opened = read_config({"backend": "transformers", "model": str(folder), "device": "cpu"})
    backend = open_backend(opened)
    begun = ["", "# Task 1\n\n## Reasoning Step 1\nA recipe."]
    done = list(complete((asked(backend, opened, "How do I bake?", text) for text in begun), backend, None))
    assert tree in (None, backend._forms._as_tree)  # type: ignore[attr-defined]
    for text, completion in zip(begun, done, strict=True):
        place = choices(completion.logprobs)[0]
        assert completion.text is not None
        wanted = by_hand(folder, "How do I bake?", text + completion.text[: place.start], FORM[0][1])
        assert shares(dict(place.alternatives)) == pytest.approx(shares(wanted), abs=2e-4)
