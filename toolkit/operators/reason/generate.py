"""Operator `generate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from toolkit.common.errors import InputError
from toolkit.generation import BackendConfig, BaseBackendConfig, build_request
from toolkit.guards import Guard, template, variables
from toolkit.operators import _backends
from toolkit.operators._media_taken import asking_fault, attach
from toolkit.operators._stop_if import StopIf
from toolkit.operators._words import closed
from toolkit.operators.base import DETAIL, REASON, Columns, Config, Context, GenerationOperator, StepInput
from toolkit.records import Column

if TYPE_CHECKING:
    from toolkit.generation import Backend, Completion, Request


class GenerateConfig(Config):
    """Options of `generate`."""

    backend: BackendConfig
    """The model to ask."""
    user: str = Field(min_length=1)
    """What it is asked: a Jinja template (sandboxed) whose variables are the row's columns: `Translate into French: {{ prompt }}`. Text of a
    row is inserted as it is and never read as a template."""
    system: str | None = None
    """System message, likewise; none by default."""
    column: str = Field("generated", pattern=r"^[a-z][a-z0-9_]*$")
    """Column for the answer; `<column>_model`, `<column>_key` and `<column>_finish` are beside it."""
    stop_if: StopIf | None = StopIf()
    """Stop asking once more than this share of the rows comes to nothing. null: go on whatever comes."""

    @field_validator("backend")
    @classmethod
    def _is_a_model(cls, value: BaseBackendConfig) -> BaseBackendConfig:
        if not value.is_model:
            raise ValueError("the template teacher answers no questions: generate asks a model")
        if value.structure != "off":
            raise ValueError("generate asks for text: structured is for synthesise")
        return value

    @field_validator("user", "system")
    @classmethod
    def _renders(cls, value: str | None) -> str | None:
        variables(value or "")
        return value


class Generate(GenerationOperator):
    """Ask a model one question about each row, with any columns in it, and keep the answer in a column.

    A row whose generation fails is rejected with the class of the failure.
    """

    name = "generate"
    uses = frozenset({"guard.tasks"})
    config_class = GenerateConfig
    example = {"backend": {"backend": "openai", "model": "my-model"}, "user": "Say this in plain words: {{ prompt }}", "column": "plain"}
    config: GenerateConfig

    def reads(self, guard: Guard) -> list[str]:
        asked = variables(self.config.user) | variables(self.config.system or "")
        return ["id", *sorted(asked - {"id"})]

    def writes(self, guard: Guard) -> list[Column]:
        name = self.config.column
        return [
            Column(name, "string", doc="what the model wrote"),
            Column(f"{name}_model", "string", doc="model that wrote it"),
            Column(f"{name}_key", "string", doc="journal key of the generation"),
            Column(f"{name}_finish", "string", nullable=True, doc="why the generation ended: stop, length, …"),
        ]

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        out = super().columns(inputs, guard)
        for column in self.writes(guard):
            if column.name in inputs[self.inputs[0]]:
                raise InputError(f"generate would write over the column {column.name!r}", hint="name another: column: …")
        if self.config.column in closed(guard):
            message = f"the column {self.config.column!r} holds words that the guard knows, and generate writes what a model says"
            raise InputError(message, hint="name another: column: …")
        return out

    def media_fault(self, guard: Guard) -> str | None:
        return asking_fault(None, [self.config.backend])

    def open(self, ctx: Context, inputs: Mapping[str, StepInput]) -> list[tuple[str, Callable[[], Backend]]]:
        self._shown = _backends.ShownModels(ctx.roots)
        return super().open(ctx, inputs)

    def requests(self, row: Mapping[str, Any], name: str, backend: Backend, ctx: Context) -> list[Request]:
        asked = [("system", self.config.system), ("user", self.config.user)]
        messages = [{"role": role, "content": template(source).render(row)} for role, source in asked if source is not None]
        media = attach(row, ctx.media_folder, None, [self.config.backend])
        return [build_request(backend, self.config.backend, messages, row=row["id"], media=media)]

    def answer(self, row: Mapping[str, Any], name: str, draw: int, request: Request, completion: Completion) -> dict[str, Any]:
        column = self.config.column
        return {
            **row,
            column: completion.text or "",
            f"{column}_model": self._shown(self.config.backend, request.model_id),
            f"{column}_key": completion.key,
            f"{column}_finish": completion.finish,
            REASON: completion.error,
            DETAIL: completion.detail,
        }
