"""Requests with media: keys, content parts at a real server, and files that may not go along."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import config
from server import Server, answer, running

import toolkit
from toolkit.common.errors import InputError, InputErrors
from toolkit.generation import Completion, Journal, Meter, Price, Request, attached, build_request, complete, open_backend
from toolkit.generation._attached import LARGEST, TOKENS
from toolkit.generation._usage import tokens_at_most
from toolkit.records import Media

PICTURE = b"\x89PNG\r\n\x1a\n a picture, as far as anybody here looks"
SOUND = b"RIFF....WAVE a sound"


@pytest.fixture
def server() -> Iterator[Server]:
    with running(Server()) as s:
        yield s


def media(folder: Path, name: str, data: bytes, mime: str, declared: bytes | None = None) -> Media:
    """A file, and the reference to it (or to `declared`, which it is not)."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    return Media(mime.partition("/")[0], name, hashlib.sha256(data if declared is None else declared).hexdigest(), mime)


def run(c: Any, folder: Path, asked: list[tuple[str, list[Media]]], journal: Journal | None = None, meter: Meter | None = None) -> list[Completion]:
    backend = open_backend(c)
    if meter is not None:
        meter.register(backend, c)
    requests = (build_request(backend, c, [{"role": "user", "content": text}], media=attached(m, folder)) for text, m in asked)
    try:
        return list(complete(requests, backend, journal, meter=meter))
    finally:
        backend.close()


ENDPOINT = "https://api.example.test/v1"


@pytest.mark.parametrize(
    ("request_", "key"),
    [
        (
            Request("m", ENDPOINT, (("user", "How do I boil an egg?"),), 0.0, 1.0, 2048, 0),
            "2db601f95d217b62f8154f5a69eb05c2dd90cdfe02f487647beb649c395f7919",
        ),
        (
            Request(
                "m",
                ENDPOINT,
                (("system", "Be brief."), ("user", "Wie koche ich ein Ei? ä")),
                None,
                0.95,
                64,
                7,
                ("\n",),
                draw=3,
                attempt=1,
                schema='{"type":"json_object"}',
                row="r1",
            ),
            "13fcadc2f65acffe37a13737dbaa16854f377f4eced5b9af4908fa1a9e30e0ad",
        ),
        (
            Request("0f" * 32, "transformers", (("user", "x"),), 1.0, 1.0, 1, None, extra='{"a":1}', system="merge"),
            "9593d7a42243386a0df93776f39c140b7ab0388091171360ef77e5e0806217bd",
        ),
    ],
)
def test_keys_of_requests_without_media_are_those_of_before(request_: Request, key: str) -> None:
    """Computed by the guardkit before there were media."""
    assert request_.key == key
    assert "media" not in request_.shape


def test_the_key_covers_bytes_and_kind_and_no_place(tmp_path: Path) -> None:
    one = Media("image", "a.png", "a" * 64, "image/png")
    plain = Request("m", ENDPOINT, (("user", "x"),), 0.0, 1.0, 10)

    def key(*media: Media, folder: Path = tmp_path) -> str:
        return dataclasses.replace(plain, media=attached(media, folder)).key

    assert key() == plain.key
    assert key(one) == key(one._replace(uri="moved/b.png")) == key(one, folder=Path("/elsewhere"))
    two = one._replace(sha256="b" * 64)
    others = [key(one), key(two), key(one, two), key(two, one), key(one._replace(mime="image/webp")), key(one._replace(kind="audio"))]
    assert len({plain.key, *others}) == 7
    assert dataclasses.replace(plain, media=attached([one], tmp_path)).shape == plain.shape


def test_a_payload_never_leaves_media_out(tmp_path: Path) -> None:
    asked = Request("m", ENDPOINT, (("user", "x"),), 0.0, 1.0, 10, media=attached([media(tmp_path, "a.png", PICTURE, "image/png")], tmp_path))
    for form in (asked.payload, asked.messages_list):
        with pytest.raises(ValueError, match="1 files, and 0 of them"):
            form()
    with pytest.raises(ValueError, match="no message of the user"):
        dataclasses.replace(asked, messages=(("assistant", "x"),)).payload([{"type": "image_url"}])


