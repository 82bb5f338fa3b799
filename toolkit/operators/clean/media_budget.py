"""Operator `media_budget`: what a vision or sound model's processor is given of each of a row's media, and media that cannot fit.

Sizes are those of the processors of Qwen2-VL and its followers (`smart_resize` of transformers, models/qwen2_vl): each side is rounded to a multiple
of the patch, and the image is scaled, keeping its shape as well as that goes, until its pixels are between least and most.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import polars as pl
from pydantic import Field, field_validator, model_validator

from toolkit.common.errors import InputError
from toolkit.common.mediafiles import keep_file, media_needs, open_image, read_whole
from toolkit.common.mediatypes import BadMedia
from toolkit.common.paths import below_fault
from toolkit.guards import Guard
from toolkit.operators.base import Columns, Config, Context, RowOperator, mark
from toolkit.records import MEDIA, TYPE, Column, Media, content_id, has_media, hashes, polars_type

GIVEN = Column(
    "media_budget",
    {"list": {"struct": {"width": "int64", "height": "int64", "frames": "int64", "seconds": "float64", "tokens": "int64"}}},
    doc="for each of the row's media what a processor is given of it: pixels, frames, seconds, and the tokens that images and videos become",
)


class MediaBudgetConfig(Config):
    """Options of `media_budget`. The defaults are GuardReasoner-Omni's: images of at most 2,048 patches of 28 x 28 pixels, videos of one frame a
    second, at most 128 of them, each of at most 64 patches."""

    image_pixels: int = Field(2048 * 28 * 28, ge=1)
    """Pixels of an image at most."""
    least_pixels: int = Field(4 * 28 * 28, ge=1)
    """Pixels of an image or a frame at least; smaller ones are scaled up."""
    frame_pixels: int = Field(64 * 28 * 28, ge=1)
    """Pixels of a video's frame at most."""
    fps: float = Field(1.0, gt=0)
    """Frames that are taken of a second of video."""
    frames: int = Field(128, ge=2)
    """Frames of a video at most."""
    seconds: float | None = Field(None, gt=0)
    """Seconds of a sound at most; a longer one is rejected. Default: any number."""
    patch: int = Field(28, ge=1)
    """Side of the square of pixels that becomes a token."""
    over: bool = True
    """Whether media may be larger than the budget, since a processor scales them down and leaves frames out; else such a row is rejected
    (`media_over_budget`)."""
    rescale: str | None = None
    """Scale images that are larger down to what the processor would be given, and refer to those: the place below the dataset's folder that they are
    put in, `.` for the folder itself. Content ids follow."""

    @field_validator("rescale")
    @classmethod
    def _lies_below(cls, value: str | None) -> str | None:
        if value is not None and value != "." and (fault := below_fault(value)) is not None:
            raise ValueError(f"it {fault}")
        return value

    @model_validator(mode="after")
    def _least_is_less(self) -> MediaBudgetConfig:
        if self.least_pixels > min(self.image_pixels, self.frame_pixels):
            raise ValueError("least_pixels is more than image_pixels or frame_pixels allows")
        if self.rescale is not None and not self.over:
            raise ValueError("rescale: with over: false images over the budget are rejected, so there is nothing to scale")
        return self


class Size(NamedTuple):
    """Pixels."""

    width: int
    height: int


def given_size(width: int, height: int, most: int, least: int, patch: int = 28) -> Size:
    """What an image of a size is scaled to.

    Args:
        width, height: in pixels.
        most, least: pixels of the result, as far as whole patches allow.
        patch: side of a patch; both sides are multiples of it.

    Raises:
        ValueError: there are no pixels, or one side is more than 200 times the other.

    Example:
        >>> given_size(1920, 1080, 2048 * 784, 4 * 784), given_size(640, 480, 64 * 784, 4 * 784), given_size(30, 20, 64 * 784, 4 * 784)
        (Size(width=1680, height=924), Size(width=252, height=168), Size(width=84, height=56))
    """
    if min(width, height) < 1:
        raise ValueError(f"{width} x {height} pixels: there are none")
    if max(width, height) > 200 * min(width, height):
        raise ValueError(f"{width} x {height} pixels: one side is more than 200 times the other")
    w, h = round(width / patch) * patch, round(height / patch) * patch
    if w * h > most:
        shrink = math.sqrt(width * height / most)
        w, h = (max(patch, math.floor(side / shrink / patch) * patch) for side in (width, height))
    elif w * h < least:
        grow = math.sqrt(least / (width * height))
        w, h = (math.ceil(side * grow / patch) * patch for side in (width, height))
    return Size(w, h)


