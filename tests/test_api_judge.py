"""`toolkit.judge`: rows of any kind asked and read in one call."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import toolkit
from toolkit.common.errors import InputError, InputErrors

sys.path.insert(0, str(Path(__file__).parent / "generation"))
from server import Server, chat, running

ROWS = [{"prompt": "How do I bake bread?", "label_prompt": "unharmful"}, {"prompt": "An insult, please.", "label_prompt": "harmful"}]


@pytest.fixture
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GUARDKIT_WORKSPACE", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with running(Server()) as server:
        server.script = lambda text, body: (200, {}, chat("Request: " + ("unharmful" if "bread" in text else "harmful")))
        yield {"backend": "openai", "model": "m", "base_url": server.base_url}


def test_rows_of_any_kind(backend: dict[str, Any]) -> None:
    for rows in (ROWS, tuple(ROWS), pl.DataFrame(ROWS), pl.DataFrame(ROWS).to_arrow()):
        found = toolkit.judge(rows, backend)
        assert [v.labels["prompt"] for v in found] == ["unharmful", "harmful"]
        assert found.scores[0]["accuracy"] == 100 and found.table.height == 6
    one = toolkit.judge(ROWS[0], backend, name="mine")
    assert len(one) == 1 and one[0].guard == "mine" and one[0].gold["prompt"] == "unharmful"
    assert "unharmful" in repr(one) and "(field_missing)" in repr(one) and "<table>" in one._repr_html_()
    assert "unharmful" in repr(one[0]) and "<td>unharmful</td>" in one[0]._repr_html_()
    assert Path("outputs/.journal").exists() or any(p.name == "journal" for p in Path.cwd().rglob("journal")), "answers are kept"


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv"])
def test_the_table_of_verdicts_is_written(backend: dict[str, Any], suffix: str) -> None:
    readers: dict[str, Callable[[str], pl.DataFrame]] = {".parquet": pl.read_parquet, ".jsonl": pl.read_ndjson, ".csv": pl.read_csv}
    found = toolkit.judge(ROWS, backend, output=f"verdicts{suffix}")
    there = readers[suffix](f"verdicts{suffix}")
    assert there.columns == found.table.columns and there.height == 6
    assert there.filter(task="prompt")["verdict"].to_list() == ["unharmful", "harmful"]
    with pytest.raises(InputError, match="output must end in"):
        toolkit.judge(ROWS, backend, output="verdicts.txt")
    with pytest.raises(InputError, match="journal"):
        toolkit.judge(ROWS, backend, output=f"outputs/journal/verdicts{suffix}")


def test_bad_arguments_are_refused_before_anything_is_asked(backend: dict[str, Any]) -> None:
    with pytest.raises(InputErrors, match="did you mean 'model'"):
        toolkit.judge(ROWS, {**backend, "modle": "m"})
    odd = [*ROWS, {"prompt": "Hello.", "label_prompt": "Harmful"}]
    for rows in (odd, pl.DataFrame(odd)):
        with pytest.raises(InputError, match=r"rows\[2\].label_prompt: label not of the task: 'Harmful' \(did you mean 'harmful'"):
            toolkit.judge(rows, backend)
    with pytest.raises(InputError, match="template teacher"):
        toolkit.judge(ROWS, {"backend": "template"})
    with pytest.raises(InputError, match="no reading 'loose'"):
        toolkit.judge(ROWS, backend, reading="loose")
    with pytest.raises(InputError, match="from 1"):
        toolkit.judge(ROWS, backend, draws=0)
    with pytest.raises(InputError, match="no table of rows: str"):
        toolkit.judge("prompt", backend)
    with pytest.raises(InputError, match="a row is a dict") as fault:
        toolkit.judge(["prompt"], backend)
    assert fault.value.where == "rows[0]"
