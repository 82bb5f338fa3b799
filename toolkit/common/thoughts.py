"""Reasoning that is before an answer in the same text: its marks, and where it ends.

A thinking model writes ``<think>…</think>`` before its answer, only ``</think>`` where the chat template has opened it, or the channels of OpenAI's
harmony format.

Contract: only what is before the answer is taken off. Marks within the answer are the answer's own: a closing mark whose opening is missing
counts only on a line of its own. Pure functions.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

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

_CLOSINGS = tuple({closes[: closes.index("/") + 1] for _, closes in MARKS.values()})
"""How the closing marks begin."""

_CHANNEL, _START, _FINAL = "<|channel|>", "<|start|>", "final"
_FIRST = (*(opens for opens, _ in MARKS.values()), _CHANNEL, _START)
_MESSAGE = re.compile(
    r"<\|channel\|>\s*(\w+)[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>(.*?)(?=<\|(?:end|return|call|start|channel)\|>|\Z)", re.DOTALL
)


def split(text: str, reader: str) -> tuple[str, str] | None:
    """Reasoning and answer of a text; None where it has no reasoning that the reader knows."""
    begun = text.lstrip()
    if not begun.startswith(_FIRST) and not ("/" in text and any(closing in text for closing in _CLOSINGS)):  # most answers
        return None
    if reader in ("auto", "harmony") and begun.startswith((_CHANNEL, _START)):
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
    """Harmony: what is in the channel ``final`` is the answer (OpenAI, "Harmony response format")."""
    messages = _MESSAGE.findall(text)
    if not messages:
        return None
    thoughts = "\n\n".join(part.strip() for channel, part in messages if channel != _FINAL)
    return thoughts, "".join(part for channel, part in messages if channel == _FINAL).lstrip()
