"""Jinja templates of prompts: sandboxed, strict about their variables, and checked when they are read.

What a template may take of memory and time is bounded (`toolkit.guards._sandbox`); what goes beyond is Jinja's `SecurityError`.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import jinja2


@lru_cache(maxsize=256)
def template(source: str) -> jinja2.Template:
    """A sandboxed Jinja template: no attribute of Python's internals, no undefined variable, text inserted as it is and never read as a template.

    Raises:
        InputError: not valid Jinja.
    """
    from jinja2 import TemplateSyntaxError, nodes

    from toolkit.guards._sandbox import ENVIRONMENT

    try:
        kinds: Any = (nodes.Include, nodes.Extends, nodes.Import, nodes.FromImport)
        if (other := ENVIRONMENT.parse(source).find(kinds)) is not None:
            word = {"Include": "include", "Extends": "extends", "Import": "import", "FromImport": "from"}[type(other).__name__]
            raise InputError(f"a template stands alone: {{% {word} %}} finds no other one", where=f"line {other.lineno} of it")
        return ENVIRONMENT.from_string(source)
    except TemplateSyntaxError as e:
        raise InputError(f"not a valid template: {e.message}", where=f"line {e.lineno} of it") from None
    except (RecursionError, SyntaxError, MemoryError):  # of Python's own compiler, which takes twenty loops in each other and no more
        raise InputError("not a valid template: nested too deeply") from None


def variables(source: str) -> set[str]:
    """Names that a template looks up.

    Raises:
        ValueError: not valid Jinja.
    """
    from jinja2.meta import find_undeclared_variables

    from toolkit.guards._sandbox import ENVIRONMENT

    try:
        template(source)
    except InputError as e:
        raise ValueError(e.message + (f" ({e.where})" if e.where else "")) from None
    return find_undeclared_variables(ENVIRONMENT.parse(source))


def check_template(source: str, known: Collection[str], needed: Collection[str] = ()) -> None:
    """Check that a template is valid Jinja, uses no variable but those in `known`, and every one in `needed`.

    Raises:
        ValueError: it does not.
    """
    used = variables(source)
    for name in sorted(used - set(known)):
        raise ValueError(f"unknown variable {name!r} in the template: {did_you_mean(name, known)}")
    for name in sorted(set(needed) - used):
        raise ValueError(f"the template does not use {{{{ {name} }}}}: what it holds would be lost")
