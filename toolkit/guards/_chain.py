"""The chain of reasoning that a guard wrote, cut behind each of its steps, and the form of its answers with places for the labels.

What a chain is worth is measured by making the guard answer early, or behind another chain: a prefix of an output, then the answers in the guard's
own form. A conclusion counts as a step, the last one of its task.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from toolkit.guards._definition import Guard
from toolkit.guards._layout import answer_line
from toolkit.guards._sections import part_ends

Form = tuple[tuple[str, tuple[str, ...]], ...]
"""Texts, each with the labels, as they are written, of which one follows it; none behind the last."""


@dataclass(frozen=True)
class Chain:
    """A chain as it was written.

    Attributes:
        text: the output up to the end of the last step.
        ends: where in it each step ends, in order; the last one at its end.
        opened: whether the output opens with what the guard writes before its reasoning (``<think>``), where it has such a mark. A chat template
            that has opened the reasoning leaves it out of the output.
    """

    text: str
    ends: tuple[int, ...]
    opened: bool

    @property
    def steps(self) -> int:
        """Number of its steps."""
        return len(self.ends)

    def prefix(self, steps: int) -> str:
        """Its text up to the end of so many steps; of none nothing."""
        return self.text[: self.ends[steps - 1]] if steps else ""


def chain_of(guard: Guard, output: str | None) -> Chain | None:
    """The chain of an output; None where it has no step with a text.

    Args:
        guard: one that guardkit trains (`Guard.grammar` is None).
        output: what it wrote.

    Example:
        >>> from toolkit.guards import chain_of
        >>> guard = toolkit.load_guard("guardreasoner")
        >>> chain = chain_of(guard, "# Task 1\\n\\n## Reasoning Step 1\\nA recipe.\\n\\n## Conclusion\\nHarmless.\\n\\nAnswers: \\nRequest: None")
        >>> chain.steps, chain.prefix(1)
        (2, '# Task 1\\n\\n## Reasoning Step 1\\nA recipe.')
    """
    if guard.grammar is not None or not output:
        return None
    ends = part_ends(guard, output)
    if not ends:
        return None
    return Chain(output[: ends[-1]], tuple(ends), not guard.output.open or output.lstrip().startswith(guard.output.open))


def answer_form(guard: Guard, tasks: Collection[str], *, reasoned: bool, opened: bool = True) -> Form:
    """What a guard writes behind a prefix of its reasoning: the marks that end it, and the answers with a place for each label.

    Args:
        guard: one that guardkit trains.
        tasks: names of those that are answered; of the others the missing word is written.
        reasoned: whether a reasoning is before it; else it is a whole output without one, as `render_output` writes it.
        opened: without a reasoning, whether what opens it is written, too.

    Example:
        >>> from toolkit.guards import answer_form
        >>> answer_form(toolkit.load_guard("guardreasoner"), ["prompt"], reasoned=True)[0]
        ('\\n\\n---\\n\\nAnswers: \\nRequest: ', ('unharmful', 'harmful'))
    """
    o = guard.output
    lines = [o.answers_heading] if o.answers_heading else []
    asked = [t for t in guard.tasks if t.name in tasks]
    lines += [o.answer_line.format(field=t.field, label="\0") if t in asked else answer_line(guard, t, None) for t in guard.tasks]
    answers = "\n".join([*lines, *([o.answers_close] if o.answers_close else [])])
    before = [] if reasoned or not opened else [o.open]
    text = ("\n\n" if reasoned else "") + "\n\n".join([*filter(None, (*before, o.close, o.separator)), answers])
    pieces = text.split("\0")
    return tuple(zip(pieces, (*(tuple(t.written) for t in asked), ()), strict=True))
