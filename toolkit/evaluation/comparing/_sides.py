"""The models that a comparison is of: each a model of an evaluation's folder, under a name of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from toolkit.common.errors import InputError, did_you_mean, short_path
from toolkit.common.manifests import checked
from toolkit.evaluation._document import DOCUMENT, Evaluation, read_evaluation

if TYPE_CHECKING:
    import polars as pl


class _Loose(BaseModel):
    model_config = ConfigDict(defer_build=True, extra="allow")


class _Model(_Loose):
    name: str
    readings: dict[str, dict[str, str]] | None = None
    reading: str | None
    sampling: str | None
    prompt: str | None
    model_id: str | None = None


class _Benchmark(_Loose):
    name: str
    task: str
    positive: str
    title: str
    n: int
    rows: int
    whole: int
    unlabelled: int
    label_counts: dict[str, int]
    rows_digest: str
    subset: str | None
    paper: int | None


class _Settings(_Loose):
    k: Literal["majority", "mean"]
    policies: list[str]
    min_parse_rate: float


class _Document(_Loose):
    """What a comparison, and `_figures` for it, reads of an evaluation's document."""

    models: list[_Model] = Field(min_length=1)
    benchmarks: list[_Benchmark]
    settings: _Settings


@dataclass(frozen=True)
class Side:
    """One model.

    Attributes:
        name: what the comparison calls it.
        model: what its evaluation calls it.
        evaluation: the folder that it is in.
        about: what the document says of it.
    """

    name: str
    model: str
    evaluation: Evaluation
    about: Mapping[str, Any]

    @property
    def readings(self) -> dict[str, dict[str, str]]:
        """By task the label that a label stands for."""
        return {task: dict(of) for task, of in (self.about.get("readings") or {}).items()}

    @property
    def settings(self) -> Mapping[str, Any]:
        """How its evaluation counted."""
        found: Mapping[str, Any] = self.evaluation.document["settings"]
        return found


def benchmark_entry(evaluation: Evaluation, benchmark: str, task: str) -> Mapping[str, Any]:
    """What a document says of a benchmark and task; nothing: an empty mapping."""
    of = [b for b in evaluation.document["benchmarks"] if b.get("name") == benchmark]
    return next((b for b in of if b.get("task") == task), of[0] if of else {})


def open_sides(given: Sequence[tuple[str | None, Path]], models: Sequence[str] = ()) -> list[Side]:
    """The models of evaluations, in order.

    A model is called by its own name. Where two have the same one, each gets its folder's name behind it; a folder that the user names gives its name
    to its one model, or is before those of several (``name/model``).

    Args:
        given: for each evaluation its name, or None, and its folder.
        models: only these, by their own names or those that they get; empty: all.

    Raises:
        InputError: no evaluation there, the same one twice, two of one name, or no such model.
    """
    opened: dict[Path, Evaluation] = {}
    for name, folder in given:
        real = folder.resolve()
        if real in opened:
            hint = "models of one evaluation are compared when its folder is named once"
            raise InputError(f"the same evaluation twice{f' ({name})' if name else ''}", where=short_path(folder), hint=hint)
        opened[real] = evaluation = read_evaluation(folder)
        checked(evaluation.document, _Document, folder / DOCUMENT, "evaluate again")
    found: list[tuple[str | None, Evaluation, Mapping[str, Any]]] = []
    for (name, _), evaluation in zip(given, opened.values(), strict=True):
        found += [(name, evaluation, m) for m in evaluation.document["models"]]
    sides = _named(found)
    if models:
        known = {s.name for s in sides} | {s.model for s in sides}
        if odd := next((m for m in models if m not in known), None):
            raise InputError(f"no model called {odd!r} in these evaluations", hint=did_you_mean(odd, known))
        sides = [s for s in sides if s.name in models or s.model in models]
    return sides


def _named(found: Sequence[tuple[str | None, Evaluation, Mapping[str, Any]]]) -> list[Side]:
    """With names that differ."""
    several = Counter(id(e) for _, e, _ in found)
    first = [m["name"] if own is None else f"{own}/{m['name']}" if several[id(e)] > 1 else own for own, e, m in found]
    same = Counter(first)
    folders = _short([e.folder for _, e, _ in found])
    names = [n if same[n] == 1 or own is not None else f"{n} ({folders[i]})" for i, (n, (own, _, _)) in enumerate(zip(first, found, strict=True))]
    if twice := [n for n, count in Counter(names).items() if count > 1]:
        raise InputError(f"two models are called {twice[0]!r}", hint="name their folders: NAME=FOLDER")
    return [Side(n, m["name"], e, m) for n, (_, e, m) in zip(names, found, strict=True)]


def _short(folders: Sequence[Path]) -> list[str]:
    """The ends of paths, as long as it takes to tell different ones apart."""
    real = [f.resolve() for f in folders]
    for n in range(1, max((len(p.parts) for p in real), default=1) + 1):
        ends = ["/".join(p.parts[-n:]) for p in real]
        if len(set(ends)) == len(set(real)):
            return ends
    return [str(p) for p in real]


def positives_of(sides: Sequence[Side]) -> dict[str, str]:
    """By task the positive label, as the evaluations have it.

    Raises:
        InputError: they differ.
    """
    out: dict[str, tuple[str, Side]] = {}
    for side in sides:
        for entry in side.evaluation.document["benchmarks"]:
            task, positive = entry["task"], entry["positive"]
            before = out.setdefault(task, (positive, side))
            if before[0] != positive:
                what = f"the positive label of the task {task!r} is {before[0]!r} in {short_path(before[1].evaluation.folder)} and {positive!r} here"
                raise InputError(what, where=str(side.evaluation.folder), hint="figures of different labels cannot be compared")
    return {task: positive for task, (positive, _) in out.items()}


def rows_of(sides: Sequence[Side]) -> pl.LazyFrame:
    """The lines of all models, under the names of the comparison; each file is checked against its digest once.

    Raises:
        InputError: as `Evaluation.rows`.
    """
    import polars as pl

    tables = {id(s.evaluation): s.evaluation.rows() for s in sides}
    parts = [tables[id(s.evaluation)].filter(pl.col("model") == s.model).with_columns(pl.lit(s.name).alias("model")) for s in sides]
    return pl.concat(parts)
