"""Shards with media: references alone, or the files' bytes beside them, and what `verify` finds of either."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from exports import MESSAGES

import toolkit
from toolkit.common.errors import InputError, InputErrors
from toolkit.records import MEDIA, TYPE, Column, Media, to_polars
from toolkit.shards import MEDIA_BYTES
from toolkit.shards.exporters import export

FILES = {"a/cat.png": b"a cat", "a/dog.png": b"a dog" * 1000, "b/bird.png": b"a bird"}


def reference(name: str) -> dict[str, Any]:
    return Media("image", name, hashlib.sha256(FILES[name]).hexdigest(), "image/png", len(FILES[name]))._asdict()


@pytest.fixture
def rows(tmp_path: Path) -> pl.DataFrame:
    """Three rows, about two pictures, none, and one; the pictures' folder is ``files``."""
    for name, data in FILES.items():
        (tmp_path / "files" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "files" / name).write_bytes(data)
    columns = (Column("id", "string"), Column("prompt", MESSAGES), Column("completion", MESSAGES), Column(MEDIA, TYPE))
    media = [[reference("a/cat.png"), reference("b/bird.png")], [], [reference("a/dog.png")]]
    asked, answer = [{"role": "user", "content": "What is this?"}], [{"role": "assistant", "content": "Mild."}]
    made = [{"id": f"{i:024x}", "prompt": asked, "completion": answer, MEDIA: files} for i, files in enumerate(media)]
    return pl.DataFrame(made, schema=to_polars(columns), orient="row")


def shards(rows: pl.DataFrame, tmp_path: Path, name: str, **options: Any) -> tuple[Path, Any]:
    done = toolkit.apply("shards", rows, artefacts=tmp_path / name, media_folder=tmp_path / "files", **options)
    return tmp_path / name / "shards", done


def test_bytes_are_beside_their_references_as_datasets_takes_them(rows: pl.DataFrame, tmp_path: Path) -> None:
    folder, _ = shards(rows, tmp_path, "out", media="embed")
    table = pl.read_parquet(folder / "data" / "*.parquet")
    assert table[MEDIA].to_list() == rows[MEDIA].to_list()
    assert table[MEDIA_BYTES].to_list() == [[{"bytes": FILES[m["uri"]], "path": m["uri"]} for m in row] for row in rows[MEDIA].to_list()]
    found = toolkit.verify(folder)
    assert found["rows"] == 3 and "media" not in found["unproven"]
    assert "their bytes in the column `media_bytes`" in (folder / "README.md").read_text()
    assert shards(rows, tmp_path, "again", media="embed")[0].joinpath("manifest.json").read_bytes() == (folder / "manifest.json").read_bytes()
    assert MEDIA_BYTES in export(folder, "openai", tmp_path / "export")["left_out"]


def test_bytes_of_another_file_are_found(rows: pl.DataFrame, tmp_path: Path) -> None:
    """Also where manifest and file were made to agree."""
    from toolkit.shards import BYTES, ShardWriter, verify

    other = [[{"bytes": b"a cow", "path": m["uri"]} for m in row] for row in rows[MEDIA].to_list()]
    less = [row[:1] for row in other]
    for i, (files, words) in enumerate([(other, "the bytes of a/cat.png are not those of its sha256"), (less, "has other files than media")]):
        columns = (Column("id", "string"), Column("prompt", MESSAGES), Column("completion", MESSAGES), Column(MEDIA, TYPE), BYTES)
        writer = ShardWriter(tmp_path / f"forged{i}", columns, 10)
        writer.write(rows.with_columns(pl.Series(MEDIA_BYTES, files, to_polars((BYTES,))[MEDIA_BYTES])), "train")
        writer.finish({"title": "t"})
        with pytest.raises(InputErrors, match=words):
            verify(tmp_path / f"forged{i}")


def test_files_that_are_missing_or_others_are_named(rows: pl.DataFrame, tmp_path: Path) -> None:
    folder, _ = shards(rows, tmp_path, "out")
    assert MEDIA_BYTES not in pq.read_schema(next((folder / "data").iterdir())).names
    assert "guardkit verify --media FOLDER" in toolkit.verify(folder)["unproven"]["media"]
    assert "media" not in toolkit.verify(folder, media=tmp_path / "files")["unproven"]
    (tmp_path / "files" / "a/cat.png").unlink()
    (tmp_path / "files" / "b/bird.png").write_bytes(b"a bear")
    toolkit.verify(folder)  # of the shards themselves nothing has changed
    with pytest.raises(InputErrors) as e:
        toolkit.verify(folder, media=tmp_path / "files")
    words = [error.message.partition(": ")[2] for error in e.value.errors]
    assert all("put the file back" in str(error.hint) for error in e.value.errors)
    with pytest.raises(InputError, match="no such folder"):
        toolkit.verify(folder, media=tmp_path / "nowhere")
    assert words[0].startswith("a/cat.png is not there") and words[1].startswith("b/bird.png is not the file of its row") and len(words) == 2


def test_a_row_whose_file_is_not_there_any_more_is_rejected_and_the_others_are_written(rows: pl.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "files" / "b/bird.png").write_bytes(b"a bear")
    folder, done = shards(rows, tmp_path, "out", media="embed")
    assert pl.read_parquet(folder / "data" / "*.parquet")["id"].to_list() == rows["id"].to_list()[1:]
    assert [(r["id"], r["_reason"]) for r in done.rejected.to_dicts()] == [(rows["id"][0], "media_changed")]
    with pytest.raises(InputError, match="the rows have no media"):
        shards(rows.drop(MEDIA), tmp_path, "none", media="embed")


def test_row_groups_of_large_files_stay_small(rows: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.common.parquet.GROUP_BYTES", 9000)
    many = pl.concat([rows.with_columns(pl.format("{}-{}", "id", pl.lit(n)).alias("id")) for n in range(5)])
    folder, _ = shards(many, tmp_path, "out", media="embed")
    about = pq.read_metadata(next((folder / "data").iterdir()))
    assert about.num_row_groups > 2 and toolkit.verify(folder)["rows"] == 15
