"""Rows with media through recipes: loaded, asked about, rendered, mined; and refused wherever one would have to be left out."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from frames import TASKS, seed, seeds
from server import running
from teachers import MILD, SOURCE, Done, Small, Teacher, openai, sound, text

import toolkit
from toolkit.common.errors import InputError, InputErrors
from toolkit.common.resources import find
from toolkit.operators import Context, RowOperator, operator_class
from toolkit.pipeline import load_recipe, make_plan
from toolkit.records import MEDIA, TYPE, Column, Media, content_id, has_media, load_record, row_id, to_polars
from toolkit.shards import verify
from toolkit.shards.exporters import export

PICTURE = b"\x89PNG a picture, as far as anybody here looks"
SHA = hashlib.sha256(PICTURE).hexdigest()
CAT = Media("image", "cat.png", SHA, "image/png")._asdict()
CLIP = Media("video", "cat.mp4", SHA, "video/mp4")._asdict()


def flat(body: Mapping[str, Any]) -> dict[str, Any]:
    """A request's body with the texts of its content parts alone."""
    messages = [{**m, "content": m["content"] if isinstance(m["content"], str) else m["content"][-1]["text"]} for m in body["messages"]]
    return {**body, "messages": messages}


@pytest.fixture
def teacher() -> Iterator[Teacher]:
    with running(Teacher(lambda body: sound(flat(body)))) as served:
        yield served  # type: ignore[misc]


class World(Small):
    """`Small` with media: a source that names their column, a folder of files, a guard that judges images."""

    def __init__(self, folder: Path, rows: list[dict[str, Any]]) -> None:
        super().__init__(folder, rows)
        columns: dict[str, Any] = {**SOURCE["columns"], "media": "pictures"}  # type: ignore[dict-item]
        (folder / "tiny.yaml").write_text(yaml.safe_dump({**SOURCE, "columns": columns}))
        (folder / "files" / "set").mkdir(parents=True)
        (folder / "files" / "set" / "cat.png").write_bytes(PICTURE)
        guard = yaml.safe_load(find("guards", "guardreasoner").read_text())
        (folder / "sees.yaml").write_text(yaml.safe_dump({**guard, "name": "sees", "inputs": ["prompt", "response", "image"]}, sort_keys=False))

    def recipe(self, options: Mapping[str, Any], *more: dict[str, Any], use: str = "synthesise", **top: Any) -> Path:
        given = {"guard": "sees.yaml", "media": "files", **top}
        path = super().recipe(options, *more, use=use, **{n: v for n, v in given.items() if v is not None})
        recipe = yaml.safe_load(path.read_text())
        recipe["steps"][0]["with"] |= {"media": "set", "max_rejected": 1}
        path.write_text(yaml.safe_dump(recipe, sort_keys=False))
        return path

    def faults(self, options: Mapping[str, Any], *more: dict[str, Any], **top: Any) -> list[str]:
        """What the check of a recipe says."""
        with pytest.raises(InputErrors) as e:
            make_plan(load_recipe(self.recipe(options, *more, **top)))
        return [f.message for f in e.value.errors]


def test_the_check_says_that_files_are_sent(teacher: Teacher, tmp_path: Path) -> None:
    world = World(tmp_path, [{}, {"pictures": [CAT]}])
    (sent,) = toolkit.check(world.recipe({"backend": openai(teacher)})).sends
    assert sent["columns"][:3] == ["context", "prompt", "response"] and sent["columns"][-1] == "media"


