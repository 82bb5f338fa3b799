"""Sampling from a causal language model of transformers, one batch at a time.

Contract: each sequence is drawn from random numbers of its own (its `Draw.seed`), so it does not depend on what else is in its batch,
but for the rounding of floats. Only temperature and top-p are applied: nothing that a model's ``generation_config`` may add, so
that a request's key says all that shaped its answer. Equal prompts in a batch are read once. Sequences that have ended are taken out of
the batch; it ends when all have.

Why not ``model.generate``: on a CPU with a small model it spends most of its time in copying the key-value cache at every token and
in sorting the vocabulary; here the cache grows in place and only the likeliest tokens are sorted.

Shapes: B sequences, U distinct prompts, L tokens so far, V vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from toolkit.generation._chat import Chat
    from toolkit.generation._media_processor import MediaProcessor, Prepared

_LIKELIEST = (32, 256)
"""Tokens that are sorted first, and then, of the rows for which top-p needs more; of what is left all are."""

_ROOM = 256
"""Tokens by which a cache buffer grows."""

_THIN_OUT = 0.75
"""Ended sequences are taken out once at most this share of the batch is left."""


@dataclass
class Draw:
    """One sequence to be drawn.

    Args:
        prompt: token ids.
        seed: of its random numbers; None draws them from the system.
        max_new: tokens at most.
        stop: strings at which it ends.
    """

    prompt: tuple[int, ...]
    seed: int | None
    max_new: int
    stop: tuple[str, ...] = ()
    likeliest: int = 0
    """Tokens of which the log-probabilities are wanted, at each token."""
    media: tuple[Prepared, ...] = ()
    """Files that the prompt has placeholders for, in their order."""
    tokens: list[int] = field(default_factory=list)
    """Filled in: token ids without the end-of-sequence token."""
    finish: str | None = None
    """Filled in: ``stop`` or ``length``."""
    scored: list[tuple[torch.Tensor, torch.Tensor, int]] = field(default_factory=list)
    """Filled in where they are: for each token, also the one that ended it, ids and log-probabilities of its batch, its own first, and its row."""

    @property
    def asks(self) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """What it has in common with other draws of the same prompt."""
        return self.prompt, tuple(file.key for file in self.media)

    def scores(self, n: int) -> list[tuple[int, float]]:
        """Ids and log-probabilities of a token, by its number, and of the `likeliest` in its place, each once; its own first."""
        ids, values, row = self.scored[n]
        pairs = zip(ids[row].tolist()[: self.likeliest + 1], values[row].tolist(), strict=False)
        return list(dict(pairs).items())


class Sampler:
    """A model ready to draw from.

    Args:
        model: a causal language model of transformers, in eval mode.
        chat: its tokenizer and chat template.
        media: its processors; None for a model that takes text alone.
    """

    def __init__(self, model: Any, chat: Chat, media: MediaProcessor | None = None) -> None:
        self.media = media
        self.model = self._model = model
        """The model itself, for `toolkit.generation.backends._fill_forms`."""
        self._tokenizer = tokenizer = chat.tokenizer
        self._ends = _end_tokens(model, chat)
        self.vocabulary = int(model.get_input_embeddings().weight.shape[0])
        """Tokens that the model embeds."""
        pad = tokenizer.pad_token_id
        self._pad = pad if pad is not None and pad < self.vocabulary else 0  # masked: any token will do
        self._tokens: dict[int, str] = {}
        self._last_only = "logits_to_keep" in inspect.signature(model.forward).parameters

    def draw(
        self, draws: Sequence[Draw], temperature: float, top_p: float, on_token: Callable[[Sequence[Draw]], None] | None = None
    ) -> Iterator[Draw]:
        """Yield each draw once it has ended, `tokens` and `finish` filled in.

        Args:
            draws: one batch, all with room for at least one token.
            temperature: 0 takes the likeliest token.
            top_p: share of the probability that is sampled from.
            on_token: called after each token with the draws that have not ended.
        """
        batch = _Batch(self, draws)
        while batch.active:
            yield from batch.step(temperature, top_p)
            if on_token is not None:
                on_token(batch.active)

    def forward(self, **inputs: Any) -> torch.Tensor:
        """Logits of the last position, (B, V)."""
        import torch

        with torch.inference_mode():
            if self._last_only:
                inputs["logits_to_keep"] = 1
            logits: torch.Tensor = self._model(**inputs, use_cache=True).logits
            return logits[:, -1].float()

    def see(self, ids: torch.Tensor, mask: torch.Tensor, files: Sequence[Prepared]) -> tuple[dict[str, torch.Tensor], torch.Tensor | None]:
        """What the model gets of the files of whole prompts, and the positions of their tokens where those are not of text alone."""
        if self.media is None or not files:
            return {}, None
        import torch

        with torch.inference_mode():
            inputs = self.media.inputs(ids, files)
            return inputs, self.media.positions(self._model, ids, mask, inputs)

    def logits(self, positions: Sequence[int], **inputs: Any) -> torch.Tensor:
        """Logits of these positions of whole sequences, (B, positions, V)."""
        import torch

        with torch.inference_mode():
            at = torch.tensor(list(positions), device=self._model.device)
            if self._last_only:
                found: torch.Tensor = self._model(**inputs, logits_to_keep=at, use_cache=False).logits
                return found
            return self._model(**inputs, use_cache=False).logits[:, at]  # type: ignore[no-any-return]

    def token(self, number: int) -> str:
        """The text of one token; of a special one its name."""
        if number not in self._tokens:
            self._tokens[number] = self._tokenizer.decode([number])
        return self._tokens[number]

    def text(self, tokens: Sequence[int]) -> str:
        """Tokens as text, special tokens left out."""
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=True)
        return text


class _Batch:
    """The state of one batch: what is active, its cache, and the logits of the next token."""

    def __init__(self, sampler: Sampler, draws: Sequence[Draw]) -> None:
        import torch

        self._sampler = sampler
        self._device = sampler._model.device
        distinct = sorted({d.asks: d for d in draws}.values(), key=lambda d: len(d.prompt))
        prompts = [d.prompt for d in distinct]
        width = len(prompts[-1])
        pad = sampler._pad
        ids = torch.tensor([[pad] * (width - len(p)) + list(p) for p in prompts], device=self._device)
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=self._device)
        position = (mask.cumsum(-1) - 1).clamp(min=0)
        more, places = sampler.see(ids, mask, [file for d in distinct for file in d.media])
        self._cache = roomy_cache(sampler._model.config)
        logits = sampler.forward(
            input_ids=ids, attention_mask=mask, position_ids=position if places is None else places, past_key_values=self._cache, **more
        )
        if places is not None:
            position = places[0]  # a prompt ends with text, whose three positions are one
        rows = {d.asks: i for i, d in enumerate(distinct)}
        self.active = list(draws)
        self._likeliest = max(d.likeliest for d in draws)
        self._uniforms = [_Uniforms(d.seed) for d in draws]
        self._length = width
        longest = width + max(d.max_new for d in draws)
        self._mask = torch.ones((len(distinct), longest), dtype=mask.dtype, device=self._device)
        self._mask[:, :width] = mask
        self._position = position[:, -1:]
        self._logits = logits
        self._keep([rows[d.asks] for d in draws])

    def _keep(self, rows: list[int]) -> None:
        """Go on with these rows, in this order; a row may be taken several times."""
        import torch

        index = torch.tensor(rows, device=self._device)
        with torch.inference_mode():
            self._cache.reorder_cache(index)
            self._mask, self._position, self._logits = self._mask[index], self._position[index], self._logits[index]

    def step(self, temperature: float, top_p: float) -> list[Draw]:
        """Draw one token for each sequence that has not ended; the draws that end with it."""
        import torch

        with torch.inference_mode():
            uniforms = torch.tensor([u.next() for u in self._uniforms], device=self._device)
            chosen = pick(self._logits, temperature, top_p, uniforms)
        if self._likeliest:
            self._score(chosen)
        tokens = chosen.tolist()
        ended = [d for d, token in zip(self.active, tokens, strict=True) if d.finish is None and self._take(d, token)]
        left = [i for i, d in enumerate(self.active) if d.finish is None]
        if not left:
            self.active = []
            return ended
        if len(left) <= _THIN_OUT * len(self.active):
            self._keep(left)
            chosen = chosen[torch.tensor(left, device=self._device)]
            self.active = [self.active[i] for i in left]
            self._uniforms = [self._uniforms[i] for i in left]
        self._length += 1
        self._position = self._position + 1
        self._logits = self._sampler.forward(
            input_ids=chosen[:, None],
            attention_mask=self._mask[:, : self._length],
            position_ids=self._position,
            past_key_values=self._cache,
        )
        return ended

    def _score(self, chosen: torch.Tensor) -> None:
        """Note the log-probabilities of the tokens that were chosen and of the likeliest, of the model's own distribution."""
        import torch

        with torch.inference_mode():
            scores = torch.log_softmax(self._logits, -1)
            values, ids = scores.topk(min(self._likeliest, scores.shape[-1]), -1)
            ids = torch.cat([chosen[:, None], ids], -1).cpu()
            values = torch.cat([scores.gather(-1, chosen[:, None]), values], -1).cpu()
        for row, draw in enumerate(self.active):
            if draw.finish is None and draw.likeliest:
                draw.scored.append((ids, values, row))

    def _take(self, draw: Draw, token: int) -> bool:
        """Add a token to a draw; whether the draw has ended."""
        if token in self._sampler._ends:
            draw.finish = "stop"
            return True
        draw.tokens.append(token)
        if draw.stop and any(s in self._sampler.text(draw.tokens) for s in draw.stop):
            draw.finish = "stop"
        elif len(draw.tokens) >= draw.max_new:
            draw.finish = "length"
        return draw.finish is not None


