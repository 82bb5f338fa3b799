"""Log-probabilities of given words behind given beginnings (`Request.form`): what a model would answer if it had to answer there.

Contract of `fill`: a word's log-probability is the sum of those of its tokens in the text with it, from the first token on in which the words of its
place differ, of the model's own distribution. The likeliest word is taken, and the next place is behind it. Where one word begins another one, what
follows the word in the form decides, too.

Beginnings of one conversation have most of their text in common: the prompt, and the steps before. They are read as a tree, in which a token that
several texts begin with is read once: one sequence of all tokens, each of which sees those on its own way alone (a mask of four dimensions; position
ids by depth). A model that sees its text otherwise (sliding windows, states of a recurrence, no attention to such a mask) reads each text by itself;
which way it is read is found out by reading a few tokens in both ways, once.

Memory: `_NODES` tokens in one pass, about; a text that is longer has a pass of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from toolkit.generation._logprobs import Choice, packed
from toolkit.generation._request import Completion, Request, failed

if TYPE_CHECKING:
    import torch

    from toolkit.generation.backends._decode import Sampler

_NODES = 4096
"""Tokens in one pass."""
_SAME = {"float32": 1e-3, "float64": 1e-3}
"""What two ways to read a text may differ by; types of fewer digits: `_COARSE`."""
_COARSE = 0.1

Scored = tuple[tuple[int, ...], int]
"""Tokens, and the number of the first one that is scored."""


@dataclass
class Filling:
    """A form that is being filled.

    Args:
        prompt: token ids before the answer.
        begun: what the answer begins with.
        form: as in `Request.form`.
    """

    prompt: tuple[int, ...]
    begun: str
    form: Sequence[tuple[str, Sequence[str]]]
    text: str = ""
    """Filled in: what follows `begun`."""
    found: list[Choice] = field(default_factory=list)
    """Filled in: for each place its word, where it stands in `text`, and the log-probabilities of all words of the place."""


class Forms:
    """Fills forms with a model.

    Args:
        model: it; or what gives for each text the sum of the log-probabilities of its tokens, from the first one that is scored on.
        tokenizer: its tokenizer.
        end: the token that ends an answer.
    """

    def __init__(self, model: Sampler | Callable[[Sequence[Scored]], list[float]], tokenizer: Any, end: int) -> None:
        self._model, self._tokenizer, self._end = model, tokenizer, end
        self._as_tree: bool | None = None

    def length(self, one: Filling) -> int:
        """Tokens of the longest text that a filling may come to, about."""
        longest = "".join(text + max(words, key=len, default="") for text, words in one.form)
        return len(one.prompt) + len(self._ids(one.begun + longest)) + 1

    def read(self, one: Filling) -> int:
        """Tokens of the prompt and of what the answer begins with."""
        return len(one.prompt) + len(self._ids(one.begun))

    def answers(self, asked: Sequence[tuple[Request, Sequence[int], float]], context: int | None, model: str) -> Iterator[Completion]:
        """The completions of some requests.

        Args:
            asked: each with the tokens of its prompt, and when it came (`time.monotonic`).
            context: tokens that the model reads.
            model: its name.
        """
        some = []
        for request, prompt, since in asked:
            one = Filling(tuple(prompt), request.messages[-1][1], request.form)
            if context is not None and (size := self.length(one)) > context:
                yield failed(request, "bad_request", f"prompt and answer have {size} tokens, the model reads {context}")
            else:
                some.append((request, one, since))
        if some:
            self.fill([one for _, one, _ in some])
        for request, one, since in some:
            found, seconds = packed(one.found), time.monotonic() - since
            read = self.read(one)
            yield Completion(request.key, one.text, "stop", model=model, prompt_tokens=read, completion_tokens=0, seconds=seconds, logprobs=found)

    def fill(self, some: Sequence[Filling]) -> None:
        """Fill in `text` and `found` of each."""
        for place in range(max(len(one.form) for one in some)):
            open_ones = [one for one in some if place < len(one.form)]
            asked = [(one, words) for one in open_ones if (words := one.form[place][1])]
            for one in open_ones:
                one.text += one.form[place][0]
            scored = [self._of_words(one, words, place) for one, words in asked]
            sums = iter(self._sums([each for each_word in scored for each in each_word]))
            for one, words in asked:
                values = {word: next(sums) for word in words}
                word = max(values, key=lambda w: values[w])
                one.found.append(Choice(len(one.text), word, values))
                one.text += word

    def _of_words(self, one: Filling, words: Sequence[str], place: int) -> list[Scored]:
        """The texts with each word in the place, scored from where they part."""
        before = one.begun + one.text
        behind, last = one.form[place + 1][0] if place + 1 < len(one.form) else "", place + 2 >= len(one.form)
        ids = [self._ids(before + word) for word in words]
        common = _common(ids)
        if min(map(len, ids)) <= common:  # a word begins another one
            ids = [[*self._ids(before + word + behind), *([self._end] if last else [])] for word in words]
            common = _common(ids)
        return [((*one.prompt, *own), len(one.prompt) + common) for own in ids]

    def _ids(self, text: str) -> list[int]:
        found: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return found

    def _sums(self, scored: Sequence[Scored]) -> list[float]:
        if callable(self._model):
            return self._model(scored)
        if self._as_tree is None:
            self._as_tree = self._sees_trees(self._model)
        read = _of_tree if self._as_tree else _of_texts
        return [value for pack in _packs(scored, tree=self._as_tree) for value in read(self._model, pack)]

    def _sees_trees(self, sampler: Sampler) -> bool:
        """Whether the model reads a tree as it reads its texts."""
        config = sampler.model.config.get_text_config()
        kinds = getattr(config, "layer_types", None)
        windows = kinds is None and getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
        if windows or (kinds is not None and set(kinds) != {"full_attention"}):
            return False
        a, b, c, d, e = (n % sampler.vocabulary for n in (5, 17, 29, 41, 53))
        some: list[Scored] = [((a, b, c, d, e, a), 2), ((a, b, c, e, d), 2), ((a, d, b), 1), ((c, a), 1)]
        try:
            pairs = zip(_of_tree(sampler, some), _of_texts(sampler, some), strict=True)
            most = _SAME.get(str(sampler.model.dtype).removeprefix("torch."), _COARSE)
            return all(abs(x - y) <= most for x, y in pairs)
        except (RuntimeError, TypeError, ValueError, IndexError):  # the model takes no such mask, however it puts that
            return False


def _common(several: Sequence[Sequence[int]]) -> int:
    """How many tokens all of some texts begin with; at least one token is left of the shortest where they differ."""
    first = several[0]
    return next((n for n in range(len(first)) if any(n >= len(other) or other[n] != first[n] for other in several)), len(first))


def _packs(scored: Sequence[Scored], *, tree: bool) -> Iterator[list[Scored]]:
    """Texts that are read in one pass."""
    pack: list[Scored] = []
    size, widest = 0, 0
    before: tuple[int, ...] = ()
    for one in scored:
        own = one[0]
        shared = (_common([before, own]) if before else 0) if tree else 0
        new, wide = len(own) - shared, max(widest, len(own))
        if pack and (size + new if tree else wide * (len(pack) + 1)) > _NODES:
            yield pack
            pack, size, new, wide = [], 0, len(own), len(own)
        pack.append(one)
        size, widest, before = size + new, wide, own
    if pack:
        yield pack


def _of_tree(sampler: Sampler, scored: Sequence[Scored]) -> list[float]:
    """Sums of log-probabilities, the texts read as a tree."""
    import torch

    children: dict[tuple[int, int], int] = {}
    tokens: list[int] = []
    parents: list[int] = []
    ways: list[list[int]] = []
    for ids, _ in scored:
        node, way = -1, []
        for token in ids[:-1]:
            if (following := children.get((node, token))) is None:
                following = children[node, token] = len(tokens)
                tokens.append(token)
                parents.append(node)
            node = following
            way.append(node)
        ways.append(way)
    device, kind = sampler.model.device, sampler.model.dtype
    seen = torch.zeros((len(tokens), len(tokens)), dtype=torch.bool)
    depth = torch.zeros(len(tokens), dtype=torch.long)
    for node, parent in enumerate(parents):
        if parent >= 0:
            seen[node] = seen[parent]
            depth[node] = depth[parent] + 1
        seen[node, node] = True
    mask = torch.zeros(seen.shape, dtype=kind).masked_fill_(~seen, torch.finfo(kind).min)
    needed = sorted({node for (_, start), way in zip(scored, ways, strict=True) for node in way[start - 1 :]})
    logits = sampler.logits(
        needed,
        input_ids=torch.tensor([tokens], device=device),
        attention_mask=mask[None, None].to(device),
        position_ids=depth[None].to(device),
    )[0]
    row = {node: n for n, node in enumerate(needed)}
    at = [[row[node] for node in way[start - 1 :]] for (_, start), way in zip(scored, ways, strict=True)]
    return _gathered(logits, at, [ids[start:] for ids, start in scored])


def _of_texts(sampler: Sampler, scored: Sequence[Scored]) -> list[float]:
    """The same, each text read by itself, in one batch."""
    import torch

    inputs = [ids[:-1] for ids, _ in scored]
    width = max(map(len, inputs))
    device = sampler.model.device
    ids = torch.tensor([[0] * (width - len(own)) + list(own) for own in inputs], device=device)
    mask = torch.tensor([[0] * (width - len(own)) + [1] * len(own) for own in inputs], device=device)
    position = (mask.cumsum(-1) - 1).clamp(min=0)
    last = max(len(own) - start for own, start in scored)
    logits = sampler.logits(range(width - last, width), input_ids=ids, attention_mask=mask, position_ids=position)
    flat = logits.reshape(-1, logits.shape[-1])
    at = [[n * last + last - (len(own) - start) + i for i in range(len(own) - start)] for n, (own, start) in enumerate(scored)]
    return _gathered(flat, at, [own[start:] for own, start in scored])


def _gathered(logits: torch.Tensor, at: Sequence[Sequence[int]], tokens: Sequence[Sequence[int]]) -> list[float]:
    """For each text the sum of its tokens' log-probabilities, each in a row of `logits`."""
    import torch

    rows = torch.tensor([n for own in at for n in own], device=logits.device)
    chosen = torch.tensor([t for own in tokens for t in own], device=logits.device)
    with torch.inference_mode():
        totals = logits.float().logsumexp(-1)
        values = (logits[rows, chosen].float() - totals[rows]).tolist()
    out, begun = [], 0
    for own in at:
        out.append(sum(values[begun : begun + len(own)]))
        begun += len(own)
    return out
