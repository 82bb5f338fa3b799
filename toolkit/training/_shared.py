"""What trainings share: reading a shard folder, quiet and reproducible surroundings, what a model is trained for."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError
from toolkit.common.manifests import read_json
from toolkit.common.models import model_folder, trained_for
from toolkit.common.parquet import batches, open_parquet
from toolkit.generation import Chat, ControlTextError
from toolkit.shards import MANIFEST, holds_media, read_manifest

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

    from toolkit.training._training_config import AnyConfig


@dataclass
class Dropped:
    """Rows that a training leaves out, by reason: ``too_long`` (more tokens than max_length), ``no_completion`` (nothing to learn), ``held_out``
    (to look at the loss on), and of pairs ``empty_answer`` and ``same_answers`` (nothing to prefer)."""

    ids: dict[str, list[str]] = field(default_factory=dict)
    lengths: list[int] = field(default_factory=list)
    """Tokens of those that are too long."""

    def add(self, reason: str, row_id: str) -> None:
        """Note one row."""
        self.ids.setdefault(reason, []).append(row_id)

    @property
    def count(self) -> int:
        """Rows left out in all."""
        return sum(map(len, self.ids.values()))

    def report(self) -> dict[str, Any]:
        """``{reason: {"count": n, "ids": [...]}}``."""
        return {reason: {"count": len(ids), "ids": ids} for reason, ids in sorted(self.ids.items())}


@dataclass(frozen=True)
class Bounds:
    """What a row may have.

    Args:
        wanted: tokens at most, as set in the trainer; None for any number.
        room: tokens at most that the model reads at once; None where its configuration does not say.
        embedded: tokens that the model knows; likewise.
        model: what to call it in errors.
        answer: tokens that are kept free for an answer, where it is yet to be written.
    """

    wanted: int | None = None
    room: int | None = None
    embedded: int | None = None
    model: str = "the model"
    answer: int = 0

    @property
    def limit(self) -> int | None:
        """Tokens at most; None for any number."""
        return min((n for n in (self.wanted, self.room) if n), default=None)

    @property
    def hint(self) -> str:
        """What to do where rows are too long."""
        if self.room is not None and self.limit == self.room:
            do = "lower trainer.max_completion_length" if self.answer else "shorten the rows"
            return f"{self.model} reads {self.room:,} tokens at once, prompt and answer: {do}, or start from a model that reads more"
        reads = "" if self.room is None else f" (the model reads {self.room:,})"
        if self.answer:
            return f"raise max_prompt, which is {(self.wanted or 0) - self.answer:,}{reads}, or shorten the rows"
        return f"raise trainer.max_length, which is {self.wanted}{reads}, or shorten the rows"

    def check(self, largest: Mapping[str, int | None]) -> None:
        """Refuse tokens that the model does not know (InputError).

        Args:
            largest: token of each column.
        """
        beyond = max((n for n in largest.values() if n is not None), default=0)
        if self.embedded is not None and beyond >= self.embedded:
            hint = "enlarge them first (transformers: model.resize_token_embeddings(len(tokenizer))), and save model and tokenizer together"
            raise InputError(f"the rows hold the token {beyond}, and {self.model} has {self.embedded} embeddings", where="model", hint=hint)


_BATCH = 1000
"""Rows that are copied at a time."""


def read_shards(
    folder: Path,
    messages: Sequence[str],
    others: Sequence[str],
    cache: Path,
    split: str = "train",
    *,
    there: bool = False,
    verified: bool = True,
    media: bool = False,
) -> Dataset:
    """The rows of ``data/<split>-*.parquet`` for `datasets`, which is given no name of the user's: it would take one for a pattern or a URL.

    Args:
        folder: the shard folder.
        messages: columns that hold lists of {role, content}.
        others: further columns that must be there.
        cache: folder for the rows as Arrow, and for what `datasets` writes.
        split: which split.
        there: whether another process of this training has put them there.
        verified: hold the files against the folder's manifest.
        media: whether rows may have media.

    Raises:
        InputError: no such folder or split, a file that is not parquet or not what the folder's manifest (if it has one) says, a column missing or
            of another type, rows with media where they may not, no rows; `cache` is a folder that `datasets` cannot name.
    """
    import pyarrow as pa
    from datasets import Dataset

    if there:
        return Dataset.from_file(str(cache / f"{split}.arrow"))
    files = sorted((folder / "data").glob(f"{split}-*.parquet"))
    if not files:
        others = sorted({f.name.rsplit("-", 3)[0] for f in (folder / "data").glob("*-*-of-*.parquet")})
        hint = f"all of its rows are in the splits {', '.join(others)}" if others else "give the folder that the shards step wrote"
        raise InputError(f"no data/{split}-*.parquet here", where=str(folder), hint=hint)
    stated = _stated(folder, files) if verified else dict.fromkeys(files)
    schema = _check_parquet(stated, messages, others, media=media)
    if "::" in str(cache):
        raise InputError("no training in a folder with '::' in its name: `datasets` would write its files elsewhere", where=str(cache.parent.parent))
    cache.mkdir(parents=True, exist_ok=True)
    place = cache / f"{split}.arrow"
    try:
        with place.open("wb") as out, pa.ipc.new_stream(out, schema) as writer:
            for file, sha256 in stated.items():
                with open_parquet(file, sha256=sha256) as parquet:
                    for batch in batches(parquet, file, _BATCH):
                        writer.write_table(pa.Table.from_batches([batch]).select(schema.names).cast(schema))
    except (pa.ArrowException, KeyError, ValueError) as e:
        raise InputError(f"the shards cannot be read: {e}", where=str(folder)) from None
    return Dataset.from_file(str(place))


def _stated(folder: Path, files: Sequence[Path]) -> dict[Path, str | None]:
    """Each file with its sha256 as the folder's manifest says; None where another program wrote the folder.

    Raises:
        InputError: the manifest cannot be read, or does not name one of the files.
    """
    try:
        whose = read_json(folder / MANIFEST)
    except FileNotFoundError:
        whose = None
    if not isinstance(whose, dict) or whose.get("made_by") != "guardkit":
        return dict.fromkeys(files)
    stated = read_manifest(folder)["files"]
    names = {file: file.relative_to(folder).as_posix() for file in files}
    for file, name in names.items():
        if name not in stated:
            raise InputError("not in the manifest", where=str(file), hint="a shard folder holds nothing else")
    return {file: stated[name]["sha256"] for file, name in names.items()}


def _check_parquet(files: Mapping[Path, str | None], messages: Sequence[str], others: Sequence[str], *, media: bool) -> pa.Schema:
    """The columns of the first file, once all files have what is needed."""
    import pyarrow as pa

    rows = 0
    first = None
    for file, sha256 in files.items():
        with open_parquet(file, sha256=sha256) as parquet:
            schema = parquet.schema_arrow
            rows += parquet.metadata.num_rows
        first = first or schema
        if lacking := [c for c in (*messages, *others) if c not in schema.names]:
            raise InputError(f"column missing: {', '.join(lacking)}", where=str(file), hint=f"it has: {', '.join(schema.names)}")
        if not media and holds_media((f.name, str(f.type)) for f in schema):
            hint = "export them for a trainer that takes media, or make shards of the rows without"
            raise InputError("these shards have media, which this trainer would leave out", where=str(file), hint=hint)
        for column in messages:
            kind = schema.field(column).type
            inner = kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else None
            if inner is None or not pa.types.is_struct(inner) or {"role", "content"} - {f.name for f in inner}:
                raise InputError(f"column {column!r} must be a list of {{role, content}}; it is {kind}", where=str(file))
    if first is None or not rows:
        raise InputError("the shards hold no rows, so there is nothing to train on", where=str(next(iter(files)).parent.parent))
    return first


def message_texts(data: Dataset, columns: Sequence[str]) -> Iterator[str]:
    """Every message's text, in order."""
    for row in data.select_columns(list(columns)):
        for column in columns:
            for message in row[column]:
                yield message["content"]


