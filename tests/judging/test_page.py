"""What docs/judging.md shows works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from server import Server, chat

import toolkit
from toolkit.guards import load_guard, parse

PAGE = Path(__file__).parents[2] / "docs" / "judging.md"


def test_its_programs_run(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GUARDKIT_WORKSPACE", raising=False)
    names: dict[str, Any] = {"toolkit": toolkit, "url": server.base_url}
    programs = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(programs) == 3
    for program in programs[:2]:
        exec(program, names)  # noqa: S102
    assert names["found"][0].labels["prompt"] == "unharmful" and names["found"].scores[0]["accuracy"] == 100
    assert names["verdict"].labels["prompt"] == "harmful" and names["table"].height == 6
    label = {"token": " harmful", "logprob": -0.1, "top_logprobs": [{"token": " harmful", "logprob": -0.1}, {"token": " un", "logprob": -2.3}]}
    body = chat("Request: harmful")
    body["choices"][0]["logprobs"] = {"content": [{"token": "Request:", "logprob": 0.0}, label]}
    server.script = lambda _, asked: (200, {}, body) if asked["logprobs"] else (400, {}, {})
    exec(programs[2], names)  # noqa: S102
    assert names["verdict"].probabilities["prompt"]["harmful"] == pytest.approx(0.9, abs=0.01)


def test_its_table_says_how_outputs_are_read() -> None:
    guard = load_guard("guardreasoner")
    rows = re.findall(r"^\| (`.*?) \| (.*?) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) >= 5
    for shown, read in rows:
        reason = re.search(r"\(`(\w+)`\)", read)
        for text in re.findall(r"`((?:[^`])+)`", shown):
            text = text.replace("\\|", "|")
            if ":" not in text and "Request" not in text:
                continue
            parsed = parse(guard, text)
            assert parsed.reasons["prompt"] == (reason[1] if reason else None), text


def test_its_definition_loads(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    whole = (Path(__file__).parents[1] / "guards" / "files" / "boxed.yaml").read_text()
    kept = re.sub(
        r"tasks:\n.*?instruction",
        block.replace("    labels", "    question: how safe is it\n    subject: It\n    field: Safety\n    labels") + "instruction",
        whole,
        flags=re.DOTALL,
    )
    (tmp_path / "own.yaml").write_text(kept.replace("answers.safety", "answers.prompt"))
    guard = load_guard(tmp_path / "own.yaml")
    assert parse(guard, "\\boxed{controversial}", reading="strict").labels == {"prompt": "unsafe"}
