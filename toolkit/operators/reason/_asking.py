"""What the operators that ask a model about a reasoning share: prompts as data (``schemas/graders``), closed answers in JSON, and asking once more in
text where an endpoint takes no schema.

Contract: an answer is JSON of the given keys or none; text around it but a Markdown fence makes it none. Where a backend's ``structured`` is not
``off`` the request has the schema; with ``try`` a row that hears ``no_schema`` is asked in text, and so are the rows after it. The two questions have
different journal keys, so that a run that is resumed finds whichever was answered; at worst it asks for a schema again, which costs nothing.
"""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from toolkit.common.errors import InputError
from toolkit.common.files import digest
from toolkit.common.jsontext import loads_once
from toolkit.common.paths import Beside
from toolkit.common.resources import find
from toolkit.common.yamlfile import load_yaml
from toolkit.generation import BaseBackendConfig, build_request
from toolkit.guards import Guard, template, variables
from toolkit.operators import _backends
from toolkit.operators._media_taken import asking_fault, attach
from toolkit.operators.base import Context, GenerationOperator, StepInput

if TYPE_CHECKING:
    from toolkit.generation import Backend, Completion, Request


class GraderPrompt(BaseModel):
    """``schemas/graders/<name>.yaml``: what a grader is asked. Both parts are sandboxed Jinja; their variables are the operator's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    version: int
    description: str = ""
    system: str
    user: str

    @cached_property
    def fingerprint(self) -> str:
        """Digest of what shapes a request."""
        return digest([self.system, self.user])

    def messages(self, values: Mapping[str, Any]) -> list[dict[str, str]]:
        """The messages with their variables filled in."""
        return [{"role": role, "content": template(source).render(values)} for role, source in (("system", self.system), ("user", self.user))]


def load_grader(name: str, beside: Beside, known: Sequence[str], needed: Sequence[str]) -> GraderPrompt:
    """Load a grader's prompt by name or path.

    Args:
        name: a name in ``schemas/graders``, or a path that ends in ``.yaml``.
        beside: folder that a relative path is also looked up from.
        known: variables that its templates may use.
        needed: those that its `user` part must.

    Raises:
        InputError: no such prompt, or a template that is none or uses other variables; InputErrors: faults in its file, each with its line.
    """
    path = find("graders", name, beside)
    prompt = load_yaml(path).model(GraderPrompt)
    for part in ("system", "user"):
        try:
            used = variables(getattr(prompt, part))
        except ValueError as e:
            raise InputError(f"{part}: {e}", where=str(path)) from None
        if other := sorted(used - set(known)):
            raise InputError(f"{part} has the unknown variable {other[0]!r}", where=str(path), hint=f"variables: {', '.join(known)}")
        if part == "user" and (unused := [n for n in needed if n not in used]):
            raise InputError(f"user does not use {{{{ {unused[0]} }}}}: what it holds would be lost", where=str(path))
    return prompt


def a_model(value: BaseBackendConfig) -> BaseBackendConfig:
    """Refuse the template teacher, for a pydantic validator (ValueError)."""
    if not value.is_model:
        raise ValueError("the template teacher answers no questions: this asks a model")
    return value


def closed_schema(name: str, properties: Mapping[str, Any]) -> str:
    """The ``response_format`` of an object with exactly these properties, in their order (strict mode: all required, no bounds on numbers)."""
    schema = {"type": "object", "properties": dict(properties), "required": list(properties), "additionalProperties": False}
    whole = {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": schema}}
    return json.dumps(whole, ensure_ascii=True, separators=(",", ":"))


_FENCE = re.compile(r"\s*```(?:json)?\s*\n(.*?)\s*```\s*", re.DOTALL)


def read_object(text: str | None, keys: Sequence[str]) -> dict[str, Any] | None:
    """The JSON object with exactly `keys`, each once, that an answer is; None for anything else, also where a text in it is no Unicode: an escape may
    stand for half of a surrogate pair."""
    if text is None:
        return None
    try:
        data = loads_once(fenced[1] if (fenced := _FENCE.fullmatch(text)) else text)
        json.dumps(data, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) and set(data) == set(keys) else None


class AskingOperator(GenerationOperator):
    """Asks one model one closed question about each row, and shows it the row's media, unless it `carries_media` past a question that is not about
    them."""

    in_guards_words: ClassVar[bool] = True
    """Whether it asks about a row as the guard is shown it: then a file of a kind that the guard does not judge is refused."""

    @property
    @abstractmethod
    def backend(self) -> BaseBackendConfig:
        """The model that is asked."""

    @abstractmethod
    def question(self, row: Mapping[str, Any], ctx: Context, *, structured: bool) -> list[dict[str, str]]:
        """The messages that ask about a row."""

    def media_fault(self, guard: Guard) -> str | None:
        return None if self.carries_media else asking_fault(guard if self.in_guards_words else None, [self.backend])

    def in_guards_form(self, ctx: Context) -> bool:
        """Whether an answer in text is written in the form of a guard that has marks of its own around its reasoning."""
        return False

    @abstractmethod
    def schema(self, ctx: Context) -> str:
        """The ``response_format`` of an answer."""

    def open(self, ctx: Context, inputs: Mapping[str, StepInput]) -> list[tuple[str, Callable[[], Backend]]]:
        self._in_text = False
        self._ctx = ctx
        self._shown = _backends.ShownModels(ctx.roots)

        def opened() -> Backend:
            self._opened = _backends.opened(self.backend, ctx)
            return self._opened

        return [("model", opened)]

    def requests(self, row: Mapping[str, Any], name: str, backend: Backend, ctx: Context) -> list[Request]:
        return [self._request(row, backend, ctx, structured=self.backend.structure != "off" and not self._in_text)]

    def again(
        self, row: Mapping[str, Any], name: str, request: Request, completion: Completion, trail: Sequence[Completion], ctx: Context
    ) -> Request | None:
        if completion.error != "no_schema" or not request.schema or self.backend.structure != "try":
            return None
        self._in_text = True
        return self._request(row, self._opened, ctx, structured=False, draw=request.draw, attempt=request.attempt)

    def _request(self, row: Mapping[str, Any], backend: Backend, ctx: Context, *, structured: bool, draw: int = 0, attempt: int = 0) -> Request:
        schema = self.schema(ctx) if structured else ""
        asked = self.question(row, ctx, structured=structured)
        media = attach(row, ctx.media_folder, ctx.guard if self.in_guards_words else None, [self.backend]) if not self.carries_media else ()
        own = self.in_guards_form(ctx)
        return build_request(backend, self.backend, asked, draw=draw, attempt=attempt, schema=schema, row=row["id"], as_it_comes=own, media=media)
