"""The proof's audits: whether the reasoning of each seed's R-SFT guard does anything to its verdicts, beside its twin of the same rows without reasoning.

`toolkit.audit` is asked (docs/audit.md), on the test rows of the same benchmarks; what it found is written to ``<base>-<seed>/audit/audit.json``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from proof_figures import over_seeds
from proof_runs import TASK, rows_of

import toolkit

CHANGES = {
    "whole": "its own, read again",
    "removed": "none",
    "half": "the first half",
    "same": "another row's, same verdict",
    "other": "another row's, other verdict",
}
HELD = (("f1", None), ("auroc", None), ("recall", 5.0), ("recall", 10.0))


def run(folder: Path, base: str, seeds: Iterable[int]) -> None:
    """Audit each of these seeds that has both guards and is not audited."""
    columns = ["id", "prompt", "response", "label_prompt", "label_refusal"]
    for seed in [folder / f"{base}-{seed}" for seed in seeds]:
        guards = [seed / "arms" / step / "model" for step in ("sft", "labels-only")]
        place = seed / "audit"
        if not all(guard.is_dir() for guard in guards) or (place / "audit.json").exists():
            continue
        place.mkdir(exist_ok=True)
        rows = rows_of(folder / "data", "own-test").select(columns)
        found = toolkit.audit(guards[0], rows, twin=guards[1], task=TASK, draws=0, work=place)
        (place / "audit.json").write_text(json.dumps(dict(found), indent=2) + "\n", encoding="utf-8")


def section(found: Sequence[Mapping[str, Any]], base: str) -> list[str]:
    """What the audits found, as lines of the page; none where none was run."""
    if not found:
        return []
    chains = [one["chains"] for one in found]
    of = f"{len(found)} seed" + ("s" if len(found) > 1 else "")
    spread = "means, ± half of the 95 % interval over seeds" if len(found) > 1 else "one seed, with the 95 % interval over rows"
    words = (
        f"`guardkit audit` ([what it asks](audit.md)) of the R-SFT guards of {of}, on the test rows of the same benchmarks, on the task `{TASK}`; {spread}. "
        f"Of {sum(c['rows'] for c in chains)} outputs {sum(c['with'] for c in chains)} have a chain."
    )
    return [
        f"### Does the reasoning matter? ({base})",
        "",
        words,
        "",
        *_early(found),
        "",
        *_flips(found),
        "",
        *_twins(found),
        "",
        _reading(found),
        "",
    ]


def _early(found: Sequence[Mapping[str, Any]]) -> list[str]:
    stages = [[s for s in one["stages"] if s["task"] == TASK] for one in found]
    lines = ["| the guard answers | label is its final verdict (%) | by chance (%) | F1 | AUROC |", "|---|---|---|---|---|"]
    for name, words in (("before", "before the chain"), ("half", "after half of it"), ("whole", "after all of it")):
        some = [s for one in stages for s in one if s["stage"] == name]
        lines.append(f"| {words} | " + " | ".join(_mean(some, key) for key in ("agree", "chance", "f1", "auroc")) + " |")
    return lines


def _flips(found: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = ["| chain in place of its own | verdicts that are others (%) |", "|---|---|"]
    for change, words in CHANGES.items():
        some = [f for one in found for f in one["flips"] if f["task"] == TASK and f["change"] == change]
        lines.append(f"| {words} | {_mean(some, 'flip_rate', 'flip')} |")
    return lines


def _twins(found: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = ["| figure | guard | twin without reasoning | twin less guard |", "|---|---|---|---|"]
    for measure, fpr in HELD:
        some = _held(found, measure, fpr)
        name = {"f1": "F1", "auroc": "AUROC"}.get(measure, f"recall where {fpr:g} % of the benign rows are flagged" if fpr else measure)
        lines.append(f"| {name} | {_mean(some, 'value_a', None)} | {_mean(some, 'value_b', None)} | {_mean(some, 'difference', '')} |")
    return lines


def _held(found: Sequence[Mapping[str, Any]], measure: str, fpr: float | None) -> list[Mapping[str, Any]]:
    return [h for one in found if one["twin"] for h in one["twin"]["held"] if h["task"] == TASK and h["measure"] == measure and h["fpr"] == fpr]


def _reading(found: Sequence[Mapping[str, Any]]) -> str:
    """What of it can be said, in words: only where the interval leaves no doubt."""
    out = []
    for measure, name in (("auroc", "AUROC"), ("f1", "F1")):
        some = _held(found, measure, None)
        low, high = _interval(some, "difference", "")
        if low is None or high is None:
            continue
        if low > 0 or high < 0:
            out.append(f"By {name} the {'twin' if low > 0 else 'guard that reasons'} is the better one.")
        else:
            out.append(f"By {name} guard and twin cannot be told apart: the twin may be {abs(low):.0f} points below or {high:.0f} above.")
    return " ".join(out) or "Nothing can be said of guard and twin."


def _interval(some: Sequence[Mapping[str, Any]], key: str, prefix: str | None) -> tuple[float | None, float | None]:
    values = [s[key] for s in some if s[key] is not None]
    if len(values) > 1:
        mean, half, *_ = over_seeds(values)
        return mean - half, mean + half
    if prefix is None or not values:
        return None, None
    ends = [f"{prefix}_{end}" if prefix else end for end in ("low", "high")]
    return some[0].get(ends[0]), some[0].get(ends[1])


def _mean(some: Sequence[Mapping[str, Any]], key: str, prefix: str | None = "=") -> str:
    values = [s[key] for s in some if s[key] is not None]
    if not values:
        return "–"
    if len(values) > 1:
        mean, half, *_ = over_seeds(values)
        return f"{mean:.1f} ± {half:.1f}"
    low, high = _interval(some, key, key if prefix == "=" else prefix)
    return f"{values[0]:.1f}" if low is None or high is None or math.isnan(low) else f"{values[0]:.1f} ({low:.1f} … {high:.1f})"
