"""Which harm categories a text falls under by the taxonomy's cues alone: what the embedded teacher says where a model would be asked.

A category has the words of its cues; one without cues those of its title, its definition and what it includes. A word counts the more the fewer
categories have it (inverse document frequency, Spärck Jones 1972), 1 where one alone does. A text falls under the category with the largest sum, if
that reaches `LEAST`, and under each that comes near it (`NEAR`).
"""

from __future__ import annotations

import math
import re
from collections import Counter
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
        own = {c.name: _words(c.cues or [c.title, c.definition, *(rule.rule for rule in c.includes)]) for c in categories}
        having = Counter(word for words in own.values() for word in words)
        most = math.log(max(2, len(own)))
        self._weights = {n: {w: 1.0 if having[w] == 1 else math.log(len(own) / having[w]) / most for w in sorted(words)} for n, words in own.items()}

    def of(self, texts: Iterable[str]) -> list[str]:
        """Names of the categories that texts, taken together, fall under, in the taxonomy's order."""
        found = _words(texts)
        sums = {name: sum(weight for word, weight in words.items() if word in found) for name, words in self._weights.items()}
        most = max(sums.values(), default=0.0)
        return [name for name, n in sums.items() if n >= max(LEAST, NEAR * most)]


def _words(texts: Iterable[str]) -> frozenset[str]:
    return frozenset(word[:_LETTERS] for text in texts for word in _WORD.findall(text.casefold()) if word not in COMMON)
