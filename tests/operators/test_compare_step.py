"""`compare` in a recipe: guards of one evaluation or of several, F1 side by side, and in words what their difference is worth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from frames import run_steps, seed, seeds, verdict, verdicts
from server import Server

from toolkit.common.errors import InputError
from toolkit.evaluation import read_evaluation
from toolkit.guards import Reasoning, load_guard, render_input, render_output
from toolkit.pipeline import StepFolder

H, U = "harmful", "unharmful"
ROWS = 60
GOLD = [H if n % 2 else U for n in range(ROWS)]


def wrong(*rows: int) -> list[str]:
    """Verdicts that are right but for these rows."""
    return [{H: U, U: H}[v] if n in rows else v for n, v in enumerate(GOLD)]


VERDICTS = {"good": wrong(1), "same": wrong(3), "bad": wrong(*range(1, 50))}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Rows that were asked about, and the verdicts of three guards on them."""
    asked = seeds(*(seed(n, label_prompt=v) for n, v in enumerate(GOLD)))
    asked.drop("categories", "votes", "context").write_parquet(tmp_path / "asked.parquet")
    for guard, words in VERDICTS.items():
        rows = [verdict(row, guard, 0, prompt=words[n]) for n, row in enumerate(asked.iter_rows(named=True))]
        verdicts(*rows).drop("categories", "votes", "context").write_parquet(tmp_path / f"{guard}.parquet")
    return tmp_path


def read(folder: Path, name: str, *files: str) -> dict[str, Any]:
    schema = pl.read_parquet_schema(folder / f"{files[0]}.parquet")
    columns = {c: {"name": c, "type": "int64"} if t == pl.Int64 else c for c, t in schema.items()}
    return {"id": name, "use": "read", "with": {"files": [f"{f}.parquet" for f in files], "columns": columns}}


def compared(folder: Path, *more: dict[str, Any]) -> dict[str, StepFolder]:
    steps = [read(folder, "asked", "asked"), read(folder, "said", *VERDICTS)]
    steps.append({"id": "scores", "use": "evaluate", "from": {"rows": "said", "asked": "asked"}, "with": {"policies": ["clean"]}})
    return run_steps(folder, [*steps, *more])


def compare(**more: Any) -> dict[str, Any]:
    """The step, with fewer draws than by default: the result is clear enough."""
    return {"id": "c", "use": "compare", **more, "with": {"draws": 400, **more.get("with", {})}}


def words(step: StepFolder) -> dict[str, str]:
    return {v["b"]: v["outcome"] for v in step.manifest["stats"]["verdicts"] if v["task"] == "prompt"}


def test_the_guards_of_one_evaluation_are_held_against_the_first(folder: Path) -> None:
    made = compared(folder, compare())["c"]
    assert words(made) == {"same": "not distinguishable", "bad": "worse"}
    (found,) = [v["words"] for v in made.manifest["stats"]["verdicts"] if v["b"] == "bad" and v["task"] == "prompt"]
    assert found.startswith("prompt: bad is worse than good: -")
    document = json.loads((made.artefact("comparison") / "comparison.json").read_text())
    assert [m["name"] for m in document["models"]] == ["good", "same", "bad"] and {m["step"] for m in document["models"]} == {"scores"}
    assert str(folder) not in json.dumps(document), "the place of a run is no part of what it says"
    (line,) = made.manifest["stats"]["lines"]
    assert line["n"] == ROWS and {c["model"]: c["f1"] for c in line["cells"]}["good"] == pytest.approx(98.31)
    assert document["errors"], "with the texts of what only one of the two gets wrong"


def test_another_baseline_turns_the_words_round(folder: Path) -> None:
    made = compared(folder, compare(**{"from": "scores", "with": {"models": ["good", "bad"], "baseline": "bad"}}))["c"]
    assert words(made) == {"good": "better"}


def test_every_pair(folder: Path) -> None:
    made = compared(folder, compare(**{"with": {"every_pair": True}}))["c"]
    assert len([v for v in made.manifest["stats"]["verdicts"] if v["task"] == "prompt"]) == 3


