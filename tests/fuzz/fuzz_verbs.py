"""The commands that the fuzz harness breaks: what is run, what it makes, what it reads."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fuzz_world import GENERATE, MINE, World


@dataclass(frozen=True)
class Verb:
    """One command.

    Attributes:
        args: after ``guardkit``; ``URL`` stands for the endpoint's address.
        makes: files and folders that it writes.
        reads: below these a file is damaged at rest; those that the user made are left out.
        prepare: done to the world before.
        journal: where answers that it asks for go, None where it asks nothing.
    """

    name: str
    args: tuple[str, ...]
    makes: tuple[str, ...] = ()
    reads: tuple[str, ...] = ("outputs",)
    prepare: Callable[[World], Any] = lambda world: None
    journal: str | None = None


def _no_export(world: World) -> None:
    shutil.rmtree(world.folder / "exported")


def _no_answers(world: World) -> None:
    (world.folder / "answers.jsonl").unlink()


def _old_step(world: World) -> None:
    """The recipe no longer has the step `asked`."""
    path = world.folder / "r.yaml"
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if "asked" not in line))


RUN = ("run", "r.yaml", "--output", "outputs/r")
TRAIN = """shards: outputs/r/shards/shards
output: models/tiny
model: {scratch: {layers: 1, width: 16, heads: 2, vocab: 400}}
trainer: {max_steps: 1, per_device_train_batch_size: 1}
"""


def _train_file(world: World) -> None:
    (world.folder / "t.yaml").write_text(TRAIN)


VERBS = [
    Verb("run", (*RUN, "--set", "asked.user='And again: {{ prompt }}'"), ("outputs/r",), journal="outputs/journal"),
    Verb("run new", ("run", "r.yaml", "--output", "outputs/new"), ("outputs/new",), ("outputs/journal",)),
    Verb("run changed", (*RUN, "--set", "valid.profile=strict"), ("outputs/r",)),
    Verb("run up to date", RUN, ("outputs/r",)),
    Verb("run forced", (*RUN, "--force"), ("outputs/r",), ("outputs/journal",)),
    Verb("generate", GENERATE, ("answers.jsonl",), ("outputs/journal", "answers.jsonl"), journal="outputs/journal"),
    Verb("generate anew", GENERATE, ("answers.jsonl",), ("outputs/journal",), _no_answers, journal="outputs/journal"),
    Verb("export", ("export", "outputs/r/shards", "--format", "verl", "--output", "exported-verl"), ("exported-verl",), ("outputs/r/shards",)),
    Verb("export again", ("export", "outputs/r/shards", "--format", "trl", "--output", "exported"), ("exported",), ("outputs/r/shards", "exported")),
    Verb(
        "export anew", ("export", "outputs/r/shards", "--format", "openai", "--output", "exported"), ("exported",), ("outputs/r/shards",), _no_export
    ),
    Verb("mine", (*MINE, "--output", "outputs/mined"), ("outputs/mined",)),
    Verb("disputes", ("disputes", "outputs/voted", "--json"), (), ("outputs/voted",)),
    Verb("disputes list", ("disputes", "outputs/voted", "--output", "disputed.csv"), ("disputed.csv",), ("outputs/voted",)),
    Verb("diff", ("diff", "outputs/r", "outputs/other", "--output", "changed.csv"), ("changed.csv",), ("outputs/r", "outputs/other")),
    Verb(
        "overlaps", ("overlaps", "--rows", "a=outputs/r/unique", "--rows", "b=outputs/other/clean", "--output", "shared.parquet"), ("shared.parquet",)
    ),
    Verb("rejects", ("rejects", "outputs/other", "--json"), (), ("outputs/other",)),
    Verb("status", ("runs", "status", "outputs/r", "--json"), (), ("outputs/r",)),
    Verb("list", ("runs", "list", "--json"), ()),
    Verb("clean", ("runs", "clean", "outputs/r"), ("outputs/r",), ("outputs/r",)),
    Verb("verify", ("verify", "outputs/r/shards/shards"), (), ("outputs/r/shards/shards",)),
    Verb("verify export", ("verify", "exported"), (), ("exported",)),
    Verb("journal verify", ("journal", "verify"), (), ("outputs/journal",)),
    Verb("journal show", ("journal", "show", "--json"), (), ("outputs/journal",)),
    Verb("journal export", ("journal", "export", "journal.jsonl"), ("journal.jsonl",), ("outputs/journal",)),
    Verb("journal compact", ("journal", "compact"), (), ("outputs/journal",)),
    Verb("journal purge", ("journal", "purge", "--row", "p1", "--row", "p2", "--yes"), (), ("outputs/journal",)),
]

SLOW = [Verb("train", ("train", "sft", "t.yaml", "--overwrite"), ("models/tiny",), ("outputs/r/shards/shards",), _train_file)]
"""In the long harness alone: it loads torch."""
