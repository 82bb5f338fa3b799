"""Operator `sample`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, create_model, model_validator
from pydantic.json_schema import SkipJsonSchema

from toolkit.common.errors import InputError, did_you_mean
from toolkit.generation import BACKENDS, BackendConfig, BaseBackendConfig, OpenUnion, TransformersConfig, VllmConfig
from toolkit.guards import POLICY, THINKS, Guard, input_columns, not_ours
from toolkit.judging import as_guard, as_one, check_plays, generation_record, known_of, question, questions, scores
from toolkit.mining import check_counts_alone, check_screen, load_rule
from toolkit.operators import _backends
from toolkit.operators._media_taken import asking_fault, unasked
from toolkit.operators._stop_if import StopIf
from toolkit.operators.base import DETAIL, REASON, Columns, Config, Context, GenerationOperator, Shape, StepInput, Unasked
from toolkit.operators.judge._adaptive import AdaptiveConfig, Drawing, check_adaptive
from toolkit.operators.judge._verdict_figures import SAMPLED
from toolkit.records import Column, load_record

if TYPE_CHECKING:
    from toolkit.generation import Backend, Completion, Request


def _no_model(value: Any) -> Any:
    if value:
        raise ValueError("takes no model here: it is that of the step named in `from`")
    return ""


OfStep = Annotated[SkipJsonSchema[Literal[""]], BeforeValidator(_no_model)]


class StepTransformers(TransformersConfig):
    """How transformers runs a guard that an earlier step trained."""

    model: OfStep = ""
    """The model is that of the step named in `from`."""


class StepVllm(VllmConfig):
    """How vLLM runs a guard that an earlier step trained."""

    model: OfStep = ""
    """The model is that of the step named in `from`."""


@lru_cache(maxsize=32)
def _of_step(cls: type[BaseBackendConfig]) -> type[BaseBackendConfig] | None:
    """How another package's backend runs a guard that an earlier step trained; None for one that runs no model of this machine."""
    if not (cls.runs_here and "model" in cls.model_fields):
        return None
    made: type[BaseBackendConfig] = create_model(f"Step{cls.__name__}", __base__=cls, __doc__=cls.__doc__, model=(OfStep, ""))
    return made


StepBackend = Annotated[
    BaseBackendConfig,
    OpenUnion(Annotated[StepTransformers | StepVllm, Field(discriminator="backend")], _of_step),
    AfterValidator(as_guard),
]


GuardBackend = Annotated[BackendConfig, AfterValidator(as_guard)]


class SampleConfig(Config):
    """Options of `sample`."""

    k: int = Field(4, ge=1)
    """Draws from each guard (4 in the paper's figure and in the released code)."""
    backend: StepBackend | None = None
    """How guards that earlier steps trained are run: `{backend: transformers, …}` or `{backend: vllm, …}`, without `model`, which is the step's."""
    models: dict[str, GuardBackend] = Field(default_factory=dict)
    """Further guards by name, each with its whole backend."""
    answers_alone: list[str] = []
    """Names of guards that are asked for their answers alone, by the word that their `switch` has for that; a guard may be there under two names."""
    stop_if: StopIf | None = None
    """When to stop asking a guard of which too many draws fail; null: never."""
    adaptive: AdaptiveConfig | None = None
    """Draw no more than a rule needs; null: every guard `k` times. The draws are the same ones, so that the journal serves both."""
    seconds: bool = False
    """Rows keep the seconds that each draw took, as the journal has them: its waits, retries and place in a batch included; null from the Batch API.
    With another journal these differ, so that a step with them is not made of the same bytes again."""

    @model_validator(mode="after")
    def _draws_differ(self) -> SampleConfig:
        every = [*self.models.values(), *([self.backend] if self.backend else [])]
        if self.k > 1 and any(getattr(b, "temperature", None) == 0 for b in every):
            raise ValueError(f"{self.k} draws at temperature 0 are {self.k} times the same: set a temperature (1.0 in the paper), or k: 1")
        return self

    def for_model(self, path: str) -> BaseBackendConfig:
        """The backend of a guard that an earlier step trained."""
        if self.backend is None:
            raise InputError("sample needs `backend` to run the guards that earlier steps trained", hint="backend: {backend: transformers}")
        return BACKENDS.get(self.backend.backend).model_validate({**self.backend.model_dump(), "model": path})


