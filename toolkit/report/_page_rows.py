"""Rows of a run for its report: some of those that each step kept, and of those that left it for each reason, drawn by seed."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from toolkit.common.files import digest
from toolkit.common.parquet import open_parquet, taken_batches
from toolkit.common.text import one_line
from toolkit.report._page_parts import Example, Examples, bounded, long_text

if TYPE_CHECKING:
    import polars as pl

    from toolkit.pipeline import StepFolder

REJECTS = "rejects.parquet"
OUTCOMES = {"rejected": "rejected", "merged": "merged", "set_aside": "set aside"}
_BLOCK = 1024
_LONG = 70
"""Characters from which on a text has lines of its own."""
_FIELDS = 40
_TEXTS = frozenset(("context", "prompt", "response", "reasoning", "completion", "output", "chosen", "rejected"))
"""Columns that are texts, however short."""


def kept_rows(done: StepFolder, n: int, seed: int) -> list[dict[str, Any]]:
    """Some rows that a step kept, in their order; none where it has none to read (InputError: they are not those of its manifest)."""
    total = done.stored or 0
    wanted = sorted(random.Random(digest([seed, done.step])).sample(range(total), min(n, total)))
    return [row for block in _taken(done, list(done.row_files()), wanted) for row in block.to_dicts()]


def left_rows(done: StepFolder, others: Sequence[str], n: int, seed: int) -> Iterator[tuple[tuple[str, str, str], int, list[dict[str, Any]]]]:
    """Of the rows that left a step, or those that ran with it and are none of `others`: (step, outcome, reason), how many, and some of them."""
    import polars as pl

    if REJECTS not in done.manifest["files"]:
        return
    index: list[pl.DataFrame] = list(done.read(REJECTS, ["step", "outcome", "reason"]))
    if not index:
        return
    whole = pl.concat(index).with_row_index("at").filter(~pl.col("step").is_in(list(others)))
    for (step, outcome, reason), rows in whole.group_by(["step", "outcome", "reason"], maintain_order=True):
        numbers = rows["at"].to_list()
        wanted = sorted(random.Random(digest([seed, step, outcome, reason])).sample(numbers, min(n, len(numbers))))
        found = [row for block in _taken(done, [REJECTS], wanted) for row in block.to_dicts()]
        yield (str(step), str(outcome), str(reason)), len(numbers), found


def _taken(done: StepFolder, names: Sequence[str], wanted: Sequence[int]) -> Iterator[pl.DataFrame]:
    """Rows by their numbers in some files that follow each other."""
    import polars as pl
    import pyarrow as pa

    before = 0
    for name in names if wanted else ():
        with open_parquet(done.path / name, sha256=done.manifest["files"][name]) as f:
            size = f.metadata.num_rows
            here = pl.Series([i - before for i in wanted if before <= i < before + size], dtype=pl.Int64)
            before += size
            if here.len():
                for batch, rows in taken_batches(f, done.path / name, _BLOCK, here, None):
                    yield pl.DataFrame(pl.from_arrow(pa.Table.from_batches([batch])))[rows]


def as_example(row: Mapping[str, Any], most: int) -> Example:
    """A kept row."""
    return Example(_short(row.get("id") or "a row"), _fields(row, most))


def as_left(line: Mapping[str, Any], most: int) -> Example:
    """A row that left a step, with its reason and detail."""
    try:
        row = json.loads(line["row"]) if line.get("row") is not None else {}
    except ValueError:
        row = line["row"]
    fields = _fields(row, most) if isinstance(row, Mapping) else [("as it came", long_text(str(row), most), True)]
    words = [str(line["detail"])] if line.get("detail") else []
    words += [f"survivor: {line['survivor']}"] if line.get("survivor") else []
    return Example(_short(line.get("id") or "no id"), fields, one_line(bounded("; ".join(words), most)))


def _fields(row: Mapping[str, Any], most: int) -> list[tuple[str, str, bool]]:
    """What a row has, its texts first; keys of the journal are nothing to look at."""
    out = []
    for name, value in row.items():
        if value in (None, "", [], {}) or name == "id" or name.endswith("_key"):
            continue
        text = value if isinstance(value, str) else _messages(value) or json.dumps(value, ensure_ascii=False, default=str)
        wide = name in _TEXTS or len(text) > _LONG or "\n" in text
        out.append((_short(name), long_text(text, most) if wide else one_line(text), wide))
    out.sort(key=lambda f: not f[2])
    return out[:_FIELDS]


def _messages(value: Any) -> str:
    """Messages of a conversation, one below the other."""
    if isinstance(value, list) and value and all(isinstance(m, Mapping) and {"role", "content"} <= m.keys() for m in value):
        return "\n\n".join(f"{m['role']}: {m['content']}" for m in value)
    return ""


def _short(value: Any) -> str:
    return one_line(bounded(str(value), 80))


def examples(title: str, rows: Sequence[Example]) -> Examples:
    """Rows below a heading."""
    return Examples(one_line(title), rows)
