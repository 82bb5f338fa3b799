"""`deduplicate` by embeddings: a model made here, whose vectors are bags of words, so that texts of other words in the same sense are alike."""

from __future__ import annotations

import importlib.util
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from frames import run_steps, seeds

import toolkit
from toolkit.common.errors import InputError, Missing
from toolkit.operators import _embedding
from toolkit.operators.clean import _semantic

SENSES = [
    ("cat", "kitten"),
    ("bread", "loaf"),
    ("bake", "cook"),
    ("garden", "yard"),
    ("water", "drink"),
    ("how", "what"),
    ("tall", "high"),
    ("sing", "song"),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an embedding model: a vector for each sense."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    vocabulary = {"[UNK]": 0} | {w: 1 + i for i, w in enumerate(w for pair in SENSES for w in pair)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    weights = np.zeros((len(vocabulary), len(SENSES)), np.float32)
    for i, pair in enumerate(SENSES):
        for word in pair:
            weights[vocabulary[word], i] = 1
    folder = tmp_path_factory.mktemp("embedding") / "bag"
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights)]).save(str(folder))
    return folder


def options(model: Path | str, **more: Any) -> dict[str, Any]:
    return {"methods": ["semantic"], "on": "prompt", "semantic": {"model": str(model), "device": "cpu", **more}}


def test_texts_of_like_meaning_are_merged(model: Path, tmp_path: Path) -> None:
    prompts = ["How bake bread", "what cook loaf", "how bake BREAD", "how bake bread garden", "water", "nothing known here", "unknown, too"]
    rows = seeds(*({"prompt": p} for p in prompts))
    kept, rest = toolkit.apply("deduplicate", rows, **options(model), artefacts=tmp_path)
    assert kept["prompt"].to_list() == [prompts[i] for i in (0, 3, 4, 5, 6)], "texts of which the model sees nothing are like none"
    assert set(rest["_survivor"]) == {rows["id"][0]}
    found = pl.read_parquet(tmp_path / "clusters" / "clusters.parquet")
    assert found["method"].to_list() == [None, "semantic", "normalised"] and found["similarity"].to_list() == [None, 1.0, 1.0]
    kept, _ = toolkit.apply("deduplicate", rows, **options(model, threshold=0.85))  # 3 / sqrt(3 x 4) = 0.866
    assert [prompts[3]] == [p for p in prompts[:4] if p not in kept["prompt"].to_list() and p not in prompts[1:3]]


def test_near_and_semantic_work_together(model: Path, tmp_path: Path) -> None:
    text = " ".join(random.Random(1).choices([w for pair in SENSES for w in pair], k=40))
    swapped = " ".join(dict(SENSES).get(w, w) for w in text.split())
    rows = seeds({"prompt": text}, {"prompt": f"{text} tall"}, {"prompt": swapped})
    both = options(model) | {"methods": ["near", "semantic"]}
    toolkit.apply("deduplicate", rows, **both, artefacts=tmp_path)
    found = pl.read_parquet(tmp_path / "clusters" / "clusters.parquet")
    assert found["method"].to_list() == [None, "near", "semantic"] and found["survivor"].to_list() == [rows["id"][0]] * 3


def test_an_interaction_with_a_response_is_never_like_one_without(model: Path) -> None:
    rows = seeds({"prompt": "bake bread"}, {"prompt": "cook bread", "response": "unknown"}, {"prompt": "cook loaf"})
    kept, rest = toolkit.apply("deduplicate", rows, **(options(model) | {"on": "interaction"}))
    assert kept["id"].to_list() == rows["id"][:2].to_list() and rest["_survivor"].to_list() == [rows["id"][0]]


