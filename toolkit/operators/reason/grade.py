"""Operator `grade`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator

from toolkit.common.errors import InputError
from toolkit.common.yamlfile import FaultAt
from toolkit.generation import BackendConfig, BaseBackendConfig
from toolkit.guards import Guard, exchange
from toolkit.operators._stop_if import StopIf
from toolkit.operators.base import DETAIL, REASON, Columns, Config, Context
from toolkit.operators.figures import Figure, stat
from toolkit.operators.reason._asking import AskingOperator, GraderPrompt, a_model, closed_schema, load_grader, read_object
from toolkit.records import Column

if TYPE_CHECKING:
    from toolkit.generation import Completion, Request

LOW, HIGH = 1, 5
_VARIABLES = ("tasks", "criteria", "low", "high", "exchange", "reasoning")
_TAKEN = ("why", "model", "key")

CRITERIA = {
    "grounded": "does each step point at something that the exchange really says, without anything made up?",
    "sufficient": "do the steps together carry the conclusions, so that a reader who had only them would agree?",
    "consistent": "do the steps agree with each other and with the answers?",
    "concise": "is each step short, and does each add something?",
}
"""The criteria of a recipe that names none."""


class GradeConfig(Config):
    """Options of `grade`."""

    backend: BackendConfig
    """The grader."""
    criteria: dict[str, str] = Field(CRITERIA, min_length=1)
    """What is graded from 1 (not at all) to 5 (entirely): for each criterion's name (a column `grade_<name>`) the question that is asked."""
    prompt: str = "grade"
    """How it is asked: a name in schemas/graders, or a path ending in .yaml."""
    on_fault: Literal["flag", "reject"] = "flag"
    """flag: grades are stored and no row leaves for them; a `select` step may. reject: a row with a grade below `least` is rejected."""
    least: int | None = Field(None, ge=LOW, le=HIGH)
    """With `on_fault: reject`: the lowest grade that a row may have in any criterion."""
    stop_if: StopIf | None = None
    """Stop asking once more than a share of the rows comes to nothing: {rejected: 0.5, after: 200}."""

    _asks_a_model = field_validator("backend")(a_model)

    @field_validator("criteria")
    @classmethod
    def _names(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if not name.isidentifier() or name != name.lower() or name in _TAKEN:
                raise ValueError(f"{name!r} cannot name a column grade_{name}: lower-case letters, digits and _, and none of {', '.join(_TAKEN)}")
        return value

    @model_validator(mode="after")
    def _least_goes_with_reject(self) -> GradeConfig:
        if (self.least is None) != (self.on_fault == "flag"):
            raise FaultAt("on_fault: reject needs `least`, and `least` goes with it alone", "least" if self.least is not None else "on_fault")
        return self


class Grade(AskingOperator):
    """A grader, which is a model, grades each reasoning by a rubric: every criterion from 1 to 5, and a sentence on the weakest point.

    Columns `grade_<criterion>` (null: the grader's answer could not be read, or is no whole number from 1 to 5) and `grade_why`. With
    `on_fault: reject` a row is rejected as `graded_low` or, where a grade is null, `grade_malformed`; a failed generation is rejected with its class
    either way. Prices and limits as for any model: see the backend.
    """

    name = "grade"
    config_class = GradeConfig
    figures = (Figure("grades", "rows by grade, for each criterion", stat("grades")),)
    uses = frozenset({"guard.tasks", "guard.questions", "guard.input", "guard.output"})
    own_guards = True
    example = {"backend": {"backend": "openai", "model": "my-grader"}, "on_fault": "reject", "least": 3}
    config: GradeConfig

    @property
    def backend(self) -> BaseBackendConfig:
        return self.config.backend

    def reads(self, guard: Guard) -> list[str]:
        return ["id", "context", "prompt", "response", "reasoning"]

    def writes(self, guard: Guard) -> list[Column]:
        return [
            *(Column(f"grade_{c}", "int64", nullable=True, doc=f"{LOW} to {HIGH}: {question}") for c, question in self.config.criteria.items()),
            Column("grade_why", "string", nullable=True, doc="the grader's sentence on the weakest point"),
            Column("grade_model", "string", doc="the grader"),
            Column("grade_key", "string", doc="journal key of the generation"),
        ]

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        out = super().columns(inputs, guard)
        for column in self.writes(guard):
            if column.name in inputs[self.inputs[0]]:
                raise InputError(f"grade would write over the column {column.name!r}", hint="give the criteria of a second grader other names")
        return out

    def identity(self) -> dict[str, Any]:
        c = self.config
        return {"backend": c.backend.identity(), "criteria": list(c.criteria.items()), "on_fault": c.on_fault, "least": c.least}

    def files(self, ctx: Context) -> dict[str, str]:
        return super().files(ctx) | {"prompt": self._prompt(ctx).fingerprint}

    def _prompt(self, ctx: Context) -> GraderPrompt:
        return load_grader(self.config.prompt, ctx.roots, _VARIABLES, ("exchange", "reasoning"))

    def open(self, ctx: Context, inputs: Mapping[str, Any]) -> Any:
        self._counts: dict[str, Counter[str]] = {c: Counter() for c in self.config.criteria}
        self._asked_with = self._prompt(ctx)
        return super().open(ctx, inputs)

    def question(self, row: Mapping[str, Any], ctx: Context, *, structured: bool) -> list[dict[str, str]]:
        asked = {"tasks": ctx.guard.tasks, "criteria": self.config.criteria, "low": LOW, "high": HIGH}
        return self._asked_with.messages(asked | {"exchange": exchange(ctx.guard, row), "reasoning": row["reasoning"] or ""})

    def schema(self, ctx: Context) -> str:
        grades = {c: {"type": "integer", "enum": list(range(LOW, HIGH + 1)), "description": q} for c, q in self.config.criteria.items()}
        return closed_schema("grades", {"why": {"type": "string", "description": "one sentence on the weakest point"}, **grades})

    def answer(self, row: Mapping[str, Any], name: str, draw: int, request: Request, completion: Completion) -> dict[str, Any]:
        found = read_object(completion.text, ["why", *self.config.criteria]) or {}
        grades = {c: _grade(found.get(c)) for c in self.config.criteria}
        if completion.error is None:
            for c, g in grades.items():
                self._counts[c]["unread" if g is None else str(g)] += 1
        reason, detail = completion.error, completion.detail
        if reason is None and self.config.least is not None:
            low = [f"{c}: {g}" for c, g in grades.items() if g is not None and g < self.config.least]
            unread = [c for c, g in grades.items() if g is None]
            if low:
                reason, detail = "graded_low", f"{', '.join(low)}, at least {self.config.least}"
            elif unread:
                reason, detail = "grade_malformed", f"no whole number from {LOW} to {HIGH}: {', '.join(unread)}"
        why = found.get("why")
        return {
            **row,
            **{f"grade_{c}": g for c, g in grades.items()},
            "grade_why": why if isinstance(why, str) else None,
            "grade_model": self._shown(self.config.backend, request.model_id),
            "grade_key": completion.key,
            REASON: reason,
            DETAIL: detail,
        }

    def stats(self) -> dict[str, Any]:
        return {"grades": {c: dict(sorted(n.items())) for c, n in self._counts.items()}}


def _grade(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and LOW <= value <= HIGH else None
