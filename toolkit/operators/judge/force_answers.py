"""Operator `force_answers`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError
from toolkit.generation import BACKENDS, BaseBackendConfig
from toolkit.guards import POLICY, Guard, input_columns
from toolkit.judging import answered_tasks, check_forced, forced_answer, forced_question
from toolkit.operators import _backends
from toolkit.operators.base import DETAIL, REASON, Columns, Config, Context, GenerationOperator, StepInput, Unasked
from toolkit.operators.judge.sample import GuardBackend, StepBackend
from toolkit.records import Column

if TYPE_CHECKING:
    from toolkit.generation import Backend, Completion, Request


class ForceAnswersConfig(Config):
    """Options of `force_answers`."""

    backend: StepBackend | None = None
    """How a guard that an earlier step trained (`from: {rows: …, NAME: STEP}`) is run: `{backend: transformers}`, without `model`."""
    models: dict[str, GuardBackend] = {}
    """Or the guard by its name in the rows, with its whole backend."""


class ForceAnswers(GenerationOperator):
    """Ask a guard what it answers behind given beginnings of its output (`cut_chains`): each task's label, and the positive one's probability.

    The answers are written in the guard's own form, with the likeliest label in each place; probabilities are normalised over the task's labels. Only
    a backend that gives log-probabilities of a given text can do that: `transformers`, `vllm`. Nothing is known of a task on responses where there is
    none, and of another task than that by which a chain was swapped. Rows of another guard than the one that is asked are rejected as `other_guard`.
    """

    name = "force_answers"
    inputs = ("rows", "*")
    takes = {"*": "model"}
    own_guards = True
    uses = frozenset({"guard.tasks", "guard.input", "guard.output"})
    config_class = ForceAnswersConfig
    example = {"models": {"main": {"backend": "transformers", "model": "my-guard"}}}
    config: ForceAnswersConfig

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        names = [*(n for n in inputs if n != "rows"), *self.config.models]
        if len(names) != 1:
            message = f"force_answers asks one guard, and {'none' if not names else ', '.join(names)} is named"
            raise InputError(message, hint="name it in `from` (from: {rows: STEP, main: TRAIN_STEP}) or under `models`")
        if not self.config.models:
            self._trained("-")
        for config in self.config.models.values():
            check_forced(guard, config)
        input_columns(guard, inputs.get("rows", {}))
        return super().columns(inputs, guard)

    def _trained(self, path: str) -> BaseBackendConfig:
        if self.config.backend is None:
            raise InputError("force_answers needs `backend` to run the guard that an earlier step trained", hint="backend: {backend: transformers}")
        return BACKENDS.get(self.config.backend.backend).model_validate({**self.config.backend.model_dump(), "model": path})

    def reads(self, guard: Guard) -> list[str]:
        return ["id", "guard_model", "context", "prompt", "response", "begun", "opened", "swapped_by"]

    def sends(self, guard: Guard) -> list[str]:
        return ["context", "prompt", "response", *([POLICY] if guard.policy is not None else []), "begun"]

    def writes(self, guard: Guard) -> list[Column]:
        labels = [Column(f"forced_{t}", "string", nullable=True, doc="the likeliest label there") for t in guard.task_names]
        doc = "of the positive label there, normalised over the task's labels"
        return labels + [Column(f"forced_probability_{t}", "float64", nullable=True, doc=doc) for t in guard.task_names]

    def used(self) -> frozenset[str]:
        return self.uses.union(*(b.uses for b in self.config.models.values()))

    def backends(self) -> dict[str, BaseBackendConfig]:
        return dict(self.config.models)

    def needs(self, ctx: Context) -> list[str]:
        return [*super().needs(ctx), *(self.config.backend.needs() if self.config.backend else [])]

    def open(self, ctx: Context, inputs: Mapping[str, StepInput]) -> list[tuple[str, Callable[[], Backend]]]:
        trained = {n: self._trained(str(Path(i.artefact("model")).resolve())) for n, i in inputs.items() if n != "rows"}
        ((name, config),) = (trained | self.config.models).items()
        check_forced(ctx.guard, config)
        self._asked, self._ctx = config, ctx
        return [(name, lambda: _backends.opened(config, ctx, judges=True))]

    def requests(self, row: Mapping[str, Any], name: str, backend: Backend, ctx: Context) -> list[Request]:
        if row["guard_model"] != name:
            raise Unasked("other_guard", f"an output of {row['guard_model']}, and {name} is asked")
        return [forced_question(ctx.guard, row, row["begun"], backend, self._asked, opened=row["opened"])]

    def answer(self, row: Mapping[str, Any], name: str, draw: int, request: Request, completion: Completion) -> dict[str, Any]:
        guard, out = self._ctx.guard, dict(row)
        found = forced_answer(guard, row, completion)
        for task in guard.tasks:
            known = task.name in answered_tasks(guard, row) and row["swapped_by"] in (None, task.name)
            out[f"forced_{task.name}"] = found.label(task.name) if known else None
            out[f"forced_probability_{task.name}"] = found.probabilities.get(task.name, {}).get(task.positive) if known else None
        return {**out, REASON: completion.error, DETAIL: completion.detail}
