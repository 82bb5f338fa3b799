"""Log-probabilities of an answer's tokens: what is kept of them, how compactly, and how they are read from an endpoint's body.

What is kept: of each token of the answer that is in one of the request's `words` (a guard's labels; as whole words, any case) the token, its
place in the text, and its likeliest alternatives with their log-probabilities; where another word goes on from such a word, of the token behind it
too. All else of a reasoning of hundreds of tokens is left out: an answer of a guard takes some thousand bytes. Of more than `_FIRST` + `_LAST` words
the first and the last ones count. Without `words` every token is kept.

Contract: log-probabilities are the model's own, before temperature and top-p, where it is we who compute them (transformers) or vLLM does
(``raw_logprobs``); else they are what the endpoint takes them for. A token counts only where its text is proven to be in the answer's: the tokens'
texts are laid against the answer, white space aside, from its end and from its beginning; marks of a chat template and a reasoning that a server took
off the content are passed over, and a token of which only a part of a letter came (U+FFFD) ends what is proven. A token whose alternatives have
probabilities that cannot be, above 1 alone or together, is left out. Nothing here raises for what an endpoint may send.

The packed form is JSON, ``[[start, token, {alternative: log-probability}], …]``: start is the place in the text of the token's first letter that is
no white space; the token is among its alternatives; alternatives of one text are one, with their probabilities added; five decimals.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple

import orjson

from toolkit.generation._answers import first_choice, parsed

_FIRST, _LAST = 8, 56
"""Places of words that count: of 6,500 outputs of released guards the longest had 120, one in a hundred more than 23."""

_SPECIAL = re.compile(r"<[|｜]?[^<>\s]{1,40}[|｜]?>|\[/?[A-Z_]{1,40}\]")
"""What the marks of chat templates look like, as a text without white space."""

_BROKEN = "\ufffd"

_ROUNDING = 0.02
"""What probabilities may be above 1 together: servers compute in half precision, and round."""


class Choice(NamedTuple):
    """One token of an answer, and what might have stood in its place.

    Attributes:
        start: place in the answer's text of its first letter that is no white space; the end of the text where it ended the answer.
        token: its text.
        alternatives: log-probabilities by text, its own among them.
    """

    start: int
    token: str
    alternatives: Mapping[str, float]


Scored = Iterable[tuple[str, float]]
"""Texts of tokens with their log-probabilities; the same text may come twice."""


def choices(packed: bytes | None) -> tuple[Choice, ...]:
    """What `Completion.logprobs` holds; nothing where it is None.

    Raises:
        ValueError: it is not what `keep` writes.
    """
    if packed is None:
        return ()
    try:
        return tuple(Choice(start, token, alternatives) for start, token, alternatives in orjson.loads(packed))
    except TypeError as e:
        raise ValueError(f"no log-probabilities: {e}") from None


def packed(found: Iterable[Choice]) -> bytes:
    """Tokens, or whole words, as `Completion.logprobs` holds them."""
    return orjson.dumps([(c.start, c.token, {word: round(min(value, 0.0), 5) for word, value in c.alternatives.items()}) for c in found])


def keep(tokens: Sequence[str], scored: Callable[[int], Scored], text: str | None, words: Sequence[str]) -> bytes | None:
    """What is kept of an answer's tokens, packed; of none where none is in a word, or proven to be in the text. None for no text.

    Args:
        tokens: their texts, in order; one that ended the answer may stand last.
        scored: gives the alternatives of the token of a number, its own among them.
        text: the answer.
        words: see the module's docstring.
    """
    if not text:
        return None
    found: list[Choice] = []
    for n, start in _wanted(tokens, text, tuple(words)):
        together: dict[str, float] = {}
        for word, value in scored(n):
            if math.isfinite(value):
                together[word] = _either(together[word], value) if word in together else value
        if tokens[n] in together and all(v <= _ROUNDING for v in together.values()) and math.fsum(map(math.exp, together.values())) <= 1 + _ROUNDING:
            found.append(Choice(start, tokens[n], together))
    return packed(found)


def in_body(body: bytes, text: str | None, words: Sequence[str]) -> bytes | None:
    """As `keep`, from the body of an endpoint's answer: ``logprobs`` of chat completions (``content``) and of the older completions (``tokens``,
    ``token_logprobs``, ``top_logprobs``), as OpenAI's API reference has them. None where it holds none that can be read.

    Args:
        body: as the endpoint sent it.
        text: the answer that was read from it.
        words: as for `keep`.
    """
    if not text or b'"logprobs"' not in body:
        return None
    try:
        logprobs = first_choice(parsed(body)["choices"])["logprobs"]
        if isinstance(content := logprobs.get("content"), list):
            return keep([_text_of(t) for t in content], lambda n: _chat_scores(content[n]), text, words)
        tokens, own, tops = logprobs["tokens"], logprobs["token_logprobs"], logprobs["top_logprobs"]
        return keep(tokens, lambda n: {tokens[n]: _number(own[n]), **{w: _number(v) for w, v in (tops[n] or {}).items()}}.items(), text, words)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError):
        return None


def _text_of(token: Mapping[str, Any]) -> str:
    """A token's text; for what is a part of a letter U+FFFD, whatever the endpoint writes for it."""
    if isinstance(data := token.get("bytes"), list):
        return bytes(data).decode("utf-8", "replace")
    return str(token["token"])


