"""Where a guard's verdict is settled along its chain of reasoning, and what changes it.

All figures are made from lines of `CHAINS`: what a guard answered when it had to answer behind a beginning of its output. `final` is the verdict that
it wrote behind its own whole chain.

stages   the label before the chain, after a quarter, a half, three quarters of its steps (rounded up) and all of them, on the same rows; and after
         each number of steps, on the rows that have so many. `agree` is how often it is the final verdict, with Wilson's interval (1927, JASA
         22:209), and `chance` how often it would be if the two had nothing to do with each other: the sum over labels of the product of their
         shares, as in Cohen's kappa (1960, Educational and Psychological Measurement 20:37). F1 and AUROC are against the rows' own labels.
settled  of each row the first number of steps from which on every label is the final verdict: `before` counts those of no step.
flips    how often the label differs from the final verdict: after the chain was taken away, cut, or replaced by another row's; `whole` is the same
         chain read again, the flips of which are none of the chain's doing (`toolkit.evaluation.flips` says what each figure is).
redrawn  the same for further draws. Draws of one row hang together, so that the interval is that of a bootstrap over rows (Efron, 1979, Annals of
         Statistics 7:1).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from toolkit.evaluation._row_table import ROWS
from toolkit.evaluation.chains._areas import area_ends
from toolkit.evaluation.changed._flips import flips
from toolkit.evaluation.scoring._bootstrap import generator, interval, rounded
from toolkit.evaluation.scoring._results import results
from toolkit.evaluation.scoring._score import wilson

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CHAINS = {
    "model": pl.String(),
    "id": pl.String(),
    "task": pl.String(),
    "gold": pl.String(),
    "final": pl.String(),
    "probe": pl.String(),
    "step": pl.Int64(),
    "steps": pl.Int64(),
    "label": pl.String(),
    "probability": pl.Float64(),
}
"""A line for each model, row, task and beginning: `gold`, the row's label (null: none); `final`, the verdict of the guard's own output; `probe`,
what it had to answer behind (`before`, `step`, `same`, `other`); `step` of its `steps`; `label`, the likeliest one there, null where the request
failed; `probability` of the positive label, normalised over the task's labels."""
STAGES = {"before": 0.0, "a quarter": 0.25, "half": 0.5, "three quarters": 0.75, "whole": 1.0}
"""Shares of a chain's steps."""
MOST = 20
"""Numbers of steps that there is a stage for."""
_SAME_AS = ("model", "task")


def chain_stages(lines: pl.DataFrame, positives: Mapping[str, str], *, draws: int = 1000, seed: int = 0) -> list[dict[str, Any]]:
    """The label at each stage; see the module's docstring.

    Args:
        lines: of `CHAINS`.
        positives: positive label by task.
        draws: of the bootstrap behind the intervals of F1 and AUROC.
        seed: likewise.

    Returns:
        One dict each, in percent to two decimals, None for a figure that does not exist: model, task, stage (of `STAGES`, or ``step N``), n (rows
        whose label and final verdict are known), agree with agree_low and agree_high (95 %), chance, labelled (rows with a label), f1 and auroc
        with their ``_low`` and ``_high``.
    """
    own = lines.filter(pl.col("probe").is_in(["before", "step"]))
    out = []
    for (model, task), some in own.group_by(*_SAME_AS, maintain_order=True):
        parts = [(stage, some.filter(pl.col("step") == (pl.col("steps") * share).ceil().cast(pl.Int64))) for stage, share in STAGES.items()]
        parts += [(f"step {n}", part) for n in range(1, MOST + 1) if (part := some.filter(pl.col("step") == n)).height]
        for stage, part in parts:
            out.append(
                {"model": model, "task": task, "stage": stage, **_stage(part, positives[str(task)], draws, seed, str(model), str(task), stage)}
            )
    return out


