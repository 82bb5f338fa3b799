"""The folder of a model, for trainers of other packages."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolkit.common.files import tree_digests
from toolkit.common.folders import new_folder
from toolkit.common.models import MODEL, TRAINED, chat_template
from toolkit.shards import read_manifest


@contextmanager
def new_model(out: Path, shards: Path) -> Iterator[Path]:
    """A fresh folder to write a model into. It takes the place of `out` when the block ends without an error; with one, it is removed.

    The model is then one that guardkit trained: the folder says for which guard's input and with which chat template, which is held against how it is
    asked, and a later training may replace it.

    Args:
        out: the model folder.
        shards: folder of the shards that it is trained on.

    Raises:
        InputError: something is at `out` that guardkit did not train, or shards without a sound manifest.
    """
    with new_folder(out, MODEL) as new:
        yield new
        manifest, template = read_manifest(shards), chat_template(new)
        record = {
            "guard": manifest.get("guard"),
            "input": manifest.get("guard_input"),
            "chat_template": None if template is None else hashlib.sha256(template.encode()).hexdigest(),
            "prompts": {},
            "files": tree_digests(new),
        }
        (new / TRAINED).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
