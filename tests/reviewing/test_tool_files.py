"""Argilla and Label Studio: what is sent is what they read, what they export comes back as decisions, once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock
from xml.etree import ElementTree as ET

import polars as pl
import pytest

import toolkit
from toolkit.common.errors import InputError, InputErrors
from toolkit.reviewing import TOOLS

H, U = "harmful", "unharmful"
ANNA = "7d9c4b7e-0000-4000-8000-000000000001"
HOSTILE = 'Is "this" <b>bold</b> & $prompt\x00?'


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    pl.DataFrame(
        {"id": [f"r{n}" for n in range(4)], "prompt": [HOSTILE] * 4, "label_prompt": [H, H, U, None], "blind_prompt": [U, H, U, U]}
    ).write_parquet("rows.parquet")
    return "rows.parquet"


def sent(rows: str, tool: Any) -> tuple[Path, list[dict[str, Any]]]:
    with toolkit.review(rows) as review:
        files = toolkit.send_review(review, f"sent-{tool}", tool)
    return Path(files[0]), json.loads(Path(files[1]).read_text())


def argilla_answers(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As people answer there: the first two are decided, the third is left."""
    for record, word in zip(records, (U, "unsure"), strict=False):
        record["responses"] = {"decision": [{"value": word, "user_id": ANNA}], "note": [{"value": "why\nnot", "user_id": ANNA}]}
        record["status"] = "completed"
    return records


