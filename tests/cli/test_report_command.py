"""``guardkit report`` and ``guardkit run --report``: the commands of docs/report.md as they stand there, and what they print."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Result

import toolkit

Cli = Callable[..., Result]
PAGE = Path(__file__).resolve().parents[2] / "docs" / "report.md"


def test_the_commands_of_the_page_run_as_they_stand(cli: Cli, tmp_path: Path) -> None:
    pytest.importorskip("vl_convert")
    Path("small.json").write_text(
        json.dumps({"recipe": "small", "steps": [{"id": "seeds", "use": "load", "with": {"source": "quickstart", "limit": 3}}]})
    )
    ran = cli("run", "small.json", "--output", "outputs/quickstart", "--report", "--json")
    assert ran.code == 0 and ran.json["report"]["output"] == "outputs/quickstart/report.html"
    commands = [line for block in re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.M | re.S) for line in block.splitlines()]
    assert len(commands) == 3
    for line in commands:
        done = cli(*shlex.split(line)[1:])
        assert done.code == 0, f"{line}\n{done.err}"
    assert done.json["bytes"] == Path("outputs/quickstart/report.html").stat().st_size and done.json["images"]
    assert all(Path(image).read_bytes().startswith(b"\x89PNG") for image in done.json["images"])
    assert Path("share.html").read_text().count("Texts of rows are left out of this page") == 1
    assert re.fullmatch(r"Report: outputs/quickstart/report.html \([\d,]+ bytes, \d+ pictures\)\n", cli("report", "outputs/quickstart").out)


def test_the_python_of_the_page_is_true() -> None:
    names: dict[str, object] = {}
    exec(re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S)[0], names)  # noqa: S102
    figure = names["figures"][0]  # type: ignore[index]
    step = type("Step", (), {"step": "mine", "stats": {"stars": {"one": 1, "two": 3}}})
    assert next(iter(figure.drawn(step, figure, figure.value(step)))).rows[1] == {"stars": "two", "rows": 3}


def test_a_folder_that_is_no_run_is_named(cli: Cli, tmp_path: Path) -> None:
    done = cli("report", str(tmp_path), "--json")
    assert done.code == 2 and done.json["faults"][0]["message"] == "not the folder of a run"
    assert toolkit.__all__.count("report_page") == 1
