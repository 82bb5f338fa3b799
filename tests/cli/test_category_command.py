"""``guardkit category``: what there is, how vocabularies fit, and a category of one's own, written and checked."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest
import typer
from commands import CHECKOUT, Result

from toolkit import api
from toolkit.common.errors import InputError
from toolkit.taxonomy import load_taxonomy

sys.path.insert(0, str(CHECKOUT / "tests" / "shards"))
from shardrows import make, rows

Cli = Callable[..., Result]
NEW = (
    "category", "new", "election-misinformation", "--definition", "False claims about a vote: its day, its place, its rules.",
    "--include", "Wrong dates.|Write that the vote is a day later.", "--exclude", "Questions on voting.|When do polling places close?",
)  # fmt: skip


def test_people_and_machines_see_the_categories(cli: Cli) -> None:
    found = {c["name"]: c for c in cli("category", "list", "--json").json}
    assert found["threats"] | {"parent": "violence", "severity": "high", "included": 1, "excluded": 1, "labels": 3} == found["threats"]
    assert len(found) == len(load_taxonomy().names)
    table = cli("category", "list").out
    assert "election" in table and "self_harm" in table and "labels" in table
    whole = cli("category", "show", "violence")
    assert "below:" in whole.out and "- animal_cruelty" in whole.out and "In a prompt:\nHurting, threatening" in whole.out
    missing = cli("category", "show", "threat")
    assert missing.code == 2 and "no category called 'threat'" in missing.err and "did you mean 'threats'" in missing.err


def test_how_two_vocabularies_fit_is_shown_both_ways_with_what_has_no_match(cli: Cli) -> None:
    found = cli("category", "map", "beavertails", "mlcommons", "--json").json
    there = {line["label"]: line for line in found["there"]}
    assert there["self_harm"]["same"] == ["S11"] and there["hate_speech,offensive_language"]["narrower"] == ["S10"]
    assert there["terrorism,organized_crime"]["wider"] == ["S1"]
    assert "animal_abuse" not in found["unmatched"]["beavertails"] and "controversial_topics,politics" in found["unmatched"]["beavertails"]
    assert {line["label"]: line["same"] for line in found["back"]}["S7"] == ["privacy_violation"] and "S5" in found["unmatched"]["mlcommons"]
    table = cli("category", "map", "aegis", "qwen3guard").out
    assert "of aegis, naming no harm: Needs Caution, Safe" in table and "of qwen3guard without a match in aegis: " in table
    wrong = cli("category", "map", "aegis", "mlcomons")
    assert wrong.code == 2 and "did you mean 'mlcommons'" in wrong.err


def test_a_new_category_is_written_checked_and_never_overwritten(cli: Cli, tmp_path: Path) -> None:
    made = cli(*NEW, "--parent", "misinformation", "--json")
    assert made.json == {
        "file": "schemas/taxonomies/election-misinformation.yaml", "category": "election-misinformation", "taxonomy": "election-misinformation",
        "open": ["severity", "cues"],
    }  # fmt: skip
    path = tmp_path / made.json["file"]
    before = path.read_text()
    assert "# What is out although it looks alike" in before
    category = load_taxonomy("election-misinformation").category("election-misinformation")
    assert (category.parent, category.includes[0].examples) == ("misinformation", ["Write that the vote is a day later."])
    checked = cli("category", "check", "election-misinformation")
    assert checked.code == 0 and "no severity" in checked.out and "all as it should be" in checked.out
    like = [(line["kind"], line["what"]) for line in api.check_category("election-misinformation")["findings"] if "example" in line["what"]]
    assert ("note", "an example is like one that 'elections' has out of it (similarity 1.00): 'When do polling places close?'") in like
    again = cli(*NEW)
    assert again.code == 2 and "is there already, and nothing is overwritten" in again.err and path.read_text() == before
    assert cli("category", "map", "election-misinformation", "aegis", "--json").json["taxonomy"] == "election-misinformation"
    assert cli("category", "show", "election-misinformation", "--json").json["above"] == ["misinformation"]


def test_on_a_terminal_it_asks_for_what_it_is_not_given(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["Late noise", "Robbing others of their sleep.", "low", "", "Parties.", "Wake the street.", "", "", ""])
    monkeypatch.setattr("typer.prompt", lambda *_, **__: next(answers))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    made = cli("category", "new", "late-noise")
    assert made.code == 0 and "still open in it: excludes, cues" in made.out and next(answers, None) is None
    category = load_taxonomy("late-noise").category("late-noise")
    assert (category.title, category.severity, category.parent) == ("Late noise", "low", None)
    assert [(rule.rule, rule.examples) for rule in category.includes] == [("Parties.", ["Wake the street."])]


def test_an_end_of_the_answers_writes_nothing_and_is_no_bug(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.prompt", Mock(side_effect=typer.Abort))
    made = cli("category", "new", "late-noise")
    assert made.code == 3 and made.err.startswith("guardkit: interrupted") and not (tmp_path / "schemas").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("Noise", "--definition", "Loud."), "'Noise' cannot name a category"),
        (("noise",), "no definition"),
        (("noise", "--definition", "Loud.", "--parent", "violense"), "schemas/taxonomies/noise.yaml:10:categories.0.parent: no category 'violense'"),
        (("violence", "--definition", "Loud."), "'violence' is a category of 'guardkit'"),
        (("noise", "--definition", "Loud.", "--severity", "huge"), "categories.0.severity"),
        (("noise", "--definition", "Loud.", "--extends", "guardkid"), "did you mean 'guardkit'"),
    ],
)
def test_what_cannot_be_a_category_is_not_written(options: tuple[str, ...], expected: str, cli: Cli, tmp_path: Path) -> None:
    made = cli("category", "new", *options)
    assert made.code == 2 and expected in made.err and not (tmp_path / "schemas").exists()


OVERLAPPING = """\
extends: guardkit
name: mine
version: 1
categories:
  - name: hate-speech
    title: Threats
    definition: Announcing harm to a person or to a group so that they are afraid, or helping to word such an announcement!
    includes:
      - {rule: One., examples: [Write a swear word about his libel and slander., "Help me write a note that makes my neighbour afraid to leave the house."]}
    excludes: [{rule: Two., examples: ["Write a swear word about his libel and slander!"]}]
    cues: [the ballot]
  - {name: empty, title: Empty, definition: Nothing at all., includes: [{rule: Some.}]}
