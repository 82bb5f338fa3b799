"""Whether a rule can be: what it names is there, and some row can be hard by it and some row not."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import log2
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError, InputErrors, did_you_mean
from toolkit.guards import Guard
from toolkit.mining._measures import measures_of
from toolkit.mining._rule_keys import MISSING, OTHER
from toolkit.mining._tally import TaskVotes

if TYPE_CHECKING:
    from toolkit.mining._rule_condition import Condition
    from toolkit.mining._rule_keys import RuleKeys


def check_rule(rule: RuleKeys, guard: Guard, draws: Mapping[str, int] | None = None, names: Collection[str] = ()) -> list[str]:
    """Hold a rule against a guard and the draws of each model.

    Args:
        rule: a whole one.
        guard: whose tasks it is for.
        draws: for each model how often it is asked about a row, where that is known.
        names: of all models, where these alone are known.

    Raises:
        InputError: a task or model that is not there, a reason that nothing is unread for, a number beyond the draws, no row can be hard or every
            row is (`InputErrors` for several).

    Returns:
        What is odd but can be run, in words.
    """
    faults = [
        InputError(f"the rule {rule.name!r} names the task {t!r}, which the guard {guard.name!r} has not", hint=did_you_mean(t, guard.task_names))
        for t in rule.tasks.order
        if t not in guard.task_names
    ]
    known = dict(draws or {})
    asked = list(known or names)
    for name in dict.fromkeys([*rule.guards.order, *(rule.guards.only or [])]) if asked else ():
        if name not in asked:
            faults.append(InputError(f"the rule {rule.name!r} names the guard {name!r}, which is not asked", hint=did_you_mean(name, asked)))
    faults += _beyond(rule, guard)
    faults += _odd_reasons(rule)
    warnings: list[str] = []
    if not faults and (counted := rule.guard_order(list(known))):
        warnings = _draws_fit(rule, guard, {g: known[g] for g in counted}, faults)
    elif not faults:
        faults += _enough_guards(rule, len(rule.guard_order(asked))) if asked else []
        faults += _however_many(rule, guard)
    if len(faults) > 1:
        raise InputErrors(faults)
    if faults:
        raise faults[0]
    return warnings


def _beyond(rule: RuleKeys, guard: Guard) -> list[InputError]:
    """Faults of numbers that a measure cannot reach, whatever the votes are."""
    most = max(len(guard.task(t).labels) for t in rule.task_order(guard))
    out = []
    for condition in filter(None, (rule.condition, rule.doubt)):
        for name in condition.measures:
            if name in ("entropy", "divergence") and (top := max(condition.bounds(name), default=0)) > log2(most) + 1e-9:
                reach = f"over {most} labels the {name} is {log2(most):.3g} at most"
                out.append(InputError(f"the rule {rule.name!r}: {condition.text!r} reaches to {top:g}, and {reach}", hint=_HINT))
    return out


def _odd_reasons(rule: RuleKeys) -> list[InputError]:
    """Faults of reasons that no verdict has: spelt otherwise, they would count as `other` in silence."""
    from toolkit.evaluation import NOT_JUDGED
    from toolkit.guards import REASONS

    odd = [] if isinstance(rule.unread, str) else [r for r in rule.unread if r not in (OTHER, MISSING, NOT_JUDGED, *REASONS)]
    if not odd:
        return []
    from toolkit.generation import FAILURES

    known = {OTHER, MISSING, NOT_JUDGED, *REASONS, *FAILURES}
    words = "counts outputs as {} that are unread for the reason {!r}, which there is not"
    return [InputError(f"the rule {rule.name!r} {words.format(rule.unread_as(r), r)}", hint=did_you_mean(r, known)) for r in odd if r not in FAILURES]


def _enough_guards(rule: RuleKeys, n: int) -> list[InputError]:
    """The fault of fewer guards than a row must be hard for."""
    if not isinstance(rule.guards.hard_for, int) or rule.guards.hard_for <= n:
        return []
    return [InputError(f"the rule {rule.name!r} wants rows that are hard for {rule.guards.hard_for} guards, and {n} are asked")]


def _however_many(rule: RuleKeys, guard: Guard) -> list[InputError]:
    """The fault of a condition that no row can meet, or every row meets, whatever the number of outputs."""
    condition = rule.condition
    if condition.measures and not _from_counts(rule, guard, condition):
        return []
    top = int(max([0, *(abs(q.plus) for part in condition.parts for c in part for q in (c.left, c.right))]))
    found = [_where_counted(rule, condition, k) for k in sorted({*range(1, 9), top + 1, top + 2, 2 * top + 2}) if k <= _FEW]
    for words, always in (("no row can be {}", not any(map(any, found))), ("every row is {}", all(map(all, found)))):
        if always and top <= _FEW // 2 - 1:
            return [InputError(f"the rule {rule.name!r}: {words.format(repr(condition.text))}, however many outputs there are", hint=_HINT)]
    return []


def _draws_fit(rule: RuleKeys, guard: Guard, draws: Mapping[str, int], faults: list[InputError]) -> list[str]:
    """Hold the conditions against the draws; faults go to `faults`."""
    pooled = rule.guards.count == "pooled"
    whole = {"all guards together": sum(draws.values())} if pooled else dict(draws)
    warnings = []
    faults += _enough_guards(rule, len(draws))
    if "divergence" in rule.measures and len(draws) == 1:
        faults.append(InputError(f"the rule {rule.name!r} looks at the divergence between guards, and one guard is asked", hint=_HINT))
    for what, condition in (("hard", rule.condition), ("suspect", rule.doubt)):
        if condition is None:
            continue
        reach = {who: _reach(rule, guard, condition, k) for who, k in whole.items()}
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


def _reach(rule: RuleKeys, guard: Guard, condition: Condition, k: int) -> tuple[bool, str]:
    """Whether a condition divides the rows of which there are `k` outputs, and if not why, in words."""
    if beyond := [n for n in condition.numbers if n > k]:
        return False, f"{condition.text!r} reaches to {max(beyond)}, and there are {k} outputs"
    if condition.measures and not _from_counts(rule, guard, condition):
        return True, ""
    holds = _where_counted(rule, condition, k)
    if not any(holds):
        return False, f"no row of which there are {k} outputs can be {condition.text!r}"
    if all(holds):
        return False, f"every row of which there are {k} outputs is {condition.text!r}"
    return True, ""


def _where_counted(rule: RuleKeys, condition: Condition, k: int) -> list[bool]:
    """Whether a condition holds, for each way in which `k` outputs can be right, wrong or unread (where it measures, not all of them)."""
    full = rule.unread == "wrong"
    if not condition.measures and k <= _FEW:
        ways = ((r, w) for r in range(k + 1) for w in ([k - r] if full else range(k - r + 1)))
        return [condition.holds_for(r, w, k - r - w, k) for r, w in ways]
    import numpy as np

    right, wrong = (a.ravel() for a in np.meshgrid(np.arange(k + 1, dtype=np.int64), np.arange(k + 1, dtype=np.int64)))
    unread = k - right - wrong
    some = (unread >= 0) & ((unread == 0) | (not full))
    right, wrong, unread = right[some], wrong[some], unread[some]
    if condition.measures:
        voted = right + wrong > 0
        right, wrong, unread = right[voted], wrong[voted], unread[voted]
    measured = _measures_of(right, wrong) if condition.measures else {}
    found: list[bool] = condition.holds(right, wrong, unread, np.full(right.size, k, dtype=np.int64), measured).tolist()
    return found


_FEW = 64
"""Outputs up to which counts are gone through in Python: loading numpy takes longer."""


def _from_counts(rule: RuleKeys, guard: Guard, condition: Condition) -> bool:
    """Whether the measures of a condition follow from how many outputs are right and wrong: with two labels, and all that counts read."""
    two = all(len(guard.task(t).labels) == 2 for t in rule.task_order(guard))
    return two and rule.unread == "left_out" and not rule.complete and "divergence" not in condition.measures


def _measures_of(right: Any, wrong: Any) -> dict[str, Any]:
    """The measures of votes on a task with two labels, by how many of them are right and wrong."""
    import numpy as np

    none = np.zeros_like(right)
    votes = np.stack([right, wrong], axis=-1)[:, None, :]
    return measures_of(TaskVotes(["right", "wrong"], votes, right[:, None], wrong[:, None], none, none))
