"""Scoring guards: accuracy and F1 with intervals, beside a constant answer; how far labels can be trusted, by guards' verdicts; the benchmarks."""

from toolkit.evaluation._benchmarks import (
    BenchmarkFiles,
    Chosen,
    benchmark_names,
    benchmark_needs,
    choose_benchmarks,
    find_among,
    find_benchmark,
    load_benchmark,
)
from toolkit.evaluation._benchmarks_model import Benchmark, BenchmarkTask
from toolkit.evaluation._benchmarks_read import BenchmarkRows, benchmark_blocks, read_benchmark
from toolkit.evaluation._cohort import Cohort, Together, agreeing, apart
from toolkit.evaluation._curves import budget_threshold
from toolkit.evaluation._document import EVALUATION, Evaluation, fill_evaluation, read_evaluation, write_evaluation
from toolkit.evaluation._flips import flips
from toolkit.evaluation._hygiene import INPUT_TEXTS, MARKS, clean_scores, conflicting, held_twice, marked, numbered, shared
from toolkit.evaluation._means import means
from toolkit.evaluation._noise import Confident, Noise, confident, disagreement, fractions, pooled, score_labels
from toolkit.evaluation._paired import holm, mcnemar, paired
from toolkit.evaluation._perturb import CHANGES, Change, Perturbed, changed_text, choose_changes, perturb, perturbed
from toolkit.evaluation._policies import NOT_JUDGED, POLICIES
from toolkit.evaluation._published import (
    Published,
    PublishedFigure,
    choose_published,
    load_published,
    published_figures,
    published_names,
    published_spread,
)
from toolkit.evaluation._results import breakdown, results
from toolkit.evaluation._rows import ROWS
from toolkit.evaluation._score import Counts, Score, baselines, score, score_counts, tally

__all__ = [
    "CHANGES",
    "EVALUATION",
    "INPUT_TEXTS",
    "MARKS",
    "NOT_JUDGED",
    "POLICIES",
    "ROWS",
    "Benchmark",
    "BenchmarkFiles",
    "BenchmarkRows",
    "BenchmarkTask",
    "Change",
    "Chosen",
    "Cohort",
    "Confident",
    "Counts",
    "Evaluation",
    "Noise",
    "Perturbed",
    "Published",
    "PublishedFigure",
    "Score",
    "Together",
    "agreeing",
    "apart",
    "baselines",
    "benchmark_blocks",
    "benchmark_names",
    "benchmark_needs",
    "breakdown",
    "budget_threshold",
    "changed_text",
    "choose_benchmarks",
    "choose_changes",
    "choose_published",
    "clean_scores",
    "confident",
    "conflicting",
    "disagreement",
    "fill_evaluation",
    "find_among",
    "find_benchmark",
    "flips",
    "fractions",
    "held_twice",
    "holm",
    "load_benchmark",
    "load_published",
    "marked",
    "mcnemar",
    "means",
    "numbered",
    "paired",
    "perturb",
    "perturbed",
    "pooled",
    "published_figures",
    "published_names",
    "published_spread",
    "read_benchmark",
    "read_evaluation",
    "results",
    "score",
    "score_counts",
    "score_labels",
    "shared",
    "tally",
    "write_evaluation",
]
