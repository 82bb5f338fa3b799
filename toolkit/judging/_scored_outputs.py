"""Scores of outputs by models: a guard of its own is asked about each output, or about what is in it, and its answer is a number from 0 to 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from toolkit.common.errors import Stopped
from toolkit.common.paths import Beside
from toolkit.guards import Guard, parse
from toolkit.judging._ask import OpenGuard
from toolkit.judging._verdict import Verdict
from toolkit.rewards import Scorer, closeness
from toolkit.training import Grader, ScoreModel, grader_of

if TYPE_CHECKING:
    from types import TracebackType

    from toolkit.generation import Journal, Meter


class OpenScores:
    """Score models, open for questions; a context manager. Each is loaded with the first question and kept until the end.

    Args:
        guard: the definition of the outputs.
        models: by name of the score.
        journal: what it has is not asked.
        meter: counts what is spent, and holds the cap.
        beside: folder that a relative path is also looked up from.
        work: folder of the journal.
        strict: a request that fails ends everything (`Stopped`), as in a training; else such an output has no score.

    Raises:
        InputError, Missing: as `toolkit.training.grader_of` and `OpenGuard`.
    """

    def __init__(
        self,
        guard: Guard,
        models: Mapping[str, ScoreModel],
        *,
        journal: Journal,
        meter: Meter,
        beside: Beside = None,
        work: Path | None = None,
        strict: bool = False,
    ) -> None:
        self._guard, self._models, self._journal, self._meter, self._strict = guard, dict(models), journal, meter, strict
        self._graders = {name: grader_of(guard, name, how, beside) for name, how in models.items()}
        self._open: dict[str, OpenGuard] = {}
        self._stack = ExitStack()
        try:
            for name, how in models.items():
                one = OpenGuard(self._graders[name].guard, how.backend, name=name, beside=beside, work=work)
                self._open[name] = self._stack.enter_context(one)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    @property
    def scorers(self) -> dict[str, Scorer]:
        """By name of a score the function that gives it, as `toolkit.rewards.RewardFunction` takes it."""

        def of(name: str) -> Scorer:
            return lambda rows: self.scores(name, rows)

        return {name: of(name) for name in self._models}

    def scores(self, name: str, lines: Sequence[Mapping[str, Any]]) -> list[float | None]:
        """The score of each output.

        Args:
            name: of the score.
            lines: `output` each, and `prompt`.

        Raises:
            Stopped: the budget is used up; with `strict` also a request that failed.
        """
        how, grader = self._models[name], self._graders[name]
        texts = [line.get("output") if how.of is None else parse(self._guard, line.get("output")).data.get(how.of) for line in lines]
        places = [i for i, text in enumerate(texts) if text]
        alone = grader.task.applies == "always"
        rows = [{"prompt": texts[i]} if alone else {"prompt": lines[i].get("prompt") or "", "response": texts[i]} for i in places]
        found: list[float | None] = [how.absent] * len(lines)
        asked = self._open[name].verdicts(rows, journal=self._journal, meter=self._meter) if rows else ()
        for i, verdict in zip(places, asked, strict=True):
            if verdict.error is not None and self._strict:
                what = f"the model of the score {name!r} gave no answer: {verdict.error}" + (f" ({verdict.detail})" if verdict.detail else "")
                raise Stopped(what, hint="see to the model; the answers that came are in the journal")
            score = _score(verdict, grader)
            found[i] = how.unread if score is None and verdict.error is None else score
        return found


def _score(verdict: Verdict, grader: Grader) -> float | None:
    labels, best = grader.task.labels, grader.best
    if (known := (verdict.probabilities or {}).get(grader.task.name)) is not None:
        return min(1.0, sum(share * closeness(best, label, labels) for label, share in known.items()))
    label = verdict.labels[grader.task.name]
    return None if label is None else closeness(best, label, labels)
