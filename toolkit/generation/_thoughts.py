"""Reasoning that a model left in its answer's content, taken off by a named reader and kept beside it.

A server without a reasoning parser leaves a thinking model's marks in the content: ``<think>…</think>`` before the answer, only ``</think>`` where
the chat template has opened it, or the channels of OpenAI's harmony format. The journal keeps the answer as it came; it is read anew whenever it
is handed out, so that another reader, or a better one, helps older answers too.

Contract: only what stands before the answer is taken off. Marks within the answer are the answer's own: a closing mark whose opening is missing
counts only on a line of its own. Where nothing is left, the answer is the failure ``empty``. Pure functions.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from typing import Literal

from toolkit.generation._answers import ONLY_THOUGHT, all_thought
from toolkit.generation._request import Completion

Reader = Literal["auto", "keep", "think", "thinking", "thought", "reasoning", "mistral", "kimi", "seed", "harmony"]

MARKS: dict[Reader, tuple[str, str]] = {
    "think": ("<think>", "</think>"),
    "thinking": ("<thinking>", "</thinking>"),
    "thought": ("<thought>", "</thought>"),
    "reasoning": ("<reasoning>", "</reasoning>"),
    "mistral": ("[THINK]", "[/THINK]"),
    "kimi": ("◁think▷", "◁/think▷"),
    "seed": ("<seed:think>", "</seed:think>"),
}
"""What opens and closes the reasoning; `harmony` has channels instead."""

_FIRST = tuple({opens[0] for opens, _ in MARKS.values()})
_CHANNEL, _FINAL = "<|channel|>", "final"
_MESSAGE = re.compile(
    r"<\|channel\|>\s*(\w+)[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>(.*?)(?=<\|(?:end|return|call|start|channel)\|>|\Z)", re.DOTALL
)


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


def split(text: str, reader: str) -> tuple[str, str] | None:
    """Reasoning and answer of a text; None where it has no reasoning that the reader knows."""
    if "/" not in text and not text.lstrip().startswith(_FIRST):  # no closing mark, no opening one: most answers
        return None
    if reader in ("auto", "harmony") and text.lstrip().startswith((_CHANNEL, "<|start|>")):
        return _channels(text)
    for name, (opens, closes) in MARKS.items():
        if reader in ("auto", name) and (found := _between(text, opens, closes)) is not None:
            return found
    return None


def _between(text: str, opens: str, closes: str) -> tuple[str, str] | None:
    begun = text.lstrip()
    if begun.startswith(opens):
        thoughts, _, answer = begun[len(opens) :].partition(closes)
        return thoughts.strip(), answer.lstrip()
    if closes not in text or (mark := _alone(closes).search(text)) is None or opens in text[: mark.start()]:
        return None
    return text[: mark.start()].strip(), text[mark.end() :].lstrip()


@lru_cache
def _alone(mark: str) -> re.Pattern[str]:
    return re.compile(rf"^[ \t]*{re.escape(mark)}[ \t]*$", re.MULTILINE)


def _channels(text: str) -> tuple[str, str] | None:
    """Harmony: what stands in the channel ``final`` is the answer (OpenAI, "Harmony response format")."""
    messages = _MESSAGE.findall(text)
    if not messages:
        return None
    thoughts = "\n\n".join(said.strip() for channel, said in messages if channel != _FINAL)
    return thoughts, "".join(said for channel, said in messages if channel == _FINAL).lstrip()
