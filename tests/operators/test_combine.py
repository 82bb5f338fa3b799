"""`combine`: rows joined into one, harmful where any part is, none lost, and no part on another side of a split."""

from __future__ import annotations

import hashlib
import io
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from frames import seeds
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import toolkit
from toolkit.common.errors import InputError, InputErrors
from toolkit.guards import Task
from toolkit.operators.change._combined import SUREST_FIRST, label_of
from toolkit.records import content_id

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from clips import picture


def many(n: int, **given: Any) -> pl.DataFrame:
    return seeds(*({"prompt": f"p{i}", "label_prompt": ("harmful", "unharmful", None)[i % 3], **given} for i in range(n)))


def apart(kept: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows that came in, and the combined ones."""
    alone = kept["parts"].list.len() == 0
    return kept.filter(alone), kept.filter(~alone)


def test_texts_are_joined_and_the_combined_row_is_harmful_where_a_part_is() -> None:
    a = {"prompt": "a", "response": "x", "label_prompt": "harmful", "label_response": "unharmful", "categories": ["fraud_theft"], "source": "one"}
    b = {"prompt": "b", "response": "y", "label_prompt": "unharmful", "label_refusal": "refusal", "categories": [], "licence": "MIT", "source": "two"}
    rows = seeds(a, b)
    kept, rest = toolkit.apply("combine", rows, total=1, separator=" | ", form="{n}. {text}")
    came, (made,) = kept[:2], kept[2:].to_dicts()
    assert came.drop("parent", "parts", "group").equals(rows.drop("group")) and came["parent"].equals(came["id"]) and not rest.height
    first, other = (rows.row(by_predicate=pl.col("id") == i, named=True) for i in made["parts"])
    assert made["prompt"] == f"1. {first['prompt']} | 2. {other['prompt']}" and made["response"] == f"1. {first['response']} | 2. {other['response']}"
    assert made["content_id"] == content_id([], made["prompt"], made["response"]) and made["id"].startswith(f"{first['id']}:combine:")
    assert (made["label_prompt"], made["label_prompt_source"]) == ("harmful", "human")
    assert (made["label_response"], made["label_response_source"], made["label_refusal"]) == (None, "absent", None)
    assert (made["categories"], made["source"], made["licence"]) == (["fraud_theft"], "one+two", "MIT")
    assert set(kept["group"]) == {min(rows["group"])}


def reference(labels: list[str | None], rule: str, scale: list[str], ordinal: bool) -> str | None:
    """The label algebra, written down a second time."""
    known = [x for x in labels if x is not None]
    agree = known[0] if len(known) == len(labels) and len(set(known)) == 1 else None
    if rule in ("none", "same"):
        return agree if rule == "same" else None
    if ordinal:
        end = scale[-1] if rule == "any" else scale[0]
        top = (max if rule == "any" else min)(known, key=scale.index, default=None)
        return top if len(known) == len(labels) or top == end else None
    if rule == "any":
        return scale[-1] if scale[-1] in known else agree
    others = {x for x in known if x != scale[-1]}
    return (others.pop() if len(others) == 1 else None) if others else agree


@settings(max_examples=80, deadline=None)
@given(st.data(), st.sampled_from(["any", "all", "same", "none"]), st.booleans(), st.sampled_from([2, 4]))
def test_the_label_algebra(data: st.DataObject, rule: Any, ordinal: bool, scale: int) -> None:
    words = ["low", "mild", "grave", "high"][-scale:]
    task = Task(name="t", labels=words, positive="high", ordinal=ordinal)
    labels = data.draw(st.lists(st.sampled_from([None, *words]), min_size=2, max_size=5))

    both = pl.DataFrame({"_combined": [0] * len(labels) + [1] * len(labels), "label_t": pl.Series([*labels, *labels[::-1]], dtype=pl.String)})
    found, turned = both.group_by("_combined", maintain_order=True).agg(label_of(task, rule).alias("x"))["x"]
    assert found == turned == reference(labels, rule, words, ordinal), "and the order of the parts plays no part"
    if rule == "any":
        assert (found == "high") == ("high" in labels), "positive if a part is, and only then"


def test_a_label_counts_as_given_by_the_least_sure_of_its_parts() -> None:
    assert SUREST_FIRST.index("human") < SUREST_FIRST.index("inferred")
    rows = seeds(
        {"prompt": "a", "label_prompt": "harmful", "label_prompt_source": "inferred"}, {"prompt": "b", "label_prompt": "harmful"}
    ).with_columns(label_refusal_source=pl.Series(["to_infer", "absent"]))
    (made,) = apart(toolkit.apply("combine", rows, total=1).kept)[1].to_dicts()
    assert (made["label_prompt"], made["label_prompt_source"]) == ("harmful", "inferred")
    assert made["label_refusal_source"] == "not_applicable" and made["response"] is None
    rows = rows.with_columns(label_prompt_source=pl.Series(["human", "inferred"]), label_prompt=pl.Series(["harmful", "unharmful"]))
    assert apart(toolkit.apply("combine", rows, total=1).kept)[1]["label_prompt_source"].to_list() == ["human"], "the other part does not decide"


def test_the_share_is_met_each_row_is_a_part_once_and_order_plays_no_part() -> None:
    rows = many(40)
    kept = toolkit.apply("combine", rows, share=0.2).kept
    came, made = apart(kept)
    assert (came.height, made.height) == (40, 10) and kept["id"].n_unique() == 50
    used = made["parts"].explode(empty_as_null=True)
    assert used.len() == used.n_unique() == 20
    mixed = rows.sample(fraction=1, shuffle=True, seed=1)
    assert apart(toolkit.apply("combine", mixed, share=0.2).kept)[1].equals(made)
    more = apart(toolkit.apply("combine", rows, share=0.3).kept)[1]
    assert set(made["id"]) < set(more["id"]), "a larger share adds rows and drops none"
    assert apart(toolkit.apply("combine", rows, share=0.2, seed=9).kept)[1]["id"].to_list() != made["id"].to_list()


@settings(max_examples=12, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans(), st.sampled_from([None, "train", "test"])), max_size=16), st.integers(2, 3))
def test_parts_never_straddle_a_split(found: list[tuple[str, bool, str | None]], size: int) -> None:
    of = {group: split for group, _, split in found}
    rows = seeds(*({"prompt": f"p{i}", "group": g, "response": "r" if r else None, "split": of[g]} for i, (g, r, _) in enumerate(found)))
    kept, rest = toolkit.apply("combine", rows, total=50, size=size, short="fewer")
    came, made = apart(kept)
    assert came.height == rows.height and not rest.height
    parts, straddling = toolkit.apply("split", kept, seed=3)
    assert not straddling.height, "no group comes with two splits"
    side = dict(parts.select("id", "split").iter_rows())
    groups = dict(rows.select("id", "group").iter_rows())
    for row in made.iter_rows(named=True):
        assert {side[p] for p in row["parts"]} == {side[row["id"]]} and len({groups[p] for p in row["parts"]}) == size
        assert (row["response"] is None) == (row["label_refusal_source"] == "not_applicable")


def test_rows_with_earlier_turns_and_combined_ones_take_no_part() -> None:
    turns = [{"role": "user", "content": "hi"}]
    rows = pl.concat([many(4), seeds({"prompt": "x", "context": turns}, {"prompt": "y", "context": turns})])
    kept = toolkit.apply("combine", rows, total=9, short="fewer").kept
    assert apart(kept)[1].height == 2
    again = toolkit.apply("combine", kept, total=1, short="fewer", seed=3).kept
    assert all(set(p) <= set(rows["id"]) for p in again["parts"]) and again.height == kept.height + 1, "one row of each of the two groups"


def test_other_columns_are_null_and_parts_share_what_is_asked_for() -> None:
    rows = many(12).with_columns(pl.Series("odd", [i % 2 for i in range(12)]), pl.Series("kind", ["a", "b", "b"] * 4))
    made = apart(toolkit.apply("combine", rows, total=4, within=["kind"]).kept)[1]
    kinds = dict(rows.select("id", "kind").iter_rows())
    assert made["odd"].null_count() == 4 and [{kinds[p] for p in parts} for parts in made["parts"]] == [{k} for k in made["kind"]]


def test_media_come_one_after_another() -> None:
    one = {"kind": "image", "uri": "a.png", "sha256": "a" * 64, "mime": "image/png"}
    rows = seeds({"prompt": "a"}, {"prompt": " "}).with_columns(pl.Series("media", [[], [one]]))
    (made,) = apart(toolkit.apply("combine", rows, total=1).kept)[1].to_dicts()
    assert made["media"] == [one] and made["prompt"] == "a" and made["content_id"] == content_id([], "a", None, ["a" * 64])


def test_images_are_tiled_into_one(tmp_path: Path) -> None:
    made = []
    for n, size in enumerate([(40, 20), (20, 40), (300, 100), (8, 8)]):
        data = picture(n, size)
        (tmp_path / f"{n}.png").write_bytes(data if n < 3 else data[:-20])
        made.append({"kind": "image", "uri": f"{n}.png", "sha256": hashlib.sha256(data).hexdigest(), "mime": "image/png"})
    rows = seeds({"prompt": "a", "label_prompt": "harmful"}, {"prompt": "b", "label_prompt": "unharmful"}, {"prompt": "c"}, {"prompt": "d"})
    options: dict[str, Any] = {"images": "tiled", "cell": 100, "media_folder": tmp_path}
    two = rows[:2].with_columns(pl.Series("media", [[made[0]], [made[1]]]))
    (one,) = apart(toolkit.apply("combine", two, total=1, **options).kept)[1].to_dicts()
    ((_, sha256),) = [(m["uri"], m["sha256"]) for m in one["media"]]
    data = (tmp_path / one["media"][0]["uri"]).read_bytes()
    assert hashlib.sha256(data).hexdigest() == sha256 and one["content_id"] == content_id([], one["prompt"], None, [sha256])
    with Image.open(io.BytesIO(data)) as image, Image.open(tmp_path / "0.png") as first:
        assert image.size == (80, 40) and one["label_prompt"] == "harmful"
        wide = image.crop((0, 10, 40, 30)) if one["prompt"].startswith("a") else image.crop((40, 10, 80, 30))
        assert wide.tobytes() == first.convert("RGB").tobytes(), "each image is there whole, in the order of the texts"
    large = rows[:2].with_columns(pl.Series("media", [[made[2]], [made[0]]]))
    (one,) = apart(toolkit.apply("combine", large, total=1, **options).kept)[1].to_dicts()
    assert Image.open(tmp_path / one["media"][0]["uri"]).size == (200, 33), "no image is larger than its cell"
    torn = rows.with_columns(pl.Series("media", [[made[3]], [made[3]], [], []]))
    found = toolkit.apply("combine", torn, total=1, size=4, **options)
    assert found.figures["not_combined"] == {"media_changed": 1} and found.kept.height == 4, "the rows go on, and no combined one is made"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"place": "../x"}, "place"),
        ({"total": 3}, "3 combined rows of 2 are asked for, and 2 can be made of 4 rows"),
        ({"rules": {"promt": "any"}}, "did you mean 'prompt'"),
        ({"form": "x"}, r"must hold \{text\}"),
        ({"share": 0.1, "total": 1}, "one of `share` and `total`"),
        ({"within": ["categories"]}, "as classes"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises((InputError, InputErrors), match=message):
        toolkit.apply("combine", many(4), **options)


def test_no_rows_make_none() -> None:
    assert toolkit.apply("combine", many(0), short="fewer").kept.height == 0
