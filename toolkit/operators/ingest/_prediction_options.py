"""Options of the operator `load_predictions`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from toolkit.operators.ingest._intake import IntakeConfig


class LoadPredictionsConfig(IntakeConfig):
    """Options of `load_predictions`."""

    files: dict[str, str | list[str]] = Field(min_length=1)
    """For each guard what it wrote: a file, or a list of files or a pattern, each file a draw; a folder's files are one draw. Parquet, JSON Lines,
    JSON or CSV. A file may also say itself which draw a row is (a column `draw`), or have all outputs of a row in a list. Rows: {prompt, label,
    predict}, `prompt` being the guard's whole input, as it is or as a chat template wraps it; or {id, output} and the like (`columns`)."""
    task: str | None = None
    """The task that a column `label` is for. Labels of several tasks: columns ``label_<task>``."""
    label_source: Literal["human", "vote", "consensus", "reviewed", "written", "constructed", "inferred"] = "human"
    """Who gave the labels."""
    samples: str | None = None
    """A file of the rows that were asked about, with `id`, ``label_<task>`` and what was asked; generations are joined to it by id."""
    columns: dict[str, str] = {}
    """Names of columns that are not the usual ones: {output: completion, label_prompt: gold}; `sample_id` for the id in `samples`."""
    read: Literal["lenient", "strict"] | None = None
    """Read the outputs' labels, too, as a `verdicts` step does; with `texts: reference` they always are, leniently by default."""
    reading: str | None = None
    """For labels of which some stand for others (`readings` of the guard's tasks): by which reading, the labels of the files included. By default all
    are taken as they are."""
    texts: Literal["copy", "reference"] = "copy"
    """Keep the texts in the step's rows, or leave them where they are: then the rows are lines of the record ``judged``, and a step that asks for a
    text reads it out of the files, which must not change."""

    @property
    def by_id(self) -> bool:
        """Whether rows are known by their ids, whatever the files have."""
        return self.samples is not None or "id" in self.columns
