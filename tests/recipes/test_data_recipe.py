"""`guardreasoner/data`: every check of the data path in one recipe, on small files with the hub's columns."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from hub_shaped import HUB_SHAPED, hub_shaped

from toolkit import api
from toolkit.shards import verify

SHARED = "This sentence of more than thirteen words is in a test set and in the training data as well."


def test_a_threshold_moves_without_a_question_and_every_row_is_accounted_for(tmp_path: Path, teacher: tuple[str, list[object]]) -> None:
    pytest.importorskip("openai")
    url, asked = teacher
    (tmp_path / "test_set.jsonl").write_text(json.dumps({"id": "t1", "text": SHARED}) + "\n")
    sources = hub_shaped(tmp_path)
    with sources["toxicchat_train"][0].open("a") as f:
        like = HUB_SHAPED["toxicchat_train"][0]
        f.write(json.dumps({**like, "conv_id": "shared", "user_input": f"Please explain: {SHARED}"}) + "\n")
    given = [
        f"reasoning.backend.base_url={url}", "reasoning.labels=given", "apart.benchmarks=null", f'apart.against=["{tmp_path / "test_set.jsonl"}"]',
    ]  # fmt: skip
    done = api.run("guardreasoner/data", overrides=given, sources=sources, output=tmp_path / "run")
    counts = {s["step"]: s for s in done.summary["steps"]}
    assert counts["apart"]["rejected"] == {"contaminated_ngram": 1}
    assert counts["valid"]["in"] == counts["valid"]["kept"] == counts["reasoning"]["kept"] > 0
    manifest = verify(tmp_path / "run" / "sft-shards" / "shards")
    assert manifest["rows"] == counts["chosen"]["kept"] > 0
    assert {s["step"] for s in manifest["made_from"]["steps"]} >= {"unique", "apart", "valid", "chosen"}

    questions = len(asked)
    strict = [*given, "chosen.at_most.copied_prompt=0"]
    again = api.run("guardreasoner/data", overrides=strict, sources=sources, output=tmp_path / "run")
    assert set(again.built) == {"chosen", "sft-rows", "sft-shards"}
    assert len(asked) == questions
    moved = {s["step"]: s for s in again.summary["steps"]}["chosen"]
    assert moved["kept"] + sum(moved["set_aside"].values()) == moved["in"] == counts["chosen"]["in"]
    left = pl.read_parquet(tmp_path / "run" / "sft-rows" / "rejects.parquet")
    assert left.height == sum(moved["set_aside"].values())
    assert all("copied_prompt" in json.loads(row) for row in left["row"])
