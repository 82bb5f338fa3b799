"""Published figures of guards: pydantic models of ``schemas/published/<name>.yaml``, one file a source.

A source says what it is (citation, protocol), and has tables: columns, each a benchmark or a mean, and rows, each a model with a figure for every
column, null where none was published. Benchmarks that guardkit knows go by their names in ``schemas/benchmarks``; others keep the source's own.
Figures are in percent but for tokens. What is known of how a figure was measured is its `Cohort`: that of the source, then of the column, then of
the row, the later one before the earlier.

Nothing here is measured: these figures are others' word, and are never a part of a mean or a difference of ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from toolkit.common.errors import InputError, nearest
from toolkit.common.paths import Beside
from toolkit.common.resources import find, names
from toolkit.common.yamlfile import FaultAt, load_yaml
from toolkit.evaluation.comparing._cohort import Cohort, apart

Metric = Literal["f1", "precision", "recall", "fpr", "missed", "tokens"]


class _Model(BaseModel):
    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)


class Known(_Model):
    """What is known of the figures of a source or a row: see `Cohort`."""

    subset: str | None = None
    policy: str | None = None
    reading: str | None = None
    prompt: str | None = None
    sampling: str | None = None


class PublishedColumn(_Model):
    """A benchmark, or a mean in words."""

    benchmark: str | None = None
    mean: str | None = None
    n: int | None = Field(None, gt=0)
    """Rows, as the source states them."""
    subset: str | None = None
    """Where it is known to be of other rows than the benchmark's own: which."""

    @model_validator(mode="after")
    def _one(self) -> PublishedColumn:
        if (self.benchmark is None) == (self.mean is None):
            raise ValueError("a column is a benchmark or a mean: give one of the two")
        return self


class PublishedRow(_Model):
    """A model and its figures, one for each column."""

    model: str
    figures: list[float | None]
    cohort: Known = Known()
    note: str | None = None


class PublishedTable(_Model):
    """A table, or what belongs together of several; `task` null: figures of no one task."""

    where: str
    task: str | None
    metric: Metric = "f1"
    columns: list[PublishedColumn] = Field(min_length=1)
    rows: list[PublishedRow] = Field(min_length=1)

    @model_validator(mode="after")
    def _fits(self) -> PublishedTable:
        for i, row in enumerate(self.rows):
            if len(row.figures) != len(self.columns):
                raise FaultAt(f"{len(row.figures)} figures for {len(self.columns)} columns", "rows", i, "figures")
            for figure in row.figures:
                if figure is not None and not 0 <= figure <= (100 if self.metric != "tokens" else float("inf")):
                    raise FaultAt(f"{figure} is no percentage", "rows", i, "figures")
        return self


class Published(_Model):
    """A source of published figures. See ``schemas/published``."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    version: int
    title: str
    citation: str
    url: str | None
    read: Literal["paper", "software", "second hand"]
    """Where the figures were read: in the paper itself, in software, or in what others say of it."""
    protocol: str
    notes: list[str] = []
    cohort: Known = Known()
    tables: list[PublishedTable] = Field(min_length=1)


@dataclass(frozen=True)
class PublishedFigure:
    """One figure: of a benchmark, or a mean. `of` is the source that it is from."""

    of: Published = field(repr=False)
    where: str
    model: str
    task: str | None
    benchmark: str | None
    mean: str | None
    metric: Metric
    value: float
    cohort: Cohort
    note: str | None

    @property
    def source(self) -> str:
        """The name of the source."""
        return self.of.name

    @property
    def called(self) -> str:
        """The model as a column is headed: with its reading where it has one."""
        return f"{self.model} ({self.cohort.reading})" if self.cohort.reading else self.model


def load_published(name: str, beside: Beside = None) -> Published:
    """A source of published figures by name or path.

    Raises:
        InputError: no such source; InputErrors: faults in its file, each with its line.
    """
    return load_yaml(find("published", name, beside)).model(Published)


def published_names(beside: Beside = None) -> list[str]:
    """Names of all sources, the user's own included."""
    return names("published", beside)


def published_figures(source: Published) -> list[PublishedFigure]:
    """The figures of a source, in order."""
    out = []
    for table in source.tables:
        for row in table.rows:
            for column, value in zip(table.columns, row.figures, strict=True):
                if value is None:
                    continue
                known = source.cohort.model_dump(exclude_none=True)
                known |= {k: v for k, v in (("n", column.n), ("subset", column.subset)) if v is not None}
                known |= row.cohort.model_dump(exclude_none=True)
                if row.cohort.subset is not None:
                    known.pop("n", None)  # of a part of the rows that the column counts
                cohort = Cohort(**known, published=source.name)
                cell = (row.model, table.task, column.benchmark, column.mean, table.metric, value, cohort, row.note)
                out.append(PublishedFigure(source, table.where, *cell))
    return out


def choose_published(wanted: Sequence[str] = (), beside: Beside = None) -> list[PublishedFigure]:
    """The figures of all sources, or of those sources and models that are named.

    Args:
        wanted: names of sources, or of models as they are written there, in any case; empty: all.
        beside: folder that a relative path is also looked up from.

    Raises:
        InputError: nothing of such a name; the nearest is named.
    """
    own = [w for w in wanted if w.endswith((".yaml", ".yml"))]
    sources = [load_published(n, beside) for n in [*published_names(beside), *own]]
    figures = [f for s in sources for f in published_figures(s)]
    if not wanted:
        return figures
    named = {load_published(w, beside).name for w in own}
    models = {f.model.casefold(): f.model for f in figures}
    known = {s.name for s in sources}
    for word in wanted:
        if word not in known and word not in own and word.casefold() not in models:
            hint = nearest(word, [*known, *models.values()]) or f"sources: {', '.join(sorted(known))}"
            raise InputError(f"no source or model of published figures is called {word!r}", hint=hint)
    named |= known & set(wanted)
    asked = {w.casefold() for w in wanted if w not in known}
    return [f for f in figures if f.source in named or f.model.casefold() in asked]


def published_spread(figures: Iterable[PublishedFigure]) -> list[dict[str, Any]]:
    """How far published figures agree: the cells (model, benchmark, task, metric, reading) that were published more than once, the widest first.

    Returns:
        For each its model, benchmark, task, metric and reading, the `figures` (source, where, value, note), `low`, `high`, `spread` in points,
        and `why`: what is known to set the cohorts apart, and notes of the sources, or None.
    """
    cells: dict[tuple[str, ...], list[PublishedFigure]] = {}
    for f in figures:
        if f.benchmark is not None:
            cells.setdefault((f.model, f.benchmark, f.task or "", f.metric, f.cohort.reading or ""), []).append(f)
    out = []
    for (model, benchmark, task, metric, reading), found in cells.items():
        if len(found) < 2:
            continue
        values = [f.value for f in found]
        whys = [why for i, b in enumerate(found) for a in found[:i] if (why := apart(b.cohort, a.cohort)) is not None]
        whys += [f"{f.of.title}: {f.note}" for f in found if f.note is not None]
        out.append(
            {
                "model": model,
                "benchmark": benchmark,
                "task": task or None,
                "metric": metric,
                "reading": reading or None,
                "figures": [{"source": f.source, "where": f.where, "value": f.value, "note": f.note} for f in found],
                "low": min(values),
                "high": max(values),
                "spread": round(max(values) - min(values), 2),
                "why": "; ".join(dict.fromkeys(whys)) or None,
            }
        )
    return sorted(out, key=lambda c: (-c["spread"], c["task"] or "", c["benchmark"], c["model"], c["reading"] or ""))
