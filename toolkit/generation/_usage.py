"""Tokens of a request and its answer: bounds by the text, and what an endpoint's own count is worth.

Bounds: a byte-level tokeniser never makes more tokens than there are bytes in UTF-8, and no endpoint that is known charges more for an image than
`TOKENS`. So a prompt has at most `tokens_at_most`; an answer has at most
the request's ``max_tokens``, unless its text is plainly longer than that: then as many as its bytes.

A count is believed while it is no less than a sixteenth of the text's characters (1 at least; no text has longer tokens on average, but for long runs
of one character), and no more than sixteen times what was to be expected, and 100,000 for what the endpoint adds. One that is not (none, zero or
a handful beside real text, billions) counts as not known, and the worst case by these bounds takes its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.generation._attached import TOKENS

if TYPE_CHECKING:
    from toolkit.generation._request import Completion, Request

_PER_MESSAGE, _PER_REQUEST = 16, 128
"""Tokens that a chat template puts around each message (OpenAI's count: 3 and the role's one) and around all of them (a system message of
its own: gpt-oss and Llama 3 put about 70 and 40 there), at most."""

_LETTERS, _ADDED = 16, 100_000
"""Characters of a token on average at most, and tokens that an endpoint may add: see the module's docstring."""


def tokens_at_most(request: Request) -> int:
    """An upper bound of the tokens that a prompt is charged for; the response schema and the further keys of the body may be part of the prompt and
    count likewise."""
    texts = [*(t for m in request.messages for t in m), request.schema, request.extra]
    size = sum(len(t.encode("utf-8", "surrogatepass")) for t in texts)
    return size + TOKENS * len(request.media) + _PER_MESSAGE * len(request.messages) + _PER_REQUEST


def written_at_most(request: Request, completion: Completion) -> int:
    """An upper bound of the tokens of an answer."""
    text = completion.text or ""
    return request.max_tokens if len(text) <= _LETTERS * request.max_tokens else len(text.encode("utf-8", "surrogatepass"))


def believed(request: Request, completion: Completion) -> tuple[int | None, int | None]:
    """Tokens read and written as the endpoint counted them, each as far as it is believed; None for what nobody knows."""
    read, written = completion.prompt_tokens, completion.completion_tokens
    asked = 0
    for _, content in request.messages:
        asked += len(content)
    if read is not None and not max(1, asked // _LETTERS) <= read <= _LETTERS * asked + _ADDED + TOKENS * len(request.media):
        read = None
    letters = len(completion.text or "")
    least = (
        -(-letters // _LETTERS) if read is not None else max(1, letters // _LETTERS)
    )  # who counts nothing read is not believed to have written nothing
    if written is not None and not least <= written <= _LETTERS * max(request.max_tokens, letters) + _ADDED:
        written = None
    return read, written
