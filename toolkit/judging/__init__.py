"""Asking guards and reading what they say: render the guard's input, ask, parse, score. Each exists here once.

Everything that judges goes through this room: the operators `sample`, `verdicts` and `evaluate` over tables of a recipe, `toolkit.judge` over rows at
hand, and what moderates or serves one interaction at a time::

    with OpenGuard(guard, config) as one:                                   # a guard's definition and the model that plays it, opened once
        for verdict in one.verdicts([{"prompt": "…", "response": None}]):    # any number of rows, streaming, in their order; `draws` of each
            verdict.labels, verdict.unread

    read_output(guard, text, row=row)                                       # what was written elsewhere
    read_frame(guard, frame)                                                # a column of it, many times faster
    table = row_table(verdicts, guard)                                      # one line a row, draw and task: gold, verdict, why unread
    score_table(table, guard)                                               # accuracy and F1 with intervals, of each guard on each task

Contract: a verdict has for each task a label or the reason why there is none; a generation that failed has no label and is never left out. All
comparison reads the table of `row_table` or `records_table` and nothing else. No task, label or benchmark is known here by name: they are the
guard's. Importing this room loads no model library.
"""

from toolkit.judging._ask import OpenGuard, as_guard, check_plays, generation_record, question, questions, scores
from toolkit.judging._evaluation_lines import asked_lines, judged_tasks, to_ask, written_lines, written_tasks
from toolkit.judging._outputs import TEXTS, asked_of, read_names, read_output
from toolkit.judging._probabilities import label_probabilities
from toolkit.judging._read_frame import read_frame
from toolkit.judging._several import as_one
from toolkit.judging._table import TABLE, records_parts, records_table, row_table, score_table, with_reading
from toolkit.judging._verdict import Verdict

__all__ = [
    "TABLE",
    "TEXTS",
    "OpenGuard",
    "Verdict",
    "as_guard",
    "as_one",
    "asked_lines",
    "asked_of",
    "check_plays",
    "generation_record",
    "judged_tasks",
    "label_probabilities",
    "question",
    "questions",
    "read_frame",
    "read_names",
    "read_output",
    "records_parts",
    "records_table",
    "row_table",
    "score_table",
    "scores",
    "to_ask",
    "with_reading",
    "written_lines",
    "written_tasks",
]
