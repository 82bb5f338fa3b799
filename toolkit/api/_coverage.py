"""What a dataset covers, and what is missing in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from toolkit.api._results import Coverage
from toolkit.common.errors import InputError, require
from toolkit.common.outputs import check_output
from toolkit.common.paths import at_door
from toolkit.common.several import several
from toolkit.pipeline import Progress, WantedRows, find_coverage
from toolkit.report import COVERAGE_SUFFIXES, write_coverage


def coverage(
    place: str | Path,
    *,
    step: str | None = None,
    verdicts: str | Path | None = None,
    taxonomy: str | Path | None = None,
    guard: str | Path | None = None,
    categories: str | Sequence[str] = (),
    languages: str | Sequence[str] = (),
    minimum: int = 20,
    output: str | Path | Sequence[str | Path] = (),
    progress: Progress | None = None,
) -> Coverage:
    """Rows by category, source, label, form, language and style, how hard they are, which categories meet, what is missing, and what to generate
    next.

    Args:
        place: a run, a step of one, a folder of shards, or files of rows (parquet, JSON Lines, CSV) or a folder of them.
        step: of a run the step whose rows are meant; default: the last one whose rows have categories.
        verdicts: of guards on these rows, which say how hard they are: a step of verdicts, the folder of an evaluation, or a parquet file. Default:
            the last such step of the run.
        taxonomy: whose categories should be covered; default: the recipe's, else ``guardkit``.
        guard: whose labels the rows have; default: the recipe's, else ``guardreasoner``.
        categories: only these should be covered.
        languages: each category should be covered in each of these.
        minimum: rows that a category should have of each label and form.
        output: files for it: .json, .md, .txt; .svg for a picture (which needs ``pip install 'guardkit[pictures]'``); .yaml for `steps` as a recipe
            has them.
        progress: where progress is shown; default nowhere.

    Returns:
        ``rows``, ``unread``; ``categories`` (a line for each: rows, harmful, benign, borderline, unlabelled, prompt, refuse, comply, partial,
        response,
        sources, judged, error: percent of verdicts that are wrong), ``cells`` (the same by category, source, label, form, language and style),
        ``together`` (categories that rows have both of), ``assigned`` (given by assigned, where `assign_categories` was run on rows that had some),
        ``gaps`` (``category``, ``what``, ``words``), ``missing`` (cells below the minimum: category, label, form, language, rows, missing), ``steps``
        (these as options of the operator `generate_seeds`), ``notes``. It prints as tables.

    Raises:
        InputError: nothing there, no row, no step of that name with rows, no category of that name, an output of another kind.
        Missing: a picture without its package.

    Example:
        >>> found = toolkit.coverage("outputs/small", step="seeds", minimum=1, categories="violence")
        >>> found.rows, found.gaps[0]["words"]
        (20, 'no refusals in violence')
    """
    if not isinstance(minimum, int) or minimum < 1:
        raise InputError(f"minimum is a number of rows from 1, not {minimum}")
    targets = [at_door(o) for o in several(output)]
    for target in targets:
        check_output(target, reads=[at_door(place)], suffixes=COVERAGE_SUFFIXES)
        if target.suffix == ".svg":
            require("vl_convert", "pictures", "a picture")
    wanted = WantedRows(minimum, tuple(several(categories)), tuple(several(languages)))
    how = {"step": step, "verdicts": verdicts, "taxonomy": taxonomy, "guard": guard}
    found = Coverage(find_coverage(place, **how, wanted=wanted, progress=progress or Progress.silent()))  # type: ignore[arg-type]
    for target in targets:
        write_coverage(found, target)
    return found
