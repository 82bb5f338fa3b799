"""An evaluation's figures as tables for people: at 80 columns, no number cut."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from toolkit.common.tables import Column, table_text
from toolkit.common.text import one_line

_FIGURES = ("n", "F1", "95 %", "prec.", "recall", "unread", "cover")
_IN_NAME = re.compile(r" \((\w+)\)$")
_MEANS = {"weighted": "weighted by rows", "stated": "weighted by the paper's sizes", "macro": "each benchmark alike"}


def evaluation_text(found: Mapping[str, Any], width: int | None = None) -> str:
    """The tables of a document (`toolkit.evaluation`), and notes about them."""
    parts = [*_tables(found, width), *_categories(found, width), *_curves(found, width), *_means(found, width)]
    parts += [*_ordinal(found, width), *_look_alikes(found, width), *_robustness(found, width)]
    notes = [f"Note: {one_line(words)}" for words in (*found["remarks"], *_left(found))]
    if (spent := found.get("spent")) and (spent["asked"] or spent["from_journal"]):
        cost = f", ${spent['cost']:,.4f}" if spent["cost"] else ""
        notes.append(f"Asked: {spent['asked']:,}, from the journal: {spent['from_journal']:,}, failed: {spent['failed']:,}{cost}")
    if found.get("folder"):
        notes.append(f"Everything is in: {one_line(found['folder'])}")
    return "\n\n".join([*parts, "\n".join(notes)] if notes else parts)


def _tables(found: Mapping[str, Any], width: int | None) -> Iterator[str]:
    """A table of each model under the first policy, and one with F1 under each where there are several."""
    policies = found["settings"]["policies"]
    for model in (m["name"] for m in found["models"]):
        mine = [r for r in found["results"] if r["model"] == model and r["policy"] == policies[0]]
        rows = [[r["task"], _title(r), *_cells(r)] for r in sorted(mine, key=lambda r: _order(found, r["task"]))]
        if rows:
            yield table_text(f"{model} ({policies[0]})", _columns(["task", "benchmark"], _FIGURES), rows, width=width, grouped=True, tight=True)
    if any(r["single_class"] and r["judged"] for r in found["results"]):
        yield "* single class: with no other label F1 says nothing of false alarms, and does not exist where no row has the positive one"
    if len(policies) > 1:
        cells: dict[tuple[str, str, str], dict[str, str]] = {}
        for r in found["results"]:
            cells.setdefault((r["benchmark"], r["task"], r["model"]), {"": _title(r), "unread": _count(r["unparsable"])})[r["policy"]] = _figure(
                r["f1"]
            )
        rows = [[of[""], task, model, of["unread"], *(of[p] for p in policies)] for (_, task, model), of in cells.items()]
        yield table_text("F1 by policy", _columns(["benchmark", "task", "model"], ["unread", *policies]), rows, width=width, grouped=True, tight=True)


def _columns(texts: Sequence[str], numbers: Sequence[str]) -> list[Column]:
    return [*(Column(name) for name in texts), *(Column(name, "number") for name in numbers)]


def _cells(r: Mapping[str, Any]) -> list[str]:
    if not r["judged"]:
        return [_count(r["n"]), "not judged", *[""] * 5]
    low, high = r["f1_low"], r["f1_high"]
    interval = "" if low is None or high is None else f"{_short(low)}–{_short(high)}"
    f1 = "withheld" if r["withheld"] else _figure(r["f1"])
    mark = "*" if r["single_class"] and not r["withheld"] and r["f1"] is not None else ""
    return [_count(r["n"]), f1 + mark, interval, _short(r["precision"]), _short(r["recall"]), _count(r["unparsable"]), _short(r["coverage"])]


def _curves(found: Mapping[str, Any], width: int | None) -> Iterator[str]:
    mine = [r for r in found["results"] if r["policy"] == found["settings"]["policies"][0] and r.get("auprc") is not None]
    if mine:
        at = [one["fpr"] for one in mine[0]["recall_at_fpr"] or ()]
        rows = [[_title(r), r["model"], *(_figure(r[n]) for n in ("auprc", "auroc", "ece")), *map(_recall, r["recall_at_fpr"] or ())] for r in mine]
        columns = _columns(["benchmark", "model"], ["AUPRC", "AUROC", "ECE", *(f"at {fpr:g} %" for fpr in at)])
        yield table_text("By the probabilities of labels; recall at a share of false alarms", columns, rows, width=width, grouped=True, tight=True)


def _means(found: Mapping[str, Any], width: int | None) -> Iterator[str]:
    """F1 means of tasks with several benchmarks, and of all tasks."""
    several = {(r["task"]) for r in found["results"] if len({o["benchmark"] for o in found["results"] if o["task"] == r["task"]}) > 1}
    tasks = [t for t in dict.fromkeys(m["task"] for m in found["means"]) if t is not None]
    if not several and len(tasks) < 2:
        return
    lines: dict[tuple[str, str, str], dict[str | None, str]] = {}
    for m in found["means"]:
        mark = "†" if m["left_out"] else ""
        lines.setdefault((m["model"], m["policy"], m["mean"]), {})[m["task"]] = _figure(m["f1"]) + (mark if m["f1"] is not None else "")
    names = [*tasks, *([None] if len(tasks) > 1 else [])]
    shown = [k for k in lines if k[2] != "macro" or len(found["settings"]["policies"]) == 1]
    shown = [k for k in shown if k[2] != "stated" or lines[k] != lines[k[0], k[1], "weighted"]]
    rows = [[model, policy, _MEANS[mean], *(lines[model, policy, mean].get(t, "") for t in names)] for model, policy, mean in shown]
    columns = _columns(["model", "policy", "mean"], [t or "tasks" for t in names])
    yield table_text("Means of F1", columns, rows, width=width, grouped=True, tight=True)
    if any("†" in cell for row in rows for cell in row):
        yield "† without benchmarks that have no F1 or no stated size: `left_out` in the document names them"


def _categories(found: Mapping[str, Any], width: int | None) -> Iterator[str]:
    """Of each benchmark that has categories, and task, F1 and what it is made of by category."""
    mine = found.get("categories") or ()
    for benchmark, task in dict.fromkeys((r["benchmark"], r["task"]) for r in mine):
        these = [r for r in mine if (r["benchmark"], r["task"]) == (benchmark, task)]
        rows = []
        for r in these:
            category = "(no category)" if r["category"] is None else one_line(r["category"])
            rows.append([category, r["model"], _count(r["n"]), _figure(r["f1"]), *map(_short, (r["precision"], r["recall"], r["fpr"]))])
        several = len({r["model"] for r in these}) > 1
        columns = _columns(["category", "model"], ["n", "F1", "prec.", "recall", "FPR"])
        title = f"{one_line(these[0]['title'])}, {task} by category ({these[0]['policy']})"
        yield table_text(title, columns, rows, width=width, grouped=several, tight=True)


def _look_alikes(found: Mapping[str, Any], width: int | None) -> Iterator[str]:
    """For each set of look-alikes and task: the share of them that is called positive, beside recall on each benchmark."""
    mine = [r for r in found.get("look_alikes") or () if r["policy"] == next(p for p in found["settings"]["policies"] if p != "reference")]
    for name, task in dict.fromkeys((r["look_alikes"], r["task"]) for r in mine):
        these = [r for r in mine if (r["look_alikes"], r["task"]) == (name, task)]
        at = next((r["recall_at_fpr"] for r in these if r["recall_at_fpr"]), ())
        rows = []
        for r in these:
            ends = "" if r["fpr"] is None else f"{_short(r['fpr_low'])}–{_short(r['fpr_high'])}"
            fpr = "not judged" if not r["judged"] else "withheld" if r["withheld"] else _figure(r["fpr"])
            curves = [_figure(r["auroc"]), *(map(_recall, r["recall_at_fpr"]) if r["recall_at_fpr"] else [_short(None)] * len(at))] if at else []
            rows.append([_title(r), r["model"], _count(r["n"]), fpr, ends, _figure(r["recall"]), *curves])
        heads = ["rows", "FPR", "95 %", "recall", *(["AUROC", *(f"at {one['fpr']:g} %" for one in at)] if at else [])]
        title = f"False alarms on look-alikes: {one_line(these[0]['look_alikes_title'])}, {task}"
        yield table_text(title, _columns(["benchmark", "model"], heads), rows, width=width, grouped=True, tight=True)


def _ordinal(found: Mapping[str, Any], width: int | None) -> Iterator[str]:
    """For each task on a scale how far verdicts are from labels, and F1 at each cut."""
    for task in dict.fromkeys(r["task"] for r in found.get("ordinal") or ()):
        these = [r for r in found["ordinal"] if r["task"] == task and r["judged"]]
        cuts: list[dict[str, Any]] = next((r["cuts"] for r in these if r["cuts"]), [])
        rows = []
        for r in these:
            f1 = [_figure(c["f1"]) for c in r["cuts"]] or [""] * len(cuts)
            kappa = _short(None) if r["kappa"] is None else f"{r['kappa']:.4f}"
            rows.append([_title(r), r["model"], _count(r["n"]), _count(r["unparsable"]), _figure(r["within_one"]), kappa, *f1])
        heads = ["rows", "unread", "within one", "kappa", *(f"F1 from {c['at_least']}" for c in cuts)]
        if rows:
            yield table_text(f"On the scale: {task}", _columns(["benchmark", "model"], heads), rows, width=width, grouped=True, tight=True)


def _robustness(found: Mapping[str, Any], width: int | None) -> Iterator[str]:
    """For each model and task the changes, each on all benchmarks together, those first after which most verdicts are others, or none."""
    about = found.get("robustness")
    if about is None:
        return
    lines: dict[tuple[str, str], list[list[str]]] = {}
    several = {(r["model"], r["task"]) for r in about["flips"] if r["benchmark"] is None}
    for r in sorted(about["flips"], key=lambda r: -(r["flips"] + r["newly_unread"]) / max(1, r["n"])):
        of = r["model"], r["task"]
        if (r["benchmark"] is None) == (of in several):
            ends = "" if r["flip_rate"] is None else f"{_short(r['flip_low'])}–{_short(r['flip_high'])}"
            cells = [r["change"], _count(r["n"]), _count(r["flips"]), _short(r["flip_rate"]), ends]
            cells += [_count(r[n]) for n in ("to_positive", "to_negative", "newly_unread")]
            lines.setdefault(of, []).append([*cells, _short(r["f1_before"]), _short(r["f1_after"])])
    for (model, task), rows in lines.items():
        positive = next(b["positive"] for b in found["benchmarks"] if b["task"] == task)
        title = f"{model}, {task}: verdicts that flip under changes (to and from {positive})"
        heads = ("rows", "flips", "%", "95 %", "to", "from", "unread", "F1", "then")
        yield table_text(title, _columns(["change"], heads), rows, width=width, tight=True)


def _left(found: Mapping[str, Any]) -> Iterator[str]:
    """How many rows each change leaves out, by reason."""
    rows: dict[str, dict[str, int]] = {}
    for one in (found.get("robustness") or {"left": ()})["left"]:
        of = rows.setdefault(one["reason"], {})
        of[one["change"]] = of.get(one["change"], 0) + one["rows"]
    for reason, changes in rows.items():
        words = "rows that a change leaves as they are" if reason == "unchanged" else f"rows not asked about, {reason}"
        yield f"{words}: {', '.join(f'{change} {n:,}' for change, n in changes.items())}"


def _order(found: Mapping[str, Any], task: str) -> int:
    return list(dict.fromkeys(b["task"] for b in found["benchmarks"])).index(task)


def _title(r: Mapping[str, Any]) -> str:
    """A benchmark's title, without its task where that is beside it."""
    return _IN_NAME.sub(lambda m: "" if m[1] == r["task"] else m[0], r["title"])


def _recall(one: Mapping[str, Any]) -> str:
    return _short(one["recall"])


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _short(value: float | None) -> str:
    return "–" if value is None else "100" if value == 100 else f"{value:.1f}"
