"""The certificate of no regression: a guard before and after a change."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from toolkit.api._compare import named_folder
from toolkit.api._results import Certificate
from toolkit.common.errors import InputError, TooManyFailures, did_you_mean
from toolkit.common.outputs import check_output
from toolkit.common.paths import at_door
from toolkit.common.several import several
from toolkit.evaluation import MARGIN, Asked, Certified, certificate, check_policies, open_sides
from toolkit.pipeline import Progress, stopping
from toolkit.report import write_certificate

SUFFIXES = {".txt": "table", ".md": "markdown", ".tex": "latex", ".json": "json"}
"""Formats by the end of a file's name."""
FAIL_ON = ("never", "fail", "unless_pass")
"""When a certificate is an error."""


def certify(
    *evaluations: str | Path,
    models: str | Sequence[str] = (),
    margin: float = MARGIN,
    rises: str | Sequence[str] = (),
    look_alikes: str | Sequence[str] = (),
    policy: str = "clean",
    combine: Literal["majority", "mean"] | None = None,
    across: bool = False,
    draws: int = 10_000,
    seed: int = 0,
    fail_on: Literal["never", "fail", "unless_pass"] = "never",
    output: str | Path | None = None,
    progress: Progress | None = None,
) -> Certificate:
    """Whether a guard got worse anywhere: F1 and the false-positive rate before and after, on the same rows, of every benchmark and category, of
    refusals, and of benign rows that look harmful; one verdict a line and one on the whole (docs/coverage.md says what it claims).

    Args:
        evaluations: the guard before and the guard after: folders of evaluations (`toolkit.evaluate`), each perhaps as ``NAME=FOLDER``; or one folder
            that has both.
        models: of several models the two that are meant, before and after.
        margin: points of F1, and of the false-positive rate, that it may not get worse by.
        rises: categories or benchmarks whose F1 is to have risen, the new ones; refusals need not be found better there.
        look_alikes: benchmarks whose benign rows look harmful, beside those that an evaluation has so, and benign rows that carry a category.
        policy: how a verdict that could not be read counts: clean, drop, fail-closed.
        combine: how several draws become one verdict: majority or mean; default: as in the evaluations.
        across: also what was measured otherwise (another reading, another sampling).
        draws: of the bootstrap behind the bounds.
        seed: likewise.
        fail_on: raise `TooManyFailures`, after the output is written, where the verdict is ``fail``, or anything but ``pass``.
        output: file for it: .json, .md, .tex or .txt.
        progress: where progress is shown; default nowhere.

    Returns:
        ``verdict`` (pass, fail, too few rows), ``words``, ``lines`` (area, name, task, figure, claim, n, before, after, difference, low, high, p,
        p_worse, verdict, rows that would tell, words), ``before``, ``after``, ``margin``, ``level``, ``power``, ``policy``, ``apart`` (what could not
        be compared), ``lacking`` and ``notes``. It prints as tables.

    Raises:
        InputError: no evaluation there, not two models, no row of both, an unknown name, an output that cannot be written.
        TooManyFailures: see `fail_on`.

    Example:
        >>> done = toolkit.evaluate(predictions={"anna": "anna.jsonl", "berta": "berta.jsonl"}, task="prompt", output="outputs/judged")
        >>> found = toolkit.certify("outputs/judged", margin=5)
        >>> found.verdict, [(line["figure"], line["verdict"]) for line in found.lines]
        ('too few rows', [('f1', 'too few rows'), ('fpr', 'too few rows')])
    """
    _check(evaluations, margin, draws, fail_on)
    (policy,) = check_policies([policy])
    given = [named_folder(text) for text in evaluations]
    target = None if output is None else at_door(output)
    if target is not None:
        check_output(target, reads=[folder for _, folder in given], suffixes=SUFFIXES)
    shown, done = progress or Progress.silent(), 0

    def step(words: str) -> None:
        nonlocal done
        shown.update(done, None, words)
        done += 1

    with stopping(), shown:
        shown.start("certify")
        asked = Asked(policy=policy, k=combine, draws=draws, seed=seed, across=across)
        wanted = Certified(float(margin), tuple(several(rises)), tuple(several(look_alikes)))
        found = Certificate(certificate(_two(open_sides(given, several(models)), several(models)), asked, wanted, step))
    if target is not None:
        write_certificate(found, target, SUFFIXES[target.suffix])
    if fails(found["verdict"], fail_on):
        raise TooManyFailures(found["words"], hint=None if target is None else f"written: {output}")
    return found


def _check(evaluations: Sequence[str | Path], margin: float, draws: int, fail_on: str) -> None:
    """Refuse arguments that cannot be (InputError)."""
    if not evaluations:
        raise InputError("nothing to certify", hint="name the evaluations before and after (guardkit evaluate --output FOLDER)")
    if not isinstance(margin, int | float) or not 0 < margin < 100:
        raise InputError(f"margin is a number of points above 0 and below 100, not {margin}")
    if not isinstance(draws, int) or draws < 1000:
        raise InputError(f"draws is a number from 1000, not {draws}")
    if fail_on not in FAIL_ON:
        raise InputError(f"no fail_on {fail_on!r}", hint=did_you_mean(str(fail_on), FAIL_ON))


def fails(verdict: str, fail_on: str) -> bool:
    """Whether a verdict is an error."""
    return fail_on != "never" and (verdict == "fail" or (fail_on == "unless_pass" and verdict != "pass"))


def _two(sides: list[Any], models: Sequence[str]) -> list[Any]:
    """The sides, in the order in which models were named."""
    at = {name: i for i, name in reversed(list(enumerate(models)))}
    return sorted(sides, key=lambda s: at.get(s.name, at.get(s.model, 0))) if models else sides
