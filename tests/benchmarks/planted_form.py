"""Faults of form: tasks, steps, answers, endings, loops, lengths. Each edit gives the faulty text, or None where it cannot be planted in this output."""

from __future__ import annotations

import re
from dataclasses import replace

import planted_words as words
from planted_draw import Draw, Row, done
from released_text import FIELDS, Piece, Section


def task_missing(d: Draw) -> str:
    d.doc.sections.pop(d.rng.randrange(3))
    return done(d)


def tasks_swapped(d: Draw) -> str:
    a, b = d.rng.sample(range(3), 2)
    d.doc.sections[a], d.doc.sections[b] = d.doc.sections[b], d.doc.sections[a]
    return done(d)


def step_misnumbered(d: Draw) -> str:
    steps = d.section()[1].steps
    k = d.rng.randrange(len(steps))
    steps[k].number(k + 1 + d.rng.choice([1, 2, 5] if k == 0 else [-1, 1, 3]))
    return done(d)


def steps_missing(d: Draw) -> str:
    section = d.section()[1]
    section.pieces = [p for p in section.pieces if p.kind != "step"]
    return done(d)


def too_many_steps(d: Draw) -> str:
    section = d.section()[1]
    last = section.steps[-1]
    at = next(i for i, p in enumerate(section.pieces) if p is last) + 1
    have = len(section.steps)
    for k in range(have + 1, d.rng.randint(11, 16) + 1):
        new = last.copy()
        new.say(d.foreign())
        new.number(k)
        section.pieces.insert(at + k - have - 1, new)
    return done(d)


def answers_missing(d: Draw) -> str:
    d.doc.answers = []
    return done(d).rstrip()


def answers_twice(d: Draw) -> str:
    block = "\n".join(d.doc.answers).strip()
    return f"{done(d).rstrip()}\n\n{block}\n" if d.rng.random() < 0.5 else f"{block}\n\n{done(d)}"


def text_before(d: Draw) -> str | None:
    """A sentence before the first task."""
    return None if any(line.strip() for line in d.doc.before) else f"{d.rng.choice(words.BEFORE)}\n\n{done(d)}"


def heading_after(d: Draw) -> str | None:
    """The first task's heading below its steps, as released models write it."""
    first = d.doc.sections[0]
    if any(line.strip() for line in d.doc.before) or first.pieces[0].kind != "head" or any(x.strip() for x in first.pieces[0].lines[1:]):
        return None
    first.pieces.append(Piece("other", [first.pieces[0].lines[0], ""]))
    d.doc.before, first.pieces[0].lines = [], []
    return done(d)


def text_after_answers(d: Draw) -> str:
    return f"{done(d).rstrip()}\n{d.rng.choice(['', chr(10)])}{d.rng.choice(words.AFTER)}"


def answer_misspelt(d: Draw) -> str:
    task = d.rng.randrange(3)
    d.doc.set_answer(task, f"{FIELDS[task]}: {d.rng.choice(words.SLIPS[d.doc.answer(task)])}")
    return done(d)


def answer_emphasised(d: Draw) -> str:
    task = d.rng.randrange(3)
    word, field = d.doc.answer(task), FIELDS[task]
    d.doc.set_answer(
        task, d.rng.choice([f"{field}: **{word}**", f"**{field}:** {word}", f"**{field}: {word}**", f"- {field}: {word}", f"{field}: `{word}`"])
    )
    return done(d)


def step_emptied(d: Draw) -> str:
    step = d.step()
    step.lines = [re.sub(r"(Step \d+:?).*", r"\1", step.lines[0], flags=re.IGNORECASE | re.DOTALL), ""]
    return done(d)


def _insert_after(section: Section, step: Piece, text: str) -> None:
    """A further step after `step`, those below it counted on."""
    at = next(i for i, p in enumerate(section.pieces) if p is step)
    new = step.copy()
    new.say(text)
    section.pieces.insert(at + 1, new)
    for k, piece in enumerate(section.steps, 1):
        piece.number(k)


def step_repeated(d: Draw) -> str | None:
    section = d.section()[1]
    if len(section.steps) > 8:
        return None
    step = d.rng.choice(section.steps)
    _insert_after(section, step, step.content)
    return done(d)


def step_repeated_nearly(d: Draw) -> str | None:
    """The same step again with a word dropped, doubled or swapped with the next, or other capitals and full stop."""
    section = d.section()[1]
    step = d.rng.choice(section.steps)
    parts = step.content.split(" ")
    if len(section.steps) > 8 or len(parts) < 8:
        return None
    k = d.rng.randrange(1, len(parts) - 2)
    changes = (
        [*parts[:k], *parts[k + 1 :]],
        [*parts[: k + 1], *parts[k:]],
        [*parts[:k], parts[k + 1], parts[k], *parts[k + 2 :]],
        [p.lower().rstrip(".") for p in parts],
        ["Also,", parts[0].lower(), *parts[1:]],
    )
    _insert_after(section, step, " ".join(d.rng.choice(changes)))
    return done(d)


def loop_dots(d: Draw) -> str:
    step = d.step()
    step.say(step.content + d.rng.choice(words.DOTS) * d.rng.randint(40, 400))
    return done(d)


def loop_sentence(d: Draw) -> str:
    step = d.step()
    step.say(f"{step.content} " + " ".join([d.rng.choice(words.LOOPED)] * d.rng.randint(6, 60)))
    return done(d)


def loop_tasks(d: Draw) -> str:
    """Tasks that count on: "Task 64"."""
    last = d.doc.sections[-1]
    for n in range(4, d.rng.choice([4, 5, 9, 64]) + 1):
        more = Section(n, [p.copy() for p in last.pieces])
        more.pieces[0].lines[0] = re.sub(r"Task \d+", f"Task {n}", more.pieces[0].lines[0])
        d.doc.sections.append(more)
    return done(d)


def cut_anywhere(d: Draw) -> Row:
    text = done(d)
    return replace(d.row, reasoning=text[: d.rng.randrange(40, len(text.rstrip()) - 12)], finish=None)


def cut_at_limit(d: Draw) -> Row:
    return replace(cut_anywhere(d), finish="length")


def over_long(d: Draw) -> str:
    """Beyond 2,048 tokens of any tokenizer, by steps' texts of other outputs: no text twice."""
    steps = [s for section in d.doc.sections for s in section.steps]
    length, seen = len(done(d)), {s.content for s in steps}
    while length < 18_000:
        if (text := d.foreign()) in seen:
            continue
        seen.add(text)
        step = d.rng.choice(steps)
        step.say(f"{step.content} {text}")
        length += len(text) + 1
    return done(d)


def control_character(d: Draw) -> str:
    step = d.step()
    found = step.content
    at = d.rng.randrange(1, max(2, len(found)))
    step.say(found[:at] + d.rng.choice(words.CONTROLS) + found[at:])
    return done(d)


def step_too_short(d: Draw) -> str:
    d.step().say(d.rng.choice(words.SHORT))
    return done(d)


def step_too_long(d: Draw) -> str:
    step = d.step()
    parts = [step.content]
    while sum(map(len, parts)) < 3000:
        if (text := d.foreign()) not in parts:
            parts.append(text)
    step.say(" ".join(parts))
    return done(d)
