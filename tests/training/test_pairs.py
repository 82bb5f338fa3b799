"""Pairs that teach nothing are left out by name, or refused where there are no others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bases import base
from shardfolders import dpo_rows, sft_rows, turn

from toolkit.common.errors import InputError
from toolkit.training import DpoConfig, SftConfig, train_dpo, train_sft

Write = Callable[..., Path]
ONCE = {"max_steps": 1, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 1}


@pytest.fixture
def train(tmp_path: Path, write_dpo: Write) -> Callable[..., dict[str, Any]]:
    folder = base(tmp_path / "base")
    return lambda rows: train_dpo(write_dpo(rows), tmp_path / "out", DpoConfig(model=str(folder), trainer=ONCE, threads=1))


def spoilt(kind: str, row: dict[str, Any]) -> None:
    if kind == "same_answers":
        row["rejected"] = row["chosen"]
    else:
        row["rejected" if kind == "empty_answer" else "chosen"] = turn("assistant", " \n")


@pytest.mark.parametrize("kind", ["same_answers", "empty_answer", "empty chosen"])
def test_such_pairs_are_left_out_by_name(train: Callable[..., dict[str, Any]], kind: str) -> None:
    rows = dpo_rows(5)
    spoilt(kind, rows[2])
    found = train(rows)
    reason = "same_answers" if kind == "same_answers" else "empty_answer"
    assert found["dropped"] == {reason: {"count": 1, "ids": ["pair-2"]}}
    assert (found["pairs"], found["pairs_used"]) == (5, 4)


@pytest.mark.parametrize("kind", ["same_answers", "empty_answer"])
def test_nothing_but_such_pairs_is_refused(train: Callable[..., dict[str, Any]], tmp_path: Path, kind: str) -> None:
    rows = dpo_rows(4)
    for row in rows:
        spoilt(kind, row)
    with pytest.raises(InputError, match=f"no row can be trained on: 4 {kind}") as e:
        train(rows)
    assert "max_length" not in str(e.value) and not (tmp_path / "out").exists()


def test_pairs_without_weight_are_counted_and_nothing_else_is_refused(train: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    rows = dpo_rows(4)
    rows[0]["weight"] = 0.0
    assert train(rows)["weight_zero"] == 1
    with pytest.raises(InputError, match="the weight of every pair is 0"):
        train([{**r, "weight": 0.0} for r in rows])


def test_an_answer_of_nothing_is_left_out_of_sft_too(tmp_path: Path, write_sft: Write) -> None:
    rows = sft_rows(4)
    rows[1]["completion"] = turn("assistant", "")
    found = train_sft(write_sft(rows), tmp_path / "out", SftConfig(model=str(base(tmp_path / "base")), trainer=ONCE, threads=1))
    assert found["dropped"] == {"empty_answer": {"count": 1, "ids": ["row-1"]}}
