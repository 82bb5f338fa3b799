"""Names that are in data lead to files below one folder and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from toolkit.common.errors import InputError
from toolkit.common.paths import below_fault, open_below


@pytest.mark.parametrize("name", ["a.png", "a/b/c.png", "ä ö.png", "...png", "a..b", "%2e%2e/x", "-", "a/b:c", "nul"])
def test_relative_names_pass(name: str) -> None:
    assert below_fault(name) is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "empty"),
        ("/etc/passwd", "relative"),
        ("~/a.png", "relative"),
        ("..", ". or .."),
        ("a/../../b", ". or .."),
        ("./a", ". or .."),
        ("a//b", "empty, . or .."),
        ("a/", "empty, . or .."),
        ("a\\..\\b", "backslash"),
        ("file:///etc/passwd", "URL"),
        ("file:a.png", "URL"),
        ("http://example.test/a.png", "URL"),
        ("HTTPS://example.test/a.png", "URL"),
        ("data:image/png;base64,AA==", "URL"),
        ("C:/a.png", "URL"),
        ("a\0b", "printed"),
        ("a\nb", "printed"),
        ("a\u202eb", "printed"),
    ],
)
def test_names_that_could_lead_elsewhere_are_refused(name: str, words: str, tmp_path: Path) -> None:
    assert words in (below_fault(name) or "")
    with pytest.raises(InputError):
        open_below(tmp_path, name)


def test_links_may_not_leave_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("mine")
    data = tmp_path / "data"
    (data / "sub").mkdir(parents=True)
    (data / "a.png").write_bytes(b"picture")
    (data / "out").symlink_to(tmp_path / "secret")
    (data / "up").symlink_to(tmp_path)
    (data / "in").symlink_to("a.png")
    (data / "round").symlink_to("round")
    os.mkfifo(data / "pipe")
    (tmp_path / "linked").symlink_to(data)
    for folder in (data, tmp_path / "linked"):
        for name in ("a.png", "in"):
            with open_below(folder, name) as file:
                assert file.read() == b"picture"
        for name, words in (
            ("out", "leads out"),
            ("up/secret", "leads out"),
            ("round", "cannot be read"),
            ("pipe", "no|not a regular file"),
            ("sub", "not a regular file"),
            ("gone.png", "is not there"),
        ):
            with pytest.raises(InputError, match=words) as e:
                open_below(folder, name)
            assert e.value.where == name
