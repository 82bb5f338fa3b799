"""Which steps are done: whether what is in a run's folder is what a plan would make.

A step's fingerprint covers its own identity (`PlannedStep.identity`) and its inputs. An input counts by its fingerprint; one that samples
or trains counts by what it made as well, so that a retrained guard is another input and one that came out the same is not.

A finished step is current in two cases (`Standing`):

- its manifest has the fingerprint; or
- its own identity is what it was, and every input that it read from a folder has the same bytes now as then, however they were made: the rows of a
  step, or what an artefact counts by (`Operator.counts_by`). So a step that was built anew and came out equal leaves what is after it as it is.
  What says how rows were made (``recipe`` in `Operator.uses`) says it of all steps before, and is current by its fingerprint alone.

Both are read off the manifests, which appear with the files that they are about: whatever ends a run, the next one finds the same.

A current step is up to date when its files are there, none of them touched since the manifest was written (or with the
sha256 that it states all the same): a look at their times, so that a run over finished steps is quick. Before anything is built on a step its
files are read whole (`reusable`).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from toolkit.common.errors import InputError, short_path
from toolkit.common.files import digest
from toolkit.pipeline._finished import BLOCK, StepFolder
from toolkit.pipeline._former import former_identity, is_former, reads_of
from toolkit.pipeline._inputs import taken
from toolkit.pipeline._planned import Plan, PlannedStep
from toolkit.pipeline._store import STEP

VERSION = 2
"""Of what a fingerprint covers, as manifests name it; none there: `toolkit.pipeline._former`."""


class Fingerprints:
    """Fingerprints of a plan's steps as far as they are known: what depends on a step that is not built is None.

    Args:
        plan: the checked recipe.
        made: gives for a step that is built and up to date its folder, else None.
        identity: what shapes a step but its inputs.
    """

    def __init__(
        self, plan: Plan, made: Callable[[str], StepFolder | None], identity: Callable[[PlannedStep], dict[str, Any]] = lambda step: step.identity
    ) -> None:
        self._plan = plan
        self._made = made
        self.identity = identity
        self._known: dict[str, str] = {}

    def of(self, step: str) -> str | None:
        """Fingerprint of a step, or None while an input that it depends on is not built."""
        unknown: set[str] = set()
        waiting = [step]
        while waiting:  # no recursion: a chain of steps may be long
            one = self._plan.steps[waiting[-1]]
            if before := [s for s in one.inputs.values() if s not in self._known and s not in unknown]:
                waiting += before
                continue
            waiting.pop()
            inputs = {name: self._counted(source) for name, source in one.inputs.items()}
            if None in inputs.values():
                unknown.add(one.id)
            elif one.id not in self._known:
                self._known[one.id] = digest({**self.identity(one), "inputs": inputs})
        return self._known.get(step)

    def _counted(self, step: str) -> str | None:
        """What a later step counts this one by."""
        own = self._known.get(step)
        if own is None or self._plan.steps[step].operator.deterministic:
            return own
        made = self._made(step)
        return None if made is None else digest([own, made.digest()])


class Standing:
    """Whether finished steps are current; see the module's docstring. Arguments as for `Fingerprints`."""

    def __init__(self, plan: Plan, made: Callable[[str], StepFolder | None]) -> None:
        self._plan, self._made = plan, made
        self._prints = Fingerprints(plan, made)
        self._former = Fingerprints(plan, made, partial(former_identity, plan))
        self._group = {step.id: n for n, group in enumerate(plan.groups) for step in group}

    def fingerprint(self, step: str) -> str | None:
        """As `Fingerprints.of`."""
        return self._prints.of(step)

    def header(self, group: Sequence[PlannedStep]) -> dict[str, Any]:
        """What the manifest of a group that is to be built says of what made it: fingerprint, the steps' identities, what other folders it reads."""
        inside = {step.id for step in group}
        read = {s.id: {name: self._counts(s, name) for name, source in s.inputs.items() if source not in inside} for s in group}
        made_as = {"identity": {s.id: s.identity for s in group}, "inputs": {step: names for step, names in read.items() if names}}
        return {"fingerprint": self.fingerprint(group[-1].id), "fingerprint_version": VERSION, **made_as}

    def by_inputs(self, done: StepFolder) -> bool:
        """Whether a finished step that is current is so because what it reads came out equal, however it was made."""
        return bool(done.manifest["fingerprint"] != self._of_its_time(done).of(done.step))

    def current(self, done: StepFolder) -> bool:
        """Whether a finished step is what the plan would make, all that it reads being built."""
        return self.waits_for(done) == frozenset()

    def waits_for(self, done: StepFolder) -> frozenset[str] | None:
        """The steps, not built yet, on whose bytes it hangs whether a finished step is what the plan would make: none where it is; None where it is
        not in any case."""
        fingerprint = self._of_its_time(done).of(done.step)
        if fingerprint == done.manifest["fingerprint"]:
            return frozenset()
        hangs_on = self._by_inputs(done)
        if hangs_on is None or not any("recipe" in self._plan.steps[s].operator.used() for s in done.manifest["identity"] if s in self._plan.steps):
            return hangs_on
        return hangs_on or None if fingerprint is None and not is_former(done) else None

    def _of_its_time(self, done: StepFolder) -> Fingerprints:
        """Fingerprints as guardkit computed them when a step was made."""
        return self._former if is_former(done) else self._prints

    def _by_inputs(self, done: StepFolder) -> frozenset[str] | None:
        """As `waits_for`, by the bytes of what the step read."""
        made_as, read = done.manifest.get("identity", {}), reads_of(self._plan, done)
        if read is None:
            return None
        identity = self._of_its_time(done).identity
        waiting, seen, unbuilt = [done.step], set[str](), set[str]()
        while waiting:
            step = self._plan.steps.get(waiting.pop())
            if step is None or step.id not in made_as or digest(made_as[step.id]) != digest(identity(step)):
                return None
            seen.add(step.id)
            then = read.get(step.id, {})
            if not then.keys() <= step.inputs.keys():
                return None
            for name, source in step.inputs.items():
                if name not in then:  # it ran in the same group, without a folder
                    waiting += [source] if source not in seen else []
                elif (now := self._counts(step, name)) is not None:
                    if now != then[name]:
                        return None
                elif self._group[source] == self._group[step.id]:  # it will have no folder now
                    return None
                else:
                    unbuilt.add(source)
        return frozenset(unbuilt) if seen == made_as.keys() else None

    def _counts(self, step: PlannedStep, name: str) -> str | None:
        """What an input counts by for a step; None while it is not built."""
        source = step.inputs[name]
        made = self._made(source)
        return taken(self._plan, step, name, made).digest() if isinstance(made, StepFolder) and made.step == source else None


