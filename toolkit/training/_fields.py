"""The fields of TRL's trainer configurations, read from the source of the installed packages: importing TRL takes seconds, this a tenth of one.

`fields_of` parses the class's file and those of the classes that it is based on, in trl and transformers, whatever their version; no line of them is
run. Where their source cannot be made out, TRL is imported after all and its dataclass asked: the names are always those of what is installed.
`misfit` holds a value against a field's annotation as far as that is plain (numbers, texts, true and false, lists, enums); what it does not
understand fits. TRL's own refusals (values that do not go together) are `check_trainer`'s to find.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from toolkit.common.errors import did_you_mean

ConfigName = Literal["SFTConfig", "DPOConfig", "GRPOConfig"]
_FILES: Mapping[ConfigName, str] = {"SFTConfig": "sft_config", "DPOConfig": "dpo_config", "GRPOConfig": "grpo_config"}


@dataclass(frozen=True)
class TrainerField:
    """What a field takes. `kinds`: the plain types that its annotation names; none where it names others, too. `words`: of an enum. `default`: where
    it is a plain value."""

    kinds: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    default: Any = None


@lru_cache(maxsize=3)
def fields_of(name: ConfigName) -> Mapping[str, TrainerField]:
    """The fields of a configuration of the installed TRL, which must be there."""
    place = _package("trl")
    if place is not None:
        try:
            return dict(_fields(place / "trainer" / f"{_FILES[name]}.py", name))
        except (OSError, SyntaxError, ValueError, _Unknown):
            pass  # another layout than any so far
    return {n: TrainerField() for n in _imported(name)}


def misfit(field: TrainerField, value: Any) -> str | None:
    """Why a value does not fit a field, in words; None where it may."""
    if isinstance(value, str) and field.words and value not in field.words:
        return f"trl refuses {value!r}; {did_you_mean(value, field.words)}"
    if not field.kinds or value is None or _kind(value, field.kinds):
        return None
    return f"must be {' or '.join(_WORDS[k] for k in field.kinds)}, not {str(value)[:80] if not isinstance(value, str) else repr(value[:80])}"


_WORDS = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "a text", "list": "a list", "dict": "keys with values"}


def _kind(value: Any, kinds: tuple[str, ...]) -> bool:
    if isinstance(value, bool):
        return "bool" in kinds
    if isinstance(value, int | float):
        return "float" in kinds or ("int" in kinds and float(value).is_integer())
    return next((k for k, t in (("str", str), ("dict", dict)) if isinstance(value, t)), "list") in kinds


def _imported(name: ConfigName) -> set[str]:
    from dataclasses import fields
    from importlib import import_module

    cls = getattr(import_module(f"trl.trainer.{_FILES[name]}"), name)
    return {f.name for f in fields(cls) if f.init}


# Reading source -------------------------------------------------------------------------------------------------------


class _Unknown(Exception):  # noqa: N818 (never leaves this module)
    """A class or name whose source is not found."""


def _package(name: str) -> Path | None:
    """The folder of an installed package, which is not imported."""
    spec = find_spec(name)
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    return Path(places[0]) if places else None


@lru_cache(maxsize=16)
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes())


def _fields(path: Path, name: str) -> Iterator[tuple[str, TrainerField]]:
    """The fields of a dataclass, those of its bases first."""
    path, found = _class(path, name)
    for base in found.bases:
        if not isinstance(base, ast.Name):
            raise _Unknown(ast.dump(base))
        yield from _fields(path, base.id)
    for line in found.body:
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and not _no_field(line):
            found_here = _field(path, line.annotation, _default(line.value))
            if line.target.id == "loss_type":  # trl takes one name for a list of them, too
                found_here = replace(found_here, kinds=(*found_here.kinds, *({"str"} - {*found_here.kinds})))
            yield line.target.id, found_here


def _no_field(line: ast.AnnAssign) -> bool:
    """Whether an annotation makes no field that may be given: a class variable, or ``field(init=False)``."""
    if "ClassVar" in ast.unparse(line.annotation):
        return True
    call = line.value
    return isinstance(call, ast.Call) and any(k.arg == "init" and isinstance(k.value, ast.Constant) and k.value.value is False for k in call.keywords)


def _class(path: Path, name: str) -> tuple[Path, ast.ClassDef]:
    """The class of that name, in this file or where the file imports it from."""
    for _ in range(8):
        tree = _tree(path)
        found = next((node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name), None)
        if found is not None:
            return path, found
        path, name = _origin(tree, path, name)
    raise _Unknown(name)


def _origin(tree: ast.Module, path: Path, name: str) -> tuple[Path, str]:
    """The file that a name is imported from, and its name there."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom):
            continue
        alias = next((a for a in node.names if (a.asname or a.name) == name), None)
        if alias is None:
            continue
        top, *rest = (node.module or "").split(".")
        root = path.parents[node.level - 1] / top if node.level else _package(top)
        if root is not None:
            place = root.joinpath(*rest)
            for file in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
                if file.is_file():
                    return file, alias.name
    raise _Unknown(name)


def _field(path: Path, annotation: ast.expr, default: Any) -> TrainerField:
    kinds: list[str] = []
    words: tuple[str, ...] = ()
    plain = True
    for part in _union(annotation):
        name = ast.unparse(part.value if isinstance(part, ast.Subscript) else part)
        if name in _WORDS:
            kinds.append(name)
        elif name != "None":
            known = _enum(path, name) if isinstance(part, ast.Name) else ()
            words += known
            kinds += ["str"] if known else []
            plain = plain and bool(known)
    return TrainerField(tuple(dict.fromkeys(kinds)) if plain else (), words, default)


def _default(value: ast.expr | None) -> Any:
    """A default that is there as a plain value."""
    given = next((k.value for k in value.keywords if k.arg == "default"), None) if isinstance(value, ast.Call) else value
    try:
        return None if given is None else ast.literal_eval(given)
    except ValueError:
        return None


def _union(annotation: ast.expr) -> Iterator[ast.expr]:
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        yield from _union(annotation.left)
        yield from _union(annotation.right)
    elif isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) in ("Optional", "Union"):
        for part in annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]:
            yield from _union(part)
        yield ast.Constant(None)
    else:
        yield annotation


def _enum(path: Path, name: str) -> tuple[str, ...]:
    """The values of an enum of texts; none for what is not one."""
    try:
        _, found = _class(path, name)
    except (_Unknown, OSError, SyntaxError):
        return ()
    if not any(ast.unparse(base).endswith("Enum") for base in found.bases):
        return ()
    values = [line.value for line in found.body if isinstance(line, ast.Assign)]
    return tuple(v.value for v in values if isinstance(v, ast.Constant) and isinstance(v.value, str))
