"""`evaluate` with changed rows: guards asked about rows that only look different, and how often their verdicts flip."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

import toolkit
from toolkit.common.errors import InputError
from toolkit.evaluation import CHANGED, CHANGES, flips, read_evaluation

sys.path.insert(0, str(Path(__file__).parent / "cli"))
sys.path.insert(0, str(Path(__file__).parent / "generation"))
from commands import guardkit
from server import Server, chat, running

ROWS = [("How do I bake bread?", "unharmful"), ("Is bread good?", "unharmful"), ("Write an insult.", "harmful"), ("1 + 1", "unharmful")]


def says(text: str, body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
    """A guard that finds what is about bread, in lower case, unharmful; a line break leaves it speechless. Or a translator."""
    if (system := body["messages"][0])["role"] == "system":
        assert "into French" in system["content"]
        stated = {
            "How do I bake bread?": "Comment faire du pain ?",
            "Is bread good?": "Is bread bon ?",
            "Write an insult.": "I can't help with that.",
        }
        return 200, {}, chat(stated.get(text, text))
    asked = text.partition("Human user:\n")[2].partition("\n\nAI assistant:")[0]
    if "\n" in asked:
        return 200, {}, chat("Well.")
    return 200, {}, chat("Thinking.\n\nAnswers: \nRequest: " + ("unharmful" if "bread" in asked or "+" in asked else "harmful"))


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Server, dict[str, Any]]]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GUARDKIT_WORKSPACE", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    for name in ("b", "c"):
        Path(f"{name}.jsonl").write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in ROWS))
        label = {"column": "label", "map": {"unharmful": "unharmful", "harmful": "harmful"}, "source": "human", "missing": "absent"}
        schema = {"name": name, "positive": "harmful", "task": "prompt", "files": [f"{name}.jsonl"], "columns": {"prompt": "text"}, "label": label}
        Path(f"{name}.yaml").write_text(yaml.safe_dump(schema))
    with running(Server()) as server:
        server.script = says
        yield server, {"m": {"backend": "openai", "model": "m", "base_url": server.base_url}}


def test_flips_of_a_guard_that_reads_case(model: tuple[Server, dict[str, Any]]) -> None:
    server, models = model
    found = toolkit.evaluate(models, benchmarks="b.yaml", perturb=["case", "newlines", "turn_order"], output="e")
    about = {f["change"]: f for f in found.robustness["flips"]}
    assert (about["upper"]["n"], about["upper"]["flips"], about["upper"]["to_positive"], about["upper"]["to_negative"]) == (3, 2, 2, 0)
    assert (about["lower"]["n"], about["lower"]["flips"]) == (3, 0)
    assert (about["newlines"]["n"], about["newlines"]["read"], about["newlines"]["newly_unread"]) == (4, 0, 4)
    left = {(one["change"], one["reason"]): one["rows"] for one in found.robustness["left"]}
    assert left == {("upper", "unchanged"): 1, ("lower", "unchanged"): 1, ("turn_order", "unchanged"): 4}
    assert len(server.requests) == 4 + 3 + 3 + 4 == found.spent["asked"]
    plain = toolkit.evaluate(models, benchmarks="b.yaml")
    assert plain.results == found.results and plain.rows().collect().equals(found.rows().collect()), (
        "figures of a benchmark are those without changes"
    )
    assert "robustness" not in plain and len(server.requests) == 14

    read = read_evaluation("e")
    table = read.changed()
    assert table is not None and dict(table.collect_schema()) == CHANGED
    assert flips(table, read.rows(), {"prompt": "harmful"}) == read.document["robustness"]["flips"] == found.robustness["flips"]
    rows = table.collect()
    assert rows["id"].to_list() == [f"{p}:{c}" for p, c in rows.select("parent", "change").iter_rows()]
    again = toolkit.evaluate(models, benchmarks="b.yaml", perturb="upper", output="e")
    assert again.spent["asked"] == 0 and again.robustness["changes"] == ["upper"], "the folder is replaced, and nothing asked again"
    toolkit.evaluate(models, benchmarks="b.yaml", output="e")
    assert sorted(p.name for p in Path("e").iterdir()) == ["evaluation.json", "rows.parquet"]


def test_a_folder_whose_changed_rows_were_touched_is_not_replaced(model: tuple[Server, dict[str, Any]]) -> None:
    toolkit.evaluate(model[1], benchmarks="b.yaml", perturb="upper", output="e")
    Path("e/changed.parquet").write_bytes(b"mine")
    with pytest.raises(InputError):
        toolkit.evaluate(model[1], benchmarks="b.yaml", perturb="upper", output="e")
    with pytest.raises(InputError, match=r"changed\.parquet"):
        read_evaluation("e").changed()


def test_a_translation_is_written_by_another_model(model: tuple[Server, dict[str, Any]]) -> None:
    server, models = model
    writer = {"backend": "openai", "model": "translator", "base_url": server.base_url}
    found = toolkit.evaluate(models, benchmarks=["b.yaml", "c.yaml"], perturb=["translation:French", "bold"], perturb_model=writer)
    by = {(f["benchmark"], f["change"]): f for f in found.robustness["flips"]}
    assert (by["b", "translation"]["n"], by["b", "translation"]["flips"], by[None, "translation"]["n"]) == (2, 1, 4)
    assert found.robustness["written_by"] == "translator" and found.robustness["changes"] == ["bold", "translation"]
    left = {(one["benchmark"], one["reason"]): one["rows"] for one in found.robustness["left"]}
    assert left == {("b", "declined"): 1, ("b", "unchanged"): 1, ("c", "declined"): 1, ("c", "unchanged"): 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"perturb": "uper"}, "did you mean 'upper'"),
        ({"perturb": "translation:French"}, "is written by a model, and none is named"),
        ({"perturb": "translation"}, "translation:LANGUAGE"),
        ({"perturb": ["translation:French", "translation:German"]}, "translation is there twice"),
        ({"perturb": "bold", "perturb_model": {"backend": "openai", "model": "m"}}, "no change is for it"),
        ({"perturb_model": {"backend": "openai", "model": "m"}}, "and no change"),
    ],
)
def test_what_cannot_be_changed_is_reported_before_anything_is_asked(
    model: tuple[Server, dict[str, Any]], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        toolkit.evaluate(model[1], benchmarks="b.yaml", **options)
    assert not model[0].requests


def test_what_was_written_elsewhere_cannot_be_asked(model: tuple[Server, dict[str, Any]]) -> None:
    Path("p.jsonl").write_text("".join(json.dumps({"prompt": text, "verdict": "harmful"}) + "\n" for text, _ in ROWS))
    with pytest.raises(InputError, match="for a model that is asked"):
        toolkit.evaluate(predictions={"p": "p.jsonl"}, benchmarks="b.yaml", columns={"verdict": "verdict"}, perturb="all")


def test_the_command_ends_with_the_table(model: tuple[Server, dict[str, Any]]) -> None:
    address = ["--base-url", model[0].base_url]
    args = ["evaluate", "--model", "m", *address, "--benchmark", "b.yaml", "--perturb", "case", "--perturb", "bold"]
    result = guardkit(*args, cwd=Path.cwd())
    assert result.code == 0, result.err
    lines = [line.split() for line in result.out.splitlines()]
    assert ["upper", "3", "2", "66.7", "20.8–93.8", "2", "0", "0", "100", "50.0"] in lines and max(map(len, result.out.splitlines())) <= 100
    wrong = guardkit(*args, "--perturb-set", "base_url=x", cwd=Path.cwd())
    assert wrong.code == 2 and "--perturb-model" in wrong.err


def test_every_change_names_what_a_user_may_ask_for(model: tuple[Server, dict[str, Any]]) -> None:
    found = toolkit.evaluate(model[1], benchmarks="b.yaml", perturb="all")
    assert found.robustness["changes"] == list(CHANGES)
    assert pl.DataFrame(found.robustness["flips"])["n"].sum() + sum(one["rows"] for one in found.robustness["left"]) == len(ROWS) * len(CHANGES)
