"""Training guards on shards with TRL: supervised fine-tuning on completions only, DPO with a weight for each pair, and GRPO
with rewards of what a guard writes.

Importing this room loads neither torch nor trl; they load when a training starts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.common.lazy import lazily

if TYPE_CHECKING:
    from toolkit.training._checkpoints import kept_update as kept_update
    from toolkit.training._curves_picture import MEASURED as MEASURED
    from toolkit.training._curves_picture import curves as curves
    from toolkit.training._dpo import train_dpo as train_dpo
    from toolkit.training._grpo import train_grpo as train_grpo
    from toolkit.training._grpo import trained_guard as trained_guard
    from toolkit.training._grpo_options import Curriculum as Curriculum
    from toolkit.training._grpo_options import GrpoOptions as GrpoOptions
    from toolkit.training._grpo_options import Preset as Preset
    from toolkit.training._grpo_options import check_curriculum as check_curriculum
    from toolkit.training._grpo_options import load_preset as load_preset
    from toolkit.training._grpo_options import preset_names as preset_names
    from toolkit.training._grpo_options import trained_formula as trained_formula
    from toolkit.training._lora_options import Lora as Lora
    from toolkit.training._lora_options import lora_needs as lora_needs
    from toolkit.training._memory_words import memory_words as memory_words
    from toolkit.training._metrics_lines import read_metrics as read_metrics
    from toolkit.training._model import load_tokenizer as load_tokenizer
    from toolkit.training._new_model import new_model as new_model
    from toolkit.training._parallel import own_file as own_file
    from toolkit.training._score_model import Grader as Grader
    from toolkit.training._score_model import ScoreModel as ScoreModel
    from toolkit.training._score_model import check_scores as check_scores
    from toolkit.training._score_model import grader_of as grader_of
    from toolkit.training._sft import train_sft as train_sft
    from toolkit.training._train_options import TrainOptions as TrainOptions
    from toolkit.training._trainer_registry import TRAINERS as TRAINERS
    from toolkit.training._trainer_registry import Trainer as Trainer
    from toolkit.training._training_config import DpoConfig as DpoConfig
    from toolkit.training._training_config import GrpoConfig as GrpoConfig
    from toolkit.training._training_config import Scratch as Scratch
    from toolkit.training._training_config import ScratchModel as ScratchModel
    from toolkit.training._training_config import SftConfig as SftConfig
    from toolkit.training._training_config import check_fields as check_fields
    from toolkit.training._training_config import check_trainer as check_trainer
    from toolkit.training._training_plan import plan_words as plan_words
    from toolkit.training._training_report import Begin as Begin
    from toolkit.training._training_report import Progress as Progress
    from toolkit.training._training_report import in_words as in_words

__getattr__, __dir__ = lazily(__name__)