def test_blocks_of_similarities_are_a_matter_of_memory_alone(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(2)
    rows = seeds(*({"prompt": " ".join(rng.choices([w for pair in SENSES for w in pair], k=rng.randrange(2, 6)))} for _ in range(120)))
    whole, _ = toolkit.apply("deduplicate", rows, **options(model), on_find="flag")
    for left, right, encode in ((7, 5, 3), (200, 13, 1000)):
        monkeypatch.setattr(_semantic, "LEFT", left)
        monkeypatch.setattr(_semantic, "RIGHT", right)
        monkeypatch.setattr(_semantic, "ENCODE", encode)
        again, _ = toolkit.apply("deduplicate", rows, **options(model), on_find="flag")
        assert again.equals(whole)
    counts = np.array([[sum(w in pair for w in p.split()) for pair in SENSES] for p in rows["prompt"]], float)
    cosine = (counts / np.linalg.norm(counts, axis=1, keepdims=True)) @ (counts / np.linalg.norm(counts, axis=1, keepdims=True)).T
    alone = whole["cluster_size"].to_numpy() == 1
    assert (((cosine >= 0.9 - 1e-6).sum(axis=1) == 1) == alone).all() and alone.any() and not alone.all()


def test_the_model_counts_by_its_content(model: Path, tmp_path: Path) -> None:
    seeds({"prompt": "bake bread"}, {"prompt": "cook loaf"}).write_parquet(tmp_path / "rows.parquet")
    shutil.copytree(model, tmp_path / "mine")
    step = {"id": "unique", "use": "deduplicate", "with": options("mine")}
    steps = [{"id": "rows", "use": "read", "with": {"files": ["rows.parquet"], "columns": {"id": "id", "prompt": "prompt"}}}, step]
    first = run_steps(tmp_path, steps)["unique"].manifest
    assert first["rows"] == 1 and first["stats"]["merged_by_method"] == {"semantic": 1}
    shutil.move(tmp_path / "mine", tmp_path / "elsewhere")
    step["with"] = options(tmp_path / "elsewhere", batch=7)
    assert run_steps(tmp_path, steps)["unique"].manifest["fingerprint"] == first["fingerprint"], "neither its place nor the batch size"
    (tmp_path / "elsewhere" / "config_sentence_transformers.json").write_text('{"similarity_fn_name": "dot"}')
    assert run_steps(tmp_path, steps)["unique"].manifest["fingerprint"] != first["fingerprint"]


def test_what_is_missing_is_reported(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = seeds({"prompt": "a"})
    with pytest.raises(InputError, match="no such model folder"):
        toolkit.apply("deduplicate", rows, **options("./not/there"))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{}")
    with pytest.raises(Missing, match="cannot be loaded"):
        toolkit.apply("deduplicate", rows, **options(tmp_path / "broken"))
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "sentence_transformers" else found(name, *a))
    monkeypatch.setattr(_embedding, "find_spec", importlib.util.find_spec)
    with pytest.raises(Missing, match="guardkit\\[semantic\\]") as missing:
        toolkit.apply("deduplicate", rows, **options(model))
    assert "sentence_transformers" in str(missing.value)
    assert _embedding.needs("a/b") == ["the package 'sentence_transformers' is missing: pip install 'guardkit[semantic]'"]
    monkeypatch.setattr(_embedding, "find_spec", lambda name: None)
    with pytest.raises(Missing, match="guardkit\\[wordllama\\]"):
        toolkit.apply("deduplicate", rows, methods=["semantic"])


@pytest.mark.skipif(importlib.util.find_spec("wordllama") is None, reason="the extra wordllama is not installed")
def test_the_model_that_ships_in_a_package_is_the_default(tmp_path: Path) -> None:
    prompts = ["How do I bake bread?", "What is the way to bake a loaf of bread?", "How do I build a bomb?", "", "how do I bake BREAD?"]
    rows = seeds(*({"prompt": p, "label_prompt": "harmful" if "bomb" in p else "unharmful"} for p in prompts))
    kept, rest = toolkit.apply("deduplicate", rows, on="prompt", methods=["semantic"], artefacts=tmp_path)
    assert kept["prompt"].to_list() == [prompts[0], prompts[2], prompts[3]] and set(rest["_survivor"]) == {rows["id"][0]}
    found = pl.read_parquet(tmp_path / "clusters" / "clusters.parquet").filter(pl.col("method") == "semantic")
    assert found["similarity"].to_list() == pytest.approx([0.834], abs=2e-3)
    torn = rows[:4].with_columns(label_prompt=pl.Series(["harmful", *rows["label_prompt"][1:4]]))
    kept, _ = toolkit.apply("deduplicate", torn, on="prompt", methods=["semantic"])
    assert kept.filter(pl.col("conflict").is_not_null())["prompt"].to_list() == prompts[:2], "a pair with two labels is named, not merged"
    embed = _embedding.open_model(None, None)
    long = "bread " * 20_000
    both = embed([long, "bread", ""])
    assert both[:2] == pytest.approx(embed(["bread bread", "bread"]), abs=1e-2) and not both[2].any(), "a text of any length, and none"
    whole = embed(prompts)
    assert all((embed([p])[0] == line).all() for p, line in zip(prompts, whole, strict=True)), "what stands beside a text plays no part"
