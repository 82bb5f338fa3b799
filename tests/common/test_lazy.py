"""A package that loads nothing before it is used offers what its imports for type checkers say, and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

INNER = """
from typing import TYPE_CHECKING
from toolkit.common.lazy import lazily

if TYPE_CHECKING:
    from lazy_inner._a import Thing as Thing
    from lazy_inner._a import make as make
    from lazy_inner._b import LIMIT as LIMIT

__getattr__, __dir__ = lazily(__name__)
"""
OUTER = """
from typing import TYPE_CHECKING
from toolkit.common.lazy import lazily

if TYPE_CHECKING:
    from lazy_inner import *  # noqa: F403
    from lazy_inner._b import only_here as only_here

__getattr__, __dir__ = lazily(__name__)
"""


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    files = {
        "lazy_inner/__init__.py": INNER,
        "lazy_inner/_a.py": "class Thing: pass\n\ndef make(): return Thing()\n",
        "lazy_inner/_b.py": "LIMIT = 3\n\ndef only_here(): return LIMIT\n",
        "lazy_outer/__init__.py": OUTER,
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in [n for n in sys.modules if n.startswith("lazy_")]:
        del sys.modules[name]


def test_a_name_is_listed_before_its_module_is_loaded(packages: None) -> None:
    inner = import_module("lazy_inner")
    assert inner.__all__ == ["LIMIT", "Thing", "make"], "constants, classes, functions"
    assert {"LIMIT", "Thing", "make"} <= set(dir(inner)) and not {"lazily", "TYPE_CHECKING"} & set(dir(inner))
    assert "lazy_inner._a" not in sys.modules
    assert isinstance(inner.make(), inner.Thing) and "lazy_inner._b" not in sys.modules


def test_a_star_offers_all_that_the_other_does(packages: None) -> None:
    outer = import_module("lazy_outer")
    assert outer.__all__ == ["LIMIT", "Thing", "make", "only_here"]
    assert outer.only_here() == outer.LIMIT == 3
    space: dict[str, object] = {}
    exec("from lazy_outer import *", space)  # noqa: S102
    assert {"LIMIT", "Thing", "make", "only_here"} <= set(space)


def test_what_is_not_offered_is_no_attribute(packages: None) -> None:
    inner = import_module("lazy_inner")
    for name in ("nothing", "__wrapped__", "TYPE"):
        with pytest.raises(AttributeError, match=name):
            getattr(inner, name)
