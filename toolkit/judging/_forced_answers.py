"""A guard made to answer behind a given beginning of its output: the probability of each label there.

The beginning is a prefix of a reasoning, its own or another one, or nothing. Behind it the guard's answers are written in its own form
(`toolkit.guards.answer_form`), with the likeliest label in each place, and the labels' log-probabilities come back (`Request.form`). The answers of
tasks before are those that the guard itself gives there. Nothing is drawn at random.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError
from toolkit.generation import BACKENDS, BaseBackendConfig, as_messages, build_request, choices
from toolkit.guards import Guard, answer_form, not_ours, render_input
from toolkit.judging._probabilities import Probabilities

if TYPE_CHECKING:
    from toolkit.generation import Backend, Completion, Request


@dataclass(frozen=True)
class Forced:
    """What a guard answers behind a beginning.

    Attributes:
        probabilities: by task, of each of its labels, together 1; a task that was not asked about, or all where it failed, is not there.
        error: class of the failure, where it failed.
        detail: what exactly went wrong.
    """

    probabilities: Mapping[str, Probabilities] = field(default_factory=dict)
    error: str | None = None
    detail: str | None = None

    def label(self, task: str) -> str | None:
        """The likeliest label of a task; None where it is not known."""
        known = self.probabilities.get(task)
        return max(known, key=lambda label: known[label]) if known else None


def check_forced(guard: Guard, config: BaseBackendConfig) -> None:
    """Raise InputError where a guard cannot be made to answer behind a given text.

    Args:
        guard: its definition.
        config: the model that plays it.
    """
    if guard.grammar is not None:
        raise not_ours(guard, "has no reasoning of ours, which its answers could be put behind")
    if not config.fills_forms:
        able = [name for name in BACKENDS.names() if BACKENDS.get(name).fills_forms]
        message = f"the backend {config.backend!r} gives no log-probabilities of a given text: the verdict before and after each step is not known"
        hint = f"ask the model by {' or '.join(able)}; {{--no-forced|forced=False}} still counts flips of draws and steps that contradict the verdict"
        raise InputError(message, hint=hint)


def answered_tasks(guard: Guard, row: Mapping[str, Any]) -> tuple[str, ...]:
    """The tasks that a guard answers about a row: those about a response only where there is one."""
    return tuple(t.name for t in guard.tasks if t.applies == "always" or row.get("response") is not None)


def forced_question(guard: Guard, row: Mapping[str, Any], begun: str, backend: Backend, config: BaseBackendConfig, *, opened: bool = True) -> Request:
    """The request for the answers behind a beginning.

    Args:
        guard: one that guardkit trains.
        row: `id`, `prompt`, `response` (may be None) and, optionally, `context`.
        begun: the beginning of an output, up to the end of a step; empty for none.
        backend: the opened model; its config says that it `fills_forms`.
        config: its config. How it draws shapes nothing here, and is not in the key.
        opened: see `toolkit.guards.answer_form`.
    """
    request = build_request(backend, config, [{"role": "user", "content": render_input(guard, row)}], row=row["id"], as_it_comes=True)
    return replace(
        request,
        messages=(*request.messages, *as_messages([{"role": "assistant", "content": begun}])),
        form=answer_form(guard, answered_tasks(guard, row), reasoned=bool(begun), opened=opened),
        temperature=0.0,
        top_p=1.0,
        max_tokens=1,
        seed=None,
        stop=(),
        logprobs=0,
        words=(),
    )


def forced_answer(guard: Guard, row: Mapping[str, Any], completion: Completion) -> Forced:
    """What a completion of `forced_question` says: the labels' probabilities, normalised over the task's labels."""
    if completion.error is not None:
        return Forced({}, completion.error, completion.detail)
    out = {}
    for task, choice in zip(answered_tasks(guard, row), choices(completion.logprobs), strict=True):
        most = max(choice.alternatives.values())
        labels = {guard.task(task).word(label): label for label in guard.task(task).labels}
        shares = {labels[word]: math.exp(value - most) for word, value in choice.alternatives.items()}
        total = math.fsum(shares.values())
        out[task] = {label: share / total for label, share in shares.items()}
    return Forced(out)
