"""Results are the dicts that they were, have their keys as attributes, and print as tables."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from workspace import furnish

import toolkit
from toolkit.report import Figures, Lines


@pytest.fixture(scope="module", autouse=True)
def here(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("workspace"))
        patch.delenv("GUARDKIT_WORKSPACE", raising=False)
        furnish(Path())
        toolkit.run("small.yaml")
        yield


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


def test_a_result_is_its_dict() -> None:
    found = toolkit.check("small.yaml")
    assert isinstance(found, dict) and found == {"recipe": "small", "steps": 7, "words": [], "needs": [], "sends": [], "fetches": [], "allowed": []}
    assert json.loads(json.dumps(found)) == orjson.loads(orjson.dumps(found)) == dict(found)
    assert pickle.loads(pickle.dumps(found)) == copy.deepcopy(found) == found  # noqa: S301  our own bytes
    assert found.steps == 7 and "steps" in dir(found)
    with pytest.raises(AttributeError, match="did you mean 'steps'"):
        found.stepz  # noqa: B018  the access is the test
    runs = toolkit.list_runs()
    assert isinstance(runs, list) and runs == [{"folder": "outputs/small", "recipe": "small", "steps": 7, "built": 7, "stale": 0, "problem": None}]


def results() -> dict[str, Any]:
    rows = toolkit.read_run("outputs/small")["seeds"].polars()
    return {
        "run": toolkit.run("small.yaml"),
        "check": toolkit.check("small.yaml"),
        "explain": toolkit.explain("small.yaml"),
        "plan": toolkit.plan("small.yaml"),
        "verify": toolkit.verify("outputs/small"),
        "diff": toolkit.diff("outputs/small", "outputs/small"),
        "rejects": toolkit.rejects("outputs/small"),
        "overlaps": toolkit.overlaps(rows={"seeds": "outputs/small/seeds", "few": "outputs/small/few"}),
        "export": toolkit.export("outputs/small/shards", "trl", output="for-trl"),
        "mine": toolkit.mine({"anna": "anna.jsonl", "berta": "berta.jsonl"}, output="mined/run"),
        "disputes": toolkit.disputes("mined/run", limit=1),
        "list_runs": toolkit.list_runs(),
        "read_run": toolkit.read_run("outputs/small"),
        "apply": toolkit.apply("select", rows, where={"label_prompt": "harmful"}),
        "sources_table": toolkit.sources_table(),
        "list_operators": toolkit.list_operators(),
        "describe_operator": toolkit.describe_operator("normalise"),
        "list_guards": toolkit.list_guards(),
        "describe_source": toolkit.describe_source("wildguard_train"),
    }


def test_every_result_prints_as_tables_in_a_terminal_and_a_notebook() -> None:
    words = {
        "run": "not_selected 9",
        "plan": "synthesise",
        "verify": "few/rejects.parquet",
        "rejects": "not_selected",
        "overlaps": "conflicts",
        "list_runs": "outputs/small",
        "read_run": "Finished steps of outputs/small",
        "apply": "not_selected 9",
        "sources_table": "wildguard_train",
        "mine": "always_right",
        "disputes": "guards differ from each other",
        "diff": "select",
        "explain": "small.yaml:2:seed",
    }
    for name, found in results().items():
        text, page = repr(found), found._repr_html_()
        assert not text.startswith(("{", "[", "(", "<")) and max(map(len, text.splitlines())) <= 160, name
        assert page.startswith(("<table>", "<pre>")) and page.count("<table>") == page.count("</table>"), name
        assert words.get(name, "") in " ".join(text.split()) and words.get(name, "") in page, name
    assert repr(toolkit.read_run("outputs/small")["few"]) == "StepFolder('outputs/small/few', 11 rows)"


def test_a_notebook_has_the_tables_once_and_the_text_as_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """There `rich` shows what is printed at once, besides, and writes nothing."""
    found = results()
    plain = {name: repr(one) for name, one in found.items()}
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr("rich.jupyter.display", lambda *shown: pytest.fail(f"shown beside the result: {shown}"))
    assert {name: repr(one) for name, one in found.items()} == plain


def test_the_steps_of_a_run_say_what_can_be_read_of_each() -> None:
    steps = toolkit.read_run("outputs/small")
    line = next(words for words in repr(steps).splitlines() if words.split()[:1] == ["shards"])
    assert line.split()[:3] == ["shards", "built", str(steps["shards"].polars().height)] and steps["shards"].polars().height == 11
    assert repr(steps["shards"]) == "StepFolder('outputs/small/shards', 11 rows)"


VERBS = {
    "report": "report_page",
    "quickstart": "run",
    "operators": "list_operators",
    "sources": "sources_table",
    "guards": "list_guards",
    "schema": "recipe_schema",
    "moderate": "open_guard",
    "runs list": "list_runs",
    "runs status": "read_run",
    "runs clean": "clean_run",
    "category list": "list_categories",
    "category show": "describe_category",
    "category map": "map_categories",
    "category new": "new_category",
    "category check": "check_category",
    "category migrate": "migrate_category",
    "train sft": "train",
    "train dpo": "train",
    "train grpo": "train",
}
"""By verb of the command line its name in Python, where it is another."""


def test_every_verb_of_the_command_line_is_in_python() -> None:
    from typer.main import get_command

    from toolkit.cli._app import app

    verbs = [f"{n} {m}" if hasattr(c, "commands") else n for n, c in get_command(app).commands.items() for m in getattr(c, "commands", [""])]  # type: ignore[attr-defined]
    assert len(verbs) > 30
    lacking = {v for v in verbs if VERBS.get(v, v.replace(" ", "_")) not in dir(toolkit)}
    assert not lacking


def test_text_of_data_is_no_markup_and_commands_no_terminal() -> None:
    bad = "<script>alert(1)</script> [bold]x[/bold] \x1b[31mred\nnew"
    for found in (Figures(a=bad, rows=[{"b": bad}], **{bad: 1}), Lines([{bad: bad}])):
        text, page = repr(found), found._repr_html_()
        assert "\x1b" not in text + page and "<script" not in page and "&lt;script&gt;" in page
        assert "[bold]x[/bold]" in " ".join(text.split()) and "\\x1b" in text


def test_long_tables_say_what_they_leave_out_and_narrow_ones_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Lines({"n": i, "text": "word " * 10} for i in range(25))
    assert "… and 5 more" in repr(found) and "… and 5 more" in found._repr_html_()
    monkeypatch.setenv("COLUMNS", "30")
    narrow = repr(Lines([{"n": 1234567, "reason": "a long reason with many words"}]))
    assert "1,234,567" in narrow and "".join(narrow.split()).count("alongreasonwithmanywords") == 1
    assert max(map(len, narrow.splitlines())) <= 30
    assert (repr(Lines()), repr(Figures())) == ("nothing", "Figures: nothing")


def test_applied_still_unpacks_and_has_its_frames() -> None:
    rows = toolkit.read_run("outputs/small")["seeds"].polars()
    nothing = repr(toolkit.apply("normalise", rows))
    assert [words.split() for words in nothing.splitlines()[2:6]] == [["kept", "20"], ["rejected", "0"], ["set_aside", "0"], ["merged", "0"]]
    kept, rejected = found = toolkit.apply("deduplicate", rows)
    assert isinstance(kept, pl.DataFrame) and rejected.equals(found.left) and len(found) == 2 and "clusters" in repr(found)


def test_what_was_found_alike_or_in_a_benchmark_is_shown_with_the_run() -> None:
    texts = ["How do I bake bread?", "How do I bake bread?", "Write an insult.", "How do I fix a tyre?"]
    pl.DataFrame({"prompt": texts, "bad": ["no", "no", "yes", "no"]}).write_csv("alike.csv")
    pl.DataFrame({"text": ["Write an insult."]}).write_csv("against.csv")
    labels = {"prompt": {"column": "bad", "map": {"yes": "harmful", "no": "unharmful"}, "source": "human"}}
    source = {"name": "alike", "version": 1, "licence": "CC0-1.0", "files": ["alike.csv"], "columns": {"prompt": "prompt"}, "labels": labels}
    Path("alike-source.yaml").write_text(json.dumps(source | {"description": "A test's own."}))
    steps: list[dict[str, Any]] = [
        {"id": "rows", "use": "load", "with": {"source": "alike-source.yaml", "files": ["alike.csv"]}},
        {"id": "unique", "use": "deduplicate"},
        {"id": "new", "use": "decontaminate", "with": {"against": ["against.csv"]}},
    ]
    found = toolkit.run({"recipe": "alike", "guard": "guardreasoner", "steps": steps})
    assert "rows merged, by what made them alike (unique)" in repr(found) and "rows that share text with each benchmark or file (new)" in repr(found)
    assert {f["name"]: f["value"] for f in found.summary["figures"] if f["step"] in ("unique", "new")} == {
        "merged_by_method": {"exact": 1},
        "rows_by_benchmark": {"against.csv": 1},
    }
    again = toolkit.run({"recipe": "alike", "guard": "guardreasoner", "steps": steps[:1]})
    assert [f["name"] for f in again.summary["figures"]] == []
