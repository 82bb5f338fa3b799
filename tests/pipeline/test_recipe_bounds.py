"""Recipes that are long or large, and names that stand for many columns: they run, or one clear error says why not, at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import toolkit
from toolkit.common.errors import InputError
from toolkit.pipeline import load_recipe, make_plan

SEEDS = "  - {id: seeds, use: load, with: {source: quickstart, limit: 3}}\n"
ENDPOINT = "{backend: openai, model: m, base_url: 'http://127.0.0.1:9/v1'}"


def write(folder: Path, steps: str, name: str = "r") -> Path:
    file = folder / f"{name}.yaml"
    file.write_text(f"recipe: {name}\nseed: 1\nsteps:\n{steps}")
    return file


def test_a_chain_of_600_steps_is_planned_run_reused_and_compared(tmp_path: Path) -> None:
    chain = SEEDS + "".join(f"  - {{id: s{i}, use: normalise}}\n" for i in range(600))
    file = write(tmp_path, chain)
    done = toolkit.run(file, output=tmp_path / "o" / "r")
    assert len(done.built) == 601
    assert toolkit.run(file, output=tmp_path / "o" / "r").built == []
    assert toolkit.run(tmp_path / "o" / "r" / "recipe.yaml", output=tmp_path / "o" / "r").built == [], "the run's own copy of it"
    asks = write(tmp_path, chain + f"  - {{id: r, use: synthesise, with: {{backend: {ENDPOINT}}}}}\n", "asks")
    found = toolkit.plan(asks, output=tmp_path / "o" / "asks")
    assert found["steps"][-1]["models"][0]["calls"]["mid"] == done.summary["steps"][-1]["kept"]


def test_a_chain_of_2000_steps_is_checked(tmp_path: Path) -> None:
    assert toolkit.check(write(tmp_path, SEEDS + "".join(f"  - {{id: s{i}, use: normalise}}\n" for i in range(2000))))["steps"] == 2001


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("{id: 's{a}{b}{c}', use: normalise, each: {a: [%s], b: [%s], c: [%s]}}", "the recipe has 1,000,001 steps, at most 10,000"),
        ("{id: 's{a}{b}', use: normalise, with: {%s}, each: {a: [%s], b: [%s]}}", "more than 90,000 keys and values"),
        ("{id: 's{a}', use: normalise, doc: 'x', with: {x: '" + "{a}" * 5000 + "'}, each: {a: [" + "y" * 1000 + "%s]}}", "4,194,304 letters"),
    ],
)
def test_each_is_counted_before_it_is_written_out(step: str, message: str, tmp_path: Path) -> None:
    words = ", ".join(f"x{i}" for i in range(100))
    keys = ", ".join(f"k{i}: 1" for i in range(100))
    parts = {0: (words,) * 3, 1: (keys, ", ".join(f"x{i}" for i in range(50)), ", ".join(f"x{i}" for i in range(50))), 2: ("",)}
    filled = step % parts[0 if "{c}" in step else 1 if "{b}" in step else 2]
    with pytest.raises(InputError, match=message) as e:
        load_recipe(write(tmp_path, SEEDS + f"  - {filled}\n"))
    assert str(e.value.where).endswith("r.yaml:5:steps.1.each")


@pytest.mark.parametrize("name", ["*", "^.*$", "^a$", ""])
def test_no_column_has_a_name_that_means_many(name: str, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text(json.dumps({"id": "a", "prompt": "p", name: "q"}) + "\n")
    shown = json.dumps(name)
    for columns in (f"{{id: id, text: {shown}}}", f"{{id: id, {shown}: prompt}}", f"{{id: id, text: {{name: {shown}}}}}"):
        file = write(tmp_path, f"  - {{id: r, use: read, with: {{files: [d.jsonl], columns: {columns}}}}}\n")
        with pytest.raises(InputError, match="no column may be called so") as e:
            make_plan(load_recipe(file))
        assert f"{file}:4:steps.0.with" in str(e.value)
    asks = f"  - {{id: g, use: generate, with: {{column: {shown}, user: '{{{{ prompt }}}}', backend: {ENDPOINT}}}}}\n"
    with pytest.raises(InputError):
        make_plan(load_recipe(write(tmp_path, SEEDS + asks)))
    frame = pl.DataFrame({"id": ["a"], name: ["x"]})
    with pytest.raises(InputError, match="no column may be called so"):
        toolkit.apply("select", frame, where={"id": "not_null"})


@pytest.mark.parametrize("name", ["_outcome", "_row_at", "_number"])
def test_guardkits_own_names_are_taken(name: str, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text(json.dumps({"id": "a", name: "p"}) + "\n")
    given: dict[str, Any] = {"files": ["d.jsonl"], "columns": {"id": "id", name: name}}
    with pytest.raises(InputError, match="such names are guardkit's own"):
        make_plan(load_recipe(write(tmp_path, f"  - {{id: r, use: read, with: {json.dumps(given)}}}\n")))
    given["columns"] = {"id": "id", "own": name}
    done = toolkit.run(write(tmp_path, f"  - {{id: r, use: read, with: {json.dumps(given)}}}\n"), output=tmp_path / "o")
    rows = pl.read_parquet(sorted((done.folder / "r" / "rows").glob("*.parquet")))
    assert rows["own"].to_list() == ["p"], "a file's column may be called so"


@pytest.mark.parametrize(
    "text",
    [
        "{{ " + "(" * 3000 + "prompt" + ")" * 3000 + " }}",
        "{% for a in prompt %}" * 30 + "x" + "{% endfor %}" * 30,
        "{% if prompt %}" * 200 + "{% endif %}" * 200,
    ],
)
def test_a_template_that_is_nested_too_deeply_is_no_template(text: str, tmp_path: Path) -> None:
    step = json.dumps({"id": "g", "use": "generate", "with": {"column": "a", "user": text, "backend": {"backend": "openai", "model": "m"}}})
    with pytest.raises(InputError, match="not a valid template: nested too deeply") as e:
        make_plan(load_recipe(write(tmp_path, f"{SEEDS}  - {step}\n")))
    assert "r.yaml:5:steps.1.with.user" in str(e.value)


def test_an_override_has_as_many_levels_as_a_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="more than 64 levels deep"):
        load_recipe(write(tmp_path, SEEDS), [f"seeds.{'a.' * 50_000}b=1"])
