"""The transformers backend on a tiny model: what transformers itself would write, the same at any batch size, seeded, bounded."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny import TEMPLATE, tiny_llama

from toolkit.common.errors import InputError
from toolkit.generation import Completion, Journal, Request, TransformersConfig, build_request, complete, open_backend

WORDS = ["a", "calm", "day", "by", "the", "sea", "with", "tea", "and", "a", "good", "book", "about", "gardens"]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """So small a model only waits for its threads."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("model"))


def config(model: Path, **more: Any) -> TransformersConfig:
    return TransformersConfig.model_validate({"backend": "transformers", "model": str(model), "max_tokens": 40, "device": "cpu", "batch": 8, **more})


def texts(n: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, 20))) for _ in range(n)]


def run(c: TransformersConfig, prompts: list[str], draws: int = 1, journal: Journal | None = None) -> list[Completion]:
    backend = open_backend(c)
    requests = [build_request(backend, c, [{"role": "user", "content": t}], draw=k) for t in prompts for k in range(draws)]
    try:
        return list(complete(requests, backend, journal))
    finally:
        backend.close()


def test_greedy_is_what_transformers_writes(model: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    reference: Any = AutoModelForCausalLM.from_pretrained(model)
    prompts = texts(20)
    out = run(config(model, temperature=0), prompts)
    finishes = set()
    for prompt, c in zip(prompts, out, strict=True):
        ids: Any = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        with torch.no_grad():
            written = reference.generate(**ids, max_new_tokens=40, do_sample=False)[0, ids["input_ids"].shape[1] :]
        assert c.text == tokenizer.decode(written, skip_special_tokens=True)
        assert c.finish == ("stop" if written[-1] == tokenizer.eos_token_id else "length")
        assert (c.prompt_tokens, c.completion_tokens) == (ids["input_ids"].shape[1], len(written))
        finishes.add(c.finish)
    assert "length" in finishes


def test_a_draw_does_not_depend_on_its_batch(model: Path) -> None:
    prompts = texts(12)
    whole = [run(config(model, temperature=1.0, top_p=0.9, batch=b), prompts, draws=3) for b in (1, 5, 64)]
    assert whole[0] == whole[0]
    assert [c.text for c in whole[0]] == [c.text for c in whole[1]] == [c.text for c in whole[2]]
    alone = run(config(model, temperature=1.0, top_p=0.9), prompts[3:4], draws=3)
    assert [c.text for c in alone] == [c.text for c in whole[0][9:12]]


def test_draws_and_seeds_differ(model: Path) -> None:
    a = run(config(model, temperature=1.0), ["hello"], draws=8)
    assert len({c.text for c in a}) == 8
    b = run(config(model, temperature=1.0, seed=1), ["hello"], draws=8)
    assert not {c.text for c in a} & {c.text for c in b}
    unseeded = [run(config(model, temperature=1.0, seed=None), ["hello"])[0].text for _ in range(3)]
    assert len(set(unseeded)) == 3


def test_finishes(model: Path) -> None:
    out = run(config(model, temperature=1.0), texts(60))
    assert {c.finish for c in out} == {"stop", "length"}
    assert all(c.completion_tokens is not None and c.completion_tokens <= 40 for c in out)
    assert all("<|" not in (c.text or "") for c in out)


def test_stop_strings_end_the_text(model: Path) -> None:
    plain = run(config(model, temperature=1.0), ["hello"])[0].text
    assert plain is not None
    at = next(i for i in range(3, len(plain)) if plain.index(plain[i]) == i)
    request = run(config(model, temperature=1.0, stop=[plain[at]]), ["hello"])[0]
    assert request.finish in ("stop", "length")
    assert plain[at] not in (request.text or "")


def test_a_bad_row_takes_no_other_along(model: Path) -> None:
    out = run(config(model), ["fine", "\ud800", "long " * 200, "fine too"])
    assert [c.error for c in out] == [None, "bad_request", "bad_request", None]
    assert "the model reads 512" in (out[2].detail or "")


def test_room_is_what_the_context_leaves(model: Path) -> None:
    [c] = run(config(model, max_tokens=2048, temperature=0), ["x" * 450])
    assert c.prompt_tokens is not None
    assert c.completion_tokens is not None
    assert c.prompt_tokens + c.completion_tokens <= 512


def test_the_journal_knows_a_model_by_its_content(model: Path, tmp_path: Path) -> None:
    prompts = texts(10)
    folder = tmp_path / "guard"
    shutil.copytree(model, folder)
    with Journal(tmp_path / "j") as journal:
        first = run(config(model), prompts, journal=journal)
        backend = open_backend(config(folder))  # a copy elsewhere is the same model
        requests = [build_request(backend, config(folder), [{"role": "user", "content": t}]) for t in prompts]
        known = complete(requests, backend, journal)
        assert [c.text for c in known] == [c.text for c in first]
        assert known.stats.asked == 0
        shutil.rmtree(folder)
        tiny_llama(folder, seed=1)  # retrained at the same path: another model
        again = run(config(folder), prompts, journal=journal)
        assert [c.text for c in again] != [c.text for c in first]
        assert journal.counts()["completions"] == 20


def test_nothing_is_loaded_before_the_first_request(model: Path, tmp_path: Path) -> None:
    backend: Any = open_backend(config(model))
    assert list(complete([], backend, None)) == []
    assert backend._sampler is None
    backend.close()


def test_requests_are_pulled_lazily(model: Path) -> None:
    c = config(model, batch=4, max_tokens=3)
    backend = open_backend(c)
    pulled = 0

    def source() -> Iterator[Request | None]:
        nonlocal pulled
        for t in texts(500):
            pulled += 1
            yield build_request(backend, c, [{"role": "user", "content": t}])

    done = 0
    for _ in backend.generate(source()):
        done += 1
        assert pulled - done <= backend.parallel
    assert done == pulled == 500
    backend.close()


def test_different_sampling_may_be_mixed(model: Path) -> None:
    a, b = config(model, temperature=0), config(model, temperature=1.0, top_p=0.5)
    backend = open_backend(a)
    requests = [build_request(backend, c, [{"role": "user", "content": t}]) for t in texts(9) for c in (a, b)]
    mixed = [c.text for c in complete(requests, backend, None)]
    backend.close()
    assert mixed[::2] == [c.text for c in run(a, texts(9))]
    assert mixed[1::2] == [c.text for c in run(b, texts(9))]


@pytest.mark.parametrize("top_p", [1.0, 0.8, 0.3])
def test_sampling_has_the_right_frequencies(top_p: float) -> None:
    import torch

    from toolkit.generation.backends._decode import pick

    logits = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0])
    n = 40_000
    probs = torch.softmax(logits / 0.7, -1)
    kept = probs * ((probs.cumsum(-1) - probs) < top_p)
    expected = (kept / kept.sum()).tolist()
    uniforms = torch.rand(n, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    seen = Counter(pick(logits.expand(n, -1), 0.7, top_p, uniforms).tolist())
    assert all(abs(seen[t] / n - p) < 0.01 for t, p in enumerate(expected))
    assert all(seen[t] == 0 for t, p in enumerate(expected) if p == 0)


def test_top_p_over_a_flat_large_vocabulary() -> None:
    import torch

    from toolkit.generation.backends._decode import pick

    chosen = pick(torch.zeros(2000, 1000), 1.0, 0.9, torch.linspace(0, 0.999, 2000, dtype=torch.float64))
    assert 890 <= len(chosen.unique()) <= 910


@pytest.mark.parametrize("fault", ["no folder", "no template", "torn weights", "no config"])
def test_a_folder_that_is_no_model_is_named(tmp_path: Path, fault: str) -> None:
    folder = tmp_path / "guard"
    if fault != "no folder":
        tiny_llama(folder, template=None if fault == "no template" else "{{ messages[0]['content'] }}")
    if fault == "torn weights":
        (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:5000])
    if fault == "no config":
        (folder / "config.json").unlink()
    with pytest.raises(InputError):
        run(config(folder), ["hello"])


def test_a_path_beside_the_recipe(model: Path) -> None:
    backend = open_backend(config(Path(model.name)), beside=model.parent)
    assert backend.model_id == open_backend(config(model)).model_id


def test_a_template_without_a_system_role_says_what_to_do(tmp_path: Path) -> None:
    refuses = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + TEMPLATE
    folder = tiny_llama(tmp_path, template=refuses)
    messages = [{"role": "system", "content": "Judge."}, {"role": "user", "content": "hello"}]
    for system in ("keep", "merge", "drop"):
        backend = open_backend(c := config(folder, system=system))
        try:
            asked = [build_request(backend, c, messages)]
            if system == "keep":
                with pytest.raises(InputError, match="takes no system message") as e:
                    list(complete(asked, backend, None))
                assert "system: merge" in (e.value.hint or "")
            else:
                assert [x.ok for x in complete(asked, backend, None)] == [True]
        finally:
            backend.close()
