"""Another package brings a backend, operators with figures, a kind of shards, a section of the card and an exporter, and no file of ours is edited."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "cli"))
from commands import CHECKOUT, Result, guardkit  # noqa: E402

ENTRIES = """
[guardkit.backends]
echo = guardkit_more:EchoConfig
misnamed = guardkit_more:EchoConfig
parrot = guardkit_more:ParrotConfig
[guardkit.operators]
repeat = guardkit_more:Repeat
rate = guardkit_more:Rate
clumsy = guardkit_more:Clumsy
[guardkit.shard_kinds]
rated = guardkit_more:RATED
[guardkit.card_sections]
ratings = guardkit_more:ratings
[guardkit.exporters]
stars = guardkit_more:Stars
[guardkit.trainers]
count = guardkit_more:COUNT
"""
BACKEND = {"backend": "echo", "model": "small", "price": {"input": 1000, "output": 2000}}


class World:
    """A working folder, and the package as pip would have installed it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.site = folder / "work", folder / "site"
        self.folder.mkdir()
        info = self.site / "guardkit_more-1.0.dist-info"
        info.mkdir(parents=True)
        shutil.copy(HERE / "other_package" / "guardkit_more.py", self.site)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: guardkit-more\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(ENTRIES)
        self.installed = True

    def __call__(self, *args: object) -> Result:
        """A command of guardkit."""
        path = f"{CHECKOUT}:{self.site}" if self.installed else str(CHECKOUT)
        return guardkit(*args, cwd=self.folder, PYTHONPATH=path)

    def recipe(self, backend: dict[str, Any] | None = None, rate: str = "rate", **options: Any) -> str:
        """The file of a recipe that uses all of it."""
        steps = [
            {"id": "seeds", "use": "load", "with": {"source": "quickstart", "limit": 1}},
            {"id": "again", "use": "repeat", "with": {"backend": BACKEND if backend is None else backend}},
            {"id": "rated", "use": rate, "with": options},
            {"id": "shards", "use": "shards", "with": {"kind": "rated", "sections": ["ratings"]}},
        ]
        (self.folder / "r.yaml").write_text(yaml.safe_dump({"recipe": "r", "steps": steps}, sort_keys=False))
        return "r.yaml"

    @property
    def calls(self) -> int:
        """Requests that were asked so far."""
        log = self.folder / "calls.log"
        return len(log.read_text().splitlines()) if log.exists() else 0


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_recipe_runs_with_all_that_another_package_brings(world: World) -> None:
    recipe = world.recipe()
    sends = world("check", recipe, "--json").json["sends"]
    assert [(s["url"], s["model"], s["columns"]) for s in sends] == [("https://echo.example", "small", ["prompt"])]
    done = world("run", recipe, "--budget", "100")
    assert done.code == 0, done.err
    rows = world.calls
    assert rows >= 4 and "answers by how they begin (again)" in done.out and "Said again (at last again)" in done.out

    found = world("runs", "status", "outputs/r", "--json").json
    shown = {f["name"]: f for f in found["figures"]}
    assert shown["tones"]["value"] == {"plainly": rows} and shown["tones"]["step"] == "again"
    assert (shown["spoken"]["step"], shown["spoken"]["value"]) == (None, rows)
    assert shown["spoken"]["shown"][0]["rows"] == [["prompts", rows]]
    (asked,) = found["generations"]
    tokens = asked["prompt_tokens"], asked["completion_tokens"]
    assert asked["cost"] == pytest.approx((tokens[0] * 1000 + tokens[1] * 2000) / 1e6) and asked["cost"], "a price that its config states is counted"

    shards = world.folder / "outputs" / "r" / "shards" / "shards"
    manifest = json.loads((shards / "manifest.json").read_text())
    assert (manifest["kind"], manifest["sections"], manifest["rows"]) == ("rated", ["ratings"], rows)
    card = (shards / "README.md").read_text()
    assert "## Ratings" in card and card.index("## Ratings") < card.index("## Intended use")
    assert world("verify", shards).code == 0

    exported = world("export", shards, "--format", "stars", "--output", "out")
    assert exported.code == 0, exported.err
    assert "plain text" not in exported.out, "the note on guardkit's own formats is not given for another's"
    lines = [json.loads(line) for line in (world.folder / "out" / "train.jsonl").read_text().splitlines()]
    assert len(lines) == rows and {line["stars"] for line in lines} == {"***"} and lines[0]["completion"].startswith("plainly: ")
    assert world("verify", "out").code == 0
    refused = world("export", shards, "--format", "openai", "--output", "no")
    assert refused.code == 2 and "has no place for rated answers" in refused.err


def test_a_trainer_of_another_package_is_a_verb(world: World) -> None:
    assert world("run", world.recipe()).code == 0
    (world.folder / "t.yaml").write_text("shards: outputs/r/shards/shards\noutput: made\nseed: 3\n")
    result = world("train", "count", "t.yaml", "--json")
    assert result.code == 0, result.err
    assert result.json == {"rows": world.calls, "seed": 3, "output": "made"} and (world.folder / "made" / "config.json").is_file()
    assert "seed 3, way by hand" in result.err, "its own settings are shown, whatever they are called"
    again = world("train", "count", "t.yaml")
    assert again.code == 2 and "made: a trained model is there" in again.err
    assert world("train", "count", "t.yaml", "--overwrite").code == 0, "what it wrote is a model that guardkit trained"
    (world.folder / "made" / "mine.txt").write_text("mine")
    assert world("train", "count", "t.yaml", "--overwrite").code == 2 and (world.folder / "made" / "mine.txt").is_file()
    shutil.rmtree(world.folder / "made")
    assert "count" in world("train", "--help").out
    (world.folder / "t.yaml").write_text("shards: outputs/r/shards/shards\noutput: made\nsed: 3\n")
    assert "t.yaml:3:sed: unknown key 'sed'\n  did you mean 'seed'" in world("train", "count", "t.yaml").err
    world.installed = False
    assert world("train", "count", "t.yaml").code == 2


