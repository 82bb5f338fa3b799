"""The review list goes out and comes back with decisions: nothing in it is executed, nothing is lost, no label changes that nobody decided on."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from frames import TASKS, rows_of, run_steps, seed, seeds, verdict, verdicts
from hypothesis import given, settings
from hypothesis import strategies as st

import toolkit
from toolkit.common.csvfile import read_sheet
from toolkit.common.errors import InputError
from toolkit.guards import load_guard
from toolkit.operators.labels._decisions import read_decisions

# Decisions --------------------------------------------------------------------------------------------------------------


def decide(folder: Path, *lines: dict[str, str], name: str = "decisions.csv") -> str:
    path = folder / name
    with path.open("w", newline="") as f:
        out = csv.DictWriter(f, list(dict.fromkeys(k for line in lines for k in line)))
        out.writeheader()
        out.writerows(lines)
    return str(path)


def test_decisions_change_what_they_say_and_leave_a_trail(tmp_path: Path) -> None:
    rows = seeds(*({"prompt": f"q{n}", "label_prompt": "harmful", "id": f"r{n}"} for n in range(6)))
    file = decide(
        tmp_path,
        {"id": "r0", "task": "prompt", "decision": "keep", "label": "harmful", "reviewer": "Ada", "note": "clear", "when": "2026-11-20"},
        {"id": "r1", "task": "prompt", "decision": "Flip", "label": "harmful", "reviewer": "Ada", "note": "", "when": ""},
        {"id": "r2", "task": "prompt", "decision": "unharmful", "label": "harmful", "reviewer": "", "note": "", "when": ""},
        {"id": "r3", "task": "prompt", "decision": "drop", "label": "harmful", "reviewer": "Bo", "note": "no sense", "when": ""},
        {"id": "r4", "task": "prompt", "decision": "unsure", "label": "harmful", "reviewer": "Bo", "note": "", "when": ""},
        {"id": "r5", "task": "prompt", "decision": "", "label": "harmful", "reviewer": "", "note": "", "when": ""},
    )
    kept, rest = toolkit.apply("review", rows, decisions=file, artefacts=tmp_path / "made")
    labels = {r["id"]: (r["label_prompt"], r["label_prompt_source"]) for r in kept.iter_rows(named=True)}
    assert labels == {
        "r0": ("harmful", "reviewed"), "r1": ("unharmful", "reviewed"), "r2": ("unharmful", "reviewed"),
        "r4": ("harmful", "human"), "r5": ("harmful", "human"),
    }  # fmt: skip
    assert rest.select("id", "_outcome", "_reason", "_detail").rows() == [("r3", "rejected", "reviewed_out", "prompt, by Bo: no sense")]
    trails = {r["id"]: r["label_trail"] for r in kept.iter_rows(named=True)}
    assert trails["r5"] is None and json.loads(trails["r4"])[0]["decision"] == "unsure"
    assert json.loads(trails["r0"]) == [
        {"task": "prompt", "label": "harmful", "source": "human", "new_label": "harmful", "new_source": "reviewed", "by": "review (review)",
         "decision": "keep", "reviewer": "Ada", "why": "clear", "when": "2026-11-20"}
    ]  # fmt: skip
    changes = pl.read_parquet(tmp_path / "made" / "changes" / "changes.parquet")
    assert changes.select("id", "label", "new_label", "reviewer").rows() == [
        ("r0", "harmful", "harmful", "Ada"), ("r1", "harmful", "unharmful", "Ada"), ("r2", "harmful", "unharmful", None),
    ]  # fmt: skip
    # A second round adds to the trail.
    again, _ = toolkit.apply("review", kept, decisions=decide(tmp_path, {"id": "r1", "task": "prompt", "decision": "flip"}, name="two.csv"))
    trail = json.loads(again.filter(pl.col("id") == "r1")["label_trail"][0])
    assert [e["new_label"] for e in trail] == ["unharmful", "harmful"] and trail[1]["source"] == "reviewed"


def test_faults_of_a_file_are_all_named_with_their_lines(tmp_path: Path) -> None:
    file = decide(
        tmp_path,
        {"id": "r0", "task": "prompt", "decision": "keep"},
        {"id": "r0", "task": "prompt", "decision": "flip"},
        {"id": "r1", "task": "prompt", "decision": "keep"},
        {"id": "r1", "task": "prompt", "decision": "keep"},
        {"id": "r2", "task": "promt", "decision": "keep"},
        {"id": "r3", "task": "prompt", "decision": "harmfull"},
        {"id": "", "task": "prompt", "decision": "drop"},
    )
    with pytest.raises(InputError) as e:
        read_decisions(Path(file), load_guard("guardreasoner"))
    message = str(e.value)
    for line, words in (
        (3, "decided as 'flip' and as 'keep'"),
        (5, "decided twice"),
        (6, "no task 'promt'"),
        (7, "unknown decision 'harmfull'"),
        (8, "without an id"),
    ):
        assert f"decisions.csv:{line}: " in message and words in message
    assert "did you mean 'harmful'" in message
    with pytest.raises(InputError, match="no column 'decision'"):
        read_decisions(Path(decide(tmp_path, {"id": "a", "task": "prompt"})), load_guard("guardreasoner"))


def test_decisions_that_do_not_fit_the_rows_stop_the_run(tmp_path: Path) -> None:
    rows = seeds({"prompt": "q", "label_prompt": "harmful", "id": "r0", "label_response_source": "not_applicable"}, {"prompt": "p", "id": "r1"})
    file = decide(
        tmp_path,
        {"id": "r0", "task": "prompt", "decision": "keep", "label": "unharmful"},
        {"id": "r0", "task": "response", "decision": "harmful", "label": ""},
        {"id": "r1", "task": "prompt", "decision": "flip", "label": ""},
        {"id": "r9", "task": "prompt", "decision": "keep", "label": "harmful"},
    )
    with pytest.raises(InputError) as e:
        toolkit.apply("review", rows, decisions=file)
    message = str(e.value)
    assert "decisions.csv:2: row 'r0', task 'prompt': the decision is about 'unharmful', and the label is 'harmful' by now" in message
    assert "decisions.csv:4: row 'r1', task 'prompt': flip, but it has no label (absent)" in message
    assert "decisions.csv:5: no row has the id 'r9'" in message
    with pytest.raises(InputError, match=r"decisions.csv:2: row 'r0': the task 'response' does not apply"):
        toolkit.apply("review", rows, decisions=decide(tmp_path, {"id": "r0", "task": "response", "decision": "harmful"}))
    kept, _ = toolkit.apply("review", rows, decisions=decide(tmp_path, {"id": "r9", "task": "prompt", "decision": "drop"}), unknown="skip")
    assert kept.drop("label_trail").equals(rows) and kept["label_trail"].null_count() == 2
    # A stale decision to drop is stale, too.
    with pytest.raises(InputError, match="by now"):
        toolkit.apply("review", rows, decisions=decide(tmp_path, {"id": "r0", "task": "prompt", "decision": "drop", "label": "unharmful"}))


DECISION = st.sampled_from(["", "keep", "flip", "harmful", "unharmful", "drop", "unsure"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["harmful", "unharmful"]), DECISION), min_size=1, max_size=10))
def test_no_label_changes_but_those_decided_on(tmp_path_factory: pytest.TempPathFactory, given_: list[tuple[str, str]]) -> None:
    folder = tmp_path_factory.mktemp("review")
    rows = seeds(*({"prompt": f"q{n}", "label_prompt": label, "id": f"r{n}"} for n, (label, _) in enumerate(given_)))
    file = decide(folder, *({"id": f"r{n}", "task": "prompt", "decision": found, "label": label} for n, (label, found) in enumerate(given_)))
    kept, rest = toolkit.apply("review", rows, decisions=file, artefacts=folder / "made")
    gone = set(rest["id"]) if rest.height else set()
    assert kept.height + rest.height == rows.height and set(kept["id"]) | gone == set(rows["id"])
    assert gone == {f"r{n}" for n, (_, found) in enumerate(given_) if found == "drop"}
    changes = pl.read_parquet(folder / "made" / "changes" / "changes.parquet")
    different = {r["id"] for r in kept.iter_rows(named=True) if r["label_prompt"] != given_[int(r["id"][1:])][0]}
    assert different == set(changes.filter(pl.col("label") != pl.col("new_label"))["id"])
    for r in kept.iter_rows(named=True):
        label, found = given_[int(r["id"][1:])]
        wanted = {"flip": "harmful" if label == "unharmful" else "unharmful", "harmful": "harmful", "unharmful": "unharmful"}.get(found, label)
        assert r["label_prompt"] == wanted
        assert r["label_prompt_source"] == ("human" if found in ("", "unsure") else "reviewed") and (r["label_trail"] is None) == (found == "")
    untouched = [c for c in rows.columns if not c.startswith("label_prompt")]
    assert kept.select(untouched).equals(rows.filter(pl.col("id").is_in(kept["id"].implode())).select(untouched))


# Out and in again -------------------------------------------------------------------------------------------------------


def test_the_list_goes_out_to_a_sheet_and_comes_back_decided(tmp_path: Path) -> None:
    bad = seed(0, prompt="=SUM(A1:A9)", label_prompt="harmful", response="-1 + 1, a sum")
    good = seed(1, prompt="Tell me about tea", label_prompt="unharmful")
    verdict_rows = [verdict(r, g, 0, f"+{g} holds it harmless", prompt="unharmful") for r in (bad, good) for g in "ab"]
    rows = seeds(bad, good)
    toolkit.apply("noise", {"rows": rows, "verdicts": verdicts(*verdict_rows)}, tasks=["prompt"], artefacts=tmp_path / "made")
    sheet, table = tmp_path / "made" / "review" / "review.csv", pl.read_parquet(tmp_path / "made" / "review" / "review.parquet")
    with sheet.open(encoding="utf-8-sig", newline="") as f:
        header, *cells = list(csv.reader(f))
    assert header == table.columns and len(cells) == 1 == table.height
    assert all(c[:1] not in ("=", "+", "-", "@") for row in cells for c in row), "a spreadsheet executes nothing"
    ((_, line),) = read_sheet(sheet)[1]
    shown = table.row(0, named=True)
    assert {k: line[k] for k, t in table.schema.items() if t == pl.String} == {k: v for k, v in shown.items() if isinstance(v, str) or v is None}
    assert (shown["prompt"], shown["response"], shown["against"]) == ("=SUM(A1:A9)", "-1 + 1, a sum", "+a holds it harmless")
    # A person fills the sheet in and saves it.
    filled = [dict(zip(header, row, strict=True)) | {"decision": "flip", "reviewer": "Ada", "note": "=harmless"} for row in cells]
    kept, rest = toolkit.apply("review", rows, decisions=decide(tmp_path, *filled))
    assert kept.select("label_prompt", "label_prompt_source").rows() == [("unharmful", "reviewed"), ("unharmful", "human")] and not rest.height
    assert json.loads(kept["label_trail"][0])[0]["why"] == "=harmless"


def test_a_changed_file_of_decisions_rebuilds_its_step_and_what_follows_alone(tmp_path: Path) -> None:
    steps: list[dict[str, Any]] = [
        {"id": "s", "use": "load", "with": {"source": "quickstart", "limit": 20}},
        {"id": "r", "use": "review", "with": {"decisions": "d.csv"}},
    ]
    ids = rows_of(run_steps(tmp_path, steps[:1])["s"])["id"]
    decide(tmp_path, {"id": ids[0], "task": "prompt", "decision": "keep"}, {"id": ids[1], "task": "prompt", "decision": "drop"}, name="d.csv")
    made = run_steps(tmp_path, steps)
    first, counts = made["r"].manifest["files"], made["r"].manifest["counts"][0]
    assert counts["rejected"] == {"reviewed_out": 1} and counts["in"] == counts["kept"] + 1
    assert made["r"].manifest["stats"]["decisions"] == {"drop": 1, "keep": 1}
    decide(tmp_path, {"id": ids[0], "task": "prompt", "decision": "unsure"}, name="d.csv")
    again = run_steps(tmp_path, steps)
    assert again["r"].manifest["files"] != first and again["s"].manifest["files"] == made["s"].manifest["files"]
    decide(tmp_path, {"id": ids[0], "task": "prompt", "decision": "perhaps"}, name="d.csv")
    with pytest.raises(InputError, match=r"d.csv:2: unknown decision 'perhaps'"):
        run_steps(tmp_path, steps)


def test_every_task_can_be_reviewed_in_one_file(tmp_path: Path) -> None:
    labels = {"label_prompt": "harmful", "label_refusal": "compliance", "label_response": "harmful"}
    rows = seeds({"prompt": "q", "response": "a", "id": "r0", **labels})
    kept, _ = toolkit.apply("review", rows, decisions=decide(tmp_path, *({"id": "r0", "task": t, "decision": "flip"} for t in TASKS)))
    assert kept.select(f"label_{t}" for t in TASKS).row(0) == ("unharmful", "refusal", "unharmful")
    assert [e["task"] for e in json.loads(kept["label_trail"][0])] == list(TASKS)
