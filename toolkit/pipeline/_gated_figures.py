"""A gate: is a run worse than a baseline, beyond what chance and its limits allow?

Figures of guards are those of a certificate (`toolkit.evaluation.certificate`), on the rows that both runs judged:

- *fail*: worse by the limit or more as measured, and that it is worse at all is shown, after Holm's correction over all figures of the gate: where
  nothing is worse, at most 5 % of gates fail;
- *pass*: a one-sided 95 % bound is on the good side of the limit;
- *too few rows*: neither.

Shares of rows are held against each other as those of two sets (`toolkit.evaluation.share_change`) and fail alike. But a set is counted, not judged
from a sample: its share passes where it changed by less than the limit. Numbers of rows know no chance: fewer by the limit or
more fail. What the baseline has and the run lacks is *gone*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit._version import __version__
from toolkit.common.errors import InputError, short_path
from toolkit.common.resources import near_run
from toolkit.evaluation import LEVEL, Asked, Certified, NothingShared, holm, measured, open_sides, share_change, tested
from toolkit.evaluation import Side as Model
from toolkit.pipeline._diff_side import Side
from toolkit.pipeline._finished import is_run
from toolkit.pipeline._gate_limits import GateLimits
from toolkit.pipeline._gate_run import evaluations, label_counts, labelled_ends, shares, whole_run

Line = dict[str, Any]
_BETTER = {"kept": 1, "rejected": -1, "hard": 0, "label": 0}
"""Whether more of a share is better, less, or neither."""
_WORDS = {"kept": "share kept", "rejected": "share rejected", "hard": "hard rows", "label": "rows with the label"}


@dataclass
class _Found:
    """A figure that both have, or that the run lacks.

    Attributes:
        p: of its having got worse; None: no question of chance.
        line: makes its line, of p after the correction and the number of tests.
    """

    p: float | None
    line: Callable[[float, int], Line]


def run_gate(baseline: Path, run: Path, limits: GateLimits, draws: int, seed: int, step: Callable[[str], None]) -> dict[str, Any]:
    """Hold a run against a baseline: see `toolkit.gate`."""
    if baseline.resolve() == run.resolve():
        raise InputError("the same folder twice", where=short_path(run), hint="name the run before and the run after")
    before, after = (_opened(folder) for folder in (baseline, run))
    if isinstance(before, Side) != isinstance(after, Side):
        raise InputError("a run cannot be held against an evaluation alone", hint="name two runs, or two folders of evaluations")
    found: list[_Found] = []
    notes: list[str] = []
    if isinstance(before, Side) and isinstance(after, Side):
        step("rows")
        found += _data(before, after, limits, notes)
        here, there = evaluations(before), evaluations(after)
        places = [(f"{name} / ", here[name], there[name]) for name in here if name in there]
    else:
        places = [("", before, after)]  # type: ignore[list-item]  # else a Side
    asked = Asked(policy=limits.policy, k=limits.combine, draws=draws, seed=seed)
    for prefix, *two in places:
        step(f"guards {prefix}".removesuffix(" / ").strip())
        found += _guards(prefix, two[0], two[1], asked, limits, notes)
    tests = holm([one.p for one in found])
    number = sum(p is not None for p in tests)
    lines = [one.line(1.0 if p is None else p, number) for one, p in zip(found, tests, strict=True)]
    if all(line["verdict"] == "gone" for line in lines):
        hint = "steps, models and benchmarks are known by their names: name two runs of one recipe, or two evaluations on the same benchmarks"
        raise InputError("no figure that the limits speak of is in both", where=f"{short_path(baseline)}, {short_path(run)}", hint=hint)
    out = {"guardkit": __version__, "kind": "gate", "format": 1, "baseline": short_path(baseline), "run": short_path(run), "level": LEVEL}
    return out | {"limits": limits.model_dump(by_alias=True), **_verdict(lines, limits), "lines": lines, "notes": list(dict.fromkeys(notes))}


def _opened(folder: Path) -> Side | Path:
    """A run, or the folder of an evaluation."""
    if is_run(folder):
        return whole_run(folder)
    for place in (folder, folder / "evaluation"):
        if (place / "evaluation.json").is_file():
            return place
    raise InputError(
        "neither the folder of a run nor one of an evaluation", where=short_path(folder), hint=near_run(folder) or "see `guardkit runs list`"
    )


def _data(a: Side, b: Side, limits: GateLimits, notes: list[str]) -> Iterator[_Found]:
    """The figures of two runs' rows."""
    if a.recipe != b.recipe:
        notes.append(f"these are runs of two recipes, {a.recipe} and {b.recipe}: what only one has is gone or not looked at")
    notes += [f"not in the baseline, so not looked at: the step {s}" for s in b.order if s not in a.counts]
    for step in a.order:
        rows = a.counts[step]["kept"]
        if rows and (limit := limits.limit("rows", step)) is not None:
            yield (
                _gone("rows", step, "the run has no such step", limits) if step not in b.counts else _rows(step, rows, b.counts[step]["kept"], limit)
            )
        if step in b.counts:
            here = {(kind, of): (k, n) for kind, of, k, n in shares(a, step)}
            there = {(kind, of): (k, n) for kind, of, k, n in shares(b, step)}
            yield from _shares(here, there, limits)
    for step in labelled_ends(a, b):
        of, to = label_counts(a, step), label_counts(b, step)
        for task in of:
            labels = sorted({*of[task], *to[task]})
            for label in labels[:1] if len(labels) == 2 else labels:  # of two, the other's share is the rest
                yield from _share(
                    "label", f"{step} / {task} / {label}", (of[task][label], of[task].total()), (to[task][label], to[task].total()), limits
                )


