"""Rounds: written once, run as steps of their own, ended where hard rows no longer fall, and gone on with after whatever stopped them."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from world import World, environment, rows, seed, steps_of

import toolkit
from toolkit.common.errors import InputError
from toolkit.pipeline import Run, Selection, load_recipe, make_plan, run_plan, settled
from toolkit.report import print_summary, summarise

DRIVER = Path(__file__).parent / "driver.py"

STEPS: list[dict[str, Any]] = [
    {"id": "pool", "use": "normalise"},
    {"id": "main", "use": "fit", "from": "pool"},
    {"id": "guesses", "use": "guess", "from": {"rows": "pool", "model": "main"}},
    {"id": "hard", "use": "find_hard"},
    {"id": "lessons", "use": "loud"},
    {"id": "trained", "use": "fit_on", "from": {"rows": "lessons", "model": "main"}},
    {"id": "apart", "use": "loud", "from": "pool"},
    {"id": "size", "use": "count_model", "from": {"rows": "apart", "model": "trained"}},
    {"id": "test", "use": "guess", "from": {"rows": "pool", "model": "trained"}},
]
ROUNDS: dict[str, Any] = {"times": 3, "hard": "hard"}
LOOP = ["guesses", "hard", "lessons", "trained"]


def loop(world: World, *hard: int, steps: list[dict[str, Any]] = STEPS, rounds: Any = ROUNDS, **top: Any) -> None:
    """The recipe, and how many rows are hard in each of its rounds."""
    world.recipe(*steps, rounds=rounds, **top)
    world.script("hard.json", {f"hard.{n}" if n > 1 else "hard": k for n, k in enumerate(hard, 1)})


def model(run: Run, step: str) -> str:
    return (run.folder / step / "model" / "weights").read_text()


def end_model(run: Run) -> str:
    """The model that the step after the loop was given."""
    return str(rows(run, "test")[0]["guess"])


def table(world: World, output: str = "out") -> dict[str, Any]:
    found: dict[str, Any] = summarise(world.folder / output)["rounds"]
    return found


def test_each_round_starts_from_the_model_of_the_one_before(world: World) -> None:
    loop(world, 9, 5, 2)
    run = world.run()
    assert [s for s in run.steps if s.endswith((".2", ".3"))] == [f"{s}.{n}" for n in (2, 3) for s in LOOP]
    start = model(run, "main")
    assert model(run, "trained") == f"{start}, then 9 rows"
    assert model(run, "trained.2") == f"{start}, then 9 rows, then 5 rows"
    assert model(run, "trained.3") == end_model(run) == f"{start}, then 9 rows, then 5 rows, then 2 rows"
    assert {r["guess"] for r in rows(run, "guesses.3")} == {model(run, "trained.2")}
    found = table(world)
    assert [(r["round"], r["state"], r["guard"], r["hard"]) for r in found["rounds"]] == [
        (1, "trained", "main", 9), (2, "trained", "trained", 5), (3, "trained", "trained.2", 2),
    ]  # fmt: skip
    assert found["ended"] is found["why"] is None and found["skipped"] == []
    assert world.built() == set()


def test_the_first_round_is_the_recipe_without_rounds_and_more_rounds_go_on(world: World) -> None:
    loop(world, 9, 5, 2, rounds=None)
    before = world.run()
    assert model(before, "trained") == end_model(before)
    kept = steps_of(before.folder)
    loop(world, 9, 5, 2, rounds={**ROUNDS, "times": 2})
    assert world.built() == {f"{s}.2" for s in LOOP} | {"size", "test"}
    assert world.built("rounds={times: 3, hard: hard}") == {f"{s}.3" for s in LOOP} | {"size", "test"}
    after = steps_of(before.folder)
    assert {s: after[s] for s in LOOP} == {s: kept[s] for s in LOOP}


@pytest.mark.parametrize(
    ("hard", "fall", "ended", "why"),
    [
        ((9, 9), 0.01, 2, "round 2 found 9 hard rows, round 1 9"),
        ((9, 10), 0.01, 2, "round 2 found 10 hard rows, round 1 9"),
        ((9, 8, 8), 0.0, 3, "round 3 found 8 hard rows, round 2 8"),
        ((9, 8), 0.2, 2, "round 2 found 8 hard rows, round 1 9, and they must be fewer by at least 20 %"),
        ((9, 0), None, 2, "round 2 found no hard row"),
        ((0,), 0.01, 1, "round 1 found no hard row"),
    ],
)
def test_it_ends_where_hard_rows_no_longer_fall(world: World, hard: tuple[int, ...], fall: float | None, ended: int, why: str) -> None:
    loop(world, *hard, rounds={**ROUNDS, "least_fall": fall})
    run = world.run()
    last = {1: "main", 2: "trained", 3: "trained.2"}[ended]
    assert end_model(run) == model(run, last)
    mined = [f"hard.{n}" if n > 1 else "hard" for n in range(1, ended + 1)]
    assert [s for s in run.steps if s.startswith("hard")] == mined
    found = table(world)
    assert found["ended"] == ended and found["why"] == why
    assert [r["state"] for r in found["rounds"]] == ["trained"] * (ended - 1) + ["mined"] + ["skipped"] * (3 - ended)
    assert found["skipped"][0] == ("lessons" if ended == 1 else f"lessons.{ended}") and "trained.3" in found["skipped"]
    kept = json.loads((run.folder / "run.json").read_text())["rounds"]
    assert kept == {"ended": ended, "why": why, "skipped": found["skipped"]}
    print_summary(summarise(run.folder), stream := StringIO(), 400)
    shown = stream.getvalue()
    assert f"The rounds ended before their time: {why}. Not run: {found['skipped'][0]}" in shown and "not built" not in shown
    assert toolkit.verify(run.folder)["missing"] == [] and toolkit.clean_run(run.folder) == []
    again = world.run()
    assert again.built == [] and set(again.reused) == set(run.built)


def test_hard_rows_that_a_row_step_finds_are_counted_before_they_go_on(world: World) -> None:
    hard = {"id": "hard", "use": "loud", "with": {"mark": "?", "reject": "number 1"}}
    loop(world, steps=[hard if s["id"] == "hard" else s for s in STEPS])
    run = world.run()
    assert end_model(run) == model(run, "trained") and "lessons.2" not in run.steps
    assert table(world)["why"] == "round 2 found 13 hard rows, round 1 13" and world.run().built == []


def test_null_runs_all_rounds_while_anything_is_hard(world: World) -> None:
    loop(world, 4, 4, 6, rounds={**ROUNDS, "least_fall": None})
    assert end_model(world.run()).endswith("then 4 rows, then 4 rows, then 6 rows")


def test_what_scores_a_round_runs_in_each_against_the_first_guard(world: World) -> None:
    steps = [
        *STEPS,
        {"id": "first", "use": "guess", "from": {"rows": "pool", "model": "main"}},
        {"id": "both", "use": "count_model", "from": {"rows": "first", "model": "trained"}},
    ]
    loop(world, 9, 5, 5, steps=steps, rounds={**ROUNDS, "score": "both"})
    plan = world.plan()
    assert plan.steps["both.3"].inputs == {"rows": "first", "model": "trained.3"}
    run = world.run()
    assert [s for s in run.steps if s.startswith("both")] == ["both", "both.2"], "the third round ended with its mining"
    assert end_model(run) == model(run, "trained.2")


def test_without_a_whole_round_what_reads_its_scores_is_skipped(world: World) -> None:
    steps = [*STEPS[:-2], {"id": "scores", "use": "guess", "from": {"rows": "apart", "model": "trained"}}, {"id": "report", "use": "loud"}, STEPS[-1]]
    loop(world, 0, steps=steps, rounds={**ROUNDS, "score": "scores"})
    run = world.run()
    assert "report" not in run.steps and end_model(run) == model(run, "main")
    assert table(world)["skipped"][-1] == "report"
    loop(world, 3, 1, 0, steps=steps, rounds={**ROUNDS, "score": "scores"})
    again = world.run(force=True)
    assert {r["guess"] for r in rows(again, "report")} == {model(again, "trained.2")}


@pytest.mark.parametrize(
    ("moment", "step"),
    [
        ("write", "guesses.2"),
        ("renamed", "hard.2"),
        ("manifest", "trained.2"),
        ("renamed", "hard.3"),
        ("rename", "test"),
    ],
)
def test_killed_in_any_step_of_any_round(world: World, moment: str, step: str) -> None:
    other = World(world.folder.parent / "undisturbed")
    for one in (other, world):
        loop(one, 9, 5, 5)
    undisturbed = steps_of(other.run().folder)
    killed = subprocess.run([sys.executable, str(DRIVER), str(world.folder), moment, step], env=environment(), capture_output=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    there = {p.parent.name for p in (world.folder / "out").glob("*/manifest.json")}
    run = world.run()
    assert steps_of(run.folder) == undisturbed and set(run.reused) >= {s for s in there if not s.startswith(".")} != set()
    assert table(world)["ended"] == 3 and world.run().built == []


def test_a_plan_sees_where_the_rounds_ended(world: World) -> None:
    loop(world, 9, 9)
    recipe, out = world.folder / "recipe.yaml", world.folder / "out"
    before = toolkit.plan(recipe, output=out)
    assert [s["step"] for s in before.steps if s["step"].startswith("trained")] == ["trained", "trained.2", "trained.3"]
    assert "guesses, hard, lessons, trained run up to 3 times" in before.words[0] and "'main'" in before.words[0]
    world.run()
    after = toolkit.plan(recipe, output=out)
    assert {s["state"] for s in after.steps} == {"reuse"} and "trained.2" not in [s["step"] for s in after.steps]
    explained = {s["id"]: s for s in toolkit.explain(recipe, output=out)["steps"]}
    assert explained["test"]["from"] == {"rows": "pool", "model": "trained"} and explained["hard.2"]["state"] == "reuse"
    assert settled(world.plan(), world.folder / "nowhere").recipe.loop == world.plan().recipe.loop


def test_the_end_moves_with_what_is_found(world: World) -> None:
    """A recipe that changes before the loop begins it anew; the end of the run before is not taken for this one's."""
    loop(world, 9, 9)
    first = world.run()
    assert end_model(first) == model(first, "trained")
    world.seeds([seed(i) for i in range(20)])
    loop(world, 9, 3, 1)
    second = world.run()
    assert end_model(second) == model(second, "trained.3") and table(world)["ended"] is None
    world.seeds([seed(i) for i in range(16)])
    loop(world, 9, 3, 3)
    third = world.run()
    assert end_model(third) == model(third, "trained.2") and table(world)["ended"] == 3
    assert toolkit.clean_run(third.folder) == ["lessons.3", "trained.3"]


