"""What an earlier recipe made, and a failed run left behind, is nowhere taken for what the recipe makes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from world import World, steps_of

import toolkit
from toolkit.common.errors import GuardkitError, InputError

SHARDS = (
    {"id": "clean", "use": "normalise"},
    {"id": "reasoning", "use": "synthesise", "with": {"backend": {"backend": "template"}}},
    {"id": "valid", "use": "validate"},
    {"id": "rendered", "use": "render_sft"},
    {"id": "shards", "use": "shards"},
    {"id": "loud", "use": "loud", "from": "clean"},
)


def refusing(max_chars: int = 3000) -> tuple[dict[str, Any], ...]:
    """The recipe changed at its second step, and a step that ends the run right after it."""
    return ({**SHARDS[0], "with": {"max_chars": max_chars}}, {"id": "stop", "use": "untrue", "with": {"how": "refuse"}}, *SHARDS[1:])


def run(world: World, **options: Any) -> Any:
    return toolkit.run(world.folder / "recipe.yaml", output=world.folder / "out", **options)


@pytest.fixture
def failed(world: World) -> World:
    """A finished run whose recipe was changed, and then failed."""
    world.recipe(*SHARDS)
    assert run(world).failed is None
    world.recipe(*refusing())
    with pytest.raises(InputError, match=r"the wrong kind"):
        run(world)
    return world


def test_status_says_it_and_counts_nothing_of_it(failed: World) -> None:
    found = json.loads(failed.cli("runs", "status", "out", "--json").stdout)
    stated = {s["step"]: s["state"] for s in found["steps"]}
    assert stated["seeds"] == "built" and stated["stop"] == "not built" and stated["shards"] == stated["valid"] == "stale"
    assert found["reasoning_steps"] is None and found["generations"] == [] and "stale" in found["notes"][-1]
    shown = failed.cli("runs", "status", "out").stdout
    assert shown.count("stale") >= 3 and "run the recipe again" in shown


def test_verify_says_it(failed: World) -> None:
    found = toolkit.verify(failed.folder / "out")
    assert {"shards", "reasoning"} <= set(found.stale) and "seeds" not in found.stale
    assert toolkit.verify(failed.folder / "out" / "shards").stale == ["shards"]
    assert "Stale" in failed.cli("verify", "out").stdout


@pytest.mark.parametrize("below", ["shards", "shards/shards"])
def test_nothing_is_exported_signed_or_trained_from_it(failed: World, below: str) -> None:
    folder = failed.folder / "out" / below
    with pytest.raises(InputError, match=r"'shards' is stale.*\n.*run the recipe again"):
        toolkit.export(folder, "trl", output=failed.folder / "trl")
    with pytest.raises(InputError, match=r"stale"):
        toolkit.sign(folder, failed.folder / "no-key")
    with pytest.raises(InputError, match=r"stale"):
        toolkit.train("sft", {"shards": str(folder), "output": str(failed.folder / "guard"), "model": {"scratch": {}}})
    assert not (failed.folder / "trl").exists() and not (failed.folder / "guard").exists()
    shutil.copytree(failed.folder / "out" / "shards", failed.folder / "mine")
    assert toolkit.export(failed.folder / "mine", "trl", output=failed.folder / "trl")["export"]["rows"] == 24, "a copy is its owner's"


def test_diff_and_rejects_leave_it_out(failed: World) -> None:
    shutil.copytree(failed.folder / "out", failed.folder / "before")
    marks = json.loads((failed.folder / "before" / "run.json").read_text())
    (failed.folder / "before" / "run.json").write_text(json.dumps({k: v for k, v in marks.items() if k != "current"}))
    found = toolkit.diff(failed.folder / "before", failed.folder / "out")
    assert found["step"] != "shards" and "shards" in found["b"]["stale"] and found["a"]["stale"] == []
    with pytest.raises(InputError, match=r"'valid' is stale"):
        toolkit.diff(failed.folder / "before", failed.folder / "out", step="valid")
    with pytest.raises(InputError, match=r"'valid' is stale"):
        toolkit.rejects(failed.folder / "out", "valid")
    assert "stale, and left out" in failed.cli("diff", "before", "out").stdout


def test_a_run_made_before_this_was_noted_counts_as_current(failed: World) -> None:
    (failed.folder / "out" / "run.json").write_text('{"recipe": "tiny", "version": 1}')
    assert toolkit.verify(failed.folder / "out").stale == []
    assert toolkit.export(failed.folder / "out" / "shards", "trl", output=failed.folder / "trl")["export"]["rows"] == 24


def test_it_is_current_again_once_a_run_has_come_to_it(failed: World) -> None:
    failed.recipe(*SHARDS)
    done = run(failed)
    assert done.built == ["clean"], "nothing of the rest was removed"
    assert toolkit.verify(failed.folder / "out").stale == [] and {s["state"] for s in done.summary["steps"]} == {"built"}


def test_the_runs_of_a_workspace_count_it_apart(failed: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARDKIT_WORKSPACE", str(failed.folder))
    (line,) = toolkit.list_runs()
    assert (line["built"], line["stale"], line["steps"]) == (2, 5, 8)


def test_a_run_of_some_steps_leaves_what_it_does_not_concern(world: World) -> None:
    world.recipe(*SHARDS)
    run(world)
    run(world, until="clean")
    assert toolkit.verify(world.folder / "out").stale == [], "nothing has changed"

    world.recipe(*SHARDS[:5], {**SHARDS[5], "with": {"mark": "?"}})
    run(world, until="clean")
    assert toolkit.verify(world.folder / "out").stale == ["loud"], "its own options"

    world.recipe({**SHARDS[0], "with": {"max_chars": 3000}}, *SHARDS[1:])
    before = steps_of(world.folder / "out")
    run(world, until="clean")
    assert set(toolkit.verify(world.folder / "out").stale) == set(before) - {"seeds", "clean"}, "all that depends on what was built anew"
    run(world, from_="loud")
    assert "loud" not in toolkit.verify(world.folder / "out").stale and "shards" in toolkit.verify(world.folder / "out").stale
    run(world)
    assert toolkit.verify(world.folder / "out").stale == []


def test_a_run_that_is_refused_before_it_begins_changes_nothing(world: World) -> None:
    world.recipe(*SHARDS)
    run(world)
    far = {"backend": "openai", "model": "m", "base_url": "https://example.invalid/v1"}
    world.recipe(*SHARDS[:1], {"id": "far", "use": "generate", "with": {"backend": far, "user": "{{ prompt }}"}})
    with pytest.raises(GuardkitError):
        run(world)
    assert toolkit.verify(world.folder / "out").stale == []


def test_a_manifest_that_was_put_in_place_of_another_is_no_current_step(world: World) -> None:
    world.recipe(*SHARDS)
    run(world)
    first = Path(shutil.copytree(world.folder / "out" / "loud", world.folder / "kept"))
    world.recipe(*SHARDS[:5], {**SHARDS[5], "with": {"mark": "?"}})
    run(world)
    shutil.rmtree(world.folder / "out" / "loud")
    shutil.copytree(first, world.folder / "out" / "loud")
    assert toolkit.verify(world.folder / "out").stale == ["loud"]
