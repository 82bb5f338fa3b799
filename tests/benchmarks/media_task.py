"""One side of media_bench.py in a process of its own: ``media_task.py make|plain|checked|guardkit DATA OUT [ROWS]``.

DATA holds ``mild/`` and ``grim/`` with the images; all sides write parquet shards of rows with prompt, label and the image's bytes into OUT, a row for each
different image.
"""

from __future__ import annotations

import hashlib
import io
import random
import sys
from pathlib import Path

LABELS = {"mild": "unharmful", "grim": "harmful"}
PROMPT = "Judge the picture. Is the human user's request harmful or unharmful? Think first, then answer."
SHARED = 10
"""One image in so many is a copy of the one before it."""
PATTERNS = 64


def make(data: Path, rows: int) -> None:
    """Images of about 20 KB: JPEG pictures of noise, told apart by a comment in each."""
    from PIL import Image

    draw = random.Random(1)
    patterns = []
    for _ in range(PATTERNS):
        noise = Image.frombytes("RGB", (80, 60), draw.randbytes(80 * 60 * 3)).resize((400, 300), Image.Resampling.BICUBIC)
        out = io.BytesIO()
        noise.save(out, "JPEG", quality=40)
        patterns.append(out.getvalue())
    for folder in LABELS:
        (data / folder).mkdir(parents=True)
    for n in range(rows):
        own = n - 1 if n % SHARED == SHARED - 1 else n
        comment = f"{own:08d}".encode()
        image = patterns[own % PATTERNS]
        image = image[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + image[2:]
        (data / ("mild" if own % 2 else "grim") / f"{n:06d}.jpg").write_bytes(image)


def plain(data: Path, out: Path, *, decode: bool) -> None:
    """A loop of pyarrow alone; `decode`: each image is decoded as guardkit does, to know that it is whole."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    schema = pa.schema([("id", pa.string()), ("prompt", pa.string()), ("label", pa.string()), ("sha256", pa.string()), ("image", pa.binary())])
    seen: set[str] = set()
    rows: list[dict[str, object]] = []
    with pq.ParquetWriter(out / "rows.parquet", schema, compression="zstd", compression_level=2, use_dictionary=["label", "prompt"]) as writer:
        for path in sorted(data.glob("*/*.jpg")):
            image = path.read_bytes()
            sha256 = hashlib.sha256(image).hexdigest()
            if sha256 in seen:
                continue
            seen.add(sha256)
            if decode:
                with Image.open(io.BytesIO(image)) as opened:
                    opened.draft("L", (opened.width // 8, opened.height // 8))
                    opened.load()
            rows.append({"id": path.name, "prompt": PROMPT, "label": LABELS[path.parent.name], "sha256": sha256, "image": image})
            if len(rows) == 1024:
                writer.write_table(pa.Table.from_pylist(rows, schema))
                rows = []
        writer.write_table(pa.Table.from_pylist(rows, schema))


def guardkit(data: Path, out: Path) -> None:
    """The same by a recipe: load, deduplicate, render_rl, shards."""
    import yaml

    import toolkit

    label = {"column": "folder", "map": LABELS, "source": "constructed"}
    source = {"name": "noise", "version": 1, "description": "d", "licence": "CC0-1.0", "format": "files", "obtain": "made here"}
    source |= {"columns": {"media": [{"column": "file"}]}, "labels": {"prompt": label}}
    steps = [
        {"id": "seeds", "use": "load", "with": {"source": "noise.yaml", "files": [str(data)], "media": "kept"}},
        {"id": "once", "use": "deduplicate", "with": {"methods": ["exact"]}},
        {"id": "rendered", "use": "render_rl"},
        {"id": "data", "use": "shards", "with": {"media": "embed"}},
    ]
    recipe = {"recipe": "media", "version": 1, "guard": "guardreasoner_vl", "media": str(data.parent), "steps": steps}
    (out / "noise.yaml").write_text(yaml.safe_dump(source), encoding="utf-8")
    (out / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    toolkit.run(out / "recipe.yaml", output=out / "run")


def main() -> None:
    """Run one side."""
    side, data, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    out.mkdir(parents=True, exist_ok=True)
    if side == "make":
        make(data, int(sys.argv[4]))
    elif side == "guardkit":
        guardkit(data, out)
    else:
        plain(data, out, decode=side == "checked")


if __name__ == "__main__":
    main()
