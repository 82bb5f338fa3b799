"""``guardkit overlay``, and the page on it: its files are written as they are there, and each of its commands runs."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from commands import CHECKOUT, Result

sys.path.insert(0, str(CHECKOUT / "tests" / "shards"))
from test_sign import key

Cli = Callable[..., Result]


def test_the_page_on_overlays_is_true(cli: Cli, tmp_path: Path) -> None:
    key(tmp_path / "anna")
    ran: dict[str, Result] = {}
    for kind, name, text in re.findall(r"^```(\S+)(?: (\S+))?\n(.*?)^```$", (CHECKOUT / "docs" / "overlay.md").read_text(), re.M | re.S):
        if name:
            (tmp_path / name).write_text(text)
        for line in text.splitlines() if kind == "sh" else ():
            ran[line] = done = cli(*line.split()[1:])
            assert done.code == 0, f"{line}\n{done.out}{done.err}"
    assert len(ran) == 7
    added, _, again, _, _, _, verified = ran.values()
    assert "Added: 1" in added.out and "a kitchen task" not in again.out and re.search(r"prompt +ben +flip +1", again.out)
    assert "none is missing between others" in verified.out and "one of your keys" in verified.out
    assert cli("overlay", "kitchen.overlay.jsonl", "--json").json["decisions"] == 2
    (tmp_path / "gone.csv").write_text("id,task,decision\ns9,prompt,drop\n")
    assert cli("overlay", "kitchen.overlay.jsonl", "--add", "gone.csv", "--reviewer", "cleo").code == 0
    named = cli("verify", "kitchen.overlay.jsonl", "--rows", "outputs/kitchen")
    assert "Not signed: the last 1" in named.out and "line 5: row 's9', task 'prompt'" in named.out
    stopped = cli("run", "kitchen.yaml")
    assert stopped.code == 2 and "kitchen.overlay.jsonl:5: no row has the id 's9'" in stopped.err
