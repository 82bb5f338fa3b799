"""Rules on repeated and copied text: see the table in `toolkit.operators.reason._rules`."""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from operator import itemgetter

import polars as pl

from toolkit.guards import Guard
from toolkit.operators.reason._reading import Fault, Reading
from toolkit.operators.reason._rule_limits import Limits

_RUN = re.compile(r"(\S{1,8}?)\1{3,}")
_SHOWN = 60
_PIECE = 20
"""Words of the shortest run that counts as copied."""
_SHORT = 6
"""Words below which two steps are near-equal only when they are equal."""


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")


def run(r: Reading, limits: Limits) -> Fault:
    """The part of `loops` that is about characters."""
    for word in dict.fromkeys(w for w in r.words if len(w) >= limits.run):
        for found in _RUN.finditer(word):
            if len(found[0]) >= limits.run:
                return "run_of_characters", f"{found[1]!r} {len(found[0]) // len(found[1])} times in a row"
    return None


def may_run(guard: Guard, limits: Limits, text: pl.Expr) -> pl.Expr:
    """Whether `run` may find something: the pattern grows with what it looks for."""
    return text.str.contains(rf"\S{{{min(limits.run, 40)}}}")


def endless(r: Reading, limits: Limits) -> Fault:
    """The part of `loops` that is about headings."""
    most = max((p.task for p in r.parts), default=0)
    if most > 2 * len(r.guard.tasks):
        return "sections_endless", f"a section for task {most} of {len(r.guard.tasks)}"
    return None


def ngrams(r: Reading, limits: Limits) -> Fault:
    """The same words again and again: the part of `loops` that takes the words."""
    words = r.words
    if _may_repeat(words, limits):
        counts = Counter(zip(*(words[i:] for i in range(limits.ngram)), strict=False))
        gram, count = max(counts.items(), key=itemgetter(1), default=((), 0))
        if count >= limits.ngram_times:
            return "ngram_repeated", f"{_shown(' '.join(gram))} {count} times"
    return None


def _may_repeat(words: list[str], limits: Limits) -> bool:
    """Whether an n-gram may stand `ngram_times` times; much cheaper than to count, and nearly always enough.

    Cut into pieces of half its length from the first word on, an n-gram holds a whole piece, at one of as many distances from its beginning as
    a piece has words. Where it stands more often than that, two of its pieces are equal, with equal words around them.
    """
    n, half = limits.ngram, limits.ngram // 2
    if limits.ngram_times <= half:
        return True
    pieces = list(zip(*(words[i::half] for i in range(half)), strict=False))
    last = dict(zip(pieces, range(len(pieces)), strict=True))
    if len(last) == len(pieces):
        return False
    twice = {piece for i, piece in enumerate(pieces) if last[piece] != i}
    at: dict[tuple[str, ...], list[int]] = {piece: [] for piece in twice}
    for i, piece in enumerate(pieces):
        if piece in twice:
            at[piece].append(i * half)
    return any(len(places) > _MANY or any(_one_gram(words, p, q, n, half) for q in places for p in places if p < q) for places in at.values())


_MANY = 6
"""Equal pieces from which on counting is cheaper than comparing."""


def _one_gram(words: list[str], p: int, q: int, n: int, half: int) -> bool:
    """Whether the pieces at two places are in the same n-gram, at the same place of it."""
    shared, size = half, len(words)
    while shared < n and q + shared < size and words[p + shared] == words[q + shared]:
        shared += 1
    back = 1
    while shared < n and back <= p and words[p - back] == words[q - back]:
        back, shared = back + 1, shared + 1
    return shared >= n


