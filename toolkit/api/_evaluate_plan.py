"""What an evaluation is about, found and checked before anything is asked: the sets of rows, and the models with their guards."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.api._generate import read_config
from toolkit.api._trained import by_policy, guard_of
from toolkit.common.errors import InputError, Missing, did_you_mean
from toolkit.common.paths import Roots, at_door, is_there, near_file
from toolkit.common.several import several
from toolkit.evaluation import (
    Joined,
    Joining,
    RowSet,
    Written,
    benchmark_names,
    benchmark_set,
    choose_benchmarks,
    guard_tasks,
    load_benchmark,
    own_set,
    read_benchmark,
    read_written,
)
from toolkit.guards import Guard, input_columns, load_guard

if TYPE_CHECKING:
    from toolkit.common.reading import Files
    from toolkit.generation import BaseBackendConfig

Places = str | Path | Sequence[str | Path]
_LETTERS = re.compile(r"[^a-z0-9]")


@dataclass
class Judge:
    """A model whose verdicts are scored: asked (`config`), or read from files (`written`)."""

    name: str
    guard: Guard
    config: BaseBackendConfig | None = None
    written: Written | None = None
    joined: dict[str, Joined] = field(default_factory=dict)
    """By set, of what files say."""
    about: dict[str, Any] = field(default_factory=dict)
    """What the document says of how the files were joined."""


@dataclass(frozen=True)
class Wanted:
    """The sets, and remarks on how they were found."""

    sets: list[RowSet]
    remarks: list[str]
    named: bool = True
    """Whether each set was asked for by name, so that a model without a row of it is an error."""


# Models -----------------------------------------------------------------------------------------------------------------


def configs(models: Mapping[str, Any] | None) -> dict[str, BaseBackendConfig]:
    """The models to be asked, by name; one alone is named by its model."""
    if models is not None and not isinstance(models, Mapping):
        raise InputError(f"models are backends by name, {{NAME: {{'backend': …, 'model': …}}}}, not {type(models).__name__}")
    if not models:
        return {}
    if "backend" in models and not isinstance(models["backend"], Mapping):
        config = read_config(models)
        return {model_name(str(config.model_name or config.backend)): config}
    return {_name(name): read_config(config) for name, config in models.items()}


def files_of(predictions: Mapping[str, Places] | str | Path | None) -> dict[str, list[Path]]:
    """The files of each model that has written before; a single file's name stands for its model's.

    Raises:
        InputError: a file or folder that is not there.
    """
    if predictions is None:
        return {}
    if not isinstance(predictions, Mapping | str | Path):
        raise InputError(f"predictions are a file, or files by the name of their model, not {type(predictions).__name__}", hint="{NAME: FILE}")
    given = predictions if isinstance(predictions, Mapping) else {Path(predictions).name.partition(".")[0] or "model": predictions}
    out = {_name(name): [at_door(place) for place in several(places)] for name, places in given.items()}
    if (bare := next((name for name, places in out.items() if not places), None)) is not None:
        raise InputError(f"no file of the model {bare!r}", where="predictions")
    return out


def model_name(place: str) -> str:
    """What a model is called that nobody named: its folder's name, or that above a folder called ``model``; of an id its last part."""
    parts = [p for p in re.split(r"[/\\]", place) if p not in ("", ".", "..")]
    return _name((parts[-2] if parts[-1:] == ["model"] and len(parts) > 1 else parts[-1]) if parts else "model")


def _name(name: str) -> str:
    if not isinstance(name, str) or not name.strip() or any(c < " " for c in name):
        raise InputError(f"{name!r} is no name for a model", hint="name it: NAME=FOLDER, NAME=FILE")
    return name


