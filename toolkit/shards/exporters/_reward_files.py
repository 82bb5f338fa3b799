"""What an export for online reinforcement learning has beside its rows: the guard and the formula of rewards as files of their own, a plug-in file by
which the trainer calls guardkit's reward, and a command to start from.

The plug-in names the sha256 of both files. Everything is made of guard, formula and the splits, so that `guardkit verify` makes it again.
"""

from __future__ import annotations

import hashlib
import re
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from toolkit.common.errors import InputError
from toolkit.common.yamlfile import dump_yaml
from toolkit.guards import Guard, input_fingerprint, load_guard
from toolkit.rewards import Formula, formula_of, load_formula
from toolkit.shards._kinds import refuse
from toolkit.shards._manifest import GUARD_FACETS
from toolkit.shards.exporters._guardreasoner import guard_of
from toolkit.shards.exporters._shapes import Format, ShardSet

if TYPE_CHECKING:
    import polars as pl

FOLDER = "reward"
PLUGIN = f"{FOLDER}/guardkit_reward.py"
CONTROL = r"<\|[^|<>\s]{1,40}\|>|<｜[^<>｜]{1,40}｜>|</?s>|<(?:start|end)_of_turn>|\[/?INST\]"
"""Text in the form of a chat template's control tokens."""
_HEAD = '''"""The reward of this export, as {trainer} calls it: the formula {formula} on the outputs of the guard {guard}. guardkit wrote
this file, and the trainer's environment needs it, too (pip install guardkit). guard.yaml and formula.yaml beside it are what it reads."""

from pathlib import Path

from toolkit.rewards import ExportedReward
{imports}
reward = ExportedReward(
    Path(__file__).resolve().parent,
    guard="{guard_sha256}",
    formula="{formula_sha256}",
)


'''


