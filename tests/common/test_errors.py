"""Errors that come out of another process are those that went in."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from toolkit.common.errors import GuardkitError, InputError, InputErrors, Missing, Stopped
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
