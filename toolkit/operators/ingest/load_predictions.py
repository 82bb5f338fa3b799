"""Operator `load_predictions`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from toolkit.common.errors import InputError, did_you_mean
from toolkit.guards import Guard, check_reading
from toolkit.operators.base import Columns, Context, DatasetOperator, Output, Referred, StepInput
from toolkit.operators.ingest._prediction_figures import PREDICTED
from toolkit.operators.ingest._prediction_files import Part, check_copies, equal_files, parts_of
from toolkit.operators.ingest._prediction_layouts import layouts, sample_layout
from toolkit.operators.ingest._prediction_options import LoadPredictionsConfig
from toolkit.operators.ingest._predictions import FILE, Predictions
from toolkit.records import Column, load_record
from toolkit.sources import expand_files, known_columns


class LoadPredictions(DatasetOperator):
    """Read what guards wrote on the same rows, as generations.

    Rows of several files are the same row when their ids are, where there is a file of samples, the ids' column is named or there is no prompt;
    else when their input is (the n-th with that input, where one repeats). A label that is no label of the task, an input that is not of the
    guard's form, a label that contradicts an earlier file's, an id that no sample has, or a draw that was there before, costs that row
    (`unknown_label`, `not_this_guard`, `conflicting_labels`, `unknown_id`, `draw_repeated`). A file without a row that can be used, or a guard
    that shares none with the first, stops the run; how many rows a guard lacks, and how many have fewer draws than it has, is in the step's
    figures. Memory: about 200 bytes per row and a byte for each of its draws, for ids and labels.
    """

    name = "load_predictions"
    version = 3
    shape = "source"
    inputs = ()
    config_class = LoadPredictionsConfig
    figures = PREDICTED
    example = {"files": {"1B": "1B.jsonl", "8B": "8B.jsonl"}, "task": "prompt"}
    uses = frozenset({"guard.tasks", "guard.input", "guard.output", "guard.readings"})
    config: LoadPredictionsConfig

    def used(self) -> frozenset[str]:
        return self.uses if self.config.reading is not None else self.uses - {"guard.readings"}

    @property
    def _refers(self) -> bool:
        return self.config.texts == "reference"

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        c = self.config
        if c.task is not None and c.task not in guard.task_names:
            raise InputError(f"the guard {guard.name!r} has no task {c.task!r}", hint=did_you_mean(c.task, guard.task_names))
        if c.reading is not None:
            check_reading(guard, c.reading)
            if c.read is None and not self._refers:
                raise InputError("a reading is of outputs that are read", hint="read: lenient, or read: strict")
        known = [*known_columns(guard.task_names), *(["sample_id"] if c.samples is not None else [])]
        if odd := next((key for key in c.columns if key not in known), None):
            raise InputError(f"nothing is called {odd!r}", hint=did_you_mean(odd, known))
        if not self._refers:
            record = "generation" if c.read is None else "verdict"
            return {one.name: one for one in load_record(record, guard.task_names).columns}
        where = [*FILE, *([Column("sample", "int64", doc="its row in the file of samples")] if c.samples is not None else [])]
        return {one.name: one for one in (*load_record("judged", guard.task_names).columns, *where)}

    def refers(self, guard: Guard) -> list[Column]:
        from toolkit.operators.ingest._prediction_texts import by_reference

        return by_reference(guard) if self._refers else []

    def referred(self, ctx: Context) -> Referred:
        from toolkit.operators.ingest._prediction_texts import PredictionTexts

        c = self.config
        of = partial(layouts, self._parts(ctx), c, ctx)
        return PredictionTexts(of, partial(sample_layout, self._sample(ctx), c, ctx), ctx.guard, c.label_source, ctx.files, by_id=c.by_id)

    def identity(self) -> dict[str, Any]:
        c = self.config
        out: dict[str, Any] = {"task": c.task, "label_source": c.label_source, "names": list(c.files)}
        more = {
            "columns": c.columns or None,
            "read": c.read,
            "reading": c.reading,
            "texts": c.texts if self._refers else None,
            "samples": c.samples is not None or None,
        }
        return out | {name: value for name, value in more.items() if value is not None}

    def _parts(self, ctx: Context) -> Sequence[Part]:
        return parts_of(self.config.files, ctx.roots)

    def _sample(self, ctx: Context) -> Path | None:
        """The file of samples."""
        if (given := self.config.samples) is None:
            return None
        found = expand_files([given], ctx.roots)
        if len(found) != 1:
            raise InputError(f"the samples are {len(found)} files", where=given, hint="name one file: ids are those of one list of rows")
        return found[0]

    def files(self, ctx: Context) -> dict[str, str]:
        parts, sample = self._parts(ctx), self._sample(ctx)
        kind: Literal["sha256", "pieces"] = "pieces" if self._refers else "sha256"
        out = {part.name: ctx.files.digest(part.path, kind) for part in parts}
        check_copies(parts, out)
        return out if sample is None else out | {f"samples/{sample.name}": ctx.files.digest(sample, kind)}

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        parts = self._parts(ctx)
        Predictions(self.config, parts, self._sample(ctx), out, ctx, self.referred(ctx)).run()
        if equal := equal_files(parts, self.files(ctx)):
            out.stat("equal_files", equal)
