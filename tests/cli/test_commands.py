"""Every verb: help with an example, one JSON document, the exit code that the README promises."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import CHECKOUT, Result, environment, guardkit
from server import Server, running
from typer.main import get_command

from toolkit._version import __version__
from toolkit.cli._app import PANELS, app, only

Cli = Callable[..., Result]
SEEDS: dict[str, Any] = {"id": "seeds", "use": "load", "with": {"source": "quickstart", "limit": 2}}


def recipe(folder: Path, *steps: dict[str, Any], name: str = "small", **top: Any) -> Path:
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump({"recipe": name, **top, "steps": list(steps)}, sort_keys=False))
    return file


def verbs() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every verb with its command."""
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        if inner is None:
            yield (name,), command
        else:
            yield from (((name, sub), c) for sub, c in inner.items())


VERBS = dict(verbs())


# Help -----------------------------------------------------------------------------------------------------------------


def test_a_line_that_names_a_verb_makes_that_verb_alone() -> None:
    def made(verb: str) -> set[str]:
        return set(get_command(only(verb)).commands)  # type: ignore[attr-defined]

    assert made("check") == {"check"} and made("category") == {"category"}
    assert made("chek") == made("--help") == made("") == {name for name, *_ in VERBS}


def test_help_lists_the_verbs_grouped_in_the_order_of_the_work(cli: Cli) -> None:
    result = cli("--help")
    assert result.code == 0
    found: dict[str, list[str]] = {}
    panel = ""
    for line in result.out.splitlines():
        if line.startswith("╭─"):
            panel = line.strip("╭─╮ ")
        elif line.startswith("│ ") and panel in PANELS and line[2] != " ":
            found.setdefault(panel, []).append(line.split()[1])
    assert list(found) == [p for p in PANELS if p in found]
    assert found == {
        "build": ["quickstart", "run", "check", "plan", "explain", "init", "generate", "mine", "export", "overlay", "verify", "sign"],
        "train": ["train"],
        "judge": ["moderate", "serve", "evaluate", "audit", "reward", "compare", "certify", "gate", "hygiene"],
        "look": [
            "operators",
            "schema",
            "view",
            "report",
            "sources",
            "guards",
            "coverage",
            "overlaps",
            "disputes",
            "review",
            "diff",
            "doctor",
            "rejects",
            "category",
            "journal",
            "runs",
        ],
    }


@pytest.mark.parametrize("verb", [*VERBS, ("train",), ("journal",), ("runs",)], ids=" ".join)
def test_every_verb_has_help_with_an_example(verb: tuple[str, ...], cli: Cli) -> None:
    result = cli(*verb, "--help")
    assert result.code == 0
    assert f"Example: guardkit {' '.join(verb)}" in result.out


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_can_speak_json(verb: tuple[str, ...]) -> None:
    assert any("--json" in p.opts for p in VERBS[verb].params)


def test_version_and_module(cli: Cli, tmp_path: Path) -> None:
    assert cli("--version").out.strip() == __version__
    assert guardkit("--version", cwd=tmp_path).out.strip() == __version__


# One JSON document ----------------------------------------------------------------------------------------------------


