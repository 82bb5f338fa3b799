"""Backend ``transformers``: a local model in batches, for small models and machines without vLLM.

Contract: as `toolkit.generation.Backend`. Requests are gathered in a pool of `parallel`, sorted by sampling parameters and prompt length, and
generated in batches of neighbours, the one that has waited longest among them; draws of one prompt come together and read it once. A draw's
random numbers come from its request's key, so the same request gives the same text at any batch size (but for the rounding of floats).
``finish`` is ``stop`` (end-of-sequence token or stop string) or ``length``.

Pictures and sounds go to a model that takes them (`toolkit.generation._media_processor`): they are read and held against their sha256 when the
request is tokenised, and again when its batch is drawn.

Failure semantics: a request that cannot be tokenised or leaves no room for output fails as ``bad_request``, one whose files are not there, are
others, or are of a kind that the model does not take, as ``media``. An output without text is an output: that is what the model wrote. A missing chat
template or a folder that transformers cannot load is an `InputError`, a missing package `Missing`.
"""

from __future__ import annotations

import bisect
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import GuardkitError, InputError, require
from toolkit.common.mediafiles import read_whole
from toolkit.common.mediatypes import BadMedia
from toolkit.common.models import calm_threads
from toolkit.common.paths import Beside
from toolkit.generation._chat import Chat
from toolkit.generation._config import TransformersConfig
from toolkit.generation._logprobs import keep
from toolkit.generation._media_processor import TAKES, MediaProcessor, Prepared, media_processor
from toolkit.generation._request import Completion, Request, failed
from toolkit.generation._vocabulary import no_system, takes_no_system
from toolkit.generation.backends import _vllm_engine
from toolkit.generation.backends._decode import Draw, Sampler
from toolkit.generation.backends._fill_forms import Forms
from toolkit.generation.backends._local import LocalModel
from toolkit.generation.backends._lora import merge_adapter

if TYPE_CHECKING:
    from toolkit.generation._attached import Attached
    from toolkit.guards import Guard

_log = logging.getLogger(__name__)

_POOL = 8
"""Batches that the pool holds: enough for neighbours to be of nearly one length."""


@dataclass
class _Waiting:
    """A request in the pool; sorts by what makes a good batch."""

    request: Request
    prompt: tuple[int, ...]
    arrived: int
    since: float

    @property
    def group(self) -> tuple[float, float, bool]:
        """Only requests of one group share a batch."""
        return (self.request.temperature or 0.0, self.request.top_p or 1.0, bool(self.request.form))

    @property
    def order(self) -> tuple[tuple[float, float, bool], int, tuple[int, ...], tuple[str, ...], int]:
        return (self.group, len(self.prompt), self.prompt, tuple(m.sha256 for m in self.request.media), self.arrived)