def pick(logits: torch.Tensor, temperature: float, top_p: float, uniforms: torch.Tensor) -> torch.Tensor:
    """The token of each row by inverse transform: (B, V) logits and (B,) uniform numbers give (B,) token ids.

    Top-p (Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration", section 3.1): the smallest set of likeliest tokens
    whose probability reaches `top_p`.
    """
    import torch

    if temperature == 0:
        return logits.argmax(-1)
    probs = torch.softmax(logits / temperature, -1)
    if top_p >= 1:
        mass = probs.cumsum(-1)
        last = probs.shape[-1] - 1
        return torch.searchsorted(mass, (uniforms[:, None] * mass[:, -1:]).to(mass.dtype), right=True).clamp(max=last)[:, 0]
    return _nucleus(probs, top_p, uniforms, _LIKELIEST)


def _nucleus(probs: torch.Tensor, top_p: float, uniforms: torch.Tensor, sizes: Sequence[int]) -> torch.Tensor:
    """As `pick`, of probabilities: rows that the first of `sizes` likeliest tokens are enough for, the others with the next one."""
    import torch

    if not sizes or sizes[0] >= probs.shape[-1]:
        likeliest, tokens = probs.sort(dim=-1, descending=True, stable=True)
    else:
        likeliest, tokens = probs.topk(sizes[0], -1)
    before = likeliest.cumsum(-1) - likeliest
    kept = likeliest * (before < top_p)
    mass = kept.cumsum(-1)
    places = torch.searchsorted(mass, (uniforms[:, None] * mass[:, -1:]).to(mass.dtype), right=True)
    places = torch.minimum(places, (kept > 0).sum(-1, keepdim=True) - 1)
    out = tokens.gather(-1, places)[:, 0]
    if likeliest.shape[-1] < probs.shape[-1] and len(short := (likeliest.sum(-1) < top_p).nonzero()[:, 0]):
        out[short] = _nucleus(probs[short], top_p, uniforms[short], sizes[1:])
    return out


