"""What rows are compared with: benchmarks and text files, read, and indexed by n-grams and by whole prompts.

A benchmark is read from the files that a user names, else from the hub; one that neither holds is `Missing`. A text file is any JSON Lines,
JSON, CSV or parquet file with a column of text, or of prompts and perhaps responses. Rows of either that cannot be read are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from toolkit.common.errors import InputError, did_you_mean
from toolkit.common.paths import Beside, Roots
from toolkit.common.reading import Files
from toolkit.evaluation import BenchmarkFiles, read_benchmark
from toolkit.guards import Guard, input_fingerprint, read_input
from toolkit.operators._old_shards import find_version
from toolkit.operators.clean.ngrams import NgramIndex, exact_key
from toolkit.shards import OldVersion, old_version, shard_rows
from toolkit.sources import expand_files, file_columns, format_of, read_blocks

ROWS = ("id", "prompt", "response")


@dataclass(frozen=True)
class Side:
    """One set of texts: `rows` with id, prompt and response (null: none); `field`: what its prompts are called; `unread` rows by reason."""

    name: str
    rows: pl.DataFrame
    unread: dict[str, int]
    field: str = "prompt"


def benchmark_side(found: BenchmarkFiles, held: Files | None = None) -> Side:
    """A benchmark's texts (InputError, Missing: it cannot be read)."""
    read = read_benchmark(found, held, texts=True)
    return Side(found.benchmark.name, read.rows.select(ROWS), read.unread)


def text_files(items: Sequence[str], beside: Beside) -> dict[str, Path]:
    """Text files by their names.

    Raises:
        InputError: no such file, or two of one name.
    """
    out: dict[str, Path] = {}
    for path in expand_files(items, beside):
        if path.name in out:
            raise InputError("two files of this name: a match could not say which", where=str(path), hint="rename one")
        out[path.name] = path
    return out


def text_columns(path: Path, text: str) -> dict[str, str]:
    """The columns of a text file that are read, by what they are: id, prompt, response.

    Raises:
        InputError: it has neither the column `text` nor one called prompt, or cannot be read.
    """
    there = file_columns(path)
    if there is None:
        raise InputError("no row of it can be read", where=str(path))
    prompt = text if text in there else "prompt"
    if prompt not in there:
        raise InputError(f"no column {text!r}, and none called 'prompt'", where=str(path), hint=did_you_mean(text, there))
    response = {"response": "response"} if prompt != text and "response" in there else {}
    return {"prompt": prompt, **response, **({"id": "id"} if "id" in there else {})}


def text_side(name: str, path: Path, text: str, held: Files | None = None) -> Side:
    """The texts of a file; a row's id is its `id`, else its number from 1. Raises as `text_columns`."""
    columns = text_columns(path, text)
    rows: list[tuple[str, str | None, str | None]] = []
    unread: dict[str, int] = {}
    number = 0
    for block in read_blocks(path, format_of(path), list(columns.values()), 8192, held):
        for row in block:
            number += 1
            values = [row.get(columns[n]) if n in columns else None for n in ROWS] if isinstance(row, dict) else [None, None, None]
            if not isinstance(row, dict) or not isinstance(values[1], str) or not isinstance(values[2], str | None):
                reason = "no_text" if isinstance(row, dict) else row.reason
                unread[reason] = unread.get(reason, 0) + 1
                continue
            rows.append((str(number) if values[0] is None else str(values[0]), values[1], values[2]))
    return Side(
        name, pl.DataFrame(rows, schema=dict.fromkeys(ROWS, pl.String), orient="row"), unread, "prompt" if columns["prompt"] == "prompt" else "text"
    )


def old_shards(names: Sequence[str], guard: Guard, roots: Roots) -> list[OldVersion]:
    """Older shards, out of whose inputs the texts can be read.

    Raises:
        InputError: no such shards, two of one title, or for a guard with another input.
    """
    out: dict[str, OldVersion] = {}
    for name in names:
        old = old_version(find_version(name, roots))
        where = f"{name}: {old.title!r}"
        if old.title in out:
            raise InputError("two shards of this title: a match could not say which", where=where, hint="of versions name the newest alone")
        if old.manifest.get("guard_input") != input_fingerprint(guard):
            raise InputError(f"their inputs are for another guard than {guard.name!r}, and cannot be read", where=where)
        out[old.title] = old
    return list(out.values())


def shard_side(old: OldVersion, guard: Guard) -> Side:
    """The texts of shards; of a row with earlier messages, which are not kept apart, the whole input."""
    rows: list[tuple[str, str, str | None]] = []
    for block in shard_rows(old.folder, old.manifest, ["id", "prompt"]):
        texts = block["prompt"] if block.schema["prompt"] == pl.String else block["prompt"].list.last().struct.field("content")
        rows += [(name, *(read_input(guard, text) or (text, None))) for name, text in zip(block["id"], texts, strict=True)]
    return Side(old.title, pl.DataFrame(rows, schema=dict.fromkeys(ROWS, pl.String), orient="row"), {})


@dataclass(frozen=True)
class Against:
    """All sets together.

    `rows`: one line for each of their rows, by number: set (number), id, key and key_response (`exact_key`; null: none). `texts`: one for each text
    of the index: row, field. `short`: key and row of the prompts that have fewer words than an n-gram.
    """

    names: list[str]
    rows: pl.DataFrame
    texts: pl.DataFrame
    short: pl.DataFrame
    index: NgramIndex


def build(sides: Sequence[Side], n: int) -> Against:
    """Index some sets of texts by their n-grams of `n` words."""
    import numpy as np

    rows, texts = [], []
    before = 0
    for i, side in enumerate(sides):
        numbered = side.rows.with_columns(set=pl.lit(i, pl.Int64), row=pl.int_range(pl.len(), dtype=pl.Int64) + before)
        before += side.rows.height
        rows.append(
            numbered.select("set", "row", "id", exact_key(pl.col("prompt")).alias("key"), exact_key(pl.col("response")).alias("key_response"))
        )
        for field, column in ((side.field, "prompt"), ("response", "response")):
            texts.append(numbered.filter(pl.col(column).is_not_null()).select("set", "row", pl.lit(field).alias("field"), text=column))
    whole = pl.concat(rows)
    each = pl.concat(texts)
    index = NgramIndex(each["text"], each["set"].to_numpy(), n=n)
    few = pl.Series(np.diff(index.words.offsets) < n)
    short = each.filter(few & (each["field"] != "response")).join(whole, on="row").select("key", "row").drop_nulls("key")
    return Against([s.name for s in sides], whole, each.select("row", "field"), short, index)
