"""Scoring guards: accuracy and F1 with intervals, beside a constant answer; judging labels by what guards said of them; the benchmarks."""

from toolkit.evaluation._benchmarks import (
    Benchmark,
    BenchmarkFiles,
    BenchmarkRows,
    Chosen,
    benchmark_names,
    benchmark_needs,
    choose_benchmarks,
    find_among,
    find_benchmark,
    load_benchmark,
    read_benchmark,
)
from toolkit.evaluation._noise import Confident, Noise, confident, disagreement, judge, pooled, said
from toolkit.evaluation._score import Counts, Score, baselines, score, score_counts, tally

__all__ = [
    "Benchmark",
    "BenchmarkFiles",
    "BenchmarkRows",
    "Chosen",
    "Confident",
    "Counts",
    "Noise",
    "Score",
    "baselines",
    "benchmark_names",
    "benchmark_needs",
    "choose_benchmarks",
    "confident",
    "disagreement",
    "find_among",
    "find_benchmark",
    "judge",
    "load_benchmark",
    "pooled",
    "read_benchmark",
    "said",
    "score",
    "score_counts",
    "tally",
]
