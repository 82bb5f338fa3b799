"""Recipes: YAML read strictly, ``each`` expanded, every value traceable to where it came from.

A recipe names a guard, a taxonomy, a seed and steps. A step has an `id`, the operator that it `use`s, what it reads `from` (by default
the step before) and the operator's options under `with`. ``each: {part: [a, b]}`` writes a step once for each value, with ``{part}``
replaced in `id`, `from` and `with`; with several names, once for each combination. ``parameters: {category: fraud}`` are replaced in the same way in
all steps and in the recipe's own keys, and ``--set category=…`` gives them another value (`toolkit.pipeline._parameters`). Steps that run in
``rounds`` stand for all of their rounds (`toolkit.pipeline._rounds`).

A fault is an `InputError` that names the file, the line and the key, or the override that it came from. Faults that leave the other steps
readable are carried in `Recipe.faults`, so that `make_plan` reports them together with those that only it can find; nothing here knows the
operators.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from toolkit.common.errors import GuardkitError, InputError, InputErrors, did_you_mean, short_path
from toolkit.common.paths import Roots
from toolkit.common.reading import regular
from toolkit.common.resources import find_recipe
from toolkit.common.yamlfile import DEPTH, FILE_BYTES, NODES, Key, YamlFile, dump_yaml, explain, load_yaml, parse_yaml, read_text
from toolkit.pipeline._parameters import fill, named_in, parameters_of
from toolkit.pipeline._rounds import Ended, Loop, find_loop, kept_end
from toolkit.pipeline._spec import RecipeSpec, StepSpec
from toolkit.pipeline._step import Step

_ID = re.compile(r"[a-zA-Z][a-zA-Z0-9_.-]{0,99}")
"""What a step may be called: its folder has that name."""

STEPS = 10_000
"""Steps that a recipe may have once `each` is expanded."""

_NODES, _LETTERS = NODES * 9 // 10, FILE_BYTES // 2
"""What its steps may hold in all then: the run's own copy of the recipe is a YAML file, too."""

TAKEN = {"events.jsonl", "recipe.yaml", "run.json", "summary.json", "report.html"}
"""Files of a run's folder, which no step may be called."""


@dataclass
class PlacedFile(YamlFile):
    """A recipe's file in whose places the overrides stand for the values that they replaced."""

    overridden: Mapping[Key, str] = field(default_factory=dict)

    def where(self, key: Key = ()) -> str:
        """``file:line:key``, or the override that set the key."""
        for n in range(len(key), 0, -1):
            if (text := self.overridden.get(key[:n])) is not None:
                return f"--set {text}"
        place = super().where(key)
        if not self.lines and len(key) > 1 and key[0] == "steps":  # of no file: where a line would stand, the step's name
            named = self.data["steps"][key[1]]
            return f"{place} (step {named['id']!r})" if isinstance(named, Mapping) and "id" in named else place
        return place


@dataclass(frozen=True)
class Recipe:
    """A recipe after expansion and overrides, not yet checked against the operators.

    `folder` is its own, or that which it says `beside`; `roots` are where its relative paths are looked up: the working folder as it was when the
    recipe was read, then `folder`. `path` is its file, None for one that was put together otherwise.

    `loop` are its rounds, whose steps are all among `steps`.

    With `faults` it can be explained no further and does not run: `make_plan` raises them.
    """

    spec: RecipeSpec
    file: YamlFile
    steps: list[Step]
    folder: Path
    roots: Roots
    path: Path | None = None
    faults: list[GuardkitError] = field(default_factory=list)
    loop: Loop | None = None

    def with_end(self, ended: Ended | None) -> Recipe:
        """The recipe whose loop ends so; None: no sooner than it is written."""
        if self.loop is None or self.loop.ended == ended or (ended is not None and ended.round > self.loop.spec.times):
            return self
        loop = replace(self.loop, ended=ended)
        return replace(self, loop=loop, steps=loop.steps())