Shares = Mapping[tuple[str, str], tuple[int, int]]


def _shares(here: Shares, there: Shares, limits: GateLimits) -> Iterator[_Found]:
    """The shares of a step."""
    if not here or not there:
        return
    came = [next(iter(found.values()))[1] for found in (here, there)]
    for kind, of in dict.fromkeys([*here, *there]):
        before, after = here.get((kind, of), (0, came[0])), there.get((kind, of), (0, came[1]))
        if kind != "kept" or before[0] < before[1] or after[0] < after[1]:  # a step that keeps whatever comes has nothing to say
            yield from _share(kind, of, before, after, limits)


def _share(kind: str, of: str, before: tuple[int, int], after: tuple[int, int], limits: GateLimits) -> Iterator[_Found]:
    limit = limits.limit(kind, of)
    if limit is None or not before[1] or not after[1]:
        return
    one, better = share_change(before, after), _BETTER[kind]
    p = min(1.0, 2 * min(one.p_fell, one.p_rose)) if not better else one.p_fell if better > 0 else one.p_rose

    def line(corrected: float, tests: int) -> Line:
        beyond = abs(one.difference) if not better else -better * one.difference
        verdict = "pass" if beyond < limit else "fail" if corrected <= LEVEL else "too few rows"
        ends = f"90 % interval {one.low:+.2f} to {one.high:+.2f}; {before[1]:,} and {after[1]:,} rows; the limit is {limit:g}"
        words = f"{of}, {_WORDS[kind]}: {verdict}: {one.before:.2f} % before, {one.after:.2f} % after: {one.difference:+.2f} points ({ends})"
        sizes = {"before": one.before, "after": one.after, "difference": one.difference, "low": one.low, "high": one.high}
        return _line(kind, of, limit, verdict, words, (before[1], after[1]), corrected, **{k: round(v, 2) + 0.0 for k, v in sizes.items()})

    yield _Found(p, line)


def _rows(step: str, before: int, after: int, limit: float) -> _Found:
    change = 100 * (after - before) / before
    verdict = "fail" if -change >= limit else "pass"
    words = f"{step}, rows: {verdict}: {before:,} before, {after:,} after: {change:+.2f} % (the limit is {limit:g} % fewer)"
    line = _line("rows", step, limit, verdict, words, (before, after), None, before=before, after=after, difference=round(change, 2))
    return _Found(None, lambda corrected, tests: line)


def _gone(kind: str, of: str, why: str, limits: GateLimits) -> _Found:
    line = _line(kind, of, limits.limit(kind, of), "gone", f"{of}: gone: {why}", (None, None), None)
    return _Found(None, lambda corrected, tests: line)


