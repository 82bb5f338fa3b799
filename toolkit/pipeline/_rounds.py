"""Rounds of mining and training: the steps of a loop, written once in a recipe, as the ordinary steps that they come to.

``rounds: 3`` repeats the steps between a guard (`start`) and the guard that is trained from it on what it gets wrong (`model`). Those of the first
round have the ids that the recipe gives them, so that a run without rounds goes on with them; of round n they are called ``ID.n``. In a later round

- a step of the loop that reads `start` reads the model of the round before; all else outside the loop is read by every round;
- the steps between the model and `score` belong to the loop, too, and read `start` where they name it: what they score is held against that.

A step after the loop reads the model, or what scores it, of the last round that was run to its end. It may read no other step of the loop.

The loop ends before its time in a round that finds no hard row, or not enough fewer than the round before (`Loop.ends`). Of that round are run the
step that finds them and what it depends on; the rest of it and later rounds are skipped: the recipe has no such steps then (`Loop.ended`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError, InputErrors, did_you_mean
from toolkit.common.manifests import read_manifest
from toolkit.operators import Operator, operator_class
from toolkit.pipeline._selection import closure, inputs_of, readers
from toolkit.pipeline._spec import Rounds

if TYPE_CHECKING:
    from toolkit.common.yamlfile import YamlFile
    from toolkit.pipeline._step import Step

MODEL = "model"
"""The artefact that a training makes."""


@dataclass(frozen=True)
class Ended:
    """A loop that ended before its time: in which round, of which only the hard rows were looked for, and why."""

    round: int
    why: str


def round_id(step: str, number: int) -> str:
    """The id of a loop's step in a round; the first is 1."""
    return step if number == 1 else f"{step}.{number}"


