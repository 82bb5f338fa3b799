"""Pictures of guardkit's own figures: the rows behind them are what the step's files say."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from toolkit.operators import operator_class


@pytest.fixture
def drawn(tmp_path: Path) -> Any:
    """Draws a figure of an operator for a step with these stats, rows and files in `tmp_path`."""

    def draw(use: str, name: str, value: Any, rows: pl.DataFrame | None = None) -> list[Any]:
        figure = next(f for f in operator_class(use).figures if f.name == name)
        rows = rows if rows is not None else pl.DataFrame()
        step: Any = SimpleNamespace(step="mine", stats={}, columns=rows.columns, rows=rows.height, blocks=lambda names: iter([rows.select(names)]))
        step.file = lambda name: path if (path := tmp_path / name).exists() else None
        assert figure.drawn is not None
        return list(figure.drawn(step, figure, value))

    return draw


def test_calibration_is_the_share_of_positive_rows_of_about_one_probability(drawn: Any, tmp_path: Path) -> None:
    result = {"benchmark": "b", "title": "B", "model": "g", "task": "prompt", "policy": "clean", "n": 4, "f1": 50.0, "f1_low": 20.0, "f1_high": 80.0}
    assert [p.title for p in drawn("evaluate", "results", [result])] == ["F1 in percent, with 95 % intervals (mine)"]
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "evaluation.json").write_text(json.dumps({"models": [{"name": "g", "guard": "guardreasoner"}]}))
    lines = [("g", "prompt", "harmful", 0.91), ("g", "prompt", "unharmful", 0.99), ("g", "prompt", "unharmful", 0.11), ("g", "prompt", None, 0.5)]
    pl.DataFrame(lines, ("model", "task", "gold", "probability"), orient="row").write_parquet(tmp_path / "evaluation" / "rows.parquet")
    scores, calibration = drawn("evaluate", "results", [result])
    assert scores.rows[0]["of"] == "prompt, B" and scores.rows[0]["from"] == 20.0
    found = [(r["guard"], r["probability"], r["share that is positive"], r["n"]) for r in calibration.rows]
    assert found == [("g", 0.11, 0.0, 1), ("g", 0.95, 0.5, 2), ("as it should be", 0.0, 0.0, None), ("as it should be", 1.0, 1.0, None)]


def test_pairs_are_counted_by_weight_and_task(drawn: Any) -> None:
    rows = pl.DataFrame({"weight": [0.8, 0.8, 1.2], "task": ["prompt", "prompt", "refusal"]})
    (picture,) = drawn("pair", "pairs", {}, rows)
    assert [(r["weight"], r["task"], r["pairs"]) for r in picture.rows] == [("0.80", "prompt", 2), ("1.20", "refusal", 1)]
    assert drawn("pair", "pairs", {}, rows.clear()) == []


def test_clusters_are_counted_by_size_and_what_makes_them_alike(drawn: Any, tmp_path: Path) -> None:
    (tmp_path / "clusters").mkdir()
    lines = [("a", None), ("a", "exact"), ("b", None), ("b", "exact"), *[("c", "near")] * 30]
    pl.DataFrame(lines, ("cluster", "method"), orient="row").write_parquet(tmp_path / "clusters" / "clusters.parquet")
    (picture,) = drawn("deduplicate", "merged_by_method", {})
    assert [tuple(r.values()) for r in picture.rows] == [("2", "exact", 2), ("20+", "near", 1)]


def test_steps_stand_beside_the_parts_of_the_paper_that_there_are(drawn: Any) -> None:
    (picture,) = drawn("shards", "lengths", [{"source": "aegis_train", "rows": 2, "steps": 7, "chars": 700}])
    assert [(r["rows of"], r["steps a row"], r["characters a step"]) for r in picture.rows] == [
        ("aegis_train", 3.5, 100.0),
        ("AegisTrain-R (paper)", 3.43, 140.83),
        ("GuardReasonerTrain (paper)", 3.61, 133.97),
    ]


def test_a_training_is_drawn_from_its_metrics_and_thinned(drawn: Any, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    lines = [{"update": n, "loss": 1 / n, "eval_loss": 0.5 if n == 1000 else None} for n in range(1, 1001)]
    (tmp_path / "model" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (picture,) = drawn("train_sft", "parameters", 7)
    trained = [r["update"] for r in picture.rows if r["rows"] == "trained"]
    assert len(trained) <= 301 and trained[0] == 1 and trained[-1] == 1000
    assert [r["value"] for r in picture.rows if r["rows"] == "held out"] == [0.5]


def test_who_disagrees_with_whom_and_differences_have_their_numbers(drawn: Any) -> None:
    (picture,) = drawn("mine", "agreement", {"prompt": {"guards": ["a", "b"], "matrix": [[1.0, 0.75], [0.75, None]]}})
    assert [r["votes that differ, %"] for r in picture.rows] == [0.0, 25.0, 25.0]
    verdict = {"a": "x", "b": "y", "task": None, "outcome": "not distinguishable", "difference": -1.0, "low": -3.0, "high": 1.0}
    (picture,) = drawn("compare", "verdicts", [verdict, {**verdict, "difference": None}])
    assert [r["of"] for r in picture.rows] == ["y less x, all tasks"]  # `compare` has the difference of b less a
