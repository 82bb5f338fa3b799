"""How several processes share a model: what a preset or a file of accelerate's comes to, and what is refused before a process is started."""

from __future__ import annotations

import socket
from functools import partial
from pathlib import Path

import manyhands
import pytest
import yaml
from pydantic import ValidationError

from toolkit.common.errors import InputError, Missing
from toolkit.training import DpoConfig, SftConfig
from toolkit.training._parallel import environment_of, in_words, port_in
from toolkit.training._train_processes import processes_of, together

OURS = {"distributed_type": "FSDP", "num_processes": 2, "fsdp_config": {"fsdp_version": 2, "fsdp_offload_params": True}}


def written(folder: Path, **more: object) -> str:
    (folder / "mine.yaml").write_text(yaml.safe_dump(OURS | more, sort_keys=False))
    return str(folder / "mine.yaml")


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)


def test_fsdp2_is_what_accelerate_reads_out_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from accelerate.utils import FullyShardedDataParallelPlugin

    for name, value in (found := environment_of("fsdp2", 2)).items():
        monkeypatch.setenv(name, value)
    plugin = FullyShardedDataParallelPlugin()
    assert found["ACCELERATE_USE_FSDP"] == "true" and plugin.fsdp_version == 2 and plugin.reshard_after_forward is True
    assert "FULL_STATE_DICT" in str(plugin.state_dict_type) and "transformer_auto_wrap_policy" in str(plugin.auto_wrap_policy)
    assert "ACCELERATE_MIXED_PRECISION" not in found, "TRL's own setting counts"


def test_zero_writes_whole_models() -> None:
    found = {stage: environment_of(f"zero{stage}", 4) for stage in (2, 3)}
    assert [found[s]["ACCELERATE_DEEPSPEED_ZERO_STAGE"] for s in (2, 3)] == ["2", "3"]
    assert found[3]["ACCELERATE_DEEPSPEED_ZERO3_SAVE_16BIT_MODEL"] == "true" and found[2]["ACCELERATE_USE_DEEPSPEED"] == "true"
    assert environment_of("ddp", 4) == environment_of(None, 4) == {}


def test_a_reference_is_read_whole_by_each_process() -> None:
    alone, beside = environment_of("fsdp2", 2), environment_of("fsdp2", 2, reference=True)
    assert (alone["FSDP_CPU_RAM_EFFICIENT_LOADING"], beside["FSDP_CPU_RAM_EFFICIENT_LOADING"]) == ("true", "false")


def test_a_file_of_accelerates_is_read_and_shown(tmp_path: Path, gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = SftConfig(model="-", parallel=written(tmp_path, mixed_precision="bf16"))
    assert processes_of(config) == 2, "as many as it asks for"
    found = environment_of(config.parallel, 2)
    assert (found["FSDP_VERSION"], found["FSDP_OFFLOAD_PARAMS"], found["ACCELERATE_MIXED_PRECISION"]) == ("2", "true", "bf16")
    assert in_words(config.parallel) == "FSDP by mine.yaml (version 2, offload_params True)"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"fsdp_confg": {}}, "unknown keys"),
        ({"num_machines": 2}, "several processes of one machine"),
        ({"distributed_type": "TPU"}, "cannot read it"),
        ({"distributed_type": "DEEPSPEED", "deepspeed_config": {"zero_stage": 3}}, "zero3_save_16bit_model is to be true"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, gpus: None, more: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says) as e:
        processes_of(SftConfig(model="-", processes=2, parallel=written(tmp_path, **more)))
    assert "mine.yaml" in str(e.value.where)


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        file = written(tmp_path, main_process_port=port)
        with pytest.raises(InputError, match=f"the port {port} is in use"):
            together(partial(manyhands.fails, tmp_path), 2, tmp_path / "place", None, None, port=port_in(file))


def test_what_cannot_be_shared_is_refused(gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError, match="no preset 'fsdp3': did you mean 'fsdp2'"):
        DpoConfig(model="-", parallel="fsdp3")
    with pytest.raises(InputError, match="there is one"):
        processes_of(SftConfig(model="-", parallel="fsdp2"))
    with pytest.raises(Missing, match="deepspeed"):
        processes_of(SftConfig(model="-", processes=2, parallel="zero3"))
    with pytest.raises(InputError, match="fsdp2 takes GPUs"):
        processes_of(SftConfig(model="-", processes=2, parallel="fsdp2", trainer={"use_cpu": True}))
