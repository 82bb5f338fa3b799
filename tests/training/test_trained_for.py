"""What a model was trained for is in its folder, and asking it in other words is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from shardfolders import TINY, sft_rows, turn

from toolkit.common.errors import InputError
from toolkit.common.models import model_hash, trained_for
from toolkit.generation import TransformersConfig, open_backend
from toolkit.guards import Guard, input_fingerprint, load_guard
from toolkit.operators.base import Context
from toolkit.operators.judge.sample import Sample
from toolkit.operators.reason.synthesise import Synthesise
from toolkit.shards import ShardWriter
from toolkit.taxonomy import load_taxonomy
from toolkit.training import SftConfig, train_sft

GUARD = load_guard("guardreasoner")
Write = Callable[..., Path]
Tiny = tuple[Path, dict[str, Any]]


@pytest.fixture
def guard_folder(tiny: Tiny, tmp_path: Path) -> Path:
    """A copy of the trained model that says that it was trained for GUARD."""
    folder = Path(shutil.copytree(tiny[0], tmp_path / "guard"))
    stated = {**(trained_for(folder) or {}), "guard": "guardreasoner 1", "input": input_fingerprint(GUARD)}
    (folder / "guardkit.json").write_text(json.dumps(stated))
    return folder


def opened(folder: Path, guard: Guard = GUARD, judges: bool = True, **more: Any) -> Any:
    config = TransformersConfig.model_validate({"backend": "transformers", "model": str(folder), **more})
    return open_backend(config, guard=guard, judges=judges)


def test_a_training_writes_what_the_shards_say(write_sft: Write, tmp_path: Path) -> None:
    import polars as pl

    from toolkit.records import Column

    rows = pl.DataFrame([{k: r[k] for k in ("prompt", "completion", "id")} for r in sft_rows(8)]).with_columns(
        source=pl.lit("s"), licence=pl.lit("CC0-1.0")
    )
    messages = {"list": {"struct": {"role": "string", "content": "string"}}}
    columns = tuple(Column(name=n, type=messages if n in ("prompt", "completion") else "string", nullable=False) for n in rows.columns)
    writer = ShardWriter(tmp_path / "shards", columns, 1000)
    writer.write(rows, "train")
    writer.finish({"guard": "g 1", "guard_input": "abc"})
    train_sft(
        tmp_path / "shards", tmp_path / "model", SftConfig.model_validate({"model": {"scratch": TINY}, "trainer": {"max_steps": 1}, "threads": 1})
    )
    found = trained_for(tmp_path / "model")
    assert found is not None
    assert (found["guard"], found["input"], found["prompts"]) == ("g 1", "abc", {"looked_at": 8, "cut": 0})
    assert len(found["chat_template"]) == 64


def test_the_guard_that_it_was_trained_for_is_asked(guard_folder: Path, tiny: Tiny) -> None:
    assert opened(guard_folder).model_id == model_hash(tiny[0]), "what it was trained for shapes no answer"
    reworded = GUARD.model_copy(update={"description": "said otherwise", "version": 99})
    opened(guard_folder, reworded)
    opened(tiny[0])  # its shards named no guard: nothing to compare with


@pytest.mark.parametrize("part", ["instruction", "input", "context"])
def test_another_input_is_refused_by_name(guard_folder: Path, part: str) -> None:
    other = GUARD.model_copy(update={"name": "another", part: getattr(GUARD, part) + " "})
    with pytest.raises(InputError, match=r"trained for the guard guardreasoner 1 .* asked as another(.|\n)*check_training: false"):
        opened(guard_folder, other)
    opened(guard_folder, other, judges=False)  # as a teacher it may be asked anything
    assert opened(guard_folder, other, check_training=False).model_id == opened(guard_folder).model_id


def test_a_recipe_checks_the_guards_that_it_samples_and_not_its_teacher(guard_folder: Path) -> None:
    other = GUARD.model_copy(update={"instruction": "Judge."})
    ctx = Context(other, load_taxonomy("guardkit"), 0, "s", Path())
    backend = {"backend": "transformers", "model": str(guard_folder)}
    [(_, judge)] = Sample(Sample.config_class.model_validate({"k": 1, "models": {"main": backend}})).open(ctx, {})
    with pytest.raises(InputError, match="trained for the guard"):
        judge()
    [(_, teacher)] = Synthesise(Synthesise.config_class.model_validate({"backend": backend})).open(ctx, {})
    assert teacher().model_id == model_hash(guard_folder)


def test_another_chat_template_is_refused(guard_folder: Path) -> None:
    file = guard_folder / "chat_template.jinja"
    file.write_text(file.read_text() + "{# #}")
    with pytest.raises(InputError, match=r"trained with the chat template [0-9a-f]{12}, and now has [0-9a-f]{12}"):
        opened(guard_folder)


def test_a_model_that_another_program_trained_passes(guard_folder: Path) -> None:
    (guard_folder / "guardkit.json").unlink()
    opened(guard_folder, GUARD.model_copy(update={"instruction": "Judge."}))
    (guard_folder / "guardkit.json").write_text("{")
    with pytest.raises(InputError, match=r"guardkit.json: torn or not JSON"):
        opened(guard_folder)


def test_a_template_that_asks_in_other_words_than_it_trains_is_refused_before_training(write_sft: Write, tiny: Tiny, tmp_path: Path) -> None:
    thinks = (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}assistant: <think>{% endif %}"
    )
    rows = [{**r, "prompt": turn("user", "peas"), "completion": turn("assistant", "garden")} for r in sft_rows(4)]
    config = SftConfig(model=str(tiny[0]), chat_template=thinks, trainer={"max_steps": 1}, threads=1)
    with pytest.raises(InputError, match=r"trained on .*garden.* and asked with .*<think>"):
        train_sft(write_sft(rows), tmp_path / "out", config)
    assert not (tmp_path / "out").exists()
