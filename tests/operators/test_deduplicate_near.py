"""`deduplicate`: near-duplicates, what is written where nothing is dropped, and what may depend on the order and size of blocks (nothing)."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from frames import reasons, run_steps, seeds
from hypothesis import given, settings
from hypothesis import strategies as st

import toolkit
from toolkit.common.errors import InputError
from toolkit.operators.clean import _minhash, _texts
from toolkit.operators.clean._clusters import components, stars
from toolkit.operators.clean._minhash import SKETCH, Shape, Sketches, recall

H, U = "harmful", "unharmful"
WORDS = [
    f"{a}{b}"
    for a in ["ba", "co", "di", "fu", "ge", "hi", "jo", "ku"]
    for b in ["lan", "mer", "nos", "pit", "rul", "tas", "vek", "wim", "xor", "zab"]
]
NEAR: dict[str, Any] = {"methods": ["near"], "on": "prompt"}


def dedup(rows: pl.DataFrame, **options: Any) -> tuple[pl.DataFrame, pl.DataFrame]:
    return toolkit.apply("deduplicate", rows, **options)


def words(rng: random.Random, n: int) -> list[str]:
    return [rng.choice(WORDS) for _ in range(n)]


def changed(rng: random.Random, text: str, n: int = 1) -> str:
    out = text.split(" ")
    for i in rng.sample(range(len(out)), n):
        out[i] = f"other{rng.randrange(10**6)}"
    return " ".join(out)


def jaccard(one: str, other: str, size: int = 5) -> float:
    def runs(text: str) -> set[tuple[str, ...]]:
        w = text.split(" ")
        return {tuple(w[i : i + size]) for i in range(max(1, len(w) - size + 1))}

    a, b = runs(one), runs(other)
    return len(a & b) / len(a | b)


def sketched(texts: list[str], shape: Shape | None = None) -> Sketches:
    out, column = Sketches(shape or Shape()), pl.Series(texts, dtype=pl.String)
    out.add(column, column, pl.Series([0] * len(texts), dtype=pl.UInt64))
    return out


# What is compared -----------------------------------------------------------------------------------------------------


def test_normalised_text_is_equal_but_for_case_and_white_space() -> None:
    rows = seeds(
        {"prompt": "How do I  bake\nbread? "}, {"prompt": "how do i bake bread?"}, {"prompt": "How do I bake bread!"}, {"prompt": "STRASSE\u00a0ÄÖ"}
    )
    rows = pl.concat([rows, seeds({"prompt": "strasse äö", "id": "z"})])
    kept, rest = dedup(rows, methods=["normalised"])
    assert kept["id"].to_list() == rows["id"][[0, 2, 3]].to_list()
    assert rest["_survivor"].to_list() == rows["id"][[0, 3]].to_list()
    assert dedup(rows)[0].height == 5, "as it stands, every text is another"


def test_the_method_that_found_a_row_is_named_with_its_similarity(tmp_path: Path) -> None:
    text = " ".join(words(random.Random(1), 60))
    near = changed(random.Random(2), text)
    rows = seeds({"prompt": text}, {"prompt": text}, {"prompt": text.upper()}, {"prompt": near}, {"prompt": "quite another"})
    kept, rest = dedup(rows, **NEAR, artefacts=tmp_path)
    assert kept["prompt"].to_list() == [text, "quite another"]
    assert rest["_survivor"].to_list() == [rows["id"][0]] * 3
    found = pl.read_parquet(tmp_path / "clusters" / "clusters.parquet")
    assert found["method"].to_list() == [None, "exact", "normalised", "near"]
    assert found["similarity"].to_list() == [None, 1.0, 1.0, pytest.approx(jaccard(text, near))]
    assert rest["_detail"][2] == f"near, similarity {round(jaccard(text, near), 4)}"
    assert found["fate"].to_list() == ["keep", "merge", "merge", "merge"]
    assert found["survivor"].to_list() == [rows["id"][0]] * 4


def test_short_texts_are_near_only_when_they_are_equal() -> None:
    texts = ["", "a", "a b", "b a", "a b c", "a b d", "a b c d", "a b c d e", "b c d e a", "hello", "hello there"]
    kept, rest = dedup(seeds(*({"prompt": t} for t in texts)), **NEAR)
    assert kept.height == len(texts) and not rest.height
    kept, rest = dedup(seeds(*({"prompt": t} for t in [*texts, "A  b c", "HELLO"])), **NEAR)
    assert kept.height == len(texts) and rest["prompt"].to_list() == ["A  b c", "HELLO"]


def test_an_interaction_with_a_response_is_never_near_one_without() -> None:
    text = " ".join(words(random.Random(3), 80))
    rows = seeds({"prompt": text}, {"prompt": text, "response": "No."}, {"prompt": text, "response": "No!"}, {"prompt": text, "response": ""})
    kept, rest = dedup(rows, methods=["near"])
    assert kept["id"].to_list() == rows["id"][[0, 1]].to_list(), "and the empty response is near the others, being one"
    assert set(rest["_survivor"]) == {rows["id"][1]}


def test_the_end_of_a_message_is_part_of_the_text() -> None:
    turns = [{"role": "user", "content": "a b"}]
    rows = seeds(
        {"prompt": "a b c d"}, {"prompt": "c d", "context": turns}, {"prompt": "a b", "response": "c d"}, {"prompt": "C d", "context": turns}
    )
    kept, rest = dedup(rows, methods=["normalised"])
    assert kept["id"].to_list() == rows["id"][[0, 1, 2]].to_list() and rest["_survivor"].to_list() == [rows["id"][1]]


def test_texts_without_spaces_are_compared_by_characters() -> None:
    rng = random.Random(4)
    text = "".join(chr(0x4E00 + rng.randrange(900)) for _ in range(80))
    other = text[:40] + "好" + text[41:]
    rows = seeds({"prompt": text}, {"prompt": other})
    assert dedup(rows, **NEAR, near={"unit": "word"})[0].height == 2, "one word each"
    assert dedup(rows, **NEAR)[0].height == dedup(rows, **NEAR, near={"unit": "character"})[0].height == 1


def test_a_row_without_text_is_equal_to_nothing() -> None:
    rows = pl.DataFrame({"id": ["a", "b", "c", "d"], "prompt": [None, None, "", "x"]})
    for methods in (["exact"], ["normalised"], ["near"]):
        assert dedup(rows, methods=methods, on="prompt")[0]["id"].to_list() == ["a", "b", "c", "d"]


def test_rows_need_no_more_columns_than_the_method_reads() -> None:
    rows = pl.DataFrame({"id": ["a", "b"], "prompt": ["X  y", "x y"]})
    kept, rest = dedup(rows, **NEAR)
    assert kept.columns == ["id", "prompt"] and rest["_survivor"].to_list() == ["a"]
    with pytest.raises(InputError, match="'context'"):
        dedup(rows, methods=["near"])
    with pytest.raises(InputError, match="'label_prompt_source'"):
        dedup(rows.with_columns(label_prompt=pl.lit(H)), **NEAR, fill=True)


# How they are found ---------------------------------------------------------------------------------------------------

TEXT = st.lists(st.sampled_from(["a", "b", "cc", "ä", "好的", "x.y"]), max_size=12).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXT, min_size=2, max_size=8), st.integers(1, 6), st.sampled_from(["word", "character"]), st.sampled_from([1, 7, 1 << 17]))
def test_similarity_is_the_jaccard_similarity_of_the_shingles(texts: list[str], size: int, unit: Any, chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_minhash, "CHUNK", chunk)
        sketches = sketched(texts, Shape(unit, size, 4, 2))
    one, other = np.triu_indices(len(texts), 1)
    spaced = [t if unit == "word" else " ".join(t.replace(" ", "_")) for t in texts]
    wanted = [jaccard(spaced[a], spaced[b], size) for a, b in zip(one, other, strict=True)]
    assert sketches.similarity(one, other).tolist() == pytest.approx(wanted)


def test_long_texts_are_compared_by_their_smallest_hashes() -> None:
    rng = random.Random(5)
    pairs = []
    for n in range(40):
        text = " ".join(f"{w}{rng.randrange(50)}" for w in words(rng, 600 + 40 * n))
        pairs.append((text, changed(rng, text, 20 + n)))
    sketches = sketched([t for pair in pairs for t in pair])
    got = sketches.similarity(np.arange(0, 80, 2), np.arange(1, 80, 2))
    off = got - np.array([jaccard(*pair) for pair in pairs])
    assert abs(off.mean()) < 0.02 and off.std() < 0.5 / SKETCH**0.5 + 0.01 and np.abs(off).max() > 0


def test_pairs_are_found_as_often_as_the_formula_says() -> None:
    rng = random.Random(6)
    shape = Shape(permutations=32, bands=8)
    seen: dict[int, list[bool]] = {2: [], 4: [], 6: []}
    expected: dict[int, list[float]] = {2: [], 4: [], 6: []}
    for edits, found in seen.items():
        texts = [" ".join(words(rng, 70)) for _ in range(500)]
        others = [changed(rng, t, edits) for t in texts]
        pairs = {(a, b) for a, b in sketched(texts + others, shape).candidates(np.arange(1000)).T.tolist()}
        found += [(i, i + 500) in pairs for i in range(500)]
        expected[edits] = [recall(jaccard(a, b), 32, 8) for a, b in zip(texts, others, strict=True)]
    for edits, found in seen.items():
        want, n = np.mean(expected[edits]), len(found)
        assert np.mean(found) == pytest.approx(want, abs=float(4 * (want * (1 - want) / n) ** 0.5 + 0.01))


def test_nothing_below_the_threshold_is_merged_and_nothing_above_is_left_side_by_side() -> None:
    rng = random.Random(7)
    texts = [" ".join(words(rng, 40)) for _ in range(12)]
    texts += [changed(rng, rng.choice(texts[:12]), rng.randrange(1, 5)) for _ in range(60)]
    rng.shuffle(texts)
    rows = seeds(*({"prompt": t} for t in texts))
    kept, rest = dedup(rows, **NEAR, near={"permutations": 256, "bands": 128, "threshold": 0.6})  # finds any pair of 0.6 but with chance 10^-25
    prompts = dict(zip(rows["id"], rows["prompt"], strict=True))
    for prompt, survivor in rest.select("prompt", "_survivor").iter_rows():
        assert jaccard(prompt, prompts[survivor]) >= 0.6
    stay = kept["prompt"].to_list()
    assert max(jaccard(a, b) for i, a in enumerate(stay) for b in stay[:i]) < 0.6
    assert kept.height + rest.height == 72 and rest.height > 10


def test_a_chain_is_one_cluster_with_several_survivors(tmp_path: Path) -> None:
    w = words(random.Random(8), 60)
    chain = [" ".join(f"new{i}" if i < 5 * k else x for i, x in enumerate(w)) for k in range(4)]
    assert jaccard(chain[0], chain[1]) > 0.8 > 0.7 > jaccard(chain[0], chain[2])
    rows = seeds(*({"prompt": t} for t in chain))
    kept, rest = dedup(rows, **NEAR, near={"permutations": 256, "bands": 64}, artefacts=tmp_path)
    assert kept["prompt"].to_list() == [chain[0], chain[2]] and rest["_survivor"].to_list() == rows["id"][[0, 2]].to_list()
    assert pl.read_parquet(tmp_path / "clusters" / "clusters.parquet")["cluster"].to_list() == [min(rows["id"])] * 4


def test_thousands_of_texts_of_one_template_are_one_cluster_in_linear_time() -> None:
    rng = random.Random(9)
    template = words(rng, 50)
    texts = [" ".join([*template, f"number{i}"]) for i in range(3000)]
    sketches = sketched(texts)
    low, high = sketches.pairs(np.arange(3000))
    assert len(low) < 3000 * 16 * (_minhash.WINDOW + 1)
    assert set(stars(3000, low, high).tolist()) == {0}


def reached(n: int, pairs: list[tuple[int, int]]) -> list[int]:
    lowest = list(range(n))
    for _ in range(n):
        for a, b in pairs:
            lowest[a] = lowest[b] = min(lowest[a], lowest[b])
    return lowest


@given(st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=14))))
def test_components_and_stars_are_what_they_say(world: tuple[int, list[tuple[int, int]]]) -> None:
    n, pairs = world
    pairs = sorted({(min(p), max(p)) for p in pairs if p[0] != p[1]})
    low, high = (np.array([p[k] for p in pairs], np.int64) for k in (0, 1))
    assert components(n, low, high).tolist() == reached(n, pairs)
    owner = stars(n, low, high).tolist()
    for row, own in enumerate(owner):
        assert own == row or (owner[own] == own and (own, row) in pairs), "merged only into a survivor that it pairs with"
    assert not [p for p in pairs if owner[p[0]] == p[0] and owner[p[1]] == p[1]], "no two survivors pair"


# Order, blocks, and who survives --------------------------------------------------------------------------------------


def corpus(rng: random.Random, n: int) -> pl.DataFrame:
    base = [" ".join(words(rng, rng.choice([3, 20, 40]))) for _ in range(max(2, n // 4))]
    edits: list[Callable[[str], str]] = [str, str.upper, lambda t: changed(rng, t), lambda t: changed(rng, t, 2)]
    rows = [
        {
            "prompt": rng.choice(edits)(rng.choice(base)),
            "label_prompt": rng.choice([None, None, H, U]),
            "label_refusal": rng.choice([None, "refusal"]),
        }
        for _ in range(n)
    ]
    return seeds(*rows)


POLICIES = st.sampled_from(["reject", "first", "majority", "keep"])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), POLICIES, POLICIES, st.sampled_from(["longest", "most_labels"]), st.booleans())
def test_order_decides_nothing_where_the_rule_does_not_name_it(seed: int, n: int, conflicts: str, near: str, keep: str, flag: bool) -> None:
    rng = random.Random(seed)
    rows = corpus(rng, n)
    options = {**NEAR, "conflicts": conflicts, "near_conflicts": near, "keep": keep, "on_find": "flag" if flag else "merge", "join_groups": True}
    kept, rest = dedup(rows, **options)
    other_kept, other_rest = dedup(rows.sample(fraction=1, shuffle=True, seed=seed), **options)
    assert other_kept.sort("id").equals(kept.sort("id"))
    if rest.height:
        assert other_rest.select(rest.columns).sort("id").equals(rest.sort("id"))
    assert kept.height + rest.height == n


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), POLICIES, POLICIES, st.sampled_from(["first", "longest"]))
def test_every_row_is_accounted_for(seed: int, n: int, conflicts: str, near: str, keep: str) -> None:
    rows = corpus(random.Random(seed), n)
    options = {**NEAR, "conflicts": conflicts, "near_conflicts": near, "keep": keep}
    kept, rest = dedup(rows, **options)
    assert sorted([*kept["id"], *(rest["id"] if rest.height else [])]) == sorted(rows["id"])
    if rest.height and "_survivor" in rest.columns:
        assert set(rest["_survivor"].drop_nulls()) <= set(kept["id"]), "a survivor survives"
        merged = pl.col("_reason") == "merged"
        assert rest.filter(merged)["_survivor"].null_count() == 0
    flagged, none = dedup(rows, **options, on_find="flag")
    assert not none.height and flagged.select(rows.columns).equals(rows)
    # what would be merged is what is merged
    assert set(flagged.filter(pl.col("duplicate_of").is_not_null())["id"]) >= set(
        rest.filter(pl.col("_outcome") == "merged")["id"] if rest.height else []
    )


def test_bytes_hang_neither_on_blocks_nor_on_the_run(tmp_path: Path) -> None:
    corpus(random.Random(10), 90).write_parquet(tmp_path / "rows.parquet")
    columns = {n: n for n in ("id", "prompt", "label_prompt", "group")}
    steps = [
        {"id": "rows", "use": "read", "with": {"files": ["rows.parquet"], "columns": columns}},
        {"id": "noise", "use": "deduplicate", "with": {**NEAR, "on_find": "flag", "join_groups": True}},
        {"id": "unique", "use": "deduplicate", "with": {**NEAR, "keep": "longest"}, "from": "rows"},
    ]
    made = [{n: s.manifest["files"] for n, s in run_steps(tmp_path, steps, force=True, block_rows=size).items()} for size in (7, 31, 8192)]
    assert made[0] == made[1] == made[2]


def test_who_survives() -> None:
    rows = seeds(
        {"prompt": "a  b c"},
        {"prompt": "A b c", "label_prompt": H},
        {"prompt": "a   b   c", "response": "r", "label_refusal": "refusal", "label_prompt": H},
    )
    wanted = {"first": 0, "longest": 2, "most_labels": 1}
    for keep, at in wanted.items():
        kept, rest = dedup(rows, methods=["normalised"], on="prompt", keep=keep)
        assert kept["id"].to_list() == [rows["id"][at]] or (keep == "most_labels" and kept["id"].to_list() == [min(rows["id"][[1, 2]])]), keep
        assert set(rest["_survivor"]) == set(kept["id"])
    tied = seeds({"prompt": "a"}, {"prompt": "a"}, {"prompt": "a"})
    assert dedup(tied, keep="longest")[0]["id"].to_list() == [min(tied["id"])]


# Labels that conflict -------------------------------------------------------------------------------------------------


def minimal_pair() -> tuple[str, str, str]:
    text = " ".join(words(random.Random(11), 50))
    return text, f"{text} kill", f"{text} kindle"


def test_near_texts_with_other_labels_are_kept_and_say_so(tmp_path: Path) -> None:
    text, kill, kindle = minimal_pair()
    rows = seeds({"prompt": text, "label_prompt": U}, {"prompt": kill, "label_prompt": H}, {"prompt": kindle, "label_prompt": U}, {"prompt": "else"})
    kept, rest = dedup(rows, **NEAR, artefacts=tmp_path)
    assert kept["prompt"].to_list() == [text, kill, "else"] and rest["_survivor"].to_list() == [rows["id"][0]]
    assert kept["conflict"].to_list() == [["prompt"], ["prompt"], None]
    found = pl.read_parquet(tmp_path / "conflicts" / "conflicts.parquet")
    assert found["id"].to_list() == rows["id"][:3].to_list() and found["label_prompt"].to_list() == [U, H, U]


@pytest.mark.parametrize(
    ("policy", "kept", "why"), [("reject", [], {"conflicting_labels": 3}), ("first", [0], {"conflicting_labels": 1, "merged": 1})]
)
def test_near_conflicts_follow_their_own_policy(policy: str, kept: list[int], why: dict[str, int]) -> None:
    text, kill, kindle = minimal_pair()
    rows = seeds({"prompt": text, "label_prompt": U}, {"prompt": kill, "label_prompt": H}, {"prompt": kindle, "label_prompt": U})
    got, rest = dedup(rows, **NEAR, near_conflicts=policy)
    assert got["id"].to_list() == [rows["id"][i] for i in kept] and reasons(rest) == why
    assert got.columns == rows.columns


def test_each_text_has_one_vote_and_its_copies_go_where_it_goes() -> None:
    text, kill, kindle = minimal_pair()
    rows = seeds(*({"prompt": p, "label_prompt": label} for p, label in [(text, U), (text, U), (text, None), (kill, H), (kindle, H), (kindle, None)]))
    kept, rest = dedup(rows, **NEAR, near_conflicts="majority")
    assert kept["id"].to_list() == [rows["id"][3]]
    assert rest["_outcome"].to_list() == ["rejected", "rejected", "rejected", "merged", "merged"]
    assert rest["_survivor"].to_list() == [None] * 3 + [rows["id"][3]] * 2


def test_a_majority_without_its_middle_is_merged_only_where_it_is_alike() -> None:
    w = words(random.Random(12), 60)
    middle, start, end = (" ".join(part) for part in (w, w[:50], w[10:]))
    rows = seeds(*({"prompt": p, "label_prompt": label} for p, label in [(middle, U), (start, H), (end, H), (f"{end} more", H)]))
    assert jaccard(start, end) < 0.7 < jaccard(middle, end)
    kept, rest = dedup(rows, **NEAR, near_conflicts="majority", near={"bands": 128})
    assert kept["id"].to_list() == rows["id"][[1, 2]].to_list()
    assert rest.select("_outcome", "_survivor").rows() == [("rejected", None), ("merged", rows["id"][2])]


def test_equal_texts_follow_the_policy_for_equal_texts_first() -> None:
    text, kill, _ = minimal_pair()
    rows = seeds({"prompt": text, "label_prompt": U}, {"prompt": text.upper(), "label_prompt": H}, {"prompt": kill, "label_prompt": H})
    kept, rest = dedup(rows, **NEAR)
    assert kept["id"].to_list() == [rows["id"][2]] and reasons(rest) == {"conflicting_labels": 2}
    kept, rest = dedup(rows, **NEAR, conflicts="keep")
    assert kept["conflict"].to_list() == [["prompt"], ["prompt"], None] and not rest.height, "a text in conflict takes part in no merge"


def test_labels_are_never_filled_in_from_another_text() -> None:
    text, kill, _ = minimal_pair()
    rows = seeds({"prompt": text}, {"prompt": text.upper(), "label_prompt": H, "label_prompt_source": "vote"}, {"prompt": kill}, {"prompt": "z"})
    kept, _ = dedup(rows, **NEAR, fill=True)
    assert kept.select("label_prompt", "label_prompt_source").rows() == [(H, "vote"), (None, "absent")]
    only = seeds({"prompt": text}, {"prompt": kill, "label_prompt": H})
    assert dedup(only, **NEAR, fill=True)[0]["label_prompt"].to_list() == [None]


# Flags and groups -----------------------------------------------------------------------------------------------------


def test_flag_writes_what_was_found_and_drops_nothing() -> None:
    text, kill, kindle = minimal_pair()
    rows = seeds({"prompt": text, "label_prompt": U}, {"prompt": kill, "label_prompt": H}, {"prompt": kindle}, {"prompt": "else"})
    kept, rest = dedup(rows, **NEAR, on_find="flag")
    assert not rest.height and kept.select(rows.columns).equals(rows)
    ids = rows["id"].to_list()
    assert kept["cluster"].to_list() == [min(ids[:3])] * 3 + [ids[3]]
    assert kept["cluster_size"].to_list() == [3, 3, 3, 1]
    assert kept["duplicate_of"].to_list() == [None, None, ids[0], None]
    assert kept["similarity"].to_list() == [None, None, pytest.approx(jaccard(text, kindle)), None]
    assert kept["conflict"].to_list() == [["prompt"]] * 3 + [None]


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 60), st.sampled_from(["merge", "flag"]))
def test_duplicates_never_straddle_a_split(seed: int, n: int, on_find: str) -> None:
    rng = random.Random(seed)
    rows = corpus(rng, n).with_columns(pl.Series("group", [f"g{rng.randrange(n)}" for _ in range(n)]))
    options = {**NEAR, "conflicts": "keep"}
    cluster = dict(dedup(rows, **options, on_find="flag")[0].select("id", "cluster").iter_rows())
    joined, _ = dedup(rows, **options, on_find=on_find, join_groups=True)
    parts, _ = toolkit.apply("split", joined, parts={"train": 0.5, "test": 0.5}, seed=seed)
    for key in (pl.col("id").replace_strict(cluster), pl.col("id").replace_strict(dict(rows.select("id", "group").iter_rows()))):
        assert parts.group_by(key.alias("key")).agg(pl.col("split").n_unique())["split"].max() == 1
    alone = set(rows["group"]) - set(rows.filter(pl.len().over(pl.col("id").replace_strict(cluster)) > 1)["group"])
    assert joined.filter(pl.col("group").is_in(alone)).equals(
        joined.join(rows.filter(pl.col("group").is_in(alone)).select("id"), on="id", how="semi")
    )


def test_rows_without_groups_get_their_clusters_as_groups() -> None:
    rows = pl.DataFrame({"id": ["c", "b", "a"], "prompt": ["x y", "else", "X  y"]})
    kept, _ = dedup(rows, methods=["normalised"], on="prompt", on_find="flag", join_groups=True)
    assert kept["group"].to_list() == ["a", "b", "a"]


def test_rows_that_lack_a_group_are_joined_and_split_like_the_others() -> None:
    n = 200
    rows = pl.DataFrame({"id": [f"{i:03d}" for i in range(n)], "prompt": [f"p {i // 2}" for i in range(n)]})
    group = pl.when(pl.int_range(n) % 3 > 0).then(pl.format("g{}", pl.int_range(n) // 5))
    rows = rows.with_columns(group.alias("group"), split=pl.lit(None, pl.String))
    for by in ([], ["prompt"], ["group"]):
        alone, _ = toolkit.apply("split", rows, parts={"train": 0.5, "test": 0.5}, stratify=by)
        assert alone["group"].equals(rows["group"]) and alone.filter(pl.col("group").is_null())["split"].n_unique() == 2
    for on_find in ("flag", "merge"):
        joined, _ = dedup(rows, methods=["normalised"], on="prompt", on_find=on_find, join_groups=True)
        parts, _ = toolkit.apply("split", joined, parts={"train": 0.5, "test": 0.5})
        assert not joined["group"].null_count() and set(parts["split"]) == {"train", "test"}
        came = parts.join(rows.select("id", came="group"), on="id")
        for key in ("prompt", "came"):
            assert came.drop_nulls(key).group_by(key).agg(pl.col("split").n_unique())["split"].max() == 1


# Options --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": []}, "methods"),
        ({"methods": ["exact", "exact"]}, "twice"),
        ({"semantic": {"model": "m"}}, r"methods: \[semantic\]"),
        ({"pictures": {"distance": 2}}, r"methods: \[pictures\]"),
        ({"near": {"permutations": 128, "bands": 3}}, "equal bands"),
        ({"fill": True, "on_find": "flag"}, "nothing is merged"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        dedup(seeds({"prompt": "a"}), **options)


def test_the_manifest_states_what_share_is_found(tmp_path: Path) -> None:
    seeds({"prompt": "a b"}, {"prompt": "A b"}).write_parquet(tmp_path / "rows.parquet")
    read = {"id": "rows", "use": "read", "with": {"files": ["rows.parquet"], "columns": {"id": "id", "prompt": "prompt"}}}
    stats = run_steps(tmp_path, [read, {"id": "unique", "use": "deduplicate", "with": NEAR}])["unique"].manifest["stats"]
    assert stats["near_recall"]["0.80"] == round(1 - (1 - 0.8**8) ** 32, 4) and "0.65" not in stats["near_recall"]
    assert stats["clusters"] == 1 and stats["clustered_rows"] == 2 and stats["merged_by_method"] == {"normalised": 1}


def test_keys_differ_where_texts_do() -> None:
    texts = pl.Series(["a", "b", "", None, "a "])
    assert len(set(zip(*(k.to_list() for k in _texts.keys(texts, "k")), strict=True))) == 5


def test_what_is_filled_in_keeps_its_type(tmp_path: Path) -> None:
    """Rows that another tool made may lack a label's source; filling in labels is no reason to refuse them."""
    rows = pl.DataFrame({"id": ["a", "b"], "prompt": ["x", "x"], "label_prompt": [None, H], "label_prompt_source": [None, "human"]})
    rows.write_parquet(tmp_path / "rows.parquet")
    read = {"id": "rows", "use": "read", "with": {"files": ["rows.parquet"], "columns": {n: n for n in rows.columns}}}
    step = run_steps(tmp_path, [read, {"id": "unique", "use": "deduplicate", "with": {"on": "prompt", "fill": True}}])["unique"]
    assert pl.concat(list(step.blocks())).rows() == [("a", "x", H, "human")]
