"""Pictures that look alike, and what a processor is given of media."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from frames import seed, seeds

import toolkit
from toolkit.common.errors import InputError
from toolkit.common.mediafiles import measure
from toolkit.operators.clean.media_budget import given_frames, given_size
from toolkit.records import MEDIA, TYPE, Column, Media, content_id, to_polars

pytest.importorskip("imagehash")

from clips import picture
from PIL import ExifTags, Image


def again(data: bytes, form: str = "JPEG", size: tuple[int, int] | None = None, **options: Any) -> bytes:
    """A picture scaled and compressed anew."""
    out = io.BytesIO()
    image = Image.open(io.BytesIO(data)).convert("RGB")
    (image.resize(size) if size else image).save(out, form, **options)
    return out.getvalue()


def plain(colour: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (40, 40), colour).save(out, "PNG")
    return out.getvalue()


def about(folder: Path, *rows: tuple[str, list[bytes]], **given: Any) -> pl.DataFrame:
    """Seeds with these texts and pictures, which are in `folder`."""
    made: list[dict[str, Any]] = []
    media: list[list[dict[str, Any]]] = []
    for text, files in rows:
        references = []
        for data in files:
            found = measure(io.BytesIO(data), "image")
            (folder / found.sha256).write_bytes(data)
            references.append(Media("image", found.sha256, found.sha256, found.mime, found.size, found.width, found.height)._asdict())
        made.append(seed(len(made), prompt=text, **given))
        media.append(references)
    frame = seeds(*made).with_columns(pl.Series(MEDIA, media, dtype=to_polars((Column(MEDIA, TYPE),))[MEDIA]))
    ids = [content_id([], row["prompt"], None, [one["sha256"] for one in row[MEDIA]]) for row in frame.to_dicts()]
    return frame.with_columns(pl.Series("content_id", ids), pl.Series("id", [f"r{n}" for n in range(frame.height)]))


def test_pictures_that_look_alike_are_merged_where_their_texts_are_equal(tmp_path: Path) -> None:
    cat, dog = picture(1, (200, 150)), picture(2, (200, 150))
    rows = about(
        tmp_path,
        ("?", [cat]),
        ("?", [again(cat, quality=60)]),
        ("?", [again(cat, "WEBP", (120, 90))]),
        ("?", [dog]),
        ("!", [again(cat, quality=61)]),  # another question about the same picture
        ("?", [cat, dog]),
        ("?", [again(cat), again(dog)]),
        ("?", [dog, cat]),
        ("?", [plain("white")]),
        ("?", [plain("black")]),
        ("?", []),
        ("?", [cat]),
    )
    done = toolkit.apply("deduplicate", rows, methods=["exact", "pictures"], media_folder=tmp_path)
    assert done.kept["id"].to_list() == ["r0", "r3", "r4", "r5", "r7", "r8", "r9", "r10"]
    flagged = toolkit.apply("deduplicate", rows, methods=["pictures"], on_find="flag", media_folder=tmp_path).kept
    assert dict(flagged.filter(pl.col("duplicate_of").is_not_null()).select("id", "duplicate_of").iter_rows()) == {
        "r1": "r0",
        "r2": "r0",
        "r6": "r5",
        "r11": "r0",
    }
    assert flagged.filter(pl.col("id") == "r2")["similarity"][0] >= 1 - 6 / 64
    exact = toolkit.apply("deduplicate", rows, methods=["exact"], media_folder=tmp_path)
    assert exact.kept.height == 11  # equal bytes alone


def test_pictures_that_are_labelled_otherwise_are_kept_and_named(tmp_path: Path) -> None:
    cat = picture(1, (200, 150))
    rows = about(tmp_path, ("?", [cat]), ("?", [again(cat)]))
    rows = rows.with_columns(pl.Series("label_prompt", ["harmful", "unharmful"]), pl.lit("human").alias("label_prompt_source"))
    kept = toolkit.apply("deduplicate", rows, methods=["pictures"], media_folder=tmp_path).kept
    assert kept["conflict"].to_list() == [["prompt"], ["prompt"]]


def test_a_picture_that_is_not_there_is_like_none(tmp_path: Path) -> None:
    cat = picture(1, (200, 150))
    rows = about(tmp_path, ("?", [cat]), ("?", [again(cat)]))
    (tmp_path / rows[MEDIA][1][0]["uri"]).unlink()
    assert toolkit.apply("deduplicate", rows, methods=["pictures"], media_folder=tmp_path).kept.height == 2
    with pytest.raises(InputError, match="the rows have no media"):
        toolkit.apply("deduplicate", rows.drop(MEDIA), methods=["pictures"])
    with pytest.raises(InputError, match="only `exact` goes with it"):
        toolkit.apply("deduplicate", rows, methods=["pictures", "near"], media_folder=tmp_path)


def test_no_pair_within_the_distance_is_missed(tmp_path: Path) -> None:
    """Beside every pair compared with every other."""
    import random

    import numpy as np

    from toolkit.operators.clean._pictures import Pictures

    draw = random.Random(3)
    found = Pictures(tmp_path, 6)
    media = [{"kind": "image", "sha256": str(n), "uri": str(n)} for n in range(200)]
    bases = [draw.getrandbits(64) for _ in range(20)]
    found._known = {str(n): bases[n % 20] ^ sum(1 << b for b in draw.sample(range(64), 3 + n % 2)) for n in range(200)}
    rows = pl.DataFrame({MEDIA: [[one] for one in media]})
    found.look(rows, pl.Series(["?" if n % 3 else "!" for n in range(200)]))
    low, high = found.pairs(np.arange(200))
    hashes = [found._known[str(n)] or 0 for n in range(200)]
    assert len(set(hashes)) == 200  # of equal ones the first stands for the others
    wanted = {(i, j) for i in range(200) for j in range(i) if (i % 3 == 0) == (j % 3 == 0) and (hashes[i] ^ hashes[j]).bit_count() <= 6}
    assert len(wanted) > 100 and {(int(b), int(a)) for a, b in zip(low, high, strict=True)} == wanted


@pytest.mark.parametrize(
    ("size", "most", "given"),
    [  # as transformers' smart_resize has them
        ((1920, 1080), 2048 * 784, (1680, 924)),
        ((640, 480), 2048 * 784, (644, 476)),
        ((4000, 3000), 64 * 784, (252, 168)),
        ((30, 20), 2048 * 784, (84, 56)),
        ((13, 366), 2048 * 784, (28, 308)),
    ],
)
def test_what_an_image_is_scaled_to(size: tuple[int, int], most: int, given: tuple[int, int]) -> None:
    assert given_size(*size, most, 4 * 784) == given


def test_an_image_without_pixels_has_no_size() -> None:
    with pytest.raises(ValueError, match="0 x 0 pixels: there are none"):
        given_size(0, 0, 64 * 784, 4 * 784)


def test_how_many_frames_are_taken() -> None:
    assert [given_frames(*about, 1.0, 128) for about in [(250, 10.0), (9000, 300.0), (30, 1.0), (3, 0.1)]] == [10, 128, 4, 2]
    with pytest.raises(ValueError, match="two at least"):
        given_frames(1, 0.1, 1.0, 128)


def test_a_budget_is_recorded_and_what_cannot_fit_is_rejected(tmp_path: Path) -> None:
    kinds: list[list[Media]] = [
        [Media("image", "a", "a" * 64, "image/png", 9, 1920, 1080), Media("audio", "b", "b" * 64, "audio/wav", 9, None, None, None, 20.0)],
        [Media("video", "c", "c" * 64, "video/mp4", 9, 640, 480, 9000, 300.0)],
        [],
        [Media("image", "d", "d" * 64, "image/png", 9, 10_000, 10)],
        [Media("image", "e", "e" * 64, "image/png")],
        [Media("audio", "f", "f" * 64, "audio/wav", 9, None, None, None, 31.0)],
        [Media("video", "g", "g" * 64, "video/mp4", 9, 640, 480, 1, 0.1)],
    ]
    rows = seeds(*(seed(n) for n in range(len(kinds))))
    rows = rows.with_columns(pl.Series(MEDIA, [[m._asdict() for m in row] for row in kinds], dtype=to_polars((Column(MEDIA, TYPE),))[MEDIA]))
    done = toolkit.apply("media_budget", rows, seconds=30.0)
    assert done.kept["media_budget"].to_list() == [
        [
            {"width": 1680, "height": 924, "frames": None, "seconds": None, "tokens": 60 * 33},
            {"width": None, "height": None, "frames": None, "seconds": 20.0, "tokens": None},
        ],
        [{"width": 252, "height": 168, "frames": 128, "seconds": 300.0, "tokens": 9 * 6 * 64}],
        [],
    ]
    assert [(r["_reason"], r["_detail"][:20]) for r in done.rejected.to_dicts()] == [
        ("media_over_budget", "d: 10000 x 10 pixels"),
        ("media_not_measured", "e: nobody has measur"),
        ("media_over_budget", "f: 31 seconds, and 3"),
        ("media_over_budget", "g: a video of 1 fram"),
    ]
    strict = toolkit.apply("media_budget", rows.head(3), over=False)
    assert strict.kept.height == 1 and strict.rejected["_reason"].to_list() == ["media_over_budget"] * 2


def test_images_over_the_budget_are_scaled_where_that_is_asked_for(tmp_path: Path) -> None:
    large, small = picture(1, (400, 300)), picture(2, (60, 60))
    rows = about(tmp_path, ("?", [large, small]))
    done = toolkit.apply("media_budget", rows, image_pixels=100 * 784, rescale="scaled", media_folder=tmp_path)
    one, other = done.kept[MEDIA][0]
    assert other == rows[MEDIA][0][1]
    assert (one["width"], one["height"]) == (308, 224) == Image.open(tmp_path / one["uri"]).size
    assert one["uri"].startswith("scaled/") and hashlib.sha256((tmp_path / one["uri"]).read_bytes()).hexdigest() == one["sha256"]
    assert done.kept["content_id"][0] == content_id([], "?", None, [one["sha256"], other["sha256"]]) != rows["content_id"][0]
    assert done.kept["id"].to_list() == rows["id"].to_list()
    (tmp_path / rows[MEDIA][0][0]["uri"]).write_bytes(small)
    gone = toolkit.apply("media_budget", rows, image_pixels=100 * 784, rescale="scaled", media_folder=tmp_path).rejected
    assert gone["_reason"].to_list() == ["media_changed"]


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_scaled_image_is_still_shown_the_way_it_was_turned(form: str, tmp_path: Path) -> None:
    notes, out = Image.Exif(), io.BytesIO()
    notes[ExifTags.Base.Orientation], notes[ExifTags.Base.Make] = 6, "a camera"
    Image.new("RGB", (400, 200)).save(out, form, exif=notes)
    row = about(tmp_path, ("?", [out.getvalue()]))
    (made,) = toolkit.apply("media_budget", row, image_pixels=20 * 784, rescale="scaled", media_folder=tmp_path).kept[MEDIA][0]
    with Image.open(tmp_path / made["uri"]) as image:
        assert image.size == (made["width"], made["height"]) and image.width > image.height, "stored as before"
        assert dict(image.getexif()) == {ExifTags.Base.Orientation: 6}
