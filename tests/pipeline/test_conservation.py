"""No row vanishes: each shape's law holds, and an operator that breaks it is found out."""

from __future__ import annotations

import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import World, counts, rejects, rows, seed

from toolkit.common.errors import InputError, InputErrors
from toolkit.pipeline import ConservationError, Counts

SHAPES = ("source", "one_to_one", "select", "merge", "expand", "pick", "sink")
SOME = st.integers(0, 50)


@given(kept=SOME, rejected=SOME, aside=SOME, merged=SOME, off=st.integers(-3, 3), shape=st.sampled_from(SHAPES))
def test_the_law_of_each_shape(kept: int, rejected: int, aside: int, merged: int, off: int, shape: str) -> None:
    aside = aside if shape in ("source", "select", "merge", "pick", "sink") else 0
    merged = merged if shape == "merge" else 0
    out = kept + rejected + aside + merged
    c = Counts("s", "op", shape, kept=kept, merged=merged)  # type: ignore[arg-type]
    c.rejected["r"], c.set_aside["a"] = rejected, aside
    if shape == "expand":
        c.came, c.factor = out, 1.0
    elif shape == "pick":  # a parent may have any number of children
        c.parents, c.kept, c.came = kept, 3 * kept, out
    else:
        c.came = out
    c.check()
    c.came += off
    if off:
        with pytest.raises(ConservationError):
            c.check()


@pytest.mark.parametrize("outcome", ["set_aside", "merged"])
def test_a_shape_allows_only_its_own_outcomes(outcome: str) -> None:
    c = Counts("s", "op", "one_to_one", came=3, kept=2)
    if outcome == "merged":
        c.merged = 1
    else:
        c.set_aside["why"] = 1
    with pytest.raises(ConservationError):
        c.check()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_dataset_operator_of_each_shape(world: World, shape: str) -> None:
    step = {"id": "x", "use": f"uneven_{shape}"}
    world.recipe(step, load=shape != "source")
    run = world.run()
    c = counts(run, "x")
    assert c["shape"] == shape
    if shape == "source":
        assert (c["in"], c["kept"], c["rejected"], c["set_aside"]) == (9, 5, {"torn": 2}, {"filtered": 2})
        assert [r["row"] for r in rejects(run, "x")][:2] == ["0", "1"]
    elif shape == "expand":
        assert (c["in"], c["kept"], c["factor"]) == (24, 48, 2.0)
    elif shape == "pick":
        assert (c["in"], c["kept"], c["parents"], c["rejected"], c["set_aside"]) == (24, 10, 8, {"first_third": 8}, {"childless": 8})
    elif shape == "merge":
        assert (c["in"], c["kept"], c["merged"]) == (24, 8, 8)
        merged = [r for r in rejects(run, "x") if r["outcome"] == "merged"]
        assert len(merged) == 8 and {r["survivor"] for r in merged} == {rows(run, "x")[-1]["id"]}
    else:
        assert c["in"] == c["kept"] + sum(c["rejected"].values()) + sum(c["set_aside"].values()) == 24
    assert len(rejects(run, "x")) == sum(c["rejected"].values()) + sum(c["set_aside"].values()) + c["merged"]


@pytest.mark.parametrize(("shape", "fault"), [(s, f) for s in SHAPES for f in ("lose", "double") if (s, f) != ("pick", "double")])
def test_an_operator_that_loses_or_doubles_a_row_is_refused(world: World, shape: str, fault: str) -> None:
    world.recipe({"id": "x", "use": f"uneven_{shape}", "with": {fault: 1}}, load=shape != "source")
    with pytest.raises(ConservationError, match="uneven"):
        world.run()
    assert not (world.folder / "out" / "x").exists()


@pytest.mark.parametrize("how", ["lose", "double", "replace", "move", "drop_marks", "no_column", "null", "outcome"])
def test_a_row_operator_that_breaks_its_promise_is_refused(world: World, how: str) -> None:
    world.recipe({"id": "x", "use": "untrue", "with": {"how": how}})
    with pytest.raises(ConservationError):
        world.run()
    assert not (world.folder / "out" / "x").exists()


def test_such_a_bug_ends_the_command_with_70_and_leaves_no_half_step(world: World) -> None:
    world.recipe({"id": "x", "use": "untrue", "with": {"how": "lose"}})
    done = world.cli("run", "recipe.yaml", "--output", "out")
    assert done.returncode == 70 and "report" in done.stderr and not done.stdout
    assert sorted(p.name for p in (world.folder / "out").iterdir() if p.is_dir()) == ["seeds"]


def test_a_fault_that_no_row_is_to_blame_for_is_not_put_on_the_rows(world: World) -> None:
    world.recipe({"id": "x", "use": "untrue", "with": {"how": "type"}})
    with pytest.raises(pl.exceptions.PolarsError):
        world.run()


def test_an_error_meant_for_the_user_reaches_the_user(world: World) -> None:
    world.recipe({"id": "x", "use": "untrue", "with": {"how": "refuse"}})
    with pytest.raises(InputError, match="wrong kind"):
        world.run()


