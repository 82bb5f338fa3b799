"""What an OpenAI-compatible server answered, read without trust: a completion, or a failure with a name.

Classification goes by status, type and field, and by the closed tables of `_vocabulary`. Nothing that an answer holds raises anything but
`AttemptError`. A body is read anew whenever the journal gives it, so what is read better helps older answers too.

An error in the place of an answer, or beside one that broke off, counts as the status that it names, else as a fault of the server, whatever the
body's own status was. `finish` is ``stop`` or ``length`` for every spelling of these, and the endpoint's own word where nobody knows it.

An answer's text is cleaned where it is parsed (`parsed`), by whoever reads it, from the wire or from the journal: no lone surrogate and no NUL is
left in any string. Words that are shown or counted (finish, model, refusal, messages) are cut. What is larger than `largest` is not read: it fails
as ``too_large``, for good.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

from toolkit.common.text import whole
from toolkit.generation._attempt_faults import AttemptError, error_inside, error_of
from toolkit.generation._request import Completion
from toolkit.generation._vocabulary import FILTERED_IN_BASE_RESP, IN_BASE_RESP, ended, flagged

LARGEST = 256 << 20
"""Bytes of a body that is read, at most, whatever was asked for."""

_ROOM, _A_TOKEN = 2 << 20, 1 << 10
"""Bytes: of a body's other parts, and for each token (the longest have some 128 letters, of six bytes each as JSON's escapes)."""

_WORD, _WORDS = 200, 500
"""Letters that are kept of a word of the endpoint's (finish, model) and of its sentences."""

_BACKSLASH = ord("\\")

_COUNTABLE = 2**53
"""Counts of tokens are below this, where JSON's numbers stop being exact (RFC 8259, section 6)."""


@lru_cache(maxsize=64)
def largest(max_tokens: int, extra: str = "", logprobs: int = 0) -> int:
    """Bytes that the body of an answer of at most that many tokens may have, unpacked: 4 MiB for 2,048.

    Args:
        max_tokens: as asked for.
        extra: the further keys of the request, as JSON; with ``logprobs`` an answer has kilobytes for each token, of the prompt too.
        logprobs: alternatives that each token was asked for with: each is another token, written twice (as text and as a list of bytes).
    """
    if "logprobs" in extra or "prompt_logprobs" in extra:
        return LARGEST
    return min(LARGEST, _ROOM + _A_TOKEN * max_tokens * (1 + 2 * (1 + logprobs) if logprobs else 1))


def too_large(most: int, status: int | None = None) -> AttemptError:
    """The failure of an answer of more than `most` bytes."""
    words = f"an answer of more than {most / 2**20:,.1f} MiB, which is more than max_tokens allows: it is not read"
    return AttemptError("too_large", words, again=False, status=status)


def error_in(body: bytes) -> tuple[object, str]:
    """The error that an answer's body holds (the value of ``error``, else the body), and its message, 400 characters at most."""
    try:
        value: object = parsed(body)
    except (ValueError, RecursionError):
        return None, body[:400].decode("utf-8", "replace")
    if isinstance(value, list) and len(value) == 1:  # Google's
        value = value[0]
    return error_of(value)


def read_answer(key: str, body: bytes, seconds: float | None) -> Completion:
    """The completion in the body of a 2xx answer; refusal, content filter and empty content come as failures that are final.

    Raises:
        AttemptError: ``malformed``, or an answer that broke off, which another attempt may mend; or what an error in the body says by its own status
            (gateways that have already answered 200 when their upstream fails).
    """
    try:
        answer = parsed(body)
        choices = answer.get("choices")
        if choices is None and (judged := _moderation(answer)) is not None:
            return Completion(key, judged, "stop", model=_text(answer.get("model"), _WORD), seconds=seconds, raw=body)
        choice = first_choice(choices) if choices else {}
        word = _text(choice.get("finish_reason"), _WORD)
        finish = ended(word) or word if word is not None else None
        if (fault := _failure_in(answer, choice, finish)) is None:
            # the older completions have a text of their own, and some gateways give that
            message = choice["message"] if "message" in choice else {"content": choice["text"]}
            text, thoughts, refusal = _content(message.get("content"))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as e:
        what = _no_json(body) or f"{type(e).__name__} in {len(body)} bytes beginning {body[:80]!r}"
        raise AttemptError("malformed", what, again=_STREAM.match(body) is None, status=200, lost=True) from None
    if fault is not None:
        if fault.kind == "content_filter":
            return Completion(key, None, error=fault.kind, detail=fault.detail, seconds=seconds, raw=body)
        raise fault
    usage = answer.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    reasoning = _text(message.get("reasoning_content") or message.get("reasoning")) or _text(thoughts)
    called = bool(message.get("tool_calls"))
    error, detail = _named(text, finish, message.get("refusal") or refusal, reasoning, usage, called=called)
    return Completion(
        key,
        None if error else text,
        finish,
        error=error,
        detail=detail,
        model=_text(answer.get("model"), _WORD),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        seconds=seconds,
        reasoning=reasoning,
        raw=body,
    )


def _moderation(answer: dict[str, Any]) -> str | None:
    """The first result of a moderation endpoint, as JSON; None for another answer (OpenAI API reference, "Create moderation")."""
    results = answer.get("results")
    first = results[0] if isinstance(results, list) and results else None
    return json.dumps(first, ensure_ascii=False) if isinstance(first, dict) and "flagged" in first else None


_STREAM = re.compile(rb"\s*(data|event|id|retry)?:")
"""How a stream of events begins (HTML standard, "Server-sent events"); JSON never does."""
_PAGE = re.compile(rb"\s*<(!doctype\s+html|html|head|body)\b", re.IGNORECASE)
_TITLE = re.compile(rb"<title[^>]*>(.{1,200}?)</title>", re.IGNORECASE | re.DOTALL)


