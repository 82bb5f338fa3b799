"""A column that holds a whole conversation becomes context, prompt and response."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from toolkit.sources import Source


def source(**columns: Any) -> Source:
    labels = {"prompt": {"column": "harmful", "map": {True: "harmful", False: "unharmful"}, "source": "human"}}
    given = {"name": "chat", "version": 1, "description": "d", "licence": "MIT", "files": ["*"], "columns": columns, "labels": labels}
    return Source.model_validate(given)


FERN, ANSWER = "How often do I water a fern?", "Twice a week."
TALK = [("system", "Be short."), ("user", "Hello"), ("assistant", "Hi."), ("user", FERN), ("assistant", ANSWER)]
BEFORE = [{"role": r, "content": c} for r, c in TALK[:3]]
WAYS: dict[str, tuple[dict[str, str], Any, tuple[Any, ...]]] = {
    "messages": ({}, [{"role": r, "content": c} for r, c in TALK], (BEFORE, FERN, ANSWER)),
    "sharegpt": ({}, [{"from": {"user": "human", "assistant": "gpt"}.get(r, r), "value": c} for r, c in TALK], (BEFORE, FERN, ANSWER)),
    "parts": ({}, [{"role": "user", "content": [{"type": "text", "text": FERN}]}], ([], FERN, None)),
    "more keys": ({}, [{"role": "user", "content": FERN, "turn": 3, "tool_calls": None}], ([], FERN, None)),
    "ends with the user": ({}, [{"role": r, "content": c} for r, c in TALK[:4]], (BEFORE, FERN, None)),
    "one turn": ({}, [FERN], ([], FERN, None)),
    "turns of the user": ({"turns": "user"}, ["Hello", FERN], ([{"role": "user", "content": "Hello"}], FERN, None)),
    "turns of both": ({"turns": "alternating"}, [FERN, ANSWER], ([], FERN, ANSWER)),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_conversation_is_a_seed(way: str, read: Callable[..., Any], tmp_path: Path) -> None:
    columns, value, want = WAYS[way]
    (tmp_path / "rows.jsonl").write_text(json.dumps({"talk": value, "harmful": False}))
    pl.DataFrame({"talk": [json.dumps(value)], "harmful": [False]}).write_csv(tmp_path / "rows.csv")
    for name in ("rows.jsonl", "rows.csv"):
        rows, rejects = read(source(messages="talk", **columns), tmp_path / name)
        assert not rejects.height
        assert rows.select("context", "prompt", "response", "label_prompt").row(0) == (*want, "unharmful")


def test_a_conversation_in_parquet(read: Callable[..., Any], tmp_path: Path) -> None:
    pl.DataFrame({"talk": [[{"role": r, "content": c} for r, c in TALK]], "harmful": [True]}).write_parquet(tmp_path / "rows.parquet")
    rows, _ = read(source(messages="talk"), tmp_path / "rows.parquet")
    assert rows.select("context", "prompt", "response").row(0) == (BEFORE, FERN, ANSWER)


BAD: list[tuple[Any, str, str]] = [
    ("no list", "wrong_type", "not a list"),
    ([FERN, ANSWER], "wrong_type", "columns.turns: user or alternating"),
    ([{"text": "x"}], "wrong_type", "neither {role, content} nor {from, value}"),
    ([{"role": "user", "content": [{"type": "image_url"}]}], "wrong_type", "its content is no text"),
    ([{"role": "user", "content": "x", "images": ["a"]}], "wrong_type", "more than text: images"),
    ([{"role": "narrator", "content": "x"}], "bad_conversation", "nobody knows the role 'narrator'"),
    ([{"role": "user", "content": "x"}, {"role": "system", "content": "y"}], "bad_conversation", "ends with system"),
    ([{"role": "assistant", "content": "x"}], "bad_conversation", "answers no message"),
    ([{"role": "user", "content": "a\0b"}], "nul", "NUL"),
    ([], "empty_prompt", "missing"),
    (None, "empty_prompt", "missing"),
]


@pytest.mark.parametrize(("value", "reason", "message"), BAD)
def test_what_is_no_conversation_costs_its_row(value: Any, reason: str, message: str, read: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"talk": value, "harmful": False}) + "\n" + json.dumps({"talk": [FERN], "harmful": False}))
    rows, rejects = read(source(messages="talk"), tmp_path / "rows.jsonl")
    assert rows.height == 1 and rejects["reason"].to_list() == [reason] and message in rejects["detail"][0]


def test_a_prompt_that_is_a_conversation_says_how_to_read_it(read: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"talk": [FERN], "harmful": False}))
    assert "`columns: {messages: talk}`" in read(source(prompt="talk"), tmp_path / "rows.jsonl")[1]["detail"][0]
    for columns in ({"messages": "m", "response": "r"}, {}, {"prompt": "p", "messages": "m"}, {"prompt": "p", "turns": "user"}):
        with pytest.raises(ValidationError):
            source(**columns)
