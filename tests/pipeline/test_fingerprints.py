"""Exactly the right steps rebuild: each part of a step's fingerprint is changed in turn. Part by part of a guard, a taxonomy and the options of
guardkit's own operators: `test_rebuild_less`; what stays because its input came out equal: `test_early_cutoff`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from world import World, counts, rejects, rows, seed, steps_of

from toolkit.common.errors import InputError
from toolkit.common.resources import shipped
from toolkit.operators.choose.split import Split
from toolkit.pipeline import finished, run_plan

STEPS: list[dict[str, Any]] = [
    {"id": "clean", "use": "normalise"},
    {"id": "parts", "use": "split"},
    {"id": "unique", "use": "deduplicate"},
    {"id": "asked", "use": "ask"},
    {"id": "noise", "use": "loud"},
    {"id": "model", "use": "fit"},
    {"id": "judged", "use": "count_model", "from": {"rows": "noise", "model": "model"}},
    {"id": "told", "use": "synthesise", "from": "unique", "with": {"backend": {"backend": "template"}}},
]
ALL = {"seeds", *(s["id"] for s in STEPS)}
AFTER_PARTS = ALL - {"seeds", "clean"}


@pytest.fixture
def done(world: World) -> World:
    """A world whose recipe has run, with guard and taxonomy of its own."""
    for kind, name in (("guards", "guardreasoner"), ("taxonomies", "guardkit")):
        shutil.copy(shipped("schemas") / kind / f"{name}.yaml", world.folder / f"{kind}.yaml")
    write(world)
    assert world.built() == ALL
    assert world.built() == set()
    return world


def write(world: World, steps: list[dict[str, Any]] = STEPS, **top: Any) -> None:
    world.recipe(*steps, **{"guard": "guards.yaml", "taxonomy": "taxonomies.yaml", **top})


def changed(step: str, **options: Any) -> list[dict[str, Any]]:
    return [{**s, "with": {**s.get("with", {}), **options}} if s["id"] == step else s for s in STEPS]


def test_an_operators_version(done: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Split, "version", Split.version + 1)
    assert done.built() == {"parts"}, "it makes the same rows"


def test_the_version_of_a_step_that_samples(done: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guardkit_stub.Loud.version", 2)
    assert done.built() == {"noise"}


def test_an_option(done: World) -> None:
    write(done, changed("unique", conflicts="first"))
    assert done.built() == {"unique"}, "it makes the same rows"
    assert done.built("noise.mark=+") == {"noise", "model", "judged"}


def test_an_option_that_is_a_default_written_out(done: World) -> None:
    write(done, changed("clean", unicode="NFC"))
    assert done.built() == set()


def test_the_guard_file(done: World) -> None:
    guard = done.folder / "guards.yaml"
    guard.write_text(guard.read_text() + "\n# a comment changes nothing\n")
    assert done.built() == set()
    found = yaml.safe_load(guard.read_text())
    guard.write_text(yaml.safe_dump({**found, "version": found["version"] + 1}, sort_keys=False))
    assert done.built() == {"model", "judged"}, "operators that do not say what they read of it"
    planned = done.plan().steps
    assert {i for i, s in planned.items() if "guard" in s.identity} == {"seeds", "unique", "model", "judged", "told"}
    assert {i for i, s in planned.items() if "version" in s.identity.get("guard", ())} == {"model", "judged"}


def test_the_taxonomy_file(done: World) -> None:
    taxonomy = done.folder / "taxonomies.yaml"
    found = yaml.safe_load(taxonomy.read_text())
    found["categories"][0]["cues"].append("hullabaloo")
    taxonomy.write_text(yaml.safe_dump(found, sort_keys=False))
    assert done.built() == {"told"}
    assert {i for i, s in done.plan().steps.items() if "taxonomy" in s.identity} == {"seeds", "told"}


def test_the_seed(done: World) -> None:
    assert done.built("seed=6") == AFTER_PARTS


def test_an_input_files_bytes(done: World) -> None:
    seeds = done.folder / "seeds.jsonl"
    before = seeds.read_bytes()
    seeds.write_bytes(before.replace(b"number 7", b"number 77", 1))
    assert done.built() == ALL
    seeds.write_bytes(before)
    seeds.touch()
    assert done.built() == ALL
    seeds.touch()
    assert done.built() == set(), "times do not count"


def test_the_sources_definition(done: World) -> None:
    source = done.folder / "tiny.yaml"
    source.write_text(source.read_text().replace("CC0-1.0", "MIT"))
    assert done.built() == ALL


def test_an_input_step(done: World) -> None:
    steps = [{**s, "from": "parts"} if s["id"] == "asked" else s for s in STEPS]
    write(done, steps)
    assert done.built() == set(), "they have the same rows"
    steps = [{**s, "from": {"rows": "seeds", "model": "model"}} if s["id"] == "judged" else s for s in steps]
    write(done, steps)
    assert done.built() == {"judged"}, "the first has another column"


def test_a_new_id_is_a_new_step(done: World) -> None:
    steps = [{**s, "id": "voice"} if s["id"] == "noise" else s for s in STEPS]
    steps[-2] = {**steps[-2], "from": {"rows": "voice", "model": "model"}}
    write(done, steps)
    assert done.built() == {"voice"}, "what it makes is the same, and so is all that depends on it"


def test_words_for_people_and_runtime_options_rebuild_nothing(done: World) -> None:
    write(done, [{**s, "doc": "words"} for s in changed("asked", timeout=99.0)], description="more words", version=7, failures=0.5)
    assert done.built(block_rows=3) == set()
    plain = {"backend": "openai", "model": "m", "base_url": "http://localhost:9/v1"}
    prints = []
    for runtime in ({}, {"timeout": 7.0, "concurrency": 3, "retries": 1, "patience": 2.0, "api_key_env": "OTHER_API_KEY"}, {"temperature": 0.5}):
        write(done, changed("told", backend={**plain, **runtime}))
        prints.append(done.plan().steps["told"].identity)
    assert prints[0] == prints[1] != prints[2]


def test_a_step_that_trains_counts_by_what_it_made(done: World) -> None:
    shutil.rmtree(done.folder / "out" / "model")
    assert done.built() == {"model"}, "the same model again: nothing after it is built"
    shutil.rmtree(done.folder / "out" / "model")
    done.script("luck", "7")
    assert done.built() == {"model", "judged"}


def test_a_step_that_asks_counts_by_what_it_was_given(done: World) -> None:
    shutil.rmtree(done.folder / "out" / "asked")
    assert done.built() == {"asked"}
    assert set(done.calls().values()) == {1}, "answers come from the journal"


@pytest.mark.parametrize("damage", ["missing", "short", "old_format"])
def test_a_damaged_step_is_built_again(done: World, damage: str) -> None:
    step = done.folder / "out" / "unique"
    before = steps_of(done.folder / "out")
    if damage == "missing":
        (step / "rejects.parquet").unlink()
    elif damage == "short":
        file = step / "rows" / "rows.parquet"
        file.write_bytes(file.read_bytes()[:-9])
    else:
        manifest = step / "manifest.json"
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format": 0}))
    assert done.built() == {"unique"}
    assert steps_of(done.folder / "out") == before


@pytest.mark.parametrize("damage", ["no_manifest", "torn_manifest"])
def test_a_folder_that_does_not_say_that_it_is_a_step_is_not_replaced(done: World, damage: str) -> None:
    """Nobody can tell it from the user's own: it is named, and the step is built again once the folder is out of the way."""
    step = done.folder / "out" / "unique"
    before = steps_of(done.folder / "out")
    file = step / "manifest.json"
    if damage == "no_manifest":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-9])
    found = {p: p.read_bytes() for p in step.rglob("*") if p.is_file()}
    with pytest.raises(InputError, match="no step that guardkit made") as e:
        done.run()
    assert str(step) in str(e.value) and "and run again" in str(e.value)
    assert {p: p.read_bytes() for p in step.rglob("*") if p.is_file()} == found
    shutil.rmtree(step)
    assert done.built() == {"unique"}
    assert steps_of(done.folder / "out") == before


