"""The terms of rewards, each a pure function of numbers or of one output. docs/rewards.md has where each comes from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from toolkit.guards import Guard, parse


def well_formed(guard: Guard, output: str | None, *, response: bool = True) -> bool:
    """Whether an output has the guard's form: what opens and closes its reasoning is there once, and it ends with its one answers block, in which
    every task has a label or the missing word. Of a guard that is read by a grammar: whether every task can be read.

    Args:
        guard: the definition.
        output: what was written.
        response: whether the row has a response; tasks about one need no answer without.

    Example:
        >>> guard = toolkit.load_guard("guardreasoner")
        >>> answers = "Answers: \\nRequest: harmful\\nCompletion: None\\nResponse: None"
        >>> toolkit.rewards.well_formed(guard, answers), toolkit.rewards.well_formed(guard, answers + " Or not.")
        (True, False)
    """
    found = parse(guard, output, "strict")
    if guard.grammar is None:
        return not found.problems
    asked = [t.name for t in guard.tasks if response or t.applies == "always"]
    return not found.problems and all(found.labels[name] is not None or found.reasons[name] == "none" for name in asked)


def closeness(label: str, verdict: str | None, labels: Sequence[str]) -> float:
    """How near a verdict is to the label on an ordinal scale: 1 for the label itself, 0 for the other end or no verdict, evenly between.

    Args:
        label: the right one.
        verdict: that of the guard; None where there is none.
        labels: all of them, from least to most severe.

    Raises:
        ValueError: the label, or the verdict, is none of them.

    Example:
        >>> toolkit.rewards.closeness("mild", "grave", ["none", "mild", "grave"])
        0.5
    """
    at = labels.index(label)
    return 0.0 if verdict is None else 1 - abs(at - labels.index(verdict)) / (len(labels) - 1)


def mean_accuracy(right: Mapping[str, float], weights: Mapping[str, float] | None = None) -> float | None:
    """The mean over the tasks of which the label is known, in [0, 1]; None where none is.

    Args:
        right: by such task how right its verdict is, in [0, 1].
        weights: of tasks; one that is not named has none. Default: each alike. They are taken relative to those of the tasks that are there.

    Example:
        >>> right = {"prompt": 1.0, "response": 0.0}
        >>> toolkit.rewards.mean_accuracy(right), toolkit.rewards.mean_accuracy(right, {"prompt": 3, "response": 1})
        (0.5, 0.75)
    """
    shares = {task: 1.0 if weights is None else weights.get(task, 0.0) for task in right}
    whole = sum(shares.values())
    return sum(share * right[task] for task, share in shares.items()) / whole if whole else None


def mixture(well_formed: bool, accuracy: float, *, form: float = 0.1, right: float = 0.9) -> float:
    """A reward for the form alone, and one for the accuracy behind it: ``form + right * accuracy`` for a sound form, else 0 (RSafe: 0.1 and 0.9).

    Example:
        >>> toolkit.rewards.mixture(True, 1.0), toolkit.rewards.mixture(True, 0.0), toolkit.rewards.mixture(False, 1.0)
        (1.0, 0.1, 0.0)
    """
    return form + right * accuracy if well_formed else 0.0


def length_aware(base: float, share: float, *, most: float = 1.0, floor: float = 0.01) -> float:
    """``(base - 1) / min(share, most) ** 2``: nothing to gain by length where all is right; a wrong answer costs less the longer it is, up to a share
    of `most` (GuardReasoner-VL, equations 8 to 10; `most` is its beta, 1 and, for Eco, 1/6).

    Args:
        base: in [0, 1]; 1 where all is right.
        share: length by the length that counts as whole (`normalised`), from 0.
        most: the share from which on length changes nothing, above 0 and at most 1.
        floor: smallest share: the formula has no bound as the share goes to 0.

    Example:
        >>> [round(toolkit.rewards.length_aware(base, 0.5), 6) + 0 for base in (1.0, 0.5, 0.0)]
        [0.0, -2.0, -4.0]
    """
    return (base - 1) / min(max(share, floor), most) ** 2


def conciseness(length: float, *, weight: float = 0.4, free: float = 250, scale: float = 250) -> float:
    """What a long answer costs: ``-weight * tanh(max(0, (length - free) / scale))`` (GuardReasoner-Omni v2, which applies it to right answers).

    Example:
        >>> toolkit.rewards.conciseness(250), round(toolkit.rewards.conciseness(500), 6)
        (-0.0, -0.304638)
    """
    return -weight * math.tanh(max(0.0, (length - free) / scale))


def exploration(length: float, *, weight: float = 0.2, scale: float = 300) -> float:
    """What a long answer earns that is not yet right: ``weight * tanh(length / scale)`` (GuardReasoner-Omni v1).

    Example:
        >>> round(toolkit.rewards.exploration(300), 6)
        0.152319
    """
    return weight * math.tanh(length / scale)
