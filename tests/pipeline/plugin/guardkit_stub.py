"""Operators of another package, found through the entry point that any package may use; their world is the recipe's folder.

calls.log     every request that was asked, by key: what would have been paid for
faults.json   {prompt: what goes wrong when it is asked about}
pace          seconds that each request takes
luck          what a training happens to come to
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import polars as pl

from toolkit.generation import Completion, Request
from toolkit.guards import Guard
from toolkit.operators import Column, Columns, Config, Context, DatasetOperator, GenerationOperator, RowOperator, mark
from toolkit.operators.base import DETAIL, REASON, Output, StepInput


class LoudConfig(Config):
    mark: str = "!"
    fail_on: str | None = None
    reject: str | None = None


class Loud(RowOperator):
    """Writes the prompt in capitals."""

    name = "loud"
    uses = frozenset()
    config_class = LoudConfig
    config: LoudConfig

    def reads(self, guard: Guard) -> list[str]:
        return ["prompt"]

    def writes(self, guard: Guard) -> list[Column]:
        return [Column("loud", "string")]

    def apply(self, rows: pl.LazyFrame, ctx: Context) -> pl.LazyFrame:
        def shout(text: str) -> str:
            if self.config.fail_on is not None and self.config.fail_on in text:
                raise ValueError(f"cannot shout {text!r}")
            return text.upper() + self.config.mark

        rows = rows.with_columns(pl.col("prompt").map_elements(shout, return_dtype=pl.String).alias("loud"))
        if self.config.reject is not None:
            rows = mark(rows, pl.col("prompt").str.contains(self.config.reject, literal=True), "unwanted", pl.col("prompt"))
        return rows


class UntrueConfig(Config):
    how: Literal["lose", "double", "replace", "move", "drop_marks", "no_column", "null", "outcome", "type", "refuse"]


class Untrue(RowOperator):
    """Breaks what a row operator promises."""

    name = "untrue"
    config_class = UntrueConfig
    config: UntrueConfig

    def writes(self, guard: Guard) -> list[Column]:
        return [Column("more", "string")]

    def apply(self, rows: pl.LazyFrame, ctx: Context) -> pl.LazyFrame:
        from toolkit.common.errors import InputError

        rows = rows if self.config.how == "no_column" else rows.with_columns(pl.lit("x").alias("more"))
        whole = {
            "lose": lambda: rows.slice(1),
            "double": lambda: pl.concat([rows, rows.first()]),
            "replace": lambda: pl.concat([rows.first(), rows.first(), rows.slice(2)]),
            "move": rows.reverse,
            "drop_marks": lambda: rows.drop(REASON),
            "null": lambda: rows.with_columns(pl.lit(None, pl.String).alias("more")),
            "outcome": lambda: mark(rows, pl.lit(True), "why", outcome="vanished"),  # type: ignore[arg-type]
            "type": lambda: rows.with_columns(pl.col("more") + 1),
        }
        if self.config.how == "refuse":
            raise InputError("the rows are of the wrong kind", hint="bring others")
        return whole[self.config.how]() if self.config.how in whole else rows


class Asks:
    """A backend that answers at once, from the recipe's folder."""

    model_id, endpoint, journalled, parallel = "stub", "stub", True, 4

    def __init__(self, world: Path) -> None:
        self.world = world

    def generate(self, requests: Iterator[Request | None]) -> Iterator[Completion]:
        faults = json.loads((self.world / "faults.json").read_text()) if (self.world / "faults.json").exists() else {}
        pace = float((self.world / "pace").read_text()) if (self.world / "pace").exists() else 0.0
        with (self.world / "calls.log").open("ab", buffering=0) as log:
            for request in requests:
                if request is None:
                    continue
                log.write(f"{request.key}\n".encode())
                time.sleep(pace)
                prompt = request.messages[-1][1]
                fault = faults.get(prompt)
                if fault == "surrogate":
                    yield Completion(request.key, f"broken \ud83d answer to {prompt}")
                elif fault is not None and fault != "answer":
                    yield Completion(request.key, None, error=fault, detail=f"scripted for {prompt}")
                else:
                    yield Completion(request.key, f"answer to {prompt} ({request.draw})", finish="stop")

    def close(self) -> None:
        pass


