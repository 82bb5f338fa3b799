"""LoRA adapters of local models: which base they are on, how they are named, and what merging one gives."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tiny import tiny_adapter, tiny_llama

from toolkit.common.errors import InputError
from toolkit.common.models import model_hash
from toolkit.generation import TransformersConfig, build_request, complete, open_backend
from toolkit.generation.backends._lora import merge_adapter


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture
def adapter(model: Path, tmp_path: Path) -> Path:
    return tiny_adapter(tmp_path / "adapter", model, seed=1)


def backend(model: Path, **more: Any) -> Any:
    return open_backend(config(model, **more))


def config(model: Path, **more: Any) -> TransformersConfig:
    return TransformersConfig.model_validate({"backend": "transformers", "model": str(model), "device": "cpu", "max_tokens": 20, **more})


def texts(model: Path, **more: Any) -> list[str | None]:
    c = config(model, **more)
    opened = open_backend(c)
    out = [a.text for a in complete([build_request(opened, c, [{"role": "user", "content": t}]) for t in ("tea", "sea", "bee")], opened, None)]
    opened.close()
    return out


def loaded(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder)


def edit(folder: Path, **keys: Any) -> Path:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | keys))
    return folder


def test_an_adapter_changes_the_answers_however_it_is_named(model: Path, adapter: Path) -> None:
    changed = texts(model, adapter=str(adapter))
    assert changed == texts(adapter)
    assert changed != texts(model)
    assert len({backend(model).model_id, backend(adapter).model_id}) == 2
    assert backend(adapter).model_id == backend(model, adapter=str(adapter)).model_id == model_hash(adapter)


def test_model_and_adapter_are_one_name_that_follows_both(model: Path, adapter: Path, tmp_path: Path) -> None:
    first = backend(model, adapter=str(adapter)).model_id
    moved = Path(shutil.copytree(model, tmp_path / "elsewhere"))
    assert backend(moved, adapter=str(adapter)).model_id == first
    retrained = tiny_llama(tmp_path / "retrained", seed=9)
    assert backend(retrained, adapter=str(adapter)).model_id != first
    assert backend(model, adapter=str(tiny_adapter(tmp_path / "b", model, seed=2))).model_id != first
    assert backend(model, adapter=str(edit(adapter, lora_alpha=3))).model_id != first


@pytest.mark.parametrize("stabilised", [False, True])
def test_what_is_merged_is_alpha_over_rank_times_b_a(model: Path, tmp_path: Path, stabilised: bool) -> None:
    import torch
    from safetensors.torch import load_file

    adapter = tiny_adapter(tmp_path / "adapter", model, seed=1, rank=4, use_rslora=stabilised)
    plain, merged = loaded(model), loaded(model)
    merge_adapter(merged, adapter)
    weights = load_file(adapter / "adapter_model.safetensors")
    changed = {n.removeprefix("base_model.model.").replace("lora_A.", "") for n in weights if "lora_A" in n}
    after = dict(merged.named_parameters())
    for name, before in plain.named_parameters():
        if name not in changed:
            assert torch.equal(before, after[name])
            continue
        a, b = (weights[f"base_model.model.{name.removesuffix('weight')}lora_{x}.weight"] for x in "AB")
        assert torch.allclose(after[name] - before, b @ a * (16 / 2 if stabilised else 16 / 4), atol=1e-5)


@pytest.mark.skipif(find_spec("peft") is None, reason="peft is not installed")
@pytest.mark.parametrize("stabilised", [False, True])
def test_peft_merges_to_the_same_weights(model: Path, tmp_path: Path, stabilised: bool) -> None:
    import torch
    from peft import PeftModel

    adapter = tiny_adapter(tmp_path / "adapter", model, seed=1, use_rslora=stabilised)
    ours = loaded(model)
    merge_adapter(ours, adapter)
    theirs = dict(PeftModel.from_pretrained(loaded(model), adapter).merge_and_unload().named_parameters())
    assert all(torch.allclose(p, theirs[n], atol=1e-6) for n, p in ours.named_parameters())


def no_weights(adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").unlink()
    (adapter / "other.bin").write_bytes(b"x")


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "another kind": (lambda a: edit(a, peft_type="LOHA"), "peft_type = 'LOHA'"),
    "dora": (lambda a: edit(a, use_dora=True), "use_dora = True"),
    "a changed base": (lambda a: edit(a, init_lora_weights="pissa"), "init_lora_weights = 'pissa'"),
    "whole layers": (lambda a: edit(a, modules_to_save=["lm_head"]), "modules_to_save"),
    "no weights": (no_weights, "no adapter_model.safetensors"),
    "no JSON": (lambda a: (a / "adapter_config.json").write_text("{"), "torn or not JSON"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_merged_is_refused_by_name(model: Path, adapter: Path, fault: str) -> None:
    spoil, words = FAULTS[fault]
    spoil(adapter)
    with pytest.raises(InputError, match=words):
        texts(model, adapter=str(adapter))


def test_an_adapter_of_another_base_is_refused(adapter: Path, tmp_path: Path) -> None:
    narrow = tiny_llama(tmp_path / "narrow", width=32)
    with pytest.raises(InputError, match="an adapter of another base"):
        texts(narrow, adapter=str(adapter))


def test_an_adapter_that_stands_on_nothing_is_named(model: Path, adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"whose base is not there(.|\n)*this folder as `adapter`"):
        backend(edit(adapter, base_model_name_or_path="./gone"))
    with pytest.raises(InputError, match="does not name its base"):
        backend(edit(adapter, base_model_name_or_path=None))
    with pytest.raises(InputError, match="itself an adapter"):
        backend(adapter, adapter=str(adapter))
    with pytest.raises(InputError, match="not an adapter"):
        backend(model, adapter=str(model))


def test_a_base_beside_the_adapter_or_the_recipe_is_found(model: Path, adapter: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "base")
    known = backend(adapter).model_id
    assert backend(edit(adapter, base_model_name_or_path="../base")).model_id == known
    edit(adapter, base_model_name_or_path="base")
    assert open_backend(config(Path("adapter")), beside=tmp_path).model_id == known


def test_a_base_on_the_hub_is_had_at_the_revision_that_the_adapter_names(model: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(name: str, *, revision: str | None, **_: Any) -> str:
        asked.append((name, revision))
        return str(model)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    backend(edit(adapter, base_model_name_or_path="an-org/a-base", revision="v1.2"))
    backend(edit(adapter, base_model_name_or_path="an-org/a-base", revision=None))
    assert asked == [("an-org/a-base", "v1.2"), ("an-org/a-base", None)]


def test_the_tokenizer_of_the_adapter_wins(model: Path, adapter: Path, tmp_path: Path) -> None:
    backwards = "{{ messages[0].content[::-1] }}"
    base = Path(shutil.copytree(model, tmp_path / "base"))
    (base / "chat_template.jinja").write_text(backwards)
    wanted = texts(base, adapter=str(adapter))
    assert wanted != texts(model, adapter=str(adapter))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(model / name, adapter / name)
    (adapter / "chat_template.jinja").write_text(backwards)
    assert texts(model, adapter=str(adapter)) == wanted


def ring(folder: Path, names: list[str], model: Path) -> list[Path]:
    """Adapters of which each names the next as its base, the last one the first."""
    folders = [tiny_adapter(folder / name, model, seed=n) for n, name in enumerate(names)]
    for at, base in zip(folders, [*folders[1:], folders[0]], strict=True):
        edit(at, base_model_name_or_path=str(base))
    return folders


@pytest.mark.parametrize("names", [["a"], ["a", "b"], ["a", "b", "c"]])
@pytest.mark.parametrize("whole", [False, True])
def test_adapters_that_stand_on_themselves_end_in_an_error(model: Path, tmp_path: Path, names: list[str], whole: bool) -> None:
    """Also in folders that hold a whole model besides (`whole`), and through a link."""
    folders = ring(tmp_path, names, model)
    for folder in folders if whole else []:
        shutil.copy(model / "config.json", folder / "config.json")
    (tmp_path / "link").symlink_to(folders[0])
    for folder in (folders[0], tmp_path / "link"):
        with pytest.raises(InputError, match="builds on itself: a on "):
            model_hash(folder)
    with pytest.raises(InputError, match=r"builds on itself|is itself an adapter"):
        _ = backend(folders[0]).model_id


def test_a_tower_of_adapters_ends_in_an_error(model: Path, tmp_path: Path) -> None:
    folders = [tiny_adapter(tmp_path / f"a{n}", model, seed=n) for n in range(10)]
    for at, base in pairwise(folders):
        edit(at, base_model_name_or_path=str(base))
    with pytest.raises(InputError, match="more than 8 deep"):
        model_hash(folders[0])
    assert model_hash(folders[5])


@pytest.mark.parametrize("message", ["[" * 100_000, "[]", '"x"', "nan", "\x80"])
def test_a_configuration_that_is_none(adapter: Path, message: str) -> None:
    (adapter / "adapter_config.json").write_bytes(message.encode("latin-1"))
    with pytest.raises(InputError, match="JSON"):
        model_hash(adapter)


@pytest.mark.parametrize("keys", [{"lora_alpha": None}, {"lora_alpha": "8"}, {"lora_alpha": [1]}])
def test_a_scale_that_is_no_number(model: Path, adapter: Path, keys: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="lora_alpha"):
        merge_adapter(loaded(model), edit(adapter, **keys))
