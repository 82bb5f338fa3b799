"""Each public name has an example in its docstring, and what it says is what comes."""

from __future__ import annotations

import doctest
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import polars
import pytest
from workspace import furnish

import toolkit

sys.path.insert(0, str(Path(__file__).parent / "generation"))
from server import Server, running

NAMES = [name for name in toolkit.__all__ if not name.startswith("_")]
SLOW = {"train"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A workspace in which ``small.yaml`` has been run and two prompts been asked; and the address of who answered them."""
    folder = tmp_path_factory.mktemp("workspace")
    with pytest.MonkeyPatch.context() as patch, running(Server()) as server:
        patch.chdir(folder)
        patch.delenv("GUARDKIT_WORKSPACE", raising=False)
        patch.setenv("OPENAI_API_KEY", "none")
        furnish(folder)
        toolkit.run("small.yaml")
        toolkit.generate("prompts.jsonl", "asked.jsonl", {"backend": "openai", "model": "m", "base_url": server.base_url})
        yield folder, server.base_url


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in NAMES])
def test_the_example_of_a_public_name_is_true(name: str, made: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shutil.copytree(made[0], tmp_path / "w")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("GUARDKIT_WORKSPACE", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    words = {"toolkit": toolkit, "polars": polars, "url": made[1]}
    doc = getattr(toolkit, name).__doc__ or ""
    example = doctest.DocTestParser().get_doctest(doc, words, f"toolkit.{name}", None, None)
    assert example.examples, "no example in its docstring"
    found: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=found.append)
    assert not result.failed, "".join(found)


def test_every_public_name_is_listed_before_it_is_loaded() -> None:
    """As tab completion asks; in a process that has used none of them yet."""
    import subprocess

    asked = "there = dir(toolkit); import toolkit.api as a; print(*there, '|', *dir(a), '|', *({'polars', 'pydantic', 'pyarrow', 'torch'} & set(sys.modules)))"
    code = f"import sys, toolkit; {asked}"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    there, api, heavy = (part.split() for part in printed.split("|"))
    assert set(toolkit.__all__) <= set(there) and set(toolkit.api.__all__) <= set(api) and heavy == []
    assert {"export", "diff", "rejects", "overlaps", "train", "sign", "journal_show", "journal_purge", "read_run", "list_runs"} <= set(there)
    assert not {"TYPE_CHECKING", "lazily", "annotations"} & set(there), "what the module itself uses is nobody's to complete"
