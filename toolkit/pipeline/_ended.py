"""Whether the rounds of a plan end before their time, as its finished steps have it.

That is known once a round's hard rows are found. The plan is then that of the recipe without the rest of the loop (`Recipe.with_end`): a run goes on
with it, and whoever looks at a run's folder beforehand looks at it through that (`settled`). It follows from the manifests alone, so that a run that
was killed comes to the same; ``run.json`` has it for those who look at the folder without a plan.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from toolkit.common.errors import InputError
from toolkit.pipeline._fingerprints import prospect
from toolkit.pipeline._finished import StepFolder
from toolkit.pipeline._planned import Plan
from toolkit.pipeline._rounds import Ended, Loop, kept_end, round_id
from toolkit.pipeline._selection import Selection

Made = Callable[[str], StepFolder | None]
"""Gives for a finished step its folder."""


def settled(plan: Plan, folder: Path, anew: Collection[str] = ()) -> Plan:
    """The plan as far as a run's folder says where its rounds end.

    Args:
        plan: the checked recipe.
        folder: of the run; it need not exist.
        anew: steps that will be built whatever is there.

    Raises:
        InputError: all that is to run is of rounds that are not run.
    """
    loop = plan.recipe.loop
    if loop is None:
        return plan
    done = {s: f for s, f in prospect(plan, folder).done.items() if s not in anew}
    for step, number in loop.mined.items():
        if step not in plan.steps:  # not looked at: as the last run left it
            kept = kept_end(folder)
            return with_end(plan, kept) if kept is not None and kept.round >= number else plan
        if step not in done:
            return plan
        if (ended := _ends(loop, number, done.get)) is not None:
            return with_end(plan, ended)
    return plan


def after_step(plan: Plan, step: str, made: Made) -> Plan:
    """The plan to go on with, now that a step is built or found up to date: itself, or one whose rounds end otherwise."""
    loop = plan.recipe.loop
    number = loop.mined.get(step) if loop is not None else None
    if loop is None or number is None:
        return plan
    ended = _ends(loop, number, made)
    expected = loop.ended if loop.ended is not None and loop.ended.round == number else None
    return plan if ended == expected else with_end(plan, ended)


def with_end(plan: Plan, ended: Ended | None) -> Plan:
    """The plan of the recipe whose rounds end so.

    Raises:
        InputError: all that is to run is of rounds that are not run.
    """
    whole = plan.whole or plan
    loop, recipe = whole.recipe.loop, whole.recipe.with_end(ended)
    if loop is None or recipe is whole.recipe or plan.again is None:
        return whole
    there = {s.id for s in recipe.steps}
    chosen = [s for s in whole.chosen if s in there]
    if not chosen and ended is not None:
        first = next(iter(whole.chosen))
        raise InputError(f"the step {first!r} is not run: the rounds end before it", hint=ended.why)
    cut = plan.again(recipe, select=Selection(only=chosen))
    cut.whole = whole
    for name, step in cut.steps.items():
        if name not in loop.after and name in whole.steps:  # it is what it was: a file of its that has changed since is an error when it is built
            cut.steps[name] = replace(whole.steps[name], consumers=step.consumers)
    return cut


def _ends(loop: Loop, number: int, made: Made) -> Ended | None:
    now, before = (made(round_id(loop.hard, n)) if n else None for n in (number, number - 1))
    return loop.ends(number, _hard(now), None if before is None else _hard(before)) if now is not None else None


def _hard(done: StepFolder) -> int:
    return int(done.manifest["counts"][-1]["kept"])
