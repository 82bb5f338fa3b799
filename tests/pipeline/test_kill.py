"""kill -9 at any moment: whatever was cut short, the next run comes to the very bytes of an undisturbed one and pays for nothing twice."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from world import World, environment, steps_of

DRIVER = Path(__file__).parent / "driver.py"
IN_FLIGHT = 4 + 64
"""What the stub has in flight, and the answers that wait for one commit of the journal."""

STEPS: list[dict[str, Any]] = [
    {"id": "clean", "use": "normalise"},
    {"id": "parts", "use": "split"},
    {"id": "unique", "use": "deduplicate"},
    {"id": "asked", "use": "ask_many"},
    {"id": "noise", "use": "loud", "with": {"reject": "number 1"}},
    {"id": "model", "use": "fit"},
]
ORDER = ["seeds", "clean", "parts", "unique", "asked", "noise", "model"]


@pytest.fixture
def undisturbed(world: World) -> dict[str, dict[str, str]]:
    """What the recipe comes to when nothing happens, in a world of its own."""
    other = World(world.folder.parent / "undisturbed")
    for one in (other, world):
        one.recipe(*STEPS)
    return steps_of(other.run().folder)


def die(world: World, moment: str, step: str) -> None:
    done = subprocess.run([sys.executable, str(DRIVER), str(world.folder), moment, step], env=environment(), capture_output=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def recover(world: World, undisturbed: dict[str, dict[str, str]]) -> list[str]:
    """Run again, compare every byte; ids of the steps that were whole."""
    run = world.run()
    assert steps_of(run.folder) == undisturbed
    assert not [p for p in run.folder.iterdir() if p.name.startswith(".") and p.name != ".guardkit.lock"]
    again = world.calls()
    assert len(again) == 72 and sum(again.values()) <= 72 + IN_FLIGHT and max(again.values()) <= 2
    for line in (run.folder / "events.jsonl").read_text().splitlines()[-5:]:
        json.loads(line)
    return run.reused


@pytest.mark.parametrize(
    ("moment", "step"),
    [
        ("claim", "-"),
        ("write", "seeds"),
        ("write", "unique"),
        ("write", "asked"),
        ("manifest", "clean"),
        ("rename", "unique"),
        ("renamed", "noise"),
        ("log", "unique"),
        ("commit", "asked"),
    ],
)
def test_killed_at_a_moment(world: World, undisturbed: dict[str, dict[str, str]], moment: str, step: str) -> None:
    die(world, moment, step)
    whole = ORDER[: ORDER.index(step) + (moment in ("renamed", "log"))] if step in ORDER else []
    assert recover(world, undisturbed) == whole
    if moment in ("rename", "write") and step != "asked":
        assert set(world.calls().values()) == {1}


@pytest.mark.parametrize("moment", ["write", "rename", "moved", "renamed"])
def test_killed_while_a_step_is_replaced(world: World, undisturbed: dict[str, dict[str, str]], moment: str) -> None:
    world.run("seeds.limit=7")
    die(world, moment, "unique")
    recover(world, undisturbed)


def test_killed_again_and_again(world: World, undisturbed: dict[str, dict[str, str]]) -> None:
    """Each time the run gets a little further; at the end all is as if nothing had been."""
    for moment, step in [("claim", "-"), ("manifest", "seeds"), ("rename", "clean"), ("commit", "asked"), ("write", "asked"), ("rename", "asked")]:
        die(world, moment, step)
    assert recover(world, undisturbed) == ["seeds", "clean", "parts", "unique"]


@pytest.mark.parametrize("number", range(10))
def test_killed_at_random(world: World, undisturbed: dict[str, dict[str, str]], number: int) -> None:
    world.script("pace", "0.004")
    process = subprocess.Popen([sys.executable, str(DRIVER), str(world.folder), "ready", "-"], env=environment(), stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(random.Random(number).uniform(0.0, 0.7))
    process.kill()
    process.wait()
    process.stdout.close()
    recover(world, undisturbed)
