"""The measures that a rule's conditions look at, of the outputs that it looks at together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from toolkit.common.errors import InputError
from toolkit.mining._measures import measures_of
from toolkit.mining._tally import TaskVotes, label_places

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def unit_measures(
    table: pl.DataFrame, task: str, labels: Sequence[str], cell: NDArray[np.int64], right: NDArray[np.int32], wrong: NDArray[np.int32], *, each: bool
) -> dict[str, Any]:
    """The measures of each row and guard, as the columns ``<measure>_<task>`` of `mine` are made: of what could be read, whatever a rule makes of
    the rest.

    Args:
        table: the lines, with ``verdict_<task>``.
        task: its name.
        labels: the task's.
        cell: of each line, row number times guards plus guard number; -1 for what is no output.
        right, wrong: outputs by row and guard.
        each: of each guard alone, not of all together.

    Raises:
        InputError: the table does not have the verdicts.

    Returns:
        By name arrays of shape (rows, guards), or (rows, 1) for all together; NaN where nothing is known.
    """
    import numpy as np

    if f"verdict_{task}" not in table.columns:
        raise InputError(f"the rule looks at measures of the votes, and the table has no column 'verdict_{task}'")
    verdict = label_places(table[f"verdict_{task}"], labels)
    read = (verdict >= 0) & (cell >= 0)
    counts = np.bincount(cell[read] * len(labels) + verdict[read], minlength=right.size * len(labels)).astype(np.int32)
    counts = counts.reshape(*right.shape, len(labels))
    parts = [slice(g, g + 1) for g in range(right.shape[1])] if each else [slice(None)]
    found = [measures_of(TaskVotes(labels, counts[:, p], right[:, p], wrong[:, p], np.zeros(0, np.int8), np.zeros(0, np.int32))) for p in parts]
    return {name: np.stack([one[name] for one in found], axis=1) for name in found[0]}
