"""The data card: rendered from the manifest alone, read by the hub, and no text of the data is markup in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from shardrows import make, rows

from toolkit.shards import card, licence_section, load_licences, models_section, verify

STEPS = [
    {"step": "load", "use": "load", "version": 3, "options": {}, "in": 40, "kept": 38, "rejected": {"no_text": 2}, "merged": 0, "set_aside": {}},
    {"step": "pick", "use": "select", "version": 1, "options": {}, "in": 38, "kept": 30, "rejected": {}, "merged": 3, "set_aside": {"not_here": 5}},
]
STEPS[1]["stats"] = {"usage": {"gpt-4o": {"answers": 30, "prompt_tokens": 12_000, "completion_tokens": 900, "dollars": 1.5}}}


@pytest.fixture
def manifest(tmp_path: Path) -> dict[str, Any]:
    frame = rows(30).with_columns(
        source=rows(30)["source"].replace({"eggs": "wildguard_train"}), teacher=rows(30)["teacher"].replace({"template": "gpt-4o"})
    )
    table = load_licences()

    def about(counts: dict[str, dict[str, int]]) -> dict[str, Any]:
        out = {"title": "Eggs", "guard": "guardreasoner 1", "licence": licence_section(counts["licence"], None, table)}
        return out | {"models": models_section(counts, table), "made_from": {"recipe": "eggs", "version": 2, "steps": STEPS}}

    make(tmp_path / "s", {"train": frame[:25], "test": frame[25:]}, per_shard=10, about=about)
    return verify(tmp_path / "s")


def meta(text: str) -> Any:
    return yaml.safe_load(text.split("---\n")[1])


def test_the_card_is_the_one_in_the_folder_and_comes_from_the_manifest_alone(manifest: dict[str, Any], tmp_path: Path) -> None:
    text = (tmp_path / "s" / "README.md").read_text()
    assert card({k: v for k, v in manifest.items() if k != "card"}) == text == card(manifest)
    assert "30 rows in 4 file(s); guard guardreasoner 1; recipe eggs 2." in text


def test_its_tables_are_the_figures_of_the_rows(manifest: dict[str, Any]) -> None:
    text = card(manifest)
    assert "| more_eggs | 10 | 0 | 0 | 10 |\n| wildguard_train | 0 | 10 | 10 | 20 |" in text
    assert "| human (annotated by people) | 10 | 0 | 0 | 10 |" in text and "| vote (aggregated from several annotators) | 0 | 0 | 10 | 10 |" in text
    assert "| salad | more_eggs | 10 | 0 | 0 | 10 |" in text and "| none | wildguard_train | 0 | 0 | 10 | 10 |" in text
    steps = sum(i % 4 for i in range(30) if i % 3)
    assert f"| wildguard_train | 20 | {steps} | {steps / 20:.2f} | 10.00 | WildGuardTrain-R | 86,759 | 323,930 | 3.73 | 138.35 |" in text
    assert re.search(r"\| all \| 30 \| \d+ \| .* \| GuardReasonerTrain \| 127,544 \| 460,659 \| 3.61 \| 133.97 \|", text)
    assert "| train | 25 | 3 | " in text and "| test | 5 | 1 | " in text
    assert (
        "| pick | select 1 | 38 | 30 |  | 5 | 3 |" in text
        and "| pick | set aside | not_here | 5 |" in text
        and "| load | rejected | no_text | 2 |" in text
    )
    assert "| pick | gpt-4o | 30 | 12,000 | 900 | 1.50 |" in text
    assert all(f"| {n} | {f['rows']} | {f['sha256'][:16]}… |" in text for n, f in manifest["files"].items())


def test_licence_and_terms_of_the_teacher_are_reported(manifest: dict[str, Any]) -> None:
    text = card(manifest)
    assert (
        "The set: [Creative Commons Zero 1.0 Universal](https://creativecommons.org/publicdomain/zero/1.0/legalcode) (CC0-1.0; the least strict"
        in text
    )
    assert "| teacher | gpt-4o | 15 | OpenAI Terms of Use (https://openai.com/policies/terms-of-use/): " in text
    mixed = {"CC-BY-SA-4.0": 10, "CC-BY-NC-4.0": 20}
    other = card({**manifest, "licence": licence_section(mixed, None, load_licences())})
    assert "No one licence fits all rows" in other and "| CC-BY-NC-4.0 | 20 | name the creator and the licence with a link; say" in other
    assert meta(other)["license"] == "other" and meta(other)["license_name"]
    unknown = card({**manifest, "licence": licence_section({"mine": 30}, None, load_licences())})
    assert "| mine | 30 | unknown: ask the source | not in guardkit's table of licences |" in unknown


def test_template_reasoning_is_marked(manifest: dict[str, Any]) -> None:
    assert "Template reasoning" not in card(manifest)
    assert "\n# Eggs\n\n> **Template reasoning.**" in card({**manifest, "counts": {**manifest["counts"], "teacher": {"template": 1}}})


def test_the_hub_takes_its_metadata(manifest: dict[str, Any]) -> None:
    hub = pytest.importorskip("huggingface_hub")
    found = hub.DatasetCard(card({**manifest, "counts": {**manifest["counts"], "language": {"en": 3, "unknown": 27}}})).data
    assert (found.license, found.pretty_name, found.size_categories, found.language) == ("cc0-1.0", "Eggs", ["n<1K"], ["en"])
    (config,) = found.to_dict()["configs"]
    assert config["data_files"] == [{"split": "test", "path": "data/test-*.parquet"}, {"split": "train", "path": "data/train-*.parquet"}]


@pytest.mark.parametrize(("rows", "word"), [(999, "n<1K"), (1000, "1K<n<10K"), (127_544, "100K<n<1M"), (1_275_440, "1M<n<10M"), (10**9, "100M<n<1B")])
def test_sizes_have_the_hubs_words(manifest: dict[str, Any], rows: int, word: str) -> None:
    assert meta(card({**manifest, "rows": rows}))["size_categories"] == [word]


def test_text_of_data_is_no_markup(manifest: dict[str, Any]) -> None:
    evil = "<script>x</script> | [a](http://b) `c` **d**\n---\n# e \x1b\u202e[31m"
    stated = {"counts": {"source": {evil: 1}, "licence": {evil: 1}, "split": {"train": 1}, "teacher": {evil: 1}, "language": {evil: 1}}}
    lines = {"labels": [{"task": evil, "source": evil, "label": evil, "origin": evil, "rows": 1}]}
    lines["categories"] = [{"task": evil, "source": evil, "category": evil, "label": evil, "rows": 1}]
    step = {"step": evil, "use": evil, "version": 1, "in": 1, "kept": 1, "rejected": {evil: 1}, "merged": 0, "set_aside": {}}
    more = {
        "guard": evil,
        "made_from": {"recipe": evil, "version": evil, "steps": [step]},
        "models": [{"role": evil, "model": evil, "rows": 1, "terms": None}],
    }
    text = card({**manifest, **stated, **more, "tables": lines, "licence": licence_section({evil: 1}, None, load_licences())}, evil)
    assert "<script>" not in text and not re.search("[\x1b\u202e]", text) and "\n# e" not in text and text.count("\n---\n") == 1
    assert "&lt;script&gt;x&lt;/script&gt; \\| \\[a\\](http://b) \\`c\\` \\*\\*d\\*\\* --- # e  \\[31m" in text
    for table in re.findall(r"(?:^\|.*\n)+", text, re.M):  # every line of a table has as many cells as its head
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(cells) == 1


def test_a_card_of_what_an_older_manifest_says(manifest: dict[str, Any]) -> None:
    old = {k: manifest[k] for k in ("rows", "columns", "files")} | {"format": 1, "counts": {"licence": {"MIT": 30}, "split": {"train": 30}}}
    text = card(old, "Old")
    assert "\n# Old\n" in text and "Licences of the rows: MIT." in text
    assert "None" not in text and "{" not in text.split("---")[2], "what it does not say is left out"