class TransformersBackend(LocalModel):
    """A local model run by transformers; see the module's docstring.

    Raises:
        Missing: torch or transformers is not installed, or the hub cannot be reached.
        InputError: no such model or adapter, or one trained for another guard.
    """

    endpoint = "transformers"

    def __init__(self, config: TransformersConfig, *, beside: Beside = None, guard: Guard | None = None) -> None:
        for module in ("torch", "transformers"):
            require(module, "train", "the backend transformers")
        super().__init__(config, beside, guard)
        self._config = config
        self.parallel = _POOL * config.batch
        self._sampler: Sampler | None = None
        self._forms: Forms | None = None
        self._chat: Chat | None = None
        self._media: MediaProcessor | None = None
        self._context: int | None = None
        self.on_text: Callable[[str, str], None] | None = None
        """See `toolkit.generation.Tells`."""
        self.tokens = 0
        """Tokens generated so far."""
        self.seconds = 0.0
        """Time spent in generating them."""

    def generate(self, requests: Iterator[Request | None]) -> Iterator[Completion]:
        """As `Backend.generate`."""
        pool: list[_Waiting] = []
        arrived = 0
        ended = False
        while not ended or pool:
            while not ended and len(pool) < self.parallel:
                try:
                    request = next(requests)
                except StopIteration:
                    ended = True
                    break
                if request is None:
                    break
                arrived += 1
                waiting = self._tokenise(request, arrived)
                if isinstance(waiting, Completion):
                    yield waiting
                else:
                    bisect.insort(pool, waiting, key=lambda w: w.order)
            if pool:
                yield from self._batch(_neighbours(pool, self._config.batch))

    def close(self) -> None:
        """Drop the model."""
        if self.seconds:
            _log.info("%d tokens in %.1f s: %.0f tokens/s", self.tokens, self.seconds, self.tokens / self.seconds)
        self._sampler = self._forms = self._chat = self._media = None
        import gc

        gc.collect()
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _load(self) -> Sampler:
        if self._sampler is not None:
            return self._sampler
        calm_threads()
        _vllm_engine.free_idle()
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

        device = self._config.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            with _no_bars():
                chat = self._load_chat()
                shape: Any = AutoConfig.from_pretrained(self.folder, trust_remote_code=False)
                kind: Any = AutoModelForImageTextToText if shape.model_type in TAKES else AutoModelForCausalLM
                model: Any = kind.from_pretrained(self.folder, dtype=self._config.dtype, trust_remote_code=False)
                self._media = media_processor(model.config, str(self.folder))
            if self.adapter is not None:
                merge_adapter(model, self.adapter)
            model.to(device).eval()
        except GuardkitError:
            raise
        except Exception as e:  # loaders of a dozen formats read the user's files: whatever they raise is about those
            raise InputError(f"transformers cannot load this model: {str(e)[:300]}", where=str(self.folder)) from e
        self.still()
        self._context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        self._chat = chat
        self._sampler = Sampler(model, chat, self._media)
        return self._sampler

    def _tokenise(self, request: Request, arrived: int) -> _Waiting | Completion:
        sampler = self._load()
        assert self._chat is not None  # noqa: S101  loaded with the sampler
        asks = replace(request, messages=request.messages[:-1]) if request.form else request  # the last one begins the answer
        try:
            places = [self._checked(m).place(m.kind, _read(m))._asdict() for m in request.media]
            if request.form and places:
                raise BadMedia("media_not_taken", "a form about files is not filled in here")
        except BadMedia as e:
            return failed(request, "media", e.detail)
        try:
            prompt = tuple(self._chat.prompt(asks, places))
        except Exception as e:  # noqa: BLE001  a chat template is a program of the model's author: whatever it raises costs this request
            if takes_no_system(str(e)):
                raise no_system(self._config.model, _plain(e)) from None
            return failed(request, "bad_request", f"the prompt cannot be tokenised: {type(e).__name__}: {_plain(e)}")
        if not prompt:
            return failed(request, "bad_request", "the prompt has no tokens")
        if self._context is not None and len(prompt) >= self._context:
            return failed(request, "bad_request", f"the prompt has {len(prompt)} tokens, the model reads {self._context}")
        if max(prompt) >= sampler.vocabulary:
            return failed(request, "bad_request", f"the prompt has the token {max(prompt)}, and the model embeds {sampler.vocabulary}")
        return _Waiting(request, prompt, arrived, time.monotonic())

    def _checked(self, one: Attached) -> MediaProcessor:
        """The model's processors, which must take a file of that kind."""
        if self._media is None or one.kind not in self._media.kinds:
            takes = "text alone" if self._media is None else f"text, {' and '.join(self._media.kinds)}"
            raise BadMedia("media_not_taken", f"{one.uri}: {self._config.model} takes {takes}")
        return self._media

    def _prepared(self, batch: list[_Waiting]) -> Iterator[Completion | tuple[_Waiting, tuple[Prepared, ...]]]:
        """The requests of a batch with their files, each file read once; the failure of one whose files have changed by now."""
        known: dict[str, Prepared] = {}
        for waiting in batch:
            try:
                for m in waiting.request.media:
                    known[m.sha256] = known.get(m.sha256) or self._checked(m).prepare(m.kind, _read(m), m.sha256)
            except BadMedia as e:
                yield failed(waiting.request, "media", e.detail)
            else:
                yield waiting, tuple(known[m.sha256] for m in waiting.request.media)

    def _fill(self, batch: list[_Waiting]) -> Iterator[Completion]:
        """Fill the forms of a batch."""
        sampler = self._load()
        assert self._chat is not None  # noqa: S101  loaded with the sampler
        if self._forms is None:
            self._forms = Forms(sampler, self._chat.tokenizer, self._chat.end or self._chat.tokenizer.eos_token_id)
        begun = time.monotonic()
        yield from self._forms.answers([(w.request, w.prompt, w.since) for w in batch], self._context, self._config.model)
        self.seconds += time.monotonic() - begun

    def _batch(self, batch: list[_Waiting]) -> Iterator[Completion]:
        if batch[0].request.form:
            yield from self._fill(batch)
            return
        sampler = self._load()
        temperature, top_p, _ = batch[0].group
        asker: dict[int, _Waiting] = {}
        draws: list[Draw] = []
        for found in self._prepared(batch):
            if isinstance(found, Completion):
                yield found
                continue
            draws.append(self._draw(*found))
            asker[id(draws[-1])] = found[0]
        if not draws:
            return
        begun, on_text = time.monotonic(), self.on_text

        def tell(active: Sequence[Draw]) -> None:
            assert on_text is not None  # noqa: S101  else it is not called
            for draw in active:
                on_text(asker[id(draw)].request.key, sampler.text(draw.tokens).rstrip("\ufffd"))

        for draw in sampler.draw(draws, temperature, top_p, None if on_text is None else tell):
            self.seconds += time.monotonic() - begun
            waiting = asker[id(draw)]
            self.tokens += len(draw.tokens)
            yield self._completion(sampler, waiting, draw)
            begun = time.monotonic()
        self.seconds += time.monotonic() - begun

    def _draw(self, waiting: _Waiting, media: tuple[Prepared, ...]) -> Draw:
        request = waiting.request
        room = request.max_tokens if self._context is None else min(request.max_tokens, self._context - len(waiting.prompt))
        seed = None if request.seed is None else int(request.key[:16], 16) >> 1  # 63 bits: what torch takes
        return Draw(waiting.prompt, seed, room, request.stop, request.logprobs, media)

    def _completion(self, sampler: Sampler, waiting: _Waiting, draw: Draw) -> Completion:
        text = sampler.text(draw.tokens)
        if draw.stop and draw.finish == "stop":
            text = text[: min([i for s in draw.stop if (i := text.find(s)) >= 0], default=len(text))]
        return Completion(
            waiting.request.key,
            text,
            draw.finish,
            model=self._config.model,
            prompt_tokens=len(waiting.prompt),
            completion_tokens=len(draw.tokens) + (draw.finish == "stop"),
            seconds=time.monotonic() - waiting.since,
            logprobs=self._logprobs(sampler, waiting.request, draw, text),
        )

    @staticmethod
    def _logprobs(sampler: Sampler, request: Request, draw: Draw, text: str) -> bytes | None:
        if not request.logprobs:
            return None
        tokens = [sampler.token(int(ids[row, 0])) for ids, _, row in draw.scored]
        return keep(tokens, lambda n: ((sampler.token(number), value) for number, value in draw.scores(n)), text, request.words)


