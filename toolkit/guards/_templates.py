"""Jinja templates of prompts: sandboxed, strict about their variables, and checked when they are read."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import TYPE_CHECKING

from toolkit.common.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment


@lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)


@lru_cache(maxsize=256)
def template(source: str) -> jinja2.Template:
    """A sandboxed Jinja template: no attribute of Python's internals, no undefined variable, text inserted as it is and never read as a template.

    Raises:
        InputError: not valid Jinja.
    """
    from jinja2 import TemplateSyntaxError

    try:
        return _environment().from_string(source)
    except TemplateSyntaxError as e:
        raise InputError(f"not a valid template: {e.message}", where=f"line {e.lineno} of it") from None


def variables(source: str) -> set[str]:
    """Names that a template looks up.

    Raises:
        ValueError: not valid Jinja.
    """
    from jinja2 import TemplateSyntaxError
    from jinja2.meta import find_undeclared_variables

    try:
        return find_undeclared_variables(_environment().parse(source))
    except TemplateSyntaxError as e:
        raise ValueError(f"not a valid template: {e.message} (line {e.lineno} of it)") from None


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
