"""The words by which endpoints say how an answer ended and why a request failed: closed tables.

Contract: a word is looked up without its case and punctuation (`plain`): ``MAX_TOKENS``, ``max_tokens`` and ``maxTokens`` are one. What is not in a
table is not guessed at: an unknown finish word stays as it is, and an answer that ended with it counts as not finished (`ended`). Where a provider
has no code of its own for something, its documented message is a word of it, from the message's beginning.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Literal

from toolkit.common.errors import InputError

Ending = Literal["stop", "length", "content_filter", "broken"]

_ENDINGS: dict[Ending, str] = {
    "stop": "stop eos eos_token end_turn stop_sequence complete completed finish_reason_stop",
    "length": """length max_tokens model_length max_length max_output_tokens max_completion_tokens model_context_window_exceeded limit
        finish_reason_max_tokens""",
    "content_filter": """content_filter content_filtered safety recitation blocklist prohibited_content spii image_safety refusal sensitive
        guardrail_intervened error_toxic moderation finish_reason_safety""",
    "broken": """error abort aborted cancel cancelled canceled user_cancel network_error insufficient_system_resource
        malformed_function_call timeout""",
}
"""Finish words of OpenAI and Azure, Anthropic, Gemini, Mistral (model_length), Cohere, Bedrock, DeepSeek, Zhipu, OpenRouter, vLLM, TGI, llama.cpp."""

_FILTERED = """content_filter invalid_prompt content_policy_violation responsible_ai_policy_violation data_inspection_failed content_filtered
    sensitive_content_detected input_text_sensitive_content_detected output_text_sensitive_content_detected prohibited_content"""
"""Codes and types of an error that says that prompt or answer was filtered: OpenAI and Azure, DashScope, Volcengine, Gemini."""

_NO_CREDIT = """insufficient_quota billing_hard_limit_reached billing_not_active insufficient_balance insufficient_credits arrearage
    account_overdue_error exceeded_current_quota_error"""
"""Codes and types of an error that says that the account may not spend: OpenAI, DeepSeek, DashScope, Volcengine, Moonshot."""

_FILTERED_MESSAGE = re.compile(r"\s*(content exists risk|(litellm\.\w+: *)*litellm\.ContentPolicyViolationError\b)", re.IGNORECASE)
_NO_CREDIT_MESSAGE = re.compile(r"\s*(your credit balance is too low|insufficient balance\b)", re.IGNORECASE)
_NO_SYSTEM_MESSAGE = re.compile(
    r"(system|developer) (role|message|instruction)s?\b.{0,40}?\b(not|n't) (be )?(supported|enabled|allowed)|"
    r"(not|n't) (support|allow|accept)\w*.{0,40}?\b(system|developer) (role|message|instruction|prompt)",
    re.IGNORECASE,
)

IN_BASE_RESP = {1002: 429, 1004: 401, 1008: 402, 1039: 429}
"""MiniMax's codes in ``base_resp`` as HTTP statuses; `FILTERED_IN_BASE_RESP` are those of its filter, all others its server's faults."""

FILTERED_IN_BASE_RESP = frozenset({1026, 1027})


def plain(word: Any) -> str:
    """A word as it is looked up; empty for what is none."""
    return re.sub(r"[\W_]+", "", word.casefold()) if isinstance(word, str) else ""


_ENDING: dict[str, Ending] = {plain(word): ending for ending, words in _ENDINGS.items() for word in words.split()}
_CODES: dict[str, Literal["content_filter", "credit"]] = {
    **{plain(word): "content_filter" for word in _FILTERED.split()},
    **{plain(word): "credit" for word in _NO_CREDIT.split()},
}


@lru_cache(maxsize=256)
def ended(finish: str | None) -> Ending | None:
    """How an answer with this finish word ended; None for a word that is not known. No word at all counts as ``stop``."""
    return "stop" if finish is None else _ENDING.get(plain(finish))


FINISHED = tuple(_ENDINGS["stop"].split())
"""Finish words of a whole answer, as a column may hold them that was written before they were all read as ``stop``."""


def meaning(error: object, message: str) -> Literal["content_filter", "credit"] | None:
    """Whether an error says that something was filtered, or that the account has no credit left; None for anything else.

    Args:
        error: the value of ``error`` in a body, or a code alone.
        message: its message.
    """
    for word in _words(error):
        if (found := _CODES.get(plain(word))) is not None:
            return found
    if isinstance(error, dict) and isinstance(more := error.get("metadata"), dict) and "flagged_input" in more:  # OpenRouter's
        return "content_filter"
    if _FILTERED_MESSAGE.match(message):
        return "content_filter"
    return "credit" if _NO_CREDIT_MESSAGE.match(message) else None


def takes_no_system(message: str) -> bool:
    """Whether a message says that the model has no system role (of a chat template, vLLM's and llama.cpp's servers, Gemini for Gemma)."""
    return _NO_SYSTEM_MESSAGE.search(message) is not None


def no_system(model: str, detail: str) -> InputError:
    """What a model without a system role ends in that is sent a system message."""
    hint = "set `system: merge` on this backend: what the system message says then is before the user's text (`drop` leaves it out)"
    return InputError(f"{model} takes no system message: {detail}", hint=hint)


def _words(error: object) -> list[object]:
    if not isinstance(error, dict):
        return [error]
    inner = error.get("innererror")
    return [error.get("code"), error.get("type"), error.get("status"), inner.get("code") if isinstance(inner, dict) else None]


def flagged(answer: dict[str, Any]) -> bool:
    """Whether a body without an answer says that its prompt was filtered: Azure's flags, Gemini's block reason."""
    for name in ("promptFeedback", "prompt_feedback"):
        if isinstance(found := answer.get(name), dict) and (found.get("blockReason") or found.get("block_reason")):
            return True
    results = answer.get("prompt_filter_results")
    for result in results if isinstance(results, list) else []:
        kinds = result.get("content_filter_results") if isinstance(result, dict) else None
        if isinstance(kinds, dict) and any(isinstance(k, dict) and k.get("filtered") is True for k in kinds.values()):
            return True
    return False
