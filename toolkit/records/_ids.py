"""Ids of rows: the same on every machine and in every run, whatever the row's place in its file.

A content id is the first 24 hex digits (96 bits) of a sha256: at 10 million rows the chance of any collision is below 1e-15. The id of a row that a
step makes out of another begins with that row's id, whatever characters it has, and no two rows of a step get the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

_HEX = 24


def _hash(*parts: str) -> str:
    return hashlib.sha256(b"".join(map(_framed, parts))).hexdigest()[:_HEX]


def _framed(part: str) -> bytes:
    raw = part.encode("utf-8", "surrogatepass")
    return len(raw).to_bytes(8, "little") + raw


def content_id(context: Sequence[tuple[str, str]], prompt: str, response: str | None, media: Sequence[str] = ()) -> str:
    """Id of a row's messages, and of its media where it has some.

    Args:
        context: (role, content) of each message before the prompt.
        prompt: last user message.
        response: the answer, or None; None and the text "None" differ.
        media: sha256 (hex) of each of its files, in their order. Where they are does not count.
    """
    flat = [text for message in context for text in message]
    reply = "0" if response is None else "1" + response
    if media:
        return _hash("content/2", str(len(flat)), *flat, prompt, reply, *media)
    return _hash("content/1", str(len(flat)), *flat, prompt, reply)


def content_ids(messages: Iterable[tuple[str, str | None]]) -> tuple[list[str], list[str]]:
    """For each prompt and response without context and media ``content_id([], prompt, response)`` and ``content_id([], prompt, None)``; what both
    digest is digested once.

    Example:
        >>> contents, groups = content_ids([("Hi", "Hello"), ("Hi", None)])
        >>> contents == [content_id([], "Hi", "Hello"), content_id([], "Hi", None)], groups[0] == groups[1] == contents[1]
        (True, True)
    """
    begun, none = hashlib.sha256(_framed("content/1") + _framed("0")), _framed("0")
    contents: list[str] = []
    groups: list[str] = []
    for prompt, response in messages:
        asked = begun.copy()
        asked.update(_framed(prompt))
        alone = asked.copy()
        alone.update(none)
        groups.append(alone.hexdigest()[:_HEX])
        if response is not None:
            asked.update(_framed("1" + response))
            contents.append(asked.hexdigest()[:_HEX])
        else:
            contents.append(groups[-1])
    return contents, groups


def group_id(prompt: str, media: Sequence[str] = ()) -> str:
    """The group of a row that its source gives none: equal prompts are one; of rows with media, equal media, whatever is asked about them."""
    return content_id([], "" if media else prompt, None, media)


def row_id(source: str, content: str, occurrence: int) -> str:
    """Id of a row: `occurrence` counts rows of the same source with the same content, from 0."""
    return _hash("row/1", source, content, str(occurrence))


def child_id(parent: str, *parts: str | int) -> str:
    """Id of a row that a step makes out of another: the parent's, then each part behind a colon. For as many parts, other parents or parts always
    give another id: a colon within a part is written ``%3A``, and ``%`` is ``%25``, so that the last colons are those between the parts.
    """
    return ":".join([parent, *(str(part).replace("%", "%25").replace(":", "%3A") for part in parts)])


def pair_id(parent: str, task: str, chosen: str, rejected: str, guard: str | None = None) -> str:
    """Id of a preference pair. `guard`: of a row that is hard for guards by themselves, whose pair it is; two of them may write the same texts."""
    if guard is None:
        return _hash("pair/1", parent, task, chosen, rejected)
    return _hash("pair/2", parent, task, chosen, rejected, guard)
