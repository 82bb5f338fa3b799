"""`replay`: old rows among new ones, in exact numbers, the same ones whatever the blocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_shards_extend import COLUMNS, GUARD, TAXONOMY, row, write

from toolkit.common.errors import InputError
from toolkit.operators import Columns, Context, operator_class
from toolkit.operators.choose.replay import _level
from toolkit.pipeline import LOCAL, Counts, FrameInput, FrameOutput, Work, build_step
from toolkit.records import Column, to_polars
from toolkit.shards import GUARD_FACETS

CATEGORIES = [["a", "b"], ["a"], ["a"], [], ["c"]]
"""Of every five old rows: `b` and `c` are rarer than `a`, so a row of both is of `b`."""


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 rows to train on, and 10 to test with."""
    folder = tmp_path_factory.mktemp("replayed")
    rows = [row(i, "test" if i >= 40 else None, categories=CATEGORIES[i % 5], label="harmful" if i % 2 else "unharmful") for i in range(50)]
    write(folder, rows, title="Gardens", rows_per_shard=15)
    return folder


def replay(
    old: Path | None, new: int, block: int = 7, columns: Columns = COLUMNS, start: int = 100, **options: Any
) -> tuple[pl.DataFrame, dict[str, Any]]:
    cls = operator_class("replay")
    op: Any = cls(cls.config_class(**{"old": old and str(old), **options}))
    ctx = Context(GUARD.only(GUARD_FACETS), TAXONOMY, 3, "mixed", Path())
    counts = Counts("mixed", "replay", op.shape)
    out = FrameOutput([counts], op.columns({"rows": columns}, ctx.guard), Path())
    op.look(ctx)
    frame = pl.DataFrame(
        [row(start + i, "test" if i % 4 == 3 else "train") for i in range(new)], schema=to_polars(tuple(COLUMNS.values()))
    ).with_columns(seed_model=pl.lit("writer"))
    build_step(LOCAL, [Work(op, ctx, columns, counts)], {"rows": FrameInput("rows", *frame.select(list(columns)).iter_slices(block))}, out)
    out.check()
    return out.kept, out.stats


def numbers(rows: pl.DataFrame) -> list[int]:
    return [int(i[1:]) for i in rows["id"]]


def test_the_share_is_of_what_is_trained_on_and_the_same_rows_come_again(old: Path) -> None:
    mixed, stats = replay(old, 24, share=0.4)
    found = numbers(mixed)
    assert found[:24] == list(range(100, 124)) and stats["old_rows"] == 12, "18 of the new rows are trained on: 12 is 40 per cent of 30"
    assert all(i < 40 for i in found[24:]) and found[24:] == sorted(found[24:]), "of the split train, in the order of the shards"
    assert replay(old, 24, block=5, share=0.4)[0].equals(mixed)
    assert set(found) < set(numbers(replay(old, 24, share=0.5)[0])), "a larger share adds rows and drops none"


def test_small_classes_are_taken_whole_and_counted(old: Path) -> None:
    mixed, stats = replay(old, 48, share=0.5, per=["categories"])
    assert stats["classes"] == [
        {"categories": None, "rows": 8, "drawn": 8}, {"categories": "a", "rows": 16, "drawn": 12},
        {"categories": "b", "rows": 8, "drawn": 8}, {"categories": "c", "rows": 8, "drawn": 8},
    ]  # fmt: skip
    assert stats["classes_taken_whole"] == 3 and Counter(i % 5 for i in numbers(mixed)[48:])[0] == 8
    few, stats = replay(old, 8, each=2, per=["categories", "label_prompt"])
    assert [c["drawn"] for c in stats["classes"]] == [2] * 8 and few.height == 8 + 16


def test_columns_that_one_side_lacks(old: Path) -> None:
    columns = {n: c for n, c in COLUMNS.items() if n != "licence"} | {"seed_model": Column("seed_model", "string")}
    mixed, stats = replay(old, 8, columns=columns, share=0.5)
    assert mixed.columns == list(columns) and mixed["seed_model"].to_list() == ["writer"] * 8 + [None] * 6
    assert stats["columns_apart"] == ["licence", "seed_model"]


def test_what_cannot_be_is_refused(old: Path, tmp_path: Path) -> None:
    for words, options in (
        ("replay: too few rows: 'Gardens', train: 40 of 108", {"new": 16, "share": 0.9}),
        ("'Gardens' has no split 'dev'", {"new": 4, "share": 0.2, "split": "dev"}),
        ("an old row that is drawn is among the new rows, too: r0", {"new": 40, "share": 0.5, "short": "fewer", "start": 0}),
        ("replay needs older shards", {"new": 4, "share": 0.2, "old": None}),
        ("the new rows lack its column completion", {"new": 4, "share": 0.2, "columns": {n: c for n, c in COLUMNS.items() if n != "completion"}}),
    ):
        with pytest.raises(InputError) as e:
            replay(**dict[str, Any]({"old": old, **options}))
        assert words in str(e.value)
    with pytest.raises(ValueError, match="give one of `share` and `each`"):
        replay(old, 4)
    assert replay(old, 16, share=0.9, short="fewer")[1]["old_rows"] == 40


@settings(max_examples=50, deadline=None)
@given(total=st.integers(0, 100), sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6))
def test_parts_are_as_equal_as_the_sizes_allow(total: int, sizes: Sequence[int]) -> None:
    total = min(total, sum(sizes))
    takes = _level(total, sizes)
    assert sum(takes) == total and all(0 <= n <= of for n, of in zip(takes, sizes, strict=True))
    cut = [n for n, of in zip(takes, sizes, strict=True) if n < of]
    assert not cut or (max(cut) - min(cut) <= 1 and max(takes) <= max(cut) + 1), "only classes that are taken whole have fewer"
