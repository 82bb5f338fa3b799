"""Licences: the table as it ships, the user's own, and the algebra over them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.common.errors import InputError, InputErrors
from toolkit.shards import licence_section, load_licences, resolve
from toolkit.sources import list_sources

TABLE = load_licences()
WORDS = [*TABLE.entries, "see the parts", "cc-by-4.0"]
SOME = st.lists(st.sampled_from(WORDS), max_size=6)


def test_every_entry_names_its_text_and_where_it_is_taken_from() -> None:
    assert {"CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "ODC-By-1.0", "MIT", "Apache-2.0"} <= set(TABLE.entries)
    for entry in TABLE.entries.values():
        assert entry.text.startswith("https://") and entry.source and entry.name
        assert entry.obligations or not entry.asks.attribution


def test_the_licences_of_the_shipped_sources_are_known() -> None:
    own = {s.licence for s in list_sources()} - {"see the parts", "unknown"}
    assert own and all(TABLE.find(word) for word in own)


@pytest.mark.parametrize(
    ("rows", "target", "fits"),
    [
        (["CC-BY-NC-4.0"], "MIT", False),
        (["CC-BY-NC-4.0"], "CC-BY-4.0", False),
        (["CC-BY-NC-4.0"], "CC-BY-NC-SA-4.0", True),
        (["CC-BY-SA-4.0"], "CC-BY-4.0", False),
        (["CC-BY-SA-4.0"], "CC-BY-NC-SA-4.0", False),
        (["CC-BY-4.0", "MIT", "CC0-1.0"], "cc-by-nc-4.0", True),
        (["CC-BY-4.0"], "MIT", False),
        (["MIT"], "Apache-2.0", True),
        (["Apache-2.0"], "MIT", False),
        (["odc-by-1.0"], "ODC-BY-1.0", True),
        (["ODC-By-1.0"], "CC-BY-NC-4.0", False),
        (["CC-BY-ND-4.0"], "CC-BY-ND-4.0", False),
        (["MIT", "unknown"], "MIT", False),
    ],
)
def test_what_goes_into_what(rows: list[str], target: str, fits: bool) -> None:
    found = resolve(rows, target, TABLE)
    assert (found.licence == TABLE.find(target)) is fits and bool(found.refused) is not fits


@pytest.mark.parametrize(
    ("rows", "chosen"),
    [
        (["CC0-1.0"], "CC0-1.0"),
        (["CC-BY-4.0", "CC-BY-NC-4.0"], "CC-BY-NC-4.0"),
        (["MIT", "Apache-2.0"], "Apache-2.0"),
        (["CC-BY-4.0", "Apache-2.0"], "CC-BY-4.0"),
        (["CC-BY-SA-4.0", "CC-BY-NC-4.0"], None),
        (["ODC-By-1.0", "CC-BY-4.0", "CC-BY-NC-4.0"], None),
        (["MIT", "see the parts"], None),
        (["CC-BY-ND-4.0"], None),
    ],
)
def test_without_a_target_the_least_strict_is_taken(rows: list[str], chosen: str | None) -> None:
    assert resolve(rows, None, TABLE).licence == chosen


@given(SOME, SOME)
def test_one_more_row_never_widens_what_is_allowed(some: list[str], more: list[str]) -> None:
    few, all_ = resolve(some, None, TABLE), resolve(some + more, None, TABLE)
    assert all_.allowed == few.allowed & resolve(more, None, TABLE).allowed
    if all_.licence is not None:
        assert few.licence is not None
        laxer, stricter = TABLE.entries[few.licence], TABLE.entries[all_.licence]
        assert few.licence == all_.licence or TABLE.goes_into(few.licence, all_.licence)
        assert laxer.permits.commercial or not stricter.permits.commercial
        assert stricter.asks.attribution or not laxer.asks.attribution
        assert stricter.asks.share_alike or not laxer.asks.share_alike


@given(SOME, st.sampled_from([None, *TABLE.entries]), st.randoms())
def test_order_and_number_of_the_rows_play_no_part(some: list[str], target: str | None, random: object) -> None:
    shuffled = [*some, *some]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert resolve(some, target, TABLE) == resolve(shuffled, target, TABLE)


@given(SOME.filter(bool))
def test_a_set_under_the_licence_that_was_found_is_one_more_row_like_the_others(some: list[str]) -> None:
    found = resolve(some, None, TABLE)
    if found.licence is not None:
        assert resolve([*some, found.licence], None, TABLE).licence == found.licence
        assert not resolve(some, found.licence, TABLE).refused
    for target in TABLE.entries:
        assert (target in found.allowed) == (not resolve(some, target, TABLE).refused)


def test_an_unknown_target_is_refused_with_what_to_do() -> None:
    with pytest.raises(InputError, match=r"'CC-BY-SO-4\.0' is not known") as e:
        resolve(["MIT"], "CC-BY-SO-4.0", TABLE)
    assert "CC-BY-SA-4.0" in str(e.value) and "schemas/licences/mine.yaml" in str(e.value)
    with pytest.raises(InputError, match="rows under x may not go into MIT"):
        licence_section({"x": 1}, "MIT", TABLE)


def own(folder: Path, text: str) -> None:
    (folder / "schemas" / "licences").mkdir(parents=True)
    (folder / "schemas" / "licences" / "mine.yaml").write_text(text)


FIELDS = "name: Mine, text: 'https://example.org', source: my lawyer, permits: {commercial: true, derivatives: true}, asks: {attribution: true, share_alike: false}"


def test_the_users_own_entries_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own(tmp_path, f"licences:\n  Mine-1.0: {{{FIELDS}, takes: [CC0-1.0, MIT], into: [CC-BY-4.0], aliases: [ours]}}\n  mit: {{{FIELDS}, into: []}}\n")
    monkeypatch.chdir(tmp_path)
    table = load_licences()
    assert resolve(["MIT", "CC0-1.0"], "ours", table).licence == "Mine-1.0" and resolve(["ours"], "CC-BY-4.0", table).licence == "CC-BY-4.0"
    assert table.entries["MIT"].name == "Mine" and resolve(["MIT"], "Apache-2.0", table).refused == ("MIT",)
    assert "Apache-2.0" in table.entries


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (f"{FIELDS}, into: [CC-BY-5.0]", "no licence called 'CC-BY-5.0'"),
        (f"{FIELDS}, into: [CC0-1.0]", "the rows' licence asks for attribution, the set's does not"),
        (f"{FIELDS}, takes: [CC-BY-NC-4.0]", "the rows' licence forbids commercial use, the set's does not"),
        (f"{FIELDS}, takes: [CC-BY-SA-4.0]", "asks for the same licence"),
        (f"{FIELDS}, restrictions: [war], into: [MIT]", "rules out: war"),
        (f"{FIELDS}, inot: []", "unknown key 'inot'"),
        ("name: Mine", "the key 'text' is missing"),
    ],
)
def test_faults_of_a_file_are_reported_with_their_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str, message: str) -> None:
    own(tmp_path, f"licences:\n  Mine-1.0: {{{entry}}}\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputErrors) as e:
        load_licences()
    assert message in str(e.value) and "schemas/licences/mine.yaml:2:licences.Mine-1.0" in str(e.value)
