"""What is read of a finished step is what its manifest says: every kind of damage to every file is noticed by whoever reads it."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from world import World, steps_of

from toolkit import api
from toolkit.common.errors import GuardkitError, InputError
from toolkit.pipeline import step_folders
from toolkit.report import summarise

STEPS: list[dict[str, Any]] = [
    {"id": "unique", "use": "deduplicate"},
    {"id": "asked", "use": "ask"},
    {"id": "model", "use": "fit"},
    {"id": "judged", "use": "count_model", "from": {"rows": "asked", "model": "model"}},
    {"id": "told", "use": "synthesise", "from": "unique", "with": {"backend": {"backend": "template"}}},
    {"id": "sound", "use": "validate"},
    {"id": "aside", "use": "fit", "from": "sound"},
    {"id": "rows", "use": "render_sft", "from": "sound"},
    {"id": "shards", "use": "shards"},
]


@pytest.fixture
def done(world: World) -> World:
    world.recipe(*STEPS)
    world.run()
    return world


def flip(path: Path, other: Path) -> None:
    data = bytearray(path.read_bytes())
    data[random.Random(str(path)).randrange(len(data))] ^= 1 << random.Random(len(data)).randrange(8)
    path.write_bytes(data)


def cut(path: Path, other: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def replace(path: Path, other: Path) -> None:
    shutil.copyfile(other, path)


def swap(path: Path, other: Path) -> None:
    between = path.with_suffix(".between")
    path.rename(between)
    shutil.copyfile(other, path)
    between.unlink()


def lose(path: Path, other: Path) -> None:
    path.unlink()


def folder(path: Path, other: Path) -> None:
    path.unlink()
    path.mkdir()


def unseen(run: Path) -> None:
    """As a disk does it: no time tells that a file is not what it was."""
    for manifest in run.glob("*/manifest.json"):
        os.utime(manifest)


def read_all(run: Path) -> dict[str, str]:
    """Read each file of each step by the way that there is; what was refused, by step and file, with the message."""
    out = {}
    for step in step_folders(run):
        for name in step.manifest["files"]:
            try:
                if name == "rows/rows.parquet":
                    assert sum(b.height for b in step.blocks()) == step.rows
                elif name == "rejects.parquet":
                    list(step.read(name))
                else:
                    step.artefact(name.partition("/")[0])
            except GuardkitError as e:
                out[f"{step.step}/{name}"] = str(e)
    return out


@pytest.mark.parametrize("damage", [flip, cut, replace, swap, lose, folder])
def test_every_file_is_checked_by_whoever_reads_it(done: World, damage: Callable[[Path, Path], None]) -> None:
    other = World(done.folder.parent / "other", 11)
    other.recipe(*STEPS)
    theirs = other.run().folder
    mine = done.folder / "out"
    assert read_all(mine) == {} and api.verify(mine)["kind"] == "run"
    for step in step_folders(mine):
        for name in step.manifest["files"]:
            at = f"{step.step}/{name}"
            source = mine / "seeds/rows/rows.parquet" if damage is swap and at != "seeds/rows/rows.parquet" else theirs / at
            if source.read_bytes() == (mine / at).read_bytes():
                continue  # equal bytes are no damage: no row was rejected in either run
            copy = done.folder / "copy"
            shutil.copytree(mine, copy)
            damage(copy / at, source)
            unseen(copy)
            refused = read_all(copy)
            same_artefact = {a for a in refused if a.split("/")[:2] == at.split("/")[:2]}
            assert at in refused and set(refused) == same_artefact, at
            assert str(copy / at) in refused[at] and f"delete the folder {copy / step.step}" in refused[at]
            with pytest.raises(InputError, match=name.rpartition("/")[2]):
                api.verify(copy)
            shutil.rmtree(copy)


@pytest.mark.parametrize("quiet", [False, True])
@pytest.mark.parametrize("name", ["seeds/rows/rows.parquet", "unique/rows/rows.parquet", "asked/rows/rows.parquet", "model/model/weights"])
def test_a_run_builds_a_damaged_step_anew_before_it_builds_on_it(done: World, name: str, quiet: bool, capsys: pytest.CaptureFixture[str]) -> None:
    before = steps_of(done.folder / "out")
    flip(done.folder / "out" / name, Path())
    if quiet:
        unseen(done.folder / "out")
    for step in ("unique", "judged", "asked", "told"):  # all are built again, and so is what they read
        shutil.rmtree(done.folder / "out" / step)
    run = done.run()
    assert name.partition("/")[0] in run.built
    assert steps_of(done.folder / "out") == before
    assert set(done.calls().values()) == {1}, "answers come from the journal"
    assert not {*run.built} & {*run.reused} and {*run.built, *run.reused} == set(done.plan().steps)
    events = [json.loads(line) for line in (done.folder / "out" / "events.jsonl").read_text().splitlines()]
    found = [e for e in events if e["event"] == "damaged"]
    whole = {n for n in ("seeds", "model") if n == name.partition("/")[0]}
    assert {e["step"] for e in found} == set(run.damaged) == whole, "the others were not there any more"


def test_a_run_with_nothing_to_build_notices_a_file_that_was_touched(done: World) -> None:
    before = steps_of(done.folder / "out")
    for step, name in (("judged", "rejects.parquet"), ("shards", "shards/README.md")):
        flip(done.folder / "out" / step / name, Path())
        assert done.built() == {step}
    assert steps_of(done.folder / "out") == before


def test_touched_and_copied_steps_are_up_to_date(done: World) -> None:
    for path in (done.folder / "out").rglob("*"):
        os.utime(path)
    assert done.built() == set()
    shutil.copytree(done.folder / "out", done.folder / "copy")
    assert done.built(output="copy") == set()


def test_a_manifest_that_was_changed_is_noticed(done: World) -> None:
    manifest = done.folder / "out" / "unique" / "manifest.json"
    sound = manifest.read_text()
    changed = sound.replace('"kept": 24', '"kept": 23', 1)
    assert changed != sound
    manifest.write_text(changed)
    with pytest.raises(InputError, match="seal"):
        summarise(done.folder / "out")
    assert done.built() == {"unique"}
    assert manifest.read_text() == sound


def test_manifests_of_before_have_no_seal_and_are_read(done: World) -> None:
    for manifest in (done.folder / "out").glob("*/manifest.json"):
        data = json.loads(manifest.read_text())
        del data["seal"]
        manifest.write_text(json.dumps(data))
    assert done.built() == set()
    assert read_all(done.folder / "out") == {}


def test_the_number_of_rows_is_checked(done: World) -> None:
    """Also where the digest says nothing: a manifest without a seal whose figures were changed."""
    manifest = done.folder / "out" / "unique" / "manifest.json"
    data = json.loads(manifest.read_text())
    del data["seal"]
    manifest.write_text(json.dumps({**data, "rows": data["rows"] + 1}))
    with pytest.raises(InputError, match=r"it has 24 rows, the manifest says 25 \(step 'unique'\)"):
        list(api.read_run(done.folder / "out")["unique"].blocks())


def test_other_verbs_refuse_a_damaged_step(done: World) -> None:
    run = done.folder / "out"
    shutil.copytree(run, done.folder / "b")
    for name in ("unique/rows/rows.parquet", "unique/rejects.parquet", "sound/rows/rows.parquet", "shards/shards/data/train-00000-of-00001.parquet"):
        flip(run / name, Path())
    refused = {
        "diff": lambda: api.diff(run, done.folder / "b", step="unique"),
        "diff of shards": lambda: api.diff(run, done.folder / "b", step="shards"),
        "rejects": lambda: api.rejects(run, "unique"),
        "status": lambda: summarise(run),
        "read_run": lambda: list(api.read_run(run)["unique"].blocks(["id"])),
        "overlaps": lambda: api.overlaps(rows={"a": run / "unique"}),
        "export": lambda: api.export(run / "shards", to="trl", output=done.folder / "exported"),
    }
    for verb, do in refused.items():
        with pytest.raises(InputError, match=r"not those of the manifest|sha256"):
            do()
        assert verb


def test_a_model_that_is_changed_while_it_is_read_is_an_error(done: World, monkeypatch: pytest.MonkeyPatch) -> None:
    import guardkit_stub

    real = guardkit_stub.CountModel.run

    def run(self: Any, inputs: Any, out: Any, ctx: Any) -> None:
        real(self, inputs, out, ctx)
        path = inputs["model"].artefact("model") / "weights"
        printed = path.read_text()
        path.write_text("another")  # and put back before anybody looks
        path.write_text(printed)

    monkeypatch.setattr(guardkit_stub.CountModel, "run", run)
    shutil.rmtree(done.folder / "out" / "judged")
    with pytest.raises(InputError, match="has changed while it was read"):
        done.run()
    assert not (done.folder / "out" / "judged").exists()


def test_names_in_a_manifest_stay_below_its_folder(done: World) -> None:
    manifest = done.folder / "out" / "unique" / "manifest.json"
    data = json.loads(manifest.read_text())
    del data["seal"]
    for name in ("/etc/hosts", "../seeds/manifest.json", ""):
        bad = {**data, "files": {**data["files"], name: "0" * 64}, "sizes": {**data["sizes"], name: 1}}
        manifest.write_text(json.dumps(bad))
        with pytest.raises(InputError, match="is no path below the folder"):
            api.read_run(done.folder / "out")


def test_rows_are_read_once_a_process_for_their_digest(done: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from toolkit.common import reading

    folder = api.read_run(done.folder / "out")["unique"]
    digested: list[int] = []
    real = reading.digest_open
    monkeypatch.setattr(reading, "digest_open", lambda fd, *a: digested.append(fd) or real(fd, *a))  # type: ignore[func-returns-value]
    reading._known.clear()
    path = folder.path / "rows/rows.parquet"
    data = path.read_bytes()
    while pl.concat(folder.blocks()).height and len(digested) < 20 and not reading._known:
        pass  # one that was written just now is digested each time, until its time is older than a tick
    n = len(digested)
    list(folder.blocks())
    assert len(digested) == n
    path.write_bytes(data)
    list(folder.blocks())
    assert len(digested) == n + 1


def test_what_a_file_browser_leaves_costs_no_step_and_stops_no_run(done: World) -> None:
    run = done.folder / "out"
    folders = [p for p in run.rglob("*") if p.is_dir()]
    for folder in folders:
        (folder / ".DS_Store").write_bytes(b"\0")
    assert read_all(run) == {}
    assert done.run().built == []
    assert "model" in done.run(force=True).built
    assert not list(run.rglob("*/.DS_Store"))


def test_verify_tells_the_steps_of_a_run_that_are_not_there(done: World) -> None:
    run = done.folder / "out"
    assert api.verify(run)["missing"] == []
    shutil.rmtree(run / "model")
    found = api.verify(run)
    assert found["missing"] == ["model"] and not any(name.startswith("model/") for name in found["files"])


@pytest.mark.parametrize("damage", [flip, cut])
def test_the_recipe_that_a_run_keeps_is_checked(done: World, damage: Callable[[Path, Path], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """A shorter recipe would make `clean` remove steps, and `list` and `verify` miss none."""
    run = done.folder / "out"
    monkeypatch.setenv("GUARDKIT_WORKSPACE", str(done.folder))
    damage(run / "recipe.yaml", run)
    for verb in (lambda: summarise(run), lambda: api.verify(run), lambda: api.clean_run(run), lambda: api.diff(run, run)):
        with pytest.raises(InputError, match=r"recipe.yaml"):
            verb()
    (line,) = api.list_runs()
    assert "recipe.yaml" in line["problem"]
    assert done.run().built == []
    assert api.verify(run)["missing"] == [] and api.list_runs()[0]["problem"] is None


def test_the_recipe_of_a_run_of_before_is_read(done: World) -> None:
    path = done.folder / "out" / "recipe.yaml"
    first, _, rest = path.read_text().partition("\n")
    assert first.startswith("# sha256 of what follows: ")
    path.write_text(rest)
    assert api.verify(done.folder / "out")["missing"] == []
