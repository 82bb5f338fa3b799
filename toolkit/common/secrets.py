"""The secrets in use, and cutting them out of whatever comes back: answers, messages, logs.

Contract: whoever reads a secret (from the environment, a file, a URL) tells `protect`, before it is used. From then on, in this process:

- `redact` takes it out of a message, `redact_body` out of the bytes that an endpoint sent, before anything parses, keeps or cuts them. A JSON
  document stays one: where a secret is found in it, it is written anew, of the same values.
- Found are the secret as it is, as a JSON string and as a part of a URL escape it, in base64 (as basic auth has it, whatever is before it),
  and, in JSON, with any of its letters as ``\\u00…``. Also what is left where something was cut off: of each form any beginning, and of
  the plain one any end, of at least 8 letters (12 in base64; 4 more than a public beginning such as ``sk-proj-``). A part out of the middle,
  other encodings and a secret that was taken apart are not found.
- A value of fewer than 8 letters, or of words and short numbers with fewer than 16 (``changeme``, ``not-needed``, ``2023-06-01``), is no secret:
  cutting it out would cost the data's own text. A longer one of words (``correct-horse-battery-staple``) is found whole, never in part.

`bare_urls` takes out of a text what URLs may hold of secrets, whether they are known or not. Every `GuardkitError` says its words through `shown`,
which does both.
"""

from __future__ import annotations

import base64
import functools
import json
import logging
import re
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, AnyStr
from urllib.parse import quote, unquote

MARK = "***"
"""Stands in a secret's place."""

_LEAST, _LEAST_64, _BEYOND = 8, 12, 4
"""Letters of a part that is found: plain, in base64, and beyond a public beginning."""

_PUBLIC = re.compile(r"https?://[^/?#\s]*/?|[A-Za-z]{1,8}[-_](?:[A-Za-z0-9]{1,5}[-_])*")
"""What secrets begin with for everybody to see: ``sk-``, ``hf_``, ``sk-proj-``, ``sk-ant-api03-``, a URL's host."""

_WORD = 16
"""A value of words is no secret below this length."""

_WORDS = re.compile(r"{word}(?:[-_ .,:/]++{word})*+".format(word=r"(?:(?:[A-Z]?[a-z]{0,14}|[A-Z]{2,15})[0-9]{0,2}|[0-9]{1,4})(?![^-_ .,:/])"))
"""Words and short numbers: what a person would write, not what a service would draw."""

_ESCAPED = re.compile(rb"\\u00(2[dD]|3[0-9]|5[fF]|[46][1-9a-fA-F]|[57][0-9aA])")
"""A letter, digit, ``-`` or ``_`` as JSON's escape, which no serialiser writes without need."""

