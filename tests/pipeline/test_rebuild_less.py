"""Each part of a guard, a taxonomy, a source, a recipe and an operator's options is changed in turn: exactly the right steps rebuild."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from world import PLUGIN, World

from toolkit.common.facets import Undeclared
from toolkit.common.resources import shipped
from toolkit.generation import TemplateConfig
from toolkit.guards import Guard
from toolkit.operators import operator_class
from toolkit.pipeline import run_plan
from toolkit.taxonomy import Taxonomy

STEPS: list[dict[str, Any]] = [
    {"id": "clean", "use": "normalise"},
    {"id": "unique", "use": "deduplicate"},
    {"id": "parts", "use": "split", "with": {"parts": {"train": 0.8, "test": 0.2}}},
    {"id": "reasoning", "use": "synthesise", "with": {"backend": {"backend": "template"}}},
    {"id": "valid", "use": "validate"},
    {"id": "train-rows", "use": "select", "with": {"where": {"split": "train"}}},
    {"id": "sft-rows", "use": "render_sft"},
    {"id": "sft", "use": "shards"},
    {"id": "guard", "use": "drill"},
    {"id": "pool", "use": "select", "from": "train-rows", "with": {"share": 0.5}},
    {"id": "samples", "use": "parrot", "from": {"rows": "pool", "model": "guard"}},
    {"id": "verdicts", "use": "verdicts"},
    {"id": "hard", "use": "mine"},
    {"id": "pairs", "use": "pair", "from": {"rows": "hard", "verdicts": "verdicts"}},
    {"id": "dpo-rows", "use": "render_dpo"},
    {"id": "dpo", "use": "shards"},
    {"id": "guard-dpo", "use": "drill"},
    {"id": "scores", "use": "evaluate", "from": "verdicts"},
]
ALL = {"seeds", *(s["id"] for s in STEPS)}
SHARDS = {"sft", "dpo"}
TRAINED = {"guard", "samples", "verdicts", "hard", "pairs", "dpo-rows", "dpo", "guard-dpo", "scores"}
"""What depends on the first guard."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the recipe has run, with guard and taxonomy of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PLUGIN))
        world = World(tmp_path_factory.mktemp("finished") / "world", rows=20)
        for kind, name in (("guards", "guardreasoner"), ("taxonomies", "guardkit")):
            shutil.copy(shipped("schemas") / kind / f"{name}.yaml", world.folder / f"{kind}.yaml")
        write(world)
        assert world.built() == ALL
    return world.folder


