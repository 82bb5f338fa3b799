"""docs/architecture.md says what is so: its rooms are those of the import contract, in that order, and every file that it names is there; and no
modules import each other in a circle."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
PAGE = (CHECKOUT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_the_rooms_are_those_of_the_import_contract() -> None:
    contracts = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(c["layers"] for c in contracts if c["type"] == "layers")
    rooms = PAGE.partition("## The rooms")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", rooms, re.M) == [layer.removeprefix("toolkit.") for layer in layers]


def test_every_file_that_is_named_is_there() -> None:
    named = set(re.findall(r"`((?:toolkit|tests|schemas|recipes|docs)/[\w./]+)`", PAGE))
    assert len(named) >= 20
    assert not [name for name in named if not (CHECKOUT / name).exists()]


def test_every_invariant_says_where_it_is_enforced_and_what_shows_it() -> None:
    rows = re.findall(r"^\| ([1-8]) \|.*?\| (.*?) \| (.*?) \|$", PAGE, re.M)
    assert [n for n, _, _ in rows] == list("12345678")
    assert all("`toolkit/" in enforced and "`tests/" in shown for _, enforced, shown in rows)


LATE = {
    ("toolkit.generation._config", "toolkit.generation.backends"): "a config opens its backend, which is loaded only then",
    ("toolkit.operators.base", "toolkit.operators._backends"): "what an operator says of its backends, which most operators have none of",
    ("toolkit.operators.base", "toolkit.operators._stop_if"): "the type of an option, which is a config as `base` has them",
}
"""Imports within a function or for types alone that close a circle: (from, to or what begins so), each with its reason."""


def imports(module: str, names: dict[str, Path]) -> Iterator[tuple[str, bool]]:
    """The modules that one imports, each with whether that is in a function or for types alone."""

    def visit(node: ast.AST, late: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ImportFrom):
                for alias in child.names:
                    whole = f"{child.module}.{alias.name}"
                    yield whole if whole in names else str(child.module), late
            elif isinstance(child, ast.Import):
                yield from ((alias.name, late) for alias in child.names)
            else:
                types = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
                yield from visit(child, late or types or isinstance(child, ast.FunctionDef | ast.Lambda))

    return ((name, late) for name, late in visit(ast.parse(names[module].read_text(encoding="utf-8")), False) if name in names and name != module)


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Neither at import, which Python would find out some day, nor in functions or for types, where a circle hides."""
    names = {".".join(p.relative_to(CHECKOUT).with_suffix("").parts).removesuffix(".__init__"): p for p in (CHECKOUT / "toolkit").rglob("*.py")}
    used, graph = set(), {module: set[str]() for module in names}
    for module in names:
        for name, late in imports(module, names):
            excused = [pair for pair in LATE if late and pair[0] == module and name.startswith(pair[1])]
            used |= set(excused)
            if not excused:
                graph[module].add(name)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as e:
        raise AssertionError(" <- ".join(e.args[1])) from None
    assert used == LATE.keys(), "an excuse that nobody needs any more"


VAGUE = {"told", "said"}
"""Words that say nothing of what a name holds: an output, an answer, a message, a verdict."""


def test_no_name_is_vague() -> None:
    """Of variables, arguments, functions and attributes, in the toolkit and its tests."""
    found = set()
    for path in (p for room in ("toolkit", "tests") for p in (CHECKOUT / room).rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)) if any(word in source.casefold() for word in VAGUE) else ():
            names = [value for field in ("id", "arg", "attr", "name", "asname") if isinstance(value := getattr(node, field, None), str)]
            found |= {f"{path.relative_to(CHECKOUT)}: {name}" for name in names if VAGUE & set(name.casefold().split("_"))}
    assert not found


def test_a_file_name_stands_once_but_for_the_two_faces_of_a_verb() -> None:
    """`cli` or `api` may share a name with one room below them, or with each other."""
    places: dict[str, list[str]] = {}
    for path in (CHECKOUT / "toolkit").rglob("*.py"):
        if path.name != "__init__.py":
            places.setdefault(path.name, []).append(path.relative_to(CHECKOUT / "toolkit").parts[0])
    assert not {name: rooms for name, rooms in places.items() if len(rooms) > 2 or len([r for r in rooms if r not in ("cli", "api")]) > 1}
