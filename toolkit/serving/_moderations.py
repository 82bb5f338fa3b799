"""A verdict in the shape of OpenAI's moderation API.

The shape is that of the API reference ("Create moderation") as the openai package's types have it (`openai.types.Moderation`, package version 3.52):
``categories``, ``category_scores`` and ``category_applied_input_types`` with these 13 names, all of them required but for two. A guard of guardkit
judges tasks, not these categories: each is false with the score 0, and applied to no input type, which is how the API says that a category was
not judged. What was judged is ``flagged``, and stands whole under ``guardkit``.
"""

from __future__ import annotations

from typing import Any

from toolkit.serving._judgement import Judgement

CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)


def moderation(judged: Judgement, flagged: bool) -> dict[str, Any]:
    """One result."""
    return {
        "flagged": flagged,
        "categories": dict.fromkeys(CATEGORIES, False),
        "category_scores": dict.fromkeys(CATEGORIES, 0.0),
        "category_applied_input_types": {name: [] for name in CATEGORIES},
        "guardkit": {"read": judged.read, **judged.as_dict()},
    }
