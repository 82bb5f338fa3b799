"""The package as a whole: its public names, its words, its size."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

import toolkit

PACKAGE = Path(toolkit.__file__).resolve().parent
FILES = sorted(PACKAGE.rglob("*.py"))
ROOMS = [
    "api",
    "cli",
    "common",
    "evaluation",
    "generation",
    "guards",
    "judging",
    "mining",
    "operators",
    "pipeline",
    "records",
    "report",
    "reviewing",
    "rewards",
    "serving",
    "shards",
    "sources",
    "taxonomy",
    "training",
    "viewing",
]


def test_every_room_is_here() -> None:
    assert sorted(p.parent.name for p in PACKAGE.glob("*/__init__.py")) == ROOMS


@pytest.mark.parametrize("room", [r for r in ROOMS if r not in ("cli", "common")])
def test_every_public_name_is_there_and_sorted(room: str) -> None:
    module = import_module(f"toolkit.{room}")
    assert all(hasattr(module, name) for name in module.__all__)
    # constants, then classes, then functions: as ruff sorts them
    assert module.__all__ == sorted(module.__all__, key=lambda n: (not n.isupper(), not n[0].isupper(), n))


def test_the_command_line_goes_through_api_alone() -> None:
    """What it does is there in Python, too; the import contract holds it so, and here the reason is given."""
    for path in (PACKAGE / "cli").glob("*.py"):
        froms = [n.module or "" for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.ImportFrom)]
        rooms = {name.split(".")[1] for name in froms if name.startswith("toolkit.")}
        assert rooms <= {"api", "cli", "common", "_version"}, path.name


def test_the_public_names_stand_in_one_place() -> None:
    """A name of `toolkit` is written once, in the room that offers it: no list is kept beside it."""
    texts = [(PACKAGE / name).read_text(encoding="utf-8") for name in ("__init__.py", "api/__init__.py")]
    assert not any("__all__" in t for t in texts)
    for name in toolkit.__all__:
        assert sum(len(re.findall(rf"^ .*import \w+ as {name}$", t, re.MULTILINE)) for t in texts) == 1, name


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_every_module_says_what_it_is_and_can_be_held_in_mind(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert ast.get_docstring(tree)
    assert len(text.splitlines()) < 400
    longest = max((n.end_lineno - n.lineno + 1 for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.end_lineno), default=0)
    assert longest < 80, "a function fits a screen"
    assert not re.search(r"/(?:home|root|work|Users)/", text), "no machine's path"


def test_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        installed = version("guardkit")
    except PackageNotFoundError:
        pytest.skip("guardkit is not installed: run from a checkout")
    assert installed == toolkit.__version__