def load_recipe(name: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe by path, folder or shipped name.

    Args:
        name: see `toolkit.common.resources.find_recipe`.
        overrides: ``STEP.option=value`` or ``seed=3``; the value is YAML.

    Raises:
        InputError: no such recipe, not YAML, no steps that could be read, or an override that fits nothing. Other faults are in the
            recipe's `faults`.
    """
    path = find_recipe(str(name))
    recipe = build_recipe(load_yaml(path), path.parent, overrides)
    recipe.roots.saw(path)
    return replace(recipe, path=path)


def build_recipe(file: YamlFile, folder: Path, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe from parsed YAML, as `load_recipe`; `folder` is where relative paths start unless the recipe says `beside`."""
    if not isinstance(file.data, dict):
        raise InputError("a recipe is a mapping with the keys recipe and steps", where=file.where())
    top, per_step, given = _overrides(overrides, file.data.get("parameters"))
    texts: dict[Key, str] = {(name,): text for name, (text, _) in top.items()} | {("parameters", name): text for name, (text, _) in given.items()}
    placed = PlacedFile(file.path, file.data, file.lines, texts)
    parameters = parameters_of(placed, RecipeSpec.model_fields, given)
    own_keys = {k: v if k in ("steps", "parameters") else fill(v, parameters) for k, v in file.data.items()}
    spec, faults = _spec(placed, {**own_keys, **{name: value for name, (_, value) in top.items()}})
    _bounded(placed, spec.steps, parameters)
    written = [(i, raw, parameters | words) for i, raw in enumerate(spec.steps) for words in _combinations(raw)]
    options = _by_step(per_step, [str(fill(raw.id, words)) for _, raw, words in written])
    steps = []
    seen: set[str] = set()
    for i, raw, words in written:
        step = _step(raw, words, ("steps", i), placed, options)
        fault = None if raw.use == _FAULTY else _fault_of_id(step, seen)
        if fault is not None:
            faults.append(fault)
        seen.add(step.id)
        steps.append(replace(step, faulty=raw.use == _FAULTY or fault is not None))
    loop = None
    if spec.rounds is not None and not any(s.faulty for s in steps):
        try:
            loop = find_loop(spec.rounds, steps, placed, STEPS)
        except InputErrors as e:
            faults += e.errors
    own = Roots.of(folder)
    named = [spec.beside] if isinstance(spec.beside, str) else spec.beside or []
    starts = [own.first(name, Path.is_dir) or own.folders[-1] / name for name in named] or [own.folders[-1]]
    roots = Roots(tuple(dict.fromkeys((own.folders[0], *starts))))
    return Recipe(spec, placed, steps if loop is None else loop.steps(), starts[-1], roots, faults=faults, loop=loop)


_FAULTY = "?"
"""Operator of a step that could not be read."""


def _spec(file: YamlFile, data: dict[str, Any]) -> tuple[RecipeSpec, list[GuardkitError]]:
    """The recipe as written, without what is faulty in it, and the faults."""
    try:
        return RecipeSpec.model_validate(data), []
    except ValidationError as e:
        faults: list[GuardkitError] = list(explain(e, RecipeSpec, file, data))
        try:
            return RecipeSpec.model_validate(_without_faults(data, e)), faults
        except ValidationError:
            raise InputErrors(faults) from None


def _without_faults(data: dict[str, Any], error: ValidationError) -> dict[str, Any]:
    """`data` without keys that are unknown or have a wrong value; a step with another fault keeps its id alone."""
    out = {**data}
    if isinstance(data.get("steps"), list):
        out["steps"] = [dict(s) if isinstance(s, dict) else s for s in data["steps"]]
    for fault in error.errors():
        match fault["loc"]:
            case ("steps", int(i), key) if fault["type"] == "extra_forbidden":
                out["steps"][i].pop(key, None)
            case ("steps", int(i), *_):
                known = out["steps"][i].get("id") if isinstance(out["steps"][i], dict) else None
                out["steps"][i] = {"id": known if isinstance(known, str) else f"step-{i}", "use": _FAULTY}
            case ("recipe", *_):
                out["recipe"] = "recipe"
            case (key, *_):
                out.pop(str(key), None)
    return out


def resolved_yaml(recipe: Recipe, sources: Mapping[str, Sequence[Path]] | None = None) -> str:
    """The recipe after expansion and overrides, in the form that it was read in, rounds written once; it runs again from any folder.

    Args:
        recipe: as read.
        sources: files for sources that were given beside the recipe.
    """
    top = {k: v for k, v in recipe.spec.model_dump().items() if k not in ("steps", "sources", "parameters")}
    places = list(dict.fromkeys(str(folder.resolve()) for folder in recipe.roots.folders))
    media = top["media"] and str(recipe.roots.settled(top["media"]).resolve())
    top |= {"beside": places if len(places) > 1 else places[0], "media": media}
    top |= {"sources": {name: [str(p) for p in paths] for name, paths in sources.items()}} if sources else {}
    steps = [
        {"id": s.id, "use": s.use}
        | ({"from": s.inputs} if s.inputs is not None else {})
        | ({"with": s.options} if s.options else {})
        | ({"doc": s.doc} if s.doc else {})
        for s in (recipe.steps if recipe.loop is None else recipe.loop.written)
    ]
    return dump_yaml({**top, "steps": steps})


_SEALED = "# sha256 of what follows: "


def sealed_yaml(recipe: Recipe, sources: Mapping[str, Sequence[Path]] | None = None) -> str:
    """`resolved_yaml` as a run keeps it: its first line tells whether the rest is whole."""
    text = resolved_yaml(recipe, sources)
    return f"{_SEALED}{hashlib.sha256(text.encode()).hexdigest()}\n{text}"


def kept_yaml(run: Path) -> YamlFile:
    """The recipe that a run keeps, as it wrote it; one of an earlier guardkit has no first line to hold it against.

    Raises:
        InputError: there is none, or it was changed.
    """
    path = run / "recipe.yaml"
    regular(path, path)
    first, _, rest = (text := read_text(path, FILE_BYTES)).partition("\n")
    if not text or (first.startswith(_SEALED) and first.removeprefix(_SEALED) != hashlib.sha256(rest.encode()).hexdigest()):
        raise InputError("has been changed since the run wrote it", where=short_path(path), hint="run the recipe again: what it made is kept")
    return parse_yaml(text, short_path(path))


def kept_recipe(run: Path) -> Recipe:
    """The recipe of a run, to look at it, with the rounds that the run came to. Raises as `kept_yaml` and `load_recipe` do."""
    return build_recipe(kept_yaml(run), run).with_end(kept_end(run))


# Overrides ------------------------------------------------------------------------------------------------------------

_PerStep = tuple[str, str, Any]
"""An override as given, its dotted name, its value."""


def _overrides(texts: Sequence[str], parameters: Any) -> tuple[dict[str, tuple[str, Any]], list[_PerStep], dict[str, tuple[str, Any]]]:
    """Overrides of the recipe's own keys, by key, those of steps' options, and those of its parameters."""
    top: dict[str, tuple[str, Any]] = {}
    per_step: list[_PerStep] = []
    given: dict[str, tuple[str, Any]] = {}
    own = sorted(set(RecipeSpec.model_fields) - {"recipe", "steps", "parameters"})
    known = [*own, *(parameters if isinstance(parameters, dict) else ())]
    for text in texts:
        name, eq, raw = text.partition("=")
        if not eq or not name:
            raise InputError(f"--set {text}: not of the form STEP.option=value")
        if name.count(".") > DEPTH:
            raise InputError(f"--set {text[:60]}…: more than {DEPTH} levels deep")
        value = parse_yaml(raw, f"--set {name}").data
        if "." in name:
            per_step.append((text, name, value))
        elif name in own:
            top[name] = (text, value)
        elif name in known:
            given[name] = (text, value)
        else:
            raise InputError(
                f"--set {text}: not a recipe's own key", hint=f"for a step's option write STEP.option=value; {did_you_mean(name, known)}"
            )
    return top, per_step, given


def _by_step(overrides: Sequence[_PerStep], ids: Sequence[str]) -> dict[str, list[tuple[str, list[str], Any]]]:
    """Overrides by step: (as given, path of the option, value). Step ids may hold dots: the longest that fits is meant."""
    out: dict[str, list[tuple[str, list[str], Any]]] = {}
    for text, name, value in overrides:
        fits = [i for i in ids if name.startswith(f"{i}.")]
        if not fits:
            step = name.partition(".")[0]
            raise InputError(f"--set {text}: no step called {step!r}", hint=did_you_mean(step, ids))
        step = max(fits, key=len)
        if (rest := name[len(step) + 1 :].partition("."))[0].isdigit():  # as later rounds are called
            raise InputError(f"--set {text}: an option is that of every round", hint=f"write --set {step}.{rest[2]}{text[len(name) :]}")
        out.setdefault(step, []).append((text, name[len(step) + 1 :].split("."), value))
    return out


def _assign(options: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for part in path[:-1]:
        inner = options.get(part)
        options[part] = dict(inner) if isinstance(inner, dict) else {}
        options = options[part]
    options[path[-1]] = value


# Expansion ------------------------------------------------------------------------------------------------------------


def _bounded(file: YamlFile, steps: Sequence[StepSpec], parameters: Mapping[str, Any]) -> None:
    """Whether the steps can be written out: they are counted before any is (InputError)."""
    n = nodes = letters = 0
    longest = max((len(str(value)) for value in parameters.values()), default=0)
    for i, spec in enumerate(steps):
        words = [len(word) for values in (spec.each or {}).values() for word in values]
        times = math.prod(len(values) for values in (spec.each or {}).values())
        each, long = _size([spec.id, spec.from_, spec.with_, spec.doc], max([longest, *words]))
        n, nodes, letters = n + times, nodes + times * (each + 5), letters + times * long
        if n > STEPS or nodes > _NODES or letters > _LETTERS:
            where = file.where(("steps", i, "each") if spec.each else ("steps", i))
            what = f"{n:,} steps, at most {STEPS:,}" if n > STEPS else f"more than {_NODES:,} keys and values or {_LETTERS:,} letters"
            raise InputError(f"the recipe has {what}", where=where, hint="make several recipes of it")


def _size(value: Any, longest: int) -> tuple[int, int]:
    """Keys and values, and letters of a value once its placeholders are filled with words of that length, at most."""
    if isinstance(value, Mapping | list):
        parts = [_size(v, longest) for v in (value if isinstance(value, list) else [*value, *value.values()])]
        return 1 + sum(p[0] for p in parts), sum(p[1] for p in parts)
    return 1, len(value) + value.count("{") * longest if isinstance(value, str) else 8


def _combinations(spec: StepSpec) -> list[dict[str, str]]:
    names = list(spec.each or {})
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*(spec.each or {}).values())]


