"""Undo what a guard's input template did: from the text that a released model read back to prompt and response.

The released GuardReasoner files hold only that text (`input` of the benchmarks, `prompt` of the predictions), so real rows are got
back by cutting it where the template put its own words.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from toolkit.common.errors import InputError
from toolkit.guards import Guard, render_input, unwrapped_input

if TYPE_CHECKING:
    import polars as pl

_PROMPT, _RESPONSE = "\ue000prompt\ue000", "\ue000response\ue000"


@dataclass(frozen=True)
class _Frame:
    """The template's own words: before the prompt, between the two, after the response, and after the prompt where there is none."""

    head: str
    middle: str
    tail: str
    none: str

    def ended(self, body: str) -> str:
        """A body with the white space at its end that it was trimmed of."""
        if (whole := body + self.none[len(self.none.rstrip()) :]).endswith(self.none):
            return whole
        return body + self.tail[len(self.tail.rstrip()) :]


def split_released_input(text: str, guard: Guard) -> tuple[str, str | None]:
    """Prompt and response of a rendered input, with or without the guard's instruction before it.

    Exact: ``render_input(guard, {"prompt": p, "response": r})`` of the result is the text again (less the instruction where it had
    none). The way back is the only one that the text allows, but for two things that the format itself cannot tell apart: a
    response that is just the guard's word for "no response" reads as None, and where the words between prompt and response occur
    twice, the first is taken.

    Args:
        text: instruction, newline and input, or the input alone; or both as a chat template wraps them, which trims the white space at their ends.
        guard: the guard whose template rendered it; one with both prompt and response in its input, in this order.

    Raises:
        InputError: the text does not have the guard's form.
    """
    frame = _frame(guard.instruction, _Hashed(guard))
    body = text.removeprefix(guard.instruction + "\n")
    if not body.startswith(frame.head) and (inner := unwrapped_input(guard, text)) is not None:
        body = frame.ended(inner.removeprefix((guard.instruction + "\n").lstrip()))
    if not body.startswith(frame.head):
        raise InputError(f"the text does not begin as guard {guard.name!r} renders its input")
    at = body.find(frame.middle, len(frame.head))
    if at < 0 and body.endswith(frame.none):
        at = len(body) - len(frame.none)
    if at < 0:
        raise InputError(f"the text lacks what guard {guard.name!r} puts between prompt and response")
    prompt, rest = body[len(frame.head) : at], body[at:]
    if rest == frame.none:
        return prompt, None
    if len(rest) < len(frame.middle) + len(frame.tail) or not rest.endswith(frame.tail):
        raise InputError(f"the text does not end as guard {guard.name!r} renders its input")
    return prompt, rest[len(frame.middle) : len(rest) - len(frame.tail)]


def split_released_inputs(texts: pl.Series, guard: Guard) -> pl.DataFrame:
    """The same for a column of texts at once, as far as a few expressions can part them.

    Returns:
        `prompt` and `response` of each text as `split_released_input` gives them; `prompt` is null where that has to look at the text itself.

    Example:
        >>> guard = toolkit.load_guard("guardreasoner")
        >>> split_released_inputs(polars.Series(["Human user:\\nHi\\n\\nAI assistant:\\nHello\\n\\n", "Hi"]), guard).rows()
        [('Hi', 'Hello'), (None, None)]
    """
    import polars as pl

    try:
        frame = _frame(guard.instruction, _Hashed(guard))
    except InputError:
        return pl.select(pl.lit(None, pl.String).repeat_by(len(texts)).explode().alias(name) for name in ("prompt", "response"))
    body = pl.col("text").str.strip_prefix(guard.instruction + "\n")
    parts = texts.to_frame("text").select(
        begins=body.str.starts_with(frame.head), parts=body.str.strip_prefix(frame.head).str.splitn(frame.middle, 2)
    )
    rest = pl.col("field_1")
    alone = rest == frame.none.removeprefix(frame.middle) if frame.none.startswith(frame.middle) else pl.lit(False)
    whole = pl.col("begins") & (alone | rest.str.ends_with(frame.tail))
    return parts.unnest("parts").select(
        prompt=pl.when(whole).then("field_0"), response=pl.when(whole & ~alone).then(rest.str.strip_suffix(frame.tail))
    )


class _Hashed:
    """A guard as a key of the cache: equal where the input template is."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard

    def __hash__(self) -> int:
        return hash(self.guard.input)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Hashed) and other.guard.input == self.guard.input


@lru_cache(maxsize=32)
def _frame(instruction: str, hashed: _Hashed) -> _Frame:
    before = len(instruction) + 1
    both = render_input(hashed.guard, {"prompt": _PROMPT, "response": _RESPONSE})[before:]
    alone = render_input(hashed.guard, {"prompt": _PROMPT, "response": None})[before:]
    if both.count(_PROMPT) != 1 or both.count(_RESPONSE) != 1 or both.index(_PROMPT) > both.index(_RESPONSE):
        raise InputError(f"guard {hashed.guard.name!r}: only an input template with prompt, then response, once each, can be undone")
    head, rest = both.split(_PROMPT)
    middle, tail = rest.split(_RESPONSE)
    if not middle or not alone.startswith(head + _PROMPT):
        raise InputError(f"guard {hashed.guard.name!r}: its input template begins differently where there is no response")
    return _Frame(head, middle, tail, alone[len(head) + len(_PROMPT) :])
