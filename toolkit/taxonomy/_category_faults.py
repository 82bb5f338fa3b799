"""What does not fit among the categories of a file, or between them and those of the taxonomy that it extends."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from toolkit.common.errors import did_you_mean
from toolkit.taxonomy._category import Category

Fault = tuple[str, tuple[str | int, ...]]
"""What is wrong, and its key in the file."""


def category_faults(own: Sequence[Category], base: Sequence[Category], extended: str) -> Iterator[Fault]:
    """The faults of a file's categories.

    Args:
        own: the file's.
        base: those of the taxonomy that it extends, none without.
        extended: the name of that taxonomy.
    """
    yield from _repeated(own, base, extended)
    yield from _parents(own, base)
    yield from _overlapping(own, base)


def _repeated(own: Sequence[Category], base: Sequence[Category], extended: str) -> Iterator[Fault]:
    """Names and aliases that are given twice."""
    kept = "; what is extended cannot be redefined: take another name"
    seen = {c.name: f"{c.name!r} is a category of {extended!r}{kept}" for c in base}
    seen |= {alias: f"{alias!r} is an alias of {c.name!r} in {extended!r}{kept}" for c in base for alias in c.aliases}
    for i, category in enumerate(own):
        for key, word in (("name",), category.name), *((("aliases", n), alias) for n, alias in enumerate(category.aliases)):
            if word in seen:
                yield f"two categories have the same name: {seen[word]}", ("categories", i, *key)
            else:
                kind = "a category" if key == ("name",) else f"an alias of {category.name!r}"
                seen[word] = f"{word!r} is {kind} in this file already"


def _parents(own: Sequence[Category], base: Sequence[Category]) -> Iterator[Fault]:
    """Parents that are no category, or lead back to the category itself."""
    ways = {word: c for c in (*base, *own) for word in (c.name, *c.aliases)}
    for i, category in enumerate(own):
        if category.parent is None:
            continue
        if category.parent not in ways:
            yield f"no category {category.parent!r}: {did_you_mean(category.parent, ways)}", ("categories", i, "parent")
            continue
        chain = [category.name]
        above: Category | None = ways[category.parent]
        while above is not None and above.name not in chain:
            chain.append(above.name)
            above = ways.get(above.parent) if above.parent is not None else None
        if above is not None and above.name == category.name:
            yield f"its parents lead back to itself: {' → '.join([*chain, category.name])}", ("categories", i, "parent")


def _overlapping(own: Sequence[Category], base: Sequence[Category]) -> Iterator[Fault]:
    """Definitions that have another category's alias in them: one of the two is not what it seems to be."""
    for i, category in enumerate(own):
        for other in (*base, *own):
            if other is category:
                continue
            for alias in other.aliases:
                if _has(category.definition, alias):
                    yield f"the definition has {alias!r} in it, an alias of {other.name!r}", ("categories", i, "definition")
        for n, alias in enumerate(category.aliases):
            for other in base:
                if _has(other.definition, alias):
                    yield f"the definition of {other.name!r}, which is extended, has this alias in it: {alias!r}", ("categories", i, "aliases", n)


def _has(text: str, name: str) -> bool:
    """Whether a name stands in a text as words of their own."""
    words = r"[\s_-]+".join(re.escape(part) for part in re.split(r"[_-]+", name) if part)
    return re.search(rf"(?<!\w){words}(?!\w)", text, re.IGNORECASE) is not None
