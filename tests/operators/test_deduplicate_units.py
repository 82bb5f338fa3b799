"""What near-duplicates are compared by: words, and characters in scripts that put no spaces between words, wherever they are in a text."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import polars as pl
import pytest
from frames import seeds
from hypothesis import given, settings
from hypothesis import strategies as st

import toolkit
from toolkit.operators import operator_class
from toolkit.operators.clean import _minhash
from toolkit.operators.clean._minhash import Shape, Sketches

FERN = {
    "zh": ("请问家里厨房窗台上的小蕨类植物应该多久浇一次水才能让土壤保持湿润而且叶子不会发黄", "多久", "多长时间"),
    "ja": ("台所の窓辺に置いた小さなシダには何日おきに水をやればよいですか葉先が茶色くなってきて心配です", "心配です", "困っています"),
    "th": ("ฉันควรรดน้ำเฟิร์นต้นเล็กที่ขอบหน้าต่างในครัวบ่อยแค่ไหนเพื่อให้ดินชื้นและใบไม่เหลือง", "เหลือง", "แห้ง"),
    "en": ("please tell me how often the small fern on the kitchen window sill wants water so that its soil stays damp and no leaf turns brown", "please", "kindly"),
}  # fmt: skip


@pytest.mark.parametrize("language", FERN)
def test_near_duplicates_are_found_in_every_script_without_an_option(language: str) -> None:
    text, a, b = FERN[language]
    others = [{"prompt": t} for n, (t, _, _) in FERN.items() if n != language]
    kept, rest = toolkit.apply("deduplicate", seeds({"prompt": text}, {"prompt": text.replace(a, b)}, *others), methods=["near"])
    assert kept["prompt"].to_list() == [text, *(o["prompt"] for o in others)] and rest.height == 1


def sketched(texts: list[str], unit: Any, size: int) -> Sketches:
    out, column = Sketches(Shape(unit, size, 4, 2)), pl.Series(texts, dtype=pl.String)
    out.add(column, column, pl.zeros(len(texts), dtype=pl.UInt64, eager=True))
    return out


def shingles(text: str, size: int) -> set[str]:
    spans = [
        m.span() for m in re.finditer(r"[\u0e00-\u0fff\u3000-\u9fff\U00020000-\U0003ffff]|[^ \u0e00-\u0fff\u3000-\u9fff\U00020000-\U0003ffff]+", text)
    ]
    spans = spans or [(0, 0)]
    return {text[spans[i][0] : spans[min(i + size, len(spans)) - 1][1]] for i in range(max(len(spans) - size + 1, 1))}


TEXT = st.lists(st.sampled_from(["a", "cc", "ä", "好的", "水x", "x水", "ก็", "한국", "“q”", "🙂", "𠀀"]), max_size=9).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXT, min_size=2, max_size=8), st.integers(1, 4), st.sampled_from([1, 7, 1 << 17]))
def test_the_units_are_words_and_the_characters_of_unspaced_scripts(texts: list[str], size: int, chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_minhash, "CHUNK", chunk)
        sketches = sketched(texts, "auto", size)
    one, other = np.triu_indices(len(texts), 1)
    sets = [shingles(t, size) for t in texts]
    wanted = [len(sets[a] & sets[b]) / len(sets[a] | sets[b]) for a, b in zip(one, other, strict=True)]
    assert sketches.similarity(one, other).tolist() == pytest.approx(wanted)


def test_texts_of_spaced_scripts_have_the_words_that_they_always_had() -> None:
    texts = ["how often do i water “the fern” é 🙂 한국어 문장", "", "one"] * 50
    (auto,), (word,) = sketched(texts, "auto", 5)._chunks, sketched(texts, "word", 5)._chunks
    assert (auto.keys == word.keys).all() and (auto.values == word.values).all() and (auto.sizes == word.sizes).all()


def test_the_fingerprint_of_what_compares_no_near_texts_stays() -> None:
    cls = operator_class("deduplicate")

    def unit(**options: Any) -> str:
        return str(cls(cls.config_class.model_validate(options)).identity()["near"]["unit"])

    assert unit() == "word" and unit(methods=["near"]) == "auto" and unit(methods=["near"], near={"unit": "word"}) == "word"
