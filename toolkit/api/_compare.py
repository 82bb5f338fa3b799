"""Guards held against each other, and against what was published of others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from toolkit.api._results import Compared
from toolkit.common.errors import InputError, did_you_mean
from toolkit.common.outputs import check_output
from toolkit.common.paths import at_door
from toolkit.common.several import several
from toolkit.evaluation import Asked, check_policies, choose_published, compare_sides, open_sides
from toolkit.evaluation import published_spread as spread_of
from toolkit.pipeline import Progress, stopping
from toolkit.report import COMPARE_FORMATS, Lines, comparison_text, spread_text, write_comparison

if TYPE_CHECKING:
    from toolkit.evaluation import PublishedFigure

SUFFIXES = {".txt": "table", ".md": "markdown", ".markdown": "markdown", ".tex": "latex", ".csv": "csv", ".json": "json"}
"""Formats by the end of a file's name."""
Form = Literal["table", "markdown", "latex", "csv", "json"]


def compare(
    *evaluations: str | Path,
    models: str | Sequence[str] = (),
    policy: str = "clean",
    combine: Literal["majority", "mean"] | None = None,
    published: bool | str | Sequence[str] = False,
    errors: int = 3,
    every_pair: bool = False,
    across: bool = False,
    draws: int = 10_000,
    seed: int = 0,
    output: str | Path | None = None,
    form: Form | None = None,
    progress: Progress | None = None,
) -> Compared:
    """Hold guards against each other on the rows that they were evaluated on.

    Everything is computed from the rows of the evaluations. Figures are set side by side, and subtracted, only where their cohorts agree: rows,
    policy, reading of labels, sampling; else the reason is given. Rows are joined by benchmark, task and id; what a model lacks is counted.

    Args:
        evaluations: folders of evaluations (`toolkit.evaluate`), each perhaps as ``NAME=FOLDER``; the first model is what the others are compared
            with. One folder may hold several models.
        models: only these.
        policy: how a verdict that could not be read counts: clean, drop, fail-closed, reference.
        combine: how several draws become one verdict: majority or mean; default: as in the evaluations.
        published: published figures beside: all, or those of sources and models by name (`published`).
        errors: rows of each kind of error to show with their texts.
        every_pair: compare each two models, not each with the first alone.
        across: differences also where cohorts do not agree, with the reason.
        draws: of the bootstrap.
        seed: likewise.
        output: file for the comparison: .md, .tex, .csv, .json, .txt, or any with `form`.
        form: of that file.
        progress: where progress is shown; default nowhere.

    Returns:
        ``verdicts`` (for each task whether a model is better, worse or not distinguishable, with interval and corrected p, and as `words`), ``lines``
        (figures that agree side by side), ``means``, ``costs``, ``differences`` (of each benchmark), ``apart`` (what is not compared, and why),
        ``lacking`` (rows), ``breakdown`` (by category and source), ``errors`` (rows that both or one got wrong), ``published``, ``notes``. It
        prints as tables; ``as_text("markdown")`` gives them.

    Raises:
        InputError: no evaluation there, a damaged one, one model alone, no row in common, an unknown name or an output that cannot be written.

    Example:
        >>> done = toolkit.evaluate(predictions={"anna": "anna.jsonl", "berta": "berta.jsonl"}, task="prompt", output="outputs/judged")
        >>> found = toolkit.compare("outputs/judged")
        >>> [(v["b"], v["outcome"], v["a"]) for v in found.verdicts]
        [('berta', 'not distinguishable', 'anna')]
    """
    if not evaluations:
        raise InputError("nothing to compare", hint="name the folders of evaluations (guardkit evaluate --output FOLDER)")
    for name, number, least in (("errors", errors, 0), ("draws", draws, 100)):
        if not isinstance(number, int) or number < least:
            raise InputError(f"{name} is a number from {least}, not {number}")
    (policy,) = check_policies([policy])
    given = [named_folder(text) for text in evaluations]
    target, form = _target(output, form)
    if target is not None:
        check_output(target, reads=[folder for _, folder in given])
    wanted = _figures(published)
    shown = progress or Progress.silent()
    done = 0

    def step(words: str) -> None:
        nonlocal done
        shown.update(done, None, words)
        done += 1

    with stopping(), shown:
        shown.start("compare")
        sides = open_sides(given, several(models))
        asked = Asked(policy=policy, k=combine, draws=draws, seed=seed, errors=errors, every_pair=every_pair, across=across, published=wanted)
        found = Compared(compare_sides(sides, asked, step))
    if target is not None:
        write_comparison(found, target, form)
    return found


def published(*names: str, spread: bool = False) -> Lines:
    """Published figures of guards, or how far they agree.

    Args:
        names: sources or models, as they are written there; none: all.
        spread: the cells that were published more than once, the widest first.

    Returns:
        A line for each figure: ``source``, ``model``, ``task``, ``benchmark`` or ``mean``, ``metric``, ``value`` and what is known of how it was
        measured. With `spread` a line for each model, benchmark, task, metric and reading: ``figures``, ``low``, ``high``, ``spread`` in points,
        ``why``.

    Raises:
        InputError: no source or model of that name.

    Example:
        >>> own = toolkit.published("GuardReasoner 8B")
        >>> {line["source"]: line["value"] for line in own if line["benchmark"] == "toxic_chat"}
        {'guardreasoner': 78.79, 'guardreasoner_vl': 79.43}
    """
    found = choose_published(names)
    return Lines(spread_of(found) if spread else map(_line, found))


def write_spread(output: str | Path, form: Form | None, *names: str) -> None:
    """`published` with `spread` into a file, as `compare` writes."""
    target, form = _target(output, form)
    if target is not None:
        write_comparison(published(*names, spread=True), target, form)


def as_text(found: Compared | Lines, form: str = "table", width: int | None = None) -> str:
    """A comparison, or a spread, as text."""
    return spread_text(found, form, width) if isinstance(found, Lines) else comparison_text(found, form, width)


def _line(f: PublishedFigure) -> dict[str, Any]:
    known = f.cohort.model_dump(exclude={"rows", "published"})
    fields = {n: getattr(f, n) for n in ("source", "model", "task", "benchmark", "mean", "metric", "value")}
    return fields | known | {"where": f.where, "note": f.note}


def _figures(wanted: bool | str | Sequence[str]) -> list[PublishedFigure]:
    if wanted is False:
        return []
    return choose_published(() if wanted is True else several(wanted))


def named_folder(text: str | Path) -> tuple[str | None, Path]:
    """A folder, or a name and a folder; what is there as it is written is a folder."""
    if not isinstance(text, str | Path):
        hint = "evaluate(…, output=FOLDER) writes one; several are given one after the other: compare(A, B)"
        raise InputError(f"the folder of an evaluation is a text or a Path, not {type(text).__name__}", hint=hint)
    name, eq, folder = str(text).partition("=")
    if isinstance(text, Path) or not eq or at_door(text).exists():
        return None, at_door(text)
    if not name or not folder:
        raise InputError(f"{text!r} is not of the form NAME=FOLDER")
    return name, at_door(folder)


def _target(output: str | Path | None, form: Form | None) -> tuple[Path | None, Form]:
    """The file that is meant, and its format."""
    if form is not None and form not in COMPARE_FORMATS:
        raise InputError(f"no format {form!r}", hint=did_you_mean(form, COMPARE_FORMATS))
    if output is None:
        return None, form or "table"
    found: Any = form or SUFFIXES.get(Path(output).suffix.lower())
    if found is None:
        raise InputError(f"the output must end in {', '.join(SUFFIXES)}, or its format be named", where=str(output))
    return at_door(output), found
