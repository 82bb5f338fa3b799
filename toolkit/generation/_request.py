"""A request to a model and its journal key as one object, and what came of it.

Contract: `Request` builds both the HTTP payload and the key, so the two cannot diverge. The key covers every field of the
dataclass but those in `EXCLUDED`, each with its reason; a field added later is in the key unless someone writes down why not.
Media of a request (`toolkit.generation._attached`) are before the text of its first message of the user; the key covers their kinds, types and
hashes, not where they are. A payload is made with the parts that carry them or not at all, so that none is left out unseen.

A `Completion` is a closed sum: either `text` is there and `error` is None, or `error` names a class of failure from `FAILURES`
and `text` is None. Nothing here does I/O.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from operator import attrgetter
from typing import Any

from toolkit.common.files import canonical_json, digest
from toolkit.common.secrets import shown
from toolkit.common.text import whole
from toolkit.generation._attached import Attached

KEY_VERSION = 1
"""Part of every key; raised when the meaning of a field changes."""

EXCLUDED: dict[str, str] = {
    "row": "names who asks, for diagnosis and takedown; two rows that ask the same question share the answer",
    "reasoning": "how an answer is read; it is kept as it came",
}
"""Fields of `Request` that are not in its key, each with its reason."""

ADDED: dict[str, Any] = {
    "revision": "",
    "schema": "",
    "attempt": 0,
    "system": "keep",
    "media": (),
    "logprobs": 0,
    "words": (),
    "raw": False,
    "form": (),
}
"""Fields that came after the first release, each with the value at which it leaves the key as it was: the answers of older journals stay found.
At any other value the field is in the key."""

FAILURES: dict[str, str] = {
    "budget": "another attempt did not fit the budget",
    "expired": "the batch ended before this request was served",
    "timeout": "no answer within the timeout",
    "rate_limit": "the endpoint kept refusing for its rate limit until the patience ran out",
    "server_error": "the endpoint answered 5xx (or 408, 409), reported that in the body of an answer, or broke its answer off",
    "bad_request": "the endpoint or the model cannot take this request (4xx, too long, text that is not Unicode)",
    "media": "a file of the request is not there, is not the one of its row, is too large, or of a kind that the endpoint's form cannot carry",
    "no_schema": "the endpoint takes no response_format",
    "connection": "the connection could not be made or broke",
    "forbidden": "the endpoint refused this request (403)",
    "refused": "the endpoint's own refusal field was set and there is no text",
    "content_filter": "the endpoint's content filter cut or blocked the answer, or its prompt, however it says so",
    "empty": "an answer without text",
    "malformed": "an answer that is not JSON of the expected shape",
    "too_large": "an answer larger than one of this request can be",
    "unanswered": "the backend ended without an answer to this request",
}
"""Classes of failure, in `Completion.error` and in the journal."""

FINAL: frozenset[str] = frozenset({"refused", "content_filter", "empty", "no_schema", "too_large"})
"""Failures that are an answer: the model's own, paid for like any other (``too_large`` too: asked again it would be so), or (``no_schema``, free
of charge) the endpoint's to what it never takes. They are kept in the journal and served from it, so that nobody asks twice. All others are asked
again by the next run."""

Messages = tuple[tuple[str, str], ...]


def as_messages(messages: Iterable[Mapping[str, str]]) -> Messages:
    """``[{"role": …, "content": …}, …]`` as the tuple that `Request` holds."""
    return tuple((m["role"], m["content"]) for m in messages)


@dataclass(frozen=True)
class Request:
    """One question to one model.

    Args:
        model_id: content hash of a local model, or the model's name at an endpoint.
        endpoint: declared name of the endpoint (its base URL by default), or ``transformers``, ``vllm``, ``template``.
        messages: ``((role, content), …)``, the system message included; see `as_messages`.
        temperature: None leaves it to the endpoint and sends nothing.
        top_p: likewise.
        max_tokens: tokens of output at most.
        seed: None for no seed.
        stop: strings at which the output ends (not part of it).
        draw: number of the draw, from 0: the same question asked again on purpose.
        attempt: number of the attempt, from 0: asked again because an earlier answer was not taken.
        revision: version of the model at its endpoint, where its name does not say; not sent. Empty for none.
        schema: canonical JSON of the ``response_format`` that the answer must have; empty for none.
        max_tokens_name: what the payload calls `max_tokens` (``max_completion_tokens`` for some models).
        extra: canonical JSON object of whatever else shapes the answer and, for an endpoint, is sent.
        row: id of the row that asks (not in the key).
        system: what becomes of system messages: ``keep``, ``merge`` (into the first message of the user), or ``drop``. An empty one is never sent.
        media: files that the question is about, in order; see the module's docstring.
        raw: the messages are the pieces of a text that is the whole prompt, and no chat template writes anything around them. Those of the role
            ``text`` are the asker's own; in the others, which are quoted, control tokens are text (`toolkit.generation._chat`).
        reasoning: who takes the reasoning off an answer's content (`toolkit.generation._thoughts`; not in the key).
        logprobs: likeliest tokens of which the log-probabilities are wanted, at each token of the answer; 0 for none.
        words: of the answer, for whose tokens these are kept (`toolkit.generation._logprobs`); none: for all tokens.
        form: nothing is drawn: the answer is begun by the last message, the assistant's, and goes on with these texts, each with the words of which
            one follows it, the likeliest. Log-probabilities of all of them come with it. Empty for an answer that is drawn. A backend whose config
            says that it `fills_forms` can do that.
    """

    model_id: str
    endpoint: str
    messages: Messages
    temperature: float | None
    top_p: float | None
    max_tokens: int
    seed: int | None = None
    stop: tuple[str, ...] = ()
    draw: int = 0
    max_tokens_name: str = "max_tokens"
    extra: str = "{}"
    row: str = ""
    revision: str = ""
    schema: str = ""
    attempt: int = 0
    system: str = "keep"
    media: tuple[Attached, ...] = ()
    raw: bool = False
    reasoning: str = "keep"
    logprobs: int = 0
    words: tuple[str, ...] = ()
    form: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def __post_init__(self) -> None:
        for name in ("temperature", "top_p"):  # 0, 0.0 and -0.0 are one value and must be one key
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, float(value) + 0.0)

    @cached_property
    def key(self) -> str:
        """sha256 (hex) of the canonical JSON of `KEY_VERSION` and every field, but those in `EXCLUDED` and those of `ADDED` at their old
        value; of media kind, type and sha256."""
        if self.media:
            body = {"key_version": KEY_VERSION, **_differing(_others(self)), "messages": self.messages}
            return digest({**body, "media": [(m.kind, m.mime, m.sha256) for m in self.media]})
        before, behind = _around(*_others(self))
        return hashlib.sha256(f"{before}{canonical_json(self.messages)}{behind}".encode()).hexdigest()

    @cached_property
    def shape(self) -> str:
        """Canonical JSON of all that the key covers but messages, media, draw and attempt: what requests of one step have in common."""
        return _shape(*_others(self))

    @property
    def draw_seed(self) -> int | None:
        """Seed of this draw and attempt: `seed` for the first, another one for every further one (an endpoint would repeat itself otherwise)."""
        if self.seed is None or (self.draw == 0 and self.attempt == 0):
            return self.seed
        parts = [self.seed, self.draw, *([self.attempt] if self.attempt else [])]
        word = hashlib.sha256(canonical_json(parts).encode()).digest()
        return int.from_bytes(word[:4], "big") >> 1  # 31 bits: what every server accepts

    @property
    def text(self) -> str:
        """The prompt of a `raw` request."""
        return "".join(content for _, content in self.messages)

    @property
    def template_arguments(self) -> dict[str, Any]:
        """Arguments of the model's chat template."""
        return _template_arguments(self.extra)

    def messages_list(self, parts: Sequence[Mapping[str, Any]] = ()) -> list[dict[str, Any]]:
        """The messages as they are sent: ``[{"role": …, "content": …}, …]``.

        Args:
            parts: content parts of its media, one for each.

        Raises:
            ValueError: other than so many, or no message of the user that they could be in.
        """
        if self.media or parts:
            return self._with_parts(parts)
        if self.system == "keep":
            return [{"role": r, "content": c} for r, c in self.messages if r != "system" or c.strip()]
        sent = [(r, c) for r, c in self.messages if r != "system"]
        if self.system == "merge" and (instructions := [c for r, c in self.messages if r == "system" and c.strip()]):
            first = next((i for i, (r, _) in enumerate(sent) if r == "user"), None)
            if first is None:
                first = 0
                sent.insert(0, ("user", ""))
            sent[first] = ("user", "\n\n".join(t for t in (*instructions, sent[first][1]) if t))
        return [{"role": role, "content": content} for role, content in sent]

    def _with_parts(self, parts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        if len(parts) != len(self.media):
            raise ValueError(f"a request with {len(self.media)} files, and {len(parts)} of them would be sent")
        out = replace(self, media=()).messages_list()
        asks = next((m for m in out if m["role"] == "user"), None)
        if asks is None:
            raise ValueError("a request with files, and no message of the user that asks about them")
        asks["content"] = [*parts, *([{"type": "text", "text": asks["content"]}] if asks["content"] else [])]
        return out

    def payload(self, parts: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
        """Body of a chat completions request (OpenAI API reference, "Create chat completion"); arguments and errors as `messages_list`. Of a `raw`
        one that of a completions request ("Create completion")."""
        asked = {"prompt": self.text} if self.raw else {"messages": self.messages_list(parts)}
        body: dict[str, Any] = {"model": self.model_id, **asked, "max_tokens" if self.raw else self.max_tokens_name: self.max_tokens}
        for name, value in (("temperature", self.temperature), ("top_p", self.top_p), ("seed", self.draw_seed)):
            if value is not None:
                body[name] = value
        if self.stop:
            body["stop"] = list(self.stop)
        if self.schema:
            body["response_format"] = json.loads(self.schema)
        if self.logprobs:
            body |= {"logprobs": self.logprobs} if self.raw else {"logprobs": True, "top_logprobs": self.logprobs}
        body.update(json.loads(self.extra))
        return body


@lru_cache(maxsize=64)
def _template_arguments(extra: str) -> dict[str, Any]:
    found = json.loads(extra).get("chat_template_kwargs")
    return found if isinstance(found, dict) else {}


_OTHERS = tuple(f.name for f in fields(Request) if f.name not in EXCLUDED and f.name not in ("media", "messages"))
_others: Callable[[Request], tuple[Any, ...]] = attrgetter(*_OTHERS)
"""What the key covers besides messages and media: the same in most requests of a run, so that its JSON is made once."""
_NEVER = object()


def _differing(others: Sequence[Any]) -> dict[str, Any]:
    """By name, without those at their old value."""
    return {n: v for n, v in zip(_OTHERS, others, strict=True) if v != ADDED.get(n, _NEVER)}


@lru_cache(maxsize=1024, typed=True)
def _around(*others: Any) -> tuple[str, str]:
    """The canonical JSON of a key before its messages, and behind them."""
    before, _, behind = canonical_json({"key_version": KEY_VERSION, **_differing(others), "messages": None}).partition('"messages":null')
    return f'{before}"messages":', behind  # within a text a quote has a backslash before it


@lru_cache(maxsize=1024, typed=True)
def _shape(*others: Any) -> str:
    return canonical_json({n: v for n, v in _differing(others).items() if n not in ("draw", "attempt")})


@dataclass(frozen=True)
class Completion:
    """What came of a request.

    Args:
        key: the request's key.
        text: the answer as it came; None where the request failed.
        finish: why the answer ended: ``stop``, ``length``, or the endpoint's own word where nobody knows it: such an answer is not finished.
        error: class of the failure (see `FAILURES`), None for an answer.
        detail: what exactly went wrong, or what is odd about an answer that was handed out; free of secrets.
        model: the model that the endpoint says has answered.
        prompt_tokens: tokens read, where known.
        completion_tokens: tokens written, where known.
        seconds: time that the request took, its waits and retries included.
        reasoning: text of a thinking model's own reasoning field, where the endpoint sends one.
        raw: the body as it came from an endpoint; None for a local model, whose text is all there is.
        lost: attempts that were sent and whose usage is not known (timed out, broken off): an endpoint may have charged for them.
        cost: dollars, where the price is known; set by the engine.
        asked: the request that this answers; set by the engine on what it hands out.
        trail: earlier completions for the same row that were not taken, oldest first; likewise.
        logprobs: log-probabilities of some of its tokens, where the request wants them and they are known (`toolkit.generation.choices` reads them).
    """

    key: str
    text: str | None
    finish: str | None = None
    error: str | None = None
    detail: str | None = None
    model: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float | None = None
    reasoning: str | None = None
    raw: bytes | None = None
    lost: int = 0
    cost: float | None = None
    asked: Request | None = None
    trail: tuple[Completion, ...] = ()
    logprobs: bytes | None = None

    def __post_init__(self) -> None:
        if (self.text is None) != (self.error is not None):
            raise ValueError("a completion has either a text or an error")
        if self.error is not None and self.error not in FAILURES:
            raise ValueError(f"unknown class of failure {self.error!r}")

    @property
    def ok(self) -> bool:
        """Whether there is an answer."""
        return self.error is None

    def of_row(self, asked: Request, trail: tuple[Completion, ...]) -> Completion:
        """A copy with what is known of its row, without `raw`: as ``dataclasses.replace``, which checks each time what holds already."""
        out = object.__new__(Completion)
        out.__dict__.update(self.__dict__, asked=asked, trail=trail, raw=None)
        return out

    @property
    def final(self) -> bool:
        """Whether asking the same again is no use: an answer, or a failure that is one (`FINAL`)."""
        return self.error is None or self.error in FINAL


def failed(request: Request, error: str, detail: str, seconds: float | None = None) -> Completion:
    """A failure of `request`; `detail` is freed of secrets and of what no file can hold, then cut to 500 characters."""
    return Completion(request.key, None, error=error, detail=whole(shown(detail))[:500], seconds=seconds)
