"""`deduplicate`: which rows stand for which, and what becomes of labels that conflict."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from frames import reasons, seeds
from hypothesis import given, settings
from hypothesis import strategies as st

import toolkit
from toolkit.operators.clean._conflicts import decide

POLICIES = ["reject", "first", "majority", "keep"]


def dedup(rows: pl.DataFrame, **options: Any) -> tuple[pl.DataFrame, pl.DataFrame]:
    return toolkit.apply("deduplicate", rows, **options)


def test_equal_text_merges_into_the_first_row_and_names_it() -> None:
    rows = seeds({"prompt": "a"}, {"prompt": "b"}, {"prompt": "a"}, {"prompt": "a", "response": "r"}, {"prompt": "a"})
    kept, rest = dedup(rows)
    assert kept["id"].to_list() == rows["id"][[0, 1, 3]].to_list(), "with and without a response are two interactions"
    assert rest["id"].to_list() == rows["id"][[2, 4]].to_list()
    assert rest["_survivor"].to_list() == [rows["id"][0]] * 2
    assert rest["_outcome"].to_list() == ["merged"] * 2
    assert kept.columns == rows.columns


def test_earlier_turns_are_part_of_the_text() -> None:
    turns = [{"role": "user", "content": "hello"}]
    kept, _ = dedup(seeds({"prompt": "a"}, {"prompt": "a", "context": turns}))
    assert kept.height == 2


def test_two_different_labels_conflict_and_a_missing_one_does_not() -> None:
    rows = seeds(
        {"prompt": "a", "label_prompt": "harmful"},
        {"prompt": "a", "label_prompt": "unharmful"},
        {"prompt": "b", "label_prompt": "harmful"},
        {"prompt": "b"},
        {"prompt": "b", "label_refusal": "refusal"},
    )
    kept, rest = dedup(rows)
    assert reasons(rest) == {"conflicting_labels": 2, "merged": 2}
    assert kept["id"].to_list() == [rows["id"][2]]


def test_conflicts_are_listed_with_every_row_of_their_cluster(tmp_path: Path) -> None:
    rows = seeds(
        {"prompt": "b", "label_prompt": "unharmful"},
        {"prompt": "a", "label_prompt": "harmful"},
        {"prompt": "c"},
        {"prompt": "a", "label_prompt": "unharmful"},
        {"prompt": "c"},
        {"prompt": "a", "label_prompt": "harmful"},
        {"prompt": "b", "label_prompt": "harmful"},
    )
    dedup(rows, conflicts="first", artefacts=tmp_path)
    found = pl.read_parquet(tmp_path / "conflicts" / "conflicts.parquet")
    listed = ["method", "similarity", "fate", "survivor", "conflict"]
    assert found.columns == ["cluster", "id", *listed, "label_prompt", "label_refusal", "label_response"]
    at = [0, 6, 1, 3, 5]  # clusters in the order of their first row, rows in theirs
    assert found["id"].to_list() == [rows["id"][i] for i in at]
    name = {text: min(rows.filter(prompt=text)["id"]) for text in "ab"}
    assert found["cluster"].to_list() == [name[rows["prompt"][i]] for i in at], "a cluster is called by its lowest id"
    assert found["conflict"].to_list() == [["prompt"]] * 5
    assert pl.read_parquet(tmp_path / "clusters" / "clusters.parquet")["id"].to_list() == rows["id"][[0, 6, 1, 3, 5, 2, 4]].to_list()
    assert found["fate"].to_list() == ["keep", "reject", "keep", "reject", "merge"]
    assert found["survivor"].to_list() == [rows["id"][i] if i is not None else None for i in (0, None, 1, None, 1)]


H, U = "harmful", "unharmful"


@pytest.mark.parametrize(
    ("policy", "labels", "fates"),
    [
        ("reject", [H, U, H], "xxx"),
        ("reject", [H, None, H], "kmm"),
        ("reject", [H, U, None], "xxx"),
        ("keep", [H, U, H], "kkk"),
        ("keep", [H, H], "km"),
        ("first", [H, U, H, None], "kxmm"),
        ("first", [None, U, H], "kmm"),
        ("majority", [U, H, H, None], "xkmm"),
        ("majority", [None, U, H, H], "kxmm"),
        ("majority", [H, U], "xx"),
        ("majority", [H, U, None], "xxx"),
        ("majority", [H, U, U, H, U], "xkmxm"),
    ],
)
def test_policies_on_one_task(policy: str, labels: list[str | None], fates: str) -> None:
    rows = pl.DataFrame({"id": [str(i) for i in range(len(labels))], "cluster": "c", "label": labels}, schema_overrides={"label": pl.String})
    found = decide(rows, ["label"], policy)  # type: ignore[arg-type]
    assert "".join({"keep": "k", "merge": "m", "reject": "x"}[f] for f in found["fate"]) == fates


@pytest.mark.parametrize(
    ("policy", "fates"),
    # (prompt, refusal): the majority says H on prompt (2:1) and is torn on refusal (1:1)
    [("first", "kxm"), ("majority", "xxx")],
)
def test_a_tie_on_one_task_is_a_tie(policy: str, fates: str) -> None:
    rows = pl.DataFrame({"id": list("abc"), "cluster": "c", "p": [H, U, H], "r": ["refusal", "compliance", None]})
    found = decide(rows, ["p", "r"], policy)  # type: ignore[arg-type]
    assert "".join({"keep": "k", "merge": "m", "reject": "x"}[f] for f in found["fate"]) == fates


def test_the_majority_is_taken_task_by_task_and_never_invents_a_row() -> None:
    # Each task has a majority of 2:1, and no row has both majority labels: nothing can stand for the cluster.
    rows = pl.DataFrame({"id": list("abc"), "cluster": "c", "p": [H, H, U], "r": ["x", None, None], "s": ["2", "2", "1"], "t": ["b", "b", "a"]})
    rows = rows.with_columns(p=pl.Series([H, H, U]), s=pl.Series(["1", "2", "2"]), t=pl.Series(["a", "b", "a"]))
    assert decide(rows, ["p", "s", "t"], "majority")["fate"].to_list() == ["reject"] * 3


LABELS = st.sampled_from([None, "a", "b", "c"])


def plain_fates(rows: list[tuple[str, tuple[str | None, ...]]], policy: str) -> list[tuple[str, int | None]]:
    """The rules once more, row by row: (fate, place of the survivor)."""
    out: list[tuple[str, int | None]] = []
    for cluster, labels in rows:
        members = [(i, ls) for i, (c, ls) in enumerate(rows) if c == cluster]
        per_task = [[ls[t] for _, ls in members if ls[t] is not None] for t in range(len(labels))]
        conflict = any(len(set(known)) > 1 for known in per_task)
        if conflict and policy == "keep":
            out.append(("keep", len(out)))
            continue
        if not conflict or policy == "keep":
            wanted: list[str | None] | None = [None] * len(labels)
        elif policy == "reject":
            wanted = None
        elif policy == "first":
            wanted = list(members[0][1])
        else:
            tops = [[v for v, n in Counter(known).items() if n == max(Counter(known).values())] for known in per_task]
            wanted = None if any(len(t) > 1 for t in tops) else [t[0] if t else None for t in tops]
        agree = [i for i, ls in members if wanted is not None and all(a is None or w is None or a == w for a, w in zip(ls, wanted, strict=True))]
        at = len(out)
        out.append(("reject", None) if at not in agree else ("keep", at) if at == agree[0] else ("merge", agree[0]))
    return out


@settings(max_examples=120, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("pqr"), st.tuples(LABELS, LABELS)), min_size=1, max_size=9), st.sampled_from(POLICIES))
def test_every_policy_agrees_with_a_recount_by_hand(rows: list[tuple[str, tuple[str | None, ...]]], policy: str) -> None:
    frame = pl.DataFrame(
        [(str(i), c, *ls) for i, (c, ls) in enumerate(rows)], schema=dict.fromkeys(["id", "cluster", "x", "y"], pl.String), orient="row"
    )
    found = decide(frame, ["x", "y"], policy)  # type: ignore[arg-type]
    assert list(zip(found["fate"], found["survivor"], strict=True)) == plain_fates(rows, policy)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("pqr"), LABELS, LABELS), min_size=1, max_size=9),
    st.sampled_from(["reject", "majority", "keep"]),
    st.randoms(use_true_random=False),
)
def test_order_decides_only_who_survives(rows: list[tuple[str, str | None, str | None]], policy: str, rng: random.Random) -> None:
    def rejected(of: list[tuple[str, str | None, str | None]]) -> Counter[tuple[str | None, ...]]:
        frame = pl.DataFrame([(str(i), *r) for i, r in enumerate(of)], schema=dict.fromkeys(["id", "cluster", "x", "y"], pl.String), orient="row")
        found = decide(frame, ["x", "y"], policy)  # type: ignore[arg-type]
        return Counter(found.filter(pl.col("fate") == "reject").select("cluster", "x", "y").iter_rows())

    other = rows[:]
    rng.shuffle(other)
    assert rejected(rows) == rejected(other)


def test_by_prompt_alone_only_labels_of_the_prompt_can_conflict() -> None:
    rows = seeds(
        {"prompt": "a", "response": "no", "label_prompt": H, "label_refusal": "refusal"},
        {"prompt": "a", "response": "yes", "label_prompt": H, "label_refusal": "compliance"},
        {"prompt": "b", "label_prompt": H},
        {"prompt": "b", "response": "r", "label_prompt": U},
    )
    kept, rest = dedup(rows, on="prompt")
    assert kept["id"].to_list() == [rows["id"][0]]
    assert reasons(rest) == {"conflicting_labels": 2, "merged": 1}
    assert rest.filter(pl.col("_reason") == "merged")["_survivor"].to_list() == [rows["id"][0]]


def test_a_survivor_can_take_the_labels_that_it_lacks_with_their_source() -> None:
    rows = seeds(
        {"prompt": "a", "response": "r", "label_response": U, "label_response_source": "human", "label_prompt_source": "to_infer"},
        {"prompt": "a", "response": "r", "label_refusal": "compliance", "label_refusal_source": "vote", "label_response": U},
        {"prompt": "a", "response": "r", "label_refusal": "compliance", "label_refusal_source": "human"},
        {"prompt": "b", "label_prompt": H},
    )
    kept, _ = dedup(rows)
    assert kept["label_refusal"].to_list() == [None, None], "by default a row's labels are its own"
    kept, _ = dedup(rows, fill=True)
    assert kept.columns == rows.columns
    first = kept.row(0, named=True)
    assert (first["label_refusal"], first["label_refusal_source"]) == ("compliance", "vote")
    assert (first["label_response"], first["label_response_source"]) == (U, "human")
    assert (first["label_prompt"], first["label_prompt_source"]) == (None, "to_infer"), "nothing is made up"
    assert kept.row(1, named=True) == rows.row(3, named=True)


def test_nothing_to_do_is_a_normal_case() -> None:
    rows = seeds({"prompt": "a"}, {"prompt": "b"})
    kept, rest = dedup(rows)
    assert kept.equals(rows) and not rest.height
    kept, rest = dedup(rows.clear())
    assert not kept.height and not rest.height


def test_saferlhf_conflicts_whatever_the_method(real_data: Path, tmp_path: Path) -> None:
    """Spec E.1: 28 inputs of SafeRLHF bear conflicting labels; the two XSTest files share 445 inputs, and judge different tasks."""
    files = [str(real_data / "guardreasoner" / "benchmark")]
    rows, _ = toolkit.apply("load", source="guardreasoner_benchmark", parts=["SafeRLHF"], files=files)
    for methods in (["exact"], ["near"]):
        for conflicts in POLICIES:
            place = tmp_path / f"{methods[0]}-{conflicts}"
            kept, rest = dedup(rows, methods=methods, conflicts=conflicts, artefacts=place)
            found = pl.read_parquet(place / "conflicts" / "conflicts.parquet").join(rows.select("id", "content_id"), on="id")
            torn = found.group_by("content_id").agg(pl.col("label_response").n_unique()).filter(pl.col("label_response") > 1)
            assert torn.height == 28 and kept.height + rest.height == 2000
            assert kept.filter(pl.col("id").is_in(found["id"].implode())).height == found.filter(fate="keep").height
            if conflicts == "keep":
                assert (
                    kept.filter(pl.col("content_id").is_in(torn["content_id"].implode()))["conflict"].to_list()
                    == [["response"]] * found.filter(pl.col("content_id").is_in(torn["content_id"].implode())).height
                )
    rows, _ = toolkit.apply("load", source="guardreasoner_benchmark", parts=["XSTestResponseHarmful", "XSTestResponseRefusal"], files=files)
    kept, rest = dedup(rows, fill=True)
    assert (kept.height, rest.height) == (450, 445) and set(rest["_reason"]) == {"merged"}
    assert kept.filter(pl.col("label_response").is_not_null() & pl.col("label_refusal").is_not_null()).height == 445
