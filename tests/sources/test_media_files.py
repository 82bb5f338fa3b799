"""Rows whose media come as files: the layouts in which sets come, and files that cost their row."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import toolkit
from toolkit.common.errors import InputError, InputErrors, Missing
from toolkit.records import content_id
from toolkit.sources._members import member_blocks

pytest.importorskip("PIL")

from clips import animation, clip, picture, sound
from PIL import Image

CATS = {f"{folder}/{n}.png": picture(10 * i + n) for i, folder in enumerate(("mild", "grim")) for n in range(2)}
LABELS = {"column": "folder", "map": {"mild": "unharmful", "grim": "harmful"}, "source": "human"}
Load = Callable[..., Any]


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads rows by a source of these columns of files; the dataset's folder is `tmp_path`."""

    def loaded(files: Path, specs: list[dict[str, Any]], labels: Mapping[str, Any] = LABELS, *, prompt: str | None = None, **more: Any) -> Any:
        columns = {"media": specs} | ({"prompt": prompt} if prompt else {})
        place, more = more.pop("media", "kept"), {"files" if name == "patterns" else name: value for name, value in more.items() if name != "media"}
        source = {"name": "tiny", "version": 1, "description": "d", "licence": "CC0-1.0", "obtain": "made here", "columns": columns}
        (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({**source, "labels": {"prompt": dict(labels)}, **more}))
        options: dict[str, Any] = {"source": str(tmp_path / "tiny.yaml"), "files": [str(files)], "media": place, "max_rejected": 1, "empty": True}
        return toolkit.apply("load", media_folder=tmp_path, **options)

    return loaded


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def zipped(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, files: Mapping[str, bytes], mode: Any = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def references(rows: pl.DataFrame) -> list[dict[str, Any]]:
    return [one for row in rows["media"].to_list() for one in row]


def stands(tmp_path: Path, one: Mapping[str, Any]) -> bool:
    """Whether a reference's file is there and has its bytes."""
    return sha((tmp_path / str(one["uri"])).read_bytes()) == str(one["sha256"])


def test_a_folder_whose_subfolders_are_labels(load: Load, tmp_path: Path) -> None:
    folder = write(tmp_path / "set", {**CATS, "labels.txt": b"x", ".hidden/1.png": b"", "mild/.DS_Store": b""})
    done = load(folder, [{"column": "file"}], format="files")
    assert not done.rejected.height
    found = references(done.kept)
    assert [one["uri"] for one in found] == [f"set/{name}" for name in sorted(CATS)]  # where they were: nothing is copied
    assert not (tmp_path / "kept").exists()
    assert done.kept["label_prompt"].to_list() == ["harmful", "harmful", "unharmful", "unharmful"]
    one = found[0]
    data = CATS["grim/0.png"]
    assert one == {
        "kind": "image",
        "uri": "set/grim/0.png",
        "sha256": sha(data),
        "mime": "image/png",
        "size": len(data),
        "width": 16,
        "height": 12,
        "frames": None,
        "seconds": None,
    }
    assert done.kept["content_id"][0] == content_id([], "", None, [sha(data)]) and done.kept["prompt"].to_list() == [""] * 4


@pytest.mark.parametrize("name", ["set.zip", "set.tar", "set.tar.gz"])
def test_an_archive_is_read_from_front_to_back_and_its_files_are_kept_once(load: Load, tmp_path: Path, name: str) -> None:
    files = {**CATS, "mild/again.png": CATS["mild/0.png"], "README.md": b"x"}
    path = zipped(tmp_path / name, files) if name.endswith("zip") else tarred(tmp_path / name, files, "w:gz" if name.endswith("gz") else "w")
    done = load(path, [{"column": "file"}], format="files")
    found = references(done.kept)
    assert [one["sha256"] for one in found] == [sha(CATS[n]) for n in CATS] + [sha(CATS["mild/0.png"])]
    assert all(stands(tmp_path, one) for one in found)
    assert found[0]["uri"] == f"kept/{found[0]['sha256'][:2]}/{found[0]['sha256']}.png" == found[-1]["uri"]
    assert sorted(p.name for p in (tmp_path / "kept").rglob("*") if p.is_file()) == sorted(f"{sha(d)}.png" for d in CATS.values())


def test_bytes_in_parquet_and_the_struct_of_datasets(load: Load, tmp_path: Path) -> None:
    first, second, third = CATS.values().__iter__().__next__(), picture(7, form="JPEG"), picture(8)
    write(tmp_path, {"side/third.png": third})
    rows = [
        {"image": {"bytes": first, "path": "a.png"}, "more": [second, first], "folder": "mild", "text": "What is this?"},
        {"image": {"bytes": None, "path": "third.png"}, "more": None, "folder": "grim", "text": ""},
        {"image": None, "more": [], "folder": "grim", "text": "No picture."},
    ]
    kinds = pa.schema(
        [
            ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            ("more", pa.list_(pa.binary())),
            ("folder", pa.string()),
            ("text", pa.string()),
        ]
    )
    pq.write_table(pa.Table.from_pylist(rows, schema=kinds), tmp_path / "side" / "rows.parquet")
    done = load(tmp_path / "side" / "rows.parquet", [{"column": "image"}, {"column": "more"}], prompt="text")
    media = done.kept["media"].to_list()
    assert [[one["sha256"] for one in row] for row in media] == [[sha(first), sha(second), sha(first)], [sha(third)], []]
    assert media[1][0]["uri"] == "side/third.png" and media[0][1]["uri"].endswith(".jpg") and media[0][1]["mime"] == "image/jpeg"
    assert all(stands(tmp_path, one) for one in references(done.kept))


@pytest.mark.parametrize("form", ["jsonl", "json", "csv"])
def test_a_table_names_files_relative_to_itself(load: Load, tmp_path: Path, form: str) -> None:
    write(tmp_path / "in", CATS)
    rows = [{"image": name, "folder": name.split("/")[0], "text": f"Picture {n}?"} for n, name in enumerate(CATS)]
    texts = {
        "jsonl": "\n".join(map(json.dumps, rows)),
        "json": json.dumps(rows),
        "csv": "image,folder,text\n" + "\n".join(",".join(row.values()) for row in rows),
    }
    (tmp_path / "in" / f"rows.{form}").write_text(texts[form])
    done = load(tmp_path / "in" / f"rows.{form}", [{"column": "image"}], prompt="text", media=".")
    assert [one["uri"] for one in references(done.kept)] == [f"in/{name}" for name in CATS]
    assert all(stands(tmp_path, one) for one in references(done.kept))


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_a_table_names_members_of_an_archive(load: Load, tmp_path: Path, form: str) -> None:
    files = {**CATS, "unused.png": picture(99)}
    path = tmp_path / f"images.{form}"
    zipped(path, files) if form == "zip" else tarred(path, files)
    rows = [*({"image": name, "folder": "mild", "text": "?"} for name in CATS), {"image": "gone.png", "folder": "mild", "text": "?"}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    done = load(tmp_path / "rows.jsonl", [{"column": "image", "archive": path.name}], prompt="text")
    assert [one["sha256"] for one in references(done.kept)] == list(map(sha, CATS.values()))
    assert [(r["_reason"], r["_detail"].partition("image: ")[2]) for r in done.rejected.to_dicts()] == [
        ("media_missing", f"gone.png: is not in images.{form}")
    ]
    assert len([p for p in (tmp_path / "kept").rglob("*") if p.is_file()]) == len(CATS)  # the others stay in the archive
    path.unlink()
    with pytest.raises(InputError, match="no such archive"):
        load(tmp_path / "rows.jsonl", [{"column": "image", "archive": path.name}], prompt="text")


def test_a_file_that_is_not_sound_costs_its_row_with_its_reason(load: Load, tmp_path: Path) -> None:
    good, large = picture(1), picture(2, (60, 60), "JPEG")
    with Image.open(io.BytesIO(picture(4))) as first, Image.open(io.BytesIO(picture(5))) as second:
        first.save(both := io.BytesIO(), "MPO", save_all=True, append_images=[second])
    phone = both.getvalue()  # two pictures in one JPEG file: a still one
    bad = {
        "good.png": (good, None, ""),
        "short.png": (good[:-30], "media_truncated", "it ends too early"),
        "short.jpg": (picture(3, (30, 30), "JPEG")[:640], "media_truncated", "it ends too early"),
        "empty.png": (b"", "media_empty", "the file is empty"),
        "page.png": (b"<html></html>", "media_type", "no type that is known"),
        "other.jpg": (good, "media_type", "its name says jpeg, its first bytes are those of png"),
        "moves.gif": (animation(), "media_animated", "it has 3 frames"),
        "bomb.jpg": (large, "media_bomb", "it would have 60 x 60 pixels, and may have 1,000"),
        "long.png": (good + bytes(5000), "media_too_large", "it has more than 4,000 bytes"),
        "phone.jpg": (phone, None, ""),
        "broken.png": (good[:45] + b"\0\0" + good[47:], "media_unreadable", "cannot be decoded"),
    }
    write(tmp_path / "in", {name: data for name, (data, _, _) in bad.items()})
    (tmp_path / "out.png").write_bytes(good)
    (tmp_path.parent / "far.png").write_bytes(good)
    (tmp_path / "in" / "link.png").symlink_to(tmp_path.parent / "far.png")
    more = {
        "gone.png": ("media_missing", "is not there"),
        "../out.png": ("media_outside", "has a part that is empty, . or .."),
        "/etc/passwd": ("media_outside", "is not relative"),
        "https://example.test/a.png": ("media_outside", "is a URL"),
        "link.png": ("media_outside", "leads out of the dataset's folder"),
        "folder": ("media_unreadable", "is not a regular file"),
    }
    (tmp_path / "in" / "folder").mkdir()
    wanted = {name: (reason, words) for name, (_, reason, words) in bad.items()} | more
    rows = [{"image": name, "folder": "mild", "text": "?"} for name in wanted] + [{"image": 7, "folder": "mild", "text": "?"}]
    (tmp_path / "in" / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    done = load(tmp_path / "in" / "rows.jsonl", [{"column": "image", "most_pixels": 1000, "most_bytes": 4000}], prompt="text")
    assert [one["uri"] for one in references(done.kept)] == ["in/good.png", "in/phone.jpg"]
    got = {json.loads(r["raw"])["image"]: (r["_reason"], r["_detail"]) for r in done.rejected.to_dicts()}
    assert got.pop(7)[0] == "media_type"
    assert {name: reason for name, (reason, _) in got.items()} == {name: reason for name, (reason, _) in wanted.items() if reason}
    assert all(wanted[name][1] in detail and f"image: {name}: " in detail for name, (_, detail) in got.items())


def test_members_of_archives_that_are_not_sound_cost_their_rows(load: Load, tmp_path: Path) -> None:
    files = {"mild/good.png": picture(1), "../up.png": picture(2), "mild/short.png": picture(3)[:-30], "/abs.png": picture(4)}
    tarred(tmp_path / "bad.tar", files)
    with tarfile.open(tmp_path / "bad.tar", "a") as archive:
        link = tarfile.TarInfo("mild/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    done = load(tmp_path / "bad.tar", [{"column": "file"}], format="files")
    assert done.kept.height == 1
    assert [r["_reason"] for r in done.rejected.to_dicts()] == ["media_outside", "media_truncated", "media_outside", "media_unreadable"]
    assert [p.name for p in tmp_path.rglob("*.png")] == [f"{sha(picture(1))}.png"]
    (tmp_path / "torn.tar.gz").write_bytes(tarred(tmp_path / "whole.tar.gz", CATS, "w:gz").read_bytes()[:300])
    with pytest.raises((InputError, InputErrors), match="cannot be read as an archive"):
        load(tmp_path / "torn.tar.gz", [{"column": "file"}], format="files")


def test_what_was_read_of_a_member_with_a_fault_does_not_wait_with_its_block(tmp_path: Path) -> None:
    files = zipped(tmp_path / "all.zip", {"../a.png": b"a" * 50, "b.png": b"b" * 50, "c.png": picture(1)})
    files.write_bytes(files.read_bytes().replace(b"b" * 50, b"c" + b"b" * 49))
    (block,) = member_blocks(files, [], 10, most=1000)
    found = [(m.name, m.fault and m.fault.reason, m.data.closed) for row in block for m in [row["file"]]]  # type: ignore[index]
    assert found == [("../a.png", "media_outside", True), ("b.png", "media_unreadable", True), ("c.png", None, False)]


def test_clips_and_sounds_are_measured(load: Load, tmp_path: Path) -> None:
    pytest.importorskip("av")
    moving, noise = clip(10, 5), sound()
    write(tmp_path, {"a.mp4": moving, "cut.mp4": moving[:-40], "a.wav": noise, "cut.wav": noise[:4000], "silent.mp4": clip(2, 1)})
    rows = [{"video": "a.mp4", "sound": "a.wav"}, {"video": "cut.mp4"}, {"sound": "cut.wav"}, {"sound": "silent.mp4"}, {"video": "a.wav"}]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps({**row, "folder": "mild"}) for row in rows))
    done = load(tmp_path / "rows.jsonl", [{"column": "video", "kind": "video"}, {"column": "sound", "kind": "audio"}])
    film, tone = references(done.kept)
    assert (film["mime"], film["width"], film["height"], film["frames"], film["seconds"]) == ("video/mp4", 64, 48, 10, 2.0)
    assert (tone["mime"], tone["width"], tone["frames"], tone["seconds"], tone["size"]) == ("audio/wav", None, None, 1.0, len(noise))
    assert [r["_reason"] for r in done.rejected.to_dicts()] == ["media_truncated", "media_truncated", "media_type", "media_type"]


def test_without_decoding_hashes_sizes_and_types_are_known(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the core install does: it has neither Pillow nor PyAV."""
    pytest.importorskip("av")  # makes the clip
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    write(tmp_path, {"a.png": picture(), "a.mp4": clip(), "b.png": picture()[:-40]})
    rows = [{"image": "a.png", "video": "a.mp4"}, {"image": "b.png"}]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps({**row, "folder": "mild"}) for row in rows))
    specs = [{"column": "image", "decode": False}, {"column": "video", "kind": "video", "decode": False}]
    done = load(tmp_path / "rows.jsonl", specs)
    assert [(one["mime"], one["size"], one["width"]) for one in references(done.kept)] == [
        ("image/png", len(picture()), None),
        ("video/mp4", len(clip()), None),
    ]
    assert done.rejected["_reason"].to_list() == ["media_truncated"]
    with pytest.raises(Missing, match="pip install 'guardkit\\[media\\]'"):
        load(tmp_path / "rows.jsonl", [{"column": "image"}])


def test_what_a_source_of_files_must_say(load: Load, tmp_path: Path) -> None:
    write(tmp_path / "set", CATS)
    with pytest.raises((InputError, InputErrors), match="format files needs columns"):
        load(tmp_path / "set", [], format="files")
    with pytest.raises((InputError, InputErrors), match="needs the column 'picture'"):
        load(tmp_path / "set", [{"column": "picture"}], format="files")
    outside = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    write(outside, CATS)
    with pytest.raises((InputError, InputErrors), match="not in the dataset's folder"):
        load(outside, [{"column": "file"}], format="files")
    assert load(tmp_path / "set", [{"column": "file"}], format="files", patterns=["0.*"]).kept.height == 2
