"""No verb writes over what it reads, what was paid for, or what guardkit keeps; a refusal names both, and nothing has changed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import CHECKOUT, Result
from server import Server, running

sys.path.insert(0, str(CHECKOUT / "tests" / "shards"))
from exports import sft

Cli = Callable[..., Result]


@pytest.fixture
def server() -> Iterator[Server]:
    with running(Server()) as s:
        yield s


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but SQLite's shared memory, which readers write."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix != ".sqlite-shm"}


@pytest.fixture
def unchanged(tmp_path: Path) -> Callable[..., None]:
    """Checks that a command was refused for a reason and left the working folder as it was when `unchanged` was first asked for."""
    before: dict[str, bytes] = {}

    def check(result: Result, *words: str) -> None:
        assert result.code == 2, result
        assert all(word in result.err for word in words), result.err
        assert "Traceback" not in result.err
        assert tree(tmp_path) == before

    before |= tree(tmp_path)

    def now() -> None:
        before.clear()
        before.update(tree(tmp_path))

    check.now = now  # type: ignore[attr-defined]
    return check


RECIPE = """
recipe: r
steps:
  - {{id: rows, use: read, with: {{files: [{file}], columns: {{id: id, prompt: prompt}}}}}}
  - {{id: kept, use: select, with: {{where: {{prompt: not_null}}}}}}
