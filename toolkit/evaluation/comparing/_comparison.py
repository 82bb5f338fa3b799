"""A comparison of guards: figures side by side, what their differences are worth, where they differ, and at what price.

Everything is computed from the rows of the evaluations, under one policy and one way of draws for all. Figures are on one line only where their
cohorts agree (`_cohort`); those of other rows, another reading or another sampling, and published ones of which such a thing is
known, get lines of their own with the reason. Differences are taken on the rows that both models have with the same label; what one of them lacks is
counted. Means are over the benchmarks that all models have on the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from toolkit._version import __version__
from toolkit.common.errors import InputError, short_path
from toolkit.evaluation._document import DOCUMENT
from toolkit.evaluation.comparing._cohort import apart
from toolkit.evaluation.comparing._common_rows import Common, Key, common, lacking, shared_rows
from toolkit.evaluation.comparing._compare_parts import breakdown_lines, cost_lines, figure_lines, mean_lines
from toolkit.evaluation.comparing._compare_work import Asked, Work
from toolkit.evaluation.comparing._gallery import gallery
from toolkit.evaluation.comparing._published import PublishedFigure
from toolkit.evaluation.comparing._row_outcomes import How, row_outcomes
from toolkit.evaluation.comparing._sides import Side, benchmark_entry, positives_of, rows_of
from toolkit.evaluation.comparing._verdicts import corrected, verdicts
from toolkit.evaluation.scoring._figures import figures
from toolkit.evaluation.scoring._paired import paired

if TYPE_CHECKING:
    import polars as pl

_SHOWN = 1000
"""Draws behind the interval of a figure; `Asked.draws` are those of differences, whose p-values many comparisons correct."""


Pair = tuple[int, int, dict[Key, str | None]]
"""Two models, and the benchmarks and tasks on which they are compared, each with a remark or None."""


class NothingShared(InputError):  # noqa: N818 (named by what is wrong)
    """Two models of which nothing can be compared."""


def compare_sides(sides: Sequence[Side], asked: Asked, step: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Compare models.

    Args:
        sides: the models; the first is what the others are compared with.
        asked: how.
        step: is called with what is being done.

    Returns:
        ``models``, ``lines`` (figures that agree side by side), ``means``, ``costs``, ``differences``, ``verdicts`` (in words), ``apart`` (what is
        not compared, and why), ``lacking`` (rows), ``breakdown``, ``errors``, ``published`` (the sources used) and ``notes``.

    Raises:
        InputError: one model and nothing to compare it with, models that share no row, or rows that cannot be counted.
    """
    if len(sides) < 2 and not asked.published:
        hint = "name another evaluation's folder, or ask for published figures with {--published|published=True}"
        raise InputError("one model: nothing to compare it with", where=str(sides[0].evaluation.folder) if sides else None, hint=hint)
    work, open_pairs, closed = open_work(sides, asked, step)
    how, names, pairs = work.how, work.names, model_pairs(sides, asked)
    found: list[dict[str, Any]] = []
    for pair in open_pairs:
        step(f"{names[pair[1]]} against {names[pair[0]]}")
        found += _paired(work, pair)
    lines = corrected(d for d in found if d["benchmark"] is not None)
    out = {"guardkit": __version__, "kind": "comparison", "format": 1, "policy": how.policy, "k": how.k, "models": [_about(s) for s in sides]}
    out |= {"lines": figure_lines(work), "means": mean_lines(work), "costs": cost_lines(work)}
    out |= {"differences": lines, "verdicts": verdicts((d for d in found if d["benchmark"] is None), lines)}
    out |= {"apart": closed, "lacking": list(lacking(work.shared, names, pairs))}
    step("categories, sources and errors")
    out |= {"breakdown": breakdown_lines(work), "errors": [e for pair in open_pairs if asked.errors for e in _errors(work, pair)]}
    return out | {"published": _sources(asked.published), "notes": _notes(work)}


def model_pairs(sides: Sequence[Side], asked: Asked) -> list[tuple[int, int]]:
    """The two models of each comparison that is asked for."""
    return [(a, b) for a in range(len(sides) if asked.every_pair else 1) for b in range(a + 1, len(sides))]


