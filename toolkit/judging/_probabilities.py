"""Probabilities of labels, from the log-probabilities of the tokens that a label was written in.

How: the label's place is that which a lenient reading takes (`toolkit.guards.answer_spans`). From its first token on, each alternative is held
against the spellings of the task's labels, white space before it and case aside: one that begins a spelling of exactly one label (or is one, and what
follows is no letter) adds its probability to that label; one that begins several decides nothing, nor does one that begins none. Where the token that
was written decides nothing itself, the same is done with the token behind it, times the probability of the way there (the chain rule: what is written
before is given). So ``unharmful`` is found as one token, as ``un`` and ``harmful``, or as ``unh`` and ``armful``. The sums are divided by their
total: probabilities given that a label is there, of the model's own distribution, before temperature and top-p.

Contract: what is not known is not there, and never a guess: no log-probabilities, no label, tokens that do not agree with the text, no alternative
that fits, or none at all beside a token that is not sure. A label that is not among the alternatives asked for has 0. Nothing here asks a model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from toolkit.generation import Choice, Completion, choices, in_body
from toolkit.guards import AnswerSpan, Call, Guard, answer_spans, label_words

_SURE = math.log(0.99)

Probabilities = dict[str, float]
"""Of each label of a task, together 1."""


def label_probabilities(guard: Guard, completion: Completion, *, asked: str | None = None, call: Call | None = None) -> dict[str, Probabilities]:
    """The probabilities of each task's labels; a task of which they are not known is not there.

    Args:
        guard: the definition.
        completion: as it was handed out, for a request with `logprobs` and the guard's words.
        asked: the guard's input, where the output repeats it.
        call: of a guard with calls, the one that it answers.
    """
    packed = completion.logprobs
    if packed is None and completion.raw is not None:  # straight from a backend
        packed = in_body(completion.raw, completion.text, label_words(guard))
    if packed is None or completion.text is None:
        return {}
    scored, found = choices(packed), dict[str, Probabilities]()
    for task, span in answer_spans(guard, completion.text, asked, call).items():
        if (known := _of_span(scored, completion.text, span)) is not None:
            found[task] = known
    return found


def _of_span(scored: Sequence[Choice], text: str, span: AnswerSpan) -> Probabilities | None:
    """The probabilities of the labels in the place of one; None where they are not known."""
    mass = {label: 0.0 for label in span.spellings if label is not None}
    read = _fitting(text[span.start : span.end] + "\n", span.spellings)
    way, written = 0.0, ""
    for one in _from(scored, text, span.start):
        if len(one.alternatives) == 1 and one.alternatives[one.token] < _SURE:
            return None  # an endpoint that gives no alternatives: what else there was is not known
        before = text[one.start : span.start] if not written else ""
        for word, value in one.alternatives.items():
            fitting = _fitting(_behind(written, word, before), span.spellings)
            if len(fitting) == 1 and (label := next(iter(fitting))) is not None:
                mass[label] += math.exp(way + value)
        written = _behind(written, one.token, before) or ""
        fitting = _fitting(written, span.spellings)
        if len(fitting) == 1:
            total = math.fsum(mass.values())
            return {label: value / total for label, value in mass.items()} if fitting == read and total > 0 else None
        if not fitting:
            return None
        way += one.alternatives[one.token]
    return None


def _from(scored: Sequence[Choice], text: str, start: int) -> Iterable[Choice]:
    """The tokens from the one that holds the letter at `start` on, as long as they follow one another."""
    at: int | None = None
    for one in scored:
        behind = _walk(text, one.start, len("".join(one.token.split())))
        if at is None and not one.start <= start < behind:
            continue
        if at is not None and one.start != at:
            return
        yield one
        at = behind


def _walk(text: str, start: int, letters: int) -> int:
    """The place of the first letter behind so many, white space aside; the end of the text where there is none."""
    for i in range(start, len(text)):
        if not text[i].isspace():
            if not letters:
                return i
            letters -= 1
    return len(text)


def _behind(written: str, word: str, before: str) -> str | None:
    """What is written of a label once a token has come: without white space before it, and without what else its first token begins with (`before`);
    None for a token that begins with something else."""
    if written:
        return written + word
    begun = word.lstrip()
    return begun[len(before) :].lstrip() if begun.startswith(before) else None


def _fitting(written: str | None, spellings: Mapping[str | None, tuple[str, ...]]) -> set[str | None]:
    """The labels of which this is a spelling's beginning, or a spelling with something else than a letter or digit behind it."""
    if written is None:
        return set()
    folded_word = written.casefold()
    out = set()
    for label, words in spellings.items():
        for word in words:
            folded = word.casefold()
            if folded.startswith(folded_word) or (folded_word.startswith(folded) and not folded_word[len(folded)].isalnum()):
                out.add(label)
    return out
