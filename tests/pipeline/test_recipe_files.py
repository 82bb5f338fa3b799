"""Reading recipes: expansion, overrides, faults found all at once, and the resolved recipe that a run keeps."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from world import World

from toolkit.common.errors import InputError, InputErrors
from toolkit.common.resources import shipped
from toolkit.common.yamlfile import YamlFile, parse_yaml
from toolkit.pipeline import build_recipe, load_recipe, make_plan, resolved_yaml, run_plan


def faults(world: World, text: str | None = None, *overrides: str) -> list[str]:
    """What the check says, line by line."""
    if text is not None:
        world.text(text)
    with pytest.raises(InputError) as found:
        world.plan(*overrides)
    whole = str(found.value).replace(str(world.folder) + "/", "")
    return whole.splitlines()


def step_ids(text: str, *overrides: str) -> list[str]:
    return [s.id for s in build_recipe(parse_yaml(text, "r"), Path(), overrides).steps]


def test_all_faults_at_once_each_with_line_key_and_the_nearest_name(world: World) -> None:
    found = faults(
        world,
        """recipe: tiny
sead: 4
guard: guardreasoner
steps:
  - {id: seeds, use: load, with: {source: tiny.yaml, fils: [seeds.jsonl]}}
  - {id: clean, use: normalize}
  - id: unique
    use: deduplicate
    frm: clean
    with: {conflicts: rejct}
  - {id: noise, use: loud, from: claen}
  - {id: tail, use: validate, from: noise}
  - {id: unique, use: loud, from: unique}
  - {id: model, use: fit, with: {what: ever}}
