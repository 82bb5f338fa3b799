"""A run's figures, gathered from its manifests and its log.

`summarise` reads a run's folder; what of it is shown, the operators say (`toolkit.operators.figures`). Times come from the run's log:
for a step that was reused, the time that it took when it was built.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import GuardkitError, InputError, short_path
from toolkit.common.paths import at_door
from toolkit.common.reading import regular, sha256_once, unreadable
from toolkit.common.secrets import shown
from toolkit.operators import operator_class
from toolkit.pipeline import AGAIN, STALE, Recipe, Step, StepFolder, kept_recipe, run_of, stale, step_folders
from toolkit.report._round_lines import rounds_run

if TYPE_CHECKING:
    import polars as pl

    from toolkit.common.pictures import Picture
    from toolkit.operators.figures import Figure

ALWAYS: dict[str, Any] = {
    "reasoning_steps": None,
    "reasoned_rows": None,
    "hard": {},
    "pairs": {},
    "sampled": None,
    "scores": {},
    "matched": {},
    "teachers": {},
}
"""Figures that a summary has by their own name as well, whether or not a step of the run shows them: what programs have read since there are
summaries. All others are in ``figures`` alone."""


def summarise(folder: Path, *, pictures: bool = False) -> dict[str, Any]:
    """Figures of a run.

    Args:
        folder: the run's folder.
        pictures: with the pictures of each figure, ``drawn``, and whether it shows ``texts`` of rows.

    Returns:
        ``recipe``, ``output``, ``steps`` (of each its ``state``: built, stale or not built; counts, seconds, folder), ``figures`` (what the operators
        show of their finished steps, in the order of the recipe: ``step`` (None: of the whole run), ``use``, ``name``, ``doc``, ``value``, ``shown``:
        lines, and tables with ``title, words, numbers, rows, parts``), some of their values by name (`ALWAYS`: by step, or of the run),
        ``generations`` (for each step and model that was asked when the step was last built: calls, answers from the journal, tokens, dollars),
        ``seconds``, ``notes``; of a recipe with rounds ``rounds`` (`toolkit.report._round_lines.rounds_run`).

    Raises:
        InputError: not the folder of a run, or one whose files cannot be read.
    """
    recipe, folder, counted, built, old = _read(folder)
    seconds = {step: float(event["seconds"]) for step, event in built.items()}
    figures = _Shown(pictures=pictures)
    generations: list[dict[str, Any]] = []
    stats: dict[str, Mapping[str, Any]] = {}
    for spec in recipe.steps:
        found = counted.get(spec.id) if spec.id not in old else None
        done = _Done(found[1], found[0]) if found is not None and found[1].step == spec.id else None
        figures.take(spec, done)
        if done is not None:
            stats[spec.id] = {**done.stats, "kept": done.counts["kept"]}
            generations += _generations(spec.id, built.get(spec.id, {}).get("generation"))
    return {
        "recipe": recipe.spec.recipe,
        "output": short_path(folder),
        "steps": _lines(recipe, counted, seconds, old),
        **figures.by_name(),
        **({"rounds": rounds_run(recipe.loop, stats)} if recipe.loop is not None else {}),
        "figures": figures.figures(),
        "generations": generations,
        "seconds": round(sum(seconds.values()), 1),
        "notes": [*figures.notes, *([f"What a stale step made counts for nothing here: {STALE}. To make it anew, {AGAIN}."] if old else [])],
    }


def run_state(folder: Path) -> dict[str, Any]:
    """What of a run is there: ``recipe`` and ``steps`` of `summarise`, and no figures of the steps.

    Raises:
        InputError: as `summarise`.
    """
    recipe, _, counted, built, old = _read(folder)
    seconds = {step: float(event["seconds"]) for step, event in built.items()}
    return {"recipe": recipe.spec.recipe, "steps": _lines(recipe, counted, seconds, old)}


Counted = dict[str, tuple[dict[str, Any], StepFolder]]
"""By step its counts, and the folder in which they stand."""


def _read(folder: Path) -> tuple[Recipe, Path, Counted, dict[str, dict[str, Any]], set[str]]:
    """A run's recipe, its folder, the steps that are done, what its log says of them, and which are stale."""
    folder, _ = run_of(at_door(folder))
    recipe = kept_recipe(folder)
    built = _built(folder)
    order = list(built)
    # Folders of steps that the recipe no longer has may be there from an earlier one.
    done = [f for f in step_folders(folder) if f.step in {s.id for s in recipe.steps}]
    done.sort(key=lambda f: order.index(f.step) if f.step in order else -1)
    left = stale(done)
    # A step that ran together with later ones has no folder of its own; its counts are in theirs. What is current holds, then what was built last.
    done.sort(key=lambda f: f.step not in left)
    counted = {c["step"]: (c, f) for f in done for c in f.manifest["counts"]}
    return recipe, folder, counted, built, {step for step, (_, f) in counted.items() if f.step in left}


def _lines(recipe: Recipe, counted: Counted, seconds: Mapping[str, float], old: set[str]) -> list[dict[str, Any]]:
    """For each step of the recipe what became of its rows."""
    lines: list[dict[str, Any]] = []
    for spec in recipe.steps:
        if spec.id not in counted:
            lines.append({"step": spec.id, "use": spec.use, "state": "not built"})
            continue
        counts, at = counted[spec.id]
        took = seconds.get(spec.id) if at.step == spec.id else None
        lines.append({**counts, "state": "stale" if spec.id in old else "built", "seconds": took, "folder": short_path(at.path)})
    return lines


