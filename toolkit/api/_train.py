"""Training outside a recipe, on shards."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.api._results import Trained, TrainingPlan
from toolkit.api._reward_scores import open_scores
from toolkit.common.errors import GuardkitError, InputError, InputErrors, Stopped, short_path
from toolkit.common.folders import check_own, kept_of
from toolkit.common.models import MODEL, calm_threads, model_folder
from toolkit.common.outputs import check_output
from toolkit.common.paths import Roots, at_door, here
from toolkit.common.reach import refused, unknown
from toolkit.common.resources import find
from toolkit.common.several import several
from toolkit.common.yamlfile import YamlFile, load_yaml
from toolkit.pipeline import Progress, refuse_stale, stopping

if TYPE_CHECKING:
    from toolkit.training import Trainer


def train(
    method: str,
    config: str | Path | Mapping[str, Any],
    progress: Progress | None = None,
    *,
    allow: str | Collection[str] = (),
    overwrite: bool = False,
    unverified: bool = False,
    work: str | Path | None = None,
    budget: float | None = None,
) -> Trained:
    """Train a guard on shards, as a YAML file or a dict says.

    Args:
        method: sft, dpo, grpo, or a trainer that another package brings.
        config: file of YAML, or a dict, with `shards` and `output` (folders), `model`, the other options of the operator train_sft, train_dpo or
            train_grpo (of the last also `guard`),
            and `seed`. For `shards` and `model` a step's folder will do, too.
        progress: where progress is shown, and the settings as they are resolved before it starts; default nowhere.
        allow: what it may do beyond the shards, by name (``trust_remote_code``, ``api_key_env=MY_KEY``): see `toolkit.common.reach`.
        overwrite: replace a model that guardkit trained before.
        unverified: train on shards that are not as their manifest says.
        work, budget: of the models that `scores` of grpo name: the folder of the journal (``WORK/journal``; default: the workspace), and the dollars
            that they may cost.

    Returns:
        Metrics of the training, and ``output``.

    Raises:
        InputErrors: faults in the config; InputError: no such trainer, an `output` in which something is (but see `overwrite`), shards or a
            model of a stale step, shards that are not as their manifest says, or cannot be trained on; Missing: no trl.
        Stopped: interrupted, or the disk is full; no model is written then, and the same again starts from the beginning, or goes on
            from its last checkpoint.

    Example:
        >>> config = {"shards": "outputs/small/shards/shards", "output": "guard", "model": {"scratch": {}}, "trainer": {"max_steps": 1}}
        >>> toolkit.train("sft", config)["steps"]
        1
    """
    from toolkit.training import DpoConfig, GrpoConfig, SftConfig, in_words, kept_update, memory_words

    job = _checked(_job(method, config, allow, overwrite=overwrite), unverified=unverified)
    progress = progress or Progress.silent()

    def show(done: int, total: int, loss: float | None) -> None:
        progress.update(done, total, "" if loss is None else f"{job.trainer.shows} {loss:.3f}")

    def begin(settings: Mapping[str, Any]) -> None:
        progress.note(in_words(settings))
        if isinstance(job.options, SftConfig | DpoConfig | GrpoConfig):
            for words in memory_words(job.options, Roots.of(None)):
                progress.note(words)

    try:
        with stopping(_AGAIN), progress, _scoring(job, work, budget) as more:
            progress.start(f"train {method}")
            metrics = job.trainer.train(job.shards, job.out, job.options, on_progress=show, on_begin=begin, **more)
            progress.finish(f"model in {short_path(job.out)}")
    except Stopped as e:
        if getattr(job.options, "checkpoint", None) is None or (update := kept_update(kept_of(job.out))) is None:
            raise
        hint, goes_on = e.hint or _AGAIN, _GOES_ON.format(update)
        raise Stopped(e.message, hint=hint.replace(_AGAIN, goes_on) if _AGAIN in hint else f"{goes_on}; {hint}") from e
    return Trained({**metrics, "output": short_path(job.out)})


@contextmanager
def _scoring(job: _Job, work: str | Path | None, budget: float | None) -> Iterator[dict[str, Any]]:
    """What a training that is scored by models is given beside its options: functions that ask them."""
    from toolkit.training import GrpoConfig, trained_guard

    if not (isinstance(job.options, GrpoConfig) and job.options.scores):
        yield {}
        return
    guard = trained_guard(job.shards, job.options)
    with open_scores(guard, job.options.scores, work=work, budget=budget, beside=job.roots, strict=True) as scores:
        yield {"guard": guard, "scorers": scores.scorers}


def plan_training(
    method: str, config: str | Path | Mapping[str, Any], *, allow: str | Collection[str] = (), unverified: bool = False
) -> TrainingPlan:
    """What `train` would do with the same arguments: all that shows before the first update, with nothing trained and nothing written.

    Args:
        method, config, allow, unverified: as for `train`. A model in `output` is no hindrance.

    Returns:
        rows (of DPO: pairs), rows_used, dropped, tokens, tokens_an_epoch, settings, seconds and seconds_at_peak (where known, else null), and
        `words`, the same for people, with the memory that it takes.

    Raises:
        InputErrors, InputError, Missing: what `train` would refuse before its first update; InputError: a trainer that does not plan.

    Example:
        >>> config = {"shards": "outputs/small/shards/shards", "output": "guard", "model": {"scratch": {}}, "trainer": {"max_steps": 1}}
        >>> toolkit.plan_training("sft", config)["settings"]["updates"]
        1
    """
    from toolkit.training import DpoConfig, GrpoConfig, SftConfig, memory_words, plan_words

    job = _checked(_job(method, config, allow, overwrite=True), unverified=unverified)
    if job.trainer.plan is None:
        raise InputError(f"the trainer {method!r} does not say what it would do")
    found = job.trainer.plan(job.shards, job.out, job.options)
    memory = memory_words(job.options, Roots.of(None)) if isinstance(job.options, SftConfig | DpoConfig | GrpoConfig) else []
    return TrainingPlan({**found, "output": short_path(job.out), "words": [*plan_words(found, short_path(job.out)), *memory]})


def _checked(job: _Job, *, unverified: bool) -> _Job:
    """A training whose shards and options are sound, as far as that shows before its rows are read."""
    from toolkit.shards import verify

    if unverified or getattr(job.options, "unverified", False):
        job = replace(job, options=_unverified(job.options))
    else:
        verify(job.shards)
    calm_threads()  # before torch is first loaded
    try:
        job.trainer.check(job.options)
    except InputError as e:
        raise InputErrors([_placed(f, job.file) for f in (e.errors if isinstance(e, InputErrors) else [e])]) from None
    return job


def _unverified(options: Any) -> Any:
    """The options with the one of that name set, where a trainer has it."""
    return options.model_copy(update={"unverified": True}) if "unverified" in type(options).model_fields else options


@dataclass(frozen=True)
class _Job:
    """A training as it was asked for, its paths found."""

    trainer: Trainer
    options: Any
    shards: Path
    out: Path
    file: YamlFile
    roots: Roots


def _job(method: str, config: str | Path | Mapping[str, Any], allow: str | Collection[str], *, overwrite: bool) -> _Job:
    from pydantic import Field, create_model

    from toolkit.shards.exporters import shard_folder
    from toolkit.training import TRAINERS, GrpoConfig, own_file

    trainer = TRAINERS.get(method)
    more: dict[str, Any] = {"shards": (Path, Field()), "output": (Path, Field())}
    form = create_model("TrainFile", __base__=trainer.config, **more)
    file = YamlFile("config", dict(config)) if isinstance(config, Mapping) else load_yaml(at_door(config))
    own = [] if isinstance(config, Mapping) else [at_door(config)]
    roots = Roots.of(own[0].parent if own else None)
    given: Any = file.model(form)
    if left := refused(given, several(allow), file.where) or unknown([given], several(allow)):
        raise InputErrors(left)
    options: Any = trainer.config(**{n: getattr(given, n) for n in trainer.config.model_fields})
    model = getattr(options, "model", None)
    start = model_folder(model, roots, short=True) if isinstance(model, str) else None
    if start is not None:
        options = options.model_copy(update={"model": str(start)})
    if (sharing := own_file(getattr(options, "parallel", None))) is not None:
        options = options.model_copy(update={"parallel": str(roots.file(sharing))})
    if getattr(options, "unverified", None) is not None and "media" in type(options).model_fields:
        media = roots.settled(options.media) if options.media is not None else own[0].parent if own else here()
        options = options.model_copy(update={"media": str(media)})
    for name, folder in (("preset", "grpo"), ("formula", "rewards"), ("guard", "guards")):
        if isinstance(options, GrpoConfig) and isinstance(value := getattr(options, name), str):
            options = options.model_copy(update={name: str(_schema(folder, value, roots, file.where((name,))))})
    shards, out = shard_folder(roots.first(given.shards) or at_door(given.shards)), at_door(given.output)
    _check_output(out, shards, file.where(("output",)), overwrite=overwrite)
    check_output(out, reads=[*own, shards, *roots.read], whole=True, own="model", hint="give another folder as `output`")
    for used in filter(None, (shards, start)):
        refuse_stale(used)
    return _Job(trainer, options, shards, out, file, roots)


def _schema(folder: str, name: str, roots: Roots, where: str) -> Path:
    """The file of a schema that the training names."""
    try:
        return find(folder, name, roots)
    except InputError as e:
        raise InputError(e.message, where=where, hint=e.hint) from None


def other_trainers() -> list[str]:
    """Names of the trainers that other packages bring."""
    from toolkit.training import TRAINERS

    return TRAINERS.others()


_AGAIN = "start it again: no model is written yet, and it begins anew"
_GOES_ON = "start it again: no model is written yet, and it goes on after update {:,}"


def _placed(error: GuardkitError, file: YamlFile) -> GuardkitError:
    """An error about a key, where it is in the file."""
    return InputError(error.message, where=file.where(tuple((error.where or "trainer").split("."))), hint=error.hint)


def _check_output(out: Path, shards: Path, where: str, *, overwrite: bool) -> None:
    """A training replaces its folder whole: nothing but a model that guardkit trained may be there, and that only where it may be lost."""
    hint = f"a training replaces its folder whole: {MODEL.hint}"
    if out == here() or shards.resolve().is_relative_to(out.resolve()):
        raise InputError(f"{short_path(out)!r} cannot be written: it is the working folder, or the shards are in it", where=where, hint=hint)
    check_own(out, MODEL, where=where)
    if not overwrite and out.is_dir() and MODEL.wrote(out) is not None:
        raise InputError(
            f"{short_path(out)}: a trained model is there",
            where=where,
            hint="give another folder, or say {--overwrite|overwrite=True} to replace it",
        )