def found(final: Path, block: int = BLOCK, *, again: bool = True) -> StepFolder | None:
    """The finished step at `final`, of which no generation is to be asked again (`again`: unless it is not this run that would ask)."""
    try:
        done = StepFolder.open(final, block)
    except InputError:
        return None
    return done if done.step == final.name and not (again and done.retry) else None


def up_to_date(final: Path, standing: Standing, block: int = BLOCK, *, again: bool = True) -> StepFolder | None:
    """The finished step at `final` if it is current and its files are there, and no generation of it is to be asked again (`again`: as `found`)."""
    done = found(final, block, again=again)
    return done if done is not None and standing.current(done) and done.intact() else None


def damage(final: Path, standing: Standing) -> str | None:
    """What is wrong with a step that would be up to date but for its files; None where nothing is, or it would not."""
    done = found(final)
    if done is None or not standing.current(done):
        return None
    faults = done.faults()
    more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
    return f"{(faults[0].where or '').removeprefix(short_path(final) + '/')}: {faults[0].message}{more}" if faults else None


@dataclass(frozen=True)
class Prospect:
    """What a run in a folder would find.

    Attributes:
        done: for each step that it would reuse, the folder that its rows went to: its own, or that of the last of its group.
        unless: for each other step that would be reused after all if others came out equal, these, in the order of the plan.
    """

    done: dict[str, StepFolder] = field(default_factory=dict)
    unless: dict[str, list[str]] = field(default_factory=dict)

    def state(self, step: str) -> dict[str, Any]:
        """``state``: build, reuse, or unless (built unless all steps in ``unless`` come out equal)."""
        unless = self.unless.get(step, [])
        return {"state": "reuse" if step in self.done else "unless" if unless else "build", "unless": unless}


def prospect(plan: Plan, folder: Path, damaged: Container[str] = ()) -> Prospect:
    """What a run in this folder would find. Changes nothing; `folder` need not exist.

    Args:
        plan: the checked recipe.
        folder: of the run.
        damaged: ids of steps that cannot be reused.
    """
    out = Prospect()
    standing = Standing(plan, out.done.get)
    for group in plan.groups:
        last = group[-1].id
        done = None if last in damaged else found(folder / last, again=last in plan.chosen)
        waits = None if done is None else standing.waits_for(done)
        if done is None or waits is None or not done.intact():
            continue
        for step in group:
            if waits:
                out.unless[step.id] = [s for s in plan.steps if s in waits]
            else:
                out.done[step.id] = done
    return out


def finished(plan: Plan, folder: Path, damaged: Container[str] = ()) -> dict[str, StepFolder]:
    """`Prospect.done`: of the steps that are not chosen those that have a folder."""
    return prospect(plan, folder, damaged).done


def reusable(plan: Plan, folder: Path) -> tuple[dict[str, StepFolder], set[str]]:
    """As `finished`, where every step that one to be built reads has been read whole and is what its manifest says.

    Returns:
        The finished steps, and the ids of those that are left out because they are not what their manifests say.
    """
    damaged, sound = set[str](), set[str]()
    while True:
        done = finished(plan, folder, damaged)
        todo = [s for s in plan.steps.values() if s.id in plan.chosen and s.id not in done]
        read = {done[source].step: done[source] for s in todo for source in s.inputs.values() if source in done}
        unread = [f for step, f in read.items() if step not in sound]
        if not unread:
            return done, damaged
        for one in unread:
            (damaged if one.faults() else sound).add(one.step)


def stale(group: list[PlannedStep], folder: Path, standing: Standing) -> list[Path]:
    """Folders of steps inside a group, built when another step read them, that no longer are what the recipe would make. A folder that is no
    step's is in nobody's way here."""
    paths = [folder / step.id for step in group[:-1]]
    return [p for p in paths if STEP.wrote(p) is not None and up_to_date(p, standing) is None]