def test_a_row_with_an_image_from_its_source_to_shards_and_out(teacher: Teacher, tmp_path: Path) -> None:
    world = World(tmp_path, [{}, {"pictures": [CAT]}, {"pictures": [CAT], "prompt": ""}, {"pictures": None}])
    more: list[dict[str, Any]] = [
        {"id": "sound", "use": "validate"},
        {"id": "rendered", "use": "render_sft"},
        {"id": "data", "use": "shards", "with": {"title": "With pictures"}},
    ]
    done = world.run({"backend": openai(teacher)}, {"id": "kept", "use": "select", "with": {"where": {"suspect": "null"}}}, *more)
    seeds_ = done.rows("seeds")
    prompts = [f"What grows in garden number {i}?" for i in range(4)]
    assert [len(r["media"]) for r in seeds_] == [0, 1, 1, 0]
    assert seeds_[1]["media"] == [{**CAT, "uri": "set/cat.png"}]
    plain, seen = content_id([], prompts[0], "Roses."), content_id([], prompts[1], "Roses.", [SHA])
    assert (seeds_[0]["content_id"], seeds_[1]["content_id"]) == (plain, seen)
    assert seeds_[0]["id"] == row_id("tiny", plain, 0)
    assert seeds_[1]["group"] == seeds_[2]["group"] != seeds_[0]["group"] == content_id([], prompts[0], None)
    parts = [r["messages"][1]["content"] for r in teacher.requests]
    url = f"data:image/png;base64,{base64.b64encode(PICTURE).decode()}"
    assert sorted(type(p).__name__ for p in parts) == ["list", "list", "str", "str"]
    assert all(p[0] == {"type": "image_url", "image_url": {"url": url}} for p in parts if isinstance(p, list))
    folder = done.folder / "data" / "shards"
    assert next(c for c in verify(folder)["columns"] if c["name"] == MEDIA)["nullable"] is False
    assert {r["id"]: r["media"] for r in pl.read_parquet(folder / "data" / "*.parquet").to_dicts()} == {r["id"]: r["media"] for r in seeds_}
    record = export(folder, "openai", tmp_path / "export")
    assert MEDIA not in record["left_out"]
    lines = [json.loads(line) for line in (tmp_path / "export" / "train.jsonl").read_text().splitlines()]
    assert [m["content"][0] for line in lines for m in line["messages"] if isinstance(m["content"], list)] == [
        {"type": "image_url", "image_url": {"url": "set/cat.png"}}
    ] * 2


def test_what_a_row_may_not_say_costs_that_row_with_its_reason(teacher: Teacher, tmp_path: Path) -> None:
    bad: list[Any] = [[{**CAT, "uri": "../cat.png"}], [{**CAT, "sha256": "?"}], "cat.png", [{**CAT, "mime": "text/html"}]]
    world = World(tmp_path, [{"pictures": value} for value in [*bad, [CAT], [CLIP]]])
    done = world.run({"backend": openai(teacher)})
    assert [(r["reason"], r["detail"].partition(": ")[2]) for r in done.rejects("seeds")] == [
        ("bad_media", "pictures: media[0].uri has a part that is empty, . or ..: '../cat.png'"),
        ("bad_media", "pictures: media[0].sha256 is not 64 hex digits in lower case: '?'"),
        ("bad_media", "pictures: media is not a list but str"),
        ("bad_media", "pictures: media[0].mime is no image/… in lower case without parameters: 'text/html'"),
    ]
    assert [(r["reason"], r["detail"]) for r in done.rejects()] == [("media_not_taken", "video: the guard 'sees' does not take that")]
    assert len(done.rows()) == len(teacher.requests) == 1


def test_a_file_that_has_changed_is_not_sent(teacher: Teacher, tmp_path: Path) -> None:
    world = World(tmp_path, [{"pictures": [CAT]}, {}])
    (tmp_path / "files" / "set" / "cat.png").write_bytes(PICTURE + b"!")
    done = world.run({"backend": openai(teacher)})
    (gone,) = done.rejects()
    assert gone["reason"] == "media" and gone["detail"].startswith("set/cat.png is not the file of its row")
    assert len(teacher.requests) == 1
    (tmp_path / "files" / "set" / "cat.png").write_bytes(PICTURE)
    toolkit.run(tmp_path / "recipe.yaml", output=done.folder)
    assert len(Done(done.folder).rows()) == 2 and len(teacher.requests) == 2


BLIND = "rows with media cannot go through {!r}: the guard {!r} does not judge media: a guard says what it judges in `inputs`, [prompt, response, image] say"
TEXT = "rows with media cannot go through {!r}: it works on the text of rows alone, and would leave out what is beside it"