@pytest.fixture
def done(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.syspath_prepend(str(PLUGIN))
    shutil.copytree(finished, tmp_path / "world")
    (tmp_path / "world" / "trained.log").unlink()
    world = World.__new__(World)
    world.folder = tmp_path / "world"
    return world


def write(world: World, steps: list[dict[str, Any]] = STEPS, **top: Any) -> None:
    world.recipe(*steps, **{"guard": "guards.yaml", "taxonomy": "taxonomies.yaml", **top})


def file(name: str, change: Callable[[Any], None]) -> Callable[[World], None]:
    """Changes a YAML file of the world."""

    def apply(world: World) -> None:
        path = world.folder / name
        found = yaml.safe_load(path.read_text())
        change(found)
        path.write_text(yaml.safe_dump(found, sort_keys=False, width=10_000))

    return apply


def guard(path: str, value: Any) -> Callable[[World], None]:
    def change(found: Any) -> None:
        *way, last = path.split(".")
        for key in way:
            found = found[int(key) if key.isdigit() else key]
        found[int(last) if last.isdigit() else last] = value(found.get(last)) if callable(value) else value

    return file("guards.yaml", change)


def taxonomy(change: Callable[[Any], None]) -> Callable[[World], None]:
    return file("taxonomies.yaml", change)


def source(key: str, value: Any) -> Callable[[World], None]:
    return file("tiny.yaml", lambda found: found.update({key: value}))


def option(step: str, **options: Any) -> Callable[[World], None]:
    steps = [{**s, "with": {**s.get("with", {}), **options}} if s["id"] == step else s for s in STEPS]
    return lambda world: write(world, steps)


def more(word: str) -> Callable[[str], str]:
    return lambda text: text + word


KEYED = {"reasoning", "valid", "train-rows", "sft-rows", "sft", "pool", "samples", "dpo"}
"""What a new name of the template teacher makes anew: the rows' `reasoning_key` is another, their texts are the same, and so no guard is trained."""
JUDGED = KEYED | {"pairs"}
"""What is chosen must pass the rules of `validate`."""
RENDERED = {"sft-rows", "sft", *TRAINED}
REASONED = {"reasoning", "valid", "train-rows", "pool", *RENDERED}
READ = {"seeds", *RENDERED}
LABELLED = {"seeds", "unique", *REASONED} - {"guard", "guard-dpo"}
"""What knows the guard's tasks."""

GUARD: dict[str, tuple[Callable[[World], None], set[str]]] = {
    "description": (guard("description", "other words"), set()),
    "version": (guard("version", 2), SHARDS),
    "name": (guard("name", "other"), LABELLED | {"guard", "guard-dpo"}),
    "tasks.missing": (guard("tasks.0.missing", "to_infer"), LABELLED),
    "tasks.about": (guard("tasks.0.about", "prompt"), LABELLED),
    "tasks.ordinal": (guard("tasks.0.ordinal", True), LABELLED),
    "tasks.words": (guard("tasks.0.words", {"unharmful": "fine"}), {"seeds", *REASONED}),
    "tasks.readings": (guard("tasks.0.readings", {"loose": {"unharmful": "harmful"}}), set()),
    "tasks.question": (guard("tasks.0.question", "is the request fine or not"), JUDGED),
    "tasks.subject": (guard("tasks.0.subject", "What the person wrote"), JUDGED),
    "tasks.field": (guard("tasks.0.field", "Asked"), {"seeds", *REASONED}),
    "steps": (guard("steps", {"min": 1, "max": 9}), JUDGED),
    "instruction": (guard("instruction", "You judge exchanges.\n"), READ),
    "input": (guard("input", "A person:\n{{ prompt }}\n\nAn assistant:\n{{ response }}\n\n"), READ),
    "policy": (file("guards.yaml", lambda found: found.update(policy={"text": "No noise."}, input="{{ policy }}\n" + found["input"])), READ),
    "switch": (guard("switch", {"on": "/think", "off": "/no_think"}), READ),
    "inputs": (guard("inputs", ["prompt", "response", "image"]), READ),
    "context": (guard("context", "Before:\n{% for m in context %}{{ m.content }}\n{% endfor %}"), READ),
    "output.answer_line": (guard("output.answer_line", "{field} = {label}"), {"seeds", *REASONED}),
    "output.separator": (guard("output.separator", "***"), {"seeds", *REASONED}),
    "teacher.system": (guard("teacher.system", more("Be brief.")), set()),
    "teacher.user": (guard("teacher.user", more("Be brief.")), set()),
    "teacher.blind": (guard("teacher.blind.system", more("Be brief.")), set()),
    "teacher.feedback": (guard("teacher.feedback", more("Once more.")), set()),
}


def category(**changed: Any) -> Callable[[World], None]:
    return taxonomy(lambda found: found["categories"][0].update(changed))


def extended(world: World) -> None:
    """All categories but one come from another file, which it extends."""
    path = world.folder / "taxonomies.yaml"
    found = yaml.safe_load(path.read_text())
    base = {"name": "base", "version": 1, "categories": found["categories"][:-1]}
    (world.folder / "base.yaml").write_text(yaml.safe_dump(base, sort_keys=False, width=10_000))
    path.write_text(yaml.safe_dump({"extends": "base.yaml", **found, "categories": found["categories"][-1:]}, sort_keys=False, width=10_000))


TAXONOMY: dict[str, tuple[Callable[[World], None], set[str]]] = {
    "description": (taxonomy(lambda found: found.update(description="Kinds of harm.")), set()),
    "version": (taxonomy(lambda found: found.update(version=2)), set()),
    "name": (taxonomy(lambda found: found.update(name="other")), {"seeds", "reasoning", *SHARDS}),
    "extends": (extended, {"seeds", *SHARDS}),  # the names of what is extended are a map more
    "a category's definition": (category(definition="Another sentence."), set()),
    "a category's title": (category(title="Force"), KEYED),
    "a category's cues": (category(cues=["a threat", "a raised fist"]), KEYED),
    "a new category": (
        taxonomy(lambda found: found["categories"].append({"name": "noise", "title": "Noise", "definition": "Loud.", "cues": ["a shout"]})),
        {"seeds", *KEYED},
    ),
    "maps": (taxonomy(lambda found: found["maps"].update(mine={"loud": None})), {"seeds", *SHARDS}),
}

SOURCE: dict[str, tuple[Callable[[World], None], set[str]]] = {
    "description": (source("description", "Other seeds."), {"seeds", *SHARDS}),
    "obtain": (source("obtain", "another test writes them"), {"seeds", *SHARDS}),
    "expected_rows": (source("expected_rows", 20), {"seeds", *SHARDS}),
    "licence": (source("licence", "MIT"), ALL),
    "columns": (source("columns", {"prompt": "prompt", "response": "response", "language": "label_prompt"}), ALL - {"dpo-rows", "guard-dpo"}),
}

RECIPE: dict[str, tuple[Callable[[World], None], set[str]]] = {
    "a comment": (lambda world: comment(world), set()),
    "doc": (lambda world: write(world, [{**s, "doc": "what it is for"} for s in STEPS]), set()),
    "description": (lambda world: write(world, description="what it is for"), set()),
    "media": (lambda world: write(world, media="."), set()),
    "failures": (lambda world: write(world, failures=0.5), set()),
    "version": (lambda world: write(world, version=2), SHARDS),
    "seed": (lambda world: write(world, seed=6), ALL - {"seeds", "clean", "unique"}),
}

OPTIONS: dict[str, tuple[Callable[[World], None], set[str]]] = {
    "normalise": (option("clean", unicode="NFKC"), {"clean", *SHARDS}),
    "deduplicate": (option("unique", conflicts="first"), {"unique", *SHARDS}),
    "split": (option("parts", parts={"train": 0.6, "test": 0.4}), ALL - {"seeds", "clean", "unique"}),
    "synthesise": (option("reasoning", backend={"backend": "template", "seed": 7}), REASONED - {"dpo-rows", "guard-dpo"}),
    "validate": (option("valid", profile="basic"), {"valid", "train-rows", "pairs", *SHARDS}),
    "select": (option("pool", share=0.6), TRAINED - {"guard"} | {"pool"}),
    "render_sft": (option("sft-rows", format="text"), RENDERED - {"dpo-rows", "guard-dpo"}),
    "shards' heading": (option("sft", title="Others"), SHARDS),
    "shards' licence": (option("dpo", licence="CC-BY-4.0"), {"dpo"}),
    "shards' files": (option("sft", rows_per_shard=5), {"sft", *TRAINED} - {"dpo-rows", "guard-dpo"}),
    "verdicts": (option("verdicts", mode="strict"), {"verdicts", "dpo"}),
    "mine": (option("hard", tasks=["prompt"]), {"hard", "pairs", "dpo"}),
    "pair": (option("pairs", pick="longest"), {"pairs", "dpo"}),
    "render_dpo": (option("dpo-rows", format="text"), {"dpo-rows", "dpo", "guard-dpo"}),
    "evaluate": (option("scores", names={"model": "The guard"}), {"scores"}),
}
TABLE = {
    f"{kind}: {part}": case
    for kind, table in (("guard", GUARD), ("taxonomy", TAXONOMY), ("source", SOURCE), ("recipe", RECIPE), ("option", OPTIONS))
    for part, case in table.items()
}


def comment(world: World) -> None:
    path = world.folder / "recipe.yaml"
    path.write_text("# what it is for\n" + path.read_text())


@pytest.mark.parametrize("part", TABLE)
def test_a_change_rebuilds_exactly_the_right_steps(done: World, part: str) -> None:
    change, expected = TABLE[part]
    change(done)
    assert done.built() == expected


def test_every_facet_is_in_the_table() -> None:
    """A facet that is added to a definition, or a field that is in none, is a line there before it is anything else."""
    assert [f for f, paths in Guard.facets.items() if not any(part.startswith(path) for part in GUARD for path in paths)] == []
    elsewhere = {"calls", "grammar"}  # of guards that were trained elsewhere, which a recipe that trains cannot have
    assert {part.partition(".")[0] for part in GUARD} == set(Guard.model_fields) - elsewhere
    assert {*Taxonomy.model_fields, *Taxonomy.facets} <= {*TAXONOMY, "categories", "names", "cues", "descriptions"}


NOT_READ = {
    *((step, "guard.output") for step in SHARDS),  # all that is shown is in the digest that the manifest has of the guard
    *(("seeds", f"taxonomy.{facet}") for facet in ("names", "maps")),  # the source has no categories,
    *(("seeds", f"guard.{facet}") for facet in ("input", "output")),  # and its rows are not as a guard reads them
}


def uses() -> list[tuple[str, str]]:
    """Each step with each word that its operator says that it reads."""
    out = []
    for step in [{"id": "seeds", "use": "load", "with": {"source": "tiny.yaml"}}, *STEPS]:
        if step["use"] not in ("drill", "parrot"):
            cls = operator_class(step["use"])
            operator = cls(cls.config_class.model_validate(step.get("with", {})))
            out += [(step["id"], word) for word in sorted(operator.used()) if (step["id"], word) not in NOT_READ]
    return out


@pytest.mark.parametrize(("step", "word"), uses())
def test_what_an_operator_forgets_to_name_it_cannot_read(done: World, monkeypatch: pytest.MonkeyPatch, step: str, word: str) -> None:
    """Were a word left out of `uses`, its step would not be reused in silence: it would not run."""
    use = next((s["use"] for s in STEPS if s["id"] == step), "load")
    cls = operator_class(use)
    used = cls.used
    monkeypatch.setattr(cls, "used", lambda self: used(self) - {word})
    shutil.rmtree(done.folder / "out" / done_in(done, step))
    with pytest.raises(Undeclared):
        run_plan(done.plan(), output=done.folder / "out")


def done_in(world: World, step: str) -> str:
    """The folder of a step, or of the last of its group."""
    return next(f.parent.name for f in world.folder.glob("out/*/manifest.json") if step in json.loads(f.read_text())["identity"])


MODEL = {"backend": {"backend": "openai", "model": "m", "base_url": "http://localhost:9/v1"}}
PARTS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "labels given": ({}, {"system", "user"}),
    "asked again": ({"attempts": 2}, {"system", "user", "feedback"}),
    "blind": ({"labels": "blind"}, {"blind"}),
    "blind, then given": ({"labels": "blind_then_given", "attempts": 2}, {"system", "user", "blind", "feedback"}),
    "by a prompt of its own": ({"prompt": "short", "attempts": 2}, set()),
    "held against what it was told": ({"labels": "blind", "attempts": 2, "rules": ["answers", "copied"]}, {"blind", "system", "feedback"}),
}


