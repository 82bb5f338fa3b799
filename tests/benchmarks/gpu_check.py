"""How fast guardkit trains beside plain TRL: tokens a second and MFU of SFT and weighted DPO, on models of random weights in the shape of Llama 3.2 1B and
Llama 3.1 8B, with the same rows and settings in one run. ``make gpu-check`` runs it on one GPU in at most ten minutes; ``make bench-train`` runs a tiny
shape on the CPU, where the ratio alone means something.

Both trainers take turns on one model in memory, ours with all that `guardkit train` does while it trains. An update's time is taken from the end of the one
before to its own: batch, loss, gradient, step, and what is logged; the first two of each turn are left out. The ratio is the median over the turns of what
the two take in the same one, since a machine's speed drifts by more than they differ. On a CPU there are more turns, on one core (several wait for each
other, and the waiting counts), in seconds of its time, so that other programs count little. Rows are random words of the length that is asked for, so
that no model and no data are needed.

MFU: the share of the card's dense bfloat16 peak that 6 x weights + 12 x layers x width x length (PaLM, appendix B; embeddings left out, causal
attention counted whole) a token come to. Recomputing for gradient checkpointing is not counted as work done.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent
sys.path[:0] = [str(CHECKOUT)]

GOAL, GOAL_MFU = 0.98, 0.45
"""Speed beside plain TRL, and the 8B shape's SFT in bfloat16."""
PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "RTX 4090": 165e12, "RTX 3090": 71e12, "B200": 2250e12}
"""Dense bfloat16 operations a second, from the makers' data sheets."""
_MINUTES = 9.0
"""After so long no further measurement is begun."""


@dataclass(frozen=True)
class Shape:
    """A model's shape, and what is trained on it: rows an update (pairs: a quarter of them), tokens a row, whether activations are kept."""

    width: int
    inner: int
    layers: int
    heads: int
    groups: int
    vocab: int
    rows: int
    length: int
    recompute: bool = True


