"""What reads rows from files ends with an error where nothing is left, a class is lost, or more is rejected than allowed; `check` says so first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from frames import reasons, rows_of, run_steps

import toolkit
from toolkit.common.errors import InputError

SOURCE = """
name: mine
version: 1
description: A test's own.
licence: CC0-1.0
files: ["*.jsonl"]
columns: {prompt: q}
labels:
  prompt: {column: bad, map: {"yes": harmful, "no": unharmful}, source: human}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(SOURCE)
    return tmp_path


def rows(path: Path, *labels: str) -> None:
    path.write_text("".join(json.dumps({"q": f"question {n}", "bad": label}) + "\n" for n, label in enumerate(labels)))


def recipe(folder: Path, **options: Any) -> Path:
    load = {"id": "seeds", "use": "load", "with": {"source": "mine.yaml", "files": ["a.jsonl"], **options}}
    path = folder / "recipe.yaml"
    path.write_text(json.dumps({"recipe": "mine", "steps": [load]}))
    return path


def test_a_map_that_spells_the_labels_otherwise_is_found_by_check_with_the_values_that_are_there(here: Path) -> None:
    rows(here / "a.jsonl", *["No"] * 40, *["Yes"] * 27)
    for do in (toolkit.check, toolkit.plan, toolkit.run):
        with pytest.raises(InputError) as e:
            do(recipe(here))
        message = str(e.value)
        assert "no row is kept, 67 are rejected: unknown_label 67" in message and "recipe.yaml" in message
        assert "bad: 'No' is not in the map (did you mean 'no'?) (40 rows)" in message and "'Yes'" in message and "(27 rows)" in message


def test_a_load_of_which_more_is_rejected_than_allowed_is_an_error_and_makes_no_step(here: Path) -> None:
    rows(here / "a.jsonl", "yes", *["no"] * 3000, *["Yes"] * 40)  # beyond the first rows, which are all that check looks at
    path = recipe(here)
    toolkit.check(path)
    with pytest.raises(
        InputError, match=r"step seeds: source 'mine': 40 of 3,041 rows are rejected: .*'Yes' is not in the map.*\n.*`max_rejected` allows 0.01"
    ):
        toolkit.run(path)
    assert not (here / "outputs" / "mine" / "seeds").exists()
    result = toolkit.run(recipe(here, max_rejected=0.02))
    assert result.summary["steps"][0]["rejected"] == {"unknown_label": 40}


def test_what_may_be_rejected_is_no_part_of_the_fingerprint(here: Path) -> None:
    rows(here / "a.jsonl", *["yes", "no"] * 100, "?")
    assert toolkit.run(recipe(here)).built == ["seeds"]
    assert toolkit.run(recipe(here, max_rejected=0.5, empty=True)).reused == ["seeds"]


def test_few_values_that_are_all_of_a_class_are_not_lost_in_silence(here: Path) -> None:
    rows(here / "a.jsonl", *["no"] * 1500, "Yes")
    with pytest.raises(InputError, match=r"no row is 'harmful' \(label_prompt\), and values were rejected: unknown_label 1: bad: 'Yes'"):
        toolkit.run(recipe(here))
    assert toolkit.run(recipe(here, empty=True)).summary["steps"][0]["kept"] == 1500
    rows(here / "a.jsonl", *["no"] * 1500)
    assert toolkit.run(recipe(here)).summary["steps"][0]["kept"] == 1500, "a file of one class is sound"


def test_a_little_junk_passes_and_a_look_at_the_first_rows_does_not_refuse_what_the_whole_allows(here: Path) -> None:
    rows(here / "a.jsonl", *["?"] * 20, *["yes", "no"] * 1500)
    assert toolkit.run(recipe(here)).summary["steps"][0]["rejected"] == {"unknown_label": 20}


def test_each_source_and_part_is_held_to_it_by_itself(here: Path) -> None:
    parts = "parts: {one: {files: [one.jsonl]}, two: {files: [two.jsonl]}}\n"
    (here / "mine.yaml").write_text(SOURCE + parts)
    rows(here / "one.jsonl", *["yes", "no"] * 300)
    rows(here / "two.jsonl", "Yes", "No", "No")
    with pytest.raises(InputError, match="source 'mine-two': no row is kept, 3 are rejected"):
        toolkit.apply("load", source="mine.yaml", files=["."])


def test_a_load_that_keeps_nothing_goes_on_only_if_it_is_asked_to(here: Path) -> None:
    (here / "mine.yaml").write_text(SOURCE + "filter: {column: bad, equals: maybe}\n")
    rows(here / "a.jsonl", "yes", "no")
    with pytest.raises(InputError, match="no row is kept, 0 are rejected and 2 set aside"):
        toolkit.run(recipe(here))
    assert toolkit.run(recipe(here, empty=True)).summary["steps"][0]["set_aside"] == {"filtered": 2}


def test_read_is_held_to_the_same(here: Path) -> None:
    rows(here / "a.jsonl", "Harmful", "Harmful")
    columns = {"prompt": "q", "label_prompt": "bad"}

    def step(**options: Any) -> list[dict[str, Any]]:
        constants = {"label_prompt_source": "human"}
        given = {"files": ["a.jsonl"], "record": "seed", "columns": columns, "constants": constants, **options}
        return [{"id": "rows", "use": "read", "with": given}]

    with pytest.raises(InputError, match=r"no row is kept, 2 are rejected: unknown_label 2: label_prompt: label not of the task: 'Harmful'"):
        run_steps(here, step())
    assert run_steps(here, step(empty=True))["rows"].rows == 0
    rows(here / "a.jsonl", "Harmful", "harmful")
    assert rows_of(run_steps(here, step())["rows"]).height == 1
    with pytest.raises(InputError, match="1 of 2 rows are rejected"):
        run_steps(here, step(max_rejected=0.2))
    kept, gone = toolkit.apply("read", **step()[0]["with"])
    assert kept.height == 1 and reasons(gone) == {"unknown_label": 1}
