"""Operator `validate`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, get_args

import polars as pl
from pydantic import Field

from toolkit.guards import Guard, Parsed, Section, parse, sections
from toolkit.operators.base import Config, Context, RowOperator, mark
from toolkit.records import Column, load_record

Rule = Literal["truncated", "answers", "labels", "structure", "steps", "conclusions", "scaffold", "control"]

RULES: tuple[Rule, ...] = get_args(Rule)
"""All rules, in the order in which they are applied."""

SCAFFOLD = re.compile(
    r"\b(?:ground[- ]truth|gold labels?|(?:given|provided|supplied) labels?|(?:given|supplied) answers?|reviewers'? answers?"
    r"|(?:correct|right|expected) (?:answer|label)s? (?:is|are|was|were) (?:given|provided|supplied))\b",
    re.IGNORECASE,
)
"""Phrases that tell of the teacher's prompt: released models write "The ground truth is", which their training data leaked (spec A.4)."""
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_SCAFFOLD_WORDS = ("truth", "label", "given answer", "supplied answer", "reviewer", "answer is", "answers are", "answer was", "answers were")
"""One of these stands in whatever `SCAFFOLD` finds."""


class ValidateConfig(Config):
    """Options of `validate`."""

    rules: list[Rule] = Field(list(RULES), min_length=1)
    """Rules to apply, in their own order: truncated (the teacher ran out of tokens), answers (one well-formed answers block at the end), labels
    (equal to the row's where it has them, and one where it is to be inferred), structure (one section a task, in order), steps (numbered from 1, as
    many as the guard allows, none empty, none twice), conclusions (each agrees with its answer), scaffold (no phrase that tells of labels given),
    control (no control character but newline, tab and carriage return: a terminal would obey an escape)."""


class Validate(RowOperator):
    """Check each reasoning against its guard and its row's labels; the first rule that fails rejects the row, with what was found.

    Where a label was `to_infer`, the teacher's answer becomes the row's label with source `inferred`; it is never taken for a human one.
    Counts the reasoning steps.
    """

    name = "validate"
    config_class = ValidateConfig
    example = {"rules": ["truncated", "answers", "labels"]}
    config: ValidateConfig

    def reads(self, guard: Guard) -> list[str]:
        return ["reasoning", "reasoning_finish", *(f"label_{t}{s}" for t in guard.task_names for s in ("", "_source"))]

    def writes(self, guard: Guard) -> list[Column]:
        changed = {"steps", *(f"label_{t}{s}" for t in guard.task_names for s in ("", "_source"))}
        return [c for c in load_record("reasoned", guard.task_names).columns if c.name in changed]

    def apply(self, rows: pl.LazyFrame, ctx: Context) -> pl.LazyFrame:
        guard = ctx.guard
        labels = [f"label_{t}{s}" for t in guard.task_names for s in ("", "_source")]
        found = pl.Struct({"reason": pl.String, "detail": pl.String, "steps": pl.Int64, **{f"label_{t}": pl.String for t in guard.task_names}})
        checked = pl.struct("reasoning", "reasoning_finish", *labels).map_elements(
            lambda row: check_reasoning(guard, row, self.config.rules), return_dtype=found
        )
        rows = rows.with_columns(checked.alias("_checked"))
        part = pl.col("_checked").struct
        rows = rows.with_columns(part.field("steps").alias("steps"))
        for task in guard.task_names:
            given, source = f"label_{task}", f"label_{task}_source"
            infer = (pl.col(source) == "to_infer") & part.field(given).is_not_null()
            rows = rows.with_columns(
                pl.when(infer).then(part.field(given)).otherwise(pl.col(given)).alias(given),
                pl.when(infer).then(pl.lit("inferred")).otherwise(pl.col(source)).alias(source),
            )
        return mark(rows, part.field("reason").is_not_null(), part.field("reason"), part.field("detail")).drop("_checked")


def check_reasoning(guard: Guard, row: Mapping[str, Any], rules: Sequence[Rule]) -> dict[str, Any]:
    """The first fault of a reasoning, its steps, and the labels that it states.

    Args:
        guard: the definition.
        row: `reasoning`, `reasoning_finish`, and each ``label_<task>`` with its source.
        rules: see `ValidateConfig`.

    Returns:
        `reason` and `detail` (None when sound), `steps`, and ``label_<task>`` as read.
    """
    text = row["reasoning"] or ""
    parsed = _parsed(guard, text, rules)
    parts = sections(guard, text)
    fault = next((f for _, f in _faults(guard, row, parsed, parts, rules)), None)
    return {
        "reason": fault[0] if fault else None,
        "detail": fault[1] if fault else None,
        "steps": sum(len(p.steps) for p in parts),
        **{f"label_{t}": parsed.labels[t] for t in guard.task_names},
    }


