"""Training with LoRA adapters, on peft: what a training starts from, the adapter that it trains, and what is written at its end.

A start model that is itself an adapter is gone on with; for DPO it is then the reference, too, as a frozen copy (TRL's adapter ``ref``). An adapter
that guardkit wrote says which base it was trained on (`base_record`), and is refused on another.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError
from toolkit.common.models import adapter_config, base_roots, check_base, model_folder, model_hash
from toolkit.generation import Chat
from toolkit.training._lora_options import Lora, require_lora
from toolkit.training._ranks import is_first
from toolkit.training._shared import finish_generation_config

if TYPE_CHECKING:
    from toolkit.training._training_config import AnyConfig

_REFERENCE = "ref"
"""The frozen copy of a start adapter, by TRL's name."""


@dataclass(frozen=True)
class Start:
    """What a training starts from.

    Attributes:
        base: whole model, by hub name or folder.
        adapter: folder of the adapter on it, if any.
        revision: of a base on the hub that the adapter was trained on; None where it names none.
        tokenizer: where the tokenizer is.
    """

    base: str
    adapter: Path | None = None
    revision: str | None = None

    @property
    def tokenizer(self) -> str:
        """Folder or hub name: the adapter's own tokenizer wins, as in sampling."""
        own = self.adapter is not None and (self.adapter / "tokenizer_config.json").is_file()
        return str(self.adapter) if own else self.base

    def at_revision(self, args: Any) -> None:
        """Have the base loaded at the adapter's revision (InputError: `trainer` asks for another one)."""
        if self.revision is None:
            return
        asked = (args.model_init_kwargs or {}).get("revision")
        if asked not in (None, self.revision):
            hint = "leave it out: an adapter that is gone on with keeps its base"
            raise InputError(f"revision {asked}, and the adapter's base is at {self.revision}", where="trainer.model_init_kwargs", hint=hint)
        args.model_init_kwargs = {**(args.model_init_kwargs or {}), "revision": self.revision}


def start_of(name: str, lora: Lora | None) -> Start:
    """What a model's name stands for.

    Raises:
        InputError: an adapter whose base is not there, is itself an adapter or is another than it was trained on; an adapter without ``lora``.
        Missing: peft or bitsandbytes is not installed.
    """
    require_lora(lora)
    folder = model_folder(name, short=True)
    own = None if folder is None else adapter_config(folder)
    if folder is None or own is None:
        return Start(name if folder is None else str(folder))
    if lora is None:
        hint = "set `lora: true` to go on with it, or train it with `merge: true`, which writes a whole model"
        raise InputError("the model to start from is an adapter, and all weights are to be trained", where=name, hint=hint)
    based = own.get("base_model_name_or_path")
    if not isinstance(based, str) or not based:
        raise InputError("an adapter that does not name its base", where=name, hint="base_model_name_or_path of adapter_config.json is to name it")
    base = model_folder(based, base_roots(folder), short=True)
    if base is not None and not (base / "config.json").is_file():
        raise InputError(f"the base of this adapter, {based}, is no whole model", where=name)
    if base is not None:
        check_base(folder, base)
    return Start(based, folder, own.get("revision")) if base is None else Start(str(base), folder)


def with_lora(model: Any, start: Start | None, config: AnyConfig, args: Any) -> tuple[Any, dict[str, Any]]:
    """The model for TRL's trainer, and what else the trainer gets.

    Args:
        model: as it would be trained whole.
        start: what it is; None for one from scratch.
        config: of the training.
        args: TRL's configuration.

    Raises:
        InputError: the adapter to go on with has another shape than `lora` asks for, or does not fit its base.
    """
    if config.lora is None or start is None:
        return model, {}
    quantized = _quantization(config.lora, args)
    if start.adapter is None:
        return start.base, {"peft_config": _peft_config(config.lora, start, args), "quantization_config": quantized}
    return _go_on(config.lora, start, args, quantized), {"callbacks": [_lean_checkpoints()]}


def _quantization(lora: Lora, args: Any) -> Any:
    """Settings of bitsandbytes: NF4, its constants quantised too (QLoRA, section 3); computed in bfloat16 where the training is."""
    if lora.quantize == "none":
        return None
    import torch
    from transformers import BitsAndBytesConfig

    make: Any = BitsAndBytesConfig
    if lora.quantize == "8bit":
        return make(load_in_8bit=True)
    compute = torch.bfloat16 if args.bf16 else torch.float32
    return make(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=compute)


def _peft_config(lora: Lora, start: Start, args: Any) -> Any:
    from peft import LoraConfig
    from transformers import AutoConfig

    options = args.model_init_kwargs or {}
    text = AutoConfig.from_pretrained(start.base, revision=options.get("revision"), trust_remote_code=args.trust_remote_code).get_text_config()
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets,
        modules_to_save=lora.modules_to_save or None,
        use_dora=lora.dora,
        use_rslora=lora.rslora,
        ensure_weight_tying=bool(lora.modules_to_save) and bool(text.tie_word_embeddings),
        revision=options.get("revision"),
    )


