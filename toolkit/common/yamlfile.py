"""YAML with line numbers, and pydantic models read from it with errors that say ``file:line:key``.

What a word means is in `_scalars`. A file is data and nothing else: no tags, no merges. Bounds, so that a few lines cannot fill the memory:
`FILE_BYTES` of text, `NODES` keys and values once aliases are written out, `DEPTH` levels. Every fault is an `InputError` with its place.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from yaml.composer import Composer

from toolkit.common._scalars import Refused, Scalar, is_plain_text, plain_key, plain_value
from toolkit.common.errors import InputError, InputErrors, did_you_mean, short_path
from toolkit.common.paths import near_file
from toolkit.common.secrets import shown

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

Key = tuple[str | int, ...]
M = TypeVar("M", bound="BaseModel")
FILE_BYTES = 8 << 20
NODES = 100_000
DEPTH = 64


@dataclass
class YamlFile:
    """A parsed file: `data` is plain Python, `lines` gives the line (from 1) of every key path; none for data that was in no file."""

    path: str
    data: Any
    lines: dict[Key, int] = field(default_factory=dict)

    def where(self, key: Key = ()) -> str:
        """``file:line:key`` (without a file ``name:key``) of the nearest known ancestor of `key`."""
        known = key
        while known and known not in self.lines:
            known = known[:-1]
        places = [self.path, *([str(self.lines.get(known, 1))] if self.lines else []), ".".join(str(k) for k in key)]
        return ":".join(place for place in places if place)

    def model(self, cls: type[M], data: Any = None, at: Key = ()) -> M:
        """Validate `data` (default: the whole file) as `cls`.

        Raises:
            InputErrors: every fault at once, each with its place and the nearest known key.
        """
        from pydantic import ValidationError

        value = self.data if data is None else data
        try:
            return cls.model_validate(value)
        except ValidationError as e:
            raise InputErrors(explain(e, cls, self, value, at)) from None


class FaultAt(ValueError):  # noqa: N818 (pydantic shows the message alone)
    """Raised inside a pydantic validator of a whole model: the fault is at `key` below it."""

    def __init__(self, message: str, *key: str | int) -> None:
        super().__init__(message)
        self.key: Key = key


def explain(error: ValidationError, cls: type[BaseModel], file: YamlFile, data: Any, at: Key = ()) -> list[InputError]:
    """Each fault of a pydantic error as an `InputError` with its place in `file`.

    Args:
        error: of ``cls.model_validate(data)``.
        cls: the model.
        file: where `data` came from.
        data: what was validated.
        at: where in the file `data` stands.
    """
    out = {}
    for fault in error.errors():
        loc, kind, value = fault["loc"], fault["type"], fault.get("input")
        cause = fault.get("ctx", {}).get("error")
        key = at + _place(data, loc, keep_last=kind == "missing") + (cause.key if isinstance(cause, FaultAt) else ())
        hint = None
        if kind in ("extra_forbidden", "unexpected_keyword_argument"):
            message = f"unknown key {loc[-1]!r}"
            hint = did_you_mean(str(loc[-1]), _fields_at(cls, loc[:-1]))
        elif kind == "missing":
            message = f"the key {loc[-1]!r} is missing"
        elif kind == "union_tag_not_found":  # the key that says which of several it is
            message = f"the key {fault['ctx']['discriminator']} is missing"
        elif kind in ("model_type", "model_attributes_type"):
            message = f"expected keys with values, got {_shown(value)}"
        else:
            message = fault["msg"].removeprefix("Value error, ")
            message += "" if isinstance(value, dict | list) or "\n" in str(value) else f" (got {_shown(value)})"
            if kind == "string_type" and isinstance(value, bool | int | float):
                hint = "put it in quotes: YAML reads it as something else than text"
        found = InputError(message, where=file.where(key), hint=hint)
        out[str(found)] = found  # the branches of a union may find the same
    return list(out.values())


def _shown(value: Any) -> str:
    """A value for a message, without secrets (invariant 8) before it is cut."""
    return "nothing" if value is None else shown(repr(value))[:80]


def _place(data: Any, loc: Key, *, keep_last: bool) -> Key:
    """`loc` without the parts that name no key of `data`: pydantic puts the names of a union's branches in between."""
    out: list[str | int] = []
    for i, part in enumerate(loc):
        inside: Any = data if isinstance(data, dict) else dict(enumerate(data)) if isinstance(data, list) else {}
        if part in inside:
            data = inside[part]
            out.append(part)
        elif keep_last and i == len(loc) - 1:
            out.append(part)
    return tuple(out)