@pytest.mark.parametrize(
    ("options", "more", "top", "message"),
    [
        (
            {"backend": {"backend": "vllm", "model": "x"}},
            [],
            {},
            "rows with media cannot go through 'synthesise': the backend 'vllm' cannot carry image",
        ),
        ({"backend": {"backend": "openai", "model": "m"}}, [], {"guard": "guardreasoner"}, BLIND.format("synthesise", "guardreasoner")),
        (
            {
                "backend": {"backend": "openai", "model": "m", "base_url": "http://127.0.0.1:9/v1"},
                "fallback": [{"backend": "openai-batch", "model": "m"}],
                "fallback_on": ["refused"],
            },
            [],
            {},
            "rows with media cannot go through 'synthesise': the backend 'openai-batch' cannot carry image",
        ),
        ({}, [{"id": "b", "use": "decontaminate", "with": {"benchmarks": "all"}}], {"use": "normalise"}, TEXT.format("decontaminate")),
        (
            {"methods": ["near"]},
            [],
            {"use": "deduplicate"},
            "rows with media cannot go through 'deduplicate': texts that are alike may be about other pictures; "
            "`methods: [exact]` or `[exact, pictures]` on the interaction counts media, too",
        ),
        (
            {"k": 1, "models": {"a": {"backend": "vllm", "model": "x"}}},
            [],
            {"use": "sample"},
            "rows with media cannot go through 'sample': the backend 'vllm' cannot carry image",
        ),
        (
            {"backend": {"backend": "vllm", "model": "x"}, "user": "{{ prompt }}"},
            [],
            {"use": "generate"},
            "rows with media cannot go through 'generate': the backend 'vllm' cannot carry image or video or audio",
        ),
    ],
)
def test_a_recipe_that_would_leave_media_out_is_refused_before_it_runs(
    tmp_path: Path, options: dict[str, Any], more: list[dict[str, Any]], top: dict[str, Any], message: str
) -> None:
    found = World(tmp_path, [{"pictures": [CAT]}]).faults(options, *more, **top)
    assert message in found


def test_training_on_media_with_what_takes_text_alone_is_refused_with_the_recipe_and_at_the_shards(teacher: Teacher, tmp_path: Path) -> None:
    world = World(tmp_path, [{"pictures": [CAT]}, {}])
    steps = [{"id": "rendered", "use": "render_sft"}, {"id": "data", "use": "shards"}]
    options = {"backend": openai(teacher)}
    llama = {"id": "guard", "use": "train_sft", "with": {"model": {"scratch": {}}}}
    fault = "rows with media cannot go through 'train_sft': a Llama from scratch takes text alone: name an `architecture`"
    assert world.faults(options, *steps, llama) == [fault]
    plain = [{"id": "rendered", "use": "render_sft", "with": {"format": "text"}}]
    assert "rows with media cannot go through 'render_sft': plain text has no place for media: render messages" in world.faults(options, *plain)
    assert not teacher.requests
    pytest.importorskip("datasets")
    from toolkit.training._shared import read_shards

    done = world.run(options, *steps)
    with pytest.raises(InputError, match="these shards have media, which this trainer would leave out"):
        read_shards(done.folder / "data" / "shards", ["prompt", "completion"], [], tmp_path / "cache")


def test_a_source_with_media_is_not_loaded_without_them(tmp_path: Path) -> None:
    world = World(tmp_path, [{"pictures": [CAT]}])
    path = Small.recipe(world, {}, use="normalise")
    with pytest.raises(InputErrors, match="source 'tiny' has media, which would be left out"):
        make_plan(load_recipe(path))
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(SOURCE))
    assert world.faults({}, use="normalise") == ["load.media: none of the sources has media"]
    assert "no such folder" in world.faults({}, use="normalise", media="nowhere")
    with pytest.raises(InputError, match="it has a part that is empty"):
        toolkit.apply("load", source=str(tmp_path / "tiny.yaml"), files=[str(tmp_path / "seeds.jsonl")], media="../up")


def test_rows_of_text_part_from_those_with_media(tmp_path: Path) -> None:
    world = World(tmp_path, [{"pictures": [CAT]}, {}])
    steps: list[dict[str, Any]] = [
        {"id": "near", "use": "deduplicate", "with": {"methods": ["near"]}},
        {"id": "rest", "use": "select", "from": "seeds", "with": {"where": {"media": "not_empty"}}},
    ]
    plan = make_plan(load_recipe(world.recipe({"where": {"media": "empty"}}, *steps, use="select")))
    assert {s.id: has_media(s.columns) for s in plan.steps.values()} == {"seeds": True, "asked": False, "near": False, "rest": True}
    done = world.run({"where": {"media": "empty"}}, *steps, use="select")
    assert [r["prompt"] for r in done.rows("near")] == ["What grows in garden number 1?"] and MEDIA not in done.rows("near")[0]
    assert [r["media"][0]["uri"] for r in done.rows("rest")] == ["set/cat.png"]


def with_media(rows: pl.DataFrame, *media: list[dict[str, Any]]) -> pl.DataFrame:
    return rows.with_columns(pl.Series(MEDIA, list(media), dtype=to_polars((Column(MEDIA, TYPE),))[MEDIA]))


