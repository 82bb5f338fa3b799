"""Guards that see and hear: trained on pictures and sounds by the architectures' own classes, sampled, and refused where a file is not what it was."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from mediashards import ASKED, DARK, LIGHT, media_rows, picture, reference, sound, write_media
from shardfolders import SFT, sft_rows, turn, write

from toolkit.common.errors import InputError
from toolkit.generation import Completion, TransformersConfig, attached, build_request, complete, open_backend
from toolkit.guards import Guard
from toolkit.records import Media
from toolkit.training import DpoConfig, GrpoConfig, SftConfig, train_dpo, train_grpo, train_sft

SIZES = {"layers": 2, "width": 32, "heads": 2, "vocab": 400, "max_length": 160}


@dataclass
class Seeing:
    """A guard that was trained on media: where its files and shards are, and the metrics of its training."""

    architecture: str
    top: Path
    metrics: dict[str, Any]

    @property
    def folder(self) -> Path:
        return self.top / "model"

    @property
    def hears(self) -> bool:
        return self.architecture == "qwen2_5_omni"

    def answers(self, *questions: tuple[str, list[dict[str, Any]]], **more: Any) -> list[Completion]:
        """What it writes to texts with files."""
        shaping = {"backend": "transformers", "model": str(self.folder), "max_tokens": 12, "device": "cpu", "batch": 8, **more}
        config = TransformersConfig.model_validate(shaping)
        backend = open_backend(config)
        requests = [
            build_request(backend, config, turn("user", text), media=attached([Media(**m) for m in media], self.top)) for text, media in questions
        ]
        try:
            found = {c.key: c for c in complete(requests, backend, None)}
        finally:
            backend.close()
        return [found[r.key] for r in requests]


ARCHITECTURES = ["qwen2_5_vl", "qwen3_vl", "qwen2_5_omni"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Seeing]:
    @cache
    def train(architecture: str) -> Seeing:
        top = tmp_path_factory.mktemp(architecture)
        shards = write_media(top / "shards", media_rows(top, 32, sounds=architecture == "qwen2_5_omni"), top)
        trainer = {"max_steps": 50, "learning_rate": 1e-2, "per_device_train_batch_size": 8, "warmup_steps": 2}
        config = SftConfig.model_validate({"model": {"scratch": {"architecture": architecture, **SIZES}}, "trainer": trainer, "threads": 1})
        return Seeing(architecture, top, train_sft(shards, top / "model", config))

    return train


@pytest.fixture(params=ARCHITECTURES)
def seeing(request: pytest.FixtureRequest, trained: Callable[[str], Seeing]) -> Seeing:
    return trained(request.param)


@pytest.fixture
def one(trained: Callable[[str], Seeing]) -> Seeing:
    return trained("qwen2_5_vl")


def test_it_answers_by_what_it_is_shown(seeing: Seeing) -> None:
    files = [(shade, reference(seeing.top, f"new-{shade}.png", picture(shade, 3, (50, 44)))) for shade in (LIGHT, DARK)]
    if seeing.hears:
        files += [(shade, reference(seeing.top, f"new-{shade}.wav", sound(shade, 3, 0.25))) for shade in (LIGHT, DARK)]
    found = seeing.answers(*((ASKED, [one]) for _, one in files), (f"{ASKED} It is dark.", []))
    assert [c.text for c in found] == [f"Answers: {shade}" for shade, _ in files] + ["Answers: dark"]


def test_what_it_is_asked_and_writes_is_what_transformers_makes_of_it(seeing: Seeing, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    import transformers
    from PIL import Image

    name = {"qwen2_5_vl": "Qwen2_5_VLProcessor", "qwen3_vl": "Qwen3VLProcessor", "qwen2_5_omni": "Qwen2_5OmniProcessor"}[seeing.architecture]
    make: Any = getattr(transformers, name)
    monkeypatch.setattr(make, "check_argument_for_proper_class", lambda *_: None)

    class NoVideos:  # transformers' own needs torchvision
        merge_size = 2

    where = str(seeing.folder)
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(where)
    parts = {"image_processor": transformers.AutoImageProcessor.from_pretrained(where, backend="pil"), "video_processor": NoVideos()}
    if seeing.hears:
        parts["feature_extractor"] = transformers.AutoFeatureExtractor.from_pretrained(where)
    processor = make(**parts, tokenizer=tokenizer, chat_template=tokenizer.chat_template)
    model: Any = transformers.AutoModelForImageTextToText.from_pretrained(where).eval()
    sets = [["wide.png"], ["tall.png", "wide.png"], [], *([["low.wav"], ["low.wav", "wide.png"]] if seeing.hears else [])]
    data = {"wide.png": picture(LIGHT, 1, (150, 60)), "tall.png": picture(DARK, 1, (30, 70)), "low.wav": sound(DARK, 1, 0.5)}
    held = {n: reference(seeing.top, n, d) for n, d in data.items()}
    texts = [f"{ASKED} {'and more ' * i}" for i in range(len(sets))]
    ours = seeing.answers(*((text, [held[n] for n in names]) for text, names in zip(texts, sets, strict=True)))
    for text, names, our in zip(texts, sets, ours, strict=True):
        content = [{"type": held[n]["kind"]} for n in names] + [{"type": "text", "text": text}]
        asked = processor.apply_chat_template([{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True)
        images = [Image.open(io.BytesIO(data[n])) for n in names if n.endswith("png")] or None
        sounds = {"audio": [_wave(data[n]) for n in names if n.endswith("wav")]} if any(n.endswith("wav") for n in names) else {}
        inputs = processor(text=[asked], images=images, return_tensors="pt", **sounds)
        inputs.pop("token_type_ids", None)
        length = inputs["input_ids"].shape[1]
        with torch.inference_mode():
            written = model.generate(**inputs, max_new_tokens=12, do_sample=False)[0, length:]
        assert (our.prompt_tokens, our.text) == (length, tokenizer.decode(written, skip_special_tokens=True))


def _wave(data: bytes) -> Any:
    from toolkit.generation._media_processor import decode_sound

    return decode_sound(data, 16_000)


def test_draws_of_one_picture_are_not_those_of_another(one: Seeing) -> None:
    files = [reference(one.top, f"again-{n}.png", picture(shade, n)) for n, shade in enumerate((LIGHT, DARK))]
    together = one.answers(*((ASKED, [file]) for file in files), temperature=1.0, seed=3)
    apart = [one.answers((ASKED, [file]), temperature=1.0, seed=3, batch=1)[0] for file in files]
    assert [c.text for c in together] == [c.text for c in apart]


def test_a_file_that_is_gone_or_of_another_kind_costs_its_request(one: Seeing) -> None:
    gone = {**reference(one.top, "gone.png", picture(LIGHT, 9)), "sha256": "0" * 64}
    clip = {"kind": "audio", "uri": "new.wav", "sha256": "0" * 64, "mime": "audio/wav"}
    first, second = one.answers((ASKED, [gone]), (ASKED, [clip]))
    assert first.error == second.error == "media" and str(first.detail).startswith("gone.png ")
    assert "takes text, image" in str(second.detail)


def test_shards_that_refer_to_files_train_as_those_that_hold_them(one: Seeing, tmp_path: Path) -> None:
    rows = media_rows(one.top, 8, sounds=one.hears)
    losses = []
    for name, files in (("held", one.top), ("referred", None)):
        config = SftConfig(model=str(one.folder), media=str(one.top), trainer={"max_steps": 1, "per_device_train_batch_size": 8}, threads=1)
        found = train_sft(write_media(tmp_path / name, rows, files), tmp_path / f"{name}-out", config)
        losses.append(found["loss_first"])
        assert (tmp_path / f"{name}-out" / "preprocessor_config.json").read_bytes() == (one.folder / "preprocessor_config.json").read_bytes()
    assert losses[0] == losses[1]


def test_rows_of_text_have_the_loss_that_they_have_without_media(one: Seeing, tmp_path: Path) -> None:
    rows = sft_rows(8)
    shards = [write(tmp_path / "plain", rows, SFT), write_media(tmp_path / "with", [{**row, "media": []} for row in rows])]
    config = SftConfig(model=str(one.folder), trainer={"max_steps": 1, "per_device_train_batch_size": 8}, threads=1)
    first, second = (train_sft(folder, tmp_path / f"{folder.name}-out", config) for folder in shards)
    assert first["loss_first"] == second["loss_first"] and first["tokens"] == second["tokens"]


def test_tokens_of_pictures_count_towards_the_length(one: Seeing, tmp_path: Path) -> None:
    rows = media_rows(tmp_path, 8)
    large = reference(tmp_path, "large.png", picture(DARK, 0, (112, 112)))
    rows[0] |= {"media": [large, large]}
    shards = write_media(tmp_path / "shards", rows, tmp_path)
    longest = max(one.metrics["tokens"] // (50 * 8), 1) + 20
    config = SftConfig(model=str(one.folder), too_long=0.2, trainer={"max_steps": 1, "max_length": longest}, threads=1)
    found = train_sft(shards, tmp_path / "out", config)
    assert found["dropped"] == {"too_long": {"count": 1, "ids": ["row-0"]}}, "two pictures of 16 tokens each"


def test_a_file_that_cannot_be_trained_on_is_named_with_its_row(one: Seeing, tmp_path: Path) -> None:
    rows = media_rows(tmp_path, 4)
    config = SftConfig(model=str(one.folder), media=str(tmp_path), trainer={"max_steps": 1}, threads=1)
    (tmp_path / "1.png").write_bytes(picture(LIGHT, 7))
    with pytest.raises(InputError, match=r"1\.png is not the file of its row") as changed:
        train_sft(write_media(tmp_path / "a", rows), tmp_path / "out", config)
    assert changed.value.where == "row row-1" and str(tmp_path) in str(changed.value.hint)
    (tmp_path / "1.png").unlink()
    with pytest.raises(InputError, match="is not there"):
        train_sft(write_media(tmp_path / "a", rows), tmp_path / "out", config)
    rows[0]["media"] = [reference(tmp_path, "0.wav", sound(DARK, 0))]
    with pytest.raises(InputError, match=r"0\.wav is of the kind audio, and .* takes text, image"):
        train_sft(write_media(tmp_path / "a", rows), tmp_path / "out", config)
    assert not (tmp_path / "out").exists()


def test_a_model_of_text_alone_refuses_media(tiny: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    shards = write_media(tmp_path / "a", media_rows(tmp_path, 4), tmp_path)
    with pytest.raises(InputError, match="takes text alone") as e:
        train_sft(shards, tmp_path / "out", SftConfig(model=str(tiny[0]), trainer={"max_steps": 1}, threads=1))
    assert e.value.where == "row row-0"


def test_packs_and_media_do_not_go_together(one: Seeing, tmp_path: Path) -> None:
    config = SftConfig(model=str(one.folder), trainer={"max_steps": 1, "packing": True}, threads=1)
    with pytest.raises(InputError, match="do not go with packing"):
        train_sft(one.top / "shards", tmp_path / "out", config)


def test_pairs_about_pictures_are_preferred_by_what_is_shown(trained: Callable[[str], Seeing], tmp_path: Path) -> None:
    guard = trained("qwen2_5_omni")
    rows = [
        {**row, "chosen": turn("assistant", f"Answers: {DARK if i % 2 else LIGHT}"), "rejected": row["completion"], "weight": 1.0, "task": "shown"}
        for i, row in enumerate(media_rows(guard.top, 6, sounds=guard.hears))
    ]
    shards = write_media(tmp_path / "pairs", rows, guard.top, pairs=True)
    losses = []
    for precomputed in (True, False):
        trainer = {"max_steps": 2, "gradient_accumulation_steps": 1, "per_device_train_batch_size": 6, "learning_rate": 1e-3, "beta": 0.5}
        config = DpoConfig(model=str(guard.folder), trainer={**trainer, "precompute_ref_log_probs": precomputed}, threads=1)
        found = train_dpo(shards, tmp_path / f"out-{precomputed}", config)
        losses.append([found["loss_first"], found["loss_last"]])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4) and losses[0][1] < losses[0][0]


GUARD = Guard.model_validate(
    {
        "name": "shown",
        "version": 1,
        "description": "Says what is shown.",
        "tasks": [{"name": "shown", "labels": [LIGHT, DARK], "positive": DARK}],
        "calls": [{"name": "shown", "tasks": ["shown"], "messages": [{"role": "user", "content": "{{ prompt }}"}]}],
        "grammar": {"answers": [{"task": "shown", "field": "Answers", "words": {LIGHT: LIGHT, DARK: DARK}}]},
    }
)


@pytest.mark.parametrize("architecture", ["qwen3_vl", "qwen2_5_omni"])
def test_answers_are_drawn_and_scored_with_the_files_of_their_rows(
    architecture: str, trained: Callable[[str], Seeing], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from toolkit.training import _grpo_trainer as module

    scored: list[list[float]] = []
    score = module.GuardGrpo._get_per_token_logps_and_entropies

    def scoring(*args: Any, **kwargs: Any) -> Any:
        found = score(*args, **kwargs)
        scored.append(found[0].detach().sum(1).tolist())
        return found

    monkeypatch.setattr(module.GuardGrpo, "_get_per_token_logps_and_entropies", scoring)
    guard = trained(architecture)
    rows = [{**row, "label_shown": DARK if i % 2 == 0 else LIGHT} for i, row in enumerate(media_rows(guard.top, 8, sounds=guard.hears))]
    rows[0] |= {"media": [*rows[0]["media"], *rows[0]["media"]]}
    shards = write_media(tmp_path / "rl", rows, guard.top, also=["label_shown"])
    trainer: dict[str, Any] = {"max_steps": 2, "per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "num_generations": 2}
    trainer |= {"max_completion_length": 12, "learning_rate": 1e-9, "temperature": 2.0}
    formula = {"name": "mine", "accuracy": 1.0}
    options = {"model": str(guard.folder), "formula": formula, "trainer": trainer, "threads": 1, "most_cut": 1, "generate_every": 2}
    found = train_grpo(shards, tmp_path / "out", GrpoConfig.model_validate(options), guard=GUARD)
    assert found["rows_used"] == 8 and len(scored) == 3
    assert sorted(scored[1] + scored[2]) == pytest.approx(sorted(scored[0]), abs=1e-3), "shuffled, and as they were when drawn"


def test_an_adapter_is_trained_on_what_is_shown_and_sampled_on_its_base(one: Seeing, tmp_path: Path) -> None:
    shards = write_media(tmp_path / "shards", media_rows(tmp_path, 8), tmp_path)
    options = {"model": str(one.folder), "lora": {"rank": 4, "merge": False}, "trainer": {"max_steps": 1}, "threads": 1}
    found = train_sft(shards, tmp_path / "adapter", SftConfig.model_validate(options))
    assert found["parameters_trained"] < found["parameters"] / 4
    asked = (ASKED, [reference(one.top, "shown.png", picture(DARK, 5))])
    assert [c.text for c in one.answers(asked, model=str(tmp_path / "adapter"))] == ["Answers: dark"]
