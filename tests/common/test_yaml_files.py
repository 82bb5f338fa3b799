"""YAML with line numbers: every fault of a file has its place, and all are found at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, model_validator

from toolkit.common.errors import InputError, InputErrors
from toolkit.common.yamlfile import FaultAt, dump_yaml, load_yaml, parse_yaml


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Cat(Strict):
    kind: Literal["cat"]
    lives: int = 9


class Dog(Strict):
    kind: Literal["dog"]
    tricks: list[str] = []


class Home(Strict):
    name: str
    rooms: int = 1
    pet: Annotated[Cat | Dog, Field(discriminator="kind")] = Cat(kind="cat")
    friends: dict[str, Dog] = {}
    size: int | str = 1

    @model_validator(mode="after")
    def _named_well(self) -> Home:
        if self.name == "Rex" and self.pet.kind == "dog":
            raise FaultAt("the home is called as the dog", "pet", "kind")
        return self


def faults(text: str) -> list[str]:
    with pytest.raises(InputErrors) as e:
        parse_yaml(text, "home.yaml").model(Home)
    return [str(error) for error in e.value.errors]


def test_a_good_file() -> None:
    file = parse_yaml("# a home\nname: Mine\npet:\n  kind: dog\n  tricks: [sit, roll]\n", "home.yaml")
    assert file.model(Home) == Home(name="Mine", pet=Dog(kind="dog", tricks=["sit", "roll"]))
    assert [file.where(k) for k in ((), ("pet",), ("pet", "tricks", 1), ("pet", "nothing", "at", "all"))] == [
        "home.yaml:2",
        "home.yaml:3:pet",
        "home.yaml:5:pet.tricks.1",
        "home.yaml:3:pet.nothing.at.all",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: a\nromms: 2\n", ["home.yaml:2:romms: unknown key 'romms'\n  did you mean 'rooms'?"]),
        ("rooms: 2\n", ["home.yaml:1:name: the key 'name' is missing"]),
        ("name: a\nrooms: many\n", ["home.yaml:2:rooms: Input should be a valid integer, unable to parse string as an integer (got 'many')"]),
        (
            "name: true\n",
            ["home.yaml:1:name: Input should be a valid string (got True)\n  put it in quotes: YAML reads it as something else than text"],
        ),
        ("name: a\npet:\n  kind: dog\n  trick: [sit]\n", ["home.yaml:4:pet.trick: unknown key 'trick'\n  did you mean 'tricks'?"]),
        (
            "name: a\npet: {kind: bird}\n",
            ["home.yaml:2:pet: Input tag 'bird' found using 'kind' does not match any of the expected tags: 'cat', 'dog'"],
        ),
        ("name: a\npet: {lives: 9}\n", ["home.yaml:2:pet: the key 'kind' is missing"]),
        ("name: a\nfriends:\n  Bo:\n    kind: dog\n    tricks: sit\n", ["home.yaml:5:friends.Bo.tricks: Input should be a valid list (got 'sit')"]),
        ("name: a\nfriends:\n  Bo:\n    tricks: []\n", ["home.yaml:3:friends.Bo.kind: the key 'kind' is missing"]),
        ("name: Rex\npet:\n  kind: dog\n", ["home.yaml:3:pet.kind: the home is called as the dog"]),
        ("", ["home.yaml:1: expected keys with values, got nothing"]),
        ("- a\n- b\n", ["home.yaml:1: expected keys with values, got ['a', 'b']"]),
    ],
)
def test_a_fault_says_where_what_and_what_to_do(text: str, expected: list[str]) -> None:
    assert faults(text) == expected


def test_all_faults_at_once_and_each_once() -> None:
    found = faults("nme: a\nrooms: x\npet:\n  kind: cat\n  lifes: 3\nsize: [1]\n")
    places = [f.split(": ")[0] for f in found]
    assert places == ["home.yaml:1:name", "home.yaml:2:rooms", "home.yaml:5:pet.lifes", "home.yaml:6:size", "home.yaml:6:size", "home.yaml:1:nme"]
    with pytest.raises(InputError) as e:
        parse_yaml("nme: a\nrooms: x\n", "home.yaml").model(Home)
    assert e.value.exit_code == 2 and "home.yaml:1:nme" in str(e.value) and "home.yaml:2:rooms" in str(e.value)


def test_a_part_of_a_file_keeps_its_lines() -> None:
    file = parse_yaml("homes:\n  - name: a\n  - name: b\n    rooms: x\n", "town.yaml")
    with pytest.raises(InputErrors, match=r"town\.yaml:4:homes\.1\.rooms: "):
        file.model(Home, file.data["homes"][1], ("homes", 1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "home.yaml:4:b.c: the key 'c' is given twice\n  first given in line 3"),
        ("1: a\ntrue: b\n", "home.yaml:2:True: the key True is given twice\n  first given in line 1"),
        ("a: [1\nb: 2\n", "home.yaml:2: not valid YAML"),
        ("a: b: c\n", "home.yaml:1: not valid YAML"),
        ("\tb: 1\n", "home.yaml:1: not valid YAML"),
        ("a: 1\n---\nb: 2\n", "not valid YAML: but found another document"),
        ("a: !!python/object:os.system x\n", "home.yaml:1: not valid YAML: the tag 'tag:yaml.org,2002:python/object:os.system' is not read"),
        ("a: \x00\n", "not valid YAML"),
        ("? [a, b]\n: c\n", "home.yaml:1: a key must be a plain word"),
        ("a: &x [*x]\n", "an alias that holds itself"),
        ("[" * 5000, "not valid YAML: nested too deeply"),
    ],
)
def test_text_that_is_no_yaml_of_ours(text: str, message: str) -> None:
    with pytest.raises(InputError) as e:
        parse_yaml(text, "home.yaml")
    assert message in str(e.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("name: café\n".encode("latin-1"))
    for path, answer in (
        (tmp_path / "none.yaml", "no such file"),
        (tmp_path, "a folder, where a file is read\n  name a file, "),
        (latin, "not UTF-8 (byte 9)\n  save the file as UTF-8"),
    ):
        with pytest.raises(InputError) as e:
            load_yaml(path)
        assert str(e.value).startswith(f"{path}: ") and answer in str(e.value)


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(),
        lambda s: st.lists(s, max_size=3) | st.dictionaries(st.text(), s, max_size=3),
    )
)
def test_what_yaml_says_is_what_is_read(value: object) -> None:
    """What is dumped is read back, words that YAML 1.1 or 1.2 would take for something else included."""
    assert parse_yaml(dump_yaml(value), "x.yaml").data == value


def test_a_password_in_a_url_is_not_shown():
    with pytest.raises(InputError) as e:
        parse_yaml("name: a\nrooms: http://user:hunter2@host/v1\n", "home.yaml").model(Home)
    assert "hunter2" not in str(e.value)
    assert "://***@host/v1" in str(e.value)