def similar(r: Reading, limits: Limits) -> Fault:
    """Near-equal steps of a task."""
    share = limits.similarity
    for p in r.parts:
        if len(p.steps) < 2:
            continue
        sizes = [len(s) for s in p.steps]
        pairs = [(i, j) for j in range(len(sizes)) for i in range(j) if _near(sizes[i], sizes[j], share)]
        if not pairs:
            continue
        together = "\0".join(p.steps).lower().replace(".", "").replace(",", "").split("\0")
        if len(together) != len(p.steps):  # a step holds the mark itself
            together = [s.lower().replace(".", "").replace(",", "") for s in p.steps]
        words = [s.split() for s in together]
        kinds = [set(of) for of in words]
        for i, j in pairs:
            n, m = len(words[i]), len(words[j])
            missing = len(kinds[j] - kinds[i])  # at least as many words are not common: much cheaper than to compare all, and nearly always enough
            if m - missing >= share * (n + m) / 2 and _alike(words[i], words[j], share):
                return "step_similar", f"task {p.task}: steps {i + 1} and {j + 1}"
    return None


def _near(a: int, b: int, share: float) -> bool:
    return min(a, b) * (2 - share) >= share * max(a, b)


def _alike(a: list[str], b: list[str], share: float) -> bool:
    return a == b or (min(len(a), len(b)) >= _SHORT and 2 * (Counter(a) & Counter(b)).total() >= share * (len(a) + len(b)))


def copied(r: Reading, limits: Limits) -> Fault:
    """Long runs of the exchange in place of reasoning."""
    words = r.words
    if not r.exchange or not _touches(words, r.exchange):
        return None
    given = r.exchange.split()
    grams = set(zip(*(given[i:] for i in range(_PIECE)), strict=False))
    longest, covered, run, end = 0, 0, 0, 0
    for i, gram in enumerate(zip(*(words[i:] for i in range(_PIECE)), strict=False)):
        run = run + 1 if gram in grams else 0
        if run:
            longest = max(longest, run + _PIECE - 1)
            covered += i + _PIECE - max(end, i)
            end = i + _PIECE
    if longest >= limits.copied_words:
        return "prompt_copied", f"{longest} words in a row are in the exchange"
    if covered and covered >= limits.copied_share * len(words):
        return "prompt_copied", f"{covered} of {len(words)} words are in the exchange in runs of {_PIECE} or more"
    return None


def instructed(r: Reading, limits: Limits) -> Fault:
    """The part of `copied` that is about the guard's instruction, or what its teacher is asked."""
    for sentence in instructions(r.guard):
        if sentence in r.folded and sentence not in r.exchange:
            return "prompt_copied", f"the guard's instruction: {_shown(sentence)}"
    return None


def may_be_instructed(guard: Guard, limits: Limits, text: pl.Expr) -> pl.Expr:
    """Whether `instructed` may find something."""
    begun = "|".join(pl.escape_regex(s[:24]) for s in instructions(guard))
    return text.str.contains(f"(?i){begun or _NEVER}")


@lru_cache(maxsize=32)
def instructions(guard: Guard) -> tuple[str, ...]:
    """Instructions, cut into sentences and folded: of at least `_SENTENCE` words, none with a question of a task, as reasoning repeats it."""
    asked = [t.question.lower() for t in guard.tasks] + [t.subject.lower() for t in guard.tasks]
    lines = [line for line in f"{guard.instruction}\n{guard.taught.system}".splitlines() if "{" not in line]
    found = [s.strip(" -*\t.") for line in lines for s in re.split(r"(?<=[.!?:])\s+", line.lower())]
    return tuple(dict.fromkeys(s for s in found if len(s.split()) >= _SENTENCE and not any(a in s for a in asked)))


_NEVER = r"[^\s\S]"
_SENTENCE = 6
"""Words of the shortest sentence that counts as copied from an instruction: "You must think step by step" has six."""


def _touches(words: list[str], given: str) -> bool:
    """Whether half a piece, counted from the first word on, is in a text: so it is wherever a piece does."""
    half = _PIECE // 2
    for i in range(0, len(words) - half + 1, half):  # noqa: SIM110  a third quicker than any()
        if " ".join(words[i : i + half]) in given:
            return True
    return False
