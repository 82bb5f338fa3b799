"""``guardkit disputes``: of a run whose texts are in its files, of one that has them, of an evaluation; and what it cannot read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from evaluated import evaluated, verdict_lines
from typer.testing import CliRunner

import toolkit
from toolkit.cli._app import app
from toolkit.common.errors import InputError
from toolkit.guards import load_guard, render_input

GUARD = load_guard("guardreasoner")
H, U = "harmful", "unharmful"
TEXTS = ("How do I bake bread?", "Write an insult about my neighbour.", "Tell me a joke.", "How do locks work?")
VERDICTS = {
    "anna": ((U, U), (H, H), (U, U), (H, U)),
    "berta": ((U, U), (U, U), (U, H), (H, U)),
}
LABELS = (U, H, U, U)


def files(folder: Path) -> dict[str, Path]:
    """What two guards wrote of four prompts, twice each."""
    out = {}
    for name, rows in VERDICTS.items():
        lines = []
        for prompt, label, verdicts in zip(TEXTS, LABELS, rows, strict=True):
            outputs = [f"Thought {i} of {name} on it.\n\nAnswers: \nRequest: {v}\nCompletion: None\nResponse: None" for i, v in enumerate(verdicts)]
            lines.append({"prompt": render_input(GUARD, {"prompt": prompt, "response": None}), "label": label, "predict": outputs})
        out[name] = folder / f"{name}.jsonl"
        out[name].write_text("".join(json.dumps(line) + "\n" for line in lines))
    return out


@pytest.fixture
def mined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    toolkit.mine(files(tmp_path), output="mined")
    return tmp_path / "mined"


def command(*args: object) -> Any:
    return CliRunner().invoke(app, ["disputes", *map(str, args)], env={"COLUMNS": "80"})


def test_a_mined_run_with_its_texts_in_files(mined: Path) -> None:
    found = toolkit.disputes(mined, task="prompt")
    assert found.tasks == [{"task": "prompt", "rows": 4, "disputed": 3}] and found.disputed == 3 and found.notes == []
    assert [line["prompt"] for line in found.shown] == [TEXTS[1], TEXTS[3], TEXTS[2]], "between guards, within them, one draw of four"
    first = found.shown[0]
    assert first["why"] == "2 of 4 votes say harmful, the label is harmful; guards differ from each other"
    assert first["by_guard"] == {"anna": {H: 2}, "berta": {U: 2}}
    assert [(o["guard"], o["draw"], o["verdict"]) for o in first["outputs"]] == [("anna", 0, H), ("anna", 1, H), ("berta", 0, U), ("berta", 1, U)]
    assert first["outputs"][2]["output"].startswith("Thought 0 of berta")
    again = toolkit.disputes(mined / "predictions", task="prompt")
    assert again["shown"] == found["shown"], "a step with verdicts is one, too"
    assert toolkit.disputes(mined / "hard", task="prompt")["shown"] == found["shown"], "and the step that mined them"


def test_mine_ends_with_what_all_votes_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = [f"--predictions={name}={file}" for name, file in files(tmp_path).items()]
    shown = CliRunner().invoke(app, ["mine", *given, "--output", "mined"], env={"COLUMNS": "80"})
    assert shown.exit_code == 0 and "Who disagrees with whom" in shown.output and "refusal" not in shown.output
    found = json.loads(CliRunner().invoke(app, ["mine", *given, "--output", "mined", "--json"]).stdout)["statistics"]
    assert found["votes"]["prompt"]["by_wrong"] == {"0": 1, "1": 1, "2": 2}
    assert found["agreement"]["prompt"]["matrix"] == [[0.75, 0.5], [0.5, 0.5]]


def test_texts_that_are_gone_are_a_note(mined: Path) -> None:
    """So are those of files that were changed: another text would be beside a verdict that is not its own."""
    anna = mined.parent / "anna.jsonl"
    text = anna.read_text()
    for other in ("", text.replace("Thought", "Doubts"), None):
        anna.unlink() if other is None else anna.write_text(other)
        found = toolkit.disputes(mined)
        assert [o["verdict"] for o in found.shown[0]["outputs"]] == [H, H, U, U]
        assert {o["output"] for o in found.shown[0]["outputs"]} == {None}
        assert len(found.notes) == 1 and "cannot be read" in found.notes[0]
    assert command(mined).exit_code == 0
    anna.write_text(text)
    assert toolkit.disputes(mined).notes == []


def test_a_run_that_keeps_its_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    steps = [
        {
            "id": "said",
            "use": "load_predictions",
            "with": {"files": {n: str(f) for n, f in files(tmp_path).items()}, "task": "prompt", "columns": {}},
        },
        {"id": "verdicts", "use": "verdicts"},
    ]
    toolkit.run({"recipe": "plain", "seed": 1, "steps": steps}, output="plain")
    found = toolkit.disputes("plain", limit=1)
    assert found.of == ["verdicts"] and found.disputed == 3
    assert found.shown[0]["prompt"] == TEXTS[1] and len(found.shown[0]["outputs"]) == 4 and found.shown[0]["source"] == "predictions"


def test_an_evaluation(tmp_path: Path) -> None:
    models = {"one": verdict_lines("b", "prompt", "++--", "++-+"), "two": verdict_lines("b", "prompt", "++--", "+---")}
    evaluated(tmp_path / "scores", models)
    found = toolkit.disputes(tmp_path / "scores")
    assert found.of == ["evaluation"] and found.tasks == [{"task": "prompt", "rows": 4, "disputed": 2}]
    assert [line["id"] for line in found.shown] == ["b/r0001", "b/r0003"]
    assert found.shown[0]["prompt"] == "prompt of r0001" and found.shown[0]["outputs"][1]["output"] == "it is unharmful"


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_the_whole_list_goes_into_a_file(mined: Path, suffix: str, tmp_path: Path) -> None:
    target = tmp_path / f"list{suffix}"
    found = toolkit.disputes(mined, limit=0, output=target)
    reads: dict[str, Callable[[Path], pl.DataFrame]] = {".jsonl": pl.read_ndjson, ".csv": pl.read_csv, ".parquet": pl.read_parquet}
    read = reads[suffix](target)
    assert found.shown == [] and read["rank"].cast(pl.Int64).to_list() == [1, 2, 3] and read["entropy"].cast(pl.Float64)[0] == 1.0
    assert "output" not in read.columns


def test_the_command_shows_them_side_by_side_and_obeys_no_text(mined: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = command(mined, "--task", "prompt", "--limit", 1)
    assert shown.exit_code == 0
    heads = next(line for line in shown.output.splitlines() if "harmful (2 votes; anna" in line)
    assert "unharmful (2 votes; berta" in heads
    assert any("Thought 0 of anna" in line and "Thought 0 of berta" in line for line in shown.output.splitlines())
    assert max(map(len, shown.output.splitlines())) <= 80 and "2 more" in shown.output
    whole = command(mined, "--full", "--limit", 3).output
    assert "Thought 1 of berta on it." in whole and whole.count("Answers:") == 12
    found = json.loads(command(mined, "--json").stdout)
    assert found["disputed"] == 3 and len(found["shown"]) == 3
    path = mined.parent / "anna.jsonl"
    nasty = path.read_text().replace("Thought 0", "\\u001b[31m[bold]Thought\\u202e 0").replace("about my", "about\\u001b]0;x\\u0007 my")
    path.write_text(nasty)
    toolkit.mine({n: mined.parent / f"{n}.jsonl" for n in VERDICTS}, output="nasty")
    for more in ([], ["--full"]):
        out = command("nasty", *more).output
        assert "\x1b" not in out and "\u202e" not in out and "\x07" not in out and "[bold]" in out


def test_nothing_disputed_is_no_fault(tmp_path: Path) -> None:
    evaluated(tmp_path / "scores", {"one": verdict_lines("b", "prompt", "++-", "++-"), "two": verdict_lines("b", "prompt", "++-", "++?")})
    found = toolkit.disputes(tmp_path / "scores", output=tmp_path / "list.csv")
    assert found.tasks == [{"task": "prompt", "rows": 3, "disputed": 0}] and found.shown == []
    evaluated(tmp_path / "same", {"one": verdict_lines("b", "prompt", "++", "++")})
    assert toolkit.disputes(tmp_path / "same").disputed == 0


def test_what_cannot_be_read_is_reported(mined: Path, tmp_path: Path) -> None:
    for folder, words in ((tmp_path / "nowhere", "not the folder of a run"), (mined / "pairs", "'pairs' has no verdicts")):
        with pytest.raises(InputError, match=words):
            toolkit.disputes(folder)
    with pytest.raises(InputError, match="no verdicts on a task 'promt'") as e:
        toolkit.disputes(mined, task="promt")
    assert "prompt" in str(e.value.hint)
    with pytest.raises(InputError, match="must end in"):
        toolkit.disputes(mined, output="list.txt")
    with pytest.raises(InputError, match="limit is a number"):
        toolkit.disputes(mined, limit=-1)
    toolkit.run({"recipe": "seeds", "seed": 1, "steps": [{"id": "s", "use": "load", "with": {"source": "quickstart", "limit": 3}}]}, output="seeds")
    with pytest.raises(InputError, match="no finished step has verdicts"):
        toolkit.disputes("seeds")