@dataclass(frozen=True)
class Loop:
    """The loop of a recipe.

    Attributes:
        spec: as the recipe has it.
        written: all steps of the recipe, as written.
        reads: for each of them the steps that it reads.
        model, start, hard: ids as in `Rounds`, whether given or found; `score` likewise, None where nothing is scored.
        ended: None while nothing says that it ends before its time.
    """

    spec: Rounds
    written: Sequence[Step]
    reads: Mapping[str, Sequence[str]]
    model: str
    start: str
    hard: str
    score: str | None
    ended: Ended | None = None

    @cached_property
    def path(self) -> frozenset[str]:
        """The steps from `start` (which is none of them) to the model."""
        return frozenset(_between(self.reads, self.start, self.model))

    @cached_property
    def scoring(self) -> frozenset[str]:
        """The steps from the model (which is none of them) to `score`."""
        return frozenset(_between(self.reads, self.model, self.score)) if self.score is not None else frozenset()

    @property
    def own(self) -> frozenset[str]:
        """All that run in rounds."""
        return self.path | self.scoring

    @cached_property
    def after(self) -> frozenset[str]:
        """Steps outside that depend on the loop."""
        return frozenset(closure(readers(self.reads), self.own)) - self.own

    @cached_property
    def as_written(self) -> dict[str, str]:
        """The steps of all rounds, each with its id as written."""
        return {round_id(s, number): s for number in range(1, self.spec.times + 1) for s in self.own}

    @cached_property
    def mined(self) -> dict[str, int]:
        """The steps that find the hard rows, and of which round each is."""
        return {round_id(self.hard, number): number for number in range(1, self.spec.times + 1)}

    @property
    def whole(self) -> int:
        """Rounds that are run to their end."""
        return self.spec.times if self.ended is None else self.ended.round - 1

    def ids(self, number: int) -> list[str]:
        """The loop's steps in a round, as far as they are run, by their ids as written and in the order of the recipe."""
        if number <= self.whole:
            run: Collection[str] = self.own
        else:
            run = self.path & closure(self.reads, [self.hard]) if self.ended is not None and number == self.ended.round else ()
        return [s.id for s in self.written if s.id in run]

    def skipped(self) -> list[str]:
        """Ids of the steps that are not run as the loop has ended."""
        names, unmade = [s.id for s in self.written if s.id in self.own], self._unmade
        out: list[str] = []
        for number in range(1, self.spec.times + 1):
            run = self.ids(number)
            out += [round_id(s, number) for s in names if s not in run]
        return out + [s.id for s in self.written if s.id in unmade]

    @property
    def _unmade(self) -> Collection[str]:
        """Steps after the loop that read what scores a round, where none was run to its end."""
        return closure(readers(self.reads), self.scoring) - self.scoring if not self.whole else ()

    def steps(self) -> list[Step]:
        """The steps of the recipe with those of all rounds, each after what it reads."""
        explicit = {s.id: self._explicit(s) for s in self.written}
        later = self.after | (self.own - set(self.ids(1)))
        out = [s for name, s in explicit.items() if name not in later]
        for number in range(2, self.spec.times + 1):
            out += [self._of_round(explicit[name], number) for name in self.ids(number)]
        made = self.after - set(self._unmade)
        return out + [self._read(s, self._last) for name, s in explicit.items() if name in made]

    def _explicit(self, step: Step) -> Step:
        """A step that names what it reads: others may come to stand before it."""
        return replace(step, inputs=self.reads[step.id][0]) if step.inputs is None and self.reads[step.id] else step

    def _of_round(self, step: Step, number: int) -> Step:
        """A step of the loop in a later round."""

        def source(name: str) -> str:
            if name in self.own:
                return round_id(name, number)
            return round_id(self.model, number - 1) if name == self.start and step.id in self.path else name

        options = step.options
        if self.spec.draws == "new" and step.id in self.path and (cls := _class(step.use)) is not None:
            options = cls.in_round(options, number)
        return replace(self._read(step, source), id=round_id(step.id, number), options=options)

    def _last(self, name: str) -> str:
        """What a step after the loop reads."""
        if name in self.own:
            return round_id(name, self.whole) if self.whole else self.start
        return name

    @staticmethod
    def _read(step: Step, source: Callable[[str], str]) -> Step:
        """A step that reads what `source` gives for each step that it names."""
        given = step.inputs
        return replace(step, inputs={n: source(s) for n, s in given.items()} if isinstance(given, dict) else given and source(given))

    def ends(self, number: int, hard: int, before: int | None) -> Ended | None:
        """Whether the loop ends in a round.

        Args:
            number: of the round.
            hard: its hard rows, `before` those of the round before (None in the first).
        """
        if not hard:
            return Ended(number, f"round {number} found no hard row")
        fall = self.spec.least_fall
        if before is None or fall is None or (hard < before and hard <= before * (1 - fall)):
            return None
        least = f", and they must be fewer by at least {100 * fall:g} %" if hard < before else ""
        return Ended(number, f"round {number} found {hard:,} hard rows, round {number - 1} {before:,}{least}")

    def words(self) -> list[str]:
        """What it comes to, in sentences."""
        names = [s.id for s in self.written if s.id in self.own]
        more = "" if self.spec.times == 1 else f"; from round 2 on the guard is that of {self.model!r} in the round before, and not {self.start!r}"
        fall = self.spec.least_fall
        fewer = "" if fall is None else ", or no fewer than in the round before" + (f" by at least {100 * fall:g} %" if fall else "")
        then = f"; steps after the loop read {self.model!r} of the last round that was run to its end" if self.after else ""
        return [
            f"rounds: {', '.join(names)} run up to {self.spec.times} time{'s' if self.spec.times > 1 else ''}{more}. "
            f"The loop ends where {self.hard!r} finds no hard row{fewer}{then}."
        ]


def _between(reads: Mapping[str, Sequence[str]], first: str, last: str) -> set[str]:
    """The steps that depend on the first and that the last depends on, itself included."""
    return (closure(readers(reads), [first]) & closure(reads, [last])) - {first}


def _class(use: str) -> type[Operator] | None:
    """An operator's class; None for one that is not there, which is a fault of its step."""
    try:
        return operator_class(use)
    except InputError:
        return None


# From a recipe --------------------------------------------------------------------------------------------------------


