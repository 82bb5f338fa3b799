"""`balance`, `mix`, `stratify`, `cap` and the strata of `split`: exact numbers, the same rows whatever their order or blocks, no row lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from frames import reasons, rows_of, run_steps, seeds
from hypothesis import given, settings
from hypothesis import strategies as st

import toolkit
from toolkit.common.errors import InputError, InputErrors
from toolkit.guards import load_guard
from toolkit.operators import Columns, Context, DatasetOperator, operator_class
from toolkit.operators.choose._draw import apportion, units
from toolkit.operators.choose.mix import _filled
from toolkit.pipeline import LOCAL, Counts, FrameInput, FrameOutput, Work, build_step
from toolkit.records import content_id, load_record
from toolkit.taxonomy import load_taxonomy

LABELS = st.sampled_from(["harmful", "unharmful", None])
SOURCES = st.sampled_from(["a", "b", "c"])
CATEGORIES = st.lists(st.sampled_from(["k1", "k2", "k3", "k4"]), max_size=4)
ROWS = st.lists(st.tuples(SOURCES, LABELS, CATEGORIES), min_size=1, max_size=40)

Some = Sequence[tuple[str, str | None, list[str]]]


def frame(some: Some) -> pl.DataFrame:
    return seeds(*({"prompt": f"p{i}", "source": s, "label_prompt": label, "categories": c} for i, (s, label, c) in enumerate(some)))


def in_blocks(name: str, rows: pl.DataFrame, size: int, **options: Any) -> tuple[pl.DataFrame, pl.DataFrame]:
    """As `toolkit.apply`, with the rows in blocks, and their number not known before."""
    cls = operator_class(name)
    op = cls(cls.config_class.model_validate(options))
    assert isinstance(op, DatasetOperator)
    guard = load_guard("guardreasoner")
    columns: Columns = {c.name: c for c in load_record("seed", guard.task_names).columns}
    counts = Counts(name, name, op.shape)
    out = FrameOutput([counts], op.columns({"rows": columns}, guard), Path())
    work = Work(op, Context(guard, load_taxonomy("guardkit"), 0, name, Path()), columns, counts)
    build_step(LOCAL, [work], {"rows": FrameInput(name, *rows.iter_slices(size), counted=False)}, out)
    out.check()
    return whole((out.kept, out.left), rows)


def whole(found: tuple[pl.DataFrame, pl.DataFrame], rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """With the rows' columns, also where no row was kept or none left."""
    return tuple(pl.concat([rows.clear(), f], how="diagonal_relaxed") for f in found)  # type: ignore[return-value]


def applied(name: str, rows: pl.DataFrame, **options: Any) -> tuple[pl.DataFrame, pl.DataFrame]:
    return whole(toolkit.apply(name, rows, **options), rows)


OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("balance", {"by": "label_prompt", "short": "fewer"}),
    ("balance", {"by": "label_prompt", "within": ["source"], "to": 3, "short": "fewer", "replacement": {"harmful": "random"}}),
    ("balance", {"by": "label_prompt", "to": "largest", "replacement": "even", "short": "fewer"}),
    ("mix", {"parts": {"harmful": 2, "unharmful": 1}, "by": "label_prompt"}),
    ("stratify", {"by": ["source", "label_prompt"], "share": 0.4}),
    ("cap", {"by": "categories", "most": 2, "within": ["source"]}),
    ("cap", {"by": "source", "most": {"a": 3}}),
    ("leave_out", {"where": {"categories": ["k1"]}}),
    ("split", {"stratify": ["source", "label_prompt"], "parts": {"train": 0.6, "test": 0.4}}),
]


@settings(max_examples=25, deadline=None)
@given(ROWS, st.sampled_from(OPTIONS), st.integers(1, 9), st.randoms(use_true_random=False))
def test_neither_blocks_nor_order_matter_and_no_row_is_lost(some: Some, use: tuple[str, dict[str, Any]], size: int, rng: Any) -> None:
    name, options = use
    rows = frame([*some, ("a", "harmful", ["k1"]), ("b", "unharmful", ["k2"])])
    kept, rest = applied(name, rows, **options)
    small = in_blocks(name, rows, size, **options)
    assert small[0].equals(kept) and small[1].equals(rest)
    parents = kept["parent"] if "parent" in kept.columns else kept["id"]
    assert Counter(rows["id"]) == Counter({*parents, *rest["id"]}), "each row goes on or is set aside"
    assert not {*parents} & {*rest["id"]}
    assert kept["id"].is_unique().all()
    assert rest["_reason"].null_count() == 0 and rest["_detail"].null_count() == 0
    order = list(range(rows.height))
    rng.shuffle(order)
    other = applied(name, rows[order], **options)[0]
    assert Counter(other["id"]) == Counter(kept["id"]) and dict(other.select("id", "split").iter_rows()) == dict(
        kept.select("id", "split").iter_rows()
    )