class AskConfig(Config):
    temperature: float = 0.0
    timeout: float = 10.0
    fail_on: str | None = None


class Ask(GenerationOperator):
    """Asks the stub once about each row."""

    name = "ask"
    uses = frozenset({"seed"})
    config_class = AskConfig
    config: AskConfig
    draws = 1

    def reads(self, guard: Guard) -> list[str]:
        return ["id", "prompt"]

    def writes(self, guard: Guard) -> list[Column]:
        return [Column("answer", "string"), Column("parent", "string")]

    def identity(self) -> dict[str, Any]:
        return {"temperature": self.config.temperature, "fail_on": self.config.fail_on}

    def open(self, ctx: Context, inputs: Mapping[str, StepInput]) -> list[tuple[str, Callable[[], Any]]]:
        return [("stub", lambda: Asks(ctx.beside))]

    def requests(self, row: Mapping[str, Any], name: str, backend: Any, ctx: Context) -> list[Request]:
        if self.config.fail_on is not None and self.config.fail_on in row["prompt"]:
            raise ValueError(f"cannot ask about {row['prompt']!r}")
        temperature = self.config.temperature
        return [Request("stub", "stub", (("user", row["prompt"]),), temperature, 1.0, 64, draw=d, row=row["id"]) for d in range(self.draws)]

    def answer(self, row: Mapping[str, Any], name: str, draw: int, request: Request, completion: Completion) -> dict[str, Any]:
        if completion.text is not None and "unreadable" in row["prompt"]:
            raise KeyError("no field")
        return {
            **row,
            "id": f"{row['id']}:{draw}",
            "parent": row["id"],
            "answer": completion.text,
            REASON: completion.error,
            DETAIL: completion.detail,
        }


class AskMany(Ask):
    """Asks the stub three times about each row."""

    name = "ask_many"
    shape = "expand"
    draws = 3

    def factor(self, inputs: Sequence[str]) -> float:
        return 3.0


class Fit(DatasetOperator):
    """A training: what it makes depends on luck."""

    name = "fit"
    shape = "sink"
    deterministic = False
    makes = ("model",)

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        luck = (ctx.beside / "luck").read_text() if (ctx.beside / "luck").exists() else "0"
        (out.folder("model") / "weights").write_text(f"{luck} {inputs['rows'].digest()}")
        out.use(inputs["rows"].rows or 0)
        out.note("loss", os.getpid())


class CountModel(DatasetOperator):
    """Reads a model."""

    name = "count_model"
    shape = "sink"
    inputs = ("rows", "model")
    takes = {"model": "model"}

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        out.stat("letters", len((inputs["model"].artefact("model") / "weights").read_text()))
        out.use(inputs["rows"].rows or 0)


class Guess(DatasetOperator):
    """A guard that says of each row what its model is."""

    name = "guess"
    inputs = ("rows", "model")
    takes = {"model": "model"}
    shape = "one_to_one"
    deterministic = False

    def writes(self, guard: Guard) -> list[Column]:
        return [Column("guess", "string")]

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        model = (inputs["model"].artefact("model") / "weights").read_text()
        for rows in inputs["rows"].blocks():
            out.keep(rows.with_columns(pl.lit(model).alias("guess")))


class FindHard(DatasetOperator):
    """Keeps as many rows as `hard.json` says for its step."""

    name = "find_hard"
    shape = "select"

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        n = json.loads((ctx.beside / "hard.json").read_text())[ctx.step]
        for rows in inputs["rows"].blocks():
            out.keep(rows[:n])
            out.set_aside(rows[n:], "easy")
            n = max(0, n - rows.height)