@contextmanager
def quiet(show_bars: bool) -> Iterator[None]:
    """Keep the progress bars of datasets, transformers and accelerate off the terminal unless asked for."""
    import datasets
    from transformers.utils import logging

    hf_logging: Any = logging
    if show_bars:
        yield
        return
    bars = (not datasets.are_progress_bars_disabled(), hf_logging.is_progress_bar_enabled(), os.environ.get("TQDM_DISABLE"))
    datasets.disable_progress_bars()
    hf_logging.disable_progress_bar()
    os.environ["TQDM_DISABLE"] = "1"  # the only switch that trl's bar over the reference's log-probabilities knows
    try:
        yield
    finally:
        if bars[0]:
            datasets.enable_progress_bars()
        if bars[1]:
            hf_logging.enable_progress_bar()
        if bars[2] is None:
            del os.environ["TQDM_DISABLE"]
        else:
            os.environ["TQDM_DISABLE"] = bars[2]


@contextmanager
def errors_only() -> Iterator[None]:
    """Without the warnings of transformers."""
    from transformers.utils import logging

    hf_logging: Any = logging
    before = hf_logging.get_verbosity()
    hf_logging.set_verbosity_error()
    try:
        yield
    finally:
        hf_logging.set_verbosity(before)


@contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """Run with that many of torch's threads, then with as many as before."""
    import torch

    before = torch.get_num_threads()
    if threads:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def refusals() -> Iterator[None]:
    """Tell a user what TRL or the chat template refuses while a trainer is set up and the rows are rendered."""
    from jinja2 import TemplateError

    try:
        yield
    except ControlTextError as e:
        raise InputError(str(e), where="model") from None
    except (TemplateError, RecursionError) as e:
        raise InputError(f"the chat template cannot render a row: {e}", where="chat_template") from e
    except (ValueError, NotImplementedError) as e:  # how trl reports settings that do not go together
        raise InputError(f"trl refuses: {e}", where="trainer") from e