""",
    )
    wanted = [
        r"recipe.yaml:2:sead: unknown key 'sead'", "did you mean 'seed'",
        r"recipe.yaml:9:steps.2.frm: unknown key 'frm'", "did you mean 'from'",
        r"recipe.yaml:13:steps.5.id: two steps are called 'unique'",
        r"recipe.yaml:5:steps.0.with.fils: unknown key 'fils'", "did you mean 'files'",
        r"recipe.yaml:6:steps.1.use: unknown operator 'normalize'", "did you mean 'normalise'",
        r"recipe.yaml:10:steps.2.with.conflicts: Input should be 'reject', ",
        r"recipe.yaml:11:steps.3.from: no earlier step called 'claen'", "did you mean 'clean'",
        r"recipe.yaml:14:steps.6.with.what: unknown key 'what'",
    ]  # fmt: skip
    whole = "\n".join(found)
    for text in wanted:
        assert text in whole, text
    assert sum(not line.startswith("  ") for line in found) == 8, "and nothing that follows from another fault"


def test_a_column_that_no_earlier_step_writes(world: World) -> None:
    world.recipe({"id": "shards", "use": "shards"}, {"id": "valid", "use": "validate", "from": "seeds"})
    assert faults(world)[0].startswith("recipe.yaml:") and "validate reads the column 'reasoning', which no earlier step writes" in faults(world)[0]


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"id": "x", "use": "fit", "from": "model"}, "'model' (fit) hands on no rows"),
        ({"id": "x", "use": "train_sft", "from": "noise", "with": {"model": {"scratch": {}}}}, "'noise' (loud) makes no 'shards'"),
        ({"id": "x", "use": "count_model", "from": {"rows": "noise", "model": "noise"}}, "steps that do: model"),
        ({"id": "x", "use": "count_model", "from": "noise"}, "count_model also needs the input 'model'"),
        ({"id": "x", "use": "loud", "from": {"rows": "noise", "others": "seeds"}}, "loud has no input called 'others'"),
        ({"id": "x", "use": "load", "from": "noise", "with": {"source": "tiny.yaml", "files": ["seeds.jsonl"]}}, "load reads no step"),
        ({"id": "x", "use": "loud", "from": "later"}, "no earlier step called 'later'"),
        ({"id": "x", "use": "load", "with": {"source": "tiny.yaml", "files": ["gone.jsonl"]}}, "gone.jsonl"),
        ({"id": "x", "use": "load", "with": {"source": "gone.yaml"}}, "gone.yaml"),
    ],
)
def test_inputs_that_do_not_fit_are_found_before_anything_runs(world: World, step: dict[str, Any], message: str) -> None:
    world.recipe({"id": "noise", "use": "loud"}, {"id": "model", "use": "fit"}, step, {"id": "later", "use": "loud", "from": "noise"})
    found = "\n".join(faults(world))
    assert message in found and re.match(r"recipe\.yaml:\d+:steps\.3", found), found
    done = world.cli("check", "recipe.yaml")
    assert done.returncode == 2 and message in done.stderr and not (world.folder / "out").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "recipe.yaml:1: a recipe is a mapping"),
        ("# nothing\n", "a recipe is a mapping"),
        ("- one\n- two\n", "a recipe is a mapping"),
        ("recipe: tiny\n", "the key 'steps' is missing"),
        ("recipe: tiny\nsteps: []\n", "recipe.yaml:2:steps: List should have at least 1 item"),
        ("recipe: tiny\nsteps:\n  - nonsense\n", "recipe.yaml:3:steps.0: expected keys with values"),
        ("recipe: tiny\nsteps: {id: a}\n", "recipe.yaml:2:steps: Input should be a valid list"),
        ("steps:\n  - {id: a, use: fit}\n", "the key 'recipe' is missing"),
        ("recipe: [\n", "not valid YAML"),
        ("recipe: tiny\nrecipe: twice\n", "recipe.yaml:2:recipe: the key 'recipe' is given twice"),
        ("recipe: tiny\nguard: nobody\nsteps:\n  - {id: a, use: lod}\n", "recipe.yaml:2:guard: no guard called 'nobody'"),
        ("recipe: tiny\nguard: nobody\nsteps:\n  - {id: a, use: lod}\n", "recipe.yaml:4:steps.0.use: unknown operator 'lod'"),
        ("recipe: tiny\nguard: gone.yaml\nsteps:\n  - {id: a, use: fit}\n", "no such file"),
        ("recipe: tiny\ntaxonomy: gone.yaml\nsteps:\n  - {id: a, use: fit}\n", "no such file"),
        ("recipe: tiny\nsteps:\n  - {id: a, use: fit}\n", "fit reads rows, and no step comes before"),
        ("recipe: tiny\nseed: -1\nsteps:\n  - {id: a, use: lod}\n", "recipe.yaml:2:seed: Input should be greater than or equal to 0"),
        ("recipe: tiny\nseed: -1\nsteps:\n  - {id: a, use: lod}\n", "unknown operator 'lod'"),
        ("recipe: tiny\nsteps:\n  - {id: a}\n  - {id: b, use: lod, from: a}\n", "recipe.yaml:3:steps.0.use: the key 'use' is missing"),
        ("recipe: tiny\nsteps:\n  - {id: a}\n  - {id: b, use: lod, from: a}\n", "unknown operator 'lod'"),
        ("recipe: ../up\nsteps:\n  - {id: a, use: fit}\n", "recipe.yaml:1:recipe: String should match pattern"),
    ],
)
def test_recipes_that_are_none(world: World, text: str, message: str) -> None:
    assert message in "\n".join(faults(world, text))


def test_files_for_a_source_that_nothing_loads(world: World) -> None:
    world.recipe({"id": "noise", "use": "loud"}, sources={"tinny": ["seeds.jsonl"]})
    assert re.match(r"recipe\.yaml:\d+:sources\.tinny: the recipe loads no source of that name", faults(world)[0])
    assert faults(world)[1] == "  did you mean 'tiny'?"
    world.recipe({"id": "noise", "use": "loud"}, sources={"tiny": ["seeds.jsonl"]})
    done = world.cli("check", "recipe.yaml", "--source", "tini=seeds.jsonl")
    assert done.returncode == 2 and "--source tini: the recipe loads no source of that name" in done.stderr
    world.plan()


def test_text_that_is_no_text(world: World) -> None:
    (world.folder / "recipe.yaml").write_bytes(b"recipe: t\xe4st\n")
    assert "not UTF-8" in faults(world)[0]
    (world.folder / "recipe.yaml").unlink()
    assert "no recipe called" in faults(world)[0]


@pytest.mark.parametrize("name", ["events.jsonl", "run.json", "a/b", "../a", ".hidden", "1st", "a b", "", "x" * 200])
def test_ids_that_are_no_name_of_a_folder(world: World, name: str) -> None:
    world.recipe({"id": name, "use": "loud"})
    assert "a step cannot be called" in faults(world)[0]


def test_messages_show_escapes_and_do_not_send_them(world: World) -> None:
    world.recipe({"id": "a", "use": "\x1b[31mloud\x1b]0;title\x07"})
    done = world.cli("run", "recipe.yaml", "--output", "out")
    assert done.returncode == 2 and "\x1b" not in done.stdout + done.stderr and "\x07" not in done.stderr


# each -----------------------------------------------------------------------------------------------------------------

EACH = """
recipe: r
steps:
  - {id: base, use: x}
  - {id: "{size}-{part}", each: {part: [a, b], size: [small, large]}, use: x, from: base, with: {sources: ["s-{part}"], deep: {"{part}": "{size}"}}}
  - {id: "end-{part}", each: {part: [a, b]}, use: x, from: {rows: "large-{part}"}}
