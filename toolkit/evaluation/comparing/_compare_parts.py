"""The parts of a comparison that set figures side by side: benchmarks, means, costs, categories and sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.evaluation.comparing._cohort import Cohort, agreeing
from toolkit.evaluation.comparing._common_rows import Key, shared_rows
from toolkit.evaluation.comparing._compare_work import Work
from toolkit.evaluation.comparing._sides import benchmark_entry
from toolkit.evaluation.scoring._means import means
from toolkit.evaluation.scoring._results import breakdown

CELL = ("n", "f1", "f1_low", "f1_high", "precision", "recall", "accuracy", "fpr", "unparsable", "coverage", "single_class", "tokens", "seconds")
"""Of a result, what a comparison shows."""
PART = ("model", "f1", "precision", "recall", "accuracy", "fpr", "tp", "fp", "fn", "tn", "unparsable")
"""Of a part's result."""


def figure_lines(work: Work) -> list[dict[str, Any]]:
    """The figures of each benchmark and task: a line for those that agree, further ones for the others, each with the reason."""
    out = []
    for key in sorted(work.shared, key=lambda k: [t for _, t in work.shared].index(k[1])):
        cells, cohorts = _cells(work, key)
        for number, group in enumerate(agreeing(cohorts)):
            sizes = {c.n for _, _, c in group.members if c.n is not None}
            line: dict[str, Any] = {"task": key[1], "benchmark": key[0], "title": work.titles.get(key, key[0]), "policy": work.asked.policy}
            line |= {"line": number, "why": group.why, "n": next(iter(sizes), None)}
            out.append(line | {"cells": [cells[item] for item, _, _ in group.members]})
    return out


def _cells(work: Work, key: Key) -> tuple[list[dict[str, Any]], list[tuple[int, str, Cohort]]]:
    cells: list[dict[str, Any]] = []
    cohorts = []
    for i, name in enumerate(work.names):
        if (found := work.results.get((name, *key))) is None:
            continue
        state = "not judged" if not found["judged"] else "withheld" if found["withheld"] else None
        cells.append({"model": name, "published": None, "state": state} | {n: found.get(n) for n in CELL})
        cohorts.append((len(cells) - 1, name, work.cohort(i, key) if state is None else Cohort()))
    for f in work.asked.published:
        if (f.benchmark, f.task, f.metric) == (*key, "f1"):
            cell: dict[str, Any] = {"model": f.called, "published": f.source, "state": None, "n": f.cohort.n, "f1": f.value}
            cells.append(cell | {"where": f.where, "note": f.note})
            cohorts.append((len(cells) - 1, f.called, f.cohort))
    return cells, cohorts


def mean_lines(work: Work) -> list[dict[str, Any]]:
    """Means over the benchmarks that all models have on the same rows, with what is left out of them; and published ones, as they are reported."""
    everyone = range(len(work.sides))
    whole: list[Key] = []
    left: dict[str, list[str]] = {}
    for key, one in work.shared.items():
        if one.whole(everyone) and all(work.judged(i, key) for i in everyone) and _agree(work, key):
            whole.append(key)
        else:
            left.setdefault(key[1], []).append(key[0])
    sizes: dict[str, dict[str, int | None]] = {}
    for benchmark, task in whole:
        stated = (benchmark_entry(s.evaluation, benchmark, task).get("paper") for s in work.sides)
        sizes.setdefault(benchmark, {})[task] = next((n for n in stated if n is not None), None)
    known = [work.results[(name, *key)] for name in work.names for key in whole]
    has_sizes = any(n is not None for by_task in sizes.values() for n in by_task.values())
    out = [m | {"left_out": [*m["left_out"], *_left(left, m["task"])], "published": None} for m in means(known, sizes if has_sizes else None)]
    tasks = {t for _, t in work.shared}
    for f in work.asked.published:
        if f.mean is not None and f.metric == "f1" and (f.task is None or f.task in tasks):
            out.append({"model": f.called, "policy": None, "mean": f.mean, "task": f.task, "f1": f.value, "published": f.source})
    return out


def _agree(work: Work, key: Key) -> bool:
    return len(agreeing((i, name, work.cohort(i, key)) for i, name in enumerate(work.names))) == 1


def _left(left: Mapping[str, Sequence[str]], task: str | None) -> list[str]:
    return [b for t, some in left.items() if task in (None, t) for b in some]


def cost_lines(work: Work) -> list[dict[str, Any]]:
    """Tokens and seconds a query of each model, over all rows that it judged, beside the plain mean of its benchmarks' F1."""
    out = []
    for i, name in enumerate(work.names):
        mine = [work.results[(name, *key)] for key in work.shared if work.judged(i, key)]
        f1 = [r["f1"] for r in mine if r["f1"] is not None]
        line: dict[str, Any] = {"model": name, "rows": sum(r["n"] for r in mine), "f1": round(sum(f1) / len(f1), 2) if f1 else None}
        for what, digits in (("tokens", 2), ("seconds", 4)):
            known = [(r[what], r["n"]) for r in mine if r[what] is not None and r["n"]]
            line[what] = round(sum(v * n for v, n in known) / sum(n for _, n in known), digits) if known else None
        out.append(line)
    return out


def breakdown_lines(work: Work) -> list[dict[str, Any]]:
    """By category and by source, on the rows that all models have with the same label."""
    import polars as pl

    if work.how.policy == "reference":
        return []
    everyone = range(len(work.sides))
    rows = work.rows if all(one.whole(everyone) for one in work.shared.values()) else shared_rows(work.rows, work.names)
    how, lines = work.how, dict[tuple[str, str, str, str | None], dict[str, Any]]()
    for by in ("categories", "source"):
        some = rows.filter(pl.col(by).list.len() > 0 if by == "categories" else pl.col(by).is_not_null())
        if not (has := set(some.select("benchmark", "task").unique().collect(engine="streaming").iter_rows())):
            continue
        for r in breakdown(rows, how.positives, by, policies=(how.policy,), k=how.k, readings=how.readings, draws=0):
            key = (r["benchmark"], r["task"])
            if key in has and r["n"] and work.judged(work.names.index(r["model"]), key):
                line = {n: r[n] for n in ("by", "benchmark", "task", "part", "n", "single_class")} | {"cells": []}
                lines.setdefault((by, *key, r["part"]), line)["cells"].append({n: r[n] for n in PART})
    return list(lines.values())
