"""Guards scored on benchmarks: asked through the journal, or what they wrote before read from files."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from toolkit.api._evaluate_plan import Places
from toolkit.api._evaluate_whole import Options, evaluated, unreliable
from toolkit.api._results import Evaluated
from toolkit.common.several import several
from toolkit.pipeline import Progress


def evaluate(
    models: Mapping[str, Any] | None = None,
    *,
    predictions: Mapping[str, Places] | str | Path | None = None,
    benchmarks: str | Sequence[str] | Mapping[str, Places | None] | None = None,
    data: Places = (),
    task: str | Sequence[str] | None = None,
    guard: str | Path | Mapping[str, str | Path] | None = None,
    columns: Mapping[str, str] | None = None,
    policies: str | Sequence[str] = ("clean",),
    draws: int = 1,
    combine: Literal["majority", "mean"] = "majority",
    reading: str | None = None,
    guard_policy: str | Path | Sequence[str] | None = None,
    probabilities: bool = False,
    min_parse_rate: float = 0.5,
    failures: float = 0.0,
    limit: int | None = None,
    seed: int = 0,
    perturb: str | Sequence[str] = (),
    perturb_model: Mapping[str, Any] | None = None,
    look_alikes: str | Sequence[str] = (),
    work: str | Path | None = None,
    budget: float | None = None,
    allow: str | Collection[str] = (),
    output: str | Path | None = None,
    progress: Progress | None = None,
    raise_failures: bool = True,
) -> Evaluated:
    """Score guards on benchmarks, or on rows of your own. Answers go through the journal: another policy or one more benchmark asks for nothing old.

    Args:
        models: those to be asked, by name, as recipes declare backends: ``{"main": {"backend": "transformers", "model": FOLDER}}``; or one backend.
        predictions: what models wrote before, by name: files or folders of JSON Lines, JSON, parquet or CSV, joined to the rows by id or text.
        benchmarks: names, YAML files or ``all``, or by name their files (None: of `data`, else of the hub); default: those that `data` holds.
        data: files and folders with benchmarks under their usual names; or, with a `task` and no benchmarks, rows of your own.
        task: of benchmarks only these tasks; without benchmarks what the labels in the files are for.
        guard: definition by name or file, for all models or by model; default: what a local model was trained for, else GuardReasoner's.
        columns: of predictions and of rows of your own, where their names are not the usual ones (`toolkit.sources.USUAL`): ``{"output": NAME}``.
        policies: how a verdict that could not be read counts: ``clean`` (once, as wrong), ``drop``, ``fail-closed``, ``reference``.
        draws: how often each model is asked about a row.
        combine: how several draws become one verdict: ``majority``, or ``mean`` of the probabilities.
        reading: for labels of which some stand for others: one of the readings that the guards' tasks declare.
        guard_policy: for a guard that is given its policy with the question: a taxonomy, some categories (``guardkit:privacy``, a list), a text file.
        probabilities: ask for log-probabilities, so that there are AUPRC, AUROC, calibration error and thresholds.
        min_parse_rate: share of outputs that must be readable; where fewer are, there are no figures, and it is an error.
        failures: share of generations that may fail without an error; each counts as unread in any case.
        limit: rows of each benchmark, at most, drawn by `seed`.
        seed: of that draw, of the bootstrap and of changes.
        perturb: changes of the rows that keep their labels (`toolkit.evaluation.CHANGES`), kinds of them, or ``all``: the models are asked about the
            changed rows, too, and ``robustness`` says how often their verdicts flip. ``paraphrase`` and ``translation:LANGUAGE`` need a model.
        perturb_model: the model that writes those, as recipes declare backends; no guard. What it costs has the `budget` once more.
        look_alikes: benchmarks whose benign rows look like harmful ones: ``look_alikes`` holds the positive rows of each benchmark against them.
        work: folder for the journal (``WORK/journal``); default: the workspace.
        budget: dollars that may be spent; None for no cap.
        allow: what a backend may do beyond the rows, by name: see `toolkit.common.reach`.
        output: folder for ``evaluation.json`` and ``rows.parquet``; default: none is kept.
        progress: where progress is shown; default nowhere.
        raise_failures: raise `TooManyFailures`, or leave its words in ``too_many``.

    Returns:
        The document, which prints as tables, with ``spent`` (what was asked in this call) and `rows()`, which all figures are computed from.

    Raises:
        InputError: models, benchmarks, files, columns or options that cannot be.
        Missing, Stopped: a benchmark's rows, a key or an extra; interrupted, or the budget is used up: every answer is kept, no folder written.
        TooManyFailures: too few outputs could be read, or too many generations failed; the folder is written.

    Example:
        >>> found = toolkit.evaluate(predictions={"anna": "anna.jsonl", "berta": "berta.jsonl"}, task="prompt")
        >>> [(r["model"], r["n"], r["accuracy"]) for r in found.results]
        [('anna', 2, 50.0), ('berta', 2, 50.0)]
    """
    how = (policies, draws, combine, reading, guard_policy, probabilities, min_parse_rate, failures, limit, seed, work, budget, allow, output)
    options = Options(guard, columns, *how, progress, perturb, perturb_model, look_alikes)
    found = evaluated(models, predictions, benchmarks, data, several(task), options)
    if found.too_many and raise_failures:
        raise unreliable(found)
    return found
