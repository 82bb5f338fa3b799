"""Several images as one: side by side on a grid, whole, each as large as its cell allows."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from math import ceil, isqrt
from pathlib import Path
from typing import Any

from toolkit.common.mediafiles import keep_file, measure, open_image, read_whole


def tiled(media: Sequence[Mapping[str, Any]], folder: Path, place: str, cell: int) -> list[dict[str, Any]]:
    """The media of a row with its images as one, which comes first; the others as they are. Fewer than two images stay what they are.

    Args:
        media: references.
        folder: the dataset's, which their uris are relative to.
        place: below it, where the new image is put under its sha256 (PNG); empty for the folder itself.
        cell: pixels of the longer side of each image at most; smaller ones are not enlarged.

    Raises:
        BadMedia: an image is missing, has other bytes than its row says, or cannot be decoded.
        Missing: without Pillow.
    """
    images = [item for item in media if item["kind"] == "image"]
    if len(images) < 2:
        return [dict(item) for item in media]
    data = grid([read_whole(folder, item["uri"], item["sha256"]) for item in images], cell)
    found = measure(io.BytesIO(data), "image")
    uri = keep_file(folder, f"{place}/" if place else "", io.BytesIO(data), found.sha256, found.mime, len(data))
    return [{"kind": "image", "uri": uri, **found._asdict()}, *(dict(item) for item in media if item["kind"] != "image")]


def grid(images: Sequence[bytes], cell: int) -> bytes:
    """Images as one PNG, row by row on a grid that is as wide as it is high or one column wider; what is left over is black.

    Raises:
        BadMedia: one cannot be decoded; Missing: without Pillow.
    """
    tiles = [_tile(data, cell) for data in images]
    from PIL import Image

    across = isqrt(len(tiles) - 1) + 1
    width, height = max(t.width for t in tiles), max(t.height for t in tiles)
    whole = Image.new("RGB", (across * width, ceil(len(tiles) / across) * height))
    for i, tile in enumerate(tiles):
        left, top = i % across * width, i // across * height
        whole.paste(tile, (left + (width - tile.width) // 2, top + (height - tile.height) // 2))
    out = io.BytesIO()
    whole.save(out, "PNG")
    return out.getvalue()


def _tile(data: bytes, cell: int) -> Any:
    measure(io.BytesIO(data), "image")  # decodes it once: what cannot be is named
    with open_image(data) as image:
        from PIL import ImageOps

        upright = ImageOps.exif_transpose(image).convert("RGB")
    upright.thumbnail((cell, cell))
    return upright