def test_force_builds_all_and_pays_nothing(done: World) -> None:
    before = steps_of(done.folder / "out")
    assert done.built(force=True) == ALL
    assert steps_of(done.folder / "out") == before and set(done.calls().values()) == {1}


def test_a_step_added_or_taken_out_leaves_the_others(done: World) -> None:
    write(
        done,
        [*STEPS[:3], {"id": "more", "use": "loud", "from": "unique"}, *[{"from": "unique", **s} if s["id"] == "asked" else s for s in STEPS[3:]]],
    )
    assert done.built() == {"more"}
    write(done, STEPS[:5])
    assert done.built() == set()


def test_what_would_be_reused_is_known_before(done: World) -> None:
    out = done.folder / "out"
    assert set(finished(done.plan(), out)) == ALL
    assert set(finished(done.plan("noise.mark=+"), out)) == ALL - {"noise", "model", "judged"}
    assert finished(done.plan("seed=6"), done.folder / "elsewhere") == {} and not (done.folder / "elsewhere").exists()


# Fused groups ---------------------------------------------------------------------------------------------------------

ROWS: list[dict[str, Any]] = [
    {"id": "a", "use": "loud", "with": {"reject": "number 3"}},
    {"id": "b", "use": "select", "with": {"where": {"language": "null"}}},
    {"id": "c", "use": "loud", "with": {"mark": "+", "reject": "number 1"}},
]


