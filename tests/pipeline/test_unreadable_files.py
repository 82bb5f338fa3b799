"""Files of a run that cannot be read, whatever is wrong with them, are a clear error in every verb: never a traceback, never gigabytes, never a hang."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from world import World

from toolkit import api
from toolkit.common import manifests
from toolkit.common.errors import GuardkitError, InputError, Stopped
from toolkit.pipeline import stopping
from toolkit.report import summarise

STEPS: list[dict[str, Any]] = [
    {"id": "unique", "use": "deduplicate"},
    {"id": "told", "use": "synthesise", "with": {"backend": {"backend": "template"}}},
    {"id": "sound", "use": "validate"},
    {"id": "aside", "use": "fit", "from": "sound"},
    {"id": "rows", "use": "render_sft", "from": "sound"},
    {"id": "shards", "use": "shards"},
]


def text(words: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.unlink()
        path.write_text(words)

    return write


def raw(data: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.unlink()
        path.write_bytes(data)

    return write


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def failing_disk(path: Path) -> None:
    """A regular file, whose first byte no one can read: EIO."""
    path.unlink()
    path.symlink_to("/proc/self/mem")


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def huge(path: Path) -> None:
    with path.open("r+b") as f:
        f.truncate(manifests.MOST + 1)


def typed(value: Any) -> Callable[[Path], None]:
    """Every value at the top of a JSON object is another type's."""

    def write(path: Path) -> None:
        try:
            data = json.loads(path.read_text())
        except ValueError:
            data = {}
        text(json.dumps({k: v if k in ("format", "made_by") else value for k, v in data.items() if k != "seal"}))(path)

    return write


DAMAGES: dict[str, Callable[[Path], None]] = {
    "empty": text(""),
    "not JSON": text("{"),
    "not UTF-8": raw(b'{"a": "\xff"}'),
    "list": text("[1, 2]"),
    "number": text("1" * 5_000),
    "deep": text("[" * 100_000),
    "deep object": text('{"a":' * 500 + "1" + "}" * 500),
    "twice": text('{"recipe": "tiny", "recipe": "tiny"}'),
    "huge": huge,
    "texts": typed("x"),
    "nulls": typed(None),
    "numbers": typed(10**30),
    "folder": folder,
    "pipe": pipe,
    "failing disk": failing_disk,
    "loop": loop,
}
FILES = [
    "run.json",
    "recipe.yaml",
    "events.jsonl",
    "unique/manifest.json",
    "shards/manifest.json",
    "shards/shards/manifest.json",
    "sound/rows/rows.parquet",
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> World:
    from world import PLUGIN

    with pytest.MonkeyPatch.context() as m:
        m.syspath_prepend(str(PLUGIN))
        world = World(tmp_path_factory.mktemp("world") / "w")
        world.recipe(*STEPS)
        world.run(output="sound/out")
    return world


FIRST, CHANGE = "plan", ("clean", "run")
"""The verbs that change a run come last, each on a copy of its own."""


def verbs(world: World, run: Path) -> dict[str, Callable[[], Any]]:
    sound = world.folder / "sound" / "out"
    return {
        "plan": lambda: api.plan(world.folder / "recipe.yaml", output=run),
        "list": api.list_runs,
        "status": lambda: summarise(run),
        "diff": lambda: api.diff(run, sound, step="unique"),
        "diff the other way": lambda: api.diff(sound, run),
        "diff of shards": lambda: api.diff(run / "shards/shards", sound / "shards/shards"),
        "rejects": lambda: api.rejects(run, "unique"),
        "read_run": lambda: [list(s.blocks()) for s in api.read_run(run).values() if s.rows],
        "verify": lambda: api.verify(run),
        "verify shards": lambda: api.verify(run / "shards" / "shards"),
        "export": lambda: api.export(run / "shards", "trl", output=run.parent / "exported"),
        "overlaps": lambda: api.overlaps(rows={"a": run / "unique"}),
        "clean": lambda: api.clean_run(run),
        "run": lambda: world.run(output=str(run)),
    }


@pytest.mark.parametrize("name", FILES)
def test_every_verb_says_what_is_wrong(finished: World, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from world import PLUGIN

    monkeypatch.syspath_prepend(str(PLUGIN))
    monkeypatch.setenv("GUARDKIT_WORKSPACE", str(finished.folder / "damaged"))
    monkeypatch.setattr(manifests, "MOST", 1 << 20)
    for kind, damage in DAMAGES.items():
        refused = []
        for verb in verbs(finished, Path()):
            run = finished.folder / "damaged" / "out"
            if verb == FIRST or verb in CHANGE:
                shutil.rmtree(run.parent, ignore_errors=True)
                shutil.copytree(finished.folder / "sound", run.parent)
                damage(run / name)
            try:
                verbs(finished, run)[verb]()
            except GuardkitError as e:
                refused.append(verb)
                nowhere = e.exit_code not in (2, 3) or not {w for w in (str(run), "'unique'") if w in str(e)}
            except Exception as e:
                raise AssertionError(f"{name}, {kind}: {verb}") from e
            else:
                nowhere = False
            assert not nowhere, (kind, verb)
        if name.endswith(".parquet"):
            assert {"status", "read_run", "verify"} <= set(refused), (kind, refused)
        elif name == "unique/manifest.json":
            assert {"status", "diff", "rejects", "verify", "read_run"} <= set(refused), (kind, refused)  # without it the folder may be anyone's


@pytest.mark.parametrize("kind", ["folder", "failing disk", "not UTF-8", "loop", "deep"])
def test_predictions_that_cannot_be_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.jsonl"
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text("{}")
    DAMAGES[kind](path)
    with pytest.raises(InputError) as e:
        api.mine({"a": path, "b": tmp_path / "b.jsonl"}, output=tmp_path / "out")
    assert "a.jsonl" in str(e.value)


def test_a_disk_that_cannot_be_written_stops_a_run_with_its_progress_kept(tmp_path: Path) -> None:
    with pytest.raises(Stopped, match="cannot be written"), stopping(), open("/proc/self/mem", "wb", buffering=0) as f:  # noqa: PTH123
        f.write(b"x")
