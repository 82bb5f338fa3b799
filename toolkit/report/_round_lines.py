"""What the rounds of a run came to: a line for each, from the manifests of its steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from toolkit.pipeline import round_id

if TYPE_CHECKING:
    from toolkit.pipeline import Loop

Stats = Mapping[str, Mapping[str, Any]]
"""By step the figures of its manifest, and ``kept`` rows; steps that are not finished are not there."""


def rounds_run(loop: Loop, stats: Stats) -> dict[str, Any]:
    """The rounds of a run.

    Args:
        loop: of its recipe, as far as it is known where it ends.
        stats: of its finished steps.

    Returns:
        ``model`` and ``start`` (ids), ``times``, ``ended`` (the round in which the loop ended before its time) and ``why`` (else None), ``skipped``
        (ids of the steps that are not run for that), ``rounds``: for each ``round``, ``state`` (trained; mined: its hard rows were found, and either
        it is not trained yet or the loop ended with them; not built; skipped), ``guard`` (the step whose model it began with), ``hard`` (rows),
        ``hard_by_task``, ``pairs``, ``tokens`` (written in its draws, those from the journal too) and ``f1`` (by task, in percent, of the guard that
        it trained), each None where it is not known.
    """
    return {
        "model": loop.model,
        "start": loop.start,
        "times": loop.spec.times,
        "ended": loop.ended.round if loop.ended is not None else None,
        "why": loop.ended.why if loop.ended is not None else None,
        "skipped": loop.skipped(),
        "rounds": [_line(loop, number, stats) for number in range(1, loop.spec.times + 1)],
    }


def _line(loop: Loop, number: int, stats: Stats) -> dict[str, Any]:
    ids = loop.ids(number)
    made = {s: stats[at] for s in ids if (at := round_id(s, number)) in stats}
    hard = made.get(loop.hard, {})
    pairs = [sum(s["pairs_by_task"].values()) for s in made.values() if "pairs_by_task" in s]
    tokens = [used["completion_tokens"] for s, of in made.items() if s in loop.path for used in of.get("usage", {}).values()]
    return {
        "round": number,
        "state": "trained" if loop.model in made else "mined" if loop.hard in made else "not built" if ids else "skipped",
        "guard": loop.start if number == 1 else round_id(loop.model, number - 1),
        "hard": hard.get("kept"),
        "hard_by_task": hard.get("hard_by_task"),
        "pairs": sum(pairs) if pairs else None,
        "tokens": sum(tokens) if tokens else None,
        "f1": dict(_f1(loop, made.get(loop.score, {}))) or None if loop.score is not None else None,
    }


def _f1(loop: Loop, scores: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """By task the F1 of the guard that a round trained; of benchmarks their mean, weighted by the rows scored."""
    by_id = {s.id: s for s in loop.written}
    given = [s.inputs for s in loop.written if s.id in loop.scoring]
    names = [name for inputs in given if isinstance(inputs, dict) for name, source in inputs.items() if source == loop.model]
    titles = by_id[loop.score].options.get("names") if loop.score is not None else None
    guards = {titles.get(n, n) if isinstance(titles, dict) else n for n in names}
    means = [m for m in scores.get("means") or () if m.get("mean") == "weighted" and m.get("task") is not None]
    lines = [(m["policy"], m["task"], m["model"], m["f1"]) for m in means] or [
        (None, s["task"], s["guard"], s["f1"]) for s in scores.get("scores") or () if "benchmark" not in s
    ]
    for policy, task, guard, f1 in lines:
        if guard in guards and policy == lines[0][0] and f1 is not None:
            yield task, f1
