"""A model's name is what it is, not where it is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toolkit.common.errors import InputError
from toolkit.common.models import model_hash

Tiny = tuple[Path, dict[str, Any]]


def edit(file: str, change: Callable[[Any], None]) -> Callable[[Path], object]:
    def apply(folder: Path) -> None:
        value = json.loads((folder / file).read_text())
        change(value)
        (folder / file).write_text(json.dumps(value, indent=4))

    return apply


def one_bit(folder: Path) -> None:
    raw = bytearray((folder / "model.safetensors").read_bytes())
    raw[-1] ^= 1
    (folder / "model.safetensors").write_bytes(raw)


def adapter(rank: int) -> Callable[[Path], object]:
    return lambda folder: (folder / "adapter_config.json").write_text(json.dumps({"r": rank, "base_model_name_or_path": "hub/base"}))


def checkpoint(folder: Path) -> None:
    (folder / "checkpoint-5").mkdir()
    (folder / "checkpoint-5" / "model.safetensors").write_bytes(b"x")


SHAPES_OUTPUTS: dict[str, Callable[[Path], object]] = {
    "weights": one_bit,
    "vocabulary": edit("tokenizer.json", lambda v: v["model"]["merges"].pop()),
    "tokenizer settings": edit("tokenizer_config.json", lambda v: v.update(padding_side="right")),
    "configuration": edit("config.json", lambda v: v.update(rms_norm_eps=1e-5)),
    "generation configuration": edit("generation_config.json", lambda v: v.update(temperature=0.5)),
    "chat template": lambda folder: (folder / "chat_template.jinja").write_text("{{ messages[0].content }}"),
    "code": lambda folder: (folder / "modeling_own.py").write_text("x = 1"),
    "adapter": adapter(8),
}
SHAPES_NOTHING: dict[str, Callable[[Path], object]] = {
    "times": lambda folder: os.utime(folder / "model.safetensors", (1, 1)),
    "readme": lambda folder: (folder / "README.md").write_text("a card"),
    "trainer's arguments": lambda folder: (folder / "training_args.bin").write_bytes(b"x"),
    "a checkpoint": checkpoint,
    "hidden files": lambda folder: (folder / ".gitattributes").write_text("x"),
    "library version": edit("config.json", lambda v: v.update(transformers_version="4.0", _name_or_path="/somewhere")),
    "order and layout of JSON": edit("config.json", lambda v: v.update(model_type=v.pop("model_type"))),
}


@pytest.fixture
def copy(tiny: Tiny, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny[0], tmp_path / "deep" / "other-name"))


def test_a_copy_elsewhere_is_the_same_model(tiny: Tiny, copy: Path) -> None:
    assert model_hash(copy) == model_hash(tiny[0]) == model_hash(str(copy) + "/")
    assert len(model_hash(copy)) == 64


@pytest.mark.parametrize("part", SHAPES_OUTPUTS)
def test_what_shapes_outputs_makes_another_model(tiny: Tiny, copy: Path, part: str) -> None:
    SHAPES_OUTPUTS[part](copy)
    assert model_hash(copy) != model_hash(tiny[0])


@pytest.mark.parametrize("part", SHAPES_NOTHING)
def test_what_shapes_nothing_does_not(tiny: Tiny, copy: Path, part: str) -> None:
    SHAPES_NOTHING[part](copy)
    assert model_hash(copy) == model_hash(tiny[0])


def test_an_adapter_is_named_with_its_base_wherever_that_lies(tiny: Tiny, copy: Path, tmp_path: Path) -> None:
    def folder(name: str, base: Path) -> Path:
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_config.json").write_text(json.dumps({"r": 8, "base_model_name_or_path": str(base)}))
        (tmp_path / name / "adapter_model.safetensors").write_bytes(b"weights")
        return tmp_path / name

    one, two = folder("one", tiny[0]), folder("two", copy)
    assert model_hash(one) == model_hash(two)
    one_bit(copy)
    assert model_hash(one) != model_hash(two)


def test_what_is_no_model_is_refused(tmp_path: Path, copy: Path) -> None:
    with pytest.raises(InputError, match="no such model folder"):
        model_hash(tmp_path / "gone")
    with pytest.raises(InputError, match="not a model folder"):
        model_hash(tmp_path)
    (copy / "model.safetensors").unlink()
    with pytest.raises(InputError, match="without weights"):
        model_hash(copy)


def test_hashing_loads_no_torch(copy: Path) -> None:
    code = f"import sys; from toolkit.common.models import model_hash; model_hash({str(copy)!r}); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"