SHAPES = {
    "tiny": Shape(192, 576, 2, 4, 4, 1024, 8, 96, recompute=False),
    "1b": Shape(2048, 8192, 16, 32, 8, 128_256, 16, 1024),
    "8b": Shape(4096, 14_336, 32, 32, 8, 128_256, 8, 1024),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where a goal is missed."""
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--shapes", nargs="+", choices=SHAPES, help="default: 1b and 8b on a GPU, else tiny")
    ap.add_argument("--methods", nargs="+", choices=("sft", "dpo"), default=["sft", "dpo"])
    ap.add_argument("--updates", type=int, default=6, help="that count, in each turn")
    ap.add_argument("--turns", type=int, help="times that the two trainers take turns (default: 3 on a GPU, else 8)")
    ap.add_argument("--json", action="store_true", help="print the figures for machines")
    a = ap.parse_args(argv)
    import torch

    from toolkit.training._shared import quiet, torch_threads

    gpu = torch.cuda.is_available()
    device, turns = torch.cuda.get_device_name(0) if gpu else "CPU", a.turns or (3 if gpu else 8)
    began, found, missed = time.monotonic(), [], []
    for name in a.shapes or (["1b", "8b"] if gpu else ["tiny"]):
        for method in a.methods:
            if time.monotonic() - began > _MINUTES * 60:
                missed.append(f"{method} of {name} was not measured: {_MINUTES:.0f} minutes are over")
                continue
            with tempfile.TemporaryDirectory() as work, quiet(show_bars=False), torch_threads(None if gpu else 1):
                figures = {"shape": name, "method": method, **measure(SHAPES[name], method, a.updates, turns, Path(work), gpu=gpu, device=device)}
            found.append(figures)
            missed += short_of(figures)
    print(json.dumps({"device": device, "date": time.strftime("%Y-%m-%d"), "found": found}) if a.json else report(device, found))
    for words in missed:
        print(f"missed: {words}", file=sys.stderr)
    return 1 if missed else 0


def short_of(figures: Mapping[str, Any]) -> list[str]:
    """The goals that were missed."""
    what = f"{figures['method']} of {figures['shape']}"
    out = [f"{what}: {figures['ratio']:.3f} of plain TRL's speed (goal {GOAL})"] if figures["ratio"] < GOAL else []
    mfu = figures["mfu"]
    if mfu is not None and (figures["shape"], figures["method"]) == ("8b", "sft") and mfu < GOAL_MFU:
        out.append(f"{what}: MFU {mfu:.1%} (goal {GOAL_MFU:.0%})")
    return out


def report(device: str, found: Sequence[Mapping[str, Any]]) -> str:
    """A table in Markdown."""
    head = ["| shape | method | tokens/s | plain TRL | ratio | of the turns | MFU |", "|---|---|---|---|---|---|---|"]
    lines = [f"On {device}, {time.strftime('%Y-%m-%d')}:", "", *head]
    for f in found:
        mfu = "" if f["mfu"] is None else f"{f['mfu']:.1%}"
        turns = "{:.3f} to {:.3f}".format(*f["turns"])
        lines.append(f"| {f['shape']} | {f['method']} | {f['tokens_a_second']:,.0f} | {f['plain']:,.0f} | {f['ratio']:.3f} | {turns} | {mfu} |")
    return "\n".join(lines)


def measure(shape: Shape, method: str, updates: int, turns: int, work: Path, *, gpu: bool, device: str) -> dict[str, Any]:
    """Figures of one shape and method: tokens_a_second, plain (TRL's), ratio (median of the turns), turns (lowest and highest), mfu (None without a known
    card), updates (that count)."""
    import torch
    from transformers import PrinterCallback

    model, tokenizer = random_model(shape, gpu=gpu), words_tokenizer()
    seconds: dict[str, list[list[float]]] = {"guardkit": [], "trl": []}
    tokens = 0
    for turn in range(-1, turns):  # the turn before the first is not counted: libraries load, memory is laid out
        for which in ("guardkit", "trl") if turn % 2 else ("trl", "guardkit"):
            trainer = make_trainer(which, method, shape, model, tokenizer, updates + 2, work / f"{which}-{turn}", gpu=gpu)
            clock = steps_clock(gpu=gpu)
            trainer.add_callback(clock)
            trainer.remove_callback(PrinterCallback)
            trainer.train()
            seconds[which] += [clock.seconds[1:]] if turn >= 0 else []
            tokens = int(trainer.state.log_history[-2]["num_tokens"]) // (updates + 2)
            del trainer
            gc.collect()
            if gpu:
                torch.cuda.empty_cache()
    ours, theirs = (statistics.median(s for turn in seconds[w] for s in turn) for w in ("guardkit", "trl"))
    ratios = [statistics.median(plain) / statistics.median(own) for own, plain in zip(seconds["guardkit"], seconds["trl"], strict=True)]
    peak = next((flops for card, flops in PEAKS.items() if card in device), None)
    work_a_token = 6 * weights_of(model) + 12 * shape.layers * shape.width * shape.length
    speed = tokens / ours
    mfu = None if peak is None else speed * work_a_token / peak
    found = {"tokens_a_second": speed, "plain": tokens / theirs, "ratio": statistics.median(ratios), "turns": (min(ratios), max(ratios)), "mfu": mfu}
    return found | {"updates": turns * updates}


def weights_of(model: Any) -> int:
    """Weights that each token is multiplied by: all but the embeddings, the last layer counted."""
    unused = 0 if model.config.tie_word_embeddings else model.get_input_embeddings().weight.numel()
    return int(sum(p.numel() for p in model.parameters()) - unused)


def random_model(shape: Shape, *, gpu: bool) -> Any:
    """A Llama of that shape; in bfloat16 on a GPU."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=shape.vocab,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.groups,
        max_position_embeddings=4096,
        tie_word_embeddings=shape.width < 4096,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
    )
    with torch.device("cuda" if gpu else "cpu"):
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.bfloat16 if gpu else torch.float32)
        try:
            return LlamaForCausalLM(config)
        finally:
            torch.set_default_dtype(before)


