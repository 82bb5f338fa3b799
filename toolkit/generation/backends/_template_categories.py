"""Which harm categories a text falls under by the taxonomy's own words alone: what the embedded teacher says where a model would be asked.

Each category has the words of its title, definition, cues and of what it includes. A word that several have counts less for each of them (as inverse
document frequency does: Spärck Jones 1972); one of a cue counts twice. A text falls under the category with the largest sum, if that reaches `LEAST`,
and under each that comes near it (`NEAR`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from toolkit.generation.backends._template_phrases import COMMON

if TYPE_CHECKING:
    from toolkit.taxonomy import Category

LEAST, NEAR = 1.0, 0.8
"""Smallest sum that counts, and the share of the largest from which on another category has the text, too."""
_LETTERS = 6
"""Of a word as it is compared, so that its endings do not count."""
_WORD = re.compile(r"[^\W\d_]{4,}")


class CategoryWords:
    """The words of some categories.

    Args:
        categories: of a taxonomy.
    """

    def __init__(self, categories: Sequence[Category]) -> None:
        cues = {c.name: _words(c.cues) for c in categories}
        every = {c.name: _words([c.title, c.definition, *(t for r in c.includes for t in (r.rule, *r.examples))]) | cues[c.name] for c in categories}
        having: dict[str, int] = {}
        for words in every.values():
            for word in words:
                having[word] = having.get(word, 0) + 1
        self._weights = {n: {w: (2 if w in cues[n] else 1) / having[w] for w in sorted(words)} for n, words in every.items()}

    def of(self, texts: Iterable[str]) -> list[str]:
        """Names of the categories that texts, taken together, fall under, in the taxonomy's order."""
        found = _words(texts)
        sums = {name: sum(weight for word, weight in words.items() if word in found) for name, words in self._weights.items()}
        most = max(sums.values(), default=0.0)
        return [name for name, n in sums.items() if n >= max(LEAST, NEAR * most)]


def _words(texts: Iterable[str]) -> frozenset[str]:
    return frozenset(word[:_LETTERS] for text in texts for word in _WORD.findall(text.casefold()) if word not in COMMON)
