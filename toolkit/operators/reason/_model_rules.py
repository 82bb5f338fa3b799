"""Rules that need a model: the tokenizer of the guard that is to be trained, a language identifier. They check many rows at once.

Both load at the first row that is judged. Without its extra each is `Missing`, and so say `tokenizer_needs` and `language_needs` before a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.common.errors import InputError
from toolkit.guards import Guard, render_input
from toolkit.operators._language import identify, known_languages
from toolkit.operators._tokens import TokenCounter
from toolkit.operators.reason._reading import Fault, Reading


class Budget:
    """Rule `budget`: tokens of what supervised training reads of a row."""

    def __init__(self, guard: Guard, counter: TokenCounter, most: int, *, chat: bool) -> None:
        self._guard, self._counter, self._most, self._chat = guard, counter, most, chat

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> list[Fault]:
        """The fault of each row; an empty reasoning has none."""
        texts = [(render_input(self._guard, row), row["reasoning"] or "") for row in rows]
        counts = self._counter.examples(texts, chat=self._chat)
        return [("too_many_tokens", f"{n} tokens, at most {self._most}") if n > self._most else None for n in counts]


class Languages:
    """Rule `language`: what the steps and conclusions are written in, by py3langid (its model is in its wheel)."""

    def __init__(self, guard: Guard, allowed: Sequence[str], least: int) -> None:
        self._guard, self._allowed, self._least = guard, frozenset(allowed), least

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> list[Fault]:
        """The fault of each row; what is too short to tell has none.

        Raises:
            InputError: a language that the identifier does not know.
            Missing: without the extra.
        """
        if unknown := sorted(self._allowed - known_languages()):
            raise InputError(f"validate.languages: unknown language {unknown[0]!r}", hint="two letters, as in ISO 639-1: en, de, zh")
        return [self._fault(Reading(self._guard, row, strict=False)) for row in rows]

    def _fault(self, r: Reading) -> Fault:
        found = identify(r.prose)[0] if len(r.prose) >= self._least else None
        if found is None or found in self._allowed:
            return None
        return "wrong_language", f"written in {found!r}, allowed {', '.join(sorted(self._allowed))}"
