"""An audit's figures as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from toolkit.common.tables import Column, table_text
from toolkit.common.text import one_line

_STAGES = {
    "before": "before the chain",
    "a quarter": "after a quarter",
    "half": "after half",
    "three quarters": "after three quarters",
    "whole": "after all of it",
}
_CHANGES = {
    "whole": "none: read again",
    "removed": "no chain",
    "first step": "cut after the first step",
    "half": "cut after half",
    "all but the last": "cut before the last step",
    "same": "another row's, same verdict",
    "other": "another row's, other verdict",
    "drawn again": "drawn again",
}


def audit_text(found: Mapping[str, Any], width: int | None = None) -> str:
    """The tables of an audit, and notes about them."""
    chains = found["chains"]
    notes = [
        f"{found['model']} as guard {found['guard']}: {chains['with']:,} of {chains['rows']:,} outputs have a chain, of {chains['steps']:g} steps"
    ]
    notes += [f"  left out, {why}: {one['rows']:,}, the first is {one_line(one['first'])}" for why, one in chains["without"].items()]
    parts = ["\n".join(notes), *(part for task in found["tasks"] for part in _task(found, task, width))]
    if (twin := found["twin"]) is not None:
        parts += [*_held(twin["held"], f"{twin['guard']} and its twin without reasoning, {twin['model']}", width)]
    spent = found["spent"]
    last = [f"Note: {one_line(words)}" for words in found["notes"]]
    last.append(f"Asked: {spent['asked']:,}, from the journal: {spent['from_journal']:,}, failed: {spent['failed']:,}")
    return "\n\n".join([*parts, "\n".join(last)])


def _task(found: Mapping[str, Any], task: str, width: int | None) -> Iterator[str]:
    stages = [s for s in found["stages"] if s["task"] == task and s["stage"] in _STAGES]
    if stages:
        rows = [
            [_STAGES[s["stage"]], _number(s["agree"]), _ends(s, "agree"), _number(s["chance"])]
            + [text for name in ("f1", "auroc") for text in (_number(s[name]), _ends(s, name))]
            for s in stages
        ]
        title = f"{task}: the label there ({stages[0]['n']:,} rows, {stages[0]['labelled']:,} with a label)"
        yield _table(title, ["where"], ["as final", "95 %", "chance", "F1", "95 %", "AUROC", "95 %"], rows, width)
    for s in (s for s in found["settled"] if s["task"] == task and s["n"]):
        words = f"Settled before the chain: {_number(s['before'])} % of {s['n']:,} rows ({_ends(s, 'before')})"
        words += f"; on the average after {_number(s['share'])} % of the steps" if s["share"] is not None else ""
        yield words + (f"; {s['never']:,} whose whole chain, read again, gives another label" if s["never"] else "")
    changes = [f for f in found["flips"] if f["task"] == task]
    rows = [[_CHANGES.get(f["change"], f["change"]), f"{f['read']:,}", f"{f['flips']:,}", _number(f["flip_rate"]), _ends(f, "flip")] for f in changes]
    if rows:
        yield _table(f"{task}: verdicts that are others with another chain", ["chain"], ["read", "flips", "%", "95 %"], rows, width)
    for c in (c for c in found["contradictions"] if c["task"] == task):
        rate = f" ({_number(c['rate'])} %, {_number(c['low'])}–{_number(c['high'])})" if c["stated"] else ""
        yield f"{task}: {c['contradict']:,} of {c['stated']:,} chains that conclude a label contradict the verdict{rate}"
    early = [one for one in found["early"] if one["task"] == task]
    yield from _held(early, f"{task}: answering at once, and behind the chain", width)


def _held(lines: Sequence[Mapping[str, Any]], title: str, width: int | None) -> Iterator[str]:
    """Two sides held against each other."""
    if not lines:
        return
    rows = []
    for one in lines:
        name = {"f1": "F1", "auroc": "AUROC"}.get(one["measure"]) or f"recall at {one['fpr']:g} % FPR"
        difference = "–" if one["difference"] is None else f"{one['difference']:+.1f}"
        p = "–" if one["p"] is None else f"{one['p']:.3f}"
        rows.append(
            [one["task"], name, _number(one["value_a"]), _number(one["value_b"]), difference, f"{_number(one['low'])} to {_number(one['high'])}", p]
        )
    yield _table(title, ["task", "figure"], [lines[0]["a"], lines[0]["b"], "difference", "95 %", "p"], rows, width)


def _table(title: str, texts: Sequence[str], numbers: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> str:
    columns = [*(Column(one_line(name)) for name in texts), *(Column(one_line(name), "number") for name in numbers)]
    return table_text(one_line(title), columns, rows, width=width, tight=True)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _ends(one: Mapping[str, Any], name: str) -> str:
    low, high = one[f"{name}_low"], one[f"{name}_high"]
    return "" if low is None or high is None else f"{low:.1f}–{high:.1f}"
