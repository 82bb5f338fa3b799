"""Exports for online reinforcement learning: the layout that verl, EasyR1 and ms-swift read, and the reward that goes along.

What the trainers want was read in verl 0.9.1 (``verl/utils/dataset/rl_dataset.py``, ``verl/experimental/reward_loop/reward_manager/naive.py``,
``verl/trainer/ppo/reward.py``, ``verl/trainer/config/_generated_ppo_trainer.yaml``), EasyR1 b44b311 (``verl/utils/dataset.py``,
``verl/workers/reward/function.py``, ``verl/trainer/config.py``) and ms-swift 4.6.0 (``swift/dataset/preprocessor/core.py``, ``swift/rewards/orm.py``,
``swift/rl_core/grpo_algorithm.py``). Their own code reads the exports in tests/trainers, which ``make trainers`` runs.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import polars as pl
import pytest
import yaml
from exports import GUARD, LABELS, MESSAGES, PLAIN, dpo, lines, reasoning, rows_of, sft, write
from hypothesis import HealthCheck, settings
from hypothesis import given as tried
from hypothesis import strategies as st

import toolkit
from toolkit.common.errors import InputError, InputErrors
from toolkit.common.files import sha256_file
from toolkit.common.resources import find
from toolkit.records import MEDIA, TYPE, Column
from toolkit.shards.exporters import export, verify_export

TRAINERS = ("verl", "easyr1", "ms-swift")
EXPLORE = {"name": "mine", "form": 0.2, "accuracy": 0.8, "length": {"kind": "explore", "weight": 0.2, "scale": 30}}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One set for each trainer, rewarded by a formula with lengths."""
    folder = tmp_path_factory.mktemp("exported")
    shards = sft(folder / "shards", 10)
    (folder / "mine.yaml").write_text(yaml.safe_dump(EXPLORE))
    for name in TRAINERS:
        export(shards, name, folder / name, formula=str(folder / "mine.yaml"))
        verify_export(folder / name)
    return {"shards": shards, **{name: folder / name for name in TRAINERS}}


@pytest.fixture(scope="module")
def plugins(exported: dict[str, Path]) -> dict[str, ModuleType]:
    return {name: plugin(exported[name]) for name in TRAINERS}


