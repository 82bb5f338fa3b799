"""Recipe to plan to run: fingerprints, resume, row conservation, the local engine."""

from toolkit.pipeline import _diff as diff_rows
from toolkit.pipeline._counts import ConservationError, Counts
from toolkit.pipeline._diff import compare
from toolkit.pipeline._diff_side import Side, common_step
from toolkit.pipeline._fingerprints import Fingerprints, finished, up_to_date
from toolkit.pipeline._finished import StepFolder, is_run, recipe_steps, step_folders, verify_run
from toolkit.pipeline._folder import JOURNAL, clean
from toolkit.pipeline._generation import GenerationStep, run_generation
from toolkit.pipeline._models import Unbuilt, check_prices, config_of, declared
from toolkit.pipeline._plan import Plan, PlannedStep, make_plan
from toolkit.pipeline._progress import Progress
from toolkit.pipeline._reach import reach
from toolkit.pipeline._recipe import TAKEN, Recipe, RecipeSpec, build_recipe, kept_recipe, load_recipe, resolved_yaml
from toolkit.pipeline._run import Run, run_plan
from toolkit.pipeline._sampled import NotSampled, Sampler, spread
from toolkit.pipeline._stop import stopping

__all__ = [
    "JOURNAL",
    "TAKEN",
    "ConservationError",
    "Counts",
    "Fingerprints",
    "GenerationStep",
    "NotSampled",
    "Plan",
    "PlannedStep",
    "Progress",
    "Recipe",
    "RecipeSpec",
    "Run",
    "Sampler",
    "Side",
    "StepFolder",
    "Unbuilt",
    "build_recipe",
    "check_prices",
    "clean",
    "common_step",
    "compare",
    "config_of",
    "declared",
    "diff_rows",
    "finished",
    "is_run",
    "kept_recipe",
    "load_recipe",
    "make_plan",
    "reach",
    "recipe_steps",
    "resolved_yaml",
    "run_generation",
    "run_plan",
    "spread",
    "step_folders",
    "stopping",
    "up_to_date",
    "verify_run",
]
