"""How a guard that was trained elsewhere is asked: its calls, each for some of its tasks.

A call is one request. It has `messages`, which the model's own chat template writes (of the tokenizer, or of the server), or one `text` that is the
whole prompt, for a model that has no chat template. Both are sandboxed Jinja with the variables ``prompt`` and ``response`` (None where there is
none).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from toolkit.common.chat_arguments import TemplateArguments
from toolkit.common.facets import Part
from toolkit.common.yamlfile import FaultAt
from toolkit.guards._templates import check_template, template, variables

VARIABLES = ("prompt", "response")
OF_MESSAGES = (*VARIABLES, "policy")
"""Of a message: `policy` is for a guard that has one."""


class Message(Part):
    """One message of a call."""

    role: Literal["system", "user", "assistant"]
    content: str

    @field_validator("content")
    @classmethod
    def _renders(cls, value: str) -> str:
        check_template(value, OF_MESSAGES)
        return value


class Call(Part):
    """One request about a row."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    tasks: list[str] = Field(min_length=1)
    """The tasks that its answer is about."""
    needs_response: bool = False
    """Made only about a row that has a response."""
    messages: list[Message] = []
    text: str = ""
    """The whole prompt, where no chat template writes it. It must hold ``{{ prompt }}`` and ``{{ response }}`` as they are."""
    earlier: Literal["text", "turns"] = "text"
    """Where the earlier messages of a row go: text puts them before the prompt, as the guard's `context` writes them, turns sends them as such."""
    chat_template_kwargs: TemplateArguments = {}
    """Arguments of the model's chat template."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Tokens of output at most, where the backend's options say nothing of it."""

    @field_validator("text")
    @classmethod
    def _text_renders(cls, value: str, info: ValidationInfo) -> str:
        if value:
            check_template(value, VARIABLES, ("prompt",))
            _check_spliced(value)
        return value

    @model_validator(mode="after")
    def _one_way(self) -> Call:
        if bool(self.messages) == bool(self.text):
            raise FaultAt("a call has either `messages` or a `text`", "messages" if self.messages else "name")
        if self.text and (self.chat_template_kwargs or self.earlier == "turns"):
            key = "chat_template_kwargs" if self.chat_template_kwargs else "earlier"
            raise FaultAt("a `text` goes through no chat template", key)
        if self.messages and self.messages[-1].role == "system":
            raise FaultAt("the last message is the system's: it must be one of the user or the assistant", "messages", len(self.messages) - 1, "role")
        if self.messages and not any(variables(m.content) & set(VARIABLES) for m in self.messages):
            raise FaultAt("no message holds {{ prompt }} or {{ response }}", "messages")
        for i, message in enumerate(self.messages):
            for response in ("x", *([] if self.needs_response else [None])):
                try:
                    _written(message.content, {"prompt": "x", "response": response, "policy": "x"})
                except ValueError as e:
                    about = "" if response else " for a row without a response"
                    raise FaultAt(f"{e}{about}", "messages", i, "content") from None
        return self

    def about(self, row_has_response: bool) -> bool:
        """Whether it is made about a row."""
        return row_has_response or not self.needs_response

    def rendered(self, values: dict[str, Any], earlier: list[dict[str, str]]) -> list[dict[str, str]]:
        """Its messages; of a `text` its pieces, in order: those of the role ``text`` are the definition's own, those of ``user`` and ``assistant``
        are the row's prompt and response.

        Args:
            values: of `VARIABLES`.
            earlier: messages that are sent as turns, before the first one that is not the system's.

        Raises:
            ValueError: its template cannot be rendered with these values.
        """
        if self.text:
            return [{"role": role, "content": content} for role, content in pieces(self.text, values)]
        out = [{"role": m.role, "content": _written(m.content, values)} for m in self.messages]
        first = next(i for i, m in enumerate(self.messages) if m.role != "system")
        return [*out[:first], *earlier, *out[first:]]


def _written(source: str, values: dict[str, Any]) -> str:
    """What a template makes of values (ValueError: it cannot, or nothing that is bounded)."""
    from jinja2 import TemplateError

    try:
        return template(source).render(values)
    except (TemplateError, ArithmeticError, LookupError, TypeError, AttributeError, RecursionError) as e:
        raise ValueError(f"the template cannot be rendered: {e}") from None


_MARKS = {"prompt": "\ue000guardkit-prompt\ue001", "response": "\ue000guardkit-response\ue001"}
_ROLES = {"prompt": "user", "response": "assistant"}


def pieces(source: str, values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Role and content of each piece of a text; empty ones are left out."""
    text = _written(source, {name: value if value is None else _MARKS[name] for name, value in values.items()})
    for part in text.split("\ue000"):
        name = next((n for n, mark in _MARKS.items() if part.startswith(mark[1:])), None)
        if name is not None:
            if values[name]:
                yield _ROLES[name], values[name]
            part = part[len(_MARKS[name]) - 1 :]
        if part:
            yield "text", part


def _check_spliced(source: str) -> None:
    """Refuse (ValueError) a template that does more with prompt and response than to hold them."""
    for response in ("  An answer,\nin  two lines.\n", None):
        values = {"prompt": "  A question?\n", "response": response}
        found = list(pieces(source, values))
        if "user" not in dict(found) or "".join(content for _, content in found) != _written(source, values):
            raise ValueError("it must hold {{ prompt }} and {{ response }} as they are, without filters")
