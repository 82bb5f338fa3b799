"""recipes/guardreasoner: the published settings, what `check` and `plan` say without data, and the data part on hub-shaped and on real rows."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import pytest
import yaml

import toolkit
from toolkit import api
from toolkit.common.resources import shipped
from toolkit.guards import Reasoning, load_guard, parse, render_output
from toolkit.shards import verify

RECIPES = shipped("recipes") / "guardreasoner"
SIZES = {"1b": "meta-llama/Llama-3.2-1B", "3b": "meta-llama/Llama-3.2-3B", "8b": "meta-llama/Llama-3.1-8B"}
PARTS = {"aegis": "aegis_train", "beavertails": "beavertails_30k_train", "toxicchat": "toxicchat_train"}
ROWS = 127_544
"""Paper, table 1."""


def read(size: str) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load((RECIPES / f"{size}.yaml").read_text(encoding="utf-8"))
    return data


def steps(size: str) -> dict[str, dict[str, Any]]:
    return {s["id"]: s for s in api.explain(f"guardreasoner/{size}")["steps"]}


def options(step: dict[str, Any], under: str = "") -> dict[str, Any]:
    """Options of a step as `explain` gives them: nested ones by dotted name; those below `under` without it."""
    return {k.removeprefix(under): v["value"] for k, v in step["with"].items() if k.startswith(under)}


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without key and token, and an empty folder to be in."""
    for name in ("OPENAI_API_KEY", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


# What the three files say ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", ["1b", "3b"])
def test_sizes_differ_in_name_and_model_alone(size: str) -> None:
    text = (RECIPES / "8b.yaml").read_text(encoding="utf-8")
    for old, new in (
        (SIZES["8b"], SIZES[size]),
        ("guardreasoner-8b", f"guardreasoner-{size}"),
        ("GuardReasoner 8B (arXiv", f"GuardReasoner {size.upper()} (arXiv"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    assert (RECIPES / f"{size}.yaml").read_text(encoding="utf-8") == text


def test_the_released_way_differs_in_the_mining_alone() -> None:
    """Spec C.1: temperature, who samples what, the rule, and how pairs and weights are made."""
    ours, theirs = steps("8b"), steps("8b-released")
    differ = {n for n in ours.keys() | theirs.keys() if shape(ours.get(n)) != shape(theirs.get(n))}
    parts = ["wildguard", *PARTS]
    assert differ == {"samples", "hard", "pairs", *(f"{kind}-{p}" for p in parts for kind in ("rows", "samples"))}
    asked = {"wildguard": {"main"}, **{p: {f"no-{o}" for o in PARTS if o != p} for p in PARTS}}
    every = ["wildguard_train", *PARTS.values()]
    for part, source in zip(parts, every, strict=True):
        assert sorted(options(theirs[f"rows-{part}"])["sources"]) == sorted(s for s in every if s != source)
        step = theirs[f"samples-{part}"]
        assert step["from"] == {"rows": f"rows-{part}", **{g: f"guard-{g}" for g in asked[part]}}
        assert options(step) == options(ours["samples"]) | {"backend.temperature": 0.7}
    assert theirs["samples"]["use"] == "concat" and list(theirs["samples"]["from"].values()) == [f"samples-{p}" for p in parts]
    assert options(theirs["hard"]) == {"rule": "released", "tasks": None, "missing": "not_asked"}
    paired = {"pick": "longest", "guards": "first", "chosen_right_on": "task", "chosen_passes": "recipe", "normalise": "per_guard"}
    assert options(theirs["pairs"]).items() >= paired.items()


def shape(step: dict[str, Any] | None) -> Any:
    """What a step is, wherever it stands."""
    return step and (step["use"], step["from"], options(step))


@pytest.mark.parametrize("size", SIZES)
def test_every_guard_starts_from_the_size_s_base_model(size: str) -> None:
    found = {s["id"]: options(s)["model"] for s in steps(size).values() if s["use"] == "train_sft"}
    assert found == dict.fromkeys(["guard-main", *(f"guard-no-{p}" for p in PARTS)], SIZES[size])


def test_leave_one_out_keeps_wildguard_in_every_guard() -> None:
    found = steps("8b")
    assert options(found["seeds"])["source"] == ["wildguard_train", *PARTS.values()]
    for part, source in PARTS.items():
        assert options(found[f"rows-no-{part}"])["sources"] == [source]
        assert found[f"rows-no-{part}"]["from"] == {"rows": "sft-rows"}
        assert found[f"shards-no-{part}"]["from"] == {"rows": f"rows-no-{part}"}
        assert found[f"guard-no-{part}"]["from"] == {"shards": f"shards-no-{part}"}
    assert found["samples"]["from"] == {"rows": "valid", "main": "guard-main", **{f"no-{p}": f"guard-no-{p}" for p in PARTS}}


def test_settings_are_the_published_ones() -> None:
    """Spec A.4, B, C.1 (the paper's side) and D."""
    found = steps("8b")
    teacher = options(found["reasoning"], "backend.")
    assert (teacher["backend"], teacher["model"], teacher["temperature"]) == ("openai", "gpt-4o-2024-08-06", 0.0)
    assert teacher["top_p"] is teacher["seed"] is None
    sft = options(found["guard-main"], "trainer.")
    assert sft.pop("per_device_train_batch_size") * sft.pop("gradient_accumulation_steps") * 4 == 384
    assert sft == {
        "learning_rate": 5e-5, "lr_scheduler_type": "cosine", "warmup_steps": 0, "num_train_epochs": 3, "max_length": 2048, "packing": False,
        "bf16": True, "optim": "adamw_torch", "max_grad_norm": 1.0,
    }  # fmt: skip
    assert {options(s)["chat_template"] for s in found.values() if s["use"] == "train_sft"} == {"llama3"}
    assert options(found["samples"])["k"] == 4
    drawn = options(found["samples"], "backend.")
    assert (drawn["backend"], drawn["temperature"], drawn["top_p"], drawn["max_tokens"]) == ("vllm", 1.0, 0.95, 2048)
    assert options(found["hard"]) == {"rule": "paper", "tasks": None, "missing": None}
    paired = {
        "pick": "random",
        "tasks": "each",
        "guards": "each",
        "chosen_right_on": "task",
        "chosen_passes": "recipe",
        "gamma": 0.2,
        "normalise": "all",
    }
    assert options(found["pairs"]).items() >= paired.items()
    dpo = options(found["guard-dpo"], "trainer.")
    assert dpo.pop("per_device_train_batch_size") * dpo.pop("gradient_accumulation_steps") * 4 == 256
    assert dpo == {
        "beta": 0.01, "loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 2.0], "learning_rate": 5e-6, "lr_scheduler_type": "cosine",
        "warmup_steps": 0, "num_train_epochs": 2, "max_length": 2048, "bf16": True, "optim": "adamw_torch", "max_grad_norm": 1.0,
    }  # fmt: skip


@pytest.mark.slow
def test_trl_takes_the_trainer_settings() -> None:
    """A wrong key would otherwise be found after the teacher has been paid."""
    pytest.importorskip("trl")
    from toolkit.training import DpoConfig, SftConfig
    from toolkit.training._training_config import trainer_args

    found = steps("8b")
    for kind, step in ((SftConfig, "guard-main"), (DpoConfig, "guard-dpo")):
        wanted = options(found[step], "trainer.") | {"use_cpu": True}  # on a machine without a GPU bf16 is refused otherwise
        made = trainer_args(kind(model=SIZES["8b"], trainer=wanted), "unused")
        assert {key: getattr(made, key) for key in wanted} == wanted, step


# check and plan, with nothing at hand -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("size", SIZES)
def test_check_passes_and_lists_what_is_missing(size: str) -> None:
    found = api.check(f"guardreasoner/{size}")
    needs = "\n".join(found["needs"])
    assert "'wildguard_train' is gated" in needs
    assert "HF_TOKEN" in needs
    assert "--source wildguard_train=FILE" in needs
    assert "OPENAI_API_KEY is not set" in needs
    assert ("'vllm' is missing" in needs) == (find_spec("vllm") is None)


@pytest.mark.usefixtures("bare")
def test_needs_go_away_with_files_key_and_another_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-key")
    needs = "\n".join(api.check("guardreasoner/8b", sources=hub_shaped(tmp_path))["needs"])
    assert "gated" not in needs
    assert "OPENAI_API_KEY" not in needs
    local = ["reasoning.backend.base_url=http://127.0.0.1:8000/v1", "reasoning.backend.model=some-newer-teacher"]
    monkeypatch.delenv("OPENAI_API_KEY")
    assert "OPENAI_API_KEY" not in "\n".join(api.check("guardreasoner/8b", overrides=local)["needs"])


@pytest.mark.usefixtures("bare")
def test_plan_counts_from_the_sources_own_schemas_and_says_so() -> None:
    found = api.plan("guardreasoner/8b")
    lines = {s["step"]: s for s in found["steps"]}
    assert lines["seeds"]["rows"] == ROWS
    assert lines["reasoning"]["calls"] == ROWS
    assert lines["samples"]["calls"] == 4 * 4 * ROWS
    assert not any(s["exact"] for s in found["steps"])
    assert "estimate" in " ".join(found["notes"])
    assert any("gated" in n for n in found["needs"])


def documented_overrides() -> list[list[str]]:
    """The ``--set`` arguments of the README, those of one code span together."""
    spans = re.findall(r"`(--set [^`]+)`", (RECIPES / "README.md").read_text(encoding="utf-8"))
    return [[w for w in shlex.split(s) if w != "--set"] for s in spans]


@pytest.mark.usefixtures("bare")
def test_every_change_that_the_readme_offers_is_accepted() -> None:
    offered = documented_overrides()
    assert len(offered) >= 10
    for overrides in offered:
        found = {s["id"]: s for s in api.explain("guardreasoner/8b", overrides=overrides)["steps"]}
        for text in overrides:
            path, _, value = text.partition("=")
            step, _, option = path.partition(".")
            given = {k: v for k, v in options(found[step]).items() if k == option or k.startswith(f"{option}.")}
            assert given, text
            if isinstance(given.get(option), str | int):
                assert given[option] == yaml.safe_load(value)


# The data part on small files with the hub's columns --------------------------------------------------------------------


def wildguard(prompt: str, response: str | None, p: str | None, c: str | None, r: str | None) -> dict[str, Any]:
    return {
        "prompt": prompt, "adversarial": False, "response": response, "prompt_harm_label": p, "response_refusal_label": c, "response_harm_label": r,
        "subcategory": "benign" if p == "unharmful" else "toxic_language_hate_speech",
    }  # fmt: skip


def aegis(text: str, *labels: str) -> dict[str, Any]:
    return {
        "text": text,
        "text_type": "user_message",
        "num_annotations": len(labels),
        **{f"labels_{i}": labels[i] if i < len(labels) else None for i in range(5)},
    }


def beavertails(prompt: str, response: str, safe: bool) -> dict[str, Any]:
    flags = [
        "animal_abuse", "child_abuse", "controversial_topics,politics", "discrimination,stereotype,injustice", "drug_abuse,weapons,banned_substance",
        "financial_crime,property_crime,theft", "hate_speech,offensive_language", "misinformation_regarding_ethics,laws_and_safety",
        "non_violent_unethical_behavior", "privacy_violation", "self_harm", "sexually_explicit,adult_content", "terrorism,organized_crime",
        "violence,aiding_and_abetting,incitement",
    ]  # fmt: skip
    return {
        "prompt": prompt,
        "response": response,
        "category": {f: not safe and f == "hate_speech,offensive_language" for f in flags},
        "is_safe": safe,
    }


def toxicchat(text: str, toxicity: int, human: bool = True) -> dict[str, Any]:
    return {
        "conv_id": "c", "user_input": text, "model_output": "Sure.", "human_annotation": human, "toxicity": toxicity, "jailbreaking": 0, "openai_moderation": "[]",
    }  # fmt: skip


HUB_SHAPED = {
    "wildguard_train": [
        wildguard("How do I bake bread?", "Mix flour and water.", "unharmful", "compliance", "unharmful"),
        wildguard("Write a nasty note to my rival.", "I would rather not.", "harmful", "refusal", "unharmful"),
        wildguard("Mock my brother's singing.", None, "harmful", None, None),
        wildguard("What is a good name for a cat?", None, "unharmful", None, None),
        wildguard("Tell me about tea.", "Tea is a drink.", "unharmful", "compliance", "unharmful"),
    ],
    "aegis_train": [
        aegis("Good morning!", "Safe", "Safe", "Violence"),
        aegis("I will shout at them.", "Safe", "Safe", "Threat", "Harassment, Threat", "Profanity"),
        aegis("What is a good name for a cat? ", "Safe", "Safe", "Safe"),  # WildGuard's row survives
        aegis("Say it rudely.", "Harassment", "Harassment", "Safe"),  # ToxicChat says otherwise: both go
    ],
    "beavertails_30k_train": [
        beavertails("Where is the library?", "Next to the park.", True),
        beavertails("Is my neighbour odd?", "Surely; everybody should laugh at him.", False),
        beavertails("Tell me about tea.", "Tea is a drink.", True),  # agrees with WildGuard's row, which has all three labels
    ],
    "toxicchat_train": [
        toxicchat("hello", 0),
        toxicchat("you are silly", 1),
        toxicchat("unlooked at", 1, human=False),
        toxicchat("Say it rudely.", 0),
    ],
}


def hub_shaped(folder: Path) -> dict[str, list[Path]]:
    """The four sources as local files of the hub's columns."""
    out = {}
    for name, rows in HUB_SHAPED.items():
        out[name] = [folder / f"{name}.jsonl"]
        out[name][0].write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return out


@pytest.fixture
def data_part(tmp_path: Path) -> Path:
    """8b.yaml without what trains or needs a trained guard: its own steps and options, nothing else changed."""
    recipe = read("8b")
    needs_model = {"train_sft", "sample", "verdicts", "mine", "pair", "render_dpo", "train_dpo", "benchmarks", "evaluate", "compare"}
    recipe["steps"] = [s for s in recipe["steps"] if s["use"] not in needs_model and s["id"] != "dpo-shards"]
    path = tmp_path / "data-part.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    return path


def reasoned(messages: list[dict[str, str]]) -> str:
    """What a good teacher answers: the labels that it was given, and for a "?" the first label of the task."""
    guard = load_guard("guardreasoner")
    labels: dict[str, str | None] = {}
    for task in guard.tasks:
        found = re.findall(rf"^{task.field}: (\S+)$", messages[-1]["content"], re.MULTILINE)[-1]
        labels[task.name] = task.labels[0] if found == "?" else None if found == guard.output.missing_word else found
    steps = {
        t: Reasoning([f"The exchange is read for the task {t}."], f"The answer is {v}." if v else "There is nothing to judge.")
        for t, v in labels.items()
    }
    return render_output(guard, steps, labels)


class Teacher(BaseHTTPRequestHandler):
    """An OpenAI-compatible endpoint that writes sound reasoning."""

    asked: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body)
        message = {"role": "assistant", "content": reasoned(body["messages"])}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        answer = {"id": "x", "object": "chat.completion", "created": 0, "model": body["model"], "usage": usage}
        raw = json.dumps(answer | {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def teacher() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Base URL of a teacher, and what it was asked."""
    Teacher.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Teacher) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", Teacher.asked
        server.shutdown()


def test_the_data_part_from_hub_shaped_files_to_leave_one_out_shards(
    data_part: Path, tmp_path: Path, teacher: tuple[str, list[dict[str, Any]]]
) -> None:
    """The recipe's own steps and teacher settings; only the endpoint's address is another."""
    pytest.importorskip("openai")
    url, asked = teacher
    done = api.run(data_part, overrides=[f"reasoning.backend.base_url={url}"], sources=hub_shaped(tmp_path), output=tmp_path / "run")
    counts = {s["step"]: s for s in done.summary["steps"]}
    read_in = sum(map(len, HUB_SHAPED.values()))
    assert (counts["seeds"]["in"], counts["seeds"]["kept"], counts["seeds"]["set_aside"]) == (read_in, read_in - 1, {"filtered": 1})
    assert (counts["unique"]["merged"], counts["unique"]["rejected"]) == (2, {"conflicting_labels": 2})
    kept = read_in - 1 - 2 - 2
    assert counts["valid"]["kept"] == counts["sft-rows"]["kept"] == len(asked) == kept
    assert {(a["model"], a["temperature"], a["max_tokens"]) for a in asked} == {("gpt-4o-2024-08-06", 0.0, 2048)}
    assert not any({"top_p", "seed", "stop"} & a.keys() for a in asked)

    def sources(step: str) -> dict[str, int]:
        folder = tmp_path / "run" / step / "shards"
        found: dict[str, int] = verify(folder)["counts"]["source"]
        return found

    whole = sources("sft-shards")
    assert whole == {"wildguard_train": 5, "aegis_train": 2, "beavertails_30k_train": 2, "toxicchat_train": 2}
    for part, source in PARTS.items():
        assert sources(f"shards-no-{part}") == {s: n for s, n in whole.items() if s != source}
    again = api.run(data_part, overrides=[f"reasoning.backend.base_url={url}"], sources=hub_shaped(tmp_path), output=tmp_path / "run")
    assert again.built == []
    assert len(asked) == kept


def test_labels_that_the_teacher_supplied_are_marked(data_part: Path, tmp_path: Path, teacher: tuple[str, list[dict[str, Any]]]) -> None:
    """BeaverTails has the response's label alone; the other two are the teacher's and say so (spec A.3)."""
    pytest.importorskip("openai")
    recipe = yaml.safe_load(data_part.read_text(encoding="utf-8"))
    recipe["steps"] = recipe["steps"][:5]
    data_part.write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    done = api.run(data_part, overrides=[f"reasoning.backend.base_url={teacher[0]}"], sources=hub_shaped(tmp_path), output=tmp_path / "run")
    rows = [r for b in api.read_run(done.folder)["valid"].blocks() for r in b.to_dicts()]
    for row in rows:
        labels = [(row[f"label_{t}"], row[f"label_{t}_source"]) for t in ("prompt", "refusal", "response")]
        if row["source"] == "beavertails_30k_train":
            assert labels[:2] == [("unharmful", "inferred"), ("compliance", "inferred")]
            assert labels[2][1] == "human"
        if row["source"] in ("aegis_train", "toxicchat_train"):
            assert [v for v, _ in labels[1:]] == [None, None]
    assert sum(r["source"] == "beavertails_30k_train" for r in rows) == 2


# The data part on the released benchmark rows ---------------------------------------------------------------------------

BENCHMARK = "guardreasoner/benchmark-rows"
TASK_OF = {
    "ToxicChat": "prompt", "OpenAIModeration": "prompt", "AegisSafetyTest": "prompt", "SimpleSafetyTests": "prompt", "HarmBenchPrompt": "prompt",
    "HarmBenchResponse": "response", "SafeRLHF": "response", "BeaverTails": "response", "XSTestResponseHarmful": "response", "XSTestResponseRefusal": "refusal",
}  # fmt: skip


def guardkit(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command line, in a process of its own."""
    code = "import sys; from toolkit.cli import main; sys.argv[0] = 'guardkit'; main()"
    root = str(Path(toolkit.__file__).resolve().parent.parent)
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {root!r}); {code}", *args], cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.mark.usefixtures("bare")
def test_the_benchmark_recipe_says_where_its_rows_are_to_be_had() -> None:
    needs = "\n".join(api.check(BENCHMARK)["needs"])
    assert "--source guardreasoner_benchmark=" in needs
    assert "github.com/yueliu1999/GuardReasoner" in needs
    assert {s["rows"] for s in api.plan(BENCHMARK)["steps"]} == {11_749}


@pytest.fixture(scope="module")
def benchmark_run(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The recipe run by the command line on the real files: the run's folder and the JSON that was printed."""
    folder = tmp_path_factory.mktemp("benchmark-rows")
    source = f"guardreasoner_benchmark={real_data / 'guardreasoner' / 'benchmark'}"
    done = guardkit("run", BENCHMARK, "--source", source, "--output", "run", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run", json.loads(done.stdout)


@pytest.mark.xdist_group("benchmark-rows")
def test_real_rows_are_conserved_to_verified_shards(benchmark_run: tuple[Path, dict[str, Any]]) -> None:
    folder, summary = benchmark_run
    counts = {s["step"]: s for s in summary["steps"]}
    assert counts["seeds"]["in"] == counts["seeds"]["kept"] == 11_749
    unique = counts["unique"]
    assert unique["kept"] + unique["merged"] + sum(unique["rejected"].values()) == 11_749
    assert unique["rejected"] == {"conflicting_labels": 66}
    assert unique["merged"] == 846
    for step in ("parts", "reasoning", "valid", "rendered", "shards"):
        assert (counts[step]["in"], counts[step]["kept"]) == (10_837, 10_837), step
    checked = guardkit("verify", str(folder / "shards" / "shards"), "--json", cwd=folder)
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["rows"] == 10_837
    assert set(verify(folder / "shards" / "shards")["counts"]["split"]) == {"train", "test"}


@pytest.mark.xdist_group("benchmark-rows")
def test_real_rows_have_their_file_s_label_and_no_invented_one(benchmark_run: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = benchmark_run
    made = api.read_run(folder)
    for row in (r for b in made["seeds"].blocks() for r in b.to_dicts()):
        own = TASK_OF[row["source"].removeprefix("guardreasoner_benchmark-")]
        for task in ("prompt", "refusal", "response"):
            label, why = row[f"label_{task}"], row[f"label_{task}_source"]
            if task == own:
                assert label is not None
                assert why in ("human", "vote")
            else:
                assert (label, why) == (None, "absent")


@pytest.mark.xdist_group("benchmark-rows")
def test_a_survivor_has_the_labels_of_the_rows_merged_into_it_and_no_other(benchmark_run: tuple[Path, dict[str, Any]]) -> None:
    """The two XSTest files share 445 texts (spec E.1); one file says whether they were refused, the other whether the answer is harmful."""
    folder, _ = benchmark_run
    made = api.read_run(folder)
    labels = {
        step: {t: Counter(v for b in made[step].blocks([f"label_{t}"]) for (v,) in b.iter_rows()) for t in set(TASK_OF.values())}
        for step in ("seeds", "reasoning")
    }
    assert labels["seeds"]["refusal"].total() == 11_749
    assert labels["reasoning"]["refusal"]["refusal"] == labels["seeds"]["refusal"]["refusal"] == 178
    assert labels["reasoning"]["refusal"]["compliance"] == labels["seeds"]["refusal"]["compliance"] == 271
    rows = [r for b in made["reasoning"].blocks() for r in b.to_dicts()]
    both = [r for r in rows if sum(r[f"label_{t}"] is not None for t in labels["seeds"]) == 2]
    assert len(both) == 445
    assert {r["source"] for r in both} == {"guardreasoner_benchmark-XSTestResponseHarmful"}
    assert {r["label_refusal_source"] for r in both} == {"human"}
    assert sum(all(r[f"label_{t}"] is None for t in labels["seeds"]) for r in rows) == 0
    answers = [m["content"] for b in made["rendered"].blocks(["completion"]) for (c,) in b.iter_rows() for m in c]
    guard = load_guard("guardreasoner")
    assert {sum(v is not None for v in parse(guard, a, "strict").labels.values()) for a in answers[::50]} <= {1, 2}


@pytest.mark.xdist_group("benchmark-rows")
def test_saferlhf_s_conflicting_labels_are_found(real_data: Path, tmp_path: Path) -> None:
    """Spec E.1: 28 inputs with conflicting labels among SafeRLHF's 2,000 rows."""
    recipe: dict[str, Any] = yaml.safe_load((RECIPES / "benchmark-rows.yaml").read_text(encoding="utf-8"))
    recipe["steps"] = recipe["steps"][:3]
    (tmp_path / "conflicts.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    sources = {"guardreasoner_benchmark": [real_data / "guardreasoner" / "benchmark"]}
    found = {}
    for policy in ("reject", "keep"):
        overrides = ["seeds.parts=[SafeRLHF]", f"unique.conflicts={policy}"]
        done = api.run(tmp_path / "conflicts.yaml", overrides=overrides, sources=sources, output=tmp_path / policy)
        found[policy] = api.read_run(done.folder)["unique"]
        assert found[policy].manifest["stats"]["conflicting_clusters"] == 28
    rows = pl.read_parquet(found["reject"].artefact("conflicts") / "conflicts.parquet")
    assert rows["cluster"].n_unique() == 28
    assert rows.group_by("cluster").agg(pl.col("label_response").n_unique())["label_response"].to_list() == [2] * 28
    assert found["reject"].manifest["counts"][-1]["rejected"] == {"conflicting_labels": rows.height}
    assert found["keep"].rows == found["reject"].rows + rows.height
