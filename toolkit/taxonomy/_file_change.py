"""A category of a taxonomy's file renamed, merged into another one or taken away: the text with what says so changed, comments and all else kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from toolkit.common.errors import InputError, short_path
from toolkit.common.yamlfile import parse_yaml

Edit = tuple[int, int, str]
"""Characters from and to, and what is there instead."""


def change_category(text: str, path: Path, name: str, to: str | None, *, base: bool = False) -> str:
    """The text of a taxonomy's file in which a category has another name, is a part of another one, or is gone.

    A category that is renamed, or merged into one of the same file, leaves its names as aliases there. Parents and maps follow; where a category is
    taken away, its parent stands in for it as a parent, and its labels go to null.

    Args:
        text: of the file, which is a sound one.
        path: of it, for messages.
        name: of the category, or an alias.
        to: its new name, or another category's; None takes it away.
        base: that other one is of what the file extends, where no alias can be added.

    Returns:
        The new text; empty where the category was the file's only one and is no longer in it.

    Raises:
        InputError: the file has no such category, or has its categories in one line.
    """
    data = parse_yaml(text, short_path(path)).data
    own: list[dict[str, Any]] = data["categories"]
    at = next((i for i, c in enumerate(own) if name in _words(c)), None)
    if at is None:
        raise InputError(f"no category {name!r} in this file", where=short_path(path))
    if len(own) == 1 and (to is None or base):
        return ""
    top = _keys(yaml.compose(text, Loader=yaml.SafeLoader))
    items: list[Any] = top["categories"].value
    words = _words(own[at])
    edits: list[Edit] = []
    for i, item in enumerate(items):
        if i != at and (parent := _keys(item).get("parent")) is not None and parent.value in words:
            wider = own[at].get("parent") or "null"
            edits.append(_value(parent, wider if to is None or to in _named(item) else to))
    for scheme in _keys(top.get("maps")).values():
        edits += [_value(label, to or "null") for label in _keys(scheme).values() if label.value in words]
    return _applied(text, [*edits, *_moved(text, path, top["categories"], at, words, to, base=base)])


def _moved(text: str, path: Path, categories: Any, at: int, words: list[str], to: str | None, *, base: bool) -> list[Edit]:
    """The edits of the category itself, and of the one that takes its names; `base`: that one is not in this file."""
    items = categories.value
    taker = next((i for i, item in enumerate(items) if to is not None and to in _named(item)), None)
    if to is not None and not base and taker in (None, at):  # another name, perhaps one of its aliases
        return [_value(_keys(items[at])["name"], to), *_with_aliases(text, items[at], [w for w in words if w != to])]
    if categories.flow_style:
        raise InputError("its categories are in one line", where=short_path(path), hint="write one a line, or change the file by hand")
    start = text.rfind("\n", 0, items[at].start_mark.index) + 1
    end = text.find("\n", _end(items[at]) - 1) + 1 or len(text)
    return [(start, end, ""), *(_with_aliases(text, items[taker], [*_named(items[taker])[1:], *words]) if taker is not None else [])]


def _with_aliases(text: str, item: Any, aliases: list[str]) -> list[Edit]:
    """The edits after which a category has these aliases."""
    keys, listed = _keys(item), f"[{', '.join(aliases)}]"
    if (there := keys.get("aliases")) is not None:
        return [(there.start_mark.index, _end(there), listed)]
    name = keys["name"]
    if item.flow_style:
        return [(name.end_mark.index, name.end_mark.index, f", aliases: {listed}")]
    end = text.find("\n", name.end_mark.index)
    end = len(text) if end < 0 else end
    return [(end, end, f"\n{' ' * item.value[0][0].start_mark.column}aliases: {listed}")]


def _end(node: Any) -> int:
    """Where a node ends: of one in several lines the last of what is in it, without the comments and empty lines behind."""
    if isinstance(node, yaml.ScalarNode) or node.flow_style:
        return int(node.end_mark.index)
    parts = [part for pair in node.value for part in (pair if isinstance(pair, tuple) else (pair,))]
    return max([_end(part) for part in parts], default=int(node.end_mark.index))


def _named(item: Any) -> list[str]:
    """Name and aliases of a category's node."""
    keys = _keys(item)
    return [keys["name"].value, *(n.value for n in getattr(keys.get("aliases"), "value", None) or ())]


def _words(category: dict[str, Any]) -> list[str]:
    return [category["name"], *(category.get("aliases") or ())]


def _keys(node: Any) -> dict[str, Any]:
    """The nodes of a mapping by their keys."""
    return {key.value: value for key, value in node.value} if isinstance(node, yaml.MappingNode) else {}


def _value(node: Any, new: str) -> Edit:
    return node.start_mark.index, node.end_mark.index, new


def _applied(text: str, edits: list[Edit]) -> str:
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text
