"""GRPO on a tiny guard: what is rewarded, what changes, what stops it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from shardfolders import MESSAGES, sft_rows, write

from toolkit.common.errors import InputError, Stopped
from toolkit.common.folders import kept_of
from toolkit.common.models import model_hash
from toolkit.guards import Guard
from toolkit.rewards import Output, RewardFunction, load_formula, rewarded
from toolkit.training import GrpoConfig, check_trainer, kept_update, load_preset, plan_words, preset_names, read_metrics, train_grpo
from toolkit.training import _grpo as module
from toolkit.training._grpo import grpo_of, plan_grpo
from toolkit.training._training_config import trainer_args
from toolkit.training._training_plan import plan_of

GUARD = Guard.model_validate(
    {
        "name": "place",
        "version": 1,
        "description": "Names a place.",
        "tasks": [{"name": "place", "labels": ["garden", "kitchen"], "positive": "kitchen"}],
        "calls": [{"name": "place", "tasks": ["place"], "messages": [{"role": "user", "content": "{{ prompt }}"}]}],
        "grammar": {"answers": [{"task": "place", "field": "Place", "words": {"garden": "garden", "kitchen": "kitchen"}}]},
    }
)
SCHEMA = pa.schema(
    [(n, pa.string()) for n in ("id", "label_place", "source", "licence")]
    + [("prompt", MESSAGES), ("has_response", pa.bool_()), ("error_rate_place", pa.float64())]
)
FORMULA = {"name": "mine", "form": 0.2, "accuracy": 0.8, "length": {"kind": "concise", "weight": 0.5, "free": 4, "scale": 8}}
TRAINER = {
    "max_steps": 6,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "num_generations": 4,
    "max_completion_length": 16,
    "learning_rate": 1e-3,
    "temperature": 1.6,
}


def rows(n: int = 12) -> list[dict[str, Any]]:
    found = []
    for i, row in enumerate(sft_rows(n)):
        place = row["completion"][0]["content"].rpartition(": ")[2]
        found.append({"id": row["id"], "prompt": row["prompt"], "label_place": place, "has_response": False, "error_rate_place": i / n})
    return found


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    return write(tmp_path / "rl", rows(), SCHEMA)


def config(model: object, **options: Any) -> GrpoConfig:
    trainer = TRAINER | options.pop("trainer", {})
    return GrpoConfig.model_validate({"model": str(model), "formula": FORMULA, "trainer": trainer, "threads": 1, "most_cut": 1, **options})


def stop_at(update: int) -> Callable[[int, int, float | None], None]:
    def progress(done: int, total: int, reward: float | None) -> None:
        if done == update:
            raise Stopped("enough")

    return progress


def test_what_is_written_is_rewarded_and_a_stopped_training_goes_on(
    tiny: tuple[Path, Any], shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[list[str], dict[str, Any]]] = []

    class Recording(RewardFunction):
        def found(self, prompts: Any = None, completions: Any = (), completion_ids: Any = None, groups: Any = None, **columns: Any) -> Any:
            asked.append((list(completions), {"lengths": [len(ids) for ids in completion_ids], **columns}))
            return super().found(prompts, completions, completion_ids, groups, **columns)

    monkeypatch.setattr(module, "RewardFunction", Recording)
    how = config(tiny[0], generate_every=2, clip_schedule="product", checkpoint=3, evaluate={"rows": 2, "every": 6})
    whole = train_grpo(shards, tmp_path / "whole", how, guard=GUARD)
    lines = read_metrics(tmp_path / "whole")
    assert model_hash(tmp_path / "whole") != model_hash(tiny[0]) and whole["steps"] == len(lines) == 6
    sampled = [line for line in lines if "reward" in line]
    assert [line["update"] for line in sampled] == [1, 3, 5], "answers are drawn for two updates at a time"
    trained = [one for one in asked if len(one[0]) == 16]
    assert len(trained) == 3
    for line, (texts, columns) in zip(sampled, trained, strict=True):
        outputs = [
            Output(text, {"place": label}, length) for text, label, length in zip(texts, columns["label_place"], columns["lengths"], strict=True)
        ]
        found = rewarded(GUARD, load_formula(FORMULA), outputs)
        assert line["reward"] == pytest.approx(sum(one.reward or 0 for one in found) / 16, abs=1e-5)
        assert line["form"] == pytest.approx(sum(one.well_formed for one in found) / 16)
        assert line["length"] == pytest.approx(sum(columns["lengths"]) / 16)
    assert any(line["no_spread"] < 1 for line in sampled) and whole["reward_first"] == pytest.approx(sampled[0]["reward"], abs=1e-5)
    factors = [1, 5 / 6, 5 / 6 * 4 / 6, 5 / 6 * 4 / 6 * 3 / 6, 5 * 4 * 3 * 2 / 6**4, 5 * 4 * 3 * 2 / 6**5]
    assert [line["clip"] for line in lines] == pytest.approx([0.2 * factor for factor in factors])
    assert whole["held_out"] >= 2 and "eval_reward" in lines[-1] and "eval_right_place" in lines[-1]

    with pytest.raises(Stopped):
        train_grpo(shards, tmp_path / "parts", how, stop_at(5), guard=GUARD)
    assert kept_update(kept_of(tmp_path / "parts")) == 4, "between two samplings there is nothing to go on from"
    rest = train_grpo(shards, tmp_path / "parts", how, guard=GUARD)
    assert rest["settings"]["after"] == 4 and model_hash(tmp_path / "parts") == model_hash(tmp_path / "whole")
    times = {"seconds", "tokens_per_second"}
    assert [{k: v for k, v in line.items() if k not in times} for line in read_metrics(tmp_path / "parts")] == [
        {k: v for k, v in line.items() if k not in times} for line in lines
    ]


def test_rows_of_one_prompt_are_groups_of_their_own() -> None:
    reward = RewardFunction(GUARD, {"length": {"kind": "aware"}})
    asked: dict[str, Any] = {
        "prompts": ["p", "p"],
        "completions": ["Place: garden"] * 2,
        "completion_ids": [[1], [1, 2]],
        "label_place": ["kitchen"] * 2,
    }
    assert [one.reward for one in reward.found(**asked)] == [-4.0, -1.0], "one row, of which the longest answer counts as whole"
    assert [one.reward for one in reward.found(**asked, groups=["a", "b"])] == [-1.0, -1.0]


def test_a_plan_says_what_would_be(tiny: tuple[Path, Any], shards: Path, tmp_path: Path) -> None:
    how = config(tiny[0], curriculum={"order": "hard_first", "most": 0.5}, guard="unused", trainer={"max_steps": -1, "num_train_epochs": 2})
    method = grpo_of(shards, how, GUARD)
    found = plan_of(method, shards, tmp_path / "out", how)
    assert (found["rows_used"], found["dropped"]["out_of_band"]["count"]) == (7, 5)
    assert (found["settings"]["updates"], found["settings"]["rows_an_update"], found["settings"]["generations"]) == (6, 2, 4)
    assert any("7 of 12 rows are trained on" in line for line in plan_words(found, "out"))
    with pytest.raises(InputError, match="no guard called 'unused'"):
        plan_grpo(shards, tmp_path / "out", how)


def test_rows_by_their_error_rate(tiny: tuple[Path, Any], tmp_path: Path) -> None:
    from datasets import Dataset

    from toolkit.generation import Chat
    from toolkit.training import load_tokenizer
    from toolkit.training._grpo_trainer import clip_factor, keep_prompts
    from toolkit.training._shared import Bounds, Dropped

    how = config(tiny[0], curriculum={"order": "easy_first", "least": 0.2, "most": 0.8})
    chat = Chat(load_tokenizer(str(tiny[0]), None, trainer_args(how, "unused")))
    given = rows(10)
    given[3] |= {"error_rate_place": None}
    given[4] |= {"label_place": None}
    given[5]["prompt"][0]["content"] *= 30
    for order, expected in (("easy_first", [2, 6, 7, 8]), ("hard_first", [8, 7, 6, 2])):
        how = how.model_copy(update={"curriculum": how.curriculum.model_copy(update={"order": order}) if how.curriculum else None})
        dropped = Dropped()
        kept = keep_prompts(chat, Dataset.from_list(given), Bounds(room=128, answer=16), dropped, how)
        assert list(kept["id"]) == [f"row-{i}" for i in expected]
        reasons = {reason: about["count"] for reason, about in dropped.report().items()}
        assert reasons == {"no_label": 1, "no_error_rate": 1, "too_long": 1, "out_of_band": 3}
    assert [clip_factor("linear", s, 4) for s in range(5)] == [1, 0.75, 0.5, 0.25, 0]


@pytest.mark.parametrize(
    ("trainer", "words"),
    [
        ({"temperature": 0.001, "max_steps": 3}, r"in each of the 6 groups of the first 3 updates all 4 answers earned the same"),
        ({"max_completion_length": 2, "max_steps": 3}, r"9\d% of the first 24 answers are cut at 2 tokens"),
    ],
)
def test_what_stops_it(tiny: tuple[Path, Any], shards: Path, tmp_path: Path, trainer: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        train_grpo(shards, tmp_path / "out", config(tiny[0], trainer=trainer, most_cut=0.9), guard=GUARD)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"formula": "dreams"}, "no formula of rewards called 'dreams'"),
        ({"formula": {"tasks": {"refusal": 1}}}, "weighs the task 'refusal', which the guard 'place' does not have"),
        ({"formula": {"scores": {"quality": 1}}}, "weighs scores of what the guard writes that nothing gives here: quality"),
        ({"preset": "dreams"}, "no preset of GRPO called 'dreams'"),
        ({"trainer": {"num_generations": 1}}, "groups of 1: an answer is compared"),
        ({"trainer": {"num_generations": 3}}, "8 answers .* are not made of groups of 3"),
        ({"trainer": {"gradient_accumulation_steps": 8}}, "12 rows, and the answers of 16 are drawn at a time"),
        ({"trainer": {"max_completion_length": 128}}, "lower trainer.max_completion_length, or start from a model that reads more"),
        ({"max_prompt": 4}, "raise max_prompt, which is 4"),
        ({"curriculum": {"by": "mystery"}}, "no column of error rates: mystery"),
    ],
)
def test_refused_before_an_update(tiny: tuple[Path, Any], shards: Path, tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        train_grpo(shards, tmp_path / "out", config(tiny[0], **options), guard=GUARD)


def test_shards_without_labels_or_a_guard(tiny: tuple[Path, Any], tmp_path: Path, write_sft: Callable[..., Path]) -> None:
    plain = write_sft(sft_rows(8))
    with pytest.raises(InputError, match="do not say for which guard they were rendered"):
        train_grpo(plain, tmp_path / "out", config(tiny[0]))
    with pytest.raises(InputError, match="no column of labels: nothing to hold an answer against"):
        train_grpo(plain, tmp_path / "out", config(tiny[0]), guard=GUARD)
    odd = write(tmp_path / "odd", [{**row, "label_place": "attic"} for row in rows()], SCHEMA)
    with pytest.raises(InputError, match="attic"):
        train_grpo(odd, tmp_path / "out", config(tiny[0]), guard=GUARD)


def test_every_preset_is_one_of_trls(tmp_path: Path) -> None:
    for name in preset_names():
        preset = load_preset(name)
        how = GrpoConfig(model="unused", preset=name, trainer={"use_cpu": True})
        check_trainer(how)
        args: Any = trainer_args(how, str(tmp_path))
        assert args.beta == 0 and args.num_generations == preset.trainer["num_generations"] and load_formula(str(preset.formula)).name == name
        assert args.generation_batch_size == (preset.rows_an_update or 0) * preset.generate_every * args.num_generations
