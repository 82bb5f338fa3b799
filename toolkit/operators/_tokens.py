"""Counting tokens with the tokenizer of the model that is to be trained: shared by `measure` (columns) and `validate` (a budget).

A tokenizer is named by a folder (as given, or beside the recipe) or by the model's name on the hub. A folder counts in a fingerprint by the hash
of its tokenizer, weights aside (`tokenizer_files`); a hub model by its name. Loading is lazy: once a process for each name
(and content of a folder), at the first count.
What cannot be loaded is an `InputError` (folder) or `Missing` (hub, or without the extra ``train``); a text is never cut.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import require
from toolkit.common.files import canonical_json
from toolkit.common.gguf_models import is_gguf
from toolkit.common.models import model_digest, model_folder, tokenizer_hash, tokenizer_parts
from toolkit.common.paths import Beside
from toolkit.common.reading import Identity, identity
from toolkit.generation import Chat

if TYPE_CHECKING:
    from pydantic import BaseModel
    from transformers import PreTrainedTokenizerBase

    from toolkit.operators.base import Context


def tokenizer_files(name: str, ctx: Context) -> dict[str, str]:
    """For `Operator.files`: ``{"tokenizer": digest}``, or the model's name on the hub (InputError: no such folder, or one without a tokenizer)."""
    if is_gguf(name, ctx.roots):  # not unpacked to make a plan
        return {"tokenizer": model_digest(name, ctx.roots, ctx.files)}
    folder = model_folder(name, ctx.roots)
    return {"tokenizer": name if folder is None else ctx.files.digest(folder, tokenizer_hash, tokenizer_parts)}


def tokenizer_needs() -> list[str]:
    """For `Operator.needs`: what this machine lacks to count tokens."""
    from importlib.util import find_spec

    return [] if find_spec("transformers") else ["the package 'transformers' is missing: pip install 'guardkit[train]'"]


def identity_of(config: BaseModel) -> dict[str, Any]:
    """For `Operator.identity`: the config; the arguments of a chat template only where there are any, so that older runs stay finished."""
    out = config.model_dump(mode="json")
    return out if out["chat_template_kwargs"] else {name: value for name, value in out.items() if name != "chat_template_kwargs"}


class TokenCounter:
    """Counts tokens with one model's tokenizer.

    Args:
        name: folder, or name on the hub.
        beside: folder of the recipe.
        chat_template: as for `train_sft`: None takes the tokenizer's own, or what guardkit would give it.
        arguments: of the chat template, likewise.
    """

    def __init__(self, name: str, beside: Beside, chat_template: str | None = None, arguments: Mapping[str, Any] | None = None) -> None:
        self._name = str(model_folder(name, beside) or name)
        self._template, self._arguments = chat_template, canonical_json(arguments or {})
        self._loaded: PreTrainedTokenizerBase | None = None
        self._chat: Chat | None = None

    def texts(self, texts: Sequence[str | None]) -> list[int | None]:
        """Tokens of each text alone, without special tokens; None for None."""
        present = [t for t in texts if t is not None]
        counts = iter(self._lengths(present, split_special_tokens=True))  # a control token in it is text (`toolkit.generation.Chat`)
        return [None if t is None else next(counts) for t in texts]

    def examples(self, rows: Sequence[tuple[str, str]], *, chat: bool = True) -> list[int]:
        """Tokens of each (prompt, completion) as supervised training reads it.

        Args:
            rows: rendered prompt and completion.
            chat: as one user and one assistant message through the chat template; else as plain text and the end token, which TRL adds where the
                text does not end with it (trl.trainer.sft_trainer, 1.16).
        """
        tokenizer = self._tokenizer()
        if not chat:
            end = str(tokenizer.eos_token)
            return self._lengths([p + c + ("" if c.endswith(end) else end) for p, c in rows], add_special_tokens=True)
        if self._chat is None or self._chat.tokenizer is not tokenizer:
            self._chat = Chat(tokenizer)
        talks = [[{"role": "user", "content": p}, {"role": "assistant", "content": c}] for p, c in rows]
        return self._chat.lengths(talks)

    def _tokenizer(self) -> PreTrainedTokenizerBase:
        if self._loaded is None:
            folder = Path(self._name)
            self._loaded = _load(
                self._name, self._template, self._arguments, tuple(map(identity, tokenizer_parts(folder))) if folder.is_dir() else ()
            )
        return self._loaded

    def _lengths(self, texts: list[str], **how: bool) -> list[int]:
        tokenizer = self._tokenizer()
        return [len(ids) for ids in tokenizer(texts, **{"add_special_tokens": False, **how})["input_ids"]] if texts else []


@lru_cache(maxsize=8)
def _load(name: str, chat_template: str | None, arguments: str, files: tuple[Identity, ...]) -> PreTrainedTokenizerBase:
    """`arguments`: of the chat template, as JSON. `files`: of a folder, so that one whose tokenizer has changed is loaded anew."""
    require("transformers", "train", "counting tokens")
    from toolkit.training import load_tokenizer

    return load_tokenizer(name, chat_template, SimpleNamespace(model_init_kwargs=None, trust_remote_code=False), json.loads(arguments))
