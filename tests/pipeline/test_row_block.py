"""What becomes of a block of rows is a pure function: the same for any cut of it, and it changes nothing."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import PLUGIN

from toolkit.guards import load_guard
from toolkit.operators import Columns, Context, operator_class
from toolkit.operators._uses import shown
from toolkit.pipeline import LOCAL, Counts, FrameInput, FrameOutput, Work, build_step
from toolkit.pipeline._row_steps import Block, joined, row_block
from toolkit.records import content_id, load_record, to_polars
from toolkit.taxonomy import load_taxonomy

GUARD, TAXONOMY = load_guard("guardreasoner"), load_taxonomy()
RECORD = load_record("seed", GUARD.task_names)
STEPS: list[tuple[str, dict[str, Any]]] = [
    ("normalise", {"max_chars": 40}),
    ("loud", {"fail_on": "thorn", "reject": "weed"}),
    ("select", {"where": {"label_prompt": "harmful"}, "share": 0.7}),
    ("measure", {"measures": ["chars", "repeated"], "texts": ["prompt"]}),
]
PROMPTS = st.sampled_from(["How do tulips grow?", "  ", "a thorn", "a weed", "caf\u0065\u0301 \x1b[1m!", "Which is " + "very " * 9 + "tall?"])
ROWS = st.lists(st.tuples(PROMPTS, st.sampled_from(["harmful", "unharmful", None])), max_size=30)


@pytest.fixture(scope="module", autouse=True)
def plugin() -> Any:
    sys.path.insert(0, str(PLUGIN))
    yield
    sys.path.remove(str(PLUGIN))


def group() -> list[Work[Any]]:
    out: list[Work[Any]] = []
    columns: Columns = {c.name: c for c in RECORD.columns}
    for name, options in STEPS:
        cls = operator_class(name)
        op = cls(cls.config_class.model_validate(options))
        guard, taxonomy = shown(op, GUARD, TAXONOMY)
        columns = op.columns({"rows": columns}, guard)
        out.append(Work(op, Context(guard, taxonomy, 5, name, Path()), columns, Counts(name, name, op.shape)))
    return out


def frame(some: list[tuple[str, str | None]]) -> pl.DataFrame:
    rows: list[dict[str, Any]] = [
        {
            "id": f"r{i}",
            "content_id": content_id([], prompt, None),
            "context": [],
            "prompt": prompt,
            "categories": [],
            "votes": [],
            **{f"label_{t}_source": "absent" for t in GUARD.task_names},
            "source": "here",
            "source_row": i,
            "licence": "MIT",
            "label_prompt": label,
            "group": content_id([], prompt, None),
        }
        for i, (prompt, label) in enumerate(some)
    ]
    return pl.DataFrame(rows, schema=to_polars(RECORD.columns), orient="row")


def same(one: Block, two: Block) -> bool:
    left = [pl.DataFrame() if b.left is None else b.left for b in (one, two)]
    return one.kept.equals(two.kept) and left[0].equals(left[1]) and list(one.counts) == list(two.counts) and one.came == two.came


@settings(max_examples=60, deadline=None)
@given(ROWS, st.lists(st.integers(0, 30), max_size=5))
def test_any_cut_gives_the_same(some: list[tuple[str, str | None]], cuts: list[int]) -> None:
    steps, rows = group(), frame(some)
    before = rows.clone()
    whole = row_block(steps, rows)
    whole.check()
    edges = [0, *sorted(min(c, rows.height) for c in cuts), rows.height]
    assert same(whole, joined([row_block(steps, rows[a:b]) for a, b in pairwise(edges)]))
    assert same(whole, row_block(steps, rows)), "asked again, it says the same"
    assert rows.equals(before) and all(w.counts == w.counts.fresh() for w in steps), "nothing has changed"


def test_rows_in_memory_come_to_what_a_block_comes_to() -> None:
    some = [("a thorn", "harmful"), ("How do tulips grow?", "harmful"), ("a weed", None), ("  ", None), ("What is a bulb?", "unharmful")] * 3
    steps, block = group(), row_block(group(), frame(some))
    out = FrameOutput([w.counts for w in steps], steps[-1].columns, Path())
    build_step(LOCAL, steps, {"rows": FrameInput("rows", *frame(some).iter_slices(4))}, out)
    out.check()
    assert out.kept.equals(block.kept) and [w.counts for w in steps] == list(block.counts)
    assert block.left is not None and out.left["_reason"].to_list() == block.left["reason"].to_list()
    assert {"operator_error", "unwanted", "empty_prompt", "not_selected"} <= set(out.left["_reason"])
