"""`toolkit.evaluate` in its steps: options checked, rows found, models asked or read, the document written."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.api._evaluate_changed import wanted
from toolkit.api._evaluate_plan import Judge, Places, benchmark_sets, configs, data_set, files_of, guards_of, read_files, set_of_files
from toolkit.api._evaluate_run import Run
from toolkit.api._results import Evaluated
from toolkit.common.errors import InputError, InputErrors, TooManyFailures, did_you_mean, short_path
from toolkit.common.outputs import check_output
from toolkit.common.paths import Roots, at_door
from toolkit.common.reach import refused, unknown
from toolkit.common.reading import Files
from toolkit.common.resources import workspace
from toolkit.common.several import several
from toolkit.evaluation import WAYS, RowSet, check_look_alikes, check_policies
from toolkit.guards import Guard
from toolkit.judging import as_guard, check_plays, judged_tasks
from toolkit.pipeline import JOURNAL, Progress, stopping

if TYPE_CHECKING:
    from toolkit.generation import BaseBackendConfig

BOOTSTRAP = 1000
"""Draws of the bootstrap behind each interval."""


@dataclass(frozen=True)
class Options:
    """How an evaluation is made: as for `toolkit.evaluate`."""

    guard: str | Path | Mapping[str, str | Path] | None
    columns: Mapping[str, str] | None
    policies: str | Sequence[str]
    draws: int
    combine: str
    reading: str | None
    guard_policy: str | Path | Sequence[str] | None
    probabilities: bool
    min_parse_rate: float
    failures: float
    limit: int | None
    seed: int
    work: str | Path | None
    budget: float | None
    allow: str | Collection[str]
    output: str | Path | None
    progress: Progress | None
    perturb: str | Sequence[str]
    perturb_model: Any
    look_alikes: str | Sequence[str]

    def check(self) -> None:
        """Raise InputError for a number that cannot be."""
        if self.combine not in WAYS:
            raise InputError(f"no way {self.combine!r} to make one verdict of several draws", hint=did_you_mean(self.combine, WAYS))
        for name, share in (("min_parse_rate", self.min_parse_rate), ("failures", self.failures)):
            if not isinstance(share, Real) or not 0 <= share <= 1:
                raise InputError(f"{name} is a share from 0 to 1, not {share}")
        for name, n in (("draws", self.draws), ("limit", self.limit)):
            if n is not None and (not isinstance(n, Integral) or n < 1):
                raise InputError(f"{name} is a number from 1, not {n}")
        texts = isinstance(self.columns, Mapping) and all(isinstance(word, str) for pair in self.columns.items() for word in pair)
        if self.columns is not None and not texts:
            raise InputError(f"columns are names by what they hold, {{'output': NAME}}, not {self.columns!r}")
        if self.draws > 1 and "reference" in check_policies(self.policies):
            raise InputError(f"the policy 'reference' reads one output of a row, not {self.draws} draws", hint="evaluate once more with one draw")

    @property
    def settings(self) -> dict[str, Any]:
        """What the figures depend on beside the rows."""
        out: dict[str, Any] = {"policies": list(check_policies(self.policies)), "k": self.combine, "min_parse_rate": self.min_parse_rate}
        out |= {"bootstrap": BOOTSTRAP, "seed": self.seed}
        return out | ({"look_alikes": names} if (names := list(dict.fromkeys(several(self.look_alikes)))) else {})


def evaluated(
    models: Mapping[str, Any] | None,
    predictions: Mapping[str, Places] | str | Path | None,
    benchmarks: str | Sequence[str] | Mapping[str, Places | None] | None,
    data: Places,
    tasks: Sequence[str],
    options: Options,
) -> Evaluated:
    """What `toolkit.evaluate` returns, which says the rest."""
    from toolkit.generation import Meter

    options.check()
    settings, found, files = options.settings, configs(models), files_of(predictions)
    _check_models(found, files, options)
    changes = wanted(several(options.perturb), options.perturb_model, bool(found))
    definitions = guards_of([*found, *files], options.guard, found, options.guard_policy)
    for name, config in found.items():
        check_plays(definitions[name], config)
    _check_reading(options.reading, definitions)
    roots, held = Roots.of(None), Files()
    journal = (at_door(options.work) if options.work else workspace()) / JOURNAL
    judges = [Judge(name, definitions[name], config) for name, config in found.items()]
    sets, remarks = _rows(benchmarks, data, tasks, judges, files, definitions, dict(options.columns or {}), roots, held)
    if options.limit is not None:
        sets = _sampled(judges, sets, options.limit, options.seed)
    for judge in judges:
        _check_labels(judge, sets)
    if names := settings.get("look_alikes"):
        counts = {(b["name"], b["task"]): (p := b["label_counts"].get(b["positive"], 0), b["n"] - p) for one in sets for b in one.entries()}
        check_look_alikes(names, counts, settings["policies"])
    if found:
        check_output(journal, reads=roots.read, own="journal", hint="name another folder with `work`")
    if (folder := None if options.output is None else at_door(options.output)) is not None:
        check_output(folder, reads=roots.read, journal=journal if found else None, whole=True, own="evaluation")
    changed = None
    if changes is not None:
        changed = changes.make(sets, options.seed, work=options.work, budget=options.budget, allow=options.allow)
    how: dict[str, Any] = {"draws": options.draws, "reading": options.reading, "probabilities": options.probabilities, "journal": journal}
    how |= {"meter": Meter(cap=options.budget), "progress": options.progress or Progress.silent()}
    run = Run(judges, sets, settings, remarks, **how, changed=changed)
    with stopping():
        out = _written(run, folder)
    out["too_many"] = _too_much(out, options.failures)
    return out


def _written(run: Run, folder: Path | None) -> Evaluated:
    """The evaluation in its folder; without one, in a folder that is there as long as the result is."""
    if folder is not None:
        done = run.write(folder)
        return Evaluated({**done.document, "folder": short_path(folder), "spent": run.spent}, done)
    place = Path(tempfile.mkdtemp(prefix="guardkit-"))
    try:
        done = run.write(place / "evaluation")
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    out = Evaluated({**done.document, "folder": None, "spent": run.spent}, done)
    weakref.finalize(out, shutil.rmtree, place, ignore_errors=True)
    return out


def unreliable(found: Mapping[str, Any]) -> TooManyFailures:
    """The error for what `evaluate` left in ``too_many``."""
    right = "all outputs are in rows.parquet ({--output|output}). Is it the right guard ({--guard|guard})?"
    hint = f"{right} Where so few are meant to do: {{--min-parse-rate|min_parse_rate}}, {{--failures|failures}}"
    return TooManyFailures(found["too_many"], where=found["folder"], hint=hint)


def _too_much(found: Mapping[str, Any], failures: float) -> str | None:
    """What makes an evaluation end with an error, though it is written."""
    out = []
    for one in found["results"]:
        if (why := one["withheld"]) and one["policy"] == found["settings"]["policies"][0]:
            reasons = ", ".join(f"{reason} {n:,}" for reason, n in why["unread"].items())
            of = f"{one['model']} on {one['benchmark']}, {one['task']}"
            words = f"{of}: {100 * why['parse_rate']:.1f} % of the outputs could be read, so there are no figures"
            shown = [f"    {line['id']} ({line['unread']}): {_line(line['output'])}" for line in why["first"]]
            out.append("\n".join([f"{words} ({reasons}); the first of the others:", *shown]))
    spent = found["spent"]
    total = spent["asked"] + spent["from_journal"]
    if spent["failed"] > failures * total:
        kinds = ", ".join(f"{name} {n:,} ({_line(spent['messages'].get(name))})" for name, n in sorted(spent["errors"].items(), key=lambda e: -e[1]))
        out.append(f"{spent['failed']:,} of {total:,} generations failed, and count as not read: {kinds}")
    return "\n  ".join(out) or None


def _line(text: str | None) -> str:
    return "nothing" if not text or not text.strip() else repr(" ".join(text.split())[:160])


# Checks -----------------------------------------------------------------------------------------------------------------


def _check_models(found: Mapping[str, BaseBackendConfig], files: Mapping[str, Sequence[Path]], options: Options) -> None:
    draws, leave = options.draws, several(options.allow)
    if not found and not files:
        raise InputError(
            "nothing to evaluate", hint="name a model that is asked ({--model|models}), or files with what one wrote ({--predictions|predictions})"
        )
    if both := next((name for name in found if name in files), None):
        raise InputError(f"two models are called {both!r}", hint="give each a name of its own: NAME=FOLDER, NAME=FILE")
    if found and options.combine == "mean" and not options.probabilities:
        raise InputError(
            "the mean of draws is that of their probabilities, and none are asked for",
            hint="say {--probabilities|probabilities=True}, or combine by majority",
        )
    if not found and draws > 1:
        raise InputError(f"{draws} draws of nobody: no model is asked", hint="draws that a file holds have a column: draw=COLUMN")
    for name, config in found.items():
        try:
            as_guard(config)
        except ValueError as e:
            raise InputError(str(e), where=f"model {name!r}") from None
        if draws > 1 and getattr(config, "temperature", None) == 0:
            raise InputError(f"{draws} draws at temperature 0 are {draws} times the same", hint="set a temperature, or ask once")
    left = [e for config in found.values() for e in refused(config, leave, lambda key: ".".join(map(str, key)))]
    if left := left or unknown(found.values(), leave):
        raise InputErrors(left)


def _check_reading(reading: str | None, guards: Mapping[str, Guard]) -> None:
    known = sorted({name for guard in guards.values() for name in guard.readings})
    if reading is not None and reading not in known:
        hint = did_you_mean(reading, known) if known else "their tasks declare none (`readings`)"
        raise InputError(f"no guard here has a reading {reading!r}", hint=hint)


def _check_labels(judge: Judge, sets: Sequence[RowSet]) -> None:
    """Raise InputError where a guard has other words for a set's labels."""
    for one in sets:
        for task in judged_tasks(judge.guard, one):
            if judge.written is not None and (one.name not in judge.joined or judge.written.column("verdict", task, one.tasks) is not None):
                continue
            words, known = one.tasks[task].labels, judge.guard.task(task).labels
            if odd := next((w for w in words if w not in known), None):
                message = f"{odd!r} of {one.name}, task {task!r}, is no label of the guard {judge.guard.name!r}"
                raise InputError(
                    message,
                    where=f"model {judge.name!r}",
                    hint=f"the guard has {', '.join(known)}; another guard ({{--guard|guard}}), or map the labels",
                )


