"""Record schemas read from ``schemas/records/<name>.yaml``.

A file states `columns`; `per_task` columns, once for each of the guard's tasks, ``{task}`` being its name; `more` columns after those; and the
record that it `extends`, whose columns come first. Columns that are `optional` are at the end, and only in tables that have what they hold; one with
``{task}`` in its name occurs once for each task, too. It is checked when it is read, with file, line and key.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from toolkit.common.errors import InputError, did_you_mean
from toolkit.common.resources import find
from toolkit.common.yamlfile import FaultAt, YamlFile, load_yaml

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

_SIMPLE = ("string", "int64", "float64", "bool", "binary")


@dataclass(frozen=True)
class Column:
    """One column: `type` is ``string``, ``int64``, ``float64``, ``bool``, ``binary``, ``{list: T}`` or ``{struct: {name: T}}``."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: str
    type: Any
    nullable: bool = False
    doc: str = ""


def name_fault(name: str, *, own: bool = True) -> str | None:
    """Why no column may have a name, in words; None where it may. Every name that a user gives passes here, so that it can stand for itself alone.

    Args:
        name: of the column.
        own: whether it is a column of guardkit's rows, not one of a user's file.
    """
    if not name:
        return "a column needs a name"
    if name == "*" or (name.startswith("^") and name.endswith("$")):
        return f"{name!r} is a pattern for many columns, not the name of one: give it another name"
    if own and name.startswith("_"):
        return f"{name!r} begins with _: such names are guardkit's own"
    return None


@dataclass(frozen=True)
class RecordSchema:
    """A versioned record: the columns that each of its tables has, in order, those that some have (`optional`), and the words that
    ``label_<task>_source`` may hold."""

    name: str
    version: int
    columns: tuple[Column, ...]
    label_sources: tuple[str, ...] = ()
    optional: tuple[Column, ...] = ()

    @property
    def names(self) -> list[str]:
        """Column names in order."""
        return [c.name for c in self.columns]

    @property
    def every_name(self) -> list[str]:
        """The same, and the names of those that are optional."""
        return [c.name for c in (*self.columns, *self.optional)]

    def with_optional(self, there: Collection[str]) -> tuple[Column, ...]:
        """All columns, with those optional ones that are `there`."""
        return (*self.columns, *(c for c in self.optional if c.name in there))


class _File(BaseModel):
    """What a record's file may say."""

    model_config = ConfigDict(extra="forbid")

    name: str
    version: int = Field(ge=1)
    description: str
    extends: str | None = None
    columns: list[Column] = []
    per_task: list[Column] = []
    more: list[Column] = []
    optional: list[Column] = []
    label_sources: dict[str, str] = {}

    @field_validator("columns", "per_task", "more", "optional")
    @classmethod
    def _types_are_known(cls, value: list[Column]) -> list[Column]:
        for i, column in enumerate(value):
            try:
                _checked(column.type)
            except ValueError as e:
                raise FaultAt(str(e), i, "type") from None
        return value

    @field_validator("per_task")
    @classmethod
    def _named_by_task(cls, value: list[Column]) -> list[Column]:
        for i, column in enumerate(value):
            if column.name.count("{task}") != 1:
                raise FaultAt("a column under per_task must hold {task} in its name", i, "name")
        return value


def _of_task(column: Column, task: str) -> Column:
    return Column(column.name.replace("{task}", task), column.type, column.nullable, column.doc)


def _checked(kind: Any) -> None:
    if isinstance(kind, dict) and list(kind) == ["list"]:
        _checked(kind["list"])
    elif isinstance(kind, dict) and list(kind) == ["struct"] and isinstance(kind["struct"], dict) and kind["struct"]:
        for inner in kind["struct"].values():
            _checked(inner)
    elif not isinstance(kind, str) or kind not in _SIMPLE:
        raise ValueError(f"unknown column type {kind!r}: {did_you_mean(str(kind), _SIMPLE)}, {{list: T}}, {{struct: {{name: T}}}}")


def load_record(name: str, tasks: tuple[str, ...] = ()) -> RecordSchema:
    """The record `name` for a guard with these tasks.

    Raises:
        InputError: no such record, one that extends itself, a column twice; InputErrors: faults in its file, each with its line.
    """
    return _load(name, tasks, ())


def _load(name: str, tasks: tuple[str, ...], below: tuple[str, ...]) -> RecordSchema:
    file = load_yaml(find("records", name))
    data = file.model(_File)
    base = RecordSchema("", 0, ())
    if data.extends is not None:
        if data.extends in (name, *below):
            raise InputError(f"the record {name!r} extends itself", where=file.where(("extends",)))
        base = _load(data.extends, tasks, (name, *below))
    per_task = [_of_task(c, t) for t in tasks for c in data.per_task]
    columns = (*base.columns, *data.columns, *per_task, *data.more)
    optional = (*base.optional, *(one for c in data.optional for one in ([_of_task(c, t) for t in tasks] if "{task}" in c.name else [c])))
    _check_names(file, (*columns, *optional))
    return RecordSchema(data.name, data.version, columns, (*base.label_sources, *data.label_sources), optional)


def _check_names(file: YamlFile, columns: tuple[Column, ...]) -> None:
    seen: set[str] = set()
    for column in columns:
        if column.name in seen:
            raise InputError(f"two columns are called {column.name!r}", where=file.path)
        seen.add(column.name)


def to_arrow(columns: tuple[Column, ...]) -> pa.Schema:
    """Arrow schema of some columns."""
    import pyarrow as pa

    return pa.schema([pa.field(c.name, arrow_type(c.type), nullable=c.nullable) for c in columns])


def to_polars(columns: tuple[Column, ...]) -> dict[str, Any]:
    """Polars dtypes of some columns, by name."""
    return {c.name: polars_type(c.type) for c in columns}


def arrow_type(kind: Any) -> pa.DataType:
    """Arrow type of a declared type (ValueError if it is none). Text is `large_string`, which polars holds without a copy;
    items of a list are called `element`, as parquet calls them, so that a schema read back is the one written."""
    import pyarrow as pa

    _checked(kind)
    if isinstance(kind, dict):
        inner = kind.get("struct")
        return pa.struct([(n, arrow_type(t)) for n, t in inner.items()]) if inner else pa.large_list(pa.field("element", arrow_type(kind["list"])))
    return {"string": pa.large_string(), "int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_(), "binary": pa.large_binary()}[kind]


def polars_type(kind: Any) -> pl.DataType | type[pl.DataType]:
    """Polars type of a declared type (ValueError if it is none)."""
    import polars as pl

    _checked(kind)
    if isinstance(kind, dict):
        inner = kind.get("struct")
        return pl.Struct({n: polars_type(t) for n, t in inner.items()}) if inner else pl.List(polars_type(kind["list"]))
    simple: dict[str, type[pl.DataType]] = {"string": pl.String, "int64": pl.Int64, "float64": pl.Float64, "bool": pl.Boolean, "binary": pl.Binary}
    return simple[kind]