_BACKSLASH = ord("\\")
_OFTEN = b"#%&~^|`@$<>;*+=?!/'()[]{}ZXQJKVYWzUFGBRPHqjLMDNOCESAIT8697435210_xvk-bwypfgmculhdrsnioat.e\\,:\" "
"""Bytes from the rarest to the commonest in JSON's texts, roughly; others are rarer."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,31}://[^\s\"'<>`)]+")


@dataclass(frozen=True)
class _Form:
    """One way in which a secret may be written, whole or cut: at least `least` letters of its beginning (`tail`: of its end)."""

    text: str
    data: bytes
    least: int
    tail: bool = False

    @property
    def needle(self) -> bytes:
        """What is there wherever the form is."""
        return self.data[-self.least :] if self.tail else self.data[: self.least]


_lock = threading.Lock()
_secrets: set[str] = set()
_needles: tuple[tuple[int, bytes, _Form], ...] = ()
"""All forms of all secrets, each with its rarest byte; replaced as a whole, so that any thread may read it."""


def protect(value: str | None) -> None:
    """From now on this is a secret, unless it can be none (see the module's docstring)."""
    global _needles
    value = (value or "").strip()
    if len(value) < _LEAST or (len(value) < _WORD and is_worded(value)):
        return
    with _lock:
        if value not in _secrets:
            _secrets.add(value)
            _needles += tuple((_rarest(form.needle), form.needle, form) for form in _forms(value))


def is_worded(value: str) -> bool:
    """Whether a value is made of words, so that a part of it may be in any text."""
    return (value.isalpha() and len(value) < _WORD) or _WORDS.fullmatch(value) is not None


def protect_url(url: str) -> None:
    """The password in a URL, or the user that is there alone, is a secret; of a short password the two together."""
    login = url.rpartition("://")[2].partition("/")[0].rpartition("@")[0]
    for value in (login, unquote(login)):
        protect(value.partition(":")[2] or value)
        protect(value)


def protect_proxies() -> None:
    """The passwords of the environment's proxies are secrets."""
    from urllib.request import getproxies

    for url in getproxies().values():
        protect_url(url)


def fit_for_a_header(value: str) -> bool:
    """Whether a key or token can be sent: it has no space, no line break and no letter that is not ASCII."""
    return re.fullmatch(r"[!-~]+", value) is not None


def redact(text: str) -> str:
    """A message without the secrets in use."""
    spans = [span for *_, form in _needles for span in _spans(text, form.text, form)]
    return _cut(text, spans, MARK) if spans else text


def redact_body(body: bytes) -> bytes:
    """The bytes of an answer without the secrets in use; the same object where there is none."""
    for rarest, needle, _ in _needles:
        if rarest in body and needle in body:  # to look for one byte takes a tenth of the time
            break
    else:
        if not (_needles and _BACKSLASH in body and b"\\u00" in body and _hides(body)):
            return body
    try:
        value = _redacted(json.loads(body))
    except (ValueError, RecursionError):  # no JSON, or none that anybody will read
        spans = [span for *_, form in _needles for span in _spans(body, form.data, form)]
        return _cut(body, spans, MARK.encode())
    return json.dumps(value).encode() + body[len(body.rstrip()) :]


def bare_urls(text: str) -> str:
    """A text in which no URL has a user, a password, or values in its query or fragment."""
    return _URL.sub(lambda found: _bare(found[0]), text) if "://" in text else text


def shown(text: str) -> str:
    """A text fit for a message: `redact` and `bare_urls`."""
    return bare_urls(redact(text)) if _needles or "://" in text else text


class LogFilter(logging.Filter):
    """Says a log's lines as `shown` does, whoever wrote them."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always true."""
        record.msg, record.args = shown(record.getMessage()), None
        return True


def _forms(value: str) -> list[_Form]:
    """The ways in which `value` may be written, each once."""
    public = _PUBLIC.match(value)
    least = len(value) if is_worded(value) else min(len(value), max(_LEAST, (len(public[0]) if public else 0) + _BEYOND))
    escaped = json.dumps(value)[1:-1]
    texts = [value, escaped, escaped.replace("/", "\\/"), quote(value, safe=""), re.sub("%..", lambda m: m[0].lower(), quote(value, safe=""))]
    found = dict.fromkeys(texts, least)
    data = value.encode("utf-8", "surrogatepass")
    for before, skip in ((0, 0), (1, 2), (2, 3)):  # where base64's groups of three may begin; `skip` letters hold bits of what is before
        whole = base64.b64encode(b"\0" * before + data).decode()[skip : (before + len(data)) * 8 // 6]
        enough = max(_LEAST_64, least * 4 // 3 + 1)
        if len(whole) >= enough:
            found |= {whole: enough, whole.translate(str.maketrans("+/", "-_")): enough}
    return [_Form(value, data, least, tail=True), *(_Form(text, text.encode("utf-8", "surrogatepass"), n) for text, n in found.items())]


def _rarest(needle: bytes) -> int:
    """The byte of a needle that JSON and prose hold least often."""
    return min(needle, key=_OFTEN.find)


def _spans(text: AnyStr, whole: AnyStr, form: _Form) -> Iterator[tuple[int, int]]:
    """Where `whole` (the form's letters, or bytes) is in `text`, or a beginning or end of it that is long enough."""
    least, size = form.least, len(whole)
    needle = whole[size - least :] if form.tail else whole[:least]
    at = text.find(needle)
    while at >= 0:
        begin, end = at, at + least
        if form.tail:
            while end - begin < size and begin and text[begin - 1 : begin] == whole[size - (end - begin) - 1 : size - (end - begin)]:
                begin -= 1
        else:
            while end - begin < size and text[end : end + 1] == whole[end - begin : end - begin + 1]:
                end += 1
        yield begin, end
        at = text.find(needle, at + 1)


def _cut(text: AnyStr, spans: Iterable[tuple[int, int]], mark: AnyStr) -> AnyStr:
    """`text` with one `mark` for all spans that touch."""
    out: list[AnyStr] = []
    done = -1
    for begin, end in sorted(spans):
        if begin > done:
            out += [text[max(done, 0) : begin], mark]
        done = max(done, end)
    out.append(text[max(done, 0) :])
    return text[:0].join(out)


def _hides(body: bytes) -> bool:
    """Whether a secret may be there with letters as ``\\u00…``."""
    if _ESCAPED.search(body) is None:
        return False
    plain = _ESCAPED.sub(lambda m: bytes([int(m[1], 16)]), body)
    return any(needle in plain for _, needle, _ in _needles)


def _redacted(value: Any) -> Any:
    """A JSON value without the secrets, in keys as well."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [_redacted(v) for v in value]
    if isinstance(value, dict):
        return {redact(k): _redacted(v) for k, v in value.items()}
    return value


@functools.lru_cache(maxsize=4096)
def _bare(url: str) -> str:
    head, _, rest = url.partition("://")
    rest, hash_, fragment = rest.partition("#")
    rest, question, query = rest.partition("?")
    host, slash, path = rest.partition("/")
    if "@" in host:
        host = f"{MARK}@{host.rpartition('@')[2]}"
    query = "&".join(f"{part.partition('=')[0]}={MARK}" if "=" in part else part and MARK for part in query.split("&"))
    fragment = MARK if "=" in fragment else fragment
    return f"{head}://{host}{slash}{path}{question}{query}{hash_}{fragment}"
