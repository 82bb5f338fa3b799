"""The path of a row through teachers and attempts: what is asked next, given what has come so far.

Contract: the path is a function of the row and of the completions so far, so that a run that is resumed goes the same way, served by the journal.
It is worked out anew each time from its beginning; nothing is remembered.

What a blind question's answer leads to depends on no label of the row, but for one step: where the labels are to be given after the teacher has
judged by itself (``blind_then_given``), a verdict that differs leads to the question with the labels. No teacher is asked again blind because of a
label, as the mere fact would tell it a label of two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from toolkit.generation import Completion, Request, as_messages
from toolkit.guards import Guard, MalformedJson, from_json, is_json, parse
from toolkit.operators.reason._form import cut_short
from toolkit.operators.reason._rule_limits import Limits
from toolkit.operators.reason.validate import Rule, all_faults

Labels = Literal["given", "blind", "blind_then_given"]
Fault = tuple[str, str]
_ASKED = Limits(conclusion="required")
"""The teacher's prompt asks for conclusions."""
PROBE = ({"role": "user", "content": "Write any JSON of this form, as short as can be."},)
"""A small question that is no row's, asked with the schema to learn whether a teacher takes one; what is answered does not matter."""

_PROBE = as_messages(PROBE)


def is_probe(request: Request) -> bool:
    """Whether a request is the small question."""
    return request.messages == _PROBE


@dataclass(frozen=True)
class Ask:
    """One question.

    Attributes:
        teacher: index of the teacher, 0 for the first, then its fallbacks.
        blind: whether the row's labels are kept from it.
        attempt: number of the attempt with this teacher, from 0.
        schema: whether JSON is asked for.
    """

    teacher: int
    blind: bool
    attempt: int
    schema: bool


@dataclass(frozen=True)
class Turn:
    """A question and what came of it: `text` in the guard's format (None: a failure, or JSON that is none), and its faults as (reason, detail)."""

    ask: Ask
    completion: Completion
    text: str | None
    faults: tuple[Fault, ...]

    @property
    def sound(self) -> bool:
        """Whether it may be taken."""
        return self.completion.error is None and not self.faults


@dataclass(frozen=True)
class Policy:
    """How a row goes its way.

    Attributes:
        structured: for each teacher: off, try or require.
        attempts: answers to ask of each teacher, at most.
        fallback_on: outcomes that the next teacher takes over: classes of failure, and ``invalid``.
        rules: by which an answer is judged; empty where nothing comes of it.
        labels: whether the teacher is shown the labels.
    """

    structured: tuple[str, ...]
    attempts: int
    fallback_on: frozenset[str]
    rules: tuple[Rule, ...]
    labels: Labels

    def first(self, teacher: int = 0, *, blind: bool | None = None) -> Ask:
        """The first question to a teacher."""
        return Ask(teacher, self.labels != "given" if blind is None else blind, 0, self.structured[teacher] != "off")

    def turns(self, guard: Guard, row: Mapping[str, Any], completions: Sequence[Completion]) -> list[Turn]:
        """What has been asked for a row and what came of it, oldest first; each completion has its request in `asked`."""
        out: list[Turn] = []
        ask = self.first()
        for completion in completions:
            if completion.asked is not None and is_probe(completion.asked):
                continue
            schema = bool(completion.asked.schema) if completion.asked is not None else ask.schema
            out.append(self._turn(guard, row, replace(ask, schema=schema), completion))
            ask = self.after(guard, row, out[-1]) or ask
        return out

    def after(self, guard: Guard, row: Mapping[str, Any], turn: Turn) -> Ask | None:
        """What is asked next; None where the path ends."""
        ask, error = turn.ask, turn.completion.error
        if error is not None:
            if error == "no_schema" and ask.schema and self.structured[ask.teacher] == "try":
                return replace(ask, schema=False)
            if error not in self.fallback_on:
                return None
            shown = self.first(blind=False) if ask.blind and self.labels == "blind_then_given" else None
            return self._other(ask) or shown
        if turn.faults and ask.attempt + 1 < self.attempts:
            return replace(ask, attempt=ask.attempt + 1)
        if ask.blind and self.labels == "blind_then_given":
            agrees = turn.sound and not label_faults(guard, row, turn)
            return None if agrees else Ask(ask.teacher, False, 0, ask.schema)
        return self._other(ask) if turn.faults and "invalid" in self.fallback_on else None

    def _other(self, ask: Ask) -> Ask | None:
        """The same question to the next teacher."""
        return self.first(ask.teacher + 1, blind=ask.blind) if ask.teacher + 1 < len(self.structured) else None

    def _turn(self, guard: Guard, row: Mapping[str, Any], ask: Ask, completion: Completion) -> Turn:
        if completion.text is None:
            return Turn(ask, completion, None, ())
        text = completion.text.encode("utf-8", "replace").decode()  # half of a surrogate pair is no text to go on with
        if ask.schema and (self.structured[ask.teacher] == "require" or is_json(text)):
            try:
                text = from_json(guard, text)
            except MalformedJson as e:
                fault = cut_short(completion.finish) or ("malformed_json", str(e))
                return Turn(ask, completion, None, (fault,))
        read = {"reasoning": text, "reasoning_finish": completion.finish}
        # No label of the row comes near what is judged of a blind answer.
        rules = [r for r in self.rules if r != "labels"] if ask.blind else self.rules
        found = all_faults(guard, read if ask.blind else {**row, **read}, rules, _ASKED)
        return Turn(ask, completion, text, tuple(found))


def label_faults(guard: Guard, row: Mapping[str, Any], turn: Turn) -> list[Fault]:
    """Where an answer does not say the row's labels, as the rule `labels` of `validate` finds it."""
    return all_faults(guard, {**row, "reasoning": turn.text, "reasoning_finish": None}, ["labels"])


def blind_verdicts(guard: Guard, turns: Sequence[Turn]) -> dict[str, str | None]:
    """By task, the label that the last blind answer gave; None where it could not be read or there is none."""
    answer = next((t.text for t in reversed(turns) if t.ask.blind and t.text is not None), None)
    return dict(parse(guard, answer).labels) if answer is not None else dict.fromkeys(guard.task_names)