def guards_of(
    names: Sequence[str],
    guard: str | Path | Mapping[str, str | Path] | None,
    found: Mapping[str, BaseBackendConfig],
    policy: str | Path | Sequence[str] | None = None,
) -> dict[str, Guard]:
    """The guard that each model plays: as named, else the one that its folder says it was trained for, else GuardReasoner's. Those that judge by a
    policy given with the question have the one that is named.

    Raises:
        InputError: no such guard, or one for a model that there is not; a guard that is asked and lacks its policy, or a policy for none of them.
    """
    if isinstance(guard, Mapping):
        if odd := next((name for name in guard if name not in names), None):
            raise InputError(f"no model is called {odd!r}", where="{--guard|guard}", hint=did_you_mean(odd, names))
        given: dict[str, str | Path | None] = {name: guard.get(name) for name in names}
    else:
        given = dict.fromkeys(names, guard)
    loaded: dict[str, Guard] = {}
    for name, own in given.items():
        if own is not None:
            loaded[name] = load_guard(own)
        else:
            loaded[name] = guard_of(found[name]) if name in found else load_guard("guardreasoner")
    shown = [name for name, definition in loaded.items() if definition.policy is not None]
    if policy is not None:
        loaded |= {name: by_policy(loaded[name], policy) for name in shown or loaded}  # where none is shown one, the first says so
    for name in set(shown).intersection(found):
        input_columns(loaded[name], ())
    return loaded


# Sets -------------------------------------------------------------------------------------------------------------------


def benchmark_sets(
    names: str | Sequence[str] | Mapping[str, Places | None] | None, data: Places, tasks: Sequence[str], roots: Roots, held: Files
) -> Wanted:
    """The sets of benchmarks.

    Args:
        names: as for `toolkit.evaluate`; None: those that `data` holds.
        data: files and folders.
        tasks: these alone; none: all.
        roots: where names are looked up.
        held: digests of what is read.

    Raises:
        InputError: no such benchmark, file or task; a benchmark without a row that can be scored.
        Missing: one of which the rows are not here.
    """
    places = [at_door(place) for place in several(data)]
    for place in places:
        if not is_there(place):
            raise InputError("no such file or folder", where=str(place), hint=near_file(place))
    every = names is None or names == "all" or (not isinstance(names, Mapping) and "all" in several(names))
    given = {n: [at_door(f) for f in several(files)] for n, files in names.items() if files is not None} if isinstance(names, Mapping) else {}
    asked = None if every else list(names) if isinstance(names, Mapping) else several(names)
    if asked is not None and len(asked) == 1 and places and not given and all(is_there(p, Path.is_file) for p in places):
        given, places = {asked[0]: places}, []
    if every and not places and not given:
        asked = benchmark_names(roots)
    chosen = choose_benchmarks(asked, places or None, given or None, roots, scoring=True, how="--benchmark {name}=FILE, or its folder as --data")
    if chosen.missing:
        raise Missing("\n  ".join(chosen.missing))
    if not chosen.found:
        where = ", ".join(map(str, places)) or None
        raise InputError(
            "no file of any benchmark", where=where, hint=f"known: {', '.join(benchmark_names(roots))}; for rows of your own name a task"
        )
    sets = []
    for found in chosen.found:
        if tasks and not set(tasks) & set(found.benchmark.task_names):
            if every:
                continue
            message = f"benchmark {found.benchmark.name!r} has no task {tasks[0]!r}"
            raise InputError(message, where="{--task|task}", hint=did_you_mean(tasks[0], found.benchmark.task_names))
        one = benchmark_set(read_benchmark(found, held))
        sets.append(_only(one, tasks))
    if not sets:
        known = sorted({t for found in chosen.found for t in found.benchmark.task_names})
        raise InputError(f"no benchmark has a task {tasks[0]!r}", where="{--task|task}", hint=did_you_mean(tasks[0], known))
    remarks = [f"without a file there, and left out: {', '.join(chosen.without)}"] if chosen.without else []
    return Wanted(sets, remarks, named=not every)


def _only(one: RowSet, tasks: Sequence[str]) -> RowSet:
    from dataclasses import replace

    return replace(one, tasks={name: task for name, task in one.tasks.items() if name in tasks}) if tasks else one


def data_set(data: Places, tasks: Sequence[str], guard: Guard, columns: Mapping[str, str], roots: Roots, held: Files, *, asked: bool) -> RowSet:
    """The set that files of one's own are (raises as `toolkit.evaluation.own_set`)."""
    from toolkit.sources import expand_files

    paths = expand_files([at_door(place) for place in several(data)], roots)
    known = guard_tasks(guard, tasks)
    return own_set(read_written(paths, known, guard, columns, held), _stem(paths), known, guard, asked=asked)[0]


