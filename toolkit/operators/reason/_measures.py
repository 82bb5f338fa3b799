"""Rules that need a model: the tokenizer of the guard that is to be trained, a language identifier. They judge many rows at once.

Both load at the first row that is judged. Without its extra each is `Missing`, and so say `tokenizer_needs` and `language_needs` before a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from toolkit.common.errors import InputError, require
from toolkit.guards import Guard, render_input
from toolkit.operators._tokens import TokenCounter
from toolkit.operators.reason._reading import Fault, Reading


def language_needs() -> list[str]:
    """What this machine lacks to tell languages."""
    return [] if find_spec("py3langid") else ["the package 'py3langid' is missing: pip install 'guardkit[language]'"]


class Budget:
    """Rule `budget`: tokens of what supervised training reads of a row."""

    def __init__(self, guard: Guard, tokenizer: str, beside: Path, most: int, chat_template: str | None, *, chat: bool) -> None:
        self._guard, self._most, self._chat = guard, most, chat
        self._counter = TokenCounter(tokenizer, beside, chat_template)

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
        identify = _identifier()
        if unknown := sorted(self._allowed - set(identify.labels)):
            raise InputError(f"validate.languages: unknown language {unknown[0]!r}", hint="two letters, as in ISO 639-1: en, de, zh")
        return [self._fault(Reading(self._guard, row, strict=False), identify) for row in rows]

    def _fault(self, r: Reading, identify: Any) -> Fault:
        if len(r.said) < self._least:
            return None
        found = identify.classify(r.said)[0]
        return ("wrong_language", f"written in {found!r}, allowed {', '.join(sorted(self._allowed))}") if found not in self._allowed else None


@lru_cache(maxsize=1)
def _identifier() -> Any:
    require("py3langid", "language", "telling languages")
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=False)
