"""What the processes of a training do once between them. In a training of one process all of it is that one's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar, cast

T = TypeVar("T")


def is_first() -> bool:
    """Whether this process is the one that writes and reports."""
    from accelerate import PartialState

    return bool(PartialState().is_main_process)


@contextmanager
def first_alone() -> Iterator[None]:
    """The first process does the block while the others wait, then they do it, and find what it left on disk."""
    from accelerate import PartialState

    with PartialState().main_process_first():
        yield


def of_the_first(make: Callable[[], T]) -> T:
    """What the first process makes, in each of them."""
    from accelerate.utils import broadcast_object_list

    found: list[T | None] = [make() if is_first() else None]
    return cast("T", broadcast_object_list(found)[0])
