"""A secret in use is found in whatever form it comes back, whole or cut; URLs are shown without what they may hold of secrets."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.common import secrets
from toolkit.common.errors import InputError, InputErrors
from toolkit.common.yamlfile import YamlFile
from toolkit.generation import OpenAIConfig
from toolkit.pipeline._lineage import shareable

KEY = "sk-PROBEabcdef0123456789XYZ"


@pytest.fixture(autouse=True, scope="module")
def known() -> Iterator[None]:
    """The secrets of these tests alone."""
    before = secrets._secrets.copy(), secrets._needles
    secrets.protect(KEY)
    yield
    secrets._secrets.clear()
    secrets._secrets.update(before[0])
    secrets._needles = before[1]


def parts(key: str, least: int) -> list[str]:
    """What is left of a key that was cut behind, or before."""
    return [key[:n] for n in range(least, len(key) + 1)] + [key[-n:] for n in range(least, len(key))]


@pytest.mark.parametrize("part", parts(KEY, 8))
def test_a_key_is_found_whole_and_cut_at_any_length(part: str) -> None:
    body = json.dumps({"error": {"message": "x" * 50 + part}}).encode()
    assert secrets.redact_body(body) == body.replace(part.encode(), b"***")
    assert secrets.redact(f"you sent bearer {part}") == "you sent bearer ***"


@pytest.mark.parametrize("before", ["", "a:", "ab:", "user:", "Basic "])
def test_a_key_is_found_in_base64_wherever_its_groups_begin(before: str) -> None:
    stated = base64.b64encode((before + KEY).encode()).decode()
    found = secrets.redact_body(json.dumps(stated).encode()).decode()
    assert "***" in found and b"PROBE" not in base64.b64decode(found.strip('"').replace("***", "") + "==", validate=False)
    assert all(len(piece) < 12 for piece in found.strip('"').removeprefix(base64.b64encode(before.encode()).decode()[:-3]).split("***"))


@given(st.sets(st.integers(0, len(KEY) - 1)), st.booleans())
def test_json_escapes_hide_nothing(letters: set[int], upper: bool) -> None:
    hidden = "".join(f"\\u{ord(c):04{'X' if upper else 'x'}}" if i in letters else c for i, c in enumerate(KEY))
    value = json.loads(secrets.redact_body(f'{{"choices": [{{"message": {{"content": "key {hidden}!"}}}}]}}'.encode()))
    found = value["choices"][0]["message"]["content"]
    assert found.startswith("key ") and found.endswith("!") and "***" in found
    assert all(KEY[i : i + 8] not in found for i in range(len(KEY) - 7))


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=16, max_size=40).filter(lambda s: not secrets.is_worded(s)), st.data())
def test_whatever_the_key_json_stays_json_without_it(key: str, data: st.DataObject) -> None:
    before = secrets._secrets.copy(), secrets._needles
    try:
        secrets.protect(key)
        public = secrets._PUBLIC.match(key)
        text = data.draw(st.sampled_from([key, key[: max(12, len(public[0]) + 4 if public else 0)], quote(key, safe="")]))
        for body in (json.dumps({"a": f"x {text} y", text: [text]}), json.dumps({"a": text}).replace("/", "\\/")):
            found = json.loads(secrets.redact_body(body.encode()))
            assert text not in json.dumps(found, ensure_ascii=False) and text not in str(found)
    finally:
        secrets._secrets.clear()
        secrets._secrets.update(before[0])
        secrets._needles = before[1]


@pytest.mark.parametrize(
    "word", ["changeme", "EMPTY", "password", "none", "sk-1", "", "not-needed", "dummy-key", "lm-studio", "2023-06-01", "us-east-1"]
)
def test_a_word_is_no_secret(word: str) -> None:
    """A placeholder for a local server must not cost the answers that have the word in them."""
    secrets.protect(word)
    body = f'{{"content": "the word {word} is common"}}'.encode()
    assert secrets.redact_body(body) is body


TELLING = {
    "sk-no-key-required": "a no-key-required service",
    "Safety Dataset Construction": "the Safety Dataset of our Dataset Construction",
    "https://lab42.example.org/guards": "see https://example.com and https://lab42.example.org",
    "https://x7f3q9.example.org/": "see https://example.com and https://x7f3q9.example.com",
    "correct-horse-battery-staple": "correct-horse-battery",
}


@pytest.mark.parametrize("value", TELLING)
def test_text_that_resembles_a_part_of_words_is_left_alone(value: str) -> None:
    """A placeholder for a key, or a header that says who asks, is in use like a key: only whole is it one."""
    secrets.protect(value)
    body = json.dumps({"content": TELLING[value]}).encode()
    assert secrets.redact_body(body) is body
    assert secrets.redact(f"the {value!r}") == "the '***'"


def test_what_every_key_begins_with_is_no_secret() -> None:
    secrets.protect("sk-proj-Probe0123456789abcdef")
    body = b"keys of projects begin with sk-proj-, others with sk-PROB"
    assert secrets.redact_body(body) is body
    assert secrets.redact_body(b"sk-proj-Probe") == b"***"


def test_an_answer_without_it_is_the_same_object() -> None:
    body = json.dumps({"content": "a < b & c > d " * 100 + "é"}).replace("<", "\\u003c").encode()
    assert secrets.redact_body(body) is body


URLS = [
    ("https://user:pass@host:8080/v1", "https://***@host:8080/v1"),
    ("https://user:p@ss@host/v1", "https://***@host/v1"),
    ("https://token@host", "https://***@host"),
    ("(see https://host/a?key=abc&b=&flag#top)", "(see https://host/a?key=***&b=***&***#top)"),
    ("https://host/#access_token=abc", "https://host/#***"),
    ("https://host/a@b/c", "https://host/a@b/c"),
]


@pytest.mark.parametrize(("url", "bare"), URLS)
def test_urls_are_shown_without_users_passwords_and_values(url: str, bare: str) -> None:
    assert secrets.bare_urls(url) == bare
    error = InputError(f"cannot ask {url}", where=url, hint=url)
    assert str(error) == f"{bare}: cannot ask {bare}\n  {bare}" and (error.message, error.where, error.hint) == (f"cannot ask {bare}", bare, bare)
    assert shareable({"a": [f"x {url}"]}) == {"a": [f"x {bare}"]}


def test_a_refused_base_url_is_shown_without_its_secrets() -> None:
    for url in ("https://user:pa55word@host/v1", "https://host/v1?api-key=pa55word"):
        with pytest.raises(InputErrors, match="base_url may hold no user, password, query") as e:
            YamlFile("r.yaml", {"backend": "openai", "model": "m", "base_url": url}).model(OpenAIConfig)
        assert "pa55word" not in str(e.value)
        with pytest.raises(InputErrors, match="endpoint is written into the journal") as e:
            YamlFile("r.yaml", {"backend": "openai", "model": "m", "endpoint": url}).model(OpenAIConfig)
        assert "pa55word" not in str(e.value)


def test_the_log_says_neither() -> None:
    record = logging.LogRecord("x", logging.WARNING, "f", 1, "sent %s to %s", (KEY, "http://u:p@h/"), None)
    assert secrets.LogFilter().filter(record) and record.getMessage() == "sent *** to http://***@h/"


def test_the_passwords_of_proxies_are_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:pr0xy%2Fpassword@proxy.example:3128")
    monkeypatch.setenv("ALL_PROXY", "other:an0therpassword@proxy.example")
    monkeypatch.setenv("HTTP_PROXY", "http://somebody:s3cret@proxy.example")
    secrets.protect_proxies()
    assert (
        secrets.redact(f"Basic {base64.b64encode(b'somebody:s3cret').decode()}").startswith("Basic ***")
        and secrets.redact("somebody:s3cret") == "***"
    )
    assert secrets.redact("pr0xy/password, pr0xy%2Fpassword, an0therpassword") == "***, ***, ***"
