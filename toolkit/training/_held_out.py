"""The option `evaluate`: a part of the rows that is not trained on, and on which the loss is looked at while the training lasts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, model_validator

from toolkit.common.documented import Documented
from toolkit.common.errors import InputError, did_you_mean

_OWN = ("validation", "valid", "dev", "eval")
SHARE = 0.05
"""Of the rows, where neither the shards nor the option say what is held out."""


class HeldOut(Documented):
    """What is held out, and how often it is looked at. `true`: the shards' split `validation`, or a twentieth of their rows where they have none."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)

    share: float | None = Field(None, gt=0, lt=1)
    """Of the training rows, whole groups of them (rows of one `group`, or with one prompt)."""
    rows: int | None = Field(None, ge=1)
    """So many of the training rows, likewise."""
    split: str | None = None
    """A split of the shards. Its rows whose group is trained on are left out of it."""
    every: int | None = Field(None, ge=1)
    """Updates between two looks; default: a tenth of all. The last is after the last update."""

    @model_validator(mode="after")
    def _one(self) -> HeldOut:
        if sum(value is not None for value in (self.share, self.rows, self.split)) > 1:
            raise ValueError("evaluate takes one of share, rows and split")
        return self


def split_for(option: HeldOut, shards: Path) -> str | None:
    """The split of the shards that is held out; None where it is a part of the training rows.

    Raises:
        InputError: they have no such split.
    """
    there = sorted({f.name.rsplit("-", 3)[0] for f in (shards / "data").glob("*-*-of-*.parquet")} - {"train"})
    if option.split is not None:
        if option.split not in there:
            hint = did_you_mean(option.split, there) if there else "the shards have no other split than train: evaluate: {share: 0.05}"
            raise InputError(f"the shards have no split {option.split!r} to evaluate on", where="evaluate", hint=hint)
        return option.split
    return next((name for name in _OWN if name in there), None) if option.share is None and option.rows is None else None


def hold_out(option: HeldOut | None, read: Callable[..., Any], shards: Path, seed: int) -> tuple[Any, Any, list[str]]:
    """The rows that are trained on, those that are held out (None for none), and the ids of those of the latter that are of the split ``train``.

    Args:
        option: None for none.
        read: gives the rows of a split, ``train`` by default.
        shards: their folder.
        seed: of the training.

    Raises:
        InputError: no such split, or too few rows.
    """
    data = read()
    if option is None:
        return data, None, []
    split = split_for(option, shards)
    if split is not None:
        return data, apart(read(split=split), data), []
    data, held = parted(data, option, seed)
    return data, held, list(held["id"])


def parted(data: Any, option: HeldOut, seed: int) -> tuple[Any, Any]:
    """The rows that are trained on, and those that are held out, both in their order. Which depends on the groups' names and the seed alone.

    Raises:
        InputError: too few groups.
    """
    groups = _groups(data)
    wanted = option.rows if option.rows is not None else max(1, round((option.share or SHARE) * len(groups)))
    sizes: dict[str, int] = {}
    for group in groups:
        sizes[group] = sizes.get(group, 0) + 1
    held, count = set[str](), 0
    for group in sorted(sizes, key=lambda name: hashlib.sha256(f"held out {seed} {name}".encode()).digest()):
        if count >= wanted:
            break
        held.add(group)
        count += sizes[group]
    if len(held) == len(sizes):
        what = f"{len(groups):,} rows of {len(sizes):,} groups (rows of one `group`, or with one prompt)"
        raise InputError(f"nothing would be left to train on: there are {what}", where="evaluate", hint="hold fewer out, or give a split of its own")
    train, other = ([i for i, g in enumerate(groups) if (g in held) == out] for out in (False, True))
    return data.select(train), data.select(other)


def apart(held: Any, data: Any) -> Any:
    """The rows of a split that is held out whose group is not among those that are trained on.

    Raises:
        InputError: there is none.
    """
    known = set(_groups(data))
    keep = [i for i, group in enumerate(_groups(held)) if group not in known]
    if not keep:
        raise InputError("every row of the split that is held out is trained on, too", where="evaluate", hint="make the split by group: see `split`")
    return held if len(keep) == len(held) else held.select(keep)


def _groups(data: Any) -> Sequence[str]:
    """For each row the name of its group: `group`, or else what it asks."""
    names = data["group"] if "group" in data.column_names else [None] * len(data)
    return [name or hashlib.sha256(json.dumps(prompt).encode()).hexdigest() for name, prompt in zip(names, data["prompt"], strict=True)]
