"""A source that streams: no folder of its own, every row accounted for, the same bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from world import World, rejects, rows

from toolkit.api import diff
from toolkit.api import rejects as look
from toolkit.common.ahead import ahead
from toolkit.common.errors import InputError
from toolkit.common.files import tree_digests
from toolkit.pipeline import _stream
from toolkit.report import summarise

READ = {"id": "rows", "use": "read", "with": {"files": ["seeds.jsonl"], "columns": {"prompt": "prompt", "response": "response"}, "record": "seed"}}
NORMALISE = {"id": "clean", "use": "normalise", "with": {"max_chars": 60}}
WRITE = {"id": "out", "use": "shards"}
NONE = {"where": {"prompt": ["Question 0 about gardens"]}}


def world(folder: Path, n: int = 40) -> World:
    w = World(folder, n)
    w.seeds([{"prompt": f"Question {i % 30} about gardens" + (" and more" * 9 if i % 7 == 3 else ""), "response": "Yes."} for i in range(n)])
    with (folder / "seeds.jsonl").open("a") as f:
        f.write('{"prompt": 5}\n')
    return w


def test_rows_stream_into_the_step_that_reads_them(tmp_path: Path) -> None:
    w = world(tmp_path)
    w.recipe(READ, NORMALISE, WRITE, load=False)
    run = w.run()
    assert [p.name for p in sorted(run.folder.iterdir()) if p.is_dir() and not p.name.startswith(".")] == ["out"]
    counts = {c["step"]: c for c in run.steps["out"].manifest["counts"]}
    assert counts["rows"]["in"] == 41 and counts["rows"]["rejected"] == {"wrong_type": 1}
    assert counts["clean"]["in"] == 40 and counts["clean"]["rejected"] == {"too_long": 6}
    assert counts["out"]["in"] == counts["out"]["kept"] == 34
    assert sorted(r["reason"] for r in rejects(run, "out")) == ["too_long"] * 6 + ["wrong_type"]
    assert w.built() == set()


def test_a_step_that_two_read_has_a_folder(tmp_path: Path) -> None:
    w = world(tmp_path)
    w.recipe(READ, {**NORMALISE, "from": "rows"}, {"id": "other", "use": "normalise", "from": "rows"}, load=False)
    run = w.run()
    assert len(rows(run, "rows")) == 40
    assert len(rejects(run, "rows")) == 1


def test_what_left_is_counted_once_when_a_second_reader_comes(tmp_path: Path) -> None:
    """The folder of the steps that ran as one is reused, and the first of them gets a folder beside it."""
    w = world(tmp_path)
    clean = {**NORMALISE, "from": "rows"}
    w.recipe(READ, clean, {"id": "unique", "use": "deduplicate"}, load=False)
    before = look(w.run().folder, limit=100)
    w.recipe(READ, clean, {"id": "unique", "use": "deduplicate"}, {"id": "other", "use": "leave_out", "from": "rows", "with": NONE}, load=False)
    run = w.run()
    assert (run.built, (run.folder / "rows").exists()) == (["rows", "other"], True)
    after = look(run.folder, limit=100)
    assert [c for c in after["counts"] if c["step"] != "other"] == before["counts"]
    assert len(after["shown"]) == after["rows"] == before["rows"] + 2


def test_a_folder_that_an_earlier_recipe_left_says_nothing_of_the_steps_that_are_there(tmp_path: Path) -> None:
    """Both folders hold counts of `rows`; those of the one that was built last, and is no longer of the recipe, are of other files."""
    w = world(tmp_path)
    few = (tmp_path / "seeds.jsonl").read_bytes()
    w.recipe(READ, {**NORMALISE, "id": "one"}, load=False)
    w.run()
    w.seeds([{"prompt": "Another one", "response": "Yes."}])
    w.recipe(READ, {**NORMALISE, "id": "two"}, load=False)
    w.run()
    (tmp_path / "seeds.jsonl").write_bytes(few)
    w.recipe(READ, {**NORMALISE, "id": "one"}, load=False)
    run = w.run()
    assert (run.built, (run.folder / "two").exists()) == ([], True)
    assert summarise(run.folder)["steps"][0]["in"] == 41
    assert {s["step"]: s["a"]["in"] for s in diff(run.folder, run.folder)["steps"]} == {"rows": 41, "one": 40}


def test_streamed_rows_are_those_of_files_in_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deduplication reads its rows twice: as a stream, and from a folder that another step reads too."""
    w = world(tmp_path)
    unique = {"id": "unique", "use": "deduplicate"}
    w.recipe(READ, unique, load=False)
    streamed = w.run(output="a")
    w.recipe(READ, {**unique, "from": "rows"}, {"id": "other", "use": "normalise", "from": "rows"}, load=False)
    filed = w.run(output="b")
    assert not (tmp_path / "a" / "rows").exists() and (tmp_path / "b" / "rows").exists()
    assert rows(streamed, "unique") == rows(filed, "unique")
    assert streamed.steps["unique"].manifest["counts"][-1] == filed.steps["unique"].manifest["counts"][-1]
    both = [r for r in rejects(streamed, "unique") if r["step"] == "unique"]
    assert both == rejects(filed, "unique")


def test_same_bytes_at_any_block_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    w = world(tmp_path, 300)
    w.recipe(READ, NORMALISE, WRITE, load=False)
    first = tree_digests(w.run(output="a").folder / "out")
    monkeypatch.setattr("toolkit.sources._column_frames.BLOCK_BYTES", 1000)
    assert tree_digests(w.run(output="b", block_rows=7).folder / "out") == first


def test_a_file_that_changes_while_it_is_read_is_found(tmp_path: Path) -> None:
    w = world(tmp_path)
    plan_rows = [json.loads(line) for line in (tmp_path / "seeds.jsonl").read_text().splitlines()]
    w.recipe(READ, {"id": "unique", "use": "deduplicate"}, load=False)
    real = _stream.Stream.blocks
    calls = []

    def blocks(self, columns=None):
        calls.append(1)
        if len(calls) == 2:
            w.seeds(plan_rows[:-5])
        return real(self, columns)

    with pytest.MonkeyPatch.context() as m:
        m.setattr(_stream.Stream, "blocks", blocks)
        with pytest.raises(InputError, match="has changed since the run was planned"):
            w.run()
    assert not (tmp_path / "out" / "unique").exists()


def test_what_a_reader_ahead_raises_is_raised_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise InputError("the third")

    seen: list[int] = []
    with pytest.raises(InputError, match="the third"):
        seen.extend(ahead(items()))
    reader = ahead(iter(range(10_000)))
    assert next(reader) == 0
    reader.close()  # type: ignore[attr-defined]  # leaves no thread behind
    import threading

    assert not [t for t in threading.enumerate() if t.name == "guardkit-ahead"]