def _fields_at(cls: type, loc: Key) -> list[str]:
    """Names of the fields of the model or dataclass that is at `loc` inside `cls`."""
    found = [cls]
    for part in loc:
        if isinstance(part, str):  # the name of a field; else the tag of a union's branch, or a key of a dict
            below = [inner for c in found for inner in _classes(_hints(c).get(part))]
            tagged = [c for c in found if any(part in typing.get_args(hint) for hint in _hints(c).values())]
            open_ones = [b for c in found if (branch := getattr(c, "__branch__", None)) and (b := branch(part))]
            found = below or open_ones or tagged or found
    return sorted({name for c in found for name in _hints(c)})


def _hints(cls: type) -> dict[str, Any]:
    """The fields of a model or a dataclass, as they are called in a file, with their types."""
    fields = getattr(cls, "model_fields", None)
    return typing.get_type_hints(cls) if fields is None else {f.alias or name: f.annotation for name, f in fields.items()}


def _classes(hint: Any) -> list[type]:
    """The models and dataclasses in a type: it, or the parts of a union, list or dict."""
    if isinstance(hint, type) and (hasattr(hint, "model_fields") or hasattr(hint, "__dataclass_fields__")):
        return [hint]
    return [c for part in typing.get_args(hint) for c in _classes(part)]


