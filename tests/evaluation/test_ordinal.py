"""Figures of labels on a scale: tables computed by hand, and the way from a guard's file to the document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import toolkit
from toolkit.common.errors import InputError, InputErrors
from toolkit.common.resources import shipped
from toolkit.evaluation import ordinal, quadratic_kappa
from toolkit.guards import load_guard

SCALE = ["low", "mid", "high"]


def table(golds: list[str], verdicts: list[str | None]) -> pl.DataFrame:
    unread = [None if v else "empty" for v in verdicts]
    lines = {"benchmark": "b", "id": [f"r{i}" for i in range(len(golds))], "model": "m", "task": "risk", "gold": golds, "verdict": verdicts}
    return pl.DataFrame(lines | {"unread": unread}).with_columns(pl.col("verdict", "unread").cast(pl.String))


def test_by_hand() -> None:
    (found,) = ordinal(table(["low", "mid", "high", "high", "low"], ["low", "mid", "mid", "high", None]), {"risk": SCALE}, titles={"b": "B"})
    assert (found["title"], found["n"], found["unparsable"], found["within_one"]) == ("B", 5, 1, 80.0)
    # read: low-low, mid-mid, high-mid, high-high. Squared distances observed: 1. Expected of the margins (1, 1, 2) x (1, 2, 1), over 4:
    # low: 0*1 + 1*2 + 4*1 = 6; mid: 1*1 + 0 + 1*1 = 2; high, twice: 4*1 + 1*2 + 0 = 6 each; together 20 / 4 = 5. 1 - 1 / 5
    assert found["kappa"] == 0.8
    middle, top = found["cuts"]
    assert middle == {"at_least": "mid", "tp": 3, "fp": 1, "fn": 0, "tn": 1, "f1": 85.71, "recall": 100.0, "fpr": 50.0}
    assert top == {"at_least": "high", "tp": 1, "fp": 1, "fn": 1, "tn": 2, "f1": 50.0, "recall": 50.0, "fpr": 33.33}
    assert (found["within_one_low"], found["within_one_high"]) == (37.55, 96.38), "Wilson's interval of 4 in 5"


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ({(0, 0): 3, (3, 3): 2}, 1.0),
        ({(0, 3): 1, (3, 0): 1}, -1.0),
        ({(0, 0): 1, (0, 3): 1, (3, 0): 1, (3, 3): 1}, 0.0),
        ({(1, 1): 5}, None),
        ({(1, None): 5}, None),
        ({(0, 1): 1, (1, 1): 1, (2, 3): 1, (3, 3): 1, (2, None): 7}, 0.8),  # 1 - 4 * 2 / 40
    ],
)
def test_kappa(cells: dict[tuple[int, int | None], int], expected: float | None) -> None:
    assert quadratic_kappa(cells, 4) == (None if expected is None else pytest.approx(expected))


def test_it_is_the_kappa_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    golds, verdicts = [0, 1, 2, 3, 3, 2, 1, 0, 1], [0, 2, 2, 3, 1, 3, 1, 1, 0]
    cells: dict[tuple[int, int | None], int] = {
        (g, v): sum((g, v) == pair for pair in zip(golds, verdicts, strict=True)) for g in range(4) for v in range(4)
    }
    assert quadratic_kappa(cells, 4) == pytest.approx(metrics.cohen_kappa_score(golds, verdicts, weights="quadratic"))


def test_several_draws_and_readings() -> None:
    draws = pl.concat([table(["low"], [v]).with_columns(draw=pl.lit(i)) for i, v in enumerate(["high", "mid", "mid"])])
    (found,) = ordinal(draws, {"risk": SCALE})
    assert found["within_one"] == 100 and found["cuts"][1]["tn"] == 1
    assert ordinal(table(["low"], ["low"]), {"risk": SCALE}, readings={"m": {"risk": {"mid": "high"}}}) == []


def test_a_guard_on_a_scale_is_evaluated_on_it(tmp_path: Path) -> None:
    guard = load_guard("intentionreasoner")
    pairs = [("unharmful", "CU"), ("borderline unharmful", "BH"), ("borderline harmful", "BH"), ("harmful", "CU")]
    rows = [{"prompt": f"p{i}", "label_prompt": gold, "output": f"<think>x</think>\nIntent: {word}"} for i, (gold, word) in enumerate(pairs)]
    (tmp_path / "outputs.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    how: dict[str, Any] = {"predictions": {"m": [str(tmp_path / "outputs.jsonl")]}, "guard": "intentionreasoner", "task": "prompt"}
    found = toolkit.evaluate(**how)
    (scale,) = found["ordinal"]
    # two right, one a step away, one three steps; expected: margins (1, 1, 1, 1) x (2, 0, 2, 0): 8 + 4 + 8 + 20 = 40, over 4; 1 - 10 / 10
    assert (scale["within_one"], scale["kappa"]) == (75.0, 0.0)
    at = [("borderline unharmful", 80.0), ("borderline harmful", 50.0), ("harmful", 0.0)]
    assert [(c["at_least"], c["f1"]) for c in scale["cuts"]] == at
    line = next(line for line in repr(found).partition("On the scale: prompt")[2].splitlines() if line.startswith(" outputs"))
    assert line.split() == ["outputs", "m", "4", "0", "75.00", "0.0000", "80.00", "50.00", "0.00"]
    binary = toolkit.evaluate(**how, reading="binary")
    assert binary.get("ordinal", []) == [] and binary["results"][0]["f1"] == scale["cuts"][1]["f1"]
    assert guard.task("prompt").ordinal


def test_the_positive_label_ends_the_scale(tmp_path: Path) -> None:
    text = (shipped("schemas") / "guards" / "intentionreasoner.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(text.replace("    positive: harmful", "    positive: unharmful").replace("strict: {b", "strict_: {b"))
    with pytest.raises((InputError, InputErrors), match="is not the last"):
        load_guard(tmp_path / "mine.yaml")
