"""A YAML file means one thing, and a few lines of it cannot fill the memory."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.common.errors import InputError
from toolkit.common.yamlfile import dump_yaml, load_yaml, parse_yaml

BOMB = "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}' if i else 'x'] * 10)}]\n" for i in range(9))
NULLS = {"", "~", "null", "Null", "NULL"}
TRUTHS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


def core_schema(text: str) -> object:
    """YAML 1.2.2, section 10.3.2, word for word."""
    if text in NULLS:
        return None
    if text in TRUTHS:
        return TRUTHS[text]
    if re.fullmatch(r"[-+]?[0-9]+", text):
        return int(text)
    if re.fullmatch(r"0o[0-7]+", text):
        return int(text[2:], 8)
    if re.fullmatch(r"0x[0-9a-fA-F]+", text):
        return int(text, 16)
    if re.fullmatch(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", text):
        return float(text)
    return text


@pytest.mark.parametrize(
    ("word", "message", "hint"),
    [
        ("010", "octal or text in YAML 1.1 and decimal in YAML 1.2", "write the number without the zeros before it"),
        ("-08", "octal or text in YAML 1.1", "write the number without the zeros before it"),
        ("0o10", "text in YAML 1.1 and octal in YAML 1.2", "write the number in decimal"),
        ("0b101", "a number in YAML 1.1 and text in YAML 1.2", "write the number in decimal"),
        ("-0x1F", "a number in YAML 1.1 and text in YAML 1.2", "write the number in decimal"),
        ("1_000", "a number in YAML 1.1 and text in YAML 1.2", "write the number without _"),
        ("1:30", "a number to the base 60 in YAML 1.1", "write the number in decimal"),
        ("1:30.5", "a number to the base 60 in YAML 1.1", "write the number in decimal"),
        ("2024-01-31", "a date in YAML 1.1", 'put it in quotes: "2024-01-31"'),
        ("2024-13-45", "a date in YAML 1.1", 'put it in quotes: "2024-13-45"'),
        ("2024-01-31 10:00:00", "a date in YAML 1.1", "put it in quotes"),
        ("no", "true or false in YAML 1.1 and text in YAML 1.2", 'put the word in quotes: "no"'),
        ("Off", "true or false in YAML 1.1", "write true or false"),
        ("=", "a default value in YAML 1.1", "put it in quotes"),
        ("!!int x", "the tag 'tag:yaml.org,2002:int' is not read", "put a text in quotes"),
        ("!!binary x", "the tag", "put a text in quotes"),
        ("! 12", "the tag '!' is not read", "put a text in quotes"),
        ("9223372036854775808", "the number 9223372036854775808 does not fit into 64 bits", "put it in quotes if it is text"),
        ("1e999", "the number 1e999 is too large", "put it in quotes if it is text"),
        ("9" * 5000, "does not fit into 64 bits", "put it in quotes if it is text"),
        ("0x" + "f" * 5000, "does not fit into 64 bits", "put it in quotes if it is text"),
    ],
)
def test_a_word_with_two_readings_is_refused_and_what_to_write_is_shown(word: str, message: str, hint: str) -> None:
    with pytest.raises(InputError) as e:
        parse_yaml(f"recipe: t\nstep:\n  seed: {word}\n", "r.yaml")
    assert message in e.value.message and hint in (e.value.hint or "")
    assert str(e.value.where).startswith("r.yaml:3")
    assert len(str(e.value)) < 300
    quoted = parse_yaml(f"seed: '{word}'\n", "r.yaml").data
    assert quoted == {"seed": word}


@pytest.mark.parametrize("text", ["<<: {a: 1}\nb: 2\n", "a: &x {b: 1}\nc: {<<: *x, d: 2}\n", "010: a\n", "2024-01-31: a\n"])
def test_keys_have_one_reading_too(text: str) -> None:
    with pytest.raises(InputError, match=r"YAML 1\.1"):
        parse_yaml(text, "r.yaml")


def test_what_both_versions_read_alike() -> None:
    text = "on: 'yes'\nno: \"off\"\nn: 1\nrate: 5e-6\nhalf: .5\nplus: +1\nhex: 0x1F\nletter: y\nflag: true\ncount: 3\nnothing: ~\nempty:\nrange: 1-30\nversion: 1.2.3\n"
    assert parse_yaml(text, "words.yaml").data == {
        "on": "yes",
        "no": "off",
        "n": 1,
        "rate": 5e-6,
        "half": 0.5,
        "plus": 1,
        "hex": 31,
        "letter": "y",
        "flag": True,
        "count": 3,
        "nothing": None,
        "empty": None,
        "range": "1-30",
        "version": "1.2.3",
    }


@settings(deadline=None, max_examples=500)
@given(st.text("0123456789.eE+-_:xXobBafFnN~=<yYtTrRuUlLsS", min_size=1, max_size=8))
def test_what_is_read_is_what_yaml_1_1_and_1_2_read(word: str) -> None:
    """Of a word that is not refused, a loader of each version makes the same; a number with an exponent is one here, as in 1.2."""
    try:
        found = parse_yaml(f"a: {word}", "x.yaml").data
        new, old = core_schema(word), yaml.safe_load(f"a: {word}")
    except (InputError, yaml.YAMLError, ValueError):
        return
    if not isinstance(found, dict) or (found != old and ":" in word):
        return  # not one word but a mapping
    nan = found["a"] != found["a"] or str(found["a"]).endswith("inf")
    exponent = isinstance(new, float) and re.search("[eE]", word)
    assert nan or (found["a"] == new and type(found["a"]) is type(new))
    assert nan or exponent or (found["a"] == old["a"] and type(found["a"]) is type(old["a"]))


@settings(deadline=None, max_examples=300)
@given(st.recursive(st.text() | st.text("0123456789:-_=.~oxenyY<+", max_size=6) | st.floats(allow_nan=False), lambda s: st.lists(s, max_size=3)))
def test_what_is_dumped_is_read_as_it_was(value: object) -> None:
    assert parse_yaml(dump_yaml({"a": value}), "x.yaml").data == {"a": value}
    one_line = dump_yaml({"a": value}, default_flow_style=True, width=10_000)
    assert parse_yaml(one_line, "x.yaml").data == {"a": value}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "more than 100,000 keys and values, aliases written out"),
        ("[" + "x," * 100_000 + "]", "more than 100,000 keys and values"),
        ("[" * 100_000, "nested too deeply"),
        ("a: " + "{a: " * 100_000, "nested too deeply"),
        ("- " * 50_000 + "x", "nested too deeply"),
        ("a: &a [*a]\n", "an alias that holds itself"),
        ('a: "\\Uffffffff"\n', "not valid YAML"),
        ('a: "\\ud83d"\n', "a text may hold no half of a surrogate pair"),
        ("a: " + "x" * (9 << 20), "more than 8,388,608 bytes"),
    ],
    ids=["aliases", "long", "flow", "mappings", "sequences", "itself", "escape", "surrogate", "bytes"],
)
def test_a_file_beyond_the_bounds_costs_one_error_and_little_memory(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=re.escape(message)) as e:
        load_yaml(file)
    assert str(e.value.where).startswith(str(file))
    script = (
        "import sys; from pathlib import Path; from toolkit.common.yamlfile import load_yaml\n"
        "try: load_yaml(Path(sys.argv[1]))\n"
        "except Exception as e: print(type(e).__name__, Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
    )
    name, most = subprocess.run([sys.executable, "-c", script, str(file)], capture_output=True, text=True, check=True).stdout.split()
    assert name == "InputError" and int(most) < 200_000


def test_two_escapes_that_are_one_character() -> None:
    assert parse_yaml('a: "\\ud83d\\ude00"\n', "x.yaml").data == {"a": "\U0001f600"}


PIECES = ["a", "b c", "1", "- ", "? ", "?", '?"', ": ", ":", ",", "[", "]", "{", "}", "\n", "\n  ", "\n    ", " #", "'", '"', "|\n  x\n", ">-\n  y\n"]
PIECES += ["&a ", "*a", "---\n", "...\n", "%", "\t", "!", "\u2028", "\ufeff", "\u00e9", "\\n", "\\ud83d", "~", "<<: ", "\r", "|#"]


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
@settings(max_examples=400, deadline=None)
def test_libyaml_changes_nothing_of_what_a_text_means(text: str) -> None:
    def read() -> object:
        try:
            found = parse_yaml.__globals__["_parsed"](text, "x.yaml")
        except InputError as e:
            return str(e)
        return found.data, found.lines

    with_it = read()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml, "__with_libyaml__", False)
        assert read() == with_it
