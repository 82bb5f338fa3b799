"""Which steps are done: fingerprints, and what lies in a run's folder.

A step's fingerprint covers its own identity (`PlannedStep.identity`) and its inputs. An input counts by its fingerprint; one that samples
or trains counts by what it made as well, so that a retrained guard is another input and one that came out the same is not.

A step is up to date when its manifest has the fingerprint and its files lie there, none of them touched since the manifest was written (or with the
sha256 that it states all the same): a look at their times, so that a run over finished steps is quick. Before anything is built on a step its
files are read whole (`reusable`).
"""

from __future__ import annotations

from collections.abc import Callable, Container
from pathlib import Path

from toolkit.common.errors import InputError, short_path
from toolkit.common.files import digest
from toolkit.pipeline._finished import BLOCK, StepFolder
from toolkit.pipeline._plan import Plan, PlannedStep
from toolkit.pipeline._store import STEP


class Fingerprints:
    """Fingerprints of a plan's steps as far as they are known: what hangs on a step that is not built is None.

    Args:
        plan: the checked recipe.
        made: gives for a step that is built and up to date its folder, else None.
    """

    def __init__(self, plan: Plan, made: Callable[[str], StepFolder | None]) -> None:
        self._plan = plan
        self._made = made
        self._known: dict[str, str] = {}

    def of(self, step: str) -> str | None:
        """Fingerprint of a step, or None while an input that it hangs on is not built."""
        unknown: set[str] = set()
        waiting = [step]
        while waiting:  # no recursion: a chain of steps may be long
            one = self._plan.steps[waiting[-1]]
            if before := [s for s in one.inputs.values() if s not in self._known and s not in unknown]:
                waiting += before
                continue
            waiting.pop()
            inputs = {name: self._identity(source) for name, source in one.inputs.items()}
            if None in inputs.values():
                unknown.add(one.id)
            elif one.id not in self._known:
                self._known[one.id] = digest({**one.identity, "inputs": inputs})
        return self._known.get(step)

    def _identity(self, step: str) -> str | None:
        """What a later step counts this one by."""
        own = self._known.get(step)
        if own is None or self._plan.steps[step].operator.deterministic:
            return own
        made = self._made(step)
        return None if made is None else digest([own, made.digest()])


def up_to_date(final: Path, fingerprint: str | None, block: int = BLOCK, *, again: bool = True) -> StepFolder | None:
    """The finished step at `final` if it has this fingerprint, its files are there, and no generation of it is to be asked again (`again`: unless
    it is not this run that would ask)."""
    if fingerprint is None:
        return None
    try:
        done = StepFolder.open(final, block)
    except InputError:
        return None
    fits = done.manifest.get("fingerprint") == fingerprint and done.step == final.name and not (again and done.retry) and done.intact()
    return done if fits else None


def damage(final: Path, fingerprint: str | None) -> str | None:
    """What is wrong with a step that would be up to date but for its files; None where nothing is, or it would not."""
    try:
        done = StepFolder.open(final)
    except InputError:
        return None
    if done.manifest["fingerprint"] != fingerprint or done.step != final.name or done.retry:
        return None
    faults = done.faults()
    more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
    return f"{(faults[0].where or '').removeprefix(short_path(final) + '/')}: {faults[0].message}{more}" if faults else None


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


def finished(plan: Plan, folder: Path, damaged: Container[str] = ()) -> dict[str, StepFolder]:
    """For each step that a run in this folder would reuse, the folder that its rows went to: its own, or that of the last of its group. Of those
    that are not chosen the ones that have a folder.

    Changes nothing; `folder` need not exist.

    Args:
        plan: the checked recipe.
        folder: of the run.
        damaged: ids of steps that cannot be reused.
    """
    out: dict[str, StepFolder] = {}
    prints = Fingerprints(plan, out.get)
    for group in plan.groups:
        last = group[-1].id
        done = None if last in damaged else up_to_date(folder / last, prints.of(last), again=last in plan.chosen)
        if done is not None:
            out |= {step.id: done for step in group}
    return out


def stale(group: list[PlannedStep], folder: Path, prints: Fingerprints) -> list[Path]:
    """Folders of steps inside a group, built when another step read them, that no longer are what the recipe would make. A folder that is no
    step's is in nobody's way here."""
    paths = [(folder / step.id, prints.of(step.id)) for step in group[:-1]]
    return [p for p, fingerprint in paths if STEP.wrote(p) is not None and up_to_date(p, fingerprint) is None]
