"""What `mine` says of all votes: counts by hand, and tables that fit a terminal."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import polars as pl

import toolkit
from toolkit.common.tables import Column, table_text
from toolkit.operators.figures import Table
from toolkit.operators.mining._mine_figures import VOTES, HardShare, statistics

GUARD = toolkit.load_guard("guardreasoner")
H, U = "harmful", "unharmful"


def verdicts() -> pl.DataFrame:
    """Three rows, two guards, two draws each, on the prompt; the third row has no label."""
    votes = {"1": ("a", (H, H), "b", (H, H)), "2": ("a", (H, U), "b", (U, None)), "3": ("a", (H, H), "b", (U, U))}
    lines = [(p, g, d, v) for p, (a, x, b, y) in votes.items() for g, vs in ((a, x), (b, y)) for d, v in enumerate(vs)]
    table = pl.DataFrame(lines, schema=["parent", "guard_model", "draw", "verdict_prompt"], orient="row")
    label = pl.when(pl.col("parent") == "3").then(None).otherwise(pl.lit(H)).alias("label_prompt")
    return table.with_columns(label, *(pl.lit(None, pl.String).alias(f"{k}_{t}") for t in ("refusal", "response") for k in ("label", "verdict")))


def test_statistics_by_hand() -> None:
    found = statistics(verdicts(), pl.DataFrame({"parent": ["1", "2", "3"]}), GUARD)
    assert found["votes"]["prompt"] == {"rows": 2, "right": 5, "wrong": 2, "unread": 1, "by_wrong": {"0": 1, "2": 1}}
    assert found["votes"]["refusal"] == {"rows": 0, "right": 0, "wrong": 0, "unread": 0, "by_wrong": {}}
    bars = found["histograms"]["prompt"]
    assert bars["entropy"]["rows"] == [1, 0, 0, 0, 0, 0, 0, 0, 0, 2] and bars["entropy"]["edges"][-1] == 1.0
    assert bars["error_rate"]["n"] == 2 and bars["error_rate"]["mean"] == round(1 / 3, 6)
    assert bars["divergence"]["rows"][-1] == 1  # the third row: each guard is sure, and of another label
    assert found["agreement"]["prompt"]["matrix"][0][1] == 0.5  # 1, then (1/2), then 0
    assert found["histograms"]["refusal"]["margin"] == {"n": 0, "mean": None, "edges": [round(i / 10, 6) for i in range(11)], "rows": [0] * 10}


def test_hard_shares_by_hand_and_in_any_blocks() -> None:
    rows = pl.DataFrame(
        {
            "source": ["s", "s", "t", "t"],
            "categories": [["x", "y", "x"], [], ["x"], None],
            "prompt": ["a" * 255, "a" * 256, "a", "a" * 4000],
            "response": [None, None, "b" * 1023, "b" * 96],
        },
        schema_overrides={"categories": pl.List(pl.String)},
    )
    hard = pl.Series([True, False, True, True])
    whole, parts = HardShare(), HardShare()
    whole.add(rows, hard)
    for i in range(4):
        parts.add(rows[i : i + 1], hard[i : i + 1])
    assert whole.lines() == parts.lines()
    found = {(one["by"], one["name"]): (one["rows"], one["hard"], one["share"]) for one in whole.lines()}
    assert found == {
        ("source", "s"): (2, 1, 0.5),
        ("source", "t"): (2, 2, 1.0),
        ("category", "(none)"): (2, 1, 0.5),
        ("category", "x"): (2, 2, 1.0),
        ("category", "y"): (1, 1, 1.0),
        ("length", "under 256"): (1, 1, 1.0),
        ("length", "256 to 1,024"): (1, 0, 0.0),
        ("length", "1,024 to 4,096"): (1, 1, 1.0),
        ("length", "4,096 and more"): (1, 1, 1.0),
    }


def test_what_is_beyond_the_longest_list_is_put_together() -> None:
    share = HardShare()
    rows = pl.DataFrame({"source": [f"s{i:03}" for i in range(200)], "categories": [["x"]] * 200, "prompt": ["a"] * 200, "response": ["b"] * 200})
    share.add(rows, pl.Series([True] * 200))
    sources = [one for one in share.lines() if one["by"] == "source"]
    assert len(sources) == 50 and sources[-1] == {"by": "source", "name": "(others)", "rows": 151, "hard": 151, "share": 1.0}


def shown(stats: dict[str, Any]) -> list[Any]:
    step: Any = SimpleNamespace(step="hard", stats=stats)
    return [part for f in VOTES for part in f.shown(step, f, f.value(step))]


def test_tables_fit_a_terminal_and_old_steps_have_none() -> None:
    share = HardShare()
    share.add(
        pl.DataFrame({"source": ["s", "t"], "categories": [["x"], []], "prompt": ["a", "b" * 300], "response": [None, "c"]}), pl.Series([True, False])
    )
    stats = statistics(verdicts(), pl.DataFrame({"parent": ["1", "2", "3"]}), GUARD) | {"hard_share": share.lines()}
    parts = shown(stats)
    tables = [p for p in parts if isinstance(p, Table)]
    assert [t.rows[0][0] for t in tables] == ["prompt", "prompt", "prompt", "source"]
    assert tables[0].rows == [["prompt", 2, "62.5", "25.0", "12.5", "0.639", "0.444", "0.417"]]
    assert tables[1].rows == [["prompt", "entropy", 1, 0, 0, 0, 2], ["prompt", "margin", 1, 1, 0, 0, 1], ["prompt", "divergence", 1, 1, 0, 0, 1]]
    assert tables[2].rows[1] == ["prompt", "b", "50.0", "0.0"]
    assert parts[2].startswith("Fleiss' kappa, prompt (hard): ")
    for t in tables:
        columns = [*(Column(w) for w in t.words), *(Column(n, "number") for n in t.numbers)]
        text = table_text(t.title, columns, [["" if c is None else str(c) for c in row] for row in t.rows], width=80)
        assert max(map(len, text.splitlines())) <= 80
    assert shown({}) == []
