"""Three-valued labels that are read as two, as the guard's definition declares it."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.common.errors import InputError, InputErrors
from toolkit.guards import Guard, load_guard, parse

FILES = Path(__file__).parent / "files"
READINGS = "    readings: {strict: {controversial: unsafe}, loose: {controversial: safe}}\n"


def with_readings(folder: Path, readings: str = READINGS) -> Guard:
    text = (FILES / "boxed.yaml").read_text().replace("    positive: unsafe\n", "    positive: unsafe\n" + readings)
    (folder / "own.yaml").write_text(text)
    return load_guard(folder / "own.yaml")


def test_a_reading_takes_labels_for_others(tmp_path: Path) -> None:
    guard = with_readings(tmp_path)
    assert guard.readings == ("strict", "loose")
    for label, strict, loose in (("safe", "safe", "safe"), ("controversial", "unsafe", "safe"), ("unsafe", "unsafe", "unsafe")):
        text = f"Eggs.\n\n\\boxed{{{label}}}"
        for mode in ("strict", "lenient"):
            assert parse(guard, text, mode).labels == {"safety": label}, "without one the labels are as they are"
            assert parse(guard, text, mode, reading="strict").labels == {"safety": strict}
            assert parse(guard, text, mode, reading="loose").labels == {"safety": loose}
    assert parse(guard, "Eggs.", reading="loose").reasons == {"safety": "field_missing"}


def test_readings_that_are_not_there_are_refused(tmp_path: Path, guardreasoner: Guard) -> None:
    with pytest.raises(InputError, match="no reading 'lose'") as fault:
        parse(with_readings(tmp_path), "\\boxed{safe}", reading="lose")
    assert "did you mean 'loose'" in str(fault.value.hint)
    with pytest.raises(InputError, match="no reading 'strict'") as fault:
        parse(guardreasoner, "Request: harmful", reading="strict")
    assert "declare none" in str(fault.value.hint)


@pytest.mark.parametrize(
    ("readings", "message"),
    [
        ("{x: {contro: unsafe}}", "'contro' is none of the labels"),
        ("{x: {controversial: harmful}}", "'harmful' is none of the labels"),
        ("{x: {unsafe: safe}}", "F1 counts it"),
        ("{x: {controversial: safe, safe: unsafe}}", "stands for another itself"),
    ],
)
def test_readings_that_cannot_be_are_faults_with_their_line(readings: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputErrors, match=rf"own.yaml:11:tasks.0.readings.x.\w+: .*{message}"):
        with_readings(tmp_path, f"    readings: {readings}\n")


def test_definitions_without_readings_have_the_digest_that_they_had() -> None:
    assert load_guard("guardreasoner").fingerprint == FINGERPRINT


FINGERPRINT = "ef1d7c90881b5473557feb9900d5834b07850a7af25c44d130a1cda5e38bd7a0"
"""Of the shipped definition, version 1."""
