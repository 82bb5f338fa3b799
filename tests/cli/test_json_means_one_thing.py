"""JSON that users give: a key that occurs twice and text that is nested too deeply are named with their place, whoever reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from commands import Result
from server import Server, running

from toolkit.guards import MalformedJson, from_json, load_guard

Cli = Callable[..., Result]
DEEP = "[" * 100_000


def prompts(*lines: str) -> Path:
    file = Path("p.jsonl")
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"id": 1, "user": "a", "user": "b"}', "the key 'user' is given twice"),
        ('{"id": 1, "id": 2, "user": "b"}', "the key 'id' is given twice"),
        ('{"id" : 1, "user" : "b", "id" : 2}', "the key 'id' is given twice"),
        ('{"id": 1, "messages": [{"role": "user", "content": "a", "content": "b"}]}', "the key 'messages.0.content' is given twice"),
        ('{"id": 1, "user": ' + DEEP + "}", "nested too deeply"),
        (DEEP, "nested too deeply"),
    ],
)
def test_a_prompt_means_one_thing(line: str, fault: str, cli: Cli, tmp_path: Path) -> None:
    with running(Server()) as server:
        start = ("generate", "--base-url", server.base_url, "--model", "m", "--output", "o.jsonl", "--input")
        found = cli(*start, prompts('{"id": 0, "user": "so \\"it\\": is"}', line))
        assert found.code == 2 and f"p.jsonl:2: {fault}" in found.err and server.headers == []
        assert cli(*start, prompts('{"id": 0, "user": "x", "more": {"a": 1, "a": 2}, "other": 1, "other": 2}')).code == 0, (
            "keys that are not looked at"
        )


def test_an_output_format_means_one_thing(cli: Cli, tmp_path: Path) -> None:
    file = Path("format.json")
    for text, answer in (
        ('{"type": "json_object", "type": "text"}', "the key 'type' is given twice"),
        ('{"type": "text", "a": ' + DEEP + "}", "nested too deeply"),
        ('{"type": "text", "a": {"b": 1, "b": 1}}', "the key 'a.b' is given twice"),
    ):
        file.write_text(text)
        found = cli("generate", "--model", "m", "--input", prompts('{"id": 0, "user": "x"}'), "--output", "o.jsonl", "--response-format", file)
        assert found.code == 2 and answer in found.err


def test_rows_and_predictions_cost_themselves(cli: Cli, tmp_path: Path) -> None:
    rows = [
        '{"id": "a", "prompt": "p"}',
        '{"id": "b", "prompt": "p", "prompt": "q"}',
        '{"id": "c", "prompt": ' + DEEP + "}",
        '{"id": "d", "prompt": "r"}',
    ]
    (tmp_path / "d.jsonl").write_text("\n".join(rows))
    step: dict[str, Any] = {"id": "rows", "use": "read", "with": {"files": ["d.jsonl"], "columns": {"id": "id", "prompt": "prompt"}}}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({"recipe": "r", "steps": [step]}, sort_keys=False))
    assert cli("run", "r.yaml").code == 0
    folder = tmp_path / "outputs" / "r" / "rows"
    rejects = pl.read_parquet(folder / "rejects.parquet")
    assert rejects["reason"].to_list() == ["repeated_key", "bad_json"]
    assert "the key 'prompt' is given twice" in rejects["detail"][0]
    assert pl.read_parquet(sorted((folder / "rows").glob("*.parquet")))["id"].to_list() == ["a", "d"]
    for name in ("a", "b"):
        good = json.dumps({"prompt": "x", "label": "harmful", "predict": "y"})
        (tmp_path / f"{name}.jsonl").write_text("\n".join([good, '{"prompt": "x", "label": "harmful", "label": "unharmful", "predict": "y"}', DEEP]))
    found = cli("mine", "--predictions", "a=a.jsonl", "--predictions", "b=b.jsonl", "--output", "m")
    assert found.code == 2 and "Traceback" not in found.err


def test_values_on_the_command_line(cli: Cli) -> None:
    for value, answer in (
        ("010", "octal"),
        ("[" * 100_000, "nested too deeply"),
        ("!!int x", "the tag"),
        ("1:30", "base 60"),
        ("1e999", "too large"),
    ):
        found = cli("check", "quickstart", "--set", f"seed={value}")
        assert found.code == 2 and answer in found.err and "--set seed" in found.err
        found = cli("generate", "--model", "m", "--input", "p", "--output", "o", "--set", f"revision={value}")
        assert found.code == 2 and answer in found.err


def test_a_teachers_answer_means_one_thing() -> None:
    with pytest.raises(MalformedJson, match="given twice"):
        from_json(load_guard("guardreasoner"), '{"reasoning": {}, "answers": {}, "answers": {}}')
    with pytest.raises(MalformedJson, match="nested too deeply"):
        from_json(load_guard("guardreasoner"), DEEP)
