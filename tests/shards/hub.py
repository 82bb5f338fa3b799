"""A hub on this machine: the endpoints that a push of a dataset uses, with real contents behind them, and faults on demand.

It answers as huggingface_hub 2.4 reads the Hub's answers (its `hf_api`, `_commit_api` and `lfs`): creating a repository and a branch, what is
there, what a file is to go as, LFS batch and upload, the commit (all or nothing, refused when the branch has moved), and reading a file.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_testtoken123456"  # noqa: S105  of this hub
NEW = {".gitattributes": b"*.parquet filter=lfs diff=lfs merge=lfs -text\n"}


def git_hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


@dataclass
class Repo:
    """Commits hold every file: bytes, or the sha256 of an LFS object."""

    private: bool
    commits: dict[str, dict[str, bytes | str]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def commit(self, branch: str, files: dict[str, bytes | str]) -> str:
        oid = hashlib.sha1(f"{len(self.commits)}{branch}".encode(), usedforsecurity=False).hexdigest()
        self.commits[oid], self.branches[branch] = files, oid
        return oid

    def at(self, revision: str) -> str | None:
        return self.branches.get(revision) or (revision if revision in self.commits else None)


class Hub:
    """The hub's state, and what it was asked.

    Attributes:
        repos: by name.
        objects: LFS objects by sha256.
        asked: (method, path) of every request.
        fault: called with method and path before a request is answered; a status ends it, and so does the body of a 200.
        silent: after the next commit the connection ends without a word.
        ignored: patterns of a .gitignore that the repositories have.
    """

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []
        self.bodies: list[Any] = []
        self.fault: Callable[[str, str], int | bytes | None] = lambda method, path: None
        self.ignored = ""
        self.silent = False
        self.url = ""

    def files(self, repo: str, branch: str = "main") -> dict[str, bytes]:
        """What a reader of the branch sees."""
        found = self.repos[repo].commits[self.repos[repo].branches[branch]]
        return {path: data if isinstance(data, bytes) else self.objects[data] for path, data in found.items()}

    def sent(self, what: str) -> list[str]:
        """Paths of requests that hold these words."""
        return [path for _, path in self.asked if what in path]


@contextmanager
def running() -> Iterator[Hub]:
    """A hub that answers on a free port."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.asked.append((self.command, path))
        if isinstance(status := self.hub.fault(self.command, path), bytes):
            self._say(200, status)
        elif status is not None:
            self._say(status, {"error": "as the test wants"}, {"X-Error-Message": "as the test wants"})
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}" and not path.startswith("/lfs/"):
            self._say(401, {"error": "Invalid credentials"}, {"X-Error-Message": "Invalid credentials in Authorization header"})
        else:
            for pattern, method in ROUTES:
                if found := re.fullmatch(pattern, f"{self.command} {path}"):
                    method(self, body, *found.groups())
                    return
            self._say(404, {"error": f"no such endpoint: {self.command} {path}"})

    do_GET = do_POST = do_PUT = do_HEAD = _answer  # noqa: N815  as http.server wants them

    def _say(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Length": str(len(data)), "Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _repo(self, name: str) -> Repo | None:
        found = self.hub.repos.get(name)
        if found is None:
            self._say(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
        return found

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        self.hub.bodies.append(asked)
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.hub.repos:
            self._say(409, {"error": "You already created this dataset repo", "url": f"{self.hub.url}/datasets/{name}"})
            return
        self.hub.repos[name] = repo = Repo(asked["visibility"] == "private")
        repo.commit("main", dict(NEW))
        self._say(200, {"url": f"{self.hub.url}/datasets/{name}", "name": name})

    def info(self, body: bytes, name: str, revision: str | None = None) -> None:
        if repo := self._repo(name):
            oid = repo.at(revision or "main")
            if oid is None:
                self._say(404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id"})
            else:
                self._say(200, {"id": name, "sha": oid, "private": repo.private, "siblings": []})

    def branch(self, body: bytes, name: str, branch: str) -> None:
        if repo := self._repo(name):
            repo.commit(branch, dict(repo.commits[repo.branches["main"]]))
            self._say(200, {})

    def tree(self, body: bytes, name: str, revision: str) -> None:
        if repo := self._repo(name):
            listed = []
            for path, data in repo.commits[repo.at(revision) or ""].items():
                if isinstance(data, bytes):
                    listed.append({"type": "file", "path": path, "size": len(data), "oid": git_hash(data)})
                else:
                    size = len(self.hub.objects[data])
                    lfs = {"oid": data, "size": size, "pointerSize": 130}
                    listed.append({"type": "file", "path": path, "size": size, "oid": git_hash(data.encode()), "lfs": lfs})
            folders = {path.rpartition("/")[0] for path in repo.commits[repo.at(revision) or ""]} - {""}
            self._say(200, [*({"type": "directory", "path": f, "size": 0, "oid": "0" * 40} for f in sorted(folders)), *listed])

    def preupload(self, body: bytes, name: str, revision: str) -> None:
        if repo := self._repo(name):
            there = repo.commits[repo.at(revision) or ""]
            files = []
            for f in json.loads(body)["files"]:
                assert set(f) == {"path", "sample", "size"} and base64.b64decode(f["sample"]) is not None
                old = there.get(f["path"])
                mode = "lfs" if f["path"].endswith(".parquet") or f["size"] > 20_000 else "regular"
                oid = {"oid": old if isinstance(old, str) else git_hash(old)} if old is not None else {}
                files.append(
                    {"path": f["path"], "uploadMode": mode, "shouldIgnore": bool(self.hub.ignored and re.search(self.hub.ignored, f["path"])), **oid}
                )
            self._say(200, {"files": files})

    def batch(self, body: bytes, name: str) -> None:
        asked = json.loads(body)
        assert asked["operation"] == "upload" and asked["hash_algo"] == "sha256"
        out = []
        for o in asked["objects"]:
            upload = {"upload": {"href": f"{self.hub.url}/lfs/{o['oid']}"}}
            out.append({**o, **({} if o["oid"] in self.hub.objects else {"actions": upload})})
        self._say(200, {"objects": out, "transfer": "basic"})

    def put(self, body: bytes, oid: str) -> None:
        if hashlib.sha256(body).hexdigest() != oid:
            self._say(400, {"error": "other bytes than announced"})
            return
        self.hub.objects[oid] = body
        self._say(200, {})

    def commit(self, body: bytes, name: str, branch: str) -> None:
        repo = self._repo(name)
        if repo is None:
            return
        lines = [json.loads(line) for line in body.splitlines()]
        self.hub.bodies.append(lines)
        head, files = lines[0]["value"], dict(repo.commits[repo.branches[branch]])
        if head.get("parentCommit") not in (None, repo.branches[branch]):
            self._say(412, {"error": "A commit has happened since. Please refresh and try again."})
            return
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile" and value["oid"] in self.hub.objects:
                files[value["path"]] = value["oid"]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
            else:
                self._say(400, {"error": f"cannot {line['key']} {value['path']}"})
                return
        oid = repo.commit(branch, files)
        if self.hub.silent:
            self.hub.silent, self.close_connection = False, True
            return
        self._say(200, {"success": True, "commitOid": oid, "commitUrl": f"{self.hub.url}/datasets/{name}/commit/{oid}", "hookOutput": ""})

    def read(self, body: bytes, name: str, revision: str, path: str) -> None:
        if repo := self._repo(name):
            oid = repo.at(revision) or ""
            data = repo.commits[oid][path]
            data = data if isinstance(data, bytes) else self.hub.objects[data]
            self._say(200, data, {"X-Repo-Commit": oid, "ETag": f'"{git_hash(data)}"', "Content-Type": "application/octet-stream"})

    def yaml(self, body: bytes) -> None:
        assert json.loads(body)["repoType"] == "dataset"
        self._say(200, {"errors": [], "warnings": []})


NAME = r"([\w.-]+/[\w.-]+)"
ROUTES: list[tuple[str, Callable[..., None]]] = [
    (r"POST /api/repos/create", _Handler.create),
    (r"POST /api/validate-yaml", _Handler.yaml),
    (rf"GET /api/datasets/{NAME}", _Handler.info),
    (rf"GET /api/datasets/{NAME}/revision/(.+)", _Handler.info),
    (rf"POST /api/datasets/{NAME}/branch/(.+)", _Handler.branch),
    (rf"GET /api/datasets/{NAME}/tree/([^/]+)", _Handler.tree),
    (rf"POST /api/datasets/{NAME}/preupload/(.+)", _Handler.preupload),
    (rf"POST /api/datasets/{NAME}/commit/(.+)", _Handler.commit),
    (rf"POST /datasets/{NAME}\.git/info/lfs/objects/batch", _Handler.batch),
    (r"PUT /lfs/(\w+)", _Handler.put),
    (rf"(?:GET|HEAD) /datasets/{NAME}/resolve/([^/]+)/(.+)", _Handler.read),
]
