"""Which rows are asked for, and in what order: the parameters of an address, and what polars is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from toolkit.common.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import polars as pl
    from starlette.datastructures import QueryParams

OPERATORS = {
    "has": "contains",
    "is": "is",
    "not": "is not",
    "least": "is at least",
    "most": "is at most",
    "empty": "is empty",
    "filled": "is not empty",
}
"""What a column can be held to, by the word that stands in the address."""

KEY = 256
"""Characters of a text that its place in an order depends on."""
_WORDS = 20
_FILTERS = 20


@dataclass(frozen=True)
class Condition:
    """A column, an operator (`OPERATORS`) and a value."""

    column: str
    operator: str
    value: str


@dataclass(frozen=True)
class Query:
    """Which rows, in what order.

    Attributes:
        search: words that stand somewhere in the row, whatever their case; words in quotes stand together.
        conditions: each of which holds.
        sort: a column; empty: the order of the file.
        descending: largest first. Rows without a value come last either way.
    """

    search: str = ""
    conditions: tuple[Condition, ...] = ()
    sort: str = ""
    descending: bool = False

    @property
    def whole(self) -> bool:
        """Whether all rows are asked for, in the order of the file."""
        return not (self.search.strip() or self.conditions or self.sort)

    def parameters(self, **more: Any) -> str:
        """The part of an address behind its ``?``."""
        pairs: list[tuple[str, str]] = [("q", self.search)] if self.search else []
        for c in self.conditions:
            pairs += [("column", c.column), ("operator", c.operator), ("value", c.value)]
        pairs += [("sort", self.sort)] if self.sort else []
        pairs += [("descending", "1")] if self.sort and self.descending else []
        return urlencode(pairs + [(k, str(v)) for k, v in more.items() if v not in (None, "")])

    def sorted_by(self, column: str) -> Query:
        """The same rows by a column; by the same one again, the other way round."""
        return replace(self, sort=column, descending=self.sort == column and not self.descending)

    def without(self, condition: Condition) -> Query:
        """The same without one condition."""
        return replace(self, conditions=tuple(c for c in self.conditions if c != condition))


def query_of(given: QueryParams, columns: Mapping[str, pl.DataType]) -> Query:
    """The query of an address.

    Raises:
        InputError: no such column or operator, or a value that its column cannot be held to.
    """
    triples = list(zip(given.getlist("column"), given.getlist("operator"), given.getlist("value"), strict=False))
    if lost := [value for column, _, value in triples if value and not column]:
        raise InputError(f"a filter has the value {lost[0]!r} and no column", hint="choose its column, or search for it in all texts")
    conditions = tuple(Condition(c, o, v) for c, o, v in triples if c and (v or o in ("empty", "filled")))
    if len(conditions) > _FILTERS:
        raise InputError(f"more than {_FILTERS} conditions")
    sort = given.get("sort", "")
    for column in [c.column for c in conditions] + ([sort] if sort else []):
        if column not in columns:
            raise InputError(f"no column called {column!r}", hint=did_you_mean(column, columns))
    query = Query(given.get("q", ""), conditions, sort, given.get("descending", "") == "1")
    for condition in conditions:
        holds(condition, columns[condition.column])
    return query


def rows_that_match(query: Query, columns: Mapping[str, pl.DataType]) -> pl.Expr:
    """What polars is asked of each row."""
    import polars as pl

    tests: list[pl.Expr] = [holds(c, columns[c.column]) for c in query.conditions]
    texts = {name: kind for name, kind in columns.items() if _has_text(kind)}
    for word in words(query.search):
        test = _like(word)
        tests.append(pl.any_horizontal([_any(pl.col(name), kind, test).fill_null(False) for name, kind in texts.items()]) if texts else pl.lit(False))
    return pl.all_horizontal([test.fill_null(False) for test in tests]) if tests else pl.lit(True)


def words(search: str) -> list[str]:
    """The words of a search; what stands in quotes is one."""
    out: list[str] = []
    for i, part in enumerate(search.split('"')):
        out += [part] if i % 2 and part.strip() else part.split()
    return out[:_WORDS]


def order_key(column: str, kind: pl.DataType) -> pl.Expr:
    """What rows are sorted by: numbers and truth values as they are, texts by their first `KEY` characters, lists by their length."""
    import polars as pl

    value = pl.col(column)
    if isinstance(kind, pl.List):
        return value.list.len()
    if isinstance(kind, pl.Struct):
        return value.struct.json_encode().str.head(KEY)
    return value.cast(pl.String).str.head(KEY) + "" if _is_text(kind) else value  # a copy: its beginning alone would keep the whole text


def holds(condition: Condition, kind: pl.DataType) -> pl.Expr:
    """A condition as polars asks it. Of a list it holds where it does for one of its items, of fields where it does for one of them.

    Raises:
        InputError: no such operator, or a value that is no number, for a column of numbers.
    """
    import polars as pl

    column, value = pl.col(condition.column), condition.value
    match condition.operator:
        case "empty" | "filled":
            empty = column.is_null()
            if isinstance(kind, pl.List):
                empty = empty | (column.list.len() == 0)
            elif _is_text(kind):
                empty = empty | (column.cast(pl.String) == "")
            return empty if condition.operator == "empty" else ~empty
        case "has":
            return _any(column, kind, _like(value))
        case "is":
            return _any(column, kind, lambda one, leaf: _equal(one, leaf, value))
        case "not":
            return ~_any(column, kind, lambda one, leaf: _equal(one, leaf, value)).fill_null(False)
        case "least":
            return _any(column, kind, lambda one, leaf: one >= _number(value, condition) if leaf.is_numeric() else _text(one, leaf) >= value)
        case "most":
            return _any(column, kind, lambda one, leaf: one <= _number(value, condition) if leaf.is_numeric() else _text(one, leaf) <= value)
    raise InputError(f"no operator called {condition.operator!r}", hint=did_you_mean(condition.operator, OPERATORS))


Test = Callable[["pl.Expr", "pl.DataType"], "pl.Expr"]


def _any(value: pl.Expr, kind: pl.DataType, test: Test) -> pl.Expr:
    """Whether a test holds for a value, one of its items or one of its fields."""
    import polars as pl

    if isinstance(kind, pl.Array):
        return _any(value.arr.to_list(), pl.List(kind.inner), test)
    if isinstance(kind, pl.List):
        return value.list.eval(_any(pl.element(), _inner(kind), test).fill_null(False)).list.any()
    if isinstance(kind, pl.Struct):
        return pl.any_horizontal([_any(value.struct.field(f.name), _resolved(f.dtype), test).fill_null(False) for f in kind.fields])
    return test(value, kind)


def _like(word: str) -> Test:
    import polars as pl

    pattern = "(?i)" + pl.escape_regex(word)
    return lambda one, leaf: _text(one, leaf).str.contains(pattern)


def _equal(one: pl.Expr, leaf: pl.DataType, value: str) -> pl.Expr:
    import polars as pl

    if leaf.is_numeric():
        try:
            return one == float(value)
        except ValueError:
            return pl.lit(False)
    return _text(one, leaf) == value


def _text(one: pl.Expr, leaf: pl.DataType) -> pl.Expr:
    """A value as the text that it is compared as."""
    import polars as pl

    if isinstance(leaf, pl.Binary):
        return one.bin.encode("hex")
    return one.dt.to_string() if isinstance(leaf, pl.Duration) else one.cast(pl.String)


def _number(value: str, condition: Condition) -> float:
    try:
        return float(value)
    except ValueError:
        raise InputError(f"{value!r} is no number, and the column {condition.column!r} holds numbers") from None


def _is_text(kind: pl.DataType) -> bool:
    import polars as pl

    return kind in (pl.String, pl.Categorical, pl.Enum)


def _has_text(kind: pl.DataType) -> bool:
    import polars as pl

    if isinstance(kind, pl.List):
        return _has_text(_inner(kind))
    if isinstance(kind, pl.Struct):
        return any(_has_text(_resolved(f.dtype)) for f in kind.fields)
    return _is_text(kind)


def _inner(kind: pl.List) -> pl.DataType:
    return _resolved(kind.inner)


def _resolved(kind: Any) -> pl.DataType:
    """A type as an object, where its class alone stands for it."""
    out: pl.DataType = kind() if isinstance(kind, type) else kind
    return out


def shown_columns(given: Sequence[str], columns: Mapping[str, pl.DataType]) -> list[str]:
    """The columns of a table that are shown: those that are asked for, else a few that say most.

    Raises:
        InputError: no such column.
    """
    for column in given:
        if column not in columns:
            raise InputError(f"no column called {column!r}", hint=did_you_mean(column, columns))
    if given:
        return [c for c in columns if c in given]
    first = [c for c in _FIRST if c in columns]
    first += [c for c in columns if c.startswith(("label_", "verdict_")) and not c.endswith("_source")]
    if len(first) < _ENOUGH:
        first += [c for c in columns if c not in first]
    return first[:_COLUMNS]


_FIRST = ("id", "outcome", "reason", "detail", "cluster", "fate", "benchmark", "prompt", "response", "completion", "chosen", "rejected")
"""Columns that say most of a row, in tables of all kinds."""
_COLUMNS, _ENOUGH = 10, 3