def given_frames(frames: int, seconds: float, fps: float, most: int) -> int:
    """Frames that are taken of a video: `fps` a second, an even number of 4 or more and `most` or less, as far as there are so many.

    Raises:
        ValueError: it has fewer than 2.

    Example:
        >>> given_frames(250, 10.0, 1.0, 128), given_frames(9000, 300.0, 1.0, 128), given_frames(30, 1.0, 1.0, 128)
        (10, 128, 4)
    """
    taken = int(min(max(seconds * fps, 4), most, frames)) // 2 * 2
    if taken < 2:
        raise ValueError(f"a video of {frames} frame(s): a processor takes two at least")
    return taken


class MediaBudget(RowOperator):
    """Record what a processor is given of each of a row's media (column `media_budget`: pixels, frames, seconds, tokens), and reject rows with media
    that cannot fit: a side more than 200 times the other, a video of fewer than two frames, a sound that is too long (`media_over_budget`), and media
    that were not measured (`media_not_measured`). Images that are larger than the budget are scaled where `rescale` says so.

    The tokens of a row are the sum over the column; `select` sets a limit on what `measure` or an operator of your own makes of it, and `keep:
    [media_budget]` takes it into rendered rows. An image becomes a token a patch, of a video every two frames do.
    """

    name = "media_budget"
    carries_media = True
    config_class = MediaBudgetConfig
    example = {"frames": 64, "over": False}
    uses = frozenset()
    config: MediaBudgetConfig

    def reads(self, guard: Guard) -> list[str]:
        return [MEDIA, *(["content_id", "context", "prompt", "response"] if self.config.rescale is not None else [])]

    def writes(self, guard: Guard) -> list[Column]:
        return [GIVEN, *([Column(MEDIA, TYPE)] if self.config.rescale is not None else [])]

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        out = super().columns(inputs, guard)
        if not has_media(out):
            raise InputError("media_budget: the column `media` of these rows holds no references")
        return out

    def needs(self, ctx: Context) -> list[str]:
        return media_needs(("PIL", "pillow")) if self.config.rescale is not None else []

    def apply(self, rows: pl.LazyFrame, ctx: Context) -> pl.LazyFrame:
        ids = ["content_id", "context", "prompt", "response"] if self.config.rescale is not None else []
        kinds = {MEDIA: polars_type(TYPE), "given": polars_type(GIVEN.type), "content_id": pl.String, "reason": pl.String, "detail": pl.String}

        def one(row: dict[str, Any]) -> dict[str, Any]:
            try:
                media, given = self._row([Media(**item) for item in row[MEDIA]], ctx)
            except BadMedia as e:
                return {MEDIA: row[MEDIA], "given": [], "content_id": row.get("content_id"), "reason": e.reason, "detail": e.detail}
            files = [item._asdict() for item in media]
            content = row.get("content_id")
            if files != row[MEDIA]:
                content = content_id([(m["role"], m["content"]) for m in row["context"] or ()], row["prompt"], row["response"], hashes(files))
            return {MEDIA: files, "given": given, "content_id": content, "reason": None, "detail": None}

        found = pl.struct(MEDIA, *ids).map_elements(one, return_dtype=pl.Struct(kinds)).alias("_found")
        part = pl.col("_found").struct
        rows = rows.with_columns(found).with_columns(
            part.field("given").alias(GIVEN.name), *(part.field(n) for n in ((MEDIA, "content_id") if ids else ()))
        )
        return mark(rows, part.field("reason").is_not_null(), part.field("reason"), part.field("detail")).drop("_found")

    def _row(self, media: list[Media], ctx: Context) -> tuple[list[Media], list[dict[str, Any]]]:
        files, given = [], []
        for one in media:
            try:
                about = self._given(one)
            except ValueError as e:
                raise BadMedia("media_over_budget", f"{one.uri}: {e}") from None
            if one.kind == "image" and self.config.rescale is not None and (one.width or 0) * (one.height or 0) > self.config.image_pixels:
                one = self._smaller(one, Size(about["width"], about["height"]), ctx)
            files.append(one)
            given.append(about)
        return files, given

    def _given(self, one: Media) -> dict[str, Any]:
        c = self.config
        out: dict[str, Any] = {"width": None, "height": None, "frames": None, "seconds": one.seconds, "tokens": None}
        if None in {"image": (one.width, one.height), "video": (one.width, one.height, one.frames, one.seconds)}.get(one.kind, (one.seconds,)):
            raise BadMedia("media_not_measured", f"{one.uri}: nobody has measured it: load it with a column of files (docs/media.md)")
        if one.kind == "audio":
            if c.seconds is not None and (one.seconds or 0) > c.seconds:
                raise ValueError(f"{one.seconds:g} seconds, and {c.seconds:g} may be")
            return out
        most, frames = (c.image_pixels, 1) if one.kind == "image" else (c.frame_pixels, one.frames or 0)
        width, height = one.width or 0, one.height or 0
        size = given_size(width, height, most, c.least_pixels, c.patch)
        taken = frames
        if one.kind == "video":
            taken = out["frames"] = given_frames(frames, one.seconds or 0, c.fps, c.frames)
        if not c.over and (width * height > most or (one.kind == "video" and (one.seconds or 0) * c.fps > c.frames)):
            raise ValueError(
                f"{width} x {height} pixels" + (f", {one.seconds:g} seconds" if one.kind == "video" else "") + " are more than the budget"
            )
        tokens = size.width * size.height // c.patch**2 * (1 if one.kind == "image" else taken // 2)
        return {**out, "width": size.width, "height": size.height, "tokens": tokens}

    def _smaller(self, one: Media, size: Size, ctx: Context) -> Media:
        """A reference to a smaller copy of an image."""
        from PIL import Image

        try:
            with open_image(read_whole(ctx.media_folder, one.uri, one.sha256)) as image:
                form, out = image.format or "PNG", io.BytesIO()
                copy = image if image.mode in ("RGB", "RGBA", "L") else image.convert("RGBA" if "transparency" in image.info else "RGB")
                form = form if form in ("PNG", "JPEG", "WEBP") else "PNG"
                copy.resize(size, Image.Resampling.LANCZOS).save(out, form, exif=_turn(image))
        except BadMedia as e:
            raise BadMedia(e.reason, f"{one.uri}: {e.detail}") from None
        except Exception as e:  # noqa: BLE001  a decoder meets data of strangers
            raise BadMedia("media_unreadable", f"{one.uri}: it cannot be decoded: {str(e)[:100]}") from None
        data, mime = out.getvalue(), f"image/{form.lower()}"
        sha256 = hashlib.sha256(data).hexdigest()
        place = "" if self.config.rescale == "." else f"{self.config.rescale}/"
        uri = keep_file(ctx.media_folder, place, io.BytesIO(data), sha256, mime, len(data))
        return Media("image", uri, sha256, mime, len(data), size.width, size.height)


def _turn(image: Any) -> Any:
    """Of an image's notes the one that says how it is to be turned when it is shown: its copy is stored the same way."""
    from PIL import ExifTags, Image

    kept = Image.Exif()
    if (turn := image.getexif().get(ExifTags.Base.Orientation)) is not None:
        kept[ExifTags.Base.Orientation] = turn
    return kept
