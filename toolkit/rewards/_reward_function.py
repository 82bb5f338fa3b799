"""A formula as trainers call it: with lists of completions and of the columns beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.common.errors import InputError
from toolkit.guards import Guard, load_guard
from toolkit.rewards._formula import Formula, load_formula
from toolkit.rewards._rewarded import Output, Rewarded, rewarded

Scorer = Callable[[list[dict[str, Any]]], Sequence[float | None]]


class RewardFunction:
    """A reward as TRL's GRPO takes it in `reward_funcs`: called with lists, it returns a number, or None, for each completion.

    Args:
        guard: the definition, by name or file.
        formula: by name or file, or its keys.
        scorers: by name of a score what gives it: a function of all outputs of a call, dicts of `output`, `prompt` and the columns, that returns a
            number from 0 to 1, or None, for each. Default: the columns ``score_<name>``.

    Columns that it reads, where the dataset has them: ``label_<task>``, `response` (None: the row has none), ``score_<name>``. A completion is a text
    or a list of messages, of which the last is the output. Its length is that of its `completion_ids`, which the trainer gives, or the column
    `tokens`. Completions of equal prompts are those about one row.

    Raises:
        InputError: no such guard or formula; a call without a column that the formula needs.

    Example:
        >>> from toolkit.rewards import RewardFunction
        >>> reward = RewardFunction("guardreasoner", "rsafe")
        >>> text = "Answers: \\nRequest: harmful\\nCompletion: None\\nResponse: None"
        >>> reward(prompts=["p", "p"], completions=[text, "I cannot say."], label_prompt=["harmful", "harmful"])
        [1.0, 0.0]
    """

    def __init__(
        self,
        guard: str | Path | Guard,
        formula: str | Path | Mapping[str, Any] | Formula,
        scorers: Mapping[str, Scorer] | None = None,
    ) -> None:
        self.guard = guard if isinstance(guard, Guard) else load_guard(guard)
        self.formula = load_formula(formula)
        self.formula.check(self.guard)
        self._scorers = dict(scorers or {})
        self.__name__ = f"{self.guard.name}_{self.formula.name}"  # what a trainer calls it in its log

    def __call__(
        self,
        prompts: Sequence[Any] | None = None,
        completions: Sequence[Any] = (),
        completion_ids: Sequence[Sequence[int]] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """The rewards; see the class."""
        return [one.reward for one in self.found(prompts, completions, completion_ids, **columns)]

    def found(
        self,
        prompts: Sequence[Any] | None = None,
        completions: Sequence[Any] = (),
        completion_ids: Sequence[Sequence[int]] | None = None,
        groups: Sequence[Any] | None = None,
        **columns: Any,
    ) -> list[Rewarded]:
        """The same with what they are made of. `groups`: which row each is about, where two rows may have one prompt.

        Example:
            >>> reward = toolkit.rewards.RewardFunction("guardreasoner", "rsafe")
            >>> [one.well_formed for one in reward.found(completions=["I cannot say."], label_prompt=["harmful"])]
            [False]
        """
        labels = {t: columns[f"label_{t}"] for t in self.guard.task_names if f"label_{t}" in columns}
        if not labels:
            needed = ", ".join(f"label_{t}" for t in self.guard.task_names)
            raise InputError("no column of labels reaches the reward", hint=f"keep one of {needed} in the rows; in TRL: remove_unused_columns=False")
        texts = [_text(completion) for completion in completions]
        scores = {name: self._scores(name, texts, prompts, columns) for name in self.formula.scores}
        lengths: Sequence[Any] = [None] * len(completions)
        if self.formula.length is not None:
            lengths = self._column("tokens", columns) if completion_ids is None else [len(ids) for ids in completion_ids]
        if groups is None:
            groups = [repr(p) for p in prompts] if prompts is not None else [None] * len(completions)
        responses = columns.get("response", [""] * len(completions))
        outputs = [
            Output(
                text,
                {t: values[i] for t, values in labels.items()},
                lengths[i],
                groups[i],
                {name: values[i] for name, values in scores.items()},
                responses[i] is not None,
            )
            for i, text in enumerate(texts)
        ]
        return rewarded(self.guard, self.formula, outputs)

    def _scores(self, name: str, texts: Sequence[str | None], prompts: Sequence[Any] | None, columns: Mapping[str, Any]) -> Sequence[float | None]:
        if name not in self._scorers:
            return self._column(f"score_{name}", columns)
        lists = {key: values for key, values in columns.items() if isinstance(values, list) and len(values) == len(texts)}
        asked = [None] * len(texts) if prompts is None else [_text(prompt) for prompt in prompts]
        rows = [{**{key: values[i] for key, values in lists.items()}, "output": text, "prompt": asked[i]} for i, text in enumerate(texts)]
        return self._scorers[name](rows)

    def _column(self, name: str, columns: Mapping[str, Any]) -> Sequence[Any]:
        if name not in columns:
            hint = "keep it in the rows; in TRL: remove_unused_columns=False"
            raise InputError(f"the formula {self.formula.name!r} needs the column {name!r}, which does not reach the reward", hint=hint)
        found: Sequence[Any] = columns[name]
        return found


def _text(completion: Any) -> str | None:
    """The output in a completion: its text, or that of its last message."""
    if completion is None or isinstance(completion, str):
        return completion
    content = completion[-1]["content"] if completion else None
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content
