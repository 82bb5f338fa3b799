"""A backend's config from its keys, as they are in a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from toolkit.common.errors import InputError, InputErrors, did_you_mean
from toolkit.common.yamlfile import YamlFile
from toolkit.generation._backend_registry import BackendConfig
from toolkit.generation._base_config import BACKENDS, BaseBackendConfig


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid")

    backend: BackendConfig


def read_config(backend: BaseBackendConfig | Mapping[str, Any]) -> BaseBackendConfig:
    """A backend's config from its keys; one that is a config already as it is.

    Raises:
        InputErrors: unknown keys and wrong values, all of them.
        InputError: no keys with their values.
    """
    if isinstance(backend, BaseBackendConfig):
        return backend
    if not isinstance(backend, Mapping):
        raise InputError(f"a backend is its options by name, {{'backend': 'openai', 'model': …}}, not {backend!r}")
    name = backend.get("backend")
    if isinstance(name, str) and name not in BACKENDS.names():
        raise InputErrors([InputError(f"no backend {name!r}", where="backend", hint=did_you_mean(name, BACKENDS.names()))])
    try:
        config: BaseBackendConfig = YamlFile("backend", {"backend": dict(backend)}).model(_Options).backend
    except InputErrors as e:  # the options are in no file: their names are their places
        faults = [InputError(f.message, where=(f.where or "").rpartition("backend.")[2] or None, hint=f.hint) for f in e.errors]
        raise InputErrors(faults) from None
    return config
