"""Operator `synthesise`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from toolkit.common.errors import InputError
from toolkit.common.yamlfile import FaultAt
from toolkit.generation import BackendConfig, BaseBackendConfig, HandsOn, build_request
from toolkit.guards import POLICY, Guard, blind_messages, feedback, input_columns, load_prompt, response_format, teacher_messages
from toolkit.operators import _backends
from toolkit.operators._media_taken import asking_fault, attach
from toolkit.operators._stop_if import StopIf
from toolkit.operators.base import DETAIL, REASON, Columns, Config, Context, GenerationOperator, StepInput
from toolkit.operators.reason._feedback import sentences
from toolkit.operators.reason._forms import Forms
from toolkit.operators.reason._path import PROBE, Ask, Labels, Policy, Turn, blind_verdicts, is_probe, label_faults
from toolkit.operators.reason._teacher_figures import SYNTHESISED
from toolkit.operators.reason.validate import RULES, STANDARD, Rule, ruled
from toolkit.records import Column, load_record

if TYPE_CHECKING:
    from toolkit.generation import Backend, Completion, Request

Outcome = Literal[
    "refused",
    "content_filter",
    "empty",
    "invalid",
    "malformed",
    "too_large",
    "no_schema",
    "forbidden",
    "bad_request",
    "media",
    "rate_limit",
    "timeout",
    "server_error",
    "connection",
    "expired",
]


class SynthesiseConfig(Config):
    """Options of `synthesise`."""

    backend: BackendConfig
    """The teacher: `{backend: template}` to try guardkit, `{backend: openai, model: …}` for a real one."""
    fallback: list[BackendConfig] = Field(default_factory=list)
    """Further teachers, in order: each takes over what the one before it did not answer (see `fallback_on`). Each row names who answered."""
    fallback_on: list[Outcome] = Field(["refused", "content_filter", "invalid"], min_length=1)
    """What the next teacher takes over: classes of failure, and `invalid` for an answer that fails `rules` after its attempts (a refusal in plain
    words is one)."""
    attempts: int = Field(1, ge=1, le=10)
    """Answers to ask of each teacher, at most: one that fails `rules` is shown to it again with the reasons. What still fails is rejected here, with
    every attempt in `trail`; with one attempt and no fallback for `invalid` answers are taken as they are, for a `validate` step to check."""
    rules: list[Rule] = Field(list(STANDARD), min_length=1)
    """Rules of `validate` by which an answer is judged. `labels` never has a teacher asked again that was not shown the labels."""
    labels: Labels = "given"
    """Whether the teacher is shown the row's labels: given (paper, section 3.2); blind: it judges by itself, and its reasoning is kept; or
    blind_then_given: where its verdict differs, it is asked again with the labels, and that reasoning is kept. The verdicts go into `blind_<task>`,
    the tasks whose label they contradict into `suspect`; no label is changed."""
    prompt: str | None = None
    """Another prompt for the teacher than the guard's own: a name in schemas/prompts, or a path ending in .yaml."""
    definitions: Literal["none", "row", "all"] = "none"
    """Which harm categories the teacher is shown with what is in and out of them, behind the system prompt: none, those of the row, or all of the
    taxonomy. A blind teacher is not shown the row's, which would give its label away."""
    stop_if: StopIf | None = StopIf()
    """Stop asking once more than this share of the rows comes to nothing: a teacher that is of no use is found out early. null: go on whatever
    comes. The template teacher is never stopped."""

    @model_validator(mode="after")
    def _template_is_no_model(self) -> SynthesiseConfig:
        if not self.backend.is_model:
            for key, plain in (("labels", "given"), ("prompt", None), ("definitions", "none"), ("fallback", []), ("attempts", 1)):
                if getattr(self, key) != plain:
                    raise FaultAt("the template teacher writes from the labels alone, by no prompt, once: this needs a model", key)
        for i, backend in enumerate(self.fallback):
            if not backend.is_model:
                raise FaultAt("the template teacher is no model: what it writes must not be among a model's reasoning", "fallback", i)
        return self

    @model_validator(mode="after")
    def _blind_sees_no_category(self) -> SynthesiseConfig:
        if self.definitions == "row" and self.labels != "given":
            raise FaultAt("the row's categories would give its label away to a blind teacher: take `all`", "definitions")
        return self

    @model_validator(mode="after")
    def _teachers_differ(self) -> SynthesiseConfig:
        seen = [self.backend.address()]
        for i, backend in enumerate(self.fallback):
            if (who := backend.address()) in seen:
                raise FaultAt("this model is asked already: a fallback is another one", "fallback", i)
            seen.append(who)
        return self


