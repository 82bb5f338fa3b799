"""People decide on doubtful labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from toolkit.reviewing import Kind, Review, open_review


def review(
    place: str | Path,
    *,
    step: str | None = None,
    kind: Kind | None = None,
    reviewer: str | None = None,
    team: Sequence[str] = (),
    double: float | None = None,
    seed: int | None = None,
    adjudicate: bool = False,
    most: int = 1000,
    to: str | Path | None = None,
    guard: str | Path | None = None,
    taxonomy: str | Path | None = None,
) -> Review:
    """A queue of doubtful labels for people to decide on: each with what speaks against it, each decision durable at once.

    Args:
        place: a run, a step of one, shards, or files of rows.
        step: of a run; default: the last one that has what `kind` means.
        kind: noise, disputes, blind, categories, flags, rejects or labels (docs/review.md); default: the first of them that there is.
        reviewer: who decides; None: nobody, to look at figures and to export.
        team: all who will review, so that each has a share from the beginning. Who is not named joins when he begins.
        double: share of the labels that two reviewers decide, by `seed` and the row's id alone; the same for all reviewers of a folder (default 0).
        seed: decides which labels two decide, and who (default 0).
        adjudicate: decide what others disagree on.
        most: labels, at most: the most doubtful.
        to: folder of the review; default: beside the place, with ``.review`` after its name.
        guard, taxonomy: whose tasks and categories; default: the recipe's, else guardkit's own.

    Returns:
        A review: ``next()`` (the next label, or None), ``decide(item, decision, note)``, ``skip(item)``, ``undo()``, ``left()``, ``disagreements()``,
        ``export(file)``, ``close()``, and ``figures()``: ``of``, ``step``, ``kind``, ``folder``, ``labels``, ``decided`` (by as many as should),
        ``left``, ``double`` (``share``, ``labels``, ``decided``), ``reviewers`` (``reviewer``, ``decisions``, ``left``), ``agreement`` (for each
        task ``rows`` that two or more decided, ``same``, Krippendorff's ``alpha``, and ``pairs`` with Cohen's ``kappa``), ``disagreements`` that
        nobody has adjudicated, ``adjudicated``, ``gone`` (decisions about labels that are not in the queue any more), ``stale`` (about another label
        than the row has by now), ``notes``.

    Raises:
        InputError: nothing there, a run that is being built, no such step or kind, another share or seed than the review has. `decide`: an unknown
            decision, a label that is gone.
        Busy: somebody reviews under the name already.

    Example:
        >>> with toolkit.review("outputs/small", step="seeds", kind="labels", reviewer="anna") as found:
        ...     item = found.next()
        ...     word = found.decide(item, "keep", note="as the policy says")
        ...     figures = found.figures()
        ...     written = found.export("decisions.csv")
        >>> word == item.label, figures["decided"], written
        (True, 1, {'output': 'decisions.csv', 'lines': 1})
    """
    return open_review(
        place,
        reviewer=reviewer,
        team=team,
        double=double,
        seed=seed,
        adjudicate=adjudicate,
        to=to,
        step=step,
        kind=kind,
        most=most,
        guard=guard,
        taxonomy=taxonomy,
    )
