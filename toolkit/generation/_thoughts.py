"""Reasoning that a model left in its answer's content, taken off by a named reader and kept beside it.

A server without a reasoning parser leaves a thinking model's marks in the content (`toolkit.common.thoughts`). The journal keeps the answer as it
came; it is read anew whenever it is handed out, so that another reader, or a better one, helps older answers too. Where nothing is left, the answer
is the failure ``empty``. Pure functions.
"""

from __future__ import annotations

from dataclasses import replace

from toolkit.common.thoughts import MARKS as MARKS
from toolkit.common.thoughts import Reader as Reader
from toolkit.common.thoughts import split as split
from toolkit.generation._answers import ONLY_THOUGHT, all_thought
from toolkit.generation._request import Completion


def without_thoughts(completion: Completion, reader: str) -> Completion:
    """The completion with the reasoning in its text moved to `reasoning`; itself where there is none."""
    if completion.text is None or reader == "keep" or (found := split(completion.text, reader)) is None:
        return completion
    thoughts, text = found
    reasoning = "\n\n".join(t for t in (completion.reasoning, thoughts) if t) or None
    if text.strip():
        return replace(completion, text=text, reasoning=reasoning)
    detail = all_thought(completion.completion_tokens) if completion.finish == "length" else ONLY_THOUGHT
    return replace(completion, text=None, error="empty", detail=detail, reasoning=reasoning)
