"""What a guard judges: `inputs` of its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from toolkit.common.errors import InputError
from toolkit.common.resources import shipped
from toolkit.guards import Guard, input_fingerprint, load_guard

GOOD = yaml.safe_load((shipped("schemas") / "guards" / "guardreasoner.yaml").read_text(encoding="utf-8"))


def guard(folder: Path, **change: Any) -> Guard:
    file = folder / "mine.yaml"
    file.write_text(yaml.safe_dump({**GOOD, **change}, sort_keys=False), encoding="utf-8")
    return load_guard(file)


def test_a_guard_that_says_nothing_judges_text_and_is_the_guard_that_it_was(tmp_path: Path) -> None:
    plain, found = guard(tmp_path), guard(tmp_path, inputs=["prompt", "response"])
    assert plain.inputs == ["prompt", "response"] and plain.media == ()
    # of the guardkit before there were inputs: what was built with it stays
    assert (
        plain.digests(["input"])["input"] == found.digests(["input"])["input"] == "8609e119ae63ac9e886db71c71e94342936823f218071a91d9d52d975dda7b98"
    )
    assert plain.fingerprint == found.fingerprint == "ef1d7c90881b5473557feb9900d5834b07850a7af25c44d130a1cda5e38bd7a0"


def test_media_are_part_of_what_a_guard_reads(tmp_path: Path) -> None:
    plain, seeing = guard(tmp_path), guard(tmp_path, inputs=["prompt", "response", "video", "image"])
    assert seeing.media == ("video", "image")
    assert input_fingerprint(seeing) != input_fingerprint(plain)
    assert seeing.digests(["input"])["input"] != plain.digests(["input"])["input"]
    assert seeing.digests(["tasks"])["tasks"] == plain.digests(["tasks"])["tasks"]


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (["prompt", "image"], "'response' is not among them, and a task is about it"),
        (["response"], "'prompt' is not among them"),
        (["prompt", "response", "image", "image"], "'image' is named twice"),
        (["prompt", "response", "smell"], "'smell'"),
        ([], "'prompt' is not among them"),
    ],
)
def test_faults_of_inputs_are_reported(tmp_path: Path, inputs: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        guard(tmp_path, inputs=inputs)


def test_an_input_that_is_not_declared_cannot_be_rendered(tmp_path: Path) -> None:
    alone = {
        "tasks": GOOD["tasks"][-1:] if GOOD["tasks"][-1]["applies"] == "always" else [t for t in GOOD["tasks"] if t.get("applies") != "response"]
    }
    asked = guard(tmp_path, **alone, inputs=["prompt", "image"], input="{{ prompt }}")
    assert asked.media == ("image",)
    with pytest.raises(InputError, match="unknown variable 'response'"):
        guard(tmp_path, **alone, inputs=["prompt", "image"])
