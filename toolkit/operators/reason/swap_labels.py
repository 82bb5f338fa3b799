"""Operator `swap_labels`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import field_validator

from toolkit.common.errors import InputError, did_you_mean
from toolkit.generation import BackendConfig, BaseBackendConfig
from toolkit.guards import (
    POLICY,
    Guard,
    MalformedJson,
    from_json,
    input_columns,
    is_json,
    load_prompt,
    parse,
    response_format,
    sections,
    teacher_messages,
)
from toolkit.operators.base import DETAIL, REASON, Columns, Config, Context, Unasked
from toolkit.operators.figures import Figure, stat
from toolkit.operators.reason._asking import AskingOperator, a_model
from toolkit.records import Column, child_id, load_record

if TYPE_CHECKING:
    from toolkit.generation import Completion, Request


class SwapLabelsConfig(Config):
    """Options of `swap_labels`."""

    backend: BackendConfig
    """The teacher to be measured, as `synthesise` has it."""
    task: str | None = None
    """The task whose label is swapped; by default, for each row, one of those that it has a label for, by the recipe's seed."""
    prompt: str | None = None
    """The teacher's prompt, as in `synthesise`."""

    _asks_a_model = field_validator("backend")(a_model)


class SwapLabels(AskingOperator):
    """How far a teacher follows a wrong label: each row is put to it as `synthesise` does, with the label of one task deliberately wrong.

    Put a `select` with a `share` before it: a few hundred rows say enough. What comes out is no training data and cannot become any: the rows have
    none of a seed's label columns and no `reasoning`, so that no step that validates or renders takes them. `outcome` is `followed` (it answers the
    wrong label), `contradicted` (it answers the row's own, or another label), `refused` (its endpoint or filter declined, or it wrote no sections and
    no answers), or `unread` (what it answers cannot be read). A `refused` that the endpoint itself reports is rejected with that class, as every
    failure is, and counted all the same. The manifest has all counts by task, and the share that followed. A row without a label to swap is rejected
    as `no_label_to_swap`.
    """

    name = "swap_labels"
    version = 3
    uses = frozenset({"guard.tasks", "guard.questions", "guard.steps", "guard.input", "guard.output", "guard.system", "guard.user", "seed"})
    own_guards = True
    config_class = SwapLabelsConfig
    figures = (
        Figure("swapped", "what became of wrong labels, for each task", stat("swapped")),
        Figure("followed_share", "share of wrong labels that were followed", stat("followed_share")),
    )
    example = {"backend": {"backend": "openai", "model": "my-teacher"}}
    config: SwapLabelsConfig

    @property
    def backend(self) -> BaseBackendConfig:
        return self.config.backend

    def used(self) -> frozenset[str]:
        return super().used() - ({"guard.system", "guard.user"} if self.config.prompt else set())

    def reads(self, guard: Guard) -> list[str]:
        return load_record("seed", guard.task_names).names

    def sends(self, guard: Guard) -> list[str]:
        policy = [POLICY] if guard.policy is not None else []
        return ["context", "prompt", "response", *policy, "categories", *(f"label_{t}" for t in guard.task_names)]

    def writes(self, guard: Guard) -> list[Column]:
        return [
            Column("id", "string", doc="of the seed, with :swapped after it"),
            Column("parent", "string", doc="id of the seed"),
            Column("task", "string", doc="task whose label was swapped"),
            Column("right", "string", doc="the seed's own label of that task"),
            Column("wrong", "string", doc="the label that the teacher was given"),
            Column("outcome", "string", doc="followed, contradicted, refused or unread"),
            Column("answered", "string", nullable=True, doc="the label that it answered"),
            Column("control_text", "string", nullable=True, doc="what it wrote: no training data"),
            Column("teacher", "string", doc="the model that was asked"),
            Column("control_key", "string", doc="journal key of the generation"),
        ]

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        super().columns(inputs, guard)
        input_columns(guard, inputs.get("rows", {}))
        if self.config.task is not None and self.config.task not in guard.task_names:
            raise InputError(f"the guard {guard.name!r} has no task {self.config.task!r}", hint=did_you_mean(self.config.task, guard.task_names))
        return {c.name: c for c in self.writes(guard)}

    def identity(self) -> dict[str, Any]:
        return {"backend": self.config.backend.identity(), "task": self.config.task}

    def files(self, ctx: Context) -> dict[str, str]:
        return super().files(ctx) | ({"prompt": load_prompt(self.config.prompt, ctx.roots).fingerprint} if self.config.prompt else {})

    def open(self, ctx: Context, inputs: Mapping[str, Any]) -> Any:
        self._of = ctx.guard.with_teacher(load_prompt(self.config.prompt, ctx.roots)) if self.config.prompt else ctx.guard
        self._counts: dict[str, Counter[str]] = {t: Counter() for t in ctx.guard.task_names}
        return super().open(ctx, inputs)

    def schema(self, ctx: Context) -> str:
        return response_format(self._of)

    def in_guards_form(self, ctx: Context) -> bool:
        return bool(self._of.output.open)

    def question(self, row: Mapping[str, Any], ctx: Context, *, structured: bool) -> list[dict[str, str]]:
        task, _, wrong = self._swap(row, ctx)
        return teacher_messages(self._of, {**row, f"label_{task}": wrong}, structured=structured)

    def _swap(self, row: Mapping[str, Any], ctx: Context) -> tuple[str, str, str]:
        """The task, its label and the wrong one; the same for a row whatever rows are beside it."""
        tasks = [t for t in self._of.tasks if row[f"label_{t.name}"] is not None and self.config.task in (None, t.name)]
        if not tasks:
            of = "no label" if self.config.task is None else f"no label of the task {self.config.task}"
            raise Unasked("no_label_to_swap", f"the row has {of}")
        task = tasks[ctx.rng_seed(row["id"], "task") % len(tasks)]
        right = row[f"label_{task.name}"]
        others = [w for w in task.labels if w != right]
        return task.name, right, others[ctx.rng_seed(row["id"], "label") % len(others)]

    def answer(self, row: Mapping[str, Any], name: str, draw: int, request: Request, completion: Completion) -> dict[str, Any]:
        task, right, wrong = self._swap(row, self._ctx)
        text = self._text(request, completion)
        answered = parse(self._of, text, "lenient").labels[task] if text is not None else None
        if completion.error in ("refused", "content_filter"):
            outcome = "refused"
        elif answered is not None:
            outcome = "followed" if answered == wrong else "contradicted"
        else:
            outcome = "refused" if text is not None and not self._tries(text) else "unread"
        if completion.error is None or outcome == "refused":
            self._counts[task][outcome] += 1
        return {
            "id": child_id(row["id"], "swapped"),
            "parent": row["id"],
            "task": task,
            "right": right,
            "wrong": wrong,
            "outcome": outcome,
            "answered": answered,
            "control_text": text if text is not None else completion.text,
            "teacher": self._shown(self.config.backend, request.model_id),
            "control_key": completion.key,
            REASON: completion.error,
            DETAIL: completion.detail,
        }

    def _text(self, request: Request, completion: Completion) -> str | None:
        """The answer as the guard's text; None where there is none, or where it is JSON of another schema."""
        if completion.text is None or not (request.schema and is_json(completion.text)):
            return completion.text
        try:
            return from_json(self._of, completion.text)
        except MalformedJson:
            return None

    def _tries(self, text: str) -> bool:
        """Whether a text that answers nothing is an attempt at the form all the same."""
        has_sections = self._of.output.task_heading and sections(self._of, text)
        return bool(has_sections) or any(v is not None for v in parse(self._of, text, "lenient").labels.values())

    def stats(self) -> dict[str, Any]:
        tasks = {t: {"asked": c.total(), **dict(sorted(c.items()))} for t, c in self._counts.items() if c}
        asked, followed = sum(c.total() for c in self._counts.values()), sum(c["followed"] for c in self._counts.values())
        return {"swapped": tasks, "followed_share": round(followed / asked, 6) if asked else None}
