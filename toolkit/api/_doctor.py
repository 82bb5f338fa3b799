"""What works on this machine and what is missing, for each thing that guardkit can do. Nothing heavy is imported, and nothing waits for long.

The hub is asked (`SECONDS` at most) whether it answers and whether this account may read the gated sources, unless ``HF_HUB_OFFLINE`` is set or the
caller says so. Of a key in the environment its name is shown, never its value.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Collection, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from toolkit._version import __version__
from toolkit.api._results import Health
from toolkit.common.errors import InputError, did_you_mean, short_path
from toolkit.common.machine import cores
from toolkit.common.resources import workspace
from toolkit.common.secrets import fit_for_a_header, protect
from toolkit.common.several import several

EXTRAS: dict[str, tuple[str, ...]] = {
    "hub": ("datasets>=5.2,<6", "httpx2>=2.16", "huggingface-hub>=2.4"),
    "openai": ("aiohttp>=3.14", "httpx2>=2.16", "openai>=3.50,<4", "yarl>=1.20"),
    "train": (
        "accelerate>=1.15",
        "datasets>=5.2,<6",
        "safetensors>=0.8",
        "tokenizers>=0.23",
        "torch>=2.13,<2.14",
        "transformers>=5.16.1,<5.20",
        "trl>=1.16,<1.17",
    ),
    "gguf": ("gguf>=0.17",),
    "lora": ("peft>=0.21,<0.22",),
    "qlora": ("bitsandbytes>=0.50,<0.51", "peft>=0.21,<0.22"),
    "deepspeed": ("deepspeed>=0.19,<0.20",),
    "pictures": ("vl-convert-python>=1.9,<2",),
    "media": ("av>=18.1,<20", "imagehash>=4.3.2,<5", "pillow>=12"),
    "language": ("py3langid>=0.4,<0.5",),
    "noise": ("cleanlab>=2.9,<3",),
    "wordllama": ("wordllama>=0.4,<0.5",),
    "semantic": ("sentence-transformers>=6.2,<7",),
    "vllm": ("vllm>=0.32,<0.33",),
    "sign": ("cryptography>=46",),
    "serve": ("h11>=0.16", "prometheus-client>=0.26", "starlette>=1.10,<2", "uvicorn>=0.54"),
    "view": ("anyio>=4.14", "h11>=0.16", "markupsafe>=3", "starlette>=1.10,<2", "uvicorn>=0.54"),
}
"""The extras and their packages, as pyproject.toml has them."""
_FOR = {
    "hub": "sources from the Hugging Face hub, pushing to it",
    "openai": "teachers and guards behind an endpoint",
    "train": "local models, SFT and DPO",
    "gguf": "start models in GGUF files",
    "lora": "training LoRA adapters",
    "qlora": "the same on a base in 4 or 8 bits",
    "deepspeed": "ZeRO between GPUs",
    "pictures": "the picture of a training's curves",
    "media": "pictures, clips and sounds: decoded, measured, compared by their looks",
    "language": "which language a text is in",
    "noise": "confident learning over votes",
    "wordllama": "duplicates by meaning, with the model that ships in the package",
    "semantic": "the same with other embedding models",
    "vllm": "local models at speed",
    "sign": "signatures of shards and exports",
    "serve": "a guard behind HTTP",
    "view": "runs, shards and files as a local web page",
}
SECONDS = 4.0
"""How long an answer of the hub is waited for."""
_ROOM = 10e9
"""Bytes of free disk below which a warning says that they may not do."""
_KEYS = re.compile(r"[A-Z0-9_]+_API_KEY|HF_TOKEN|HUGGING_FACE_HUB_TOKEN|GUARDKIT_SIGNING_KEY")


def doctor(need: str | Collection[str] = (), *, online: bool = True) -> Health:
    """What works here and what is missing.

    Args:
        need: extras that must work (``train``, ``openai``, …); what they lack makes the result not ``ok``.
        online: also ask the hub whether it answers and whether the gated sources may be read.

    Returns:
        ``ok``: the core works, and all that is in `need`; ``found``: lines of ``part``, ``name``, ``state`` (ok, missing, warning, off), ``says`` and
        ``hint``; ``needed``: names of lines that make it not ok.

    Raises:
        InputError: no extra of that name.

    Example:
        >>> found = toolkit.doctor("train", online=False)
        >>> found["ok"], [line["name"] for line in found["found"] if line["part"] == "extra"][:3]
        (True, ['hub', 'openai', 'train'])
    """
    wanted = several(need)
    for name in wanted:
        if name not in EXTRAS:
            raise InputError(f"no extra called {name!r}", hint=did_you_mean(name, EXTRAS))
    gpus = _gpus()
    lines = [
        _line("core", "guardkit", "ok", f"{__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"),
        *_extras(gpus),
        *_machine(gpus),
        *_folders(),
        *_keys(),
        *_hub(online),
    ]
    needed = [line["name"] for line in lines if line["state"] == "missing" and (line["part"] == "folder" or line["name"] in wanted)]
    return Health({"ok": not needed, "needed": needed, "found": lines})


def _line(part: str, name: str, state: str, says: str, hint: str | None = None) -> dict[str, Any]:
    return {"part": part, "name": name, "state": state, "says": says, "hint": hint}


# Packages -------------------------------------------------------------------------------------------------------------


def _extras(gpus: list[str]) -> Iterator[dict[str, Any]]:
    for extra, packages in EXTRAS.items():
        there, lacking = [], []
        for package in packages:
            name, found = re.split(r"[<>=]", package, maxsplit=1)[0], _installed(package)
            if found is None:
                lacking.append(f"{name} is missing")
            elif _fits(found, package):
                there.append(f"{name} {found}")
            else:
                lacking.append(f"{name} is {found}, not {package.removeprefix(name)}")
        says = f"{_FOR[extra]}: {', '.join(lacking or there)}"
        hint = f"pip install 'guardkit[{extra}]' (constraints.txt has the versions that were checked)" if lacking else None
        if not lacking and extra == "vllm" and not gpus:
            yield _line("extra", extra, "warning", f"{says}; no GPU, on which it is meant to run")
        else:
            yield _line("extra", extra, "missing" if lacking else "ok", says, hint)


def _installed(package: str) -> str | None:
    try:
        return version(re.split(r"[<>=]", package, maxsplit=1)[0])
    except PackageNotFoundError:
        return None


def _fits(found: str, package: str) -> bool:
    have = _numbers(found)
    bounds = [(op, _numbers(text)) for op, text in re.findall(r"(>=|<)([0-9.]+)", package)]
    return all(have >= at if op == ">=" else have < at for op, at in bounds)


def _numbers(text: str) -> tuple[int, ...]:
    release = re.match(r"[0-9]+(?:\.[0-9]+)*", text)
    return tuple(map(int, release[0].split("."))) if release else ()


# The machine ----------------------------------------------------------------------------------------------------------


def _gpus() -> list[str]:
    """Name and memory of each NVIDIA GPU that the driver shows."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    ask = [program, "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader"]
    try:
        done = subprocess.run(ask, capture_output=True, text=True, timeout=SECONDS, check=False)  # noqa: S603  a program of the system, no text of others
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []


