"""Online reinforcement learning (GRPO, Shao et al. 2024, arXiv 2402.03300), from a shard folder and a start model to a model folder.

The guard writes several answers to each row, each earns a reward by a formula of `toolkit.rewards`, and an answer's advantage is its reward less the
mean of its row's answers, over their standard deviation. See `toolkit.training._grpo_trainer.GuardGrpo`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError
from toolkit.common.paths import at_door
from toolkit.guards import Guard, load_guard, unknown_label
from toolkit.rewards import RewardFunction, Scorer
from toolkit.shards import read_manifest
from toolkit.training._grpo_options import check_curriculum, trained_formula, with_preset
from toolkit.training._train_processes import processes_of
from toolkit.training._training_config import GrpoConfig
from toolkit.training._training_plan import plan_of
from toolkit.training._training_report import Begin, Progress, Watch
from toolkit.training._training_run import Method, train

if TYPE_CHECKING:
    from toolkit.generation import Chat
    from toolkit.training._shared import Bounds, Dropped


def train_grpo(
    shards: str | Path,
    out: str | Path,
    config: GrpoConfig,
    on_progress: Progress | None = None,
    on_begin: Begin | None = None,
    kept: Path | None = None,
    *,
    guard: Guard | None = None,
    scorers: Mapping[str, Scorer] | None = None,
) -> dict[str, Any]:
    """Train a model on the prompts of the split ``train`` of a shard folder, with rewards of what it writes.

    Args:
        shards: folder with ``data/train-*.parquet``; columns prompt (list of {role, content}), id and ``label_<task>``, which answers
            are held against. Shards of `render_rl` have these, and those of `render_sft` do; a completion is not read.
        out: model folder to write; see `train_sft`.
        config: the start model, the reward and the trainer's settings.
        on_progress, on_begin, kept: as in `train_sft`; the figure of `on_progress` is the mean reward.
        guard: definition that says what is right; default: `config.guard`, or the one that the shards were rendered for.
        scorers: of the formula's scores, as `toolkit.rewards.RewardFunction` takes them; of those in `config.scores`, too.

    Returns:
        Metrics for JSON: rows, rows_used, dropped, settings (as for `on_begin`), formula, reward_first and reward_last (means over the first and the
        last tenth of the updates), form_last, accuracy_last, no_spread_last (share of the groups whose rewards are all equal), length_last (tokens),
        cut_last (share of answers at the limit), of held-out rows eval_reward and the like, steps, epochs, loss_first, loss_last, tokens (read and
        written), seconds, parameters, device.

    Raises:
        InputError: shards, labels, formula, model folder or settings that cannot be used; no group with a spread of rewards in the first
            updates; most answers cut at the limit; a loss that is not finite.
        Missing: trl is not installed, or the hub's model cannot be had.
    """
    if lacking := next((name for name in config.scores if name not in (scorers or {})), None):
        hint = "`toolkit.train` and the step train_grpo ask it; here give a function: scorers={…} (toolkit.judging.OpenScores makes one)"
        raise InputError(f"nobody asks the model of the score {lacking!r}", where=f"scores.{lacking}", hint=hint)
    return train(grpo_of(shards, config, guard, scorers), shards, out, with_preset(config), on_progress, on_begin, kept)


def grpo_of(shards: str | Path, config: GrpoConfig, guard: Guard | None = None, scorers: Mapping[str, Scorer] | None = None) -> Grpo:
    """The method of a training: its guard and reward found.

    Raises:
        InputError: no such guard or formula, one that weighs a task that the guard does not have, or that needs scores which nothing gives.
    """
    config, guard = with_preset(config), guard or trained_guard(shards, config)
    if config.scores and processes_of(config) > 1:
        hint = "train in one process, or score the answers by a function of your own in each"
        raise InputError("a model's scores are asked for by one process, and this training has several", where="scores", hint=hint)
    return Grpo(config, RewardFunction(guard, trained_formula(guard, config.formula, scorers or (), config.scores), scorers))


def trained_guard(shards: str | Path, config: GrpoConfig) -> Guard:
    """The definition that says what is right: the one that is named, or that the shards were rendered for.

    Raises:
        InputError: neither, or there is no such guard.
    """
    if config.guard is not None:
        return load_guard(config.guard)
    try:
        named = read_manifest(at_door(shards)).get("guard")
    except InputError:
        named = None
    if not named:
        hint = "guard: NAME, or the path of its file"
        raise InputError("the shards do not say for which guard they were rendered, and the reward is by its definition", where="guard", hint=hint)
    return load_guard(str(named).rpartition(" ")[0] or str(named))


def plan_grpo(shards: str | Path, out: str | Path, config: GrpoConfig) -> dict[str, Any]:
    """What `train_grpo` would do; see `toolkit.training._training_plan.plan_of`. Its tokens are those of the prompts, each read once a group."""
    return plan_of(grpo_of(shards, config), shards, out, with_preset(config))


class Grpo(Method):
    """GRPO with rewards of a guard's outputs.

    Args:
        config: of the training, a preset's settings filled in.
        reward: of an output.
    """

    answers = ()
    shows = "reward"
    takes_media = True

    def __init__(self, config: GrpoConfig, reward: RewardFunction) -> None:
        self.config, self.reward = config, reward

    def identity(self) -> dict[str, str]:
        """Guard and formula by what they say, whatever their files are called."""
        formula = hashlib.sha256(self.reward.formula.model_dump_json().encode()).hexdigest()
        return {"guard": self.reward.guard.fingerprint, "formula": formula}

    def trainer(self) -> Callable[..., Any]:
        """TRL's trainer with the reward."""
        from toolkit.training._grpo_trainer import GuardGrpo

        return partial(GuardGrpo, reward=self.reward, options=self.config)

    def start(self, config: GrpoConfig, start: Any, args: Any, data: Any) -> tuple[Any, Any, int | None, int | None]:
        """The model by name or folder."""
        from toolkit.training._model import load_start

        return start.base, *load_start(start, config, args)

    def longest(self, args: Any) -> int | None:
        """Tokens of a prompt and its answer at most, where prompts have a limit."""
        return None if self.config.max_prompt is None else self.config.max_prompt + int(args.max_completion_length)

    def lengths(self, chat: Chat, data: Any, bounds: Bounds, dropped: Dropped, processes: int | None) -> list[int]:
        """The prompt alone; what is written is not known beforehand."""
        from toolkit.training._grpo_trainer import keep_prompts

        return list(keep_prompts(chat, data, bounds, dropped, self.config)["length"])

    def check(self, data: Any, shards: Path) -> dict[str, Any]:
        """The labels."""
        tasks = [t for t in self.reward.guard.tasks if f"label_{t.name}" in data.column_names]
        if not tasks:
            needed = ", ".join(f"label_{t.name}" for t in self.reward.guard.tasks)
            hint = f"the guard {self.reward.guard.name!r} has the columns {needed}; the shards have: {', '.join(data.column_names)}"
            raise InputError("no column of labels: nothing to hold an answer against", where=str(shards), hint=hint)
        for task in tasks:
            for value in data.unique(f"label_{task.name}"):
                if value is not None and value not in task.labels:
                    raise InputError(unknown_label(str(value), task.labels), where=f"{shards}: label_{task.name}")
        check_curriculum(self.config.curriculum, self.reward.guard.task_names, data.column_names)
        return {"formula": self.reward.formula.name}

    def figures(self, watch: Watch) -> dict[str, Any]:
        """What was earned at the beginning and at the end."""
        lines = [line for line in watch.lines.lines if line.get("reward") is not None]
        part = max(1, len(lines) // 10)
        found = {"reward_first": _mean(lines[:part], "reward")}
        names = ("reward", "form", "accuracy", "no_spread", "length", "cut")
        return found | {f"{name}_last": _mean(lines[-part:], name) for name in names}


def _mean(lines: list[dict[str, Any]], name: str) -> float | None:
    values = [line[name] for line in lines if line.get(name) is not None]
    return round(sum(values) / len(values), 6) if values else None