def read_text(path: Path, most: int | None = None) -> str:
    """A UTF-8 text file, of `most` bytes at most.

    Raises:
        InputError: it is missing, a folder, unreadable, too large or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            raw = file.read() if most is None else file.read(most + 1)
        if most is not None and len(raw) > most:
            raise InputError(f"more than {most:,} bytes: no such file is that long", where=str(path))
        return raw.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except FileNotFoundError:
        raise InputError("no such file", where=str(path), hint=near_file(path)) from None
    except IsADirectoryError:
        named = [short_path(p) for p in sorted(path.glob("*.yaml"))[:3]]
        raise InputError(
            "a folder, where a file is read", where=str(path), hint=f"name a file, {' or '.join(named)} say" if named else None
        ) from None
    except (OSError, ValueError) as e:
        if isinstance(e, UnicodeDecodeError):
            raise InputError(f"not UTF-8 (byte {e.start})", where=str(path), hint="save the file as UTF-8") from None
        raise InputError(getattr(e, "strerror", None) or "unreadable", where=str(path)) from None


def load_yaml(path: Path) -> YamlFile:
    """Read a YAML file.

    Raises:
        InputError: missing, not UTF-8, not YAML, beyond a bound, a key given twice or no plain word, a word with two readings, or a tag.
    """
    return parse_yaml(read_text(path, FILE_BYTES), short_path(path))


def parse_yaml(text: str, name: str) -> YamlFile:
    """Parse YAML text; `name` stands for the file in messages. Raises as `load_yaml` does.

    A short text is parsed once: nobody changes what this gives.
    """
    return _parsed_once(text, name) if len(text) <= _KEPT_LENGTH else _parsed(text, name)


def _parsed(text: str, name: str) -> YamlFile:
    loader = None
    try:
        if (node := _fast(text, name)) is None:
            loader = _Loader(text)
            loader.file = name
            node = loader.get_single_node()
        reader = _Reader(name)
        data = reader.build(node, ()) if node is not None else None
    except (yaml.YAMLError, ValueError, OverflowError) as e:  # the last two: an escape that is no character
        mark = getattr(e, "problem_mark", None) or (loader.get_mark() if loader is not None else None)
        line = mark.line + 1 if mark else 1
        raise InputError(f"not valid YAML: {getattr(e, 'problem', None) or e}", where=f"{name}:{line}") from None
    finally:
        if loader is not None:
            loader.dispose()
    return YamlFile(name, data, reader.lines or {(): 1})


def _fast(text: str, name: str) -> yaml.Node | None:
    """What libyaml, eight times as fast, reads; None where it is not there, finds a fault, or might read the text otherwise than PyYAML does."""
    if not yaml.__with_libyaml__ or _READ_DIFFERENTLY.search(text):
        return None
    try:
        loader = _FastLoader(text)
        loader.file = name
        return loader.get_single_node()
    except (yaml.YAMLError, ValueError, OverflowError):
        return None


_READ_DIFFERENTLY = re.compile(
    r"""[^\n -~\xa0-\u2027\u202a-\ufefe]|^(?:---|\.\.\.|%)|(?:^|[^\w.)])[!?]|\?(?!["'])|[|>][-+0-9]*[#!%]""",
    re.MULTILINE,
)
"""Tabs and line breaks other than newline, marks of documents, directives, tags, ``?`` but at the end of a quoted text, and what follows ``|``: on
all else the two agree (tried with random texts)."""
_KEPT_LENGTH = 1 << 16
_parsed_once = lru_cache(maxsize=64)(_parsed)


class _Bounded:
    """PyYAML's composer, which builds nothing, within the bounds; values are made by `_Reader`."""

    file = ""
    yaml_implicit_resolvers: dict[str, Any] = {}
    _depth = _nodes = 0

    def compose_node(self: Any, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """One node, with what is below it."""
        event = self.peek_event()
        line = event.start_mark.line + 1
        if (tag := getattr(event, "tag", None)) is not None:
            hint = "put a text in quotes; any other value needs no tag"
            raise InputError(f"not valid YAML: the tag {tag[:80]!r} is not read", where=f"{self.file}:{line}", hint=hint)
        self._nodes += 1
        self._depth += 1
        _bounded(self._nodes, self._depth, f"{self.file}:{line}")
        node: yaml.Node | None = Composer.compose_node(self, parent, index)
        self._depth -= 1
        return node


class _Loader(_Bounded, yaml.SafeLoader):
    """Written in Python."""


if yaml.__with_libyaml__:

    class _FastLoader(_Bounded, Composer, yaml.CSafeLoader):
        """Its events come from libyaml."""

        def __init__(self, text: str) -> None:
            Composer.__init__(self)
            yaml.CSafeLoader.__init__(self, text)


def _bounded(nodes: int, depth: int, where: str) -> None:
    if depth > DEPTH:
        raise InputError(f"not valid YAML: nested too deeply (more than {DEPTH} levels), or an alias that holds itself", where=where)
    if nodes > NODES:
        raise InputError(f"more than {NODES:,} keys and values, aliases written out", where=where)


class _Dumper(yaml.SafeDumper):
    """Puts in quotes whatever either YAML 1.1 or 1.2 would read as something else than text."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # PyYAML writes these line breaks of Unicode as they are, and reads a plain newline; in double quotes it escapes them.
    risky = not {"\x85", "\u2028", "\u2029", "\ufeff"}.isdisjoint(text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if risky else None if is_plain_text(text) else "'")


_Dumper.add_representer(str, _text)


def dump_yaml(value: Any, **form: Any) -> str:
    """YAML text that `parse_yaml` reads as `value` again; `form`: of ``yaml.dump``."""
    return str(yaml.dump(value, Dumper=_Dumper, **{"sort_keys": False, "allow_unicode": True, "width": 120, **form}))


class _Reader:
    """Builds plain Python from YAML nodes and notes the line of every key."""

    def __init__(self, name: str) -> None:
        self.lines: dict[Key, int] = {}
        self._name = name
        self._nodes = 0

    def build(self, node: yaml.Node, at: Any) -> Any:
        """The value of a node."""
        line = node.start_mark.line + 1
        self.lines.setdefault(at, line)
        self._nodes += 1
        _bounded(self._nodes, len(at), self._where(line, at))
        if isinstance(node, yaml.SequenceNode):
            return [self.build(v, (*at, i)) for i, v in enumerate(node.value)]
        if not isinstance(node, yaml.MappingNode):
            return self._scalar(node, at, plain_value)
        out: dict[Any, Any] = {}
        for k, v in node.value:
            line = k.start_mark.line + 1
            if not isinstance(k, yaml.ScalarNode):
                raise InputError("a key must be a plain word", where=f"{self._name}:{line}")
            key = self._scalar(k, at, plain_key)
            place = (*at, key)
            self.lines.setdefault(place, line)
            if key in out:
                raise InputError(f"the key {key!r} is given twice", where=self._where(line, place), hint=f"first given in line {self.lines[place]}")
            out[key] = self.build(v, place)
        return out

    def _scalar(self, node: Any, at: Key, read: Callable[[str], Scalar]) -> Scalar:
        text: str = node.value
        where = self._where(node.start_mark.line + 1, at)
        if not node.style:
            try:
                return read(text)
            except Refused as e:
                raise InputError(str(e), where=where, hint=e.hint) from None
        try:  # two halves of a pair are one character, as in JSON
            return text.encode("utf-16", "surrogatepass").decode("utf-16") if _HALF.search(text) else text
        except UnicodeDecodeError:
            raise InputError("a text may hold no half of a surrogate pair", where=where) from None

    def _where(self, line: int, at: Key) -> str:
        return f"{self._name}:{line}" + (f":{'.'.join(map(str, at))}" if at else "")


_HALF = re.compile("[\ud800-\udfff]")
