"""Small pictures and sounds, and shards of rows about them: what a row is about decides the answer, and its text does not say it."""

from __future__ import annotations

import hashlib
import io
import math
import struct
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from shardfolders import DPO, SFT, turn, write

from toolkit.records import MEDIA, TYPE, Column, to_arrow
from toolkit.shards import BYTES

LIGHT, DARK = "light", "dark"
ASKED = "What is shown?"


def picture(shade: str, n: int, size: tuple[int, int] = (40, 30)) -> bytes:
    """A PNG file, one of many of a shade."""
    from PIL import Image

    level = 225 if shade == LIGHT else 20
    image = Image.new("RGB", size, (level, level - n % 20, level))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def sound(shade: str, n: int, seconds: float = 0.2) -> bytes:
    """A WAV file: a high or a low tone."""
    out = io.BytesIO()
    step = 0.9 if shade == LIGHT else 0.1
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"".join(struct.pack("<h", int((9000 + n) * math.sin(step * i))) for i in range(int(8000 * seconds))))
    return out.getvalue()


def reference(folder: Path, name: str, data: bytes) -> dict[str, Any]:
    """Write a file and refer to it."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    kind = ("audio", "audio/wav") if name.endswith(".wav") else ("image", "image/png")
    return {"kind": kind[0], "uri": name, "sha256": hashlib.sha256(data).hexdigest(), "mime": kind[1]}


def media_rows(folder: Path, n: int, *, sounds: bool = False) -> list[dict[str, Any]]:
    """Rows about a picture each, or by turns about a sound; every fourth is of text alone."""
    rows = []
    for i in range(n):
        shade = LIGHT if i % 2 else DARK
        heard = sounds and i // 2 % 2 == 1
        data = sound(shade, i) if heard else picture(shade, i)
        media = [] if i % 8 > 5 else [reference(folder, f"{i}.{'wav' if heard else 'png'}", data)]
        asked = ASKED if media else f"{ASKED} It is {shade}."
        rows.append({"prompt": turn("user", asked), "completion": turn("assistant", f"Answers: {shade}"), "id": f"row-{i}", "media": media})
    return rows


def write_media(folder: Path, rows: Sequence[dict[str, Any]], files: Path | None = None, *, pairs: bool = False, also: Sequence[str] = ()) -> Path:
    """Shards of such rows, with the bytes of `files` where that is given; `also`: further columns of texts."""
    columns = [Column(MEDIA, TYPE), *([BYTES] if files is not None else [])]
    if files is not None:
        rows = [{**row, "media_bytes": [{"bytes": (files / m["uri"]).read_bytes(), "path": m["uri"]} for m in row["media"]]} for row in rows]
    return write(folder, rows, pa.schema([*(DPO if pairs else SFT), *to_arrow(tuple(columns)), *((name, pa.string()) for name in also)]))