def test_some_steps_alone(world: World) -> None:
    loop(world, 9, 9)

    def some(**select: Any) -> list[str]:
        plan = make_plan(load_recipe(world.folder / "recipe.yaml"), select=Selection(**select))
        return run_plan(plan, output=world.folder / "out").built

    assert some(until=["hard"]) == ["seeds", "pool", "main", "guesses", "hard"]
    assert some(until=["guesses.2"]) == ["lessons", "trained", "guesses.2"]
    assert some(until=["test"]) == ["hard.2", "test"]
    assert some(until=["pool"]) == [] and table(world)["ended"] == 2, "a run of other steps leaves the loop as it was"
    assert some() == ["apart", "size"]
    for names in ("trained.2", "lessons.3"):
        with pytest.raises(InputError, match=f"'{names}' is not run: the rounds end before it\n  round 2 found 9 hard rows"):
            some(only=[names])
    assert some(only=["test"]) == []
    assert world.run(force=True).built[-1] == "test"


def test_the_recipe_that_a_run_keeps_runs_again(world: World) -> None:
    loop(world, 9, 6, 6)
    run = world.run()
    (world.folder / "kept.yaml").write_text((run.folder / "recipe.yaml").read_text())
    again = run_plan(make_plan(load_recipe(world.folder / "kept.yaml")), output=world.folder / "again")
    assert steps_of(again.folder) == steps_of(run.folder)


