"""Stand-ins for a training and for the sampling of what it made: they read what the real ones read, and take no time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from toolkit.common.files import digest, sha256_file
from toolkit.guards import Guard, Reasoning, render_input, render_output
from toolkit.operators import Columns, Config, Context, DatasetOperator
from toolkit.operators.base import Output, StepInput
from toolkit.records import child_id, load_record
from toolkit.shards import read_manifest


class Drill(DatasetOperator):
    """A training on shards: the model is a file that says what it was trained on."""

    name = "drill"
    shape = "sink"
    inputs = ("shards", "*")
    takes = {"shards": "shards", "*": "model"}
    deterministic = False
    uses = frozenset({"seed"})
    makes = ("model",)

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        shards = inputs["shards"].artefact("shards")
        luck = (ctx.beside / "luck").read_text() if (ctx.beside / "luck").exists() else "0"
        manifest = read_manifest(shards)
        start = [(i.artefact("model") / "weights").read_text() for name, i in inputs.items() if name != "shards"]
        read = [luck, manifest["guard_input"], *(sha256_file(shards / name) for name in manifest["files"]), *start]
        (out.folder("model") / "weights").write_text(digest(read))
        with (ctx.beside / "trained.log").open("a") as log:
            log.write(f"{ctx.step}\n")
        out.count_in(manifest["rows"])
        out.use(manifest["rows"])


class ParrotConfig(Config):
    blind: bool = False


class Parrot(DatasetOperator):
    """Samples a guard that answers right, then wrong on the first task; a blind one has no eye for labels and is in doubt about some gardens."""

    name = "parrot"
    shape = "expand"
    inputs = ("rows", "*")
    takes = {"*": "model"}
    deterministic = False
    uses = frozenset({"guard.tasks", "guard.input", "guard.output"})
    config_class = ParrotConfig
    config: ParrotConfig

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        super().columns(inputs, guard)
        return {c.name: c for c in load_record("generation", guard.task_names).columns}

    def factor(self, inputs: Sequence[str]) -> float:
        return 2.0 * (len(inputs) - 1)

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        models = {name: (i.artefact("model") / "weights").read_text()[:8] for name, i in inputs.items() if name != "rows"}
        for block in inputs["rows"].blocks():
            asked = [(row, name, draw) for row in block.iter_rows(named=True) for name in models for draw in (0, 1)]
            rows = [self._answer(row, name, draw, models[name], ctx.guard) for row, name, draw in asked]
            out.keep(pl.DataFrame(rows, schema_overrides=block.schema, infer_schema_length=None))

    def _answer(self, row: Mapping[str, object], name: str, draw: int, model: str, guard: Guard) -> dict[str, object]:
        labels = {t.name: row[f"label_{t.name}"] for t in guard.tasks}
        first = guard.tasks[0]
        if self.config.blind:
            labels = {"prompt": "unharmful", "refusal": "compliance", "response": "unharmful"}
        if draw and (not self.config.blind or int("".join(filter(str.isdigit, str(row["prompt"])))) % 3 == 0):
            labels[first.name] = next(w for w in first.labels if w != labels[first.name])
        stated = {t.name: Reasoning(["It is about a garden and what grows in it."], "Nothing else is there.") for t in guard.tasks}
        parent = str(row["id"])
        asked = digest([render_input(guard, row), model, draw])
        output = {"guard_model": name, "model_id": model, "draw": draw, "output": render_output(guard, stated, labels)}  # type: ignore[arg-type]
        return {**row, "id": child_id(parent, name, draw), "parent": parent, **output, "output_key": asked, "finish": "stop", "error": None}