def _stage(part: pl.DataFrame, positive: str, draws: int, seed: int, *words: str) -> dict[str, Any]:
    known = part.filter(pl.col("label").is_not_null() & pl.col("final").is_not_null())
    n, same = known.height, int((known["label"] == known["final"]).sum())
    low, high = wilson(same, n)
    shares = [dict(known[column].value_counts().iter_rows()) for column in ("label", "final")]
    chance = sum(k * shares[1].get(label, 0) for label, k in shares[0].items()) / n**2 if n else math.nan
    found = {"n": n, "agree": _percent(same / n if n else math.nan), "agree_low": _percent(low), "agree_high": _percent(high)}
    scored = known.filter(pl.col("gold").is_not_null())
    out = {**found, "chance": _percent(chance), "labelled": scored.height, **dict.fromkeys(_SCORES)}
    if scored.height:
        (line,) = results(as_rows(scored, "model"), {words[1]: positive}, draws=draws, seed=seed)
        up = (scored["gold"] == positive).to_numpy()
        ends = area_ends(up, scored["probability"].to_numpy(), draws, generator(seed, "area", *words))
        out |= {name: line[name] for name in ("f1", "f1_low", "f1_high", "auroc")} | dict(zip(("auroc_low", "auroc_high"), ends, strict=True))
    return out


_SCORES = ("f1", "f1_low", "f1_high", "auroc", "auroc_low", "auroc_high")


def as_rows(lines: pl.DataFrame, name: str, label: str = "label") -> pl.DataFrame:
    """Lines of `CHAINS` as the table that an evaluation's figures are made from (`toolkit.evaluation.ROWS`), under the name of one model."""
    unread = pl.when(pl.col(label).is_null()).then(pl.lit("unread")).otherwise(pl.lit(None, pl.String))
    made = lines.select(
        "id", "task", "gold", "probability", benchmark=pl.lit("rows"), model=pl.lit(name), draw=pl.lit(0), verdict=label, unread=unread
    )
    return made.with_columns(pl.lit(None).cast(kind).alias(n) for n, kind in ROWS.items() if n not in made.columns).select(*ROWS).cast(ROWS)  # type: ignore[arg-type]


def chain_settled(lines: pl.DataFrame) -> list[dict[str, Any]]:
    """From which number of steps on the label is the final verdict; see the module's docstring.

    Args:
        lines: of `CHAINS`.

    Returns:
        For each model and task: n (rows of which all is known), before with before_low and before_high (percent of n, 95 %), never (rows whose label
        after the whole chain is another one), share (mean percent of the steps that it takes, of the others), by_step (rows by number of steps).
    """
    own = lines.filter(pl.col("probe").is_in(["before", "step"]))
    out = []
    for (model, task), some in own.group_by(*_SAME_AS, maintain_order=True):
        first: list[tuple[int, int]] = []
        for _, row in some.sort("id", "step").group_by("id", maintain_order=True):
            final, labels = row["final"][0], row["label"].to_list()
            if final is None or None in labels:
                continue
            others = [n for n, label in enumerate(labels) if label != final]
            first.append((others[-1] + 1 if others else 0, len(labels) - 1))
        settled = [(at, steps) for at, steps in first if at <= steps]
        n, before = len(first), sum(at == 0 for at, _ in settled)
        low, high = wilson(before, n)
        by_step = {step: sum(at == step for at, _ in settled) for step in sorted({at for at, _ in settled})}
        share = sum(at / steps for at, steps in settled) / len(settled) if settled else math.nan
        found = {"before": _percent(before / n if n else math.nan), "before_low": _percent(low), "before_high": _percent(high)}
        out.append({"model": model, "task": task, "n": n, **found, "never": n - len(settled), "share": _percent(share), "by_step": by_step})
    return out


