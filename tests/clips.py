"""Small pictures, clips and sounds that tests make themselves."""

from __future__ import annotations

import io
import random
import wave
from functools import cache
from typing import Any


@cache
def picture(seed: int = 0, size: tuple[int, int] = (16, 12), form: str = "PNG", **options: Any) -> bytes:
    """A picture of coloured patches, large and small ones, that differs with its seed."""
    from PIL import Image

    draw = random.Random(seed)
    out = io.BytesIO()
    image = Image.new("RGB", size)
    for side in (4, 8, 16):
        patches = Image.frombytes("RGB", (side, side), draw.randbytes(3 * side * side))
        image = Image.blend(image, patches.resize(size, Image.Resampling.BICUBIC), 4 / (side + 4) if side > 4 else 1)
    image.save(out, form, **options)
    return out.getvalue()


@cache
def animation() -> bytes:
    """A GIF of three frames."""
    from PIL import Image

    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    return out.getvalue()


@cache
def clip(frames: int = 10, rate: int = 5, size: tuple[int, int] = (64, 48)) -> bytes:
    """An MP4 file."""
    import av
    import numpy as np

    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream: Any = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for n in range(frames):
            shade = np.full((size[1], size[0], 3), n * 255 // frames, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shade, format="rgb24")))
        container.mux(stream.encode())
    return out.getvalue()


@cache
def sound(seconds: float = 1.0, rate: int = 8000) -> bytes:
    """A WAV file of noise."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(random.Random(1).randbytes(2 * int(seconds * rate)))
    return out.getvalue()