def test_every_verb_prints_one_document_and_progress_goes_elsewhere(cli: Cli, tmp_path: Path) -> None:
    file = recipe(tmp_path, SEEDS, {"id": "r", "use": "synthesise", "with": {"backend": {"backend": "template"}}}, {"id": "t", "use": "render_sft"}, {"id": "s", "use": "shards"})  # fmt: skip
    ran = cli("run", file, "--json")
    assert ran.code == 0
    assert ran.json["built"] == ["seeds", "r", "t", "s"] and ran.json["reused"] == [] and ran.json["steps"][0]["kept"] == 8
    assert "[1/4] seeds: 8 rows" in ran.err
    again = cli("run", file, "--json", "--set", "s.title=Other")
    assert again.json["built"] == ["s"] and again.json["reused"] == ["seeds", "r", "t"]
    assert "up to date" in again.err
    assert cli("run", file, "--force", "--json").json["built"] == ["seeds", "r", "t", "s"]
    assert cli("check", file, "--json").json == {
        "recipe": "small",
        "steps": 4,
        "words": [],
        "needs": [],
        "sends": [],
        "fetches": [],
        "allowed": [],
        "faults": [],
    }
    assert [s["state"] for s in cli("plan", file, "--json").json["steps"]] == ["reuse"] * 4
    assert cli("explain", file, "--json").json["steps"][0]["with"]["limit"]["value"] == 2
    assert cli("verify", "outputs/small/s/shards", "--json").json["rows"] == 8
    assert [o["name"] for o in cli("operators", "--json").json][:2] == ["load", "read"]
    assert cli("operators", "mine", "--json").json[0]["shape"] == "merge"
    assert {s["name"] for s in cli("sources", "--json").json} >= {"wildguard_train", "quickstart"}
    assert cli("sources", "wildguard_train", "--json").json["gated"] is True
    assert {g["name"] for g in cli("guards", "--json").json} >= {"guardreasoner", "llama_guard_3", "qwen3guard"}
    assert cli("schema", "--json").json["title"] == "guardkit recipe"
    (line,) = cli("runs", "list", "--json").json
    assert (line["folder"], line["recipe"], line["steps"], line["built"]) == ("outputs/small", "small", 4, 4)
    assert cli("runs", "status", "outputs/small", "--json").json["steps"][3]["state"] == "built"
    old = shutil.copytree(tmp_path / "outputs/small/seeds", tmp_path / "outputs/small/old")
    about = json.loads((old / "manifest.json").read_text())
    (old / "manifest.json").write_text(json.dumps({n: "old" if n == "step" else v for n, v in about.items() if n != "seal"}))
    assert cli("runs", "clean", "outputs/small", "--json").json == {"removed": ["old"]}


def test_an_error_is_a_document_too(cli: Cli) -> None:
    result = cli("plan", "nosuch", "--json")
    assert result.code == 2
    assert result.json["exit_code"] == 2 and result.json["error"] == "InputError"
    assert result.json["faults"][0]["message"] == "no recipe called 'nosuch'"
    assert "no recipe called 'nosuch'" in result.err


def test_an_error_of_usage_is_a_document_too(cli: Cli) -> None:
    result = cli("mine", "--output", "m", "--json")
    assert result.code == 2 and "Missing option '--predictions'" in result.json["faults"][0]["message"] and "Missing option" in result.err


def test_for_people_there_are_tables(cli: Cli, tmp_path: Path) -> None:
    file = recipe(tmp_path, SEEDS, {"id": "clean", "use": "normalise"}, seed=3)
    assert "small: 2 steps, no faults" in cli("check", file).out
    plan = cli("plan", file).out
    assert "~8" in plan and "~ marks an estimate" in plan
    ran = cli("run", file)
    assert "Run of small: rows at each step" in ran.out and "Everything is in: outputs/small" in ran.out
    assert "~" not in cli("plan", file).out
    explained = cli("explain", file, "--set", "seed=9", "--set", "clean.strip=false").out
    assert "seed: 9    # --set seed=9" in explained and "strip: false    # --set clean.strip=false" in explained
    assert f"limit: 2    # {file.name}:8" in explained and "unicode: NFC    # default of normalise" in explained
    assert "outputs/small" in cli("runs", "list").out and "clean" in cli("runs", "status", "outputs/small").out
    assert "nothing to remove" in cli("runs", "clean", "outputs/small").out
    assert "ODC-By" in cli("sources").out and "gated: true" in cli("sources", "wildguard_train").out
    assert "Completion" in cli("guards", "guardreasoner").out
    one = cli("operators", "pair").out
    assert "gamma: number, default 0.2" in one and "in a recipe:" in one
    assert "hard samples" in cli("operators").out


