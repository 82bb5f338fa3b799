"""Backends looked at without opening them: what `plan` and a budget's check see of a recipe.

Inside `only_looking`, `toolkit.generation.open_backend` gives a `Declared` for every model: it has the config, and the endpoint and model id that
requests need, but no client, no model and no secret. It answers nothing. The embedded teacher, which is no model, is opened.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from typing import TYPE_CHECKING, Any

from toolkit.common.paths import Beside, Roots
from toolkit.generation._request import Completion, Request

if TYPE_CHECKING:
    from toolkit.generation._base_config import BaseBackendConfig
    from toolkit.guards import Guard

LOOKING: ContextVar[bool] = ContextVar("guardkit_looking", default=False)
"""Whether `open_backend` is to open nothing."""


@contextmanager
def only_looking() -> Iterator[None]:
    """Within this block `open_backend` opens nothing and gives `Declared` backends."""
    before = LOOKING.set(True)
    try:
        yield
    finally:
        LOOKING.reset(before)


class Declared:
    """A backend as its config declares it.

    Args:
        config: of any backend.
        beside: folder that a relative model path is also looked up from.
    """

    journalled = True
    parallel = 1

    def __init__(self, config: BaseBackendConfig, beside: Beside) -> None:
        self.config = config
        self._roots = Roots.of(beside)

    @property
    def endpoint(self) -> str:
        """As the opened backend has it."""
        return self.config.endpoint_name

    @cached_property
    def model_id(self) -> str:
        """As the opened backend has it, as far as that is known (`BaseBackendConfig.declared_id`)."""
        return self.config.declared_id(self._roots)

    def teacher_messages(self, guard: Guard, row: Mapping[str, Any]) -> list[dict[str, str]]:
        """The guard's own teacher prompt."""
        from toolkit.guards import teacher_messages

        return teacher_messages(guard, row)

    def generate(self, requests: Iterator[Request | None]) -> Iterator[Completion]:
        """Not opened: it answers nothing."""
        raise RuntimeError("a backend that is only looked at was asked")

    def close(self) -> None:
        """Nothing to let go of."""
