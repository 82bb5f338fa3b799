"""Checkpoints of a training, so that one that was stopped or killed goes on from the last of them and ends in the same model.

They are in the hidden folder beside the model that is being made (`toolkit.common.folders.kept_beside`), or beside the step of a recipe, and are gone
once that is there.

    part/             what is being written; no checkpoint yet
    checkpoint-200/   a whole one: it was on disk before it took this name, and says of which training it is (`guardkit.json`)
    other/            those of another training into the same folder, which go with the first one of this training

A checkpoint counts for the training whose identity it has: method, settings, the model's content and that of the shards.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError
from toolkit.common.files import fsync_path, fsync_tree, write_atomic
from toolkit.common.manifests import read_json
from toolkit.common.models import model_folder, model_hash
from toolkit.common.reading import sha256_once
from toolkit.training._checkpoint_option import Checkpoint
from toolkit.training._parallel import own_file

if TYPE_CHECKING:
    from toolkit.training._training_config import AnyConfig

_STATE = "guardkit.json"
_NAME = "checkpoint-"


def _nothing(made: Path) -> None:
    """Nothing is written into a checkpoint but what the trainer does."""


class Checkpoints:
    """The checkpoints of one training.

    Args:
        folder: where they are; what a kill left half-written in it goes.
        when: they are written.
        identity: of the training; see `identity_of`.
        more: called with each one's folder before it is whole, to write more into it.

    Attributes:
        last: the one to go on from; None where there is none.
        every: updates between two from which a training can go on.
        other: why one that is there is not gone on from, in words; empty where that is not so.
    """

    def __init__(self, folder: Path, when: Checkpoint, identity: Mapping[str, Any], more: Callable[[Path], None] = _nothing) -> None:
        self.folder, self._when, self._identity, self.more = folder, when, dict(identity), more
        self.every = 1
        self._since = time.monotonic()
        self.abandon()
        self.last, self.other = self._begin()

    @property
    def part(self) -> Path:
        """The folder that the trainer writes into."""
        return self.folder / "part"

    def abandon(self) -> None:
        """Remove what is half-written."""
        shutil.rmtree(self.part, ignore_errors=True)

    def _begin(self) -> tuple[Path | None, str]:
        others = self.folder / "other"
        own = [n for place in (self.folder, others) for n in _whole(place) if n[1]["identity"] == self._identity]
        if own:
            found = max(own, key=lambda n: int(n[1]["update"]))[0]
            if found.parent == others:
                found = found.rename(self.folder / found.name)
            return found, ""
        strange = sorted(_whole(self.folder), key=lambda n: int(n[1]["update"]))
        for path, _ in strange:
            others.mkdir(exist_ok=True)
            shutil.rmtree(others / path.name, ignore_errors=True)
            path.rename(others / path.name)
        if not (strange := strange or sorted(_whole(others), key=lambda n: int(n[1]["update"]))):
            return None, ""
        update, differs = strange[-1][1]["update"], _differences(strange[-1][1]["identity"], self._identity)
        return None, f"begins anew: the checkpoint after update {update:,} that is there is of another training ({differs})"

    def callback(self) -> Any:
        """The trainer's callback."""
        from accelerate import PartialState
        from accelerate.utils import broadcast_object_list
        from transformers import TrainerCallback

        keep = self

        class _Callback(TrainerCallback):
            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                due = keep.due(state.global_step)
                if PartialState().num_processes > 1:  # each has a clock of its own
                    [due] = broadcast_object_list([due])
                control.should_save = due and state.global_step < state.max_steps

            def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                PartialState().wait_for_everyone()
                if state.is_world_process_zero:
                    keep.settle(state.global_step)
                keep.written()
                PartialState().wait_for_everyone()

        return _Callback()

    def due(self, update: int) -> bool:
        """Whether one is to be written after an update."""
        when = self._when
        if update % self.every:
            return False
        return (when.updates is not None and any(n % when.updates == 0 for n in range(update - self.every + 1, update + 1))) or (
            when.minutes is not None and time.monotonic() - self._since >= 60 * when.minutes
        )

    def written(self) -> None:
        """One was written just now."""
        self._since = time.monotonic()

    def settle(self, update: int) -> None:
        """What the trainer wrote after an update becomes a checkpoint; those that are not needed any more go."""
        made, final = self.part / f"{_NAME}{update}", self.folder / f"{_NAME}{update}"
        self.more(made)
        sizes = {p.relative_to(made).as_posix(): p.stat().st_size for p in sorted(made.rglob("*")) if p.is_file()}
        write_atomic(made / _STATE, json.dumps({"update": update, "identity": self._identity, "sizes": sizes}))
        fsync_tree(made)
        shutil.rmtree(final, ignore_errors=True)
        made.rename(final)
        fsync_path(self.folder)
        own = sorted((int(state["update"]), path) for path, state in _whole(self.folder) if state["identity"] == self._identity)
        held = {path for _, path in own[-self._when.keep :]}
        for path in self.folder.iterdir():
            if path not in held:
                shutil.rmtree(path, ignore_errors=True)


def _whole(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The whole checkpoints in a folder, each with what it says of itself."""
    for path in folder.glob(f"{_NAME}*"):
        try:
            state = read_json(path / _STATE)
            if isinstance(state, dict) and all((path / name).stat().st_size == size for name, size in state["sizes"].items()):
                yield path, state
        except (OSError, InputError, KeyError):
            continue


def identity_of(method: str, config: AnyConfig, shards: Path) -> dict[str, Any]:
    """What a training is: method, settings, the model's content and that of the shards."""
    name = config.model if isinstance(config.model, str) else None
    folder = None if name is None else model_folder(name, short=True)
    files = {p.name: sha256_once(p, p) for p in sorted((shards / "data").glob("*.parquet"))}
    settings = config.shaping()
    if (sharing := own_file(config.parallel)) is not None:  # by what it says, wherever it is
        settings["parallel"] = f"a file of the SHA-256 {sha256_once(sharing, sharing)}"
    model = settings.pop("model") if folder is None else model_hash(folder)
    whole = {"method": method, "model": model, "shards": files, "settings": {n: v for n, v in settings.items() if n not in ("model", "threads")}}
    found: dict[str, Any] = json.loads(json.dumps(whole))  # as it will be read
    return found


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """In what two trainings differ, in words."""
    out = [f"another {what}" for what in ("method", "model") if before.get(what) != now[what]]
    out += ["other shards"] if before.get("shards") != now["shards"] else []
    old, new = (_flat(identity.get("settings", {})) for identity in (before, now))
    changed = [name for name in sorted({**old, **new}) if old.get(name) != new.get(name)]
    return ", ".join(out + [f"{name} was {old.get(name)}, is {new.get(name)}" for name in changed[:4]] + ["…"] * (len(changed) > 4))


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with those of the trainer beside the others."""
    return {**{n: v for n, v in settings.items() if n != "trainer"}, **{f"trainer.{n}": v for n, v in settings.get("trainer", {}).items()}}


def kept_update(kept: Path) -> int | None:
    """The update after which the training whose checkpoints are in a folder would go on; None where it would start from its beginning."""
    return max((int(state["update"]) for _, state in _whole(kept)), default=None)
