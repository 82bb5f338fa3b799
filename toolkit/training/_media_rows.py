"""Rows with pictures and sounds in a training: what stands for their files in a prompt, and what the model gets of them in a batch.

Shards hold the bytes of files (``media: embed``) or say where they are; either way they must be those of the sha256 in the row, at the beginning,
when every file is looked at once, as whenever one is decoded. It is decoded when its batch is made; `_KEPT` bytes of what came last are kept.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError
from toolkit.common.mediafiles import read_whole
from toolkit.common.mediatypes import BadMedia
from toolkit.common.paths import at_door, here
from toolkit.generation import media_processor, with_media
from toolkit.records import MEDIA
from toolkit.shards import MEDIA_BYTES
from toolkit.training._ranks import first_alone, of_the_first

if TYPE_CHECKING:
    from toolkit.generation import MediaProcessor, Prepared
    from toolkit.training._lora_training import Start
    from toolkit.training._training_config import AnyConfig

_KEPT = 64 << 20

FILES = "files"
"""Column of a training's rows that says where their files are: for each the numbers of a table and of its row; see `MediaRows`."""


class MediaRows:
    """The files of a training's rows.

    Args:
        processor: of the model; None for one that takes text alone.
        folder: the dataset's, which references are relative to; not looked at where shards hold the bytes.
        model: what to call it in errors.
    """

    def __init__(self, processor: MediaProcessor | None, folder: Path, model: str) -> None:
        self.processor, self._folder, self._model = processor, folder, model
        self._tables: list[Any] = []
        self._kept: dict[str, Prepared] = {}

    @property
    def there(self) -> bool:
        """Whether rows may have files."""
        return bool(self._tables)

    def placed(self, data: Any) -> Any:
        """The rows, each prompt with what stands for its files (see `toolkit.generation.Chat`), and `FILES` in place of the files; rows of shards
        without media, or None, as they are.

        Raises:
            InputError: files that the model does not take, that are not there or are others than their row says, naming row and file.
        """
        if data is None or MEDIA not in data.column_names:
            return data
        table = len(self._tables)

        def place(row: Mapping[str, Any], at: int) -> dict[str, Any]:
            places = [self._read(row, n)[1]._asdict() for n in range(len(row[MEDIA] or ()))]
            plain = [{**message, "media": []} for message in row["prompt"]]
            return {"prompt": with_media(plain, places) if places else plain, FILES: [table, at] if places else []}

        held = [name for name in (MEDIA, MEDIA_BYTES) if name in data.column_names]
        features = data.features.copy()
        features["prompt"], features[FILES] = _with_places(features["prompt"])
        for name in held:
            del features[name]
        fingerprint = of_the_first(lambda: secrets.token_hex(8))
        with first_alone():
            rows = data.map(place, with_indices=True, remove_columns=held, features=features, new_fingerprint=fingerprint)
        self._tables.append(data.select_columns([*held, *(["id"] if "id" in data.column_names else [])]))
        return rows

    def inputs(self, examples: Sequence[Mapping[str, Any]], ids: Any) -> dict[str, Any]:
        """What the model gets of the files of a batch beside its tokens (B, L)."""
        files = []
        for example in examples:
            if example[FILES]:
                table, at = example[FILES]
                row = self._tables[table][at]
                files += [self._prepared(row, n) for n in range(len(row[MEDIA]))]
        return {} if self.processor is None else self.processor.inputs(ids, files)

    def to_ask(self, examples: Sequence[Mapping[str, Any]], ids: Sequence[Sequence[int]]) -> dict[str, Any]:
        """`inputs` of prompts that have no padding yet, as TRL's sampling takes them: what each token stands for is a list of lists."""
        import torch

        places = torch.tensor([token for prompt in ids for token in prompt])[None]
        found = self.inputs(examples, places)
        if (types := found.pop("mm_token_type_ids", None)) is not None:
            left = iter(types[0].tolist())
            found["mm_token_type_ids"] = [[next(left) for _ in prompt] for prompt in ids]
        return found

    def _prepared(self, row: Mapping[str, Any], n: int) -> Prepared:
        one = row[MEDIA][n]
        found = self._kept.pop(one["sha256"], None)
        if found is None:
            found = self._takes(row, n).prepare(one["kind"], self._read(row, n, place=False)[0], one["sha256"])
        self._kept[one["sha256"]] = found
        while len(self._kept) > 1 and sum(file.size for file in self._kept.values()) > _KEPT:
            del self._kept[next(iter(self._kept))]
        return found

    def _takes(self, row: Mapping[str, Any], n: int) -> MediaProcessor:
        kind = row[MEDIA][n]["kind"]
        if self.processor is None or kind not in self.processor.kinds:
            takes = "text alone" if self.processor is None else f"text, {' and '.join(self.processor.kinds)}"
            hint = "start from a model that takes them (docs/training.md), or make shards of the rows without"
            raise InputError(
                f"{row[MEDIA][n]['uri']} is of the kind {kind}, and {self._model} takes {takes}",
                where=_where(row),
                hint=hint,
            )
        return self.processor

    def _read(self, row: Mapping[str, Any], n: int, *, place: bool = True) -> tuple[bytes, Any]:
        """The bytes of a row's file, and what stands for it."""
        processor, one, held = self._takes(row, n), row[MEDIA][n], row.get(MEDIA_BYTES)
        try:
            if held:
                data = held[n]["bytes"] or b""
                if hashlib.sha256(data).hexdigest() != one["sha256"]:
                    raise BadMedia("media_changed", "its bytes are not those of its sha256")
            else:
                data = read_whole(self._folder, one["uri"], one["sha256"])
            return data, processor.place(one["kind"], data) if place else None
        except BadMedia as e:
            hint = None if held else f"files are looked for below {self._folder}, or the folder that the option media names"
            raise InputError(f"{one['uri']} {e.detail}", where=_where(row), hint=hint) from None


