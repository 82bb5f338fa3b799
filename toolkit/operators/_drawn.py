"""Pictures of guardkit's own figures, for the report (`Figure.drawn`)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from toolkit.common.models import METRICS
from toolkit.common.pictures import Picture, Row, bars, columns, curves, grid, intervals, ranges
from toolkit.guards import load_guard
from toolkit.operators.figures import Figure, Finished
from toolkit.shards import PAPER, PAPER_ALL

_POINTS = 300
"""Of a training's curve, at most."""
_BINS = 20
_SIZES = 20
"""Rows from which on clusters are counted together."""


def scored(step: Finished, figure: Figure, value: Sequence[Mapping[str, Any]] | None) -> Iterator[Picture]:
    """F1 with its interval, of each guard on each task, and each benchmark where there are some."""
    mine = [r for r in value or () if r.get("policy") == (value or [{}])[0].get("policy") and r["f1"] is not None]
    rows: list[Row] = []
    for r in mine:
        name = str(r.get("title") or r.get("benchmark") or "held-out rows")
        guard = str(r.get("model") or r.get("guard"))
        figures = {"rows": r["n"], "F1": r["f1"], "from": r["f1_low"], "to": r["f1_high"]}
        rows.append({"of": f"{r['task']}, {name}", "guard": guard, **figures, "task": r["task"]})
    if rows:
        tasks = list(dict.fromkeys(r["task"] for r in rows))
        rows.sort(key=lambda r: tasks.index(r["task"]))
        title = f"F1 in percent, with 95 % intervals ({step.step})"
        yield intervals(title, rows, name="guard", number="F1", low="from", high="to", apart="of")
        yield from _calibrated(step)


def _calibrated(step: Finished) -> Iterator[Picture]:
    """How often rows of about one probability are positive, where the guards' probabilities are known."""
    table, document = step.file("evaluation/rows.parquet"), step.file("evaluation/evaluation.json")
    if table is None or document is None:
        return
    import polars as pl

    known = pl.scan_parquet(table, glob=False).filter(pl.col("probability").is_not_null() & pl.col("gold").is_not_null())
    frame = known.select("model", "task", "gold", "probability").collect()
    rows: list[Row] = []
    for model in json.loads(document.read_bytes())["models"] if frame.height else ():
        for task in load_guard(model["guard"]).tasks:
            mine = frame.filter((pl.col("model") == model["name"]) & (pl.col("task") == task.name))
            binned = mine.with_columns((pl.col("probability") * 10).floor().clip(0, 9).alias("bin"), (pl.col("gold") == task.positive).alias("yes"))
            for _, mean, share, n in binned.group_by("bin").agg(pl.col("probability").mean(), pl.col("yes").mean(), pl.len()).sort("bin").iter_rows():
                found = {"task": task.name, "guard": model["name"], "probability": round(mean, 4), "share that is positive": round(share, 4), "n": n}
                rows.append(found)
    if rows:
        tasks = dict.fromkeys(r["task"] for r in rows)
        for t in tasks:
            for x in (0.0, 1.0):
                rows.append({"task": t, "guard": "as it should be", "probability": x, "share that is positive": x, "n": None})
        title = f"Calibration: how often rows of a probability are positive ({step.step})"
        yield curves(title, rows, across="probability", number="share that is positive", part="guard", apart="task")


_SHOWN = 60
"""Lines of a picture of differences, at most."""


def certified(step: Finished, figure: Figure, value: Sequence[Mapping[str, Any]] | None) -> Iterator[Picture]:
    """Differences of each figure, with their bounds: those of most rows."""
    known = [line for line in value or () if line["difference"] is not None]
    known = sorted(known, key=lambda line: -int(line["n"]))[:_SHOWN]
    rows: list[Row] = []
    for line in known:
        name = f"{line['name']}, {line['task']}, {line['figure'].upper()}"
        rows.append(
            {"of": name, "points": line["difference"], "from": line["low"], "to": line["high"], "verdict": line["verdict"], "rows": line["n"]}
        )
    if rows:
        title = f"Differences in points, after less before, with 90 % intervals ({step.step})"
        yield ranges(title, rows, name="of", number="points", low="from", high="to", part="verdict")