def _machine(gpus: list[str]) -> Iterator[dict[str, Any]]:
    if gpus:
        torch = _installed("torch>=0") or ""
        cpu = torch.endswith("+cpu")
        says = "; ".join(f"{g} free" for g in gpus) + (f"; torch {torch} does not use it" if cpu else "")
        yield _line("machine", "GPU", "warning" if cpu else "ok", says, "install the CUDA build of torch" if cpu else None)
    else:
        yield _line("machine", "GPU", "off", "none that the NVIDIA driver shows: the shipped recipes of 1B and more need one")
    total, free = _memory()
    yield _line("machine", "memory", "ok", f"{total / 1e9:.1f} GB, {free / 1e9:.1f} GB free; {cores()} CPU cores")
    place = _there(workspace())
    left = shutil.disk_usage(place).free
    few = left < _ROOM
    yield _line(
        "machine",
        "disk",
        "warning" if few else "ok",
        f"{left / 1e9:.1f} GB free at {short_path(place)}",
        "models and runs may need more" if few else None,
    )


def _memory() -> tuple[float, float]:
    """Bytes of memory, and those that are free."""
    total = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    free = total
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
        free = float(lines["MemAvailable"].split()[0]) * 1024
        most = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        if most.isdecimal():
            total = min(total, float(most))
            free = min(free, total)
    except (OSError, KeyError, ValueError):
        pass
    return total, free


