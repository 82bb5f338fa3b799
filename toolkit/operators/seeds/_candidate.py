"""A candidate for a seed: what an author, whoever replies and a judge have answered so far, why it cannot be taken, and what is asked next.

It follows from the answers alone, in their order, so that a run that is resumed comes to the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from toolkit.operators.reason._refused import declines
from toolkit.operators.seeds._prompts import messages_in, plain_text

if TYPE_CHECKING:
    from toolkit.generation import Completion
    from toolkit.operators.seeds._grid import Cell

Stage = Literal["author", "reply", "judge"]
Reason = tuple[str, str | None]


@dataclass(frozen=True)
class Candidate:
    """What is known of one.

    Attributes:
        messages: those of the person and, between them, the assistant's; the last one is the prompt.
        response: to it.
        verdict: of the judge.
        fault: why it cannot be taken: a reason code and what was found.
        next: who is asked next; None: nobody.
        keys: journal keys of the answers that made it, by who gave them; `models` likewise the models' ids.
    """

    messages: Sequence[str] = ()
    response: str | None = None
    verdict: Mapping[str, str] | None = None
    fault: Reason | None = None
    next: Stage | None = None
    keys: Mapping[Stage, str] | None = None
    models: Mapping[Stage, str] | None = None


def read_candidate(
    answers: Sequence[Completion],
    cell: Cell,
    turns: int,
    *,
    known: Callable[[str], Reason | None],
    verdict: Callable[[str | None, str | None], Mapping[str, str] | None] | None,
    in_text: bool = False,
) -> Candidate:
    """The candidate that some answers make.

    Args:
        answers: in their order; at least one.
        cell: that it is for.
        turns: messages of the person.
        known: what a prompt is too much like.
        verdict: reads what a judge answered about a text with such a response; None: there is no judge.
        in_text: whether a judge whose endpoint takes no schema is asked once more, in text.
    """
    keys: dict[Stage, str] = {}
    models: dict[Stage, str] = {}

    def came(stage: Stage, completion: Completion) -> None:
        keys[stage] = completion.key
        models[stage] = completion.asked.model_id if completion.asked is not None else ""

    def ends(fault: Reason | None, nxt: Stage | None = None) -> Candidate:
        return Candidate(messages, response, found, fault, nxt, keys, models)

    messages: Sequence[str] = ()
    response: str | None = None
    found: Mapping[str, str] | None = None
    first, *rest = answers
    came("author", first)
    messages, fault = _written(first, 1 if cell.change else turns)
    if fault is None:
        fault = known(messages[-1])
    if fault is not None:
        return ends(fault)
    if cell.form != "prompt":
        if not rest:
            return ends(None, "reply")
        reply, *rest = rest
        came("reply", reply)
        response, fault = _replied(reply, cell)
        if fault is not None:
            return ends(fault)
    if verdict is None:
        return ends(None)
    if in_text:
        rest = [c for c in rest if c.error != "no_schema"]
    if not rest:
        return ends(None, "judge")
    came("judge", rest[-1])
    if rest[-1].error is not None:
        return ends((rest[-1].error, rest[-1].detail))
    found = verdict(rest[-1].text, response)
    return ends(None if found is not None else ("judge_unread", (rest[-1].text or "")[:200]))


def _written(answer: Completion, turns: int) -> tuple[Sequence[str], Reason | None]:
    """The messages of an author's answer, or why it holds none."""
    if answer.error is not None or answer.text is None:
        return (), (answer.error or "empty", answer.detail)
    if answer.finish == "length":
        return (), ("truncated", "the answer ends at max_tokens")
    messages = messages_in(answer.text, turns)
    if messages is None:
        return (), ("empty" if turns == 1 else "malformed", answer.text[:200])
    if declines(messages[-1]):
        return messages, ("declined", messages[-1][:200])
    return messages, None


def _replied(answer: Completion, cell: Cell) -> tuple[str | None, Reason | None]:
    """The response of an answer, or why it holds none."""
    if answer.error is not None or answer.text is None:
        return None, (answer.error or "empty", answer.detail)
    if answer.finish == "length":
        return None, ("truncated", "the response ends at max_tokens")
    text = plain_text(answer.text)
    if not text:
        return None, ("empty", "the response is empty")
    if cell.form == "comply" and declines(text):
        return text, ("reply_declined", text[:200])
    return text, None