def _step(raw: StepSpec, words: dict[str, Any], key: Key, file: PlacedFile, overrides: Mapping[str, Sequence[tuple[str, list[str], Any]]]) -> Step:
    options = fill(raw.with_, words)
    texts = dict(file.overridden)
    given = {str(k[1]): text for k, text in texts.items() if k[0] == "parameters"}
    for name, value in raw.with_.items():
        texts |= {(*key, "with", name): given[parameter] for parameter in named_in(value, given)}
    origins = {k: PlacedFile(file.path, file.data, file.lines, texts).where((*key, "with", k)) for k in options}
    step_id = str(fill(raw.id, words))
    for text, path, value in overrides.get(step_id, ()):
        _assign(options, path, value)
        origins[".".join(path)] = f"--set {text}"
        texts[(*key, "with", *path)] = text
    own = PlacedFile(file.path, file.data, file.lines, texts)
    return Step(step_id, raw.use, fill(raw.from_, {name: str(word) for name, word in words.items()}), options, key, own, raw.doc, origins)


def _fault_of_id(step: Step, seen: Collection[str]) -> InputError | None:
    """What is wrong with a step's id: no name, a placeholder that `each` does not fill, or another step has it."""
    where = step.where("id")
    if left := re.search(r"{\w*}", step.id):
        return InputError(
            f"nothing fills {left[0]} in {step.id!r}", where=where, hint=f"give its values: each: {{{left[0].strip('{}') or 'name'}: [a, b]}}"
        )
    if not _ID.fullmatch(step.id) or step.id in TAKEN:
        return InputError(f"a step cannot be called {step.id!r}", where=where, hint="a letter, then letters, digits, _, . and -")
    if step.id in seen:
        return InputError(f"two steps are called {step.id!r}", where=where, hint="give one of them another id")
    return None
