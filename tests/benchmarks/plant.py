"""Faults of reasoning, planted into sound outputs: `KINDS` says which and how often, `plant` makes the rows.

Contract: seeded; imports the standard library and its neighbours here only, no validator and nothing of the toolkit (a test holds it to that). A kind
returns None where it cannot be planted in an output; then another output is drawn. What was planted is known by the name of the kind alone: which
reason code is due for it is the business of who counts.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

import planted_form
import planted_voice
from planted_draw import Draw, Edit, Row
from released_text import cut

__all__ = ["KINDS", "ONLY", "RATE", "Row", "plant"]

RATE = 0.0125
"""Share of all rows that each kind is planted in."""

KINDS: dict[str, Edit] = {
    e.__name__: e
    for e in (
        planted_form.task_missing,
        planted_form.tasks_swapped,
        planted_form.text_before,
        planted_form.heading_after,
        planted_form.step_misnumbered,
        planted_form.steps_missing,
        planted_form.too_many_steps,
        planted_form.answers_missing,
        planted_form.answers_twice,
        planted_form.text_after_answers,
        planted_form.answer_misspelt,
        planted_form.answer_emphasised,
        planted_form.step_emptied,
        planted_form.step_repeated,
        planted_form.step_repeated_nearly,
        planted_form.loop_dots,
        planted_form.loop_sentence,
        planted_form.loop_tasks,
        planted_form.cut_anywhere,
        planted_form.cut_at_limit,
        planted_form.over_long,
        planted_form.control_character,
        planted_form.step_too_short,
        planted_form.step_too_long,
        planted_voice.label_changed,
        planted_voice.answer_none,
        planted_voice.answer_invented,
        planted_voice.conclusion_flipped,
        planted_voice.conclusion_unseen,
        planted_voice.last_step_flipped,
        planted_voice.last_step_words_flipped,
        planted_voice.wrong_task_word,
        planted_voice.refusal_instead,
        planted_voice.refusal_inside,
        planted_voice.refusal_unseen,
        planted_voice.exchange_copied,
        planted_voice.instruction_copied,
        planted_voice.scaffold_phrase,
        planted_voice.scaffold_unseen,
        planted_voice.label_given_away,
        planted_voice.label_given_away_unseen,
        planted_voice.other_language,
    )
}
"""Every kind of fault by its name."""

ONLY = {"last_step_flipped": "released", "last_step_words_flipped": "released", "exchange_copied": "released"}
"""Kinds that need what only one sort of output has: the template's sections all have a conclusion, and its seeds are short."""


def plant(bases: dict[str, Sequence[Row]], rows: int, seed: int, rate: float = RATE) -> Iterator[Row]:
    """The faulty rows: each kind in `rate` x `rows` of them, half from each sort of base; none changes an output twice.

    Args:
        bases: sound outputs by sort (``released``, ``template``).
        rows: number of all rows, faulty and sound.
        seed: of what is drawn.
        rate: share of rows for each kind.

    Raises:
        ValueError: a kind cannot be planted as often.
    """
    for name, edit in KINDS.items():
        sorts = [ONLY[name]] if name in ONLY else [s for s in bases if bases[s]]
        for i, sort in enumerate(sorts):
            wanted = round(rate * rows) // len(sorts) + (i < round(rate * rows) % len(sorts))
            rng = random.Random(f"{seed}:{name}:{sort}")
            yield from _planted(name, edit, bases[sort], wanted, rng)


def _planted(name: str, edit: Edit, bases: Sequence[Row], wanted: int, rng: random.Random) -> Iterator[Row]:
    for base in rng.sample(bases, len(bases)):
        if not wanted:
            return
        doc = cut(base.reasoning)
        if not doc.whole:
            continue
        made = edit(Draw(base, doc, rng, bases))
        row = replace(base, reasoning=made) if isinstance(made, str) else made
        if row is None or (row.reasoning, row.finish) == (base.reasoning, base.finish):
            continue
        wanted -= 1
        yield replace(row, kind=name)
    if wanted:
        raise ValueError(f"{name}: {wanted} more could not be planted")