"""


def test_each_writes_a_step_for_each_combination() -> None:
    steps = {s.id: s for s in build_recipe(parse_yaml(EACH, "r"), Path()).steps}
    assert list(steps) == ["base", "small-a", "large-a", "small-b", "large-b", "end-a", "end-b"]
    assert steps["large-b"].options == {"sources": ["s-b"], "deep": {"b": "large"}}
    assert steps["end-b"].inputs == {"rows": "large-b"}


def test_an_override_of_one_of_them_leaves_its_siblings() -> None:
    steps = {s.id: s for s in build_recipe(parse_yaml(EACH, "r"), Path(), ["small-b.deep.b=tiny"]).steps}
    assert [steps[i].options["deep"] for i in ("small-a", "small-b", "large-b")] == [{"a": "small"}, {"b": "tiny"}, {"b": "large"}]
    assert steps["small-b"].where("with", "deep", "b") == "--set small-b.deep.b=tiny"
    assert steps["large-b"].where("with", "deep", "b").startswith("r:5:")


def test_anchors_are_not_shared() -> None:
    text = "recipe: r\nsteps:\n  - {id: a, use: x, with: &w {deep: {n: 1}}}\n  - {id: b, use: x, with: *w}\n"
    a, b = build_recipe(parse_yaml(text, "r"), Path(), ["a.deep.n=2"]).steps
    assert (a.options, b.options) == ({"deep": {"n": 2}}, {"deep": {"n": 1}})


def test_placeholders_that_nothing_fills(world: World) -> None:
    world.text(
        "recipe: tiny\nsteps:\n  - {id: 'x-{prat}', each: {part: [a]}, use: fit}\n  - {id: 'y-{part}', use: fit}\n  - {id: z, each: {part: []}, use: fit}\n"
    )
    found = "\n".join(faults(world))
    assert "nothing fills {prat} in 'x-{prat}'" in found and "nothing fills {part} in 'y-{part}'" in found
    assert "recipe.yaml:5:steps.2.each.part: List should have at least 1 item" in found


def test_a_value_of_each_cannot_leave_the_folder(world: World) -> None:
    world.text("recipe: tiny\nsteps:\n  - {id: 'x-{part}', each: {part: [../../up]}, use: fit}\n")
    assert "a step cannot be called 'x-../../up'" in faults(world)[0]


@given(st.lists(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=5), min_size=1, max_size=4, unique=True))
def test_words_are_filled_in_once(words: list[str]) -> None:
    data = {"recipe": "r", "steps": [{"id": "s-{w}", "use": "x", "each": {"w": words, "v": ["{w}"]}, "with": {"t": "{v} {w}"}}]}
    recipe = build_recipe(YamlFile("r", data), Path())
    assert [(s.id, s.options["t"]) for s in recipe.steps] == [(f"s-{w}", f"{{w}} {w}") for w in words]


# parameters -----------------------------------------------------------------------------------------------------------

WITH_PARAMETERS = """recipe: tiny
seed: "{start}"
parameters: {category: fraud, rows: 5, start: 7, of: [a, b]}
steps:
  - {id: "seeds-{category}", use: numbers, with: {n: "{rows}", files: "{of}", title: "{rows} of {category}", kept: "{other}"}}
  - {id: "{part}", each: {part: [x]}, use: x, from: "seeds-{category}", with: {text: "{part} of {category}"}}
