"""The weights of preference pairs in formats that have no place for them.

A pair's weight multiplies its part of the loss (spec D). A format without weights can say one by repetition: of a pair of weight w there are
``floor(w * copies + 1/2)`` copies, at least one where w > 0, so a pass over the file stands for `copies` passes over the pairs. What the copies of
a pair say is their number over `copies`; how far that is from its weight, on the average and at most, is in the record. Or the
weights are dropped. Which of the two is the user's to say; neither happens by itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from toolkit.common.errors import InputError

if TYPE_CHECKING:
    import polars as pl

Weights = Literal["repeat", "drop"]
COPIES = 5
"""Copies of a pair of weight 1: with it 0.8, 1.0 and 1.2, the weights of the paper's gamma 0.2 at its ends and its middle, are exact."""


def check_weights(files: list[Path], where: Path) -> tuple[float, float]:
    """Least and greatest weight.

    Raises:
        InputError: a weight that is no number, or negative.
    """
    import pyarrow.parquet as pq

    least, greatest = float("inf"), float("-inf")
    for file in files:
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(columns=["weight"]):
                for value in batch.column(0).to_pylist():
                    if value is None or not 0 <= value < float("inf"):
                        raise InputError(f"a pair's weight is {value}; it must be a number that is not negative", where=str(where))
                    least, greatest = min(least, value), max(greatest, value)
    return least, greatest


class Repeater:
    """Repeats pairs by their weight, and adds up how far the copies are from the weights.

    Args:
        copies: of a pair of weight 1.
    """

    def __init__(self, copies: int) -> None:
        self.copies = copies
        self.rows = 0
        self.gone = 0
        self.error = self.errors = 0.0
        self.pairs = 0

    def repeated(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows, each as often as its weight says; copies of a row follow each other."""
        import polars as pl

        weight = rows["weight"]
        often = (weight * self.copies + 0.5).floor().cast(pl.Int64).clip(1)
        often = often.zip_with(weight > 0, pl.zeros(rows.height, pl.Int64, eager=True))
        self.rows += int(often.sum())
        self.gone += int((often == 0).sum())
        off = (often / self.copies - weight).abs()
        self.error = max(self.error, float(off.max() or 0.0))  # type: ignore[arg-type]  # a float column
        self.errors += float(off.sum())
        self.pairs += rows.height
        return rows[pl.int_range(0, rows.height, eager=True).repeat_by(often).explode().drop_nulls()]

    def figures(self) -> dict[str, float | int]:
        """For the export's manifest."""
        mean = round(self.errors / self.pairs, 6) if self.pairs else 0.0
        left = {"pairs_of_weight_0_left_out": self.gone}
        return {"copies_of_weight_1": self.copies, "mean_error": mean, "largest_error": round(self.error, 6), **left}

    def note(self) -> str:
        """What the copies say, in words."""
        error = f"mean error {self.errors / max(self.pairs, 1):.3g}, largest {self.error:.3g}"
        return f"Weights are expressed by copies, {self.copies} of a pair of weight 1: {error}."