# balance --------------------------------------------------------------------------------------------------------------


def balanced(**options: Any) -> Counter[tuple[str, str]]:
    rows = frame(
        [("a", "harmful", [])] * 3 + [("a", "unharmful", [])] * 8 + [("b", "harmful", [])] * 5 + [("b", "unharmful", [])] * 6 + [("b", None, [])]
    )
    kept, rest = toolkit.apply("balance", rows, by="label_prompt", **options)
    assert rest.filter(pl.col("label_prompt").is_null())["_reason"].to_list() == ["no_class"]
    return Counter(kept.select("source", "label_prompt").iter_rows())


def test_balance_over_all_rows_and_within_each_source() -> None:
    together = balanced()
    assert sum(n for (_, c), n in together.items() if c == "harmful") == 8 == sum(n for (_, c), n in together.items() if c == "unharmful")
    assert balanced(within=["source"]) == {("a", "harmful"): 3, ("a", "unharmful"): 3, ("b", "harmful"): 5, ("b", "unharmful"): 5}
    assert balanced(within=["source"], to=2) == dict.fromkeys([("a", "harmful"), ("a", "unharmful"), ("b", "harmful"), ("b", "unharmful")], 2)
    assert balanced(within=["source"], to={"harmful": 3, "unharmful": 1})[("b", "harmful")] == 3


def test_too_few_rows_stop_the_run_or_are_taken_or_repeated() -> None:
    with pytest.raises(InputError, match=r"source is a, label_prompt is harmful: 3 of 6.*source is b, label_prompt is harmful: 5 of 6"):
        balanced(within=["source"], to=6)
    assert balanced(within=["source"], to=6, short="fewer")[("a", "harmful")] == 3
    every = balanced(within=["source"], to=6, replacement={"harmful": "random"})
    assert set(every.values()) == {6}
    assert set(balanced(within=["source"], to="largest", replacement="even").values()) == {8, 6}


def test_a_class_that_a_source_lacks_is_short() -> None:
    rows = frame([("a", "harmful", []), ("a", "unharmful", []), ("b", "unharmful", [])])
    with pytest.raises(InputError, match="source is b, label_prompt is harmful: 0 of 1"):
        toolkit.apply("balance", rows, by="label_prompt", within=["source"], replacement="even")
    kept, _ = toolkit.apply("balance", rows, by="label_prompt", within=["source"], short="fewer")
    assert kept.height == 3


def test_copies_name_their_row_and_have_ids_of_their_own() -> None:
    rows = frame([("a", "harmful", [])] * 2 + [("a", "unharmful", [])] * 7)
    kept, rest = toolkit.apply("balance", rows, by="label_prompt", to=7, replacement={"harmful": "even"})
    harmful = kept.filter(pl.col("label_prompt") == "harmful")
    assert not rest.height and sorted(Counter(harmful["parent"]).values()) == [3, 4], "all rows of a class equally often, or one more"
    first = rows["id"][0]
    own = harmful.filter(pl.col("parent") == first)["id"].to_list()
    assert own == [first, *(f"{first}:balance:{k}" for k in range(2, len(own) + 1))]
    assert kept.filter(pl.col("label_prompt") == "unharmful")["parent"].to_list() == rows["id"][2:].to_list()


def test_random_draws_repeat_and_miss_rows_as_chance_has_it() -> None:
    rows = frame([("a", "harmful", [])] * 400)
    kept, rest = toolkit.apply("balance", rows, by="label_prompt", to=400, replacement="random")
    times = Counter(kept["parent"])
    assert kept.height == 400 and 0.31 < rest.height / 400 < 0.43, "1/e of the rows is not drawn"
    assert max(times.values()) >= 4
    assert toolkit.apply("balance", rows, by="label_prompt", to=400, replacement="random", seed=1)[0]["parent"].to_list() != kept["parent"].to_list()


