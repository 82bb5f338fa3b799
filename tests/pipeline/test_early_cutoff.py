"""A step that is built anew and comes out equal leaves what is after it as it is: in a run, in a plan, after a kill, beside damage."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from world import World, environment, rows, steps_of

import toolkit
from toolkit.common.errors import InputError
from toolkit.common.facets import Undeclared
from toolkit.common.manifests import sealed
from toolkit.pipeline import Fingerprints, StepFolder, prospect, stale, step_folders, verify_run
from toolkit.pipeline._former import former_identity

STEPS: list[dict[str, Any]] = [
    {"id": "clean", "use": "normalise"},
    {"id": "unique", "use": "deduplicate"},
    {"id": "told", "use": "synthesise", "with": {"backend": {"backend": "template"}}},
    {"id": "noise", "use": "loud"},
    {"id": "rows", "use": "render_sft"},
    {"id": "shards", "use": "shards"},
    {"id": "guard", "use": "drill"},
    {"id": "judged", "use": "count_model", "from": {"rows": "noise", "model": "guard"}},
]
ALL = {"seeds", *(s["id"] for s in STEPS)}


@pytest.fixture
def done(world: World) -> World:
    world.recipe(*STEPS)
    assert world.built() == ALL
    (world.folder / "trained.log").unlink()
    return world


def changed(step: str, **options: Any) -> list[dict[str, Any]]:
    return [{**s, "with": {**s.get("with", {}), **options}} if s["id"] == step else s for s in STEPS]


def reword_source(world: World) -> None:
    """A word about the source that no row has."""
    path = world.folder / "tiny.yaml"
    path.write_text(path.read_text().replace("Seeds made by a test.", "Seeds that a test makes."))


def manifest(world: World, step: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((world.folder / "out" / step / "manifest.json").read_text())
    return found


def events(world: World, kind: str) -> list[dict[str, Any]]:
    lines = map(json.loads, (world.folder / "out" / "events.jsonl").read_text().splitlines())
    return [e for e in lines if e["event"] == kind]


def states(world: World) -> dict[str, str | list[str]]:
    steps = toolkit.plan(world.folder / "recipe.yaml", output=world.folder / "out")["steps"]
    return {s["step"]: s["unless"] or s["state"] for s in steps}


def die(world: World, moment: str, step: str) -> None:
    driver = Path(__file__).parent / "driver.py"
    killed = subprocess.run([sys.executable, str(driver), str(world.folder), moment, step], env=environment(), capture_output=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()


def test_what_reads_equal_rows_stays(done: World) -> None:
    before = steps_of(done.folder / "out")
    reword_source(done)
    # The shards say of every step how it was made; a training counts their rows alone.
    assert done.built() == {"seeds", "shards"}
    after = steps_of(done.folder / "out")
    assert {s for s in after if after[s] != before[s]} == {"seeds", "shards"} and not (done.folder / "trained.log").exists()
    kept = [e for e in events(done, "reused") if e["step"] == "clean"]
    assert kept[0]["made_as"] == manifest(done, "clean")["fingerprint"] != kept[0]["fingerprint"]
    assert done.built() == set()
    assert verify_run(done.folder / "out")["missing"] == [] and stale(step_folders(done.folder / "out")) == set()


def test_what_reads_other_rows_is_built(done: World) -> None:
    seeds = done.folder / "seeds.jsonl"
    seeds.write_text(seeds.read_text().replace("number 7", "number 77"))
    assert done.built() == ALL


def test_a_manifest_says_what_its_step_read(done: World) -> None:
    found = manifest(done, "judged")["inputs"]["judged"]
    assert set(found) == {"rows", "model"} and found["rows"] != found["model"]
    assert "inputs" in manifest(done, "seeds") and manifest(done, "seeds")["inputs"] == {}
    reword_source(done)
    done.run()
    assert manifest(done, "judged")["inputs"]["judged"] == found, "the step that was left as it is still says what it read, and it is there"


def test_rejects_are_no_input(done: World) -> None:
    """A row that leaves otherwise is no other row for the steps after it; the shards tell of it."""
    done.recipe(*[{**s, "with": {"where": {"language": "null"}}, "use": "select"} if s["id"] == "noise" else s for s in STEPS])
    done.run()
    seeds = done.folder / "seeds.jsonl"
    seeds.write_text(seeds.read_text() + "{torn\n")
    assert done.built() == {"seeds", "shards"}


@pytest.mark.parametrize("options", [{"title": "Another heading"}, {"licence": "CC-BY-4.0"}])
def test_a_training_counts_the_shards_rows_and_not_their_card(done: World, options: dict[str, Any]) -> None:
    done.recipe(*changed("shards", **options))
    assert done.built() == {"shards"} and not (done.folder / "trained.log").exists()


def test_a_training_counts_how_the_rows_are_cut_into_files(done: World) -> None:
    done.recipe(*changed("shards", rows_per_shard=5))
    assert done.built() == {"shards", "guard", "judged"}, "the stub makes of other files another model"


def test_a_plan_says_what_waits_for_what(done: World) -> None:
    reword_source(done)
    assert states(done) == {
        "seeds": "build",
        "clean": ["seeds"],
        "unique": ["clean"],
        "told": ["unique"],
        "noise": ["told"],
        "rows": ["noise"],
        "shards": "build",
        "guard": ["shards"],
        "judged": ["noise", "guard"],
    }
    result = done.cli("plan", "recipe.yaml", "--output", "out", "--json")
    assert {s["step"]: s["state"] for s in json.loads(result.stdout)["steps"]}["clean"] == "unless"
    words = " ".join(done.cli("plan", "recipe.yaml", "--output", "out", COLUMNS="200").stdout.split())
    assert "built unless seeds comes out equal" in words and "built unless noise and guard come out equal" in words and "to build" in words
    found = toolkit.explain(done.folder / "recipe.yaml", output=done.folder / "out")["steps"]
    assert [(s["state"], s["unless"]) for s in found[:2]] == [("build", []), ("unless", ["seeds"])]
    done.run()
    assert set(states(done).values()) == {"reuse"}


def test_a_step_of_which_something_has_changed_waits_for_nothing(done: World) -> None:
    reword_source(done)
    done.recipe(*changed("unique", conflicts="first"))
    found = states(done)
    assert found["unique"] == "build" and found["told"] == ["unique"]
    assert done.built() == {"seeds", "unique", "shards"}, "no row of two labels: the same rows again"


@pytest.mark.parametrize("moment", ["write", "rename", "moved", "renamed", "log"])
def test_killed_while_a_step_before_is_built(done: World, moment: str) -> None:
    reword_source(done)
    die(done, moment, "seeds")
    assert done.built() - {"seeds"} == {"shards"} and not (done.folder / "trained.log").exists()
    assert done.built() == set()


def test_killed_between_a_change_and_what_follows_from_it(done: World) -> None:
    seeds = done.folder / "seeds.jsonl"
    before = seeds.read_text()
    seeds.write_text(before.replace("number 7", "number 77"))
    die(done, "renamed", "clean")
    assert states(done)["unique"] == "build"
    seeds.write_text(before)
    assert done.built() == {"seeds", "clean"}, "back to what the steps after them read"
    seeds.write_text(before.replace("number 7", "number 77"))
    assert done.built() == ALL


def test_damage_is_found_before_anything_is_compared(done: World) -> None:
    reword_source(done)
    file = done.folder / "out" / "unique" / "rows" / "rows.parquet"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    os.utime(done.folder / "out" / "unique" / "manifest.json")
    shutil.rmtree(done.folder / "out" / "told")  # so that its rows are read
    run = done.run()
    assert set(run.built) == {"seeds", "unique", "told", "shards"} and set(run.damaged) == {"unique"}
    assert verify_run(done.folder / "out")["missing"] == []


def test_a_group_without_folders_is_compared_at_its_end(world: World) -> None:
    group: list[dict[str, Any]] = [
        {"id": "a", "use": "loud"},
        {"id": "b", "use": "select", "with": {"where": {"language": "null"}}},
        {"id": "c", "use": "select"},
    ]
    world.recipe(*group, {"id": "end", "use": "fit"})
    world.run()
    renamed = [{**s, "id": "z"} if s["id"] == "b" else s for s in group]
    world.recipe(*renamed, {"id": "end", "use": "fit"})
    assert world.built() == {"a", "z", "c"}
    world.recipe(*renamed, {"id": "end", "use": "fit"}, {"id": "aside", "use": "fit", "from": "z"})
    assert world.built() == {"a", "z", "aside"}, "what the step was made from inside the group is the same"
    world.recipe({**renamed[0], "with": {"mark": "?"}}, *renamed[1:], {"id": "end", "use": "fit"}, {"id": "aside", "use": "fit", "from": "z"})
    assert world.built() == {"a", "z", "aside", "c", "end"}


def test_an_input_that_is_added_or_taken_away_counts(done: World) -> None:
    done.recipe(*[{**s, "from": {"rows": "told", "model": "guard"}} if s["id"] == "judged" else s for s in STEPS])
    assert done.built() == {"judged"}
    done.recipe(*STEPS)
    assert done.built() == {"judged"}


def test_a_step_with_the_same_rows_from_another_step_stays(done: World) -> None:
    """Where they come from is in no row; the way to them is in the shards."""
    done.recipe(*[{**s, "from": "clean"} if s["id"] == "told" else s for s in STEPS])
    assert done.built() == {"shards"}


def test_what_an_operator_may_read_of_a_step(done: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it does not say that it takes could change without the step being built anew."""
    monkeypatch.setattr("guardkit_stub_guards.Drill.takes", {})
    monkeypatch.setattr("guardkit_stub_guards.Drill.inputs", ("shards",))
    done.recipe(*[{**s, "from": "rows"} if s["id"] == "guard" else s for s in STEPS])
    with pytest.raises(Undeclared, match="takes 'shards' from 'rows' and does not name it"):
        done.run()


