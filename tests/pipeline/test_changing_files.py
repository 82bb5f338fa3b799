"""Outside files are what they were when the run was planned: one that changes while the run is under way is an error, never rows of another content."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from world import World, rows

from toolkit.common.errors import InputError

READ = {"id": "data", "use": "read", "with": {"files": ["data"], "columns": {"id": "id", "prompt": "prompt"}}}
SLOW = {"id": "slow", "use": "ask", "from": "seeds"}
"""A step before the one that reads: `change` is called when it asks."""


def lines(version: str, n: int = 5) -> list[dict[str, str]]:
    return [{"id": f"{version}{i}", "prompt": f"version {version} question {i}"} for i in range(n)]


def jsonl(path: Path, found: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(r) + "\n" for r in found))


def array(path: Path, found: list[dict[str, Any]]) -> None:
    path.write_text(json.dumps(found))


def table(path: Path, found: list[dict[str, Any]]) -> None:
    path.write_text("\n".join([",".join(found[0]), *(",".join(r.values()) for r in found)]) + "\n")


def parquet(path: Path, found: list[dict[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist(found), path)


def gz(path: Path, found: list[dict[str, Any]]) -> None:
    import gzip

    with gzip.open(path, "wt") as f:
        f.write("".join(json.dumps(r) + "\n" for r in found))


KINDS: dict[str, Callable[[Path, list[dict[str, Any]]], None]] = {
    "x.jsonl": jsonl,
    "x.json": array,
    "x.csv": table,
    "x.parquet": parquet,
    "x.jsonl.gz": gz,
}


def during(world: World, monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """Have `change` happen while the step before is built."""
    import guardkit_stub

    real = guardkit_stub.Ask.answer
    waiting = [change]

    def answer(self: Any, *a: Any) -> Any:
        while waiting:
            waiting.pop()()
        return real(self, *a)

    monkeypatch.setattr(guardkit_stub.Ask, "answer", answer)


@pytest.mark.parametrize("name", KINDS)
def test_a_file_that_is_another_while_it_is_read_and_is_put_back(world: World, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    path = world.folder / "data" / name
    path.parent.mkdir()
    KINDS[name](path, lines("A"))
    kept = path.read_bytes()
    world.recipe(SLOW, {**READ, "id": "data"}, {"id": "all", "use": "select", "from": "data", "with": {"where": {"prompt": "not_null"}}})
    during(world, monkeypatch, lambda: KINDS[name](path, lines("B")))
    with pytest.raises(InputError, match=r"data.*has changed since the run was planned"):
        world.run()
    path.write_bytes(kept)
    assert world.built() == {"data", "all"}
    assert [r["id"] for r in rows(world.run(), "all")] == [f"A{i}" for i in range(5)]


@pytest.mark.parametrize("name", KINDS)
def test_a_change_between_the_check_and_the_reading(world: World, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The file is sound when the step begins, another one when it is opened, and itself again when the step ends."""
    from toolkit.operators.ingest import read
    from toolkit.sources import read_frames

    path = world.folder / "data" / name
    path.parent.mkdir()
    KINDS[name](path, lines("A"))
    kept = path.read_bytes()
    world.recipe({**READ, "id": "data"}, {"id": "all", "use": "select", "with": {"where": {"prompt": "not_null"}}}, load=False)
    real = read_frames

    def other(at: Path, *a: Any, **k: Any) -> Any:
        KINDS[name](at, lines("B"))
        yield from real(at, *a, **k)
        at.write_bytes(kept)

    monkeypatch.setattr(read, "read_frames", other)
    with pytest.raises(InputError, match="has changed since the run was planned"):
        world.run()
    assert not (world.folder / "out" / "all").exists()


def test_a_file_that_comes_or_goes_in_a_folder(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    (world.folder / "data").mkdir()
    jsonl(world.folder / "data" / "a.jsonl", lines("A"))
    world.recipe(SLOW, READ)
    during(world, monkeypatch, lambda: jsonl(world.folder / "data" / "b.jsonl", lines("B")))
    with pytest.raises(InputError, match=r"the file 'b.jsonl' is new since the run was planned"):
        world.run()
    shutil.rmtree(world.folder / "out" / "slow")
    during(world, monkeypatch, (world.folder / "data" / "a.jsonl").unlink)
    with pytest.raises(InputError, match="since the run was planned"):
        world.run()


def test_a_touched_file_of_the_same_bytes_is_the_same_file(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    (world.folder / "data").mkdir()
    path = world.folder / "data" / "a.jsonl"
    jsonl(path, lines("A"))
    world.recipe(SLOW, READ)
    during(world, monkeypatch, lambda: jsonl(path, lines("A")))
    assert "data" in world.run().built


PREDICTIONS = {"id": "data", "use": "load_predictions", "with": {"files": {"a": "a.jsonl"}, "task": "prompt"}}
LOAD = {"id": "data", "use": "load", "with": {"source": "tiny.yaml", "files": ["more.jsonl"]}}
REVIEW = {"id": "data", "use": "review", "from": "seeds", "with": {"decisions": "d.csv", "unknown": "skip"}}
AGAINST = {"id": "data", "use": "decontaminate", "from": "seeds", "with": {"against": ["t.jsonl"]}}


@pytest.mark.parametrize(
    ("step", "file", "before", "after"),
    [
        (LOAD, "more.jsonl", "", '{"prompt": "B"}\n'),
        (LOAD, "tiny.yaml", "", "\nurl: https://example.org\n"),
        (REVIEW, "d.csv", "id,task,decision\n", "x,prompt,unsure\n"),
        (AGAINST, "t.jsonl", '{"text": "a few words"}\n', '{"text": "other words"}\n'),
    ],
)
def test_every_kind_of_outside_file(world: World, monkeypatch: pytest.MonkeyPatch, step: dict[str, Any], file: str, before: str, after: str) -> None:
    path = world.folder / file
    shutil.copy(world.folder / "seeds.jsonl", world.folder / "more.jsonl")
    if before:
        path.write_text(before)
    world.recipe(SLOW, step)
    during(world, monkeypatch, lambda: path.write_text(path.read_text() + after))
    with pytest.raises(InputError, match=rf"step 'data': the file '(decisions|([a-z]+/)?{re.escape(file)})' has changed since the run was planned"):
        world.run()
    assert not (world.folder / "out" / "data").exists()
