"""A version that extends another one: what `verify` holds its word on the old one against, and what follows it without knowing of it."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from shardrows import COLUMNS, change, make, rows
from test_verify import faults

from toolkit.common.errors import InputError
from toolkit.common.manifests import sealed
from toolkit.shards import ShardWriter, licence_section, load_licences, old_version, read_manifest, unproven, verify
from toolkit.shards._versions import MOST_VERSIONS
from toolkit.shards.exporters import export, verify_export

STEP = {"step": "eggs", "use": "read", "version": 1, "options": {}, "shape": "source", "rejected": {}, "merged": 0, "set_aside": {}}


def mild(n: int, start: int = 0) -> pl.DataFrame:
    return rows(n, start).with_columns(weight=pl.lit(1.0))


def extend(folder: Path, old: Path, start: int, n: int, **about: Any) -> dict[str, Any]:
    writer = ShardWriter(folder, COLUMNS, 10)
    writer.extend(old_version(old))
    writer.write(mild(n, start), "train")
    return writer.finish(lambda counts: {"licence": licence_section(counts["licence"], None, load_licences()), **about})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three versions, of 30, 34 and 36 rows."""
    folder = tmp_path_factory.mktemp("versions")
    steps = [{**STEP, "in": 30, "kept": 30}]
    about = {"title": "Eggs", "licence": licence_section({"CC0-1.0": 30}, None, load_licences()), "made_from": {"recipe": "eggs", "steps": steps}}
    make(folder / "one", {"train": mild(25), "test": mild(5, 25)}, per_shard=10, about=about)
    extend(folder / "two", folder / "one", 30, 4, title="More eggs", made_from={"steps": [{**STEP, "in": 4, "kept": 4}]})
    steps = [{**STEP, "in": 5, "kept": 5}]
    extend(folder / "three", folder / "two", 40, 2, title="Eggs, all", made_from={"steps": steps}, extends={"left_out": {"known_id": 3}, "moved": 0})
    return folder


@pytest.fixture
def three(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made / "three", tmp_path / "three")


def test_it_proves_its_versions_and_an_export_goes_with_it(made: Path, tmp_path: Path) -> None:
    found = verify(made / "three")
    assert found["rows"] == 36 and found["extends"]["manifest"] == read_manifest(made / "two") and "extends" in unproven(found)
    assert "Not added, as they clash with rows of before: 3 known_id." in (made / "three" / "README.md").read_text()
    record = export(made / "three", "trl", tmp_path / "trl", weights="drop")
    assert record["notes"][-1].startswith("2 of the 36 rows of the shards came with their last version")
    assert record["rows"] == 36 and verify_export(tmp_path / "trl")["rows"] == 36


def test_datasets_reads_all_versions_in_order(made: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    found = datasets.load_dataset(str(made / "three"), cache_dir=str(tmp_path))
    wanted = pl.concat([mild(25), mild(4, 30), mild(2, 40)])["id"].to_list()
    assert found["train"]["id"][:] == wanted and found["test"]["id"][:] == mild(5, 25)["id"].to_list()


TRAIN = "data/train-00000-of-00005.parquet"


def test_a_file_of_an_old_version_that_is_missing_or_changed_is_named_with_it(three: Path) -> None:
    (three / TRAIN).unlink()
    (message,) = faults(three)
    digest = read_manifest(three)["extends"]["manifest"]["extends"]["manifest_sha256"][:16]
    assert message == f"{TRAIN}: missing; it is data/train-00000-of-00003.parquet of the version extended, 'Eggs' (manifest {digest}…)"
    (three / TRAIN).write_bytes(b"PAR1")
    assert "its bytes are not those of the manifest (sha256); it is data/train-00000" in faults(three)[0]


def forged(**values: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def forge(extends: dict[str, Any]) -> dict[str, Any]:
        extends = copy.deepcopy(extends)
        return extends | {name: value(extends) for name, value in values.items()}

    return forge


def other(**values: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The manifest of the version extended with other values, sealed anew."""
    return lambda extends: sealed({**extends["manifest"], **values})


@pytest.mark.parametrize(
    ("forge", "words"),
    [
        (forged(manifest_sha256=lambda e: "0" * 64), "is not the one with this sha256"),
        (forged(manifest=other(title="Bread")), "is not the one with this sha256"),
        (forged(files=lambda e: dict(zip(e["files"], reversed(e["files"].values()), strict=True))), "is not data/"),
        (forged(files=lambda e: dict(list(e["files"].items())[1:])), "its files are not those of the version extended"),
        (forged(left_out=lambda e: {}), "'eggs' kept another number of rows"),
        (forged(manifest=other(counts={})), "is not the one with this sha256"),
    ],
)
def test_a_word_on_the_old_version_that_is_not_so_is_refused(three: Path, forge: Callable[[dict[str, Any]], Any], words: str) -> None:
    change(three, extends=forge)
    assert any(words in fault for fault in faults(three)), faults(three)


def test_what_an_old_version_counted_is_counted_again(three: Path) -> None:
    import hashlib

    from toolkit.shards._versions import text_of

    def forge(extends: dict[str, Any]) -> dict[str, Any]:
        counts = extends["manifest"]["counts"]
        old = sealed({**extends["manifest"], "counts": {**counts, "source": {"eggs": 34}}})
        return extends | {"manifest": old, "manifest_sha256": hashlib.sha256(text_of(old).encode()).hexdigest()}

    change(three, extends=forge)
    assert faults(three) == ["manifest.json: extends, 'More eggs': counts: source is not what its rows say"]


def test_a_chain_has_an_end(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.shards._versions.MOST_VERSIONS", 3)
    assert old_version(made / "two").title == "More eggs" and MOST_VERSIONS > 10
    with pytest.raises(InputError, match="it is version 3, the last that may extend another one"):
        old_version(made / "three")