class FitOn(DatasetOperator):
    """A training that goes on from another's model."""

    name = "fit_on"
    shape = "sink"
    inputs = ("rows", "model")
    takes = {"model": "model"}
    deterministic = False
    makes = ("model",)

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        if not inputs["rows"].rows:
            raise AssertionError("nothing to train on")
        before = (inputs["model"].artefact("model") / "weights").read_text()
        (out.folder("model") / "weights").write_text(f"{before}, then {inputs['rows'].rows} rows")
        out.use(inputs["rows"].rows or 0)


class UnevenConfig(Config):
    lose: int = 0
    double: int = 0


class _Uneven(DatasetOperator):
    """Does as its shape says, and forgets or repeats rows."""

    config_class = UnevenConfig
    config: UnevenConfig

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        for rows in inputs["rows"].blocks():
            some = pl.concat([rows[self.config.lose :], rows[: self.config.double]])
            third = max(1, some.height // 3)
            out.reject(some[:third], "first_third", "one of the first")
            self.rest(some[third:], third, out)

    def rest(self, rows: pl.DataFrame, n: int, out: Output) -> None:
        """What becomes of the rows that are not rejected."""
        out.keep(rows)


class UnevenOneToOne(_Uneven):
    name, shape = "uneven_one_to_one", "one_to_one"


class UnevenSelect(_Uneven):
    name, shape = "uneven_select", "select"

    def rest(self, rows: pl.DataFrame, n: int, out: Output) -> None:
        out.set_aside(rows[:n], "second_third")
        out.keep(rows[n:])


class UnevenMerge(_Uneven):
    name, shape = "uneven_merge", "merge"

    def rest(self, rows: pl.DataFrame, n: int, out: Output) -> None:
        out.merge(rows[:n].with_columns(pl.lit(rows["id"][-1]).alias("survivor")), pl.col("survivor"))
        out.keep(rows[n:])


def _children(rows: pl.DataFrame) -> pl.DataFrame:
    """Each row as a child of the row that it is, with an id of its own."""
    nth = pl.int_range(pl.len()).over("id")
    return rows.with_columns(pl.col("id").alias("parent"), pl.format("{}:{}", "id", nth).alias("id"))


class _Children(_Uneven):
    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        return {**super().columns(inputs, guard), "parent": Column("parent", "string")}


class UnevenExpand(_Children):
    name, shape = "uneven_expand", "expand"

    def factor(self, inputs: Sequence[str]) -> float:
        return 2.0

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        for rows in inputs["rows"].blocks():
            twice = pl.concat([rows, rows[self.config.lose :], rows[: self.config.double]])
            out.keep(_children(twice))


class UnevenPick(_Children):
    name, shape = "uneven_pick", "pick"

    def rest(self, rows: pl.DataFrame, n: int, out: Output) -> None:
        out.set_aside(rows[:n], "childless")
        out.keep(_children(pl.concat([rows[n:], rows[n : n + 2]])))  # two of them have a second child


class UnevenSink(_Uneven):
    name, shape = "uneven_sink", "sink"

    def rest(self, rows: pl.DataFrame, n: int, out: Output) -> None:
        out.use(rows.height)


class UnevenSource(_Uneven):
    name, shape, inputs = "uneven_source", "source", ()

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        return {"id": Column("id", "string")}

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        out.count_in(9)
        rows = pl.DataFrame({"id": [str(i) for i in range(9)]})
        out.reject(rows[:2].select(pl.col("id").alias("raw")), "torn")
        out.set_aside(rows[2:4], "filtered")
        out.keep(pl.concat([rows[4 + self.config.lose :], rows[: self.config.double]]))


class Orphans(DatasetOperator):
    """Makes children that name no parent."""

    name, shape = "orphans", "pick"

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        raise AssertionError("never runs: the recipe is refused")
