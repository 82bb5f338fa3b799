"""How a row operator marks a row that is not to go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import polars as pl

OUTCOME, REASON, DETAIL = "_outcome", "_reason", "_detail"
"""Columns that carry a row's mark while a query runs; no record has such names."""


def mark(
    rows: pl.LazyFrame,
    when: pl.Expr,
    reason: str | pl.Expr,
    detail: str | pl.Expr | None = None,
    outcome: Literal["rejected", "set_aside"] = "rejected",
) -> pl.LazyFrame:
    """Mark rows where `when` holds; a row that has a mark keeps the first.

    Args:
        rows, when: the frame, and a boolean expression over it; null counts as false.
        reason, detail, outcome: reason code; what exactly was found; ``rejected`` for a fault, ``set_aside`` for none.
    """
    import polars as pl

    fresh = when.fill_null(False) & pl.col(REASON).is_null()

    def lit(value: str | pl.Expr | None) -> pl.Expr:
        return value.cast(pl.String) if isinstance(value, pl.Expr) else pl.lit(value, pl.String)

    return rows.with_columns(
        pl.when(fresh).then(pl.lit(outcome)).otherwise(pl.col(OUTCOME)).alias(OUTCOME),
        pl.when(fresh).then(lit(detail)).otherwise(pl.col(DETAIL)).alias(DETAIL),
        pl.when(fresh).then(lit(reason)).otherwise(pl.col(REASON)).alias(REASON),
    )