def chain_flips(lines: pl.DataFrame, positives: Mapping[str, str]) -> list[dict[str, Any]]:
    """How often the label differs from the final verdict; see the module's docstring.

    Args:
        lines: of `CHAINS`.
        positives: positive label by task.

    Returns:
        For each model, task and change (whole, removed, first step, half, all but the last, same, other) what `toolkit.evaluation.flips` gives: read
        (pairs), flips, flip_rate with flip_low and flip_high (95 %), to_positive, to_negative, f1_before and f1_after, …
    """
    known = lines.filter(pl.col("final").is_not_null())
    base = known.unique([*_SAME_AS, "id"], keep="first", maintain_order=True)
    out = []
    for (model,), some in known.group_by("model", maintain_order=True):
        changed = pl.concat(as_rows(part, str(model)).with_columns(parent="id", change=pl.lit(change)) for change, part in _changes(some))
        changed = changed.with_columns(id=pl.format("{}:{}", "id", "change"))
        out += flips(changed, as_rows(base.filter(pl.col("model") == model), str(model), "final"), positives)
    order = {task: n for n, task in enumerate(dict.fromkeys(known["task"]))}
    return sorted(out, key=lambda one: (one["model"], order[one["task"]]))


def _changes(lines: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    step, steps, probe = pl.col("step"), pl.col("steps"), pl.col("probe")
    own = lines.filter(probe.is_in(["before", "step"]))
    yield "whole", own.filter(step == steps)
    yield "removed", own.filter(step == 0)
    longer = own.filter(steps > 1)
    yield "first step", longer.filter(step == 1)
    yield "half", longer.filter(step == (steps / 2).ceil().cast(pl.Int64))
    yield "all but the last", longer.filter(step == steps - 1)
    for kind in ("same", "other"):
        yield kind, lines.filter(probe == kind)


def redrawn(base: pl.DataFrame, again: pl.DataFrame, positives: Mapping[str, str], *, draws: int = 1000, seed: int = 0) -> list[dict[str, Any]]:
    """How often the verdict of a further draw differs from the first one.

    Args:
        base: first verdicts: `model`, `id`, `task`, `verdict` (null: not read).
        again: those of further draws: the same columns, several lines a row.
        positives: positive label by task.
        draws: of the bootstrap over rows; 0: no interval.
        seed: likewise.

    Returns:
        For each model and task: change (``drawn again``), n (pairs), read (of which both were read), rows (that they are of), flips, flip_rate with
        flip_low and flip_high (percent, 95 %), to_positive, to_negative.
    """
    keys = ["model", "task", "id"]
    pairs = again.select(*keys, now="verdict").join(base.select(*keys, was="verdict"), on=keys, maintain_order="left")
    out = []
    for (model, task), some in pairs.group_by(*_SAME_AS, maintain_order=True):
        read = some.drop_nulls(["now", "was"])
        turned = read.filter(pl.col("now") != pl.col("was"))
        each = read.group_by("id", maintain_order=True).agg(n=pl.len(), flips=(pl.col("now") != pl.col("was")).sum())
        low, high = _ends(each["flips"].to_numpy(), each["n"].to_numpy(), draws, generator(seed, "redrawn", str(model), str(task)))
        positive = positives[str(task)]
        found = {"model": model, "task": task, "change": "drawn again", "n": some.height, "read": read.height, "rows": each.height}
        rate = turned.height / read.height if read.height else math.nan
        found |= {"flips": turned.height, "flip_rate": _percent(rate), "flip_low": low, "flip_high": high}
        out.append(found | {"to_positive": int((turned["now"] == positive).sum()), "to_negative": int((turned["was"] == positive).sum())})
    return out


def _ends(flipped: NDArray[np.int64], of: NDArray[np.int64], draws: int, rng: np.random.Generator) -> tuple[float | None, float | None]:
    """95 % interval, in percent, of a rate over rows that hold several pairs."""
    import numpy as np

    if not draws or not len(of):
        return None, None
    rates = np.empty(draws)
    for i in range(draws):
        chosen = rng.integers(0, len(of), len(of))
        rates[i] = 100 * flipped[chosen].sum() / of[chosen].sum()
    low, high = interval(rates)
    return rounded(float(low)), rounded(float(high))


def _percent(share: float) -> float | None:
    return None if math.isnan(share) else round(100 * share, 2)