def open_work(sides: Sequence[Side], asked: Asked, step: Callable[[str], None]) -> tuple[Work, list[Pair], list[dict[str, Any]]]:
    """What a comparison is made from, the pairs of models with what of theirs is compared, and what is not, with the reason.

    Raises:
        InputError: as `compare_sides`.
    """
    step("read the rows")
    how = How(positives_of(sides), {s.name: s.readings for s in sides if s.readings}, asked.policy, _way(sides, asked))
    rows, names, pairs = rows_of(sides), [s.name for s in sides], model_pairs(sides, asked)
    work = Work(sides, asked, how, rows, common(rows, names))
    _check_entries(work)
    _some_shared(work, pairs)
    for side in sides:
        step(f"figures of {side.name}")
        _results(work, side)
    return work, *_comparable(work, pairs)


def _way(sides: Sequence[Side], asked: Asked) -> str:
    """How draws become one verdict: as asked, or as all evaluations have it."""
    ways = {s.settings["k"] for s in sides}
    if asked.k is None and len(ways) > 1:
        each = ", ".join(f"{s.name}: {s.settings['k']}" for s in sides)
        raise InputError(
            f"the evaluations make one verdict of several draws in different ways ({each})",
            hint="say which: {--k majority|combine='majority'} or {--k mean|combine='mean'}; `guardkit gate` takes `combine` in its limits",
        )
    return asked.k or ways.pop()


def _check_entries(work: Work) -> None:
    """That each document names the benchmarks of its rows."""
    for i, side in enumerate(work.sides):
        for (benchmark, task), one in work.shared.items():
            if one.n(i) and benchmark_entry(side.evaluation, benchmark, task).get("task") != task:
                message = f"there are rows of {benchmark!r} for the task {task!r}, which the document does not name"
                raise InputError(message, where=str(side.evaluation.folder / DOCUMENT), hint="evaluate again")


def _some_shared(work: Work, pairs: Sequence[tuple[int, int]]) -> None:
    if not pairs or any(one.same(pair) for one in work.shared.values() for pair in pairs):
        return
    names, pair = work.names, pairs[0]
    has = [sorted({f"{b} ({t})" for (b, t), one in work.shared.items() if one.n(i)}) for i in pair]
    why = "; ".join(f"{names[i]} has {', '.join(h) or 'no row with a label'}" for i, h in zip(pair, has, strict=True))
    if both := sorted(set(has[0]) & set(has[1])):
        why = f"both have {', '.join(both)}, with other ids, labels or texts"
    raise NothingShared(f"{names[pair[0]]} and {names[pair[1]]} have no row in common", hint=f"{why}: evaluate both on the same rows")


def _results(work: Work, side: Side) -> None:
    """The figures of a model, from its rows."""
    import polars as pl

    asked, how, document = work.asked, work.how, side.evaluation.document
    settings = {**side.settings, "policies": [how.policy], "k": how.k, "seed": asked.seed}
    settings["bootstrap"] = min(asked.draws, _SHOWN)
    mine = work.rows.filter(pl.col("model") == side.name)
    for one in figures(mine, document["benchmarks"], [{**side.about, "name": side.name}], settings)["results"]:
        key = (one["benchmark"], one["task"])
        work.results[(side.name, *key)] = one
        work.titles.setdefault(key, str(benchmark_entry(side.evaluation, *key).get("title") or key[0]))


def _comparable(work: Work, pairs: Sequence[tuple[int, int]]) -> tuple[list[Pair], list[dict[str, Any]]]:
    """For each pair what is compared, and what is not, with the reason."""
    open_pairs: list[Pair] = []
    closed: list[dict[str, Any]] = []
    for a, b in pairs:
        keys: dict[Key, str | None] = {}
        for key, one in work.shared.items():
            why, remark = _why_not(work, a, b, key, one), None
            if why is None:
                ids = [work.sides[i].about.get("model_id") for i in (a, b)]
                known = [work.cohort(i, key).model_copy(update={"n": None, "rows": None}) for i in (a, b)]
                remark = apart(known[0], known[1], same_model=ids[0] is not None and ids[0] == ids[1])
                why = None if work.asked.across else remark
            if why is None:
                keys[key] = remark
            else:
                closed.append({"a": work.names[a], "b": work.names[b], "benchmark": key[0], "task": key[1], "why": why})
        if keys:
            open_pairs.append((a, b, keys))
    return open_pairs, closed


