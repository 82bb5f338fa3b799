"""`BackendConfig`, the type of a recipe's option: it takes the options of any backend; one of another package is looked for only where its name is
given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter
from pydantic_core import CoreSchema, PydanticKnownError, core_schema

from toolkit.common.errors import InputError
from toolkit.generation._base_config import BACKENDS, BaseBackendConfig
from toolkit.generation._config import OpenAIBatchConfig, OpenAIConfig, TemplateConfig, TransformersConfig, VllmConfig, VllmServerConfig
from toolkit.generation._moderation_config import ModerationConfig

_Own = Annotated[
    (TemplateConfig | TransformersConfig | OpenAIConfig | OpenAIBatchConfig | ModerationConfig | VllmConfig | VllmServerConfig),
    Field(discriminator="backend"),
]


class OpenUnion:
    """For pydantic: a union of guardkit's own configs, distinguished by the key ``backend``, that takes those of other packages as well.

    Args:
        own: the union.
        other: the class that reads the options of another package's backend; None: such a backend is not allowed here.
    """

    def __init__(self, own: Any, other: Callable[[type[BaseBackendConfig]], type[BaseBackendConfig] | None]) -> None:
        self._own, self._other = own, other

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        own = handler.generate_schema(self._own)
        return core_schema.no_info_wrap_validator_function(self._validated, own, serialization=core_schema.simple_ser_schema("any"))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        out = handler(schema)
        for name in BACKENDS.others():
            try:
                cls = self._other(BACKENDS.get(name))
            except InputError:  # a broken package: it is named where its backend is, and breaks nothing else
                continue
            if cls is not None:
                named: Any = {**cls.__pydantic_core_schema__, "ref": f"{cls.__module__}.{cls.__qualname__}:{id(cls)}"}
                one = handler(core_schema.list_schema(named))["items"]  # within another schema it becomes a definition, as guardkit's own are
                out["oneOf"].append(one)
                out["discriminator"]["mapping"][name] = one["$ref"]
        return out

    def _validated(self, value: Any, handler: core_schema.ValidatorFunctionWrapHandler) -> Any:
        if isinstance(value, BaseBackendConfig) and value.backend not in BACKENDS.own:
            return value
        name = value.get("backend") if isinstance(value, Mapping) else None
        if not isinstance(name, str) or name in BACKENDS.own:
            return handler(value)
        if name not in BACKENDS.others():
            known = ", ".join(map(repr, BACKENDS.names()))
            raise PydanticKnownError("union_tag_invalid", {"discriminator": "'backend'", "tag": name, "expected_tags": known})
        if (cls := self._other(BACKENDS.get(name))) is None:
            raise ValueError(f"the backend {name!r} is not allowed here")
        return _adapter(cls).validate_python(value)


@lru_cache(maxsize=32)
def _adapter(cls: type[BaseBackendConfig]) -> TypeAdapter[Any]:
    """Validates one config as a branch of a union, so that faults have the same places as in guardkit's own."""
    union: Any = Annotated[cls | TemplateConfig, Field(discriminator="backend")]
    return TypeAdapter(union)


BackendConfig = Annotated[BaseBackendConfig, OpenUnion(_Own, lambda cls: cls)]
"""A backend as a recipe declares it; use it as the type of a field, or with ``pydantic.TypeAdapter``."""