def test_force_compares_nothing(done: World) -> None:
    assert done.built(force=True) == ALL


# Runs of an earlier guardkit --------------------------------------------------------------------------------------------


def as_before(world: World, steps: Sequence[str] = ()) -> None:
    """Manifests as they were before they recorded what a step read."""
    plan, out = world.plan(), world.folder / "out"
    folders = {s: StepFolder.open(out / s) for s in plan.steps if (out / s).exists()}
    prints = Fingerprints(plan, folders.get, lambda step: former_identity(plan, step))
    for name, folder in folders.items():
        if steps and name not in steps:
            continue
        stated = {k: v for k, v in folder.manifest.items() if k not in ("inputs", "fingerprint_version", "seal", "sha256")}
        stated |= {"fingerprint": prints.of(name), "identity": {s: former_identity(plan, plan.steps[s]) for s in stated["identity"]}}
        (out / name / "manifest.json").write_text(json.dumps(sealed(stated)))
    run = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps({k: v for k, v in run.items() if k != "current"}))


def test_a_finished_run_of_an_earlier_guardkit_is_reused(done: World) -> None:
    as_before(done)
    assert "inputs" not in manifest(done, "clean")
    assert set(prospect(done.plan(), done.folder / "out").done) == ALL
    assert done.built() == set()


