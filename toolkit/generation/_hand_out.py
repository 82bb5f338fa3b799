"""A completion as it is handed out: its reasoning and log-probabilities beside it, and what is odd about it reported once.

Contract: `HandOut.read` is a pure function of request and completion, so that a run that is resumed decides alike. `HandOut.report` is called once
for each row's last completion; it warns once for each kind of oddity, and counts:

- a finish word that nobody knows: the answer counts as not finished (`toolkit.generation._vocabulary`);
- a prompt of which the server counted far fewer tokens than it has words: it was cut, silently, to what the server has room for. No tokeniser makes
  one token of several words, so a count below half of them is no matter of the tokeniser. In scripts without spaces two characters count as a word:
  no tokeniser needs less than half a token for one, over a whole prompt. Such an answer says so in its `detail`. A model in this process is given the
  prompt whole, and its own small tokeniser may have made one token of a sentence that all its texts share: there nothing is counted;
- an answer without the log-probabilities that were asked for.
"""

from __future__ import annotations

import logging
import re
from dataclasses import replace

from toolkit.generation._logprobs import in_body
from toolkit.generation._request import Completion, Request
from toolkit.generation._stats import Stats
from toolkit.generation._thoughts import without_thoughts
from toolkit.generation._vocabulary import ended

_log = logging.getLogger(__name__)

_LETTERS = 8
"""Letters for each token that was read, below which words are not counted: two words with their spaces have as many in any prose."""

_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
"""Thai and Lao, Burmese, Khmer, kana, Chinese characters."""

_HERE = frozenset({"transformers", "vllm"})
"""Endpoints that are this process."""

_SMALL = 256
"""Words of a prompt that is too small to be cut by a server."""


def handed_out(request: Request, completion: Completion) -> Completion:
    """The completion as whoever asked is to see it; an answer to a prompt that the server has cut says so in its `detail`."""
    found = without_thoughts(completion, request.reasoning)
    if request.logprobs and found.raw is not None and found.error is None:
        found = replace(found, logprobs=in_body(found.raw, found.text, request.words))
    counted = None if request.endpoint in _HERE else found.prompt_tokens
    if found.error is None and counted is not None and (words := _words_lost(request, counted)):
        detail = f"the server counted {counted:,} tokens of a prompt of {words:,} words: it has cut the prompt"
        return replace(found, detail=detail)
    return found


class HandOut:
    """See the module's docstring.

    Args:
        stats: where prompts that were cut are counted.
    """

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        self._warned: set[str] = set()

    def read(self, request: Request, completion: Completion) -> Completion:
        """The completion as whoever asked is to see it."""
        return handed_out(request, completion)

    def report(self, request: Request, completion: Completion) -> None:
        """Tell of what is odd about an answer that was `read`."""
        if completion.error is not None:
            return
        if completion.detail is not None:
            self._stats.cut += 1
            hint = "raise the context that it serves (num_ctx of Ollama, --ctx-size of llama.cpp), and ask again under another `revision`"
            self._warn(request, "cut", f"{completion.detail}; {hint}")
        if request.logprobs and completion.logprobs is None:
            self._warn(request, "logprobs", "it sends no log-probabilities, which were asked for (`logprobs`): probabilities are not known")
        if ended(completion.finish) is None:
            words = f"finish_reason {completion.finish!r} is not known for the end of an answer: such answers count as not finished"
            self._warn(request, f"finish {completion.finish}", words)

    def _warn(self, request: Request, kind: str, words: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            _log.warning("%s, model %s: %s", request.endpoint, request.model_id, words)


def _words_lost(request: Request, read: int) -> int:
    """Words of a prompt that has twice as many as tokens were read of it, else 0."""
    size = 0
    spaced = True
    for _, content in request.messages:
        size += len(content)
        spaced = spaced and content.isascii()
    if size < (_LETTERS if spaced else _LETTERS // 2) * read or size < 2 * _SMALL:
        return 0
    words = sum(map(_words, (content for _, content in request.messages)))
    return words if words >= _SMALL and words > 2 * read else 0


def _words(text: str) -> int:
    words = len(text.split())
    return words if text.isascii() else words + len(_UNSPACED.findall(text)) // 2
