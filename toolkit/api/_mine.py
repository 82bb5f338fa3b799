"""Mining predictions: a recipe of six steps, from files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from toolkit.api._look import read_run
from toolkit.api._results import Mined
from toolkit.api._run import run
from toolkit.common.errors import InputError, short_path
from toolkit.common.paths import at_door, here
from toolkit.common.resources import find
from toolkit.common.yamlfile import YamlFile
from toolkit.guards import load_guard
from toolkit.pipeline import Progress, StepFolder, build_recipe

PAIRS = {"tasks": "first", "chosen_right_on": "task", "rejected_passes": "anything"}
"""How pairs are made besides `pick`."""


def mine(
    predictions: Mapping[str, str | Path | Sequence[str | Path]],
    *,
    output: str | Path,
    task: str | None = None,
    guard: str | Path = "guardreasoner",
    pick: Literal["longest", "shortest", "random"] = "longest",
    seed: int = 0,
    progress: Progress | None = None,
) -> Mined:
    """Hard samples and preference pairs from what guards wrote on the same rows.

    A row is hard when at least one guard was right and at least one wrong; always right or always wrong when every guard's output was there and
    could be read, and all were so; else undecided.

    Args:
        predictions: for each guard its file of JSON Lines {prompt, label, predict}, or a folder of such files.
        output: folder of the run; the pairs lie in it as shards.
        task: the task that `label` is for; default: the guard's first.
        guard: guard definition, by name or path.
        pick: which of the right and which of the wrong outputs make the pair.
        seed: for random.
        progress: where progress is shown; default nowhere.

    Returns:
        ``rows, hard, always_right, always_wrong, undecided`` (these four add up to rows), ``with_unparsable`` (rows with an output that could not be
        read or is not there), ``missing`` (for each guard the rows that its file lacks), ``pairs``, ``passed_over`` (right outputs
        that were not chosen, as they have not the guard's exact form: faults and counts), ``rejected`` (reasons and counts),
        ``output``, ``shards`` (None where there is no pair).

    Raises:
        InputError: a file, guard or task that is not there, several files for one guard, a file without a row that can be used, or that shares
            none with the first.

    Example:
        >>> found = toolkit.mine({"anna": "anna.jsonl", "berta": "berta.jsonl"}, output="outputs/mined")
        >>> found["rows"], found["hard"], found["pairs"]
        (2, 2, 2)
    """
    files = {name: str(_one(name, given)) for name, given in predictions.items()}
    if str(guard).endswith((".yaml", ".yml")):
        guard = find("guards", guard)
    task = task or load_guard(guard).task_names[0]
    steps: list[dict[str, Any]] = [
        {"id": "predictions", "use": "load_predictions", "with": {"files": files, "task": task}},
        {"id": "verdicts", "use": "verdicts"},
        {"id": "hard", "use": "mine", "with": {"tasks": [task]}},
        {"id": "pairs", "use": "pair", "from": {"rows": "hard", "verdicts": "verdicts"}, "with": {"pick": pick, **PAIRS, "empty": True}},
        {"id": "rendered", "use": "render_dpo"},
        {"id": "preference", "use": "shards", "with": {"title": "Preference pairs mined from predictions", "empty": True}},
    ]
    data = {"recipe": "mine", "guard": str(guard), "seed": seed, "steps": steps}
    done = run(build_recipe(YamlFile("guardkit mine", data), here()), output=output, progress=progress)
    return _figures(read_run(done.folder), done.folder)


def _one(name: str, given: str | Path | Sequence[str | Path]) -> Path:
    files = [given] if isinstance(given, str | Path) else list(given)
    if len(files) != 1:
        hint = "give each guard its own name: --predictions NAME=FILE"
        raise InputError(f"{len(files)} prediction files are called {name!r}", where=", ".join(map(str, files)) or None, hint=hint)
    return at_door(files[0])


def _figures(made: Mapping[str, StepFolder], folder: Path) -> Mined:
    hard, pairs, loaded = (made[s].manifest for s in ("hard", "pairs", "predictions"))
    stats = hard["stats"]
    n_pairs = sum(pairs["stats"]["pairs_by_task"].values())
    return Mined(
        {
            **{n: stats[n] for n in ("rows", "hard", "always_right", "always_wrong", "undecided")},
            "with_unparsable": stats["with_unread"],
            "missing": loaded["stats"]["missing"],
            "pairs": n_pairs,
            "passed_over": pairs["stats"].get("passed_over", {}),
            "rejected": loaded["counts"][-1]["rejected"],
            "output": short_path(folder),
            "shards": short_path(made["preference"].artefact("shards")) if n_pairs else None,
        }
    )
