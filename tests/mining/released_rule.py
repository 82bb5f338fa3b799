"""GuardReasoner's hard-sample mining once more, for tests: plain Python on texts, written from a description of what the released code does and what the
paper says, not from guardkit's rules. It shares no line with them.

Left out are faults that no one would want: code that does not run, a slice of the instruction by its length, a division by zero where all weights are
equal, prompts without a label that count as one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

FIELDS = {"request": "Request", "response": "Response", "completion": "Completion"}
"""In the released order."""


@dataclass(frozen=True)
class Sample:
    """A row: the words of its three answers (None: it has none), and what each guard wrote about it."""

    id: str
    gold: Mapping[str, str | None]
    outputs: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Found:
    """A hard sample of one guard. `right` and `wrong`: its outputs."""

    id: str
    guard: str
    task: str
    right: tuple[str, ...]
    wrong: tuple[str, ...]
    weight: float = 0.0

    @property
    def raw(self) -> int:
        return len(self.wrong) - len(self.right)

    @property
    def chosen(self) -> str:
        return max(self.right, key=len)

    @property
    def rejected(self) -> str:
        return max(self.wrong, key=len)


def answers(text: str) -> dict[str, str] | None:
    """The first word behind each field; None unless all three are there."""
    found = {task: re.search(rf"{field}:\s*(\w+)", text) for task, field in FIELDS.items()}
    return {t: m.group(1) for t, m in found.items() if m} if all(found.values()) else None


def mixed(sample: Sample, guard: str) -> Found | None:
    """The first task on which a guard's own outputs are a mix."""
    read = [(text, reply) for text in sample.outputs.get(guard, ()) if (reply := answers(text)) is not None]
    for task in FIELDS:
        if sample.gold[task] is None:
            continue
        right = tuple(text for text, reply in read if reply[task] == sample.gold[task])
        wrong = tuple(text for text, reply in read if reply[task] != sample.gold[task])
        if right and wrong:
            return Found(sample.id, guard, task, right, wrong)
    return None


def weighed(found: Sequence[Found], gamma: float = 0.2) -> list[Found]:
    """Weights from 1 - gamma to 1 + gamma over all that are given."""
    raw = [f.raw for f in found]
    spread = max(raw, default=0) - min(raw, default=0)
    return [Found(f.id, f.guard, f.task, f.right, f.wrong, 1 + (f.raw - min(raw)) / spread * 2 * gamma - gamma if spread else 1.0) for f in found]


def released(samples: Sequence[Sample], guards: Sequence[str]) -> list[Found]:
    """A file a guard, weighed by itself; then the files one after another, of rows that several have the first."""
    out: dict[str, Found] = {}
    for guard in guards:
        for found in weighed([f for s in samples if (f := mixed(s, guard)) is not None]):
            out.setdefault(found.id, found)
    return list(out.values())


def paper(samples: Sequence[Sample], guards: Sequence[str], tasks: Sequence[str]) -> list[Found]:
    """The hard sets of all guards put together and weighed once. An output counts on a task if it says one of the task's words there."""
    words = {"request": ("harmful", "unharmful"), "response": ("harmful", "unharmful"), "completion": ("refusal", "compliance")}
    out = []
    for sample in samples:
        for guard in guards:
            for task in tasks:
                found = [(text, m.group(1)) for text in sample.outputs.get(guard, ()) if (m := re.search(rf"{FIELDS[task]}:\s*(\w+)", text))]
                known = [(text, word) for text, word in found if word in words[task]]
                right = tuple(text for text, word in known if word == sample.gold[task])
                wrong = tuple(text for text, word in known if word != sample.gold[task])
                if sample.gold[task] is not None and right and wrong:
                    out.append(Found(sample.id, guard, task, right, wrong))
                    break
    return weighed(out)
