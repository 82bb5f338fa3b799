"""Hygiene of benchmarks: what each holds twice, what they share, what of them a training set has, and F1 without such rows; one document.

Benchmarks are compared with each other as in `toolkit.pipeline._overlaps`, with training rows by the rule of the operator `decontaminate`: a run of
words that both share, or for a prompt of fewer words the whole prompt.

Memory: the benchmarks' texts and about 50 bytes for each of their words; training rows stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.common.csvfile import write_sheet
from toolkit.common.errors import InputError, short_path
from toolkit.common.files import new_file
from toolkit.common.outputs import check_output
from toolkit.common.paths import Roots, at_door
from toolkit.common.several import several
from toolkit.evaluation import MARKS, Evaluation, clean_scores, held_twice, marked, numbered, read_evaluation
from toolkit.pipeline._overlaps import Compared, Places, compared_benchmarks, plain_rows, shared_ngrams, shared_pairs
from toolkit.pipeline._progress import Progress
from toolkit.pipeline._stop import stopping
from toolkit.pipeline._trained_rows import TrainedRows, trained_rows

if TYPE_CHECKING:
    import polars as pl

KINDS = ("interaction", "prompt", "ngram")
"""How a training row has text of a benchmark's: the whole interaction, the prompt, a run of words."""
_HELD = ("rows", "inputs", "duplicates", "conflicts", "prompts")


def find_hygiene(
    benchmarks: str | Sequence[str] | Mapping[str, Places | None] | None,
    data: Places,
    against: Places | Mapping[str, str | Path],
    evaluation: str | Path | None,
    *,
    ngram: int,
    output: str | Path | None,
    progress: Progress,
) -> dict[str, Any]:
    """What is wrong with benchmarks as measures: see `toolkit.hygiene`."""
    if output is not None and Path(output).suffix not in (".parquet", ".csv"):
        raise InputError("the file for the rows ends in .parquet or .csv", where=str(output))
    if not isinstance(ngram, int) or not 2 <= ngram <= 1000:
        raise InputError(f"ngram is a number of words from 2 to 1000, not {ngram}")
    target, roots = None if output is None else at_door(output), Roots.of(None)
    scored = None if evaluation is None else read_evaluation(at_door(evaluation))
    named = against.items() if isinstance(against, Mapping) else ((None, place) for place in several(against))
    training = [t for name, place in named for t in trained_rows(name, at_door(place), roots)]
    if target is not None:
        check_output(target, reads=roots.read)
    sets, without = _read(benchmarks, data, scored, roots)
    with stopping(), progress:
        whole = numbered([s.frame for s in sets])
        names = [s.name for s in sets]
        progress.start("compare benchmarks")
        pairs = [p for p in shared_pairs(names, whole, shared_ngrams(whole, len(sets), ngram)) if any(p[n] for n in ("inputs", "prompts", "ngram_a"))]
        marks, contamination = _with_training(marked(whole, names), sets, training, ngram, progress)
        figures = {
            "ngram": ngram,
            "benchmarks": [_held(s, held) for s, held in zip(sets, held_twice(whole, len(sets)), strict=True)],
            "pairs": pairs,
            "against": [{"name": t.name, "kind": t.kind, "rows": t.rows, "unread": t.unread, "as_rendered": t.as_rendered} for t in training],
            "contamination": contamination,
            "evaluation": None if scored is None else short_path(scored.folder),
            "scores": [] if scored is None else _scores(scored, marks),
            "without": without,
            "output": None if target is None else short_path(target),
        }
        if target is not None:
            _write(marks, target)
    return figures


def _read(
    benchmarks: str | Sequence[str] | Mapping[str, Places | None] | None, data: Places, scored: Evaluation | None, roots: Roots
) -> tuple[list[Compared], list[str]]:
    """The benchmarks: those that are named or are in the files, else those that were evaluated."""
    if benchmarks is None and not several(data) and scored is not None:
        return _evaluated(scored), []
    sets, without = compared_benchmarks(benchmarks, data, roots)
    if not sum(s.frame.height for s in sets):
        raise InputError(
            "no row of any benchmark", hint="name benchmarks with {--benchmark|benchmarks}, their files with {--data|data}, or an evaluation"
        )
    return sets, without


