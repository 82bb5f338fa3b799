"""Interrupt, SIGTERM, a full disk: exit code 3, no half-written step, and the next run completes."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from world import World, command, environment, steps_of

from toolkit.common.errors import Stopped
from toolkit.common.interrupts import raise_swallowed
from toolkit.pipeline import stopping

STEPS: list[dict[str, Any]] = [{"id": "clean", "use": "normalise"}, {"id": "asked", "use": "ask_many"}, {"id": "unique", "use": "deduplicate"}]


@pytest.fixture
def undisturbed(world: World) -> dict[str, dict[str, str]]:
    other = World(world.folder.parent / "undisturbed")
    for one in (other, world):
        one.recipe(*STEPS)
    return steps_of(other.run().folder)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_keeps_all_progress(world: World, undisturbed: dict[str, dict[str, str]], name: str) -> None:
    world.script("pace", "0.1")
    process = subprocess.Popen(
        command("run", "recipe.yaml", "--output", "out"), env=environment(), cwd=world.folder, stderr=subprocess.PIPE, text=True
    )
    while sum(world.calls().values()) < 20:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(getattr(signal, name))
    printed = process.communicate(timeout=30)[1]
    assert process.returncode == 3, printed
    assert "interrupted" in printed and "kept" in printed and (name == "SIGINT" or name in printed) and "Traceback" not in printed
    assert set(steps_of(world.folder / "out")) == {"seeds", "clean"}, "no half-written step, no leftover"
    paid = world.calls()
    world.script("pace", "0")
    run = world.run()
    assert steps_of(run.folder) == undisturbed
    assert sum(world.calls().values()) <= 72 + 4, "what had been answered when the signal came is not asked again"
    assert len(paid) >= 20
    events = [json.loads(line)["event"] for line in (run.folder / "events.jsonl").read_text().splitlines()]
    assert events.count("stopped") == 1 and events[-1] == "done"


def test_a_signal_that_the_user_has_set_aside_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, signal.SIG_IGN)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_an_interrupt_inside_a_query_is_no_fault_of_the_row(world: World) -> None:
    world.recipe({"id": "noise", "use": "loud"})
    script = (
        "import os, signal, sys\nimport guardkit_stub as g\nfrom toolkit.operators import RowOperator\nimport polars as pl\n"
        "def hit(text):\n    os.kill(os.getpid(), signal.SIGINT)\n    return text\n"
        "def apply(self, rows, ctx):\n    return rows.with_columns(pl.col('prompt').map_elements(hit, return_dtype=pl.String).alias('loud'))\n"
        "g.Loud.apply = apply\nfrom toolkit.cli import main\nsys.argv = ['guardkit', 'run', 'recipe.yaml', '--output', 'out']\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], env=environment(), cwd=world.folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 3, done.stderr
    assert set(steps_of(world.folder / "out")) == {"seeds"}


LIMITED = """
import resource, sys
from toolkit.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
main()
"""


@pytest.mark.parametrize("limit", [200, 4_000, 9_000, 20_000])
def test_a_file_that_may_not_grow_stops_the_run(world: World, limit: int) -> None:
    """As a full disk does, at other places: the recipe that is kept, a step's rows, an artefact, the journal."""
    world.recipe(
        {"id": "unique", "use": "deduplicate"}, {"id": "asked", "use": "ask_many"}, {"id": "noise", "use": "loud"}, {"id": "model", "use": "fit"}
    )
    arguments = [sys.executable, "-c", LIMITED, str(limit), "run", "recipe.yaml", "--output", "out"]
    done = subprocess.run(arguments, env=environment(), cwd=world.folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 3 and "Traceback" not in done.stderr, done.stderr
    whole = steps_of(world.folder / "out")
    assert "model" not in whole
    run = world.run()
    assert set(run.reused) == set(whole) and set(steps_of(run.folder)) == {"seeds", "unique", "asked", "noise", "model"}
    assert max(world.calls().values()) <= 2


def test_a_disk_that_is_full(world: World, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("needs the right to mount a small disk")
    request.addfinalizer(lambda: subprocess.run(["umount", str(disk)], check=True))
    world.recipe({"id": "noise", "use": "loud"}, {"id": "unique", "use": "deduplicate"}, {"id": "model", "use": "fit"})
    (disk / "ballast").write_bytes(b"x" * 30_000)
    done = world.cli("run", "recipe.yaml", "--output", str(disk / "out"))
    assert done.returncode == 3 and "disk is full" in done.stderr and "make room" in done.stderr, done.stderr
    assert not list((disk / "out").glob(".*.guardkit")), "what was half-written gives its room back"
    steps_of(disk / "out")
    (disk / "ballast").unlink()
    subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
    assert world.cli("run", "recipe.yaml", "--output", str(disk / "out")).returncode == 0
    assert set(steps_of(disk / "out")) == {"seeds", "noise", "unique", "model"}


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0: No space left on device"),
        ValueError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_in_any_librarys_words(error: Exception) -> None:
    wrapped = RuntimeError("could not save the model")
    wrapped.__cause__ = error
    with pytest.raises(Stopped, match="disk is full"), stopping():
        raise wrapped


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(OSError, match="Operation not permitted"), stopping():
        raise OSError(1, "Operation not permitted")
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_an_interrupt_that_a_library_swallows_stops_before_the_next_piece_of_work() -> None:
    def load_and_go_on() -> None:
        with stopping():
            with suppress(BaseException):  # as some modules do while they are imported
                signal.raise_signal(signal.SIGINT)
            raise_swallowed()

    with pytest.raises(Stopped, match="interrupted"):
        load_and_go_on()
    raise_swallowed()  # it is dealt with