def find_loop(given: int | Rounds, steps: Sequence[Step], file: YamlFile, most: int) -> Loop:
    """The loop that a recipe's `rounds` mean.

    Args:
        given: `rounds`.
        steps: as written, each with an id of its own.
        file: of the recipe.
        most: steps that it may have.

    Raises:
        InputErrors: all that is wrong, each with its place.
    """
    spec = given if isinstance(given, Rounds) else Rounds(times=given)
    ids = [s.id for s in steps]
    named = {key: name for key in ("model", "start", "hard", "score") if (name := getattr(spec, key)) is not None}
    if unknown := {key: name for key, name in named.items() if name not in ids}:
        raise InputErrors(InputError(f"no step called {n!r}", where=file.where(("rounds", k)), hint=did_you_mean(n, ids)) for k, n in unknown.items())
    of, reads = {s.id: s for s in steps}, inputs_of(steps)

    def fault(message: str, hint: str, *key: str) -> InputErrors:
        return InputErrors([InputError(message, where=file.where(("rounds", *key)), hint=hint)])

    model = spec.model or _only(fault, "model", "trains on from another step's model", [s.id for s in steps if _takes(s)])
    for key, name in ((MODEL, model), *([("start", spec.start)] if spec.start else [])):
        if (cls := _class(of[name].use)) is not None and MODEL not in cls.makes:
            makers = [s.id for s in steps if (c := _class(s.use)) is not None and MODEL in c.makes]
            raise fault(f"{name!r} ({of[name].use}) trains no model", f"steps that do: {', '.join(makers) or 'none'}", key)
    start = spec.start or _takes(of[model])
    if start is None:
        raise fault(f"{model!r} does not say which step's model it starts from", "name the step of the first round's guard: start: STEP", MODEL)
    path = _between(reads, start, model)
    if start == model or model not in path or start not in reads:
        raise fault(f"{model!r} comes in no way from {start!r}: there is nothing to repeat", "see docs/mining.md, Rounds", "start")
    hard = spec.hard or _only(fault, "hard", f"of {start!r} to {model!r} is a `mine`", [s.id for s in steps if s.id in path and s.use == "mine"])
    if hard not in path or hard == model:
        raise fault(f"{hard!r} does not stand between {start!r} and {model!r}", f"steps that do: {', '.join(s for s in ids if s in path)}", "hard")
    if spec.score is not None and (spec.score == model or spec.score not in closure(readers(reads), [model])):
        raise fault(f"{spec.score!r} does not depend on {model!r}: it cannot score the guard of a round", "name a step after it", "score")
    loop = Loop(spec, steps, reads, model, start, hard, spec.score)
    if faults := [*_read_from_outside(loop), *_names_taken(loop, file, most)]:
        raise InputErrors(faults)
    return loop


def _takes(step: Step) -> str | None:
    """The step whose model this one trains on from; None where it does no such thing."""
    cls = _class(step.use)
    if cls is None or MODEL not in cls.makes or not isinstance(step.inputs, dict):
        return None
    return next((s for n, s in step.inputs.items() if cls.takes.get(n) == MODEL), None)


def _only(fault: Any, key: str, what: str, found: Sequence[str]) -> str:
    """The one step of that kind, where the recipe does not name it (InputErrors: there are none or several)."""
    if len(found) == 1:
        return found[0]
    message = f"no step {what}" if not found else f"more than one step {what}: {', '.join(found)}"
    raise fault(message, f"name it: rounds: {{times: 3, {key}: STEP}}")


def _read_from_outside(loop: Loop) -> Iterator[InputError]:
    """Steps outside that read one of which each round has its own."""
    may = [loop.model, *(s.id for s in loop.written if s.id in loop.scoring)]
    for step in loop.written:
        for name in loop.reads[step.id] if step.id not in loop.own else ():
            if name in loop.path - {loop.model}:
                message = f"{step.id!r} stands outside the rounds and reads {name!r}, of which each round has its own"
                hint = f"outside are read {', '.join(may)}: of the last round; what scores every round is named in rounds: score"
                yield InputError(message, where=step.where("from"), hint=hint)


def _names_taken(loop: Loop, file: YamlFile, most: int) -> Iterator[InputError]:
    """Ids that later rounds need and other steps have, and a recipe of too many steps."""
    times, ids = loop.spec.times, {s.id: s for s in loop.written}
    if (n := len(ids) + (times - 1) * len(loop.own)) > most:
        yield InputError(f"the recipe has {n:,} steps in {times} rounds, at most {most:,}", where=file.where(("rounds",)))
        return
    for name in (round_id(s, n) for n in range(2, times + 1) for s in loop.own):
        if name in ids or len(name) > 100:
            what = f"a later round has a step called {name!r}"
            where = (ids.get(name) or ids[name.rpartition(".")[0]]).where("id")
            yield InputError(f"{what}, as this one is" if name in ids else f"{what}, which is too long", where=where, hint="give this one another id")


# Of a run -------------------------------------------------------------------------------------------------------------


def kept_end(run: Path) -> Ended | None:
    """How the loop of a run ended before its time, as its ``run.json`` has it; None where it has not, or nothing can be read."""
    try:
        match read_manifest(run / "run.json").get("rounds"):
            case {"ended": int(number), "why": str(why)} if number > 0:
                return Ended(number, why)
    except (FileNotFoundError, InputError):
        pass
    return None
