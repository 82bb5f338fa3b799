"""What the operators that generate share: a backend's part of a fingerprint, what it lacks here, and opening it."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from toolkit.common.errors import InputError
from toolkit.common.models import is_model_folder, model_hash, model_parts
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
    return open_backend(config, guard=ctx.guard, taxonomy=ctx.taxonomy, beside=ctx.beside, work=ctx.work, judges=judges)


def local_model(name: str, beside: Path) -> Path | None:
    """The folder of a local model, as named or beside the recipe; None for a name on the hub.

    Raises:
        InputError: no such folder, and no name that the hub could have (owner/name).
    """
    for folder in (Path(name).expanduser(), beside / name):
        if is_model_folder(str(folder)):
            return folder
    if _is_path(name):
        raise InputError("no such model folder, nor a hub model (owner/name)", where=name)
    return None


def _is_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or name.count("/") != 1


def model_files(config: BackendConfig, ctx: Context) -> dict[str, str]:
    """Content hashes of a local model and its adapter, so that a retrained one at the same path is another; a hub name counts by its name.

    Raises:
        InputError: no such model folder.
    """
    if not isinstance(config, TransformersConfig | VllmConfig):
        return {}
    return {"model": model_digest(config.model, ctx)} | ({"adapter": model_digest(config.adapter, ctx)} if config.adapter else {})


def model_digest(name: str, ctx: Context) -> str:
    """What a model counts by in a fingerprint: its folder's content hash, or its name on the hub (InputError: no such folder)."""
    folder = local_model(name, ctx.beside)
    return name if folder is None else ctx.files.digest(folder, model_hash, model_parts)


def shown_model(config: BackendConfig, model_id: str) -> str:
    """A model's name for a data card: its name at the endpoint or on the hub; a local folder's content hash, since a path says nothing elsewhere."""
    if isinstance(config, TemplateConfig):
        return "template"
    if isinstance(config, OpenAIConfig | OpenAIBatchConfig):
        return config.model
    adapted = config.adapter is not None
    return model_id if adapted or _is_path(config.model) or Path(config.model).exists() else config.model


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