def test_evaluations_of_several_steps_by_name(folder: Path) -> None:
    steps = [read(folder, "asked", "asked")]
    for guard in ("good", "bad"):
        steps += [read(folder, f"said-{guard}", guard)]
        steps += [{"id": f"scores-{guard}", "use": "evaluate", "from": {"rows": f"said-{guard}", "asked": "asked"}, "with": {"policies": ["clean"]}}]
    step = compare(**{"from": {"sft": "scores-good", "dpo": "scores-bad"}})
    made = run_steps(folder, [*steps, step])["c"]
    assert words(made) == {"dpo": "worse"}
    step["from"] = {"dpo": "scores-bad", "sft": "scores-good"}
    assert words(run_steps(folder, [*steps, step])["c"]) == {"sft": "better"}, "the first one that is named is the baseline"


def test_a_step_that_is_done_is_not_done_again(folder: Path) -> None:
    first = compared(folder, compare())["c"]
    assert compared(folder, compare())["c"].manifest == first.manifest
    again = compared(folder, compare(**{"with": {"policy": "drop"}}))["c"]
    assert again.manifest["fingerprint"] != first.manifest["fingerprint"]


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"from": "said"}, "'said' (read) makes no 'evaluation'\n  steps that do: scores"),
        ({"from": "score"}, "no earlier step called 'score'\n  did you mean 'scores'?"),
        ({"with": {"models": ["goood"]}}, "no model called 'goood' in these evaluations\n  did you mean 'good'?"),
        ({"with": {"models": ["good"]}}, "one guard alone, 'good': nothing to compare it with"),
        ({"with": {"baseline": "godo"}}, "no guard called 'godo' to compare with\n  did you mean 'good'?"),
        ({"with": {"policy": "cleen"}}, "no policy 'cleen'; did you mean 'clean'?"),
        ({"with": {"published": ["guardreasner"]}}, "did you mean 'guardreasoner'?"),
    ],
)
def test_what_cannot_be_compared_is_reported(folder: Path, step: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as e:
        compared(folder, compare(**step))
    assert message in str(e.value)


def test_an_evaluation_without_the_artefact_names_what_makes_it(folder: Path) -> None:
    steps = [
        read(folder, "asked", "asked"),
        read(folder, "said", *VERDICTS),
        {"id": "old", "use": "evaluate", "from": {"rows": "said", "asked": "asked"}},
    ]
    with pytest.raises(InputError, match="'old' \\(evaluate\\) makes no 'evaluation'"):
        run_steps(folder, [*steps, compare()])


# The whole of it, over HTTP ---------------------------------------------------------------------------------------------

GUARD = load_guard("guardreasoner")


def chat(server: Server, says: dict[str, dict[str, str]]) -> None:
    """Models that write a whole output for a prompt, by model and prompt; "?" says nothing that could be read."""

    def reply(text: str, body: dict[str, Any]) -> tuple[int, dict[str, str], dict[str, Any]]:
        prompt = next(p for p in says[body["model"]] if f"\n{p}\n" in text)
        word = says[body["model"]][prompt]
        labels = dict.fromkeys(GUARD.task_names) | {"prompt": word, "refusal": "refusal" if "No." in text else None}
        steps = {t: Reasoning(["It is read."], f"It is {v}." if v else "There is none.") for t, v in labels.items()}
        message = {"role": "assistant", "content": "I see." if word == "?" else render_output(GUARD, steps, labels)}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        usage = {"prompt_tokens": 1, "completion_tokens": 1}
        return 200, {}, {"id": "x", "object": "chat.completion", "model": body["model"], "choices": [choice], "usage": usage}

    server.script = reply


def test_from_ten_lines_of_yaml_to_words(server: Server, tmp_path: Path) -> None:
    prompts = [f"question {n}" for n in range(30)]
    gold = [H if n % 2 else U for n in range(30)]
    pl.DataFrame({"q": prompts, "bad": gold, "topic": ["tea" if n < 10 else "cake" for n in range(30)]}).write_csv(tmp_path / "ours.csv")
    lines = ["name: ours", "positive: harmful", "task: prompt", "files: [ours.csv]", "columns: {prompt: q}"]
    lines += ["label: {column: bad, map: {harmful: harmful, unharmful: unharmful}, source: human}", "categories: {columns: [topic]}"]
    (tmp_path / "ours.yaml").write_text("\n".join(lines) + "\n")
    stated = {"good": gold, "bad": [U if n < 24 else v for n, v in enumerate(gold)], "mute": ["?"] * 30}
    chat(server, {model: dict(zip(prompts, words, strict=True)) for model, words in stated.items()})
    models = {m: {"backend": "openai", "model": m, "base_url": server.base_url, "retries": 0, "temperature": 0} for m in stated}
    steps: list[dict[str, Any]] = [
        {"id": "rows", "use": "benchmarks", "with": {"benchmarks": ["ours.yaml"]}},
        {"id": "samples", "use": "sample", "with": {"k": 1, "models": models}},
        {"id": "verdicts", "use": "verdicts"},
        {"id": "scores", "use": "evaluate", "from": {"rows": "verdicts", "asked": "rows"}, "with": {"policies": ["clean", "fail-closed"]}},
        compare(),
    ]
    made = run_steps(tmp_path, steps)
    found = read_evaluation(made["scores"].artefact("evaluation"))
    lines_ = {(r["model"], r["policy"]): r for r in found.document["results"]}
    assert lines_["good", "clean"]["f1"] == 100.0 and lines_["bad", "clean"]["recall"] == 20.0
    assert lines_["mute", "clean"]["f1"] is None and lines_["mute", "clean"]["withheld"]["parse_rate"] == 0.0, "nothing was read: no F1"
    assert set(found.rows().collect()["categories"].list.first()) == {"tea", "cake"}
    outcomes = words(made["c"])
    assert outcomes["bad"] == "worse" and outcomes.get("mute", "unknown") == "unknown"
    asked = len(server.requests)
    again = [*steps[:3], {**steps[3], "with": {"policies": ["drop"]}}, steps[4]]
    run_steps(tmp_path, again)
    assert len(server.requests) == asked == 90, "another policy asks nothing"


def test_what_a_benchmark_is_declared_to_be_goes_into_the_evaluation(server: Server, tmp_path: Path) -> None:
    texts = [render_input(GUARD, {"prompt": p, "response": "No."}).removeprefix(GUARD.instruction + "\n") for p in ("One", "Two")]
    file = tmp_path / "any.json"
    file.write_text(json.dumps([{"input": t, "output": v} for t, v in zip(texts, ("refusal", "compliance"), strict=True)]))
    chat(server, {"m": {"One": H, "Two": H}})
    model = {"backend": "openai", "model": "m", "base_url": server.base_url, "temperature": 0}
    steps: list[dict[str, Any]] = [
        {"id": "rows", "use": "benchmarks", "with": {"benchmarks": ["xstest_response_refusal", "toxic_chat"], "hub": False, "without": "leave_out"}},
        {"id": "samples", "use": "sample", "with": {"k": 1, "models": {"m": model}}},
        {"id": "verdicts", "use": "verdicts"},
        {"id": "scores", "use": "evaluate", "from": {"rows": "verdicts", "asked": "rows"}},
    ]
    made = run_steps(tmp_path, steps, sources={"xstest_response_refusal": [file]})
    document = read_evaluation(made["scores"].artefact("evaluation")).document
    (entry,) = document["benchmarks"]
    assert (entry["title"], entry["task"], entry["paper"], entry["n"], entry["way"]) == ("XSTestResponseRefusal", "refusal", 499, 2, "released")
    assert {m["weight"] for m in document["means"] if m["mean"] == "stated"} == {499}, "the paper's means come out with its own sizes alone"
    assert any("2 rows are scored, the paper states 499" in words for words in document["remarks"])
    assert made["rows"].manifest["stats"]["left_out"].keys() == {"toxic_chat"}
