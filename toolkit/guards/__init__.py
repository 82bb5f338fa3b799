"""A guard as data: its tasks, labels, prompt and answer format, read from ``schemas/guards/<name>.yaml``.

Rendering, parsing, validation, mining and evaluation are all derived from the definition, so that another guard is another
file and no other code.
"""

from toolkit.guards._definition import Guard, Prompt, Task, load_guard, load_prompt, unknown_label
from toolkit.guards._own_words import repeats_its_input, unwrapped_input, without_tokens
from toolkit.guards._parse import Mode, Parsed, check_reading, parse
from toolkit.guards._render import Reasoning, blind_messages, exchange, feedback, input_fingerprint, render_input, render_output, teacher_messages
from toolkit.guards._sections import Section, answers_cut, preamble, sections, step_heading, without_answers
from toolkit.guards._spans import AnswerSpan, answer_spans, label_words
from toolkit.guards._structured import MalformedJson, from_json, is_json, response_format
from toolkit.guards._templates import template, variables

__all__ = [
    "AnswerSpan",
    "Guard",
    "MalformedJson",
    "Mode",
    "Parsed",
    "Prompt",
    "Reasoning",
    "Section",
    "Task",
    "answer_spans",
    "answers_cut",
    "blind_messages",
    "check_reading",
    "exchange",
    "feedback",
    "from_json",
    "input_fingerprint",
    "is_json",
    "label_words",
    "load_guard",
    "load_prompt",
    "parse",
    "preamble",
    "render_input",
    "render_output",
    "repeats_its_input",
    "response_format",
    "sections",
    "step_heading",
    "teacher_messages",
    "template",
    "unknown_label",
    "unwrapped_input",
    "variables",
    "without_answers",
    "without_tokens",
]