def studio_answers(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for n, (task, word) in enumerate(zip(tasks, (U, "unsure"), strict=False)):
        result = [{"from_name": "decision", "to_name": "prompt", "type": "choices", "value": {"choices": [word]}}]
        result += [{"from_name": "note", "to_name": "prompt", "type": "textarea", "value": {"text": ["why", "not"]}}]
        by: Any = 3 if n else {"id": 3, "email": "anna@example.org"}
        task["annotations"] = [{"completed_by": by, "was_cancelled": False, "updated_at": "2026-11-30T10:00:00Z", "result": result}]
    tasks[2]["annotations"] = [{"completed_by": 3, "was_cancelled": True, "result": []}]
    return tasks


@pytest.mark.parametrize("tool", TOOLS)
def test_labels_go_out_and_come_back_as_decisions_once(tool: Any, rows: str) -> None:
    _, records = sent(rows, tool)
    about = [(r.get("metadata") or r["data"])["row"] for r in records]
    assert about == ["r0", "r1", "r2"], "a row without a label is in no doubt"
    Path("export.json").write_text(json.dumps(argilla_answers(records) if tool == "argilla" else studio_answers(records)))
    names = {ANNA: "anna", "anna@example.org": "anna", "user-3": "anna"}
    with toolkit.review(rows) as review:
        found = toolkit.bring_review(review, "export.json", tool, names)
        assert (found["decisions"], found["known"], found["passed_over"], found["reviewers"]) == (2, 0, int(tool != "argilla"), ["anna"])
        again = toolkit.bring_review(review, "export.json", tool, names)
        assert (again["decisions"], again["known"]) == (0, 2)
        lines = review.settled()
        assert [(line["id"], line["decision"], line["reviewer"], line["note"]) for line in lines] == [
            ("r0", U, "anna", "why\nnot"),
            ("r1", "unsure", "anna", "why\nnot"),
        ]
        assert tool == "argilla" or lines[0]["when"] == "2026-11-30T10:00:00Z"
    assert [(r.get("metadata") or r["data"])["row"] for r in sent(rows, tool)[1]] == ["r2"], "what is decided is not sent again"


def test_the_configuration_of_label_studio_is_xml_whatever_a_guard_calls_its_labels(rows: str) -> None:
    config, tasks = sent(rows, "label-studio")
    tree = ET.fromstring(config.read_text())  # noqa: S314  our own
    assert [c.attrib["value"] for c in tree.iter("Choice")] == [U, H, "drop", "unsure"]
    variables = {t.attrib["value"].removeprefix("$") for t in tree.iter("Text")}
    assert variables <= tasks[0]["data"].keys() and "\0" not in tasks[0]["data"]["prompt"]


def test_rows_that_are_gone_and_labels_that_changed_are_counted(rows: str) -> None:
    _, records = sent(rows, "argilla")
    Path("export.json").write_text(json.dumps(argilla_answers(records)))
    pl.read_parquet(rows).filter(pl.col("id") != "r0").with_columns(label_prompt=pl.lit(U)).write_parquet(rows)
    with toolkit.review(rows) as review:
        found = toolkit.bring_review(review, "export.json", "argilla")
    assert (found["decisions"], found["gone"], found["stale"]) == (0, 1, 1)


@pytest.mark.parametrize(
    ("written", "tool", "message"),
    [
        ("{}", "argilla", "a list of objects"),
        ("[", "argilla", "not JSON"),
        ("[{}]", "argilla", r"export\.json, 1.*no record that was sent"),
        ("[{}]", "label-studio", "no task that was sent"),
        (json.dumps([{"metadata": {"row": "r0", "task": "prompt"}, "responses": {"decision": [U]}}]), "argilla", r"export\.json, 1.*not as argilla writes it"),
        ("[]", "argila", "did you mean 'argilla'"),
        (json.dumps([{"metadata": {"row": "r0", "task": "prompt", "label": H}, "responses": {"decision": [{"value": "bad", "user_id": "a"}]}}]), "argilla", "unknown decision 'bad'"),
        (json.dumps([{"metadata": {"row": "r0", "task": "prompt", "label": H}, "responses": {"decision": [{"value": U, "user_id": "a b"}]}}]), "argilla", "cannot name a reviewer"),
    ],
)  # fmt: skip
def test_what_is_no_export_is_named_and_nothing_recorded(written: str, tool: Any, message: str, rows: str) -> None:
    Path("export.json").write_text(written)
    with toolkit.review(rows) as review, pytest.raises((InputError, InputErrors), match=message):
        toolkit.bring_review(review, "export.json", tool)
    assert not Path("rows.parquet.review/decisions").exists()


def test_argilla_reads_what_is_sent(rows: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rg = pytest.importorskip("argilla")
    from argilla.records._io import JsonIO

    monkeypatch.setattr(rg.Argilla, "_default_client", MagicMock())  # no server is asked
    settings, records = sent(rows, "argilla")
    known = rg.Settings.from_json(settings)
    known.validate()
    assert known.questions["decision"].labels == [U, H, "drop", "unsure"] and known.fields["prompt"].required
    read = JsonIO._records_from_json(settings.with_name("records.json"))
    assert [r.id for r in read] == ["r0", "r1", "r2"] and read[0].api_model().model_dump()["external_id"] == "r0"
    answered = [rg.Record.from_dict(r) for r in argilla_answers(records)]
    JsonIO.to_json(answered, Path("export.json"))
    with toolkit.review(rows) as review:
        assert toolkit.bring_review(review, "export.json", "argilla", {ANNA: "anna"})["decisions"] == 2


def test_label_studio_reads_what_is_sent(rows: str) -> None:
    interface = pytest.importorskip("label_studio_sdk.label_interface")
    from label_studio_sdk.label_interface.objects import AnnotationValue

    config, tasks = sent(rows, "label-studio")
    known = interface.LabelInterface(config.read_text())
    known.validate()
    assert all(known.validate_task({"data": task["data"]}) for task in tasks)
    assert [len(task["predictions"]) for task in tasks] == [1, 0, 0] and known.validate_prediction(tasks[0]["predictions"][0])
    answers = [a for task in studio_answers(tasks)[:2] for a in task["annotations"]]
    assert all(known.validate_annotation(AnnotationValue(**{**a, "completed_by": 3}).model_dump()) for a in answers)
