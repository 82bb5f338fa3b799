"""The taxonomy: pydantic models of ``schemas/taxonomies/<name>.yaml``.

A *scheme* is the vocabulary of one source. Its map says for every value which category it is, or None where the value names no
harm (``benign``, ``Safe``). A value without an entry is an error of the caller's row, never a guess: `Taxonomy.map` raises.

A file that `extends` another taxonomy holds what is new alone. It is read as one taxonomy: the categories of the other, then its own; the maps of
both, where its own values win; and the other's name as a scheme, so that data with the other's categories fit. A category of the other
cannot be redefined.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from pydantic import Field, model_validator

from toolkit.common.errors import InputError, InputErrors, did_you_mean, short_path
from toolkit.common.facets import Faceted
from toolkit.common.paths import Beside, Roots, is_there
from toolkit.common.resources import find
from toolkit.common.yamlfile import FaultAt, YamlFile, load_yaml, parse_yaml
from toolkit.taxonomy._category import Category
from toolkit.taxonomy._category_faults import category_faults

Maps = dict[str, dict[str, str | None]]
_DESCRIBING = ("definition", "includes", "excludes", "policy", "severity", "parent")


class _Fields(Faceted):
    """What a file has; how it fits together is not looked at."""

    facets = {
        "name": ("name",),
        "version": ("version",),
        "names": ("categories.name", "categories.aliases"),
        "cues": ("categories.title", "categories.cues"),
        "maps": ("maps",),
        "descriptions": ("description", "extends", *(f"categories.{n}" for n in _DESCRIBING)),
    }
    always = "name"
    later = frozenset({"extends"})

    name: str = Field(min_length=1)
    version: int
    description: str = ""
    extends: str | None = None
    """Another taxonomy, by name or as a path beside this file, whose categories and maps belong to this one, too."""
    categories: list[Category] = Field(min_length=1)
    maps: Maps = {}
    """scheme -> value -> name or alias of a category, or null for a value that names no harm."""


class Taxonomy(_Fields):
    """Categories, and for each scheme its values' categories. `facets`: as a guard's.

    One that was loaded has the categories and maps of what it extends, too.

    Example:
        >>> taxonomy = toolkit.load_taxonomy()
        >>> taxonomy.category("self_harm").title, taxonomy.map("aegis", "Suicide and Self Harm"), taxonomy.map("aegis", "Safe")
        ('Self-harm', 'self_harm', None)
    """

    @model_validator(mode="after")
    def _fits(self) -> Taxonomy:
        for message, key in _faults(self, None):
            raise FaultAt(message, *key)
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the categories in order."""
        return tuple(c.name for c in self.categories)

    def category(self, name: str) -> Category:
        """The category of that name or alias (KeyError if there is none)."""
        for c in self.categories:
            if c.name == name or name in c.aliases:
                return c
        raise KeyError(name)

    def definitions(self, names: Collection[str] | None = None) -> str:
        """What categories are, for a prompt: of each its title and `Category.policy_text`.

        Args:
            names: of categories, or aliases; others are left out. None: all.
        """
        shown = [c for c in self.categories if names is None or not {c.name, *c.aliases}.isdisjoint(names)]
        return "\n\n".join(f"{c.title}: {c.policy_text()}" for c in shown)

    def above(self, name: str) -> tuple[str, ...]:
        """The wider categories that a category is a part of, the nearest first (KeyError if there is none of that name or alias)."""
        out: list[str] = []
        parent = self.category(name).parent
        while parent is not None:
            found = self.category(parent)
            out.append(found.name)
            parent = found.parent
        return tuple(out)

    def scheme(self, name: str) -> Mapping[str, str | None]:
        """All values of a scheme with their categories. The taxonomy's own name is a scheme, too, of its categories' names and aliases.

        Raises:
            InputError: no such scheme.
        """
        if name == self.name:
            return _own_scheme(self.categories)
        if name not in self.maps:
            hint = did_you_mean(name, [self.name, *self.maps])
            raise InputError(f"taxonomy {self.name!r} has no map for the labels of {name!r}", hint=hint)
        return self.maps[name]

    def map(self, scheme: str, value: str) -> str | None:
        """The category of one value, or None where the value names no harm.

        Raises:
            InputError: no such scheme, or a value that its map does not know.
        """
        values = self.scheme(scheme)
        if value not in values:
            raise InputError(f"{value!r} is not in the map of {scheme!r} in taxonomy {self.name!r}", hint=did_you_mean(value, values))
        return values[value]


