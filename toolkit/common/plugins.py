"""Names that other packages may add to: one mechanism for operators, backends, shard kinds, exporters, card sections and trainers.

Contract: guardkit's own are named in a table and loaded when they are asked for; another package brings its own through an entry-point group, and
cannot take a name of guardkit's own. Listing loads nothing, and a name of guardkit's own is found without looking for other packages: that costs
some milliseconds, once a process. An installed package changes nothing by itself: what it brings is used where it is named.

Failure semantics: an unknown name is an `InputError` with the nearest one; so is what cannot be loaded, or is not what it is meant to be, with the
package that brings it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from toolkit.common.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")


class Registry(Generic[T]):
    """What there is of a kind, by name.

    Args:
        what: the kind in words, for errors.
        group: the entry-point group of other packages (name = ``module:attribute``).
        own: guardkit's own, by name: ``module:attribute``.
        fits: whether something is of the kind, under a name.
        base: what it should be, for errors.
    """

    def __init__(self, what: str, group: str, own: Mapping[str, str], fits: Callable[[str, Any], bool], base: str) -> None:
        self.what, self.group, self.own, self.fits, self.base = what, group, own, fits, base

    def names(self) -> list[str]:
        """All names, those of other packages last."""
        return [*self.own, *self.others()]

    def others(self) -> list[str]:
        """Names that other packages bring."""
        return sorted({e.name for e in entries(self.group)} - set(self.own))

    def get(self, name: str) -> T:
        """What has that name.

        Raises:
            InputError: nothing has (the message has the nearest name), or another package's cannot be loaded or is of another kind.
        """
        if name in self.own:
            module, _, attribute = self.own[name].partition(":")
            own: T = getattr(import_module(module), attribute)
            return own
        entry = next((e for e in entries(self.group) if e.name == name), None)
        if entry is None:
            raise InputError(f"unknown {self.what} {name!r}", hint=did_you_mean(name, self.names()))
        package = entry.dist.name if entry.dist else "another package"
        try:
            found: Any = entry.load()
        except Exception as e:  # whatever a foreign module raises while it is imported
            raise InputError(f"the {self.what} {name!r} of {package} cannot be loaded: {type(e).__name__}: {e}", where=entry.value) from e
        if not self.fits(name, found):
            raise InputError(f"{name!r} of {package} is no {self.base}", where=entry.value)
        loaded: T = found
        return loaded


def entries(group: str) -> tuple[EntryPoint, ...]:
    """The entry points of a group in the packages that are installed."""
    return _entries(group, tuple(sys.path))


@lru_cache(maxsize=32)
def _entries(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    from importlib.metadata import entry_points

    return tuple(entry_points(group=group))
