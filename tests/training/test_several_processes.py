"""A training by two processes of this machine is that of one with twice the accumulation; whatever ends one of them ends all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import manyhands
import pytest
from bases import base
from manyhands import dpo_config, sft_config
from shardfolders import DPO, SFT, dpo_rows, sft_rows, turn, write

from toolkit.common.errors import InputError
from toolkit.training import SftConfig, in_words, train_dpo, train_sft
from toolkit.training._dpo import plan_dpo
from toolkit.training._train_processes import processes_of, together

Two = SimpleNamespace


def weights(folder: Path) -> Any:
    import torch
    from safetensors.torch import load_file

    return torch.cat([t.flatten() for _, t in sorted(load_file(folder / "model.safetensors").items())])


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Two:
    """Weighted DPO by one process and by two, 5 pairs of use in batches of 2, so that the last round has one pair for four places; and what
    `manyhands.further` finds."""
    top = tmp_path_factory.mktemp("two")
    base(top / "base")
    rows = dpo_rows(6)
    for row, weight in zip(rows, (0.5, 1.0, 1.5, 3.0, 0.25, 1.0), strict=True):
        row["weight"] = weight
    rows[3]["rejected"] = turn("assistant", "xyzzy " * 200)
    shards = write(top / "dpo", rows, DPO)
    write(top / "sft", sft_rows(7), SFT)
    write(top / "dpo", dpo_rows(5, seed=7), DPO, "validation")
    write(top / "sft", sft_rows(5, seed=7), SFT, "validation")
    seen: list[Any] = []
    one = train_dpo(shards, top / "one", dpo_config(top, 2, 1))
    both = train_dpo(shards, top / "both", dpo_config(top, 1, 2), lambda *done: seen.append(done), seen.append)
    lora = train_dpo(shards, top / "one-lora", dpo_config(top, 2, 1, lora=True))
    for name in ("new", "sft-both", "diverged", "parts", "parts-lora"):
        (top / name).mkdir()
    further = together(partial(manyhands.further, top), 2, top / "place", None, None)
    return SimpleNamespace(top=top, one=one, both=both, lora=lora, seen=seen, further=further)


def test_two_processes_train_as_one_with_twice_the_accumulation(two: Two) -> None:
    import torch

    start, one, both = (weights(two.top / name) for name in ("base", "one", "both"))
    assert (one - start).norm() > 1e-2
    torch.testing.assert_close(both - start, one - start, rtol=1e-3, atol=1e-6)
    same = ("pairs", "pairs_used", "dropped", "weight_mean", "pairs_right_last", "steps", "epochs", "tokens", "parameters")
    assert {k: two.both[k] for k in same} == {k: two.one[k] for k in same}
    assert two.both["dropped"] == {"too_long": {"count": 1, "ids": ["pair-3"]}}
    for loss in ("loss_first", "loss_last"):
        assert two.both[loss] == pytest.approx(two.one[loss], rel=1e-5)
    assert {p.name for p in (two.top / "both").iterdir()} == {p.name for p in (two.top / "one").iterdir()}


def test_a_plan_says_what_two_processes_did(two: Two) -> None:
    plan = plan_dpo(two.top / "dpo", two.top / "nowhere", dpo_config(two.top, 1, 2))
    same = ("pairs", "pairs_used", "dropped", "held_out", "tokens", "weight_mean", "settings")
    assert {name: plan[name] for name in same} == {name: two.both[name] for name in same}


def test_progress_and_settings_are_reported_once(two: Two) -> None:
    settings, *done = two.seen
    assert in_words(settings) == "4 updates of 4 rows (2 x 1 accumulated x 2 processes), 2 epochs, learning rate 0.01 (cosine), on cpu"
    few = in_words({**settings, "generations": 4, "rows_used": 3})
    assert few.endswith("there are only 3 rows, which GRPO refuses: give a smaller rows_an_update")
    assert [d[:2] for d in done] == [(1, 4), (2, 4), (3, 4), (4, 4)] and two.both["settings"] == settings


def test_from_a_checkpoint_two_processes_end_in_the_same_model(two: Two) -> None:
    import torch

    resumed = two.further["resumed"]
    assert resumed["settings"]["after"] == 2
    assert torch.equal(weights(two.top / "new"), weights(two.top / "both"))
    assert {k: resumed[k] for k in ("loss_first", "loss_last", "tokens")} == {k: two.both[k] for k in ("loss_first", "loss_last", "tokens")}


def test_weights_of_one_are_trls_own_training_on_two_processes(two: Two) -> None:
    assert two.further["same_as_trl"]


def test_a_mean_over_tokens_is_one_over_those_of_all_processes(two: Two) -> None:
    import torch

    one, both = train_sft(two.top / "sft", two.top / "sft-one", sft_config(two.top, 4, 1)), two.further["sft"]
    torch.testing.assert_close(weights(two.top / "sft-both"), weights(two.top / "sft-one"), rtol=1e-5, atol=1e-7)
    assert both["tokens"] == one["tokens"] and both["loss_last"] == pytest.approx(one["loss_last"], rel=1e-5)


def test_each_held_out_row_counts_once(two: Two) -> None:
    one_sft = train_sft(two.top / "sft", two.top / "sft-held", sft_config(two.top, 4, 1))
    for both, one in ((two.both, two.one), (two.further["parts"], two.one), (two.further["sft"], one_sft)):
        assert both["held_out"] == 5
        assert {k: v for k, v in both.items() if k.startswith("eval_")} == pytest.approx(
            {k: v for k, v in one.items() if k.startswith("eval_")}, rel=1e-4
        )


def test_a_loss_that_is_not_finite_in_one_process_ends_both_and_names_its_rows(two: Two) -> None:
    first, second = two.further["diverged"]
    assert first == second and "the batch was of these rows: row-2, row-3\n" in first


@pytest.mark.parametrize("kind", ["", "-lora"])
def test_a_model_in_parts_is_trained_as_one_and_written_whole(two: Two, kind: str) -> None:
    import torch
    from safetensors.torch import load_file

    parts, one = (load_file(two.top / f"{name}{kind}" / "model.safetensors") for name in ("parts", "one"))
    for name, weight in one.items():
        torch.testing.assert_close(parts[name], weight, rtol=1e-4, atol=1e-6)
    same = ("pairs_used", "tokens", "parameters", "steps")
    assert {k: two.further[f"parts{kind}"][k] for k in same} == {k: (two.lora if kind else two.one)[k] for k in same}
    assert {p.name for p in (two.top / f"parts{kind}").iterdir()} == {p.name for p in (two.top / f"one{kind}").iterdir()}


def test_what_one_of_them_finds_is_raised(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="rows: a fault") as e:
        together(partial(manyhands.fails, tmp_path), 2, tmp_path / "place", None, None)
    assert e.value.hint == "mend it"


@contextmanager
def command(top: Path) -> Iterator[tuple[Any, list[int]]]:
    """A command that trains with two processes, once it does, and the numbers of these."""
    script = [sys.executable, "-c", f"import manyhands, pathlib; manyhands.together_until_stopped(pathlib.Path({str(top)!r}))"]
    with subprocess.Popen(script, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}) as process:
        until = time.monotonic() + 120
        while not (top / "updates").is_file() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        yield process, [int((top / f"pid-{rank}").read_text()) for rank in (0, 1)]


def gone(pids: list[int]) -> bool:
    import psutil  # type: ignore[import-untyped]

    until = time.monotonic() + 30
    while alive := [p for p in pids if psutil.pid_exists(p) and psutil.Process(p).status() != psutil.STATUS_ZOMBIE]:
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return not alive


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_the_command(tmp_path: Path, number: signal.Signals) -> None:
    with command(tmp_path) as (process, pids):
        process.send_signal(number)
        printed = process.communicate()[0]
        assert gone(pids)
    assert process.returncode == (-number if number == signal.SIGKILL else 3) and ("interrupted" in printed) == (number != signal.SIGKILL)


def test_a_killed_process_is_named_and_ends_the_others(tmp_path: Path) -> None:
    with command(tmp_path) as (process, pids):
        os.kill(pids[1], signal.SIGKILL)
        printed = process.communicate()[0]
        assert gone(pids)
    assert process.returncode == 3 and "process 1 of 2 was killed (SIGKILL)" in printed


def test_launchers_around_it_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(InputError, match="4 processes were started, as WORLD_SIZE says") as e:
        train_sft(write(tmp_path / "sft", sft_rows(2), SFT), tmp_path / "out", SftConfig(model="-"))
    assert "processes: 4" in str(e.value.hint)


def test_one_gpu_is_used_unless_more_are_asked_for(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert processes_of(SftConfig(model="-")) == 1 and "one of 4 GPUs; with `processes: auto`" in caplog.text
    assert processes_of(SftConfig(model="-", processes="auto")) == 4 and processes_of(SftConfig(model="-", processes=2)) == 2
    with pytest.raises(InputError, match="5 processes, and 4 GPUs"):
        processes_of(SftConfig(model="-", processes=5))
