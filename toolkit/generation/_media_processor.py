"""What a model that sees or hears is given of pictures and sounds: the arrays of its own processors, and the tokens that stand for them.

Models, by the ``model_type`` of their configuration: Qwen2-VL, Qwen2.5-VL and Qwen3-VL (pictures), the thinker of Qwen2.5-Omni (pictures and sounds).
Pictures go through transformers' image processor of the architecture in its Pillow form, which needs no torchvision; sounds, decoded by PyAV, through
its feature extractor. A chat template writes one placeholder for a file; in the tokens it is there as often as the file has features
(`toolkit.generation.Chat` repeats it), as transformers' processors of these models count them: height x width of the grid of patches over the square
of the processor's merge size for a picture, what is left of its frames after two halvings for a sound.

Failure semantics: `BadMedia` for a file that cannot be decoded, has a side more than 200 times the other, or lasts longer than the model hears.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from toolkit.common.errors import InputError, require
from toolkit.common.mediafiles import open_image
from toolkit.common.mediatypes import BadMedia

if TYPE_CHECKING:
    import numpy as np
    import torch

TAKES: Mapping[str, tuple[str, ...]] = {
    "qwen2_vl": ("image",),
    "qwen2_5_vl": ("image",),
    "qwen3_vl": ("image",),
    "qwen2_5_omni_thinker": ("image", "audio"),
}
"""Kinds of media that models take, by the ``model_type`` of their configuration."""

_CLASSES = {
    "qwen2_vl": "Qwen2VLProcessor",
    "qwen2_5_vl": "Qwen2_5_VLProcessor",
    "qwen3_vl": "Qwen3VLProcessor",
    "qwen2_5_omni_thinker": "Qwen2_5OmniProcessor",
}
_FILES = ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json")


class Place(NamedTuple):
    """What stands for a file in a prompt: its kind, the token, and how often it is there."""

    kind: str
    token: int
    times: int


class Prepared(NamedTuple):
    """A file as its model takes it. `key` tells it from others."""

    key: str
    kind: str
    arrays: Mapping[str, Any]

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return sum(int(array.nbytes) for array in self.arrays.values())


class MediaProcessor:
    """The processors of one model.

    Args:
        config: of the model.
        images: transformers' image processor.
        sounds: its feature extractor; None for a model that does not hear.
        folder: where they came from; None where they are new.
    """

    def __init__(self, config: Any, images: Any, sounds: Any = None, folder: Path | None = None) -> None:
        self.config, self._images, self._sounds, self._folder = config, images, sounds, folder
        self.kinds: tuple[str, ...] = TAKES[config.model_type]
        """Kinds of media that the model takes."""

    @property
    def marks(self) -> list[int]:
        """Tokens that stand for files or around them: where a model writes one, there is no file."""
        kinds = ("image", "video", "audio", "vision_start", "vision_end", "audio_start", "audio_end")
        return [int(token) for kind in kinds if (token := getattr(self.config, f"{kind}_token_id", None)) is not None]

    def place(self, kind: str, data: bytes) -> Place:
        """What stands for a file; of a picture its header alone is read (BadMedia)."""
        if kind == "audio":
            frames = int(self._heard(data)["feature_attention_mask"].sum())
            return Place(kind, self.config.audio_token_id, ((frames - 1) // 2 + 1 - 2) // 2 + 1)
        with open_image(data) as image:
            width, height = image.size
            if image.getexif().get(0x0112, 1) >= 5:  # turned by a quarter when it is shown
                width, height = height, width
        _check_sides(width, height)
        patches: int = self._images.get_number_of_image_patches(height, width)
        return Place(kind, self.config.image_token_id, patches // self._images.merge_size**2)

    def prepare(self, kind: str, data: bytes, key: str) -> Prepared:
        """A file as the model takes it (BadMedia)."""
        return Prepared(key, kind, self._heard(data) if kind == "audio" else self._seen(data))

    def inputs(self, ids: torch.Tensor, files: Sequence[Prepared]) -> dict[str, torch.Tensor]:
        """What the model gets beside tokens and mask: of the files of all rows, in the order of rows and files.

        Args:
            ids: (B, L), with the placeholders.
            files: of these rows.

        Returns:
            ``pixel_values``, ``image_grid_thw``, ``mm_token_type_ids`` (B, L) where there are pictures; ``input_features``,
            ``feature_attention_mask`` where there are sounds; nothing where there are no files.
        """
        import torch

        out: dict[str, torch.Tensor] = {}
        names = dict.fromkeys(name for file in files for name in file.arrays)
        for name in names:
            parts = [torch.from_numpy(file.arrays[name]) for file in files if name in file.arrays]
            out[name] = torch.cat(parts).to(ids.device)
        if "pixel_values" in out and not self._hears:
            out["mm_token_type_ids"] = (ids == self.config.image_token_id).int()
        return out

    def positions(self, model: Any, ids: torch.Tensor, mask: torch.Tensor, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor | None:
        """Positions in time, height and width, (3, B, L), of rows with pictures; None for rows without, whose three are those of text."""
        if "image_grid_thw" not in inputs:
            return None
        if self._hears:
            heard = inputs.get("feature_attention_mask")
            lengths = None if heard is None else heard.sum(-1)
            found: Any = model.get_rope_index(ids, inputs["image_grid_thw"], None, mask, False, lengths)
        else:
            found = model.model.get_rope_index(ids, inputs["mm_token_type_ids"], image_grid_thw=inputs["image_grid_thw"], attention_mask=mask)
        places: torch.Tensor = found[0]
        return places

    def save(self, folder: Path) -> None:
        """Write them beside a model, as transformers reads them: ``preprocessor_config.json``, or the files that they came from."""
        kept = [self._folder / name for name in _FILES if (self._folder / name).is_file()] if self._folder is not None else []
        for file in kept:
            shutil.copyfile(file, folder / file.name)
        if kept:
            return
        settings = {**(self._sounds.to_dict() if self._hears else {}), **self._images.to_dict()}
        settings |= {"image_processor_type": type(self._images).__name__.removesuffix("Pil"), "processor_class": _CLASSES[self.config.model_type]}
        if self._hears:
            settings["feature_extractor_type"] = type(self._sounds).__name__
        text = json.dumps(settings, indent=2, sort_keys=True, default=str)
        (folder / _FILES[0]).write_text(text + "\n", encoding="utf-8")

    @property
    def _hears(self) -> bool:
        return self._sounds is not None

    def _seen(self, data: bytes) -> dict[str, np.ndarray[Any, Any]]:
        from PIL import ImageOps

        with open_image(data) as image:
            _check_sides(*image.size)
            try:
                shown = ImageOps.exif_transpose(image).convert("RGB")
            except Exception as e:  # noqa: BLE001  a decoder meets data of strangers: whatever it raises, the file is none that it reads
                raise BadMedia("media_unreadable", f"it cannot be decoded: {str(e)[:120]}") from None
        found = self._images(images=[shown], return_tensors="np")
        return {name: found[name] for name in ("pixel_values", "image_grid_thw")}

    def _heard(self, data: bytes) -> dict[str, np.ndarray[Any, Any]]:
        rate = int(self._sounds.sampling_rate)
        wave = decode_sound(data, rate)
        if len(wave) > self._sounds.n_samples:
            raise BadMedia("media_over_budget", f"it lasts {len(wave) / rate:.1f} s, and the model hears {self._sounds.n_samples / rate:g} s")
        if len(wave) < 2 * self._sounds.n_fft:
            wave = _filled(wave, 2 * self._sounds.n_fft)
        found = self._sounds(wave, sampling_rate=rate, padding="max_length", return_attention_mask=True, return_tensors="np")
        return {"input_features": found["input_features"], "feature_attention_mask": found["attention_mask"].astype("int64")}


def media_processor(config: Any, name: str, revision: str | None = None) -> MediaProcessor | None:
    """The processors of a model; None for one that takes text alone.

    Args:
        config: its configuration.
        name: its folder or hub name.
        revision: on the hub.

    Raises:
        InputError: it has none that transformers can load; Missing: without Pillow, or PyAV for sounds.
    """
    kinds = TAKES.get(config.model_type, ())
    if not kinds:
        return None
    require("PIL", "media", "pictures")
    from transformers import AutoFeatureExtractor, AutoImageProcessor

    try:
        load: Any = AutoImageProcessor
        images = load.from_pretrained(name, backend="pil", revision=revision, trust_remote_code=False)
        load = AutoFeatureExtractor
        sounds = load.from_pretrained(name, revision=revision, trust_remote_code=False) if "audio" in kinds else None
    except (OSError, ValueError, ImportError) as e:
        first = str(e).strip().split("\n")[0][:300]
        raise InputError(f"transformers cannot load the processors of this model: {first}", where=name) from None
    folder = Path(name)
    return MediaProcessor(config, images, sounds, folder if folder.is_dir() else None)


def decode_sound(data: bytes, rate: int) -> np.ndarray[Any, Any]:
    """A sound as one channel of float32 between -1 and 1, `rate` of them a second.

    Raises:
        BadMedia: it has no sound, or none that PyAV decodes; Missing: without PyAV.
    """
    require("av", "media", "decoding sounds")
    import av
    import numpy as np

    try:
        opened: Any = av.open(io.BytesIO(data))
        with opened as container:
            if not container.streams.audio:
                raise BadMedia("media_unreadable", "it holds no sound")
            resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
            frames = [new for frame in container.decode(audio=0) for new in resampler.resample(frame)]
            frames += resampler.resample(None)
            parts = [frame.to_ndarray().reshape(-1) for frame in frames]
    except BadMedia:
        raise
    except Exception as e:  # noqa: BLE001  a decoder meets data of strangers: whatever it raises, the file is none that it reads
        raise BadMedia("media_unreadable", f"it cannot be decoded: {str(e)[:120]}") from None
    return np.concatenate(parts).astype(np.float32) if parts else np.zeros(0, dtype=np.float32)


def _filled(wave: np.ndarray[Any, Any], length: int) -> np.ndarray[Any, Any]:
    import numpy as np

    return np.pad(wave, (0, length - len(wave)))


def _check_sides(width: int, height: int) -> None:
    if max(width, height) > 200 * min(width, height):
        raise BadMedia("media_over_budget", f"one side is more than 200 times the other: {width:,} x {height:,} pixels")
