"""Jinja templates of prompts: sandboxed, strict about their variables, and checked when they are read.

An operation that would make a text, list or number of more than `LARGEST` is refused when the template is rendered (Jinja's `SecurityError`); loops
and long chains of operations are not bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sized
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment


LARGEST = 1_000_000
"""Characters, items or bits that one operation of a template may make; shipped prompts make a few thousand."""

_PADDING = frozenset({"center", "expandtabs", "ljust", "rjust", "zfill"})
"""Methods of a text that make it as long as they are told."""


@lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    from jinja2 import StrictUndefined
    from jinja2.runtime import Context
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Sandbox(ImmutableSandboxedEnvironment):
        """Refuses what would fill the memory."""

        intercepted_binops = frozenset({"*", "**", "%"})  # also keeps Jinja from working them out while it compiles

        def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
            _check_size(operator, left, right)
            return super().call_binop(context, operator, left, right)

        def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805  Jinja's own names
            name, text = getattr(__obj, "__name__", ""), getattr(getattr(__obj, "__wrapped__", __obj), "__self__", None)
            if isinstance(text, str) and name in _PADDING:
                _check_numbers(*args, *kwargs.values())
            elif isinstance(text, str) and name in ("format", "format_map"):
                _check_widths(re.findall(r"\{[^{}:]*:([^}]*)", text), "{")
            return super().call(__context, __obj, *args, **kwargs)

    made = Sandbox(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    for name in ("center", "indent"):
        made.filters[name] = _checked(made.filters[name], lambda value, *args: _check_numbers(*args))
    made.filters["format"] = _checked(made.filters["format"], lambda value, *args: _check_size("%", str(value), args))
    return made


def _checked(filter_: Callable[..., Any], check: Callable[..., None]) -> Callable[..., Any]:
    def checked(value: Any, *args: Any, **kwargs: Any) -> Any:
        check(value, *args, *kwargs.values())
        return filter_(value, *args, **kwargs)

    return checked


def _check_size(operator: str, left: Any, right: Any) -> None:
    """Refuse an operation whose result would be too large.

    Raises:
        jinja2.exceptions.SecurityError: it would.
    """
    if operator == "%":
        if isinstance(left, str):
            _check_widths(re.findall(r"%(?:\([^)]*\))?([-#0 +]*[\d*]*\.?[\d*]*)", left), "*")
    elif isinstance(left, int) and isinstance(right, int):
        size = left.bit_length() * max(right, 0) if operator == "**" else left.bit_length() + right.bit_length()
        _refuse_over(size if abs(left) > 1 else 0)
    elif operator == "*":
        for several, times in ((left, right), (right, left)):
            if isinstance(times, int) and isinstance(several, Sized):
                _refuse_over(len(several) * max(times, 0))


def _check_numbers(*given: Any) -> None:
    """Refuse to pad to a large number."""
    _refuse_over(max((abs(g) for g in given if isinstance(g, int)), default=0))


def _check_widths(specs: Iterable[str], elsewhere: str) -> None:
    """Refuse a format whose specifications state a large width or precision, or have the mark that takes one from elsewhere."""
    for spec in specs:
        _refuse_over(LARGEST + 1 if elsewhere in spec else max((int(n[:9]) for n in re.findall(r"\d+", spec)), default=0))


def _refuse_over(size: int) -> None:
    from jinja2.exceptions import SecurityError

    if size > LARGEST:
        raise SecurityError(f"the template makes something too large at once: more than {LARGEST:,} characters, items or bits")


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
