"""Some of a recipe's steps alone: what runs, what is left as it is, what must be there, what is not asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from world import World, rows, steps_of

import toolkit
from toolkit.common.errors import InputError, InputErrors, Missing
from toolkit.pipeline import Run, Selection, load_recipe, make_plan, run_plan

CHAIN = (
    {"id": "clean", "use": "normalise"},
    {"id": "asked", "use": "ask"},
    {"id": "loud", "use": "loud"},
    {"id": "model", "use": "fit", "from": "loud"},
    {"id": "apart", "use": "loud", "from": "clean"},
)


def run(world: World, *, force: bool = False, output: str = "out", **select: Any) -> Run:
    plan = make_plan(load_recipe(world.folder / "recipe.yaml"), select=Selection(**select))
    return run_plan(plan, output=world.folder / output, force=force)


@pytest.mark.parametrize(
    ("select", "built"),
    [
        ({}, ["seeds", "clean", "asked", "loud", "model", "apart"]),
        ({"until": ["asked"]}, ["seeds", "clean", "asked"]),
        ({"until": ["apart", "asked"]}, ["seeds", "clean", "asked", "apart"]),
        ({"until": ["seeds"]}, ["seeds"]),
    ],
)
def test_until_builds_a_step_and_what_it_depends_on(world: World, select: dict[str, Any], built: list[str]) -> None:
    world.recipe(*CHAIN)
    done = run(world, **select)
    assert sorted(done.built) == sorted(built) and done.reused == []
    assert run(world, **select).built == []


def test_the_half_and_then_the_rest_is_the_whole(world: World) -> None:
    world.recipe(*CHAIN)
    first = run(world, until=["asked"])
    kept = steps_of(first.folder)
    rest = run(world, from_=["loud", "apart"])
    assert rest.built == ["loud", "model", "apart"] and rest.reused == []
    assert {s: f for s, f in steps_of(rest.folder).items() if s in kept} == kept
    assert run(world).built == []
    assert steps_of(run(world, output="at-once").folder) == steps_of(first.folder)


def test_from_and_until_together_and_only(world: World) -> None:
    world.recipe(*CHAIN)
    run(world, until=["asked", "apart"])
    assert run(world, from_=["loud"], until=["loud"]).built == ["loud"]
    assert run(world, only=["model"]).built == ["model"]
    assert run(world).built == []


def test_what_is_not_chosen_is_neither_built_nor_removed(world: World) -> None:
    world.recipe(*CHAIN)
    whole = run(world)
    before = steps_of(whole.folder)
    world.recipe(*CHAIN[:3], {**CHAIN[3], "use": "loud", "with": {"mark": "?"}}, CHAIN[4])
    assert run(world, force=True, only=["apart"]).built == ["apart"]
    after = steps_of(whole.folder)
    assert {s: f for s, f in after.items() if s != "apart"} == {s: f for s, f in before.items() if s != "apart"}


def test_what_is_read_must_be_finished_and_up_to_date(world: World) -> None:
    world.recipe(*CHAIN)
    with pytest.raises(InputErrors) as raised:
        run(world, from_=["loud"])
    assert "step 'asked'" in str(raised.value) and "until='asked'" in str(raised.value)
    assert not (world.folder / "out").exists(), "nothing has been done"
    run(world)
    calls = world.calls()
    world.recipe({**CHAIN[0], "with": {"max_chars": 3000}}, {**CHAIN[1], "with": {"temperature": 0.5}}, *CHAIN[2:])
    with pytest.raises(InputErrors, match=r"'asked'.*no longer what the recipe says"):
        run(world, only=["loud"])
    assert world.calls() == calls


def test_a_step_whose_rows_went_on_is_no_beginning(world: World) -> None:
    world.recipe({"id": "one", "use": "loud"}, {"id": "two", "use": "normalise"}, {"id": "three", "use": "ask"})
    whole = steps_of(run(world).folder)
    with pytest.raises(InputErrors, match=r"'one'.*\n.*until='one'"):
        run(world, only=["two"])
    assert run(world, only=["three"]).reused == ["three"]
    assert run(world, until=["one"]).built == ["one"] and run(world, only=["two"], force=True).built == ["two"]
    again = steps_of(run(world, until=["three"]).folder)
    assert {s: again[s] for s in whole if s != "two"} == {s: whole[s] for s in whole if s != "two"}


def test_a_damaged_step_is_not_read(world: World) -> None:
    world.recipe(*CHAIN)
    done = run(world, until=["asked"])
    file = done.folder / "asked" / "rows" / "rows.parquet"
    file.chmod(0o600)
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(InputErrors, match=r"'asked'.*is damaged"):
        run(world, only=["loud"])


def test_generations_that_failed_are_not_asked_again_from_behind_them(world: World) -> None:
    world.recipe(*CHAIN, failures=0.5)
    world.script("faults.json", {"Question number 3 about gardens, please": "timeout"})
    run(world, until=["asked"])
    calls = world.calls()
    done = run(world, from_=["loud"])
    assert len(rows(done, "loud")) == 23 and world.calls() == calls and done.failures == {}


def test_what_only_other_steps_need_is_no_fault(world: World) -> None:
    far = {"backend": "openai", "model": "m", "base_url": "https://example.invalid/v1", "api_key_env": "NOT_SET_HERE"}
    world.recipe(
        *CHAIN[:2],
        {"id": "shout", "use": "loud", "from": "clean"},
        {"id": "far", "use": "generate", "with": {"backend": far, "user": "{{ prompt }}"}},
    )
    allow: dict[str, Any] = {"allow": "api_key_env=NOT_SET_HERE"}
    with pytest.raises(Missing, match=r"NOT_SET_HERE") as raised:
        toolkit.run(world.folder / "recipe.yaml", output=world.folder / "out", **allow)
    assert "until=['asked', 'shout']" in str(raised.value), "it says what runs all the same"
    assert not world.calls(), "refused before the first call"
    assert toolkit.check(world.folder / "recipe.yaml", until="shout", **allow) | {"sends": []} == {
        "recipe": "tiny", "steps": 3, "words": [], "needs": [], "sends": [], "fetches": [], "allowed": [],
    }  # fmt: skip
    assert toolkit.run(world.folder / "recipe.yaml", output=world.folder / "out", until=["asked", "shout"], **allow).failed is None
    assert [s["step"] for s in toolkit.plan(world.folder / "recipe.yaml", output=world.folder / "out", until="shout", **allow).steps] == [
        "seeds", "clean", "shout",
    ]  # fmt: skip


def test_files_and_operators_of_other_steps_are_not_looked_at(world: World) -> None:
    world.recipe(
        {"id": "clean", "use": "normalise"},
        {"id": "trained", "use": "train_sft", "with": {"model": "./nowhere/at all"}},
        {"id": "odd", "use": "of_another_package", "from": "clean"},
    )
    assert run(world, until=["clean"]).built == ["seeds", "clean"]
    with pytest.raises(InputErrors, match=r"of_another_package"):
        run(world)


@pytest.mark.parametrize(
    ("select", "message"),
    [
        ({"until": ["aksed"]}, "until: no step called 'aksed'\n  did you mean 'asked'"),
        ({"only": ["asked"], "until": ["asked"]}, "only names all steps"),
        ({"from_": ["model"], "until": ["asked"]}, "nothing runs from model until asked"),
    ],
)
def test_names_of_no_steps_and_choices_that_do_not_go_together(world: World, select: dict[str, Any], message: str) -> None:
    world.recipe(*CHAIN)
    with pytest.raises(InputError) as error:
        run(world, **select)
    assert message in str(error.value)


def test_the_command(world: World) -> None:
    world.recipe(*CHAIN)
    done = world.cli("run", "recipe.yaml", "--output", "out", "--until", "asked", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["built"] == ["seeds", "clean", "asked"] and "[3/3] asked" in done.stderr
    assert [s["state"] for s in json.loads(done.stdout)["steps"]] == ["built"] * 3 + ["not built"] * 3
    assert world.cli("check", "recipe.yaml", "--only", "asked", "--json").returncode == 0
    planned = json.loads(world.cli("plan", "recipe.yaml", "--output", "out", "--from", "loud", "--json").stdout)
    assert [s["step"] for s in planned["steps"]] == ["loud", "model"]
    wrong = world.cli("run", "recipe.yaml", "--until", "asekd")
    assert wrong.returncode == 2 and "did you mean 'asked'?" in wrong.stderr
