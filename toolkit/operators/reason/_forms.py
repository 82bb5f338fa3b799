"""Whether a teacher takes the schema of its answers, where JSON is tried (``structured: try``).

Contract: what is found out is in the journal, as failures ``no_schema`` are served from it, and is found in the same way by every run; so a run
that has all its answers asks nothing.

- The first question to the first teacher asks for JSON until one row has heard ``no_schema``: then those that are made from now on ask for text. A
  run that is resumed hears it before it makes them, as the row that heard it comes before them.
- Later questions come in no fixed order. A row that has not itself heard from the teacher whether it takes a schema waits for one small question that
  is nobody's and all rows share (`PROBE` of `_path`). Where that fails for another reason, JSON is asked for.

A teacher is expected to treat all questions alike: of one that does not, answers may be asked for again by a later run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from toolkit.generation import Completion
from toolkit.operators.reason._path import Ask, Turn


class Forms:
    """What this run has heard."""

    def __init__(self) -> None:
        self._text = False  # the first teacher has refused schemas
        self._probed: dict[int, bool] = {}

    def first(self, ask: Ask) -> Ask:
        """The first question to the first teacher."""
        return replace(ask, schema=ask.schema and not self._text)

    def refused(self, ask: Ask) -> None:
        """A row is to be asked for text, as its teacher has answered ``no_schema``."""
        self._text |= ask.teacher == 0

    def probed(self, ask: Ask, completion: Completion) -> None:
        """What came of the small question to a teacher."""
        self._probed[ask.teacher] = completion.error != "no_schema"

    def takes(self, ask: Ask, turns: Sequence[Turn]) -> bool | None:
        """Whether a teacher that a row comes to takes a schema, by what the row or the small question has heard; None where neither has."""
        own = [t for t in turns if t.ask.teacher == ask.teacher and (not t.ask.schema or t.completion.error is None)]
        return own[-1].ask.schema if own else self._probed.get(ask.teacher)