def compared(step: Finished, figure: Figure, value: Sequence[Mapping[str, Any]] | None) -> Iterator[Picture]:
    """Differences of F1 with their intervals: of the second guard less the first, as `compare` has them."""
    rows: list[Row] = []
    for v in value or ():
        if v["difference"] is not None:
            name = f"{v['b']} less {v['a']}, {v['task'] or 'all tasks'}"
            rows.append({"of": name, "points of F1": v["difference"], "from": v["low"], "to": v["high"], "outcome": v["outcome"]})
    if rows:
        title = f"Differences of F1 in points, with 95 % intervals ({step.step})"
        yield ranges(title, rows, name="of", number="points of F1", low="from", high="to", part="outcome")


def voted(step: Finished, figure: Figure, value: Mapping[str, Any] | None) -> Iterator[Picture]:
    """Rows by their number of wrong outputs."""
    rows: list[Row] = []
    for task, n in (value or {}).items():
        by = {int(k): int(v) for k, v in n["by_wrong"].items()}
        rows += [{"task": task, "wrong outputs": k, "rows": by.get(k, 0)} for k in range(max(by, default=-1) + 1)]
    if rows:
        yield columns(f"Rows by how many of their outputs are wrong ({step.step})", rows, name="wrong outputs", number="rows", apart="task")


def of_known_tasks(step: Finished, value: Mapping[str, Any] | None) -> list[tuple[str, Any]]:
    """What `mine` found by task: of the tasks that some row has a label for, or of all where none has any."""
    votes = step.stats.get("votes") or {}
    known = [t for t, n in votes.items() if n["rows"]]
    return [(task, found) for task, found in (value or {}).items() if not known or task in known]


def measured(step: Finished, figure: Figure, value: Mapping[str, Any] | None) -> Iterator[Picture]:
    """Rows by the entropy of their votes, and by the divergence between guards where there are several."""
    for measure, words in (("entropy", "entropy of their votes"), ("divergence", "divergence between guards")):
        rows: list[Row] = []
        for task, found in of_known_tasks(step, value):
            edges, counts = found[measure]["edges"], found[measure]["rows"]
            if any(counts):
                rows += [{"task": task, "from": f"{a:.2g}", "rows": n} for a, n in zip(edges, counts, strict=False)]
        if rows:
            yield columns(f"Rows by the {words}, in bits ({step.step})", rows, name="from", number="rows", apart="task")


def agreed(step: Finished, figure: Figure, value: Mapping[str, Any] | None) -> Iterator[Picture]:
    """Who disagrees with whom."""
    rows: list[Row] = []
    for task, found in of_known_tasks(step, value):
        for name, line in zip(found["guards"], found["matrix"], strict=True):
            for other, share in zip(found["guards"], line, strict=True):
                if share is not None and len(found["guards"]) > 1:
                    rows.append({"task": task, "guard": name, "other": other, "votes that differ, %": round(100 * (1 - share), 1)})
    if rows:
        title = f"Who disagrees with whom: percent of votes that differ; with itself, from draw to draw ({step.step})"
        yield grid(title, rows, across="other", down="guard", number="votes that differ, %", apart="task")


def weighed(step: Finished, figure: Figure, value: Any) -> Iterator[Picture]:
    """Pairs by weight and task."""
    if not {"weight", "task"} <= set(step.columns) or not step.rows:
        return
    import polars as pl

    counts = pl.concat([b.group_by("task", pl.col("weight").round(2)).len() for b in step.blocks(["weight", "task"])])
    low, high = counts["weight"].min(), counts["weight"].max()
    if not isinstance(low, float) or not isinstance(high, float):
        return
    few = counts["weight"].n_unique() <= _BINS  # then a bar has one weight, else it begins with the one that it names
    width = 0.01 if few else (high - low) / _BINS
    bins = ((pl.col("weight") - low) / width).round() if few else ((pl.col("weight") - low) / width).floor().clip(0, _BINS - 1)
    binned = counts.with_columns(bins.alias("bin"))
    found = binned.group_by("bin", "task").agg(pl.col("len").sum()).sort("bin", "task")
    rows = [{"weight": f"{low + bin_ * width:.2f}", "task": task, "pairs": n} for bin_, task, n in found.iter_rows()]
    yield columns(f"Pairs by weight ({step.step})", rows, name="weight", number="pairs", part="task")