def media_rows(config: AnyConfig, start: Start | None, model: Any, args: Any, name: str) -> MediaRows:
    """The files of a training's rows.

    Args:
        config: of the training.
        start: what its model by name or folder stands for; None for one from scratch.
        model: the one from scratch.
        args: TRL's configuration.
        name: what to call the model in errors.
    """
    if start is None:
        from toolkit.training._scratch_media import scratch_processor

        processor = scratch_processor(config.scratch, model.config)  # type: ignore[union-attr]
    else:
        from transformers import AutoConfig

        revision = (args.model_init_kwargs or {}).get("revision")
        shape = AutoConfig.from_pretrained(start.base, revision=revision, trust_remote_code=args.trust_remote_code)
        processor = media_processor(shape, start.base, revision)
    return MediaRows(processor, here() if config.media is None else at_door(config.media), name)


class CollatesMedia:
    """A collator that adds what the model gets of the rows' files to what another one makes of their tokens.

    Args:
        inner: the other one.
        media: the files.
        halves: how often a batch has each row: 2 for pairs, whose prompt is there with both answers.
    """

    def __init__(self, inner: Any, media: MediaRows, halves: int = 1) -> None:
        self.inner, self._media, self._halves = inner, media, halves

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Collate."""
        out: dict[str, Any] = self.inner(examples)
        return out | self._media.inputs(list(examples) * self._halves, out["input_ids"])


def refuse_packs(args: Any) -> None:
    """Refuse batches in which rows are laid end to end (InputError): positions of pictures begin anew with each row."""
    for name in ("packing", "padding_free"):
        if getattr(args, name, False):
            raise InputError(f"rows with media do not go with {name}", where=f"trainer.{name}", hint="leave it out")


@contextmanager
def backbone_of(model: Any) -> Iterator[None]:
    """Have TRL's fused head find what is below the head of a model that names no such part: the thinker of Qwen2.5-Omni, which is its own base model,
    run with its head left out. None is no model."""
    whole = model.get_base_model() if hasattr(model, "get_base_model") else model
    prefix = getattr(whole, "base_model_prefix", "")
    config = getattr(whole, "config", None)
    if config is None or config.model_type != "qwen2_5_omni_thinker" or prefix in vars(whole):
        yield
        return

    def below(*args: Any, **kwargs: Any) -> Any:
        from torch.nn import Identity

        head, whole.lm_head = whole.lm_head, Identity()
        try:
            return SimpleNamespace(last_hidden_state=whole.forward(*args, **kwargs).logits)
        finally:
            whole.lm_head = head

    setattr(whole, prefix, below)
    try:
        yield
    finally:
        delattr(whole, prefix)


def _with_places(prompt: Any) -> tuple[Any, Any]:
    """The types of a column of messages that may have files, and of `FILES`."""
    from datasets import List, Value

    place = {"kind": Value("string"), "token": Value("int64"), "times": Value("int64")}
    return List({**prompt.feature, "media": List(place)}), List(Value("int64"))


def _where(row: Mapping[str, Any]) -> str | None:
    return f"row {row['id']}" if "id" in row else None