def test_children_without_a_parent_are_refused_before_the_run(world: World) -> None:
    world.recipe({"id": "x", "use": "orphans"})
    with pytest.raises(InputErrors, match="parent"):
        world.run()


@pytest.mark.parametrize("block_rows", [1, 5, 8192])
def test_one_bad_row_costs_itself_alone(world: World, block_rows: int) -> None:
    prompts = [f"Row {i}" + (" with a thorn" if i in (3, 17) else "") for i in range(24)]
    world.seeds([seed(i, p) for i, p in enumerate(prompts)])
    world.recipe(
        {"id": "first", "use": "loud", "with": {"fail_on": "thorn", "reject": "Row 2"}}, {"id": "second", "use": "loud", "with": {"mark": "?"}}
    )
    run = world.run(block_rows=block_rows)
    gone = rejects(run, "second")
    assert [r["prompt"] for r in rows(run, "second")] == [p for p in prompts if "thorn" not in p and "Row 2" not in p], "order, and nobody else lost"
    assert [(r["reason"], json.loads(r["row"])["prompt"]) for r in gone] == [
        ("unwanted", "Row 2"), ("operator_error", prompts[3]), ("operator_error", prompts[17]),
        *(("unwanted", f"Row {i}") for i in range(20, 24)),
    ]  # fmt: skip
    assert all(r["step"] == "first" for r in gone) and "thorn" in gone[1]["detail"]
    assert counts(run, "first")["rejected"] == {"operator_error": 2, "unwanted": 5}
    assert run.failed is not None and run.failures == {"first": (2, 24)}
    again = world.run()
    assert not again.built and again.failed is not None, "the fault is still in the rows"


def test_the_bad_row_ends_the_command_with_1(world: World) -> None:
    world.seeds([seed(i, "a thorn" if i == 5 else None) for i in range(24)])
    world.recipe({"id": "x", "use": "loud", "with": {"fail_on": "thorn"}})
    done = world.cli("run", "recipe.yaml", "--output", "out", "--json")
    assert done.returncode == 1 and "1 of 24 in step 'x'" in done.stderr
    assert json.loads(done.stdout)["steps"][1]["kept"] == 23
    world.recipe({"id": "x", "use": "loud", "with": {"fail_on": "thorn"}}, failures=0.05)
    assert world.run().failed is None


def test_a_rejected_row_is_not_shown_to_the_next_operator(world: World) -> None:
    world.seeds([seed(i, "a thorn" if i == 5 else None) for i in range(24)])
    world.recipe({"id": "a", "use": "loud", "with": {"reject": "thorn"}}, {"id": "b", "use": "loud", "with": {"fail_on": "thorn"}})
    run = world.run()
    assert run.failed is None and [(r["step"], r["reason"]) for r in rejects(run, "b")] == [("a", "unwanted")]
    assert "loud" not in json.loads(rejects(run, "b")[0]["row"]), "the row as it came into the step"


def test_all_rows_bad(world: World) -> None:
    world.recipe({"id": "x", "use": "loud", "with": {"fail_on": "Question"}}, {"id": "y", "use": "loud"})
    run = world.run()
    assert rows(run, "y") == [] and counts(run, "x")["rejected"] == {"operator_error": 24} and counts(run, "y")["in"] == 0


def test_an_empty_input_passes_through_every_kind(world: World) -> None:
    world.seeds([seed(0, "a thorn")])
    world.recipe(
        {"id": "a", "use": "loud", "with": {"reject": "thorn"}},
        {"id": "b", "use": "deduplicate"},
        {"id": "c", "use": "ask_many"},
        {"id": "d", "use": "loud"},
        {"id": "e", "use": "fit"},
    )
    run = world.run()
    assert [counts(run, s)["kept"] for s in "abcde"] == [0] * 5 and run.failed is None


def test_what_a_row_holds_is_safe_in_the_rejects(world: World) -> None:
    odd = [
        "\x1b[31mred\x1b[0m thorn",
        "<script>alert(1)</script> thorn",
        "nul \x00 thorn",
        "x" * 1_000_000 + " thorn",
        '"quoted\\" thorn\u2028\x7f\x9b',
    ]
    world.seeds([seed(i, p) for i, p in enumerate(odd)])
    world.recipe({"id": "x", "use": "loud", "with": {"reject": "thorn"}})
    run = world.run()
    lines = {**{r["id"]: r for r in rejects(run, "seeds")}, **{r["id"]: r for r in rejects(run, "x")}}
    assert len(lines) == 5
    for line in lines.values():
        assert "\x1b" not in line["row"] and "\x00" not in line["row"]
    assert {json.loads(r["row"])["prompt"] for r in rejects(run, "x")} <= set(odd)
    done = world.cli("run", "recipe.yaml", "--output", "out")
    assert done.returncode == 0 and "\x1b" not in done.stdout + done.stderr