def all_faults(guard: Guard, row: Mapping[str, Any], rules: Sequence[Rule]) -> list[tuple[str, str]]:
    """The first fault by each rule, as (reason, detail); empty for a sound reasoning. What only follows from an answers block that could not be
    read is left out. Arguments as for `check_reasoning`; without the rule `labels` no label of the row is looked at, and it need have none.
    """
    if not rules:
        return []
    text = row["reasoning"] or ""
    parsed = _parsed(guard, text, rules)
    found = list(_faults(guard, row, parsed, sections(guard, text), rules))
    unread = any(rule == "answers" for rule, _ in found)
    return [fault for rule, fault in found if not (unread and rule == "labels")]


def _parsed(guard: Guard, text: str, rules: Sequence[Rule]) -> Parsed:
    return parse(guard, text, "strict" if "answers" in rules else "lenient")


def _faults(
    guard: Guard, row: Mapping[str, Any], parsed: Parsed, parts: list[Section], rules: Sequence[Rule]
) -> Iterator[tuple[Rule, tuple[str, str]]]:
    """The fault that each rule finds, in the rules' own order."""
    checks: dict[Rule, Callable[[], Fault]] = {
        "truncated": lambda: _truncated(row["reasoning_finish"]),
        "answers": lambda: _answers(guard, parsed),
        "labels": lambda: _labels(guard, row, parsed),
        "structure": lambda: _structure(guard, parts),
        "steps": lambda: _steps(guard, parts),
        "conclusions": lambda: _conclusions(guard, parts, parsed),
        "scaffold": lambda: _scaffold(row["reasoning"] or ""),
        "control": lambda: _control(row["reasoning"] or ""),
    }
    for rule in RULES:
        if rule in rules and (fault := checks[rule]()):
            yield rule, fault


Fault = tuple[str, str] | None


def _truncated(finish: str | None) -> Fault:
    return ("truncated", "the teacher stopped at its token limit") if finish == "length" else None


def _answers(guard: Guard, parsed: Parsed) -> Fault:
    if parsed.problems:
        return parsed.problems[0], ", ".join(parsed.problems)
    return None


def _labels(guard: Guard, row: Mapping[str, Any], parsed: Parsed) -> Fault:
    for task in guard.tasks:
        want, said = row[f"label_{task.name}"], parsed.labels[task.name]
        free = row[f"label_{task.name}_source"] == "to_infer"
        if free and said is None:
            return "label_not_inferred", f"{task.name}: the teacher was to give a label and gave none"
        if said != want and not free:
            return "label_changed", f"{task.name}: the row says {want}, the reasoning {said}"
    return None


def _structure(guard: Guard, parts: list[Section]) -> Fault:
    numbers = [p.task for p in parts]
    if numbers != list(range(1, len(guard.tasks) + 1)):
        return "structure", f"task sections {numbers}, expected 1 to {len(guard.tasks)}"
    return None


def _steps(guard: Guard, parts: list[Section]) -> Fault:
    for p in parts:
        if p.numbers != list(range(1, len(p.numbers) + 1)):
            return "steps_misnumbered", f"task {p.task}: steps {p.numbers}"
        if not guard.steps.min <= len(p.steps) <= guard.steps.max:
            return "step_count", f"task {p.task}: {len(p.steps)} steps, allowed {guard.steps.min} to {guard.steps.max}"
        if any(not s for s in p.steps):
            return "step_empty", f"task {p.task}: a step without text"
        if len({s.casefold() for s in p.steps}) < len(p.steps):
            return "step_repeated", f"task {p.task}: the same step twice"
    return None


def _conclusions(guard: Guard, parts: list[Section], parsed: Parsed) -> Fault:
    for p in parts if guard.output.conclusion_heading else []:
        if not 1 <= p.task <= len(guard.tasks):  # what `structure` rejects
            continue
        task = guard.tasks[p.task - 1]
        if not p.conclusion:
            return "conclusion_missing", f"task {p.task}"
        said = {w for w, pattern in _label_patterns(tuple(task.labels)) if pattern.search(p.conclusion)}
        want = parsed.labels[task.name]
        if want is not None and said and want not in said:
            return "conclusion_contradicts", f"task {p.task}: concludes {', '.join(sorted(said))}, answers {want}"
    return None


@lru_cache(maxsize=256)
def _label_patterns(labels: tuple[str, ...]) -> list[tuple[str, re.Pattern[str]]]:
    return [(w, re.compile(rf"(?<!\w){re.escape(w)}(?!\w)", re.IGNORECASE)) for w in labels]


def _scaffold(text: str) -> Fault:
    folded = text.lower()
    if not any(word in folded for word in _SCAFFOLD_WORDS):  # five times as quick as the search, and nearly always enough
        return None
    found = SCAFFOLD.search(text)
    return ("scaffold", f"the words {found[0]!r}") if found else None


def _control(text: str) -> Fault:
    found = CONTROL.search(text)
    return ("control_character", f"{found[0]!r} at character {found.start()}") if found else None
