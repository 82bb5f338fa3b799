"""How a backend (`toolkit.generation._protocol`) is opened, and how a request to it is made."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError
from toolkit.common.files import canonical_json
from toolkit.common.paths import Beside
from toolkit.generation._attached import Attached, not_carried
from toolkit.generation._base_config import BaseBackendConfig, Opening
from toolkit.generation._declared import LOOKING, Declared
from toolkit.generation._protocol import Backend
from toolkit.generation._request import Request, as_messages

if TYPE_CHECKING:
    from toolkit.guards import Guard
    from toolkit.taxonomy import Taxonomy


def open_backend(
    config: BaseBackendConfig,
    *,
    guard: Guard | None = None,
    taxonomy: Taxonomy | None = None,
    beside: Beside = None,
    work: Path | None = None,
    judges: bool = False,
) -> Backend:
    """The backend that a config declares.

    Args:
        config: as `BackendConfig` reads it.
        guard: whose questions are asked; the embedded teacher needs one.
        taxonomy: harm categories, for a backend that writes of them.
        beside: folder that a relative model path is also looked up from (that of the recipe).
        work: folder of the journal, for a backend that keeps there what it has sent.
        judges: whether the model is asked as `guard`, not as a teacher: a local model that guardkit trained for another guard is refused then.

    Raises:
        Missing: an extra is not installed, or a key is not set.
        InputError: there is no such model, or one trained for another guard.
    """
    if LOOKING.get() and config.is_model:
        return Declared(config, beside)
    backend = config.open(Opening(guard, taxonomy, beside, work, judges))
    backend.config = config  # type: ignore[attr-defined]
    return backend


def build_request(
    backend: Backend,
    config: BaseBackendConfig,
    messages: Iterable[Mapping[str, str]],
    *,
    draw: int = 0,
    attempt: int = 0,
    schema: str = "",
    row: str = "",
    as_it_comes: bool = False,
    media: tuple[Attached, ...] = (),
    words: tuple[str, ...] = (),
    template_arguments: Mapping[str, Any] | None = None,
    max_tokens: int | None = None,
    raw: bool = False,
) -> Request:
    """The request that asks `backend` for one draw, with the sampling parameters of its `config` resolved.

    Args:
        messages: ``{"role", "content"}`` each.
        draw: number of the draw, from 0.
        attempt: number of the attempt, from 0.
        schema: canonical JSON of the ``response_format``, or empty.
        row: id of the row that asks.
        as_it_comes: leave reasoning in the text, whatever the config says: the text is a guard's, whose format says what it is.
        media: files that the question is about.
        words: of the answer, for whose tokens log-probabilities are kept where the config asks for some; none: for all tokens.
        template_arguments: of the model's chat template, beside those of the config, before which they go.
        max_tokens: tokens of output at most, where the config was given none.
        raw: the messages are the pieces of the whole prompt; see `Request`.

    Raises:
        InputError: files of a kind that the backend cannot carry.
    """
    if media and (kinds := not_carried(media, config.carries)):
        raise InputError(f"the backend {config.backend!r} cannot carry {', '.join(kinds)}", where=f"row {row}")
    shaping = config.shaping()
    if template_arguments:
        extra = json.loads(shaping.get("extra", "{}"))
        known = extra.get("chat_template_kwargs") or getattr(config, "chat_template_kwargs", {})
        shaping["extra"] = canonical_json(extra | {"chat_template_kwargs": {**known, **template_arguments}})
    if max_tokens is not None and "max_tokens" not in config.model_fields_set:
        shaping["max_tokens"] = max_tokens
    return Request(
        model_id=backend.model_id,
        endpoint=backend.endpoint,
        messages=as_messages(messages),
        draw=draw,
        attempt=attempt,
        schema=schema,
        row=row,
        reasoning="keep" if as_it_comes else config.reads_reasoning,
        media=media,
        words=words if getattr(config, "logprobs", 0) else (),
        raw=raw,
        **shaping,
    )