class _Uniforms:
    """Uniform numbers of one sequence, made in blocks on the CPU, so that they are the same on every device."""

    def __init__(self, seed: int | None) -> None:
        import torch

        self._generator = torch.Generator()
        if seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(seed)
        self._block: list[float] = []

    def next(self) -> float:
        """The next number in [0, 1)."""
        import torch

        if not self._block:
            self._block = torch.rand(128, generator=self._generator, dtype=torch.float64).tolist()
        return self._block.pop()


def roomy_cache(config: Any) -> Any:
    """A `DynamicCache` whose plain layers grow in place; layers of other kinds (sliding window, linear attention) stay as they are."""
    from transformers.cache_utils import DynamicCache, DynamicLayer

    cache = DynamicCache(config=config)
    cache.layers = [_roomy_layer()() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


_ROOMY: list[type] = []


def _roomy_layer() -> type:
    """`DynamicLayer` with room to grow; made on first use, because transformers is imported late."""
    if _ROOMY:
        return _ROOMY[0]
    from transformers.cache_utils import DynamicLayer

    class RoomyLayer(DynamicLayer):  # type: ignore[misc, no-untyped-call, unused-ignore]
        """Keys and values are views of buffers that have room for `_ROOM` tokens more: (B, heads, L, width)."""

        buffers: tuple[Any, Any] | None = None

        def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
            if not self.is_initialized:
                self.lazy_initialization(key_states, value_states)
                self.keys, self.values = key_states, value_states
                return self.keys, self.values
            past = self.get_seq_length()
            now = past + key_states.shape[-2]
            if self.buffers is None or self.buffers[0].shape[-2] < now:
                old: tuple[Any, Any] = (self.keys, self.values)
                self.buffers = (_grown(old[0], now + _ROOM), _grown(old[1], now + _ROOM))
            keys, values = self.buffers
            keys[..., past:now, :] = key_states
            values[..., past:now, :] = value_states
            self.keys, self.values = keys[..., :now, :], values[..., :now, :]
            return self.keys, self.values

        def reorder_cache(self, beam_idx: Any) -> None:
            super().reorder_cache(beam_idx)
            self.buffers = None

    _ROOMY.append(RoomyLayer)
    return RoomyLayer


def _grown(states: torch.Tensor, length: int) -> torch.Tensor:
    buffer = states.new_empty((*states.shape[:-2], length, states.shape[-1]))
    buffer[..., : states.shape[-2], :] = states
    return buffer


def _end_tokens(model: Any, chat: Chat) -> frozenset[int]:
    """Ids that end a sequence: the tokenizer's, the one that ends a turn of the chat template, and those of the model's generation config."""
    ends = getattr(model.generation_config, "eos_token_id", None)
    listed = ends if isinstance(ends, list) else [ends]
    return frozenset(t for t in (*listed, chat.tokenizer.eos_token_id, chat.end) if t is not None)
