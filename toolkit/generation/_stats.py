"""What a run of the engine did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Stats:
    """What a run of the engine did; kept up to date while it runs.

    Args:
        completions: handed out.
        asked: distinct requests given to a backend.
        from_journal: answers found in the journal.
        unreadable: records of the journal that cannot be read, and are asked for again.
        shared: requests answered by an equal one of this run.
        followed: requests asked in place of an earlier one.
        failed: completions handed out that are failures.
        retry: those of them that the next run asks again.
        errors: failures handed out by class.
        messages: the words of the first failure of each class.
        prompt_tokens: tokens read for answers asked in this run, where known.
        completion_tokens: tokens written, likewise.
        cost: dollars of the answers asked in this run, where prices are known.
        cut: answers handed out to prompts that the server cut, by its own count of tokens.
        estimated: dollars of `cost` that are worst cases, where the endpoint's count of tokens is missing or not to be believed.
        seconds: wall time since the first request was pulled.
    """

    completions: int = 0
    asked: int = 0
    from_journal: int = 0
    unreadable: int = 0
    shared: int = 0
    followed: int = 0
    failed: int = 0
    retry: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    messages: dict[str, str] = field(default_factory=dict)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    cut: int = 0
    estimated: float = 0.0
    seconds: float = 0.0

    def figures(self) -> dict[str, Any]:
        """As a manifest has them."""
        return {**vars(self), "errors": dict(self.errors)}
