"""What the proof's runs in the workspace came to."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import yaml

import toolkit
from toolkit.common.files import digest

ASKED = ("parent", "tested_on", "label_prompt", "label_refusal")
"""Of a test row: its id, whether its benchmark is trained on (own) or not (others), its labels."""
COLUMNS = (*ASKED, "verdict_prompt", "verdict_refusal")
TASK = "prompt"
"""The task that is audited."""
BRIEF = 0.5
"""Seconds; steps that took less are left out."""
ARMS = (
    "labels-only",
    "sft",
    "sft-unchecked",
    "sft-chosen-self",
    "sft-chosen-ensemble",
    "dpo-self",
    "dpo-eight",
    "dpo-ensemble",
    "dpo-uniform",
    "dpo-gamma",
    "dpo-random",
    "dpo-longest",
    "dpo-coin",
)
MAIN = ("labels-only", "sft", "sft-chosen-self", "dpo-self")
"""Arms of a base that is slow to train."""


@dataclass(frozen=True)
class Seed:
    """What one seed of a base came to.

    Args:
        answers: by arm a line for each test row, columns `COLUMNS`; no verdict where the guard was not able to take it (a prompt too long for it, say).
        seconds: of each step that took `BRIEF` or more, by the clock.
        audit: what the audit of its guards found, as `audit_of` gives it.
        rows: of the size curve, how many rows each arm is trained on.
        options: digest of the recipe that was run, but for its seed and the places of its files.
    """

    answers: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    audit: Mapping[str, Any] | None = None
    rows: Mapping[str, int] = field(default_factory=dict)
    options: str | None = None

    def whole(self, base: str) -> bool:
        """Whether every arm is there, and the audit."""
        return self.audit is not None and {*arms_of(base)} <= self.answers.keys()

    def with_more(self, other: Seed) -> Seed:
        """With what it lacks and the other one has."""
        joined = {name: {**getattr(self, name), **getattr(other, name), **getattr(self, name)} for name in ("answers", "seconds", "rows")}
        return Seed(**joined, audit=self.audit or other.audit, options=self.options or other.options)


def arms_of(base: str) -> tuple[str, ...]:
    """The arms that are trained from a base."""
    return ARMS if base == "tiny" else MAIN


def by_arm(seeds: Mapping[int, Seed]) -> dict[str, dict[int, pl.DataFrame]]:
    """The answers by arm and seed."""
    found: dict[str, dict[int, pl.DataFrame]] = {}
    for number, seed in seeds.items():
        for arm, answers in seed.answers.items():
            found.setdefault(arm, {})[number] = answers
    return found


def finished(folder: Path, base: str, leaf: str = "arms", numbers: Iterable[int] | None = None) -> dict[int, Seed]:
    """What is finished in the workspace, by seed; the base model as it is has the seed 0.

    Args:
        folder: of the proof.
        base: or ``size``, with the leaf `size`.
        numbers: of seeds; all by default.
    """
    runs: dict[int, Path] = {}
    for run in sorted(folder.glob(f"{base}-*/{leaf}")):
        end = run.parent.name.removeprefix(f"{base}-")
        number = 0 if end == "base" else int(end) if re.fullmatch(r"\d+", end) else None
        if number is not None and (numbers is None or number in numbers):
            runs[number] = run
    rows = asked(folder) if runs else pl.DataFrame()
    return {number: _seed(runs[number], rows, counted=leaf == "size") for number in sorted(runs)}


def _seed(run: Path, rows: pl.DataFrame, counted: bool) -> Seed:
    answers = {}
    for step in sorted(run.glob("judged-*")):
        verdicts = rows_of(run, step.name).select("parent", "verdict_prompt", "verdict_refusal")
        answers[step.name.removeprefix("judged-")] = rows.join(verdicts, on="parent", how="left", maintain_order="left").select(COLUMNS)
    return Seed(
        answers,
        built(run),
        audit_of(run.parent / "audit" / "audit.json"),
        {arm: len(rows_of(run, arm)) for arm in answers} if counted else {},
        options_of(run),
    )


def audit_of(file: Path) -> dict[str, Any] | None:
    """What an audit found that the page says: `chains`, and of `TASK` `stages`, `flips` and the twin's figures; None where none was run."""
    if not file.is_file():
        return None
    found = json.loads(file.read_text(encoding="utf-8"))
    parts = {"stages": found["stages"], "flips": found["flips"], "held": found["twin"]["held"] if found["twin"] else []}
    by_part: dict[str, Any] = {name: [line for line in lines if line["task"] == TASK] for name, lines in parts.items()}
    return {
        "chains": found["chains"],
        "stages": by_part["stages"],
        "flips": by_part["flips"],
        "twin": {"held": by_part["held"]} if found["twin"] else None,
    }


def options_of(run: Path) -> str:
    """Digest of what a run's recipe says, but for its seed and the places of its files."""
    recipe = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))
    given = [{k: v for k, v in (step.get("with") or {}).items() if k != "files"} for step in recipe["steps"]]
    return digest([[step["id"], step["use"], step.get("from"), options] for step, options in zip(recipe["steps"], given, strict=True)])


def has_data(folder: Path) -> bool:
    """Whether the test rows are there."""
    return all((folder / "data" / step / "manifest.json").is_file() for step in ("own-test", "other-test"))


def asked(folder: Path) -> pl.DataFrame:
    """The test rows, columns `ASKED`."""
    columns = [pl.col("id").alias("parent"), pl.col("label_prompt"), pl.col("label_refusal")]
    parts = {"own": "own-test", "others": "other-test"}
    return pl.concat([rows_of(folder / "data", step).select(*columns, tested_on=pl.lit(name)) for name, step in parts.items()]).select(ASKED)


def rows_of(run: Path, step: str) -> pl.DataFrame:
    """The rows of a finished step."""
    return pl.concat(map(as_frame, toolkit.read_run(run)[step].blocks()))


def as_frame(block: Any) -> pl.DataFrame:
    """A block of a step's rows."""
    return block if isinstance(block, pl.DataFrame) else pl.DataFrame(pl.from_arrow(block))


def built(run: Path) -> Mapping[str, float]:
    """Seconds that each step of a run took when it was last built, to a tenth; of those that took `BRIEF` or more."""
    out: dict[str, float] = {}
    for line in (run / "events.jsonl").read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if event.get("event") == "built":
            out[event["step"]] = round(float(event["seconds"]), 1)
    return {step: seconds for step, seconds in out.items() if seconds >= BRIEF}
