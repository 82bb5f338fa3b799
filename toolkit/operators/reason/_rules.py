"""The rules of `validate`: what each one finds, its reason codes, its thresholds (`Limits`).

=========== ==================================================== ==============================================================================
rule        reason codes                                         finds
=========== ==================================================== ==============================================================================
truncated   truncated                                            the teacher stopped at its token limit
refusal     teacher_refused                                      the teacher declines, in its own voice, where reasoning should stand: at the
                                                                 beginning of the text or of a step; one that is quoted or reported is fine
answers     empty, no_answers_block, answers_repeated,           not one well-formed answers block at the end (`toolkit.guards.parse`)
            text_after_answers, reasoning_unmarked,
            answer_line_malformed
labels      label_changed, label_not_inferred                    an answer that is not the row's label, `None` where there is one, a label where
                                                                 the row has none, none where the teacher was to give one
structure   structure, text_before_tasks, steps_before_heading   not one section for each task, in order; text before the first; steps before it,
                                                                 as where each heading follows its steps: then no rule on steps is judged
steps       steps_misnumbered, step_count, step_empty,           steps not numbered from 1, more or fewer than the guard allows, without text, or
            step_repeated                                        the same twice in a task but for case
conclusions conclusion_missing, conclusion_contradicts           none where `conclusion: required`; a verdict (`_stated_verdicts`) of a conclusion, or
                                                                 without one of the task's last step, that is not the answer
scaffold    scaffold                                             words that report labels given (`_labels_given`): "the ground truth", "I was told
                                                                 that the answer is"
control     control_character                                    a control character but newline, tab and carriage return
ending      cut_off                                              the text ends in the middle of a sentence or of the answers block
loops       run_of_characters, ngram_repeated, sections_endless  the same few characters `run` times in a row; the same `ngram` words
                                                                 `ngram_times` times; headings of more than twice as many tasks as there are
lengths     step_short, step_long, reasoning_short,              outside `min_step_chars` … `max_step_chars`, `min_chars` … `max_chars`
            reasoning_long
similar     step_similar                                         two steps of a task with the same words but for `similarity`
copied      prompt_copied                                        `copied_words` words in a row, or `copied_share` of all in runs of 20 or more, that
                                                                 are in the prompt or the response; a sentence of the guard's instruction
words       verdict_foreign, word_forbidden                      a task concluded in another task's label and in none of its own ("the request is
                                                                 a refusal"); a word of `forbidden`
leakage     label_told, label_first                              a verdict that rests on a label (`_labels_given`: "since the answer is harmful"); a
                                                                 task whose first step opens with the verdict and with nothing of the exchange
budget      too_many_tokens                                      more than `max_tokens` tokens of `tokenizer`, input and reasoning together
language    wrong_language                                       the reasoning is in none of `languages`
=========== ==================================================== ==============================================================================

Each rule is one or several checks: pure functions of a `Reading` and the `Limits`, each of which says what it finds first. None raises, whatever the
text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import polars as pl

from toolkit.guards import Guard
from toolkit.operators.reason import _form, _refused, _text, _voice
from toolkit.operators.reason._reading import Fault, Reading
from toolkit.operators.reason._rule_limits import Limits, Rule

LIMITS = Limits()


@dataclass(frozen=True)
class Check:
    """What a rule looks for, or a part of it.

    Attributes:
        rule: the rule.
        find: the fault of a reasoning.
        outlined: whether it looks at nothing of a text but its outline (`_outline`), and at no threshold.
        may: whether a text may have such a fault, for many texts at once: cheap, and true of any that has. None: it may.
    """

    rule: Rule
    find: Callable[[Reading, Limits], Fault]
    outlined: bool = False
    may: Callable[[Guard, Limits, pl.Expr], pl.Expr] | None = None


CHECKS: tuple[Check, ...] = (
    Check("truncated", _form.truncated, outlined=True),
    Check("refusal", _voice.refusal, may=lambda guard, limits, text: _refused.may_hold(text)),
    Check("answers", _form.answers, outlined=True),
    Check("labels", _form.labels, outlined=True),
    Check("structure", _form.structure, outlined=True),
    Check("steps", _form.steps),
    Check("conclusions", _voice.conclusions),
    Check("scaffold", _voice.scaffold, may=_voice.may_be_scaffold),
    Check("control", _form.control, may=lambda guard, limits, text: text.str.contains(_form.CONTROL.pattern)),
    Check("ending", _form.ending, outlined=True),
    Check("loops", _text.run, may=_text.may_run),
    Check("loops", _text.ngrams),
    Check("loops", _text.endless, outlined=True),
    Check("lengths", _form.lengths),
    Check("similar", _text.similar),
    Check("copied", _text.instructed, may=_text.may_be_instructed),
    Check("copied", _text.copied),
    Check("words", _voice.words),
    Check("leakage", _voice.rests_on_label, may=_voice.may_rest_on_label),
    Check("leakage", _voice.opens),
)
"""All checks, in the order of their rules."""


@lru_cache(maxsize=64)
def checks_of(rules: tuple[str, ...]) -> tuple[Check, ...]:
    """The checks of some rules."""
    return tuple(c for c in CHECKS if c.rule in rules)


def faults_of(reading: Reading, checks: Iterable[Check], limits: Limits) -> Iterator[tuple[Rule, tuple[str, str]]]:
    """The first fault that each rule finds, in the order of the checks."""
    done: Rule | None = None
    for check in checks:
        if check.rule != done and (fault := check.find(reading, limits)):
            done = check.rule
            yield check.rule, fault


def check_reasoning(guard: Guard, row: Mapping[str, Any], rules: Sequence[str], limits: Limits = LIMITS) -> dict[str, Any]:
    """The first fault of a reasoning, its steps, and the labels that it states.

    Args:
        guard: the definition.
        row: `reasoning`, and what the rules read: `reasoning_finish`, each ``label_<task>`` with its source, `prompt` and `response`.
        rules: names of rules; those of `Measured` are not judged here.
        limits: their thresholds.

    Returns:
        `reason` and `detail` (None when sound), `steps`, and ``label_<task>`` as read.
    """
    reading = Reading(guard, row, strict="answers" in rules)
    fault = next((f for _, f in faults_of(reading, checks_of(tuple(rules)), limits)), None)
    return {
        "reason": fault[0] if fault else None,
        "detail": fault[1] if fault else None,
        "steps": sum(len(p.steps) for p in reading.parts),
        **{f"label_{t}": reading.parsed.labels[t] for t in guard.task_names},
    }


def all_faults(guard: Guard, row: Mapping[str, Any], rules: Sequence[str], limits: Limits = LIMITS) -> list[tuple[str, str]]:
    """The first fault by each rule, as (reason, detail); empty for a sound reasoning. What only follows from an answers block that could not be
    read is left out. Arguments as for `check_reasoning`; without the rule `labels` no label of the row is looked at, and it need have none.
    """
    if not rules:
        return []
    return independent(list(faults_of(Reading(guard, row, strict="answers" in rules), checks_of(tuple(rules)), limits)))


def independent(found: Sequence[tuple[Rule, tuple[str, str]]]) -> list[tuple[str, str]]:
    """Faults without those that only follow from an answers block that could not be read, or from headings that are after their steps."""
    unread = any(rule == "answers" for rule, _ in found)
    astray = any(fault[0] == "steps_before_heading" for _, fault in found)
    found = [(rule, fault) for rule, fault in found if not (astray and rule in _SECTIONED)]
    return [fault for rule, fault in found if not (unread and rule in ("labels", "conclusions") and fault[0] != "conclusion_missing")]


_SECTIONED: tuple[Rule, ...] = ("steps", "conclusions", "lengths", "similar", "words", "leakage")
"""Rules that hold a step against its task: they say nothing where each task's heading follows its steps."""
