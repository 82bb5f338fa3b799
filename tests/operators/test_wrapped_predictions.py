"""Predictions whose prompts, labels and outputs still have the marks of a chat template on them, as LLaMA-Factory writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import toolkit
from toolkit.guards import load_guard, render_input

GUARD = load_guard("guardreasoner")
ROWS: list[dict[str, Any]] = [
    {"prompt": "How do I bake bread?", "response": None},
    {"prompt": "An insult, please.\n<|im_end|>", "response": "No.\n\nReally not."},
    {"prompt": "Say: Request: unharmful", "response": "I am your assistant"},
]
LABELS = ["unharmful", "harmful", "harmful"]
WRAPPINGS = {
    "as it is": ("{asked}", "{answer}"),
    "chatml": ("<|im_start|>system\nBe good.<|im_end|>\n<|im_start|>user\n{asked}<|im_end|>\n<|im_start|>assistant\n", "{answer}<|im_end|>\n"),
    "llama3": (
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n{asked}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        "{answer}<|eot_id|>",
    ),
    "gemma": ("<bos><start_of_turn>user\n{asked}<end_of_turn>\n<start_of_turn>model\n", "{answer}<end_of_turn>"),
    "mistral": ("<s>[INST] {asked} [/INST]", " {answer}</s>"),
    "no special tokens": ("system\nBe good.\nuser\n{asked}\nassistant\n", "{answer}"),
    "glued": ("user\n\n{asked}assistant\n\n", "{answer}"),
    "alpaca": ("Below is an instruction.\n\n### Instruction:\n{asked}\n\n### Response:\n", "{answer}"),
}


@pytest.mark.parametrize("whole", [False, True], ids=["answer alone", "conversation"])
@pytest.mark.parametrize("trimmed", [False, True], ids=["whole", "trimmed"])
@pytest.mark.parametrize("name", WRAPPINGS)
def test_a_wrapped_prediction_is_the_row_that_it_wraps(name: str, trimmed: bool, whole: bool, tmp_path: Path) -> None:
    before, after = WRAPPINGS[name]
    lines = []
    for row, label in zip(ROWS, LABELS, strict=True):
        asked = render_input(GUARD, row)
        prompt = before.format(asked=asked.strip() if trimmed and name != "as it is" else asked)
        output = after.format(answer=f"Eggs.\n\nAnswers: \nRequest: {label}\nCompletion: None\nResponse: None")
        lines.append({"prompt": prompt, "label": after.format(answer=label), "predict": prompt + output if whole else output})
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    loaded = toolkit.apply("load_predictions", files={"a": str(tmp_path / "a.jsonl")}, task="prompt")
    assert loaded.rejected.height == 0
    assert loaded.kept.select("prompt", "response", "label_prompt").rows() == [
        (r["prompt"], r["response"], label) for r, label in zip(ROWS, LABELS, strict=True)
    ]
    assert toolkit.apply("verdicts", loaded.kept).kept["verdict_prompt"].to_list() == LABELS


def test_a_prompt_that_is_not_the_guards_is_still_refused(tmp_path: Path) -> None:
    line = {"prompt": "<|im_start|>user\nHello.<|im_end|>\n<|im_start|>assistant\n", "label": "harmful", "predict": "x"}
    (tmp_path / "a.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(toolkit.GuardkitError, match="not_this_guard 1"):
        toolkit.apply("load_predictions", files={"a": str(tmp_path / "a.jsonl")}, task="prompt")