# Exit codes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("nosuch",), "No such command 'nosuch'"),
        (("run",), "Missing argument"),
        (("run", "quickstart", "--outptu", "x"), "No such option: --outptu"),
        (("mine", "--output", "x"), "Missing option '--predictions'"),
        (("run", "quickstart", "--set", "seed"), "not of the form"),
        (("run", "quickstart", "--set", "sampels.k=2"), "did you mean 'samples'"),
        (("run", "quickstart", "--source", "quickstart"), "not of the form NAME=FILE"),
        (("check", "quickstart", "--source", "wildguard=x"), "loads no source of that name"),
        (("verify", "nowhere"), "no manifest.json"),
        (("runs", "status", "nowhere"), "not the folder of a run"),
        (("runs", "clean", "nowhere"), "not the folder of a run"),
        (("operators", "normalize"), "did you mean 'normalise'"),
        (("sources", "wildguard"), "did you mean 'wildguard_train'"),
        (("guards", "nosuch"), "no guard called 'nosuch'"),
        (("train", "sft", "nowhere.yaml"), "nowhere.yaml: no such file"),
    ],
)
def test_bad_arguments_end_with_2_and_nothing_on_stdout(args: tuple[str, ...], message: str, cli: Cli, tmp_path: Path) -> None:
    result = cli(*args)
    assert result.code == 2
    assert message in " ".join(result.err.replace("│", " ").split())
    assert result.out == "" and list(tmp_path.iterdir()) == []


def test_check_lists_all_faults_with_their_lines(cli: Cli, tmp_path: Path) -> None:
    file = recipe(
        tmp_path,
        {**SEEDS, "with": {"source": "quickstar"}},
        {"id": "clean", "use": "normalise", "with": {"unicod": "NFC", "strip": "perhaps"}},
        {"id": "odd", "use": "normalize"},
        {"id": "v", "use": "verdicts", "from": "clea"},
    )
    result = cli("check", file)
    assert result.code == 2
    for words in ("did you mean 'quickstart'", "did you mean 'unicode'", "strip", "did you mean 'normalise'", "did you mean 'clean'"):
        assert words in result.err
    assert result.err.count(f"{file.name}:") == 5
    found = cli("check", file, "--json")
    assert found.code == 2
    assert len(found.json["faults"]) == 5 and found.json["needs"] == []
    assert all(f["where"].startswith(f"{file.name}:") and f["message"] for f in found.json["faults"])


