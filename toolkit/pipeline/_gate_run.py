"""A run as a gate reads it: whole, with nothing stale, and with the figures of its data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from toolkit.common.errors import InputError, short_path
from toolkit.pipeline._current import AGAIN, STALE
from toolkit.pipeline._diff_side import Side
from toolkit.pipeline._folder import builder_of

Share = tuple[str, str, int, int]
"""Kind and name of a share, rows that are counted, and all rows."""


def whole_run(folder: Path) -> Side:
    """A run that has come to its end.

    Raises:
        InputError: it is being built, has steps that are not finished, or stale ones; or the folder is no run's.
    """
    place, again = short_path(folder), "run its recipe again: it goes on where it stopped"
    if (builder := builder_of(folder)) is not None:
        raise InputError(f"this run is being built by process {builder}", where=place, hint="wait until it ends")
    side = Side(folder)
    if side.stale:
        raise InputError(f"steps that are stale: {', '.join(side.stale)}: {STALE}", where=place, hint=AGAIN)
    if left := [s for s in side.order if s not in side.counts]:
        some = f"{', '.join(left[:5])}{f' and {len(left) - 5} more' if len(left) > 5 else ''}"
        raise InputError(f"this run did not come to its end: {len(left)} of {len(side.order)} steps are not built: {some}", where=place, hint=again)
    return side


def evaluations(side: Side) -> dict[str, Path]:
    """The folders of a run's evaluations, by step."""
    found = {s: done for s, done in side.folders.items() if any(n.startswith("evaluation/") for n in done.manifest["files"])}
    return {s: found[s].artefact("evaluation") for s in side.order if s in found}


def shares(side: Side, step: str) -> Iterator[Share]:
    """The shares of what came to a step: ``kept`` and ``rejected`` (for each reason), or of `mine` ``hard``."""
    counts: dict[str, Any] = side.counts[step]
    came = counts["in"] - counts["merged"] if counts["use"] == "mine" else round(counts["in"] * counts.get("factor", 1))
    if not came or counts["shape"] == "sink":
        return
    yield "hard" if counts["use"] == "mine" else "kept", step, counts.get("parents", counts["kept"]), came
    yield from (("rejected", f"{step} / {reason}", n, came) for reason, n in counts["rejected"].items())


def labelled_ends(a: Side, b: Side) -> list[str]:
    """Steps of both runs whose rows have labels, and that no other such step comes of."""
    there = [s for s in a.comparable() if s in b.folders and _labels(a, s) and _labels(a, s) == _labels(b, s)]
    return [s for s in there if not any(s in a.upstream(later) for later in there if later != s)]


def label_counts(side: Side, step: str) -> dict[str, Counter[str]]:
    """For each task the rows of a step by their label, ``none`` for no label."""
    columns = _labels(side, step)
    out: dict[str, Counter[str]] = {c.removeprefix("label_"): Counter() for c in columns}
    for block in side.blocks(step, columns):
        for column in columns:
            counted = block[column].cast(pl.String).fill_null("none").value_counts(name="n")
            out[column.removeprefix("label_")].update(dict(counted.iter_rows()))
    return out


def _labels(side: Side, step: str) -> list[str]:
    return sorted(c for c in side.columns(step) if c.startswith("label_") and not c.endswith(("_source", "_trail")))
