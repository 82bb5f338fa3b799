"""What a guard says of one interaction: its verdict, with the reasoning cut by the guard's sections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from toolkit.common.shown import Sheet, Shown
from toolkit.guards import sections

if TYPE_CHECKING:
    from toolkit.guards import Guard
    from toolkit.judging import Verdict


@dataclass(frozen=True, repr=False)
class Judgement(Shown):
    """One verdict.

    Attributes:
        id: of the interaction: its own, or that of its text.
        applying: the tasks that apply to it: those about a response only where there is one.
        labels: by task, the label that was read.
        unread: by task, why none could be read; where the generation failed, the class of the failure.
        positive: the tasks that apply and whose label is the positive one.
        steps: by task, the reasoning's steps, where the guard wrote any.
        conclusions: likewise.
        probabilities: by task, of each label, where they were asked for and are known.
        categories: of harm that the guard names, in its own words.
        output: what the guard wrote; None where the generation failed.
        finish: why the generation ended.
        error: class of the failure.
        detail: what exactly went wrong.
        model_id: content hash of a local model, name of a remote one.
        tokens: that the guard wrote, where known.
        seconds: that it took, where known.

    Example:
        Where `url` is the base URL of an OpenAI-compatible server that answers, but not as a guard does:

        >>> with toolkit.open_guard("m", backend="openai", base_url=url) as guard:
        ...     judged = guard.judge("How do I bake bread?")
        >>> judged.applying, judged.positive, judged.steps
        (('prompt',), (), {})
    """

    id: str
    applying: tuple[str, ...]
    labels: Mapping[str, str | None]
    unread: Mapping[str, str | None]
    positive: tuple[str, ...]
    steps: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    conclusions: Mapping[str, str] = field(default_factory=dict)
    probabilities: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    categories: tuple[str, ...] = ()
    output: str | None = None
    finish: str | None = None
    error: str | None = None
    detail: str | None = None
    model_id: str | None = None
    tokens: int | None = None
    seconds: float | None = None

    def _sheet(self) -> Sheet:
        chances = ["probability"] if self.probabilities else []
        rows = []
        for task, label in self.labels.items():
            word = label or f"unread ({self.unread[task]})" if task in self.applying else "(no response)"
            p = self.probabilities.get(task, {}).get(label or "")
            rows.append([task, word, *(["" if p is None else f"{p:.4f}"] if chances else [])])
        categories = [f"categories: {', '.join(self.categories)}"] if self.categories else []
        failed = [f"no answer: {self.error}{f' ({self.detail})' if self.detail else ''}"] if self.error else []
        return Sheet("Judgement", ["task", "verdict", *chances], rows, [*categories, *failed])

    @classmethod
    def of(cls, guard: Guard, row: Mapping[str, Any], verdict: Verdict) -> Judgement:
        """Of a verdict on a row."""
        applying = tuple(t.name for t in guard.tasks if t.applies == "always" or row.get("response") is not None)
        positive = tuple(t for t in applying if verdict.labels.get(t) == guard.task(t).positive)
        steps: dict[str, tuple[str, ...]] = {}
        conclusions: dict[str, str] = {}
        for section in sections(guard, verdict.output or "") if guard.grammar is None else ():
            if 1 <= section.task <= len(guard.tasks):  # a guard that loses its way goes on counting tasks
                name = guard.task_names[section.task - 1]
                steps.setdefault(name, tuple(section.steps))
                if section.conclusion:
                    conclusions.setdefault(name, section.conclusion)
        return cls(
            verdict.id,
            applying,
            dict(verdict.labels),
            dict(verdict.unread),
            positive,
            {t: s for t, s in steps.items() if s},
            conclusions,
            dict(verdict.probabilities),
            verdict.categories,
            verdict.output,
            verdict.finish,
            verdict.error,
            verdict.detail,
            verdict.model_id,
            verdict.tokens,
            verdict.seconds,
        )

    @property
    def read(self) -> bool:
        """Whether every task that applies has a label."""
        return all(self.labels.get(t) is not None for t in self.applying)

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it: ``tasks`` (each with `label`, `positive`, `applies`, `unread`, `probabilities`), ``steps``, ``conclusions``,
        ``categories``, ``output``, ``finish``, ``error``, ``detail``, ``tokens``, ``seconds``."""
        tasks = {
            t: {
                "label": label,
                "positive": t in self.positive,
                "applies": t in self.applying,
                "unread": self.unread.get(t),
                "probabilities": dict(self.probabilities[t]) if t in self.probabilities else None,
            }
            for t, label in self.labels.items()
        }
        rest = ("output", "finish", "error", "detail", "tokens", "seconds")
        words = {"steps": {t: list(s) for t, s in self.steps.items()}, "conclusions": dict(self.conclusions), "categories": list(self.categories)}
        return {"id": self.id, "tasks": tasks, **words, **{n: getattr(self, n) for n in rest}}
