"""Tokenizers and chat templates: nothing is lost, the prompt is a prefix, a text cannot end its own turn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shardfolders import sft_rows, turn

from toolkit.common.errors import InputError
from toolkit.training import Scratch
from toolkit.training._model import _set_template, scratch_tokenizer
from toolkit.training._shared import Bounds, Dropped

TEXTS = [m["content"] for r in sft_rows(40) for m in r["prompt"] + r["completion"]]
TOKENIZER: Any = None
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.sampled_from([*TEXTS[:4], "<|guardkit_end|> x", "<|guardkit_user|>"])


def tokenizer() -> Any:
    global TOKENIZER
    TOKENIZER = TOKENIZER or scratch_tokenizer(Scratch(vocab=400), TEXTS)
    return TOKENIZER


def ids(messages: list[dict[str, str]], prompt: bool = False) -> list[int]:
    return list(tokenizer().apply_chat_template(messages, add_generation_prompt=prompt, return_dict=True)["input_ids"])


@settings(deadline=None, max_examples=200)
@given(user=WORDS, answer=WORDS)
def test_prompt_is_a_prefix_and_text_comes_back(user: str, answer: str) -> None:
    head, whole = ids(turn("user", user), prompt=True), ids(turn("user", user) + turn("assistant", answer))
    assert whole[: len(head)] == head
    end = tokenizer().eos_token_id
    assert whole.count(end) == 2 and whole[-1] == end, "a text cannot end its own turn"
    assert tokenizer().decode(whole[len(head) : -1]) == answer.replace("<|guardkit_", "<|guardkit ")
    assert tokenizer().unk_token_id is None


def test_same_texts_same_tokenizer(tmp_path: Path) -> None:
    for name in ("a", "b"):
        scratch_tokenizer(Scratch(vocab=400), TEXTS).save_pretrained(tmp_path / name)
    assert (tmp_path / "a" / "tokenizer.json").read_bytes() == (tmp_path / "b" / "tokenizer.json").read_bytes()


def test_lines_that_every_row_has_are_one_token() -> None:
    assert len(tokenizer()("Name the place.\nHuman user:\n")["input_ids"]) == 2
    assert len(tokenizer()) <= 400


def test_special_tokens_are_three_different_ones() -> None:
    t = tokenizer()
    assert len({t.bos_token_id, t.eos_token_id, t.pad_token_id}) == 3


@pytest.mark.parametrize("wanted", [None, "plain", "{{ messages[0].content }}{{ eos_token }}"])
def test_a_tokenizer_without_template_gets_one(wanted: str | None) -> None:
    t: Any = scratch_tokenizer(Scratch(vocab=400), TEXTS)
    t.chat_template = None
    _set_template(t, wanted, "a model")
    text = t.apply_chat_template(turn("user", "peas") + turn("assistant", "garden"), tokenize=False)
    assert "peas" in text and text.endswith(t.eos_token)
    head = t.apply_chat_template(turn("user", "peas"), tokenize=False, add_generation_prompt=True)
    if wanted != "{{ messages[0].content }}{{ eos_token }}":
        assert text.startswith(head) and head.endswith("assistant:\n")


def test_llama3_template_ends_turns_with_its_own_token() -> None:
    t: Any = scratch_tokenizer(Scratch(vocab=400), TEXTS)
    t.chat_template = None
    with pytest.raises(InputError, match=r"lacks <\|start_header_id\|>"):
        _set_template(t, "llama3", "a model")
    t.add_tokens(["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"], special_tokens=True)
    _set_template(t, None, "a model")
    text = t.apply_chat_template(turn("user", "peas") + turn("assistant", "garden"), tokenize=False)
    assert text.endswith("<|start_header_id|>assistant<|end_header_id|>\n\ngarden<|eot_id|>")
    assert t.eos_token_id == t.convert_tokens_to_ids("<|eot_id|>")


@pytest.mark.parametrize("template", ["{{ messages[0].content", "nothing of it"])
def test_a_template_that_renders_nothing_is_refused(template: str) -> None:
    with pytest.raises(InputError, match="chat_template"):
        _set_template(scratch_tokenizer(Scratch(vocab=400), TEXTS), template, "a model")


@settings(deadline=None, max_examples=25)
@given(rows=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12), limit=st.integers(1, 20) | st.none())
def test_every_row_is_kept_or_named(rows: list[tuple[int, int]], limit: int | None) -> None:
    from datasets import Dataset

    from toolkit.training._trainers import leave_out

    data = Dataset.from_dict(
        {
            "id": [f"r{i}" for i in range(len(rows))],
            "input_ids": [[7] * (a + b) for a, b in rows],
            "labels": [[-100] * a + [7] * b for a, b in rows],
        }
    )
    dropped = Dropped()
    good = [f"r{i}" for i, (a, b) in enumerate(rows) if b and (limit is None or a + b <= limit)]
    if not good:
        with pytest.raises(InputError, match="no row can be trained on"):
            leave_out(data, [["input_ids"]], ["labels"], Bounds(limit), dropped)
    else:
        kept = leave_out(data, [["input_ids"]], ["labels"], Bounds(limit), dropped)
        assert list(kept["id"]) == good
        assert list(kept["length"]) == [len(x) for x in kept["input_ids"]]
    assert sorted(good + [i for ids in dropped.ids.values() for i in ids]) == sorted(data["id"])
