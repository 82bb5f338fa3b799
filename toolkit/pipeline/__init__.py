"""Recipe to plan to run: fingerprints, resume, row conservation, the local engine."""

from typing import TYPE_CHECKING

from toolkit.common.lazy import lazily
from toolkit.pipeline._build_step import build_step
from toolkit.pipeline._counts import ConservationError, Counts
from toolkit.pipeline._current import AGAIN, STALE, refuse_stale, stale, stale_step
from toolkit.pipeline._ended import settled
from toolkit.pipeline._fingerprints import Fingerprints, Standing, finished, prospect
from toolkit.pipeline._finished import StepFolder, is_run, recipe_steps, run_of, step_folders, verify_run
from toolkit.pipeline._folder import JOURNAL, clean
from toolkit.pipeline._in_memory import FrameInput, FrameOutput
from toolkit.pipeline._plan import make_plan
from toolkit.pipeline._planned import Plan, PlannedStep
from toolkit.pipeline._progress import Progress
from toolkit.pipeline._reach import reach
from toolkit.pipeline._recipe import TAKEN, Recipe, build_recipe, kept_recipe, load_recipe, resolved_yaml
from toolkit.pipeline._rounds import Loop, round_id
from toolkit.pipeline._row_engine import LOCAL, Engine, Local
from toolkit.pipeline._row_steps import Work
from toolkit.pipeline._run import Run, run_plan
from toolkit.pipeline._selection import EVERY, Selection, inputs_of
from toolkit.pipeline._spec import RecipeSpec
from toolkit.pipeline._step import Step
from toolkit.pipeline._stop import stopping

if TYPE_CHECKING:
    from toolkit.pipeline._compare_runs import diff_runs as diff_runs
    from toolkit.pipeline._compare_runs import rejected_rows as rejected_rows
    from toolkit.pipeline._coverage_gaps import WantedRows as WantedRows
    from toolkit.pipeline._covered_rows import find_coverage as find_coverage
    from toolkit.pipeline._disputed_rows import find_disputes as find_disputes
    from toolkit.pipeline._forecast import forecast as forecast
    from toolkit.pipeline._gate_limits import GateLimits as GateLimits
    from toolkit.pipeline._gate_limits import gate_limits as gate_limits
    from toolkit.pipeline._gated_figures import run_gate as run_gate
    from toolkit.pipeline._hygiene_document import find_hygiene as find_hygiene
    from toolkit.pipeline._overlaps import Places as Places
    from toolkit.pipeline._overlaps import find_overlaps as find_overlaps
    from toolkit.pipeline._processes import Processes as Processes
    from toolkit.pipeline._row_files import output_file as output_file
    from toolkit.pipeline._row_files import write_rows as write_rows

__all__ = [
    "AGAIN",
    "EVERY",
    "JOURNAL",
    "LOCAL",
    "STALE",
    "TAKEN",
    "ConservationError",
    "Counts",
    "Engine",
    "Fingerprints",
    "FrameInput",
    "FrameOutput",
    "GateLimits",
    "Local",
    "Loop",
    "Places",
    "Plan",
    "PlannedStep",
    "Processes",
    "Progress",
    "Recipe",
    "RecipeSpec",
    "Run",
    "Selection",
    "Standing",
    "Step",
    "StepFolder",
    "WantedRows",
    "Work",
    "build_recipe",
    "build_step",
    "clean",
    "diff_runs",
    "find_coverage",
    "find_disputes",
    "find_hygiene",
    "find_overlaps",
    "finished",
    "forecast",
    "gate_limits",
    "inputs_of",
    "is_run",
    "kept_recipe",
    "load_recipe",
    "make_plan",
    "prospect",
    "reach",
    "recipe_steps",
    "refuse_stale",
    "rejected_rows",
    "resolved_yaml",
    "round_id",
    "run_gate",
    "run_of",
    "run_plan",
    "settled",
    "stale",
    "stale_step",
    "step_folders",
    "stopping",
    "verify_run",
]

__getattr__, __dir__ = lazily(__name__)
