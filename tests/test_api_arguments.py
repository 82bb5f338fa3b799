"""What the public verbs take: a text or a `Path` for a place, one or several where there may be several, a dict where there may be a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from workspace import RECIPE, furnish

import toolkit
from toolkit.common.errors import InputError

HOME = Path(__file__).resolve().parent.parent / "recipes" / "quickstart" / "seeds" / "home.jsonl"


@pytest.fixture(scope="module", autouse=True)
def here(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("workspace")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("GUARDKIT_WORKSPACE", raising=False)
        furnish(folder)
        toolkit.run("small.yaml")
        yield folder


@pytest.mark.parametrize("kind", [str, Path])
def test_a_place_is_a_text_or_a_path(kind: Any, here: Path) -> None:
    run, shards = kind("outputs/small"), kind("outputs/small/shards/shards")
    assert (toolkit.verify(run)["kind"], toolkit.verify(shards)["kind"]) == ("run", "shards")
    assert toolkit.verify(toolkit.export(kind("outputs/small/shards"), "trl", output=kind(f"trl-{kind.__name__}"))["output"])["kind"] == "export"
    assert toolkit.rejects(run)["rows"] == 9 and toolkit.diff(run, run)["equal"] and toolkit.clean_run(run) == []
    assert toolkit.overlaps(rows={"a": kind("outputs/small/seeds")})["sets"][0]["rows"] == 20
    assert toolkit.check(kind("small.yaml"))["steps"] == 7
    guard = kind(toolkit.load_guard.__globals__["find"]("guards", "guardreasoner"))
    assert toolkit.load_guard(guard).name == "guardreasoner"
    assert toolkit.apply("load", source="quickstart", limit=1, guard=guard)[0].height
    mined = toolkit.mine({"anna": kind("anna.jsonl"), "berta": kind("berta.jsonl")}, output=kind(f"mined-{kind.__name__}"), guard=guard)
    assert mined["pairs"] == 2


@pytest.mark.parametrize("files", [str(HOME), HOME, [HOME]])
def test_one_file_is_not_its_letters(files: Any) -> None:
    small = toolkit.run("small.yaml", sources={"quickstart": files}, output="outputs/home")
    assert small.summary["steps"][0]["kept"] == 5
    found = toolkit.overlaps(sources={"quickstart": files}, rows={"seeds": "outputs/small/seeds"})
    assert {s["name"]: s["rows"] for s in found["sets"]} == {"quickstart": 112, "seeds": 20}


def test_one_override_row_or_leave_is_not_its_letters() -> None:
    assert toolkit.explain("small.yaml", overrides="seed=9")["recipe"]["seed"]["value"] == 9
    gone = toolkit.rejects("outputs/small")["shown"][0]["id"]
    assert [line["id"] for line in toolkit.rejects("outputs/small", ids=gone)["shown"]] == [gone]
    backend = {"backend": "openai", "model": "m", "base_url": "http://example.org/v1", "api_key_env": "MY_KEY"}
    for allow in ("api_key_env=MY_KEY", ["api_key_env=MY_KEY"]):
        with pytest.raises(InputError, match="no such file"):
            toolkit.generate("nowhere.jsonl", "out.jsonl", backend, allow=allow)
    with pytest.raises(InputError, match=r"allow=\['api_key_env=MY_KEY'\]"):
        toolkit.generate("prompts.jsonl", "out.jsonl", backend, allow="not api_key_env=MY_KEY at all")


def test_a_recipe_is_a_dict_too() -> None:
    """The same steps as from the file: they are reused; a fault has its place in the dict, and no line of a file."""
    result = toolkit.run(RECIPE, output="outputs/small")
    assert result.built == [] and len(result.reused) == 7
    assert toolkit.check(RECIPE, overrides=["seeds.limit=2"])["steps"] == 7
    with pytest.raises(InputError, match=r"recipe:steps\.1\.with\.unicod"):
        toolkit.check({**RECIPE, "steps": [RECIPE["steps"][0], {"id": "clean", "use": "normalise", "with": {"unicod": "NFC"}}]})


def test_a_training_is_a_dict_too() -> None:
    with pytest.raises(InputError, match="the key 'shards' is missing") as e:
        toolkit.train("sft", {"model": "m", "output": "out"})
    assert e.value.where is None or ":1" not in e.value.where
    with pytest.raises(InputError, match="no manifest"):
        toolkit.train("sft", {"shards": "nowhere", "model": {"scratch": {}}, "output": Path("out")})
