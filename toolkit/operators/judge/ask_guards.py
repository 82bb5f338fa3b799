"""Operator `ask_guards`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from toolkit.common.errors import InputError
from toolkit.common.paths import Beside
from toolkit.evaluation import NOT_JUDGED
from toolkit.generation import BaseBackendConfig, open_backend
from toolkit.guards import Guard, check_reading, input_columns, load_guard
from toolkit.judging import as_one, check_plays, generation_record, parsed_of, questions, read_plain
from toolkit.operators._media_taken import asking_fault, unasked
from toolkit.operators._stop_if import StopIf
from toolkit.operators._texts_beside import beside_column, text_beside
from toolkit.operators.base import DETAIL, REASON, Columns, Config, Context, GenerationOperator, Shape, StepInput, Unasked
from toolkit.operators.figures import Figure, some
from toolkit.operators.judge.sample import GuardBackend
from toolkit.records import MEDIA, Column, load_record

if TYPE_CHECKING:
    from toolkit.generation import Backend, Completion, Request


class AskedGuard(Config):
    """A guard and how its labels are called here."""

    guard: str
    """Its definition (`guardkit guards`): a name, or a path ending in .yaml."""
    backend: GuardBackend
    """The model that plays it."""
    reading: str | None = None
    """For labels of which some stand for others (`readings` of its tasks): by which reading."""
    labels: dict[str, dict[str, str | None]] = Field(default_factory=dict)
    """By task: for a label of its own the one of the recipe's guard; null: none. Labels of the same name need not be named."""


class AskGuardsConfig(Config):
    """Options of `ask_guards`."""

    guards: dict[str, AskedGuard] = Field(min_length=1)
    """Guards by name, each with its own definition: `{llama: {guard: llama_guard_3, backend: {…}}}`."""
    of: str | None = None
    """What they judge in place of prompt and response: a text column (a `rewrite`), or what the recipe's guard writes beside its labels in the rows'
    reasoning. Rows without such a text are set aside as `no_text`."""
    stop_if: StopIf | None = None
    """When to stop asking a guard of which too many answers fail; null: never."""


