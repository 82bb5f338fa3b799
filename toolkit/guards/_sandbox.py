"""The sandbox that prompt templates run in: neither memory nor time without a bound.

Memory is bounded, whatever a template does: an operation that repeats, pads or raises to a power is refused where it would make more than
`LARGEST`, and no text that a template makes, on the way or at its end, is longer than `WHOLE` (Jinja's `SecurityError`, raised before the text is
made or, where an operation makes it longer by a small factor at most, right after).

Time is bounded by `STEPS`, which are counted rather than seconds, so that a row that is refused on one machine is refused on every other: turns of
loops, calls (of macros, too), and filters with what they are given.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sized
from functools import wraps
from typing import Any

from jinja2 import StrictUndefined, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.environment import Template
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

LARGEST = 1_000_000
"""Characters, items or bits that one operation of a template may make by repeating; shipped prompts make a few thousand."""

WHOLE = 16_000_000
"""Characters of a template's output, and of each text or list in it."""

STEPS = 1_000_000
"""Turns of loops, calls and filters of one rendering, a filter counting one more for each `_AT_ONCE` characters or items; about a second's worth.
Shipped prompts take some dozens."""

_AT_ONCE = 1000

_PADDING = frozenset({"center", "ljust", "rjust", "zfill"})
"""Methods of a text that make it as long as their argument says."""

_SHORT = frozenset({"bit_count", "bit_length", "count", "decode", "endswith", "find", "index", "is_integer", "startswith"})
"""Methods of bytes and whole numbers whose result is no longer than what it is made of; no prompt needs others."""


class _Buffer(list[str]):
    """The output of a block or macro, as far as it has come."""

    size = 0

    def append(self, part: str) -> None:
        self.size += len(part) + 1
        _refuse_over(self.size, WHOLE)
        super().append(part)

    def extend(self, parts: Iterable[str]) -> None:
        for part in parts:
            self.append(part)


class Counted(Template):
    """Begins to count steps anew with each rendering."""

    def render(self, *args: Any, **kwargs: Any) -> str:
        _taken.steps = 0
        return super().render(*args, **kwargs)


class Generator(CodeGenerator):
    """Joins texts (``~``) and collects the output of blocks and macros through the environment."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802  Jinja's own name
        self.write("environment.joined((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")

    def visit_For(self, node: nodes.For, frame: Frame) -> None:  # noqa: N802  Jinja's own name
        counted = nodes.EnvironmentAttribute("turns")
        node.iter = nodes.Call(counted, [node.iter], [], None, None).set_lineno(node.lineno).set_environment(self.environment)
        super().visit_For(node, frame)

    def buffer(self, frame: Frame) -> None:
        frame.buffer = self.temporary_identifier()
        self.writeline(f"{frame.buffer} = environment.buffer()")


class Kept(Namespace):
    """What outlives a loop's turn."""

    def __setitem__(self, name: str, value: Any) -> None:
        _refuse_over(_size(value), WHOLE)
        super().__setitem__(name, value)


