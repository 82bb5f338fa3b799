"""`verify`: every kind of damage to a shard folder is found and named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from shardrows import change, make, rows

from toolkit.common.errors import InputError, InputErrors
from toolkit.common.files import sha256_file
from toolkit.shards import licence_section, load_licences, verify
from toolkit.shards.exporters import export


@pytest.fixture
def made(tmp_path: Path) -> Path:
    about = {"licence": licence_section({"CC0-1.0": 30}, None, load_licences())}
    make(tmp_path / "s", {"train": rows(25), "test": rows(5, 25)}, per_shard=10, about=about)
    return tmp_path / "s"


def faults(folder: Path) -> list[str]:
    with pytest.raises(InputError) as e:
        verify(folder)
    errors: Sequence[Exception] = e.value.errors if isinstance(e.value, InputErrors) else [e.value]
    return [str(error).replace(str(folder) + "/", "").partition("\n")[0] for error in errors]


TRAIN = "data/train-00001-of-00003.parquet"


def test_verify_finds_a_missing_file(made: Path) -> None:
    (made / TRAIN).unlink()
    assert faults(made) == [f"{TRAIN}: missing"]


def test_verify_finds_a_changed_byte(made: Path) -> None:
    raw = bytearray((made / TRAIN).read_bytes())
    raw[40] ^= 1
    (made / TRAIN).write_bytes(raw)
    assert faults(made) == [f"{TRAIN}: its bytes are not those of the manifest (sha256)"]
    (made / TRAIN).write_bytes(raw[:-1])
    assert faults(made) == [f"{TRAIN}: its bytes are not those of the manifest (sha256)"]


def test_verify_finds_what_does_not_belong(made: Path) -> None:
    (made / "data" / "more.parquet").write_bytes((made / TRAIN).read_bytes())
    (made / ".manifest.json.new").write_text("")
    (made / "data" / "sub").mkdir()
    (made / "data" / "sub" / "link").symlink_to("nowhere")
    assert faults(made) == [f"{name}: not in the manifest" for name in (".manifest.json.new", "data/more.parquet", "data/sub/link")]


def test_one_flipped_bit_of_the_manifest_is_noticed_by_whoever_reads_it(made: Path, tmp_path: Path) -> None:
    text = (made / "manifest.json").read_text()
    (made / "manifest.json").write_text(text.replace("guardkit shards", "guardkit sharps"))
    with pytest.raises(InputError, match="its seal does not fit"):
        verify(made)
    with pytest.raises(InputError, match="its seal does not fit"):
        export(made, "trl", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_verify_finds_a_link_in_place_of_a_file(made: Path) -> None:
    (made / TRAIN).rename(made.parent / "elsewhere")
    (made / TRAIN).symlink_to(made.parent / "elsewhere")
    assert faults(made) == [f"{TRAIN}: a link, not a file"]


def test_verify_finds_a_wrong_row_count(made: Path) -> None:
    change(made, rows=31)
    assert faults(made) == ["manifest.json: its row count is not that of its files together"]
    change(made, files=lambda files: {n: f | {"rows": f["rows"] + (n == TRAIN)} for n, f in files.items()})
    assert faults(made) == [f"{TRAIN}: it has 10 rows, the manifest says 11"]


def test_verify_finds_other_columns(made: Path) -> None:
    change(made, columns=lambda columns: [c | {"type": "int64"} if c["name"] == "weight" else c for c in columns])
    assert faults(made) == [f"data/{n}: its columns are not those of the manifest" for n in sorted(p.name for p in (made / "data").iterdir())]


def test_verify_finds_a_file_that_is_no_parquet(made: Path) -> None:
    (made / TRAIN).write_bytes(b"PAR1 not really PAR1")
    change(made, files=lambda files: {n: f | ({"bytes": 20, "sha256": sha256_file(made / TRAIN)} if n == TRAIN else {}) for n, f in files.items()})
    assert len(faults(made)) == 1 and faults(made)[0].startswith(f"{TRAIN}: cannot be read as parquet: ")


def test_all_faults_at_once(made: Path) -> None:
    (made / TRAIN).unlink()
    (made / "README.md").unlink()
    (made / "x").write_text("")
    change(made, licence=lambda about: about | {"id": "Unheard-Of"})
    known = "manifest.json: licence: 'Unheard-Of' is not known (schemas/licences)"
    assert faults(made) == ["x: not in the manifest", "README.md: missing", f"{TRAIN}: missing", known]


def test_verify_finds_a_changed_card(made: Path) -> None:
    text = (made / "README.md").read_text()
    (made / "README.md").write_text(text.replace("30 rows", "40 rows"))
    assert faults(made) == ["README.md: its bytes are not those of the manifest (sha256)"]
    (made / "README.md").unlink()
    (made / "README.md").symlink_to(made.parent / "card")
    (made.parent / "card").write_text(text)
    assert faults(made) == ["README.md: a link, not a file"]


def test_verify_finds_counts_that_the_rows_do_not_have(made: Path) -> None:
    change(made, counts=lambda counts: counts | {"licence": {"MIT": 30}, "split": {"train": 30}})
    assert faults(made) == [f"manifest.json: counts: {name} is not what its rows say" for name in ("licence", "split")]


@pytest.mark.parametrize("table", ["labels", "categories", "lengths"])
def test_verify_finds_tables_that_the_rows_do_not_have(made: Path, table: str) -> None:
    change(made, tables=lambda tables: tables | {table: tables[table][1:]})
    assert faults(made) == [f"manifest.json: tables: {table} is not what its rows say"]


def test_verify_finds_other_numbers_of_rows_by_licence_and_model(made: Path) -> None:
    change(made, licence=lambda about: about | {"rows": [about["rows"][0] | {"rows": 31}]})
    change(made, models=[{"role": "teacher", "model": "template", "rows": 1, "terms": None}])
    found = ["models: they are not what its rows say", "licence: rows is not what its rows and the table of licences say"]
    assert faults(made) == [f"manifest.json: {words}" for words in found]
    change(made, models=["template"])
    assert "models.0" in faults(made)[0]


def test_rows_that_cannot_be_read_are_reported_even_where_the_sha256_is_theirs(made: Path) -> None:
    """Page bytes, or text that is no UTF-8, that somebody changed together with the manifest: named, and no traceback (polars panics at such text)."""
    raw = (made / TRAIN).read_bytes()
    found = set()
    for at in range(0, len(raw), 7):
        broken = bytearray(raw)
        broken[at] ^= 0x95
        (made / TRAIN).write_bytes(broken)
        sha256 = sha256_file(made / TRAIN)
        change(made, files=lambda files, sha256=sha256: files | {TRAIN: files[TRAIN] | {"sha256": sha256}})
        try:
            verify(made)
        except InputErrors as e:
            found |= {str(error).partition(": ")[2][:60] for error in e.errors}
    assert any("its rows cannot be read" in words for words in found), found


def test_verify_finds_a_licence_that_the_rows_do_not_allow(tmp_path: Path) -> None:
    about = {"licence": {"id": "MIT", "target": "MIT", "hub": "mit", "name": "", "text": "", "rows": []}}
    frame = rows(9).with_columns(licence=rows(9)["source"].replace({"eggs": "CC-BY-NC-4.0", "more_eggs": "MIT"}))
    make(tmp_path / "s", {"train": frame}, about=about)
    assert faults(tmp_path / "s") == ["manifest.json: licence: MIT, but rows are under CC-BY-NC-4.0, which may not go into it"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": 1, "fil', "torn or not JSON"),
        ("", "torn or not JSON"),
        ("\x00" * 50, "torn or not JSON"),
        ("[" * 100_000, "torn or not JSON"),
        ("[]", "not a JSON object"),
        ('{"files": {}}', "not a manifest of guardkit's shards"),
        ('{"made_by": "guardkit", "format": 3, "files": {}}', "format 3, this guardkit reads 1 and 2"),
        ('{"made_by": "guardkit", "format": 2, "rows": 1, "columns": [], "counts": {}, "files": {}}', "columns: "),
        ('{"made_by": "guardkit", "format": 1, "files": {"data/x": {"rows": 1}}}', "rows: Field required"),
        ('{"made_by": "guardkit", "format": 1, "rows": 0, "columns": [], "counts": {}, "files": {}}', "columns: "),
    ],
)
def test_a_manifest_that_is_none(made: Path, text: str, message: str) -> None:
    (made / "manifest.json").write_text(text)
    (found,) = faults(made)
    assert found.startswith("manifest.json: ") and message in found


def test_folders_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "odd" / "manifest.json").mkdir(parents=True)
    for name in ("file", "nothing", "."):
        with pytest.raises(InputError, match="not a shard folder"):
            verify(tmp_path / name)
    with pytest.raises(InputError, match="is a folder"):
        verify(tmp_path / "odd")


def test_a_path_in_a_manifest_leads_nowhere_else(made: Path) -> None:
    (made.parent / "secret").write_text("mine")
    about = {"rows": 1, "bytes": 4, "sha256": sha256_file(made.parent / "secret"), "split": "train"}
    change(made, files=lambda files: files | {"../secret": about}, rows=31)
    assert faults(made) == ["manifest.json: files.../secret.[key]: is no path below the folder"]
