"""Looking at rows: what differs between two runs, what a run did not keep, what sets of rows share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.api._results import Difference, Overlaps, Rejects
from toolkit.pipeline import diff_runs, find_overlaps, rejected_rows

if TYPE_CHECKING:
    from toolkit.pipeline import Places


def diff(run_a: str | Path, run_b: str | Path, *, step: str | None = None, shown: int = 10, output: str | Path | None = None) -> Difference:
    """Compare two runs (or two folders of shards): rows added, gone and changed from the first to the second, and why.

    Args:
        run_a, run_b: folders.
        step: whose rows are compared; default: the last step with rows that both have.
        shown: rows of each kind to show with their values.
        output: file for all rows that differ (.jsonl, .csv or .parquet): `change` (gone, added, changed), `id`, `nth` (which row of that id),
            `step`, `outcome`, `reason`, `detail`, `survivor`, `parent`, `columns`, `since`.

    Returns:
        ``equal`` (same rows and columns), ``a`` and ``b`` (folder, rows, and the ``stale`` steps, which are left out), ``step``, ``same``,
        ``columns`` that only one side has, ``extends`` (a or b: which of two shards is a version that extends the other; else None), ``steps`` (for
        each its state, what differs in it, and its counts on both sides), ``labels`` (of two runs: what `review` and `relabel` decided otherwise, or
        confirmed: step, task, reviewer, label, new_label, rows), ``pairs`` (of each step `pair` whose pairs differ: step, before, after, gained,
        lost, reweighted, and the mean weight_before and weight_after of pairs in both), and for ``gone``, ``added`` and ``changed`` the number of
        ``rows`` and some that are ``shown``: gone and added with ``why`` (rows by step, outcome and reason) and ``by`` (rows by category, source,
        split, licence and label), changed with the ``columns`` and the first step (``since``) at which they differ.

    Raises:
        InputError: a folder is neither a run nor shards, a run beside shards, no step to compare, an output of another kind.

    Example:
        >>> found = toolkit.diff("outputs/small", "outputs/small")
        >>> found["equal"], found["same"]
        (True, 11)
    """
    return Difference(diff_runs(run_a, run_b, step=step, shown=shown, output=output))


def rejects(
    run: str | Path,
    step: str | None = None,
    *,
    reason: str | None = None,
    ids: str | Iterable[str] | None = None,
    limit: int = 10,
    output: str | Path | None = None,
) -> Rejects:
    """The rows that a run's steps did not keep: rejected, merged or set aside.

    Args:
        run: the run's folder; a step's in it means the rows that left that step.
        step: only rows that left this step.
        reason: only rows that left for this reason.
        ids: only this row, or these.
        limit: rows to show whole.
        output: file for all of them (.jsonl, .csv or .parquet), with the columns of ``shown``; ``row`` is JSON text but in JSON Lines.

    Returns:
        ``rows`` (number), ``counts`` (rows by step, outcome and reason, in the order of the recipe) and ``shown``: ``step``, ``id``, ``outcome``,
        ``reason``, ``detail``, ``survivor`` and ``row``, the row as it came into the step; ``output``.

    Raises:
        InputError: not a run, no step of that name, a reason for which no row of the run left, an id that none of them has (the nearest name stands
            beside it); an output of another kind.

    Example:
        >>> toolkit.rejects("outputs/small", "few", limit=0)["counts"]
        [{'step': 'few', 'outcome': 'set_aside', 'reason': 'not_selected', 'rows': 9}]
    """
    return Rejects(rejected_rows(run, step, reason=reason, ids=ids, limit=limit, output=output))


def overlaps(
    files: Places = (),
    *,
    benchmarks: str | Sequence[str] | Mapping[str, Places | None] | None = None,
    sources: Mapping[str, Places | None] | None = None,
    rows: Mapping[str, str | Path] | None = None,
    ngram: int = 13,
    output: str | Path | None = None,
) -> Overlaps:
    """What some sets of rows share, pair by pair, and what each holds twice.

    Args:
        files: folders and files that hold benchmarks under their usual names.
        benchmarks: names, ``all``, or by name their files (None: of `files`, else of the hub); None: those that `files` holds.
        sources: sources by name with their files (None: bundled files or the hub).
        rows: by a name of your own, the folder of a step, or a file or folder of parquet or JSON Lines with the columns prompt, perhaps response,
            context, id, label_<task>.
        ngram: words of a run that two texts share.
        output: parquet or CSV file for the rows themselves: kind, set, row, other, other_row, run.

    Returns:
        ``sets``: for each its name, kind, rows, unread (rows that could not be read), inputs and prompts (different ones), duplicates (rows whose
        input came before), conflicts (inputs whose rows have different labels). ``pairs``: for each two sets a and b the different inputs and
        prompts that both have, and ngram_a, ngram_b: rows of each with an n-gram of the other. ``without``: benchmarks that `files` lacks,
        ``ngram``, ``output``.

    Raises:
        InputError: no row in any set, a set or file that is not there, or no column prompt in it.
        Missing: a benchmark or source can be read neither from files nor from the hub.

    Example:
        >>> found = toolkit.overlaps(rows={"seeds": "outputs/small/seeds", "few": "outputs/small/few"})
        >>> found["pairs"][0]["inputs"]
        11
    """
    return Overlaps(find_overlaps(benchmarks, files, sources or {}, rows or {}, ngram=ngram, output=output))
