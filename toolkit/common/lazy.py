"""Packages whose names load their modules when they are first used (PEP 562), so that a command loads what it needs and no more.

What such a package offers is in one place, where type checkers read it, too: the imports below its ``if TYPE_CHECKING:``, one a line.

    if TYPE_CHECKING:
        from toolkit.api._run import run as run
        from toolkit.other import *

The second form offers all that another such package does. ``__all__`` comes of the same lines.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

_LINE = r"^    from ([\w.]+) import (?:(\w+) as \2|\*)(?:  #.*)?$"


def lazily(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The ``__getattr__`` and the ``__dir__`` of a package: what it offers is found and listed before it is loaded.

    Args:
        package: its ``__name__``.
    """

    @cache
    def home() -> dict[str, str]:
        """By each name the module that has it."""
        import re

        spec = sys.modules[package].__spec__
        source = getattr(spec.loader if spec else None, "get_source", lambda _: None)(package) or ""
        out: dict[str, str] = {}
        for module, name in re.findall(_LINE, source, re.MULTILINE):
            out |= {name: module} if name else dict.fromkeys(import_module(module).__all__, module)
        return out

    def find(name: str) -> Any:
        found: Any
        if name == "__all__":
            found = sorted(home(), key=lambda n: (not n.isupper(), not n[0].isupper(), n))  # constants, classes, functions: as ruff sorts them
        elif name.startswith("__") or name not in home():
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        else:
            found = getattr(import_module(home()[name]), name)
        setattr(sys.modules[package], name, found)
        return found

    def names() -> list[str]:
        offered = home()  # this may load packages below the package, which then are among its own names
        there = vars(sys.modules[package]).items()
        own = (n for n, value in there if n.startswith("__") or (isinstance(value, ModuleType) and not n.startswith("_")))
        return sorted({*offered, *own})

    return find, names