def test_what_a_machine_lacks_is_no_fault_of_the_recipe(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    teacher = {"backend": "openai", "model": "m"}
    file = recipe(tmp_path, SEEDS, {"id": "r", "use": "synthesise", "with": {"backend": teacher}})
    result = cli("check", file)
    assert result.code == 0 and "needs: step 'r'" in result.out and "OPENAI_API_KEY" in result.out
    assert "sends: r to https://api.openai.com/v1 (m), with the key in $OPENAI_API_KEY: context, prompt, response" in result.out
    assert cli("check", file, "--json").json["needs"] == [result.out.split("needs: ")[1].strip()]
    assert cli("check", file, "--ready").code == 4
    ready = cli("check", file, "--ready", "--json")
    assert ready.code == 4 and len(ready.json["needs"]) == 1, "one document, not two"
    ran = cli("run", file)
    assert ran.code == 4 and "OPENAI_API_KEY" in ran.err
    assert not (tmp_path / "outputs").exists(), "nothing is begun that cannot be finished"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    ready = cli("check", file, "--ready")
    assert ready.code == 0 and "sk-secret" not in ready.out + ready.err


def asking(url: str) -> dict[str, Any]:
    model = {"backend": "openai", "model": "m", "base_url": url, "temperature": 1.0, "retries": 0, "concurrency": 2}
    return {"id": "s", "use": "sample", "with": {"k": 2, "models": {"a": model}}}


def test_more_failures_than_declared_end_with_1_and_the_next_run_mends_it(cli: Cli, tmp_path: Path) -> None:
    with running(Server()) as server:
        few = {"id": "seeds", "use": "load", "with": {"source": "quickstart", "limit": 1}}  # so few that they may be refused alike by chance
        asked = asking(server.base_url)
        asked["with"]["k"] = 1
        file = recipe(tmp_path, few, asked)
        server.always = "400"
        result = cli("run", file, "--json")
        rows = result.json["steps"][1]["in"]
        assert result.code == 1 and f"{rows} of {rows}" in result.err and 0 < rows < 8
        assert result.json["steps"][1]["kept"] == 0 and sum(result.json["steps"][1]["rejected"].values()) == rows
        assert cli("run", file, "--set", "failures=1.0").code == 0
        server.always = None
        assert cli("run", file).code == 0


def test_an_interrupt_ends_with_3_and_keeps_what_was_answered(cli: Cli, tmp_path: Path) -> None:
    with running(Server(latency=0.2)) as server:
        file = recipe(tmp_path, SEEDS, asking(server.base_url))
        command = subprocess.Popen(
            [sys.executable, "-m", "toolkit", "run", str(file)], cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True
        )
        until = time.monotonic() + 60
        while sum(server.answered.values()) < 4 and time.monotonic() < until:
            time.sleep(0.02)
        command.send_signal(signal.SIGINT)
        _, err = command.communicate(timeout=60)
        assert command.returncode == 3 and "interrupted" in err and "Traceback" not in err
        assert (tmp_path / "outputs" / "small" / "seeds" / "manifest.json").exists()
        assert cli("run", file).code == 0
        assert sum(server.answered.values()) <= 16 + 2, "at most what was in flight is asked again"


PLUGIN = '''
from toolkit.operators import DatasetOperator


class Broken(DatasetOperator):
    """Fails: a bug, and no fault of the user's or of a row."""

    name = "broken"
    shape = "one_to_one"

    def run(self, inputs, out, ctx):
        raise RuntimeError("no\\x1b[31m idea")
'''


def test_a_bug_ends_with_70_and_says_how_to_report_it(tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "broken-1.dist-info").mkdir(parents=True)
    (site / "broken_operator.py").write_text(PLUGIN)
    (site / "broken-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (site / "broken-1.dist-info" / "entry_points.txt").write_text("[guardkit.operators]\nbroken = broken_operator:Broken\n")
    file = recipe(tmp_path, SEEDS, {"id": "b", "use": "broken"})
    result = guardkit("run", file, cwd=tmp_path, PYTHONPATH=f"{CHECKOUT}{os.pathsep}{site}")
    assert result.code == 70
    assert f"this is a bug in guardkit {__version__}" in result.err and "report it" in result.err
    assert "RuntimeError: no\\x1b[31m idea" in result.err and "\x1b" not in result.err
    assert (tmp_path / "outputs" / "small" / "seeds" / "manifest.json").exists()
    assert not (tmp_path / "outputs" / "small" / "b").exists()


# Text from data and from files is shown, never obeyed -----------------------------------------------------------------


def test_escapes_in_recipes_and_names_reach_the_terminal_as_text(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "odd.yaml"
    file.write_text('recipe: odd\nsteps:\n  - {id: s, use: load, with: {source: "\\e[31mred", "\\e]0;title\\a": 1}}\n')
    result = cli("check", file)
    assert result.code == 2 and "\x1b" not in result.err and "\\x1b" in result.err
    file.write_text('recipe: odd\ndescription: "\\e[2Jgone \\u202e"\nsteps:\n  - {id: s, use: load, with: {source: quickstart}}\n')
    result = cli("explain", file)
    assert result.code == 0 and "\x1b" not in result.out and "\u202e" not in result.out and "\\x1b[2Jgone \\u202e" in result.out
    (tmp_path / "schemas" / "sources").mkdir(parents=True)
    source = 'name: odd\nversion: 1\ndescription: "\\e[31mred"\nlicence: x\nobtain: x\ncolumns: {prompt: q}\nlabels: {prompt: {missing: absent}}\n'
    (tmp_path / "schemas" / "sources" / "odd.yaml").write_text(source)
    for args in (("sources",), ("sources", "odd")):
        result = cli(*args)
        assert result.code == 0 and "\x1b" not in result.out and "red" in result.out
    assert json.loads(cli("sources", "odd", "--json").out)["description"] == "\x1b[31mred", "JSON holds what is there, escaped by its own rules"


def test_a_reader_that_has_seen_enough_is_no_failure(tmp_path: Path) -> None:
    for args in (("schema",), ("operators",), ("operators", "load"), ("sources", "quickstart")):
        command = subprocess.Popen(
            [sys.executable, "-m", "toolkit", *args], cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert command.stdout is not None and command.stderr is not None
        command.stdout.close()
        err = command.stderr.read()
        assert command.wait(60) == 0, err
        assert err == b""


def test_a_terminal_without_the_letter_gets_an_escape(tmp_path: Path) -> None:
    file = recipe(tmp_path, SEEDS, name="odd", description="caf\u00e9 \u4f60")
    result = guardkit("explain", file, cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert result.code == 0 and "caf\\xe9" in result.out
    found = guardkit("explain", file, "--json", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert found.code == 0 and found.json["recipe"]["description"]["value"] == "caf\u00e9 \u4f60"


# What starting it loads -----------------------------------------------------------------------------------------------

HEAVY = ["torch", "transformers", "trl", "datasets", "vllm", "ray", "polars", "pyarrow", "pydantic", "openai", "numpy", "yaml", "jinja2"]


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("import toolkit", set()),
        ("import toolkit.cli", set()),
        ("sys.argv = ['guardkit', '--help']; from toolkit.cli import main; main()", set()),
        ("sys.argv = ['guardkit', 'run', '--help']; from toolkit.cli import main; main()", {"pydantic"}),  # typer's own
        ("sys.argv = ['guardkit', '--version']; from toolkit.cli import main; main()", {"pydantic"}),
        ("import toolkit; toolkit.load_guard", {"pydantic", "yaml"}),
        ("sys.argv = ['guardkit', 'operators']; from toolkit.cli import main; main()", {"polars", "pyarrow", "pydantic", "yaml", "jinja2"}),
        (
            "sys.argv = ['guardkit', 'check', 'small.yaml']; from toolkit.cli import main; main()",
            {"polars", "pyarrow", "pydantic", "yaml", "jinja2", "numpy"},
        ),
    ],
)
def test_starting_loads_nothing_that_is_not_needed(code: str, allowed: set[str], tmp_path: Path) -> None:
    train = {"id": "t", "use": "train_sft", "from": "s", "with": {"model": {"scratch": {}}}}
    recipe(tmp_path, SEEDS, {"id": "r", "use": "synthesise", "with": {"backend": {"backend": "template"}}}, {"id": "x", "use": "render_sft"}, {"id": "s", "use": "shards"}, train)  # fmt: skip
    tail = f"import atexit, sys; atexit.register(lambda: print('LOADED', *[m for m in {HEAVY!r} if m in sys.modules]))\n{code}"
    done = subprocess.run([sys.executable, "-c", tail], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.splitlines()[-1].split()[1:])
    assert loaded <= allowed


def test_a_trainer_that_nobody_has_is_answered_with_the_nearest(cli: Cli) -> None:
    result = cli("train", "stf", "my.yaml")
    assert result.code == 2 and "No such command 'stf': did you mean 'sft'?" in result.err
    result = cli("train", "rlhf", "my.yaml")
    assert result.code == 2 and "known: dpo, grpo, sft" in result.err
