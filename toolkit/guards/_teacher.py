"""The prompts of the teacher that writes the reasoning a guard is trained on."""

from __future__ import annotations

from functools import cached_property

from pydantic import Field, ValidationInfo, field_validator

from toolkit.common.facets import Part
from toolkit.common.files import digest
from toolkit.guards._templates import check_template

_BLIND = ("tasks", "steps", "missing_word", "exchange", "structured")
"""Variables of every teacher's prompt. None of them depends on a label of the row."""

_FEEDBACK = """\
Your answer cannot be used:
{% for reason in reasons -%}
- {{ reason }}
{% endfor -%}
Write the whole answer again, in the form asked for and without these faults.
"""


class Blind(Part):
    """Prompt templates for a teacher that is to judge by itself (sandboxed Jinja). Variables: tasks, steps, missing_word, exchange, structured."""

    system: str
    user: str

    @field_validator("system", "user")
    @classmethod
    def _renders(cls, value: str, info: ValidationInfo) -> str:
        check_template(value, _BLIND, ("exchange",) if info.field_name == "user" else ())
        return value


class Teacher(Part):
    """Prompt templates for the teacher (sandboxed Jinja). Variables: tasks, steps, missing_word, infer, exchange, answers, structured."""

    system: str
    user: str
    """The interaction, and the row's labels."""
    blind: Blind | None = None
    """The same without the labels; none: this teacher cannot be asked blind."""
    feedback: str = _FEEDBACK
    """Sent after an answer that is not taken. Variable: reasons, a list of sentences."""

    @field_validator("system", "user")
    @classmethod
    def _renders(cls, value: str, info: ValidationInfo) -> str:
        check_template(value, (*_BLIND, "infer", "answers"), ("exchange",) if info.field_name == "user" else ())
        return value

    @field_validator("feedback")
    @classmethod
    def _tells_why(cls, value: str) -> str:
        check_template(value, ("reasons",), ("reasons",))
        return value


class Prompt(Teacher):
    """A teacher's prompt in a file of its own, ``schemas/prompts/<name>.yaml``: stands in for a guard's `teacher`."""

    name: str = Field(min_length=1)
    version: int
    description: str = ""

    @cached_property
    def fingerprint(self) -> str:
        """Digest of what shapes a request."""
        return digest(self.model_dump(exclude={"name", "version", "description"}))
