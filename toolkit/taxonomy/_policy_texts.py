"""Policies of categories as one text: what a guard is shown that judges by a policy given with the question."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from toolkit.common.errors import InputError, did_you_mean
from toolkit.common.paths import Beside, Roots, is_there
from toolkit.taxonomy._category import Category
from toolkit.taxonomy._taxonomy import Taxonomy, load_taxonomy

_TEXTS = (".txt", ".md")


def policies_text(categories: Iterable[Category]) -> str:
    """The policies of some categories, one below the other, each under its title; in the order given.

    Example:
        >>> taxonomy = toolkit.load_taxonomy("guardkit")
        >>> print(policies_text([taxonomy.category("privacy")]).split("\\n")[0])
        Policy 1: Privacy
    """
    return "\n\n".join(f"Policy {n}: {c.title}\n{c.policy_text().strip()}" for n, c in enumerate(categories, 1))


def find_policy(named: str | Path | Sequence[str], beside: Beside = None) -> str:
    """A policy from what a user names.

    Args:
        named: a taxonomy by name or file, for all of its categories (``guardkit``); ``guardkit:privacy,cybercrime`` for some of them; a text file
            (.txt, .md) with the policy; or a list of categories of the taxonomy ``guardkit``.
        beside: folder that a relative path is also looked up from.

    Raises:
        InputError: no such taxonomy, category or file, or an empty text.
    """
    if not isinstance(named, str | Path):
        return policies_text(_some(load_taxonomy("guardkit", beside), list(named)))
    text = str(named)
    if text.lower().endswith(_TEXTS):
        return _written(text, beside)
    name, colon, categories = text.rpartition(":") if not is_there(Path(text)) else (text, "", "")
    taxonomy = load_taxonomy(name if colon else text, beside)
    wanted = [c.strip() for c in categories.split(",") if c.strip()] if colon else list(taxonomy.names)
    return policies_text(_some(taxonomy, wanted))


def _written(name: str, beside: Beside) -> str:
    path = Roots.of(beside).first(name, lambda p: is_there(p, Path.is_file))
    if path is None:
        raise InputError("no such file", where=name, hint="a policy is a taxonomy (guardkit, guardkit:privacy,cybercrime) or a text file")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError("the policy is not UTF-8 text", where=str(path)) from None
    if not text.strip():
        raise InputError("the policy is empty", where=str(path))
    return text


def _some(taxonomy: Taxonomy, names: Sequence[str]) -> list[Category]:
    if not names:
        raise InputError("no category is named", hint=f"categories of {taxonomy.name}: {', '.join(taxonomy.names)}")
    out = []
    for name in names:
        try:
            out.append(taxonomy.category(name))
        except KeyError:
            hint = did_you_mean(name, taxonomy.names)
            raise InputError(f"the taxonomy {taxonomy.name!r} has no category {name!r}", hint=hint) from None
    return out