"""


def recipe(path: Path, file: str = "data.jsonl") -> Path:
    path.write_text(RECIPE.format(file=file))
    return path


def data(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"id": f"{i}", "prompt": f"question {i}"}) + "\n" for i in range(3)))
    return path


def test_paid_answers_are_no_place_for_an_output(cli: Cli, server: Server, tmp_path: Path, unchanged: Callable[..., None]) -> None:
    (tmp_path / "i.jsonl").write_text('{"id": "a", "user": "hi"}\n')
    ask = ("generate", "--base-url", server.base_url, "--model", "m", "--work", "w", "--input")
    assert cli(*ask, "i.jsonl", "--output", "o.jsonl").code == 0
    (tmp_path / "link").symlink_to("w")
    os.link("w/journal/journal.sqlite", "twin.jsonl")
    unchanged.now()  # type: ignore[attr-defined]
    for output in ("w/journal/journal.sqlite", "w/journal/journal.sqlite-wal", "w/journal/new/x.jsonl", "link/journal/journal.lock", "twin.jsonl"):
        unchanged(cli(*ask, "i.jsonl", "--output", output), "would take the place of the journal", output, "w/journal")
        unchanged(cli(*ask, "i.jsonl", "--work", "other", "--output", output), output) if output != "twin.jsonl" else None
    for output in ("w/journal/journal.jsonl", "w/journal/x.parquet", "twin.jsonl", "link/journal/y.jsonl"):
        unchanged(cli("journal", "export", output, "--folder", "w/journal"), "would take the place of the journal", output)
    unchanged(cli(*ask, "i.jsonl", "--output", "i.jsonl"), "would take the place of what this command reads: i.jsonl")
    (tmp_path / "form.json").write_text('{"type": "text"}')
    unchanged.now()  # type: ignore[attr-defined]
    unchanged(cli(*ask, "i.jsonl", "--output", "form.json", "--response-format", "form.json"), "form.json")
    assert cli("journal", "verify", "--folder", "w/journal").code == 0
    assert cli("journal", "export", "out.jsonl", "--folder", "w/journal").code == 0


def test_runs_keep_their_steps_and_what_they_read(cli: Cli, tmp_path: Path, unchanged: Callable[..., None]) -> None:
    data(tmp_path / "data.jsonl")
    recipe(tmp_path / "r.yaml")
    assert cli("run", "r.yaml", "--output", "o/r").code == 0
    assert cli("run", "o/r/recipe.yaml", "--output", "o/r").code == 0  # its own recipe, which says the same
    recipe(tmp_path / "own.yaml", "o/r/kept/rows/rows.parquet")
    unchanged.now()  # type: ignore[attr-defined]
    unchanged(cli("run", "own.yaml", "--output", "o/r"), "the run would take the place of what it reads: o/r/kept/rows/rows.parquet", "o/r")
    for output, kept in (("o/r/kept", "is a step's"), ("o/r/new", "is a run's"), ("o/r/kept/deep/x", "is a step's")):
        unchanged(cli("run", "r.yaml", "--output", output), output, kept)
        unchanged(cli("quickstart", "--output", output), output)
        unchanged(cli("plan", "r.yaml", "--output", output), output)
    unchanged(cli("run", "r.yaml", "--output", "data.jsonl"), "would take the place of what this command reads: data.jsonl")
    unchanged(cli("run", "r.yaml", "--output", "r.yaml"), "would take the place of what this command reads: r.yaml")
    unchanged(cli("diff", "o/r", "o/r", "--output", "o/r/kept/diff.csv"), "o/r/kept/diff.csv", "would take the place of what this command reads: o/r")
    unchanged(cli("overlaps", "--rows", "a=data.jsonl", "--rows", "b=o/r/kept", "--output", "o/r/kept/x.csv"), "o/r/kept/x.csv")
    (tmp_path / "i.jsonl").write_text('{"id": "a", "user": "hi"}\n')
    unchanged.now()  # type: ignore[attr-defined]
    asked = ("generate", "--base-url", "http://127.0.0.1:9/v1", "--model", "m", "--input", "i.jsonl")
    unchanged(cli(*asked, "--output", "o/r/summary.json"), "o/r/summary.json", "is a run's")
    unchanged(cli(*asked, "--output", "x.jsonl", "--work", "o/r"), "o/r", "--work")


def test_sources_and_tables_are_not_written_over(cli: Cli, tmp_path: Path, unchanged: Callable[..., None]) -> None:
    (tmp_path / "rows.csv").write_text("id,prompt\n1,Are eggs round?\n2,Are eggs blue?\n")
    (tmp_path / "link.csv").symlink_to("rows.csv")
    for name in "ab":
        line = {"prompt": "x", "label": "harmful", "predict": "Request: harmful"}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(line) + "\n")
    unchanged.now()  # type: ignore[attr-defined]
    for output in ("rows.csv", "link.csv"):
        unchanged(cli("overlaps", "--rows", "a=rows.csv", "--source", "quickstart", "--output", output), output)
    mined = ("mine", "--predictions", "a=a.jsonl", "--predictions", "b=b.jsonl", "--output")
    unchanged(cli(*mined, "a.jsonl"), "would take the place of what this command reads: a.jsonl")


def test_shards_exports_and_models_are_kept(cli: Cli, tmp_path: Path, unchanged: Callable[..., None]) -> None:
    sft(tmp_path / "shards", 5)
    assert cli("export", "shards", "--format", "trl", "--output", "e").code == 0
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "guardkit.json").write_text("{}")
    (tmp_path / "sft.yaml").write_text("shards: shards\nmodel: model\noutput: model\n")
    (tmp_path / "deep.yaml").write_text("shards: shards\nmodel: {scratch: {}}\noutput: e/model\n")
    (tmp_path / "up.yaml").write_text("shards: shards\nmodel: {scratch: {}}\noutput: model/in\n")
    (tmp_path / "i.jsonl").write_text('{"id": "a", "user": "hi"}\n')
    unchanged.now()  # type: ignore[attr-defined]
    unchanged(cli("export", "shards", "--format", "trl", "--output", "e/x"), "e/x", "is an export's")
    unchanged(cli("export", "shards", "--format", "trl", "--output", "shards/x"), "shards/x")
    unchanged(cli("export", "shards", "--format", "trl", "--output", "model/x"), "model/x", "is a model's")
    unchanged(cli("train", "sft", "sft.yaml"), "model")
    unchanged(cli("train", "sft", "deep.yaml"), "e/model", "is an export's")
    unchanged(cli("train", "sft", "up.yaml"), "model/in", "is a model's")
    asked = ("generate", "--base-url", "http://127.0.0.1:9/v1", "--model", "m", "--input", "i.jsonl", "--output")
    unchanged(cli(*asked, "shards/data/x.jsonl"), "shards/data/x.jsonl", "is one of shards")
    assert cli("export", "shards", "--format", "trl", "--output", "e").code == 0  # an earlier export of its own is replaced


def test_the_python_doors_hold_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import toolkit
    from toolkit.common.errors import InputError

    monkeypatch.chdir(tmp_path)
    data(tmp_path / "data.jsonl")
    done = toolkit.run(recipe(tmp_path / "r.yaml"), output="o/r")
    given: dict[str, Any] = {"files": ["data.jsonl"], "columns": {"id": "id", "prompt": "prompt"}}
    before = tree(tmp_path)
    with pytest.raises(InputError, match="is a run's"):
        toolkit.apply("read", artefacts=done.folder / "mine", **given)
    with pytest.raises(InputError, match=r"would take the place of what this command reads: data\.jsonl"):
        toolkit.apply("read", artefacts="data.jsonl", **given)
    assert tree(tmp_path) == before
