"""Which folder a training may replace: a model that guardkit trained, and nothing that somebody put into it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from toolkit.common.errors import InputError
from toolkit.common.files import tree_digests
from toolkit.common.folders import check_own, new_folder
from toolkit.common.models import MODEL, TRAINED

STATED: dict[str, Any] = {"guard": None, "input": None, "chat_template": "0" * 64, "prompts": {}}


def model(folder: Path, listed: bool = True) -> Path:
    """A model's folder; without a list of its files as an earlier version wrote it."""
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"):
        (folder / name).write_text(name)
    (folder / TRAINED).write_text(json.dumps(STATED | ({"files": tree_digests(folder)} if listed else {})))
    return folder


@pytest.mark.parametrize("listed", [True, False], ids=["listed", "earlier"])
def test_a_model_that_guardkit_trained_may_be_replaced(tmp_path: Path, listed: bool) -> None:
    folder = model(tmp_path / "m", listed)
    check_own(folder, MODEL)
    with new_folder(folder, MODEL) as new:
        (new / "weights").write_text("new")
    assert [path.name for path in folder.iterdir()] == ["weights"]


@pytest.mark.parametrize("listed", [True, False], ids=["listed", "earlier"])
@pytest.mark.parametrize("name", ["notes.txt", "src/thesis.txt", "config.json", ".env", "checkpoint-3/model.safetensors"])
def test_what_somebody_put_into_it_or_changed_is_named(tmp_path: Path, listed: bool, name: str) -> None:
    folder = model(tmp_path / "m", listed)
    later = (folder / TRAINED).stat().st_mtime + 5
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("mine")
    os.utime(folder / name, (later, later))
    with pytest.raises(InputError, match=name.replace(".", r"\.")) as e:
        check_own(folder, MODEL, where="sft.yaml:3")
    assert e.value.where == "sft.yaml:3" and str(folder) in e.value.message and (folder / name).read_text() == "mine"


@pytest.mark.parametrize("message", [None, "[]", "{", '{"my": "web app"}'])
def test_a_config_json_makes_no_model_of_guardkits(tmp_path: Path, message: str | None) -> None:
    (tmp_path / "webapp" / "src").mkdir(parents=True)
    (tmp_path / "webapp" / "config.json").write_text('{"my": "web app"}')
    (tmp_path / "webapp" / "src" / "thesis.txt").write_text("precious")
    if message is not None:
        (tmp_path / "webapp" / TRAINED).write_text(message)
    with pytest.raises(InputError, match="not empty, and no model folder that guardkit made"):
        check_own(tmp_path / "webapp", MODEL)
