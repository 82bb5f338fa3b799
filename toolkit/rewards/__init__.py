"""Rewards of what a guard writes, for online reinforcement learning: pure functions, and formulas of them as data (``schemas/rewards/<name>.yaml``).

What is a right answer and a sound form follows from the guard's definition. Nothing here loads torch: a trainer calls a `RewardFunction` with lists
of completions and columns, as TRL does.
"""

from toolkit.rewards._exported_reward import ExportedReward
from toolkit.rewards._formula import Formula, Length, default_formula, formula_names, formula_of, load_formula
from toolkit.rewards._reward_function import RewardFunction, Scorer
from toolkit.rewards._rewarded import Output, Rewarded, normalised, rewarded
from toolkit.rewards._terms import closeness, conciseness, exploration, length_aware, mean_accuracy, mixture, well_formed

__all__ = [
    "ExportedReward",
    "Formula",
    "Length",
    "Output",
    "RewardFunction",
    "Rewarded",
    "Scorer",
    "closeness",
    "conciseness",
    "default_formula",
    "exploration",
    "formula_names",
    "formula_of",
    "length_aware",
    "load_formula",
    "mean_accuracy",
    "mixture",
    "normalised",
    "rewarded",
    "well_formed",
]