# Rows -------------------------------------------------------------------------------------------------------------------


def _rows(
    benchmarks: str | Sequence[str] | Mapping[str, Places | None] | None,
    data: Places,
    tasks: Sequence[str],
    judges: list[Judge],
    files: Mapping[str, Sequence[Path]],
    guards: Mapping[str, Guard],
    columns: Mapping[str, str],
    roots: Roots,
    held: Files,
) -> tuple[list[RowSet], list[str]]:
    """The sets; `judges` gets those that have written."""
    first = next(iter(guards.values()))
    every, mine = False, dict(files)
    if benchmarks or (several(data) and not tasks):
        wanted = benchmark_sets(benchmarks or None, data, tasks, roots, held)
        sets, remarks, every = wanted.sets, list(wanted.remarks), not wanted.named
    elif several(data):
        sets, remarks = [data_set(data, tasks, first, columns, roots, held, asked=bool(judges))], []
    elif tasks and files:
        name = next(iter(files))
        made, judge = set_of_files(name, mine.pop(name), guards[name], tasks, columns, roots, held, asked=bool(judges))
        sets, remarks = [made], []
        judges.append(judge)
    else:
        theirs = "name benchmarks ({--benchmark NAME|benchmarks=[NAME]}, or all), files of theirs ({--data|data})"
        hint = f"{theirs}, or the task of the labels in files of your own ({{--task|task}})"
        raise InputError("evaluate on which rows?", hint=hint)
    read = [read_files(name, places, guards[name], sets, columns, roots, held, strict=not every) for name, places in mine.items()]
    judges += read
    if not any(j.config for j in judges):
        bare = [one for one in sets if not any(one.name in j.joined for j in judges)]
        if bare and not every:
            raise InputError(f"no prediction is about a row of {bare[0].name}", hint="leave that benchmark out, or name files about it")
        remarks += [f"no predictions, and left out: {', '.join(one.name for one in bare)}"] if bare else []
        sets = [one for one in sets if one not in bare]
    for judge in judges:
        lacking = [one.name for one in sets if judge.written is not None and one.name not in judge.joined]
        remarks += [f"{judge.name}: no predictions for {', '.join(lacking)}"] if lacking else []
    return sets, remarks


def _sampled(judges: Sequence[Judge], sets: Sequence[RowSet], limit: int, seed: int) -> list[RowSet]:
    """A sample of each set; what files say of the others is left out."""
    out = []
    for one in sets:
        numbers = one.drawn(limit, seed)
        out.append(one.sample(numbers, seed))
        for judge in judges:
            if one.name in judge.joined:
                judge.joined[one.name] = judge.joined[one.name].only(numbers)
                judge.about["sets"][one.name]["missing"] = judge.joined[one.name].missing
    return out
