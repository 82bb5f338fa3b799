"""What the readers' tests share: exports of a small set, a tokenizer, outputs to reward and what `guardkit reward` prints for them."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import toolkit

sys.path.insert(0, str(Path(__file__).parent.parent / "shards"))
from exports import LABELS, MESSAGES, PLAIN, reasoning, rows_of, sft, write

from toolkit.records import MEDIA, TYPE, Column
from toolkit.shards.exporters import export, verify_export

FORMULA = "guardreasoner_omni_v1"
"""A reward with a length."""
TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"


def exported(folder: Path, name: str) -> tuple[Path, list[dict[str, Any]]]:
    """An export, and the rows of its split train as the shards have them."""
    shards = sft(folder / "shards")
    export(shards, name, folder / "out", formula=FORMULA)
    verify_export(folder / "out")
    return folder / "out", rows_of(shards, "train")


def pictured(folder: Path, name: str) -> Path:
    """An export of rows with two pictures, without any, and with one, which are in `folder`."""
    from PIL import Image

    Image.new("RGB", (40, 30), "green").save(folder / "cat.png")
    cat = {"kind": "image", "uri": "cat.png", "sha256": "a" * 64, "mime": "image/png"}
    columns = (Column("prompt", MESSAGES), *PLAIN, Column("has_response", "bool"), Column(MEDIA, TYPE), LABELS[0])
    row = {"source": "here", "licence": "MIT", "has_response": False, "label_prompt": "harmful"}
    rows = [{**row, "id": f"{i:024x}", MEDIA: [cat] * n, "prompt": [{"role": "user", "content": f"This, {i}?"}]} for i, n in enumerate((2, 0, 1))]
    export(write(folder / "shards", columns, rows), name, folder / "out")
    return folder / "out"


def tokenizer(folder: Path) -> Any:
    """A tokenizer of bytes with a chat template, saved in a folder."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made = Tokenizer(models.BPE({"<pad>": 0, **{c: i for i, c in enumerate(sorted(alphabet), 1)}}, []))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    out = PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", chat_template=TEMPLATE)  # noqa: S106  a token of text
    out.save_pretrained(folder)
    return out


def outputs(rows: list[dict[str, Any]]) -> list[str]:
    """An output to each row: right in one task or all, without a form, or empty."""
    some = ["Answers: \nRequest: harmful\nCompletion: None\nResponse: None", "I cannot say.", ""]
    return [reasoning(i) if i % 2 else some[i // 2 % 3] for i in range(len(rows))]


def printed(rows: list[dict[str, Any]], lengths: list[int]) -> list[float]:
    """The rewards of `guardkit reward` for `outputs`; an output without a label has 0, as in verl and EasyR1."""
    labels = [{k: v for k, v in row.items() if k.startswith("label_")} for row in rows]
    given = [{"id": r["id"], "output": text, "tokens": n, **known} for r, text, n, known in zip(rows, outputs(rows), lengths, labels, strict=True)]
    return [line["reward"] or 0.0 for line in toolkit.reward(given, formula=FORMULA, limit=len(given)).shown]


def options(script: Path, pattern: str) -> dict[str, str]:
    """The options that a script gives to its trainer."""
    return dict(re.findall(pattern, script.read_text(), re.M))