def test_a_real_server_gets_the_parts_before_the_text(server: Server, tmp_path: Path) -> None:
    picture = media(tmp_path, "img/cat.png", PICTURE, "image/png")
    sound = media(tmp_path, "cat.wav", SOUND, "audio/x-wav")
    c = config(server)
    backend = open_backend(c)
    talk = [
        {"role": "system", "content": "Judge."},
        {"role": "user", "content": "What is this?"},
        {"role": "assistant", "content": "A cat."},
        {"role": "user", "content": "Sure?"},
    ]
    with Journal(tmp_path / "journal") as journal:
        first = build_request(backend, c, talk, media=attached([picture, sound], tmp_path))
        text = build_request(backend, c, talk[1:2])
        (one, two) = complete([first, text], backend, journal)
        moved = tmp_path / "moved"
        moved.mkdir()
        again = dataclasses.replace(first, media=attached([picture, sound], moved))  # answered by the journal: no file is looked for
        (three,) = complete([again], backend, journal)
    backend.close()
    assert one.text == answer("Sure?", 0) == three.text and two.text == answer("What is this?", 0)
    assert len(server.requests) == 2
    data = {name: base64.b64encode(raw).decode() for name, raw in (("picture", PICTURE), ("sound", SOUND))}
    seen = next(r["messages"] for r in server.requests if len(r["messages"]) == 4)
    assert seen[0] == talk[0] and seen[2:] == talk[2:]
    assert seen[1]["content"] == [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data['picture']}"}},
        {"type": "input_audio", "input_audio": {"data": data["sound"], "format": "wav"}},
        {"type": "text", "text": "What is this?"},
    ]
    from openai.types.chat import ChatCompletionMessageParam
    from pydantic import TypeAdapter

    TypeAdapter(list[ChatCompletionMessageParam]).validate_python(seen)


def test_what_is_not_the_file_of_its_row_costs_that_row_and_is_not_sent(server: Server, tmp_path: Path) -> None:
    data = tmp_path / "data"
    good = media(data, "good.png", PICTURE, "image/png")
    (tmp_path / "secret.png").write_bytes(PICTURE)
    (data / "out.png").symlink_to(tmp_path / "secret.png")
    big = data / "big.png"
    with big.open("wb") as f:
        f.truncate(LARGEST + 1)
    asked = [
        ("good", [good]),
        ("other bytes", [media(data, "other.png", PICTURE + b"!", "image/png", declared=PICTURE)]),
        ("gone", [good._replace(uri="gone.png")]),
        ("out", [good._replace(uri="out.png")]),
        ("up", [good._replace(uri="../secret.png")]),
        ("big", [good._replace(uri="big.png")]),
        ("together", [good, good._replace(uri="big.png")]),
        ("ogg", [media(data, "a.ogg", SOUND, "audio/ogg")]),
        ("text", []),
    ]
    with Journal(tmp_path / "journal") as journal:
        out = dict(zip([text for text, _ in asked], run(config(server, concurrency=2), data, asked, journal), strict=True))
        assert {name: c.error for name, c in out.items() if c.ok} == {"good": None, "text": None}
        assert {c.error for c in out.values() if not c.ok} == {"media"}
        for name, words in {
            "other bytes": "other.png is not the file of its row: its sha256 is ",
            "gone": "gone.png is not there, in ",
            "out": "out.png is a link that leads out of the dataset's folder",
            "up": "../secret.png has a part that is empty, . or ..",
            "big": "big.png: the files of a request may have 20,971,520 bytes in all",
            "together": "big.png: the files of a request may have 20,971,520 bytes in all",
            "ogg": "a.ogg: chat completions have no part for audio/ogg",
        }.items():
            assert words in (out[name].detail or ""), name
        assert sorted(server.asked) == ["good", "text"]
        (data / "gone.png").write_bytes(PICTURE)
        (mended,) = run(config(server), data, [asked[2]], journal)
        assert mended.text == answer("gone", 0)


def test_a_backend_is_not_asked_what_it_cannot_carry(server: Server, tmp_path: Path) -> None:
    c = config(server)
    backend = open_backend(c)
    clip = media(tmp_path, "a.mp4", b"clip", "video/mp4")
    with pytest.raises(InputError, match="'openai' cannot carry video"):
        build_request(backend, c, [{"role": "user", "content": "x"}], media=attached([clip], tmp_path))
    backend.close()


