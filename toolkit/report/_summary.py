"""A run's figures, gathered from its manifests and its log.

`summarise` reads what lies in the run's folder and computes nothing anew. Times come from the run's log: for a step that was reused, the time that it
took when it was built.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toolkit.common.errors import InputError, short_path
from toolkit.common.paths import at_door
from toolkit.common.reading import regular, unreadable
from toolkit.pipeline import Recipe, StepFolder, is_run, kept_recipe, step_folders

NOTES = {
    "template": "The reasoning was put together by the embedded template teacher, for trying guardkit; train no guard on it that is to be used.",
    "tiny": "The guards are tiny and trained from scratch for a minute or two; the figures show that the loop works, not what it can reach.",
}


def summarise(folder: Path) -> dict[str, Any]:
    """Figures of a run.

    Args:
        folder: the run's folder.

    Returns:
        ``recipe``, ``output``, ``steps`` (counts, seconds, folder of each), ``reasoning_steps`` in ``reasoned_rows``, ``hard``, ``pairs``,
        ``sampled``, ``scores``, ``matched`` (for each step that evaluates, by guard, how many of the rows that were asked about it has a verdict
        for), ``generations`` (for each step and model that was asked when the step was last built: calls, answers from the
        journal, tokens, dollars), ``teachers`` (for each step that synthesises: rows by who answered and by number of questions, and by task how
        often a blind verdict agreed with the label), ``seconds``, ``notes``.

    Raises:
        InputError: not the folder of a run, or one whose files cannot be read.
    """
    folder = at_door(folder)
    if not is_run(folder):
        raise InputError("not the folder of a run", where=str(folder))
    recipe = kept_recipe(folder)
    built = _built(folder)
    seconds = {step: float(event["seconds"]) for step, event in built.items()}
    order = list(seconds)
    # Folders of steps that the recipe no longer has may lie there from an earlier one.
    done = [f for f in step_folders(folder) if f.step in {s.id for s in recipe.steps}]
    done.sort(key=lambda f: order.index(f.step) if f.step in order else -1)
    # A step that ran together with later ones has no folder of its own; its counts stand in theirs. What was built last holds.
    counted = {c["step"]: (c, f) for f in done for c in f.manifest["counts"]}
    steps: list[dict[str, Any]] = []
    out: dict[str, Any] = {
        "recipe": recipe.spec.recipe,
        "output": short_path(folder),
        "steps": steps,
        "reasoning_steps": None,
        "reasoned_rows": None,
        "hard": {},
        "pairs": {},
        "sampled": None,
        "scores": {},
        "matched": {},
        "generations": [],
        "teachers": {},
        "seconds": round(sum(seconds.values()), 1),
        "notes": [],
    }
    for spec in recipe.steps:
        if spec.id not in counted:
            steps.append({"step": spec.id, "use": spec.use, "state": "not built"})
            continue
        counts, at = counted[spec.id]
        own = at.step == spec.id
        line = {**counts, "state": "built", "seconds": seconds.get(spec.id) if own else None, "folder": short_path(at.path)}
        steps.append(line)
        if own:
            _gather(out, spec.use, at)
            out["generations"] += _generations(spec.id, built.get(spec.id, {}).get("generation"))
    out["notes"] = [NOTES[n] for n in _notes(recipe)]
    return out


def _gather(out: dict[str, Any], use: str, at: StepFolder) -> None:
    stats = at.manifest["stats"]
    if use == "mine":
        out["hard"][at.step] = stats
    elif use == "pair":
        out["pairs"][at.step] = stats["pairs_by_task"]
    elif use == "evaluate":
        out["scores"][at.step] = stats["scores"]
        out["matched"][at.step] = stats.get("matched", {})
    elif use == "synthesise":
        out["teachers"][at.step] = {n: stats[n] for n in ("teachers", "questions", "blind") if n in stats}
    elif use == "sample":
        out["sampled"] = (out["sampled"] or 0) + at.manifest["counts"][-1]["in"]
    if "steps" in at.manifest["columns"] and use in ("validate", "select") and out["reasoning_steps"] is None:
        out["reasoned_rows"] = at.rows
        out["reasoning_steps"] = sum(int(b["steps"].fill_null(0).sum()) for b in at.blocks(["steps"]))


_FIGURES = ("asked", "from_journal", "shared", "followed", "failed", "prompt_tokens", "completion_tokens", "cost", "estimated", "errors")


def _generations(step: str, notes: Any) -> Iterator[dict[str, Any]]:
    """What a generation step's log says of each model that it asked."""
    for name, figures in notes.items() if isinstance(notes, dict) else ():
        if isinstance(figures, dict) and all(isinstance(figures.get(f), int | float | None) for f in _FIGURES[:-1]):
            yield {"step": step, "model": name, **{f: figures.get(f) for f in _FIGURES}}


def _built(folder: Path) -> dict[str, dict[str, Any]]:
    """What the log says of each step when it was last built, in the order in which they were."""
    out: dict[str, dict[str, Any]] = {}
    for line in _events(folder):
        match line:
            case {"event": "built", "step": str(step), "seconds": float() | int()}:
                out.pop(step, None)
                out[step] = line
    return out


_LINE = 16 << 20
"""Bytes of a line of the log, at most."""


def _events(folder: Path) -> Iterator[Any]:
    path = folder / "events.jsonl"
    if not path.exists():
        return
    regular(path, path)
    try:
        with path.open("rb") as f:
            while line := f.readline(_LINE):
                try:
                    yield json.loads(line)
                except (ValueError, RecursionError):  # a line that a killed run left unfinished, or that is none of guardkit's
                    continue
    except OSError as e:
        raise unreadable(e, path) from None


def _notes(recipe: Recipe) -> Iterator[str]:
    used = [s.options for s in recipe.steps]
    if any(isinstance(o.get("backend"), dict) and o["backend"].get("backend") == "template" for o in used):
        yield "template"
    if any(isinstance(o.get("model"), dict) and "scratch" in o["model"] for o in used):
        yield "tiny"
