"""A recipe's parameters: values that its steps name as ``{category}``, given with ``--set category=…``, else as the recipe has them.

A text that is a parameter's placeholder alone becomes its value, whatever its type; within a longer text a value stands as it is printed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from toolkit.common.errors import InputError, did_you_mean
from toolkit.common.yamlfile import YamlFile

_NAME = re.compile(r"[a-z][a-z0-9_]*")


def parameters_of(file: YamlFile, own: Collection[str], given: Mapping[str, tuple[str, Any]]) -> dict[str, Any]:
    """Names and values of a recipe's parameters.

    Args:
        file: the recipe as read.
        own: keys that a recipe has, which no parameter may be called.
        given: overrides of parameters, by name: as given, and the value.

    Raises:
        InputError: a name that is none or is taken, a value that is no text, number, switch or list of these, one that is missing, a parameter that
            nothing uses.
    """
    written = file.data.get("parameters") or {}
    if not isinstance(written, dict):
        raise InputError("parameters are a mapping of names to values", where=file.where(("parameters",)), hint="parameters: {category: fraud}")
    out = {name: given[name][1] if name in given else value for name, value in written.items()}
    rest = {key: value for key, value in file.data.items() if key != "parameters"}
    for name, value in out.items():
        where = file.where(("parameters", name))
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name in own:
            raise InputError(f"a parameter cannot be called {name!r}", where=where, hint="small letters, digits and _, and no key of a recipe")
        if value is None:
            raise InputError(f"the parameter {name!r} has no value", where=where, hint=f"give it: --set {name}=VALUE")
        if not all(isinstance(item, str | int | float) for item in (value if isinstance(value, list) else [value])):
            raise InputError(f"the parameter {name!r} is no text, number, true, false or list of these", where=where)
        if not _mentions(rest, name):
            near = sorted(set(re.findall(r"{(\w+)}", str(rest))) - set(out))
            raise InputError(f"nothing in the recipe uses the parameter {name!r}", where=where, hint=did_you_mean(name, near) or f"write {{{name}}}")
    return out


def named_in(value: Any, names: Collection[str]) -> list[str]:
    """Which of the parameters `names` a value of the recipe has placeholders of."""
    return [name for name in names if _mentions(value, name)]


def _mentions(value: Any, name: str) -> bool:
    if isinstance(value, dict):
        return any(_mentions(v, name) for pair in value.items() for v in pair)
    if isinstance(value, list):
        return any(_mentions(v, name) for v in value)
    return isinstance(value, str) and f"{{{name}}}" in value


def fill(value: Any, words: Mapping[str, Any]) -> Any:
    """`value` with each ``{name}`` replaced, once: a word that holds braces is left alone. Keys stay texts."""
    if isinstance(value, str):
        if not words:
            return value
        if value[:1] == "{" and value[1:-1] in words and value[-1:] == "}":
            return words[value[1:-1]]
        return re.sub("{(" + "|".join(map(re.escape, words)) + ")}", lambda m: str(words[m[1]]), value)
    if isinstance(value, dict):
        return {str(fill(k, words)): fill(v, words) for k, v in value.items()}
    if isinstance(value, list):
        return [fill(v, words) for v in value]
    return value