def test_a_larger_number_adds_rows_and_other_classes_move_nothing() -> None:
    rows = frame([("a", "harmful", [])] * 30 + [("a", "unharmful", [])] * 40)
    few, more = (set(toolkit.apply("balance", rows, by="label_prompt", to=n)[0]["id"]) for n in (10, 20))
    assert few < more
    alone = set(toolkit.apply("balance", rows[:30], by="label_prompt", to=10)[0]["id"])
    assert alone == {i for i in few if i in set(rows["id"][:30])}


def test_bool_and_whole_numbers_are_classes_and_text_is_named_as_it_stands() -> None:
    rows = frame([("a", None, [])] * 6).with_columns(flag=pl.Series([True, False, False, None, True, False]), n=pl.Series([1, 1, 2, 2, 2, 3]))
    assert Counter(toolkit.apply("balance", rows, by="flag", to={"true": 1, "false": 2})[0]["flag"]) == {True: 1, False: 2}
    assert Counter(toolkit.apply("balance", rows, by="n", classes=["1", "2"])[0]["n"]) == {1: 2, 2: 2}
    with pytest.raises(InputError, match="takes the values of a column as classes"):
        toolkit.apply("balance", rows, by="categories")


def test_a_class_that_no_row_has_is_a_mistake() -> None:
    rows = frame([("a", "harmful", []), ("a", "unharmful", [])])
    with pytest.raises(InputError, match="did you mean 'harmful'"):
        toolkit.apply("balance", rows, by="label_prompt", to={"harmfull": 1})
    with pytest.raises(InputError, match="no row has label_prompt 'safe'"):
        toolkit.apply("balance", rows, by="label_prompt", classes=["safe", "harmful"], short="fewer")
    with pytest.raises(InputError, match="did you mean 'harmful'"):  # it would be drawn without replacement, and without a warning
        toolkit.apply("balance", rows, by="label_prompt", replacement={"harmfull": "random"})


# mix, stratify --------------------------------------------------------------------------------------------------------


@given(st.integers(0, 500), st.lists(st.fractions(0, 50), min_size=1, max_size=8).filter(any))
def test_apportioned_numbers_add_up_and_keep_to_their_quota(total: int, weights: list[Fraction]) -> None:
    found = apportion(total, weights)
    assert sum(found) == total
    assert all(abs(n - total * w / sum(weights)) < 1 for n, w in zip(found, weights, strict=True))


def mixed(**options: Any) -> dict[str, int]:
    rows = frame([("a", None, [])] * 20 + [("b", None, [])] * 9 + [("c", None, [])] * 4)
    kept, rest = toolkit.apply("mix", rows, **options)
    assert set(reasons(rest)) <= {"not_drawn", "not_in_mix"}
    return dict(Counter(kept["source"]))


def test_a_mixture_is_as_large_as_its_scarcest_part_allows_or_as_asked() -> None:
    assert mixed(parts={"a": 2, "b": 1}) == {"a": 18, "b": 9}
    assert mixed(parts={"a": 0.5, "b": 0.5}, total=7) == {"a": 4, "b": 3}
    assert mixed(parts={"a": 1, "c": 1}) == {"a": 4, "c": 4}
    with pytest.raises(InputError, match="source is c: 4 of 10"):
        mixed(parts={"a": 1, "c": 1}, total=20)
    assert mixed(parts={"a": 1, "c": 1}, total=20, short="fewer") == {"a": 10, "c": 4}
    assert mixed(parts={"a": 1, "c": 1}, replacement={"c": "random"}) == {"a": 20, "c": 20}
    with pytest.raises(InputError, match="did you mean"):
        mixed(parts={"sa": 1})
    with pytest.raises(InputErrors, match="give `total`"):
        mixed(parts={"a": 1}, replacement="even")


