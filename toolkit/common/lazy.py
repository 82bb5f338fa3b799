"""Packages whose names load their modules when they are first used (PEP 562), so that a command loads what it needs and no more."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any


def lazily(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The ``__getattr__`` and the ``__dir__`` of a package: what it offers is found and listed before it is loaded.

    Args:
        package: its ``__name__``.
        homes: for each module, by its name below the package or in full, the names that it gives to the package, with spaces between.
    """
    home = {name: f"{package}.{module}" if module.startswith("_") else module for module, names in homes.items() for name in names.split()}

    def find(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(import_module(home[name]), name)
        setattr(sys.modules[package], name, found)
        return found

    def names() -> list[str]:
        there = vars(sys.modules[package]).items()
        own = (n for n, value in there if n.startswith("__") or (isinstance(value, ModuleType) and not n.startswith("_")))
        return sorted({*home, *own})

    return find, names