def set_of_files(
    name: str,
    places: Sequence[Path],
    guard: Guard,
    tasks: Sequence[str],
    columns: Mapping[str, str],
    roots: Roots,
    held: Files,
    *,
    asked: bool,
) -> tuple[RowSet, Judge]:
    """The set that a model's own files are, with labels in them, and that model (raises as `toolkit.evaluation.own_set`)."""
    import polars as pl

    from toolkit.sources import expand_files

    for place in places:
        if not is_there(place):
            raise InputError("no such file or folder", where=str(place), hint=near_file(place))
    paths = expand_files(places, roots)
    known = guard_tasks(guard, tasks)
    written = read_written(paths, known, guard, columns, held)
    _says_something(written)
    made, written = own_set(written, _stem(paths), known, guard, asked=asked)
    judge = Judge(name, guard, written=written)
    join(judge, [made], {})
    again = written.rows.filter(~pl.struct("key", *(["draw"] if written.has("draw") else [])).is_first_distinct(), pl.col("key").is_not_null())
    judge.about["sets"][made.name] |= {"again": again.height, "first_again": _place(written.where(again["n"][0]))} if again.height else {}
    return made, judge


def _stem(paths: Sequence[Path]) -> str:
    return paths[0].name.partition(".")[0] or paths[0].name


# What files say ---------------------------------------------------------------------------------------------------------


def read_files(
    name: str,
    places: Sequence[Path],
    guard: Guard,
    sets: Sequence[RowSet],
    columns: Mapping[str, str],
    roots: Roots,
    held: Files,
    *,
    strict: bool,
) -> Judge:
    """A model that has written before, its files read and joined to the sets; where these were not named one by one (not `strict`), labels of another
    task are no error.

    Raises:
        InputError: a file or column that is not there; what does not fit (`toolkit.evaluation.benchmarks._joined_predictions`).
    """
    paths, of = _files(places, sets, roots)
    tasks = {t: task for one in sets for t, task in one.tasks.items()}
    written = read_written(paths, tasks, guard, columns, held)
    judge = Judge(name, guard, written=written)
    _says_something(written)
    join(judge, sets, {i: of[p] for i, p in enumerate(paths) if p in of}, strict=strict)
    return judge


def _says_something(written: Written) -> None:
    from toolkit.sources import file_columns, format_of

    if written.rows.height and not any(c in ("output", "verdict") or c.startswith("verdict_") for c in written.rows.columns):
        path = written.paths[0]
        hint = "name the column: --column output=COLUMN, or --column verdict=COLUMN for labels"
        there = ", ".join(map(repr, file_columns(path, format_of(path)) or ()))
        raise InputError(f"no column with outputs (predict, output) or verdicts; it has {there or 'none'}", where=str(path), hint=hint)


def join(judge: Judge, sets: Sequence[RowSet], file_of: Mapping[int, str], *, strict: bool = True) -> None:
    """Join a model's files to the sets, and note what came of it."""
    written = judge.written
    assert written is not None  # noqa: S101  of a model that has written
    joining = Joining(written, judge.guard, file_of, strict)
    about: dict[str, Any] = {"rows": written.rows.height + len(written.faults), "unreadable": {}, "sets": {}}
    for fault in written.faults:
        about["unreadable"][fault.reason] = about["unreadable"].get(fault.reason, 0) + 1
    for one in sets:
        if (found := joining.join(one)) is not None:
            judge.joined[one.name] = found
            differs, first = found.label_differs
            about["sets"][one.name] = {"by": found.by, "missing": found.missing, "repeated": found.repeated, "label_differs": differs}
            about["sets"][one.name] |= {"first_label": _place(first)} if first else {}
            others, first = found.text_differs
            about["sets"][one.name] |= {"text_differs": others, "first_text": _place(first)} if first else {}
            about["sets"][one.name] |= {"answered": answered} if (answered := _answered(written, one, found)) else {}
    if not judge.joined:
        raise _nothing_joined(judge, sets)
    extra = joining.extra()
    about["extra"] = len(extra)
    about["first_extra"] = _place(written.where(extra[0])) if extra else None
    about["first_unreadable"] = _place(written.faults[0].where) if written.faults else None
    judge.about = about


