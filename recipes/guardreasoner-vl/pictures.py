"""Draws the pictures of mini.yaml: sixteen small PNG files, mild ones in light stripes and grim ones in dark blots. Run: python pictures.py FOLDER"""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path

SIZE = 16


def png(pixels: list[list[tuple[int, int, int]]]) -> bytes:
    """A PNG file of rows of (red, green, blue)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    raw = b"".join(b"\0" + bytes(value for pixel in row for value in pixel) for row in pixels)
    head = struct.pack(">IIBBBBB", len(pixels[0]), len(pixels), 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b"")


def draw(folder: Path, each: int = 8) -> None:
    """The pictures, in ``mild`` and ``grim`` below a folder."""
    for kind in ("mild", "grim"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for n in range(each):
            light = [[(200 + 5 * n, 230, 160 if (x + n) % 4 < 2 else 250) for x in range(SIZE)] for _ in range(SIZE)]
            dark = [[(90 + 10 * n if (x - n) ** 2 + (y - 8) ** 2 < 20 else 20, 10, 10) for x in range(SIZE)] for y in range(SIZE)]
            (folder / kind / f"{n}.png").write_bytes(png(light if kind == "mild" else dark))


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
