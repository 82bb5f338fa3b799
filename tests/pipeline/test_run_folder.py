"""Whose a run's folder is: in use, another recipe's, a file, somebody's own; and what `clean` takes away."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from world import World, environment, seed, steps_of

from toolkit.api import read_run
from toolkit.common.errors import InputError
from toolkit.pipeline import clean
from toolkit.report import summarise

DRIVER = Path(__file__).parent / "driver.py"


def killed_while_building(world: World, step: str, moment: str = "write") -> None:
    shutil.rmtree(world.folder / "out" / step) if moment == "write" else None
    done = subprocess.run([sys.executable, str(DRIVER), str(world.folder), moment, step], env=environment(), capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def tree(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def test_a_folder_in_use_names_the_process_that_uses_it(world: World) -> None:
    world.recipe({"id": "asked", "use": "ask"})
    world.script("pace", "2")
    first = subprocess.Popen([sys.executable, str(DRIVER), str(world.folder), "ready", "-"], env=environment())
    try:
        while not (world.folder / "out" / "seeds").exists():
            assert first.poll() is None
        done = world.cli("run", "recipe.yaml", "--output", "out")
        assert done.returncode == 2 and f"the run's folder is in use by process {first.pid}" in done.stderr and "--output" in done.stderr
        with pytest.raises(InputError, match=str(first.pid)):
            clean(world.folder / "out", [])
    finally:
        first.terminate()
    assert first.wait() != 0
    world.script("pace", "0")
    assert world.run().reused == ["seeds"], "a lock ends with its process"


def test_a_folder_of_another_recipe(world: World) -> None:
    world.recipe({"id": "noise", "use": "loud"})
    world.run()
    before = tree(world.folder / "out"), steps_of(world.folder / "out")
    world.text((world.folder / "recipe.yaml").read_text().replace("recipe: tiny", "recipe: other"))
    done = world.cli("run", "recipe.yaml", "--output", "out")
    assert done.returncode == 2 and "holds a run of the recipe 'tiny', not of 'other'" in done.stderr
    assert (tree(world.folder / "out"), steps_of(world.folder / "out")) == before
    assert json.loads((world.folder / "out" / "run.json").read_text())["recipe"] == "tiny"


@pytest.mark.parametrize("kind", ["file", "below_a_file", "foreign", "foreign_run_json"])
def test_a_place_that_is_not_guardkits_is_left_as_it_was(world: World, kind: str) -> None:
    world.recipe({"id": "noise", "use": "loud"})
    place = world.folder / "place"
    if kind in ("file", "below_a_file"):
        place.write_text("mine")
    else:
        place.mkdir()
        (place / ("run.json" if kind == "foreign_run_json" else "thesis.tex")).write_text("mine")
    before = tree(world.folder)
    with pytest.raises(InputError, match=r"file, not a folder|no run of guardkit's"):
        world.run(output="place/out" if kind == "below_a_file" else "place")
    assert tree(world.folder) == before


def test_a_place_that_may_not_be_written(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.recipe({"id": "noise", "use": "loud"})
    if os.geteuid() == 0:  # root may write anywhere, but not here
        with pytest.raises(InputError, match="cannot be written"):
            world.run(output="/proc/guardkit-run")
    else:
        (world.folder / "locked").mkdir(mode=0o500)
        with pytest.raises(InputError, match="cannot be written"):
            world.run(output="locked/out")


def test_an_empty_folder_will_do(world: World) -> None:
    (world.folder / "out").mkdir()
    world.recipe({"id": "noise", "use": "loud"})
    assert world.built() == {"seeds", "noise"}


def test_clean_takes_what_the_recipe_no_longer_has_and_leftovers(world: World) -> None:
    world.recipe({"id": "noise", "use": "loud"}, {"id": "model", "use": "fit"}, {"id": "asked", "use": "ask", "from": "noise"})
    world.run()
    out = world.folder / "out"
    killed_while_building(world, "asked")
    (out / "mine").mkdir()
    assert clean(out, ["seeds", "noise", "asked"]) == [".asked.guardkit", "model"]
    assert {p.name for p in out.iterdir() if p.is_dir()} == {"seeds", "noise", "mine"}
    assert (world.folder / "journal" / "journal.sqlite").exists()


def test_what_somebody_put_into_a_runs_folder_is_no_step_and_stays(world: World) -> None:
    world.recipe({"id": "noise", "use": "loud"})
    world.run()
    out = world.folder / "out"
    shutil.copytree(out / "noise", out / "noise-before")
    shards, elsewhere = {"format": 1, "made_by": "guardkit", "files": {}}, world.folder / "elsewhere"
    for folder in (out / "shards", elsewhere):
        folder.mkdir()
        (folder / "manifest.json").write_text(json.dumps(shards))
    (out / "link").symlink_to(elsewhere)
    (out / "noise-link").symlink_to(out / "noise")
    assert set(read_run(out)) == {"seeds", "noise"}
    assert [s["state"] for s in summarise(out)["steps"]] == ["built", "built"]
    assert clean(out, ["seeds", "noise"]) == [] and world.run().built == []
    assert {"noise-before", "shards", "link", "noise-link"} <= {p.name for p in out.iterdir()}


def test_a_run_does_not_take_the_journals_folder(world: World) -> None:
    world.recipe({"id": "noise", "use": "loud"})
    with pytest.raises(InputError, match="'journal' is the name of the folder"):
        world.run(output="journal")
    assert not (world.folder / "journal").exists()


def test_clean_finishes_a_swap_that_was_cut_short(world: World) -> None:
    world.recipe({"id": "noise", "use": "loud"})
    world.run("seeds.limit=7")
    killed_while_building(world, "noise", "moved")
    out = world.folder / "out"
    assert not (out / "noise").exists()
    assert clean(out, ["seeds", "noise"]) == [".noise.guardkit"]
    assert world.run().built == []


OWN = ["a folder", "a copy of a step", "a step with a note in it", "a step corrected by hand"]


def put(world: World, name: str, what: str) -> Path:
    """Something of the user's in the run's folder; the path of a file that must stay."""
    folder = world.folder / "out" / name
    if what == "a folder":
        folder.mkdir()
    elif what == "a copy of a step":
        shutil.copytree(world.folder / "out" / "seeds", folder)
    if what == "a step corrected by hand":
        file = folder / "rows" / "rows.parquet"
        with file.open("r+b") as f:
            f.seek(40)
            f.write(b"by hand")
        return file
    (folder / "n.txt").write_text("mine")
    return folder / "n.txt"


@pytest.mark.parametrize("what", OWN[:3])
def test_what_is_the_users_is_not_replaced_by_a_step(world: World, what: str) -> None:
    """Refused before anything is asked, and named; whatever stood there stays, and out of the way the run goes on."""
    steps = [{"id": "asked", "use": "ask"}, {"id": "notes", "use": "loud"}]
    world.recipe(*(steps if what.startswith("a step") else []), load=True)
    world.run()
    calls = world.calls()
    mine = put(world, "notes", what)
    before = mine.read_bytes()
    world.seeds([seed(i, f"Another question {i} about gardens") for i in range(9)])
    world.recipe(*steps)
    done = world.cli("run", "recipe.yaml", "--output", "out")
    assert done.returncode == 2 and "out/notes" in done.stderr and mine.name in done.stderr + "n.txt" * (what in OWN[:2]), done.stderr
    assert mine.read_bytes() == before
    assert world.calls() == calls, "nothing has been asked"
    with pytest.raises(InputError, match="out/notes"):
        world.run(force=True)
    assert mine.read_bytes() == before
    (world.folder / "out" / "notes").rename(world.folder / "mine")
    world.run()
    assert (world.folder / "mine" / mine.relative_to(world.folder / "out" / "notes")).read_bytes() == before


def test_hidden_folders_and_files_of_the_users_stay(world: World) -> None:
    world.recipe({"id": "noise", "use": "loud"})
    world.run()
    out = world.folder / "out"
    for name in (".noise.new", ".noise.old", ".diary.new", ".diary.guardkit"):
        (out / name).mkdir()
        (out / name / "d").write_text("mine")
    for name in (".todo.old", ".run.json.new", ".todo.guardkit"):
        (out / name).write_text("mine")
    before = {p: p.read_text() for p in out.glob(".*") if p.is_file()} | {p: p.read_text() for p in out.glob(".*/d")}
    world.run(force=True)
    assert clean(out, ["seeds"]) == ["noise"]
    world.run()
    assert {p: p.read_text() for p in before if p.name != ".guardkit.lock"} == {p: t for p, t in before.items() if p.name != ".guardkit.lock"}


def test_a_folder_that_is_in_no_steps_way_stays(world: World) -> None:
    """The name of a step that has no folder of its own, because the next one reads it in one go."""
    world.recipe({"id": "noise", "use": "loud"}, {"id": "louder", "use": "loud"})
    (world.folder / "out").mkdir()
    world.run()
    inner = next(i for i in ("seeds", "noise") if not (world.folder / "out" / i).exists())
    (world.folder / "out" / inner).mkdir()
    (world.folder / "out" / inner / "n.txt").write_text("mine")
    world.run(force=True)
    assert (world.folder / "out" / inner / "n.txt").read_text() == "mine"


@pytest.mark.parametrize("what", OWN[2:])
def test_clean_leaves_a_step_in_which_something_of_the_users_lies(world: World, what: str) -> None:
    world.recipe({"id": "noise", "use": "loud"}, {"id": "notes", "use": "fit", "from": "noise"}, {"id": "asked", "use": "ask", "from": "noise"})
    world.run()
    name = "notes" if what == OWN[2] else "noise"
    mine = put(world, name, what)
    before = tree(world.folder / "out"), mine.read_bytes()
    with pytest.raises(InputError, match=f"out/{name}"):
        clean(world.folder / "out", ["seeds"])
    assert (tree(world.folder / "out"), mine.read_bytes()) == before


@pytest.mark.parametrize("name", [".guardkit.lock", "events.jsonl", ".run.json.guardkit", "run.json", "summary.json", ".noise.guardkit"])
def test_no_link_in_a_runs_folder_is_followed(world: World, name: str) -> None:
    """A folder that somebody else has made: what its links point to is never emptied, written or removed."""
    world.recipe({"id": "noise", "use": "loud"})
    world.run()
    precious = world.folder / "precious"
    precious.mkdir() if name == ".noise.guardkit" else precious.write_text("precious")
    if precious.is_dir():
        (precious / "d").write_text("precious")
    link = world.folder / "out" / name
    link.unlink(missing_ok=True)
    link.symlink_to(precious if name != "run.json" else "../mine.json")
    if name == "run.json":
        (world.folder / "mine.json").write_text('{"recipe": "tiny"}')
    done = world.cli("run", "recipe.yaml", "--output", "out", "--force")
    assert done.returncode == (2 if name in (".guardkit.lock", "events.jsonl", ".noise.guardkit") else 0), done.stderr
    if done.returncode:
        assert f"out/{name}" in done.stderr
    world.cli("runs", "clean", "out")
    assert (precious / "d" if precious.is_dir() else precious).read_text() == "precious"
    if name == "run.json":
        assert (world.folder / "mine.json").read_text() == '{"recipe": "tiny"}'


def test_a_run_is_for_its_owner_alone(world: World) -> None:
    world.recipe({"id": "asked", "use": "ask"}, {"id": "model", "use": "fit"})
    before = os.umask(0)
    try:
        world.run()
    finally:
        os.umask(before)
    made = [p for top in ("out", "journal") for p in [world.folder / top, *(world.folder / top).rglob("*")]]
    assert {p.name for p in made} >= {
        "rows.parquet",
        "rejects.parquet",
        "manifest.json",
        "events.jsonl",
        "run.json",
        "journal.sqlite",
        "journal.lock",
    }
    assert {p: oct(p.stat().st_mode & 0o777) for p in made if p.stat().st_mode & 0o077} == {}


def test_a_step_of_an_earlier_version_is_known_by_its_manifest(world: World) -> None:
    """Folders as they were written before they had marks and modes: readable by all, and replaced."""
    world.recipe({"id": "noise", "use": "loud"})
    world.run()
    out = world.folder / "out"
    for path in [out, *out.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    (out / ".guardkit.lock").write_text("4711")
    world.seeds([seed(i) for i in range(9)])
    assert world.run().built == ["seeds", "noise"]
    assert (out / "noise" / "rows" / "rows.parquet").stat().st_mode & 0o777 == 0o644, "who has opened it to others keeps that"


def test_what_a_machine_lacks_matters_only_for_steps_that_are_not_done(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from toolkit.common.errors import Missing

    world.recipe({"id": "noise", "use": "loud"})
    monkeypatch.setattr("guardkit_stub.Loud.needs", lambda self, ctx: ["a bigger voice"], raising=False)
    with pytest.raises(Missing, match=r"step 'noise': a bigger voice"):
        world.run()
    assert not (world.folder / "out").exists(), "nothing has been done"
    monkeypatch.undo()
    monkeypatch.syspath_prepend(str(DRIVER.parent / "plugin"))
    world.run()
    monkeypatch.setattr("guardkit_stub.Loud.needs", lambda self, ctx: ["a bigger voice"], raising=False)
    assert world.run().built == []