_ANY = frozenset({"guard.tasks", "guard.output"})
_MODEL = _ANY | {"guard.questions", "guard.steps", "guard.input"}
_PROMPT = frozenset({"guard.system", "guard.user", "guard.blind", "guard.feedback"})
"""What a prompt of its own stands in for."""
_DEFINED = frozenset({"taxonomy.names", "taxonomy.cues", "taxonomy.descriptions"})


class Synthesise(GenerationOperator):
    """A teacher writes step-by-step reasoning for each row, its labels given (paper, section 3.2) or, in blind mode, kept from it.

    A row that no teacher answers is rejected with the class of the failure, one whose answers all fail the rules with the reason of the last;
    both with all attempts in `trail`. A `select` step parts suspect rows off (`where: {suspect: "null"}`); `validate` rejects a reasoning that
    differs from its row's labels, also where it judges a task that has none (let its source say `missing: to_infer`). The `template` teacher is
    for trying the tool and is named on every row.
    """

    name = "synthesise"
    version = 2
    uses = _MODEL | _PROMPT
    own_guards = True
    config_class = SynthesiseConfig
    example = {"backend": {"backend": "template"}}
    figures = SYNTHESISED
    config: SynthesiseConfig

    def used(self) -> frozenset[str]:
        c = self.config
        own = _ANY
        if c.backend.is_model:
            asked = {"given": {"system", "user"}, "blind": {"blind"}, "blind_then_given": {"system", "user", "blind"}}[c.labels]
            shown = {f"guard.{part}" for part in (asked | {"feedback"} if c.attempts > 1 else asked)}
            rules = self._policy().rules
            own = (_MODEL | shown | (ruled(rules) if rules else set())) - (_PROMPT if c.prompt else set())
            own |= _DEFINED if c.definitions != "none" else set()
        return own.union(*(config.uses for config in self._configs))

    def reads(self, guard: Guard) -> list[str]:
        return load_record("seed", guard.task_names).names

    def sends(self, guard: Guard) -> list[str]:
        policy = [POLICY] if self.config.backend.is_model and guard.policy is not None else []  # the template is shown none
        return ["context", "prompt", "response", *policy, "categories", *(f"label_{t}" for t in guard.task_names)]

    def writes(self, guard: Guard) -> list[Column]:
        seed = self.reads(guard)
        return [c for c in load_record("reasoned", guard.task_names).columns if c.name not in seed]

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        if self.config.backend.is_model:
            input_columns(guard, inputs.get("rows", {}))
        return super().columns(inputs, guard)

    @property
    def _configs(self) -> list[BaseBackendConfig]:
        return [self.config.backend, *self.config.fallback]

    @property
    def stop_if(self) -> StopIf | None:
        return self.config.stop_if if self.config.backend.is_model else None

    def media_fault(self, guard: Guard) -> str | None:
        return asking_fault(guard, self._configs)

    def backends(self) -> dict[str, BaseBackendConfig]:
        return {str(i): config for i, config in enumerate(self._configs)}

    def identity(self) -> dict[str, Any]:
        c = self.config
        read = {} if c.labels == "given" else {"blind_reading": 2}  # how `parse` reads what a teacher says of a row, which nothing else depends on
        return {
            **read,
            **({} if c.definitions == "none" else {"definitions": c.definitions}),
            "teachers": [config.identity() for config in self._configs],
            "fallback_on": sorted(set(c.fallback_on)) if c.fallback else [],
            "attempts": c.attempts,
            "rules": list(self._policy().rules),
            "labels": c.labels,
        }

    def files(self, ctx: Context) -> dict[str, str]:
        out = super().files(ctx)
        guard = self._guard(ctx)
        if self.config.labels != "given" and guard.taught.blind is None:
            raise InputError(f"labels: {self.config.labels}, but the prompt has no `blind` part", hint="write one: blind: {system: …, user: …}")
        return out | ({"prompt": load_prompt(self.config.prompt, ctx.roots).fingerprint} if self.config.prompt else {})

    def open(self, ctx: Context, inputs: Mapping[str, StepInput]) -> list[tuple[str, Callable[[], Backend]]]:
        self._of = self._guard(ctx)
        self._harms = ctx.taxonomy
        self._path = self._policy()
        self._name_of = _backends.ShownModels(ctx.roots)
        self._backends: dict[int, Backend] = {}
        self._forms = Forms()
        self._counts = _Counts()
        return [("teacher", self._opener(0, ctx))]

    def fallbacks(self, name: str, ctx: Context) -> list[Callable[[], Backend]]:
        return [self._opener(i, ctx) for i in range(1, len(self._configs))]

    def _opener(self, teacher: int, ctx: Context) -> Callable[[], Backend]:
        def opened() -> Backend:
            backend = self._backends[teacher] = _backends.opened(self._configs[teacher], ctx)
            if teacher + 1 < len(self._configs) and isinstance(backend, HandsOn):
                backend.handed_on = frozenset(self.config.fallback_on)
            return backend

        return opened

    def _guard(self, ctx: Context) -> Guard:
        return ctx.guard.with_teacher(load_prompt(self.config.prompt, ctx.roots)) if self.config.prompt else ctx.guard

    def _policy(self) -> Policy:
        c = self.config
        matters = c.attempts > 1 or (c.fallback and "invalid" in c.fallback_on)
        rules: tuple[Rule, ...] = tuple(r for r in RULES if r in c.rules) if matters else ()
        return Policy(tuple(c.structure for c in self._configs), c.attempts, frozenset(c.fallback_on), rules, c.labels)

    def requests(self, row: Mapping[str, Any], name: str, backend: Backend, ctx: Context) -> list[Request]:
        return [self._request(row, self._forms.first(self._path.first()), ctx)]

    def again(
        self, row: Mapping[str, Any], name: str, request: Request, completion: Completion, trail: Sequence[Completion], ctx: Context
    ) -> Request | None:
        turns = self._path.turns(self._of, row, [*trail, replace(completion, asked=request)])
        last = turns[-1]
        ask = self._path.after(self._of, row, last)
        if ask is None:
            return None
        if is_probe(request):
            self._forms.probed(ask, completion)
        tail: tuple[tuple[str, str], ...] = ()
        if ask == replace(last.ask, schema=False):
            self._forms.refused(ask)
            tail = request.messages[2:]
        elif ask.attempt:
            tail = (("assistant", completion.text or ""), ("user", feedback(self._of, sentences(last.faults))))
        elif ask.schema and self._path.structured[ask.teacher] == "try":
            config, takes = self._configs[ask.teacher], self._forms.takes(ask, turns)
            if takes is None and not config.deferred:  # there it would take a batch of its own
                return build_request(self._backends[ask.teacher], config, PROBE, schema=response_format(self._of))
            ask = replace(ask, schema=takes is not False)
        return self._request(row, ask, ctx, tail)

    def _request(self, row: Mapping[str, Any], ask: Ask, ctx: Context, tail: Sequence[tuple[str, str]] = ()) -> Request:
        config, backend = self._configs[ask.teacher], self._backends[ask.teacher]
        if not config.is_model:  # its messages hold what it puts together, and it alone can make them
            template: Any = backend
            messages = template.teacher_messages(self._of, row)
        else:
            messages = (blind_messages if ask.blind else teacher_messages)(self._of, row, structured=ask.schema)
            messages[0]["content"] += self._definitions(row)
        schema = response_format(self._of) if ask.schema else ""
        whole = [*messages, *({"role": role, "content": content} for role, content in tail)]
        own = bool(self._of.output.open)  # the guard's own marks may be a model's
        media = attach(row, ctx.media_folder, self._of, self._configs) if config.is_model else ()  # of all teachers, lest a row end halfway
        return build_request(backend, config, whole, attempt=ask.attempt, schema=schema, row=row["id"], as_it_comes=own, media=media)

    def _definitions(self, row: Mapping[str, Any]) -> str:
        """What the categories that the teacher is shown are; empty where it is shown none."""
        shown = self.config.definitions
        text = "" if shown == "none" else self._harms.definitions(None if shown == "all" else row["categories"] or ())
        return f"\n\nWhat the harm categories mean:\n\n{text}\n" if text else ""

    def answer(self, row: Mapping[str, Any], name: str, draw: int, request: Request, completion: Completion) -> dict[str, Any]:
        turns = self._path.turns(self._of, row, [*completion.trail, replace(completion, asked=request)])
        last = turns[-1]
        reason, detail = (completion.error, completion.detail) if completion.error or last.sound else last.faults[0]
        verdicts = blind_verdicts(self._of, turns)
        gold = {t: row[f"label_{t}"] for t in self._of.task_names}
        suspect = [t for t, label in verdicts.items() if None not in (label, gold[t]) and label != gold[t]]
        teacher = self._name_of(self._configs[last.ask.teacher], request.model_id)
        if reason is None:
            self._counts.add(turns, teacher, verdicts, gold)
        return {
            **row,
            "reasoning": last.text or "",
            "teacher": teacher,
            "reasoning_key": completion.key,
            "reasoning_finish": completion.finish,
            "steps": None,
            "trail": self._trail(row, turns, reason is None),
            "suspect": ",".join(suspect) or None,
            **{f"blind_{t}": label for t, label in verdicts.items()},
            REASON: reason,
            DETAIL: detail,
        }

    def _trail(self, row: Mapping[str, Any], turns: Sequence[Turn], kept: bool) -> str | None:
        """What was not taken, as JSON; with its text where nothing was."""
        turned = []
        for turn in turns[:-1] if kept else turns:
            c = turn.completion
            if c.error == "no_schema" and turn is not turns[-1]:  # no answer of anyone's; whether JSON was asked for depends on who came first
                continue
            entry: dict[str, Any] = {"teacher": self._shown(turn), "key": c.key, "attempt": turn.ask.attempt}
            if self.config.labels != "given":
                entry["blind"] = turn.ask.blind
            entry["outcome"] = c.error or ("invalid" if turn.faults else "differs" if turn.ask.blind else "answer")
            faults = turn.faults or (tuple(label_faults(self._of, row, turn)) if entry["outcome"] == "differs" else ())
            entry["reasons"] = [f"{r}: {d}" for r, d in faults] + ([c.detail] if c.detail else [])
            if not kept and c.text is not None:
                entry["text"] = c.text.encode("utf-8", "replace").decode()
            turned.append(entry)
        return json.dumps(turned, ensure_ascii=False) if turned else None

    def _shown(self, turn: Turn) -> str:
        asked = turn.completion.asked
        return self._name_of(self._configs[turn.ask.teacher], asked.model_id if asked else "")

    def stats(self) -> dict[str, Any]:
        return self._counts.report(blind=self.config.labels != "given")


