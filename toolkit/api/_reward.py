"""What outputs earn by a formula of rewards."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from toolkit.api._judge import given_rows
from toolkit.api._results import Reward
from toolkit.api._reward_scores import open_scores, score_models
from toolkit.common.errors import InputError, InputErrors
from toolkit.common.outputs import check_output
from toolkit.common.paths import Roots, at_door
from toolkit.common.several import several
from toolkit.guards import Guard, load_guard
from toolkit.pipeline import output_file, stopping, write_rows
from toolkit.rewards import Formula, Output, Rewarded, formula_of, rewarded
from toolkit.sources import Fault, check_columns, expand_files, layout_of, read_layout, unreadable_rows
from toolkit.training import check_scores

if TYPE_CHECKING:
    import polars as pl

Places = str | Path | Sequence[str | Path]


def reward(
    predictions: Places | Any,
    *,
    guard: str | Path = "guardreasoner",
    formula: str | Path | Mapping[str, Any] | Formula | None = None,
    scores: str | Path | Mapping[str, Mapping[str, Any]] | None = None,
    task: str | None = None,
    columns: Mapping[str, str] | None = None,
    count: Literal["tokens", "words", "characters"] = "tokens",
    limit: int = 10,
    output: str | Path | None = None,
    work: str | Path | None = None,
    budget: float | None = None,
    allow: str | Collection[str] = (),
) -> Reward:
    """The rewards of outputs that were written before, as a trainer would give them (docs/rewards.md has the formulas).

    Args:
        predictions: files (JSON Lines, JSON, parquet, CSV), folders of such, or rows: dicts or a table. A row has the `output`, ``label_<task>``,
            and what the formula needs: `tokens`, ``score_<name>``. Outputs of equal `id`, or without one of equal `prompt`, are about the same row.
        guard: guard definition, by name or file.
        formula: a name in ``schemas/rewards``, a file, or the formula's keys; default: that of the guard's name, else ``accuracy``.
        scores: by name of a score in the formula the model that gives it: ``{"guard": …, "backend": {…}}``, and `task`, `best`, `of`, `absent`,
            `unread` (docs/rewards.md), or a YAML file of such. Answers go through the journal. Default: the columns ``score_<name>``.
        task: the task that a column `label` is for; default: the guard's first.
        columns: names of columns that are not the usual ones: ``{"output": "completion", "label_prompt": "gold"}``.
        count: what the length of an output is: the column `tokens`, or its words or characters, counted here.
        limit: rewards to show.
        output: file for all of them (.jsonl, .csv or .parquet).
        work, budget, allow: of the models that give scores, as for `toolkit.judge`.

    Returns:
        ``guard``, ``formula``, ``outputs``, ``rewarded``, ``lacks`` (outputs without a reward, by what they lack), ``mean``, ``least``, ``most``,
        ``well_formed`` (outputs of a sound form), ``cells`` (for each form and accuracy: ``outputs``, ``mean``, ``least`` and ``most`` of the
        rewards, and ``length``, the mean one), ``shown`` (``n``, ``id``, ``reward``, ``well_formed``, ``accuracy``, ``base``, ``by_length``,
        ``length``, ``lacks``), ``output``.

    Raises:
        InputError: no outputs or labels, a label that the guard does not have, an unknown formula or guard; InputErrors: rows that cannot be read.

    Example:
        >>> found = toolkit.reward("anna.jsonl", formula="rsafe")
        >>> found["outputs"], found["mean"], [line["reward"] for line in found["shown"]]
        (2, 0.55, [0.1, 1.0])
    """
    definition = load_guard(guard)
    how = formula_of(definition, formula)
    if count not in _COUNTS:
        raise InputError(f"a length is counted in {', '.join(_COUNTS)}, not {count!r}", where="{--count|count}")
    if (file := output_file(output)) is not None:
        check_output(file, hint="name another file")
    models, beside = score_models(scores, allow)
    check_scores(definition, how, models, beside)
    lines = list(_lines(predictions, definition, [n for n in how.scores if n not in models], task, dict(columns or {})))
    if models:
        with stopping(), open_scores(definition, models, work=work, budget=budget, beside=beside) as scorer:
            given = {f"score_{name}": scorer.scores(name, lines) for name in models}
        lines = [{**line, **{column: found[i] for column, found in given.items()}} for i, line in enumerate(lines)]
    _check(lines, definition, how, count, models)
    outputs = [_output(definition, how, line, count) for line in lines]
    found = rewarded(definition, how, outputs)
    shown = [_shown(n, *each) for n, each in enumerate(zip(lines, outputs, found, strict=True), 1)]
    if file is not None:
        write_rows(file, [_table(shown)])
    return Reward(_document(definition, how, shown, limit, None if file is None else str(output)))


_COUNTS = ("tokens", "words", "characters")


def _lines(predictions: Any, guard: Guard, scores: Sequence[str], task: str | None, columns: dict[str, str]) -> Iterator[dict[str, Any]]:
    """The rows by what they hold: `output`, ``label_<task>``, `tokens`, `id`, `prompt`, ``score_<name>``, what there is of them."""
    of_label = task if task is not None else guard.task_names[0]
    if of_label not in guard.task_names:
        raise InputError(f"the guard {guard.name!r} has no task {of_label!r}: {', '.join(guard.task_names)}", where="{--task|task}")
    places = [predictions] if isinstance(predictions, str | Path) else predictions
    if not (isinstance(places, list | tuple) and places and all(isinstance(p, str | Path) for p in places)):
        rows = [predictions] if isinstance(predictions, Mapping) else predictions
        for row in given_rows(rows):
            whole = {**row, **{key: row.get(name) for key, name in columns.items()}}
            if f"label_{of_label}" not in whole and "label" in whole:
                whole[f"label_{of_label}"] = whole["label"]
            yield whole
        return
    own = {f"score_{name}": f"score_{name}" for name in scores}
    check_columns({key: name for key, name in columns.items() if key not in own}, guard.task_names)
    named, faults = {**own, **columns}, []
    for path in expand_files([at_door(place) for place in several(places)], Roots.of(None)):
        layout = layout_of(path, guard.task_names, named, absent=own)  # `_check` says what lacks
        if layout is None:
            faults += [(path, bad) for block in unreadable_rows(path) for bad in block]
            continue
        for frame, bad in read_layout(layout):
            faults += [(path, one) for one in bad]
            if "label" in frame.columns and f"label_{of_label}" not in frame.columns:
                frame = frame.rename({"label": f"label_{of_label}"})
            yield from frame.iter_rows(named=True)
    if faults:
        raise _unreadable(faults)


def _unreadable(faults: Sequence[tuple[Path, tuple[int, Fault]]]) -> InputErrors:
    return InputErrors([InputError(f"{f.reason}: {f.detail}", where=f"{path}: row {n}") for path, (n, f) in faults[:20]])


def _check(lines: Sequence[Mapping[str, Any]], guard: Guard, formula: Formula, count: str, given: Collection[str]) -> None:
    """Refuse (InputError) rows that have nothing of what every reward needs."""
    there = {name for line in lines for name, value in line.items() if value is not None}
    if "output" not in there:
        if not lines:
            raise InputError("no rows", hint="each output is a row, with its labels beside it: docs/rewards.md")
        raise InputError("no output to reward", hint="name its column: {--column output=COLUMN|columns=dict(output=COLUMN)}")
    if not there & {f"label_{t}" for t in guard.task_names}:
        raise InputError("no label to hold the outputs against", hint=f"columns {', '.join(f'label_{t}' for t in guard.task_names)}, or label")
    if formula.length is not None and count == "tokens" and "tokens" not in there:
        hint = "give the rows a column tokens, or count words: {--count words|count='words'}"
        raise InputError(f"the formula {formula.name!r} needs the length of each output", hint=hint)
    if lacking := [f"score_{name}" for name in formula.scores if f"score_{name}" not in there and name not in given]:
        columns = f"the column{'s' if len(lacking) > 1 else ''} {', '.join(map(repr, lacking))}"
        hint = "give the rows these, or name the models that give such scores: {--scores FILE|scores={…}} (docs/rewards.md)"
        raise InputError(f"the formula {formula.name!r} weighs scores that nothing gives here: it needs {columns}, from 0 to 1", hint=hint)


def _output(guard: Guard, formula: Formula, line: Mapping[str, Any], count: str) -> Output:
    text = line.get("output")
    length = line.get("tokens") if count == "tokens" else len(re.findall(r"\S+", text or "")) if count == "words" else len(text or "")
    group = line.get("id") if line.get("id") is not None else line.get("prompt")
    labels = {t: line.get(f"label_{t}") for t in guard.task_names}
    scores = {name: line.get(f"score_{name}") for name in formula.scores}
    return Output(text, labels, length, group, scores, "response" not in line or line["response"] is not None)


def _shown(n: int, line: Mapping[str, Any], output: Output, found: Rewarded) -> dict[str, Any]:
    figures = {name: _rounded(getattr(found, name)) for name in ("reward", "accuracy", "base", "by_length")}
    about = {"n": n, "id": None if line.get("id") is None else str(line["id"]), "well_formed": found.well_formed}
    whole = about | figures | {"length": output.length, "lacks": found.lacks}
    return {name: whole[name] for name in ("n", "id", "reward", "well_formed", "accuracy", "base", "by_length", "length", "lacks")}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6) + 0.0


def _table(shown: Sequence[dict[str, Any]]) -> pl.DataFrame:
    import polars as pl

    numbers = ("reward", "accuracy", "base", "by_length", "length")
    types = {"n": pl.Int64, "id": pl.String, "well_formed": pl.Boolean, "lacks": pl.String, **dict.fromkeys(numbers, pl.Float64)}
    return pl.DataFrame(shown, schema_overrides=types)


def _document(guard: Guard, formula: Formula, shown: Sequence[dict[str, Any]], limit: int, output: str | None) -> dict[str, Any]:
    values = [line["reward"] for line in shown if line["reward"] is not None]
    lacks: dict[str, int] = {}
    cells: dict[tuple[bool, float], list[dict[str, Any]]] = {}
    for line in shown:
        if line["lacks"] is not None:
            lacks[line["lacks"]] = lacks.get(line["lacks"], 0) + 1
        else:
            cells.setdefault((line["well_formed"], line["accuracy"]), []).append(line)
    parts = [{"well_formed": sound, "accuracy": accuracy, **_figures(cells[sound, accuracy])} for sound, accuracy in sorted(cells, reverse=True)]
    about = {"guard": guard.name, "formula": formula.name, "outputs": len(shown), "rewarded": len(values), "lacks": lacks}
    about |= {"mean": _rounded(sum(values) / len(values)) if values else None}
    about |= {"least": min(values, default=None), "most": max(values, default=None)}
    return about | {"well_formed": sum(line["well_formed"] for line in shown), "cells": parts, "shown": list(shown[:limit]), "output": output}


def _figures(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    values, lengths = [line["reward"] for line in lines], [line["length"] for line in lines if line["length"] is not None]
    mean = _rounded(sum(values) / len(values))
    return {
        "outputs": len(lines),
        "mean": mean,
        "least": min(values),
        "most": max(values),
        "length": _rounded(sum(lengths) / len(lengths)) if lengths else None,
    }
