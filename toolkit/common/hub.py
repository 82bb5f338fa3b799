"""Whether a model that is named on the Hugging Face hub can be had, found out before anything is paid for.

Contract: what the hub's cache has is not asked for. Else one HEAD request for a small file of it says whether it is there, and whether this
machine's token may have it; it sends nothing but the name and that token (``HF_ENDPOINT``, ``HF_TOKEN``, ``HF_HOME`` are the hub's own variables),
follows no redirect, takes `LONGEST` seconds at most, and is made once a process for each name. A hub that does not answer is asked no second time.
What cannot be found out (a busy hub, say) is no lack.
"""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path
from threading import Thread

from toolkit.common.secrets import protect, shown

LONGEST = 4.0
"""Seconds that a question may take."""
_MOST = 1 << 20
"""Bytes of an answer that are read."""

_WEIGHTS = ("*.safetensors", "*.bin", "*.gguf", "*.pt")
_CACHES = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_CACHE", "SENTENCE_TRANSFORMERS_HOME")
_OWNER = {"embedding model": "sentence-transformers/"}
"""What a library puts before a name without an owner."""
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


def lacking(name: str, what: str = "model") -> str | None:
    """Why a name on the hub cannot be had from here, in words; None where it can, or nothing is known against it.

    Args:
        name: as the hub has it.
        what: model, tokenizer, embedding model.
    """
    names = [name, *([_OWNER[what] + name] if what in _OWNER and "/" not in name else [])]
    if any(cached(n, weights=what != "tokenizer") is not None for n in names) or os.environ.get("VLLM_USE_MODELSCOPE"):
        return None
    if offline := _offline():
        return f"the {what} {name!r} is not on this machine, and {offline} is set: fetch it first, or name a local folder"
    found = [_lacking(n, what, endpoint(), token()) for n in names]
    return found[0] if all(found) else None


def parameters(name: str) -> int | None:
    """How many weights a model has, as the hub counts them; None where it does not say."""
    return None if _offline() or endpoint() in _silent else _parameters(name, endpoint(), token())


def endpoint() -> str:
    """Address of the hub."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def token() -> str | None:
    """The token of this machine: of the environment, or as ``hf auth login`` keeps it."""
    found = os.environ.get("HF_TOKEN", "").strip()
    try:
        found = found or (_home() / "token").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    protect(found)
    return found or None


def cached(name: str, *, weights: bool = True) -> Path | None:
    """The folder of a model in the hub's cache; `weights`: only where some of these are there."""
    wanted = _WEIGHTS if weights else ("*.json", "*.model")
    caches = [Path(place) for variable in _CACHES if (place := os.environ.get(variable))]
    for cache in [*caches, _home() / "hub"]:
        try:
            for snapshot in sorted((cache.expanduser() / f"models--{name.replace('/', '--')}" / "snapshots").iterdir()):
                if any(next(snapshot.glob(w), None) is not None for w in wanted):
                    return snapshot
        except OSError:
            continue
    return None


def _offline() -> str | None:
    """The variable that forbids to ask the hub."""
    return next((v for v in _OFFLINE if os.environ.get(v, "").upper() in ("1", "ON", "YES", "TRUE")), None)


def _home() -> Path:
    return Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface").expanduser()


@lru_cache(maxsize=256)
def _lacking(name: str, what: str, at: str, secret: str | None) -> str | None:
    status, code, _ = _answer("HEAD", f"{at}/{name}/resolve/main/config.json", secret) if at not in _silent else (None, "it does not answer", b"")
    if status is None:
        _silent.add(at)
        return f"the {what} {name!r} is not on this machine, and the hub ({at}) cannot be reached: {code}; fetch it first, or name a local folder"
    if code == "GatedRepo" or (status == 403 and not code):
        have = "the token of HF_TOKEN has no leave for it" if secret else "HF_TOKEN is not set"
        return (
            f"the {what} {name!r} is gated, and {have}: accept its terms at {at}/{name}, make a token with read access at {at}/settings/tokens "
            "and set HF_TOKEN; or name a local folder"
        )
    if code == "RepoNotFound" or (status in (401, 404) and not code):
        return f"the hub ({at}) has no {what} {name!r} that this machine may see: check the name, or set HF_TOKEN where it is private"
    return None


@lru_cache(maxsize=256)
def _parameters(name: str, at: str, secret: str | None) -> int | None:
    _, _, body = _answer("GET", f"{at}/api/models/{name}?expand[]=safetensors", secret)
    try:
        total = json.loads(body)["safetensors"]["total"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return total if isinstance(total, int) and total > 0 else None


_silent: set[str] = set()
"""Hubs that have not answered in this process."""

Answer = tuple[int | None, str, bytes]
"""Status, the hub's code of an error, and body; no status, and the reason, where there is none."""


def _answer(method: str, url: str, secret: str | None) -> Answer:
    found: list[Answer] = []
    thread = Thread(target=lambda: found.append(_ask(method, url, secret)), daemon=True, name="guardkit-hub")
    thread.start()  # looking up a host's name has no timeout of its own
    thread.join(LONGEST)
    return found[0] if found else (None, f"no answer within {LONGEST:g} s", b"")


def _ask(method: str, url: str, secret: str | None) -> Answer:
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import HTTPRedirectHandler, Request, build_opener

    class Stay(HTTPRedirectHandler):
        def redirect_request(self, *_: object) -> None:
            return None

    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    request = Request(url, method=method, headers=headers)  # noqa: S310  the hub's own address
    try:
        with build_opener(Stay).open(request, timeout=LONGEST) as answer:
            return int(answer.status), "", answer.read(_MOST)
    except HTTPError as e:
        return (e.code, str(e.headers.get("X-Error-Code") or ""), b"") if e.code >= 400 else (200, "", b"")
    except (URLError, HTTPException, OSError, ValueError) as e:
        return None, shown(str(getattr(e, "reason", None) or e))[:200], b""