def _answered(written: Written, to: RowSet, found: Joined | None) -> int:
    """Prompts alone of a set of which nothing is known (`found`: what is), but of the prompt with a response."""
    import polars as pl

    if not (written.has("prompt") and written.has("response")):
        return 0
    rows = to.rows if found is None else to.rows[found.rows.filter(pl.col("n").is_null())["at"].unique().sort()]
    answered = written.rows.filter(pl.col("response").fill_null("") != "")["prompt"].drop_nulls()
    return rows.filter(pl.col("response").fill_null("") == "", pl.col("prompt").is_in(answered.unique().implode())).height


def _place(where: str) -> str:
    """A row's place without its file's folder, which is this machine's."""
    return Path(where).name


def _nothing_joined(judge: Judge, sets: Sequence[RowSet]) -> InputError:
    written = judge.written
    assert written is not None  # noqa: S101
    where = ", ".join(map(str, written.paths))
    if not written.rows.height:
        return written.fault() or InputError("no rows", where=where)
    names = ", ".join(one.name for one in sets[:3]) + (", …" if len(sets) > 3 else "")
    by = [word for word in ("id", "prompt") if written.has(word)]
    if not by:
        return InputError("neither ids nor texts, by which rows are joined", where=where, hint="name a column: --column id=COLUMN, or prompt=COLUMN")
    ids = f", its first id is {written.rows['id'][0]!r}, that of {sets[0].name} {sets[0].rows['id'][0]!r}" if written.has("id") else ""
    message = f"none of the {written.rows.height:,} rows of {judge.name!r} is about a row of {names}: by {' and '.join(by)}{ids}"
    hint = "are these outputs on another benchmark, or of another guard (--guard)? other columns: --column"
    if any(_answered(written, one, None) for one in sets):
        hint = "its prompts are there with a response, which is another question; if the guard saw the prompt alone, leave the column response out"
    return InputError(message, where=where, hint=hint)


def _files(places: Sequence[Path], sets: Sequence[RowSet], roots: Roots) -> tuple[list[Path], dict[Path, str]]:
    """A model's files; of several, each whose name (or its folder's) is a benchmark's is about that one alone, and one about another is left out."""
    from toolkit.sources import expand_files

    for place in places:
        if not is_there(place):
            raise InputError("no such file or folder", where=str(place), hint=near_file(place))
    paths = expand_files(places, roots)
    if len(paths) < 2 and not any(is_there(p, Path.is_dir) for p in places):
        return paths, {}
    known = _called(sets, roots)
    of = {p: name for p in paths if (name := known.get(_key(p.name.partition(".")[0])) or known.get(_key(p.parent.name)))}
    wanted = {one.name for one in sets}
    kept = [p for p in paths if of.get(p, "") in {*wanted, ""}]
    if not kept:
        hint = f"it has files of {', '.join(sorted(set(of.values())))}"
        raise InputError(f"no file of {', '.join(sorted(wanted))}", where=", ".join(map(str, places)), hint=hint)
    return kept, {p: name for p, name in of.items() if p in kept}


def _called(sets: Sequence[RowSet], roots: Roots) -> dict[str, str]:
    """Names of benchmarks by what files of theirs are called: name, title, that of the released file."""
    out: dict[str, str] = {}
    for name in benchmark_names(roots):
        try:
            b = load_benchmark(name, roots)
        except InputError:  # another's file: an error for whoever evaluates on it
            continue
        out |= {_key(word): b.name for word in (b.name, b.title, *b.aliases, b.released.part if b.released else b.name)}
    return out | {_key(word): one.name for one in sets for word in (one.name, one.title, *one.aliases)}


def _key(word: str) -> str:
    return _LETTERS.sub("", word.casefold())
