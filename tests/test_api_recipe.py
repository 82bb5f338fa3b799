"""`toolkit.Recipe`: what is made step by step is what a file says, and is checked as that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import toolkit
from toolkit.common.errors import InputError, InputErrors
from toolkit.common.yamlfile import YamlFile, parse_yaml
from toolkit.pipeline import build_recipe, load_recipe

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
PLAIN = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20)
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8)
STEPS = st.lists(st.tuples(NAMES, NAMES, st.dictionaries(NAMES, VALUES, max_size=4), st.none() | NAMES, st.none() | st.text(max_size=20)), max_size=4)


@settings(max_examples=150, deadline=None)
@given(name=NAMES, seed=st.integers(0, 2**31), steps=STEPS)
def test_its_yaml_says_the_same(name: str, seed: int, steps: list[tuple[str, str, dict[str, Any], str | None, str | None]]) -> None:
    recipe = toolkit.Recipe(name, seed=seed)
    for id_, use, options, from_, doc in steps:
        more = {k: v for k, v in options.items() if k not in ("each", "doc", "from_")}
        before = dict(recipe)
        recipe, earlier = recipe.step(id_, use, from_=from_, doc=doc, **more), recipe
        assert dict(earlier) == before, "a step more is a recipe more"
    assert parse_yaml(recipe.yaml(), "r").data == dict(recipe)
    assert [s["id"] for s in recipe["steps"]] == [s[0] for s in steps]


def test_a_recipe_made_here_is_the_one_in_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.jsonl").write_text('{"q": "How do I bake bread?"}\n')
    recipe = toolkit.Recipe("mine", guard="guardreasoner").step("rows", "read", files=[Path("in.jsonl")], columns={"prompt": "q"})
    recipe = recipe.step("part-{p}", "select", each={"p": ("a", "b")}, from_="rows", where={"prompt": "not_null"})
    text = recipe.yaml("mine.yaml")
    assert (tmp_path / "mine.yaml").read_text() == text
    one, other = build_recipe(YamlFile("recipe", dict(recipe)), tmp_path), load_recipe("mine.yaml")
    assert [(s.id, s.use, s.inputs, s.options) for s in one.steps] == [(s.id, s.use, s.inputs, s.options) for s in other.steps]
    assert toolkit.run(recipe).built == ["rows", "part-a", "part-b"] and toolkit.run("mine.yaml").built == []
    with pytest.raises(InputError, match="is a step's"):
        recipe.yaml("outputs/mine/rows/recipe.yaml")


def test_faults_name_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = toolkit.Recipe("mine").step("seeds", "load", source="quickstart", limit="few").step("clean", "normalis").step("x", "select", from_="sed")
    with pytest.raises(InputErrors) as e:
        toolkit.check(recipe)
    places = [fault.where for fault in e.value.errors]
    assert places == ["recipe:steps.0.with.limit (step 'seeds')", "recipe:steps.1.use (step 'clean')", "recipe:steps.2.from (step 'x')"], places
    with pytest.raises(InputErrors, match=r"recipe:steps.1.id \(step 'seeds'\)"):
        toolkit.check(toolkit.Recipe("mine").step("seeds", "load", source="quickstart").step("seeds", "normalise"))
    with pytest.raises(InputErrors, match="recipe:sed"):
        toolkit.check(toolkit.Recipe("mine", sed=3).step("seeds", "load", source="quickstart"))
