"""A column that holds a whole conversation, as the messages of a seed: what came before, the prompt, the response.

The last message is the response where the assistant wrote it, and the user's message before it the prompt; else the last message is the prompt.
What ends otherwise is no interaction that a guard judges: ``bad_conversation``.
"""

from __future__ import annotations

from typing import Any

from toolkit.sources._faults import RowError

Messages = tuple[list[dict[str, str]], str | None, str | None]
"""Context, prompt and response."""
ROLES = {
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bard", "bing", "model", "bot"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("tool", "function", "function_call", "observation"), "tool"),
}
"""How public sets name who speaks."""
_MORE = ("tool_calls", "function_call", "images", "image", "audio", "videos")
"""Keys of a message that hold more of it than its text."""


def conversation(value: Any, column: str, turns: str | None) -> Messages:
    """The messages of a conversation.

    Args:
        value: of the column.
        column: named in messages.
        turns: whose texts a list of plain texts holds: ``user``, or ``alternating`` between user and assistant.

    Raises:
        RowError: ``wrong_type`` or ``bad_conversation``.
    """
    if value is None:
        return [], None, None
    if type(value) is not list:
        raise RowError("wrong_type", f"{column} is not a list of messages but {type(value).__name__}")
    texts = value if value and all(type(v) is str for v in value) else None
    if texts is not None and turns is None and len(texts) > 1:
        raise RowError("wrong_type", f"{column} is a list of texts, and nothing says whose: columns.turns: user or alternating")
    if texts is not None:
        roles_and_texts = [("assistant" if turns == "alternating" and i % 2 else "user", text) for i, text in enumerate(texts)]
    else:
        roles_and_texts = [_message(message, f"{column}[{i}]") for i, message in enumerate(value)]
    for _, text in roles_and_texts:
        if "\0" in text:
            raise RowError("nul", f"{column} holds a NUL character")
    return _parted(roles_and_texts, column)


def _parted(messages: list[tuple[str, str]], column: str) -> Messages:
    if not messages:
        return [], None, None
    response = messages[-1][1] if messages[-1][0] == "assistant" else None
    rest = messages if response is None else messages[:-1]
    if not rest or rest[-1][0] != "user":
        what = f"ends with {messages[-1][0]}" if response is None else "answers no message of the user"
        raise RowError("bad_conversation", f"{column} {what}")
    return [{"role": r, "content": t} for r, t in rest[:-1]], rest[-1][1], response


def _message(message: Any, where: str) -> tuple[str, str]:
    """Role and text of ``{role, content}`` or ``{from, value}``."""
    if type(message) is not dict:
        raise RowError("wrong_type", f"{where} is not a message but {type(message).__name__}")
    role = message.get("role", message.get("from"))
    content = _text(message.get("content", message.get("value")))
    if type(role) is not str or content is None:
        raise RowError("wrong_type", f"{where} is neither {{role, content}} nor {{from, value}}, or its content is no text")
    if more := [k for k in _MORE if message.get(k)]:
        raise RowError("wrong_type", f"{where} holds more than text: {', '.join(more)}")
    if (known := ROLES.get(role.strip().lower())) is None:
        raise RowError("bad_conversation", f"{where}: nobody knows the role {role[:40]!r} (known: {', '.join(ROLES)})")
    return known, content


def _text(content: Any) -> str | None:
    """A text, or the joined text of content in parts; None where it is neither."""
    if type(content) is not list:
        return content if type(content) is str else None
    parts = [p.get("text") if type(p) is dict and p.get("type") == "text" else None for p in content]
    return "".join(p for p in parts if type(p) is str) if parts and all(type(p) is str for p in parts) else None
