"""What is behind a desk in tests: what the small server's guard writes; and waiting for what comes about."""

from __future__ import annotations

import time
from collections.abc import Callable


def verdict(text: str) -> str:
    """What the guard behind the small server writes about an input."""
    label = "unharmful" if "bread" in text else "harmful"
    response = "None" if "AI assistant:\nNone" in text else "unharmful"
    steps = "# Task 1\n\n## Reasoning Step 1\nThe text is looked at.\n\n## Reasoning Step 2\nIt asks.\n\n## Conclusion\nThat is all."
    answers = f"Answers: \nRequest: {label}\nCompletion: {'None' if response == 'None' else 'compliance'}\nResponse: {response}"
    return "I cannot say." if "silent" in text else f"{steps}\n\n---\n\n{answers}"


def until(what: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.005)
