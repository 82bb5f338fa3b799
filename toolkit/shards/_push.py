"""Push: a verified folder of data to the Hugging Face hub, as one commit of a dataset repository.

What is sent is what the folder's manifest names, no other file. A push is one commit that either happens whole or not at all: large files
go up first, and until the commit names them no reader sees them. Afterwards the hub's own listing of that commit is held against what was
to be sent. Files that the hub has already (by LFS sha256, or git's hash of a small one) are not sent again, so a push that was cut off, or
one that changes nothing, costs little. Files of an earlier push that the folder no longer has are deleted in the same commit.

Refused: a folder that is not what its manifest says; rows whose licence is unknown; a repository that is more public than was asked for, or
that holds data which guardkit did not put there. The token comes from the caller and goes to the hub alone: no file and no message has it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import GuardkitError, InputError, Missing, Stopped, require
from toolkit.common.files import sha256_file
from toolkit.common.http import HUB, careful_hub
from toolkit.common.secrets import bare_urls, fit_for_a_header, shown
from toolkit.shards._check_folder import verify
from toolkit.shards._licences import ADD, load_licences, resolve
from toolkit.shards._manifest import MANIFEST
from toolkit.shards._sign import SUFFIX
from toolkit.shards.exporters import RECORD, card_of, shard_folder, verify_export

if TYPE_CHECKING:
    from huggingface_hub import HfApi

REPO = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
"""Names of repositories: owner and name."""
TOKENS = "https://huggingface.co/settings/tokens"
_AGAIN = "push again: what the hub has is not sent twice, and until then a reader sees the files of before or those of the folder, never some of each"
_DATA = (".parquet", ".jsonl", ".json", ".csv", ".tsv", ".arrow", ".txt", ".zip", ".gz", ".zst", ".tar")


@dataclass(frozen=True)
class Piece:
    """A file to send: where it goes, its bytes (a file's, or as they are), and their number and sha256."""

    path: str
    content: Path | bytes
    size: int
    sha256: str

    def git_hash(self) -> str:
        """Git's hash of the bytes, by which the hub lists small files."""
        data = self.content if isinstance(self.content, bytes) else self.content.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def to_send(folder: Path) -> list[Piece]:
    """What a push of this folder would send.

    Args:
        folder: of shards, a step's folder that holds one, or an export's.

    Raises:
        InputError: neither, or a row's licence is unknown; InputErrors: it is not what its manifest says.
    """
    folder = shard_folder(folder)
    exported = (folder / RECORD).is_file() and not (folder / MANIFEST).is_file()
    about = verify_export(folder) if exported else verify(folder)
    _licensed(about, folder)
    manifest = RECORD if exported else MANIFEST
    names = sorted([*about["files"], manifest, *([manifest + SUFFIX] if (folder / (manifest + SUFFIX)).exists() else [])])
    pieces = [Piece(n, folder / n, (folder / n).stat().st_size, about["files"].get(n, {}).get("sha256") or sha256_file(folder / n)) for n in names]
    if "README.md" not in names:
        text = card_of(folder, about).encode()
        pieces.append(Piece("README.md", text, len(text), hashlib.sha256(text).hexdigest()))
    return pieces


def _licensed(about: dict[str, Any], folder: Path) -> None:
    """Refuse rows of which nobody knows whether they may be passed on, and a set under a licence that its rows may not go into."""
    rows = about["counts"].get("licence", {})
    if not rows:
        raise InputError("no licence is known for any row, so they cannot be passed on", where=str(folder), hint="name it in the rows' source")
    table, carried = load_licences(), (about.get("licence") or {}).get("id")
    found = resolve(rows, carried, table)
    if found.unknown:
        what = ", ".join(f"{word!r} ({rows[word]:,} rows)" for word in found.unknown)
        raise InputError(f"licences that nobody knows: {what}; such rows cannot be passed on", where=str(folder), hint=ADD)
    if found.refused:
        raise InputError(f"it carries {carried}, but rows are under {', '.join(found.refused)}, which may not go into it", where=str(folder))
    if carried is None and len(rows) > 1 and "licence" in about.get("left_out", ()):
        words = ", ".join(sorted(rows))
        raise InputError(
            f"its rows are under {words}, no one licence is known to fit all, and the format {about['to']!r} cannot say which row has which",
            where=str(folder),
            hint="name a licence for the set in the shards step, or push the shards themselves",
        )


def push(
    folder: Path,
    repo: str,
    *,
    token: str | None,
    public: bool = False,
    revision: str = "main",
    message: str = "Upload with guardkit",
    endpoint: str | None = None,
) -> dict[str, Any]:
    """Make a dataset repository on the hub hold what the folder holds.

    Args:
        folder: as in `to_send`.
        repo: owner and name; made where there is none.
        token: with write access to it.
        public: whether everybody may read it; private by default.
        revision: the branch; made where there is none.
        message: of the commit.
        endpoint: of the hub; by default huggingface_hub's own (``HF_ENDPOINT``).

    Returns:
        repo, revision, private, url, commit (its hash), sent and deleted (paths), unchanged (number of files).

    Raises:
        InputError: as `to_send`, and a name, repository or branch that does not fit; Missing: no token, no access, or the hub is out of
            reach; Stopped: the hub broke off. In each case the branch is as it was (a repository or branch made just before stays, empty), or, where
            the hub's last answer was lost, as the folder is.
    """
    if not REPO.fullmatch(repo):
        raise InputError(f"{repo!r} is no name of a repository", hint="it has the form ORG/NAME")
    pieces = to_send(folder)
    if not message.strip():
        raise InputError("a commit needs a message", where=repo, hint="--message WORDS")
    require("huggingface_hub", "hub", "a push")
    token = (token or "").strip()
    if not fit_for_a_header(token):
        what = (
            "the token holds what no token holds: a space, a line break, or a letter that is not ASCII"
            if token
            else "a push needs a token with write access"
        )
        raise Missing(what, hint=f"make one at {TOKENS} and set it as HF_TOKEN")
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    with _hub_errors(repo), careful_hub(token):
        api = HfApi(endpoint=endpoint, token=token, library_name="guardkit")
        head = _repository(api, repo, public, revision)
        there = _listing(api, repo, head)
        gone = _leftovers(api, repo, head, there, {p.path for p in pieces})
        fresh = [p for p in pieces if not _same(p, there.get(p.path))]
        adds: list[Any] = [CommitOperationAdd(p.path, p.content) for p in fresh]
        commit = head
        if adds or gone:
            deletes = [CommitOperationDelete(path) for path in gone]
            done = api.create_commit(repo, [*adds, *deletes], commit_message=message, repo_type="dataset", revision=revision, parent_commit=head)
            commit = done.oid
        _arrived(_listing(api, repo, commit), pieces, gone, repo)
    url = bare_urls(f"{api.endpoint}/datasets/{repo}") + ("" if revision == "main" else f"/tree/{revision}")
    about = {"repo": repo, "revision": revision, "private": not public, "url": url, "commit": commit}
    return {**about, "sent": [p.path for p in fresh], "deleted": gone, "unchanged": len(pieces) - len(fresh)}


def _repository(api: HfApi, repo: str, public: bool, revision: str) -> str:
    """The repository, made where there is none; the hash of the branch's last commit."""
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    try:
        found = api.dataset_info(repo)
    except RepositoryNotFoundError:
        api.create_repo(repo, repo_type="dataset", private=not public)
        found = api.dataset_info(repo)
    if bool(found.private) == public:
        state, hint = ("private", "leave --public out") if found.private else ("public", "say --public if that is meant")
        raise InputError(f"the repository is {state}", where=repo, hint=f"{hint}, or change it on its settings page")
    try:
        return str(api.dataset_info(repo, revision=revision).sha)
    except RevisionNotFoundError:
        api.create_branch(repo, branch=revision, repo_type="dataset")
        return str(api.dataset_info(repo, revision=revision).sha)


def _listing(api: HfApi, repo: str, commit: str) -> dict[str, Any]:
    """The files of a commit by path: `RepoFile`."""
    from huggingface_hub import RepoFile

    return {f.path: f for f in api.list_repo_tree(repo, recursive=True, revision=commit, repo_type="dataset") if isinstance(f, RepoFile)}


def _same(piece: Piece, there: Any) -> bool:
    if there is None:
        return False
    if there.lfs is not None:
        return bool(there.lfs.sha256 == piece.sha256)
    return bool(there.size == piece.size and there.blob_id == piece.git_hash())


def _leftovers(api: HfApi, repo: str, head: str, there: dict[str, Any], new: set[str]) -> list[str]:
    """Files of an earlier push that are to go.

    Raises:
        InputError: the repository holds data that no earlier push brought.
    """
    brought: set[str] = set()
    for name in sorted(n for n in {MANIFEST, RECORD} & set(there) if there[n].size <= HUB):  # a larger one is another program's
        with TemporaryDirectory() as cache:
            text = Path(api.hf_hub_download(repo, name, revision=head, repo_type="dataset", cache_dir=cache)).read_bytes()
        try:
            about = json.loads(text)
        except ValueError:  # another program's: what it names is then data that guardkit did not bring
            continue
        if isinstance(about, dict) and about.get("made_by") == "guardkit" and isinstance(about.get("files"), dict):
            brought |= {name, name + SUFFIX, "README.md", *about["files"]}
    others = sorted(p for p in there if p not in brought and p.endswith(_DATA) and not p.startswith("."))
    if others:
        raise InputError(
            f"the repository holds data that guardkit did not put there: {', '.join(others[:3])}{' …' if len(others) > 3 else ''}",
            where=repo,
            hint="push to a repository of its own, or delete them there first",
        )
    return sorted(path for path in (brought & set(there)) - new if not path.startswith("."))


def _arrived(there: dict[str, Any], pieces: list[Piece], gone: list[str], repo: str) -> None:
    """Hold the hub's listing of the commit against what was to be sent: a .gitignore there, say, leaves files out without an error."""
    lacking = [p.path for p in pieces if not _same(p, there.get(p.path))]
    still = [p for p in gone if p in there]
    if lacking or still:
        what = "; ".join([*(["lacking: " + ", ".join(lacking[:5])] if lacking else []), *(["still there: " + ", ".join(still[:5])] if still else [])])
        raise Stopped(
            f"the hub took the commit, but its files are not the folder's ({what})", where=repo, hint="look for a .gitignore there, and push again"
        )


@contextmanager
def _hub_errors(repo: str) -> Iterator[None]:
    """What the hub or the way to it refuses, as an error that says what to do."""
    from huggingface_hub.errors import HFValidationError, OfflineModeIsEnabled

    try:
        yield
    except GuardkitError:
        raise
    except HFValidationError as e:
        raise InputError(_short(e), where=repo, hint="ORG/NAME: letters, digits, - _ . and no more than 96 of them") from None
    except OfflineModeIsEnabled:
        raise Missing("huggingface_hub is set to stay offline", where=repo, hint="unset HF_HUB_OFFLINE") from None
    except Exception as e:  # noqa: BLE001  of the hub, the way to it, a thread, or what an answer of another form makes of huggingface_hub
        raise _explained(e, repo) from None


def _explained(error: BaseException, repo: str) -> GuardkitError:
    """The innermost answer of the hub, or failure to reach it, in our words."""
    import httpx2

    chain: list[BaseException] = [error]
    while (inner := chain[-1].__cause__) is not None and inner not in chain:
        chain.append(inner)
    status = next((r.status_code for e in chain if (r := getattr(e, "response", None)) is not None), None)
    words = _short(error)
    if status is None:
        if any(isinstance(e, httpx2.TransportError | OSError) for e in chain):
            return Missing(f"the hub cannot be reached ({words})", where=repo, hint=f"check the network, then {_AGAIN}")
        return Stopped(f"the hub answered in a way that huggingface_hub does not know ({words})", where=repo, hint=_AGAIN)
    if status in (401, 403):
        return Missing(
            f"the hub does not let this token do that ({status}: {words})",
            where=repo,
            hint=f"it needs write access to this owner's repositories: {TOKENS}",
        )
    if status == 404:
        return InputError(f"the hub knows no such owner, repository or branch ({words})", where=repo, hint="check ORG/NAME and --revision")
    if status in (409, 412):
        return Stopped(f"the repository changed while it was pushed to ({status}: {words})", where=repo, hint="nothing was committed; push again")
    if status == 429 or status >= 500:
        return Stopped(f"the hub broke off ({status}: {words})", where=repo, hint=_AGAIN)
    large = "a file is too large: make smaller ones (`rows_per_shard` of the shards step), and push the shards where an export has one file a split"
    return InputError(f"the hub refuses the push ({words})", where=repo, hint=large if status == 413 else None)


def _short(error: BaseException) -> str:
    return shown(f"{type(error).__name__}: {' '.join(str(error).split())}")[:300]