def test_what_a_plan_says_of_every_round_it_says_once() -> None:
    plan = make_plan(load_recipe("quickstart", ["rounds=3"]))
    assert [w.partition(":")[0] for w in plan.words() if w.startswith("step")] == ["step 'hard'"]
    plan.steps["samples.2"].operator.needs = lambda ctx: ["a missing key"]  # type: ignore[method-assign]
    plan.steps["samples.3"].operator.needs = lambda ctx: ["a missing key", "and more"]  # type: ignore[method-assign]
    assert plan.needs(["samples.2", "samples.3"]) == ["step 'samples.2': a missing key", "step 'samples.3': and more"]


def test_overrides_are_of_every_round(world: World) -> None:
    loop(world, 9, 5, 2)
    plan = world.plan("lessons.mark=x", "rounds={times: 2, hard: hard}")
    assert [plan.steps[s].operator.config.mark for s in ("lessons", "lessons.2")] == ["x", "x"]  # type: ignore[attr-defined]
    assert "lessons.3" not in plan.steps
    with pytest.raises(InputError, match=r"--set lessons\.2\.mark=x: an option is that of every round\n  write --set lessons\.mark=x"):
        world.plan("lessons.2.mark=x")


@pytest.mark.parametrize(
    ("rounds", "more", "message"),
    [
        (0, [], "recipe.yaml:3:rounds: Input should be greater than or equal to 1 (got 0)"),
        (101, [], "recipe.yaml:3:rounds: Input should be less than or equal to 100 (got 101)"),
        ({"hard": "hard"}, [], "recipe.yaml:3:rounds.times: the key 'times' is missing"),
        ({**ROUNDS, "modell": "x"}, [], "rounds.modell: unknown key 'modell'\n  did you mean 'model'?"),
        ({**ROUNDS, "model": "trainde"}, [], "rounds.model: no step called 'trainde'\n  did you mean 'trained'?"),
        ({**ROUNDS, "start": "mian"}, [], "rounds.start: no step called 'mian'\n  did you mean 'main'?"),
        ({**ROUNDS, "model": "lessons"}, [], "rounds.model: 'lessons' (loud) trains no model\n  steps that do: main, trained"),
        ({**ROUNDS, "start": "pool"}, [], "rounds.start: 'pool' (normalise) trains no model"),
        ({**ROUNDS, "model": "main"}, [], "rounds.model: 'main' does not say which step's model it starts from"),
        ({**ROUNDS, "model": "main", "start": "trained"}, [], "rounds.start: 'main' comes in no way from 'trained'"),
        ({**ROUNDS, "hard": "pool"}, [], "rounds.hard: 'pool' does not stand between 'main' and 'trained'"),
        (3, [], "rounds: no step of 'main' to 'trained' is a `mine`\n  name it: rounds: {times: 3, hard: STEP}"),
        ({**ROUNDS, "score": "apart"}, [], "rounds.score: 'apart' does not depend on 'trained'"),
        (ROUNDS, [{"id": "two", "use": "fit_on", "from": {"rows": "pool", "model": "main"}}], "rounds: more than one step trains on from another step's model: trained, two"),
        (ROUNDS, [{"id": "more", "use": "loud", "from": "hard"}], ".from: 'more' stands outside the rounds and reads 'hard', of which each round has its own\n  outside are read trained"),
        (ROUNDS, [{"id": "hard.2", "use": "loud", "from": "pool"}], ".id: a later round has a step called 'hard.2', as this one is"),
    ],
)  # fmt: skip
def test_rounds_that_cannot_be_are_refused_with_their_place(world: World, rounds: Any, more: list[dict[str, Any]], message: str) -> None:
    loop(world, 9, steps=[*STEPS, *more], rounds=rounds)
    with pytest.raises(InputError) as found:
        world.plan()
    assert message in str(found.value)
    assert all(re.match(r"\S*recipe\.yaml:\d+:\S+: ", line) for line in str(found.value).splitlines() if not line.startswith("  "))


