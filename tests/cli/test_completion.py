"""What the shell completes, and that nothing is written to its start-up files unasked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from commands import environment, guardkit


def completed(line: str, cwd: Path) -> list[str]:
    """What bash offers at the end of a command line."""
    words = line.split(" ")
    env = environment(COMP_WORDS=line, COMP_CWORD=str(len(words) - 1), _GUARDKIT_COMPLETE="complete_bash")
    return subprocess.run([sys.executable, "-m", "toolkit"], cwd=cwd, env=env, capture_output=True, text=True, timeout=60).stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("guardkit operators dedu", {"deduplicate"}),
        ("guardkit sources wildg", {"wildguard_train"}),
        ("guardkit guards guardreasoner_o", {"guardreasoner_omni", "guardreasoner_omni_v1"}),
        ("guardkit check quick", {"quickstart"}),
        ("guardkit run guardreasoner/8", {"guardreasoner/8b", "guardreasoner/8b-lora", "guardreasoner/8b-released"}),
        ("guardkit init --recipe guardreasoner/d", {"guardreasoner/data"}),
        ("guardkit check quickstart --source bea", {"beavertails_30k_train="}),
        ("guardkit run quickstart --set seeds.lim", {"seeds.limit="}),
        ("guardkit doctor tr", {"train"}),
        ("guardkit rejects run unq", set()),
    ],
)
def test_names_are_completed(line: str, offered: set[str], tmp_path: Path) -> None:
    assert set(completed(line, tmp_path)) == offered


def test_steps_of_the_run_that_stands_before(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(
        "recipe: r\nseed: 1\nsteps:\n  - {id: first-seeds, use: load, with: {source: quickstart, limit: 1}}\n  - {id: final, use: normalise}\n"
    )
    assert guardkit("run", "r.yaml", cwd=tmp_path).code == 0
    assert set(completed("guardkit rejects outputs/r fi", tmp_path)) == {"first-seeds", "final"}
    assert set(completed("guardkit diff outputs/r outputs/r --step fin", tmp_path)) == {"final"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_nothing_is_written_to_start_up_files_unasked(shell: str, tmp_path: Path) -> None:
    for name in (".bashrc", ".zshrc"):
        (tmp_path / name).write_text("mine\n")
    before = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*"))
    env = environment(HOME=str(tmp_path), SHELL=f"/bin/{shell}", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    result = subprocess.run(
        [sys.executable, "-m", "toolkit", "--install-completion", shell],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
    assert result.returncode == 2 and "nothing was written" in result.stderr and "--show-completion" in result.stderr
    assert sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*")) == before and (tmp_path / ".bashrc").read_text() == "mine\n"
    shown = subprocess.run(
        [sys.executable, "-m", "toolkit", "--show-completion", shell], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60
    )
    assert shown.returncode == 0 and "guardkit" in shown.stdout
