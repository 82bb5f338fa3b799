"""The reward in an exported folder, as verl, EasyR1 and ms-swift call it (docs/exporting.md); each export has a plug-in file that does."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson

from toolkit.common.errors import InputError
from toolkit.guards import load_guard
from toolkit.rewards._formula import load_formula
from toolkit.rewards._rewarded import Output, Rewarded, rewarded

FILES = ("guard.yaml", "formula.yaml")
"""What a plug-in's folder has beside it."""


class ExportedReward:
    """The reward by the guard and the formula beside a plug-in file.

    Args:
        folder: that holds ``guard.yaml`` and ``formula.yaml``.
        guard: sha256 of the first; None takes it as it is.
        formula: sha256 of the second; None takes it as it is.
        tokenizer: name or folder of the policy's, which counts the tokens of an output where the trainer does not say how many there are.

    The ground truth of a row is JSON text: its labels by task, null where it has none, or ``{"id": …, "labels": …}``.

    Raises:
        InputError: a file is not there, or not the one that was exported.

    Example:
        >>> from pathlib import Path
        >>> from toolkit.common.resources import find
        >>> for name, kind, of in (("guard", "guards", "guardreasoner"), ("formula", "rewards", "rsafe")):
        ...     _ = Path(f"{name}.yaml").write_bytes(find(kind, of).read_bytes())
        >>> reward = toolkit.rewards.ExportedReward(".")
        >>> text = "Answers: \\nRequest: harmful\\nCompletion: None\\nResponse: None"
        >>> reward.verl(text, '{"prompt": "harmful"}')
        {'score': 1.0, 'format': 1.0, 'acc': 1.0}
    """

    def __init__(self, folder: str | Path, guard: str | None = None, formula: str | None = None, tokenizer: str | None = None) -> None:
        for name, sha256 in zip(FILES, (guard, formula), strict=True):
            path = Path(folder) / name
            if not path.is_file():
                raise InputError(f"no {name} beside the plug-in file", where=str(folder), hint="keep the exported folder whole, or export again")
            if sha256 is not None and hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
                raise InputError("not the file that was exported (sha256)", where=str(path), hint="export again")
        self.guard = load_guard(Path(folder) / FILES[0])
        self.formula = load_formula(Path(folder) / FILES[1])
        self.formula.check(self.guard)
        self._tokenizer = tokenizer

    def verl(self, output: str, truth: str, extra: Mapping[str, Any] | None = None, tokenizer: str | None = None) -> dict[str, float]:
        """Of one output, as a verl reward function returns it: `score`, `format` (1 for a sound form) and `acc`. An output without a label has 0.

        Args:
            output: what the policy wrote.
            truth: the row's ground truth.
            extra: its ``extra_info``.
            tokenizer: see the class; verl gives text alone.

        Raises:
            InputError: the formula needs a length, and there is no tokenizer; a ground truth that cannot be read.
        """
        self._tokenizer = tokenizer or self._tokenizer
        about = extra or {}
        found = self._rewarded([self._output(output, truth, None, about.get("id"), about.get("has_response"))])[0]
        return {"score": found.reward or 0.0, **_parts(found, "format", "acc")}

    def easyr1(self, inputs: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
        """Of a batch, as a batch reward function of EasyR1 returns it: `overall`, `format` and `accuracy` of each. An output without a label has 0.

        Args:
            inputs: of each output `response`, `response_length` (tokens) and `ground_truth`.

        Raises:
            InputError: a ground truth that cannot be read.
        """
        outputs = [self._output(one["response"], one["ground_truth"], one.get("response_length")) for one in inputs]
        return [{"overall": found.reward or 0.0, **_parts(found, "format", "accuracy")} for found in self._rewarded(outputs)]

    def ms_swift(self, completions: Sequence[str], solution: Sequence[str], columns: Mapping[str, Any]) -> list[float | None]:
        """Of a batch, as an outcome reward (ORM) of ms-swift returns it: a number each, None without a label.

        Args:
            completions: what the policy wrote.
            solution: the ground truth of each.
            columns: what ms-swift gives beside: `response_token_ids`, `prompt_id`, and the data's own, of which `id` and `has_response` are read.

        Raises:
            InputError: a ground truth that cannot be read.
        """
        none = [None] * len(completions)
        groups = columns.get("prompt_id") or columns.get("id") or none
        there = columns.get("has_response") or none
        lengths = [_count(ids) for ids in columns.get("response_token_ids") or none]
        each = zip(completions, solution, lengths, groups, there, strict=True)
        return [found.reward for found in self._rewarded([self._output(*one) for one in each])]

    def _output(self, text: str, truth: str, length: float | None, group: Any = None, response: bool | None = None) -> Output:
        try:
            read = orjson.loads(truth)
        except (orjson.JSONDecodeError, TypeError):
            read = None
        if not isinstance(read, dict):
            hint = "take the exported files as they are"
            raise InputError("the ground truth is not JSON text of the labels by task", where=str(truth)[:80], hint=hint)
        if isinstance(read.get("labels"), dict):
            group, response, read = read.get("id"), read.get("has_response"), read["labels"]
        if length is None and self.formula.length is not None:
            length = self._counted(text)
        return Output(text, read, length, group, response=response is not False)

    def _rewarded(self, outputs: Sequence[Output]) -> list[Rewarded]:
        return rewarded(self.guard, self.formula, outputs)

    def _counted(self, text: str) -> int:
        if self._tokenizer is None:
            raise InputError(
                f"the formula {self.formula.name!r} needs the tokens of an output, and nothing says how many there are",
                hint="name the policy's tokenizer, in verl by +reward.custom_reward_function.reward_kwargs.tokenizer=MODEL",
            )
        return len(self._tokens(text, add_special_tokens=False)["input_ids"])

    @cached_property
    def _tokens(self) -> Any:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self._tokenizer)


def _parts(found: Rewarded, form: str, accuracy: str) -> dict[str, float]:
    return {form: float(found.well_formed), accuracy: found.accuracy or 0.0}


def _count(ids: Any) -> int | None:
    """Tokens of an output, which are a list, or a list for each turn; None where there are none."""
    return sum(len(part) if isinstance(part, list | tuple) else 1 for part in ids) if ids else None
