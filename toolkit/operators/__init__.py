"""The composable data operators, one small module each, grouped by what they do."""

from toolkit.operators.base import (
    Columns,
    Config,
    Context,
    DatasetOperator,
    GenerationOperator,
    Operator,
    RowOperator,
    SourceOperator,
    Unasked,
    mark,
)
from toolkit.operators.describe import describe_operator
from toolkit.operators.registry import operator_class, operator_names
from toolkit.records import Column

__all__ = [
    "Column",
    "Columns",
    "Config",
    "Context",
    "DatasetOperator",
    "GenerationOperator",
    "Operator",
    "RowOperator",
    "SourceOperator",
    "Unasked",
    "describe_operator",
    "mark",
    "operator_class",
    "operator_names",
]
