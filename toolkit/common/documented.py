"""Options whose help is the docstring under each field. pydantic reads these when a class is made, which costs every command time for help that few
show; here they are read when the help is asked for."""

from __future__ import annotations

import ast
import inspect
from functools import cache
from itertools import pairwise
from textwrap import dedent
from typing import Any

from pydantic import BaseModel, GetJsonSchemaHandler


class Documented(BaseModel):
    """Base of models whose docstrings under fields are their help, in `field_docs` and in JSON Schema."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core_schema)
        inner = handler.resolve_ref_schema(schema)
        docs = field_docs(cls)
        for name, about in cls.model_fields.items():
            shown = inner.get("properties", {}).get(about.alias or name)
            if shown is not None and name in docs:
                shown.setdefault("description", docs[name])
        return schema


@cache
def field_docs(model: type[BaseModel]) -> dict[str, str]:
    """The help of a model's fields by name: its ``description``, else the docstring under it, in the class or in one that it comes of."""
    out: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        if issubclass(cls, Documented):
            out |= _docs_of(cls)
    own = {name: about.description for name, about in model.model_fields.items()}
    return {name: found for name in own if (found := own[name] or out.get(name))}


@cache
def _docs_of(cls: type[BaseModel]) -> dict[str, str]:
    """The docstrings that stand under the fields in a class's source; none where there is no source."""
    try:
        tree = ast.parse(dedent(inspect.getsource(cls)))
    except (OSError, TypeError, SyntaxError):
        return {}
    body = tree.body[0].body if tree.body and isinstance(tree.body[0], ast.ClassDef) else []
    out = {}
    for pair in pairwise(body):
        match pair:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                out[name] = inspect.cleandoc(text)
    return out
