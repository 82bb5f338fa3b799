"""The labels of a task that asks for a harm category, made from a taxonomy by name when a guard's file is read."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from toolkit.common.errors import InputError, did_you_mean
from toolkit.common.paths import Roots
from toolkit.common.yamlfile import YamlFile
from toolkit.taxonomy import load_taxonomy


class TaxonomyLabels(BaseModel):
    """In place of a list of `labels`: ``{taxonomy: guardkit}``. The labels are then the word for no harm and the names of the categories."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    taxonomy: str
    """Name, or a path beside the guard's file."""
    none: str = "benign"
    """The first label: no category fits."""
    only: list[str] | None = Field(None, min_length=1)
    """These categories alone, in this order; None: all of them."""


def with_labels(file: YamlFile, roots: Roots) -> Any:
    """A guard's file with the labels of such tasks written out.

    Raises:
        InputError: no such taxonomy or category; InputErrors: faults in what stands there or in the taxonomy's file.
    """
    data = file.data
    tasks = data.get("tasks") if isinstance(data, dict) else None
    if not isinstance(tasks, list):
        return data
    return {**data, "tasks": [_written_out(file, task, i, roots) for i, task in enumerate(tasks)]}


def _written_out(file: YamlFile, task: Any, i: int, roots: Roots) -> Any:
    given = task.get("labels") if isinstance(task, dict) else None
    if not isinstance(given, dict):
        return task
    at = ("tasks", i, "labels")
    labels = file.model(TaxonomyLabels, given, at)
    try:
        taxonomy = load_taxonomy(labels.taxonomy, roots)
    except InputError as e:
        if e.where is not None:  # a fault in its file
            raise
        raise InputError(e.message, where=file.where((*at, "taxonomy")), hint=e.hint) from None
    for n, name in enumerate(labels.only or ()):
        if name not in taxonomy.names:
            hint = did_you_mean(name, taxonomy.names)
            raise InputError(f"no category {name!r} in the taxonomy {taxonomy.name!r}", where=file.where((*at, "only", n)), hint=hint)
    return {**task, "labels": [labels.none, *(labels.only or taxonomy.names)]}