def _neighbours(pool: list[_Waiting], size: int) -> list[_Waiting]:
    """Take up to `size` neighbours of one group out of the sorted `pool`, the one that has waited longest among them."""
    oldest = min(range(len(pool)), key=lambda i: pool[i].arrived)
    group = pool[oldest].group
    first, last = oldest, oldest + 1
    while first > 0 and pool[first - 1].group == group and last - first < size:
        first -= 1  # shorter ones first: they cost the batch nothing
    while last < len(pool) and pool[last].group == group and last - first < size:
        last += 1
    taken = pool[first:last]
    del pool[first:last]
    return taken


def _read(one: Attached) -> bytes:
    """The bytes of a file, which must be those of its row (BadMedia, with its name)."""
    try:
        return read_whole(one.folder, one.uri, one.sha256)
    except BadMedia as e:
        raise BadMedia(e.reason, f"{one.uri} {e.detail}") from None


@contextmanager
def _no_bars() -> Iterator[None]:
    """Without the progress bars of transformers, which would draw across the CLI's own."""
    import transformers.utils.logging

    hub: Any = transformers.utils.logging
    shown = hub.is_progress_bar_enabled()
    hub.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            hub.enable_progress_bar()


def _plain(error: Exception) -> str:
    return str(error).encode("ascii", "replace").decode()[:200]
