"""What the operator `evaluate` writes beside its scores: the folder of an evaluation, as `toolkit.evaluation.write_evaluation` has it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from toolkit.evaluation import ROWS, RowSet, figures, fill_evaluation, guard_tasks
from toolkit.guards import Guard

TEXTS = {
    "benchmark": pl.String(),
    "categories": pl.List(pl.String()),
    "source": pl.String(),
    "prompt": pl.String(),
    "response": pl.String(),
}
"""Columns of the rows that were asked about which are in an evaluation beside id and labels, where the rows have them."""
READ = {**TEXTS, "seed_category": pl.String()}
"""The same as they are read: the category that a seed was written for stands for those of a benign look-alike, which has none."""
OUTPUT_COLUMNS = {"output": pl.String(), "output_key": pl.String(), "model_id": pl.String()}
"""The same of the verdicts."""
SHOWN = ("benchmark", "title", "task", "model", "policy", "n", "unparsable", "accuracy", "f1", "f1_low", "f1_high", "single_class")
"""What a step's figures have of a result."""
DRAWS = 1000
"""Of the bootstrap behind each interval."""


@dataclass(frozen=True)
class Evaluating:
    """An evaluation in the making.

    Attributes:
        guard: the definition, as far as the operator is shown it.
        asked: the rows that were asked about: id, ``label_<task>`` and `TEXTS`.
        first_outputs: of the first draws: parent, guard_model and `OUTPUT_COLUMNS`.
        names: what to call a guard.
        reading: by which reading labels and verdicts are compared.
        policies, min_parse_rate: as for `toolkit.evaluation.figures`.
        about: by benchmark what its definition says: ``title``, ``paper`` (rows), ``way``.
        asker: step that the rows are of: the name of rows that are of no benchmark.
    """

    guard: Guard
    asked: pl.DataFrame
    first_outputs: pl.DataFrame
    names: Mapping[str, str]
    reading: str | None
    policies: Sequence[str]
    min_parse_rate: float
    about: Mapping[str, Mapping[str, Any]]
    asker: str
    document: dict[str, Any] = field(default_factory=dict, init=False)
    """Filled by `write`."""

    def write(self, folder: Path, parts: Iterable[pl.DataFrame]) -> None:
        """Write the evaluation into a folder.

        Args:
            folder: an empty one.
            parts: those of `toolkit.judging.records_parts` over the rows that were asked about, as they are before any reading.

        Raises:
            InputError: rows that cannot be counted; see `toolkit.evaluation.results`.
        """
        sets = self._sets()

        def document(rows: pl.LazyFrame) -> dict[str, Any]:
            settings = {
                "policies": list(self.policies),
                "k": "majority",
                "min_parse_rate": self.min_parse_rate,
                "bootstrap": DRAWS,
                "seed": 0,
            }
            models = [self._model(name) for name in self.first_outputs["guard_model"].unique(maintain_order=True)]
            benchmarks = [entry for one in sets for entry in one.entries()]
            found = figures(rows, benchmarks, models, settings)
            found["remarks"] = [*(self._unlabelled(one) for one in sets if not one.tasks), *found["remarks"]]
            self.document.update({"settings": settings, "models": models, "benchmarks": benchmarks, **found})
            return self.document

        fill_evaluation(folder, document, self._lines(parts, sets))

    def shown(self) -> list[dict[str, Any]]:
        """The results, as a step's figures have them."""
        return [{n: r.get(n) for n in SHOWN} for r in self.document["results"]]

    def means(self) -> list[dict[str, Any]]:
        """The means, likewise."""
        return [{n: m.get(n) for n in ("model", "policy", "mean", "task", "f1")} | {"of": len(m["benchmarks"])} for m in self.document["means"]]

    def _sets(self) -> list[RowSet]:
        """The rows of each benchmark, with the tasks that any of its rows has a label for."""
        out = []
        for name in self.asked["benchmark"].unique(maintain_order=True):
            rows = self.asked.filter(pl.col("benchmark") == name)
            tasks = [t for t in self.guard.task_names if rows[f"label_{t}"].null_count() < rows.height]
            about = self.about.get(name, {})
            title, way = str(about.get("title") or name), str(about.get("way") or "recipe")
            out.append(RowSet(name, title, guard_tasks(self.guard, tasks), rows, way, rows.height, about.get("paper")))
        return out

    def _unlabelled(self, of: RowSet) -> str:
        what = f"none of its {of.rows.height:,} rows has a label of a task that guard {self.guard.name!r} judges"
        return f"{of.name}: {what}, and it is not scored"

    def _model(self, name: str) -> dict[str, Any]:
        """What the document says of a model; what a recipe's rows do not say is null."""
        ids = self.first_outputs.filter(pl.col("guard_model") == name)["model_id"].drop_nulls().unique(maintain_order=True).to_list()
        readings = {t.name: t.readings[self.reading] for t in self.guard.tasks if self.reading in t.readings} if self.reading else {}
        unknown = dict.fromkeys(("guard_fingerprint", "backend", "model", "endpoint", "sampling", "prompt", "files"))
        same = {"name": self.names.get(name, name), "guard": self.guard.name, "model_id": ids[0] if len(ids) == 1 else None, "draws": 1}
        return {**same, **unknown, "reading": self.reading if readings else None, "readings": readings or None}

    def _lines(self, parts: Iterable[pl.DataFrame], sets: Sequence[RowSet]) -> Iterator[pl.DataFrame]:
        """The lines of `ROWS`: those of a benchmark for each task that it has labels for."""
        scored = {task: [one.name for one in sets if task in one.tasks] for task in self.guard.task_names}
        for part in parts:
            guard, task = part["guard"][0], part["task"][0]
            first_outputs = self.first_outputs.filter(pl.col("guard_model") == guard).select("output", id="parent", key="output_key")
            whole = pl.concat([part, self.asked.select(*TEXTS)], how="horizontal").join(first_outputs, on="id", how="left", maintain_order="left")
            whole = whole.with_columns(pl.lit(self.names.get(guard, guard)).alias("model"))
            mine = whole.filter(pl.col("benchmark").is_in(scored[task]))
            if mine.height:
                yield mine.select(n for n in ROWS if n in mine.columns)