def test_a_server_that_takes_videos_gets_them_as_parts(server: Server, tmp_path: Path) -> None:
    clip, picture = media(tmp_path, "a.mp4", b"clip", "video/mp4"), media(tmp_path, "a.png", PICTURE, "image/png")
    c = config(server, video_parts=True)
    assert c.shaping() == config(server).shaping() and c.identity() == config(server).identity()
    (one,) = run(c, tmp_path, [("What moves?", [clip, picture])])
    assert one.text == answer("What moves?", 0)
    parts = server.requests[0]["messages"][0]["content"]
    assert parts[0] == {"type": "video_url", "video_url": {"url": "data:video/mp4;base64," + base64.b64encode(b"clip").decode()}}
    assert [part["type"] for part in parts] == ["video_url", "image_url", "text"]
    with pytest.raises(InputError, match="none is known for what 'm' asks for video"):
        run(config(server, video_parts=True, price=Price(input=1.0, output=0.0)), tmp_path, [("x", [clip])], meter=Meter(cap=100.0))


def test_retries_read_the_file_again(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.generation.backends._http.FIRST_WAIT", 0.01)
    server.faults["x"] = ["500", "429:0"]
    (one,) = run(config(server), tmp_path, [("x", [media(tmp_path, "a.png", PICTURE, "image/png")])])
    assert one.text == answer("x", 0) and server.asked["x"] == 3
    assert len({json.dumps(r["messages"]) for r in server.requests}) == 1


def test_a_budget_counts_images_and_refuses_sounds(server: Server, tmp_path: Path) -> None:
    picture, sound = media(tmp_path, "a.png", PICTURE, "image/png"), media(tmp_path, "a.wav", SOUND, "audio/wav")
    c = config(server, price=Price(input=1.0, output=0.0))
    plain = Request("m", ENDPOINT, (("user", "x"),), 0.0, 1.0, 10)
    assert tokens_at_most(dataclasses.replace(plain, media=attached([picture, picture], tmp_path))) == tokens_at_most(plain) + 2 * TOKENS
    (fits,) = run(c, tmp_path, [("x", [picture])], meter=Meter(cap=0.06))
    assert fits.ok
    with pytest.raises(InputError, match="none is known for what 'm' asks for audio"):
        run(c, tmp_path, [("x", [sound])], meter=Meter(cap=100.0))
    free = config(server, price=Price(input=0.0, output=0.0))
    assert run(free, tmp_path, [("y", [sound])], meter=Meter(cap=0.0))[0].ok
    assert run(c, tmp_path, [("z", [sound])])[0].ok


def test_prompts_of_a_file_may_have_media(server: Server, tmp_path: Path) -> None:
    picture = media(tmp_path, "img/cat.png", PICTURE, "image/png")
    prompts = tmp_path / "prompts.jsonl"
    lines: list[dict[str, Any]] = [{"id": 1, "user": "cat?", "media": [picture._asdict()]}, {"id": 2, "user": "dog?", "media": None}]
    prompts.write_text("".join(json.dumps(line) + "\n" for line in lines))
    backend = {"backend": "openai", "model": "m", "base_url": server.base_url}
    done = toolkit.generate(prompts, tmp_path / "out.jsonl", backend, work=tmp_path)
    assert (done["rows"], done["failed"]) == (2, 0)
    assert sorted(type(r["messages"][0]["content"]).__name__ for r in server.requests) == ["list", "str"]
    lines[1]["media"] = [{"kind": "video", "uri": "a.mp4", "sha256": "a" * 64, "mime": "video/mp4"}]
    lines.append({"id": 3, "user": "x", "media": [{**picture._asdict(), "uri": "/etc/passwd"}]})
    prompts.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(InputErrors) as e:
        toolkit.generate(prompts, tmp_path / "out2.jsonl", backend, work=tmp_path)
    assert [f.message for f in e.value.errors] == [
        "media: the backend cannot carry video",
        "media[0].uri is not relative to the dataset's folder: '/etc/passwd'",
    ]
    assert len(server.requests) == 2