def test_equal_texts_about_other_pictures_are_no_duplicates(tmp_path: Path) -> None:
    dog = {**CAT, "sha256": "d" * 64, "uri": "dog.png"}
    again = {**CAT, "uri": "copy/cat.png"}
    rows = with_media(seeds(*(seed(n, prompt="  What is this? ") for n in range(4))), [CAT], [dog], [again], [])
    rows = rows.with_columns(pl.Series("id", ["a", "b", "c", "d"]))
    clean = toolkit.apply("normalise", rows).kept
    assert clean["content_id"].to_list() == [content_id([], "What is this?", None, m) for m in ([SHA], ["d" * 64], [SHA], [])]
    assert toolkit.apply("deduplicate", clean, methods=["exact"]).kept["id"].to_list() == ["a", "b", "d"]
    with pytest.raises(InputError, match="texts that are alike may be about other pictures"):
        toolkit.apply("deduplicate", clean, methods=["normalised"])
    blank = with_media(seeds(seed(0, prompt=" "), seed(1, prompt=" ")), [CAT], [])
    done = toolkit.apply("normalise", blank)
    assert done.kept["source_row"].to_list() == [0] and done.counts["rejected"] == {"empty_prompt": 1}


def test_media_go_along_into_hard_samples_and_pairs(teacher: Teacher, tmp_path: Path) -> None:
    world = World(tmp_path, [{"pictures": [CAT]}, {}])
    right = text(MILD)
    teacher.say = lambda body: (right, right.replace("Request: unharmful", "Request: harmful"))[(body["seed"] or 0) % 2]
    steps: list[dict[str, Any]] = [
        {"id": "verdicts", "use": "verdicts"},
        {"id": "hard", "use": "mine", "with": {"tasks": ["prompt"]}},
        {"id": "pairs", "use": "pair", "from": {"rows": "hard", "verdicts": "verdicts"}},
        {"id": "rendered", "use": "render_dpo"},
        {"id": "data", "use": "shards"},
    ]
    done = world.run({"k": 8, "models": {"main": openai(teacher, temperature=1.0)}}, *steps, use="sample")
    assert [len(r["media"]) for r in done.rows()] == [1] * 8 + [0] * 8
    assert [r["media"] for r in done.rows("hard")] == [[{**CAT, "uri": "set/cat.png"}], []]
    pairs = done.rows("pairs")
    assert list(pairs[0]) == [c.name for c in load_record("preference").with_optional([MEDIA])]
    assert [r["media"] for r in pairs] == [r["media"] for r in done.rows("hard")]
    folder = done.folder / "data" / "shards"
    assert pl.read_parquet(folder / "data" / "*.parquet")[MEDIA].to_list() == [r["media"] for r in pairs]
    export(folder, "openai", tmp_path / "export", weights="drop")
    lines = [json.loads(line) for line in (tmp_path / "export" / "train.jsonl").read_text().splitlines()]
    assert [type(line["input"]["messages"][0]["content"]).__name__ for line in lines] == ["list", "str"]


def test_rows_of_version_2_are_read_as_they_were(teacher: Teacher, tmp_path: Path) -> None:
    """Files, frames and steps without the column are rows of text."""
    load = operator_class("load")
    options = load.config_class.model_validate({"source": "quickstart"})
    assert "media" not in load(options).identity()  # nothing is built anew for an option that came later
    old = seeds(seed(0, label_prompt="unharmful"), seed(1, label_prompt="unharmful"))
    assert old.columns == load_record("seed", TASKS).names
    old.write_parquet(tmp_path / "old.parquet")
    names = {n: n for n in ("id", "prompt", "response", "label_prompt", "label_prompt_source")}
    files = [str(tmp_path / "old.parquet")]
    back = toolkit.apply("read", files=files, columns=names, record="seed").kept
    assert back.columns == old.columns and back["content_id"].to_list() == old["content_id"].to_list()
    for operator, chosen in (("normalise", {}), ("deduplicate", {"methods": ["near"]}), ("select", {"where": {"response": "null"}})):
        done = toolkit.apply(operator, old, **chosen)
        assert [n for n in done.kept.columns if n != "conflict"] == old.columns and done.kept["id"].to_list() == old["id"].to_list()
    asked = toolkit.apply("synthesise", old, backend=openai(teacher), work=tmp_path / "work").kept
    assert asked.columns == load_record("reasoned", TASKS).names
    shown = toolkit.apply("render_sft", asked).kept
    assert MEDIA not in shown.columns