@pytest.mark.parametrize(
    ("rounds", "sound"), [(3, True), ({"times": 2, "score": "size"}, True), (None, True), (0, False), ({"hard": "x"}, False), ("three", False)]
)
def test_the_schema_of_recipes_knows_them(rounds: Any, sound: bool) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    recipe = {"recipe": "r", "rounds": rounds, "steps": [{"id": "rows", "use": "normalise"}]}
    assert jsonschema.Draft202012Validator(toolkit.recipe_schema()).is_valid(recipe) == sound


@pytest.mark.parametrize("name", ["quickstart", "guardreasoner/1b", "guardreasoner/8b", "guardreasoner/8b-released"])
def test_a_shipped_recipe_takes_them_from_the_command_line(name: str) -> None:
    score = "evaluation" if name == "quickstart" else "scores"
    recipe = load_recipe(name, [f"rounds={{times: 2, score: {score}}}"])
    steps = {s.id: s.inputs for s in recipe.steps}
    assert not recipe.faults and steps["guard-dpo.2"] == {"shards": "dpo-shards.2", "model": "guard-dpo"}
    tests = next(s for s in steps.values() if isinstance(s, dict) and s.get("hs-dpo") == "guard-dpo.2")
    assert tests["r-sft"] == "guard-main", "scored against the guard before all rounds"
    assert steps["comparison"] == f"{score}.2" and not any(s.endswith(".2") and "guard-no" in s for s in steps)


def test_a_fault_of_a_step_in_rounds_is_named_once(world: World) -> None:
    loop(world, 9, steps=[s if s["id"] != "lessons" else {**s, "with": {"marc": "?"}} for s in STEPS])
    with pytest.raises(InputError) as found:
        world.plan()
    assert str(found.value).count("unknown key 'marc'") == 1