class AskGuards(GenerationOperator):
    """Ask guards of other definitions than the recipe's once about each row, and read their verdicts as labels of the recipe's guard.

    One row out for each row and guard, as a step of `verdicts` has them, so that `relabel`, `noise` and `mine` take them for votes:
    IntentionReasoner's labels are set by what Llama Guard and WildGuard agree on. Tasks count by their names; a task that a guard does not have is
    `not_judged` by it. A guard with several calls about a row is asked by all of them. What cannot be read stays, with its reason; an answer that
    fails is rejected.
    """

    name = "ask_guards"
    shape: ClassVar[Shape] = "expand"
    config_class = AskGuardsConfig
    example = {"guards": {"llama": {"guard": "llama_guard_3", "backend": {"backend": "openai", "model": "llama-guard-3"}}}}
    uses = frozenset({"guard.tasks", "guard.output"})
    figures = (Figure("verdicts", "verdicts of each guard by task and label", some("verdicts")),)
    config: AskGuardsConfig
    _beside: Beside = None

    def _guard(self, name: str) -> Guard:
        return load_guard(self.config.guards[name].guard, self._beside)

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        self._columns = inputs.get("rows", {})
        if self.config.of is not None:
            beside_column(self.name, self.config.of, self._columns, guard)
        return super().columns(inputs, guard)

    def reads(self, guard: Guard) -> list[str]:
        return load_record("seed", guard.task_names).names

    def sends(self, guard: Guard) -> list[str]:
        return ["context", "prompt", "response"] if self.config.of is None else [self.config.of if self.config.of in self._columns else "reasoning"]

    def writes(self, guard: Guard) -> list[Column]:
        seed = self.reads(guard)
        return [c for c in load_record("verdict", guard.task_names).columns if c.name not in seed]

    def media_fault(self, guard: Guard) -> str | None:
        if self.config.of is not None:
            return None
        return next((f for n, g in self.config.guards.items() if (f := asking_fault(self._guard(n), [g.backend])) is not None), None)

    def backends(self) -> dict[str, BaseBackendConfig]:
        return {name: asked.backend for name, asked in self.config.guards.items()}

    def files(self, ctx: Context) -> dict[str, str]:
        self._beside = ctx.roots
        found = {}
        for name in self.config.guards:
            other = self._guard(name)
            check_plays(other, self.config.guards[name].backend)
            self._map(name, other, ctx.guard)
            if self.config.of is None:
                input_columns(other, self._columns)
            found[f"{name}.guard"] = other.fingerprint
        return super().files(ctx) | found

    def identity(self) -> dict[str, Any]:
        out = super().identity()
        return out | {"guards": {n: {k: v for k, v in g.items() if k != "guard"} for n, g in out["guards"].items()}}  # they are among `files`

    def words(self, ctx: Context) -> list[str]:
        self._beside = ctx.roots
        tasks = {n: [t for t in ctx.guard.task_names if t in self._guard(n).task_names] for n in self.config.guards}
        return [f"{name} ({self._guard(name).name}) judges {', '.join(judged)}." for name, judged in tasks.items()]

    def factor(self, inputs: Sequence[str]) -> float:
        return float(len(self.config.guards))

    def _map(self, name: str, other: Guard, own: Guard) -> dict[str, dict[str, str | None]]:
        """By task of both guards: a label of the other one's, in the reading, as the recipe's.

        Raises:
            InputError: the two share no task, a task is not shared, or a label has no counterpart.
        """
        asked, where = self.config.guards[name], f"ask_guards.guards.{name}"
        if asked.reading is not None:
            check_reading(other, asked.reading)
        shared = [t for t in own.tasks if t.name in other.task_names]
        if not shared:
            raise InputError(f"the guard {other.name!r} judges none of {', '.join(own.task_names)}", where=where)
        if odd := next((t for t in asked.labels if t not in {task.name for task in shared}), None):
            raise InputError(f"labels: {odd!r} is no task of both guards, which are {', '.join(t.name for t in shared)}", where=where)
        out: dict[str, dict[str, str | None]] = {}
        for task in shared:
            theirs = other.task(task.name)
            spoken = {label if asked.reading is None else str(theirs.read_as(label, asked.reading)) for label in theirs.labels}
            given = asked.labels.get(task.name, {})
            if odd := next((label for label in given if label not in spoken), None):
                raise InputError(f"labels.{task.name}: {other.name!r} says no {odd!r} but {', '.join(sorted(spoken))}", where=where)
            if odd := next((label for label in given.values() if label is not None and label not in task.labels), None):
                raise InputError(f"labels.{task.name}: {odd!r} is none of {', '.join(task.labels)}", where=where)
            if lost := sorted(label for label in spoken - given.keys() if label not in task.labels):
                hint = f"labels: {{{task.name}: {{{lost[0]}: {task.labels[0]}}}}}, or null where it is no vote"
                raise InputError(f"{other.name!r} may say {lost[0]!r} of {task.name}, which is no label of {own.name!r}", where=where, hint=hint)
            out[task.name] = {label: given.get(label, label) for label in spoken}
        return out

    def open(self, ctx: Context, inputs: Mapping[str, StepInput]) -> list[tuple[str, Callable[[], Backend]]]:
        self._beside, self._ctx = ctx.roots, ctx
        self._guards = {name: self._guard(name) for name in self.config.guards}
        self._labels = {name: self._map(name, other, ctx.guard) for name, other in self._guards.items()}
        self._opened: dict[str, Backend] = {}
        self._counts: Counter[tuple[str, str, str]] = Counter()

        def opened(name: str) -> Backend:
            config, roots = self.config.guards[name].backend, ctx.roots
            self._opened[name] = open_backend(config, guard=self._guards[name], taxonomy=ctx.taxonomy, beside=roots, work=ctx.work, judges=True)
            return self._opened[name]

        return [(name, partial(opened, name)) for name in self.config.guards]

    def _asked(self, row: Mapping[str, Any], name: str) -> dict[str, Any]:
        """The row as the guard is shown it."""
        shown = {**row, "only_tasks": list(self._labels[name])}
        if self.config.of is None:
            return shown
        text = text_beside(self.config.of, row, self._ctx.guard, self._columns)
        if text is None:
            raise Unasked("no_text", f"the row has no {self.config.of}", set_aside=True)
        return {**{n: v for n, v in shown.items() if n != MEDIA}, "context": [], "prompt": text, "response": None}

    def _calls(self, row: Mapping[str, Any], name: str) -> list[Request]:
        asked = self._asked(row, name)
        config, folder = self.config.guards[name].backend, self._ctx.media_folder
        return unasked(lambda: questions(self._guards[name], asked, self._opened[name], config, folder=folder))

    def requests(self, row: Mapping[str, Any], name: str, backend: Backend, ctx: Context) -> list[Request]:
        self._opened[name] = backend
        return self.every_request(row, name, backend, ctx)[:1]

    def every_request(self, row: Mapping[str, Any], name: str, backend: Backend, ctx: Context) -> list[Request]:
        self._opened[name] = backend
        if not (found := self._calls(row, name)):
            raise Unasked("not_asked", f"the guard {self._guards[name].name!r} judges responses, and there is none", set_aside=True)
        return found

    def asks_again(self, guard: Guard) -> bool:
        return any(len(self._guard(name).calls) > 1 for name in self.config.guards)

    def again(
        self, row: Mapping[str, Any], name: str, request: Request, completion: Completion, trail: Sequence[Completion], ctx: Context
    ) -> Request | None:
        if completion.error is not None:
            return None
        asked = {request.key, *(c.key for c in trail)}
        return next((q for q in self._calls(row, name) if q.key not in asked), None)

    def answer(self, row: Mapping[str, Any], name: str, draw: int, request: Request, completion: Completion) -> dict[str, Any]:
        guard, asked, own = self._guards[name], self._asked(row, name), self._ctx.guard
        record = generation_record(row["id"], name, draw, request, completion)
        labels: dict[str, str | None] = dict.fromkeys(own.task_names)
        reasons: dict[str, str | None] = dict.fromkeys(own.task_names, completion.error or NOT_JUDGED)
        if completion.error is None:
            came = {c.key: c for c in (*completion.trail, completion)}
            answers = [came[q.key] for q in self._calls(row, name)]
            parsed = parsed_of(guard, asked, answers, partial(read_plain, guard, asked, "lenient"))
            record |= as_one(guard, asked, answers)
            for task, words in self._labels[name].items():
                answer, reading = parsed.labels[task], self.config.guards[name].reading
                label = None if answer is None else words[answer if reading is None else str(guard.task(task).read_as(answer, reading))]
                labels[task], reasons[task] = label, None if label is not None else parsed.reasons[task] or NOT_JUDGED
                if label is not None or asked["response"] is not None or own.task(task).applies == "always":
                    self._counts[name, task, label or "(unread)"] += 1
        read = {f"{kind}_{t}": found[t] for kind, found in (("verdict", labels), ("unread", reasons)) for t in own.task_names}
        return {**row, **record, **read, REASON: completion.error, DETAIL: completion.detail}

    def stats(self) -> dict[str, Any]:
        return {"verdicts": [{"guard": g, "task": t, "label": label, "rows": n} for (g, t, label), n in sorted(self._counts.items())]}