def test_what_a_part_lacks_comes_from_the_others_and_no_part_gives_more_than_it_may() -> None:
    assert mixed(parts={"a": 1, "b": 1, "c": 1}, total=24, short="others") == {"a": 11, "b": 9, "c": 4}
    assert mixed(parts={"a": 1, "b": 1}, total=20, most={"a": 6}, short="fewer") == {"a": 6, "b": 9}
    assert mixed(parts={"a": 2, "b": 1}, total=9, most={"a": 4}, short="others") == {"a": 4, "b": 5}
    assert mixed(parts={"a": 1, "b": 1}, most={"a": 5}) == {"a": 5, "b": 5}
    assert mixed(parts={"a": 1, "c": 1}, total=12, replacement={"c": "even"}, most={"a": 2}, short="others") == {"a": 2, "c": 10}
    with pytest.raises(InputError, match="all parts together: 33 of 34"):
        mixed(parts={"a": 1, "b": 1, "c": 1}, total=34, short="others")
    with pytest.raises(InputError, match="source is a: 3 of 5"):
        mixed(parts={"a": 1, "b": 1}, total=10, most={"a": 3})
    with pytest.raises(InputErrors, match="most names 'd', which is no part"):
        mixed(parts={"a": 1}, most={"d": 3})


@given(st.integers(1, 60), st.lists(st.tuples(st.integers(1, 9), st.integers(0, 20)), min_size=1, max_size=6))
def test_a_mixture_that_is_filled_up_adds_up(total: int, parts: list[tuple[int, int]]) -> None:
    weights, can = {str(i): Fraction(w) for i, (w, _) in enumerate(parts)}, {str(i): n for i, (_, n) in enumerate(parts)}
    found = _filled(total, weights, can)
    assert sum(found.values()) == min(total, sum(can.values())) and all(0 <= found[p] <= can[p] for p in can)
    fair = dict(zip(weights, apportion(total, list(weights.values())), strict=True))
    assert all(found[p] >= min(fair[p], can[p]) - 1 for p in can), "a part that has its share gives it"


@settings(max_examples=25, deadline=None)
@given(ROWS, st.floats(0.01, 1))
def test_strata_keep_their_share_to_within_a_row(some: Some, share: float) -> None:
    rows = frame(some)
    kept, rest = applied("stratify", rows, by=["source", "label_prompt"], share=share)
    assert kept.height == int(Fraction(str(share)) * rows.height + Fraction(1, 2))
    of, drawn = (Counter(f.select("source", "label_prompt").iter_rows()) for f in (rows, kept))
    assert all(abs(drawn[s] - n * kept.height / rows.height) < 1 for s, n in of.items())
    assert set(reasons(rest)) <= {"not_drawn"}


def test_stratify_takes_a_number_of_rows_and_no_more_than_there_are() -> None:
    rows = frame([("a", None, [])] * 30 + [("b", None, [])] * 10)
    assert Counter(toolkit.apply("stratify", rows, by=["source"], total=12)[0]["source"]) == {"a": 9, "b": 3}
    for some, n in ((rows, 40), (rows.clear(), 0)):
        with pytest.raises(InputError, match=f"41 rows are wanted of {n}"):
            toolkit.apply("stratify", some, by=["source"], total=41)
    with pytest.raises(InputErrors, match="finite number"):
        toolkit.apply("select", rows, at_least={"source_row": float("nan")})
    with pytest.raises(InputErrors, match="one of `total` and `share`"):
        toolkit.apply("stratify", rows, by=["source"])


# cap ------------------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(ROWS, st.integers(0, 4))
def test_no_category_has_more_than_it_may_and_each_row_that_left_says_which_was_full(some: Some, most: int) -> None:
    rows = frame(some)
    kept, rest = applied("cap", rows, by="categories", most=most)
    held = Counter(c for values in kept["categories"] for c in set(values))
    assert all(n <= most for n in held.values())
    of = Counter(c for values in rows["categories"] for c in set(values))
    for categories, detail in rest.select("categories", "_detail").iter_rows():
        full = next(c for c in categories if detail.startswith(f"categories is {c}: "))
        assert detail == f"categories is {full}: {most} of {of[full]}" and of[full] > most
        assert held[full] == most, "a row leaves only for a category that ends up full"
    assert set(rows.filter(pl.col("categories").list.len() == 0)["id"]) <= set(kept["id"])


