"""Harm categories: what there are, one of them whole, and how two vocabularies fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.common.errors import InputError, did_you_mean
from toolkit.common.paths import Beside
from toolkit.common.resources import names
from toolkit.report import Figures, Lines
from toolkit.taxonomy import Category, Taxonomy, load_taxonomy

DEFAULT = "guardkit"


def list_categories(taxonomy: str | Path = DEFAULT) -> Lines:
    """The categories of a taxonomy, with those of what it extends.

    Returns:
        By category ``name``, ``title``, ``severity``, ``parent``, ``definition``, the number of ``included`` and ``excluded`` examples and of
        ``cues``, its ``aliases``, and the number of ``labels`` that the taxonomy's maps lead to it.

    Raises:
        InputError: no such taxonomy, or faults in its file.

    Example:
        >>> [line["name"] for line in toolkit.list_categories() if line["parent"] == "violence"]
        ['terrorism', 'threats', 'graphic_violence', 'animal_cruelty']
    """
    found = load_taxonomy(taxonomy)
    return Lines(
        {
            "name": c.name,
            "title": c.title,
            "severity": c.severity,
            "parent": c.parent,
            "definition": c.definition.strip(),
            "included": sum(len(rule.examples) for rule in c.includes),
            "excluded": sum(len(rule.examples) for rule in c.excludes),
            "cues": len(c.cues),
            "aliases": list(c.aliases),
            "labels": sum(len(values) for values in _labels(found, c).values()),
        }
        for c in found.categories
    )


def describe_category(name: str, taxonomy: str | Path | None = None) -> Figures:
    """One category whole.

    Args:
        name: of the category, or an alias.
        taxonomy: by name or file; without it guardkit's own, then those in ``schemas/taxonomies``.

    Returns:
        Its fields as a file has them, ``policy`` as a prompt has it, and ``taxonomy``, ``above`` (wider categories, the nearest first), ``below``
        (narrower ones), ``labels`` (by scheme the labels that are this category).

    Raises:
        InputError: no such category or taxonomy, or faults in a taxonomy's file.

    Example:
        >>> toolkit.describe_category("threats")["labels"]["aegis"]
        ['Threat']
    """
    found = holding(name, taxonomy)
    category = found.category(name)
    return Figures(
        {
            "taxonomy": found.name,
            **category.model_dump(mode="json"),
            "policy": category.policy_text(),
            "above": list(found.above(category.name)),
            "below": [c.name for c in found.categories if category.name in found.above(c.name)],
            "labels": _labels(found, category),
        }
    )


def map_categories(one: str | Path, other: str | Path, taxonomy: str | Path | None = None) -> Figures:
    """How two vocabularies fit: which labels of the one are which of the other, by the categories that a taxonomy maps both to.

    Args:
        one, other: each a taxonomy (by name or file) or a scheme of one, such as ``wildguard`` or ``mlcommons``.
        taxonomy: the one that knows both; without it `one` or `other` where it is a taxonomy that does, else guardkit's own.

    Returns:
        ``taxonomy``, ``one``, ``other``, ``there`` and ``back`` (by label ``label``, ``category``, and the other's labels of the ``same``, of
        ``wider`` and of ``narrower`` categories), ``unmatched`` (by vocabulary the labels that have none of these), ``harmless`` (labels that
        name no harm).

    Raises:
        InputError: no taxonomy knows both, or faults in a file.

    Example:
        >>> found = toolkit.map_categories("shieldgemma", "mlcommons")
        >>> [(line["label"], line["same"]) for line in found["there"]][1]
        ('No Hate Speech', ['S10'])
    """
    pivot, first, second = _pivot(str(one), str(other), taxonomy)
    left, right = pivot.scheme(first), pivot.scheme(second)
    there, back = _fits(pivot, left, right), _fits(pivot, right, left)
    alone = {first: _alone(there), second: _alone(back)}
    harmless = {name: [label for label, c in values.items() if c is None] for name, values in ((first, left), (second, right))}
    return Figures({"taxonomy": pivot.name, "one": first, "other": second, "there": there, "back": back, "unmatched": alone, "harmless": harmless})


def holding(name: str, taxonomy: str | Path | None, beside: Beside = None) -> Taxonomy:
    """The taxonomy that has a category of this name or alias: the one named, else guardkit's own or one of the user's."""
    tried = [taxonomy] if taxonomy is not None else list(dict.fromkeys([DEFAULT, *names("taxonomies", beside)]))
    known: dict[str, None] = {}
    for each in tried:
        found = load_taxonomy(each, beside)
        try:
            found.category(name)
        except KeyError:
            known |= dict.fromkeys(found.names)
        else:
            return found
    raise InputError(f"no category called {name!r} in {', '.join(map(str, tried))}", hint=did_you_mean(name, known))


def _labels(taxonomy: Taxonomy, category: Category) -> dict[str, list[str]]:
    found = {scheme: [label for label, c in values.items() if c == category.name] for scheme, values in taxonomy.maps.items()}
    return {scheme: labels for scheme, labels in found.items() if labels}


def _pivot(one: str, other: str, taxonomy: str | Path | None) -> tuple[Taxonomy, str, str]:
    """The taxonomy that knows both as schemes, and what it calls them."""
    own: dict[str, Taxonomy] = {}
    for name in (one, other):
        if name.endswith((".yaml", ".yml")) or name in names("taxonomies"):
            own[name] = load_taxonomy(name)
    called = {name: own[name].name if name in own else name for name in (one, other)}
    tried = [load_taxonomy(taxonomy)] if taxonomy is not None else [*own.values(), load_taxonomy()]
    for found in tried:
        if all(name == found.name or name in found.maps for name in called.values()):
            return found, called[one], called[other]
    known = sorted({name for found in tried for name in (found.name, *found.maps)})
    if (missing := next((name for name in called.values() if name not in known), None)) is not None:
        raise InputError(f"no taxonomy and no scheme called {missing!r}", hint=did_you_mean(missing, known))
    raise InputError(f"no taxonomy maps both {one!r} and {other!r}", hint="name one that does with {--taxonomy|taxonomy}, or add a map to a file")


def _fits(taxonomy: Taxonomy, left: Mapping[str, str | None], right: Mapping[str, str | None]) -> Lines:
    out = Lines()
    for label, category in left.items():
        if category is None:
            continue
        above = set(taxonomy.above(category))
        line: dict[str, Any] = {"label": label, "category": category, "same": [], "wider": [], "narrower": []}
        for other, its in right.items():
            if its == category:
                line["same"].append(other)
            elif its in above:
                line["wider"].append(other)
            elif its is not None and category in taxonomy.above(its):
                line["narrower"].append(other)
        out.append(line)
    return out


def _alone(lines: Lines) -> list[str]:
    return [line["label"] for line in lines if not (line["same"] or line["wider"] or line["narrower"])]
