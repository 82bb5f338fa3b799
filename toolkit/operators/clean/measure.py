"""Operator `measure`: attributes of rows as columns, on which a later `select` sets thresholds.

It drops nothing. Its rows always get a folder, so that a threshold can move without anything being measured again. Measured text is data: nothing in
it is interpreted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import Field, model_validator

from toolkit.common.errors import InputError
from toolkit.common.reach import HubName
from toolkit.generation import TemplateArguments
from toolkit.guards import Guard, input_columns, render_input, sections
from toolkit.operators._language import identify, language_needs
from toolkit.operators._tokens import TokenCounter, identity_of, tokenizer_files, tokenizer_needs
from toolkit.operators.base import Columns, Config, Context, RowOperator
from toolkit.records import Column, to_polars

Name = Literal["chars", "words", "letters", "repeated", "language", "tokens", "steps", "step_chars", "copied", "example_tokens"]
OF_TEXTS = ("chars", "words", "letters", "repeated", "language", "tokens")
"""Measures of each of the texts; the others are of the row."""
WORD = re.compile(r"\w+")


class MeasureConfig(Config):
    """Options of `measure`."""

    measures: list[Name] = Field(["chars", "words", "steps", "step_chars", "repeated", "copied"], min_length=1)
    """What to store. Of each of `texts`, as `<measure>_<text>`: `chars` (Unicode characters), `words` (runs without white space), `letters` (share
    of the characters, white space aside, that are letters or their marks), `repeated` (share of the n-grams of words that stood earlier in the same
    text), `language` (the likeliest, and `language_<text>_sure`, from 0 to 1; extra `language`), `tokens` (without special tokens; needs `model`). Of
    the row: `steps` (reasoning steps over all tasks), `step_chars` (mean characters of a step), `copied_prompt` and `copied_response` by `copied`
    (share of the reasoning's n-grams that are there), `example_tokens` (prompt and completion as supervised training reads them; needs `model`)."""
    texts: list[str] = Field(["reasoning"], min_length=1)
    """Text columns that are measured: `prompt`, `response`, `reasoning`, … A missing text has no measures (null)."""
    ngram: int = Field(4, ge=1)
    """Words of an n-gram, in lower case and without punctuation. A text of fewer words has none: nothing is repeated or copied then."""
    model: Annotated[str | None, HubName("tokenizer")] = None
    """Folder (relative to the recipe) or hub name of the model whose tokenizer counts."""
    chat_template: str | None = None
    """For `example_tokens`, as in `train_sft`; default: the tokenizer's own."""
    chat_template_kwargs: TemplateArguments = Field(default_factory=dict)
    """For `example_tokens`, as in `train_sft`."""
    format: Literal["messages", "text"] = "messages"
    """For `example_tokens`, as in `render_sft`."""

    @model_validator(mode="after")
    def _counts_by(self) -> MeasureConfig:
        if self.model is None and {"tokens", "example_tokens"} & set(self.measures):
            raise ValueError("tokens are counted by the tokenizer of a model: give `model`")
        return self


class Measure(RowOperator):
    """Store attributes of each row as columns: lengths, tokens, steps, repetition, copying, language, letters.

    Thresholds belong to a `select` right before the rows are rendered: moving one then makes anew only that step and what follows, and each row that
    it sets aside keeps its values. A row operator of your own that stores a column does as well. Time a row of 2,000 characters of reasoning:
    about 0.25 ms for the default measures, 0.5 ms for `language`.
    """

    name = "measure"
    row_local = True
    carries_media = True
    config_class = MeasureConfig
    example = {"measures": ["chars", "steps", "repeated"], "texts": ["reasoning"]}
    uses = frozenset({"guard.tasks", "guard.input", "guard.output"})
    config: MeasureConfig

    def used(self) -> frozenset[str]:
        wanted = set(self.config.measures)
        read = {"guard.input"} if "example_tokens" in wanted else set()
        return frozenset(read | ({"guard.tasks", "guard.output"} if wanted & {"steps", "step_chars"} else set()))

    @property
    def stored(self) -> bool:
        return True

    def reads(self, guard: Guard) -> list[str]:
        c = self.config
        found = c.texts if set(c.measures) & set(OF_TEXTS) else []
        for measures, columns in (
            (("steps", "step_chars", "copied"), ["reasoning"]),
            (("copied",), ["prompt", "response"]),
            (("example_tokens",), ["context", "prompt", "response", "reasoning"]),
        ):
            found = [*found, *(columns if set(measures) & set(c.measures) else [])]
        return list(dict.fromkeys(found))

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        have = inputs.get("rows", {})
        out = super().columns(inputs, guard)
        for name in self.config.texts:
            if name in have and have[name].type != "string":
                raise InputError(f"measure.texts names text columns, and {name!r} holds {have[name].type}")
        return out

    def writes(self, guard: Guard) -> list[Column]:
        of_text: dict[str, list[tuple[str, str]]] = {
            "chars": [("chars_{}", "int64")],
            "words": [("words_{}", "int64")],
            "letters": [("letters_{}", "float64")],
            "repeated": [("repeated_{}", "float64")],
            "language": [("language_{}", "string"), ("language_{}_sure", "float64")],
            "tokens": [("tokens_{}", "int64")],
        }
        of_row = {
            "steps": [("steps", "int64")],
            "step_chars": [("step_chars", "float64")],
            "copied": [("copied_prompt", "float64"), ("copied_response", "float64")],
            "example_tokens": [("example_tokens", "int64")],
        }
        out = []
        for measure in dict.fromkeys(self.config.measures):
            texts = self.config.texts if measure in of_text else [""]
            out += [Column(n.format(t), kind, nullable=True) for t in texts for n, kind in (of_text | of_row)[measure]]
        return out

    def needs(self, ctx: Context) -> list[str]:
        wanted = set(self.config.measures)
        return (tokenizer_needs() if wanted & {"tokens", "example_tokens"} else []) + (language_needs() if "language" in wanted else [])

    def identity(self) -> dict[str, Any]:
        return identity_of(self.config)

    def files(self, ctx: Context) -> dict[str, str]:
        return tokenizer_files(self.config.model, ctx) if self.config.model is not None else {}

    def apply(self, rows: pl.LazyFrame, ctx: Context) -> pl.LazyFrame:
        c = self.config
        wanted = list(dict.fromkeys(c.measures))
        for text in c.texts:
            for measure in wanted:
                if measure in OF_TEXTS:
                    rows = rows.with_columns(self._of_text(measure, text, ctx))
        if {"steps", "step_chars"} & set(wanted):
            rows = rows.with_columns(_mapped(["reasoning"], lambda r: _steps(ctx.guard, r["reasoning"]), {"steps": "int64", "step_chars": "float64"}))
            rows = _unpacked(rows, [n for n in ("steps", "step_chars") if n in wanted])
        if "copied" in wanted:
            kinds = {"copied_prompt": "float64", "copied_response": "float64"}
            rows = rows.with_columns(_mapped(["reasoning", "prompt", "response"], lambda r: _copied(r, c.ngram), kinds))
            rows = _unpacked(rows, list(kinds))
        if "example_tokens" in wanted:
            rows = rows.with_columns(self._example_tokens(ctx, input_columns(ctx.guard, rows.collect_schema().names())))
        return rows

    def _of_text(self, measure: Name, text: str, ctx: Context) -> list[pl.Expr]:
        column = pl.col(text)
        if measure == "chars":
            return [column.str.len_chars().cast(pl.Int64).alias(f"chars_{text}")]
        if measure == "words":
            return [column.str.count_matches(r"\S+").cast(pl.Int64).alias(f"words_{text}")]
        if measure == "letters":
            seen = column.str.replace_all(r"\s+", "").str.len_chars()  # quicker than counting matches of single characters
            return [pl.when(seen > 0).then(column.str.replace_all(r"[^\p{L}\p{M}]+", "").str.len_chars() / seen).alias(f"letters_{text}")]
        if measure == "repeated":
            n = self.config.ngram
            return [column.map_elements(lambda t: repeated(t, n), return_dtype=pl.Float64).alias(f"repeated_{text}")]
        if measure == "tokens":
            counter = TokenCounter(str(self.config.model), ctx.roots)
            return [_batched(column, counter.texts).alias(f"tokens_{text}")]
        kinds = pl.Struct({"tag": pl.String, "sure": pl.Float64})
        found = column.map_elements(lambda t: dict(zip(("tag", "sure"), identify(t), strict=True)), return_dtype=kinds).struct
        return [found.field("tag").alias(f"language_{text}"), found.field("sure").alias(f"language_{text}_sure")]

    def _example_tokens(self, ctx: Context, texts: list[str]) -> pl.Expr:
        c = self.config
        counter = TokenCounter(str(c.model), ctx.roots, c.chat_template, c.chat_template_kwargs)

        def count(rows: Sequence[dict[str, Any]]) -> list[int | None]:
            whole = [(render_input(ctx.guard, r), r["reasoning"]) for r in rows if r["reasoning"] is not None]
            counts = iter(counter.examples(whole, chat=c.format == "messages"))
            return [None if r["reasoning"] is None else next(counts) for r in rows]

        return _batched(pl.struct(*texts, "reasoning"), count).alias("example_tokens")


def _batched(column: pl.Expr, count: Any) -> pl.Expr:
    """A whole number for each row, of a block at a time."""
    return column.map_batches(lambda s: pl.Series(count(s.to_list()), dtype=pl.Int64), return_dtype=pl.Int64, is_elementwise=True)


def _mapped(columns: list[str], measure: Any, kinds: dict[str, str]) -> pl.Expr:
    """What `measure` says of each row, as the column ``_measured``."""
    types = to_polars(tuple(Column(n, kind, nullable=True) for n, kind in kinds.items()))
    return pl.struct(columns).map_elements(measure, return_dtype=pl.Struct(types)).alias("_measured")


def _unpacked(rows: pl.LazyFrame, names: list[str]) -> pl.LazyFrame:
    return rows.with_columns(pl.col("_measured").struct.field(n).alias(n) for n in names).drop("_measured")


def _steps(guard: Guard, text: str | None) -> dict[str, Any]:
    if text is None:
        return {"steps": None, "step_chars": None}
    found = [len(s) for part in sections(guard, text) for s in part.steps]
    return {"steps": len(found), "step_chars": sum(found) / len(found) if found else None}


def ngrams(text: str, n: int) -> list[tuple[str, ...]]:
    """The n-grams of a text's words (runs of letters, digits and underscores, case folded), in order."""
    words = WORD.findall(text.casefold())
    return list(zip(*(words[i:] for i in range(n)), strict=False))


def repeated(text: str, n: int) -> float:
    """Share of the n-grams that stood earlier in the same text; 0 for a text without n-grams."""
    grams = ngrams(text, n)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _copied(row: dict[str, Any], n: int) -> dict[str, float | None]:
    """Share of the reasoning's n-grams that are in the prompt and in the response; 0 where there is nothing to copy."""
    if row["reasoning"] is None:
        return {"copied_prompt": None, "copied_response": None}
    grams = ngrams(row["reasoning"], n)
    out: dict[str, float | None] = {}
    for text in ("prompt", "response"):
        known = set(ngrams(row[text] or "", n))
        out[f"copied_{text}"] = sum(g in known for g in grams) / len(grams) if grams else 0.0
    return out
