"""Shards in another trainer's format, and on the hub."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from toolkit.api._results import Exported
from toolkit.api._verify import sign as sign_folder
from toolkit.common.errors import InputError, short_path
from toolkit.common.outputs import check_output
from toolkit.common.paths import at_door
from toolkit.common.resources import find
from toolkit.pipeline import Progress, refuse_stale
from toolkit.shards.exporters import COPIES, EMBEDDED, Weights, shard_folder
from toolkit.shards.exporters import export as export_shards


def export(
    folder: str | Path,
    to: str | None = None,
    *,
    output: str | Path | None = None,
    split: str | None = None,
    weights: Weights | None = None,
    copies: int | None = None,
    guard: str | Path | None = None,
    formula: str | Path | None = None,
    media: str | Path | None = None,
    overwrite: bool = False,
    repo: str | None = None,
    public: bool = False,
    revision: str = "main",
    message: str | None = None,
    dry_run: bool = False,
    sign: str | Path | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Write shards in another trainer's format, push them to the hub, or both.

    Args:
        folder: of shards, a step's folder that holds one, or, to be pushed as it is, an earlier export.
        to: ``trl``, ``llamafactory``, ``verl``, ``easyr1``, ``ms-swift``, ``openai`` or ``guardreasoner``; None with `repo`
            pushes the folder as it is.
        output: the new folder; default ``<name>-<format>`` in the working folder. An earlier export there is replaced
            as long as nobody changed it, anything else is not.
        split: the one split to export; all by default.
        weights: pairs' weights where the format has no place for them: ``repeat`` or ``drop``.
        copies: with ``repeat``, copies of a pair of weight 1; default 5.
        guard: the guard that the shards were rendered for, by name or file; default: the one that their manifest names.
        formula: of rewards, by name or file, for verl, EasyR1 and ms-swift; default: that of the guard's name, else ``accuracy``.
        media: the dataset's folder: the files that rows refer to are copied beside the export, each held against its sha256. ``embedded``: those that
            the shards hold. Default: references alone.
        overwrite: replace an earlier export whose files were changed, too.
        repo: ORG/NAME of a dataset repository on the hub; the token is HF_TOKEN of the environment.
        public: whether a repository that is made now is public, or that an existing one is known to be.
        revision: branch of the repository.
        message: of the commit.
        dry_run: push nothing; say what would be sent.
        sign: file of an Ed25519 private key; the new folder is signed with it, see `toolkit.api.sign`.
        progress: where progress is shown; default nowhere.

    Returns:
        ``output`` and ``export`` (its record; both None without `to`), ``signed`` (the key's fingerprint, or None), and ``push``: None without
        `repo`, ``{"repo", "would_send": [{"path", "bytes", "sha256"}]}`` with `dry_run`, else what `toolkit.shards.push` returns.

    Raises:
        InputError: the shards are of a stale step; neither a format nor a repository, options that belong to the other one, and all that
            `toolkit.shards.exporters.export` and `toolkit.shards.push` raise, with `Missing` and `Stopped`.

    Example:
        >>> toolkit.export("outputs/small/shards", "trl", output="for-trl")["output"]
        'for-trl'
    """
    folder = at_door(folder)
    given = {"output": output, "split": split, "weights": weights, "copies": copies, "guard": guard}
    given |= {"formula": formula, "media": media, "sign": sign, "overwrite": overwrite or None}
    _sensible(to, repo, given, dry_run)
    refuse_stale(shard_folder(folder))
    record, target, signed_by = None, None, None
    if to is not None:
        target = at_door(output if output is not None else f"{_name(folder)}-{to}")
        check_output(target, reads=_reads(folder, guard, formula, sign), whole=True, own="export")
        with progress or Progress.silent() as bar:
            bar.start(f"export to {to}")
            options: dict[str, Any] = {"split": split, "weights": weights, "copies": COPIES if copies is None else copies, "overwrite": overwrite}
            options |= {name: None if value is None else str(value) for name, value in (("guard", guard), ("formula", formula))}
            options["media"] = media if media is None or media == EMBEDDED else at_door(media)
            record = export_shards(folder, to, target, **options, progress=lambda done, rows: bar.update(done, rows, "rows"))
        if sign is not None:
            signed_by = sign_folder(target, sign)["by"]
    sent = _pushed(target or folder, repo, public, revision, message, dry_run) if repo is not None else None
    return Exported({"output": short_path(target) if target else None, "export": record, "signed": signed_by, "push": sent})


def _reads(folder: Path, guard: str | Path | None, formula: str | Path | None, key: str | Path | None) -> list[Path]:
    schemas = [find(kind, name) for kind, name in (("guards", guard), ("rewards", formula)) if name is not None]
    return [shard_folder(folder), *schemas, *([at_door(key)] if key is not None else [])]


def _sensible(to: str | None, repo: str | None, options: dict[str, Any], dry_run: bool) -> None:
    if to is None and repo is None:
        raise InputError(
            "neither a format nor a repository",
            hint="{--format trl|to='trl'} writes the shards in another format, {--push ORG/NAME|repo=ORG/NAME} sends them",
        )
    if to is None and (given := [name for name, value in options.items() if value is not None]):
        raise InputError(f"{{--{given[0]}|{given[0]}}} needs a format", hint="{--format trl|to='trl'}, say")
    if repo is None and dry_run:
        raise InputError("{--dry-run|dry_run} needs a repository", hint="{--push ORG/NAME|repo=ORG/NAME}")
    if options["copies"] is not None and options["weights"] != "repeat":
        raise InputError("{--copies|copies} goes with {--weights repeat|weights='repeat'}")


def _name(folder: Path) -> str:
    """A name for the shards in a folder: that of the step, where the folder is called ``shards``."""
    shards = shard_folder(folder).resolve()
    return shards.parent.name if shards.name == "shards" else shards.name


def _pushed(folder: Path, repo: str, public: bool, revision: str, message: str | None, dry_run: bool) -> dict[str, Any]:
    from toolkit.shards import push, to_send

    if dry_run:
        return {"repo": repo, "would_send": [{"path": p.path, "bytes": p.size, "sha256": p.sha256} for p in to_send(folder)]}
    named = {} if message is None else {"message": message}
    return push(folder, repo, token=os.environ.get("HF_TOKEN"), public=public, revision=revision, **named)
