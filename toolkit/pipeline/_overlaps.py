"""Overlaps among benchmarks, sources and other rows: what two sets share, and what a set holds twice.

The same input, and what conflicts: `toolkit.evaluation.benchmarks._shared_rows`. Texts share an n-gram as in the operator `decontaminate`.

Memory: the texts of all sets, and about 50 bytes for each of their words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from toolkit.common.csvfile import write_sheet
from toolkit.common.errors import InputError, Missing, short_path
from toolkit.common.files import new_file
from toolkit.common.outputs import check_output
from toolkit.common.parquet import batches, open_parquet
from toolkit.common.paths import Roots, at_door, is_there, near_file
from toolkit.common.reading import Files
from toolkit.common.several import several
from toolkit.evaluation import INPUT_TEXTS, conflicting, held_twice, numbered, shared
from toolkit.pipeline._finished import StepFolder, is_run, step_folders
from toolkit.pipeline._stop import stopping

if TYPE_CHECKING:
    import polars as pl

Places = str | Path | Sequence[str | Path]
"""Files or folders, one or several."""
LINES = {
    "kind": "duplicate, conflict (within a set); input, prompt, ngram (with another)",
    "set": "name of the row's set",
    "row": "its id",
    "other": "name of the set that it shares this with",
    "other_row": "id of the first row there, for an n-gram of the one with the longest run",
    "run": "for an n-gram the words of the longest run, else null",
}
"""Columns of the lines."""


@dataclass(frozen=True)
class Compared:
    """A set of rows as it is compared: see `plain_rows`."""

    name: str
    kind: Literal["benchmark", "source", "rows"]
    frame: pl.DataFrame
    unread: int


def find_overlaps(
    benchmarks: str | Sequence[str] | Mapping[str, Places | None] | None,
    files: Places,
    sources: Mapping[str, Places | None],
    rows: Mapping[str, str | Path],
    *,
    ngram: int,
    output: str | Path | None,
) -> dict[str, Any]:
    """What some sets of rows share, pair by pair, and what each holds twice: see `toolkit.overlaps`."""
    if output is not None and Path(output).suffix not in (".parquet", ".csv"):
        raise InputError("the file for the rows ends in .parquet or .csv", where=str(output))
    target, roots = None if output is None else at_door(output), Roots.of(None)
    sets, without = _read(benchmarks, files, sources, rows, roots)
    if target is not None:
        check_output(target, reads=roots.read)
    if not sum(s.frame.height for s in sets):
        raise InputError("nothing to compare: no row in any set", hint="name benchmarks (with their files), sources or rows")
    whole = numbered([s.frame for s in sets])
    runs = shared_ngrams(whole, len(sets), ngram)
    figures = {
        "ngram": ngram,
        "sets": [_within(s, held) for s, held in zip(sets, held_twice(whole, len(sets)), strict=True)],
        "pairs": shared_pairs([s.name for s in sets], whole, runs),
        "without": without,
        "output": None if target is None else short_path(target),
    }
    if target is not None:
        with stopping():
            _write(_lines(sets, whole, runs), target)
    return figures


def _read(
    benchmarks: str | Sequence[str] | Mapping[str, Places | None] | None,
    files: Places,
    sources: Mapping[str, Places | None],
    rows: Mapping[str, str | Path],
    roots: Roots,
) -> tuple[list[Compared], list[str]]:
    sets, without = compared_benchmarks(benchmarks, files, roots)
    sets += [_source(name, given, roots) for name, given in sources.items()]
    sets += [_rows(name, at_door(place), roots) for name, place in rows.items()]
    for s in sets:
        if [t.name for t in sets].count(s.name) > 1:
            raise InputError(f"two sets are called {s.name!r}", hint="name rows as NAME=PLACE")
    return sets, without


def compared_benchmarks(
    benchmarks: str | Sequence[str] | Mapping[str, Places | None] | None, files: Places, roots: Roots
) -> tuple[list[Compared], list[str]]:
    """Benchmarks as they are compared, and those that the files lack.

    Raises:
        Missing: one can be read neither from files nor from the hub; InputError: no such benchmark or file.
    """
    from toolkit.evaluation import benchmark_names, choose_benchmarks, read_benchmark

    names = benchmark_names(roots) if benchmarks == "all" else None if benchmarks is None else several(benchmarks)
    given = {n: several(f) for n, f in benchmarks.items() if f is not None} if isinstance(benchmarks, Mapping) else {}
    chosen = choose_benchmarks(names, several(files), given, roots, how="give it, or its folder")
    if chosen.missing:
        raise Missing("\n  ".join(chosen.missing))
    sets = []
    for found in chosen.found:
        read = read_benchmark(found, texts=True)
        sets.append(Compared(found.benchmark.name, "benchmark", plain_rows(read.rows), read.rejects.height))
    return sets, chosen.without


def _source(name: str, files: Places | None, roots: Roots) -> Compared:
    import polars as pl

    from toolkit.guards import load_guard
    from toolkit.sources import load_source, read_source
    from toolkit.taxonomy import load_taxonomy

    parts, unread = [], 0
    for block in read_source(
        load_source(name), guard=load_guard("guardreasoner"), taxonomy=load_taxonomy(), files=None if files is None else several(files), beside=roots
    ):
        parts.append(plain_rows(block.rows))
        unread += block.rejects.filter(pl.col("outcome") == "rejected").height
    return Compared(name, "source", pl.concat(parts), unread)


def _rows(name: str, place: Path, roots: Roots) -> Compared:
    import polars as pl

    if not is_there(place):
        raise InputError("no such file or folder", where=str(place), hint=near_file(place))
    if is_run(place):
        hint = f"name a step whose rows are meant: {', '.join(short_path(place / s.step) for s in step_folders(place) if s.row_files())}"
        raise InputError("a run has many rows", where=str(place), hint=hint)
    parts: list[pl.DataFrame] = []
    unread = 0
    before = 0
    for part, faults in _step(place) if (place / "rows" / "rows.parquet").is_file() else plain_files(place, roots):
        parts.append(plain_rows(part, str(place), before))
        before += part.height + faults
        unread += faults + part.height - parts[-1].height
    if not parts:
        raise InputError("no row that can be read", where=str(place))
    return Compared(name, "rows", pl.concat(parts, how="diagonal"), unread)


def _step(place: Path) -> Iterator[tuple[pl.DataFrame, int]]:
    yield from ((block, 0) for block in StepFolder.open(place).blocks())


def plain_files(place: Path, roots: Roots) -> Iterator[tuple[pl.DataFrame, int]]:
    """Rows of files, a block at a time, each with the number of those that are none."""
    import polars as pl
    import pyarrow as pa

    from toolkit.sources import expand_files, format_of, read_blocks

    paths = sorted(place.rglob("*.parquet")) or expand_files([place]) if place.is_dir() else [place]
    roots.saw(*paths)
    for path in paths:
        kind = format_of(path)
        if kind == "parquet":
            with open_parquet(path, files=Files()) as f:
                yield from ((pl.DataFrame(pl.from_arrow(pa.Table.from_batches([b]))), 0) for b in batches(f, path, 8192))
            continue
        for block in read_blocks(path, kind, [], 8192):
            good = [_texts(r) for r in block if isinstance(r, dict) and all(isinstance(r.get(n), str | None) for n in ("prompt", "response"))]
            if any("prompt" in r for r in good):
                yield pl.DataFrame(good, infer_schema_length=None), len(block) - len(good)
            else:
                raise InputError("no column 'prompt' that holds text", where=str(path))


def _texts(row: dict[str, Any]) -> dict[str, Any]:
    """What of a row is compared, as text; only the messages stay what they are."""
    wanted = {n: v for n, v in row.items() if n in ("id", *INPUT_TEXTS) or n.startswith("label_")}
    return {n: v if v is None or n == "context" else str(v) for n, v in wanted.items()}


def plain_rows(frame: pl.DataFrame, where: str = "", before: int = 0) -> pl.DataFrame:
    """Rows with id, context (as JSON), prompt, response and labels, all text.

    Raises:
        InputError: there is no column `prompt`, or one that should be text is not.
    """
    import polars as pl

    if "prompt" not in frame.columns:
        raise InputError("no column 'prompt'", where=where or None)
    for name in ("prompt", "response"):
        if name in frame.columns and frame.schema[name] not in (pl.String, pl.Null):
            raise InputError(f"the column {name!r} holds no text", where=where or None, hint="compare rows as they are before they are rendered")
    if "id" not in frame.columns:
        frame = frame.with_columns(id=pl.int_range(pl.len()) + 1 + before)
    labels = [c for c in frame.columns if c.startswith("label_") and not c.endswith("_source")]
    context = (
        pl.when(pl.col("context").list.len() > 0).then(pl.struct("context").struct.json_encode())
        if isinstance(frame.schema.get("context"), pl.List)
        else pl.lit(None, pl.String)
    )
    response = pl.col("response").cast(pl.String) if "response" in frame.columns else pl.lit(None, pl.String)
    return frame.filter(pl.col("prompt").is_not_null()).select(
        pl.col("id").cast(pl.String),
        context.alias("context"),
        pl.col("prompt").cast(pl.String),
        response.alias("response"),
        pl.col(labels).cast(pl.String),
    )


def _within(one: Compared, held: Mapping[str, int]) -> dict[str, Any]:
    names = ("inputs", "duplicates", "prompts", "conflicts")
    return {"name": one.name, "kind": one.kind, "rows": held["rows"], "unread": one.unread, **{n: held[n] for n in names}}


def shared_ngrams(whole: pl.DataFrame, sets: int, ngram: int) -> pl.DataFrame:
    """For each row and each other set that it shares an n-gram with: n, set, other_set, other_n, run."""
    import polars as pl

    from toolkit.operators.clean.ngrams import NgramIndex

    texts = pl.concat(
        whole.filter(pl.col("set") == i, pl.col(c).is_not_null()).select("set", "n", text=c) for i in range(sets) for c in ("prompt", "response")
    )
    index = NgramIndex(texts["text"], texts["set"].to_numpy(), n=ngram)
    lines = index.find(texts["text"], most=1, threads=pl.thread_pool_size()).lines
    here, there = texts[lines["text"]], texts[lines["other"]]
    pairs = lines.select(here["n"], here["set"], there["set"].alias("other_set"), there["n"].alias("other_n"), "run")
    pairs = pairs.filter(pl.col("set") != pl.col("other_set"))
    return pairs.sort("n", "other_set", "run", "other_n", descending=[False, False, True, False]).unique(
        ["n", "other_set"], keep="first", maintain_order=True
    )


def shared_pairs(names: Sequence[str], whole: pl.DataFrame, runs: pl.DataFrame) -> list[dict[str, Any]]:
    """For each two sets, by their names, what they share: inputs, prompts, and rows of each that have an n-gram of the other (`shared_ngrams`)."""
    inputs, prompts = shared(whole, "input"), shared(whole, "same_prompt")
    ngrams = {(a, b): n for a, b, n in runs.group_by("set", "other_set").len().iter_rows()}
    return [
        {
            "a": names[a],
            "b": names[b],
            "inputs": inputs.get((a, b), 0),
            "prompts": prompts.get((a, b), 0),
            "ngram_a": ngrams.get((a, b), 0),
            "ngram_b": ngrams.get((b, a), 0),
        }
        for a in range(len(names))
        for b in range(a + 1, len(names))
    ]


def _lines(sets: Sequence[Compared], whole: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """All rows that share something, with the columns of `LINES`; from both sides."""
    import polars as pl

    none = pl.lit(None, pl.Int64).alias("run")
    parts = []
    rows = whole.with_columns(conflicting(whole), pl.col("n").min().over("set", "input").alias("first"))
    for kind, which in (("duplicate", pl.col("n") != pl.col("first")), ("conflict", pl.col("conflict"))):
        found = rows.filter(which)
        parts.append(found.select(pl.lit(kind).alias("kind"), "set", "n", other_set="set", other_n="first").with_columns(none))
    for kind, what in (("input", "input"), ("prompt", "same_prompt")):
        first = whole.group_by(what, "set").agg(pl.col("n").min()).rename({"set": "other_set", "n": "other_n"})
        both = whole.select("set", "n", what).join(first, on=what).filter(pl.col("set") != pl.col("other_set"))
        parts.append(both.select(pl.lit(kind).alias("kind"), "set", "n", "other_set", "other_n").with_columns(none))
    parts.append(runs.select(pl.lit("ngram").alias("kind"), "set", "n", "other_set", "other_n", "run"))
    lines = pl.concat(parts).with_columns(pl.col("kind").cast(pl.Enum(["duplicate", "conflict", "input", "prompt", "ngram"])))
    lines = lines.sort("kind", "set", "other_set", "n")
    names, ids = pl.Series([s.name for s in sets], dtype=pl.String), whole["id"]
    return lines.select(
        pl.col("kind").cast(pl.String),
        names[lines["set"]].alias("set"),
        ids[lines["n"]].alias("row"),
        names[lines["other_set"]].alias("other"),
        ids[lines["other_n"]].alias("other_row"),
        "run",
    )


def _write(lines: pl.DataFrame, path: Path) -> None:
    with new_file(path) as new:
        if path.suffix == ".csv":
            write_sheet(lines, new)
        else:
            lines.write_parquet(new, compression="zstd")
