"""Operator `load_predictions`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import Field

from toolkit.common.errors import InputError, did_you_mean
from toolkit.guards import Guard, parse, unknown_label, without_tokens
from toolkit.operators.base import Columns, Context, DatasetOperator, Output, StepInput
from toolkit.operators.ingest._intake import Intake, IntakeConfig
from toolkit.records import content_id, load_record, row_id, to_polars
from toolkit.sources import Fault, read_blocks, split_released_input

BLOCK = 4096


class LoadPredictionsConfig(IntakeConfig):
    """Options of `load_predictions`."""

    files: dict[str, str] = Field(min_length=1)
    """For each guard the file of what it wrote, or a folder of such files: JSON Lines of {prompt, label, predict}, `prompt` being the guard's whole
    input, as it is or as a chat template wraps it."""
    task: str
    """The task that `label` is for; the rows' other labels are absent."""
    label_source: Literal["human", "vote", "consensus", "reviewed", "written", "inferred"] = "human"
    """Who gave the labels."""


class LoadPredictions(DatasetOperator):
    """Read what guards wrote on the same rows, in the released GuardReasoner layout, as generations (one draw of each guard).

    Rows of several files are the same row when their input is (the n-th with that input, where one repeats). A label that is no label of
    the task, an input that is not of the guard's form, or a label that contradicts an earlier file's, costs that row (`unknown_label`,
    `not_this_guard`, `conflicting_labels`). A file without a row that can be used, or that shares none with the first, stops the run; how
    many rows a file lacks stands in the step's figures. Memory: about 300 bytes per row, for ids and labels.
    """

    name = "load_predictions"
    version = 3
    shape = "source"
    inputs = ()
    config_class = LoadPredictionsConfig
    example = {"files": {"1B": "1B.jsonl", "8B": "8B.jsonl"}, "task": "prompt"}
    uses = frozenset({"guard.tasks", "guard.input", "guard.output"})
    config: LoadPredictionsConfig

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        if self.config.task not in guard.task_names:
            raise InputError(f"the guard {guard.name!r} has no task {self.config.task!r}", hint=did_you_mean(self.config.task, guard.task_names))
        return {c.name: c for c in load_record("generation", guard.task_names).columns}

    def _paths(self, name: str, ctx: Context) -> list[Path]:
        """The files of a guard: the one that is named, or those of JSON Lines in the folder."""
        given = self.config.files[name]
        if (folder := ctx.roots.first(given, Path.is_dir)) is None:
            return [ctx.roots.file(given)]
        found = sorted(p for p in folder.rglob("*") if p.is_file() and p.name.lower().removesuffix(".gz").endswith((".jsonl", ".ndjson")))
        if not found:
            raise InputError("no JSON Lines in this folder", where=str(folder))
        ctx.roots.saw(*found)
        return found

    def identity(self) -> dict[str, Any]:
        return {"task": self.config.task, "label_source": self.config.label_source, "names": list(self.config.files)}

    def files(self, ctx: Context) -> dict[str, str]:
        out: dict[str, str] = {}
        by_place: dict[Path, str] = {}
        for name, given in self.config.files.items():
            paths = self._paths(name, ctx)
            for i, path in enumerate(paths):
                if (other := by_place.setdefault(path.resolve(), name)) != name:
                    raise InputError(f"{other!r} and {name!r} are the same file: one guard would count twice", where=str(path))
                out[name if len(paths) == 1 and ctx.roots.first(given, Path.is_file) else f"{name}/{i:05d}/{path.name}"] = ctx.files.digest(path)
        return out

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        labels: dict[str, str] = {}
        read: dict[str, set[str]] = {}
        for name in self.config.files:
            seen: dict[str, int] = {}
            read[name] = set()
            for path in self._paths(name, ctx):
                read[name] |= self._read(name, path, seen, labels, out, ctx)
        first, *others = read
        for name in others:
            if not read[first] & read[name]:
                message = f"no row of {name!r} is a row of {first!r}: guards are compared on the same rows"
                raise InputError(message, where=str(self._paths(name, ctx)[0]), hint=f"{first!r} is {self._paths(first, ctx)[0]}")
        out.stat("rows", len(labels))
        out.stat("missing", {name: len(labels) - len(rows) for name, rows in read.items()})

    def _read(self, name: str, path: Path, seen: dict[str, int], labels: dict[str, str], out: Output, ctx: Context) -> set[str]:
        """Read one guard's file; the ids of its rows. `seen`: how often each text has been there in its files."""
        types = to_polars(load_record("generation", ctx.guard.task_names).columns)
        parents: set[str] = set()
        intake = Intake(f"{name!r}, {path.name}")
        rows = 0
        for block in read_blocks(path, "jsonl", ["prompt", "label", "predict"], BLOCK, ctx.files):
            out.count_in(len(block))
            good, bad = [], []
            for number, raw in enumerate(block, rows):
                found = self._row(name, number, raw, seen, labels, ctx)
                if isinstance(found, Fault):
                    bad.append((found.reason, found.detail, "rejected"))
                    out.reject(pl.DataFrame({"raw": [found.text]}), found.reason, f"{path.name}, row {number + 1}: {found.detail}")
                else:
                    good.append(found)
            parents.update(g["parent"] for g in good)
            kept = pl.DataFrame(good, schema=types, orient="row")
            intake.add(kept, pl.DataFrame(bad, schema=("reason", "detail", "outcome"), orient="row"))
            out.keep(kept)
            rows += len(block)
            ctx.progress(rows, None, name)
        if not rows:
            raise InputError("no rows", where=str(path))
        try:
            intake.check(self.config, ctx.step)
        except InputError as e:
            raise InputError(e.message, where=e.where, hint=self._fitting(path, ctx) or e.hint) from None
        return parents

    def _fitting(self, path: Path, ctx: Context) -> str | None:
        """Which other tasks the labels of a file fit, where they do not fit this one."""
        fit: Counter[str] = Counter()
        for raw in next(iter(read_blocks(path, "jsonl", ["prompt", "label", "predict"], BLOCK)), []):
            said = raw.get("label") if isinstance(raw, dict) else None
            fit.update(t.name for t in ctx.guard.tasks if isinstance(said, str) and _label(said, t.name, ctx.guard) is not None)
        mine = fit.pop(self.config.task, 0)
        better = [f"task {t!r} ({n:,} rows)" for t, n in fit.most_common() if n > mine]
        return f"the labels fit the {' or the '.join(better)}; say so with --task (task in a recipe)" if better else None

    def _row(
        self, name: str, number: int, raw: Mapping[str, Any] | Fault, seen: dict[str, int], labels: dict[str, str], ctx: Context
    ) -> dict[str, Any] | Fault:
        """A generation, or why the row cannot be one."""
        if isinstance(raw, Fault):
            return raw
        guard, task = ctx.guard, ctx.guard.task(self.config.task)
        shown = json.dumps(raw, ensure_ascii=False, default=str)
        for key in ("prompt", "label", "predict"):
            if not isinstance(raw.get(key), str):
                return Fault("missing_key" if key not in raw else "wrong_type", f"{key} is no text", shown)
        try:
            prompt, response = split_released_input(raw["prompt"], guard)
        except InputError as e:
            return Fault("not_this_guard", e.message, shown)
        label = _label(raw["label"], task.name, guard)
        if label is None:
            return Fault("unknown_label", unknown_label(raw["label"], task.labels), shown)
        content = content_id([], prompt, response)
        nth = seen[content] = seen.get(content, -1) + 1
        parent = row_id("predictions", content, nth)
        if labels.setdefault(parent, label) != label:
            return Fault("conflicting_labels", f"the label is {label}, an earlier file says {labels[parent]}", shown)
        return self._generation(name, number, raw["predict"], (prompt, response), label, content, parent, guard)

    def _generation(
        self, name: str, number: int, output: str, said: tuple[str, str | None], label: str, content: str, parent: str, guard: Guard
    ) -> dict[str, Any]:
        prompt, response = said
        row: dict[str, Any] = {
            "id": f"{parent}:{name}:0",
            "content_id": content,
            "context": [],
            "prompt": prompt,
            "response": response,
            "categories": [],
            "votes": [],
            "source": "predictions",
            "source_row": number,
            "licence": "unknown",
            "language": None,
            "group": content_id([], prompt, None),
            "split": None,
            "parent": parent,
            "guard_model": name,
            "model_id": name,
            "draw": 0,
            "output": output,
            "output_key": "",
            "finish": None,
            "error": None,
        }
        for t in guard.tasks:
            own = t.name == self.config.task
            row[f"label_{t.name}"] = label if own else None
            gone = "not_applicable" if t.applies == "response" and response is None else "absent"
            row[f"label_{t.name}_source"] = self.config.label_source if own else gone
        return row


def _label(said: str, task: str, guard: Guard) -> str | None:
    """The label of a task: a plain word, or one in an answers block."""
    word = without_tokens(said)
    return word if word in guard.task(task).labels else parse(guard, said).labels[task]
