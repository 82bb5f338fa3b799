"""docs/sources.md names every key of a source file, and its examples read rows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from toolkit.sources import Columns, Label, Source

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "sources.md").read_text(encoding="utf-8")
EXAMPLES = {e["name"]: e for e in map(yaml.safe_load, re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))}
TURNS = [{"role": "user", "content": "How often?"}, {"from": "gpt", "value": "Twice a week."}]
ROWS: dict[str, tuple[str, Any, list[tuple[Any, ...]]]] = {
    "mine": ("mine.jsonl", {"question": "q", "answer": "a", "bad": "yes"}, [("q", "a", "harmful", None)]),
    "cells": ("cells.csv", "question;objection\nq;\nr;rude\n", [("q", None, "unharmful", None), ("r", None, "harmful", None)]),
    "chats": ("chats.jsonl", {"conversations": TURNS, "harmful": False}, [("How often?", "Twice a week.", "unharmful", None)]),
    "answers": (
        "answers.jsonl",
        {"prompt": "q", "response_0": "a", "response_1": "b", "is_response_0_safe": True, "is_response_1_safe": False},
        [("q", "a", None, "unharmful"), ("q", "b", None, "harmful")],
    ),
    "several": (
        "several.csv",
        "text,reply,hate,threat,insult,toxicity,kind\nq,a,0,1,,0.2,\nr,b,0,0,0,0.7,\n",
        [("q", "a", "harmful", "unharmful"), ("r", "b", "unharmful", "harmful")],
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_reads_rows(read: Any, tmp_path: Path, name: str) -> None:
    file, rows, wanted = ROWS[name]
    (tmp_path / file).write_text(rows if isinstance(rows, str) else json.dumps(rows) + "\n")
    kept, rejects = read(Source.model_validate(EXAMPLES[name]), tmp_path / file)
    assert not rejects.height
    assert kept.select("prompt", "response", "label_prompt", "label_response").rows() == wanted


def test_every_key_is_named() -> None:
    keys = {key for model in (Source, Columns, Label) for key in model.model_fields}
    assert not [key for key in sorted(keys) if not re.search(rf"\b{key}\b", PAGE)]