def plugin(folder: Path) -> ModuleType:
    """The plug-in file of an export, loaded as trainers load it: from its path alone."""
    swift = SimpleNamespace(ORM=type("ORM", (), {"__init__": lambda self, args=None, **_: None}), orms={})
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "swift", SimpleNamespace(rewards=swift))
        patch.setitem(sys.modules, "swift.rewards", swift)
        spec = importlib.util.spec_from_file_location(f"plugin_of_{folder.name}", folder / "reward" / "guardkit_reward.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


def truth(labels: Mapping[str, str | None], identity: Any = None) -> str:
    return json.dumps(labels if identity is None else {"id": identity, "labels": labels})


PARTS = ("Answers: \n", "Request: harmful\n", "Request: unharmful\n", "Completion: None\n", "Response: harmful", "Response: None", "So. ", "<think>")
OUTPUTS = st.one_of(st.lists(st.sampled_from(PARTS), max_size=6).map("".join), st.integers(0, 9).map(reasoning))
KNOWN = st.fixed_dictionaries({t.name: st.one_of(st.none(), st.sampled_from(t.labels)) for t in GUARD.tasks})


@tried(st.lists(st.tuples(OUTPUTS, KNOWN, st.integers(0, 90)), min_size=1, max_size=6))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_plugin_gives_what_guardkit_reward_prints(plugins: dict[str, ModuleType], rows: list[tuple[str, dict[str, str | None], int]]) -> None:
    given = [{"id": str(i), "output": text, "tokens": n, **{f"label_{t}": v for t, v in known.items()}} for i, (text, known, n) in enumerate(rows)]
    given.append({"id": "last", "output": reasoning(1), "tokens": 3, "label_prompt": "harmful"})  # so that there are labels at all
    want = [line["reward"] for line in toolkit.reward(given, formula=EXPLORE, limit=99).shown[:-1]]
    whole = [0.0 if value is None else value for value in want]

    easyr1 = plugins["easyr1"]
    assert easyr1.REWARD_TYPE == "batch"
    asked = [{"response": text, "response_length": n, "ground_truth": truth(known, str(i))} for i, (text, known, n) in enumerate(rows)]
    found = easyr1.compute_score(asked)
    assert [score["overall"] for score in found] == pytest.approx(whole, abs=1e-6)
    assert all(set(score) == {"overall", "format", "accuracy"} and all(isinstance(v, float) for v in score.values()) for score in found)

    swift = plugins["ms-swift"].GuardkitReward(args=None)
    columns = {"response_token_ids": [[[7] * n] for _, _, n in rows], "prompt_id": [str(i) for i in range(len(rows))], "trainer_state": None}
    got = swift([text for text, _, _ in rows], solution=[truth(known) for _, known, _ in rows], **columns)
    assert [value is None for value in got] == [value is None for value in want]
    assert [value or 0.0 for value in got] == pytest.approx(whole, abs=1e-6)

    verl = plugins["verl"]
    size = [0]
    verl.reward.__dict__["_tokens"] = lambda text, **_: {"input_ids": [0] * size[0]}
    verl.reward._tokenizer = "counts"
    for (text, known, n), value in zip(rows, whole, strict=True):
        size[0] = n
        score = verl.compute_score(data_source="s", solution_str=text, ground_truth=truth(known), extra_info={"id": "a", "num_turns": 2})
        assert score["score"] == pytest.approx(value, abs=1e-6) and set(score) == {"score", "format", "acc"}


def test_lengths_of_one_row_are_compared_by_its_id(tmp_path: Path) -> None:
    """EasyR1 gives the answer alone, which has the id; ms-swift a prompt's id."""
    shards, text, known = sft(tmp_path / "shards", 5), "Request: harmful", {"prompt": "harmful"}
    for name in ("easyr1", "ms-swift"):
        export(shards, name, tmp_path / name, formula="guardreasoner_vl")
    rows: list[dict[str, Any]] = [{"id": i, "output": text, "tokens": n, "label_prompt": "harmful"} for i, n in (("a", 50), ("b", 200), ("a", 100))]
    want = [line["reward"] for line in toolkit.reward(rows, formula="guardreasoner_vl").shown]
    assert want[0] != want[2]
    asked = [{"response": text, "response_length": r["tokens"], "ground_truth": truth(known, r["id"])} for r in rows]
    assert [s["overall"] for s in plugin(tmp_path / "easyr1").compute_score(asked)] == pytest.approx(want, abs=1e-6)
    columns = {"response_token_ids": [[1] * r["tokens"] for r in rows], "id": [r["id"] for r in rows]}
    found = plugin(tmp_path / "ms-swift").GuardkitReward()([text] * 3, solution=[truth(known)] * 3, **columns)
    assert found == pytest.approx(want, abs=1e-6)
    with pytest.raises(InputError, match="a reward function of verl sees one output"):
        export(shards, "verl", tmp_path / "verl", formula="guardreasoner_vl")


def test_easyr1_reads_a_prompt_and_an_answer(exported: dict[str, Path]) -> None:
    for split in ("train", "test"):
        want, got = rows_of(exported["shards"], split), pl.read_parquet(exported["easyr1"] / f"{split}.parquet").to_dicts()
        assert [row["prompt"] for row in got] == [row["prompt"][0]["content"] for row in want]
        for row, of in zip(got, want, strict=True):
            assert json.loads(row["answer"]) == {"id": of["id"], "labels": {t.name: of[f"label_{t.name}"] for t in GUARD.tasks}}
        assert list(got[0]) == ["prompt", "answer", "id", "source", "licence", "teacher"]
    config = yaml.safe_load((exported["easyr1"] / "config.yaml").read_text())
    assert (config["data"]["prompt_key"], config["data"]["answer_key"], config["data"]["image_key"]) == ("prompt", "answer", "images")
    assert config["algorithm"]["disable_kl"] is True and config["worker"]["rollout"]["n"] > 1


def test_ms_swift_gets_the_labels_as_its_solution(exported: dict[str, Path]) -> None:
    for split in ("train", "test"):
        want, got = rows_of(exported["shards"], split), lines(exported["ms-swift"] / "rl" / f"{split}.jsonl")
        assert [row["messages"] for row in got] == [row["prompt"] for row in want]
        assert [json.loads(row["solution"]) for row in got] == [{t.name: row[f"label_{t.name}"] for t in GUARD.tasks} for row in want]
        assert len(lines(exported["ms-swift"] / f"{split}.jsonl")) == len(want)


STARTED = {
    "verl": ["-m", "verl.trainer.main_ppo", "reward.custom_reward_function.name=compute_score", "actor_rollout_ref.rollout.n=8", "{model}=M"],
    "easyr1": ["-m", "verl.trainer.main", "worker.actor.model.model_path=M", "config={here}/config.yaml", "data.val_files={here}/test.parquet"],
    "ms-swift": ["rlhf", "--reward_funcs", "guardkit", "--external_plugins", "{here}/reward/guardkit_reward.py", "--beta", "0"],
}


@pytest.mark.parametrize("name", TRAINERS)
def test_the_script_names_files_that_are_there(exported: dict[str, Path], tmp_path: Path, name: str) -> None:
    for program in ("python3", "swift"):
        (tmp_path / program).write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        (tmp_path / program).chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "MODEL": "M"}
    done = subprocess.run(["bash", str(exported[name] / "train.sh"), "more=1"], env=env, capture_output=True, text=True, check=True)
    arguments = done.stdout.splitlines()
    here = str(exported[name].resolve())
    for one in STARTED[name]:
        assert one.format(here=here, model="actor_rollout_ref.model.path") in arguments
    assert arguments[-1] == "more=1"
    named = [a.partition("=")[2] or a for a in arguments if here in a]
    assert len(named) >= 3 and all(Path(one.removesuffix(":compute_score")).exists() for one in named)
    if name == "verl":  # the tokens of an output are the trainer's to say, and verl gives text alone
        assert "+reward.custom_reward_function.reward_kwargs.tokenizer=M" in arguments


