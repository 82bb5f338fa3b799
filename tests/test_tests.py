"""Each test holds something: it, or a helper of the tests that it calls, asserts or expects an error. And what has a public name goes by it."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).resolve().parent
Function = ast.FunctionDef | ast.AsyncFunctionDef


def holds(function: Function) -> bool:
    """Whether its own text asserts."""
    words = {ast.unparse(node.func) for node in ast.walk(function) if isinstance(node, ast.Call)}
    return any(isinstance(node, ast.Assert) for node in ast.walk(function)) or not words.isdisjoint({"pytest.raises", "pytest.warns", "pytest.fail"})


def calls(function: Function) -> set[str]:
    """What it calls, by name; a fixture that is called is an argument of its own name."""
    return {getattr(node.func, "id", getattr(node.func, "attr", "")) for node in ast.walk(function) if isinstance(node, ast.Call)}


def test_every_test_asserts() -> None:
    found = [
        (f"{path.relative_to(HERE)}::{node.name}", node)
        for path in sorted(HERE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, Function)
    ]
    holding = {node.name for _, node in found if holds(node)}
    while more := {node.name for _, node in found if node.name not in holding and calls(node) & holding}:
        holding |= more
    assert len(found) > 2000 and not [name for name, node in found if node.name.startswith("test_") and not holds(node) and not calls(node) & holding]


def test_what_has_a_public_name_goes_by_it() -> None:
    """Of a private module a test imports what no room offers."""
    odd = []
    for path in sorted(HERE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.ImportFrom) and node.module and "._" in node.module and node.module.startswith("toolkit.")):
                continue
            room = import_module(node.module.partition("._")[0])
            for name in (alias.name for alias in node.names):
                own = getattr(import_module(node.module), name, None)
                if own is not None and not name.startswith("_") and getattr(room, name, None) is own:
                    odd.append(f"{path.relative_to(HERE)}:{node.lineno}: {name} is {room.__name__}.{name}")
    assert odd == []


def test_what_is_called_slow_is_there() -> None:
    """A line of ``slow.txt`` that names no test would leave it in `make test` without a word."""
    listed = [line for line in (HERE / "slow.txt").read_text(encoding="utf-8").splitlines() if line and not line.startswith("# ")]
    for line in listed:
        file, _, name = line.partition("[")[0].partition("::")
        assert f"def {name}(" in (HERE.parent / file).read_text(encoding="utf-8"), line
    assert len(listed) == len(set(listed)) > 10