def test_a_consumer_that_breaks_a_group_changes_no_bytes(world: World) -> None:
    world.recipe(*ROWS)
    world.run()
    assert set(steps_of(world.folder / "out")) == {"seeds", "c"}
    before = steps_of(world.folder / "out")["c"]
    world.recipe(*ROWS, {"id": "aside", "use": "fit", "from": "b"})
    assert world.built() == {"a", "b", "aside"}
    assert steps_of(world.folder / "out")["c"] == before, "reused as it is"
    fresh = world.run(output="fresh")
    assert steps_of(fresh.folder)["c"]["rows/rows.parquet"] == before["rows/rows.parquet"]
    assert [r["prompt"] for r in rows(fresh, "b")] == [f"Question number {i} about gardens, please" for i in range(24) if i != 3]


def test_rejects_are_the_same_rows_in_a_group_and_alone(world: World) -> None:
    world.recipe(*ROWS)
    together = rejects(world.run(), "c")
    world.recipe(*ROWS, *({"id": f"aside-{s}", "use": "fit", "from": s} for s in "abc"))
    alone = world.run(output="alone")
    parted = [r for s in "ab" for r in rejects(alone, s)] + rejects(alone, "c")
    key = lambda r: (r["step"], r["id"])  # noqa: E731
    assert sorted(together, key=key) == sorted(parted, key=key) and len(together) == 12
    assert [counts(alone, s)["kept"] for s in "abc"] == [23, 23, 12]


def test_a_folder_inside_a_group_does_not_outlive_its_truth(world: World) -> None:
    aside = {"id": "aside", "use": "fit", "from": "a"}
    world.recipe(*ROWS, aside)
    world.run()
    world.recipe(*ROWS)
    assert world.built() == set(), "whatever else there is"
    world.recipe({**ROWS[0], "with": {"reject": "number 4"}}, *ROWS[1:])
    run = world.run()
    assert not (world.folder / "out" / "a").exists(), "it held the rows of before"
    assert counts(run, "a")["rejected"] == {"unwanted": 1}


def test_two_sources_files_of_one_name_both_count(world: World) -> None:
    for part in ("left", "right"):
        (world.folder / part).mkdir()
        shutil.copy(world.folder / "seeds.jsonl", world.folder / part / "seeds.jsonl")
    load = {"id": "seeds", "use": "load", "with": {"source": "tiny.yaml", "files": ["left/seeds.jsonl", "right/seeds.jsonl"]}}
    world.recipe(load, load=False)
    assert world.built() == {"seeds"}
    (world.folder / "left" / "seeds.jsonl").write_text("")
    assert world.built() == {"seeds"}


def test_the_plan_of_another_moment_is_another_plan(world: World) -> None:
    world.recipe({"id": "x", "use": "loud"})
    world.run()
    plan = world.plan()
    world.seeds([seed(0)])
    assert run_plan(plan, output=world.folder / "out").built == []
    assert world.built() == {"seeds", "x"}


def test_paths_are_found_beside_the_recipe_from_anywhere(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world.recipe({"id": "x", "use": "loud"})
    world.run()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert world.built() == set()
