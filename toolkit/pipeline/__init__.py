"""Recipe to plan to run: fingerprints, resume, row conservation, the local engine."""

from typing import TYPE_CHECKING

from toolkit.common.lazy import lazily

if TYPE_CHECKING:
    from toolkit.pipeline._build_step import build_step as build_step
    from toolkit.pipeline._compare_runs import diff_runs as diff_runs
    from toolkit.pipeline._compare_runs import rejected_rows as rejected_rows
    from toolkit.pipeline._counts import ConservationError as ConservationError
    from toolkit.pipeline._counts import Counts as Counts
    from toolkit.pipeline._coverage_gaps import WantedRows as WantedRows
    from toolkit.pipeline._coverage_places import Place as Place
    from toolkit.pipeline._coverage_places import place_of as place_of
    from toolkit.pipeline._coverage_places import row_blocks as row_blocks
    from toolkit.pipeline._covered_rows import find_coverage as find_coverage
    from toolkit.pipeline._covered_rows import named_definition as named_definition
    from toolkit.pipeline._current import AGAIN as AGAIN
    from toolkit.pipeline._current import STALE as STALE
    from toolkit.pipeline._current import refuse_stale as refuse_stale
    from toolkit.pipeline._current import stale as stale
    from toolkit.pipeline._current import stale_step as stale_step
    from toolkit.pipeline._disputed_rows import find_disputes as find_disputes
    from toolkit.pipeline._ended import settled as settled
    from toolkit.pipeline._fingerprints import Fingerprints as Fingerprints
    from toolkit.pipeline._fingerprints import Standing as Standing
    from toolkit.pipeline._fingerprints import finished as finished
    from toolkit.pipeline._fingerprints import prospect as prospect
    from toolkit.pipeline._finished import StepFolder as StepFolder
    from toolkit.pipeline._finished import is_run as is_run
    from toolkit.pipeline._finished import recipe_steps as recipe_steps
    from toolkit.pipeline._finished import run_of as run_of
    from toolkit.pipeline._finished import step_folders as step_folders
    from toolkit.pipeline._finished import verify_run as verify_run
    from toolkit.pipeline._folder import JOURNAL as JOURNAL
    from toolkit.pipeline._folder import builder_of as builder_of
    from toolkit.pipeline._folder import clean as clean
    from toolkit.pipeline._forecast import forecast as forecast
    from toolkit.pipeline._gate_limits import GateLimits as GateLimits
    from toolkit.pipeline._gate_limits import gate_limits as gate_limits
    from toolkit.pipeline._gated_figures import run_gate as run_gate
    from toolkit.pipeline._hygiene_document import find_hygiene as find_hygiene
    from toolkit.pipeline._in_memory import FrameInput as FrameInput
    from toolkit.pipeline._in_memory import FrameOutput as FrameOutput
    from toolkit.pipeline._overlaid_rows import gone_rows as gone_rows
    from toolkit.pipeline._overlaps import Places as Places
    from toolkit.pipeline._overlaps import find_overlaps as find_overlaps
    from toolkit.pipeline._plan import make_plan as make_plan
    from toolkit.pipeline._planned import Plan as Plan
    from toolkit.pipeline._planned import PlannedStep as PlannedStep
    from toolkit.pipeline._processes import Processes as Processes
    from toolkit.pipeline._progress import Progress as Progress
    from toolkit.pipeline._reach import reach as reach
    from toolkit.pipeline._recipe import TAKEN as TAKEN
    from toolkit.pipeline._recipe import Recipe as Recipe
    from toolkit.pipeline._recipe import build_recipe as build_recipe
    from toolkit.pipeline._recipe import kept_recipe as kept_recipe
    from toolkit.pipeline._recipe import load_recipe as load_recipe
    from toolkit.pipeline._recipe import resolved_yaml as resolved_yaml
    from toolkit.pipeline._rounds import Loop as Loop
    from toolkit.pipeline._rounds import round_id as round_id
    from toolkit.pipeline._row_engine import LOCAL as LOCAL
    from toolkit.pipeline._row_engine import Engine as Engine
    from toolkit.pipeline._row_engine import Local as Local
    from toolkit.pipeline._row_files import output_file as output_file
    from toolkit.pipeline._row_files import write_rows as write_rows
    from toolkit.pipeline._row_steps import Work as Work
    from toolkit.pipeline._run import Run as Run
    from toolkit.pipeline._run import run_plan as run_plan
    from toolkit.pipeline._selection import EVERY as EVERY
    from toolkit.pipeline._selection import Selection as Selection
    from toolkit.pipeline._selection import inputs_of as inputs_of
    from toolkit.pipeline._spec import RecipeSpec as RecipeSpec
    from toolkit.pipeline._step import Step as Step
    from toolkit.pipeline._stop import stopping as stopping

__getattr__, __dir__ = lazily(__name__)
