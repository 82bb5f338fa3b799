"""The sections of a run's report, from its folder. Where something cannot be read, a note says so in its place, and the rest is shown."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.common.errors import GuardkitError, InputError, stopped_by
from toolkit.common.locks import is_alive
from toolkit.common.pictures import Picture, Row, bars, grid
from toolkit.common.text import one_line
from toolkit.operators import operator_class
from toolkit.pipeline import StepFolder, WantedRows, find_coverage, inputs_of, kept_recipe, stale, step_folders
from toolkit.report._page_lineage import lineage_picture
from toolkit.report._page_parts import LEFT_OUT, Note, Part, Section, Sheet, Shown, as_bars, behind, bounded, cell, sheet_of
from toolkit.report._page_rows import OUTCOMES, as_example, as_left, examples, kept_rows, left_rows
from toolkit.report._summary import events, summarise

TOPICS = {
    "ingest": ("read", "What was read"),
    "seeds": ("seeds", "Seeds"),
    "clean": ("duplicates", "Duplicates and contamination"),
    "labels": ("labels", "Labels"),
    "choose": ("chosen", "What was chosen"),
    "change": ("changed", "What was changed"),
    "reason": ("reasoning", "Reasoning"),
    "export": ("shards", "Shards"),
    "mining": ("votes", "Votes, hard rows and pairs"),
    "train": ("training", "Training"),
    "judge": ("scores", "Scores and comparisons"),
    "": ("more", "What other operators show"),
}
"""Of operators by the part of `toolkit.operators` that they are in; those of other packages come last."""
_CELLS = 400
"""Lines of the table of labels by category and source."""
_NO_CATEGORY = "(none)"
"""What rows without a category count as (`toolkit.coverage`)."""
_DOWN = 40
"""Categories of the picture of it."""
_SHARDS = "shards/manifest.json"
"""A file of each step that made shards, whatever its operator is called."""


@dataclass(frozen=True)
class Wanted:
    """What a report is to hold.

    Attributes:
        texts: texts of rows; else they are left out.
        samples: rows of each step and of each reason.
        seed: by which they are drawn.
        most: characters of a text.
    """

    texts: bool = True
    samples: int = 3
    seed: int = 0
    most: int = 1500


def sections(folder: Path, wanted: Wanted) -> tuple[dict[str, Any], list[Section]]:
    """The run's summary, and the sections.

    Raises:
        InputError: not the folder of a run, or its recipe or a manifest cannot be read.
    """
    summary = summarise(folder, pictures=True)
    out = [_overview(folder, summary, wanted), _steps(folder, summary)]
    folders = [f for f in step_folders(folder) if f.step in {s["step"] for s in summary["steps"]}]
    old = stale(folders)
    current = sorted((f for f in folders if f.step not in old), key=lambda f: [s["step"] for s in summary["steps"]].index(f.step))
    out += [_left(current, wanted), _covered(folder, summary, wanted), *_topics(summary, wanted), _spent(summary, wanted), _kept(current, wanted)]
    return summary, [s for s in out if s.parts]


# How the run stands ----------------------------------------------------------------------------------------------------


def _overview(folder: Path, summary: Mapping[str, Any], wanted: Wanted) -> Section:
    states = [s["state"] for s in summary["steps"]]
    words = f"{states.count('built')} of {len(states)} steps are built"
    words += f", {states.count('stale')} are stale" if "stale" in states else ""
    parts: list[Part] = [Note(f"Recipe {summary['recipe']}: {words}.")]
    parts += [Note(words, "problem") for words in _standing(folder, states)]
    rows: list[list[Any]] = [[name, value] for name, value in _figures(summary, _with_shards(folder))]
    parts.append(sheet_of("The run at a glance", ("what",), ("number",), rows))
    for note in summary["notes"]:  # what an operator failed with may hold a text
        words = note if wanted.texts or not note.startswith("the figure ") else note.partition(": ")[0]
        parts.append(Note(one_line(bounded(f"Note: {words}", 600)), "aside"))
    return Section("overview", "The run", parts)


def _with_shards(folder: Path) -> dict[str, Mapping[str, Any]]:
    """The statistics of the steps that made shards, by step."""
    return {done.step: done.manifest["stats"] for done in step_folders(folder) if _SHARDS in done.manifest["files"]}


def _figures(summary: Mapping[str, Any], shards: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    for s in summary["steps"]:
        if s["state"] == "built" and s["step"] in shards:
            rows = shards[s["step"]].get("rows", s["kept"])  # of a version that extends another: with the rows of that
            yield f"rows in the shards of {s['step']}", rows
            if rows != s["kept"]:
                yield f"rows that {s['step']} was given", s["kept"]
    by = {(f["step"], f["name"]): f["value"] for f in summary["figures"]}
    for (step, name), value in by.items():
        if name == "pairs" and isinstance(value, Mapping):
            yield f"preference pairs ({step})", sum(value.values())
        if name == "hard" and isinstance(value, Mapping) and "hard" in value:
            yield f"hard rows ({step})", value["hard"]
    asked = summary["generations"]
    if asked:
        yield "answers that models gave", sum(g["asked"] or 0 for g in asked)
        yield "tokens that models wrote", sum(g["completion_tokens"] or 0 for g in asked)
        yield "dollars", round(sum(g["cost"] or 0.0 for g in asked), 4)
    yield "seconds that the steps took", summary["seconds"]


def _standing(folder: Path, states: Sequence[str]) -> Iterator[str]:
    """What is unfinished about a run, and what to do."""
    last: Mapping[str, Any] = {}
    open_: str | None = None
    for event in events(folder):
        if isinstance(event, Mapping) and isinstance(event.get("event"), str):
            last = event
            open_ = str(event["step"]) if event["event"] == "started" and "step" in event else None if event["event"] == "built" else open_
    step = f" in the step {open_!r}" if open_ else ""
    going = last.get("event") not in (None, "done", "stopped") and _goes_on(last)
    if going:
        yield f"The run is being built{step}: this page shows what was finished when it was made. Make it again when the run is done."
    elif open_ is not None:
        how = f" ({stopped_by(str(last['error']))})" if last.get("event") == "stopped" and last.get("error") else ""
        yield f"The run ended{step}{how}, which is not finished: run its recipe again, and it goes on where it stopped."
    elif "not built" in states:
        yield "Some steps are not built: run the recipe again, and it goes on with them."
    if "stale" in states and not going:
        yield "Steps that are stale are not what the recipe makes any more, and are left out below: run the recipe again to make them anew."


def _goes_on(event: Mapping[str, Any]) -> bool:
    """Whether the process that wrote an event is still there, on this machine."""
    return event.get("host") == platform.node() and event.get("pid") != os.getpid() and is_alive(event.get("pid"))


# Rows at each step -----------------------------------------------------------------------------------------------------


def _steps(folder: Path, summary: Mapping[str, Any]) -> Section:
    steps = summary["steps"]
    reads = inputs_of(kept_recipe(folder).steps)
    parts: list[Part] = [drawn(lineage_picture("The steps, and what each reads", steps, reads), "lineage")]
    became = ("kept", "merged", "set aside", "rejected")
    rows = []
    for s in (s for s in steps if s["state"] == "built"):
        counts = {"kept": s["kept"], "merged": s["merged"], "set aside": sum(s["set_aside"].values()), "rejected": sum(s["rejected"].values())}
        rows += [{"step": s["step"], "became": b, "rows": counts[b]} for b in became if counts[b] or b == "kept"]
    if rows:
        parts.append(drawn(bars("What became of the rows, step by step", rows, name="step", number="rows", part="became", order=became), "funnel"))
    lines: list[list[Any]] = []
    for s in steps:
        if s["state"] == "built":
            why = [f"{k} {n:,}" for kind in ("rejected", "set_aside") for k, n in s[kind].items()]
            gone = (sum(s["rejected"].values()), s["merged"], sum(s["set_aside"].values()))
            shown = [n or None for n in (s["in"], s["kept"], *gone)]
            lines.append([s["step"], s["use"], s["state"], ", ".join(why), *shown, s["seconds"]])
        else:
            lines.append([s["step"], s["use"], s["state"], "", *[None] * 6])
    numbers = ("in", "kept", "rejected", "merged", "set aside", "seconds")
    if "rounds" in summary:
        parts += _rounds(summary["rounds"])
    parts.append(sheet_of("Rows at each step", ("step", "operator", "state", "why rows left"), numbers, lines))
    return Section("steps", "Steps and rows", parts)


def _rounds(found: Mapping[str, Any]) -> Iterator[Part]:
    """A line for each round of mining and training."""
    lines = found["rounds"]
    hard, scored = (list(dict.fromkeys(task for line in lines for task in line[name] or {})) for name in ("hard_by_task", "f1"))
    rows: list[list[Any]] = []
    for line in lines:
        by_task = [(line["hard_by_task"] or {}).get(t) for t in hard]
        f1 = [(line["f1"] or {}).get(t) for t in scored]
        rows.append([str(line["round"]), line["state"], line["guard"], line["hard"], *by_task, line["pairs"], line["tokens"], *f1])
    numbers = ("hard", *(f"hard, {t}" for t in hard), "pairs", "tokens drawn", *(f"F1, {t}" for t in scored))
    yield sheet_of(f"Rounds of {found['model']}: hard rows of the guard before, F1 after", ("round", "state", "guard before"), numbers, rows)
    if found["why"]:
        yield Note(one_line(f"The rounds ended before their time: {found['why']}."), "aside")


def _left(folders: Sequence[StepFolder], wanted: Wanted) -> Section:
    """Why rows left, with examples."""
    rows, parts = list[list[Any]](), list[Part]()
    for done in folders:
        others = [f.step for f in folders if f.step != done.step]

        def read(done: StepFolder = done, others: Sequence[str] = others) -> Iterator[Part]:
            for (step, outcome, reason), n, some in left_rows(done, others, wanted.samples, wanted.seed):
                words = OUTCOMES.get(outcome, outcome)
                rows.append([step, words, reason, n])
                if wanted.texts and some:
                    yield examples(f"{step}: {words}, {reason or 'no reason'} ({n:,})", [as_left(line, wanted.most) for line in some])

        parts += _as_far_as(read, done.step)
    if not rows and not parts:
        return Section("left", "Why rows left", [Note("Every row was kept.")])
    table = sheet_of("Rows that were not kept, by reason", ("step", "what became of them", "reason"), ("rows",), rows)
    note = [Note("Texts of rows are left out of this page.", "aside")] if not wanted.texts else []
    return Section("left", "Why rows left", [table, *note, *parts])


def _kept(folders: Sequence[StepFolder], wanted: Wanted) -> Section:
    """Some rows of each step."""
    title = "Rows at random"
    if not wanted.texts:
        return Section("rows", title, [Note("Texts of rows are left out of this page.", "aside")])
    parts: list[Part] = []
    for done in folders:
        if done.stored:

            def read(done: StepFolder = done) -> Iterator[Part]:
                some = kept_rows(done, wanted.samples, wanted.seed)
                yield examples(f"{done.step}: {len(some)} of {done.stored:,} rows kept", [as_example(row, wanted.most) for row in some])

            parts += _as_far_as(read, done.step)
    return Section("rows", title, [Note(f"Drawn with the seed {wanted.seed}: the same rows each time."), *parts] if parts else [])


def _as_far_as(read: Callable[[], Iterator[Part]], what: str) -> Iterator[Part]:
    """Parts of a page; where they cannot be read, that stands there."""
    try:
        yield from read()
    except GuardkitError as e:
        yield Note(one_line(f"{what} is not shown: {e}"), "problem")


# What the rows are -----------------------------------------------------------------------------------------------------


def _covered(folder: Path, summary: Mapping[str, Any], wanted: Wanted) -> Section:
    """Labels by source and category, of the rows that the most shards are of, else of the last step that has categories."""
    made = _with_shards(folder)
    shards = [s for s in summary["steps"] if s["state"] == "built" and s["step"] in made]
    step = max(shards, key=lambda s: int(s["kept"]))["step"] if shards else None
    section = Section("covered", "Labels, sources and categories")

    def read() -> Iterator[Part]:
        from toolkit.pipeline import Progress

        how = {"step": step, "verdicts": None, "taxonomy": None, "guard": None}
        try:
            found = find_coverage(folder, **how, wanted=WantedRows(1, (), ()), progress=Progress.silent())
        except InputError as e:
            yield Note(one_line(f"Labels by category are not counted: {' '.join(e.message.split())}"), "aside")
            return
        yield Note(f"{found['of']}: {found['rows']:,} rows; a row counts in each of its categories.")
        counts: dict[tuple[str, str, str], int] = {}
        for c in found["cells"]:
            at = (str(c["category"]), str(c["source"]), f"{c['label']}, {c['form']}")
            counts[at] = counts.get(at, 0) + c["rows"]
        by_label = _summed(counts, 0, 2)
        some = any(category != _NO_CATEGORY for category, _ in by_label)
        if some:
            shown = sorted({c for c, _ in by_label}, key=lambda c: -sum(n for (d, _), n in by_label.items() if d == c))[:_DOWN]
            rows: list[Row] = [{"category": c, "what": w, "rows": n} for (c, w), n in by_label.items() if c in shown]
            yield drawn(
                grid("Rows by category, label and form", rows, across="what", down="category", number="rows"), "categories", texts=wanted.texts
            )
        by_source = _summed(counts, 1, 2)
        if by_source:
            rows = [{"source": s, "what": w, "rows": n} for (s, w), n in by_source.items()]
            yield drawn(
                grid("Rows by source, label and form", rows[: _DOWN * 8], across="what", down="source", number="rows"), "sources", texts=wanted.texts
            )
        lines: list[list[Any]] = [[*at, n] for at, n in sorted(counts.items(), key=lambda one: -one[1])]
        more = f" (the {_CELLS} largest of {len(lines):,})" if len(lines) > _CELLS else ""
        yield sheet_of(
            f"Rows by category, source and label{more}", ("category", "source", "label and form"), ("rows",), lines[:_CELLS], texts=wanted.texts
        )
        gaps = [str(g["words"]) for g in found["gaps"]]
        if gaps and some and wanted.texts:
            yield Note(bounded("What is missing: " + "; ".join(gaps), 2000))

    section.parts += _as_far_as(read, "what the rows cover")
    return section


def _summed(counts: Mapping[tuple[str, str, str], int], a: int, b: int) -> dict[tuple[str, str], int]:
    out: dict[tuple[str, str], int] = {}
    for at, n in counts.items():
        out[at[a], at[b]] = out.get((at[a], at[b]), 0) + n
    return out


# What the operators show -----------------------------------------------------------------------------------------------


def _topics(summary: Mapping[str, Any], wanted: Wanted) -> Iterator[Section]:
    """What the operators show of their steps: those of one part of guardkit together, in the order of `TOPICS`."""
    found: dict[str, list[Part]] = {}
    for s in (s for s in summary["steps"] if s["state"] == "built"):
        found.setdefault(_topic(s["use"]), []).append(_of_step(s))
    for n, figure in enumerate(summary["figures"]):
        parts = list(_figure(figure, wanted, f"figure-{n}"))
        found.setdefault(_topic(figure["use"]), []).extend(parts)
    for topic, (name, title) in TOPICS.items():
        if parts := found.get(topic, []):
            yield Section(name, title, parts)


def _of_step(line: Mapping[str, Any]) -> Note:
    """What became of a step's rows, in words."""
    gone = {"merged": line["merged"], "set aside": sum(line["set_aside"].values()), "rejected": sum(line["rejected"].values())}
    words = "".join(f", {n:,} {how}" for how, n in gone.items() if n)
    return Note(f"{line['step']} ({line['use']}): {line['in']:,} rows came, {line['kept']:,} kept{words}.", "aside")


