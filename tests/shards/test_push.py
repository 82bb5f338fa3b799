"""A push makes the hub hold what the folder holds, as one commit, or leaves it as it was and says why."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from exports import sft
from hub import NEW, TOKEN, Hub, Repo, running

from toolkit.common.errors import GuardkitError, InputError, InputErrors, Missing, Stopped
from toolkit.shards import push, to_send
from toolkit.shards.exporters import export

pytest.importorskip("huggingface_hub")
REPO = "eggs/fresh-eggs"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)  # its waits between attempts
    with running() as hub:
        yield hub


@pytest.fixture
def send(hub: Hub) -> Callable[..., dict[str, Any]]:
    def push_it(folder: Path, repo: str = REPO, **options: Any) -> dict[str, Any]:
        return push(folder, repo, endpoint=hub.url, **{"token": TOKEN, **options})

    return push_it


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return sft(tmp_path / "shards")


def on_disk(folder: Path) -> dict[str, bytes]:
    return {p.path: p.content if isinstance(p.content, bytes) else p.content.read_bytes() for p in to_send(folder)}


Send = Callable[..., dict[str, Any]]


def test_a_new_repository_is_private_and_holds_the_folder(hub: Hub, send: Send, folder: Path) -> None:
    done = send(folder)
    assert hub.bodies[0] == {"name": "fresh-eggs", "organization": "eggs", "visibility": "private", "type": "dataset"}
    assert hub.files(REPO) == {**NEW, **on_disk(folder)}
    assert hub.files(REPO)["README.md"].startswith(b"---\n") and b"license:" in hub.files(REPO)["README.md"]
    assert (done["url"], done["private"], done["unchanged"], done["deleted"]) == (f"{hub.url}/datasets/{REPO}", True, 0, [])
    assert set(done["sent"]) == set(on_disk(folder)) and done["commit"] == hub.repos[REPO].branches["main"]
    (commit,) = [b for b in hub.bodies if isinstance(b, list)]
    assert commit[0] == {
        "key": "header",
        "value": {"summary": "Upload with guardkit", "description": "", "parentCommit": next(iter(hub.repos[REPO].commits))},
    }
    assert {line["key"] for line in commit[1:] if line["value"]["path"].endswith(".parquet")} == {"lfsFile"}


def test_what_is_there_is_not_sent_again(hub: Hub, send: Send, folder: Path) -> None:
    first = send(folder)
    hub.asked.clear()
    again = send(folder)
    assert (again["sent"], again["deleted"], again["commit"]) == ([], [], first["commit"])
    assert not hub.sent("/lfs") and not hub.sent("/commit/") and len(hub.repos[REPO].commits) == 2


def test_a_change_sends_the_change_and_deletes_what_is_gone(hub: Hub, send: Send, folder: Path, tmp_path: Path) -> None:
    send(sft(tmp_path / "more", 60))
    hub.asked.clear()
    done = send(folder)
    assert hub.files(REPO) == {**NEW, **on_disk(folder)}
    assert done["deleted"] and all(path.startswith("data/") for path in done["deleted"])
    assert len(hub.repos[REPO].commits) == 3  # one for the repository, one a push


def test_a_push_that_was_cut_off_goes_on(hub: Hub, send: Send, folder: Path) -> None:
    """The large files went up, then the hub broke off: nothing shows, and the second push sends none of them again."""
    hub.fault = lambda method, path: 503 if "/commit/" in path else None
    with pytest.raises(Stopped, match=r"the hub broke off \(503.*\n  push again"):
        send(folder)
    assert hub.files(REPO) == NEW and len(hub.objects) == 4
    hub.fault = lambda method, path: None
    hub.asked.clear()
    send(folder)
    assert not [path for method, path in hub.asked if method == "PUT"] and hub.files(REPO) == {**NEW, **on_disk(folder)}


def test_a_commit_whose_answer_was_lost_is_found(hub: Hub, send: Send, folder: Path) -> None:
    hub.silent = True
    with pytest.raises(Missing, match="the hub cannot be reached"):
        send(folder)
    assert send(folder)["sent"] == [] and hub.files(REPO) == {**NEW, **on_disk(folder)}


@pytest.mark.parametrize("name", ["openai", "verl", "trl", "llamafactory"])
def test_exports_go_the_same_way(hub: Hub, send: Send, tmp_path: Path, name: str) -> None:
    folder = sft(tmp_path / "shards", licence="CC-BY-4.0")
    export(folder, name, tmp_path / "out")
    send(tmp_path / "out")
    there = {p.relative_to(tmp_path / "out").as_posix(): p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert hub.files(REPO) == {**NEW, **there}
    if name != "openai":
        export(folder, "openai", tmp_path / "out")
        done = send(tmp_path / "out")
        assert (
            sorted(hub.files(REPO)) == [".gitattributes", "README.md", "export.json", "shards.json", "test.jsonl", "train.jsonl"]
            and done["unchanged"] == 1
        )


def test_a_branch_is_made(hub: Hub, send: Send, folder: Path) -> None:
    done = send(folder, revision="second/try", message="Eggs, sorted")
    assert hub.files(REPO) == NEW and hub.files(REPO, "second/try") == {**NEW, **on_disk(folder)}
    assert done["url"].endswith(f"{REPO}/tree/second/try")
    assert next(b for b in hub.bodies if isinstance(b, list))[0]["value"]["summary"] == "Eggs, sorted"
    assert send(folder, revision="second/try")["sent"] == []


def test_who_may_read_is_never_a_surprise(hub: Hub, send: Send, folder: Path) -> None:
    hub.repos[REPO] = Repo(private=False)
    hub.repos[REPO].commit("main", dict(NEW))
    with pytest.raises(InputError, match="the repository is public\n  say --public"):
        send(folder)
    assert hub.files(REPO) == NEW
    assert send(folder, public=True)["private"] is False
    send(folder, "eggs/mine")
    with pytest.raises(InputError, match="the repository is private\n  leave --public out"):
        send(folder, "eggs/mine", public=True)


def test_others_data_is_left_alone(hub: Hub, send: Send, folder: Path) -> None:
    hub.repos[REPO] = Repo(private=True)
    hub.repos[REPO].commit("main", {**NEW, "README.md": b"# Mine", "data/mine.csv": b"a,b\n", "manifest.json": b'{"files": {"data/mine.csv": {}}}'})
    before = hub.files(REPO)
    with pytest.raises(InputError, match=r"holds data that guardkit did not put there: data/mine.csv, manifest.json"):
        send(folder)
    assert hub.files(REPO) == before
    hub.repos[REPO].commit("main", {**NEW, "README.md": b"# Soon", "LICENSE": b"words"})
    send(folder)
    assert hub.files(REPO)["LICENSE"] == b"words"


def test_files_that_the_hub_ignores_are_noticed(hub: Hub, send: Send, folder: Path) -> None:
    hub.ignored = r"test-.*\.parquet"
    with pytest.raises(Stopped, match=r"its files are not the folder's \(lacking: data/test-"):
        send(folder)


def test_two_pushes_at_once_do_not_mix(hub: Hub, send: Send, folder: Path) -> None:
    def other(method: str, path: str) -> None:
        if "/commit/" in path:
            hub.fault = lambda method, path: None
            hub.repos[REPO].commit("main", {**NEW, "LICENSE": b"quick"})

    hub.fault = other
    with pytest.raises(Stopped, match=r"changed while it was pushed to \(412"):
        send(folder)
    assert hub.files(REPO) == {**NEW, "LICENSE": b"quick"}


@pytest.mark.parametrize(
    ("at", "status", "kind", "message"),
    [
        ("/api/repos/create", 401, Missing, "does not let this token do that"),
        ("/api/repos/create", 403, Missing, "does not let this token do that"),
        ("/api/repos/create", 404, InputError, "no such owner"),
        ("/api/repos/create", 409, Stopped, "changed while it was pushed to"),
        ("/api/repos/create", 500, Stopped, "the hub broke off"),
        ("/preupload/", 403, Missing, "does not let this token do that"),
        ("/preupload/", 400, InputError, "the hub refuses the push"),
        ("/lfs/objects/batch", 413, InputError, "a file is too large"),
        ("/lfs/objects/batch", 500, Stopped, "the hub broke off"),
        ("/lfs/", 503, Stopped, "the hub broke off"),
        ("/commit/", 403, Missing, "does not let this token do that"),
        ("/commit/", 429, Stopped, "the hub broke off"),
        ("/tree/", 500, Stopped, "the hub broke off"),
    ],
)
def test_every_refusal_says_what_to_do(hub: Hub, send: Send, folder: Path, at: str, status: int, kind: type[GuardkitError], message: str) -> None:
    hub.fault = lambda method, path: status if at in path else None
    with pytest.raises(kind, match=message) as e:
        send(folder)
    assert e.value.hint or kind is InputError
    assert TOKEN not in str(e.value)
    assert not hub.repos or hub.files(REPO) == NEW


@pytest.mark.parametrize("at", ["/api/repos/create", "/api/datasets/eggs/fresh-eggs", "/tree/", "/preupload/", "/lfs/objects/batch", "/commit/"])
@pytest.mark.parametrize(
    "body", [b"[1, 2]", b"<html>", b'"x"', b"null", b"5", b"[" * 100_000, b"{}", b'{"error": "%s"}' % TOKEN.encode()], ids=range(8)
)
def test_a_hub_that_answers_in_another_form(hub: Hub, send: Send, folder: Path, at: str, body: bytes) -> None:
    """HF_ENDPOINT may name a login page, or another program."""
    hub.fault = lambda method, path: body if path.endswith(at) or (at.endswith("/") and at in path) else None
    error: GuardkitError | None = None
    try:
        send(folder)
    except GuardkitError as e:
        error = e
    assert error is None or (error.exit_code in (2, 3, 4) and TOKEN not in str(error))


def test_an_answer_of_the_hub_is_bounded(hub: Hub, send: Send, folder: Path) -> None:
    hub.fault = lambda method, path: b" " * (65 << 20) if "/tree/" in path else None
    with pytest.raises(Stopped, match="more than 64 MiB"):
        send(folder)


def test_a_wrong_token_and_none(hub: Hub, send: Send, folder: Path) -> None:
    with pytest.raises(Missing, match="does not let this token") as e:
        send(folder, token="hf_other_secret")  # noqa: S106
    assert "hf_other_secret" not in str(e.value)
    with pytest.raises(Missing, match="the token holds what no token holds") as e:
        send(folder, token="hf_other\nsecret ")  # noqa: S106  no header can hold it
    assert "secret" not in str(e.value)
    with pytest.raises(InputError, match="needs a message"):
        send(folder, message=" ")
    with pytest.raises(Missing, match=r"needs a token with write access\n  make one at .* HF_TOKEN"):
        send(folder, token=None)
    assert not hub.repos


def test_no_way_to_the_hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    with pytest.raises(Missing, match=r"the hub cannot be reached.*\n  check the network"):
        push(folder, REPO, token=TOKEN, endpoint=f"http://127.0.0.1:{port}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.is_offline_mode", lambda: True)
    with pytest.raises(Missing):
        push(folder, REPO, token=TOKEN, endpoint=f"http://127.0.0.1:{port}")


def test_what_may_not_be_passed_on(hub: Hub, send: Send, tmp_path: Path) -> None:
    for licence in ("unknown", "my own words"):
        with pytest.raises(InputError, match=rf"licences that nobody knows: '{licence}' \(25 rows\)"):
            send(sft(tmp_path / licence, licence=licence))
    export(sft(tmp_path / "several"), "openai", tmp_path / "out")
    with pytest.raises(InputError, match=r"CC-BY-4.0, CC-BY-NC-4.0, ODC-By-1.0, no one licence .* 'openai' cannot say which row has which"):
        send(tmp_path / "out")
    folder = sft(tmp_path / "changed")
    (folder / "data" / "more.parquet").write_bytes(b"")
    with pytest.raises(InputErrors, match="not in the manifest"):
        send(folder)
    for name in ("eggs", "a/b/c", "../eggs", "eggs/", "e ggs/x"):
        with pytest.raises(InputError, match="is no name of a repository"):
            send(folder, name)
    with pytest.raises(InputError, match="not a shard folder"):
        send(tmp_path)
    assert not hub.asked
