"""Two runs compared: each row that is gone, added or changed is named, with why; and what a run did not keep can be looked at."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import World, rejects, rows, seed

from toolkit.api import diff
from toolkit.api import rejects as look
from toolkit.common.errors import InputError
from toolkit.pipeline import Run

STEPS: list[dict[str, Any]] = [
    {"id": "clean", "use": "normalise"},
    {"id": "unique", "use": "deduplicate", "with": {"on": "prompt"}},
    {"id": "parts", "use": "split", "with": {"parts": {"train": 0.5, "test": 0.5}}},
    {"id": "train-rows", "use": "select", "with": {"where": {"split": "train"}}},
]


def two(world: World, **second: Any) -> tuple[Run, Run]:
    """A run, and one with other seeds or overrides."""
    world.recipe(*STEPS)
    first = world.run(output="a")
    if "seeds" in second:
        world.seeds(second["seeds"])
    return first, world.run(*second.get("overrides", ()), output="b")


def ids(run: Run, step: str = "train-rows") -> set[str]:
    return {r["id"] for r in rows(run, step)}


def test_equal_runs_are_equal(world: World) -> None:
    a, b = two(world)
    found = diff(a.folder, b.folder)
    assert found["equal"] and found["step"] == "train-rows"
    assert found["same"] == found["a"]["rows"] == found["b"]["rows"] == len(ids(a))
    assert {s["state"] for s in found["steps"]} == {"same"} and not any(s["differs"] for s in found["steps"])
    assert not found["gone"]["shown"] and not found["changed"]["shown"]


def test_another_option_moves_rows_and_each_says_where_it_went(world: World) -> None:
    a, b = two(world, overrides=["train-rows.where={split: test}"])
    found = diff(a.folder, b.folder, shown=100)
    assert not found["equal"] and found["same"] == 0
    assert found["gone"]["rows"] == len(ids(a)) and found["added"]["rows"] == len(ids(b))
    assert found["gone"]["why"] == [{"step": "train-rows", "outcome": "set_aside", "reason": "not_selected", "rows": len(ids(a))}]
    assert {r["id"] for r in found["gone"]["shown"]} == ids(a) and {r["detail"] for r in found["gone"]["shown"]} == {"split is train"}
    assert {r["detail"] for r in found["added"]["shown"]} == {"split is test"}, "why it was not in a"
    assert {s["step"]: s["state"] for s in found["steps"]} == {
        "seeds": "same", "clean": "same", "unique": "same", "parts": "same", "train-rows": "changed",
    }  # fmt: skip
    assert found["steps"][-1]["differs"] == [{"what": "config.where.split", "a": "train", "b": "test"}]
    assert found["steps"][-1]["a"]["kept"] == len(ids(a)) and found["steps"][-1]["b"]["kept"] == len(ids(b))


def test_another_seed_is_named_and_what_depends_on_it_follows(world: World) -> None:
    a, b = two(world, overrides=["seed=6"])
    found = diff(a.folder, b.folder)
    assert found["gone"]["rows"] and found["gone"]["why"][0]["reason"] == "not_selected"
    states = {s["step"]: s["state"] for s in found["steps"]}
    assert states["clean"] == "same" and states["parts"] == "changed"
    at = next(s for s in found["steps"] if s["step"] == "parts")
    assert at["differs"] == [{"what": "seed", "a": 5, "b": 6}]
    before = diff(a.folder, b.folder, step="unique")
    assert before["equal"]


def test_source_rows_that_came_went_and_changed(world: World) -> None:
    seeds = [seed(i) for i in range(24)]
    relabelled = {**seeds[4], "label_prompt": "harmful"}
    other = [*seeds[:4], relabelled, *seeds[5:20], seed(90), seed(91, prompt=seeds[2]["prompt"])]
    a, b = two(world, seeds=other)
    found = diff(a.folder, b.folder, step="parts", shown=50)
    assert found["gone"]["why"] == [{"step": None, "outcome": "missing", "reason": "not_in_sources", "rows": 4}]
    assert found["added"]["why"] == [{"step": None, "outcome": "missing", "reason": "not_in_sources", "rows": 1}], "the other is merged into row 2"
    assert found["changed"]["rows"] == 1 and found["changed"]["columns"] == {"label_prompt": 1} and found["changed"]["since"] == {"seeds": 1}
    assert found["changed"]["shown"][0]["values"] == {"label_prompt": ["unharmful", "harmful"]}
    files = next(s for s in found["steps"] if s["step"] == "seeds")["differs"]
    assert [d["what"] for d in files] and all(d["what"].startswith("files.") for d in files)
    back = diff(b.folder, a.folder, step="parts")
    assert (back["gone"]["rows"], back["added"]["rows"], back["changed"]["rows"]) == (1, 4, 1)


def test_a_row_that_was_merged_names_its_survivor(world: World) -> None:
    copy = seed(3, prompt="Question number 1 about gardens, please")
    world.seeds([seed(1), seed(2), copy])
    world.recipe({"id": "all", "use": "select"})
    a = world.run(output="a")
    world.recipe({"id": "unique", "use": "deduplicate", "with": {"on": "prompt"}}, {"id": "all", "use": "select"})
    b = world.run(output="b")
    found = diff(a.folder, b.folder)
    assert found["step"] == "all"
    [gone] = found["gone"]["shown"]
    first = rows(b, "all")[0]["id"]
    assert (gone["step"], gone["outcome"], gone["reason"], gone["survivor"]) == ("unique", "merged", "merged", first)
    assert next(s for s in found["steps"] if s["step"] == "unique")["state"] == "only in b"
    whys = next(s for s in found["steps"] if s["step"] == "all")
    assert whys["differs"] == [{"what": "from", "a": ["seeds"], "b": ["unique"]}]


def test_children_are_traced_through_their_parent(world: World) -> None:
    world.seeds([seed(i) | {"label_prompt": "harmful" if i < 5 else "unharmful"} for i in range(24)])
    balance = {"id": "balanced", "use": "balance", "with": {"by": "label_prompt", "to": "largest", "replacement": "even"}}
    world.recipe({"id": "all", "use": "select"}, balance, {"id": "kept", "use": "select"})
    a = world.run(output="a")
    b = world.run("balanced.to=smallest", output="b")
    c = world.run("all.where={label_prompt: unharmful}", output="c")
    smaller = diff(a.folder, b.folder, shown=100)
    assert smaller["gone"]["rows"] == 38 - 10
    reasons = {w["reason"]: w["rows"] for w in smaller["gone"]["why"]}
    assert reasons["not_drawn"] == 14 and reasons["not_made"] == 14, "unharmful rows are set aside; of each harmful one the copies were not made"
    without = diff(a.folder, c.folder, shown=100)
    inherited = [g for g in without["gone"]["shown"] if g["parent"]]
    assert {g["reason"] for g in inherited} == {"not_selected"} and len(inherited) == 14
    assert all(g["id"].startswith(g["parent"] + ":balanced:") for g in inherited)


@settings(max_examples=6, deadline=None)
@given(st.data())
def test_every_row_of_a_is_in_b_or_has_a_why(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    world = World(tmp_path_factory.mktemp("diff"))
    drawn = st.lists(st.integers(0, 30), min_size=6, max_size=30)

    def run(name: str) -> Run:
        world.seeds([seed(i, prompt=f"Text {i % 9}" if i % 4 == 0 else None) for i in data.draw(drawn)])
        parts = data.draw(st.sampled_from([0.3, 0.5, 0.8]))
        return world.run(f"parts.parts={{train: {parts}, test: {1 - parts}}}", output=name, block_rows=data.draw(st.integers(1, 40)))

    world.recipe(*STEPS)
    a, b = run("a"), run("b")
    for step in ("parts", "train-rows"):
        found = diff(a.folder, b.folder, step=step, shown=10**6)
        left, right = {r["id"]: r for r in rows(a, step)}, {r["id"]: r for r in rows(b, step)}
        gone = {g["id"]: g for g in found["gone"]["shown"]}
        assert set(gone) == set(left) - set(right)
        assert {g["id"] for g in found["added"]["shown"]} == set(right) - set(left)
        assert {c["id"] for c in found["changed"]["shown"]} == {i for i in set(left) & set(right) if left[i] != right[i]}
        assert found["same"] == sum(left[i] == right.get(i) for i in left)
        lines = {r["id"]: r for s in ("unique", "train-rows") for r in rejects(b, s)}
        for i, g in gone.items():
            assert g["outcome"] and g["reason"]
            if i in lines:
                assert (g["step"], g["reason"], g["detail"], g["survivor"]) == tuple(lines[i][k] for k in ("step", "reason", "detail", "survivor"))
            else:
                assert g["reason"] == "not_in_sources"


# Shards, files, errors --------------------------------------------------------------------------------------------------


def test_shards_are_compared_by_id_and_all_differences_go_to_a_file(world: World, tmp_path: Path) -> None:
    shards = [{"id": "shards", "use": "shards"}]
    world.recipe(*STEPS, *shards)
    a = world.run(output="a")
    b = world.run("train-rows.share=0.5", output="b")
    one, other = (r.folder / "shards" / "shards" for r in (a, b))
    found = diff(one, other, output=tmp_path / "all.jsonl")
    kept = {r["id"] for r in rows(b, "train-rows")}
    assert found["gone"]["rows"] == len(ids(a)) - len(kept) and found["added"]["rows"] == 0 and found["same"] == len(kept)
    assert found["gone"]["shown"][0]["reason"] is None, "shards do not know why"
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert {line["id"] for line in lines} == ids(a) - kept and {line["change"] for line in lines} == {"gone"}
    diff(a.folder, b.folder, output=tmp_path / "all.parquet")
    frame = pl.read_parquet(tmp_path / "all.parquet")
    assert set(frame["reason"]) == {"not_drawn"} and set(frame["step"]) == {"train-rows"}
    assert diff(one, one)["equal"]
    assert diff(one.parent, other)["gone"]["shown"][0]["reason"] is None, "the folder of a step that made shards is as good as they"
    assert diff(one.parent, other.parent)["gone"]["shown"][0]["reason"] == "not_drawn", "but of one step in two runs the runs know why"


def test_what_cannot_be_compared_is_refused(world: World, tmp_path: Path) -> None:
    a, b = two(world)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="neither the folder of a run nor one of shards"):
        diff(a.folder, tmp_path / "empty")
    with pytest.raises(InputError, match="did you mean 'parts'"):
        diff(a.folder, b.folder, step="part")
    with pytest.raises(InputError, match="must end in"):
        diff(a.folder, b.folder, output=tmp_path / "x.txt")
    shutil.rmtree(b.folder / "train-rows")
    assert diff(a.folder, b.folder)["step"] == "parts", "the last step that both have"


# Rows that were not kept ------------------------------------------------------------------------------------------------


def test_rows_that_were_not_kept_are_shown_with_their_reason(world: World) -> None:
    world.seeds([*(seed(i) for i in range(8)), seed(30, prompt="Question number 1 about gardens, please"), {"prompt": None}])
    world.recipe(*STEPS)
    run = world.run()
    found = look(run.folder)
    n = {c["step"]: c["rows"] for c in found["counts"]}
    assert found["rows"] == sum(n.values()) and n["unique"] == 1 and n["seeds"] == 1
    assert [c["step"] for c in found["counts"]] == ["seeds", "unique", "train-rows"]
    aside = look(run.folder, "train-rows", limit=100)
    assert {s["id"] for s in aside["shown"]} | ids(run) == {r["id"] for r in rows(run, "parts")}
    assert all(s["row"]["split"] == "test" and s["detail"] == "split is test" for s in aside["shown"])
    one = aside["shown"][0]["id"]
    assert [s["id"] for s in look(run.folder, ids=[one])["shown"]] == [one]
    assert look(run.folder, reason="merged")["rows"] == 1 and look(run.folder, "seeds", reason="merged")["rows"] == 0
    with pytest.raises(InputError, match="known: merged"):
        look(run.folder, reason="no such")
    with pytest.raises(InputError, match="did you mean 'unique'"):
        look(run.folder, "uniqe")


def test_commands_say_it_plainly(world: World) -> None:
    a, _ = two(world, overrides=["train-rows.where={split: test}"])
    world.seeds([seed(0, prompt="colour \x1b[31mred [bold]x[/bold]")])
    world.recipe({"id": "none", "use": "select", "with": {"where": {"split": "dev"}}})
    world.run(output="c")
    result = world.cli("diff", str(a.folder), "b")
    assert result.returncode == 0, result.stderr
    assert "train-rows: config.where.split: train -> test" in result.stdout and "not_selected" in result.stdout
    assert json.loads(world.cli("diff", str(a.folder), "b", "--json").stdout)["equal"] is False
    result = world.cli("rejects", "c", "none")
    assert result.returncode == 0 and "split is null" in result.stdout
    assert "\x1b" not in result.stdout and "[bold]x[/bold]" in result.stdout
    assert json.loads(world.cli("rejects", "c", "--json").stdout)["rows"] == 1


def test_rows_that_went_straight_into_shards_are_found_there_and_why_they_left_too(world: World) -> None:
    read = {"files": ["seeds.jsonl"], "columns": {"prompt": "prompt", "response": "response"}, "record": "seed"}
    world.recipe({"id": "rows", "use": "read", "with": read}, {"id": "some", "use": "select"}, {"id": "out", "use": "shards"}, load=False)
    a = world.run(output="a")
    b = world.run("some.share=0.5", output="b")
    assert [p.name for p in sorted(a.folder.iterdir()) if p.is_dir()] == ["out"], "nothing else has a folder"
    found = diff(a.folder, b.folder, shown=50)
    assert found["step"] == "out" and found["a"]["rows"] == 24 and found["same"] == found["b"]["rows"]
    assert found["gone"]["why"] == [{"step": "some", "outcome": "set_aside", "reason": "not_drawn", "rows": 24 - found["b"]["rows"]}]
    assert {s["step"]: s["state"] for s in found["steps"]} == {"rows": "same", "some": "changed", "out": "follows"}


def test_copies_that_are_fewer_are_traced_to_their_row_also_without_a_folder_before(tmp_path: Path) -> None:
    w = World(tmp_path)
    w.seeds([{"id": f"r{i}", "kind": "ab"[i % 2]} for i in range(6)])
    read = {"id": "rows", "use": "read", "with": {"files": ["seeds.jsonl"], "columns": {"id": "id", "kind": "kind"}}}
    for output, n in (("a", 6), ("b", 3)):
        w.recipe(read, {"id": "even", "use": "balance", "with": {"by": "kind", "to": n, "replacement": "even"}}, load=False)
        w.run(output=output)
    gone = diff(tmp_path / "a", tmp_path / "b")["gone"]
    assert gone["rows"] == 6
    assert {(g["reason"], g["id"]) for g in gone["shown"]} <= {("not_made", f"r{i}:even:2") for i in range(6)}