@pytest.mark.parametrize("how", PARTS)
def test_a_teachers_prompt_counts_as_far_as_a_model_reads_it(done: World, how: str) -> None:
    options, found = PARTS[how]
    write(done, [{**s, "with": {**MODEL, **options}} if s["id"] == "reasoning" else s for s in STEPS])
    asked = done.plan().steps["reasoning"].identity
    guard(
        "teacher", {"system": "A", "user": "B {{ exchange }}", "blind": {"system": "C", "user": "D {{ exchange }}"}, "feedback": "E {{ reasons }}"}
    )(done)
    other = done.plan().steps["reasoning"].identity
    assert {f for f in asked["guard"] if asked["guard"][f] != other["guard"][f]} == found
    assert {k: v for k, v in asked.items() if k != "guard"} == {k: v for k, v in other.items() if k != "guard"} and "taxonomy" not in asked


def test_what_a_backend_forgets_to_name_it_cannot_read(done: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend is shown what its operator is shown, and what it names itself."""
    assert {"guard.steps", "taxonomy.cues"} <= done.plan().steps["reasoning"].operator.used()
    monkeypatch.setattr(TemplateConfig, "uses", TemplateConfig.uses - {"taxonomy.cues"})
    with pytest.raises(Undeclared, match="Category"):
        done.run()