def _no_json(body: bytes) -> str | None:
    """What a body is that is no JSON, where that can be recognised; asking again for a stream is no use."""
    if _STREAM.match(body):
        return f"a stream of events, which was not asked for (`extra: {{stream: false}}` may end that), beginning {body[:80]!r}"
    if _PAGE.match(body):
        found = _TITLE.search(body[:_ROOM])
        title = " ".join(found[1].decode("utf-8", "replace").split()) if found else ""
        named = f", {title!r}" if title else ""
        return f"a web page and no answer{named}: base_url (which usually ends in /v1) names a site, or a gateway is in between"
    return None


def _failure_in(answer: dict[str, Any], choice: dict[str, Any], finish: str | None) -> AttemptError | None:
    """The failure that a body of a 2xx answer tells of; None where its choice is to be read."""
    if error := answer.get("error") or choice.get("error"):
        return None if finish == "stop" else error_inside(error, lost=bool(choice))
    if choice:
        if finish != "broken":
            return None
        return AttemptError("server_error", f"the answer broke off (finish_reason {choice['finish_reason']!r})", again=True, status=200, lost=True)
    if flagged(answer):
        return AttemptError("content_filter", "the endpoint's content filter blocked the prompt", again=False, status=200)
    if isinstance(base := answer.get("base_resp"), dict) and isinstance(code := base.get("status_code"), int) and code:
        if code in FILTERED_IN_BASE_RESP:
            return AttemptError("content_filter", f"{code}: {base.get('status_msg')}", again=False, status=200)
        return error_inside({"code": IN_BASE_RESP.get(code, 500), "message": f"{code}: {base.get('status_msg')}"}, lost=False)
    return None


def _content(value: Any) -> tuple[str | None, str, str | None]:
    """Text, thoughts and refusal of a content: a string, or a list of parts (OpenAI: "content parts"; Mistral's have ``thinking``).

    Raises:
        TypeError: it is neither.
    """
    if isinstance(value, str) or value is None:
        return value, "", None
    texts, thoughts, refusal = [], [], None
    for part in value if isinstance(value, list) else [value]:
        if isinstance(part, str):
            texts.append(part)
            continue
        if not isinstance(part, dict):
            raise TypeError
        if part.get("type") in ("thinking", "reasoning"):
            inner = next((part[n] for n in ("thinking", "reasoning", "text") if part.get(n)), None)
            thoughts.append(_content(inner)[0] or "")
        elif part.get("type") == "refusal":
            refusal = _text(part.get("refusal"))
        elif isinstance(text := part["text"] if part.get("type") in ("text", "output_text") else part.get("text", ""), str):
            texts.append(text)
        else:
            raise TypeError
    return "".join(texts), "\n\n".join(thoughts), refusal


def first_choice(choices: Any) -> Any:
    """The choice whose index is 0, else the first one."""
    first = choices[0]
    return first if first.get("index") == 0 else next((c for c in choices if c.get("index") == 0), first)


def parsed(body: bytes) -> Any:
    """The JSON value that an endpoint sent, its strings `whole`.

    orjson is fast; what it refuses and JSON's grammar or Python takes (lone surrogates, NaN, numbers of any length) json reads.

    Raises:
        ValueError, RecursionError: it is none.
    """
    try:
        value = orjson.loads(body)
    except ValueError:
        value = json.loads(body, parse_int=_integer)
    else:
        if _BACKSLASH not in body or b"\\u0000" not in body:  # the one thing that is to be mended and orjson takes
            return value
    return _mended(value)


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, list):
        return [_mended(v) for v in value]
    if isinstance(value, dict):
        return {whole(k): _mended(v) for k, v in value.items()}
    return value


def _integer(digits: str) -> int | float:
    """A number that Python may refuse to build is about as large as a float says."""
    return int(digits) if len(digits) < 32 else float(digits)


def _named(
    text: str | None, finish: str | None, refusal: Any, reasoning: str | None, usage: Mapping[str, Any], *, called: bool
) -> tuple[str | None, str | None]:
    """Class and detail of an answer that is no text to go on with."""
    if finish == "content_filter":
        return "content_filter", "the endpoint's content filter ended the answer"
    if text and text.strip():
        return None, None
    if refusal:
        return "refused", str(refusal)[:_WORDS]
    if finish == "length":
        return "empty", all_thought(_written(usage))
    if called:
        return "empty", "the answer calls a tool and has no text: tools are not offered, so look at what the endpoint adds to the request"
    if reasoning:
        return "empty", f"{ONLY_THOUGHT} (finish_reason {finish!r})"
    return "empty", f"no text (finish_reason {finish!r})"


ONLY_THOUGHT = "all of the answer is reasoning, and nothing follows it"


def all_thought(spent: int | None) -> str:
    """The detail of an answer whose tokens were used up before its text began."""
    return f"all tokens{'' if spent is None else f' ({spent:,})'} went into reasoning, none was left for the answer: raise max_tokens"


def _written(usage: Mapping[str, Any]) -> int | None:
    """Tokens that were spent without a text: of reasoning, else all that were written, else what is left of the sum."""
    details = usage.get("completion_tokens_details")
    thought = _count(details.get("reasoning_tokens")) if isinstance(details, dict) else None
    read, both = _count(usage.get("prompt_tokens")), _count(usage.get("total_tokens"))
    return thought or _count(usage.get("completion_tokens")) or (both - read if read is not None and both is not None and both > read else None)


def _text(value: Any, most: int | None = None) -> str | None:
    return value[:most] if isinstance(value, str) and value else None


def _count(value: Any) -> int | None:
    """A number of tokens, as far as it can be one; None is what nobody knows, and costs the worst case."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _COUNTABLE else None