_NAMES = {
    "rank": "r",
    "alpha": "lora_alpha",
    "targets": "target_modules",
    "modules_to_save": "modules_to_save",
    "dora": "use_dora",
    "rslora": "use_rslora",
}
"""Options that shape an adapter, and peft's names for them."""


def _go_on(lora: Lora, start: Start, args: Any, quantized: Any) -> Any:
    """A start adapter on its base, to be trained further."""
    from peft import PeftConfig, PeftModel
    from trl.trainer.utils import create_model_from_path

    kept = PeftConfig.from_pretrained(str(start.adapter))
    for option, value, there in _asked_and_there(lora, kept):
        if value != there:
            hint = f"leave lora.{option} out: an adapter that is gone on with keeps its shape"
            raise InputError(f"lora.{option} is {value}, and the adapter to start from has {there}", where=f"lora.{option}", hint=hint)
    if "dropout" in lora.model_fields_set:
        kept.lora_dropout = lora.dropout
    options = {"trust_remote_code": args.trust_remote_code, **(args.model_init_kwargs or {})}
    model = create_model_from_path(start.base, **options, **({} if quantized is None else {"quantization_config": quantized}))
    try:
        return PeftModel.from_pretrained(model, str(start.adapter), config=kept, is_trainable=True)
    except (ValueError, RuntimeError, KeyError) as e:  # layers that are not there, or of another size
        raise InputError(f"an adapter of another base: {str(e)[:200]}", where=str(start.adapter)) from None


def _asked_and_there(lora: Lora, kept: Any) -> Iterator[tuple[str, Any, Any]]:
    """Of each option that was given: its name, its value, and what the adapter has."""
    for option, name in _NAMES.items():
        if option not in lora.model_fields_set:
            continue
        value, there = getattr(lora, option), getattr(kept, name)
        if option == "targets" and value == "all-linear":
            continue  # peft writes their names instead
        plain = isinstance(value, list)
        yield option, sorted(value) if plain else value, sorted(there or []) if plain else there


def base_record(start: Start | None, lora: Lora | None) -> dict[str, Any]:
    """What ``guardkit.json`` says of an adapter's base, for `check_base`; nothing where a whole model is written."""
    if start is None or lora is None or lora.merge:
        return {}
    folder = model_folder(start.base, short=True)
    return {"base": {"name": start.base if folder is None else folder.name, "sha256": None if folder is None else model_hash(folder)}}


def sizes_of(model: Any) -> dict[str, int]:
    """``parameters`` of a model, and ``parameters_trained`` where they are fewer."""
    if not hasattr(model, "get_nb_trainable_parameters"):
        return {"parameters": sum(getattr(p, "ds_numel", p.numel()) for p in model.parameters())}
    trained, whole = model.get_nb_trainable_parameters()
    return {"parameters": whole, "parameters_trained": trained}


def write_model(trainer: Any, start: Start | None, lora: Lora | None, new: Path, work: Path) -> None:
    """Write what a training leaves: the whole model, or the adapter.

    A merged model is made of the base as it is on disk, in its own precision, also where it was quantised for the training.

    Args:
        trainer: TRL's, trained.
        start: what it started from.
        lora: the option.
        new: folder that gets it.
        work: folder for what goes between.
    """
    if lora is None or start is None:
        trainer.save_model(str(new))
        return
    adapter = work / "adapter" if lora.merge else new
    trainer.save_model(str(adapter))
    if not is_first():
        return
    shutil.rmtree(adapter / _REFERENCE, ignore_errors=True)
    if not lora.merge:
        _name_base(adapter / "adapter_config.json", start.base)
        return
    from peft import PeftModel
    from trl.trainer.utils import create_model_from_path

    args, tokenizer = trainer.args, trainer.processing_class
    options = {"trust_remote_code": args.trust_remote_code, **(args.model_init_kwargs or {}), "dtype": "auto", "device_map": None}
    on_base: Any = PeftModel.from_pretrained(create_model_from_path(start.base, **options), str(adapter))
    model = on_base.merge_and_unload()
    finish_generation_config(model, Chat(tokenizer))
    model.save_pretrained(str(new))
    tokenizer.save_pretrained(str(new))


def _lean_checkpoints() -> Any:
    """A callback that leaves TRL's reference adapter out of checkpoints: it is made again of the start adapter, and transformers, which looks into
    folders alone where a checkpoint has any, would then not load the adapter that is trained."""
    from transformers import TrainerCallback

    class _Callback(TrainerCallback):
        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            shutil.rmtree(Path(args.output_dir) / f"checkpoint-{state.global_step}" / _REFERENCE, ignore_errors=True)

    return _Callback()


def _name_base(file: Path, base: str) -> None:
    """Let an adapter name its base as it was found, and its layers in one order (peft holds them as a set)."""
    config: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    targets = config["target_modules"]
    named = {"base_model_name_or_path": base, "target_modules": sorted(targets) if isinstance(targets, list) else targets}
    file.write_text(json.dumps({**config, **named}, indent=2, sort_keys=True) + "\n", encoding="utf-8")
