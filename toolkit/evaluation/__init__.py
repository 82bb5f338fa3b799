"""Scoring guards: what a number is made of, and what it may be beside.

`benchmarks` has the rows that guards are scored on, `scoring` the figures of a per-row table (`ROWS`), `comparing` what differences are worth and
what others have published, `changed` rows under changes that keep their labels, `chains` what a guard's reasoning does to its verdict; `_document` is
the folder of an evaluation, `_noise` how far labels can be trusted by guards' verdicts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.common.lazy import lazily

if TYPE_CHECKING:
    from toolkit.evaluation._document import EVALUATION as EVALUATION
    from toolkit.evaluation._document import Evaluation as Evaluation
    from toolkit.evaluation._document import fill_evaluation as fill_evaluation
    from toolkit.evaluation._document import read_evaluation as read_evaluation
    from toolkit.evaluation._document import write_evaluation as write_evaluation
    from toolkit.evaluation._noise import Confident as Confident
    from toolkit.evaluation._noise import Noise as Noise
    from toolkit.evaluation._noise import confident as confident
    from toolkit.evaluation._noise import disagreement as disagreement
    from toolkit.evaluation._noise import fractions as fractions
    from toolkit.evaluation._noise import pooled as pooled
    from toolkit.evaluation._noise import score_labels as score_labels
    from toolkit.evaluation._row_table import CHANGED as CHANGED
    from toolkit.evaluation._row_table import ROWS as ROWS
    from toolkit.evaluation.benchmarks._benchmarks import BenchmarkFiles as BenchmarkFiles
    from toolkit.evaluation.benchmarks._benchmarks import Chosen as Chosen
    from toolkit.evaluation.benchmarks._benchmarks import benchmark_names as benchmark_names
    from toolkit.evaluation.benchmarks._benchmarks import benchmark_needs as benchmark_needs
    from toolkit.evaluation.benchmarks._benchmarks import choose_benchmarks as choose_benchmarks
    from toolkit.evaluation.benchmarks._benchmarks import find_among as find_among
    from toolkit.evaluation.benchmarks._benchmarks import find_benchmark as find_benchmark
    from toolkit.evaluation.benchmarks._benchmarks import load_benchmark as load_benchmark
    from toolkit.evaluation.benchmarks._benchmarks_model import Benchmark as Benchmark
    from toolkit.evaluation.benchmarks._benchmarks_model import BenchmarkTask as BenchmarkTask
    from toolkit.evaluation.benchmarks._benchmarks_read import BenchmarkRows as BenchmarkRows
    from toolkit.evaluation.benchmarks._benchmarks_read import benchmark_blocks as benchmark_blocks
    from toolkit.evaluation.benchmarks._benchmarks_read import read_benchmark as read_benchmark
    from toolkit.evaluation.benchmarks._joined_predictions import Joined as Joined
    from toolkit.evaluation.benchmarks._joined_predictions import Joining as Joining
    from toolkit.evaluation.benchmarks._joined_predictions import own_set as own_set
    from toolkit.evaluation.benchmarks._sets import RowSet as RowSet
    from toolkit.evaluation.benchmarks._sets import benchmark_set as benchmark_set
    from toolkit.evaluation.benchmarks._sets import guard_tasks as guard_tasks
    from toolkit.evaluation.benchmarks._shared_rows import INPUT_TEXTS as INPUT_TEXTS
    from toolkit.evaluation.benchmarks._shared_rows import MARKS as MARKS
    from toolkit.evaluation.benchmarks._shared_rows import clean_scores as clean_scores
    from toolkit.evaluation.benchmarks._shared_rows import conflicting as conflicting
    from toolkit.evaluation.benchmarks._shared_rows import held_twice as held_twice
    from toolkit.evaluation.benchmarks._shared_rows import marked as marked
    from toolkit.evaluation.benchmarks._shared_rows import numbered as numbered
    from toolkit.evaluation.benchmarks._shared_rows import shared as shared
    from toolkit.evaluation.benchmarks._written_sets import Written as Written
    from toolkit.evaluation.benchmarks._written_sets import read_labels as read_labels
    from toolkit.evaluation.benchmarks._written_sets import read_written as read_written
    from toolkit.evaluation.chains._chain_figures import CHAINS as CHAINS
    from toolkit.evaluation.chains._chain_figures import as_rows as as_rows
    from toolkit.evaluation.chains._chain_figures import chain_flips as chain_flips
    from toolkit.evaluation.chains._chain_figures import chain_settled as chain_settled
    from toolkit.evaluation.chains._chain_figures import chain_stages as chain_stages
    from toolkit.evaluation.chains._chain_figures import redrawn as redrawn
    from toolkit.evaluation.chains._matched_rates import RATES as RATES
    from toolkit.evaluation.chains._matched_rates import matched_rates as matched_rates
    from toolkit.evaluation.changed._flips import flips as flips
    from toolkit.evaluation.changed._perturb import CHANGE_KINDS as CHANGE_KINDS
    from toolkit.evaluation.changed._perturb import CHANGES as CHANGES
    from toolkit.evaluation.changed._perturb import Change as Change
    from toolkit.evaluation.changed._perturb import Perturbed as Perturbed
    from toolkit.evaluation.changed._perturb import changed_text as changed_text
    from toolkit.evaluation.changed._perturb import choose_changes as choose_changes
    from toolkit.evaluation.changed._perturb import perturb as perturb
    from toolkit.evaluation.changed._perturb import perturbed as perturbed
    from toolkit.evaluation.changed._robustness import ChangedSets as ChangedSets
    from toolkit.evaluation.changed._robustness import changed_sets as changed_sets
    from toolkit.evaluation.comparing._certificate import MARGIN as MARGIN
    from toolkit.evaluation.comparing._certificate import Certified as Certified
    from toolkit.evaluation.comparing._certificate import certificate as certificate
    from toolkit.evaluation.comparing._certificate import measured as measured
    from toolkit.evaluation.comparing._certificate import tested as tested
    from toolkit.evaluation.comparing._cohort import Cohort as Cohort
    from toolkit.evaluation.comparing._cohort import Together as Together
    from toolkit.evaluation.comparing._cohort import agreeing as agreeing
    from toolkit.evaluation.comparing._cohort import apart as apart
    from toolkit.evaluation.comparing._compare_work import Asked as Asked
    from toolkit.evaluation.comparing._comparison import NothingShared as NothingShared
    from toolkit.evaluation.comparing._comparison import compare_sides as compare_sides
    from toolkit.evaluation.comparing._published import Published as Published
    from toolkit.evaluation.comparing._published import PublishedFigure as PublishedFigure
    from toolkit.evaluation.comparing._published import choose_published as choose_published
    from toolkit.evaluation.comparing._published import load_published as load_published
    from toolkit.evaluation.comparing._published import published_figures as published_figures
    from toolkit.evaluation.comparing._published import published_names as published_names
    from toolkit.evaluation.comparing._published import published_spread as published_spread
    from toolkit.evaluation.comparing._sides import Side as Side
    from toolkit.evaluation.comparing._sides import open_sides as open_sides
    from toolkit.evaluation.scoring._bounds import LEVEL as LEVEL
    from toolkit.evaluation.scoring._curves import budget_threshold as budget_threshold
    from toolkit.evaluation.scoring._figures import figures as figures
    from toolkit.evaluation.scoring._look_alikes import check_look_alikes as check_look_alikes
    from toolkit.evaluation.scoring._look_alikes import look_alikes as look_alikes
    from toolkit.evaluation.scoring._means import means as means
    from toolkit.evaluation.scoring._ordinal import ordinal as ordinal
    from toolkit.evaluation.scoring._ordinal import quadratic_kappa as quadratic_kappa
    from toolkit.evaluation.scoring._paired import holm as holm
    from toolkit.evaluation.scoring._paired import mcnemar as mcnemar
    from toolkit.evaluation.scoring._paired import paired as paired
    from toolkit.evaluation.scoring._policies import NOT_JUDGED as NOT_JUDGED
    from toolkit.evaluation.scoring._policies import POLICIES as POLICIES
    from toolkit.evaluation.scoring._policies import WAYS as WAYS
    from toolkit.evaluation.scoring._policies import check_policies as check_policies
    from toolkit.evaluation.scoring._results import breakdown as breakdown
    from toolkit.evaluation.scoring._results import results as results
    from toolkit.evaluation.scoring._score import Counts as Counts
    from toolkit.evaluation.scoring._score import Score as Score
    from toolkit.evaluation.scoring._score import baselines as baselines
    from toolkit.evaluation.scoring._score import score as score
    from toolkit.evaluation.scoring._score import score_counts as score_counts
    from toolkit.evaluation.scoring._score import tally as tally
    from toolkit.evaluation.scoring._shares import ShareChange as ShareChange
    from toolkit.evaluation.scoring._shares import share_change as share_change

__getattr__, __dir__ = lazily(__name__)