def load_taxonomy(name: str | Path = "guardkit", beside: Beside = None) -> Taxonomy:
    """Load a taxonomy by name or path, with what it extends.

    Args:
        name: a name in ``schemas/taxonomies`` (the working folder's, the recipe's, guardkit's), or a path that ends in ``.yaml``.
        beside: folder that a relative path is also looked up from (that of the recipe).

    Raises:
        InputError: no such taxonomy; InputErrors: faults in its file or in one that it extends, each with its line.

    Example:
        >>> toolkit.load_taxonomy("guardkit").names[:2]
        ('violence', 'terrorism')
    """
    roots = Roots.of(beside)
    return _loaded(find("taxonomies", name, roots), roots, ())


def parse_taxonomy(text: str, path: Path) -> Taxonomy:
    """The taxonomy of a text that is to be the file `path`; raises as `load_taxonomy`."""
    return _resolved(parse_yaml(text, short_path(path)), path, Roots.of(None), ())


def _loaded(path: Path, roots: Roots, below: tuple[Path, ...]) -> Taxonomy:
    """The taxonomy of a file; `below` are those that extend it."""
    return _resolved(load_yaml(path), path, roots, below)


def _resolved(file: YamlFile, path: Path, roots: Roots, below: tuple[Path, ...]) -> Taxonomy:
    own = file.model(_Fields)
    base = None if own.extends is None else _base(own.extends, file, path, roots, (*below, path))
    if faults := [InputError(message, where=file.where(key)) for message, key in _faults(own, base)]:
        raise InputErrors(faults)
    categories, maps = own.categories, own.maps
    if base is not None:
        categories = [*base.categories, *own.categories]
        both: Maps = {base.name: dict(base.scheme(base.name)), **base.maps}
        maps = {scheme: {**both.get(scheme, {}), **own.maps.get(scheme, {})} for scheme in (*both, *own.maps)}
    named = _own_scheme(categories)
    maps = {scheme: {value: named.get(c or "") for value, c in values.items()} for scheme, values in maps.items()}
    return Taxonomy.model_construct(**{**dict(own), "categories": categories, "maps": maps})


def _base(name: str, file: YamlFile, path: Path, roots: Roots, below: tuple[Path, ...]) -> Taxonomy:
    """What a file extends: beside it, else wherever a taxonomy of that name is."""
    where, beside = file.where(("extends",)), path.parent / f"{name}.yaml"
    try:
        found = beside if is_there(beside, Path.is_file) else find("taxonomies", name, Roots((path.parent, *roots.folders), roots.read))
    except InputError as e:
        raise InputError(e.message if e.where is None else f"{e.message}: {e.where}", where=where, hint=e.hint) from None
    roots.saw(found)
    if any(is_there(other) and found.samefile(other) for other in below):
        chain = " → ".join(short_path(p) for p in (*below, found))
        raise InputError(f"a taxonomy cannot extend itself: {chain}", where=where, hint="name another one, or leave `extends` away")
    return _loaded(found, roots, below)


def _own_scheme(categories: list[Category]) -> dict[str, str | None]:
    return {word: c.name for c in categories for word in (c.name, *c.aliases)}


def _faults(own: _Fields, base: Taxonomy | None) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    """What does not fit in a file, each with its key; `base`: what it extends."""
    if base is not None and own.name == base.name:
        yield f"the taxonomy that it extends is called {own.name!r}, too: give this one a name of its own", ("name",)
    yield from category_faults(own.categories, [] if base is None else base.categories, "" if base is None else base.name)
    names = {c.name for c in (*own.categories, *([] if base is None else base.categories))}
    known = names | {alias for c in (*own.categories, *([] if base is None else base.categories)) for alias in c.aliases}
    for scheme, values in own.maps.items():
        if scheme == own.name:
            yield f"maps.{scheme}: the taxonomy's own names need no map", ("maps", scheme)
        for value, category in values.items():
            if category is not None and category not in known:
                yield f"maps.{scheme}: {value!r} goes to {category!r}, no category; {did_you_mean(category, names)}", ("maps", scheme, value)
