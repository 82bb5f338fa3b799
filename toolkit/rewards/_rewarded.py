"""The rewards of outputs by a formula."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from toolkit.common.errors import InputError
from toolkit.guards import Guard, Parsed, parse, unknown_label
from toolkit.rewards._formula import Formula, Length
from toolkit.rewards._terms import closeness, conciseness, exploration, length_aware, mean_accuracy, mixture, well_formed


@dataclass(frozen=True)
class Output:
    """An output to reward, with what is known of it.

    Attributes:
        text: what the guard wrote; None or blank is an output of no sound form.
        labels: by task the right label; a task without one is not counted.
        length: of the output, in whatever unit its formula's lengths are; None where it is not known.
        group: what outputs about the same row have in common.
        scores: by name what a formula's `scores` weigh, in [0, 1].
        response: whether the row has a response.
    """

    text: str | None
    labels: Mapping[str, str | None]
    length: float | None = None
    group: Hashable = None
    scores: Mapping[str, float | None] = field(default_factory=dict)
    response: bool = True


@dataclass(frozen=True)
class Rewarded:
    """The reward of an output, and its parts.

    Attributes:
        reward: None where `lacks` says what it lacks.
        well_formed: whether its form is sound.
        accuracy: mean over the labelled tasks, in [0, 1], whatever the form.
        right: by labelled task how right its verdict is.
        base: before the length.
        by_length: what the length added to the base.
        lacks: ``label``, ``length`` or ``score NAME``.
    """

    reward: float | None
    well_formed: bool
    accuracy: float | None
    right: Mapping[str, float]
    base: float | None = None
    by_length: float = 0.0
    lacks: str | None = None


def normalised(lengths: Sequence[float | None], groups: Sequence[Hashable], whole: float | str = "group") -> list[float | None]:
    """Lengths as shares of a whole: a number, or the longest of the same group. None where a length is not known; 0 in a group of empty ones.

    Example:
        >>> toolkit.rewards.normalised([100, 50, 30], ["a", "a", "b"])
        [1.0, 0.5, 1.0]
    """
    if whole != "group":
        return [None if n is None else n / float(whole) for n in lengths]
    longest: dict[Hashable, float] = {}
    for n, group in zip(lengths, groups, strict=True):
        longest[group] = max(longest.get(group, 0.0), n or 0.0)
    return [None if n is None else n / longest[g] if longest[g] else 0.0 for n, g in zip(lengths, groups, strict=True)]


def rewarded(guard: Guard, formula: Formula, outputs: Sequence[Output]) -> list[Rewarded]:
    """The reward of each output.

    An output whose form is not sound has a base of 0, whatever else it says; one without a readable verdict of a task is wrong there. What a
    reasoning says decides nothing: answers are read where the guard's form has them.

    Args:
        guard: what is right and what a sound form is, by its definition.
        formula: how the reward is made of that.
        outputs: those that are compared by length (`Length.whole`) together.

    Raises:
        InputError: a label that the guard does not have, a length below 0, a score outside [0, 1]: the output is named by its place.

    Example:
        >>> from toolkit.rewards import Output, load_formula, rewarded
        >>> guard = toolkit.load_guard("guardreasoner")
        >>> text = "Answers: \\nRequest: harmful\\nCompletion: None\\nResponse: None"
        >>> rewarded(guard, load_formula("rsafe"), [Output(text, {"prompt": "unharmful"})])[0].reward
        0.1
    """
    formula.check(guard)
    for number, one in enumerate(outputs):
        _check(guard, one, number)
    length = formula.length
    shares: list[float | None] = [None] * len(outputs)
    if length is not None and length.kind == "aware":
        shares = normalised([o.length for o in outputs], [o.group for o in outputs], length.whole)
    return [_one(guard, formula, one, share) for one, share in zip(outputs, shares, strict=True)]


def _one(guard: Guard, formula: Formula, one: Output, share: float | None) -> Rewarded:
    sound = well_formed(guard, one.text, response=one.response)
    found = parse(guard, one.text, "strict" if sound else "lenient")
    right = _right(guard, formula, one, found)
    accuracy = mean_accuracy(right, formula.tasks)
    if accuracy is None:
        return Rewarded(None, sound, None, right, lacks="label")
    if (lost := next((name for name in formula.scores if sound and one.scores.get(name) is None), None)) is not None:
        return Rewarded(None, sound, accuracy, right, lacks=f"score {lost}")
    base = mixture(sound, accuracy, form=formula.form, right=formula.accuracy)
    base += sum(weight * (one.scores[name] or 0.0) for name, weight in formula.scores.items()) if sound else 0.0
    if formula.length is None:
        return Rewarded(base, sound, accuracy, right, base)
    if one.length is None:
        return Rewarded(None, sound, accuracy, right, base, lacks="length")
    by_length = _by_length(formula.length, sound, accuracy, base, one.length, share or 0.0)
    return Rewarded(base + by_length, sound, accuracy, right, base, by_length)


def _right(guard: Guard, formula: Formula, one: Output, found: Parsed) -> dict[str, float]:
    out = {}
    for task in guard.tasks:
        if (label := one.labels.get(task.name)) is not None:
            verdict = found.labels[task.name]
            out[task.name] = closeness(label, verdict, task.labels) if formula.ordinal else float(verdict == label)
    return out


def _by_length(length: Length, sound: bool, accuracy: float, base: float, n: float, share: float) -> float:
    """What the length adds to the base."""
    if length.kind == "aware":
        return length_aware(base, share, most=length.most, floor=length.floor) - base
    if length.kind == "concise":
        return conciseness(n, weight=length.weight, free=length.free, scale=length.scale) if sound and accuracy == 1 else 0.0
    return exploration(n, weight=length.weight, scale=length.scale) if sound and accuracy < 1 else 0.0


def _check(guard: Guard, one: Output, number: int) -> None:
    for task in guard.tasks:
        if (label := one.labels.get(task.name)) is not None and label not in task.labels:
            raise InputError(unknown_label(str(label), task.labels), where=f"outputs[{number}].label_{task.name}")
    if one.length is not None and not (math.isfinite(one.length) and one.length >= 0):
        raise InputError(f"a length is a number from 0 on, not {one.length}", where=f"outputs[{number}].length")
    for name, score in one.scores.items():
        if score is not None and not 0 <= score <= 1:
            raise InputError(f"a score is a number from 0 to 1, not {score}", where=f"outputs[{number}].score_{name}")
