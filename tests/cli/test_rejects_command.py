"""``guardkit rejects``: rows whole, in a file, and the nearest name for one that is mistaken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from commands import Result

Cli = Callable[..., Result]
LONG = "Tell me at length about ferns. " * 20
STEPS = """recipe: r
seed: 1
steps:
  - {id: rows, use: read, with: {files: [rows.jsonl], columns: {id: id, prompt: prompt}, record: seed}}
  - {id: clean, use: normalise}
  - {id: apart, use: deduplicate}
"""


@pytest.fixture
def run(cli: Cli, tmp_path: Path) -> str:
    rows = [{"id": f"row-{i:04d}-abcdef", "prompt": LONG + str(i)} for i in range(3)] + [
        {"id": "twin-0001", "prompt": LONG + "0"},
        {"id": "=twin", "prompt": LONG + "1"},
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows) + "not json\n")
    (tmp_path / "r.yaml").write_text(STEPS)
    result = cli("run", "r.yaml")
    assert result.code == 0, result.err
    return "outputs/r"


def test_full_shows_values_whole(run: str, cli: Cli) -> None:
    assert (LONG + "0").strip() not in cli("rejects", run, "apart").out
    assert (LONG + "0").strip() in cli("rejects", run, "apart", "--full").out


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_every_row_is_written_to_a_file(suffix: str, run: str, cli: Cli, tmp_path: Path) -> None:
    result = cli("rejects", run, "--output", f"gone{suffix}", "--limit", "0", "--json")
    assert result.code == 0 and result.json["output"] == f"gone{suffix}", result.err
    file = tmp_path / f"gone{suffix}"
    readers: dict[str, Callable[[Path], pl.DataFrame]] = {".jsonl": pl.read_ndjson, ".csv": pl.read_csv, ".parquet": pl.read_parquet}
    frame = readers[suffix](file)
    assert frame.columns == ["step", "id", "outcome", "reason", "detail", "survivor", "row"] and frame.height == result.json["rows"] == 3
    if suffix == ".jsonl":
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        assert rows[1]["row"]["prompt"] == (LONG + "0").strip() and rows[0]["row"] == "not json"
    if suffix == ".csv":
        assert "'=twin" in frame["id"].to_list(), "no cell is a formula"


def test_a_filter_holds_for_the_file_and_none_gives_an_empty_one(run: str, cli: Cli, tmp_path: Path) -> None:
    cli("rejects", run, "--id", "twin-0001", "--output", "one.parquet")
    assert pl.read_parquet(tmp_path / "one.parquet")["id"].to_list() == ["twin-0001"]
    cli("rejects", run, "clean", "--output", "none.parquet")
    assert pl.read_parquet(tmp_path / "none.parquet").height == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("aprt",), "did you mean 'apart'?"),
        (("--reason", "mergd"), "did you mean 'merged'?"),
        (("--reason", "zzz"), "known: "),
        (("--id", "twin-000"), "did you mean 'twin-0001'?"),
        (("--id", "twim-0001"), "did you mean 'twin-0001'?"),
        (("--output", "x.txt"), "the output must end in"),
    ],
)
def test_the_nearest_name_stands_beside_a_mistaken_one(args: tuple[str, ...], message: str, run: str, cli: Cli) -> None:
    result = cli("rejects", run, *args)
    assert result.code == 2 and message in result.err, result.err


def test_a_steps_folder_is_taken_where_files_and_runs_are(run: str, cli: Cli, tmp_path: Path) -> None:
    """Its kept rows, and not what it rejected, which is beside them."""
    assert cli("diff", f"{run}/apart", f"{run}/apart", "--json").json["step"] == "apart"
    result = cli("diff", f"{run}/apart", run, "--step", "clean")
    assert result.code == 2 and "several steps: apart, clean" in result.err
    (tmp_path / "again.yaml").write_text(
        "recipe: again\nseed: 1\nsteps:\n  - {id: rows, use: read, with: {files: [outputs/r/apart], columns: {id: id, prompt: prompt}}}\n"
    )
    result = cli("run", "again.yaml", "--json")
    assert result.code == 0 and result.json["steps"][0]["in"] == result.json["steps"][0]["kept"] == 3, result.err
    result = cli("run", "again.yaml", "--set", "rows.files=[outputs/r]", "--output", "none")
    assert result.code == 2 and "outputs/r/apart" in result.err, result.err


def test_a_steps_folder_means_its_rows_and_a_mistaken_run_has_a_nearest_name(run: str, cli: Cli) -> None:
    assert {c["step"] for c in cli("rejects", f"{run}/apart", "--json").json["counts"]} == {"apart"}
    assert cli("runs", "status", f"{run}/apart").code == 0
    for verb in (("rejects", "outputs/rr"), ("runs", "status", "outputs/rr"), ("runs", "clean", "outputs/rr")):
        result = cli(*verb)
        assert result.code == 2 and "did you mean 'r'?" in result.err, result.err
