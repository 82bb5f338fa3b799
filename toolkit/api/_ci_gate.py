"""The gate of a CI job: a run held against a baseline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from toolkit.api._results import Gate
from toolkit.common.errors import InputError, TooManyFailures, did_you_mean
from toolkit.common.outputs import check_output
from toolkit.common.paths import at_door
from toolkit.pipeline import Progress, gate_limits, run_gate, stopping
from toolkit.report import write_gate

SUFFIXES = {".txt": "table", ".md": "markdown", ".json": "json", ".xml": "junit"}
"""Formats by the end of a file's name."""
FAIL_ON = ("fail", "unless_pass")


def gate(
    baseline: str | Path,
    run: str | Path,
    *,
    limits: str | Path | Mapping[str, Any] | None = None,
    fail_on: Literal["fail", "unless_pass"] | None = None,
    draws: int = 10_000,
    seed: int = 0,
    output: str | Path | None = None,
    raises: bool = False,
    progress: Progress | None = None,
) -> Gate:
    """Whether a run is worse than a baseline, beyond what its limits and chance allow: guards' F1 and false-positive rates by benchmark and category
    on the rows that both judged, and what steps kept, rejected and found hard, the balance of labels, and numbers of rows (docs/gate.md says how).

    Args:
        baseline: folder of a run, or of an evaluation.
        run: another one of the kind.
        limits: file of limits (YAML), or a dict as in one; default: those of docs/gate.md.
        fail_on: ``fail``, or ``unless_pass``: also where there are too few rows to tell; default: as the limits have it.
        draws: of the bootstrap behind the bounds of guards' figures.
        seed: likewise.
        output: file for it: .json, .md, .txt, or .xml (JUnit).
        raises: raise `TooManyFailures` where the gate is not passed, after the output is written.
        progress: where progress is shown; default nowhere.

    Returns:
        ``verdict`` (pass, fail, too few rows), ``passed`` (whether `fail_on` lets it), ``words``, ``lines`` (figure: f1, fpr, kept, rejected, hard,
        label, rows; of; verdict: pass, fail, too few rows, gone; limit; n_before, n_after: rows; before, after, difference, low, high: percent and
        points, of ``rows`` numbers and percent; p_worse, corrected; words), ``baseline``, ``run``, ``level``, ``limits`` and ``notes``. It prints
        as tables.

    Raises:
        InputError: a folder that is neither, a run that is being built or did not come to its end, no figure that both have, faults of the limits, an
            output that cannot be written.
        TooManyFailures: see `raises`.

    Example:
        >>> done = toolkit.run("small.yaml", output="outputs/small-again")
        >>> found = toolkit.gate("outputs/small", "outputs/small-again", limits={"limits": {"label": 50}})
        >>> found.verdict, found.passed
        ('pass', True)
    """
    if not isinstance(draws, int) or draws < 1000:
        raise InputError(f"draws is a number from 1000, not {draws}")
    if fail_on is not None and fail_on not in FAIL_ON:
        raise InputError(f"no fail_on {fail_on!r}", hint=did_you_mean(str(fail_on), FAIL_ON))
    before, after = at_door(baseline), at_door(run)
    file = at_door(limits) if isinstance(limits, str | Path) else None
    allowed = gate_limits(file or limits)
    if fail_on is not None:
        allowed = allowed.model_copy(update={"fail_on": fail_on})
    target = None if output is None else at_door(output)
    if target is not None:
        check_output(target, reads=[before, after, *([] if file is None else [file])], suffixes=SUFFIXES)
    shown, done = progress or Progress.silent(), 0

    def step(words: str) -> None:
        nonlocal done
        shown.update(done, None, words)
        done += 1

    with stopping(), shown:
        shown.start("gate")
        found = Gate(run_gate(before, after, allowed, draws, seed, step))
    if target is not None:
        write_gate(found, target, SUFFIXES[target.suffix])
    if raises and not found["passed"]:
        raise TooManyFailures(found["words"], hint=None if target is None else f"written: {output}")
    return found