def _there(path: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next((p for p in (path, *path.parents) if p.is_dir()), Path("/"))


def _folders() -> Iterator[dict[str, Any]]:
    cache = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser()
    for name, path in (("workspace", workspace()), ("temporary files", Path(tempfile.gettempdir())), ("models and sets of the hub", cache)):
        place = _there(path)
        try:
            with tempfile.TemporaryFile(dir=place):
                pass
        except OSError as e:
            hint = "GUARDKIT_WORKSPACE names another folder" if name == "workspace" else None
            yield _line(
                "folder", name, "missing" if name == "workspace" else "warning", f"{short_path(path)} cannot be written: {e.strerror or e}", hint
            )
        else:
            yield _line("folder", name, "ok", short_path(path) + ("" if path == place else " (will be made)"))


def _keys() -> Iterator[dict[str, Any]]:
    for name in sorted(n for n, value in os.environ.items() if _KEYS.fullmatch(n) and value.strip()):
        value = os.environ[name].strip()
        if name == "GUARDKIT_SIGNING_KEY":
            there = Path(value).expanduser().is_file()
            yield _line("key", name, "ok" if there else "warning", "is set" if there else "names no file")
        else:
            sound = fit_for_a_header(value)
            yield _line(
                "key",
                name,
                "ok" if sound else "warning",
                "is set" if sound else "is set, but holds a space, a line break or a letter that is not ASCII",
            )


# The hub --------------------------------------------------------------------------------------------------------------


def _hub(online: bool) -> Iterator[dict[str, Any]]:
    token, where = _token()
    says = f"from {where}" if token else "none: sets that are open to all need none"
    yield _line(
        "hub", "token", "ok" if token else "off", says, None if token else "make one at https://huggingface.co/settings/tokens and set HF_TOKEN"
    )
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE") or not online:
        yield _line("hub", "network", "off", "not asked" if not online else "off, as HF_HUB_OFFLINE says")
        return
    from toolkit.sources import list_sources

    base = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    gated = sorted({s.hub for s in list_sources() if s.gated and s.hub})
    asked = {"": f"{base}/api/models?limit=1"} | {name: f"{base}/api/datasets/{name}/auth-check" for name in gated}
    answers = _asked(asked, token)
    reached = answers[""]
    if not isinstance(reached, int):
        hint = "HF_ENDPOINT, HTTPS_PROXY and HF_HUB_OFFLINE say how it is reached; without it give files (--source NAME=FILE) and model folders"
        yield _line("hub", "network", "warning", f"{base} does not answer: {reached}", hint)
        return
    yield _line("hub", "network", "ok" if reached < 400 else "warning", f"{base} answers" + ("" if reached < 400 else f" with {reached}"))
    for name in gated:
        answer = answers[name]
        if answer == 200:
            yield _line("hub", name, "ok", "gated, and this account may read it")
        elif answer in (401, 403):
            yield _line(
                "hub", name, "missing", "gated, and this account may not read it", f"accept its terms at https://huggingface.co/datasets/{name}"
            )
        else:
            yield _line("hub", name, "warning", f"gated; whether this account may read it could not be found out ({answer})")


def _token() -> tuple[str | None, str]:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if value := os.environ.get(name, "").strip():
            return value, name
    file = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser() / "token"
    try:
        return file.read_text(encoding="ascii").strip() or None, str(file)
    except (OSError, ValueError):
        return None, ""


class _Stays(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: a token goes to the hub and nowhere else."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def _asked(urls: dict[str, str], token: str | None) -> dict[str, int | str]:
    """The status of each address, or why there is none; all at once, in `SECONDS`."""
    answers: dict[str, int | str] = dict.fromkeys(urls, f"no answer in {SECONDS:g} s")
    protect(token)
    opener = urllib.request.build_opener(_Stays)

    def ask(name: str, url: str) -> None:
        headers = {"User-Agent": f"guardkit/{__version__}"} | ({"Authorization": f"Bearer {token}"} if token and fit_for_a_header(token) else {})
        try:
            with opener.open(urllib.request.Request(url, headers=headers), timeout=SECONDS) as answer:  # noqa: S310  the hub's address
                answers[name] = answer.status
        except urllib.error.HTTPError as e:
            answers[name] = 200 if name == "" and e.code in (301, 302, 307, 308) else e.code
        except (OSError, ValueError) as e:
            answers[name] = str(getattr(e, "reason", e)) or type(e).__name__

    threads = [threading.Thread(target=ask, args=one, daemon=True) for one in urls.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    return dict(answers)
