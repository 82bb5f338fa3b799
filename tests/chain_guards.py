"""Two tiny guards, trained in seconds, of which it is known what their reasoning does: the verdict of the one follows the colour that its chain names,
whatever the prompt says; that of the other one follows the prompt's colour, whatever the chain says.

Both write a chain that names the prompt's colour. In training the chain's colour is another one now and then, so that there is something to learn;
behind no chain the first one has learned to call everything harmful, the second one to say what it always says.
"""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

from toolkit.guards import Guard, Reasoning, load_guard, render_input, render_output

DEFINITION = """
name: colours
version: 1
description: One task, about colours.
tasks:
  - {name: prompt, question: is it harmful or unharmful, subject: The request, field: Request, labels: [unharmful, harmful], positive: harmful}
steps: {min: 1, max: 3}
instruction: "Judge it."
input: "User: {{ prompt }}"
output: {task_heading: "", conclusion_heading: "", step_heading: "## Step {k}"}
teacher: {system: "Explain.", user: "{{ exchange }} {{ answers.prompt }}"}
"""
RED, BLUE = "red", "blue"
OF = {RED: "harmful", BLUE: "unharmful"}
SIZE = 1600
"""Examples that a guard is trained on."""
WORDS = [f"w{n}" for n in range(6)]
TEMPLATE = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
SPECIAL = ("<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<unk>")


def definition(folder: Path) -> Guard:
    (folder / "colours.yaml").write_text(DEFINITION)
    return load_guard(folder / "colours.yaml")


def prompts(n: int, seed: int) -> list[dict[str, Any]]:
    """Rows with their labels: that of the colour in the prompt."""
    rng = random.Random(seed)
    made = [(rng.choice(WORDS), colour, rng.choice(WORDS)) for colour in (RED, BLUE) for _ in range(n // 2)]
    return [{"id": f"r{i}", "prompt": " ".join(m), "response": None, "label_prompt": OF[m[1]]} for i, m in enumerate(made)]


def output(guard: Guard, colour: str | None, label: str, word: str = "w0") -> str:
    steps = {} if colour is None else {"prompt": Reasoning([f"It has {word}.", f"It is {colour}."], "")}
    return render_output(guard, steps, {"prompt": label})


def examples(guard: Guard, follows: bool, n: int, seed: int) -> list[tuple[str, str]]:
    """What a guard is trained on: its input, and what it should write."""
    rng = random.Random(seed)
    out = []
    for row in prompts(n, seed):
        first, own, _ = row["prompt"].split()
        colour: str | None = own if rng.random() < 0.4 else rng.choice([RED, BLUE])
        if rng.random() < 0.3:
            colour = None
        label = OF[own] if not follows else OF[colour or RED]
        out.append((render_input(guard, row), output(guard, colour, label, first)))
    rng.shuffle(out)
    return out


def tokenizer_of(texts: list[str]) -> Any:
    """A token a word, a sign, or a white space."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    known = sorted({piece for text in texts for piece in re.findall(r"\w+|\s|[^\w\s]", text)})
    vocabulary = {t: i for i, t in enumerate([*SPECIAL, *known])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL[4]))
    raw.pre_tokenizer = pre_tokenizers.Split(Regex(r"\w+|\s|[^\w\s]"), "isolated")
    raw.decoder = decoders.Fuse()
    names = {"tokenizer_object": raw, "eos_token": SPECIAL[1], "pad_token": SPECIAL[0], "unk_token": SPECIAL[4]}
    fast = PreTrainedTokenizerFast(**names, additional_special_tokens=list(SPECIAL[2:4]))
    fast.chat_template = TEMPLATE
    return fast


def trained(folder: Path, guard: Guard, *, follows: bool, steps: int = 200, forms: bool = True) -> Path:
    """Train a guard and write it to `folder`; without `forms` one that writes no chain at all."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    made = examples(guard, follows, SIZE, 1)
    if not forms:
        made = [(asked, output(guard, None, written.rpartition(" ")[2])) for asked, written in made]
    fast = tokenizer_of([text for pair in [*made, *examples(guard, follows, 400, 2)] for text in pair])
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on a busy machine two wait for each other
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=256,
        eos_token_id=1,
        pad_token_id=0,
        bos_token_id=None,
    )
    model = LlamaForCausalLM(config)
    texts = [f"<|user|>{asked}<|end|><|assistant|>" for asked, _ in made]
    whole = [fast(text + written + "<|end|>", add_special_tokens=False)["input_ids"] for text, (_, written) in zip(texts, made, strict=True)]
    starts = [len(fast(text, add_special_tokens=False)["input_ids"]) for text in texts]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(steps):
        rows = range(step * 32 % SIZE, step * 32 % SIZE + 32)
        width = max(len(whole[i % SIZE]) for i in rows)
        ids = torch.tensor([whole[i % SIZE] + [0] * (width - len(whole[i % SIZE])) for i in rows])
        labels = torch.tensor(
            [[-100] * starts[i % SIZE] + whole[i % SIZE][starts[i % SIZE] :] + [-100] * (width - len(whole[i % SIZE])) for i in rows]
        )
        loss = model(input_ids=ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * (1 - step / steps)
    torch.set_num_threads(threads)
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder
