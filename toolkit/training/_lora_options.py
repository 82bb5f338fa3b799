"""The option ``lora`` of a training: which small matrices are trained in place of all weights, and what is left in the model folder."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from toolkit.common.documented import Documented
from toolkit.common.errors import require

LORA_RATE = 10
"""LoRA's best rate is about ten times that of full training, for SFT and preferences alike (Schulman et al. 2025, "LoRA Without Regret")."""


class Lora(Documented):
    """LoRA (Hu et al. 2021, arXiv 2106.09685): to each layer chosen alpha / rank · B A is added, and A and B alone are trained.

    Rank, alpha and dropout are those of TRL's own command line; all linear layers, since adapting fewer of them does not reach full training
    (Dettmers et al. 2023, arXiv 2305.14314, section 4). The learning rate is ten times that of full training (Schulman et al. 2025, "LoRA Without
    Regret").

    >>> Lora().scale, Lora(rank=64, rslora=True).scale
    (2.0, 4.0)
    """

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)

    rank: int = Field(16, ge=1)
    """Rows of A and columns of B."""
    alpha: int = Field(32, ge=1)
    """What is added to a layer is multiplied by alpha / rank."""
    dropout: float = Field(0.05, ge=0, lt=1)
    """Share of A's inputs that are left out at random; none in DPO, where TRL switches dropout off."""
    targets: Literal["all-linear"] | list[str] = "all-linear"
    """Names of layers (`q_proj`, …), or all linear ones but the last."""
    modules_to_save: list[str] = Field(default_factory=list)
    """Layers that are trained whole besides: `embed_tokens` and `lm_head` where a template has tokens that the base never learnt."""
    dora: bool = False
    """Weight-decomposed LoRA (Liu et al. 2024, arXiv 2402.09353)."""
    rslora: bool = False
    """Divide by the root of the rank (Kalajdzievski 2023, arXiv 2312.03732)."""
    quantize: Literal["none", "4bit", "8bit"] = "none"
    """Hold the base in 4 bits (QLoRA: NF4, quantised twice) or 8 while training. A merged model is made of the base as it was."""
    merge: bool = True
    """Write a whole model, which any program reads. `false`: write the adapter alone, which names its base: small, and `vllm` loads one base for
    several."""

    @model_validator(mode="after")
    def _readable(self) -> Lora:
        if not self.merge and (self.dora or self.modules_to_save):
            which = "dora" if self.dora else "modules_to_save"
            raise ValueError(f"lora.merge: false does not go with lora.{which}: neither sampling nor vLLM reads such an adapter")
        return self

    @property
    def scale(self) -> float:
        """What B A is multiplied by."""
        return self.alpha / (self.rank**0.5 if self.rslora else self.rank)


def lora_packages(lora: Lora | None) -> dict[str, str]:
    """The packages that a training with this option needs beside TRL, each with guardkit's extra that has it.

    >>> lora_packages(Lora(quantize="4bit"))
    {'peft': 'lora', 'bitsandbytes': 'qlora'}
    """
    if lora is None:
        return {}
    return {"peft": "lora"} | ({"bitsandbytes": "qlora"} if lora.quantize != "none" else {})


def require_lora(lora: Lora | None) -> None:
    """Raise `Missing` where one of these packages is not installed."""
    for package, extra in lora_packages(lora).items():
        require(package, extra, "lora" if package == "peft" else "lora.quantize")


def lora_needs(lora: Lora | None) -> list[str]:
    """What this machine lacks for it, in words."""
    packages = lora_packages(lora).items()
    return [f"the package {p!r} is missing: pip install 'guardkit[{extra}]'" for p, extra in packages if find_spec(p) is None]