def _line(kind: str, of: str, limit: float | None, verdict: str, words: str, n: tuple[int | None, int | None], p: float | None, **sizes: Any) -> Line:
    out: Line = {"figure": kind, "of": of, "verdict": verdict, "limit": limit, "n_before": n[0], "n_after": n[1]}
    return out | dict.fromkeys(("before", "after", "difference", "low", "high")) | sizes | {"p_worse": p, "words": words}


def _guards(prefix: str, before: Path, after: Path, asked: Asked, limits: GateLimits, notes: list[str]) -> Iterator[_Found]:
    """The figures of the guards of two evaluations: those of the same name, or the one of each."""
    sides = open_sides([("baseline", before), ("run", after)])
    here = {s.model: s for s in sides if s.evaluation.folder == before}
    there = {s.model: s for s in sides if s.evaluation.folder == after}
    if len(here) == len(there) == 1:
        there = dict(zip(here, there.values(), strict=True))
    notes += [f"not in the baseline, so not looked at: the guard {prefix}{m}" for m in there if m not in here]
    for name, side in here.items():
        of = f"{prefix}{name}"
        if name not in there:
            yield from _lost(of, "the run has no evaluation of this guard", limits)
            continue
        yield from _guard(of, [side, there[name]], asked, limits, notes)


def _guard(of: str, two: Sequence[Model], asked: Asked, limits: GateLimits, notes: list[str]) -> Iterator[_Found]:
    try:
        found = measured(two, asked, Certified())
    except NothingShared as e:
        yield from _lost(of, f"{e.message}; {e.hint}", limits)
        return
    notes += [f"{of}: {note}" for note in found.notes]
    notes += [f"{of}: {x['benchmark']} ({x['task']}): {x['shared']:,} rows are compared, others only one has" for x in found.lacking]
    for x in found.apart:
        if x["why"].startswith(f"{two[0].name} "):  # the baseline is what lacks it
            notes.append(f"{of}: {x['benchmark']} ({x['task']}) is not looked at: {x['why']}")
            continue
        yield from _lost(f"{of} / benchmark {x['benchmark']} / {x['task']}", x["why"], limits)
    for about, one in found.figures:
        name = f"{of} / {about['area']} {about['name']} / {about['task']}"
        if (limit := limits.limit(about["figure"], name)) is None:
            continue

        def line(corrected: float, tests: int, about: Line = about, one: Any = one, name: str = name, limit: float = limit) -> Line:
            got = tested(one, about, corrected, limit, tests)
            sizes = {k: got[k] for k in ("before", "after", "difference", "low", "high")}
            return _line(about["figure"], name, limit, got["verdict"], f"{of}: {got['words']}", (got["n"], got["n"]), corrected, **sizes)

        yield _Found(one.p_below(0.0), line)


def _lost(of: str, why: str, limits: GateLimits) -> Iterator[_Found]:
    """What of a guard's figures cannot be compared."""
    if limits.limit("f1", of) is not None:
        yield _gone("f1", of, why, limits)


def _verdict(lines: Sequence[Line], limits: GateLimits) -> dict[str, Any]:
    """The verdict on the whole: its word, its words, and whether the gate is passed."""
    by = {v: [line for line in lines if line["verdict"] == v] for v in ("fail", "gone", "too few rows")}
    some = f"of {len(lines):,} figures"
    bad = by["fail"] + (by["gone"] if limits.gone == "fail" else [])
    if bad:
        what = [f"worse, beyond limit and chance: {len(by['fail']):,} {some}"] if by["fail"] else []
        what += [f"gone since the baseline: {len(by['gone']):,}"] if by["gone"] and limits.gone == "fail" else []
        return {"verdict": "fail", "passed": False, "words": f"fail: {'; '.join(what)}"}
    if few := by["too few rows"]:
        words = f"too few rows: no figure fails, but {len(few):,} {some} could be worse by the limit or more"
        return {"verdict": "too few rows", "passed": limits.fail_on == "fail", "words": words}
    return {"verdict": "pass", "passed": True, "words": f"pass: none {some} is worse by its limit or more"}