class RewardFormat(Format):
    """A format for online reinforcement learning, with what rewards its rows.

    Args:
        shards: what is exported.
        guard: whose outputs are rewarded; None: none are.
        formula: of the reward.
    """

    trainer: ClassVar[str]
    """Its name in texts."""
    imports: ClassVar[str] = ""
    """Further imports of the plug-in."""
    calls: ClassVar[str]
    """What the plug-in defines."""
    answers: ClassVar[bool] = True
    """Whether it has a place for answers to learn from, too."""
    grouped: ClassVar[bool] = True
    """Whether its reward function sees the outputs about a row together."""

    def __init__(self, shards: ShardSet, guard: Guard | None, formula: Formula | None) -> None:
        super().__init__(shards)
        self.guard, self.formula = guard, formula
        self._why = ""
        self._without = self._longest = self._controls = 0
        self._control: list[str] = []

    @classmethod
    def opened(cls, shards: ShardSet, guard: str | None, formula: str | None = None) -> Self:
        """The format for these shards; `formula` as `toolkit.rewards.formula_of` takes it. Shards that have answers to learn from, too, go without a
        reward where there is none for them and none was named; `notes` says so."""
        if not cls.online(shards):
            if formula is not None:
                raise InputError("no labels to reward outputs by", where=str(shards.folder), hint="leave {--formula|formula} out")
            return cls(shards, None, None)
        try:
            definition = guard_of(shards, guard)
            how = formula_of(definition, formula)
            cls._check(how)
        except InputError as e:
            if guard is not None or formula is not None or not cls.answers or not shards.of.answers:
                raise
            form = cls(shards, None, None)
            form._why = e.message
            return form
        return cls(shards, definition, how)

    @classmethod
    def online(cls, shards: ShardSet) -> bool:
        """Whether outputs about these rows can be rewarded: they have labels, and are no pairs."""
        return bool(shards.tasks) and shards.kind != "preference"

    @classmethod
    def _check(cls, formula: Formula) -> None:
        """Refuse a formula that the trainer's reward function cannot compute."""
        other = "name another one: {--formula accuracy|formula='accuracy'}, or a file of your own (docs/rewards.md)"
        if formula.scores:
            names = ", ".join(formula.scores)
            raise InputError(f"the formula {formula.name!r} weighs scores ({names}), which nothing gives it in {cls.trainer}", hint=other)
        length = formula.length
        if not cls.grouped and length is not None and length.kind == "aware" and length.whole == "group":
            what = f"the formula {formula.name!r} compares the lengths of outputs about a row, and a reward function of {cls.trainer} sees one output"
            raise InputError(what, hint=f"a formula with `length: {{kind: aware, whole: NUMBER}}`, or {other}")

    def again(self, folder: Path) -> None:
        self.guard = self.formula = None
        if not self.online(self.shards) or not (folder / FOLDER / "guard.yaml").exists():
            return
        self.guard, self.formula = load_guard(folder / FOLDER / "guard.yaml"), load_formula(folder / FOLDER / "formula.yaml")
        if input_fingerprint(self.guard) != self.shards.manifest.get("guard_input", input_fingerprint(self.guard)):
            raise InputError(f"{FOLDER}/guard.yaml: it renders its input otherwise than the guard of the shards")
        self.formula.check(self.guard)

    # The rows ---------------------------------------------------------------------------------------------------------

    def counted(self, rows: pl.DataFrame) -> None:
        """Count what `notes` says of a block's rows.

        Raises:
            InputError: a label that the guard does not have; with the rows.
        """
        import polars as pl

        if self.guard is None:
            return
        for task in self.guard.tasks:
            if (name := f"label_{task.name}") in rows.columns:
                bad = rows.filter(pl.col(name).cast(pl.String).is_in(list(task.labels)).not_())
                what = f"{name}: {next(iter(bad[name]), None)!r} is no label of the guard {self.guard.name!r}"
                refuse(bad, what, str(self.shards.folder), "name the guard of the shards: {--guard FILE|guard=FILE}")
        labels = [f"label_{t}" for t in self.shards.tasks if t in self.guard.task_names]
        self._without += rows.filter(pl.all_horizontal(pl.lit(value=True), *(pl.col(name).is_null() for name in labels))).height
        texts = self.prompt_text()
        found = rows.select(id=pl.col("id") if "id" in rows.columns else pl.lit(""), size=texts.str.len_chars(), bad=texts.str.contains(CONTROL))
        self._longest = max(self._longest, int(found["size"].max() or 0))  # type: ignore[arg-type]
        bad = found.filter("bad")
        self._controls += bad.height
        self._control += bad["id"].cast(pl.String)[: 3 - len(self._control)].to_list()

    def prompt_text(self) -> pl.Expr:
        """All text of a prompt."""
        import polars as pl

        contents = pl.element().struct.field("content")
        return pl.col("prompt") if self.shards.form == "text" else pl.col("prompt").list.eval(contents).list.join("\n")

    def truth(self, column: str = "label_{}") -> pl.Expr:
        """Labels by task as JSON text, null where a row has none."""
        import polars as pl

        return pl.struct(pl.col(column.format(t)).alias(t) for t in self.shards.tasks).struct.json_encode()

    def response(self) -> list[pl.Expr]:
        """Whether a row has a response, where the shards say it."""
        import polars as pl

        return [pl.col(name) for name in self.shards.has("has_response")]

    def carried(self) -> list[str]:
        return [*super().carried(), *self.shards.has("id", "source", "licence", "teacher", "task")]

    def labels(self) -> list[str]:
        """Columns that rows for online reinforcement learning say, beside others."""
        return [*(f"label_{t}" for t in self.shards.tasks), *self.shards.has("has_response")]

    def notes(self) -> list[str]:
        notes = super().notes()
        if self.guard is None or self.formula is None:
            return [*notes, *([f"There is no reward beside the rows: {self._why}."] if self._why else [])]
        notes.append(f"The reward is {self.formula.name} of the guard {self.guard.name}, in {PLUGIN}; to start: {self.start}")
        notes.append(f"The longest prompt has {self._longest:,} characters; {self.trainer} leaves out those of more tokens than {self.limit}.")
        same = (self.guard.only(GUARD_FACETS).fingerprint, self.guard.fingerprint)
        if self.shards.manifest.get("guard_fingerprint", same[0]) not in same:
            notes.append("The guard is not the one that the shards were made with; its input is.")
        if self._without:
            notes.append(f"{self._without:,} rows have no label at all, and so nothing to be rewarded for.")
        if self._controls:
            ids = ", ".join(self._control) + (", …" if self._controls > len(self._control) else "")
            notes.append(f"{self._controls:,} prompts hold text like a control token, <|im_end|> say, for which {self.trainer} takes it: {ids}.")
        return notes

    # The files --------------------------------------------------------------------------------------------------------

    start: ClassVar[str] = "MODEL=… bash train.sh"
    """The command that starts a training."""
    limit: ClassVar[str]
    """The trainer's option for the longest prompt."""

    def beside(self) -> dict[str, str]:
        if self.guard is None or self.formula is None:
            return {}
        files = {f"{FOLDER}/guard.yaml": _yaml(self.guard), f"{FOLDER}/formula.yaml": _yaml(self.formula)}
        guard_sha256, formula_sha256 = (hashlib.sha256(text.encode()).hexdigest() for text in files.values())
        names = {"trainer": self.trainer, "formula": _inert(self.formula.name), "guard": _inert(self.guard.name), "imports": self.imports}
        head = _HEAD.format(**names, guard_sha256=guard_sha256, formula_sha256=formula_sha256)
        return {**files, PLUGIN: head + self.calls, **self.launch(*self._files())}

    def _files(self) -> tuple[str, str]:
        """The splits to train and to validate on; the same one where there is only one."""
        splits = [split for split in self.shards.splits if self.written[split]]
        train = "train" if "train" in splits else splits[0]
        others = [split for split in ("validation", "val", "dev", "test", *splits) if split in splits and split != train]
        return train, others[0] if others else train

    @abstractmethod
    def launch(self, train: str, validate: str) -> dict[str, str]:
        """The files that start a training on these splits: path -> text."""


def script(about: str, variables: Sequence[str], command: Sequence[str]) -> str:
    """A shell script: a line about it, variables that may be given, and a command of one argument a line."""
    asked = 'MODEL=${MODEL:?"name or folder of the policy to train"}'
    lines = ["#!/usr/bin/env bash", f"# {about}", "set -euo pipefail", 'here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"', asked, *variables, ""]
    return "\n".join(lines) + "\n" + " \\\n  ".join([*command, '"$@"']) + "\n"


def _inert(name: str) -> str:
    """A name that can end no string of Python, whatever it is."""
    return re.sub(r"[^\w .-]", "_", name)


def _yaml(model: Guard | Formula) -> str:
    return dump_yaml(model.model_dump(mode="json", exclude_unset=True))
