"""What the operators that generate share: a backend's part of a fingerprint, what it lacks here, and opening it."""

from __future__ import annotations

import os
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from toolkit.common.models import model_folder, model_hash, model_parts
from toolkit.common.paths import Beside, Roots
from toolkit.generation import BackendConfig, OpenAIBatchConfig, OpenAIConfig, TemplateConfig, TransformersConfig, VllmConfig, open_backend

if TYPE_CHECKING:
    from toolkit.generation import Backend
    from toolkit.operators.base import Context

EXTRAS = {
    "openai": ("openai", "openai"),
    "openai-batch": ("openai", "openai"),
    "transformers": ("transformers", "train"),
    "vllm": ("vllm", "vllm"),
    "vllm-server": ("vllm", "vllm"),
}
"""For each backend the package that it imports and the extra that brings it."""


def identity(config: BackendConfig) -> dict[str, Any]:
    """What of a backend's config shapes its answers: timeouts, retries and capacity do not."""
    out: dict[str, Any] = {"backend": config.backend, **config.shaping()}
    if isinstance(config, OpenAIConfig | OpenAIBatchConfig):
        out |= {"model": config.model, "endpoint": config.endpoint_name}
        if config.structured != "off":
            out["structured"] = config.structured
    if getattr(config, "reasoning", "auto") != "auto":
        out["reasoning"] = config.reasoning  # type: ignore[union-attr]
    return out


def address(config: BackendConfig) -> tuple[str, ...]:
    """Which model a config names, and where: two backends of a step must differ in it."""
    if isinstance(config, OpenAIConfig | OpenAIBatchConfig):
        return config.endpoint_name, config.model
    if isinstance(config, TemplateConfig):
        return (config.backend,)
    return config.backend, config.model, config.adapter or ""


def structured(config: BackendConfig) -> str:
    """Whether a backend is asked for JSON: off, try or require."""
    return config.structured if isinstance(config, OpenAIConfig | OpenAIBatchConfig) else "off"


def opened(config: BackendConfig, ctx: Context, *, judges: bool = False) -> Backend:
    """The backend of a config; `judges`: whether it is asked as the guard, not as a teacher."""
    return open_backend(config, guard=ctx.guard, taxonomy=ctx.taxonomy, beside=ctx.roots, work=ctx.work, judges=judges)


def model_files(config: BackendConfig, ctx: Context) -> dict[str, str]:
    """Content hashes of a local model and its adapter, so that a retrained one at the same path is another; a hub name counts by its name.

    Raises:
        InputError: no such model folder.
    """
    if not isinstance(config, TransformersConfig | VllmConfig):
        return {}
    return {"model": model_digest(config.model, ctx)} | ({"adapter": model_digest(config.adapter, ctx)} if config.adapter else {})


def model_digest(name: str, ctx: Context, *, short: bool = False) -> str:
    """What a model counts by in a fingerprint: its folder's content hash, or its name on the hub (InputError: no such folder).

    `short`: as for `toolkit.common.models.model_folder`.
    """
    folder = model_folder(name, ctx.roots, short=short)
    if folder is None:
        return name
    return ctx.files.digest(folder, partial(model_hash, beside=ctx.roots), partial(model_parts, beside=ctx.roots))


class ShownModels:
    """A model's name for a data card: its name at the endpoint or on the hub; a local folder's content hash, since a path says nothing elsewhere.

    Args:
        beside: where a folder's name is looked up, once for each model.
    """

    def __init__(self, beside: Beside) -> None:
        self._roots = Roots.of(beside)
        self._local: dict[str, bool] = {}

    def __call__(self, config: BackendConfig, model_id: str) -> str:
        """The name of a config's model, whose requests have this model id."""
        if isinstance(config, TemplateConfig):
            return "template"
        if isinstance(config, OpenAIConfig | OpenAIBatchConfig):
            return config.model
        if (local := self._local.get(config.model)) is None:
            local = self._local[config.model] = model_folder(config.model, self._roots) is not None
        return model_id if local or config.adapter is not None else config.model


def needs(config: BackendConfig) -> list[str]:
    """What this machine lacks to open the backend."""
    if isinstance(config, TemplateConfig):
        return []
    package, extra = EXTRAS[config.backend]
    out = []
    if find_spec(package) is None:
        out.append(f"the package {package!r} is missing: pip install 'guardkit[{extra}]'")
    if isinstance(config, OpenAIConfig | OpenAIBatchConfig):
        local = urlsplit(config.base_url).hostname in ("localhost", "127.0.0.1", "::1")
        if not local and not os.environ.get(config.api_key_env):
            out.append(f"the environment variable {config.api_key_env} is not set: it holds the key for {config.base_url}")
    return out
