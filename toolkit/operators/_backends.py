"""What the operators that ask models share: the backends of their options, opening them, and models' names for data cards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from toolkit.common import models
from toolkit.common.paths import Beside, Roots
from toolkit.common.reach import Key, placed
from toolkit.generation import BACKENDS, BaseBackendConfig, open_backend

if TYPE_CHECKING:
    from pydantic import BaseModel

    from toolkit.generation import Backend
    from toolkit.operators.base import Context


def opened(config: BaseBackendConfig, ctx: Context, *, judges: bool = False) -> Backend:
    """The backend of a config; `judges`: whether it is asked as the guard, not as a teacher."""
    return open_backend(config, guard=ctx.guard, taxonomy=ctx.taxonomy, beside=ctx.roots, work=ctx.work, judges=judges)


def model_digest(name: str, ctx: Context, *, short: bool = False) -> str:
    """`toolkit.common.models.model_digest` of a step's model (InputError: no such folder)."""
    return models.model_digest(name, ctx.roots, ctx.files, short=short)


def backends_in(config: BaseModel) -> Iterator[tuple[Key, BaseBackendConfig]]:
    """The backends of an operator's options, each with its place."""
    return ((place, found) for place, found in placed(config) if isinstance(found, BaseBackendConfig))


def remarks(options: Mapping[str, Any]) -> list[str]:
    """What the backends that are named in some options, as a recipe has them, say beside a run's figures."""
    names = dict.fromkeys(n for n in _named(options) if n in BACKENDS.own or n in BACKENDS.others())
    return [remark for name in names if (remark := BACKENDS.get(name).remark)]


def _named(options: Any) -> Iterator[str]:
    if isinstance(options, Mapping):
        if isinstance(name := options.get("backend"), str):
            yield name
        options = options.values()
    elif not isinstance(options, list):
        return
    for inner in options:
        yield from _named(inner)


class ShownModels:
    """A model's name for a data card (`BaseBackendConfig.shown_name`), looked up once for each.

    Args:
        beside: where a folder's name is looked up.
    """

    def __init__(self, beside: Beside) -> None:
        self._roots = Roots.of(beside)
        self._known: dict[tuple[int, str], str] = {}

    def __call__(self, config: BaseBackendConfig, model_id: str) -> str:
        """The name of a config's model, whose requests have this model id."""
        at = id(config), model_id
        if (name := self._known.get(at)) is None:
            name = self._known[at] = config.shown_name(model_id, self._roots)
        return name
