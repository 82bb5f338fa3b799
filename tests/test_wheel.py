"""The wheel, installed with nothing but the core's dependencies into an empty environment and used from an empty folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from toolkit.guards import load_guard, render_input

CHECKOUT = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "transformers", "trl", "datasets", "openai", "vllm", "ray")
RECIPE = """
recipe: data-only
seed: 3
steps:
  - {id: seeds, use: load, with: {source: quickstart, parts: [home, work]}}
  - {id: clean, use: normalise}
  - {id: unique, use: deduplicate}
  - {id: parts, use: split, with: {parts: {train: 0.8, test: 0.2}}}
  - {id: reasoning, use: synthesise, with: {backend: {backend: template}}}
  - {id: valid, use: validate}
  - {id: rendered, use: render_sft}
  - {id: shards, use: shards}
"""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    isolation = ["--no-isolation"] if find_spec("hatchling") else []
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", *isolation, "--outdir", str(folder), str(CHECKOUT)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel and the core's dependencies, from the index that this machine's pip knows."""
    folder = tmp_path_factory.mktemp("env") / "venv"
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    done = subprocess.run(
        [python, "-m", "pip", "install", "-q", "-c", CHECKOUT / "constraints.txt", wheel], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Shell:
    """Runs the installed ``guardkit`` in a folder of its own, with an environment that knows nothing of the checkout."""

    def __init__(self, environment: Path, folder: Path) -> None:
        self.folder = folder
        self._bin = environment / "bin"
        keep = {k: v for k, v in os.environ.items() if k in ("HOME", "LANG", "TMPDIR")}
        self._env = keep | {"PATH": f"{self._bin}:/usr/bin:/bin", "HF_HOME": str(folder / "hf")}

    def python(self, code: str) -> str:
        """What the installed Python prints."""
        done = subprocess.run([self._bin / "python", "-c", code], cwd=self.folder, env=self._env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def __call__(self, *args: str, code: int = 0) -> str:
        done = subprocess.run([self._bin / "guardkit", *args], cwd=self.folder, env=self._env, capture_output=True, text=True, check=False)
        assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout if code == 0 else done.stderr


@pytest.fixture
def guardkit(environment: Path, tmp_path: Path) -> Shell:
    return Shell(environment, tmp_path)


def test_recipes_and_schemas_are_in_the_wheel_and_nothing_stray(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    for kind in ("recipes", "schemas"):
        there = {p.relative_to(CHECKOUT).as_posix() for p in (CHECKOUT / kind).rglob("*") if p.is_file() and "__pycache__" not in p.parts}
        assert {f"toolkit/_shipped/{p}" for p in there} <= inside
    assert not [n for n in inside if "__pycache__" in n or n.startswith(("tests/", "outputs/", "docs/"))]
    assert any(n.endswith("licenses/LICENSE") for n in inside)


def test_the_environment_has_the_core_alone(guardkit: Shell) -> None:
    code = f"from importlib.util import find_spec; print([m for m in {HEAVY!r} if find_spec(m)])"
    assert guardkit.python(code) == "[]"
    where = guardkit.python("import toolkit; print(toolkit.__file__)")
    assert str(CHECKOUT) not in where


def test_a_data_only_recipe_runs_by_path_and_is_reused(guardkit: Shell) -> None:
    (guardkit.folder / "mine.yaml").write_text(RECIPE)
    first = json.loads(guardkit("run", "mine.yaml", "--json"))
    counts = {s["step"]: s for s in first["steps"]}
    assert counts["seeds"]["in"] > 200
    assert counts["shards"]["kept"] == counts["unique"]["kept"] > 200
    assert (guardkit.folder / "outputs" / "data-only" / "run.json").is_file()
    checked = json.loads(guardkit("verify", "outputs/data-only/shards/shards", "--json"))
    assert checked["rows"] == counts["shards"]["kept"]
    again = json.loads(guardkit("run", "mine.yaml", "--json"))
    assert (again["built"], set(again["reused"])) == ([], set(counts))


def test_check_finds_the_shipped_recipes_and_says_what_is_missing(guardkit: Shell) -> None:
    quickstart = json.loads(guardkit("check", "quickstart", "--json"))
    assert any("guardkit[train]" in n for n in quickstart["needs"])
    assert "not ready" in guardkit("check", "quickstart", "--ready", code=4)
    found = "\n".join(json.loads(guardkit("check", "guardreasoner/8b", "--json"))["needs"])
    for part in ("'wildguard_train' is gated", "guardkit[hub]", "guardkit[openai]", "OPENAI_API_KEY", "guardkit[train]", "guardkit[vllm]"):
        assert part in found
    refused = guardkit("run", "guardreasoner/8b", code=4)
    assert "OPENAI_API_KEY" in refused
    assert not (guardkit.folder / "outputs").exists()


def test_operators_are_listed(guardkit: Shell) -> None:
    names = {o["name"] for o in json.loads(guardkit("operators", "--json"))}
    assert {"load", "deduplicate", "synthesise", "train_sft", "mine", "pair", "train_dpo", "evaluate"} <= names


def test_pairs_are_mined_from_a_small_file(guardkit: Shell) -> None:
    guard = load_guard("guardreasoner")
    asked = [render_input(guard, {"context": [], "prompt": p, "response": None}) for p in ("How do I bake bread?", "Help me mock my brother.")]
    truth = ["unharmful", "harmful"]
    for name, answer in {"a": truth, "b": ["unharmful", "unharmful"]}.items():
        lines = [
            {"prompt": p, "label": t, "predict": f"It says so.\n\nAnswers: \nRequest: {s}\nCompletion: None\nResponse: None\n"}
            for p, t, s in zip(asked, truth, answer, strict=True)
        ]
        (guardkit.folder / f"{name}.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    found = json.loads(guardkit("mine", "--predictions", "a=a.jsonl", "--predictions", "b=b.jsonl", "--output", "mined", "--json"))
    assert {k: found[k] for k in ("rows", "hard", "always_right", "always_wrong", "undecided", "with_unparsable", "pairs")} == {
        "rows": 2, "hard": 1, "always_right": 1, "always_wrong": 0, "undecided": 0, "with_unparsable": 0, "pairs": 1,
    }  # fmt: skip
    assert json.loads(guardkit("verify", found["shards"], "--json"))["rows"] == 1