"""


def test_parameters_are_filled_in_with_their_types() -> None:
    recipe = build_recipe(parse_yaml(WITH_PARAMETERS, "r.yaml"), Path())
    first, second = recipe.steps
    assert (recipe.spec.seed, first.id, second.inputs, second.options) == (7, "seeds-fraud", "seeds-fraud", {"text": "x of fraud"})
    assert first.options == {"n": 5, "files": ["a", "b"], "title": "5 of fraud", "kept": "{other}"}
    assert build_recipe(parse_yaml(resolved_yaml(recipe), "again.yaml"), Path()).steps[0].options == first.options


def test_a_parameter_that_was_given_is_where_its_values_come_from() -> None:
    recipe = build_recipe(parse_yaml(WITH_PARAMETERS, "r.yaml"), Path(), ["category=arson", "rows=9", "seeds-arson.n=3"])
    assert recipe.steps[0].options["n"] == 3 and recipe.steps[0].options["title"] == "9 of arson"
    assert recipe.steps[0].where("with", "title").startswith("--set ") and recipe.steps[1].where("with", "text") == "--set category=arson"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("category: fraud", "category: null", r"r.yaml:3:parameters.category: the parameter 'category' has no value"),
        ("rows: 5", "rows: {a: 1}", "'rows' is no text, number"),
        ("rows: 5", "rows: 5, rowz: 5", "nothing in the recipe uses the parameter 'rowz'"),
        ("start: 7", "start: 7, guard: x", "a parameter cannot be called 'guard'"),
        ("{category: fraud, rows: 5, start: 7, of: [a, b]}", "[category]", "parameters are a mapping"),
    ],
)
def test_parameters_that_do_not_fit(old: str, new: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_recipe(parse_yaml(WITH_PARAMETERS.replace(old, new), "r.yaml"), Path())


def test_for_a_misspelt_parameter_the_nearest_is_named() -> None:
    with pytest.raises(InputError, match="not a recipe's own key") as e:
        build_recipe(parse_yaml(WITH_PARAMETERS, "r.yaml"), Path(), ["categori=x"])
    assert "category" in str(e.value.hint)


# --set ----------------------------------------------------------------------------------------------------------------


def test_overrides_and_where_values_come_from(world: World) -> None:
    world.recipe({"id": "v1.5", "use": "loud", "with": {"mark": "."}}, {"id": "v1", "use": "loud"})
    recipe = load_recipe(world.folder / "recipe.yaml", ["seed=9", "v1.5.mark=ho", "v1.reject=mud", "seeds.limit=3"])
    assert recipe.spec.seed == 9 and recipe.file.where(("seed",)) == "--set seed=9"
    steps = {s.id: s for s in recipe.steps}
    assert steps["v1.5"].options == {"mark": "ho"} and steps["v1.5"].origins == {"mark": "--set v1.5.mark=ho"}
    assert steps["v1"].options == {"reject": "mud"}
    assert steps["seeds"].origins["limit"] == "--set seeds.limit=3" and re.search(
        r"recipe\.yaml:\d+:steps\.0\.with\.source$", steps["seeds"].origins["source"]
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("noise", "not of the form STEP.option=value"),
        ("=3", "not of the form STEP.option=value"),
        ("sed=3", "did you mean 'seed'"),
        ("steps=[]", "not a recipe's own key"),
        ("nose.mark=3", "no step called 'nose'"),
        ("noise.mark=[", "--set noise.mark:1: not valid YAML"),
        ("noise.mrk=x", "--set noise.mrk=x: unknown key 'mrk'"),
        ("noise.mark=5", "--set noise.mark=5: Input should be a valid string (got 5)"),
        ("seed=many", "--set seed=many: Input should be a valid integer"),
        ("guard=nobody", "--set guard=nobody: no guard called 'nobody'"),
    ],
)
def test_overrides_that_do_not_fit_name_themselves(world: World, override: str, message: str) -> None:
    world.recipe({"id": "noise", "use": "loud"})
    assert message in "\n".join(faults(world, None, override))


# The resolved recipe --------------------------------------------------------------------------------------------------


def test_the_recipe_that_a_run_keeps_runs_again_and_reuses_every_step(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (world.folder / "schemas").mkdir()
    for kind, name in (("guards", "guardreasoner"), ("taxonomies", "guardkit")):
        shutil.copy(shipped("schemas") / kind / f"{name}.yaml", world.folder / "schemas" / f"{kind}.yaml")
    world.recipe(
        {"id": "noise-{w}", "each": {"w": ["a", "b"]}, "use": "loud", "from": "seeds", "with": {"mark": "{w}"}},
        {"id": "asked", "use": "ask"},
        guard="schemas/guards.yaml",
        taxonomy="schemas/taxonomies.yaml",
    )
    plan = make_plan(load_recipe(world.folder / "recipe.yaml", ["noise-b.mark=c", "seed=8"]), {"tiny": [world.folder / "seeds.jsonl"]})
    run = run_plan(plan, output=world.folder / "out")
    monkeypatch.chdir(tmp_path)
    resolved = load_recipe(run.folder / "recipe.yaml")
    assert resolved.spec.seed == 8 and [s.options.get("mark") for s in resolved.steps] == [None, "a", "c", None]
    again = run_plan(make_plan(resolved), output=run.folder)
    assert again.built == [] and again.reused == ["seeds", "noise-a", "noise-b", "asked"]
    assert (run.folder / "recipe.yaml").read_text().partition("\n")[2] == resolved_yaml(resolved, make_plan(resolved).source_paths), "kept as it is"


@pytest.mark.parametrize(
    "damage", [lambda text: "", lambda text: text[:-3], lambda text: text.replace("tiny", "tidy")], ids=["emptied", "cut", "changed"]
)
def test_a_kept_recipe_that_was_damaged_is_reported_and_written_anew(world: World, damage: Callable[[str], str]) -> None:
    world.recipe({"id": "noise", "use": "loud"})
    path = world.run().folder / "recipe.yaml"
    before = path.read_text()
    path.write_text(damage(before))
    for command in (("verify", "out"), ("runs", "status", "out")):
        done = world.cli(*command)
        assert done.returncode == 2 and "has been changed since the run wrote it" in done.stderr
    world.run()
    assert path.read_text() == before


def test_every_shipped_recipe_survives_its_own_resolution() -> None:
    for path in sorted(shipped("recipes").rglob("*.yaml")):
        if "recipe" not in (yaml.safe_load(path.read_text()) or {}):
            continue
        recipe = load_recipe(path)
        again = build_recipe(parse_yaml(resolved_yaml(recipe), "again"), Path("elsewhere"))
        assert [(s.id, s.use, s.inputs, s.options) for s in again.steps] == [(s.id, s.use, s.inputs, s.options) for s in recipe.steps]
        assert not recipe.faults and again.folder == recipe.folder.resolve()


def test_faults_of_the_file_wait_for_the_plan(world: World) -> None:
    world.text("recipe: tiny\nsead: 4\nsteps:\n  - {id: a, use: lod}\n")
    recipe = load_recipe(world.folder / "recipe.yaml")
    assert len(recipe.faults) == 1
    with pytest.raises(InputErrors) as found:
        make_plan(recipe)
    assert len(found.value.errors) == 2
