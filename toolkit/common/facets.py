"""A definition of which a reader is shown some parts alone.

A *facet* is a named part of a definition: a guard's input, a taxonomy's maps. Whoever is to read some facets gets an object of the same class that
has the fields of these and no others (`Faceted.only`); reading another one is `Undeclared`. So what is declared is all that can have been read, and a
step's fingerprint, which covers what is declared, cannot leave out what shaped it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, cast

from pydantic import BaseModel, ConfigDict

from toolkit.common.errors import BrokenContract
from toolkit.common.files import digest


class Undeclared(BrokenContract):
    """Something was read that its reader has not declared: a bug in the reader, never a user's fault."""


class Part(BaseModel):
    """A part of a definition, which may be shown without some of its fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    later: ClassVar[frozenset[str]] = frozenset()
    """Fields that came after the first release: at their default no digest covers them, so that those of definitions that lack them stay."""
    digested: ClassVar[Mapping[str, str]] = {}
    """Fields that had another name in the first release, with that name: digests go by it, so that they stay."""

    if not TYPE_CHECKING:  # to which every attribute would be there

        def __getattr__(self, name: str) -> Any:  # asked where there is nothing of that name
            if name in type(self).__pydantic_fields__:
                raise Undeclared(f"{type(self).__name__}.{name} was read by an operator that does not name it in its `uses`")
            return super().__getattr__(name)

    def replaced(self, **fields: Any) -> Self:
        """A copy with other values in some fields, be they shown or not; nothing is checked."""
        return _made(type(self), {n: self.__dict__[n] for n in type(self).__pydantic_fields__ if n in self.__dict__} | fields)


P = TypeVar("P", bound=Part)
F = TypeVar("F", bound="Faceted")


class Faceted(Part):
    """A whole definition. Equal ones are equal and hash alike; one that shows less is another."""

    facets: ClassVar[Mapping[str, tuple[str, ...]]]
    """By facet the fields that it has; one of a part, or of each part of a list, with a dot: ``tasks.labels``. What is in none shapes nothing."""
    always: ClassVar[str]
    """The facet that is shown with any other: it has the name, which messages use."""

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of what is shown, but for what is in no facet."""
        return digest(_plain(self, {path.partition(".")[0] for paths in self.facets.values() for path in paths}))

    def only(self, facets: Collection[str]) -> Self:
        """This definition with the fields of some facets and no others; the same object for the same facets.

        Raises:
            KeyError: no facet of that name.
        """
        found: Self = _only(self, frozenset(facets))
        return found

    def digests(self, facets: Collection[str]) -> dict[str, str]:
        """By facet, and for the one that is always shown, the digest of what it has."""
        names = sorted({*facets, self.always}) if facets else []
        return {name: digest(_plain(_part(self, self.facets[name]))) for name in names}


@lru_cache(maxsize=128)
def _only(whole: F, facets: frozenset[str]) -> F:
    names = {*facets, whole.always} if facets else set()
    return _part(whole, [path for name in sorted(names) for path in whole.facets[name]])


def _part(part: P, paths: Collection[str]) -> P:
    """A copy that has some fields alone."""
    shown: dict[str, Any] = {}
    for name in type(part).__pydantic_fields__:
        below = [rest for first, _, rest in (path.partition(".") for path in paths) if first == name]
        if not below or name not in part.__dict__:
            continue
        value = part.__dict__[name]
        whole = "" in below
        if whole or value is None:
            shown[name] = value
        else:
            shown[name] = [_part(v, below) for v in value] if isinstance(value, list) else _part(value, below)
    return _made(type(part), shown)


def _made(cls: type[P], fields: Mapping[str, Any]) -> P:
    out = cls.model_construct(**fields)
    for name in set(out.__dict__) - set(fields):  # defaults that it was given
        del out.__dict__[name]
    return cast("P", out)


def _plain(value: Any, fields: Collection[str] | None = None) -> Any:
    """The fields that a part has, as JSON has them."""
    if isinstance(value, Part):
        known = type(value).__pydantic_fields__
        own = {n: value.__dict__[n] for n in known if n in value.__dict__ and (fields is None or n in fields)}
        names = value.digested
        return {names.get(n, n): _plain(v) for n, v in own.items() if n not in value.later or v != known[n].get_default(call_default_factory=True)}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
