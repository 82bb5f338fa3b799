"""Overlaps among benchmarks, sources and other rows: what two sets share, and what a set holds twice.

Two rows have the same *input* when their earlier messages, prompt and response are equal, letter by letter; rows of the same input whose labels for
a task differ are in conflict (a missing label differs from nothing). Texts share an n-gram as in the operator `decontaminate`.

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
from toolkit.pipeline._finished import StepFolder, is_run, step_folders
from toolkit.pipeline._stop import stopping

if TYPE_CHECKING:
    import polars as pl

Places = str | Path | Sequence[str | Path]
"""Files or folders, one or several."""
INPUT = ("context", "prompt", "response")
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
class _Set:
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
    whole = _numbered(sets)
    shared = _shared_ngrams(sets, whole, ngram)
    figures = {
        "ngram": ngram,
        "sets": _within(sets, whole),
        "pairs": _pairs(sets, whole, shared),
        "without": without,
        "output": None if target is None else short_path(target),
    }
    if target is not None:
        with stopping():
            _write(_lines(sets, whole, shared), target)
    return figures


def _read(
    benchmarks: str | Sequence[str] | Mapping[str, Places | None] | None,
    files: Places,
    sources: Mapping[str, Places | None],
    rows: Mapping[str, str | Path],
    roots: Roots,
) -> tuple[list[_Set], list[str]]:
    from toolkit.evaluation import benchmark_names, choose_benchmarks, read_benchmark

    names = benchmark_names(roots) if benchmarks == "all" else None if benchmarks is None else several(benchmarks)
    given = {n: several(f) for n, f in benchmarks.items() if f is not None} if isinstance(benchmarks, Mapping) else {}
    chosen = choose_benchmarks(names, several(files), given, roots)
    if chosen.missing:
        raise Missing("\n  ".join(chosen.missing))
    sets = []
    for found in chosen.found:
        read = read_benchmark(found, texts=True)
        sets.append(_Set(found.benchmark.name, "benchmark", _plain(read.rows), read.rejects.height))
    sets += [_source(name, given, roots) for name, given in sources.items()]
    sets += [_rows(name, at_door(place), roots) for name, place in rows.items()]
    for s in sets:
        if [t.name for t in sets].count(s.name) > 1:
            raise InputError(f"two sets are called {s.name!r}", hint="name rows as NAME=PLACE")
    return sets, chosen.without


def _source(name: str, files: Places | None, roots: Roots) -> _Set:
    import polars as pl

    from toolkit.guards import load_guard
    from toolkit.sources import load_source, read_source
    from toolkit.taxonomy import load_taxonomy

    parts, unread = [], 0
    for block in read_source(
        load_source(name), guard=load_guard("guardreasoner"), taxonomy=load_taxonomy(), files=None if files is None else several(files), beside=roots
    ):
        parts.append(_plain(block.rows))
        unread += block.rejects.filter(pl.col("outcome") == "rejected").height
    return _Set(name, "source", pl.concat(parts), unread)


def _rows(name: str, place: Path, roots: Roots) -> _Set:
    import polars as pl

    if not is_there(place):
        raise InputError("no such file or folder", where=str(place), hint=near_file(place))
    if is_run(place):
        hint = f"name a step whose rows are meant: {', '.join(short_path(place / s.step) for s in step_folders(place) if s.row_files())}"
        raise InputError("a run has many rows", where=str(place), hint=hint)
    parts: list[pl.DataFrame] = []
    unread = 0
    before = 0
    for part, faults in _step(place) if (place / "rows" / "rows.parquet").is_file() else _files(place, roots):
        parts.append(_plain(part, str(place), before))
        before += part.height + faults
        unread += faults + part.height - parts[-1].height
    if not parts:
        raise InputError("no row that can be read", where=str(place))
    return _Set(name, "rows", pl.concat(parts, how="diagonal"), unread)


def _step(place: Path) -> Iterator[tuple[pl.DataFrame, int]]:
    yield from ((block, 0) for block in StepFolder.open(place).blocks())


def _files(place: Path, roots: Roots) -> Iterator[tuple[pl.DataFrame, int]]:
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
    wanted = {n: v for n, v in row.items() if n in ("id", *INPUT) or n.startswith("label_")}
    return {n: v if v is None or n == "context" else str(v) for n, v in wanted.items()}


def _plain(frame: pl.DataFrame, where: str = "", before: int = 0) -> pl.DataFrame:
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


def _numbered(sets: Sequence[_Set]) -> pl.DataFrame:
    """All rows: set (number), n (number of the row), id, texts, labels, and `input` and `same_prompt`: number of the first row with the same."""
    import polars as pl

    frames = [s.frame.with_columns(pl.lit(i, pl.Int64).alias("set")) for i, s in enumerate(sets)]
    whole = pl.concat([pl.DataFrame(schema=dict.fromkeys(("id", *INPUT), pl.String)), *frames], how="diagonal")
    whole = whole.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("n"))
    return whole.with_columns(pl.col("n").min().over(INPUT).alias("input"), pl.col("n").min().over("prompt").alias("same_prompt"))


def _conflicts(whole: pl.DataFrame) -> pl.Series:
    """For each row whether rows of its set and input have different labels for a task."""
    import polars as pl

    labels = [c for c in whole.columns if c.startswith("label_")]
    differ = [pl.col(c).drop_nulls().n_unique().over("set", "input") > 1 for c in labels]
    return whole.select((pl.any_horizontal(differ) if differ else pl.col("n") < 0).alias("conflict")).to_series()


def _within(sets: Sequence[_Set], whole: pl.DataFrame) -> list[dict[str, Any]]:
    import polars as pl

    found = whole.with_columns(_conflicts(whole)).group_by("set").agg(
        pl.len().alias("rows"),
        pl.col("input").n_unique().alias("inputs"),
        pl.col("same_prompt").n_unique().alias("prompts"),
        pl.col("input").filter("conflict").n_unique().alias("conflicts"),
    )  # fmt: skip
    by = {line["set"]: line for line in found.iter_rows(named=True)}
    none = dict.fromkeys(("rows", "inputs", "prompts", "conflicts"), 0)
    out = []
    for i, s in enumerate(sets):
        n = by.get(i, none)
        figures = {"inputs": n["inputs"], "duplicates": n["rows"] - n["inputs"], "prompts": n["prompts"], "conflicts": n["conflicts"]}
        out.append({"name": s.name, "kind": s.kind, "rows": n["rows"], "unread": s.unread, **figures})
    return out


def _shared_ngrams(sets: Sequence[_Set], whole: pl.DataFrame, ngram: int) -> pl.DataFrame:
    """For each row and each other set that it shares an n-gram with: n, set, other_set, other_n, run."""
    import polars as pl

    from toolkit.operators.clean.ngrams import NgramIndex

    texts = pl.concat(
        whole.filter(pl.col("set") == i, pl.col(c).is_not_null()).select("set", "n", text=c) for i in range(len(sets)) for c in ("prompt", "response")
    )
    index = NgramIndex(texts["text"], texts["set"].to_numpy(), n=ngram)
    lines = index.find(texts["text"], most=1, threads=pl.thread_pool_size()).lines
    here, there = texts[lines["text"]], texts[lines["other"]]
    pairs = lines.select(here["n"], here["set"], there["set"].alias("other_set"), there["n"].alias("other_n"), "run")
    pairs = pairs.filter(pl.col("set") != pl.col("other_set"))
    return pairs.sort("n", "other_set", "run", "other_n", descending=[False, False, True, False]).unique(
        ["n", "other_set"], keep="first", maintain_order=True
    )


def _pairs(sets: Sequence[_Set], whole: pl.DataFrame, shared: pl.DataFrame) -> list[dict[str, Any]]:
    import polars as pl

    counts: dict[tuple[str, int, int], int] = {}
    for what in ("input", "same_prompt"):
        each = whole.select("set", what).unique()
        both = each.join(each, on=what).filter(pl.col("set") < pl.col("set_right")).group_by("set", "set_right").len()
        counts |= {(what, a, b): n for a, b, n in both.iter_rows()}
    counts |= {("ngram", a, b): n for a, b, n in shared.group_by("set", "other_set").len().iter_rows()}
    return [
        {
            "a": sets[a].name,
            "b": sets[b].name,
            "inputs": counts.get(("input", a, b), 0),
            "prompts": counts.get(("same_prompt", a, b), 0),
            "ngram_a": counts.get(("ngram", a, b), 0),
            "ngram_b": counts.get(("ngram", b, a), 0),
        }
        for a in range(len(sets))
        for b in range(a + 1, len(sets))
    ]


def _lines(sets: Sequence[_Set], whole: pl.DataFrame, shared: pl.DataFrame) -> pl.DataFrame:
    """All rows that share something, with the columns of `LINES`; from both sides."""
    import polars as pl

    none = pl.lit(None, pl.Int64).alias("run")
    parts = []
    rows = whole.with_columns(_conflicts(whole), pl.col("n").min().over("set", "input").alias("first"))
    for kind, which in (("duplicate", pl.col("n") != pl.col("first")), ("conflict", pl.col("conflict"))):
        found = rows.filter(which)
        parts.append(found.select(pl.lit(kind).alias("kind"), "set", "n", other_set="set", other_n="first").with_columns(none))
    for kind, what in (("input", "input"), ("prompt", "same_prompt")):
        first = whole.group_by(what, "set").agg(pl.col("n").min()).rename({"set": "other_set", "n": "other_n"})
        both = whole.select("set", "n", what).join(first, on=what).filter(pl.col("set") != pl.col("other_set"))
        parts.append(both.select(pl.lit(kind).alias("kind"), "set", "n", "other_set", "other_n").with_columns(none))
    parts.append(shared.select(pl.lit("ngram").alias("kind"), "set", "n", "other_set", "other_n", "run"))
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