def test_cap_of_single_values_by_name_and_in_each_source() -> None:
    rows = frame([("a", "harmful", [])] * 5 + [("b", "harmful", [])] * 4 + [("b", "unharmful", [])] * 6 + [("b", None, [])])
    kept, rest = toolkit.apply("cap", rows, by="source", most={"a": 2})
    assert Counter(kept["source"]) == {"a": 2, "b": 11} and reasons(rest) == {"over_cap": 3}
    kept, _ = toolkit.apply("cap", rows, by="label_prompt", most=3, within=["source"])
    assert Counter(kept.select("source", "label_prompt").iter_rows()) == {
        ("a", "harmful"): 3,
        ("b", "harmful"): 3,
        ("b", "unharmful"): 3,
        ("b", None): 1,
    }
    few, more = (set(toolkit.apply("cap", rows, by="source", most=n)[0]["id"]) for n in (2, 4))
    assert few < more


# split ----------------------------------------------------------------------------------------------------------------


GROUPED = st.lists(
    st.tuples(st.sampled_from([f"g{i}" for i in range(9)]), SOURCES, LABELS, st.sampled_from([None] * 9 + ["test"])), min_size=1, max_size=40
)


@settings(max_examples=30, deadline=None)
@given(GROUPED, st.booleans())
def test_no_group_straddles_whatever_the_strata(some: list[tuple[str, str, str | None, str | None]], strata: bool) -> None:
    rows = seeds(*({"prompt": f"p{i}", "group": g, "source": s, "label_prompt": x, "split": p} for i, (g, s, x, p) in enumerate(some)))
    options: dict[str, Any] = {"stratify": ["source", "label_prompt"]} if strata else {}
    kept, rest = toolkit.apply("split", rows, parts={"train": 0.5, "dev": 0.2, "test": 0.3}, **options)
    assert not rest.height and kept["split"].null_count() == 0
    assert all(len(set(parts)) == 1 for (parts,) in kept.group_by("group").agg("split").select("split").iter_rows())
    came = {g for g, _, _, p in some if p == "test"}
    assert set(kept.filter(pl.col("group").is_in(list(came)))["split"]) <= {"test"}


def test_clusters_of_near_duplicates_stay_together_and_each_stratum_gets_its_share() -> None:
    # Groups as a step that finds near-duplicates writes them: clusters of 1 to 3 rows, named by one of theirs.
    rows = seeds(*({"prompt": f"p{i}", "group": f"c{i // 3 if i % 5 else i}", "source": "ab"[i % 7 == 0]} for i in range(2000)))
    kept, _ = toolkit.apply("split", rows, stratify=["source"], parts={"train": 0.8, "test": 0.2})
    assert kept.group_by("group").agg(pl.col("split").n_unique())["split"].max() == 1
    groups = rows.group_by("group").len()
    for source in "ab":
        part = kept.filter(pl.col("source") == source)
        assert abs(part.filter(pl.col("split") == "test").height - 0.2 * part.height) < 60, (
            "groups of both sources count with the one that most of their rows are of"
        )
    assert abs(kept.filter(pl.col("split") == "test").height - 400) <= 2 * max(groups["len"])


WALK = "a quiet walk number {n} along river {n} behind mill {n} where children used to fish for trout every summer as garden {n} told leaf {n}"


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.sampled_from(["", " today", " again"]), LABELS), min_size=2, max_size=24), st.integers(0, 5))
def test_near_duplicates_that_deduplicate_finds_never_straddle(some: list[tuple[int, str, str | None]], draw: int) -> None:
    rows = seeds(*({"prompt": WALK.format(n=n) + end, "label_prompt": label} for n, end, label in some))
    options: dict[str, Any] = {"on": "prompt", "methods": ["exact", "near"], "on_find": "flag", "join_groups": True}
    found, _ = toolkit.apply("deduplicate", rows, **options)
    copied, _ = toolkit.apply("balance", found, by="label_prompt", to="largest", replacement="random", short="fewer")
    for came in (found, copied) if copied.height else (found,):
        for strata in ([], ["label_prompt"]):
            kept, _ = toolkit.apply("split", came, parts={"train": 0.5, "test": 0.5}, stratify=strata, seed=draw)
            assert kept.height == came.height
            assert (kept.group_by("cluster").agg(pl.col("split").n_unique())["split"] == 1).all()


def test_many_small_strata_get_their_shares_on_average() -> None:
    rows = seeds(*({"prompt": f"p{i}", "source": f"s{i}"} for i in range(1000)))
    kept, _ = toolkit.apply("split", rows, stratify=["source"], parts={"train": 0.9, "test": 0.1})
    assert 60 < (kept["split"] == "test").sum() < 145


