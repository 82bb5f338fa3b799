"""Operator `validate`. The table of its rules and reason codes: `toolkit.operators.reason._rules`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import Field, model_validator

from toolkit.common.reach import HubName
from toolkit.common.yamlfile import FaultAt
from toolkit.generation import TemplateArguments
from toolkit.guards import POLICY, Guard
from toolkit.operators._language import language_needs
from toolkit.operators._reasoned import REASONED
from toolkit.operators._tokens import TokenCounter, identity_of, tokenizer_files, tokenizer_needs
from toolkit.operators.base import Columns, Context, RowOperator, mark
from toolkit.operators.reason._blocks import Checker, Measure
from toolkit.operators.reason._model_rules import Budget, Languages
from toolkit.operators.reason._rule_limits import BASIC, RULES, STANDARD, Limits, Measured, Rule
from toolkit.operators.reason._rules import all_faults, check_reasoning
from toolkit.records import Column, load_record

__all__ = ["BASIC", "RULES", "STANDARD", "Rule", "Validate", "ValidateConfig", "all_faults", "check_reasoning", "ruled"]

_READS: Mapping[str, tuple[str, ...]] = {
    "truncated": ("reasoning_finish",),
    "copied": ("prompt", "response"),
    "budget": ("context", "prompt", "response"),
}
RULED = frozenset({"guard.tasks", "guard.steps", "guard.output"})
_RULED: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("conclusions", "words", "leakage"), ("guard.questions",)),
    "copied": ("guard.questions", "guard.input", "guard.system"),
    "budget": ("guard.input",),
}
_FAULTS = Column("faults", {"list": "string"}), Column("fault_details", {"list": "string"})


class ValidateConfig(Limits):
    """Options of `validate`."""

    profile: Literal["basic", "standard", "strict"] = "standard"
    """Which rules to apply where `rules` does not say. basic: truncated, answers, labels, structure, steps, control. standard: refusal, conclusions,
    scaffold, ending and loops too. strict: all; `budget` where there is a `tokenizer`, `language` where there are `languages`."""
    rules: list[Rule | Measured] | None = Field(None, min_length=1)
    """Rules to apply, in their own order, in place of a profile: truncated, refusal (the teacher declines), answers (one well-formed answers block at
    the end), labels (equal to the row's where it has them, and one where it is to be inferred), structure (one section a task, in order), steps
    (numbered from 1, as many as the guard allows, none empty, none twice), conclusions (what a task concludes is its answer), scaffold (no phrase
    that tells of labels given), control (no control character but newline, tab and carriage return), ending (not cut off), loops (nothing again and
    again), lengths, similar (no near-equal steps in a task), copied (no long run of the exchange, no sentence of
    the instruction), words (no verdict in another task's labels, no
    forbidden word), leakage (no label before the evidence), budget (tokens), language."""
    faults: Literal["reject", "flag"] = "reject"
    """reject: the first fault of a row rejects it. flag: no row is rejected; the codes of its faults, one a rule, go into `faults` and what was found
    into `fault_details`, for a `select` step to go by (`none_of: {faults: [scaffold]}`)."""
    tokenizer: Annotated[str | None, HubName("tokenizer")] = None
    """Rule `budget`: folder or hub name of the model that is to be trained, whose tokenizer counts."""
    max_tokens: int = Field(2048, ge=1)
    """Rule `budget`: most tokens of input and reasoning together, as `render_sft` writes them (the paper's cutoff: 2,048)."""
    format: Literal["messages", "text"] = "messages"
    """Rule `budget`: as in `render_sft`: through the model's chat template, or as plain text."""
    chat_template: str | None = None
    """Rule `budget`: as in `train_sft`, where the tokenizer has none of its own."""
    chat_template_kwargs: TemplateArguments = Field(default_factory=dict)
    """Rule `budget`: as in `train_sft`."""
    languages: list[str] = []
    """Rule `language`: what the reasoning may be written in, as ISO 639-1 codes: [en]. Extra `language`."""
    min_language_chars: int = Field(100, ge=1)
    """Rule `language`: a shorter reasoning is not judged."""

    @property
    def chosen(self) -> tuple[str, ...]:
        """The rules that are applied, in their order."""
        if self.rules is not None:
            return tuple(r for r in (*RULES, "budget", "language") if r in self.rules)
        more = ("budget",) * (self.tokenizer is not None) + ("language",) * bool(self.languages)
        return {"basic": BASIC, "standard": STANDARD, "strict": (*RULES, *more)}[self.profile]

    @model_validator(mode="after")
    def _one_choice(self) -> ValidateConfig:
        if self.rules is not None and "profile" in self.model_fields_set:
            raise FaultAt("rules are named, and a profile too: one of them", "profile")
        for rule, option, given in (("budget", "tokenizer", self.tokenizer), ("language", "languages", self.languages)):
            if rule in self.chosen and not given:
                raise FaultAt(f"the rule {rule} needs the option {option}", "rules")
            if given and rule not in self.chosen:
                raise FaultAt(f"{option} is for the rule {rule}, which is not applied: name it under rules, or take the profile strict", option)
        if self.min_step_chars > self.max_step_chars or self.min_chars > self.max_chars:
            raise FaultAt("a least length above the most", "min_step_chars" if self.min_step_chars > self.max_step_chars else "min_chars")
        return self


class Validate(RowOperator):
    """Check each reasoning against its guard and its row's labels. The first rule that fails rejects the row, with what was found; or all that fail
    are stored (`faults: flag`).

    Where a label was `to_infer`, the teacher's answer becomes the row's label with source `inferred`; it is never taken for a human one.
    Counts the reasoning steps. Labels and subjects are the guard's own; the words around them are looked for in English.
    """

    name = "validate"
    version = 3
    row_local = True
    validates = True
    uses = RULED | {"guard.questions", "guard.input", "guard.system"}
    own_guards = True
    carries_media = True
    config_class = ValidateConfig
    example = {"rules": ["truncated", "answers", "labels"]}
    figures = REASONED
    config: ValidateConfig

    def used(self) -> frozenset[str]:
        return ruled(self.config.chosen)

    @property
    def stored(self) -> bool:
        return self.config.faults == "flag"

    def reads(self, guard: Guard) -> list[str]:
        more = [c for rule, columns in _READS.items() if rule in self.config.chosen for c in columns]
        return list(dict.fromkeys(["reasoning", *more, *(_labels(guard) if "labels" in self.config.chosen else [])]))

    def writes(self, guard: Guard) -> list[Column]:
        changed = {"steps", *(_labels(guard) if "labels" in self.config.chosen else [])}
        flags = _FAULTS if self.config.faults == "flag" else ()
        return [*(c for c in load_record("reasoned", guard.task_names).columns if c.name in changed), *flags]

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        out = super().columns(inputs, guard)
        unknown = [t for t in self.config.forbidden if t != "*" and t not in guard.task_names]
        if unknown:
            raise _unknown_task(unknown[0], guard)
        return out

    def needs(self, ctx: Context) -> list[str]:
        out = tokenizer_needs() if "budget" in self.config.chosen else []
        return out + (language_needs() if "language" in self.config.chosen else [])

    def files(self, ctx: Context) -> dict[str, str]:
        return tokenizer_files(self.config.tokenizer, ctx) if self.config.tokenizer else {}

    def identity(self) -> dict[str, Any]:
        config = {name: value for name, value in identity_of(self.config).items() if name not in ("profile", "tokenizer")}
        return config | {"rules": list(self.config.chosen)}

    def apply(self, rows: pl.LazyFrame, ctx: Context) -> pl.LazyFrame:
        guard, c = ctx.guard, self.config
        have = rows.collect_schema().names()
        read = [n for n in ("reasoning", "reasoning_finish", "context", "prompt", "response", POLICY, *_labels(guard)) if n in have]
        checker = Checker(guard, c.chosen, c, every=c.faults == "flag", measures=self._measures(ctx))
        rows = rows.with_columns(pl.struct(read).map_batches(checker, return_dtype=checker.dtype).alias("_checked"))
        part = pl.col("_checked").struct
        rows = rows.with_columns(part.field("steps").alias("steps"))
        for task in guard.task_names:
            given, source = f"label_{task}", f"label_{task}_source"
            if given in have and source in have:
                infer = (pl.col(source) == "to_infer") & part.field(given).is_not_null()
                rows = rows.with_columns(
                    pl.when(infer).then(part.field(given)).otherwise(pl.col(given)).alias(given),
                    pl.when(infer).then(pl.lit("inferred")).otherwise(pl.col(source)).alias(source),
                )
        if c.faults == "flag":
            return rows.with_columns(part.field("reasons").alias("faults"), part.field("details").alias("fault_details")).drop("_checked")
        reason = part.field("reasons").list.first()
        return mark(rows, reason.is_not_null(), reason, part.field("details").list.first()).drop("_checked")

    def _measures(self, ctx: Context) -> list[Measure]:
        c = self.config
        out: list[Measure] = []
        if "budget" in c.chosen and c.tokenizer:
            out.append(
                Budget(
                    ctx.guard,
                    TokenCounter(c.tokenizer, ctx.roots, c.chat_template, c.chat_template_kwargs),
                    c.max_tokens,
                    chat=c.format == "messages",
                )
            )
        if "language" in c.chosen:
            out.append(Languages(ctx.guard, c.languages, c.min_language_chars))
        return out


def ruled(rules: Collection[str]) -> frozenset[str]:
    """What of the guard some rules read. Answers that no rule wants well-formed are read leniently, past an input that is repeated."""
    lenient = () if "answers" in rules else ("guard.input",)
    return RULED.union(lenient, *(_RULED.get(rule, ()) for rule in rules))


def _labels(guard: Guard) -> list[str]:
    return [f"label_{t}{s}" for t in guard.task_names for s in ("", "_source")]


def _unknown_task(name: str, guard: Guard) -> Exception:
    from toolkit.common.errors import InputError, did_you_mean

    return InputError(f"validate.forbidden: the guard {guard.name!r} has no task {name!r}", hint=did_you_mean(name, guard.task_names))