def _topic(use: str) -> str:
    try:
        module = operator_class(use).__module__.split(".")
    except InputError:
        return ""
    return module[2] if module[:2] == ["toolkit", "operators"] and len(module) > 2 and module[2] in TOPICS else ""


def _figure(figure: Mapping[str, Any], wanted: Wanted, name: str) -> Iterator[Part]:
    """A figure: its pictures, each with the table behind it, and what people see of it."""
    if figure["texts"] and not wanted.texts:
        yield Note(f"{figure['doc']} ({figure['step'] or figure['use']}): texts of rows, left out of this page", "aside")
        return
    pictures = [p for p in figure["drawn"] if p.rows]
    for i, picture in enumerate(pictures):
        yield drawn(picture, f"{name}-{i}", texts=wanted.texts)
    for i, shown in enumerate(figure["shown"]):
        if isinstance(shown, str):
            yield Note(one_line(bounded(shown, 1000)))
            continue
        picture = as_bars(shown) if not pictures else None
        if picture is not None:
            yield drawn(picture, f"{name}-bars-{i}", texts=wanted.texts)
        else:
            yield sheet_of(shown["title"], shown["words"], shown["numbers"], shown["rows"], texts=wanted.texts)


def drawn(picture: Picture, name: str, *, texts: bool = True) -> Shown:
    """A picture with its table; of one without texts the labels are those of the table."""
    sheet = behind(picture, texts=texts)
    if not texts:
        left: dict[str, str] = {}  # numbered, as two of one name would be drawn as one

        def name_of(text: str) -> str:
            return f"{LEFT_OUT} {left.setdefault(text, str(len(left) + 1))}" if cell(text, texts=False).text == LEFT_OUT else text

        rows = [{k: name_of(v) if isinstance(v, str) else v for k, v in row.items()} for row in picture.rows]
        picture = Picture(picture.title, picture.view, rows)
    return Shown(name, picture, sheet)


