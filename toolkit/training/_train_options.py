"""What every training takes beside its model and its seed: one list for ``guardkit train``, for Python and for the steps of recipes.

An option that is added here is one of all three.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.util import find_spec
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from toolkit.common.documented import Documented
from toolkit.common.errors import InputError
from toolkit.common.reach import Asked, NeedsLeave
from toolkit.generation import TemplateArguments
from toolkit.training._checkpoint_option import Checkpoint
from toolkit.training._fields import ConfigName, fields_of
from toolkit.training._held_out import HeldOut
from toolkit.training._lora_options import Lora
from toolkit.training._parallel import parallel_word
from toolkit.training._plain import ATTENTION, PLAIN, PLAIN_MODEL
from toolkit.training._services import services

_CHECKPOINTS = "set `checkpoint` beside `trainer`"
_SHAPE_NOTHING = frozenset({"checkpoint", "too_long", "unverified", "most_cut", "media"})
"""Options that shape no weight."""
_FIRST = ("model", "seed", "trainer", "chat_template", "threads")
_HELD_OUT = "set `evaluate` beside `trainer`"
_EVERY = "set `generate_every` beside `trainer`"
_PARALLEL = "set `parallel` beside `trainer`: a preset or a file of accelerate's"
OWN = {
    "fsdp": _PARALLEL,
    "fsdp_config": _PARALLEL,
    "deepspeed": _PARALLEL,
    "output_dir": "guardkit writes the model folder",
    "seed": "set `seed` beside `trainer`",
    "data_seed": "set `seed` beside `trainer`",
    "save_strategy": _CHECKPOINTS,
    "save_steps": _CHECKPOINTS,
    "save_total_limit": _CHECKPOINTS,
    "push_to_hub": "nothing is uploaded",
    "hub_token": "secrets come from the environment",
    "eval_strategy": _HELD_OUT,
    "eval_steps": _HELD_OUT,
    "eval_on_start": _HELD_OUT,
    "load_best_model_at_end": "the last weights are the model; compare guards with `guardkit evaluate`",
    "resume_from_checkpoint": "a training goes on from its own by itself",
    "remove_unused_columns": "guardkit's own columns must not reach the model",
    "chat_template_path": "set `chat_template` beside `trainer`",
    "pad_token": "the tokenizer's own is used",
    "truncation_mode": "a row longer than max_length is left out and counted, never cut",
    "completion_only_loss": "the loss is on completions only",
    "assistant_only_loss": "the loss is on completions only",
    "generation_batch_size": _EVERY,
    "steps_per_generation": _EVERY,
    "chat_template_kwargs": "set `chat_template_kwargs` beside `trainer`",
    "reward_weights": "the formula of the reward weighs its parts",
    "log_completions": "`guardkit sample` and `guardkit reward` show what a guard writes and earns",
}
"""Fields that guardkit sets, and why; whoever sets them is given the reason."""


def _trainer_leaves(trainer: Mapping[str, Any], config: Any) -> Iterator[Asked]:
    """What under ``trainer`` is not known to be plain data; fields that TRL does not have are refused elsewhere."""
    odd = [
        k for k, v in trainer.items() if k not in PLAIN and k not in OWN and k not in ("model_init_kwargs", "report_to") and v not in (None, False)
    ]
    if odd and find_spec("trl") is not None:
        odd = [k for k in odd if any(k in fields_of(name) for name in get_args(ConfigName))]
    yield from (_asked(k, (k,)) for k in odd)
    with suppress(InputError):  # a name that is not known is refused elsewhere
        sent = [name for name in services(trainer) if name != "tensorboard"]
        yield from (Asked(f"report_to={name}", f"{name} is sent the settings and figures of the training", ("report_to",)) for name in sent)
    options = trainer.get("model_init_kwargs")
    if not isinstance(options, Mapping):
        yield from [] if options is None else [_asked("model_init_kwargs", ("model_init_kwargs",))]
        return
    for key, value in options.items():
        place = ("model_init_kwargs", key)
        if key == "attn_implementation" and not (value is None or (isinstance(value, str) and value in ATTENTION)):
            yield Asked(f"attn_implementation={value}", f"{value!r} names a kernel that would be fetched and run", place)
        elif key not in PLAIN_MODEL and value not in (None, False):
            yield _asked(key, place)


def _asked(key: str, place: tuple[str, ...]) -> Asked:
    why = {
        "trust_remote_code": "it runs the Python that is in the model's folder or repository",
        "model_init_kwargs": "as one text its keys cannot be looked at; write them as keys",
    }
    return Asked(key, why.get(key, f"{key!r} is not known to be plain data: it may run code, or read, send or write elsewhere"), place)


def _one_accumulation(options: Any) -> Any:
    if options.rows_an_update is not None and "gradient_accumulation_steps" in options.trainer:
        raise ValueError("rows_an_update sets trainer.gradient_accumulation_steps: give one of the two")
    return options


def _switch(value: Any) -> Any:
    """``true`` for the defaults, ``false`` for none."""
    return ({} if value else None) if isinstance(value, bool) else value


class TrainOptions(Documented):
    """The options of a training."""

    trainer: Annotated[dict[str, Any], NeedsLeave(_trainer_leaves)] = Field(default_factory=dict)
    """Fields of TRL's trainer configuration (SFTConfig, DPOConfig), over guardkit's defaults; one that may run code or write elsewhere needs leave:
    `--allow NAME`."""
    chat_template: str | None = None
    """`llama3`, `plain` or Jinja text; default: the tokenizer's own, or, where it has none, `llama3` if it has Llama 3's header tokens and `plain`
    otherwise."""
    chat_template_kwargs: TemplateArguments = Field(default_factory=dict)
    """Arguments of the chat template (`enable_thinking: false`, …). They become part of the trained model's template, so that every program asks it
    as it was trained."""
    lora: Annotated[Lora | None, BeforeValidator(_switch, json_schema_input_type=bool | Lora | None)] = None
    """Train a LoRA adapter instead of all weights: `true`, or its settings (`{rank: 16, alpha: 32, quantize: 4bit, merge: false, …}`)."""
    rows_an_update: int | None = Field(None, ge=1)
    """Rows (of DPO: pairs; of GRPO: rows, each with all of its answers) of an update on all GPUs together, whatever their number: sets
    `gradient_accumulation_steps` by `per_device_train_batch_size` and the processes."""
    threads: int | None = Field(None, ge=1)
    """CPU threads of torch, in each process; default: torch's own choice, with several processes their share of the cores."""
    processes: Annotated[int, Field(ge=1)] | Literal["auto"] | None = None
    """Processes of this machine that train together, one for each GPU or several on a CPU: an update has that many times the rows. `auto`: as many as
    there are GPUs; default: one."""
    parallel: Annotated[str | None, AfterValidator(parallel_word)] = None
    """How they share the model: `ddp` (each has all of it; the default), `fsdp2`, `zero2` or `zero3` (each has a part; TRL's presets, on GPUs), or
    the path of a file that `accelerate config` wrote."""
    checkpoint: Checkpoint | None = None
    """How often it is written down where the training is: `200` (updates), `30 min`, or `{updates, minutes, keep}`. The same command or run goes on
    from there after a stop or a kill, and ends in the same model. Default: never, and it begins anew."""
    evaluate: Annotated[HeldOut | None, BeforeValidator(_switch, json_schema_input_type=bool | HeldOut | None)] = None
    """Rows that are not trained on, on which the loss is looked at on the way: `true`, or `{share | rows | split, every}`."""
    too_long: float = Field(0.05, ge=0, le=1)
    """Share of the rows that may be left out since they are longer than the model, or `trainer.max_length`, takes; more is refused."""
    media: str | None = None
    """Folder that the files of rows with media are relative to, where the shards do not hold their bytes (docs/media.md). Default: in a recipe its
    own, of `guardkit train` that of the file of options."""
    unverified: bool = False
    """Train on shards that are not as their manifest says, as `guardkit train --unverified` does."""

    _batch = model_validator(mode="after")(_one_accumulation)

    def shaping(self) -> dict[str, Any]:
        """The options that shape the weights, for a fingerprint: of those that came later than the first runs only what is set, so that these stay
        finished."""
        usual = {name: about.get_default(call_default_factory=True) for name, about in type(self).model_fields.items()}
        left_out = {name for name in usual if name in _SHAPE_NOTHING or (name not in _FIRST and getattr(self, name) == usual[name])}
        return self.model_dump(mode="json", exclude=left_out)
