"""Hygiene of benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.api._results import Hygiene
from toolkit.pipeline import Progress, find_hygiene

if TYPE_CHECKING:
    from toolkit.pipeline import Places


def hygiene(
    *,
    benchmarks: str | Sequence[str] | Mapping[str, Places | None] | None = None,
    data: Places = (),
    against: Places | Mapping[str, str | Path] = (),
    evaluation: str | Path | None = None,
    ngram: int = 13,
    output: str | Path | None = None,
    progress: Progress | None = None,
) -> Hygiene:
    """What benchmarks hold twice and share, what of them a guard was trained on, and its F1 without such rows.

    Args:
        benchmarks: names, ``all``, or by name their files (None: of `data`, else of the hub); None: those that `data` holds, or that were
            evaluated.
        data: folders and files that hold benchmarks under their usual names.
        against: what a guard was trained on: a folder of shards, a run (each of its steps that wrote shards), a step, or files with the columns
            prompt and perhaps response; several, or by a name of your own.
        evaluation: folder of an evaluation, whose F1 is computed again without the rows that bear a mark.
        ngram: words of a run that a training row and a benchmark's share; a prompt of fewer words is compared whole.
        output: parquet or CSV file for the rows that bear a mark: benchmark, id, duplicate, conflict; with `against` also training, kind, against,
            against_row.
        progress: where progress is shown; default nowhere.

    Returns:
        ``benchmarks``: for each its name, rows, unread, inputs (different ones: earlier messages, prompt, response), duplicates (rows whose
        input came before), conflicts (inputs whose rows have different labels) and prompts (different ones).
        ``pairs``: each two that share something: the inputs and prompts that both have, ngram_a and ngram_b (rows of each with an n-gram of the
        other).
        ``against``: what was compared with, its rows, unread, as_rendered (rows that could not be cut into prompt and response).
        ``contamination``: for each benchmark and training set the rows of the benchmark of which it has the whole interaction, the prompt, an
        n-gram, and all of them (contaminated, share in percent).
        ``scores``: for each benchmark, model and task F1 on all rows, without those of each mark, and on those without any (`n_clean`, `f1_clean`
        with its interval).
        ``without``: benchmarks that `data` lacks. ``ngram``, ``evaluation``, ``output``.

    Raises:
        InputError: no row of any benchmark, a place that is not there or holds no text, rows of the evaluation that the benchmarks lack.
        Missing: a benchmark can be read neither from files nor from the hub.

    Example:
        >>> import json, pathlib
        >>> rows = [{"input": "Human user:\\nHello\\n\\nAI assistant:\\nNone\\n\\n", "output": "unharmful"}] * 2
        >>> _ = pathlib.Path("0_0_SimpleSafetyTests.json").write_text(json.dumps(rows))
        >>> found = toolkit.hygiene(data="0_0_SimpleSafetyTests.json", against="outputs/small")
        >>> found["benchmarks"][0]["duplicates"], found["contamination"][0]["contaminated"]
        (1, 0)
    """
    return Hygiene(find_hygiene(benchmarks, data, against, evaluation, ngram=ngram, output=output, progress=progress or Progress.silent()))
