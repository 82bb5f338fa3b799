"""A rule in plain words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.guards import Guard
from toolkit.mining._rule_keys import OTHER

if TYPE_CHECKING:
    from toolkit.mining._rule_keys import RuleKeys


def explain_rule(rule: RuleKeys, guard: Guard, k: int | None = None, guards: int | None = None) -> str:
    """What a rule says, in sentences.

    Args:
        rule: a whole one.
        guard: whose tasks it is for.
        k: draws of each guard, where that is known.
        guards: how many guards there are, likewise.
    """
    guards = len(rule.guards.only) if rule.guards.only else guards
    together = k if rule.guards.count == "each" or k is None else None if guards is None else k * guards
    return " ".join(s for s in (_hard(rule, together), _outputs(rule), _suspects(rule, together), _units(rule, guard)) if s)


def _whose(rule: RuleKeys, k: int | None) -> str:
    """The outputs that are looked at together, `k` of them."""
    only, many = rule.guards.only, "k" if k is None else str(k)
    if rule.guards.count == "each":
        return f"a guard's {many} outputs" + (f" ({_listed(only, 'or')})" if only else "")
    return f"the {many} outputs of {_listed(only) if only else 'all guards'}" + (" together" if only is None or len(only) > 1 else "")


def _hard(rule: RuleKeys, k: int | None) -> str:
    on = "on a task " if rule.right_on == "task" else ""
    words = f"A row is hard {on}when, of {_whose(rule, k)}, {rule.condition.words(k)}."
    if rule.guards.count == "each":
        enough = {"any": "One guard is enough.", "all": "It must be so for every guard."}
        words += " " + enough.get(str(rule.guards.hard_for), f"It must be so for at least {rule.guards.hard_for} guards.")
    if rule.right_on == "row":
        words += " An output is right if it is right on every task that the row has a label for, and wrong if it is wrong on any of them."
    elif rule.tasks.hard_on == "all":
        words += " Every task that the row has a label for must be hard."
    return words


def _outputs(rule: RuleKeys) -> str:
    given = {OTHER: rule.unread} if isinstance(rule.unread, str) else {OTHER: "left_out", **rule.unread}
    counted = {"wrong": "wrong", "left_out": "neither right nor wrong"}
    words = f"An output that cannot be read counts as {counted[given[OTHER]]}"
    if others := [reason for reason, as_ in given.items() if as_ != given[OTHER]]:
        words += f", but as {counted[given[others[0]]]} if the reason is {_listed(others, 'or')}"
    return words + "." + (" An output counts only if all tasks of it can be read." if rule.complete else "")


def _suspects(rule: RuleKeys, k: int | None) -> str:
    if rule.doubt is None:
        return ""
    return f"Where {rule.doubt.words(k)}, the label is in doubt, and the row is set aside as suspect (as always_wrong where none is right)."


def _units(rule: RuleKeys, guard: Guard) -> str:
    out = []
    if rule.right_on == "task" and rule.tasks.take == "first":
        own = " of each guard" if rule.guards.count == "each" else ""
        out.append(f"Of hard tasks the first{own} counts, in the order {', '.join(rule.task_order(guard))}.")
    if rule.guards.count == "each":
        named = f" (first {', '.join(rule.guards.order)})" if rule.guards.order else ""
        first = f"Of the guards that a row is hard for the first counts, by name{named}." if rule.guards.take == "first" else ""
        out.append(first or "Each guard that a row is hard for is a unit of its own.")
    return " ".join(out)


def _listed(words: list[str], last: str = "and") -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"
