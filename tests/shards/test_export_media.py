"""Shards with media, and what exporters make of them: references, in the form in which each trainer takes them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from exports import GUARD, MESSAGES, PLAIN, dpo, lines, sft, write

from toolkit.common.errors import InputError, InputErrors
from toolkit.records import MEDIA, TYPE, Column
from toolkit.shards import BYTES, MEDIA_BYTES, verify
from toolkit.shards.exporters import EMBEDDED, EXPORTERS, export, verify_export

CAT = {"kind": "image", "uri": "img/cat.png", "sha256": "a" * 64, "mime": "image/png"}
DOG = {**CAT, "uri": "img/dog.png", "sha256": "b" * 64}
CLIP = {"kind": "video", "uri": "a.mp4", "sha256": "c" * 64, "mime": "video/mp4"}
FILES: list[list[dict[str, str]]] = [[CAT, DOG], [], [CLIP, CAT], [DOG]]


def shards(
    folder: Path,
    kind: str = "sft",
    files: list[list[dict[str, str]]] | None = None,
    prompt: Any = None,
    more: tuple[Column, ...] = (),
    bytes_of: list[dict[str, Any]] | None = None,
) -> Path:
    """Four rows: with two images, none, a clip and an image, one; of a talk with a system message and an earlier turn the second."""
    answers = ("completion",) if kind == "sft" else ("chosen", "rejected")
    columns = (*(Column(n, MESSAGES) for n in ("prompt", *answers)), *PLAIN, Column(MEDIA, TYPE), *more, *(() if bytes_of is None else (BYTES,)))
    rows = []
    for i, media in enumerate(FILES if files is None else files):
        asked = [{"role": "user", "content": f"What is this, {i}?"}]
        if i == 1:
            asked = [
                {"role": "system", "content": "Judge."},
                *asked,
                {"role": "assistant", "content": "A cat."},
                {"role": "user", "content": "Sure?"},
            ]
        row = {"id": f"{i:024x}", "source": "here", "licence": "MIT", "prompt": prompt or asked, MEDIA: media}
        row |= {} if bytes_of is None else bytes_of[i]
        rows.append(row | {n: [{"role": "assistant", "content": f"{n} {i}"}] for n in answers} | {c.name: "harmful" for c in more})
    return write(folder, columns, rows)


IMAGES = [[CAT, DOG], [DOG], [], [CAT]]
"""Of rows in a format that has no place for clips; the second one has earlier turns."""


@pytest.mark.parametrize("kind", ["sft", "preference"])
def test_openai_gets_content_parts(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("openai")
    from openai.types.chat import ChatCompletionMessageParam
    from pydantic import TypeAdapter

    export(shards(tmp_path / "shards", kind, IMAGES), "openai", tmp_path / "out")
    verify_export(tmp_path / "out")
    found = lines(tmp_path / "out" / "train.jsonl")
    talks = [row["messages"] if kind == "sft" else row["input"]["messages"] for row in found]
    for talk in talks:
        TypeAdapter(list[ChatCompletionMessageParam]).validate_python(talk)
    assert talks[0][0]["content"] == [
        {"type": "image_url", "image_url": {"url": "img/cat.png"}},
        {"type": "image_url", "image_url": {"url": "img/dog.png"}},
        {"type": "text", "text": "What is this, 0?"},
    ]
    assert talks[1][:2] == [
        {"role": "system", "content": "Judge."},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "img/dog.png"}}, {"type": "text", "text": "What is this, 1?"}]},
    ]
    assert talks[1][2]["content"] == "A cat." and talks[2][0]["content"] == "What is this, 2?"
    answer = found[0]["messages"][-1] if kind == "sft" else found[0]["preferred_output"][0]
    assert answer["content"] in ("completion 0", "chosen 0")


@pytest.mark.parametrize(("name", "kind"), [(n, k) for n in ("llamafactory", "ms-swift") for k in ("sft", "preference")])
def test_tags_mark_the_places_of_listed_files(tmp_path: Path, name: str, kind: str) -> None:
    record = export(shards(tmp_path / "shards", kind), name, tmp_path / "out")
    verify_export(tmp_path / "out")
    assert MEDIA not in record["left_out"] and any("references" in note for note in record["notes"])
    found = lines(tmp_path / "out" / "train.jsonl")
    talks = [[m["content"] for m in row["messages"]] for row in found]
    assert talks[0][0] == "<image><image>What is this, 0?" and talks[2][0] == "<video><image>What is this, 2?"
    assert talks[1][:4] == ["Judge.", "What is this, 1?", "A cat.", "Sure?"]
    assert [[row["images"], row["videos"], row["audios"]] for row in found] == [
        [["img/cat.png", "img/dog.png"], [], []],
        [[], [], []],
        [["img/cat.png"], ["a.mp4"], []],
        [["img/dog.png"], [], []],
    ]
    for row in found:
        text = "".join(m["content"] for m in row["messages"])
        assert [text.count(f"<{k}>") for k in ("image", "video", "audio")] == [len(row[f"{k}s"]) for k in ("image", "video", "audio")]
    if name == "llamafactory":
        info = json.loads((tmp_path / "out" / "dataset_info.json").read_text())[f"guardkit_{'sft' if kind == 'sft' else 'dpo'}_train"]
        assert {f"{k}s": f"{k}s" for k in ("image", "video", "audio")}.items() <= info["columns"].items()


def test_trl_puts_the_parts_itself(tmp_path: Path) -> None:
    data_utils = pytest.importorskip("trl.data_utils")
    export(shards(tmp_path / "shards", "sft", IMAGES), "trl", tmp_path / "out")
    rows = pl.read_parquet(tmp_path / "out" / "data" / "train-*.parquet").to_dicts()
    assert MEDIA not in rows[0] and [row["images"] for row in rows] == [["img/cat.png", "img/dog.png"], ["img/dog.png"], [], ["img/cat.png"]]
    talk = data_utils.prepare_multimodal_messages(rows[1]["prompt"], images=rows[1]["images"])
    assert talk[1]["content"] == [{"type": "image", "image": "img/dog.png"}, {"type": "text", "text": "What is this, 1?"}]


@pytest.mark.parametrize("data", ["sft", "rl"])
def test_verl_gets_tags_and_files_by_kind(tmp_path: Path, data: str) -> None:
    labels = (Column("label_prompt", "string", nullable=True),)
    clips = [[CAT, CLIP], [DOG], [], [CAT]]
    export(shards(tmp_path / "shards", files=clips, more=labels), "verl", tmp_path / "out")
    verify_export(tmp_path / "out")
    rows = pl.read_parquet(tmp_path / "out" / data / "train.parquet").to_dicts()
    talks = [row["messages" if data == "sft" else "prompt"] for row in rows]
    assert talks[0][0]["content"] == "<image><video>What is this, 0?" and talks[1][1]["content"] == "<image>What is this, 1?"
    assert rows[0]["images"] == [{"image": "img/cat.png"}] and rows[0]["videos"] == [{"video": "a.mp4"}]
    assert [len(row["images"]) for row in rows] == [1, 1, 0, 1]


def test_files_go_along_where_they_are_asked_for(tmp_path: Path) -> None:
    data = {"img/cat.png": b"a cat", "img/dog.png": b"a dog"}
    files = [[{**one, "sha256": hashlib.sha256(data[one["uri"]]).hexdigest()} for one in row] for row in IMAGES]
    for name, held in data.items():
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(held)
    folder = shards(tmp_path / "shards", files=files)
    record = export(folder, "ms-swift", tmp_path / "out", media=tmp_path / "set")
    assert verify_export(tmp_path / "out") == record and any("beside the data" in note for note in record["notes"])
    assert {name: (tmp_path / "out" / name).read_bytes() for name in data} == data
    assert all((tmp_path / "out" / name).is_file() for row in lines(tmp_path / "out" / "train.jsonl") for name in row["images"])
    (tmp_path / "out" / "img/cat.png").write_bytes(b"a cow")
    with pytest.raises(InputErrors, match="its bytes are not those of the record"):
        verify_export(tmp_path / "out")
    with pytest.raises(InputError, match="the shards hold references alone"):
        export(folder, "ms-swift", tmp_path / "other", media=EMBEDDED)
    (tmp_path / "set" / "img/dog.png").write_bytes(b"a bear")
    (tmp_path / "set" / "img/cat.png").unlink()
    with pytest.raises(InputErrors) as e:
        export(folder, "ms-swift", tmp_path / "other", media=tmp_path / "set")
    assert len(e.value.errors) >= 2 and not (tmp_path / "other").exists()
    rows = pl.DataFrame({MEDIA: files}).to_dicts()
    bytes_of = [{MEDIA_BYTES: [{"bytes": data[one["uri"]], "path": one["uri"]} for one in row[MEDIA]]} for row in rows]
    embedded = shards(tmp_path / "embedded", files=files, bytes_of=bytes_of)
    export(embedded, "ms-swift", tmp_path / "third", media=EMBEDDED)
    assert {name: (tmp_path / "third" / name).read_bytes() for name in data} == data


def test_a_tag_in_a_text_is_no_picture(tmp_path: Path) -> None:
    folder = shards(tmp_path / "shards", prompt=[{"role": "user", "content": "What does <image> mean in HTML?"}])
    for name in ("llamafactory", "ms-swift", "verl"):
        with pytest.raises(InputError, match="a text with one of <image>, <video>, <audio>, which stand for files there"):
            export(folder, name, tmp_path / name)
    export(sft(tmp_path / "text"), "llamafactory", tmp_path / "of-text")  # it has such a text, and no media


def test_formats_without_a_place_refuse_media(tmp_path: Path) -> None:
    folder = shards(tmp_path / "shards")
    for name in EXPORTERS.names():
        if not EXPORTERS.get(name).media:
            with pytest.raises(InputError, match=f"the format '{name}' has no place for media"):
                export(folder, name, tmp_path / name, guard=GUARD.name, split="train")
    for name in ("openai", "trl"):
        with pytest.raises(InputError, match=f"media that the format '{name}' has no place for"):
            export(folder, name, tmp_path / name)
    plain = sft(tmp_path / "plain", form="text", more=(Column(MEDIA, TYPE),), media=[CAT])
    with pytest.raises(InputError, match="has no place for media beside plain text"):
        export(plain, "ms-swift", tmp_path / "plain-out")


@pytest.mark.parametrize("name", ["openai", "trl", "ms-swift", "llamafactory"])
def test_shards_without_media_are_exported_as_before(tmp_path: Path, name: str) -> None:
    export(dpo(tmp_path / "shards", weights=(1.0,)), name, tmp_path / "out")
    assert not {"images", "videos", "audios"} & set(
        lines(tmp_path / "out" / "train.jsonl")[0] if name != "trl" else pl.read_parquet(tmp_path / "out" / "data" / "*.parquet").columns
    )


def test_verify_reads_the_references(tmp_path: Path) -> None:
    verify(shards(tmp_path / "good"))
    assert "The files themselves are not part of this set." in (tmp_path / "good" / "README.md").read_text()
    assert "not part of this set" not in (sft(tmp_path / "plain") / "README.md").read_text()
    with pytest.raises(InputErrors, match=r"media\[0\].uri has a part that is empty, \. or \.\."):
        verify(shards(tmp_path / "bad", files=[[{**CAT, "uri": "../../cat.png"}], [CAT]]))
