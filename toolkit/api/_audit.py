"""Whether a guard's reasoning matters: its verdict before and along the chain, with other chains, and beside a twin without reasoning."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.api._audit_run import AuditOptions, audited
from toolkit.api._evaluate_plan import Places
from toolkit.api._results import Audited
from toolkit.pipeline import Progress


def audit(
    model: str | Path | Mapping[str, Any],
    rows: Any = None,
    *,
    twin: str | Path | Mapping[str, Any] | None = None,
    benchmarks: str | Sequence[str] | Mapping[str, Places | None] | None = None,
    data: Places = (),
    task: str | Sequence[str] | None = None,
    guard: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    draws: int = 4,
    temperature: float = 1.0,
    forced: bool = True,
    limit: int | None = None,
    seed: int = 0,
    bootstrap: int = 1000,
    work: str | Path | None = None,
    allow: str | Collection[str] = (),
    output: str | Path | None = None,
    progress: Progress | None = None,
) -> Audited:
    """Ask whether a guard's reasoning does anything to its verdict. Answers go through the journal: what was asked before is not asked again.

    The guard is asked about each row; then it has to answer without a chain, behind each step of its own chain, and behind the chains of other rows,
    and the probabilities of its labels are compared with the verdict that it wrote (docs/audit.md says what that can show).

    Args:
        model: a guard's folder, which is run by transformers, or a backend as recipes declare it.
        rows: one row, several, or a table of polars, pandas, pyarrow or datasets; a row has `prompt` and may have `response`, `context`, `id` and
            ``label_<task>``. Instead of it:
        twin: a guard without reasoning on the same rows (`render_sft` with ``reasoning: false``), to be compared with.
        benchmarks, data, columns: which rows, as for `toolkit.evaluate`.
        task: only these tasks; of rows of your own in files, what their labels are for.
        guard: definition by name or file; default: what a local model was trained for, else GuardReasoner's.
        draws: how often each row's chain is drawn again; 0: not at all.
        temperature: of these draws.
        forced: ask for the labels behind given beginnings, which transformers and vllm can. Without, draws and steps that contradict the verdict.
        limit: rows of each benchmark, at most, drawn by `seed`.
        seed: of that, of the swaps of chains, and of the bootstrap.
        bootstrap: draws behind each interval that has no formula.
        work: folder for the journal (``WORK/journal``); default: the workspace.
        allow: what a backend may do beyond the rows, by name: see `toolkit.common.reach`.
        output: file for the table that the figures are made from, `toolkit.evaluation.CHAINS` (.parquet, .jsonl or .csv).
        progress: where progress is shown; default nowhere.

    Returns:
        ``model``, ``guard``, ``tasks``, ``chains`` (rows, how many have a chain, mean steps, and why the others have none), ``stages``, ``settled``,
        ``flips`` (`toolkit.evaluation.chain_stages`, …), ``contradictions`` (outputs whose steps conclude another label than the answer, by task),
        ``early`` (F1, AUROC and recall at equal false-positive rates without the chain and behind it), ``twin`` (the same of guard and twin; None
        without one), ``notes`` and ``spent``. It prints as tables.

    Raises:
        InputError: rows, a task, a guard, a twin or an output that cannot be; a guard without reasoning, or a model that wrote none; a backend that
            gives no log-probabilities of a given text.
        Missing, Stopped: an extra; interrupted: every answer is kept.

    Example:
        Where `url` is the base URL of an OpenAI-compatible server, ``http://127.0.0.1:8000/v1`` say, whose model writes no chain:

        >>> backend = {"backend": "openai", "model": "m", "base_url": url}
        >>> toolkit.audit(backend, {"prompt": "How do I bake bread?"}, forced=False)
        Traceback (most recent call last):
        toolkit.common.errors.InputError: none of m's 1 outputs has a chain of reasoning to audit: no_verdict 1 (first ...)...
    """
    how = AuditOptions(guard, columns, draws, temperature, forced, limit, seed, bootstrap, work, allow, output, progress or Progress.silent())
    return audited(model, rows, twin, benchmarks, data, task, how)