_WORDS = [f"w{i}" for i in range(900)]
_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ m.role + ' ' + m.content + ' ' + eos_token + ' ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant ' }}{% endif %}"
)


def words_tokenizer() -> Any:
    """A word is a token."""
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<bos>", "<eos>", "<pad>", "<unk>"]
    raw = Tokenizer(models.WordLevel({w: i for i, w in enumerate([*special, "user", "assistant", *_WORDS])}, unk_token="<unk>"))  # noqa: S106
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    raw.add_special_tokens([AddedToken(t, normalized=False) for t in special])
    names = dict(zip(("bos_token", "eos_token", "pad_token", "unk_token"), special, strict=True))
    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_object=raw, **names)
    tokenizer.chat_template = _TEMPLATE
    return tokenizer


def random_rows(method: str, n: int, length: int) -> list[dict[str, Any]]:
    """Rows of about `length` tokens, a quarter of them the prompt; of pairs each answer has as many."""
    rng = random.Random(0)

    def message(role: str, words: int) -> list[dict[str, str]]:
        return [{"role": role, "content": " ".join(rng.choices(_WORDS, k=words))}]

    ask, answer = length // 4 - 4, length - length // 4 - 4
    if method == "sft":
        return [{"id": str(i), "prompt": message("user", ask), "completion": message("assistant", answer)} for i in range(n)]
    return [
        {
            "id": str(i),
            "prompt": message("user", ask),
            "chosen": message("assistant", answer),
            "rejected": message("assistant", answer),
            "weight": 0.8 + i % 5 / 10,
        }
        for i in range(n)
    ]


def make_trainer(which: str, method: str, shape: Shape, model: Any, tokenizer: Any, updates: int, work: Path, *, gpu: bool) -> Any:
    """guardkit's trainer or TRL's own on the same rows, with the same settings (TRL has no weights)."""
    from datasets import Dataset
    from trl.trainer.dpo_trainer import DPOTrainer
    from trl.trainer.sft_trainer import SFTTrainer

    from toolkit.training import DpoConfig, SftConfig
    from toolkit.training._shared import Bounds, Dropped
    from toolkit.training._trainers import GuardSft, WeightedDPOTrainer
    from toolkit.training._training_config import trainer_args
    from toolkit.training._training_report import Watch

    batch = shape.rows if method == "sft" else max(1, shape.rows // 4)
    settings = {"max_steps": updates, "per_device_train_batch_size": batch, "gradient_accumulation_steps": 1, "learning_rate": 1e-6}
    settings |= {"max_length": 2 * shape.length, "gradient_checkpointing": shape.recompute and gpu, "bf16": gpu}
    config = (SftConfig if method == "sft" else DpoConfig)(model="random", trainer=settings)
    args = trainer_args(config, str(work))
    rows = random_rows(method, batch * updates, shape.length)
    ours = which == "guardkit"
    data = Dataset.from_list(rows if ours else [{k: v for k, v in r.items() if k not in ("id", "weight")} for r in rows])
    cls: Any = {"sft": (SFTTrainer, GuardSft), "dpo": (DPOTrainer, WeightedDPOTrainer)}[method][ours]
    more = {"bounds": Bounds(2 * shape.length, 4096, shape.vocab), "dropped": Dropped()} if ours else {}
    trainer = cls(model=model, args=args, train_dataset=data, processing_class=tokenizer, **more)
    if ours:
        trainer.quick = not gpu  # as a training sets it
        watch = Watch(lambda *_: None)
        watch.of(trainer, data, len(data))
        trainer.add_callback(watch.callback())
    return trainer


def steps_clock(*, gpu: bool) -> Any:
    """A callback that takes the time of each update but the first, from the end of the one before."""
    import torch
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.seconds: list[float] = []
            self._ended: float | None = None

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            ended = now(gpu, torch)
            self.seconds += [] if self._ended is None else [ended - self._ended]
            self._ended = ended

    return Clock()


def now(gpu: bool, torch: Any) -> float:
    """The time, once the GPU has done what it was given; without one that of the CPUs, which other programs do not count in."""
    if not gpu:
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    sys.exit(main())
