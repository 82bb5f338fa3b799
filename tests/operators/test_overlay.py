"""An overlay: decisions that only grow, each line held to the one before it; a build with a new one asks again about the rows that it touches alone."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from frames import seed, seeds
from teachers import Small, Teacher, openai

import toolkit
from toolkit.common.errors import InputError, InputErrors, Stopped
from toolkit.common.outputs import check_output
from toolkit.shards import read_overlay

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "generation"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "shards"))
from server import running
from test_sign import key

FILE = "seeds.overlay.jsonl"
PLUGIN = Path(__file__).resolve().parent.parent / "pipeline" / "plugin"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    return tmp_path


def decide(row: str, decision: str, label: str | None = "harmful", reviewer: str = "anna", **more: str) -> dict[str, str | None]:
    return {"id": row, "task": "prompt", "label": label, "decision": decision, "reviewer": reviewer, "note": None, "when": None} | more


def add(*decisions: dict[str, str | None], **options: Any) -> Any:
    pl.DataFrame(decisions, schema=dict.fromkeys(decide("", ""), pl.String)).write_csv("sheet.csv")
    return toolkit.overlay(FILE, add="sheet.csv", **options)


def reviewed(*rows: dict[str, Any], **options: Any) -> tuple[pl.DataFrame, pl.DataFrame]:
    return toolkit.apply(
        "review", seeds(*(seed(n, id=f"r{n}", label_prompt="harmful", **row) for n, row in enumerate(rows))), decisions=FILE, **options
    )


# The file ---------------------------------------------------------------------------------------------------------------


def test_it_grows_and_says_who_when_what_and_why() -> None:
    first = add(decide("r0", "flip", note="a recipe for soup", when="2026-11-01"), decide("r1", "keep"), why="as the policy has it")
    assert (first.added, first.decisions, first.rows, first.unsigned) == (2, 2, 2, 2)
    before = Path(FILE).read_bytes()
    second = add(decide("r0", "flip", note="a recipe for soup", when="2026-11-01"), decide("r1", "drop", reviewer="ben"))
    assert (second.added, second.decisions, second.superseded) == (1, 3, 1), "what is there already is not added again"
    assert Path(FILE).read_bytes().startswith(before)
    lines = [json.loads(line) for line in Path(FILE).read_text().splitlines()]
    assert [lines[1][k] for k in ("id", "decision", "reviewer", "note", "when", "line")] == [
        "r0",
        "flip",
        "anna",
        "a recipe for soup",
        "2026-11-01",
        2,
    ]
    assert lines[2]["note"] == "as the policy has it" and re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", lines[2]["when"])
    assert toolkit.overlay("copy.overlay.jsonl", add=FILE).decisions == 3, "another overlay's decisions, earlier ones too"
    with pytest.raises(InputError, match="nobody made this decision"):
        add(decide("r2", "keep", reviewer=""))
    assert add(decide("r2", "keep", reviewer=""), reviewer="cleo").by[-1] == {
        "task": "prompt",
        "reviewer": "cleo",
        "decision": "keep",
        "decisions": 1,
    }
    with pytest.raises(InputErrors, match=r"sheet\.csv:2: .*unknown decision 'kep'(.|\n)*sheet\.csv:3"):
        add(decide("r0", "kep"), decide("", "keep"))
    add(decide("r0", "keep"))
    with pytest.raises(InputError, match=r"no name of an overlay(.|\n)*\.overlay\.jsonl"):
        toolkit.overlay("seeds.jsonl", add="sheet.csv")


def test_a_line_that_was_changed_or_is_missing_is_named_and_what_a_kill_left_is_taken_off() -> None:
    add(*(decide(f"r{n}", "keep") for n in range(4)))
    whole = Path(FILE).read_bytes()
    lines = whole.splitlines(keepends=True)
    for changed, words in (
        ([*lines[:2], lines[2].replace(b"keep", b"drop"), *lines[3:]], f"{FILE}:3: this line was changed after it was written"),
        ([*lines[:4], lines[4].replace(b"keep", b"drop")], f"{FILE}:5: this line was changed after it was written"),
        ([*lines[:2], *lines[3:]], f"{FILE}:3: line 3 is missing: here is line 4"),
        ([*lines[:1], *lines[3:]], f"{FILE}:2: lines 2 to 3 are missing: here is line 4"),
        ([*lines[:3], lines[2], *lines[3:]], f"{FILE}:4: this line does not follow the one before it"),
        (lines[1:], f"{FILE}:1: line 1 is missing"),
        ([*lines, b"{}\n"], f"{FILE}:6: no line of an overlay"),
        ([*lines, b"\xff\n"], f"{FILE}:6: not JSON"),
        ([whole[:-7]], f"{FILE}:5: the last line is not finished"),
        ([], f"{FILE}: the file is empty"),
    ):
        Path(FILE).write_bytes(b"".join(changed))
        with pytest.raises(InputError) as e:
            toolkit.verify(FILE)
        assert words in str(e.value)
    Path(FILE).write_bytes(whole[:-7])
    assert add(*(decide(f"r{n}", "keep") for n in range(4))).added == 1
    assert [d["id"] for d in read_overlay(Path(FILE)).decisions.values()] == ["r0", "r1", "r2", "r3"]


def test_a_full_disk_leaves_what_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    add(decide("r0", "keep"))
    before, write = Path(FILE).read_bytes(), os.write

    def full(fd: int, data: Any) -> int:
        if bytes(data).startswith(b'{"line"'):
            write(fd, bytes(data)[:20])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(Stopped, match="the disk is full"):
        add(decide("r1", "keep"))
    assert Path(FILE).read_bytes() == before


def test_signatures_hold_for_what_was_there_and_for_nothing_since(tmp_path: Path) -> None:
    anna, ben = key(tmp_path / "anna"), key(tmp_path / "ben")
    add(decide("r0", "flip"))
    with pytest.raises(InputError, match="1 decisions are signed by nobody, the first on line 2"):
        toolkit.verify(FILE, require_signature=True)
    signed = toolkit.sign(FILE, anna)
    assert toolkit.sign(FILE, anna).by == signed.by and len(Path(FILE).read_text().splitlines()) == 3, "signed once"
    assert (toolkit.verify(FILE, key=tmp_path / "anna.pub").signature or {})["trusted"] is True
    with pytest.raises(InputError, match=r"signed by none of the keys in ben\.pub"):
        toolkit.verify(FILE, key=tmp_path / "ben.pub")
    add(decide("r1", "flip"))
    assert toolkit.verify(FILE).unsigned == 1
    with pytest.raises(InputError, match=r"1 decisions are signed by none of the keys in anna\.pub, the first on line 4"):
        reviewed({}, {}, signed_by="anna.pub")
    toolkit.sign(FILE, ben)
    kept, _ = reviewed({}, {}, signed_by="ben.pub")
    assert kept["label_prompt"].to_list() == ["unharmful", "unharmful"], "a signature is over all lines above it"
    lines = Path(FILE).read_text().splitlines()
    stolen = json.loads(lines[2])["signature"]
    Path("other.overlay.jsonl").write_text("\n".join(lines[:2]) + "\n")
    toolkit.sign("other.overlay.jsonl", ben)
    assert stolen != json.loads(Path("other.overlay.jsonl").read_text().splitlines()[2])["signature"]
    with pytest.raises(InputError, match="signed_by is for an overlay"):
        toolkit.apply("review", seeds(seed(0, id="r1", label_prompt="harmful")), decisions="sheet.csv", signed_by="ben.pub")


def test_a_signature_of_other_lines_is_refused_although_the_chain_is_whole(tmp_path: Path) -> None:
    from toolkit.common.manifests import sealed

    add(decide("r0", "flip"))
    toolkit.sign(FILE, key(tmp_path / "anna"))
    head, decision, signature = (json.loads(line) for line in Path(FILE).read_text().splitlines())
    forged = sealed({**decision, "decision": "drop"})
    moved = sealed({**signature, "before": forged["seal"]})
    Path(FILE).write_text("".join(json.dumps(line) + "\n" for line in (head, forged, moved)))
    with pytest.raises(InputError, match=f"{FILE}:3: the signature is not that of the lines above it"):
        toolkit.verify(FILE)


# What it does to rows -----------------------------------------------------------------------------------------------------


def test_the_last_decision_counts_and_may_be_about_what_an_earlier_one_made() -> None:
    add(decide("r0", "flip"), decide("r1", "flip"), decide("r2", "drop"), decide("r3", "drop"), decide("r4", "flip", "unharmful"))
    add(
        decide("r0", "flip", "unharmful", "ben"),
        decide("r1", "keep", "harmful", "ben"),
        decide("r2", "keep", reviewer="ben"),
        decide("r3", "unsure", reviewer="ben"),
    )
    with pytest.raises(InputError, match=rf"{FILE}:6: row 'r4', task 'prompt': the decision is about 'unharmful', and the label is 'harmful' by now"):
        reviewed(*[{}] * 5)
    add(decide("r4", "flip", "harmful", "ben"))
    for names, about in (("violence privacy", None), ("none", "privacy violence"), ("privacy", None)):
        add(decide("r1", names, about, task="categories"))
    kept, rest = reviewed(*[{}] * 5)
    assert dict(kept.select("id", "label_prompt").rows()) == {"r0": "harmful", "r1": "harmful", "r2": "harmful", "r4": "unharmful"}
    assert rest.select("id", "_reason").rows() == [("r3", "reviewed_out")]
    assert kept.filter(id="r1")["categories"].to_list() == [["privacy"]], "categories are decided about again like labels"
    trails = {r["id"]: [(e["reviewer"], e["label"], e["new_label"]) for e in json.loads(r["label_trail"])] for r in kept.iter_rows(named=True)}
    assert trails["r0"] == [("anna", "harmful", "unharmful"), ("ben", "unharmful", "harmful")]
    assert trails["r4"] == [("ben", "harmful", "unharmful")], "a stale decision that was decided again is passed over"


def test_decisions_about_rows_that_are_gone_are_named(tmp_path: Path) -> None:
    add(decide("r0", "keep"), decide("r7", "flip"), decide("r9", "drop", reviewer="ben"))
    with pytest.raises(InputErrors, match=rf"{FILE}:3: no row has the id 'r7'(.|\n)*{FILE}:4: no row has the id 'r9'"):
        reviewed({}, {})
    seeds(seed(0, id="r0"), seed(1, id="r9")).write_parquet("rows.parquet")
    assert toolkit.verify(FILE, rows="rows.parquet").gone == [{"line": 3, "id": "r7", "task": "prompt"}]
    with pytest.raises(InputError, match="rows are for an overlay"):
        toolkit.verify(tmp_path, rows="rows.parquet")


def test_a_review_adds_to_it_and_no_other_output_takes_its_place() -> None:
    rows = seeds(*(seed(n, id=f"r{n}", label_prompt="harmful") for n in range(3)))
    rows.write_parquet("rows.parquet")
    with toolkit.review("rows.parquet", kind="labels", reviewer="anna") as review:
        items = [item for item in review.queue.items if item.task == "prompt"]
        review.decide(items[0], "flip", "a joke")
        assert review.export(FILE)["lines"] == 1
        review.decide(items[1], "drop")
        assert review.export(FILE)["lines"] == 1, "what is there already is not added again"
    kept, rest = toolkit.apply("review", rows, decisions=FILE)
    assert kept["label_prompt"].to_list() == ["unharmful", "harmful"] and rest["id"].to_list() == ["r1"]
    before = Path(FILE).read_bytes()
    with pytest.raises(InputError, match="the output would take the place of an overlay, which only grows"):
        check_output(Path(FILE).resolve())
    assert Path(FILE).read_bytes() == before and toolkit.verify(FILE).decisions == 2


# What it rebuilds ---------------------------------------------------------------------------------------------------------


def test_a_new_decision_asks_again_about_its_row_alone_and_mines_and_weighs_anew(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A teacher reasons to the labels that it is shown; a guard, trained before, is in doubt about some gardens whatever their labels."""
    monkeypatch.syspath_prepend(str(PLUGIN))
    world = Small(here, [{}] * 9)
    with running(Teacher()) as teacher:
        backend = openai(teacher, "teacher")
        steps: list[dict[str, Any]] = [
            {"id": "rendered", "use": "render_sft"},
            {"id": "shards", "use": "shards"},
            {"id": "guard", "use": "drill"},
            {"id": "reviewed", "use": "review", "from": "seeds", "with": {"decisions": FILE}},
            {"id": "reasoning", "use": "synthesise", "with": {"backend": backend}},
            {"id": "samples", "use": "parrot", "from": {"rows": "reviewed", "guard": "guard"}, "with": {"blind": True}},
            {"id": "verdicts", "use": "verdicts"},
            {"id": "hard", "use": "mine"},
            {"id": "pairs", "use": "pair", "from": {"rows": "hard", "verdicts": "verdicts"}},
        ]
        recipe = world.recipe({"backend": backend}, *steps)
        seeds_of = {"steps": yaml.safe_load(recipe.read_text())["steps"][:1], "recipe": "seeds"}
        Path("seeds.yaml").write_text(yaml.safe_dump(seeds_of))
        ids = toolkit.read_run(toolkit.run("seeds.yaml").folder)["seeds"].polars()["id"].to_list()
        add(decide(ids[0], "keep", "unharmful"))
        toolkit.run(recipe, output="out/one")
        assert len(teacher.requests) == 9, "what was asked before the review is not asked again after it"
        add(decide(ids[4], "flip", "unharmful"), decide(ids[3], "flip", "unharmful", "ben"))
        shutil.copytree("out/one", "out/two")
        done = toolkit.run(recipe, output="out/two")
        after = ["reviewed", "reasoning", "samples", "verdicts", "hard", "pairs"]
        assert done.built == after and len(teacher.requests) == 11, "the two rows whose labels changed, and no other step or row"
        one, two = toolkit.read_run("out/one"), toolkit.read_run("out/two")
        for step, column in (("reasoning", "id"), ("verdicts", "parent"), ("hard", "id"), ("pairs", "parent")):
            left, right = (run[step].polars().filter(~pl.col(column).is_in([ids[3], ids[4]])) for run in (one, two))
            assert left.height and left.equals(right), f"{step}: rows that nobody decided about are the same"
        pairs = [run["pairs"].polars().filter(pl.col("parent") == ids[3])["chosen"][0] for run in (one, two)]
        assert ["Request: unharmful" in chosen for chosen in pairs] == [True, False], "the pair of a relabelled row is turned round"
        found = toolkit.diff("out/one", "out/two")
        assert [(x["reviewer"], x["label"], x["new_label"], x["rows"]) for x in found.labels] == [
            (who, "unharmful", "harmful", 1) for who in ("anna", "ben")
        ]
        (pairs_now,) = found.pairs
        counts = [len(run["pairs"].polars()) for run in (one, two)]
        assert [pairs_now["before"], pairs_now["after"]] == counts and pairs_now["after"] - pairs_now["before"] == pairs_now["gained"] - pairs_now[
            "lost"
        ]
        back = toolkit.diff("out/two", "out/one").labels
        assert {(x["reviewer"], x["label"], x["new_label"]) for x in back} == {(None, "harmful", "unharmful")}, (
            "nobody decided so: the decisions are gone"
        )
        toolkit.sign(FILE, key(here / "anna"))
        assert toolkit.run(recipe, output="out/two").built == ["reviewed"] and len(teacher.requests) == 11, "a signature changes no row"
    assert toolkit.verify(FILE, rows="out/two").gone == []
    lines = Path(FILE).read_text().splitlines(keepends=True)
    Path(FILE).write_text("".join(lines[:2]))
    with pytest.raises(InputError, match=r"lines are gone from its end: it has 2, and out/two/reviewed was built with 5"):
        toolkit.verify(FILE, rows="out/two")
