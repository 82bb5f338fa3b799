"""What is asked of whoever writes seeds, replies to them, or judges them: ``schemas/authors/<name>.yaml``; and how answers are read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from toolkit.common.files import digest
from toolkit.common.jsontext import loads_once
from toolkit.common.paths import Beside
from toolkit.common.resources import find
from toolkit.common.yamlfile import FaultAt, load_yaml
from toolkit.guards import template
from toolkit.guards._templates import check_template

_KNOWN = {
    "seed": ("title", "definition", "label", "rule", "examples", "others", "style", "language", "turns", "avoid"),
    "change": ("title", "definition", "change", "rule", "text", "language"),
    "reply": ("form", "label", "messages", "language"),
    "judge": ("title", "policy", "tasks", "messages", "response"),
}
_NEEDED = {"seed": ("label", "definition"), "change": ("text", "change"), "reply": ("messages",), "judge": ("messages", "response")}


class Ask(BaseModel):
    """A question: both parts are sandboxed Jinja."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    system: str
    user: str

    def messages(self, values: Mapping[str, Any]) -> list[dict[str, str]]:
        """The messages with their variables filled in."""
        return [{"role": role, "content": template(source).render(values)} for role, source in (("system", self.system), ("user", self.user))]


class Prompts(BaseModel):
    """``schemas/authors/<name>.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    version: int
    description: str = ""
    voices: list[str] = Field(min_length=1)
    """How a message is written where a recipe names no styles."""
    seed: Ask
    change: Ask
    reply: Ask
    judge: Ask

    @model_validator(mode="after")
    def _render(self) -> Prompts:
        for name, known in _KNOWN.items():
            ask: Ask = getattr(self, name)
            for part in ("system", "user"):
                try:
                    check_template(getattr(ask, part), known, _NEEDED[name] if part == "user" else ())
                except ValueError as e:
                    raise FaultAt(str(e), name, part) from None
        return self

    @cached_property
    def fingerprint(self) -> str:
        """Digest of what shapes a request."""
        return digest(self.model_dump(exclude={"name", "version", "description"}))


def load_prompts(name: str, beside: Beside) -> Prompts:
    """Load them by name or path.

    Raises:
        InputError: there is none of that name; InputErrors: faults in its file, each with its line.
    """
    return load_yaml(find("authors", name, beside)).model(Prompts)


_QUOTES = {'"': '"', "“": "”", "«": "»", "'": "'", "`": "`"}
_FENCE = re.compile(r"```\w*\s*\n(.*?)\s*```", re.DOTALL)


def plain_text(answer: str) -> str:
    """A text that a model was asked for and nothing else: without a fence, quotation marks or white space around all of it."""
    text = answer.strip()
    if fenced := _FENCE.fullmatch(text):
        text = fenced[1].strip()
    while len(text) > 1 and _QUOTES.get(text[0]) == text[-1] and text[0] not in text[1:-1]:
        text = text[1:-1].strip()
    return text


def messages_in(answer: str, turns: int) -> list[str] | None:
    """The messages of a conversation with so many of the person's, who begins and ends it; None where the answer holds none."""
    if turns == 1:
        return [text] if (text := plain_text(answer)) else None
    fenced = _FENCE.fullmatch(answer.strip())
    try:
        data = loads_once(fenced[1] if fenced else answer)
        json.dumps(data, ensure_ascii=False).encode()  # an escape may stand for half of a surrogate pair
    except (ValueError, RecursionError):
        return None
    found = data.get("messages") if isinstance(data, dict) else None
    if not isinstance(found, list) or len(found) != 2 * turns - 1 or not all(isinstance(m, str) and m.strip() for m in found):
        return None
    return [m.strip() for m in found]


def as_context(messages: Sequence[str]) -> list[dict[str, str]]:
    """The messages before the last one, as a seed's `context`."""
    return [{"role": "assistant" if i % 2 else "user", "content": text} for i, text in enumerate(messages[:-1])]
