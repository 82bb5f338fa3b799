"""The tutorials in docs/: their files are written as they are there, and each of their commands runs, in order, in one folder."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import toolkit

DOCS = Path(__file__).resolve().parent.parent / "docs"
BLOCK = re.compile(r"^```(\S+)(?: (\S+))?\n(.*?)^```$", re.M | re.S)


@pytest.mark.parametrize(("page", "made"), [
    ("tutorial-own-data.md", ["outputs/tickets-guard/guard-main/model/model.safetensors", "outputs/tickets-guard/scores/manifest.json", "exported", "tickets-look.yaml"]),
    ("tutorial-own-guard.md", ["outputs/homework/sft-shards/manifest.json"]),
])  # fmt: skip
def test_a_tutorial_runs_as_it_stands(tmp_path: Path, page: str, made: list[str]) -> None:
    commands = 0
    for kind, name, text in BLOCK.findall((DOCS / page).read_text(encoding="utf-8")):
        if name:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text, encoding="utf-8")
            continue
        assert kind == "sh", f"{page}: a block that is neither a file nor commands"
        for line in text.splitlines():
            program, *arguments = shlex.split(line)
            command = {"guardkit": [sys.executable, "-m", "toolkit"], "python": [sys.executable]}[program]
            done = subprocess.run([*command, *arguments], cwd=tmp_path, env={**os.environ, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True)
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
            commands += 1
    assert commands >= 4
    assert all((tmp_path / path).exists() for path in made)
    if page == "tutorial-own-guard.md":
        rows = toolkit.read_run(tmp_path / "outputs" / "homework")["sft-shards"].polars()
        labels = [rows[f"label_{task}"].value_counts().sort("count", descending=True).rows() for task in ("topic", "given")]
        assert {tuple(sorted(n)) for n in labels} == {(("other", 1), ("school", 4), ("unclear", 1)), (("given", 2), ("kept", 4))}
        assert all("Pupil: " in asked and "Helper: " in asked for asked in (p[0]["content"] for p in rows["prompt"]))
