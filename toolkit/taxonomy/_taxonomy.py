"""The taxonomy: pydantic models of ``schemas/taxonomies/<name>.yaml``.

A *scheme* is the vocabulary of one source. Its map says for every value which category it is, or None where the value names no
harm (``benign``, ``Safe``). A value without an entry is an error of the caller's row, never a guess: `Taxonomy.map` raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, model_validator

from toolkit.common.errors import InputError, did_you_mean
from toolkit.common.facets import Faceted, Part
from toolkit.common.paths import Beside
from toolkit.common.resources import find
from toolkit.common.yamlfile import load_yaml


class Category(Part):
    """One kind of harm."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    """Stands in the column `categories`."""
    title: str
    """For people."""
    description: str
    """One sentence."""
    terms: list[str] = Field(min_length=1)
    """Mild words and short phrases that the template teacher may quote."""


class Taxonomy(Faceted):
    """Categories, and for each scheme its values' categories. `facets`: as a guard's."""

    facets = {
        "name": ("name",),
        "version": ("version",),
        "names": ("categories.name",),
        "cues": ("categories.title", "categories.terms"),
        "maps": ("maps",),
        "descriptions": ("description", "categories.description"),
    }
    always = "name"

    name: str
    version: int
    description: str = ""
    categories: list[Category] = Field(min_length=1)
    maps: dict[str, dict[str, str | None]] = {}
    """scheme -> value -> name of a category, or null for a value that names no harm."""

    @model_validator(mode="after")
    def _names_fit(self) -> Taxonomy:
        names = [c.name for c in self.categories]
        if len(set(names)) < len(names):
            raise ValueError("two categories have the same name")
        for scheme, values in self.maps.items():
            for value, category in values.items():
                if category is not None and category not in names:
                    raise ValueError(f"maps.{scheme}: {value!r} goes to {category!r}, no category; {did_you_mean(category, names)}")
        if self.name in self.maps:
            raise ValueError(f"maps.{self.name}: the taxonomy's own names need no map")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the categories in order."""
        return tuple(c.name for c in self.categories)

    def category(self, name: str) -> Category:
        """The category of that name (KeyError if there is none)."""
        for c in self.categories:
            if c.name == name:
                return c
        raise KeyError(name)

    def scheme(self, name: str) -> Mapping[str, str | None]:
        """All values of a scheme with their categories. The taxonomy's own name is a scheme too: each category maps to itself.

        Raises:
            InputError: no such scheme.
        """
        if name == self.name:
            return {n: n for n in self.names}
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
    """Load a taxonomy by name or path.

    Raises:
        InputError: no such taxonomy; InputErrors: faults in its file, each with its line.
    """
    return load_yaml(find("taxonomies", name, beside)).model(Taxonomy)
