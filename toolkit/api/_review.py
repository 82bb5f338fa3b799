"""People decide on doubtful labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.reviewing import Kind, Review, Tool, bring, open_review, send


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
        team: all who will review, so that each has a share from the beginning. Others join when they begin.
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
        nobody has adjudicated, ``adjudicated``, ``gone`` (decisions about labels that are not in the queue any more), ``stale`` (about a label that
        has changed since), ``notes``.

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


def send_review(review: Review, folder: str | Path, tool: Tool) -> list[str]:
    """Write the labels of a review that are not decided yet as files of Argilla or Label Studio, for people who work there.

    Args:
        review: of `review`.
        folder: in which each task gets a folder: ``settings.json`` and ``records.json`` (argilla), or ``config.xml`` and ``tasks.json``
            (label-studio).
        tool: argilla or label-studio.

    Returns:
        The files.

    Raises:
        InputError: no such tool, or the files cannot be written.

    Example:
        >>> with toolkit.review("outputs/small", step="few", kind="labels", most=4) as found:
        ...     toolkit.send_review(found, "sent", "label-studio")
        ['sent/prompt/config.xml', 'sent/prompt/tasks.json', 'sent/refusal/config.xml', 'sent/refusal/tasks.json', ...]
    """
    return send(review, folder, tool)


def bring_review(review: Review, file: str | Path, tool: Tool, names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Record what people decided in Argilla or Label Studio, each in the log of its reviewer; what is there is not recorded again.

    Args:
        review: of `review`, of the place whose labels were sent.
        file: the tool's export: of Argilla ``dataset.records.to_json``, of Label Studio the format "JSON".
        tool: argilla or label-studio.
        names: reviewers' names by those that the tool has: Argilla's user ids, Label Studio's addresses or ``user-ID``.

    Returns:
        ``file``, ``decisions`` that are new, ``known``, ``gone`` (no such label in the queue), ``stale`` (about a label that has changed since),
        ``passed_over`` (drafts, skipped and discarded ones), ``reviewers``.

    Raises:
        InputError: no such file or tool, not its export; InputErrors: decisions that are none. Nothing is recorded then.
        Busy: somebody reviews under one of the names.

    Example:
        >>> from pathlib import Path
        >>> _ = Path("export.json").write_text("[]")
        >>> with toolkit.review("outputs/small", step="few", kind="labels") as found:
        ...     toolkit.bring_review(found, "export.json", "argilla")["decisions"]
        0
    """
    return bring(review, file, tool, names)
