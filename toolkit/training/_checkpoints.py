"""Checkpoints of a training, so that one that was stopped or killed goes on from the last of them and ends in the same model.

They are in the hidden folder beside the model that is being made (`toolkit.common.folders.kept_beside`), and are gone once it is there. A checkpoint
counts when it is whole and on disk, as ``last.json`` says with the training's identity (model, shards, settings): another training drops it and
starts from its beginning. Two are held at a time.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError
from toolkit.common.files import digest, fsync_tree, write_atomic
from toolkit.common.folders import kept_of
from toolkit.common.manifests import read_json
from toolkit.common.models import model_folder, model_hash
from toolkit.common.reading import sha256_once

if TYPE_CHECKING:
    from toolkit.training._training_config import DpoConfig, SftConfig

_LAST = "last.json"


class Checkpoints:
    """The checkpoints of one training.

    Args:
        folder: where they are.
        every: updates between two.
        identity: of the training; see `identity_of`.
    """

    def __init__(self, folder: Path, every: int, identity: str) -> None:
        self.folder, self.every, self._identity = folder, every, identity

    def last(self) -> Path | None:
        """The checkpoint to go on from; None where there is none, and the folder's contents are dropped."""
        state = _read(self.folder)
        found = self.folder / f"checkpoint-{state.get('update')}"
        if state.get("identity") == self._identity and found.is_dir():
            return found
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        return None

    def callback(self) -> Any:
        """The trainer's callback."""
        from transformers import TrainerCallback

        folder, identity = self.folder, self._identity

        class _Callback(TrainerCallback):
            def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                fsync_tree(folder / f"checkpoint-{state.global_step}")
                write_atomic(folder / _LAST, json.dumps({"update": state.global_step, "identity": identity}))

        return _Callback()


def identity_of(config: SftConfig | DpoConfig, shards: Path) -> str:
    """What a training is: method, settings, the model's content and that of the shards."""
    name = config.model if isinstance(config.model, str) else None
    folder = None if name is None else model_folder(name, short=True)
    files = {p.name: sha256_once(p, p) for p in sorted((shards / "data").glob("train-*.parquet"))}
    settings = config.model_dump(mode="json", exclude={"threads", "model"} if folder is not None else {"threads"})
    return digest([type(config).__name__, settings, None if folder is None else model_hash(folder), files])


def kept_update(out: Path) -> int | None:
    """The update after which a training into a folder would go on; None where it would start from its beginning, as far as one can see."""
    folder = kept_of(out)
    state = _read(folder)
    return state["update"] if isinstance(state.get("update"), int) and (folder / f"checkpoint-{state['update']}").is_dir() else None


def _read(folder: Path) -> dict[str, Any]:
    try:
        state = read_json(folder / _LAST)
    except (OSError, InputError):
        return {}
    return state if isinstance(state, dict) else {}
