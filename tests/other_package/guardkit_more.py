"""A package of somebody else's: a hosted backend, operators with a figure, a kind of shards, a section of the card, an exporter, a trainer.

Each call of the backend is a line in ``calls.log`` of the working folder: what would have been paid for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict

from toolkit.generation import BackendConfig, BaseBackendConfig, Completion, Opening, Price, Request, Sampling, build_request
from toolkit.guards import Guard
from toolkit.operators import Column, Columns, Config, Context, GenerationOperator, RowOperator
from toolkit.operators.base import DETAIL, REASON
from toolkit.operators.figures import Figure, Finished, Table, stat
from toolkit.shards import ShardKind, markdown_table, plain
from toolkit.shards.exporters import Format, Made
from toolkit.training import Begin, Progress, Trainer, new_model

if TYPE_CHECKING:
    from toolkit.generation import Backend


class EchoConfig(Sampling, BaseBackendConfig):
    """A hosted model that says everything again."""

    backend: Literal["echo"]
    model: str
    """Its name there."""
    site: str = "https://echo.example"
    """Where it is."""
    tone: str = "plainly"
    """How it says things."""
    pause: float = 0.0
    """Seconds between two requests."""
    price: Price | None = None
    """What it charges."""

    not_in_key: ClassVar[Mapping[str, str]] = {
        **BaseBackendConfig.not_in_key,
        "site": "part of the key as endpoint",
        "pause": "how long we wait does not change the answer",
    }

    @property
    def endpoint_name(self) -> str:
        return self.site

    def open(self, at: Opening) -> Backend:
        return Echo(self)


class ParrotConfig(Sampling, BaseBackendConfig):
    """A model of a folder here."""

    runs_here: ClassVar[bool] = True

    backend: Literal["parrot"]
    model: str
    """Its folder."""
    feathers: int = 1
    """How many."""


class Echo:
    """Answers at once."""

    journalled, parallel = True, 4

    def __init__(self, config: EchoConfig) -> None:
        self.model_id, self.endpoint, self._tone = config.model, config.endpoint_name, config.tone

    def generate(self, requests: Iterator[Request | None]) -> Iterator[Completion]:
        for request in requests:
            if request is not None:
                with Path("calls.log").open("a") as log:
                    log.write(f"{request.key}\n")
                text = f"{self._tone}: {request.messages[-1][1]}"
                read, written = len(request.messages[-1][1]) // 4, len(text) // 4
                yield Completion(request.key, text, finish="stop", prompt_tokens=read, completion_tokens=written)

    def close(self) -> None:
        pass


class RepeatConfig(Config):
    """Options of `repeat`."""

    backend: BackendConfig
    """Who says it again."""


class Repeat(GenerationOperator):
    """Has each prompt rephrased, into the column `again`."""

    name = "repeat"
    uses = frozenset()
    config_class = RepeatConfig
    example = {"backend": {"backend": "echo", "model": "small"}}
    figures = (
        Figure("tones", "answers by how they begin", stat("tones")),
        Figure(
            "spoken",
            "rows that were said again",
            lambda step: step.counts["kept"],
            lambda step, figure, value: [Table(f"Said again (at last {step.step})", ("what",), ("rows",), [["prompts", value]])],
            whole="sum",
        ),
    )
    config: RepeatConfig

    def reads(self, guard: Guard) -> list[str]:
        return ["id", "prompt"]

    def writes(self, guard: Guard) -> list[Column]:
        return [Column("again", "string")]

    def requests(self, row: Mapping[str, Any], name: str, backend: Backend, ctx: Context) -> list[Request]:
        self._tones = getattr(self, "_tones", Counter())
        return [build_request(backend, self.config.backend, [{"role": "user", "content": row["prompt"]}], row=row["id"])]

    def answer(self, row: Mapping[str, Any], name: str, draw: int, request: Request, completion: Completion) -> dict[str, Any]:
        self._tones[(completion.text or "").partition(":")[0]] += 1
        return {**row, "again": completion.text or "", REASON: completion.error, DETAIL: completion.detail}

    def stats(self) -> dict[str, Any]:
        return {"tones": dict(sorted(self._tones.items()))}


class RateConfig(Config):
    """Options of `rate`."""

    rating: int = 3
    """The same for all."""


class Rate(RowOperator):
    """Rows as the kind `rated` has them."""

    name = "rate"
    config_class = RateConfig
    config: RateConfig

    def reads(self, guard: Guard) -> list[str]:
        return ["id", "prompt", "again", "source", "licence", "split"]

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        have = super().columns(inputs, guard)
        new = {"completion": Column("completion", "string"), "rating": Column("rating", "int64")}
        return {n: have[n] for n in ("id", "prompt", "source", "licence", "split")} | new

    def apply(self, rows: pl.LazyFrame, ctx: Context) -> pl.LazyFrame:
        return rows.with_columns(pl.col("again").alias("completion"), pl.lit(self.config.rating, pl.Int64).alias("rating"))


def _broken(step: Finished) -> Any:
    raise KeyError("no such thing")


class Clumsy(Rate):
    """As `rate`, with a figure that cannot be made."""

    name = "clumsy"
    figures = (Figure("broken", "what is not there", _broken), Figure("fine", "rows that are there", lambda step: step.rows))


RATED = ShardKind(
    "rated",
    "rated answers",
    ("completion",),
    ("rating",),
    lambda: {"a rating that is not from 1 to 5": ~pl.col("rating").is_between(1, 5)},
)


def ratings(manifest: Mapping[str, Any]) -> list[str]:
    """What the ratings mean."""
    rows = [["1", "of no use"], ["5", plain("as good | as can be")]]
    return ["## Ratings", "", *markdown_table(["rating", "meaning"], rows, marked=True)]


class CountOptions(BaseModel):
    """What the trainer `count` is given."""

    model_config = ConfigDict(extra="forbid")
    seed: int = 0


def _count(shards: Path, out: Path, config: CountOptions, on_progress: Progress | None, on_begin: Begin | None) -> dict[str, Any]:
    if on_begin is not None:
        on_begin({"seed": config.seed, "way": "by hand"})
    with new_model(out, shards) as new:
        (new / "config.json").write_text("{}")
    return {"rows": sum(pl.read_parquet(file).height for file in (shards / "data").glob("*.parquet")), "seed": config.seed}


COUNT = Trainer("count", CountOptions, _count)


class Stars(Format):
    """``<split>.jsonl`` of prompt, completion and stars."""

    name = "stars"
    doc = "https://stars.example/format"
    kinds = ("rated",)

    def convert(self, rows: pl.DataFrame, split: str, start: int) -> list[Made]:
        made = rows.select("prompt", "completion", pl.lit("*").repeat_by("rating").list.join("").alias("stars"))
        return [Made("default", split, f"{split}.jsonl", made)]
