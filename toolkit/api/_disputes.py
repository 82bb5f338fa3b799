"""The rows that guards dispute most."""

from __future__ import annotations

from pathlib import Path

from toolkit.api._results import Disputes
from toolkit.common.errors import InputError
from toolkit.pipeline import Progress, find_disputes


def disputes(
    folder: str | Path, *, task: str | None = None, limit: int = 10, output: str | Path | None = None, progress: Progress | None = None
) -> Disputes:
    """The rows on which guards disagree most, with what they wrote side by side and why each is where it does.

    A row is disputed on a task if its readable verdicts are for more than one label. First come those with the largest vote entropy, of equal ones
    those with more votes, then those on which guards differ from each other rather than from draw to draw.

    Args:
        folder: of a run (the verdicts that its last step `mine` reads, or else its last ones), of such a step in it, or of an evaluation.
        task: only this one; default all.
        limit: rows to show with their texts.
        output: file for the whole list (.jsonl, .csv or .parquet): the values below by rank and id, without texts.
        progress: where progress is shown; default nowhere.

    Returns:
        ``tasks`` (of each its ``rows`` with a readable verdict and those ``disputed``), ``disputed`` (all of them), ``shown``: for each its ``rank``,
        ``id``, ``task``, ``label``, ``votes`` (readable ones), ``right``, ``wrong``, ``unread``, the measures ``error_rate``, ``entropy``, ``margin``
        and ``divergence`` (docs/mining.md), ``why`` in words, ``by_guard`` (votes of each), ``source``, ``categories``, ``prompt``, ``response``, and
        ``outputs``: ``guard``, ``draw``, ``verdict``, ``unread``, ``output``. ``folder``, ``of`` (the steps that hold the verdicts), ``notes``,
        ``output``.

    Raises:
        InputError: neither a run nor an evaluation, no verdicts in it, no such task, an output of another kind.

    Example:
        >>> _ = toolkit.mine({"anna": "anna.jsonl", "berta": "berta.jsonl"}, output="outputs/disputed")
        >>> first = toolkit.disputes("outputs/disputed").shown[0]
        >>> first["why"]
        '1 of 2 votes say harmful, the label is unharmful; guards differ from each other'
        >>> [(output["guard"], output["verdict"]) for output in first["outputs"]]
        [('anna', 'harmful'), ('berta', 'unharmful')]
    """
    if not isinstance(limit, int) or limit < 0:
        raise InputError(f"limit is a number of rows from 0 on, not {limit!r}")
    return Disputes(find_disputes(folder, task=task, limit=limit, output=output, progress=progress or Progress.silent()))
