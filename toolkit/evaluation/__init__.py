"""Scoring guards: what a number is made of, and what it may stand beside.

`benchmarks` has the rows that guards are scored on, `scoring` the figures of a per-row table (`ROWS`), `comparing` what differences are worth and
what others have published, `changed` rows under changes that keep their labels; `_document` is the folder of an evaluation, `_noise` how far labels
can be trusted by guards' verdicts.
"""

from toolkit.evaluation._document import EVALUATION, Evaluation, fill_evaluation, read_evaluation, write_evaluation
from toolkit.evaluation._noise import Confident, Noise, confident, disagreement, fractions, pooled, score_labels
from toolkit.evaluation._rows import CHANGED, ROWS
from toolkit.evaluation.benchmarks._benchmarks import (
    BenchmarkFiles,
    Chosen,
    benchmark_names,
    benchmark_needs,
    choose_benchmarks,
    find_among,
    find_benchmark,
    load_benchmark,
)
from toolkit.evaluation.benchmarks._benchmarks_model import Benchmark, BenchmarkTask
from toolkit.evaluation.benchmarks._benchmarks_read import BenchmarkRows, benchmark_blocks, read_benchmark
from toolkit.evaluation.benchmarks._hygiene import INPUT_TEXTS, MARKS, clean_scores, conflicting, held_twice, marked, numbered, shared
from toolkit.evaluation.benchmarks._predictions import Joined, Joining, own_set
from toolkit.evaluation.benchmarks._sets import RowSet, benchmark_set, guard_tasks
from toolkit.evaluation.benchmarks._written import USUAL, Written, read_labels, read_written
from toolkit.evaluation.changed._flips import flips
from toolkit.evaluation.changed._perturb import CHANGE_KINDS, CHANGES, Change, Perturbed, changed_text, choose_changes, perturb, perturbed
from toolkit.evaluation.changed._robustness import ChangedSets, changed_sets
from toolkit.evaluation.comparing._cohort import Cohort, Together, agreeing, apart
from toolkit.evaluation.comparing._compare import compare_sides
from toolkit.evaluation.comparing._compare_work import Asked
from toolkit.evaluation.comparing._published import (
    Published,
    PublishedFigure,
    choose_published,
    load_published,
    published_figures,
    published_names,
    published_spread,
)
from toolkit.evaluation.comparing._sides import Side, open_sides
from toolkit.evaluation.scoring._curves import budget_threshold
from toolkit.evaluation.scoring._figures import figures
from toolkit.evaluation.scoring._look_alikes import check_look_alikes, look_alikes
from toolkit.evaluation.scoring._means import means
from toolkit.evaluation.scoring._paired import holm, mcnemar, paired
from toolkit.evaluation.scoring._policies import NOT_JUDGED, POLICIES, WAYS, check_policies
from toolkit.evaluation.scoring._results import breakdown, results
from toolkit.evaluation.scoring._score import Counts, Score, baselines, score, score_counts, tally

__all__ = [
    "CHANGED",
    "CHANGES",
    "CHANGE_KINDS",
    "EVALUATION",
    "INPUT_TEXTS",
    "MARKS",
    "NOT_JUDGED",
    "POLICIES",
    "ROWS",
    "USUAL",
    "WAYS",
    "Asked",
    "Benchmark",
    "BenchmarkFiles",
    "BenchmarkRows",
    "BenchmarkTask",
    "Change",
    "ChangedSets",
    "Chosen",
    "Cohort",
    "Confident",
    "Counts",
    "Evaluation",
    "Joined",
    "Joining",
    "Noise",
    "Perturbed",
    "Published",
    "PublishedFigure",
    "RowSet",
    "Score",
    "Side",
    "Together",
    "Written",
    "agreeing",
    "apart",
    "baselines",
    "benchmark_blocks",
    "benchmark_names",
    "benchmark_needs",
    "benchmark_set",
    "breakdown",
    "budget_threshold",
    "changed_sets",
    "changed_text",
    "check_look_alikes",
    "check_policies",
    "choose_benchmarks",
    "choose_changes",
    "choose_published",
    "clean_scores",
    "compare_sides",
    "confident",
    "conflicting",
    "disagreement",
    "figures",
    "fill_evaluation",
    "find_among",
    "find_benchmark",
    "flips",
    "fractions",
    "guard_tasks",
    "held_twice",
    "holm",
    "load_benchmark",
    "load_published",
    "look_alikes",
    "marked",
    "mcnemar",
    "means",
    "numbered",
    "open_sides",
    "own_set",
    "paired",
    "perturb",
    "perturbed",
    "pooled",
    "published_figures",
    "published_names",
    "published_spread",
    "read_benchmark",
    "read_evaluation",
    "read_labels",
    "read_written",
    "results",
    "score",
    "score_counts",
    "score_labels",
    "shared",
    "tally",
    "write_evaluation",
]
