"""What `plan` says where it has local files to count, and where it has no row to look at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import toolkit

PRICE = {"input": 2.5, "output": 10.0}
TEACHER = {"backend": "openai", "model": "teacher", "base_url": "http://127.0.0.1:9/v1", "price": PRICE}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(n: int) -> list[dict[str, Any]]:
    return [
        {"prompt": f"What grows in garden {i}?", "response": "Roses.", "prompt_harm_label": "unharmful", "response_refusal_label": "compliance",
         "response_harm_label": "unharmful", "adversarial": False, "subcategory": "benign"}
        for i in range(n)
    ]  # fmt: skip


def plan(files: str | None, **load: Any) -> Any:
    steps = [
        {"id": "seeds", "use": "load", "with": {"source": "wildguard_train", **load}},
        {"id": "reasoning", "use": "synthesise", "with": {"backend": TEACHER}},
    ]
    Path("r.yaml").write_text(yaml.safe_dump({"recipe": "r", "steps": steps}))
    return toolkit.plan("r.yaml", sources={"wildguard_train": files} if files else None)


@pytest.mark.parametrize("name", ["w.jsonl", "w.jsonl.gz", "w.csv", "w.json", "w.parquet"])
def test_local_files_are_counted(name: str) -> None:
    import gzip

    import polars as pl

    frame = pl.DataFrame(rows(137))
    text = "".join(json.dumps(r) + "\n" for r in rows(137))
    match name:
        case "w.jsonl":
            Path(name).write_text(text)
        case "w.jsonl.gz":
            Path(name).write_bytes(gzip.compress(text.encode()))
        case "w.csv":
            frame.write_csv(name)
        case "w.json":
            Path(name).write_text(json.dumps(rows(137), indent=1))
        case _:
            frame.write_parquet(name)
    found = plan(name)
    assert [s["rows"] for s in found.steps] == [137, 137], "and not the 86,759 of the source's schema"
    assert [s["rows"] for s in plan(name, limit=50).steps] == [50, 50]
    assert found.steps[1]["models"][0]["calls"]["mid"] == 137


def test_where_no_row_can_be_looked_at_the_figures_rest_on_stated_averages() -> None:
    found = plan(None)
    (model,) = found.steps[1]["models"]
    assert model["calls"]["mid"] == 86_759
    assert 254 * 86_759 < model["output_tokens"]["mid"] < 266 * 86_759
    assert 0 < model["prompt_tokens"]["low"] < model["prompt_tokens"]["mid"] < model["prompt_tokens"]["high"]
    spent = (model["prompt_tokens"]["mid"] * PRICE["input"] + model["output_tokens"]["mid"] * PRICE["output"]) / 1e6
    assert model["dollars"]["mid"] == pytest.approx(spent, rel=0.01) and found.total["dollars"] == model["dollars"]
    text = "; ".join(model["basis"])
    assert "no rows to look at" in text and "assumed" in text and "table 9" in text and "1,000 characters" in text


def test_people_see_one_number_of_what_is_to_ask() -> None:
    """Rows of one text share an answer, so that there is less to ask than there are calls: the table of steps says no more than that of models."""
    Path("rows.jsonl").write_text("".join(json.dumps({**row, "prompt": f"Garden {i % 2}?"}) + "\n" for i, row in enumerate(rows(40))))
    assert plan("rows.jsonl").steps[1]["models"][0]["calls"] == {"low": 2, "mid": 2, "high": 2}
    command = [sys.executable, "-m", "toolkit", "plan", "r.yaml", "--source", "wildguard_train=rows.jsonl"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "COLUMNS": "150"}, timeout=120)
    lines = [line.split() for line in done.stdout.splitlines() if line.split()[:1] == ["reasoning"]]
    assert lines[0] == ["reasoning", "synthesise", "to", "build", "~40", "2"] and lines[1][:4] == ["reasoning", "teacher", "teacher", "2"], (
        done.stdout
    )
