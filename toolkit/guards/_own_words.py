"""What of a text a guard itself answers with: without the prompt that it is wrapped in, other turns, and the reasoning before the answer.

A text may hold more than the guard's answer: the whole conversation with the marks of a chat template (as LLaMA-Factory and other writers of
predictions keep it, with or without the special tokens), the question once more, a further turn that the model made up, the draft of a thinking
model.

Contract of `own_parts`: a text is cut where a turn begins. Where it begins with a turn of the system or the user, all before the first turn of
the assistant is left out. What follows is kept, whoever is named as speaking: an input may hold the marks of a turn, and who quotes it must not be
able to hide an answer. Of each part what stands up to the last mark that closes a reasoning is left out, and all of it where a reasoning is opened at
its beginning and never closed. Pure functions; quick where no mark is there.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from toolkit.common.thoughts import MARKS, split
from toolkit.guards._definition import Guard

_ROLE = r"(?P<role{n}>system|developer|user|human|assistant|model|bot|tool|ipython|chatbot)"
_TURN = re.compile(
    "|".join(
        (
            rf"<\|(?:im_start|start_header_id|header_start|start_of_role|start)\|>\s*{_ROLE.format(n=1)}\b(?:<\|(?:end_header_id|header_end|end_of_role)\|>)?",
            rf"<start_of_turn>\s*{_ROLE.format(n=2)}\b",
            rf"<\|{_ROLE.format(n=3)}\|>",
            rf"<\|START_OF_TURN_TOKEN\|><\|{_ROLE.format(n=4)}_TOKEN\|>",
            r"(?P<inst>\[/?INST\])",
        )
    ),
    re.IGNORECASE,
)
"""Where a turn begins, in the chat templates in use: ChatML, Llama 3 and 4, Granite, harmony, Gemma, Phi, DeepSeek (as `plain` has it), Cohere,
Mistral."""
_MARK = r"<\|[A-Za-z0-9_ ]{2,40}\|>|<｜[^<>｜]{2,40}｜>|</?s>|<(?:bos|eos|pad)>|<(?:end|start)_of_turn>"
_MARKUP = re.compile(rf"(?:\s|{_MARK})*")
"""White space and special tokens."""
_LAST_MARKUP = re.compile(rf"(?:\s|{_MARK})*\Z")
_ASKS_TO_ANSWER = re.compile(
    rf"(?:\s|{_MARK}|\[/INST\]|(?<=>)(?:assistant|model)|(?:assistant|\nmodel)(?=\s*\Z)"
    r"|###[ ]?(?:Response|Assistant):|\n(?:Assistant|ASSISTANT):)+\Z"
)
"""How a prompt ends that a chat template has wrapped, with or without its special tokens."""
_END = 400
"""Characters at the end of a text in which that is looked for."""
_TELLING = 40
"""Characters of an instruction from which on a text that holds it and an input repeats them; a shorter one may occur by chance."""
_SPOKEN = re.compile(r"\s*(?:system|user)[ \t]*\n")
"""How a conversation begins whose special tokens were left out."""
_ANSWERS = re.compile(r"(?<![ \t])assistant[ \t]*(?:\n|\Z)")
_HARMONY = ("<|channel|>", "<|start|>")
_BARE_FINAL = "assistantfinal"
"""Harmony whose special tokens were left out."""

_PLAIN = {
    **dict.fromkeys(map(ord, "\u00ad\u180e\u200b\u200c\u200d\u200e\u200f\u2060\u2061\u2062\u2063\u2064\ufeff")),
    **dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xFE00, 0xFE10)]),
    **dict.fromkeys(map(ord, "\u2236\u02d0\ua789\u05c3\u0589"), ":"),
    ord("\u2581"): " ",
}


def plain(text: str) -> str:
    """A text whose letters and signs are those that a label is written in: compatibility forms (full-width letters and colons, spaces of all
    widths) as the usual ones, what has no width left out."""
    return text if text.isascii() else unicodedata.normalize("NFKC", text).translate(_PLAIN)


def own_parts(guard: Guard, text: str, asked: str | None = None) -> list[str]:
    """The parts of a text that answer; ``[text]`` where it holds nothing else. Empty where it holds no answer of its own.

    Args:
        guard: the definition.
        text: as `plain` gives it.
        asked: the guard's input, where it is known: what stands up to its end is left out.
    """
    instruction = plain(guard.instruction).strip()
    core = plain(asked).strip() if asked else ""
    if core and (at := text.find(core)) >= 0 and (len(instruction) >= _TELLING or _begins(text[:at])):
        text = text[at + len(core) :]
    elif instruction and text.lstrip().startswith(instruction):
        text = text.lstrip()[len(instruction) :]
    return [own for part in _turns(text) if (own := _without_reasoning(guard, part)).strip()]


def _begins(before: str) -> bool:
    """Whether an input that is behind this is where inputs stand: at the beginning of the text, or of a turn that is not the assistant's."""
    if _MARKUP.fullmatch(before):
        return True
    heads = list(_TURN.finditer(before))
    if heads:
        return not _answers(heads[-1]) and not before[heads[-1].end() :].strip()
    return _SPOKEN.match(before) is not None and before.rstrip().endswith("user")