def test_a_hosted_backend_of_another_package_costs_what_nobody_knows(world: World) -> None:
    """A budget is a cap: what states no price is refused before anything is asked, not taken for free."""
    recipe = world.recipe({"backend": "echo", "model": "small"})
    for command in (["run", recipe, "--budget", "5"], ["plan", recipe, "--budget", "5"]):
        result = world(*command)
        assert result.code == 2 and "a budget needs a price, and none is known for the model 'small' at https://echo.example" in result.err
    assert world.calls == 0
    assert world("plan", recipe, "--json").json["steps"][1]["models"][0]["dollars"] is None
    assert world("run", recipe).code == 0 and world.calls >= 4


def test_what_shapes_an_answer_rebuilds_and_what_does_not_asks_nothing_again(world: World) -> None:
    assert world("run", world.recipe()).code == 0
    rows = world.calls
    again = world("run", world.recipe({**BACKEND, "pause": 0.001}), "--json").json
    assert again["built"] == [] and world.calls == rows
    other = world("run", world.recipe({**BACKEND, "tone": "loudly"}), "--json").json
    assert "again" in other["built"] and world.calls == 2 * rows
    assert other["figures"][0]["value"] == {"loudly": rows}


def test_faults_name_the_place_and_the_nearest_as_everywhere(world: World) -> None:
    result = world("check", world.recipe({**BACKEND, "tune": "x", "temperature": -1}))
    assert "r.yaml:17:steps.1.with.backend.tune: unknown key 'tune'\n  did you mean 'tone'" in result.err
    assert "r.yaml:18:steps.1.with.backend.temperature" in result.err
    result = world("check", world.recipe({"backend": "ecko", "model": "m"}))
    assert "does not match any of the expected tags" in result.err and "'echo'" in result.err
    result = world("check", world.recipe({"backend": "misnamed", "model": "m"}))
    assert result.code == 2 and "'misnamed' of guardkit-more is no backend" in result.err
    result = world("run", world.recipe(rating=6))
    assert result.code == 2 and "a rating that is not from 1 to 5" in result.err


def test_a_backend_that_runs_here_runs_a_guard_that_an_earlier_step_trained(world: World) -> None:
    samples: dict[str, Any] = {"k": 1, "backend": {"backend": "parrot", "feathers": 2}}
    steps = [
        {"id": "seeds", "use": "load", "with": {"source": "quickstart", "limit": 1}},
        {"id": "reasoned", "use": "synthesise", "with": {"backend": {"backend": "template"}}},
        {"id": "rendered", "use": "render_sft"},
        {"id": "shards", "use": "shards"},
        {"id": "guard", "use": "train_sft", "with": {"model": {"scratch": {}}, "trainer": {}}},
        {"id": "samples", "use": "sample", "from": {"rows": "seeds", "mine": "guard"}, "with": samples},
    ]

    def found() -> Result:
        (world.folder / "r.yaml").write_text(yaml.safe_dump({"recipe": "r", "steps": steps}, sort_keys=False))
        return world("explain", "r.yaml")

    assert "backend.feathers: 2" in found().out
    samples["backend"]["model"] = "my-guard"
    assert "takes no model here: it is that of the step named in `from`" in found().err
    samples["backend"] = {"backend": "echo"}
    assert found().code == 2, "a hosted one runs no folder"


def test_its_options_are_described_and_in_the_schema_of_recipes(world: World) -> None:
    (found,) = world("operators", "repeat", "--json").json
    assert [f["name"] for f in found["figures"]] == ["tones", "spoken"] and "echo" in found["options"][0]["type"]
    schema = json.dumps(world("schema").json)
    assert "repeat.EchoConfig" in schema and "synthesise.EchoConfig" in schema
    (world.folder / "p.jsonl").write_text('{"id": "1", "user": "Good morning."}\n')
    asked = world("generate", "--backend", "echo", "--model", "small", "--input", "p.jsonl", "--output", "a.jsonl", "--price", "1,1")
    assert asked.code == 0, asked.err
    assert json.loads((world.folder / "a.jsonl").read_text())["content"] == "plainly: Good morning."


def test_without_the_package_what_it_made_is_still_read_and_what_cannot_be_known_is_reported(world: World) -> None:
    assert world("run", world.recipe(rate="clumsy")).code == 0
    found = world("runs", "status", "outputs/r", "--json").json
    assert any("the figure 'broken' of 'rated' cannot be made: KeyError" in n for n in found["notes"])
    assert {f["name"]: f["value"] for f in found["figures"]}["fine"] == found["steps"][2]["kept"], "the others are shown"
    shards = "outputs/r/shards/shards"
    assert world("export", shards, "--format", "stars", "--output", "out").code == 0
    world.installed = False
    found = world("runs", "status", "outputs/r", "--json").json
    assert [s["kept"] for s in found["steps"]][:2] == [found["steps"][0]["kept"]] * 2
    assert any("what the operator of 'again' shows is left out: unknown operator 'repeat'" in n for n in found["notes"])
    assert {"kind", "sections"} <= set(world("verify", shards, "--json").json["unproven"])
    result = world("export", shards, "--format", "trl", "--output", "more")
    assert result.code == 2 and "unknown kind of shards 'rated'" in result.err
    result = world("verify", "out")
    assert result.code == 2 and "unknown format 'stars'" in result.err
