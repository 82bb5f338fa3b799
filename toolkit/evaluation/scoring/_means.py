"""Means of benchmarks' figures: of each task over its benchmarks, and of the tasks.

GuardReasoner's paper weights the benchmarks of a task by their numbers of rows, and takes the plain mean of the three tasks. Its own means come out
only with the sizes that its table 3 states (1,756, 1,768 and 1,777 rows of WildGuardTest, 499 of XSTestResponseRefusal), not with the true ones
(1,725 and 449). So both are there::

    weighted  by the rows that were scored; under the policy ``reference`` by all rows of the file, as the released script has it
    stated    by the sizes that are given
    macro     each benchmark alike
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any

from toolkit.common.errors import InputError
from toolkit.evaluation.scoring._bootstrap import rounded

KINDS = ("weighted", "stated", "macro")
_ALSO = {"accuracy": 2, "fpr": 2, "tokens": 2, "seconds": 4}
"""Figures beside F1, with their decimals."""
_NEEDS = ("model", "policy", "benchmark", "task", "n", "f1")
Sizes = Mapping[str, int | Mapping[str, int | None] | None]


def means(results: Iterable[Mapping[str, Any]], sizes: Sizes | None = None) -> list[dict[str, Any]]:
    """The means of results.

    Args:
        results: of `toolkit.evaluation.results`, or any dicts with model, policy, benchmark, task, n and f1; where they have tp, fp and fn, F1 is
            that of the counts, not the rounded one.
        sizes: rows of a benchmark as a paper states them, or those by task; None: no means of the kind ``stated``.

    Returns:
        Of each model, policy and kind, one dict a task and one of the tasks' plain mean (`task` is None), with f1, accuracy, fpr, tokens, seconds,
        `benchmarks` (that f1 is made of), `left_out` (those whose F1 does not exist, that are not judged or have no stated size) and `weight`
        (their sum). A mean over nothing is None, and so is the mean of the tasks where that of one is.

    Raises:
        InputError: what are no results, or no sizes.
    """
    results = _checked(results, sizes)
    groups: dict[tuple[str, str], dict[str, list[Mapping[str, Any]]]] = {}
    for one in results:
        groups.setdefault((one["model"], one["policy"]), {}).setdefault(one["task"], []).append(one)
    out = []
    for (model, policy), tasks in groups.items():
        for kind in KINDS if sizes is not None else ("weighted", "macro"):
            made = [
                {"model": model, "policy": policy, "mean": kind} | _of_task(task, some, _weigher(kind, sizes or {})) for task, some in tasks.items()
            ]
            whole = [{"model": model, "policy": policy, "mean": kind} | _of_tasks(made)] if len(made) > 1 else []
            out += [_as_given(one) for one in (*made, *whole)]
    return out


def _checked(results: Any, sizes: Any) -> list[Mapping[str, Any]]:
    some = list(results) if isinstance(results, Iterable) and not isinstance(results, str | Mapping) else [results]
    for one in some:
        if not isinstance(one, Mapping):
            raise InputError(f"results are dicts as `results` gives them, in a list, not {type(one).__name__}", hint="of a frame: frame.to_dicts()")
        if lacks := [key for key in _NEEDS if key not in one]:
            raise InputError(f"a result without {', '.join(map(repr, lacks))}")
    if sizes is not None and not isinstance(sizes, Mapping):
        raise InputError(f"sizes are numbers of rows by benchmark, not {sizes!r}")
    for benchmark, given in (sizes or {}).items():
        for size in given.values() if isinstance(given, Mapping) else [given]:
            if size is not None and not (isinstance(size, Integral) and int(size) >= 0):
                raise InputError(f"the size of {benchmark} is a number of rows, not {size!r}")
    return some


def _weigher(kind: str, sizes: Sizes) -> Callable[[Mapping[str, Any]], int | None]:
    if kind == "macro":
        return lambda one: 1
    if kind == "stated":
        return lambda one: stated(sizes, one["benchmark"], one["task"])
    return lambda one: one["n"] + (one.get("unlabelled", 0) if one["policy"] == "reference" else 0)


def stated(sizes: Sizes, benchmark: str, task: str) -> int | None:
    """The stated size of a benchmark for a task; None: there is none."""
    size = sizes.get(benchmark)
    return size.get(task) if isinstance(size, Mapping) else size


def _of_task(task: str, some: Sequence[Mapping[str, Any]], weigh: Callable[[Mapping[str, Any]], int | None]) -> dict[str, Any]:
    """Not rounded yet, as the mean of the tasks is made of these."""
    weights = [weigh(one) for one in some]
    counted = [(one, w) for one, w in zip(some, weights, strict=True) if w and one["f1"] is not None]
    out: dict[str, Any] = {"task": task, "f1": _mean([(_f1(one), w) for one, w in counted])}
    for name in _ALSO:
        out[name] = _mean([(one[name], w) for one, w in counted if one.get(name) is not None])
    there = [one["benchmark"] for one, _ in counted]
    left = [one["benchmark"] for one in some if one["benchmark"] not in there]
    return out | {"benchmarks": there, "left_out": left, "weight": sum(w for _, w in counted)}


def _of_tasks(made: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    whole = all(one["f1"] is not None for one in made)
    out: dict[str, Any] = {"task": None}
    for name in ("f1", *_ALSO):
        out[name] = _mean([(one[name], 1) for one in made if one[name] is not None]) if whole else None
    lists = {c: [b for one in made for b in one[c]] for c in ("benchmarks", "left_out")}
    return out | lists | {"weight": sum(one["weight"] for one in made)}


def _f1(one: Mapping[str, Any]) -> float:
    """Of the counts, where they are there: the figure itself has two decimals."""
    tp, fp, fn = (one.get(cell) for cell in ("tp", "fp", "fn"))
    return float(one["f1"]) if tp is None or fp is None or fn is None else 200 * tp / (2 * tp + fp + fn)


def _mean(values: Sequence[tuple[float, int]]) -> float | None:
    total = sum(w for _, w in values)
    return sum(v * w for v, w in values) / total if total else None


def _as_given(one: Mapping[str, Any]) -> dict[str, Any]:
    return {name: rounded(v, _ALSO.get(name, 2)) if name == "f1" or name in _ALSO else v for name, v in one.items()}