def record(shards: Path, tokenizer: Any, prompts: Mapping[str, int], config: AnyConfig) -> dict[str, Any]:
    """What a model is trained for, as its folder will say (`toolkit.common.models.trained_for`).

    Args:
        shards: whose manifest, if they have one, names the guard.
        tokenizer: with its chat template.
        prompts: as `toolkit.training._model.prompts_cut` counts them.
        config: of the training.
    """
    try:
        manifest = read_manifest(shards)
    except InputError:  # rows that another program wrote: no guard is known, and none is checked later
        manifest = {}
    template = hashlib.sha256(tokenizer.chat_template.encode()).hexdigest()
    out = {"guard": manifest.get("guard"), "input": manifest.get("guard_input"), "chat_template": template, "prompts": dict(prompts)}
    arguments = config.chat_template_kwargs or _arguments_of(config)
    return out | ({"chat_template_kwargs": arguments} if arguments else {})


def _arguments_of(config: AnyConfig) -> dict[str, Any]:
    """Arguments of the chat template that the model to start from has in its own."""
    if config.chat_template is not None or not isinstance(config.model, str) or (folder := model_folder(config.model, short=True)) is None:
        return {}
    return dict((trained_for(folder) or {}).get("chat_template_kwargs") or {})


def finish_generation_config(model: Any, chat: Chat) -> None:
    """Let generation stop at the token that ends a trained turn, whatever the tokenizer's end token is."""
    config = model.generation_config
    known = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    ends = list(dict.fromkeys(i for i in (chat.tokenizer.eos_token_id, chat.end, *known) if i is not None))
    config.eos_token_id = ends[0] if len(ends) == 1 else ends
    config.pad_token_id = chat.tokenizer.pad_token_id
    model.config.eos_token_id = config.eos_token_id
    model.config.use_cache = True  # switched off for training