def test_guard_and_formula_go_along_and_nothing_else_is_read(exported: dict[str, Path], tmp_path: Path) -> None:
    moved = shutil.copytree(exported["easyr1"] / "reward", tmp_path / "elsewhere" / "reward")
    text = "Answers: \nRequest: harmful\nCompletion: None\nResponse: None"
    asked = [{"response": text, "response_length": 30, "ground_truth": truth({"prompt": "harmful"}, "a")}]
    assert plugin(moved.parent).compute_score(asked)[0]["overall"] == 1.0
    with pytest.raises(InputError, match="the ground truth is not JSON text of the labels by task"):
        plugin(moved.parent).compute_score([{**asked[0], "ground_truth": "harmful"}])
    with pytest.raises(InputError, match="label not of the task: 'Harmful'"):
        plugin(moved.parent).compute_score([{**asked[0], "ground_truth": truth({"prompt": "Harmful"}, "a")}])
    (moved / "formula.yaml").write_text("name: other\n")
    with pytest.raises(InputError, match=r"not the file that was exported \(sha256\)"):
        plugin(moved.parent)
    (moved / "guard.yaml").unlink()
    with pytest.raises(InputError, match=r"no guard\.yaml beside the plug-in file"):
        plugin(moved.parent)


def test_verify_finds_a_reward_that_is_not_the_exported_one(tmp_path: Path) -> None:
    export(sft(tmp_path / "shards", 5), "verl", tmp_path / "out")
    record = json.loads((tmp_path / "out" / "export.json").read_text())
    path = tmp_path / "out" / "reward" / "guardkit_reward.py"
    path.write_text(path.read_text() + "print('more')\n")
    record["files"]["reward/guardkit_reward.py"] = {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
    (tmp_path / "out" / "export.json").write_text(json.dumps(record))
    with pytest.raises(InputErrors, match="it is not what the format writes beside the rows"):
        verify_export(tmp_path / "out")


def test_what_cannot_be_rewarded_is_refused_or_noted(tmp_path: Path) -> None:
    nothing: dict[str, Any] = {column.name: None for column in LABELS}
    shards = sft(tmp_path / "shards", 5, **nothing)
    assert any(note.startswith("5 rows have no label at all") for note in export(shards, "easyr1", tmp_path / "a")["notes"])
    assert plugin(tmp_path / "a").compute_score([{"response": "x", "response_length": 1, "ground_truth": truth({"prompt": None}, "a")}]) == [
        {"overall": 0.0, "format": 0.0, "accuracy": 0.0}
    ]
    good, other = sft(tmp_path / "good", 5), tmp_path / "other.yaml"
    text = find("guards", "guardreasoner").read_text()
    other.write_text(text.replace("[unharmful, harmful]", "[fine, harmful]", 1))
    with pytest.raises(InputError, match=r"label_prompt: 'unharmful' is no label of the guard 'guardreasoner' \(0+4\)"):
        export(good, "verl", tmp_path / "b", guard=str(other))
    asked = [{"role": role, "content": "x"} for role in ("user", "assistant")]
    plain = (Column("prompt", MESSAGES), Column("completion", MESSAGES), LABELS[0])
    anonymous = write(tmp_path / "anonymous", plain, [{"prompt": asked[:1], "completion": asked[1:], "label_prompt": "unharmful"}])
    with pytest.raises(InputError, match=r"'unharmful' is no label of the guard 'guardreasoner' \(without ids\)"):
        export(anonymous, "easyr1", tmp_path / "h", guard=str(other), formula="rsafe")
    other.write_text(text.replace("version: 1", "version: 2", 1))
    assert [n for n in export(good, "easyr1", tmp_path / "g", guard=str(other))["notes"] if n.startswith("The guard is not the one")]
    with pytest.raises(InputError, match=r"the formula 'intentionreasoner' weighs scores \(.*\), which nothing gives it in ms-swift"):
        export(good, "ms-swift", tmp_path / "c", formula="intentionreasoner")
    with pytest.raises(InputError, match="the format 'trl' has no place for a formula of rewards\n  formats that have one: verl, easyr1, ms-swift"):
        export(good, "trl", tmp_path / "d", formula="rsafe")
    with pytest.raises(InputError, match="the format 'easyr1' is for rows with labels"):
        export(sft(tmp_path / "bare", 5, labelled=False), "easyr1", tmp_path / "e")
    with pytest.raises(InputError, match="no labels to reward outputs by"):
        export(dpo(tmp_path / "pairs", 5), "ms-swift", tmp_path / "f", weights="drop", formula="rsafe")


def test_text_like_a_control_token_is_named(tmp_path: Path) -> None:
    shards = sft(tmp_path / "shards", 5, prompt=[{"role": "user", "content": "Now <|im_end|> and on."}])
    notes = export(shards, "easyr1", tmp_path / "out")["notes"]
    assert any(note.startswith("5 prompts hold text like a control token") and f"{0:024x}" in note for note in notes)


CAT = {"kind": "image", "uri": "img/cat.png", "sha256": "a" * 64, "mime": "image/png"}
CLIP = {**CAT, "kind": "video", "uri": "a.mp4", "mime": "video/mp4"}


def seen(folder: Path, media: list[list[dict[str, str]]], prompt: Any = None) -> Path:
    columns = (Column("prompt", MESSAGES), Column("completion", MESSAGES), *PLAIN, Column(MEDIA, TYPE), LABELS[0])
    rows = []
    for i, files in enumerate(media):
        asked = prompt or [{"role": "user", "content": f"What is this, {i}?"}]
        row = {"id": f"{i:024x}", "source": "here", "licence": "MIT", "prompt": asked, "label_prompt": "harmful", MEDIA: files}
        rows.append(row | {"completion": [{"role": "assistant", "content": "A cat."}]})
    return write(folder, columns, rows)


def test_easyr1_gets_images_or_clips_and_empty_lists_for_text(tmp_path: Path) -> None:
    export(seen(tmp_path / "images", [[CAT, CAT], [], [CAT]]), "easyr1", tmp_path / "a")
    rows = pl.read_parquet(tmp_path / "a" / "train.parquet").to_dicts()
    assert [(row["prompt"], row["images"]) for row in rows] == [
        ("<image><image>What is this, 0?", ["img/cat.png"] * 2),
        ("What is this, 1?", []),
        ("<image>What is this, 2?", ["img/cat.png"]),
    ]
    assert 'data.image_dir="$MEDIA"' in (tmp_path / "a" / "train.sh").read_text()
    export(seen(tmp_path / "clips", [[CLIP], []]), "easyr1", tmp_path / "b")
    assert [row["videos"] for row in pl.read_parquet(tmp_path / "b" / "train.parquet").to_dicts()] == [["a.mp4"], []]
    with pytest.raises(InputError, match="EasyR1 reads images or clips of a data set, not both"):
        export(seen(tmp_path / "both", [[CAT], [CLIP]]), "easyr1", tmp_path / "c")
    talk = [{"role": "system", "content": "Judge."}, {"role": "user", "content": "This?"}]
    with pytest.raises(InputError, match=r"a prompt of several messages, where EasyR1 has one of the user's \(0+, 0+1\)"):
        export(seen(tmp_path / "talk", [[CAT], []], talk), "easyr1", tmp_path / "d")


def test_prompts_without_answers_say_whether_there_is_a_response(tmp_path: Path) -> None:
    """Shards of `render_rl`: every row is in every export, and what a grammar's guard needs not answer is not asked of it."""
    columns = (Column("prompt", MESSAGES), *PLAIN, Column("has_response", "bool"), *LABELS[:1])
    rows = [{"id": f"{i:024x}", "source": "here", "licence": "MIT", "prompt": [{"role": "user", "content": f"What, {i}?"}]} for i in range(5)]
    shards = write(tmp_path / "shards", columns, [{**row, "has_response": i % 2 == 0, "label_prompt": "harmful"} for i, row in enumerate(rows)])
    for name, file in (("verl", "rl/train.parquet"), ("easyr1", "train.parquet"), ("ms-swift", "rl/train.jsonl")):
        record = export(shards, name, tmp_path / name)
        read = (pl.read_parquet(tmp_path / name / file) if name != "ms-swift" else pl.DataFrame(lines(tmp_path / name / file))).to_dicts()
        there = {"verl": lambda row: row["extra_info"], "easyr1": lambda row: json.loads(row["answer"]), "ms-swift": lambda row: row}[name]
        assert [there(row)["has_response"] for row in read] == [True, False, True, False]
        assert record["rows"] == 5 and record["left_out"] == [] and not [note for note in record["notes"] if "not the one" in note]
        assert {about.get("config") for about in record["files"].values() if "rows" in about} == {"default" if name == "easyr1" else "rl"}
