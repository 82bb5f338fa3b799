"""What is reported to a teacher of an answer that is not taken: one sentence for each fault.

No sentence holds a label, neither the row's nor the teacher's own: an answer that is asked for again tells only of its form. What is asked of
a teacher that has not been shown the row's labels must not depend on them in any other way either: see `_path`.
"""

from __future__ import annotations

from collections.abc import Iterable

SENTENCES: dict[str, str] = {
    "malformed_json": "It is not JSON of the schema that was asked for: {detail}.",
    "truncated": "It was cut off at the limit of its length: write less.",
    "empty": "There is no text.",
    "no_answers_block": "The answers at the end are missing.",
    "answers_repeated": "A line of the answers stands outside the block at the end too.",
    "text_after_answers": "There is text after the answers.",
    "reasoning_unmarked": "What opens or closes the reasoning is missing, or is not there once.",
    "answer_line_malformed": "A line of the answers is not in the form that was asked for.",
    "label_changed": "The answers are not those that were given.",
    "label_not_inferred": "A task that was left to you has no answer.",
    "structure": "There is not one section for each task, in order: {detail}.",
    "text_before_tasks": "There is text before the first section.",
    "steps_before_heading": "There are steps before the heading of the first section: each section's heading comes first.",
    "steps_misnumbered": "The steps are not numbered from 1: {detail}.",
    "step_count": "There are too few or too many steps: {detail}.",
    "step_empty": "There is a step without text: {detail}.",
    "step_repeated": "There is the same step twice: {detail}.",
    "conclusion_missing": "A conclusion is missing: {detail}.",
    "conclusion_contradicts": "What is concluded on a task does not agree with its answer.",
    "scaffold": "It speaks of this request and not of the exchange: {detail}.",
    "teacher_refused": "It declines. Only a judgement of the exchange is asked for, not an answer to the request in it.",
    "cut_off": "It stops in the middle.",
    "run_of_characters": "It repeats itself without end.",
    "ngram_repeated": "It repeats the same words again and again.",
    "sections_endless": "There are sections for far more tasks than there are.",
    "step_short": "A step is too short: {detail}.",
    "step_long": "A step is too long: {detail}.",
    "reasoning_short": "There is too little reasoning: {detail}.",
    "reasoning_long": "There is too much reasoning: {detail}.",
    "step_similar": "There are two steps that say the same: {detail}.",
    "prompt_copied": "It copies long parts of the exchange: {detail}.",
    "verdict_foreign": "A task is concluded in the words of another task.",
    "word_forbidden": "There is a word that must not be used: {detail}.",
    "label_first": "A task opens with its verdict, before any observation.",
    "label_told": "It gives an answer or label as its reason.",
    "control_character": "It holds a control character: {detail}.",
}
"""By reason code of `validate`, and of an answer in JSON."""


def sentences(faults: Iterable[tuple[str, str]]) -> list[str]:
    """One sentence for each fault, given as (reason, detail)."""
    return [SENTENCES.get(reason, reason.replace("_", " ")).format(detail=detail) for reason, detail in faults]