class Sample(GenerationOperator):
    """Ask each guard `k` times about each row (paper, section 3.3).

    Guards come from earlier steps (named inputs beside `rows`: `from: {rows: pool, main: train-main}`) or from `models`. One row a draw; a draw
    that fails is rejected with the class of the failure. With `adaptive` a draw that is not needed is set aside as `settled` or `screened`; what
    that saved and may have lost is in the figures. A guard with several calls is asked by all of them, one after another, and a draw is still
    one row, whose `output` is a JSON object of the answers by call. A row has the tokens that its draw took and, where a backend has `logprobs`,
    the probability of each task's positive label.
    """

    name = "sample"
    version = 2
    shape: ClassVar[Shape] = "expand"
    inputs = ("rows", "*")
    takes = {"*": "model"}
    uses = frozenset({"guard.tasks", "guard.input"})
    figures = SAMPLED
    config_class = SampleConfig
    example = {"k": 4, "models": {"main": {"backend": "transformers", "model": "my-guard", "temperature": 1.0, "top_p": 0.95}}}
    config: SampleConfig
    asked: tuple[str, ...] = ()
    """Names of the guards, once its inputs are known (`columns`)."""

    @classmethod
    def in_round(cls, options: Mapping[str, Any], number: int) -> dict[str, Any]:
        out = dict(options)
        if isinstance(out.get("backend"), Mapping):
            out["backend"] = _seeded(out["backend"], number)
        if isinstance(out.get("models"), Mapping):
            out["models"] = {name: _seeded(backend, number) for name, backend in out["models"].items()}
        return out

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        trained = [n for n in inputs if n != "rows"]
        self.asked = (*trained, *self.config.models)
        if not trained and not self.config.models:
            raise InputError("sample has no guard to ask", hint="name one in `from` (from: {rows: STEP, main: TRAIN_STEP}) or under `models`")
        if trained:
            self.config.for_model("-")
        if trained and guard.calls:
            raise not_ours(guard, "no earlier step trains it: name its model under `models`")
        for config in self.config.models.values():
            check_plays(guard, config)
        if self.config.adaptive is not None:
            every = self.config.models | {n: self.config.for_model("-") for n in trained}
            check_adaptive(self.config.adaptive, guard, every, self.config.k)
        if self.config.answers_alone and guard.switch is None:
            hint = "a guard's file has the words for both under `switch`"
            raise InputError(f"answers_alone: the guard {guard.name!r} has no switch for its reasoning", hint=hint)
        if odd := next((n for n in self.config.answers_alone if n not in self.asked), None):
            raise InputError(f"answers_alone names {odd!r}, which is not asked", hint=did_you_mean(odd, self.asked))
        if both := set(trained) & set(self.config.models):
            raise InputError(f"two guards are called {sorted(both)[0]!r}")
        input_columns(guard, inputs.get("rows", {}))
        return super().columns(inputs, guard)

    @property
    def _every_backend(self) -> list[BaseBackendConfig]:
        return [*self.config.models.values(), *([self.config.backend] if self.config.backend else [])]

    @property
    def _scored(self) -> bool:
        """Whether its rows have probabilities."""
        return any(map(scores, self._every_backend))

    def used(self) -> frozenset[str]:
        adaptive = self.config.adaptive is not None
        words = frozenset({"guard.output"} if self._scored or adaptive else ()) | ({"seed"} if adaptive else frozenset())
        return super().used().union(words, *(backend.uses for backend in self._every_backend))

    def reads(self, guard: Guard) -> list[str]:
        return load_record("seed", guard.task_names).names

    def sends(self, guard: Guard) -> list[str]:
        return ["context", "prompt", "response", *([POLICY] if guard.policy is not None else [])]

    def writes(self, guard: Guard) -> list[Column]:
        seed, there = (
            self.reads(guard),
            ["tokens", "seconds"][: 1 + self.config.seconds] + [f"probability_{t}" for t in guard.task_names if self._scored],
        )
        return [c for c in load_record("generation", guard.task_names).with_optional(there) if c.name not in seed]

    def identity(self) -> dict[str, Any]:
        out = super().identity()
        if not self.config.seconds:
            out.pop("seconds", None)
        if not self.config.answers_alone:
            out.pop("answers_alone", None)
        adaptive = out.pop("adaptive", None)
        if adaptive is not None:  # the rule is among `files`, and what is expected shapes nothing
            out["adaptive"] = {n: v for n, v in adaptive.items() if n not in {"rule", "expect"}}
        return out

    def files(self, ctx: Context) -> dict[str, str]:
        if (adaptive := self.config.adaptive) is None:
            return super().files(ctx)
        rule = load_rule(adaptive.rule, ctx.roots)
        rule.check(ctx.guard, k := dict.fromkeys(self.asked, self.config.k))
        check_counts_alone(rule)
        if adaptive.screen is not None:
            check_screen(rule, k)
        adaptive.earlier_file(ctx)
        return super().files(ctx) | {"adaptive.rule": rule.fingerprint}

    def asks_less(self, ctx: Context, rows: int | None) -> Mapping[str, Any] | None:
        adaptive = self.config.adaptive
        return None if adaptive is None else adaptive.forecast(ctx, dict.fromkeys(self.asked, self.config.k), rows)

    def factor(self, inputs: Sequence[str]) -> float:
        return float(self.config.k * len({*inputs, *self.config.models} - {"rows"}))

    def backends(self) -> dict[str, BaseBackendConfig]:
        return dict(self.config.models)

    def media_fault(self, guard: Guard) -> str | None:
        return asking_fault(guard, self._every_backend)

    def needs(self, ctx: Context) -> list[str]:
        return [*super().needs(ctx), *(self.config.backend.needs() if self.config.backend else [])]

    def _configs(self, inputs: Mapping[str, StepInput]) -> dict[str, BaseBackendConfig]:
        trained = {n: self.config.for_model(str(Path(i.artefact("model")).resolve())) for n, i in inputs.items() if n != "rows"}
        return trained | self.config.models

    def open(self, ctx: Context, inputs: Mapping[str, StepInput]) -> list[tuple[str, Callable[[], Backend]]]:
        self._opened = self._configs(inputs)
        self._backends: dict[str, Backend] = {}
        self._joins = ctx if self.asks_again(ctx.guard) else None
        self._ctx = ctx
        self._drawing: Drawing | None = None
        for config in self._opened.values():
            check_plays(ctx.guard, config)

        def opener(config: BaseBackendConfig) -> Callable[[], Backend]:
            return lambda: _backends.opened(config, ctx, judges=True)

        return [(name, opener(config)) for name, config in self._opened.items()]

    def passes(self, opened: Sequence[tuple[str, Callable[[], Backend]]]) -> Sequence[tuple[str, Callable[[], Backend]]]:
        if self.config.adaptive is None:
            return opened
        by_name = dict(opened)
        self._drawing = drawing = Drawing(self.config.adaptive, self._ctx.guard, list(by_name), self.config.k, self._ctx)
        names = [*by_name, *(f"further draws, {n} of {drawing.further}" for n in range(1, drawing.further + 1))]
        return [(name, partial(_begun, drawing, n, by_name)) for n, name in enumerate(names)]

    def requests(self, row: Mapping[str, Any], name: str, backend: Backend, ctx: Context) -> list[Request]:
        if (drawing := self._drawing) is not None:
            return drawing.of_row(row["id"], lambda: self.every_request(row, drawing.who, backend, ctx))
        return self.every_request(row, name, backend, ctx) if not self.asks_again(ctx.guard) else self._first(row, name, backend, ctx)

    def every_request(self, row: Mapping[str, Any], name: str, backend: Backend, ctx: Context) -> list[Request]:
        if name in self.config.answers_alone:
            row = {**row, THINKS: False}
        found = unasked(lambda: questions(ctx.guard, row, backend, self._opened[name], self.config.k, folder=ctx.media_folder))
        if not found:
            raise Unasked("not_asked", f"the guard {ctx.guard.name!r} judges responses, and the row has none")
        return found

    def _first(self, row: Mapping[str, Any], name: str, backend: Backend, ctx: Context) -> list[Request]:
        """The first call of each draw; the others follow it (`again`)."""
        self._backends[name] = backend
        found = self.every_request(row, name, backend, ctx)
        return found[:: len(found) // self.config.k]

    def asks_again(self, guard: Guard) -> bool:
        return len(guard.calls) > 1

    def again(
        self, row: Mapping[str, Any], name: str, request: Request, completion: Completion, trail: Sequence[Completion], ctx: Context
    ) -> Request | None:
        if completion.error is not None:  # a record is whole, or it is rejected: the next run asks what is left
            return None
        asked = {request.key, *(c.key for c in trail)}
        return next((q for q in self._calls(row, name, request.draw, ctx) if q.key not in asked), None)

    def _calls(self, row: Mapping[str, Any], name: str, draw: int, ctx: Context) -> Iterator[Request]:
        """The requests of all calls of a draw; two may be the same request."""
        for call in ctx.guard.calls_about(row):
            yield question(ctx.guard, call, row, self._backends[name], self._opened[name], draw, folder=ctx.media_folder)

    def answer(self, row: Mapping[str, Any], name: str, draw: int, request: Request, completion: Completion) -> dict[str, Any]:
        if (drawing := self._drawing) is not None:
            name, draw = drawing.who, request.draw
            drawing.take(row, draw, completion)
        record = generation_record(row["id"], name, draw, request, completion)
        answers = [completion]
        if self._joins is not None and completion.error is None:
            came = {c.key: c for c in (*completion.trail, completion)}
            answers = [came[q.key] for q in self._calls(row, name, draw, self._joins)]
            record |= as_one(self._joins.guard, row, answers)
        timed = self.config.seconds and not self._opened[name].deferred  # a batch is measured as a whole, which is no draw's own time
        record |= known_of(self._ctx.guard, row, answers, probabilities=self._scored, seconds=timed)
        if self.config.seconds:
            record.setdefault("seconds", None)
        return {**row, **record, REASON: completion.error, DETAIL: completion.detail}

    def stats(self) -> dict[str, Any]:
        return {} if self._drawing is None else self._drawing.stats()


def _seeded(backend: Any, number: int) -> Any:
    """The keys of a backend with the seed of a round; as they are where they are faulty, without a seed, or at temperature 0, where a seed is
    nothing."""
    try:
        default = BACKENDS.get(backend["backend"]).model_fields["seed"].default
    except (InputError, KeyError, TypeError):
        return backend
    seed = backend.get("seed", default)
    return backend if type(seed) is not int or backend.get("temperature") == 0 else {**backend, "seed": (seed + number - 1) % 2**31}


def _begun(drawing: Drawing, number: int, openers: Mapping[str, Callable[[], Backend]]) -> Backend:
    return openers[drawing.begin(number)]()
