"""Whether a folder of data is what its own manifest says, and who vouches for it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.api._results import Signed, Verified
from toolkit.common.errors import InputError, Missing, short_path
from toolkit.common.paths import at_door
from toolkit.common.resources import near_run
from toolkit.pipeline import gone_rows, is_run, refuse_stale, stale, stale_step, step_folders, verify_run
from toolkit.shards import SUFFIX, is_overlay, public_keys, read_overlay, sign_overlay, signature_of, title_of, unproven, versions
from toolkit.shards import sign as sign_manifest
from toolkit.shards import verify as verify_shards
from toolkit.shards.exporters import RECORD, shard_folder, unproven_of_export, verify_export

MANIFEST = "manifest.json"
KEY = "GUARDKIT_SIGNING_KEY"
"""Variable that names the file of the private key."""

OVERLAY = {
    "reviewers": "who decided, and when: whoever wrote the lines wrote that, too; a signature says who vouches for them",
    "end": "whether there were more lines: a signature that is asked for, and a run that was built with it (given as rows), show lines that are gone",
}
"""What an overlay says and its lines cannot prove."""
RUN = {"steps": "whether the steps did what their manifests say: the recipe, run again with the same seed, makes the same bytes"}
"""What a run says and its files cannot prove; of its shards see theirs."""


def verify(
    folder: str | Path,
    *,
    key: str | Path | None = None,
    require_signature: bool = False,
    rows: str | Path | None = None,
    media: str | Path | None = None,
) -> Verified:
    """Check shards, or an export of some, against the manifest in their folder, by what the files hold; and its signature, where there is one. Or an
    overlay: that none of its lines was changed or is missing, and who signed them.

    Args:
        folder: of shards, a step's folder that holds one, an export's, or a run's (each of its steps against its own manifest, and its shards); or
            the file of an overlay.
        key: file of public keys (a ``.pub``, ``authorized_keys`` or ``allowed_signers`` of OpenSSH, or PEM), one of which must have signed it.
        require_signature: refuse a folder that nobody has signed, or an overlay with decisions after the last signature.
        media: of shards, the dataset's folder: the files that their rows refer to must be there, with the bytes of their sha256 (docs/media.md).
        rows: of an overlay, the rows that it is about: a run, a step, shards or a file; of a run also that it was built with these lines.

    Returns:
        ``folder``; ``kind``: ``shards``, ``export`` or ``run``; ``to``: the export's format, else None; ``rows`` (of an export: of its shards);
        ``files``: by path what the manifest says of each; ``extends``: of shards the versions before, the newest first, each with ``title``, ``rows``
        and ``manifest_sha256``; ``signature``: None, or ``by`` (the key's fingerprint), ``key``, ``trusted`` (True
        where it is one of `key`, None where none was given); ``unproven``: what the manifest says and the files cannot prove, by name; of a run
        also ``missing``: steps of its recipe that are not finished, or gone; ``stale``: steps, of this run or the one that made the shards, that
        are whole, but not what the recipe makes (any more). Of an overlay ``kind`` is ``overlay``, ``rows``
        are those that it is about, ``signature`` the last one, and it has ``decisions``, ``unsigned`` (those after it) and ``gone`` (line, id and
        task of those about rows that `rows` lacks).

    Raises:
        InputError: the folder is neither, or its manifest cannot be read; it is not signed, or not by one of the keys; InputErrors: all that is
            wrong with its files; Missing: it is signed, and the package that checks signatures is not there.

    Example:
        >>> toolkit.verify("outputs/small")["kind"]
        'run'
        >>> toolkit.verify("outputs/small/shards")["rows"]
        11
    """
    place = at_door(folder)
    if is_overlay(place):
        return _overlay(place, None if key is None else at_door(key), require_signature, None if rows is None else at_door(rows))
    if rows is not None:
        raise InputError("rows are for an overlay", where=str(folder), hint="name a file ….overlay.jsonl")
    files = None if media is None else at_door(media)
    if files is not None and not files.is_dir():
        raise InputError("no such folder", where=str(media), hint="{--media|media} is the dataset's folder, from which its files are named")
    if is_run(place):
        if key is not None or require_signature:
            raise InputError("a run has no signature", where=str(folder), hint="name the step whose shards were signed")
        found = verify_run(place)
        for manifest in sorted(place.glob(f"*/shards/{MANIFEST}")):
            verify_shards(manifest.parent, media=files)
        left = stale(step_folders(place))
        return Verified({"folder": short_path(place), "to": None, **found, "extends": [], "signature": None, "stale": sorted(left), "unproven": RUN})
    where = shard_folder(place)
    trusted = public_keys(at_door(key)) if key is not None else None
    exported = _exported(where)
    if exported and files is not None:
        raise InputError("media are looked at beside shards", where=str(where), hint="name the shards that were exported")
    content = verify_export(where) if exported else verify_shards(where, media=files)
    signature = signature_of(where / (RECORD if exported else MANIFEST))
    if signature is None and (trusted is not None or require_signature):
        raise InputError("nobody has signed this folder", where=str(where), hint="guardkit sign DIR --key KEY, by whoever vouches for it")
    if signature is not None and trusted is not None and signature.key not in trusted:
        raise InputError(f"signed by {signature.by}, which is none of the keys in {key}", where=str(where))
    return Verified(
        {
            "folder": short_path(where),
            "kind": "export" if exported else "shards",
            "to": content["to"] if exported else None,
            "rows": content["rows"],
            "files": content["files"],
            "extends": [] if exported else _before(content),
            "signature": None if signature is None else {"by": signature.by, "key": signature.key, "trusted": True if trusted is not None else None},
            "stale": [old] if (old := stale_step(where)) is not None else [],
            "unproven": unproven_of_export(content, where) if exported else _open_questions(content, files),
        }
    )


def _open_questions(content: Mapping[str, Any], files: Path | None) -> dict[str, str]:
    return {name: words for name, words in unproven(content).items() if name != "media" or files is None}


def sign(folder: str | Path, key: str | Path | None = None) -> Signed:
    """Verify shards, or an export of some, and sign them: ``manifest.json.sig`` (``export.json.sig``) in their folder. Or an overlay: its next line.

    Args:
        folder: as in `verify`.
        key: file of an Ed25519 private key, as ``ssh-keygen -t ed25519`` makes it; default: the one that ``GUARDKIT_SIGNING_KEY`` names.

    Returns:
        ``folder``, ``file`` (of the signature), ``by`` (the key's fingerprint) and ``key`` (the public one).

    Raises:
        InputError: as `verify`, or the key cannot be read; the shards are of a stale step; Missing: no key, or the package `cryptography`.

    Example:
        >>> toolkit.sign("outputs/small/shards", "key")["file"]
        'outputs/small/shards/shards/manifest.json.sig'
        >>> toolkit.verify("outputs/small/shards", key="key.pub")["signature"]["trusted"]
        True
    """
    if not (key := key or os.environ.get(KEY)):
        raise Missing("no key to sign with", hint=f"{{--key FILE|key=FILE}}, or {KEY}: the file of a private key (ssh-keygen -t ed25519 -f FILE)")
    if is_overlay(file := at_door(folder)):
        signer = sign_overlay(file, at_door(key))
        return Signed({"folder": short_path(file.parent), "file": short_path(file), "by": signer.by, "key": signer.key})
    where = shard_folder(file)
    refuse_stale(where)
    exported = _exported(where)
    check = verify_export if exported else verify_shards
    check(where, signature=False)
    manifest = where / (RECORD if exported else MANIFEST)
    file = manifest.with_name(manifest.name + SUFFIX)
    if file.exists() and file.samefile(at_door(key)):
        raise InputError("the signature would take the place of the key", where=str(file))
    made = sign_manifest(manifest, at_door(key))
    return Signed({"folder": short_path(where), "file": short_path(file), "by": made.by, "key": made.key})


def _overlay(file: Path, key: Path | None, require_signature: bool, rows: Path | None) -> Verified:
    found = read_overlay(file)
    keys = public_keys(key) if key is not None else None
    if (keys is not None or require_signature) and (lines := found.unsigned(keys)):
        who = "nobody" if keys is None else f"none of the keys in {short_path(key)}" if key is not None else ""
        hint = "guardkit sign FILE --key KEY, by whoever vouches for them"
        raise InputError(f"{len(lines):,} decisions are signed by {who}, the first on line {lines[0]}", where=str(file), hint=hint)
    gone = {} if rows is None else gone_rows(found, rows)
    last = found.signatures.get(found.signed_to(keys))
    signature = None if last is None else {"by": last.by, "key": last.key, "trusted": True if keys is not None else None}
    out: dict[str, Any] = {"folder": short_path(file), "kind": "overlay", "to": None, "rows": len({d["id"] for d in found.decisions.values()})}
    out |= {"files": {}, "extends": [], "signature": signature, "stale": [], "unproven": OVERLAY}
    gone_lines = [{"line": n, "id": row, "task": found.decisions[n]["task"]} for n, row in gone.items()]
    return Verified(out | {"decisions": len(found.decisions), "unsigned": len(found.unsigned(keys)), "gone": gone_lines})


def _before(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The versions that a set extends."""
    found = [version["extends"] for version in versions(manifest) if version.get("extends")]
    return [{"title": title_of(e["manifest"]), "rows": e["manifest"]["rows"], "manifest_sha256": e["manifest_sha256"]} for e in found]


def _exported(where: Path) -> bool:
    """Whether a folder holds an export, and not shards."""
    exported, shards = (where / RECORD).is_file(), (where / MANIFEST).is_file()
    if not exported and not shards:
        message = f"no {MANIFEST} (shards) and no {RECORD} (an export): neither of the two, or one that was never finished"
        raise InputError(message, where=str(where), hint=near_run(where) or "name the folder that holds that file")
    return exported and not shards
