"""Whether a rule can be: what it names is there, and some row can be hard by it and some row not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from toolkit.common.errors import InputError, InputErrors, did_you_mean
from toolkit.guards import Guard

if TYPE_CHECKING:
    from toolkit.mining._rule_condition import Condition
    from toolkit.mining._rule_keys import RuleKeys


def check_rule(rule: RuleKeys, guard: Guard, draws: Mapping[str, int] | None = None) -> list[str]:
    """Hold a rule against a guard and the draws of each model.

    Args:
        rule: a whole one.
        guard: whose tasks it is for.
        draws: for each model how often it is asked about a row, where that is known.

    Raises:
        InputError: a task or model that is not there, a number beyond the draws, no row can be hard or every row is (`InputErrors` for several).

    Returns:
        What is odd but can be run, in words.
    """
    faults = [
        InputError(f"the rule {rule.name!r} names the task {t!r}, which the guard {guard.name!r} has not", hint=did_you_mean(t, guard.task_names))
        for t in rule.tasks.order
        if t not in guard.task_names
    ]
    known = dict(draws or {})
    for name in dict.fromkeys([*rule.guards.order, *(rule.guards.only or [])]) if known else ():
        if name not in known:
            faults.append(InputError(f"the rule {rule.name!r} names the guard {name!r}, which is not asked", hint=did_you_mean(name, known)))
    warnings: list[str] = []
    if not faults and (counted := rule.guard_order(list(known))):
        warnings = _draws_fit(rule, {g: known[g] for g in counted}, faults)
    if len(faults) > 1:
        raise InputErrors(faults)
    if faults:
        raise faults[0]
    return warnings


def _draws_fit(rule: RuleKeys, draws: Mapping[str, int], faults: list[InputError]) -> list[str]:
    """Hold the conditions against the draws; faults go to `faults`."""
    pooled = rule.guards.count == "pooled"
    whole = {"all guards together": sum(draws.values())} if pooled else dict(draws)
    warnings = []
    if isinstance(rule.guards.hard_for, int) and rule.guards.hard_for > len(draws):
        faults.append(InputError(f"the rule {rule.name!r} wants rows that are hard for {rule.guards.hard_for} guards, and {len(draws)} are asked"))
    for what, condition in (("hard", rule.condition), ("suspect", rule.doubt)):
        if condition is None:
            continue
        reach = {who: _reach(rule, condition, k) for who, k in whole.items()}
        limits = {who: words for who, (_, words) in reach.items() if words}
        if what == "hard" and limits and all(who in limits for who in whole):
            faults.append(InputError(f"the rule {rule.name!r}: {next(iter(limits.values()))}", hint=_HINT))
        else:
            warnings += [f"{who}: {words}" for who, words in limits.items()]
    if rule.draws.k is not None and not pooled and (others := {k for k in draws.values() if k != rule.draws.k}):
        here = ", ".join(map(str, sorted(others)))
        warnings.append(f"the rule {rule.name!r} comes from {rule.draws.k} draws of a guard, and here there are {here}")
    if len(set(draws.values())) > 1:
        each = ", ".join(f"{g} {k}" for g, k in draws.items())
        warnings.append(f"guards are not drawn from equally often ({each}): k is each one's own")
    return warnings


_HINT = "draw more often, or change the rule: docs/mining.md has the language"


def _reach(rule: RuleKeys, condition: Condition, k: int) -> tuple[bool, str]:
    """Whether a condition divides the rows of which there are `k` outputs, and if not why, in words."""
    import numpy as np

    if beyond := [n for n in condition.numbers if n > k]:
        return False, f"{condition.text!r} reaches to {max(beyond)}, and there are {k} outputs"
    right, wrong = (a.ravel() for a in np.meshgrid(np.arange(k + 1, dtype=np.int64), np.arange(k + 1, dtype=np.int64)))
    unread = k - right - wrong
    some = (unread >= 0) & ((unread == 0) | (rule.unread != "wrong"))
    holds = condition.holds(right[some], wrong[some], unread[some], np.full(int(some.sum()), k, dtype=np.int64))
    if not holds.any():
        return False, f"no row of which there are {k} outputs can be {condition.text!r}"
    if holds.all():
        return False, f"every row of which there are {k} outputs is {condition.text!r}"
    return True, ""