def trained(step: Finished, figure: Figure, value: Any) -> Iterator[Picture]:
    """A training's curves."""
    if (path := step.file(f"model/{METRICS}")) is None:
        return
    from toolkit.training import MEASURED, read_metrics

    lines = read_metrics(path.parent)
    rows: list[Row] = []
    for panel, series in MEASURED:
        for name, words in series.items():
            points = [(line["update"], line[name]) for line in lines if isinstance(line.get(name), int | float)]
            every = -(-len(points) // _POINTS) or 1
            some = points[::every] + ([points[-1]] if points and (len(points) - 1) % every else [])
            rows += [{"figure": panel, "rows": words, "update": x, "value": y} for x, y in some]
    if rows:
        yield curves(f"The training ({step.step})", rows, across="update", number="value", part="rows", apart="figure")


def lengths(step: Finished) -> list[dict[str, Any]] | None:
    """Of the rows in shards, by source: ``rows, steps, chars``; None where they have no reasoning in steps."""
    if (path := step.file("shards/manifest.json")) is None:
        return None
    lines = json.loads(path.read_bytes()).get("tables", {}).get("lengths", [])
    return [dict(line) for line in lines] if any(line["rows"] and line["steps"] for line in lines) else None


def beside_the_paper(step: Finished, figure: Figure, value: Sequence[Mapping[str, Any]]) -> Iterator[Picture]:
    """Mean steps of a reasoning, and mean characters of a step, beside the parts of GuardReasoner's training set."""
    own: list[Mapping[str, Any]] = list(value)
    if len(own) > 1:
        own.append({"source": "all", **{k: sum(line[k] for line in value) for k in ("rows", "steps", "chars")}})
    rows: list[Row] = []
    for line in own:
        n, steps, chars = (int(line[k]) for k in ("rows", "steps", "chars"))
        rows.append(_lengths("this run", str(line["source"]), n, steps, chars / steps if chars and steps else None, steps / n if n else None))
    known = [PAPER[str(line["source"])] for line in own if line["source"] in PAPER]
    rows += [_lengths("the paper", f"{part} (paper)", n, steps, chars, mean) for part, n, steps, mean, chars in [*known, PAPER_ALL]]
    title = f"Steps of a reasoning, beside GuardReasoner's training set (paper, Table 1) ({step.step})"
    yield bars(title, rows, name="rows of", number="steps a row", part="of")


def _lengths(of: str, name: str, rows: int, steps: int, chars: float | None, mean: float | None) -> Row:
    found: Row = {"rows of": name, "of": of, "rows": rows, "steps": steps, "steps a row": mean, "characters a step": chars}
    return {k: round(v, 2) if isinstance(v, float) else v for k, v in found.items()}


def clustered(step: Finished, figure: Figure, value: Any) -> Iterator[Picture]:
    """Clusters of rows that are alike, by their size and what makes them so."""
    if (path := step.file("clusters/clusters.parquet")) is None:
        return
    import polars as pl

    rows = pl.scan_parquet(path, glob=False).group_by("cluster").agg(pl.len().alias("size"), pl.col("method").drop_nulls().last())
    sizes = rows.group_by(pl.col("size").clip(None, _SIZES), "method").len().sort("size", "method").collect()
    found: list[Row] = [
        {"rows in a cluster": f"{size}" + ("+" if size == _SIZES else ""), "alike by": method or "", "clusters": n}
        for size, method, n in sizes.iter_rows()
    ]
    if found:
        yield columns(f"Clusters of rows that are alike, by size ({step.step})", found, name="rows in a cluster", number="clusters", part="alike by")
