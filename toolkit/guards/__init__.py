"""A guard as data: its tasks, labels, prompt and answer format, read from ``schemas/guards/<name>.yaml``.

Rendering, parsing, validation, mining and evaluation are all derived from the definition, so that another guard is another
file and no other code. A guard that was trained elsewhere is a definition, too: how it is asked (`Call`) and how its answers are read (`Grammar`).
"""

from toolkit.guards._calls import Call, Message
from toolkit.guards._chain import Chain, Form, answer_form, chain_of
from toolkit.guards._definition import Guard, load_guard, load_prompt, not_ours, unknown_label
from toolkit.guards._grammar import Answer, Grammar
from toolkit.guards._grammar_answers import NOT_ASKED, Parsed, joined, read_call, together
from toolkit.guards._own_words import repeats_its_input, unwrapped_input, without_tokens
from toolkit.guards._parse import REASONS, Mode, check_reading, in_reading, parse
from toolkit.guards._policy import POLICY, PolicyBlock
from toolkit.guards._render import (
    Reasoning,
    blind_messages,
    exchange,
    feedback,
    input_columns,
    input_fingerprint,
    input_parts,
    read_input,
    render_call,
    render_input,
    render_output,
    teacher_messages,
)
from toolkit.guards._sections import Section, answers_cut, preamble, sections, step_heading, without_answers
from toolkit.guards._shortcut import Shortcut, read_block, shortcut
from toolkit.guards._spans import AnswerSpan, answer_spans, label_words
from toolkit.guards._structured import MalformedJson, from_json, is_json, response_format
from toolkit.guards._switch import THINKS, Switch
from toolkit.guards._tasks import Task
from toolkit.guards._teacher import Prompt
from toolkit.guards._templates import template, variables

__all__ = [
    "NOT_ASKED",
    "POLICY",
    "REASONS",
    "THINKS",
    "Answer",
    "AnswerSpan",
    "Call",
    "Chain",
    "Form",
    "Grammar",
    "Guard",
    "MalformedJson",
    "Message",
    "Mode",
    "Parsed",
    "PolicyBlock",
    "Prompt",
    "Reasoning",
    "Section",
    "Shortcut",
    "Switch",
    "Task",
    "answer_form",
    "answer_spans",
    "answers_cut",
    "blind_messages",
    "chain_of",
    "check_reading",
    "exchange",
    "feedback",
    "from_json",
    "in_reading",
    "input_columns",
    "input_fingerprint",
    "input_parts",
    "is_json",
    "joined",
    "label_words",
    "load_guard",
    "load_prompt",
    "not_ours",
    "parse",
    "preamble",
    "read_block",
    "read_call",
    "read_input",
    "render_call",
    "render_input",
    "render_output",
    "repeats_its_input",
    "response_format",
    "sections",
    "shortcut",
    "step_heading",
    "teacher_messages",
    "template",
    "together",
    "unknown_label",
    "unwrapped_input",
    "variables",
    "without_answers",
    "without_tokens",
]
