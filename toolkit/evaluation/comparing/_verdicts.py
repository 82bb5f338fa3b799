"""What the differences of models are worth, in words: `toolkit.evaluation.paired`'s differences with corrected p-values, and a sentence a task.

Holm's correction is over all benchmarks of a comparison, and over all its sentences. A model is reported as better or worse where the corrected p of
the difference of F1 is below `ALPHA`, else as not distinguishable, which is not the same as equal. A task's difference is that of the means weighted
by rows, that over the tasks their plain mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from toolkit.evaluation.scoring._paired import holm

ALPHA = 0.05
"""Corrected p below which two models differ."""


def least_p(rows: int) -> float:
    """The smallest two-sided p that any test can give of models that differ on so many rows: each may as well be the other way round, and of all 2^n
    ways two are the most extreme. The bootstrap does not know that: of two rows it makes a certainty."""
    return min(1.0, 2.0 ** (1 - rows))


KIND = "weighted"
"""Of the means, the one that the sentences speak of."""


def corrected(found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Differences with ``p_corrected`` and ``mcnemar_corrected``, each corrected over all of them; no p is smaller than `least_p`."""
    out = [line | {"p": _at_least(line["p"], [line])} for line in found]
    for name in ("p", "mcnemar"):
        for line, p in zip(out, holm([line[name] for line in out]), strict=True):
            line[f"{name}_corrected"] = p
    return out


def verdicts(means: Iterable[Mapping[str, Any]], benchmarks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One for each two models and task, and one over several tasks.

    Args:
        means: `paired`'s differences of means.
        benchmarks: its differences of benchmarks, that these are made of.

    Returns:
        `a`, `b`, `task` (None: all), `benchmarks`, `n`, `difference`, `low`, `high`, `p`, `p_corrected`, `outcome` (better, worse, not
        distinguishable, unknown), `remarks` and `words`.
    """
    out = []
    for mean in means:
        if mean["mean"] != KIND:
            continue
        mine = [d for d in benchmarks if (d["a"], d["b"]) == (mean["a"], mean["b"]) and mean["task"] in (None, d["task"])]
        made_of = [d for d in mine if d["difference"] is not None]
        line = {n: mean[n] for n in ("a", "b", "task", "f1_a", "f1_b", "difference", "low", "high")}
        line |= {"p": _at_least(mean["p"], made_of)}
        line |= {"benchmarks": [d["benchmark"] for d in made_of], "n": sum(d["n"] for d in made_of)}
        out.append(line | {"remarks": sorted({f"{d['benchmark']}: {d['remark']}" for d in made_of if d["remark"]})})
    for line, p in zip(out, holm([line["p"] for line in out]), strict=True):
        line["p_corrected"] = p
        line["outcome"] = _outcome(line["difference"], p)
        line["words"] = _words(line)
    return out


def _at_least(p: float | None, benchmarks: Iterable[Mapping[str, Any]]) -> float | None:
    return None if p is None else max(p, least_p(sum((d["right_a"] or 0) + (d["right_b"] or 0) for d in benchmarks)))


def _outcome(difference: float | None, p: float | None) -> str:
    if difference is None or p is None:
        return "unknown"
    return ("better" if difference > 0 else "worse") if p < ALPHA and difference else "not distinguishable"


def p_text(p: float | None) -> str:
    """A p-value as it is printed."""
    return "unknown" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _words(v: Mapping[str, Any]) -> str:
    about = f"{v['task'] or 'all tasks'}: "
    if v["outcome"] == "unknown":
        return f"{about}{v['b']} and {v['a']} cannot be compared: there is no F1 of both"
    sets = f"{len(v['benchmarks'])} benchmark{'s' if len(v['benchmarks']) != 1 else ''}, {v['n']:,} rows"
    ends = f"95 % interval {v['low']:+.2f} to {v['high']:+.2f}"
    size = f"{v['difference']:+.2f} points of F1 ({ends}; p {p_text(v['p_corrected'])} corrected; {sets})"
    what = f"{v['b']} is {v['outcome']} than {v['a']}"
    if v["outcome"] == "not distinguishable":
        what = f"{v['b']} and {v['a']} are not distinguishable"
    although = f", although cohorts differ ({'; '.join(v['remarks'])})" if v["remarks"] else ""
    return f"{about}{what}: {size}{although}"
