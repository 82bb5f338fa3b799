"""Operators by name. Listing names imports nothing; `operator_class` imports one module.

Another package brings its own through the entry point group ``guardkit.operators`` (name = ``module:Class``). A name of guardkit's own cannot be
taken by another package.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points

from toolkit.common.errors import InputError, did_you_mean
from toolkit.operators.base import Operator

GROUP = "guardkit.operators"

BUILT_IN = {
    "load": "ingest.load:Load",
    "read": "ingest.read:Read",
    "load_predictions": "ingest.load_predictions:LoadPredictions",
    "normalise": "clean.normalise:Normalise",
    "deduplicate": "clean.deduplicate:Deduplicate",
    "decontaminate": "clean.decontaminate:Decontaminate",
    "measure": "clean.measure:Measure",
    "split": "choose.split:Split",
    "select": "choose.select:Select",
    "leave_out": "choose.leave_out:LeaveOut",
    "balance": "choose.balance:Balance",
    "mix": "choose.mix:Mix",
    "stratify": "choose.stratify:Stratify",
    "cap": "choose.cap:Cap",
    "synthesise": "reason.synthesise:Synthesise",
    "generate": "reason.generate:Generate",
    "validate": "reason.validate:Validate",
    "rederive": "reason.rederive:Rederive",
    "grade": "reason.grade:Grade",
    "swap_labels": "reason.swap_labels:SwapLabels",
    "render_sft": "export.render_sft:RenderSft",
    "render_dpo": "export.render_dpo:RenderDpo",
    "shards": "export.shards:Shards",
    "train_sft": "train.train_sft:TrainSft",
    "train_dpo": "train.train_dpo:TrainDpo",
    "sample": "judge.sample:Sample",
    "verdicts": "judge.verdicts:Verdicts",
    "mine": "judge.mine:Mine",
    "noise": "judge.noise:Noise",
    "review": "judge.review:Review",
    "relabel": "judge.relabel:Relabel",
    "pair": "judge.pair:Pair",
    "evaluate": "judge.evaluate:Evaluate",
}


def operator_names() -> list[str]:
    """Names of all operators, those of other packages included."""
    return [*BUILT_IN, *sorted({e.name for e in entry_points(group=GROUP)} - set(BUILT_IN))]


def operator_class(name: str) -> type[Operator]:
    """The operator of that name.

    Raises:
        InputError: there is none (the message has the nearest name), or another package's cannot be loaded or is no operator.
    """
    if name in BUILT_IN:
        module, cls = BUILT_IN[name].split(":")
        found: type[Operator] = getattr(import_module(f"toolkit.operators.{module}"), cls)
        return found
    for entry in entry_points(group=GROUP):
        if entry.name == name:
            package = entry.dist.name if entry.dist else "another package"
            try:
                loaded = entry.load()
            except Exception as e:  # whatever a foreign module raises while it is imported
                raise InputError(f"the operator {name!r} of {package} cannot be loaded: {type(e).__name__}: {e}", where=entry.value) from e
            if not (isinstance(loaded, type) and issubclass(loaded, Operator)):
                raise InputError(f"{name!r} of {package} is no Operator", where=entry.value)
            return loaded
    raise InputError(f"unknown operator {name!r}", hint=did_you_mean(name, operator_names()))
