"""An export opened by ms-swift's own code (4.6.0): its loader of data sets, its import of plug-ins, its computation of rewards and its arguments.
`make trainers` runs it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from online import exported, options, outputs, pictured, printed

pytest.importorskip("swift")


def test_ms_swift_reads_the_rows_and_calls_the_reward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "cache"))
    import torch
    from swift.dataset import load_dataset
    from swift.rewards import orms
    from swift.rl_core.data import GRPOSample
    from swift.rl_core.grpo_algorithm import compute_rewards_per_func
    from swift.utils import import_external_file

    folder, rows = exported(tmp_path, "ms-swift")
    read, _ = load_dataset([str(folder / "rl" / "train.jsonl")], strict=True, remove_unused_columns=False)
    assert [row["messages"] for row in read] == [row["prompt"] for row in rows]
    tuned, _ = load_dataset([str(folder / "train.jsonl")], strict=True)
    assert [row["messages"] for row in tuned] == [[*row["prompt"], *row["completion"]] for row in rows]

    import_external_file(str(folder / "reward" / "guardkit_reward.py"))
    lengths = [7 * i + 1 for i in range(len(rows))]
    samples = []
    for row, text, n in zip(read, outputs(rows), lengths, strict=True):
        sample = GRPOSample.from_row({k: v for k, v in row.items() if v is not None})
        sample.messages = [*sample.messages, {"role": "assistant", "content": text}]
        sample.response_token_ids = [[5] * n]
        sample.prompt_id = f"prompt_{row['id']}"
        samples.append(sample)
    found = compute_rewards_per_func(samples, [orms["guardkit"](args=None)], [None], torch.device("cpu"))
    assert found[:, 0].nan_to_num(0.0).tolist() == pytest.approx(printed(rows, lengths), abs=1e-6)


def test_ms_swift_takes_rows_with_and_without_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "cache"))
    from swift.dataset import load_dataset

    read, _ = load_dataset([str(pictured(tmp_path, "ms-swift") / "rl" / "train.jsonl")], strict=True, remove_unused_columns=False)
    assert [[image["path"] for image in row["images"] or []] for row in read] == [["cat.png"] * 2, [], ["cat.png"]]
    assert [row["messages"][0]["content"].count("<image>") for row in read] == [2, 0, 1]


def test_the_script_gives_arguments_that_there_are(tmp_path: Path) -> None:
    from swift.arguments import RLHFArguments

    folder, _ = exported(tmp_path, "ms-swift")
    given = options(folder / "train.sh", r"^  --([a-z_]+) (\S+) \\$")
    assert len(given) > 20 and set(given) <= {field.name for field in dataclasses.fields(RLHFArguments)}
