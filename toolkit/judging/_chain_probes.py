"""Which beginnings a guard is made to answer behind: none, its own chain up to each step, and the whole chains of other rows.

A chain is swapped with that of another row of the same kind (with a response, or without) by the verdict on a task: with one of the same verdict,
and with one of another. Donors are drawn by a seed and the rows' ids, not by their order. Of the same verdict it is a permutation without a fixed
point: the rows in a drawn order, each with the chain of the next. Of another verdict the drawn order of those rows is gone through, from its
beginning again where they are fewer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.guards import Chain, Guard, chain_of
from toolkit.judging._forced_answers import answered_tasks

BEFORE, STEP, SAME, OTHER = PROBES = ("before", "step", "same", "other")
"""Kinds of beginnings: none; the row's own chain up to a step; a chain of another row with the same verdict, with another verdict."""
NO_CHAIN, NO_VERDICT = "no_chain", "no_verdict"
"""Why a row has no beginnings: its output has no step; no verdict of a task was read."""


@dataclass(frozen=True)
class Probe:
    """A beginning of an output about a row.

    Attributes:
        row: the row's id.
        kind: of `PROBES`.
        begun: the text.
        opened: whether the row's own output opens its reasoning by itself; see `toolkit.guards.Chain`.
        step: of the own chain, how many steps are there; of another one, all of them.
        steps: how many the row's own chain has.
        task: of another row's chain, by whose verdict it was chosen.
        donor: then the id of that row.
    """

    row: str
    kind: str
    begun: str
    opened: bool
    step: int
    steps: int
    task: str | None = None
    donor: str | None = None


def chain_probes(
    guard: Guard, rows: Iterable[Mapping[str, Any]], *, tasks: Sequence[str] | None = None, swaps: bool = True, seed: int = 0
) -> tuple[list[Probe], dict[str, str]]:
    """The beginnings for some rows of one guard.

    Args:
        guard: one that guardkit trains.
        rows: one line a row: `id`, `response` (None where there is none), `output` and ``verdict_<task>``, as read from it.
        tasks: by whose verdicts chains are swapped; None: all.
        swaps: whether they are swapped at all.
        seed: of the swaps.

    Returns:
        The beginnings, those of a row together; and why there are none, by row.

    Example:
        >>> from toolkit.judging import chain_probes
        >>> output = "# Task 1\\n\\n## Reasoning Step 1\\nA recipe.\\n\\nAnswers: \\nRequest: unharmful\\nCompletion: None\\nResponse: None"
        >>> row = {"id": "r1", "response": None, "output": output, "verdict_prompt": "unharmful"}
        >>> probes, left = chain_probes(toolkit.load_guard("guardreasoner"), [row, {**row, "id": "r2", "output": "Request: unharmful"}])
        >>> [(p.row, p.kind, p.step) for p in probes], left
        ([('r1', 'before', 0), ('r1', 'step', 1)], {'r2': 'no_chain'})
    """
    wanted = guard.task_names if tasks is None else tuple(tasks)
    chains: dict[str, Chain] = {}
    kept: list[Mapping[str, Any]] = []
    left: dict[str, str] = {}
    for row in rows:
        if all(row.get(f"verdict_{t}") is None for t in wanted):
            left[row["id"]] = NO_VERDICT
        elif (chain := chain_of(guard, row["output"])) is None:
            left[row["id"]] = NO_CHAIN
        else:
            chains[row["id"]] = chain
            kept.append(row)
    donors = {task: _donors(guard, kept, task, seed) for task in wanted} if swaps else {}
    out = []
    for row in kept:
        chain = chains[row["id"]]
        same = {"row": row["id"], "opened": chain.opened, "steps": chain.steps}
        out.append(Probe(kind=BEFORE, begun="", step=0, **same))
        out += [Probe(kind=STEP, begun=chain.prefix(n), step=n, **same) for n in range(1, chain.steps + 1)]
        for task, of_row in donors.items():
            for kind, donor in of_row.get(row["id"], {}).items():
                other = chains[donor]
                out.append(Probe(kind=kind, begun=other.text, step=other.steps, task=task, donor=donor, **same))
    return out, left


def _donors(guard: Guard, rows: Sequence[Mapping[str, Any]], task: str, seed: int) -> dict[str, dict[str, str]]:
    """By row and kind the row whose chain it gets."""
    groups: dict[tuple[bool, str], list[str]] = {}
    for row in rows:
        verdict = row.get(f"verdict_{task}")
        if verdict is not None and task in answered_tasks(guard, row):
            groups.setdefault((row.get("response") is not None, verdict), []).append(row["id"])

    def drawn(ids: Iterable[str]) -> list[str]:
        return sorted(ids, key=lambda i: hashlib.sha256(f"{seed}:{task}:{i}".encode()).digest())

    out: dict[str, dict[str, str]] = {}
    for (answered, label), ids in groups.items():
        order = drawn(ids)
        others = drawn(i for (of, other), some in groups.items() if of == answered and other != label for i in some)
        for n, one in enumerate(order):
            found = {SAME: order[(n + 1) % len(order)]} if len(order) > 1 else {}
            out[one] = found | ({OTHER: others[n % len(others)]} if others else {})
    return out
