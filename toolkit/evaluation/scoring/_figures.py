"""The figures of an evaluation's document, from its rows and from what the document says of benchmarks and models.

`figures` is what `guardkit evaluate` computes, and computes the same of a folder read again::

    read = read_evaluation(folder)
    figures(read.rows(), read.document["benchmarks"], read.document["models"], read.document["settings"])

A benchmark, model and task of which too few outputs could be read (`min_parse_rate`) has no figures but its counts: `withheld` says why, with the
first outputs. Each result carries its cohort (`_cohort`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError
from toolkit.evaluation.benchmarks._sets import SMALL
from toolkit.evaluation.scoring._look_alikes import FIGURES, look_alikes
from toolkit.evaluation.scoring._means import means
from toolkit.evaluation.scoring._ordinal import ordinal
from toolkit.evaluation.scoring._results import results

if TYPE_CHECKING:
    import polars as pl

KEEPS = frozenset(
    {"benchmark", "title", "model", "task", "policy", "k", "draws", "judged", "n", "unlabelled", "single_class", "unparsable", "coverage", "unread"}
    | {"tokens", "seconds", "fewer_draws"}
)
"""What a result keeps where its figures are withheld."""
AS_THEY_ARE = "labels as they are"
"""The reading of a figure where the guard has readings of the task, of which none was taken."""
FIRST = 3
"""Outputs that could not be read which are shown."""
LONG = 300
"""Characters of such an output."""


def figures(
    rows: pl.LazyFrame, benchmarks: Sequence[Mapping[str, Any]], models: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]
) -> dict[str, list[Any]]:
    """``results``, ``means`` and ``remarks``; ``look_alikes`` where the settings name such benchmarks; ``ordinal`` where labels are on a scale.

    Args:
        rows: lines of `ROWS`.
        benchmarks: as the document has them, an entry for each benchmark and task.
        models: as the document has them.
        settings: ``policies``, ``k``, ``min_parse_rate``, ``bootstrap`` (draws) and ``seed``; perhaps ``look_alikes`` (names of benchmarks).

    Raises:
        InputError: as `toolkit.evaluation.results`; benchmarks that differ in which label of a task is the positive one.
    """
    entries = {(b["name"], b["task"]): b for b in benchmarks}
    how: dict[str, Any] = {"policies": settings["policies"], "k": settings["k"], "draws": settings["bootstrap"], "seed": settings["seed"]}
    how["readings"] = {m["name"]: m["readings"] for m in models if m.get("readings")}
    how["titles"] = {b["name"]: b["title"] for b in benchmarks}
    found = results(rows, positives(benchmarks), **how)
    low = _too_few_read(rows, settings["min_parse_rate"])
    by_name = {m["name"]: m for m in models}
    out = []
    for one in found:
        entry, key = entries[one["benchmark"], one["task"]], (one["benchmark"], one["model"], one["task"])
        if why := low.get(key):
            one = {name: value if name in KEEPS else None for name, value in one.items()} | {"withheld": why}
        else:
            one = one | {"withheld": None}
        out.append(one | {"cohort": _cohort(one, entry, by_name[one["model"]])})
    stated: dict[str, dict[str, int | None]] = {}
    for b in benchmarks:
        stated.setdefault(b["name"], {})[b["task"]] = b["paper"]
    sizes = stated if any(n is not None for by_task in stated.values() for n in by_task.values()) else None
    done: dict[str, list[Any]] = {"results": out, "means": means(out, sizes), "remarks": _remarks(out, benchmarks)}
    if names := settings.get("look_alikes"):
        done["look_alikes"] = [_withheld(one, low) for one in look_alikes(rows, positives(benchmarks), names, **how)]
    if scales := {b["task"]: b["labels"] for b in benchmarks if b.get("ordinal") and len(b["labels"]) > 2}:
        found = ordinal(rows, scales, readings=how["readings"], titles=how["titles"])
        done["ordinal"] = [one for one in found if (one["benchmark"], one["model"], one["task"]) not in low]
    return done


def _withheld(one: Mapping[str, Any], low: Mapping[tuple[str, str, str], Any]) -> dict[str, Any]:
    """An entry of `look_alikes` without its figures where those of one of its benchmarks are withheld."""
    withheld = any((one[of], one["model"], one["task"]) in low for of in ("benchmark", "look_alikes"))
    return {**one, **(dict.fromkeys(FIGURES) if withheld else {}), "withheld": withheld}


def positives(benchmarks: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """By task the label that F1 counts.

    Raises:
        InputError: two benchmarks differ in it.
    """
    out: dict[str, str] = {}
    for b in benchmarks:
        if out.setdefault(b["task"], b["positive"]) != b["positive"]:
            message = f"{b['name']!r} counts {b['positive']!r} of the task {b['task']!r}, the benchmarks before it {out[b['task']]!r}"
            raise InputError(message, hint="evaluate them apart, or give the tasks other names")
    return out


def _too_few_read(rows: pl.LazyFrame, least: float) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Why figures are withheld, by benchmark, model and task."""
    import polars as pl

    from toolkit.evaluation.scoring._policies import NOT_JUDGED

    known = rows.filter(pl.col("gold").is_not_null(), pl.col("unread").ne_missing(NOT_JUDGED))
    read = pl.col("verdict").is_not_null() | pl.col("probability").is_not_null()
    shares = known.group_by("benchmark", "model", "task").agg(pl.len().alias("lines"), read.sum().alias("read")).collect()
    out = {}
    for benchmark, model, task, lines, n in sorted(shares.iter_rows()):
        if n >= least * lines and n:
            continue
        mine = known.filter(pl.col("benchmark") == benchmark, pl.col("model") == model, pl.col("task") == task, ~read)
        reasons = mine.group_by("unread").len().collect()
        shown = mine.select("id", "unread", pl.col("output").str.slice(0, LONG)).head(FIRST).collect()
        out[benchmark, model, task] = {
            "parse_rate": round(n / lines, 4),
            "unread": dict(sorted(reasons.iter_rows(), key=lambda r: (-r[1], r[0]))),
            "first": shown.to_dicts(),
        }
    return out


