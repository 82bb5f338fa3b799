"""``guardkit journal``: what it says, what it writes, how it ends."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from commands import CHECKOUT, Result

from toolkit import api
from toolkit.api.command import EXPORT_COLUMNS
from toolkit.common.errors import GuardkitError
from toolkit.common.files import new_file
from toolkit.generation import Completion, Journal, Request

sys.path.insert(0, str(CHECKOUT / "tests" / "generation"))

from journals import ask, chat, version_1

Cli = Callable[..., Result]
FOLDER = Path("outputs/journal")
NOTED = "journal.note is kept beside it from now on: it shows if records are ever lost"


@pytest.fixture
def filled(tmp_path: Path, cli: Cli) -> list[tuple[Request, Completion]]:
    """Four records in the workspace of an empty working folder: three are served."""
    put = [
        chat(ask(1), "mild \x1b[31m words \ud800", reasoning_content="thought"),
        (ask(2), Completion(ask(2).key, "local words")),
        (ask(3), Completion(ask(3).key, None, error="refused", detail="no \x1b[2J", raw=b'{"a": 1}')),
        (ask(4), Completion(ask(4).key, None, error="timeout", detail="slow", cost=0.25)),
    ]
    with Journal(tmp_path / FOLDER) as journal:
        journal.put(put, shared=[(ask(1).key, "twin")])
    return put


def test_show_counts_and_shows(cli: Cli, filled: list[tuple[Request, Completion]]) -> None:
    result = cli("journal", "show")
    assert result.code == 0
    for words in ("answer", "refused", "timeout (asked again)", "3 answers, 1 failures", "1 rows that share an answer", "(version 2)"):
        assert words in result.out
    found = cli("journal", "show", "--json").json
    assert (found["answers"], found["failures"], found["cost"], found["folder"]) == (3, 1, 0.25, str(FOLDER))
    assert [(g["outcome"], g["records"]) for g in found["groups"]] == [("answer", 2), ("refused", 1), ("timeout", 1)]
    result = cli("journal", "show", "--row", "twin", "--key", ask(3).key)
    assert "\x1b" not in result.out
    assert "mild \\x1b[31m words \ufffd" in result.out
    assert "no \\x1b[2J" in result.out
    (one,) = cli("journal", "show", "--row", "twin", "--json").json
    assert (one["row"], one["shared_by"], one["reasoning"]) == ("row-1", ["twin"], "thought")
    assert cli("journal", "show", "--row", "nobody").out == "no such record\n"
    assert cli("journal", "show", "--row", "row_1").out == "no such record\nno record of the row 'row_1': did you mean 'row-1'?\n"


def test_a_name_that_the_journal_does_not_know_is_reported_with_the_nearest(cli: Cli, filled: list[tuple[Request, Completion]]) -> None:
    result = cli("journal", "export", "a.jsonl", "--model", "serve")
    assert result.code == 0 and "0 records in a.jsonl\nno record of the model 'serve': did you mean 'served'?" in result.out
    assert "did you mean 'twin'?" in cli("journal", "export", "a.jsonl", "--row", "twn", "--row", "row-2").out
    result = cli("journal", "purge", "--row", "Row-3", "--yes")
    assert result.code == 2 and "did you mean 'row-3'?" in result.err, result.err
    result = cli("journal", "verfy")
    assert result.code == 2 and "Did you mean 'verify'?" in result.err


def test_export_writes_every_column(cli: Cli, filled: list[tuple[Request, Completion]], tmp_path: Path) -> None:
    result = cli("journal", "export", "a.jsonl", "--raw", "--failures", "--json")
    assert (result.code, result.json) == (0, {"file": "a.jsonl", "records": 4})
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").open()]
    assert [list(line) for line in lines] == [list(EXPORT_COLUMNS)] * 4
    assert [(line["key"], line["text"], line["error"]) for line in lines] == [(r.key, c.text, c.error) for r, c in filled]
    assert lines[0]["raw"].encode() == filled[0][1].raw
    assert cli("journal", "export", "a.parquet", "--model", "m").out == "3 records in a.parquet\n"
    table = pl.read_parquet(tmp_path / "a.parquet")
    assert table.columns == list(EXPORT_COLUMNS)[:-1]
    assert table["text"].to_list() == ["mild \x1b[31m words \ufffd", "local words", None]
    assert table["shared_by"].to_list() == [["twin"], [], []]
    for bad, words in (("a.csv", "ends in .jsonl or .parquet"), ("none/a.jsonl", "no such folder")):
        result = cli("journal", "export", bad)
        assert (result.code, words in result.err) == (2, True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl", "a.parquet", "outputs"]


def test_verify_says_what_is_damaged(cli: Cli, filled: list[tuple[Request, Completion]], tmp_path: Path) -> None:
    result = cli("journal", "verify")
    assert (result.code, result.out) == (0, "3 answers (0 compressed), 1 failures, 1 rows that share an answer\nall as it should be\n")
    db = sqlite3.connect(tmp_path / FOLDER / "journal.sqlite")
    db.execute("UPDATE answers SET raw = CAST('other words' AS BLOB) WHERE id = 2")
    db.commit()
    db.close()
    result = cli("journal", "verify", "--json")
    assert (result.code, result.json["ok"], result.json["damaged"]) == (2, False, [ask(2).key])
    result = cli("journal", "verify")
    assert (result.code, ask(2).key in result.out) == (2, True)


def test_verify_show_and_export_work_while_a_run_writes(cli: Cli, filled: list[tuple[Request, Completion]], tmp_path: Path) -> None:
    with Journal(tmp_path / FOLDER) as journal:
        journal.put([chat(ask(5), "fresh")])
        assert cli("journal", "verify", "--json").json["answers"] == 4
        assert cli("journal", "show", "--json").json["answers"] == 4
        assert cli("journal", "export", "a.jsonl", "--json").json["records"] == 4
        for verb in (["compact"], ["migrate"], ["purge", "--row", "row-1", "--yes"]):
            result = cli("journal", *verb)
            assert (result.code, "in use by process" in result.err) == (2, True)


def test_compact_and_migrate(cli: Cli, tmp_path: Path) -> None:
    put = version_1(tmp_path / "old", ["mild words " * 100] * 50)
    result = cli("journal", "show", "--folder", "old")
    assert (result.code, "guardkit journal migrate" in result.err) == (2, True)
    result = cli("journal", "migrate", "--folder", "old")
    assert (result.code, result.out) == (0, f"old: from version 1 to 2; every answer is kept\n{NOTED}\n")
    assert cli("journal", "migrate", "--folder", "old", "--json").json == {"folder": "old", "found": 2, "version": 2, "noted": False}
    found = cli("journal", "compact", "--folder", "old", "--json").json
    assert (found["packed"], found["after"] < found["before"]) == (50, True)
    assert "0 records compressed" in cli("journal", "compact", "--folder", "old").out
    with Journal(tmp_path / "old") as journal:
        assert journal.get(r.key for r, _ in put) == {r.key: c for r, c in put}


def test_purge_asks_first_and_says_where_rows_still_are(cli: Cli, filled: list[tuple[Request, Completion]], tmp_path: Path) -> None:
    step = tmp_path / "outputs" / "run" / "seeds" / "rows"
    step.mkdir(parents=True)
    pl.DataFrame({"id": ["row-1", "row-9"], "prompt": ["x", "y"]}).write_parquet(step / "rows.parquet")
    shutil.copytree(step.parent, step.parent.with_name("other"))
    pl.DataFrame({"id": ["row-8"], "n": [1]}).write_parquet(step.parent.with_name("other") / "rows" / "rows.parquet")
    result = cli("journal", "purge", "--row", "twin", "--key", ask(2).key)
    assert result.code == 2
    for words in ("2 answers and 0 failures would be deleted", "row-1", "--yes"):
        assert words in result.out + result.err
    result = cli("journal", "purge", "--row", "twin", "--json")
    assert (result.code, result.json["deleted"], result.json["answers"]) == (2, False, 1)
    assert cli("journal", "show", "--json").json["answers"] == 3
    (tmp_path / "rows.txt").write_text("twin\n\nnobody\n")
    result = cli("journal", "purge", "--rows", "rows.txt", "--yes")
    assert result.code == 0
    for words in ("1 answers and 0 failures deleted", "lose them too: row-1", "not in the journal: nobody", "what came from them: outputs/run/seeds"):
        assert words in result.out
    assert "outputs/run/other" not in result.out
    assert cli("journal", "show", "--json").json["answers"] == 2
    found = cli("journal", "purge", "--row", "row-3", "--row", "row-4", "--yes", "--json").json
    assert (found["deleted"], found["answers"], found["failures"]) == (True, 1, 1)


@pytest.mark.parametrize("args", [["show"], ["verify"], ["export", "a.jsonl"], ["compact"], ["migrate"], ["purge", "--row", "r"]], ids=lambda a: a[0])
def test_without_a_journal(cli: Cli, args: list[str], tmp_path: Path) -> None:
    result = cli("journal", *args)
    assert (result.code, "no journal there" in result.err) == (2, True)
    assert list(tmp_path.iterdir()) == []
    result = cli("journal", *args, "--json")
    assert result.json["exit_code"] == 2


def test_purge_needs_a_name(cli: Cli, filled: list[tuple[Request, Completion]]) -> None:
    result = cli("journal", "purge", "--yes")
    assert (result.code, "nothing to purge" in result.err) == (2, True)
    assert cli("journal", "purge", "--rows", "none.txt", "--yes").code == 2
    assert cli("journal", "purge", "--key", "xyz", "--yes").code == 2


def test_purge_of_what_is_not_there_says_that_nothing_was_purged(cli: Cli, filled: list[tuple[Request, Completion]]) -> None:
    result = cli("journal", "purge", "--row", "row1", "--key", "ab" * 32, "--yes")
    assert (result.code, "nothing was purged: the journal holds no record of row1, abab" in result.err) == (2, True)
    result = cli("journal", "purge", "--row", "row1", "--yes", "--json")
    assert (result.code, result.json["deleted"], result.json["unknown"]) == (2, False, ["row1"])
    assert cli("journal", "show", "--json").json["answers"] == 3


def test_export_replaces_files_only(cli: Cli, filled: list[tuple[Request, Completion]], tmp_path: Path) -> None:
    (tmp_path / "kept.jsonl").write_text("kept")
    (tmp_path / "link.jsonl").symlink_to("kept.jsonl")
    (tmp_path / "null.jsonl").symlink_to("/dev/null")
    (tmp_path / "folder.jsonl").mkdir()
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "own.jsonl").hardlink_to(tmp_path / FOLDER / "journal.sqlite")
    for name, words in (
        ("link", "a link"),
        ("null", "a link"),
        ("folder", "no regular file"),
        ("pipe", "no regular file"),
        ("own", "would take the place of the journal"),
    ):
        result = cli("journal", "export", f"{name}.jsonl")
        assert (result.code, words in result.err) == (2, True), name
    assert (tmp_path / "kept.jsonl").read_text() == "kept"
    assert (tmp_path / "pipe.jsonl").is_fifo()
    assert cli("journal", "export", "kept.jsonl").code == 0
    assert not list(tmp_path.glob(".*"))


def test_two_exports_to_one_file_do_not_mix(cli: Cli, filled: list[tuple[Request, Completion]], tmp_path: Path) -> None:
    with new_file(tmp_path / "a.jsonl") as other:
        result = cli("journal", "export", "a.jsonl")
        assert (result.code, "another process is writing this file" in result.err) == (2, True)
        other.write_text("the other's")
    assert (tmp_path / "a.jsonl").read_text() == "the other's"


def looked(folder: Path, answers: dict[str, Completion]) -> bool:
    """Use a journal in every way; whether any reported that it is damaged."""
    put = [chat(ask("new"), "more")]

    def run() -> None:
        with Journal(folder) as journal:
            journal.history(ask(1).shape)
            assert journal.get(answers).items() <= answers.items()
            journal.put(put, shared=[(ask(1).key, "late")])

    ways: list[Callable[[], object]] = [
        lambda: api.journal_show(folder),
        lambda: list(api.journal_records(folder, rows=["row-1", "twin-row-2"], failures=True)),
        lambda: api.journal_export(folder.with_name("x.parquet"), folder, failures=True, raw=True),
        lambda: api.journal_export(folder.with_name("x.jsonl"), folder, failures=True, raw=True),
        lambda: api.journal_purge(folder, rows=["row-1"], dry_run=True),
        run,
        lambda: api.journal_compact(folder),
    ]
    heard = False
    try:
        heard = not api.journal_verify(folder)["ok"]
    except GuardkitError:
        heard = True
    for way in ways:
        try:
            way()
        except GuardkitError:
            heard = True
    return heard


def test_no_damage_whatever_ends_in_a_traceback(tmp_path: Path) -> None:
    """Bytes flipped anywhere: every look at the journal gives what it gave before, or an error that says what to do."""
    whole, put = tmp_path / "whole", [chat(ask(n), f"mild words {n}", reasoning_content="thought") for n in range(60)]
    put += [(ask(f"f{n}"), Completion(ask(f"f{n}").key, None, error="timeout", detail="slow", raw=b"torn")) for n in range(20)]
    with Journal(whole) as journal:
        journal.put(put, shared=[(r.key, f"twin-{r.row}") for r, _ in put])
    answers = {r.key: c for r, c in put[:60]}
    data, rng, found = (whole / "journal.sqlite").read_bytes(), random.Random(7), 0
    for trial in range(120):
        folder = tmp_path / "x"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        torn = bytearray(data)
        at = rng.randrange(100 if trial % 6 == 0 else len(data))  # the header, too
        for i in range(at, min(at + rng.choice([1, 1, 4, 64]), len(torn))):
            torn[i] ^= rng.randrange(1, 256)
        (folder / "journal.sqlite").write_bytes(torn)
        found += looked(folder, answers)
    assert found > 40  # the rest fell on free space


def test_a_record_that_cannot_be_read_is_named_and_the_rest_is_given(cli: Cli, filled: list[tuple[Request, Completion]], tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / FOLDER / "journal.sqlite")
    db.execute("UPDATE answers SET created = 'soon' WHERE id = 2")
    db.commit()
    db.close()
    words = f"1 records cannot be read: {ask(2).key}"
    result = cli("journal", "show", "--json")
    assert (result.code, result.json["unreadable"], result.json["answers"]) == (2, [ask(2).key], 2)
    result = cli("journal", "show")
    assert (result.code, "2 answers" in result.out, words in result.err) == (2, True, True)
    result = cli("journal", "show", "--key", ask(1).key, "--key", ask(2).key)
    assert (result.code, ask(1).key in result.out, words in result.err) == (2, True, True)
    result = cli("journal", "export", "a.jsonl", "--failures")
    assert (result.code, words in result.err, "written without them (3 records)" in result.err) == (2, True, True)
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 3
    result = cli("journal", "compact", "--json")
    assert (result.code, result.json["unreadable"]) == (2, [ask(2).key])
    assert "guardkit journal repair" in cli("journal", "verify").err


def test_repair_asks_first_and_keeps_the_damaged_files(cli: Cli, filled: list[tuple[Request, Completion]], tmp_path: Path) -> None:
    result = cli("journal", "repair")
    assert (result.code, result.out) == (0, f"{FOLDER} is sound: there is nothing to repair\n")
    file = tmp_path / FOLDER / "journal.sqlite"
    whole = file.read_bytes()
    with Journal(tmp_path / FOLDER) as journal:
        journal.put([chat(ask(5), "more"), chat(ask(6), "more")])
    file.write_bytes(whole)  # a backup of the file alone
    for verb in (["show"], ["export", "a.jsonl"], ["compact"], ["purge", "--row", "row-1", "--yes"]):
        result = cli("journal", *verb)
        assert (result.code, "recorded last is not there any more (2 answers)" in result.err, "guardkit journal repair" in result.err) == (
            2,
            True,
            True,
        )
    assert "2 answers" in cli("journal", "verify").out
    result = cli("journal", "repair")
    assert result.code == 2
    for words in ("can be read: 3 answers, 1 failures, 1 rows", "lost: 2 answers", "last recorded 20", "--yes"):
        assert words in result.out + result.err
    assert cli("journal", "repair", "--json").json["repaired"] is False
    assert file.read_bytes() == whole
    found = cli("journal", "repair", "--yes", "--json").json
    assert (found["repaired"], found["answers"], found["lost_answers"], found["unreadable"]) == (True, 3, 2, [])
    assert (tmp_path / found["copy"] / "journal.sqlite").read_bytes() == whole
    assert cli("journal", "verify").code == 0
    result = cli("journal", "purge", "--row", "row-1", "--yes")
    assert f"kept by a repair; delete it when you need it no more: {found['copy']}" in result.out