class _Counts:
    """Figures of a run over the rows that have an answer: by the teacher who gave it and by the number of answers that it took, and blind agreement.

    A row whose answer the pipeline then rejects for its encoding (``not_unicode``) counts here.
    """

    def __init__(self) -> None:
        self.teachers: Counter[str] = Counter()
        self.questions: Counter[int] = Counter()
        self.compared: Counter[str] = Counter()
        self.agreed: Counter[str] = Counter()

    def add(self, turns: Sequence[Turn], teacher: str, verdicts: Mapping[str, str | None], gold: Mapping[str, str | None]) -> None:
        """Count a row that has an answer."""
        self.teachers[teacher] += 1
        self.questions[sum(t.completion.error != "no_schema" for t in turns)] += 1
        for task, label in verdicts.items():
            if label is not None and gold[task] is not None:
                self.compared[task] += 1
                self.agreed[task] += label == gold[task]

    def report(self, *, blind: bool) -> dict[str, Any]:
        """The figures as the manifest holds them."""
        out: dict[str, Any] = {"teachers": dict(sorted(self.teachers.items())), "questions": {str(n): c for n, c in sorted(self.questions.items())}}
        if blind:
            out["blind"] = {task: {"compared": n, "agreed": self.agreed[task]} for task, n in sorted(self.compared.items())}
        return out