# Time and cost ---------------------------------------------------------------------------------------------------------


def _spent(summary: Mapping[str, Any], wanted: Wanted) -> Section:
    parts: list[Part] = []
    times = [{"step": s["step"], "seconds": s["seconds"]} for s in summary["steps"] if s.get("seconds") is not None]
    if times:
        parts.append(drawn(bars("Seconds that each step took when it was last built", times, name="step", number="seconds"), "times"))
    asked = [g for g in summary["generations"] if g["asked"] or g["from_journal"]]
    if asked:
        parts.append(_generations(asked))
    if any(g["cost"] for g in asked):
        rows = [{"asked": f"{g['step']}: {g['model']}", "dollars": g["cost"] or 0.0} for g in asked]
        parts.append(drawn(bars("Dollars by step and model", rows, name="asked", number="dollars"), "dollars"))
    for g in asked:
        for kind, n in (g["errors"] or {}).items():
            words = f": {bounded(str(g['messages'].get(kind)), 300)}" if wanted.texts and g["messages"].get(kind) else ""
            parts.append(Note(one_line(f"{g['step']}, {g['model']}: {n:,} failed, {kind}{words}"), "problem"))
    return Section("spent", "Time and cost", parts)


def _generations(asked: Sequence[Mapping[str, Any]]) -> Sheet:
    names = ("asked", "from_journal", "followed", "failed", "prompt_tokens", "completion_tokens", "cost")
    numbers = ("calls", "from the journal", "asked again", "failed", "tokens read", "written", "dollars")
    rows: list[list[Any]] = [[g["step"], g["model"], *(g[n] or None for n in names)] for g in asked]
    return sheet_of("What models were asked, when each step was last built", ("step", "model"), numbers, rows)