def test_read_takes_the_column_and_tells_what_is_none(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [
        {"prompt": "a", "pictures": [CAT]},
        {"prompt": "b"},
        {"prompt": "c", "pictures": [{**CAT, "uri": "file:///etc/passwd"}]},
        {"prompt": "d", "pictures": [{"kind": "image"}]},
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    options: dict[str, Any] = {"files": [str(tmp_path / "rows.jsonl")], "record": "seed"}
    done = toolkit.apply("read", columns={"prompt": "prompt", "media": {"name": "pictures", "type": "media"}}, **options)
    assert done.kept[MEDIA].to_list() == [[CAT], []]
    assert done.kept["content_id"].to_list() == [content_id([], "a", None, [SHA]), content_id([], "b", None)]
    assert [(r["_reason"], r["_detail"].partition(": ")[2]) for r in done.rejected.to_dicts()] == [
        ("bad_media", "media[0].uri is a URL: only files of the dataset's own folder can be named: 'file:///etc/passwd'"),
        ("bad_media", "media[0].uri is missing"),
    ]
    with pytest.raises(InputError, match="the column `media` and none else holds media"):
        toolkit.apply("read", columns={"prompt": "prompt", "media": "pictures"}, **options)


class Upper(RowOperator):
    """Another package's, which knows nothing of media."""

    name = "upper"

    def apply(self, rows: pl.LazyFrame, ctx: Context) -> pl.LazyFrame:
        return rows.with_columns(pl.col("prompt").str.to_uppercase())


def test_an_operator_that_says_nothing_takes_no_media(tmp_path: Path) -> None:
    rows = seeds(seed(0), seed(1))
    assert toolkit.apply(Upper, rows).kept["prompt"].to_list() == ["QUESTION 0", "QUESTION 1"]
    assert toolkit.apply(Upper, rows.with_columns(media=pl.lit("the daily"))).kept.height == 2
    with pytest.raises(InputError, match="rows with media cannot go through 'upper'"):
        toolkit.apply(Upper, with_media(rows, [CAT], []))


def test_a_guard_at_hand_sees_media_and_refuses_other_kinds(teacher: Teacher, tmp_path: Path) -> None:
    World(tmp_path, [{}])
    row = {"prompt": "What is this?", "media": [{**CAT, "uri": "set/cat.png"}], "label_prompt": "unharmful"}
    options: dict[str, Any] = {"guard": tmp_path / "sees.yaml", "work": tmp_path / "work", "media_folder": tmp_path / "files"}
    teacher.say = lambda body: "Request: unharmful"
    (found,) = toolkit.judge(row, openai(teacher), **options)
    assert found.labels["prompt"] == "unharmful" and found.id == content_id([], "What is this?", None, [SHA])
    assert isinstance(teacher.requests[0]["messages"][0]["content"], list)
    with pytest.raises(InputError, match="video: the guard 'sees' does not take that"):
        toolkit.judge({**row, "media": [CLIP]}, openai(teacher), **options)
    with pytest.raises(InputError, match="image: the guard 'guardreasoner' does not take that"):
        toolkit.judge(row, openai(teacher), **{**options, "guard": "guardreasoner"})
    assert len(teacher.requests) == 1


def test_tables_in_memory_and_what_a_plan_says_of_the_price(teacher: Teacher, tmp_path: Path) -> None:
    found = toolkit.seeds([{"prompt": "What is this?", "media": [CAT]}, {"prompt": "And this?", "media": []}])
    assert found[MEDIA].to_list() == [[CAT], []] and found["content_id"][0] == content_id([], "What is this?", None, [SHA])
    assert MEDIA not in toolkit.seeds([{"prompt": "Which newspaper?", "media": "the daily"}]).columns
    assert toolkit.seeds([{"prompt": "x", "files": [CAT]}], columns={"media": "files"})[MEDIA].to_list() == [[CAT]]
    with pytest.raises(InputError, match="bad_media"):
        toolkit.seeds([{"prompt": "x", "media": [{**CAT, "uri": "/cat.png"}]}])
    world = World(tmp_path, [{"pictures": [CAT]}, {}])
    listed = [
        json.dumps(toolkit.plan(world.recipe({"backend": openai(teacher, price={"input": 1, "output": 1})}), output=tmp_path / "out"), default=str)
    ]
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(SOURCE))
    listed.append(json.dumps(toolkit.plan(Small.recipe(world, {"backend": openai(teacher)}), output=tmp_path / "out"), default=str))
    assert ["are not counted: what they cost comes on top" in words for words in listed] == [True, False]
    assert not teacher.requests