def without_tokens(text: str) -> str:
    """A text without white space and special tokens at its ends."""
    begun = text[found.end() :] if (found := _MARKUP.match(text)) else text
    found = _LAST_MARKUP.search(begun, max(0, len(begun) - _END))
    return begun[: found.start()] if found else begun


def unwrapped_input(guard: Guard, text: str) -> str | None:
    """The guard's input in a prompt that a chat template has wrapped, without white space around it; None where it is not wrapped, or the guard has
    no instruction to know its input by."""
    instruction = guard.instruction.strip()
    at = text.find(instruction) if instruction else -1
    if at <= 0 or not text[:at].strip():
        return None
    inner = text[at:]
    found = _ASKS_TO_ANSWER.search(inner, max(0, len(inner) - _END))
    return inner[: found.start()].rstrip() if found else None


def repeats_its_input(guard: Guard, text: str, prompt: str) -> bool:
    """Whether a text may begin with the guard's own input, in whatever wrapping: then it is worth rendering."""
    begun = text[:4096].lstrip()
    if not begun:
        return False
    if begun[0] in "<[" or _SPOKEN.match(begun):
        return True
    return begun.startswith(guard.instruction.strip()[:40] or prompt.strip()[:40] or "\0")


def never_closed(guard: Guard, text: str) -> bool:
    """Whether a text begins with a reasoning, not the guard's own, that has no end."""
    if not text[:1].isspace() and text[:1] not in _FIRST:
        return False
    begun = text.lstrip()
    return begun[:1] in _FIRST and any(begun.startswith(opens) and closes not in begun for opens, closes in _others(guard))


_FIRST = frozenset(opens[0] for opens, _ in MARKS.values())


def _turns(text: str) -> list[str]:
    """The turns of a text that may be the guard's, without their heads."""
    if "<" in text or "INST]" in text:
        heads = list(_TURN.finditer(text))
        if heads and not text.lstrip().startswith(_HARMONY):
            bodies = [text[h.end() : end] for h, end in zip(heads, [*(h.start() for h in heads[1:]), len(text)], strict=True)]
            before = text[: heads[0].start()]
            if not _MARKUP.fullmatch(before):
                return [before, *bodies]
            first = next((i for i, h in enumerate(heads) if _answers(h)), len(heads))
            return bodies[first:]
    if _SPOKEN.match(text) and (spoken := _ANSWERS.split(text))[1:]:
        return spoken[1:]
    return [text]


def _answers(head: re.Match[str]) -> bool:
    """Whether the turn is the assistant's."""
    role = next((v for k, v in head.groupdict().items() if v and k != "inst"), None)
    return head["inst"] == "[/INST]" if role is None else role.casefold() in ("assistant", "model", "bot", "chatbot")


def _without_reasoning(guard: Guard, text: str) -> str:
    """What is after the reasoning."""
    begun = text.lstrip()
    if begun.startswith(_HARMONY):
        found = split(text, "harmony")
        return found[1] if found else text
    if begun.startswith("analysis") and _BARE_FINAL in text:
        return text.rpartition(_BARE_FINAL)[2]
    if "/" not in text and not guard.output.close and begun[:1] not in _FIRST:
        return text
    for opens, closes in _marks(guard):
        if closes and closes in text:
            text = text.rpartition(closes)[2]
        elif opens and text.lstrip().startswith(opens):
            return ""
    return text


@lru_cache(maxsize=32)
def _marks(guard: Guard) -> tuple[tuple[str, str], ...]:
    """What opens and closes a reasoning, the guard's own marks first."""
    own = [(plain(guard.output.open), plain(guard.output.close))] if guard.output.close else []
    return *own, *_others(guard)


def _others(guard: Guard) -> list[tuple[str, str]]:
    """The marks of models in use; what opens the guard's own reasoning is the guard's to close."""
    return [(opens, closes) for opens, closes in MARKS.values() if opens != guard.output.open]
