"""A recipe is data: what would run code or send a secret is done only if whoever runs it says so by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import Result
from server import Server, running

import toolkit
from toolkit.common.errors import InputErrors
from toolkit.pipeline import load_recipe, make_plan

Cli = Callable[..., Result]
SEEDS: dict[str, Any] = {"id": "seeds", "use": "load", "with": {"source": "quickstart", "limit": 2}}
SECRET = "wJalrXUtnFEMI-not-a-real-one"  # noqa: S105
CODE = (
    "from pathlib import Path\nPath('ran').write_text('x')\nfrom transformers import LlamaConfig\nclass Own(LlamaConfig):\n    model_type = 'own'\n"
)


def write(folder: Path, *steps: dict[str, Any]) -> Path:
    file = folder / "r.yaml"
    file.write_text(yaml.safe_dump({"recipe": "r", "seed": 1, "failures": 1.0, "steps": list(steps)}, sort_keys=False))
    return file


def asking(url: str, key: str = "AWS_SECRET_ACCESS_KEY") -> dict[str, Any]:
    model = {"backend": "openai", "model": "m", "base_url": url, "api_key_env": key, "retries": 0}
    return {"id": "r", "use": "synthesise", "with": {"backend": model}}


def sent(server: Server) -> str:
    return json.dumps(server.headers)


def test_a_recipe_sends_no_secret_that_nobody_gave_leave_for(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    with running(Server()) as server:
        file = write(tmp_path, SEEDS, asking(server.base_url))
        for verb in ("run", "check", "plan", "explain"):
            result = cli(verb, file)
            assert result.code == 2, verb
            assert f"{file.name}:" in result.err and "steps.1.with.backend.api_key_env" in result.err
            assert f"it sends the environment variable AWS_SECRET_ACCESS_KEY to {server.base_url}" in result.err
            assert "--allow api_key_env=AWS_SECRET_ACCESS_KEY" in result.err
        assert cli("run", file, "--allow", "trust_remote_code", "--allow", "api_key_env").code == 2, "another leave is none"
        assert server.headers == []
        result = cli("run", file, "--allow", "api_key_env=AWS_SECRET_ACCESS_KEY")
        assert SECRET in sent(server) and SECRET not in result.out + result.err
        with pytest.raises(InputErrors, match="AWS_SECRET_ACCESS_KEY"):
            toolkit.run(file)


@pytest.mark.parametrize(
    ("url", "key", "free"),
    [
        ("https://api.openai.com/v1", "OPENAI_API_KEY", True),
        ("https://api.mistral.ai/v1", "MISTRAL_API_KEY", True),
        ("http://127.0.0.1:9/v1", "ANY_API_KEY", True),
        ("http://[::1]:9/v1", "ANY_API_KEY", True),
        ("http://0.0.0.0:9/v1", "ANY_API_KEY", True),
        ("http://localhost:9/v1", "GITHUB_TOKEN", False),
        ("https://api.openai.com.evil.example/v1", "OPENAI_API_KEY", False),
        ("https://evil.example/v1", "OPENAI_API_KEY", False),
        ("http://api.openai.com/v1", "OPENAI_API_KEY", False),
        ("https://api.openai.com/v1", "HF_TOKEN", False),
        ("https://api.openai.com/v1", "MISTRAL_API_KEY", False),
    ],
)
def test_a_key_goes_without_leave_only_to_the_host_whose_it_is_and_to_this_machine(url: str, key: str, free: bool, cli: Cli, tmp_path: Path) -> None:
    assert cli("check", write(tmp_path, SEEDS, asking(url, key))).code == (0 if free else 2)


def test_leave_is_asked_for_every_backend_wherever_it_stands(cli: Cli, tmp_path: Path) -> None:
    evil = {"backend": "openai", "model": "m", "base_url": "https://evil.example/v1"}
    batch = {**evil, "backend": "openai-batch", "model": "n", "api_key_env": "GITHUB_TOKEN"}
    step = {"id": "r", "use": "synthesise", "with": {"backend": {**evil, "model": "first"}, "fallback": [evil, batch]}}
    guards = {"id": "s", "use": "sample", "from": "seeds", "with": {"k": 1, "models": {"a": {**evil, "api_key_env": "HF_TOKEN"}}}}
    file = write(tmp_path, SEEDS, step, guards)
    result = cli("check", file).err
    for name in ("OPENAI_API_KEY", "GITHUB_TOKEN", "HF_TOKEN"):
        assert f"--allow api_key_env={name}, " in result
    assert "with.fallback.1.api_key_env" in result and "with.models.a.api_key_env" in result
    leave = [word for name in ("OPENAI_API_KEY", "GITHUB_TOKEN", "HF_TOKEN") for word in ("--allow", f"api_key_env={name}")]
    found = cli("check", file, *leave, "--json")
    assert found.code == 0
    assert [(s["step"], s["url"], s["key"]) for s in found.json["sends"]] == [
        ("r", "https://evil.example/v1", "OPENAI_API_KEY"),
        ("r", "https://evil.example/v1", "OPENAI_API_KEY"),
        ("r", "https://evil.example/v1", "GITHUB_TOKEN"),
        ("s", "https://evil.example/v1", "HF_TOKEN"),
    ]
    assert found.json["sends"][3]["columns"] == ["context", "prompt", "response"]
    assert [a["name"] for a in found.json["allowed"][1:]] == ["api_key_env=OPENAI_API_KEY", "api_key_env=GITHUB_TOKEN", "api_key_env=HF_TOKEN"]


def test_generate_wants_leave_too_and_its_own_option_by_that_name_gives_it(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", SECRET)
    (tmp_path / "p.jsonl").write_text('{"id": 1, "user": "hello"}\n')
    with running(Server()) as server:
        start = ("generate", "--base-url", server.base_url, "--model", "m", "--input", "p.jsonl", "--output", "o.jsonl")
        result = cli(*start, "--set", "api_key_env=GITHUB_TOKEN")
        assert result.code == 2 and "--allow api_key_env=GITHUB_TOKEN" in result.err and server.headers == []
        assert cli(*start, "--api-key-env", "GITHUB_TOKEN").code == 0
        assert SECRET in sent(server)
        with pytest.raises(InputErrors, match="GITHUB_TOKEN"):
            toolkit.generate("p.jsonl", "o2.jsonl", {"backend": "openai", "model": "m", "base_url": server.base_url, "api_key_env": "GITHUB_TOKEN"})


@pytest.mark.parametrize(
    ("trainer", "name", "place"),
    [
        ({"trust_remote_code": True}, "trust_remote_code", "trainer.trust_remote_code"),
        ({"model_init_kwargs": {"trust_remote_code": True}}, "trust_remote_code", "trainer.model_init_kwargs.trust_remote_code"),
        ({"model_init_kwargs": '{"trust_remote_code": true}'}, "model_init_kwargs", "trainer.model_init_kwargs"),
        ({"model_init_kwargs": {"attn_implementation": "a/kernel"}}, "attn_implementation=a/kernel", "trainer.model_init_kwargs.attn_implementation"),
        (
            {"model_init_kwargs": {"attn_implementation": ["a/kernel"]}},
            "attn_implementation=['a/kernel']",
            "trainer.model_init_kwargs.attn_implementation",
        ),
        ({"model_init_kwargs": {"quantization_config": {"x": 1}}}, "quantization_config", "trainer.model_init_kwargs.quantization_config"),
        ({"report_to": "wandb"}, "report_to=wandb", "trainer.report_to"),
        ({"accelerator_config": "there.json"}, "accelerator_config", "trainer.accelerator_config"),
        ({"hub_model_id": "a/b"}, "hub_model_id", "trainer.hub_model_id"),
        ({"torch_compile_backend": "x"}, "torch_compile_backend", "trainer.torch_compile_backend"),
    ],
)
def test_a_model_folder_runs_no_python_without_leave(trainer: dict[str, Any], name: str, place: str, cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}))
    (folder / "own.py").write_text(CODE)
    shape = {"id": "valid", "use": "validate"}, {"id": "rendered", "use": "render_sft"}, {"id": "shards", "use": "shards"}
    teacher = {"id": "reasoning", "use": "synthesise", "with": {"backend": {"backend": "template"}}}
    sft = {"id": "sft", "use": "train_sft", "with": {"model": str(folder), "trainer": trainer}}
    result = cli("run", write(tmp_path, SEEDS, teacher, *shape, sft))
    assert result.code == 2 and f"steps.5.with.{place}: " in result.err and f"--allow {name}, " in result.err
    assert not (tmp_path / "outputs").exists() and not (tmp_path / "ran").exists()
    for method in ("sft", "dpo"):
        config = tmp_path / "train.yaml"
        config.write_text(yaml.safe_dump({"shards": "s", "output": "o", "model": str(folder), "trainer": trainer}, sort_keys=False))
        result = cli("train", method, config)
        assert result.code == 2 and f"{place}: " in result.err and f"--allow {name}, " in result.err


def test_every_field_of_trl_is_plain_or_refused_or_wants_leave() -> None:
    """Whoever raises the pin of trl or transformers looks at each new field."""
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.sft_config import SFTConfig

    from toolkit.training._plain import PLAIN
    from toolkit.training._train_options import OWN

    known = {f.name for c in (SFTConfig, DPOConfig) for f in fields(c) if f.init}
    assert known - PLAIN - OWN.keys() == {
        "accelerator_config",
        "enable_jit_checkpoint",
        "hub_always_push",
        "hub_model_id",
        "hub_private_repo",
        "hub_revision",
        "hub_strategy",
        "model_init_kwargs",
        "optim_args",
        "optim_target_modules",
        "parallelism_config",
        "project",
        "report_to",
        "restore_callback_states_from_checkpoint",
        "torch_compile_backend",
        "trackio_bucket_id",
        "trackio_space_id",
        "trackio_static_space_id",
        "trust_remote_code",
    }


def test_leave_changes_no_fingerprint(tmp_path: Path) -> None:
    file = write(tmp_path, SEEDS, asking("https://evil.example/v1"))
    leave = ["api_key_env=AWS_SECRET_ACCESS_KEY"]
    one = make_plan(load_recipe(file), allow=leave)
    other = make_plan(
        load_recipe(write(tmp_path, SEEDS, asking("https://evil.example/v1", "GITHUB_TOKEN"))), allow=["api_key_env=GITHUB_TOKEN", *leave]
    )
    assert [s.identity for s in one.steps.values()] == [s.identity for s in other.steps.values()]


def test_check_lists_what_is_fetched(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    models = {"a": {"backend": "transformers", "model": "org/guard", "adapter": "org/adapter"}}
    file = write(
        tmp_path,
        {"id": "seeds", "use": "load", "with": {"source": "beavertails_30k_train"}},
        {"id": "s", "use": "sample", "with": {"k": 1, "models": models}},
    )
    found = cli("check", file, "--json").json
    assert [(f["what"], f["name"]) for f in found["fetches"]] == [
        ("dataset", "PKU-Alignment/BeaverTails"),
        ("model", "org/guard"),
        ("adapter", "org/adapter"),
    ]
    assert "fetches: s: model org/guard of the hub" in cli("check", file).out


def test_vllm_imports_no_class_that_a_recipe_names(cli: Cli, tmp_path: Path) -> None:
    model = {"backend": "vllm", "model": "org/guard", "engine": {"distributed_executor_backend": "own.Executor"}}
    result = cli("check", write(tmp_path, SEEDS, {"id": "s", "use": "sample", "with": {"k": 1, "models": {"a": model}}}))
    assert result.code == 2 and "distributed_executor_backend is one of" in result.err


def test_a_leave_that_nothing_asks_for_is_reported_with_the_nearest(cli: Cli, tmp_path: Path) -> None:
    model = {"backend": "transformers", "model": str(tmp_path), "trust_remote_code": True}
    with running(Server()) as server:
        file = write(tmp_path, SEEDS, asking(server.base_url))
        given = ("--allow", "api_key_env=AWS_SECRET_ACCESS_KEY")
        result = cli("check", file, *given, "--allow", "api_key-env=AWS_SECRET_ACCESS_KEY")
        assert result.code == 2 and "--allow: nothing here asks leave for 'api_key-env=AWS_SECRET_ACCESS_KEY'" in result.err, result.err
        assert "did you mean 'api_key_env=AWS_SECRET_ACCESS_KEY'?" in result.err
        assert cli("check", file, *given).code == 0
        only = ("--until", "seeds", "--allow", "trust_remote_code")
        assert cli("check", file, *only).code == 0, "it may be for a step that is not looked at"
    with pytest.raises(InputErrors, match="nothing here asks leave for 'trust_remote_cod'"):
        toolkit.apply("normalise", toolkit.seeds([{"prompt": "x"}], labelled_by="human"), allow="trust_remote_cod")
    with pytest.raises(InputErrors, match="unknown key 'trust_remote_code'"):
        toolkit.judge({"prompt": "x"}, model, allow="trust_remote_code")
