"""Mining predictions: a recipe of five steps, from files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from toolkit.api._look import read_run
from toolkit.api._results import Mined
from toolkit.api._run import run
from toolkit.common.errors import InputError, short_path
from toolkit.common.paths import Roots, at_door, here
from toolkit.common.resources import find
from toolkit.common.several import several
from toolkit.common.yamlfile import YamlFile
from toolkit.guards import Guard, load_guard
from toolkit.mining import load_rule
from toolkit.pipeline import Progress, StepFolder, build_recipe

COUNTS = ("rows", "hard", "always_right", "always_wrong", "undecided")
MORE = ("not_hard", "suspect", "not_asked", "no_label")
"""What becomes of a row by some rules only, or of one that is not about any task."""


STATISTICS = ("votes", "histograms", "agreement", "hard_share")
"""Figures about all votes: figures of the step `mine` (docs/mining.md)."""


def mine(
    predictions: Mapping[str, str | Path | Sequence[str | Path]],
    *,
    output: str | Path,
    task: str | None = None,
    guard: str | Path = "guardreasoner",
    samples: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    rule: str | Path | Mapping[str, Any] = "default",
    pick: Literal["closest", "longest", "shortest", "random"] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Mined:
    """Hard samples and preference pairs from what guards wrote on the same rows.

    By the default rule a row is hard when at least one output was right and at least one wrong; always right or always wrong when every guard's
    outputs were there and could be read, and all were so; else undecided. Texts stay in the files: only those of the pairs are copied.

    Args:
        predictions: for each guard its file, or several, each of which is a draw: a list of files, or a pattern; all files of a folder are one draw.
            Parquet, JSON Lines, JSON or CSV of {prompt, label, predict}, or of {id, output} and the like. A file may have a column `draw`, or all
            outputs of a row in a list.
        output: folder of the run; the pairs are in it as shards.
        task: the task that a column `label` is for; default: the guard's first. Labels of several tasks: columns ``label_<task>``.
        guard: guard definition, by name or path.
        samples: a file of the rows that were asked about, with ids and labels, to which predictions are joined by id.
        columns: names of columns that are not the usual ones: ``{"output": "completion", "label_prompt": "gold"}``; `sample_id` for that of samples.
        rule: what is hard: the name of a rule, the path of one, or its keys (docs/mining.md).
        pick: which of the right and which of the wrong outputs make the pair; default: as the rule says, else `closest`, as the step `pair`
            makes them.
        seed: for random.
        progress: where progress is shown; default nowhere.

    Returns:
        ``rows, hard, always_right, always_wrong, undecided`` (with ``others``, which has the counts of what other rules say of rows, these add up to
        rows), ``with_unparsable`` (rows with an output that could not be read or is not there), ``missing`` (for each guard the rows that it lacks),
        ``fewer_draws`` (for each guard with several draws the rows that have not all of them), ``pairs``, ``passed_over`` (right outputs
        that were not chosen, as they have not the guard's exact form: faults and counts), ``passed_over_rejected`` (the same of wrong ones),
        ``lengths`` (how well length tells chosen from rejected outputs), ``rejected`` (reasons and counts), ``rule`` (in words),
        ``remarks`` (what is odd: guards with fewer draws, a rule that no row can meet), ``output``, ``shards`` (None where there is no pair),
        ``statistics`` (of all votes: ``votes``, ``histograms``, ``agreement``, ``hard_share``; docs/mining.md).

    Raises:
        InputError: a file, guard, task, column or rule that is not there, a file without a row that can be used, or a guard that shares none with
            the first.

    Example:
        >>> found = toolkit.mine({"anna": "anna.jsonl", "berta": "berta.jsonl"}, output="outputs/mined")
        >>> found["rows"], found["hard"], found["pairs"]
        (2, 2, 2)
    """
    files = {name: _files(given) for name, given in predictions.items()}
    if not files:
        raise InputError("no predictions", hint="for each guard a file: {--predictions NAME=FILE|predictions=a dict of names and files}")
    if str(guard).endswith((".yaml", ".yml")):
        guard = find("guards", guard)
    known, given = load_guard(guard), dict(columns or {})
    plain = _has_plain_labels(files, given, known, whole=samples is not None) if task is None else True
    task = task or (known.task_names[0] if plain else None)
    options: dict[str, Any] = {"files": files, "task": task, "columns": given, "texts": "reference"}
    if samples is not None:
        options["samples"] = str(at_door(samples))
    ruled, pairs = _rule(rule)
    if pick is not None:
        pairs["pick"] = pick
    steps: list[dict[str, Any]] = [
        {"id": "predictions", "use": "load_predictions", "with": options},
        {"id": "hard", "use": "mine", "with": {"rule": ruled, **({} if task is None else {"tasks": [task]})}},
        {"id": "pairs", "use": "pair", "from": {"rows": "hard", "verdicts": "predictions"}, "with": {**pairs, "empty": True}},
        {"id": "rendered", "use": "render_dpo"},
        {"id": "preference", "use": "shards", "with": {"title": "Preference pairs mined from predictions", "empty": True}},
    ]
    data = {"recipe": "mine", "guard": str(guard), "seed": seed, "steps": steps}
    done = run(build_recipe(YamlFile("guardkit mine", data), here()), output=output, progress=progress)
    return _figures(read_run(done.folder), done.folder)


def _files(given: str | Path | Sequence[str | Path]) -> str | list[str]:
    """A guard's files as the step takes them."""
    files = [str(at_door(one)) for one in several(given)]
    return files[0] if len(files) == 1 else files


def _rule(given: str | Path | Mapping[str, Any]) -> tuple[str | dict[str, Any], dict[str, Any]]:
    """The rule as an option, and how pairs are made."""
    roots = Roots.of(None)
    if isinstance(given, Mapping):
        rule = load_rule(dict(given), roots)
        option: str | dict[str, Any] = dict(given)
    else:
        text = str(given)
        option = str(at_door(text)) if text.endswith((".yaml", ".yml")) else text
        rule = load_rule(option, roots)
    of_rule = rule.pairs.model_dump(exclude_none=True) if rule.pairs is not None else {}
    return option, {**of_rule, **({"rejected_passes": "anything"} if of_rule.get("chosen_passes") == "anything" else {})}


def _has_plain_labels(files: Mapping[str, str | Sequence[str]], columns: Mapping[str, str], guard: Guard, *, whole: bool) -> bool:
    """Whether labels are in one column, whose task has to be named; `whole`: there is a file of samples."""
    from toolkit.sources import expand_files, file_columns

    if any(key.startswith("label_") for key in columns):
        return False
    if "label" in columns:
        return True
    if whole:
        return False
    first = next(iter(files.values()))
    path = expand_files([first if isinstance(first, str) else first[0]], Roots.of(None))[0]
    there = file_columns(path) or ()
    return not any(f"label_{t}" in there for t in guard.task_names)


def _figures(made: Mapping[str, StepFolder], folder: Path) -> Mined:
    hard, pairs, loaded = (made[s].manifest for s in ("hard", "pairs", "predictions"))
    stats = hard["stats"]
    n_pairs = sum(pairs["stats"]["pairs_by_task"].values())
    return Mined(
        {
            **{n: stats[n] for n in COUNTS},
            "others": {n: stats[n] for n in MORE if stats.get(n)},
            "with_unparsable": stats["with_unread"],
            "missing": loaded["stats"]["missing"],
            "fewer_draws": loaded["stats"].get("fewer_draws", {}),
            "pairs": n_pairs,
            "passed_over": pairs["stats"].get("passed_over", {}),
            "passed_over_rejected": pairs["stats"].get("passed_over_rejected", {}),
            "lengths": pairs["stats"].get("lengths", {}),
            "rejected": loaded["counts"][-1]["rejected"],
            "rule": stats["rule"]["words"],
            "remarks": [*loaded["stats"].get("equal_files", []), *stats["remarks"]],
            "output": short_path(folder),
            "shards": short_path(made["preference"].artefact("shards")) if n_pairs else None,
            "statistics": {n: stats[n] for n in STATISTICS},
        }
    )
