"""A teacher that is of no use is found out after some rows; a real server, a real journal."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from world import World, seed

import toolkit
from toolkit.common.errors import InputErrors, Missing, TooManyFailures
from toolkit.generation import Journal
from toolkit.guards import Reasoning, load_guard, render_output

sys.path.insert(0, str(Path(__file__).parents[1] / "generation"))  # its small server
from batch_server import BatchServer
from batch_server import running as serving
from server import Server, chat, running

GUARD = load_guard("guardreasoner")
MILD: dict[str, str | None] = {"prompt": "unharmful", "refusal": "compliance", "response": "unharmful"}
GOOD = render_output(GUARD, {t: Reasoning(["It is about a garden."], f"The answer is {v}.") for t, v in MILD.items()}, MILD)


class Teacher(Server):
    """Takes its time over the first row, where it is `slow`."""

    slow = 0.0

    async def chat(self, http: web.Request) -> web.StreamResponse:
        if self.slow and number(await http.text()) == 0:
            await asyncio.sleep(self.slow)
        return await super().chat(http)


def number(text: str) -> int:
    """Which seed a request is about."""
    found = re.search(r"Question number (\d+)", text)
    return int(found[1]) if found else 0


@pytest.fixture
def teacher() -> Iterator[Teacher]:
    server = Teacher(latency=0.05)
    with running(server):
        yield server


def says(text: str) -> Any:
    return lambda last, body: (200, {}, chat(text))


def recipe(world: World, teacher: Teacher, rows: int, *more: dict[str, Any], concurrency: int = 256, **options: Any) -> str:
    world.seeds([seed(i) for i in range(rows)])
    backend = {"backend": "openai", "model": "m", "base_url": teacher.base_url, "concurrency": concurrency, "retries": 0}
    steps = [{"id": "reasoning", "use": "synthesise", "with": {"backend": backend, **options}}, *(more or [{"id": "valid", "use": "validate"}])]
    return str(world.recipe(*steps))


def run(world: World, **options: Any) -> Any:
    return toolkit.run(world.folder / "recipe.yaml", output=world.folder / "runs" / "out", **options)


def kept(world: World) -> int:
    with Journal(world.folder / "runs" / "journal", readonly=True) as journal:
        return sum(1 for _ in journal.records())


def test_answers_that_validation_would_reject_are_found_out_while_256_are_in_flight(world: World, teacher: Teacher) -> None:
    teacher.script = says("I cannot help with that.")
    recipe(world, teacher, 3000)
    with pytest.raises(Missing) as raised:
        run(world)
    assert "step 'reasoning' stops: 100% of its first 200 rows" in str(raised.value) and "valid: " in str(raised.value)
    assert "stop_if=null" in str(raised.value) and raised.value.exit_code == 4
    asked = len(teacher.requests)
    assert 200 <= asked <= 200 + (200 + 4 * 256), "and not 3,000"
    assert kept(world) == asked, "whatever was asked is in the journal"
    assert not (world.folder / "runs" / "out" / "reasoning").exists()

    with pytest.raises(Missing):
        run(world)
    assert len(teacher.requests) == asked, "found out again from what is there, without a call"

    run(world, overrides="reasoning.stop_if=null", until="reasoning")
    assert len(teacher.requests) == 3000, "what was there is not asked again"


def test_a_good_teacher_is_not_slowed_or_stopped_and_the_rows_are_the_same(world: World, teacher: Teacher) -> None:
    teacher.script = says(GOOD)
    recipe(world, teacher, 900)
    done = run(world)
    assert done.summary["steps"][-1]["kept"] == 900 and len(teacher.requests) == 900
    assert teacher.most_in_flight > 64
    other = toolkit.run(world.folder / "recipe.yaml", output=world.folder / "runs" / "other", overrides="reasoning.stop_if=null")
    assert (other.folder / "valid" / "manifest.json").read_bytes() == (done.folder / "valid" / "manifest.json").read_bytes()
    assert (other.folder / "reasoning" / "manifest.json").read_bytes() == (done.folder / "reasoning" / "manifest.json").read_bytes()


@pytest.mark.parametrize(
    ("bad", "rejected", "stops"),
    [(2, 0.4, True), (2, 0.6, False), (1, 0.9, True)],
)
def test_the_share_decides(world: World, teacher: Teacher, bad: int, rejected: float, stops: bool) -> None:
    teacher.script = lambda last, body: (200, {}, chat(GOOD if number(last) % bad else "I cannot."))
    recipe(world, teacher, 120, concurrency=8, stop_if={"rejected": rejected, "after": 40})
    if stops:
        with pytest.raises(Missing, match="of its first 40 rows"):
            run(world)
        assert len(teacher.requests) < 120
    else:
        assert run(world).summary["steps"][-1]["kept"] == 60


def test_failures_of_the_endpoint_and_rejects_of_the_operator_count_with_their_words(world: World, teacher: Teacher) -> None:
    def script(last: str, body: Any) -> Any:
        n = number(last)
        return (500, {}, {"error": {"message": "the plants are asleep"}}) if n % 4 else (200, {}, chat("no"))

    teacher.script = script
    recipe(world, teacher, 200, concurrency=4, stop_if={"after": 20}, attempts=2)
    with pytest.raises(Missing) as raised:
        run(world)
    assert "server_error" in str(raised.value) and "the plants are asleep" in str(raised.value)
    assert len(teacher.requests) < 120


def test_a_teacher_that_turns_bad_later_is_found_out_later(world: World, teacher: Teacher) -> None:
    seen: list[str] = []

    def script(last: str, body: Any) -> Any:
        seen.append(last)
        return 200, {}, chat(GOOD if len(seen) <= 60 else "I cannot.")

    teacher.script = script
    recipe(world, teacher, 600, concurrency=4, stop_if={"rejected": 0.3, "after": 20})
    with pytest.raises(Missing, match="of its first 160 rows"):
        run(world)


def test_a_slow_first_row_does_not_hold_the_finding_off_for_thousands(world: World, teacher: Teacher) -> None:
    teacher.script, teacher.slow = says("I cannot."), 2.0
    recipe(world, teacher, 2000, concurrency=16, stop_if={"after": 20})
    with pytest.raises(Missing):
        run(world)
    assert len(teacher.requests) <= 4 * (20 + 16) + 16


def test_rows_between_are_taken_through_and_a_step_that_does_not_run_is_not_tried(world: World, teacher: Teacher) -> None:
    teacher.script = says("I cannot help with that.")
    between = [{"id": "loud", "use": "loud"}, {"id": "valid", "use": "validate"}]
    recipe(world, teacher, 80, *between, concurrency=4, stop_if={"after": 20})
    with pytest.raises(Missing, match="valid: "):
        run(world)
    assert run(world, until="loud").summary["steps"][1]["kept"] == 80


def test_the_command_says_it_with_exit_code_4(world: World, teacher: Teacher) -> None:
    teacher.script = says("Useless words.")
    recipe(world, teacher, 60, concurrency=4, stop_if={"after": 20})
    done = world.cli("run", "recipe.yaml", "--output", "runs/out", "--json")
    assert done.returncode == 4 and json.loads(done.stdout)["exit_code"] == 4
    assert "stops: 100% of its first 20 rows" in done.stderr and "Traceback" not in done.stderr
    assert "valid: no_answers_block 20\n" in done.stderr, "a reason's name is not its own example"


@pytest.mark.parametrize(("allowed", "code"), [(0.4, 1), (0.5, 0)])
def test_rejects_of_validation_may_count_as_failures(world: World, teacher: Teacher, allowed: float, code: int) -> None:
    teacher.script = lambda last, body: (200, {}, chat(GOOD if number(last) % 2 else "I cannot."))
    recipe(world, teacher, 20, concurrency=4)
    path = world.folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"failures": {"validation": allowed}}, sort_keys=False))
    if code:
        with pytest.raises(TooManyFailures, match=r"10 of 20 rows in step 'valid' were rejected; the recipe allows 40.0%") as raised:
            run(world)
        assert raised.value.exit_code == 1 and "asks again" not in str(raised.value)
    else:
        assert run(world).failed is None


@pytest.mark.parametrize("value", [2, "many", {"validaton": 0.1}, {"validation": 7}])
def test_a_wrong_share_is_reported_at_its_place(world: World, value: Any) -> None:
    world.recipe({"id": "loud", "use": "loud"}, failures=value)
    with pytest.raises(InputErrors, match=r"recipe.yaml:\d+:failures"):
        world.plan()


def test_batches_begin_with_one_of_the_rows_that_are_looked_at(world: World) -> None:
    server = BatchServer()
    with serving(server):
        backend = {"backend": "openai-batch", "model": "m", "base_url": server.base_url, "poll": 0.003}
        world.seeds([seed(i) for i in range(60)])
        world.recipe(
            {"id": "reasoning", "use": "synthesise", "with": {"backend": backend, "stop_if": {"after": 20}}}, {"id": "valid", "use": "validate"}
        )
        with pytest.raises(Missing, match="of its first 20 rows"):
            run(world)
        assert server.sizes() == [20] and kept(world) == 20
        run(world, overrides="reasoning.stop_if=null", until="reasoning")
        assert sorted(server.sizes()) == [20, 40]


def test_a_guard_that_fails_is_found_out_where_sample_is_asked_to(world: World, teacher: Teacher) -> None:
    bad: Any = (500, {}, {"error": {"message": "the plants are asleep"}})
    teacher.script = lambda last, body: bad if number(last) % 4 else (200, {}, chat("Request: harmful"))
    world.seeds([seed(i) for i in range(100)])
    backend = {"backend": "openai", "model": "m", "base_url": teacher.base_url, "concurrency": 4, "retries": 0, "temperature": 1.0}
    world.recipe({"id": "draws", "use": "sample", "with": {"k": 2, "models": {"main": backend}, "stop_if": {"after": 20}}})
    with pytest.raises(Missing, match=r"rows come to nothing.*the plants are asleep"):
        run(world)
    assert len(teacher.requests) < 100