def _evaluated(scored: Evaluation) -> list[Compared]:
    """The rows of an evaluation's benchmarks, as its table has them."""
    import polars as pl

    rows = scored.rows().select("benchmark", "id", "task", "gold", "prompt", "response")
    table = rows.unique(["benchmark", "id", "task"], keep="first", maintain_order=True).collect()
    if lost := table.filter(pl.col("prompt").is_null()).height:
        raise InputError(
            f"{lost:,} rows of the evaluation have no prompt", where=str(scored.folder), hint="give the benchmarks' files with {--data|data}"
        )
    out = []
    for (name,), part in table.group_by("benchmark", maintain_order=True):
        labelled = part.with_columns(pl.format("label_{}", "task").alias("task"))
        wide = labelled.pivot("task", index=["id", "prompt", "response"], values="gold", maintain_order=True)
        out.append(Compared(str(name), "benchmark", plain_rows(wide), 0))
    return out


def _held(one: Compared, held: Mapping[str, int]) -> dict[str, Any]:
    return {"name": one.name, "rows": held["rows"], "unread": one.unread, **{n: held[n] for n in _HELD}}


def _with_training(
    marks: pl.DataFrame, sets: Sequence[Compared], training: Sequence[TrainedRows], ngram: int, progress: Progress
) -> tuple[pl.DataFrame, list[dict[str, Any]]]:
    """The marks with `training` and what was found (`against`, `against_row`, `kind`), and for each benchmark and training set what they share."""
    import polars as pl

    if not training:
        return marks.drop("n"), []
    from toolkit.operators.clean._contaminated import contaminated_rows

    names = [s.name for s in sets]
    table = {s.name: s.frame.select("id", "prompt", "response") for s in sets}
    found = []
    for one in training:
        progress.start(f"read {one.name}")
        found.append(contaminated_rows(table, _shown(one, progress), ngram).with_columns(pl.lit(one.name).alias("against")))
    every = pl.concat(found)
    lines = []
    for one in training:
        for name in names:
            mine = every.filter((pl.col("against") == one.name) & (pl.col("benchmark") == name))
            kinds = {k: mine.filter(pl.col("kind") == k).height for k in KINDS}
            rows = table[name].height
            share = round(100 * mine.height / rows, 2) if rows else None
            lines.append({"benchmark": name, "against": one.name, "rows": rows, **kinds, "contaminated": mine.height, "share": share})
    first = every.unique("n", keep="first", maintain_order=True)
    marks = marks.join(first.select("n", "kind", "against", "against_row"), on="n", how="left", maintain_order="left")
    return marks.select(
        "benchmark", "id", "duplicate", "conflict", pl.col("kind").is_not_null().alias("training"), "kind", "against", "against_row"
    ), lines


def _shown(one: TrainedRows, progress: Progress) -> Iterator[pl.DataFrame]:
    for block in one.blocks():
        yield block
        progress.update(one.rows, None, "rows")
    if one.rows == one.unread:
        raise InputError("no row of it has a prompt", where=str(one.place))


def _scores(scored: Evaluation, marks: pl.DataFrame) -> list[dict[str, Any]]:
    positives = {b["task"]: b["positive"] for b in scored.document["benchmarks"]}
    readings = {m["name"]: m["readings"] for m in scored.document["models"] if m.get("readings")}
    return clean_scores(scored.rows(), marks, positives, readings)


def _write(marks: pl.DataFrame, path: Path) -> None:
    """The rows that bear a mark."""
    import polars as pl

    bad = marks.filter(pl.any_horizontal(n for n in MARKS if n in marks.columns))
    with new_file(path) as new:
        if path.suffix == ".csv":
            write_sheet(bad, new)
        else:
            bad.write_parquet(new, compression="zstd")
