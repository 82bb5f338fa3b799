"""Operators by name. Listing names imports nothing; `operator_class` imports one module.

Another package brings its own through the entry point group ``guardkit.operators`` (name = ``module:Class``). A name of guardkit's own cannot be
taken by another package.
"""

from __future__ import annotations

from toolkit.common.plugins import Registry
from toolkit.operators.base import Operator

BUILT_IN = {
    "load": "ingest.load:Load",
    "read": "ingest.read:Read",
    "load_predictions": "ingest.load_predictions:LoadPredictions",
    "generate_seeds": "seeds.generate_seeds:GenerateSeeds",
    "confirm_seeds": "seeds.confirm_seeds:ConfirmSeeds",
    "benchmarks": "ingest.benchmarks:Benchmarks",
    "normalise": "clean.normalise:Normalise",
    "deduplicate": "clean.deduplicate:Deduplicate",
    "decontaminate": "clean.decontaminate:Decontaminate",
    "measure": "clean.measure:Measure",
    "media_budget": "clean.media_budget:MediaBudget",
    "split": "choose.split:Split",
    "select": "choose.select:Select",
    "leave_out": "choose.leave_out:LeaveOut",
    "balance": "choose.balance:Balance",
    "mix": "choose.mix:Mix",
    "stratify": "choose.stratify:Stratify",
    "cap": "choose.cap:Cap",
    "concat": "choose.concat:Concat",
    "replay": "choose.replay:Replay",
    "synthesise": "reason.synthesise:Synthesise",
    "generate": "reason.generate:Generate",
    "validate": "reason.validate:Validate",
    "rederive": "reason.rederive:Rederive",
    "grade": "reason.grade:Grade",
    "swap_labels": "reason.swap_labels:SwapLabels",
    "render_sft": "export.render_sft:RenderSft",
    "render_dpo": "export.render_dpo:RenderDpo",
    "render_rl": "export.render_rl:RenderRl",
    "shards": "export.shards:Shards",
    "train_sft": "train.train_sft:TrainSft",
    "train_dpo": "train.train_dpo:TrainDpo",
    "train_grpo": "train.train_grpo:TrainGrpo",
    "perturb": "change.perturb:Perturb",
    "add_policies": "change.add_policies:AddPolicies",
    "rephrase": "change.rephrase:Rephrase",
    "combine": "change.combine:Combine",
    "sample": "judge.sample:Sample",
    "ask_guards": "judge.ask_guards:AskGuards",
    "verdicts": "judge.verdicts:Verdicts",
    "check_rewrites": "judge.check_rewrites:CheckRewrites",
    "mine": "mining.mine:Mine",
    "item_response": "mining.item_response:ItemResponseStep",
    "noise": "labels.noise:Noise",
    "review": "labels.review:Review",
    "relabel": "labels.relabel:Relabel",
    "assign_categories": "labels.assign_categories:AssignCategories",
    "pair": "mining.pair:Pair",
    "evaluate": "judge.evaluate:Evaluate",
    "certify": "judge.certify:Certify",
    "compare": "judge.compare:Compare",
    "cut_chains": "judge.cut_chains:CutChains",
    "force_answers": "judge.force_answers:ForceAnswers",
    "audit": "judge.audit_chains:Audit",
}


OPERATORS: Registry[type[Operator]] = Registry(
    "operator",
    "guardkit.operators",
    {name: f"toolkit.operators.{where}" for name, where in BUILT_IN.items()},
    lambda name, found: isinstance(found, type) and issubclass(found, Operator),
    "Operator",
)


def operator_names() -> list[str]:
    """Names of all operators, those of other packages included."""
    return OPERATORS.names()


def operator_class(name: str) -> type[Operator]:
    """The operator of that name.

    Raises:
        InputError: there is none (the message has the nearest name), or another package's cannot be loaded or is no operator.
    """
    return OPERATORS.get(name)
