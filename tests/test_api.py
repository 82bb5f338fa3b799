"""The Python API: what the command line does, for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from jsonschema import Draft202012Validator

import toolkit
from toolkit import api
from toolkit.common.errors import InputError, InputErrors, Missing
from toolkit.pipeline import load_recipe

CHECKOUT = Path(__file__).resolve().parent.parent
RECIPES = sorted(p for p in (CHECKOUT / "recipes").rglob("*.yaml") if "schemas" not in p.parts[len(CHECKOUT.parts) :])
STEPS: list[dict[str, Any]] = [
    {"id": "seeds", "use": "load", "with": {"source": "quickstart", "limit": 5}},
    {"id": "clean", "use": "normalise"},
    {"id": "few", "use": "select", "with": {"where": {"label_prompt": "harmful"}}},
    {"id": "reasoning", "use": "synthesise", "with": {"backend": {"backend": "template"}}},
    {"id": "valid", "use": "validate"},
    {"id": "rendered", "use": "render_sft"},
    {"id": "shards", "use": "shards", "with": {"title": "Mine"}},
]


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small recipe in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump({"recipe": "small", "seed": 4, "steps": STEPS}, sort_keys=False))
    return file


def test_the_curated_names_are_all_there() -> None:
    for name in toolkit.__all__:
        assert getattr(toolkit, name) is not None
    assert not hasattr(toolkit, "nosuch")
    assert callable(toolkit.run) and callable(toolkit.verify)
    guard = toolkit.load_guard("guardreasoner")
    assert toolkit.parse(guard, "Request: harmful").labels["prompt"] == "harmful"


# run, read_run --------------------------------------------------------------------------------------------------------


def test_run_builds_once_and_gives_figures_and_rows(recipe: Path) -> None:
    result = toolkit.run(recipe)
    assert result.folder == recipe.parent / "outputs" / "small" and result.failed is None
    assert result.built == [s["id"] for s in STEPS] and result.reused == []
    assert json.loads((result.folder / "summary.json").read_text()) == result.summary
    kept = {s["step"]: s["kept"] for s in result.summary["steps"]}
    assert kept["seeds"] == 20 and kept["shards"] == kept["few"]
    again = toolkit.run(recipe)
    assert again.built == [] and again.reused == result.built
    assert toolkit.run(recipe, force=True).built == result.built
    other = toolkit.run(recipe, overrides=["shards.title=Other", "seed=5"], output="elsewhere/deep", block_rows=3)
    assert other.folder == recipe.parent / "elsewhere" / "deep" and "# Other" in (other.folder / "shards" / "shards" / "README.md").read_text()
    steps = toolkit.read_run("outputs/small")
    rows = pl.concat(list(steps["seeds"].blocks()))
    assert rows.height == 20 and set(rows["licence"]) == {"CC0-1.0"}
    assert toolkit.verify(steps["shards"].artefact("shards"))["rows"] == kept["few"]
    with pytest.raises(InputError, match="made no 'model'"):
        steps["shards"].artefact("model")
    with pytest.raises(InputError, match="not the folder of a run"):
        toolkit.read_run("nowhere")


def test_a_recipe_that_is_already_read_can_be_run(recipe: Path) -> None:
    read = load_recipe(recipe, ["seeds.limit=2"])
    assert toolkit.run(read, output="one").summary["steps"][0]["kept"] == 8
    with pytest.raises(InputError, match="already read"):
        toolkit.run(read, overrides=["seed=1"])


def test_sources_are_given_by_name(recipe: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'quickstart'"):
        toolkit.run(recipe, sources={"quickstrt": ["x.jsonl"]})
    file = CHECKOUT / "recipes" / "quickstart" / "seeds" / "home.jsonl"
    result = toolkit.run(recipe, sources={"quickstart": [file]})
    assert result.summary["steps"][0]["kept"] == 5
    assert toolkit.run(recipe, sources={"quickstart": [file]}).built == []
    assert "seeds" in toolkit.run(recipe).built, "other data is another step"


# check, plan, explain -------------------------------------------------------------------------------------------------


def test_check_tells_faults_from_what_is_lacking(recipe: Path) -> None:
    assert toolkit.check(recipe) == {"recipe": "small", "steps": 7, "needs": [], "sends": [], "fetches": [], "allowed": [], "words": []}
    with pytest.raises(InputErrors) as e:
        toolkit.check(recipe, overrides=["clean.unicode=NFX", "seeds.limit=many"])
    assert len(e.value.errors) == 2
    gated = toolkit.check(recipe, overrides=["seeds.source=guardreasoner_benchmark"])
    assert "guardreasoner_benchmark" in gated["needs"][0]
    with pytest.raises(Missing):
        toolkit.run(recipe, overrides=["seeds.source=guardreasoner_benchmark"])


def test_plan_marks_estimates_and_knows_what_is_done(recipe: Path) -> None:
    before = toolkit.plan(recipe)
    lines = {s["step"]: s for s in before["steps"]}
    assert {s["state"] for s in lines.values()} == {"build"} and not any(s["exact"] for s in lines.values())
    assert lines["seeds"]["rows"] == 20 and lines["reasoning"]["calls"] == 20 and lines["valid"]["calls"] == 0
    assert "estimate" in before["notes"][0] and before["output"] == "outputs/small"
    assert not Path("outputs").exists(), "looking changes nothing"
    toolkit.run(recipe)
    after = {s["step"]: s for s in toolkit.plan(recipe)["steps"]}
    assert {(s["state"], s["exact"], s["calls"]) for s in after.values()} == {("reuse", True, 0)}, "steps that ran together with others too"
    few = after["few"]["rows"]
    assert few < 20 and after["valid"]["rows"] == few
    assert toolkit.plan(recipe)["notes"] == []
    changed = toolkit.plan(recipe, overrides=["reasoning.backend.seed=9"])
    states = {s["step"]: (s["state"], s["rows"], s["exact"]) for s in changed["steps"]}
    assert states["few"] == ("reuse", few, True) and states["reasoning"] == ("build", few, False) and states["shards"][0] == "build"


def test_plan_says_what_cannot_be_known() -> None:
    lines = {s["step"]: s for s in toolkit.plan("quickstart", output="/nonexistent/run")["steps"]}
    assert lines["hard"]["rows"] is None and lines["pairs"]["rows"] is None and lines["dpo-rows"]["rows"] is None
    pool, samples = lines["pool"], lines["samples"]
    assert samples["rows"] == samples["calls"] == 16 * pool["rows"] and not samples["exact"], "four guards, four draws each"
    assert lines["samples"]["calls"] > 0 and lines["hard"]["calls"] == 0


def test_explain_gives_every_value_an_origin(recipe: Path) -> None:
    found = toolkit.explain(recipe, overrides=["seed=7", "reasoning.backend.seed=3", "few.share=0.5"])
    assert found["recipe"]["seed"] == {"value": 7, "origin": "--set seed=7"}
    assert found["recipe"]["recipe"] == {"value": "small", "origin": f"{recipe.name}:1:recipe"}
    assert found["recipe"]["guard"] == {"value": "guardreasoner", "origin": "default"}
    steps = {s["id"]: s for s in found["steps"]}
    backend = steps["reasoning"]["with"]
    assert backend["backend.seed"] == {"value": 3, "origin": "--set reasoning.backend.seed=3"}
    assert backend["backend.backend"]["origin"].startswith(f"{recipe.name}:") and backend["backend.steps"]["origin"] == "default of synthesise"
    assert steps["few"]["with"]["where.label_prompt"]["origin"].startswith(f"{recipe.name}:")
    assert steps["few"]["with"]["share"]["origin"] == "--set few.share=0.5"
    assert steps["clean"]["with"]["unicode"] == {"value": "NFC", "origin": "default of normalise"}
    assert steps["clean"]["from"] == {"rows": "seeds"} and steps["clean"]["from_origin"] == "default: the step before"
    json.dumps(found)


# apply ----------------------------------------------------------------------------------------------------------------


def test_apply_reads_a_source_and_runs_one_operator_after_another() -> None:
    rows, none = toolkit.apply("load", source="quickstart", parts=["home"])
    assert rows.height == 112 and none.height == 0
    kept, rest = toolkit.apply("normalise", rows, max_chars=60)
    assert kept.height + rest.height == 112 and set(rest["_reason"]) == {"too_long"}
    train, test = (toolkit.apply("select", toolkit.apply("split", kept)[0], where={"split": part})[0] for part in ("train", "test"))
    assert train.height + test.height == kept.height and not set(train["group"]) & set(test["group"])


@pytest.mark.parametrize(
    ("operator", "options", "message"),
    [
        ("normalize", {}, "did you mean 'normalise'"),
        ("normalise", {"unicod": "NFC"}, "did you mean 'unicode'"),
        ("train_sft", {"model": "m"}, "run it in a recipe"),
        ("compare", {}, "run it in a recipe"),
        ("sample", {}, "sample has no guard to ask"),
        ("mine", {}, "has no votes to go by"),
        ("load", {"source": "quickstart"}, "takes no rows"),
    ],
)
def test_apply_says_what_does_not_fit(operator: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        toolkit.apply(operator, pl.DataFrame({"prompt": ["x"]}), **options)
    with pytest.raises(InputError, match="takes rows, and was given none"):
        toolkit.apply("normalise")


# The schema of recipes ------------------------------------------------------------------------------------------------


def test_the_shipped_schema_is_current() -> None:
    shipped = json.loads((CHECKOUT / "schemas" / "recipe.schema.json").read_text())
    assert shipped == api.recipe_schema(), "run `make schema`"
    Draft202012Validator.check_schema(shipped)


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.relative_to(CHECKOUT / "recipes").as_posix())
def test_the_schema_accepts_every_shipped_recipe(path: Path) -> None:
    faults = list(Draft202012Validator(api.recipe_schema()).iter_errors(yaml.safe_load(path.read_text())))
    assert not faults, [f"{f.json_path}: {f.message}" for f in faults]


@pytest.mark.parametrize(
    "fault",
    [
        {"recipe": "r", "stepz": []},
        {"steps": [{"id": "s", "use": "normalise"}]},
        {"recipe": "r", "steps": []},
        {"recipe": "r", "steps": [{"id": "s", "use": "normalize"}]},
        {"recipe": "r", "steps": [{"id": "s", "use": "normalise", "wiht": {}}]},
        {"recipe": "r", "steps": [{"id": "s", "use": "normalise", "with": {"unicod": "NFC"}}]},
        {"recipe": "r", "steps": [{"id": "s", "use": "normalise", "with": {"unicode": "NFX"}}]},
        {"recipe": "r", "steps": [{"id": "s", "use": "synthesise", "with": {"backend": {"backend": "openai", "modle": "m"}}}]},
        {"recipe": "r", "steps": [{"id": "s", "use": "sample", "with": {"backend": {"backend": "transformers", "temprature": 1}}}]},
        {"recipe": "r", "steps": [{"id": "s", "use": "train_sft", "with": {"model": {"scratch": {"layer": 2}}}}]},
    ],
)
def test_the_schema_refuses_what_the_check_refuses(fault: dict[str, Any]) -> None:
    assert list(Draft202012Validator(api.recipe_schema()).iter_errors(fault))


# Runs and sources -----------------------------------------------------------------------------------------------------


def test_runs_are_listed_and_cleaned(recipe: Path) -> None:
    assert api.list_runs() == []
    toolkit.run(recipe)
    (Path("outputs") / "broken").mkdir()
    (Path("outputs") / "broken" / "run.json").write_text('{"recipe": "x"}')
    broken, small = api.list_runs()
    assert "recipe.yaml" in broken["problem"] and small == {
        "folder": "outputs/small",
        "recipe": "small",
        "steps": 7,
        "built": 7,
        "stale": 0,
        "problem": None,
    }
    recipe.write_text(yaml.safe_dump({"recipe": "small", "seed": 4, "steps": STEPS[:2]}, sort_keys=False))
    toolkit.run(recipe)
    gone = api.clean_run("outputs/small")
    assert {"reasoning", "shards"} <= set(gone) and "clean" not in gone
    assert api.clean_run("outputs/small") == []
    assert toolkit.run(recipe).built == []


def test_sources_are_described() -> None:
    names = {s["name"]: s for s in api.sources_table()}
    assert names["wildguard_train"]["hub"] == "allenai/wildguardmix" and names["wildguard_train"]["gated"]
    assert api.describe_source("toxicchat_train")["hub"]["config"] == "toxicchat0124"
    with pytest.raises(InputError, match="not on the hub"):
        api.check_sources("quickstart")


def test_training_from_a_file_checks_it_first(recipe: Path) -> None:
    toolkit.run(recipe)
    shards = "outputs/small/shards/shards"
    file = Path("sft.yaml")
    for text, message in (
        ("model: m\noutput: out\n", "the key 'shards' is missing"),
        (f"shards: {shards}\noutput: out\nmodel: {{scratch: {{}}}}\nthread: 1\n", "did you mean 'threads'"),
        ("shards: nowhere\noutput: out\nmodel: {scratch: {}}\n", "no manifest.json"),
        (f"shards: {shards}\noutput: out\nmodel: {{scratch: {{}}}}\ntrainer: {{learning_rat: 1}}\n", "learning_rate"),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=message):
            api.train("sft", file)
        assert not Path("out").exists()


def test_training_from_a_file_replaces_nothing_but_a_model(recipe: Path) -> None:
    toolkit.run(recipe)
    shards = "outputs/small/shards/shards"
    Path("notes").mkdir()
    Path("notes/mine.txt").write_text("keep")
    file = Path("sft.yaml")
    for output, message in (
        ("notes", "notes: not empty, and no model folder that guardkit made"),
        ("notes/mine.txt", "mine.txt: a file where a folder is to be written"),
        (shards, "the shards are in it"),
        ("outputs/small", "the shards are in it"),
        (".", "working folder"),
    ):
        file.write_text(f"shards: {shards}\nmodel: {{scratch: {{}}}}\noutput: {output}\n")
        with pytest.raises(InputError, match=message) as e:
            api.train("sft", file)
        assert e.value.where is not None and e.value.where.startswith("sft.yaml:3")
    assert Path("notes/mine.txt").read_text() == "keep" and toolkit.verify(Path(shards))
