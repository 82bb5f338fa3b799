"""Rows with media on their way to a model: refused where one would have to be left out, before anything is paid for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from toolkit.common.errors import InputError
from toolkit.generation import BaseBackendConfig, MediaError, attached_to
from toolkit.guards import not_ours
from toolkit.operators.base import Operator, Unasked
from toolkit.records import KINDS, MEDIA

if TYPE_CHECKING:
    from toolkit.generation import Attached
    from toolkit.guards import Guard

T = TypeVar("T")

REFUSED = "media_not_taken"
"""Reason code of a row whose media the guard, the teacher or the backend does not take."""


def asking_fault(guard: Guard | None, configs: Sequence[BaseBackendConfig]) -> str | None:
    """Why no row with media can be asked about; None where some can, be it not of every kind.

    Args:
        guard: in whose words is asked; None: in others, which may be about anything.
        configs: who is asked.
    """
    judged = KINDS if guard is None else guard.media
    if guard is not None and not judged:
        return f"the guard {guard.name!r} does not judge media: a guard says what it judges in `inputs`, [prompt, response, image] say"
    for config in configs:
        if not config.carries.intersection(judged):
            return f"the backend {config.backend!r} cannot carry {' or '.join(judged)}"
    return None


def unasked(ask: Callable[[], T]) -> T:
    """What `ask` gives; a row whose media cannot go along is not asked about (Unasked)."""
    try:
        return ask()
    except MediaError as e:
        raise Unasked(REFUSED, str(e)) from None


def attach(row: Mapping[str, Any], folder: Path, guard: Guard | None, configs: Sequence[BaseBackendConfig]) -> tuple[Attached, ...]:
    """The files of a row, which all of `configs` must carry.

    Raises:
        Unasked: kinds that the guard does not judge, or one of the backends cannot carry.
    """
    if not row.get(MEDIA):
        return ()
    asker, judged = ("the question", KINDS) if guard is None else (f"the guard {guard.name!r}", guard.media)
    carried: Collection[str] = frozenset(KINDS).intersection(*(c.carries for c in configs))
    return unasked(lambda: attached_to(row, folder, asker=asker, judged=judged, carried=carried))


def refuse_guard(operator: Operator, guard: Guard) -> None:
    """Raise InputError for a guard that was trained elsewhere where an operator needs one that guardkit trains."""
    if operator.own_guards and guard.calls:
        raise not_ours(guard, f"cannot go through {operator.name!r}")


def refuse_media(operator: Operator, guard: Guard) -> None:
    """Refuse rows with media for an operator that they cannot go through.

    Raises:
        InputError: it is such a one.
    """
    if (fault := operator.media_fault(guard)) is not None:
        hint = "`select` with `where: {media: empty}` lets the rows without media go on as rows of text"
        raise InputError(f"rows with media cannot go through {operator.name!r}: {fault}", hint=hint)