def test_what_comes_out_equal_in_a_run_of_an_earlier_guardkit_leaves_the_rest(done: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new version of an operator comes with a new guardkit, and trains no guard anew for that."""
    as_before(done)
    monkeypatch.setattr("toolkit.operators.clean.normalise.Normalise.version", 9)
    monkeypatch.setattr("guardkit_stub.Loud.version", 9)
    assert states(done)["unique"] == ["clean"] and states(done)["guard"] == ["shards"] and states(done)["shards"] == "build"
    before = {p: p.read_bytes() for p in (done.folder / "out").glob("*/manifest.json")}
    assert before == {p: p.read_bytes() for p in (done.folder / "out").glob("*/manifest.json")}, "a plan writes nothing"
    assert done.built() == {"clean", "noise", "shards"} and not (done.folder / "trained.log").exists()
    assert "inputs" in manifest(done, "unique") and "inputs" not in manifest(done, "seeds"), "what they read is written down where it was needed"
    assert done.built() == set() and verify_run(done.folder / "out")["missing"] == []


@pytest.mark.parametrize("moment", ["write", "moved", "renamed"])
def test_killed_while_a_step_of_an_earlier_guardkit_is_built_anew(done: World, moment: str) -> None:
    as_before(done)
    reword_source(done)
    die(done, moment, "seeds")
    assert done.built() - {"seeds"} == {"shards"} and not (done.folder / "trained.log").exists()


def test_what_a_step_of_an_earlier_guardkit_read_is_believed_only_where_it_is_proven(done: World) -> None:
    as_before(done)
    shutil.rmtree(done.folder / "out" / "seeds")
    reword_source(done)
    assert done.built() == {"seeds", "clean", "shards"}, "nobody knows what `clean` read; what is after it read what `clean` made"
    as_before(done)
    seeds = done.folder / "seeds.jsonl"
    seeds.write_text(seeds.read_text().replace("number 7", "number 77"))
    assert done.built() == ALL


def test_steps_of_both_kinds_stand_side_by_side(done: World) -> None:
    as_before(done, ["seeds", "clean", "told", "guard"])
    assert done.built() == set()
    shutil.rmtree(done.folder / "out" / "told")
    assert done.built() == {"told"}, "what came of it is the same"
    shutil.rmtree(done.folder / "out" / "seeds")
    assert done.built() == {"seeds"}


def test_two_runs_before_and_after_differ_in_nothing(done: World) -> None:
    shutil.copytree(done.folder / "out", done.folder / "earlier")
    as_before(done)
    found = toolkit.diff(done.folder / "out", done.folder / "earlier")
    assert {s["state"] for s in found["steps"]} == {"same"}


def test_rows_of_a_run_are_as_read(done: World) -> None:
    run = done.run()
    assert len(rows(run, "rows")) == 24
    with pytest.raises(InputError, match="made no 'model'"):
        run.steps["rows"].artefact("model")
