"""Each test holds something: it, or a helper of the tests that it calls, asserts or expects an error."""

from __future__ import annotations

import ast
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