def _why_not(work: Work, a: int, b: int, key: Key, one: Common) -> str | None:
    """Why nothing can be compared at all."""
    for i in (a, b):
        name, found = work.names[i], work.results.get((work.names[i], *key))
        if not one.n(i) or found is None:
            return f"{name} has no rows of it"
        if not found["judged"]:
            return f"{name} does not judge it"
        if found["withheld"] and work.asked.withhold:
            return f"too few outputs of {name} could be read"
    return None if one.same((a, b)) else "no row in common with the same label and text"


def pair_rows(work: Work, pair: Pair) -> pl.LazyFrame:
    """The lines of two models on what is compared: the rows that both have with the same label."""
    import polars as pl

    a, b, keys = pair
    names = [work.names[a], work.names[b]]
    rows = work.rows
    if any(work.shared[key].relabelled(a, b) or not work.shared[key].whole((a, b)) for key in keys):
        rows = shared_rows(rows, names)
    if set(keys) != set(work.shared):
        wanted = pl.DataFrame(list(keys), schema={"benchmark": pl.String, "task": pl.String}, orient="row")
        rows = rows.join(wanted.lazy(), on=["benchmark", "task"], how="semi")
    return rows.filter(pl.col("model").is_in(names) & pl.col("gold").is_not_null())


def _paired(work: Work, pair: Pair) -> list[dict[str, Any]]:
    a, b, keys = pair
    how, asked = work.how, work.asked
    settings: dict[str, Any] = {"policy": how.policy, "k": how.k, "readings": how.readings, "draws": asked.draws, "seed": asked.seed}
    found = paired(pair_rows(work, pair), work.names[a], work.names[b], how.positives, **settings)
    return [d | {"remark": keys.get((d["benchmark"], d["task"]))} for d in found]


def _errors(work: Work, pair: Pair) -> list[dict[str, Any]]:
    rows = pair_rows(work, pair)
    return gallery(rows, row_outcomes(rows, work.how), work.names[pair[0]], work.names[pair[1]], work.asked.errors)


def _about(side: Side) -> dict[str, Any]:
    names = ("guard", "guard_fingerprint", "prompt", "model_id", "backend", "reading", "sampling", "draws")
    return {"name": side.name, "model": side.model, "folder": short_path(side.evaluation.folder)} | {n: side.about.get(n) for n in names}


def _sources(found: Sequence[PublishedFigure]) -> list[dict[str, Any]]:
    """The sources of published figures, as they are cited."""
    by_name = {f.source: f.of for f in found}
    names = ("title", "citation", "url", "read", "protocol", "notes")
    return [{"source": name} | {n: getattr(source, n) for n in names} for name, source in by_name.items()]


def _notes(work: Work) -> list[str]:
    """What whoever reads the figures must know."""
    out = []
    for side in work.sides:
        theirs: Sequence[str] = side.settings["policies"]
        if theirs and work.asked.policy not in theirs:
            out.append(f"{side.name} was evaluated under {', '.join(theirs)}; here all is counted as {work.asked.policy}, from the rows")
    if len({p for s in work.sides if (p := s.about.get("prompt"))}) > 1:
        out.append("the models were not all asked with the same prompt: what is compared is a model with its prompt")
    for (name, benchmark, task), one in work.results.items():
        if one["judged"] and one["withheld"]:
            out.append(f"{name} on {benchmark} ({task}): no figures, {one['unparsable']:,} of {one['n']:,} outputs could not be read")
    for (_, benchmark, task), one in work.results.items():
        if one["single_class"] and one["n"] and one["judged"] and not one["withheld"]:
            none = not one["tp"] and not one["fn"]
            words = "no row has the positive label: there is no F1" if none else "all rows have the positive label: F1 says nothing of false alarms"
            out.append(f"{work.titles.get((benchmark, task), benchmark)} ({task}): {words}")
    out = list(dict.fromkeys(out))
    return out + (["no breakdown under the policy reference: the released script has none"] if work.how.policy == "reference" else [])
