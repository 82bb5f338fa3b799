"""What `validate` holds a reasoning to: its rules, the profiles, and every threshold with its default.

The table of rules, their reason codes and what they find is in `toolkit.operators.reason._rules`.
"""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from toolkit.operators.base import Config

Rule = Literal[
    "truncated",
    "refusal",
    "answers",
    "labels",
    "structure",
    "steps",
    "conclusions",
    "scaffold",
    "control",
    "ending",
    "loops",
    "lengths",
    "similar",
    "copied",
    "words",
    "leakage",
]
"""Rules that check a row by itself."""

Measured = Literal["budget", "language"]
"""Rules that need a model: a tokenizer, a language identifier."""

RULES: tuple[Rule, ...] = get_args(Rule)
"""All rules that check a row by itself, in the order in which they are applied."""

BASIC: tuple[Rule, ...] = ("truncated", "answers", "labels", "structure", "steps", "control")
STANDARD: tuple[Rule, ...] = (
    "truncated",
    "refusal",
    "answers",
    "labels",
    "structure",
    "steps",
    "conclusions",
    "scaffold",
    "control",
    "ending",
    "loops",
)
"""The rules of the default profile: what is a fault in any recipe."""


class Limits(Config):
    """Thresholds of the rules. Lengths are in characters (Unicode code points) of a text without the white space around it."""

    conclusion: Literal["optional", "required"] = "optional"
    """Rule `conclusions`: whether each task must have a conclusion, where the guard has a heading for one. 57 % of what the released GuardReasoner
    models write for the tests of refusals has none; a conclusion that is there is judged either way."""
    min_step_chars: int = Field(8, ge=0)
    """Rule `lengths`: shortest step. The shortest of 3,441 real outputs has 21 characters, their median 97."""
    max_step_chars: int = Field(2000, ge=1)
    """Rule `lengths`: longest step (real outputs: at most 460)."""
    min_chars: int = Field(40, ge=0)
    """Rule `lengths`: shortest reasoning, all steps and conclusions together."""
    max_chars: int = Field(12000, ge=1)
    """Rule `lengths`: longest reasoning, all steps and conclusions together (GuardReasonerTrain: outputs of at most 2,820 characters)."""
    similarity: float = Field(0.9, ge=0.5, le=1)
    """Rule `similar`: two steps of a task are near-equal from this share s of common words on (Sørensen-Dice: twice the common words by all words,
    each counted as often as it occurs), full stops, commas and case aside, where the shorter has at least s / (2 - s) of the longer's characters;
    steps of fewer than 6 words when all agree."""
    ngram: int = Field(10, ge=2)
    """Rule `loops`: length in words of what is looked for again and again."""
    ngram_times: int = Field(6, ge=2)
    """Rule `loops`: how often the same n-gram may not be in a text."""
    run: int = Field(40, ge=4)
    """Rule `loops`: how often the same character, or the same few, may not be in a row without a space (`....`, `-----`, `ababab`)."""
    copied_words: int = Field(40, ge=5)
    """Rule `copied`: words in a row that are in the prompt or the response too, from which on a reasoning is copied."""
    copied_share: float = Field(0.5, gt=0, le=1)
    """Rule `copied`: share of a text's words in runs of 20 or more that are in the prompt or the response too, from which on it is copied."""
    forbidden: dict[str, list[str]] = {}
    """Rule `words`: words that the reasoning of a task may not hold (whole ones, in any case; several in a row may be one), by task; `*` is for every
    task."""