@dataclass(frozen=True)
class _Done:
    """A finished step, for its figures."""

    folder: StepFolder
    counts: Mapping[str, Any]

    @property
    def step(self) -> str:
        return self.folder.step

    @property
    def stats(self) -> Mapping[str, Any]:
        stats: Mapping[str, Any] = self.folder.manifest["stats"]
        return stats

    @property
    def columns(self) -> list[str]:
        return list(self.folder.manifest["columns"])

    @property
    def rows(self) -> int:
        return self.folder.rows

    def blocks(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        yield from self.folder.blocks(columns)

    def file(self, name: str) -> Path | None:
        if (sha256 := self.folder.manifest["files"].get(name)) is None:
            return None
        path = self.folder.path / name
        if sha256_once(path, path) != sha256:
            raise InputError(f"its bytes are not those of the manifest (step {self.step!r})", where=str(path), hint=AGAIN)
        return path


class _Shown:
    """Collects what the operators of a run show."""

    def __init__(self, *, pictures: bool = False) -> None:
        self.notes: dict[str, None] = {}
        self._pictures = pictures
        self._of_steps: list[tuple[str, Figure, _Done, Any]] = []
        self._of_run: dict[str, tuple[str, Figure, _Done, Any]] = {}

    def take(self, spec: Step, done: _Done | None) -> None:
        """A step; `done`: where it has a folder of its own."""
        try:
            operator = operator_class(spec.use)
        except InputError as e:  # another package's, which is not installed here, or no longer
            self.notes[f"what the operator of {spec.id!r} shows is left out: {e.message}"] = None
            return
        self.notes |= dict.fromkeys(operator.remarks(spec.options))
        for figure in operator.figures if done is not None else ():
            assert done is not None  # noqa: S101  else there is no figure
            if (value := self._made(figure, done, partial(figure.value, done))) is None:
                continue
            before = self._of_run.get(figure.name)
            if figure.whole == "step":
                self._of_steps.append((spec.use, figure, done, value))
            elif before is None:
                self._of_run[figure.name] = (spec.use, figure, done, value)
            elif figure.whole == "sum":
                self._of_run[figure.name] = (spec.use, figure, done, before[3] + value)

    def _made(self, figure: Figure, done: _Done, make: Callable[[], Any], *, as_it_is: bool = False) -> Any:
        """What a figure is made to, as JSON has it, or as it is; None, and a note, where its operator cannot make it: the others are shown."""
        try:
            made = make()
            return made if as_it_is else json.loads(json.dumps(made))
        except (GuardkitError, MemoryError):
            raise
        except Exception as e:  # noqa: BLE001  an operator, possibly another's, failed on its own figure
            self.notes[f"the figure {figure.name!r} of {done.step!r} cannot be made: {type(e).__name__}: {shown(str(e))[:200]}"] = None
            return None

    def by_name(self) -> dict[str, Any]:
        """The values of `ALWAYS`."""
        out = {name: dict(plain) if isinstance(plain, dict) else plain for name, plain in ALWAYS.items()}
        for _, figure, done, value in self._of_steps:
            if isinstance(out.get(figure.name), dict):
                out[figure.name][done.step] = value
        return out | {name: value for name, (_, _, _, value) in self._of_run.items() if ALWAYS.get(name, ...) is None}

    def figures(self) -> list[dict[str, Any]]:
        """All of them, with what people see."""
        out = []
        for use, figure, done, value in (*self._of_steps, *self._of_run.values()):
            parts = self._made(figure, done, partial(_parts, figure, done, value))
            step = done.step if figure.whole == "step" else None
            line = {"step": step, "use": use, "name": figure.name, "doc": figure.doc, "value": value, "shown": parts or []}
            if self._pictures:
                drawn = self._made(figure, done, partial(_pictures, figure, done, value), as_it_is=True)
                line |= {"drawn": drawn or [], "texts": figure.texts}
            out.append(line)
        return out


def _pictures(figure: Figure, done: _Done, value: Any) -> list[Picture]:
    return list(figure.drawn(done, figure, value)) if figure.drawn is not None else []


def _parts(figure: Figure, done: _Done, value: Any) -> list[Any]:
    return [part if isinstance(part, str) else asdict(part) for part in figure.shown(done, figure, value)]


_FIGURES = ("asked", "from_journal", "shared", "followed", "failed", "prompt_tokens", "completion_tokens", "cost", "estimated", "errors")


def _generations(step: str, notes: Any) -> Iterator[dict[str, Any]]:
    """What a generation step's log says of each model that it asked."""
    for name, figures in notes.items() if isinstance(notes, dict) else ():
        if isinstance(figures, dict) and all(isinstance(figures.get(f), int | float | None) for f in _FIGURES[:-1]):
            messages = figures.get("messages", figures.get("said"))  # as older runs call it
            yield {"step": step, "model": name, **{f: figures.get(f) for f in _FIGURES}, "messages": messages if isinstance(messages, dict) else {}}


def _built(folder: Path) -> dict[str, dict[str, Any]]:
    """What the log says of each step when it was last built, in the order in which they were."""
    out: dict[str, dict[str, Any]] = {}
    for line in events(folder):
        match line:
            case {"event": "built", "step": str(step), "seconds": float() | int()}:
                out.pop(step, None)
                out[step] = line
    return out


_LINE = 16 << 20
"""Bytes of a line of the log, at most."""


def events(folder: Path) -> Iterator[Any]:
    """The lines of a run's log, as far as they can be read (InputError: it cannot be opened)."""
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
