"""The workspace that the fuzz harness breaks: recipes, data, a finished run, shards, an export, a journal; and a user's own files in awkward places.

It is built once and copied for each case. All commands run in it with relative paths.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent
KEY = "sk-fuzz-0123456789-abcdefghij-KLMNOP"
ROWS = 24
CONCURRENCY = 4

RECIPE = """recipe: r
seed: 7
steps:
  - {id: seeds, use: load, with: {source: quickstart, parts: [home], limit: ROWS}}
  - {id: clean, use: normalise}
  - {id: unique, use: deduplicate}
  - {id: asked, use: generate, with: {user: "Say again: {{ prompt }}", backend: BACKEND}}
  - {id: reasoning, use: synthesise, from: unique, with: {backend: {backend: template}}}
  - {id: valid, use: validate}
  - {id: rows, use: render_sft}
  - {id: shards, use: shards}
"""
BACKEND = "{backend: openai, model: m, endpoint: fuzz, base_url: 'URL', concurrency: CONCURRENCY, slow_start: false, retries: 0}"

OWN = {  # a user's files, which no command may touch
    "outputs/r/notes/diary.txt": "mine",
    "outputs/r/.draft.new/page.txt": "mine too",
    "outputs/r/.todo.old": "and this",
    "outputs/readme-of-mine.txt": "this is about my runs",
    "models/config.json": '{"my": "web app"}',
    "models/src/thesis.txt": "precious",
    ".exported.old/kept.txt": "a folder with an unlucky name",
}


@dataclass
class Result:
    """What a command printed and how it ended; `calls` and `hit` where it ran under the shim."""

    code: int
    out: str
    err: str
    calls: int = 0
    hit: dict[str, Any] = field(default_factory=dict)
    memory: int = 0

    @property
    def all(self) -> str:
        return self.out + self.err


@dataclass(frozen=True)
class World:
    """A folder to work in, and the endpoint that its recipes ask."""

    folder: Path
    url: str

    def copy(self, to: Path) -> World:
        """The same elsewhere. Times go along, so that what is up to date stays so."""
        shutil.copytree(self.folder, to, symlinks=True)
        return World(to, self.url)

    def guardkit(self, *args: str, fault: str | None = None, at: int = 0) -> Result:
        """Run a command here; with `fault` under the shim."""
        shim = [str(HERE / "shim.py"), "--under", str(self.folder), "--at", str(at), "--fault", fault, "--", sys.executable] if fault else []
        command = [sys.executable, *shim, "-m", "toolkit", *args]
        done = subprocess.run(command, cwd=self.folder, env=self.environment(), capture_output=True, timeout=300)
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        stated = Result(done.returncode, out, err)
        if fault:
            stated.err, _, about = err.rstrip("\n").rpartition("\n")
            found = json.loads(about)
            stated.calls, stated.hit, stated.memory = found["calls"], found["hit"], found["memory"]
        return stated

    @staticmethod
    def environment() -> dict[str, str]:
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("GUARDKIT", "HF_", "COVERAGE"))}
        more = {"OPENAI_API_KEY": KEY, "PYTHONPATH": str(CHECKOUT), "COLUMNS": "150", "POLARS_MAX_THREADS": "2", "NO_PROXY": "127.0.0.1"}
        return {**keep, **more}

    def files(self, *places: str) -> dict[str, str]:
        """``{path: sha256}`` of the files below these places (default: all)."""
        roots = [self.folder / p for p in places] or [self.folder]
        found = [p for root in roots for p in ([root] if root.is_file() else root.rglob("*")) if p.is_file() and not p.is_symlink()]
        return {p.relative_to(self.folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(found)}


def build(folder: Path, url: str) -> World:
    """A fresh world; everything in it was made by guardkit's own commands, but for the user's files."""
    folder.mkdir(parents=True)
    world = World(folder, url)
    backend = BACKEND.replace("URL", url).replace("CONCURRENCY", str(CONCURRENCY))
    (folder / "r.yaml").write_text(RECIPE.replace("BACKEND", backend).replace("ROWS", str(ROWS)))
    lines = [json.dumps({"id": f"p{i}", "user": f"question number {i}"}) for i in range(ROWS)]
    (folder / "prompts.jsonl").write_text("\n".join(lines[: ROWS // 2]) + "\n")
    _do(world, "run", "r.yaml", "--output", "outputs/r")
    _do(world, "run", "r.yaml", "--output", "outputs/other", "--set", "seed=8", "--set", "unique.near.threshold=0.5")
    _do(world, *GENERATE)
    (folder / "prompts.jsonl").write_text("\n".join(lines) + "\n")
    _do(world, "export", "outputs/r/shards", "--format", "trl", "--output", "exported")
    _predictions(world)
    _do(world, *MINE, "--output", "outputs/voted")
    for name, text in OWN.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return world


GENERATE = (
    "generate",
    "--model",
    "m",
    "--base-url",
    "URL",
    "--input",
    "prompts.jsonl",
    "--output",
    "answers.jsonl",
    "--concurrency",
    str(CONCURRENCY),
)
MINE = ("mine", "--predictions", "a=a.jsonl", "--predictions", "b=b.jsonl")


def _predictions(world: World) -> None:
    import polars as pl

    rows = pl.read_parquet(world.folder / "outputs/r/rows/rows/rows.parquet", columns=["prompt", "completion"])
    for shift, name in enumerate("ab"):
        texts = [c[0]["content"] for c in rows["completion"]]
        moved = texts[shift * 5 :] + texts[: shift * 5]
        lines = [json.dumps({"prompt": p[0]["content"], "label": "harmful", "predict": t}) for p, t in zip(rows["prompt"], moved, strict=True)]
        (world.folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


def filled(args: Sequence[str], world: World) -> list[str]:
    """A command with the endpoint's address in it."""
    return [a.replace("URL", world.url) for a in args]


def _do(world: World, *args: str) -> None:
    result = world.guardkit(*filled(args, world))
    if result.code:
        raise RuntimeError(f"guardkit {' '.join(args)}: exit {result.code}\n{result.err}")
