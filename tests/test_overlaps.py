"""What sets of rows share: the figures of the released benchmarks (spec E.1), and every kind of set on rows made here."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

import toolkit
from toolkit.api import overlaps
from toolkit.common.csvfile import read_sheet
from toolkit.common.errors import InputError, Missing

sys.path.insert(0, str(Path(__file__).parent / "cli"))
from commands import guardkit

LONG = "the quick brown fox jumps over the lazy dog near the old river bank every single morning"


@pytest.fixture(scope="module")
def released(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], pl.DataFrame]:
    """Figures and rows of the released benchmarks."""
    file = tmp_path_factory.mktemp("o") / "rows.parquet"
    return overlaps(files=[real_data / "guardreasoner" / "benchmark"], output=file), pl.read_parquet(file)


def by_name(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {s["name"]: s for s in found["sets"]}


def pair(found: dict[str, Any], a: str, b: str) -> dict[str, int]:
    return next({k: v for k, v in p.items() if k not in ("a", "b")} for p in found["pairs"] if (p["a"], p["b"]) == (a, b))


def test_what_the_released_benchmarks_hold_twice(released: tuple[dict[str, Any], pl.DataFrame]) -> None:
    sets = by_name(released[0])
    assert len(sets) == 10 and sum(s["rows"] for s in sets.values()) == 11_749 and not any(s["unread"] for s in sets.values())
    duplicates = {"aegis_safety_test": 3, "openai_moderation": 10, "toxic_chat": 50, "safe_rlhf": 318, "beavertails": 2}
    assert {n: s["duplicates"] for n, s in sets.items() if s["duplicates"]} == duplicates
    assert {n: s["conflicts"] for n, s in sets.items() if s["conflicts"]} == {"safe_rlhf": 28}
    assert sets["safe_rlhf"]["prompts"] == 549
    assert released[0]["without"] == ["wildguard_test_prompt", "wildguard_test_refusal", "wildguard_test_response"]


def test_what_the_released_benchmarks_share(released: tuple[dict[str, Any], pl.DataFrame]) -> None:
    found, lines = released
    xstest = pair(found, "xstest_response_harmful", "xstest_response_refusal")
    assert xstest["inputs"] == 445 and xstest["ngram_a"] == xstest["ngram_b"] > 400
    both = pair(found, "beavertails", "safe_rlhf")
    assert (both["inputs"], both["prompts"]) == (45, 98) and both["ngram_a"] >= 45
    # The rows themselves, from both sides.
    counts = lines.group_by("kind", "set", "other").agg(pl.len(), pl.col("row").n_unique().alias("rows"))
    n = {(k, s, o): rows for k, s, o, _, rows in counts.iter_rows()}
    assert n["duplicate", "safe_rlhf", "safe_rlhf"] == 318 and n["ngram", "beavertails", "safe_rlhf"] == both["ngram_a"]
    assert n["input", "xstest_response_harmful", "xstest_response_refusal"] == 445 == n["input", "xstest_response_refusal", "xstest_response_harmful"]
    conflicts = lines.filter(pl.col("kind") == "conflict")
    assert conflicts["other_row"].n_unique() == 28 and conflicts.height >= 56


def jsonl(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def test_files_of_ones_own(tmp_path: Path) -> None:
    a = jsonl(
        tmp_path / "a.jsonl",
        {"id": "a1", "prompt": "Hi", "response": "Hello", "label_prompt": "unharmful"},
        {"id": "a2", "prompt": "Hi", "response": "Hello", "label_prompt": "harmful"},
        {"id": "a3", "prompt": "Hi", "response": None, "label_prompt": "harmful"},
        {"id": "a4", "prompt": "So", "response": LONG, "label_prompt": None},
        {"id": "a5", "prompt": "So", "response": LONG, "label_prompt": "harmful"},
        {"id": "a6", "prompt": None},
        {"id": "a7", "prompt": 7},
    )
    b = tmp_path / "b"
    b.mkdir()
    context = [[], [{"role": "user", "content": "first"}], [], []]
    made = pl.DataFrame({"prompt": ["Hi", "Hi", f"Say: {LONG}", "other"], "response": ["Hello", "Hello", "No", "text"], "context": context})
    made.write_parquet(b / "x.parquet")
    found = overlaps(rows={"a": a, "b": b}, output=tmp_path / "o.csv")
    sets = by_name(found)
    assert sets["a"] == {"name": "a", "kind": "rows", "rows": 5, "unread": 2, "inputs": 3, "duplicates": 2, "prompts": 2, "conflicts": 1}
    assert (sets["b"]["inputs"], sets["b"]["prompts"]) == (4, 3), "earlier messages are part of the input"
    assert found["pairs"] == [{"a": "a", "b": "b", "inputs": 1, "prompts": 1, "ngram_a": 2, "ngram_b": 1}]
    lines = [tuple(r.values()) for _, r in read_sheet(tmp_path / "o.csv")[1]]
    assert lines == [
        ("duplicate", "a", "a2", "a", "a1", None),
        ("duplicate", "a", "a5", "a", "a4", None),
        ("conflict", "a", "a1", "a", "a1", None),
        ("conflict", "a", "a2", "a", "a1", None),
        ("input", "a", "a1", "b", "1", None),
        ("input", "a", "a2", "b", "1", None),
        ("input", "b", "1", "a", "a1", None),
        ("prompt", "a", "a1", "b", "1", None),
        ("prompt", "a", "a2", "b", "1", None),
        ("prompt", "a", "a3", "b", "1", None),
        ("prompt", "b", "1", "a", "a1", None),
        ("prompt", "b", "2", "a", "a1", None),
        ("ngram", "a", "a4", "b", "3", "17"),
        ("ngram", "a", "a5", "b", "3", "17"),
        ("ngram", "b", "3", "a", "a4", "17"),
    ]
    assert overlaps(rows={"a": a, "b": b}, ngram=18)["pairs"][0]["ngram_a"] == 0


def test_a_source_and_the_step_that_was_made_of_it(tmp_path: Path) -> None:
    steps = [{"id": "seeds", "use": "load", "with": {"source": "quickstart", "parts": ["home"]}}, {"id": "clean", "use": "normalise"}]
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({"recipe": "r", "steps": steps}))
    toolkit.run(tmp_path / "r.yaml", output=tmp_path / "out")
    found = overlaps(sources={"quickstart": None}, rows={"mine": tmp_path / "out" / "clean"})
    assert [s["rows"] for s in found["sets"]] == [640, 112]
    assert found["pairs"][0]["inputs"] == 112 and found["pairs"][0]["ngram_b"] > 0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, InputError, "nothing to compare"),
        ({"files": ["gone"]}, InputError, "gone"),
        ({"benchmarks": ["safe_rlfh"]}, InputError, "did you mean 'safe_rlhf'"),
        ({"benchmarks": ["safe_rlhf"]}, Missing, "0_9_safe_rlhf.json"),
        ({"sources": {"quickstrt": None}}, InputError, "did you mean 'quickstart'"),
        ({"rows": {"x": "gone"}}, InputError, "gone"),
        ({"rows": {"x": "odd.jsonl"}}, InputError, "no column 'prompt'"),
        ({"rows": {"x": "sft.parquet"}}, InputError, "holds no text"),
        ({"sources": {"quickstart": None}, "rows": {"quickstart": "ok.jsonl"}}, InputError, "two sets are called 'quickstart'"),
        ({"rows": {"x": "ok.jsonl"}, "output": "o.txt"}, InputError, ".parquet or .csv"),
    ],
)
def test_what_cannot_be_compared_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    jsonl(Path("odd.jsonl"), {"question": "x"})
    jsonl(Path("ok.jsonl"), {"prompt": "x"})
    pl.DataFrame({"prompt": [[{"role": "user", "content": "x"}]]}).write_parquet("sft.parquet")
    with pytest.raises(error) as e:
        overlaps(**options)
    assert message in str(e.value)


def test_the_command_prints_the_matrix(tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", {"prompt": LONG}, {"prompt": LONG})
    jsonl(tmp_path / "b.jsonl", {"prompt": f"x {LONG}"})
    jsonl(tmp_path / "c.jsonl", {"prompt": "\x1b[31mother"})
    args = ["overlaps", "--rows", "a=a.jsonl", "--rows", "b=b.jsonl", "--rows", "c=c.jsonl"]
    result = guardkit(*args, cwd=tmp_path)
    assert result.code == 0 and "The other 2 of 3 pairs share nothing." in result.out and "\x1b" not in result.out
    assert ["a", "b", "0", "0", "2", "1"] in [line.split() for line in result.out.splitlines()]
    apart = guardkit(*args[:3], *args[5:], cwd=tmp_path).out
    assert "No two of them share anything." in apart and "The other" not in apart
    found = guardkit(*args, "--json", "--output", "o.csv", cwd=tmp_path)
    assert found.json["pairs"][0]["ngram_a"] == 2 and (tmp_path / "o.csv").is_file()
    assert guardkit("overlaps", "--benchmark", "safe_rlhf", cwd=tmp_path).code == 4
    assert guardkit("overlaps", "--rows", "a.jsonl", cwd=tmp_path).code == 2
    assert guardkit("overlaps", cwd=tmp_path).code == 2