class Sandbox(ImmutableSandboxedEnvironment):
    """Refuses what would fill the memory or not end."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})  # also keeps Jinja from working them out while it compiles
    code_generator_class = Generator
    template_class = Counted
    buffer = _Buffer

    @staticmethod
    def turns(items: Any) -> Any:
        """What a loop goes through; where its size is known, `call` has counted it."""
        return items if isinstance(items, Sized) else map(_stepped, items)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        _check_size(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805  Jinja's own names
        _step(1 + sum(len(a) for a in args if isinstance(a, Sized) and not isinstance(a, str)))
        owner, name = getattr(getattr(__obj, "__wrapped__", __obj), "__self__", None), getattr(__obj, "__name__", "")
        if isinstance(owner, str):
            args = _check_method(name, owner, args, kwargs)
        elif isinstance(owner, bytes | int) and name not in _SHORT:
            _refuse_over(WHOLE + 1, WHOLE)
        return super().call(__context, __obj, *args, **kwargs)

    @staticmethod
    def concat(parts: Iterable[str]) -> str:
        """All output goes through it, that of blocks and macros as well."""
        return "".join(_counted(parts))

    @staticmethod
    def joined(parts: tuple[Any, ...]) -> str:
        _refuse_over(_size(parts), WHOLE)
        return "".join(map(str, parts))


def _checked(name: str, filter_: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that refuses what would make too much; what it passes on to Jinja (its environment or context) is before the value."""
    before = int(hasattr(filter_, "jinja_pass_arg"))

    @wraps(filter_)
    def checked(*args: Any, **kwargs: Any) -> Any:
        value, *rest = args[before:]
        if not isinstance(value, Sized | int | float) and isinstance(value, Iterable):  # what another filter makes step by step
            value = _listed(value)
        _refuse_over(size := _size([value, *rest, *kwargs.values()]), WHOLE)
        _step(1 + size // _AT_ONCE)
        if (growth := _GROWTH.get(name)) is not None:
            growth(value, *rest, **kwargs)
        made = filter_(*args[:before], value, *rest, **kwargs)
        if isinstance(made, str):
            _refuse_over(len(made), WHOLE)
        return made

    return checked


def _check_method(name: str, text: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
    """Refuse a method of a text that would make too much; its arguments, with what is read once made a list."""
    if name == "join" and args and not isinstance(args[0], Sized):
        args = (_listed(args[0]), *args[1:])
    _refuse_over(_size([text, *args, *kwargs.values()]), WHOLE)
    if name in _PADDING:
        _check_numbers(*args, *kwargs.values())
    elif name == "expandtabs":
        _check_numbers(*(text.count("\t") * n for n in (*args, *kwargs.values()) if isinstance(n, int)))
    elif name in ("format", "format_map"):
        _check_widths(re.findall(r"\{[^{}:]*:([^}]*)", text), "{")
        _refuse_over(text.count("{") * _size([args, kwargs]), WHOLE)
    elif name in ("replace", "join"):
        _GROWTH[name](*((text, *args) if name == "replace" else (args[0] if args else [], text)), **kwargs)
    elif name == "translate":
        _refuse_over(WHOLE + 1, WHOLE)
    return args


def _check_size(operator: str, left: Any, right: Any) -> None:
    """Refuse an operation whose result would be too large.

    Raises:
        jinja2.exceptions.SecurityError: it would.
    """
    if operator == "+":
        _refuse_over(_size([left, right]), WHOLE)
    elif operator == "%":
        if isinstance(left, str):
            _check_widths(re.findall(r"%(?:\([^)]*\))?([-#0 +]*[\d*]*\.?[\d*]*)", left), "*")
            _refuse_over(left.count("%") * _size([right]), WHOLE)
        elif isinstance(left, bytes):
            _refuse_over(WHOLE + 1, WHOLE)
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


def _grows_replace(value: Any, old: Any, new: Any, count: Any = None) -> None:
    text, old, new = str(value), str(old), str(new)
    _refuse_over(len(text) + text.count(old) * max(0, len(new) - len(old)), WHOLE)


def _grows_join(value: Any, d: Any = "", attribute: Any = None) -> None:
    items = value if isinstance(value, Sized) else []
    _refuse_over(_size(items) + len(items) * len(str(d)), WHOLE)


def _grows_indent(value: Any, width: Any = 4, *_: Any, **__: Any) -> None:
    _check_numbers(width)
    _refuse_over((str(value).count("\n") + 1) * (width if isinstance(width, int) else len(str(width))), WHOLE)


def _grows_wordwrap(value: Any, width: Any = 79, break_long_words: Any = True, wrapstring: Any = None, *_: Any, **__: Any) -> None:
    _refuse_over(len(str(value)) * (len(str(wrapstring)) if wrapstring is not None else 1), WHOLE)


def _grows_json(value: Any, indent: Any = None) -> None:
    _refuse_over(_size([value]) * max(1, indent if isinstance(indent, int) else 1), WHOLE)


def _grows_format(value: Any, *args: Any, **kwargs: Any) -> None:
    _check_size("%", str(value), args or kwargs)


def _grows_by_number(value: Any, *args: Any, **kwargs: Any) -> None:
    _check_numbers(*args, *kwargs.values())


_GROWTH: dict[str, Callable[..., None]] = {
    "replace": _grows_replace,
    "join": _grows_join,
    "indent": _grows_indent,
    "wordwrap": _grows_wordwrap,
    "tojson": _grows_json,
    "format": _grows_format,
    **dict.fromkeys(("batch", "center", "round", "slice"), _grows_by_number),
}
"""Filters whose result may be longer than what they are given by more than a small factor; each refuses what would be too much."""


def _size(value: Any) -> int:
    """Characters and items in a value, those inside counted each time that they are there; no more than a little over `WHOLE` are looked at."""
    size, waiting = 0, [value]
    while waiting and size <= WHOLE:
        one = waiting.pop()
        if isinstance(one, str | bytes):
            size += len(one)
        elif isinstance(one, Mapping):
            size += 1
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple | set | frozenset):
            size += 1
            waiting += one
        else:
            size += 1
    return size


def _listed(items: Iterable[Any]) -> list[Any]:
    """What comes one by one, as a list."""
    size, out = 0, []
    for item in items:
        size += _size(item)
        _refuse_over(size, WHOLE)
        out.append(item)
    return out


def _printable(value: Any) -> Any:
    """A value that is to be printed."""
    if not isinstance(value, str):
        _refuse_over(_size(value), WHOLE)
    return value


def _counted(parts: Iterable[str]) -> Iterable[str]:
    size = 0
    for part in parts:
        size += len(part)
        _refuse_over(size, WHOLE)
        yield part


class _Taken(threading.local):
    steps = 0


_taken = _Taken()


def _step(steps: int = 1) -> None:
    """Count steps of the rendering that is under way in this thread.

    Raises:
        jinja2.exceptions.SecurityError: they are too many.
    """
    _taken.steps += steps
    if _taken.steps > STEPS:
        raise SecurityError(f"the template takes too long: more than {STEPS:,} turns of loops, calls and filters")


def _stepped(item: Any) -> Any:
    _step()
    return item


def _refuse_over(size: int, most: int = LARGEST) -> None:
    if size > most:
        raise SecurityError(f"the template makes something too large at once: more than {most:,} characters, items or bits")


ENVIRONMENT = Sandbox(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False, finalize=_printable)
"""The one environment of all templates."""

del ENVIRONMENT.globals["lipsum"]
ENVIRONMENT.globals["namespace"] = Kept
ENVIRONMENT.filters.update({name: _checked(name, filter_) for name, filter_ in ENVIRONMENT.filters.items()})
