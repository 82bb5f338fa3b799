"""Operator `assign_categories`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from toolkit.common.yamlfile import FaultAt
from toolkit.generation import BackendConfig, BaseBackendConfig, build_request
from toolkit.guards import Guard
from toolkit.operators._harm_tasks import harm_tasks
from toolkit.operators._stop_if import StopIf
from toolkit.operators.base import DETAIL, REASON, Config, Context, Unasked
from toolkit.operators.labels._category_figures import ASSIGNED, NONE, Confusion, counted, voted
from toolkit.operators.reason._asking import AskingOperator, GraderPrompt, closed_schema, load_grader, read_object
from toolkit.records import Column

if TYPE_CHECKING:
    from toolkit.generation import Backend, Completion, Request

_VARIABLES = ("categories", "none", "context", "prompt", "response")
SOURCE = "categories_source"
SOURCES = {
    "source": "the row came with them",
    "labels": "the row's labels name no harm, and nobody was asked",
    "model": "a model named them; with none, it says that the row falls under none",
    "undecided": "the answers differ too much: there are none",
    "unread": "no answer could be read: there are none",
    "reviewed": "a person set or confirmed them (operator `review`)",
}
"""What the column `categories_source` says."""


class AssignCategoriesConfig(Config):
    """Options of `assign_categories`."""

    backend: BackendConfig
    """The model that is asked; `{backend: template}` goes by the taxonomy's own words, to try guardkit."""
    prompt: str = "categories"
    """What it is asked: a name in schemas/graders, or a path ending in .yaml."""
    k: int = Field(1, ge=1, le=25)
    """Answers about each row."""
    at_least: float = Field(0.5, gt=0, le=1)
    """Share of the answers that must name a category for the row to have it; the same share must say that it has none."""
    known: Literal["keep", "measure", "again"] = "keep"
    """Rows that have a category: keep leaves them as they are; measure asks about them, too, and leaves them as they are, for the figures; again
    gives them the answer's categories, and keeps theirs in `categories_before`."""
    harmless: Literal["skip", "ask"] = "skip"
    """Rows without a category whose labels name no harm: skip leaves them without one; ask asks about them like the others."""
    harm_tasks: list[str] | None = Field(None, min_length=1)
    """Tasks whose positive label means harm (default: `prompt` and `response`, or all of a guard that has neither)."""
    attempts: int = Field(2, ge=1, le=10)
    """Answers to ask for, at most, until one can be read: each of the k."""
    on_fault: Literal["flag", "reject"] = "flag"
    """flag: a row without a readable answer goes on without a category. reject: it is rejected (`categories_malformed`)."""
    stop_if: StopIf | None = None
    """Stop asking once more than a share of the rows comes to nothing: {rejected: 0.5, after: 200}."""

    @model_validator(mode="after")
    def _draws_differ(self) -> AssignCategoriesConfig:
        if self.k > 1 and getattr(self.backend, "temperature", None) == 0:
            raise FaultAt(f"{self.k} answers at temperature 0 are {self.k} times the same: set a temperature, or k: 1", "k")
        return self


