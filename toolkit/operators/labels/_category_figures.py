"""Votes on a row's harm categories, and what they say against categories that were known: the figures of `assign_categories`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.operators.figures import Cell, Figure, Finished, Table, some, stat

NONE = "none"
"""Stands for a row that falls under no category."""


@dataclass(frozen=True)
class Vote:
    """What several answers about a row come to.

    Attributes:
        categories: those that enough of them name, those that most name first.
        agreement: the smallest share of the answers behind one of these, or the share behind none of them; None where nothing was decided.
        outcome: model, undecided or unread.
    """

    categories: Sequence[str]
    agreement: float | None
    outcome: str


def counted(answers: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """For each category that an answer names, and for `NONE`, the share and number of the answers that do, those of most first."""
    named = Counter(name for answer in answers for name in (answer or [NONE]))
    return [{"category": c, "share": n / len(answers), "n": n} for c, n in sorted(named.items(), key=lambda found: (-found[1], found[0]))]


def voted(answers: Sequence[Sequence[str]], at_least: float) -> Vote:
    """The vote of answers that could be read, each with the categories that it names.

    Args:
        answers: any number.
        at_least: share of them that must name a category.

    Example:
        >>> voted([["privacy"], ["privacy", "cybercrime"], ["privacy"]], 0.5)
        Vote(categories=['privacy'], agreement=1.0, outcome='model')
    """
    if not answers:
        return Vote([], None, "unread")
    enough = [line for line in counted(answers) if line["share"] >= at_least - 1e-9]
    chosen = [line for line in enough if line["category"] != NONE]
    if not enough:
        return Vote([], None, "undecided")
    return Vote([line["category"] for line in chosen], min(line["share"] for line in chosen or enough), "model")


class Confusion:
    """Counts what became of rows, and holds what was assigned against what was known.

    Of a row that is known to fall under some categories, each of these that was assigned counts as found; each that was not counts under every one
    that was assigned in its place (not known of the row), or under `NONE`. A row that is known to be harmless falls under `NONE`.

    Args:
        names: of the taxonomy's categories, in order.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = list(names)
        self._outcomes: Counter[str] = Counter()
        self._assigned: Counter[str] = Counter()
        self._answers = self._unread = self._compared = 0
        self._pairs: dict[str, Counter[str]] = {}
        self._given: Counter[str] = Counter()
        self._both: Counter[str] = Counter()
        self._named: Counter[str] = Counter()

    def unasked(self, outcome: str) -> None:
        """Count a row that nothing was asked about."""
        self._outcomes[outcome] += 1

    def asked(self, answers: int, readable: int) -> None:
        """Count a row's answers."""
        self._answers += answers
        self._unread += answers - readable

    def add(self, given: Sequence[str] | None, vote: Vote) -> None:
        """Count a row.

        Args:
            given: what it is known to fall under; empty for a harmless row; None where that is not known.
            vote: of the answers.
        """
        self._outcomes[vote.outcome if vote.categories or vote.outcome != "model" else NONE] += 1
        self._assigned.update(vote.categories)
        if given is None or vote.outcome != "model":
            return
        self._compared += 1
        known, found = set(given or [NONE]), set(vote.categories or [NONE])
        self._given.update(known)
        self._named.update(found)
        self._both.update(known & found)
        for category in known:
            for other in [category] if category in found else sorted(found - known) or [NONE]:
                self._pairs.setdefault(category, Counter())[other] += 1

    def _order(self, names: Mapping[str, Any]) -> list[str]:
        return [n for n in [*self._names, *sorted(set(names) - {*self._names, NONE}), NONE] if n in names]

    def report(self) -> dict[str, Any]:
        """For a manifest: outcomes, assigned, answers, unread_answers; where rows were compared, compared, confusion (given: {assigned: rows}) and
        scores (a line for each category: given, assigned, both, and precision, recall and F1 in percent; None for one that does not exist)."""
        out: dict[str, Any] = {
            "outcomes": dict(sorted(self._outcomes.items())),
            "assigned": {n: self._assigned[n] for n in self._order(self._assigned)},
            "answers": self._answers,
            "unread_answers": self._unread,
        }
        if self._compared:
            out["compared"] = self._compared
            out["confusion"] = {
                given: {to: pairs[to] for to in self._order(pairs)} for given in self._order(self._pairs) if (pairs := self._pairs[given])
            }
            every = self._order(self._given | self._named)
            out["scores"] = {c: _scores(self._given[c], self._named[c], self._both[c]) for c in every}
        return out


def _scores(given: int, assigned: int, both: int) -> dict[str, Any]:
    return {
        "given": given,
        "assigned": assigned,
        "both": both,
        "precision": _percent(both, assigned),
        "recall": _percent(both, given),
        "f1": _percent(2 * both, given + assigned),
    }


def _percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 2) if whole else None


def _outcomes(step: Finished, figure: Figure, value: Mapping[str, int]) -> Iterator[Table | str]:
    words = {
        "source": "had one",
        "labels": "harmless by their labels, not asked about",
        "model": "given one",
        NONE: "none, by the answers",
        "undecided": "undecided",
        "unread": "without a readable answer",
    }
    yield Table(f"Rows by what became of their category ({step.step})", ("category",), ("rows",), [[words[n], value[n]] for n in words if n in value])
    if unread := step.stats.get("unread_answers"):
        yield f"Answers that could not be read ({step.step}): {unread:,} of {step.stats['answers']:,}"


def _assigned(step: Finished, figure: Figure, value: Mapping[str, int]) -> Iterator[Table]:
    yield Table(f"Rows by the category that the answers gave them ({step.step})", ("category",), ("rows",), [[c, n] for c, n in value.items()])


def _confusion(step: Finished, figure: Figure, value: Mapping[str, Mapping[str, int]]) -> Iterator[Table]:
    rows: list[list[Cell]] = [[given, to, n] for given, found in value.items() for to, n in found.items()]
    title = f"Categories that were known, and what was assigned, on {step.stats['compared']:,} rows ({step.step})"
    yield Table(title, ("known", "assigned"), ("rows",), rows, parts=True)


def _shown_scores(step: Finished, figure: Figure, value: Mapping[str, Mapping[str, Any]]) -> Iterator[Table]:
    names = ("given", "assigned", "both", "precision", "recall", "f1")
    rows: list[list[Cell]] = [[c, *(found[n] for n in names)] for c, found in value.items()]
    yield Table(f"Assigned categories by category ({step.step})", ("category",), ("known", *names[1:3], "precision %", "recall %", "F1 %"), rows)


ASSIGNED = (
    Figure("outcomes", "rows by what became of their category", stat("outcomes"), _outcomes),
    Figure("assigned", "rows by the category that they were given", some("assigned"), _assigned),
    Figure("confusion", "rows by the category that was known and the one that was assigned", some("confusion"), _confusion),
    Figure("scores", "precision, recall and F1 of the assigned categories where some were known", some("scores"), _shown_scores),
)