def _chat_scores(token: Mapping[str, Any]) -> Scored:
    own, tops = _text_of(token), [(_text_of(t), _number(t["logprob"])) for t in token.get("top_logprobs") or []]
    return tops if any(word == own for word, _ in tops) else [(own, _number(token["logprob"])), *tops]


def _number(value: Any) -> float:
    """A number (TypeError: true or false is none)."""
    if isinstance(value, bool):
        raise TypeError("no number")
    return float(value)


def _either(a: float, b: float) -> float:
    """The logarithm of the sum of two probabilities."""
    return max(a, b) + math.log1p(math.exp(-abs(a - b)))


# Which tokens are kept, and where they stand --------------------------------------------------------------------------------


def _wanted(tokens: Sequence[str], text: str, words: tuple[str, ...]) -> list[tuple[int, int]]:
    """Number and start of the tokens that are to be kept."""
    spans = _spans(text, words) if words else [(0, len(text))]
    if not spans:
        return []
    letters = [i for i, c in enumerate(text) if not c.isspace()]
    bare = [_bare(t) for t in tokens]
    ranges = [(bisect_left(letters, begin), bisect_left(letters, end), bool(words) and _goes_on(text[begin:end], words)) for begin, end in spans]
    ends = [last for _, last, _ in ranges]
    out = []
    for n, start in enumerate(_starts(bare, _bare(text))):
        if start is None:
            continue
        near = bisect_left(ends, start)
        for first, last, goes_on in ranges[near : near + 2]:
            if start < last + goes_on and (start + len(bare[n]) > first or start == last):
                out.append((n, letters[max(start, 0)] if start < len(letters) else len(text)))
                break
    return out


def _spans(text: str, words: tuple[str, ...]) -> list[tuple[int, int]]:
    found = [m.span() for m in _pattern(words).finditer(text)]
    return found if len(found) <= _FIRST + _LAST else [*found[:_FIRST], *found[-_LAST:]]


@lru_cache(maxsize=32)
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    """Finds whole words, the longest first."""
    known = sorted((w for w in words if w), key=len, reverse=True)
    each = (("(?<![^\\W_])" if w[0].isalnum() else "") + re.escape(w) + ("(?![^\\W_])" if w[-1].isalnum() else "") for w in known)
    return re.compile("|".join(each), re.IGNORECASE)


def _goes_on(word: str, words: tuple[str, ...]) -> bool:
    """Whether another word begins with this one."""
    return any(len(w) > len(word) and w.casefold().startswith(word.casefold()) for w in words)


def _bare(text: str) -> str:
    return "".join(text.split())


def _starts(tokens: Sequence[str], text: str) -> Sequence[int | None]:
    """Where each token begins in a text, both without white space; None where that is not proven. Below 0 for one that begins before the text."""
    if "".join(tokens) == text:
        return [0, *accumulate(map(len, tokens[:-1]))]
    found, whole = _from_end(tokens, text)
    if whole:
        return found
    ahead = _from_beginning(tokens, text)  # a letter came in pieces, or the text was cut at a stop string
    return [a if a is not None else b for a, b in zip(ahead, found, strict=True)]


def _from_end(tokens: Sequence[str], text: str) -> tuple[list[int | None], bool]:
    """What is proven from the end of the text on, and whether that is all of it; nothing where something else than a broken letter ends it."""
    out: list[int | None] = [None] * len(tokens)
    end = len(text)
    for n in range(len(tokens) - 1, -1, -1):
        token = tokens[n]
        if text.endswith(token, 0, end):
            end -= len(token)
            out[n] = end
        elif len(token) > end > 0 and token.endswith(text[:end]):  # its beginning was taken off, or belongs to a reasoning that was
            out[n], end = end - len(token), 0
        elif end and _SPECIAL.fullmatch(token):
            out[n] = end
        elif end:
            return (out, False) if _BROKEN in token else ([None] * len(tokens), False)
        if not end:
            return out, True
    return out, False


def _from_beginning(tokens: Sequence[str], text: str) -> list[int | None]:
    """What is proven from the beginning of the text on, likewise."""
    out: list[int | None] = [None] * len(tokens)
    at = 0
    for n, token in enumerate(tokens):
        if text.startswith(token, at):
            out[n], at = at, at + len(token)
        elif len(token) > len(text) - at and token.startswith(text[at:]):
            out[n], at = at, len(text)
        elif _SPECIAL.fullmatch(token):
            out[n] = at
        else:
            return out if _BROKEN in token else [None] * len(tokens)
        if at == len(text):
            return out
    return out