class AssignCategories(AskingOperator):
    """Give rows without a harm category those that a model names, which is shown the taxonomy's definitions; several of them where it names several.

    Of k answers a row gets the categories that a share of them name (`at_least`); how many named which is in `categories_votes`, the smallest share
    behind what the row got in `categories_agreement`, and where its categories come from in `categories_source` (source, labels, model, undecided,
    unread). An answer is JSON with names of the taxonomy, or it is asked for again. A failed generation is rejected with its class. Where rows came
    with categories and are asked about all the same (`known`), the figures hold the one against the other.
    """

    name = "assign_categories"
    in_guards_words = False
    config_class = AssignCategoriesConfig
    figures = ASSIGNED
    uses = frozenset({"guard.tasks", "taxonomy"})
    example = {"backend": {"backend": "openai", "model": "my-model", "temperature": 0.7}, "k": 3}
    config: AssignCategoriesConfig

    @property
    def backend(self) -> BaseBackendConfig:
        return self.config.backend

    def reads(self, guard: Guard) -> list[str]:
        return ["id", "context", "prompt", "response", "categories", *(f"label_{t}" for t in harm_tasks(guard, self.config.harm_tasks))]

    def sends(self, guard: Guard) -> list[str]:
        return ["context", "prompt", "response"]

    def writes(self, guard: Guard) -> list[Column]:
        vote = {"struct": {"category": "string", "share": "float64", "n": "int64"}}
        before = [Column("categories_before", {"list": "string"}, doc="what it had")] if self.config.known == "again" else []
        return [
            Column("categories", {"list": "string"}, doc="harm categories of the taxonomy; empty where there is none, see categories_source"),
            Column(SOURCE, "string", doc="; ".join(f"{word}: {meaning}" for word, meaning in SOURCES.items())),
            Column("categories_votes", {"list": vote}, doc=f"share and number of the answers that name each category, or {NONE}"),
            Column("categories_agreement", "float64", nullable=True, doc="smallest share behind its categories, or behind none; null: no model"),
            Column("categories_model", "string", nullable=True, doc="model that was asked"),
            Column("categories_key", "string", nullable=True, doc="journal keys of its answers, with spaces between them"),
            *before,
        ]

    def identity(self) -> dict[str, Any]:
        return {**self.config.model_dump(mode="json", exclude={"backend", "prompt", "stop_if"}), "backend": self.backend.identity()}

    def files(self, ctx: Context) -> dict[str, str]:
        return super().files(ctx) | {"prompt": self._prompt(ctx).fingerprint}

    def _prompt(self, ctx: Context) -> GraderPrompt:
        return load_grader(self.config.prompt, ctx.roots, _VARIABLES, ("prompt", "response"))

    def open(self, ctx: Context, inputs: Mapping[str, Any]) -> Any:
        self._asked_with = self._prompt(ctx)
        self._meant = {word: name or NONE for word, name in ctx.taxonomy.scheme(ctx.taxonomy.name).items()} | {NONE: NONE}
        self._positive = {f"label_{t}": ctx.guard.task(t).positive for t in harm_tasks(ctx.guard, self.config.harm_tasks)}
        self._found = Confusion(list(ctx.taxonomy.names))
        return super().open(ctx, inputs)

    def question(self, row: Mapping[str, Any], ctx: Context, *, structured: bool) -> list[dict[str, str]]:
        values = {name: row[name] for name in ("prompt", "response")} | {"context": row["context"] or []}
        return self._asked_with.messages(values | {"categories": ctx.taxonomy.categories, "none": NONE})

    def schema(self, ctx: Context) -> str:
        names = {"type": "array", "items": {"type": "string", "enum": [*ctx.taxonomy.names, NONE]}}
        return closed_schema("categories", {"categories": names})

    def requests(self, row: Mapping[str, Any], name: str, backend: Backend, ctx: Context) -> list[Request]:
        if row["categories"]:
            if self.config.known == "keep":
                raise self._unasked(row, "source", "the row has a category")
        elif self.config.harmless == "skip" and self._names_no_harm(row):
            raise self._unasked(row, "labels", "the row's labels name no harm")
        return super().requests(row, name, backend, ctx)

    def _unasked(self, row: Mapping[str, Any], source: str, why: str) -> Unasked:
        """Lets a row go on as it is; what an earlier step of this operator says of it stays."""
        self._found.unasked(source)
        votes: dict[str, Any] = {"categories_votes": row.get("categories_votes") or []}
        before = {"categories_before": row["categories"]} if self.config.known == "again" else {}
        return Unasked(source, why, keep=votes | before | {SOURCE: self._came_with(row) if source == "source" else source})

    def every_request(self, row: Mapping[str, Any], name: str, backend: Backend, ctx: Context) -> list[Request]:
        first = self.requests(row, name, backend, ctx)
        structured = bool(first[0].schema)
        return first + [self._request(row, backend, ctx, structured=structured, draw=draw) for draw in range(1, self.config.k)]

    def _names_no_harm(self, row: Mapping[str, Any]) -> bool:
        labels = {name: label for name in self._positive if (label := row[name]) is not None}
        return bool(labels) and all(self._positive[name] != label for name, label in labels.items())

    def _request(self, row: Mapping[str, Any], backend: Backend, ctx: Context, *, structured: bool, draw: int = 0, attempt: int = 0) -> Request:
        if self.backend.is_model:
            return super()._request(row, backend, ctx, structured=structured, draw=draw, attempt=attempt)
        template: Any = backend  # it alone can make its messages
        return build_request(backend, self.backend, template.category_messages(row), draw=draw, row=row["id"])

    def again(
        self, row: Mapping[str, Any], name: str, request: Request, completion: Completion, trail: Sequence[Completion], ctx: Context
    ) -> Request | None:
        if (in_text := super().again(row, name, request, completion, trail, ctx)) is not None or completion.error is not None:
            return in_text
        structured, draw, attempt = bool(request.schema), request.draw, request.attempt + 1
        if self._read(completion) is not None or attempt >= self.config.attempts:
            draw, attempt = draw + 1, 0
        return self._request(row, self._opened, ctx, structured=structured, draw=draw, attempt=attempt) if draw < self.config.k else None

    def _read(self, completion: Completion) -> list[str] | None:
        """The categories that an answer names, none for `NONE`; None where it cannot be read."""
        found = (read_object(completion.text, ["categories"]) or {}).get("categories")
        if not isinstance(found, list) or any(not isinstance(name, str) or name not in self._meant for name in found):
            return None
        named = list(dict.fromkeys(self._meant[name] for name in found))
        return None if NONE in named and len(named) > 1 else [n for n in named if n != NONE]

    def answer(self, row: Mapping[str, Any], name: str, draw: int, request: Request, completion: Completion) -> dict[str, Any]:
        answers = [c for c in (*completion.trail, completion) if c.error is None]
        readable = [found for c in answers if (found := self._read(c)) is not None]
        vote = voted(readable, self.config.at_least)
        reason, detail = completion.error, completion.detail
        if reason is None:
            self._found.asked(len(answers), len(readable))
            self._found.add(self._given(row), vote)
            if not readable and self.config.on_fault == "reject":
                reason, detail = "categories_malformed", f"none of {len(answers)} answers is JSON with names of categories: {completion.text!r:.100}"
        measured = bool(row["categories"]) and self.config.known == "measure"
        return {
            **row,
            **({"categories_before": row["categories"]} if self.config.known == "again" else {}),
            "categories": row["categories"] if measured else list(vote.categories),
            SOURCE: self._came_with(row) if measured else vote.outcome,
            "categories_votes": counted(readable),
            "categories_agreement": vote.agreement,
            "categories_model": self._shown(self.backend, request.model_id),
            "categories_key": " ".join(c.key for c in answers),
            REASON: reason,
            DETAIL: detail,
        }

    def _given(self, row: Mapping[str, Any]) -> list[str] | None:
        """What the row is known to fall under: none of them for a harmless one, None where it is not known."""
        return list(row["categories"]) or ([] if self._names_no_harm(row) else None)

    def _came_with(self, row: Mapping[str, Any]) -> str:
        """Where the categories of a row come from that had some: an earlier step of this operator may have named it."""
        return row.get(SOURCE) or "source"

    def stats(self) -> dict[str, Any]:
        return self._found.report()