def test_what_recipes_drew_before_they_draw_again() -> None:
    def unit(salt: str, text: str) -> float:
        return int(content_id([], salt, text)[:13], 16) / 16**13

    texts = ["", "a", "é", "row 1", "x" * 300]
    assert units("17", pl.Series(texts)).to_list() == [unit("17", t) for t in texts]


# leave_out, select ----------------------------------------------------------------------------------------------------


def test_leave_out_by_any_column() -> None:
    rows = seeds({"language": "de", "categories": ["k1", "k2"]}, {"language": "en"}, {"categories": ["k2"]}, {"language": "de", "categories": ["k3"]})
    kept, rest = toolkit.apply("leave_out", rows, where={"language": ["de"], "categories": ["k2"]})
    assert kept["source_row"].to_list() == [1]
    assert rest["_detail"].to_list() == ["language is de", "categories is k2", "language is de"]
    with pytest.raises(InputError, match="no row has 'k9' in 'categories'"):
        toolkit.apply("leave_out", rows, where={"categories": ["k1", "k9"]})
    with pytest.raises(InputErrors, match="nothing is left out"):
        toolkit.apply("leave_out", rows)


def test_select_by_lists_by_bools_and_by_what_must_not_be() -> None:
    rows = seeds({"categories": ["a", "b"]}, {"categories": ["c"]}, {}, {"categories": ["b", "c"]}).with_columns(
        flag=pl.Series([True, False, None, True]), share=pl.Series([0.2, float("nan"), None, 0.9])
    )

    def kept(**options: Any) -> list[int]:
        found, rest = toolkit.apply("select", rows, **options)
        assert rest["_detail"].null_count() == 0 and found.height + rest.height == 4
        return found["source_row"].to_list()

    assert kept(any_of={"categories": ["a", "c"]}) == [0, 1, 3]
    assert kept(none_of={"categories": ["a", "c"]}) == [2]
    assert kept(where={"categories": "empty"}) == [2] and kept(where={"categories": "not_empty"}) == [0, 1, 3]
    assert kept(where={"flag": True}) == [0, 3] and kept(where_not={"flag": True}) == [1, 2] and kept(where={"flag": "null"}) == [2]
    assert kept(where_not={"source": ["here"]}) == []
    assert kept(at_most={"share": 1}) == [0, 3], "neither missing nor not a number lies within bounds"
    assert kept(at_most={"share": 1}, null_passes=["share"]) == [0, 2, 3]
    _, rest = toolkit.apply("select", rows, none_of={"categories": ["a"]}, at_least={"share": 0.5})
    assert rest["_detail"].to_list() == [
        "categories is a, b, wanted none of a",
        "share is NaN, wanted at least 0.5",
        "share is null, wanted at least 0.5",
    ]
    with pytest.raises(InputError, match="looks into lists of text"):
        kept(any_of={"source": ["x"]})
    with pytest.raises(InputError, match="not bool"):
        kept(where={"source": True})
    with pytest.raises(InputErrors, match="no bounds"):
        kept(null_passes=["share"])


@pytest.mark.parametrize(("name", "options"), [OPTIONS[1], OPTIONS[4], OPTIONS[6], ("leave_out", {"where": {"label_prompt": ["harmful"]}})])
def test_rows_that_stream_from_a_file_are_drawn_as_rows_of_a_step(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    rows = frame([("a", "harmful", ["k1"]), ("b", "unharmful", ["k2", "k1"]), ("b", "harmful", []), ("c", None, ["k3"])] * 5)
    rows.write_parquet(tmp_path / "rows.parquet")
    columns: dict[str, Any] = {n: n for n in ("id", "prompt", "source", "label_prompt", "label_prompt_source")}
    read = {"files": ["rows.parquet"], "columns": columns, "record": "seed"}
    steps = [{"id": "rows", "use": "read", "with": read}, {"id": name, "use": name, "with": options}]
    streamed = run_steps(tmp_path, steps)
    assert set(streamed) == {name}, "no file in between"
    kept, rest = toolkit.apply(name, rows, seed=5, **options)
    assert rows_of(streamed[name])["id"].to_list() == kept["id"].to_list()
    assert sum(streamed[name].manifest["counts"][-1]["set_aside"].values()) == rest.height
