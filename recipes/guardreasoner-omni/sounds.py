"""Makes the sounds of mini.yaml: eight short WAV files, mild ones a soft tone and grim ones a harsh one. Run: python sounds.py FOLDER"""

from __future__ import annotations

import math
import sys
import wave
from pathlib import Path

RATE = 8000
SECONDS = 0.05


def sound(path: Path, pitch: float, harsh: bool) -> None:
    """One WAV file of one channel and 8 bits."""
    turns = (math.sin(2 * math.pi * pitch * n / RATE) for n in range(int(RATE * SECONDS)))
    samples = bytes(128 + round(100 * (math.copysign(1, turn) if harsh else turn)) for turn in turns)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(RATE)
        file.writeframes(samples)


def make(folder: Path, each: int = 4) -> None:
    """The sounds, in ``mild`` and ``grim`` below a folder."""
    for kind in ("mild", "grim"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for n in range(each):
            sound(folder / kind / f"{n}.wav", 220 + 55 * n, kind == "grim")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
