"""How the files of predictions and of samples say what they say (`toolkit.sources.Layout`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from toolkit.operators.base import Context
from toolkit.operators.ingest._prediction_files import Part
from toolkit.operators.ingest._prediction_options import LoadPredictionsConfig
from toolkit.sources import Layout, layout_of

OF_SAMPLES = ("prompt", "response", "source")
"""What is asked about, which a file of samples has where there is one."""


def layouts(parts: Sequence[Part], config: LoadPredictionsConfig, ctx: Context) -> dict[int, Layout]:
    """That of each file, by its number, as far as one of its rows can be read."""
    found = {part.number: file_layout(part.path, config, ctx) for part in parts}
    return {number: layout for number, layout in found.items() if layout is not None}


def file_layout(path: Path, config: LoadPredictionsConfig, ctx: Context) -> Layout | None:
    """That of a file of predictions; None where no row of its beginning can be read.

    Raises:
        InputError: as `toolkit.sources.layout_of`. Of the columns that are named it may lack those that the file of samples has.
    """
    tasks = ctx.guard.task_names
    of_samples = [*OF_SAMPLES, "id", "label", *(f"label_{t}" for t in tasks)] if config.samples is not None else []
    columns = {key: name for key, name in config.columns.items() if key != "sample_id"}
    return layout_of(path, tasks, columns, ctx.files, of_samples)


def sample_layout(path: Path | None, config: LoadPredictionsConfig, ctx: Context) -> Layout | None:
    """That of the file of samples, which may lack a column that is named for what predictions have (InputError: as `toolkit.sources.layout_of`)."""
    if path is None:
        return None
    columns = dict(config.columns)
    if (own := columns.pop("sample_id", None)) is not None:
        columns["id"] = own
    return layout_of(path, ctx.guard.task_names, columns, ctx.files, [*config.columns])