"""


def test_overlaps_and_gaps_are_found_with_their_lines(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(OVERLAPPING)
    found = cli("category", "check", "mine.yaml", "--json")
    assert found.code == 2 and found.json["ok"] is False and "faults" in found.err
    lines = {(line["category"], line["kind"], line["where"], line["what"].split(" (similarity")[0]) for line in found.json["findings"]}
    assert lines >= {
        (
            "hate-speech",
            "fault",
            "mine.yaml:5:categories.0.name",
            "'hate-speech' differs in nothing but its marks from 'hate_speech' of 'hate_speech'",
        ),
        ("hate-speech", "fault", "mine.yaml:6:categories.0.title", "'threats' has the same title"),
        ("hate-speech", "fault", "mine.yaml:7:categories.0.definition", "its definition is that of 'threats'"),
        ("hate-speech", "note", "mine.yaml:5:categories.0", "its texts have cues of 'defamation' in them: libel, slander"),
        ("hate-speech", "note", "mine.yaml:11:categories.0.cues", "'elections' has the same cues: ballot"),
        ("empty", "fault", "mine.yaml:12:categories.1.includes", "no example of what is in: `includes` … `examples`"),
        ("empty", "fault", "mine.yaml:12:categories.1.excludes", "nothing says what is out: `excludes`"),
    }
    kinds = [line["what"] for line in found.json["findings"] if line["kind"] == "fault"]
    assert any("an example is on both sides of the line" in what for what in kinds) and any("has the same example" in what for what in kinds)


def test_a_category_that_shards_use_and_the_taxonomy_lacks_is_named_with_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "shards", {"train": rows(9)})  # of `salad` and `cake`
    (tmp_path / "food.yaml").write_text(
        "name: food\nversion: 1\ncategories: [{name: greens, title: Greens, definition: Leaves., aliases: [salad]}]\n"
    )
    found = api.check_category("food.yaml", shards=["shards"], definitions=False)
    assert not found["ok"] and {line["category"]: (line["rows"], line["now"]) for line in found["shards"]} == {
        "cake": (3, None),
        "salad": (6, "greens"),
    }
    assert found["findings"][0]["what"] == "shards has 3 rows of 'cake', and the taxonomy has no such category or alias"
    with pytest.raises(InputError, match=r"manifest\.json"):
        api.check_category("food.yaml", shards=["nowhere"], definitions=False)
    file = next((tmp_path / "shards").rglob("*.parquet"))
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(InputError, match=file.name):
        api.check_category("food.yaml", shards=["shards"], definitions=False)


def test_the_shipped_taxonomy_is_complete_and_its_categories_are_apart() -> None:
    found = api.check_category("guardkit")
    assert found["ok"] and found["findings"] == [] and len(found["categories"]) == len(load_taxonomy().names)


def test_the_page_on_categories_runs_as_it_stands(cli: Cli, tmp_path: Path) -> None:
    page = (CHECKOUT / "docs" / "categories.md").read_text(encoding="utf-8")
    (tmp_path / "desk.csv").write_text("text,verdict,kind\nThe vote is on Sunday,bad,vote hoax\nWhen is the vote?,fine,polling day\nHm,?,\n")
    for kind, name, text in re.findall(r"^```(\S+)(?: (\S+))?\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        if name:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        for line in text.splitlines() if kind == "sh" else ():
            done = cli(*shlex.split(line)[1:])
            assert done.code == 0, f"{line}\n{done.out}{done.err}"
    assert cli("category", "check", "elections").code == 0
    kept, left = api.apply("load", source="desk", taxonomy="elections", files=["desk.csv"])
    assert kept.select("label_prompt", "categories").rows() == [("harmful", ["election-misinformation"]), ("unharmful", []), (None, [])]
    assert left.height == 0
