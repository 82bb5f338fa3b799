"""Operator `rederive`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from pydantic import field_validator

from toolkit.generation import BackendConfig, BaseBackendConfig
from toolkit.guards import Guard, parse, sections
from toolkit.operators._stop_if import StopIf
from toolkit.operators.base import DETAIL, REASON, Config, Context
from toolkit.operators.figures import Figure, stat
from toolkit.operators.reason._asking import AskingOperator, GraderPrompt, a_model, closed_schema, load_grader, read_object
from toolkit.records import Column

if TYPE_CHECKING:
    from toolkit.generation import Completion, Request

HIDDEN, UNCLEAR = "[hidden]", "unclear"
_VARIABLES = ("tasks", "steps", "hidden", "unclear")


class RederiveConfig(Config):
    """Options of `rederive`."""

    backend: BackendConfig
    """The model that reads the steps: another one than the teacher, which would know its own turns of phrase."""
    prompt: str = "rederive"
    """What it is asked: a name in schemas/graders, or a path ending in .yaml."""
    hide: list[str] = []
    """Further words to hide, beside the labels and words that begin with one (harmful: harmfulness): [refuses, declines].
    Whole words, in any case."""
    on_fault: Literal["flag", "reject"] = "flag"
    """flag: what was reached is stored and no row leaves for it. reject: a row whose labels are not reached is rejected."""
    stop_if: StopIf | None = None
    """Stop asking once more than a share of the rows comes to nothing: {rejected: 0.5, after: 200}."""

    _asks_a_model = field_validator("backend")(a_model)


class Rederive(AskingOperator):
    """Another model reads the steps alone, conclusions and answers left out and words for labels hidden, and must reach the row's labels.

    What it reached is in `rederived_<task>` (null: it answered that the steps carry no answer, or its answer could not be read), and whether that
    is each of the row's labels in `rederived_ok` (null: the row has none, or the answer could not be read). A task without a label is held to the
    answer of the reasoning itself. With `on_fault: reject` a row is rejected as `not_rederived` or, where the answer is not in the form asked for,
    `rederive_malformed`; a failed generation is rejected with its class either way. Steps may still tell a label in other words: that is what they
    are for; a label that the words `hide` do not cover ("refuses") tells it too easily, so name those of your guard.
    """

    name = "rederive"
    version = 2
    carries_media = True
    config_class = RederiveConfig
    figures = (Figure("rederived", "what the steps alone came to, for each task", stat("rederived")),)
    uses = frozenset({"guard.tasks", "guard.questions", "guard.input", "guard.output"})
    own_guards = True
    example = {"backend": {"backend": "openai", "model": "another-model"}}
    config: RederiveConfig

    @property
    def backend(self) -> BaseBackendConfig:
        return self.config.backend

    def reads(self, guard: Guard) -> list[str]:
        return ["id", "reasoning", *(f"label_{t}" for t in guard.task_names)]

    def writes(self, guard: Guard) -> list[Column]:
        return [
            *(Column(f"rederived_{t}", "string", nullable=True, doc="label reached from the steps alone") for t in guard.task_names),
            Column("rederived_ok", "bool", nullable=True, doc="whether each is the row's label"),
            Column("rederived_model", "string", doc="model that read the steps"),
            Column("rederived_key", "string", doc="journal key of the generation"),
        ]

    def identity(self) -> dict[str, Any]:
        c = self.config
        return {"backend": c.backend.identity(), "hide": sorted({w.casefold() for w in c.hide}), "on_fault": c.on_fault}

    def files(self, ctx: Context) -> dict[str, str]:
        return super().files(ctx) | {"prompt": self._prompt(ctx).fingerprint}

    def _prompt(self, ctx: Context) -> GraderPrompt:
        return load_grader(self.config.prompt, ctx.roots, _VARIABLES, ("steps",))

    def open(self, ctx: Context, inputs: Mapping[str, Any]) -> Any:
        self._counts: dict[str, Counter[str]] = {t: Counter() for t in ctx.guard.task_names}
        self._same = 0
        self._asked_with = self._prompt(ctx)
        return super().open(ctx, inputs)

    def question(self, row: Mapping[str, Any], ctx: Context, *, structured: bool) -> list[dict[str, str]]:
        steps = masked_steps(ctx.guard, row["reasoning"] or "", self.config.hide)
        return self._asked_with.messages({"tasks": ctx.guard.tasks, "steps": steps, "hidden": HIDDEN, "unclear": UNCLEAR})

    def schema(self, ctx: Context) -> str:
        return closed_schema("rederived", {t.name: {"type": "string", "enum": [*t.labels, UNCLEAR]} for t in ctx.guard.tasks})

    def answer(self, row: Mapping[str, Any], name: str, draw: int, request: Request, completion: Completion) -> dict[str, Any]:
        guard, model = self._ctx.guard, self._shown(self.config.backend, request.model_id)
        found = read_object(completion.text, guard.task_names)
        reached = {t.name: found[t.name] if found and found[t.name] in t.labels else None for t in guard.tasks}
        readable = found is not None and all(reached[t] is not None or found[t] == UNCLEAR for t in guard.task_names)
        own = parse(guard, row["reasoning"] or "", "lenient").labels
        want = {t: label for t in guard.task_names if (label := row[f"label_{t}"] or own[t]) is not None}
        wrong = [f"{t}: {want[t]}, from the steps {reached[t] or UNCLEAR}" for t in want if reached[t] != want[t]]
        if completion.error is None:
            self._same += row.get("teacher") == model
            for t, label in want.items():
                self._counts[t][
                    "unread" if not readable else "reached" if reached[t] == label else "unclear" if reached[t] is None else "another"
                ] += 1
        reason, detail = completion.error, completion.detail
        if reason is None and self.config.on_fault == "reject" and (wrong or not readable):
            reason, detail = (
                ("not_rederived", "; ".join(wrong)) if readable else ("rederive_malformed", "not JSON with one allowed word for each task")
            )
        return {
            **row,
            **{f"rederived_{t}": label for t, label in reached.items()},
            "rederived_ok": not wrong if readable and want else None,
            "rederived_model": model,
            "rederived_key": completion.key,
            REASON: reason,
            DETAIL: detail,
        }

    def stats(self) -> dict[str, Any]:
        tasks = {t: dict(sorted(c.items())) for t, c in self._counts.items()}
        return {"rederived": tasks, "by_the_teacher_itself": self._same}


def masked_steps(guard: Guard, text: str, hide: list[str]) -> dict[str, list[str]]:
    """The steps of each task with every word that is a label, begins with one, or is in `hide` replaced by `HIDDEN`; conclusions are left out."""
    pattern = _hiding(guard, tuple(hide))
    out: dict[str, list[str]] = {t: [] for t in guard.task_names}
    for part in sections(guard, text):
        if 1 <= part.task <= len(guard.tasks):
            out[guard.task_names[part.task - 1]] += [pattern.sub(HIDDEN, s) for s in part.steps]
    return out


@lru_cache(maxsize=32)
def _hiding(guard: Guard, more: tuple[str, ...]) -> re.Pattern[str]:
    labels = sorted({w for t in guard.tasks for w in t.labels}, key=len, reverse=True)
    words = [re.escape(w) + r"\w*" for w in labels] + [re.escape(w) + r"(?!\w)" for w in sorted(more, key=len, reverse=True)]
    return re.compile(rf"(?<!\w)(?:{'|'.join(words)})", re.IGNORECASE)