def _cohort(one: Mapping[str, Any], entry: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, Any]:
    of = model.get("readings")
    reading = AS_THEY_ARE if one["task"] in (model.get("without_reading") or ()) else model["reading"] if not of or one["task"] in of else None
    return {
        "rows": entry["rows_digest"],
        "n": entry["n"],
        "subset": entry["subset"],
        "policy": one["policy"],
        "reading": reading,
        "prompt": model["prompt"],
        "sampling": model["sampling"],
        "draws": one["draws"],
        "published": None,
    }


def _remarks(found: Sequence[Mapping[str, Any]], benchmarks: Sequence[Mapping[str, Any]]) -> list[str]:
    """What whoever reads the figures must know, in words."""
    out = []
    for b in benchmarks:
        what = f"{b['name']}, {b['task']}"
        there = [word for word, n in b["label_counts"].items() if n]
        if len(there) == 1 and b["way"] == "file":  # of benchmarks it is known
            out.append(f"{what}: every label is {there[0]!r}")
        if 0 < b["n"] < SMALL:
            out.append(f"{what}: few rows ({b['n']:,}): see the interval")
        if b["paper"] is not None and b["paper"] != b["whole"] and b["subset"] is None:
            out.append(f"{what}: {b['n']:,} rows are scored, the paper states {b['paper']:,}; its means use that number, `stated` here as well")
        if b["unlabelled"] and b["way"] == "file":
            out.append(f"{what}: {b['unlabelled']:,} of {b['rows']:,} rows have no label and are not scored")
        if b["subset"]:
            out.append(f"{what}: {b['subset']}")
    for one in found:
        name = f"{one['model']} on {one['benchmark']}, {one['task']}"
        if not one["judged"]:
            out.append(f"{name}: not judged, the guard has no such task")
        elif one["withheld"]:
            reasons = ", ".join(f"{why} {n:,}" for why, n in one["withheld"]["unread"].items())
            out.append(f"{name}: no figures, {100 * one['withheld']['parse_rate']:.1f} % of the outputs could be read ({reasons})")
    return list(dict.fromkeys(out))
