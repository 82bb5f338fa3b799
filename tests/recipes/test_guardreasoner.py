"""recipes/guardreasoner: the published settings, and what `check` and `plan` say without data."""

from __future__ import annotations

import re
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from hub_shaped import hub_shaped
from published import PARTS, RECIPES, SIZES, options, steps

from toolkit import api

ROWS = 127_544
"""Paper, table 1."""


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


@pytest.mark.parametrize("size", SIZES)
def test_the_lora_variants_differ_in_the_training_alone(size: str) -> None:
    """And in its batch's rows not at all."""
    whole, small = steps(size), steps(f"{size}-lora")
    trained = {n for n, s in whole.items() if s["use"] in ("train_sft", "train_dpo")}
    assert {n for n in whole.keys() | small.keys() if shape(whole.get(n)) != shape(small.get(n))} == trained
    for name in trained:
        old, new = options(whole[name]), options(small[name])
        assert {k for k in old.keys() | new.keys() if old.get(k) != new.get(k) and not k.startswith("lora")} <= {
            "chat_template", "trainer.learning_rate", "trainer.per_device_train_batch_size", "trainer.gradient_checkpointing", "trainer.model_init_kwargs.dtype",
        }  # fmt: skip
        assert new["trainer.learning_rate"] == pytest.approx(10 * old["trainer.learning_rate"])
        assert new["rows_an_update"] % new["trainer.per_device_train_batch_size"] == 0 and new["lora.merge"] is False


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("size", SIZES)
def test_the_lora_variants_can_be_planned(size: str) -> None:
    found = api.plan(f"guardreasoner/{size}-lora")
    assert {s["step"]: s for s in found["steps"]}["samples"]["calls"] == 4 * 4 * ROWS
    assert ("'peft' is missing" in "\n".join(found["needs"])) == (find_spec("peft") is None)


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
    assert {options(found[s])["processes"] for s in ("guard-main", "guard-dpo")} == {"auto"}
    assert (options(found["guard-main"])["rows_an_update"], sft.pop("per_device_train_batch_size")) == (384, 6)
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
    assert (options(found["guard-dpo"])["rows_an_update"], dpo.pop("per_device_train_batch_size")) == (256, 1)
    assert dpo == {
        "beta": 0.01, "loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 2.0], "learning_rate": 5e-6, "lr_scheduler_type": "cosine",
        "warmup_steps": 0, "num_train_epochs": 2, "max_length": 2048, "bf16": True, "optim": "adamw_torch", "max_grad_norm": 1.0,
    }  # fmt: skip


def test_trl_takes_the_trainer_settings() -> None:
    """A wrong key would otherwise be found after the teacher has been paid."""
    pytest.importorskip("trl")
    from toolkit.training import DpoConfig, SftConfig
    from toolkit.training._training_config import trainer_args

    found = steps("8b")
    for kind, step in ((SftConfig, "guard-main"), (DpoConfig, "guard-dpo")):
        wanted = options(found[step], "trainer.") | {"use_cpu": True}  # on a machine without a GPU bf16 is refused otherwise
        rows = options(found[step])["rows_an_update"]
        made = trainer_args(kind(model=SIZES["8b"], trainer=wanted, rows_an_update=rows), "unused")
        assert made.gradient_accumulation_steps * made.per_device_train_batch_size == rows
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
            if not option:  # a key of the recipe: `rounds`, which repeats steps
                assert path == "rounds" and {"hard.2", "hard.3"} <= found.keys()
                continue
            given = {k: v for k, v in options(found[step]).items() if k == option or k.startswith(f"{option}.")}
            assert given, text
            if isinstance(given.get(option), str | int):
                assert given[option] == yaml.safe_load(value)
