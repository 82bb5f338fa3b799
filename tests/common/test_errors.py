"""Errors that come out of another process are those that went in."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

import toolkit
from toolkit.common.errors import GuardkitError, InputError, InputErrors, Missing, Stopped, on_command_line, stopped_by
from toolkit.common.secrets import protect


class Mine(InputError):  # noqa: N818
    """An error of another package, made in its own way."""

    def __init__(self, row: int, *, column: str) -> None:
        super().__init__(f"row {row}: bad {column}", where="rows.csv:3", hint="mend it")
        self.row = row


@pytest.mark.parametrize(
    "error",
    [
        Stopped("the disk is full", hint="make room"),
        Missing("no key"),
        InputErrors([InputError("one", where="a.yaml:1"), Missing("two", hint="three")]),
        Mine(4, column="prompt"),
    ],
)
def test_an_error_can_be_sent(error: GuardkitError) -> None:
    again: Any = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert type(again) is type(error) and str(again) == str(error) and again.args == error.args
    assert {**vars(again), "errors": ""} == {**vars(error), "errors": ""}
    assert [str(e) for e in getattr(again, "errors", [])] == [str(e) for e in getattr(error, "errors", [])]


def test_a_secret_that_the_other_process_did_not_know_is_cut_out() -> None:
    sent = pickle.dumps(InputError("refused: xk-93AbQz71LmWe05Rt", hint="not xk-93AbQz71LmWe05Rt"))
    protect("xk-93AbQz71LmWe05Rt")
    again = pickle.loads(sent)  # noqa: S301
    assert "93AbQz71" not in str(again) + again.message + str(again.hint) and "refused" in str(again)


def test_options_are_named_as_whoever_reads_gives_them() -> None:
    def error() -> InputError:
        return InputError("too few", where="{--min-parse-rate|min_parse_rate}", hint="say {--k mean|combine='mean'}, or {a: b|c}")

    assert str(error()) == "min_parse_rate: too few\n  say combine='mean', or {a: b|c}"
    with on_command_line():
        assert str(error()) == "--min-parse-rate: too few\n  say --k mean, or {a: b|c}"
    with pytest.raises(
        InputError, match=r"nothing to evaluate\n  name a model that is asked \(models\), or files with what one wrote \(predictions\)"
    ):
        toolkit.evaluate()
    with pytest.raises(InputError, match=r"neither a format nor a repository\n  to='trl' writes"):
        toolkit.export("nowhere")


def test_a_hint_of_faults_that_follow_each_other_stands_under_the_last_of_them() -> None:
    faults = [InputError("one", hint="do this"), InputError("two", hint="do this"), InputError("three", hint="do that"), InputError("four")]
    assert str(InputErrors(faults)) == "one\ntwo\n  do this\nthree\n  do that\nfour"
    assert [e.hint for e in InputErrors(faults).errors] == ["do this", "do this", "do that", None]


def test_what_stopped_a_run_is_in_words() -> None:
    assert stopped_by("KeyboardInterrupt") == "interrupted" and "service" in stopped_by("Missing")
    assert stopped_by("OtherError") == "OtherError"
