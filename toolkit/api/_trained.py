"""A model that is named and no more: what its folder says of the guard that it was trained for, and what it is run by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError
from toolkit.common.machine import has_gpu
from toolkit.common.models import model_folder, trained_for
from toolkit.common.resources import names
from toolkit.guards import Guard, load_guard
from toolkit.taxonomy import find_policy

if TYPE_CHECKING:
    from toolkit.generation import BaseBackendConfig

DEFAULT = "guardreasoner"
"""The guard that a model is asked as, where neither its folder nor the caller says."""


def guard_of(config: BaseBackendConfig) -> Guard:
    """The guard that a local model's folder says it was trained for; the default one for every other model.

    Raises:
        InputError: there is no such model, or no guard of that name here.
    """
    name = trained_name(config)
    if name is None:
        return load_guard(DEFAULT)
    if name not in names("guards"):
        what = f"the model was trained for the guard {name!r}, of which there is no definition here"
        raise InputError(what, where=config.model_name, hint="name its definition's file: {--guard FILE|guard=FILE}")
    return load_guard(name)


def by_policy(guard: Guard, named: str | Path | Sequence[str] | None) -> Guard:
    """A guard with the policy that a user names (`toolkit.taxonomy.find_policy`); as it is where none is named.

    Raises:
        InputError: no such policy, or one for a guard that is shown none.
    """
    return guard if named is None else guard.with_policy(find_policy(named))


def trained_name(config: BaseBackendConfig) -> str | None:
    """Name of the guard that a local model's folder says guardkit trained it for; None where it says nothing, or there is no such folder.

    Raises:
        InputError: a path without a model.
    """
    name = getattr(config, "adapter", None) or getattr(config, "model", None)
    folder = model_folder(str(name)) if config.runs_here and name else None
    guard = None if folder is None else (trained_for(folder) or {}).get("guard")
    return (str(guard).rpartition(" ")[0] or str(guard)) if guard else None


def backend_for(options: Mapping[str, Any]) -> str:
    """The backend of a model for which none was named: an endpoint's where there is an address, vLLM's where that is installed and there is a GPU,
    else that of transformers."""
    if "base_url" in options:
        return "openai"
    return "vllm" if find_spec("vllm") is not None and has_gpu() else "transformers"
