"""What the backends of local models share: where model and adapter are, their name by content, and what they were trained for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError, Missing
from toolkit.common.http import careful_hub
from toolkit.common.models import (
    adapter_config,
    base_roots,
    chat_template,
    check_base,
    counted_files,
    is_model_folder,
    model_folder,
    model_hash,
    trained_for,
)
from toolkit.common.paths import Beside
from toolkit.common.reading import Files
from toolkit.common.secrets import shown
from toolkit.generation._chat import Chat

if TYPE_CHECKING:
    from toolkit.generation._config import TransformersConfig, VllmConfig
    from toolkit.guards import Guard

_NOT_LOADED = ["original/*", "*.gguf", "*.onnx", "*.h5", "*.msgpack", "*.ot", "onnx/*", "openvino/*"]
"""Files of hub repositories that transformers and vLLM do not load: weights in other formats."""


def folder_of(name: str, beside: Beside, revision: str | None = None) -> Path:
    """The folder of a model: a local one (`toolkit.common.models.model_folder`), or a download of a hub model (kept in the hub's cache), at
    the revision that is named.

    Raises:
        InputError: neither a folder with a model nor a model on the hub.
        Missing: the hub cannot be reached, or the model is gated and no token was accepted.
    """
    return model_folder(name, beside) or _download(name, revision)


def _download(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        with careful_hub():
            return Path(snapshot_download(name, revision=revision, ignore_patterns=_NOT_LOADED))
    except GatedRepoError:
        raise Missing(f"the model {name} is gated", hint=f"ask for access at https://huggingface.co/{name} and set HF_TOKEN") from None
    except RevisionNotFoundError:
        raise InputError(f"the model {name} has no revision {revision} on the hub", where=name) from None
    except (RepositoryNotFoundError, HFValidationError):
        raise InputError("no such model folder, nor a hub model", where=name) from None
    except Exception as e:  # of httpx2, huggingface_hub, the disk, or what an answer of another form makes of them: no model came
        words = shown(" ".join(str(e).split()))[:300]
        hint = "check the network, HF_ENDPOINT and the proxies of the environment, or give a folder"
        raise Missing(f"the model {name} could not be downloaded ({type(e).__name__}: {words})", hint=hint) from e


class LocalModel:
    """Base of a backend that runs a local model, with or without a LoRA adapter.

    Args:
        config: names the model and, perhaps, the adapter; a model folder that is itself an adapter brings the name of its base.
        beside: folder that a relative path is also looked up from.
        guard: the guard that the model is to be asked as; it must have been trained for it (see `check_templates`). None: no guard.

    Raises:
        InputError, Missing: as `folder_of` and `check_templates`; an adapter on top of an adapter.
    """

    journalled = True

    def __init__(self, config: TransformersConfig | VllmConfig, beside: Beside, guard: Guard | None) -> None:
        folder = folder_of(config.model, beside)
        if not is_model_folder(str(folder)):
            raise InputError("not a model folder: neither config.json nor adapter_config.json", where=str(folder))
        self.adapter: Path | None = None if config.adapter is None else folder_of(config.adapter, beside)
        if (own := adapter_config(folder)) is not None:
            if self.adapter is not None:
                raise InputError("`model` is itself an adapter: one adapter on top of another is not provided for", where=str(folder))
            self.adapter, folder = folder, _base_folder(folder, own, beside)
        elif self.adapter is not None and adapter_config(self.adapter) is None:
            raise InputError("not an adapter: no adapter_config.json", where=str(self.adapter))
        self.folder = folder
        self.tokenizer_folder = self.adapter if self.adapter and (self.adapter / "tokenizer_config.json").is_file() else folder
        self._files = Files()
        if guard is not None and config.check_training:
            check_templates(self.adapter or folder, guard, template_of=self.tokenizer_folder, arguments=config.chat_template_kwargs)
        self._arguments = config.chat_template_kwargs
        self._raw = guard is not None and guard.raw

    @cached_property
    def model_id(self) -> str:
        """Content hash of model and adapter (`model_hash`), computed once (InputError: an adapter that guardkit trained on another base)."""
        if self.adapter is not None:
            check_base(self.adapter, self.folder)
        base = self.folder if self.adapter is not None else None
        parts = [self.folder, *([self.adapter] if self.adapter is not None else [])]
        return self._files.digest(self.adapter or self.folder, lambda p: model_hash(p, base), lambda _: [f for p in parts for f in counted_files(p)])

    def _load_chat(self) -> Chat:
        """The tokenizer with its chat template.

        Raises:
            InputError: the folder has none, or none that transformers can load.
        """
        from transformers import AutoTokenizer

        try:
            tokenizer: Any = AutoTokenizer.from_pretrained(self.tokenizer_folder, trust_remote_code=False)
        except Exception as e:  # loaders of a dozen formats read the user's files: whatever they raise is about those
            raise InputError(f"transformers cannot load this tokenizer: {str(e)[:300]}", where=str(self.tokenizer_folder)) from e
        if not tokenizer.chat_template and not self._raw:
            raise InputError("the tokenizer has no chat template", where=str(self.tokenizer_folder), hint="save one with the model")
        return Chat(tokenizer, self._arguments)

    def still(self) -> None:
        """Check, once the model has been loaded by its name, that its files are those that `model_id` was computed of.

        Raises:
            InputError: one was written to meanwhile.
        """
        self._files.end()


def _base_folder(folder: Path, config: Mapping[str, Any], beside: Beside) -> Path:
    name = config.get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        raise InputError("an adapter that does not name its base", where=str(folder), hint="give the base as `model` and this folder as `adapter`")
    try:
        base = folder_of(name, base_roots(folder, beside), config.get("revision"))
    except InputError as e:
        hint = "give the base as `model` and this folder as `adapter`"
        raise InputError(f"an adapter whose base is not there: {e.message} ({name})", where=str(folder), hint=hint) from None
    if adapter_config(base) is not None:
        raise InputError("an adapter whose base is itself an adapter is not provided for", where=str(folder))
    return base


def check_templates(folder: Path, guard: Guard, *, template_of: Path | None = None, arguments: Mapping[str, Any] | None = None) -> None:
    """Check that a model that guardkit trained is asked in the words that it was trained on: same input of the guard, same chat template.

    Args:
        folder: of the model or adapter; one without ``guardkit.json`` passes.
        guard: as which it is to be asked.
        template_of: folder of the tokenizer, where that is another one.
        arguments: for the chat template; those of the training are in the template itself.

    Raises:
        InputError: another chat template or other arguments, or a guard with another instruction, input or context.
    """
    from toolkit.guards import input_fingerprint

    trained = trained_for(folder)
    if trained is None:
        return
    hint = "train it anew, or set check_training: false to ask it all the same"
    known, now = trained.get("input"), input_fingerprint(guard)
    if known is not None and known != now:
        before = f"the guard {trained.get('guard')} (input {str(known)[:12]})"
        raise InputError(f"trained for {before}, asked as {guard.name} (input {now[:12]})", where=str(folder), hint=hint)
    known, now = trained.get("chat_template"), hashlib.sha256((chat_template(template_of or folder) or "").encode()).hexdigest()
    if known is not None and known != now:
        raise InputError(f"trained with the chat template {str(known)[:12]}, and now has {now[:12]} (sha256)", where=str(folder), hint=hint)
    if arguments and (of_training := trained.get("chat_template_kwargs") or {}) != arguments:
        hint = "leave chat_template_kwargs out: those of the training are part of the model's chat template"
        raise InputError(f"trained with chat_template_kwargs {of_training}, asked with {dict(arguments)}", where=str(folder), hint=hint)
