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

from typing import TYPE_CHECKING

from toolkit.common.lazy import lazily

if TYPE_CHECKING:
    from toolkit.judging._ask import OpenGuard as OpenGuard
    from toolkit.judging._ask import as_guard as as_guard
    from toolkit.judging._ask import check_plays as check_plays
    from toolkit.judging._ask import generation_record as generation_record
    from toolkit.judging._ask import question as question
    from toolkit.judging._ask import questions as questions
    from toolkit.judging._ask import scores as scores
    from toolkit.judging._chain_probes import PROBES as PROBES
    from toolkit.judging._chain_probes import Probe as Probe
    from toolkit.judging._chain_probes import chain_probes as chain_probes
    from toolkit.judging._evaluation_lines import asked_lines as asked_lines
    from toolkit.judging._evaluation_lines import judged_tasks as judged_tasks
    from toolkit.judging._evaluation_lines import to_ask as to_ask
    from toolkit.judging._evaluation_lines import written_lines as written_lines
    from toolkit.judging._evaluation_lines import written_tasks as written_tasks
    from toolkit.judging._forced_answers import Forced as Forced
    from toolkit.judging._forced_answers import answered_tasks as answered_tasks
    from toolkit.judging._forced_answers import check_forced as check_forced
    from toolkit.judging._forced_answers import forced_answer as forced_answer
    from toolkit.judging._forced_answers import forced_question as forced_question
    from toolkit.judging._outputs import TEXTS as TEXTS
    from toolkit.judging._outputs import asked_of as asked_of
    from toolkit.judging._outputs import read_names as read_names
    from toolkit.judging._outputs import read_output as read_output
    from toolkit.judging._probabilities import label_probabilities as label_probabilities
    from toolkit.judging._read_frame import read_frame as read_frame
    from toolkit.judging._scored_outputs import OpenScores as OpenScores
    from toolkit.judging._several import as_one as as_one
    from toolkit.judging._several import known_of as known_of
    from toolkit.judging._several import parsed_of as parsed_of
    from toolkit.judging._several import read_plain as read_plain
    from toolkit.judging._table import TABLE as TABLE
    from toolkit.judging._table import records_parts as records_parts
    from toolkit.judging._table import records_table as records_table
    from toolkit.judging._table import row_table as row_table
    from toolkit.judging._table import score_table as score_table
    from toolkit.judging._table import with_reading as with_reading
    from toolkit.judging._verdict import Verdict as Verdict

__getattr__, __dir__ = lazily(__name__)
