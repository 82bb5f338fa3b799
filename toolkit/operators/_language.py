"""Which language a text is in: py3langid, whose model ships in its wheel (extra ``language``); shared by `measure` and `validate`.

Tags are ISO 639-1 codes of the model's languages. Confidence is the model's own, from 0 to 1 over all of them: low for short texts, lists, code and
names. The model is loaded at the first text. Without the package: `Missing`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from toolkit.common.errors import require

LOOKED_AT = 1000
"""Characters of a text that tell its language; the time (about a microsecond each) grows with them."""


def language_needs() -> list[str]:
    """For `Operator.needs`: what this machine lacks to tell languages."""
    from importlib.util import find_spec

    return [] if find_spec("py3langid") else ["the package 'py3langid' is missing: pip install 'guardkit[language]'"]


def identify(text: str) -> tuple[str | None, float]:
    """The likeliest language of a text's first `LOOKED_AT` characters and its confidence; None where there is no letter to tell it by."""
    text = text[:LOOKED_AT]
    if not any(c.isalpha() for c in text):
        return None, 0.0
    tag, confidence = _identifier().classify(text)
    return str(tag), float(confidence)


def known_languages() -> frozenset[str]:
    """Tags that `identify` may give."""
    return frozenset(_identifier().labels)


@lru_cache(maxsize=1)
def _identifier() -> Any:
    require("py3langid", "language", "telling languages")
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
