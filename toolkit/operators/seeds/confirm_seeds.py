"""Operator `confirm_seeds`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from toolkit.common.errors import InputError
from toolkit.generation import BackendConfig, BaseBackendConfig, build_request
from toolkit.guards import Guard
from toolkit.operators._stop_if import StopIf
from toolkit.operators.base import DETAIL, OUTCOME, REASON, Columns, Config, Context, Shape, StepInput
from toolkit.operators.figures import Figure, stat
from toolkit.operators.reason._asking import AskingOperator
from toolkit.operators.seeds._grid import judged_tasks, known_categories
from toolkit.operators.seeds._prompts import load_prompts
from toolkit.operators.seeds._questions import Disputed, Questions, contradicted, disputes
from toolkit.records import Column, load_record

if TYPE_CHECKING:
    from toolkit.generation import Backend, Completion, Request

BY_PEOPLE = ("human", "vote", "reviewed")
"""Sources of labels that a judge's agreement does not change."""


class ConfirmSeedsConfig(Config):
    """Options of `confirm_seeds`."""

    backend: BackendConfig
    """The judge: a general model, or `{backend: template}` to try guardkit."""
    category: str
    """Category of the recipe's taxonomy whose definition the judge is shown, by name or alias."""
    disputed: Disputed = "set_aside"
    """What becomes of a row that the judge contradicts: it is set aside; or `keep`: it goes on as it came, and `noise` lists it for `review` by the
    judge's label (`blind_<task>`)."""
    prompts: str = Field("seeds", min_length=1)
    """How it is asked (the part `judge`): a name in schemas/authors, or a path ending in .yaml."""
    stop_if: StopIf | None = None
    """When to stop asking, as too many rows come to nothing; null: never."""


class ConfirmSeeds(AskingOperator):
    """A judge confirms seeds that somebody brings: it is shown the text and a category's definition, and none of the labels.

    Where it agrees with all labels of a row they become `consensus` (labels by people keep their source); a label that is not there is the
    judge's, as `inferred`; a row that it contradicts is set aside as `disputed`. A harmful row that it finds in the category gets that among its
    `categories`. A row whose verdict cannot be read is rejected as `judge_unread`. Of the guard's tasks `prompt`, `refusal` and `response` are
    judged.
    """

    name = "confirm_seeds"
    shape: ClassVar[Shape] = "select"
    uses = frozenset({"guard.tasks", "guard.questions", "taxonomy.names", "taxonomy.cues", "taxonomy.descriptions"})
    config_class = ConfirmSeedsConfig
    figures = (Figure("confirmed", "rows whose labels a judge confirmed, filled in or contradicted", stat("confirmed")),)
    example = {"backend": {"backend": "template"}, "category": "fraud_theft"}
    config: ConfirmSeedsConfig

    @property
    def backend(self) -> BaseBackendConfig:
        return self.config.backend

    def reads(self, guard: Guard) -> list[str]:
        labels = [n for t in judged_tasks(guard, response=True) for n in (f"label_{t.name}", f"label_{t.name}_source")]
        return ["id", "context", "prompt", "response", "categories", *labels]

    def sends(self, guard: Guard) -> list[str]:
        return ["context", "prompt", "response"]

    def writes(self, guard: Guard) -> list[Column]:
        seed = {c.name: c for c in load_record("seed", guard.task_names).columns}
        own = [seed[n] for n in self.reads(guard) if n == "categories" or n.startswith("label_")]
        new = ("judge_model", "judge_key", "suspect", *(f"blind_{t}" for t in guard.task_names))
        return [*own, *(c for c in load_record("made_seed", guard.task_names).columns if c.name in new)]

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        if not judged_tasks(guard, response=True):
            raise InputError(f"the guard {guard.name!r} has none of the tasks prompt, refusal and response")
        return super().columns(inputs, guard)

    def media_fault(self, guard: Guard) -> str | None:
        return "the judge is shown text alone"

    def files(self, ctx: Context) -> dict[str, str]:
        known_categories([self.config.category], ctx.taxonomy)
        return super().files(ctx) | {"prompts": load_prompts(self.config.prompts, ctx.roots).fingerprint}

    def identity(self) -> dict[str, Any]:
        return {name: value for name, value in super().identity().items() if name != "prompts"}  # they are among `files`

    def open(self, ctx: Context, inputs: Mapping[str, StepInput]) -> Any:
        (self._category,) = known_categories([self.config.category], ctx.taxonomy)
        self._questions = Questions(load_prompts(self.config.prompts, ctx.roots), ctx.guard, plain=not self.backend.is_model)
        self._counts: Counter[str] = Counter()
        return super().open(ctx, inputs)

    def question(self, row: Mapping[str, Any], ctx: Context, *, structured: bool) -> list[dict[str, str]]:
        messages = [*(m["content"] for m in row["context"] or ()), row["prompt"]]
        return self._questions.judge(self._category, messages, row["response"])

    def schema(self, ctx: Context) -> str:
        return self._questions.schema("")

    def _request(self, row: Mapping[str, Any], backend: Backend, ctx: Context, *, structured: bool, draw: int = 0, attempt: int = 0) -> Request:
        schema = self._questions.schema(row["response"]) if structured else ""
        asked = self.question(row, ctx, structured=structured)
        return build_request(backend, self.backend, asked, draw=draw, attempt=attempt, schema=schema, row=row["id"])

    def answer(self, row: Mapping[str, Any], name: str, draw: int, request: Request, completion: Completion) -> dict[str, Any]:
        verdict = None if completion.error is not None else self._questions.verdict(completion.text, row["response"])
        known = {"judge_model": self._shown(self.backend, request.model_id), "judge_key": completion.key, "suspect": None}
        known |= {f"blind_{t}": (verdict or {}).get(t) for t in self._ctx.guard.task_names}
        if verdict is None:
            reason = completion.error or "judge_unread"
            return {**row, **known, REASON: reason, DETAIL: completion.detail if completion.error else (completion.text or "")[:200]}
        tasks = self._questions.tasks(row["response"])
        given = {t.name: row[f"label_{t.name}"] for t in tasks}
        if against := disputes(verdict, given, None):
            self._counts["contradicted"] += 1
            known["suspect"] = contradicted(verdict, given)
            if self.config.disputed == "keep":
                return {**row, **known, REASON: None, DETAIL: None}
            return {**row, **known, OUTCOME: "set_aside", REASON: "disputed", DETAIL: f"{'; '.join(against)} ({verdict['why']})"}
        labels: dict[str, str] = {}
        for task, label in given.items():
            source = row[f"label_{task}_source"] if label is not None and row[f"label_{task}_source"] in BY_PEOPLE else "consensus"
            labels |= {f"label_{task}": verdict[task], f"label_{task}_source": source if label is not None else "inferred"}
        self._counts["confirmed" if all(given.values()) else "filled in"] += 1
        harmful = any(verdict[t.name] == t.positive for t in tasks if t.says != "refusal")
        own = list(row["categories"] or [])
        added = [self._category.name] if harmful and verdict["in_category"] == "yes" and self._category.name not in own else []
        return {**row, **known, **labels, "categories": own + added, REASON: None, DETAIL: None}

    def stats(self) -> dict[str, Any]:
        return {"confirmed": dict(sorted(self._counts.items()))}
