"""The price table: each price with its source and day, the user's own before the shipped ones, the recipe's before all, and none guessed."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from toolkit.common.errors import InputErrors
from toolkit.common.resources import shipped
from toolkit.generation import OpenAIBatchConfig, OpenAIConfig, Price, TransformersConfig, VllmServerConfig, price_of, unpriced
from toolkit.generation._prices import OLD, FoundPrice, read_table

TABLES = sorted((shipped("schemas") / "prices").glob("*.yaml"))
OWN = """
provider: House
hosts: [llm.house.example:8000, api.openai.com]
models:
  house-7b: {input: 0.1, output: 0.2, source: https://house.example/prices, date: "2026-01-02"}
  gpt-4o: {input: 1, output: 2, batch_input: 0.4, batch_output: 0.9, source: https://house.example/contract, date: "2026-01-02"}
"""


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own table, in an otherwise empty working folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "schemas" / "prices" / "house.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(OWN)
    return path


def openai(model: str = "gpt-4o-2024-08-06", **more: Any) -> OpenAIConfig:
    return OpenAIConfig(backend="openai", model=model, **more)


def batch(model: str, **more: Any) -> OpenAIBatchConfig:
    return OpenAIBatchConfig(backend="openai-batch", model=model, **more)


def dollars(found: FoundPrice | None) -> tuple[float, float] | None:
    return None if found is None else (found.price.input, found.price.output)


@pytest.mark.parametrize("path", TABLES, ids=lambda p: p.stem)
def test_the_shipped_tables_are_sound_and_dated(path: Path) -> None:
    table = read_table(path)
    assert table.models and all(h == h.lower() and "/" not in h for h in table.hosts)
    for name, listed in table.models.items():
        assert listed.date <= datetime.date.today(), name  # noqa: DTZ011  a day, wherever the test runs
        assert 0 < listed.input <= listed.output, name
        if listed.batch is not None:
            assert listed.batch.input <= listed.input and listed.batch.output <= listed.output, name


def test_the_teacher_of_the_paper_is_there() -> None:
    assert dollars(price_of(openai())) == (2.5, 10.0)
    assert dollars(price_of(batch("gpt-4o-2024-08-06"))) == (1.25, 5.0)


def test_the_users_own_come_first_and_the_recipes_before_all() -> None:
    found = price_of(openai("gpt-4o"))
    assert dollars(found) == (1.0, 2.0) and found is not None and found.origin == "https://house.example/contract"
    assert dollars(price_of(batch("gpt-4o"))) == (0.4, 0.9)
    stated = price_of(openai("gpt-4o", price=Price(input=7, output=8)))
    assert dollars(stated) == (7.0, 8.0) and stated is not None and stated.origin == "the recipe"


def test_host_and_model_must_both_fit() -> None:
    house = "http://llm.house.example:8000/v1"
    assert dollars(price_of(openai("house-7b", base_url=house))) == (0.1, 0.2)
    assert dollars(price_of(openai("house-7b", base_url="HTTP://LLM.house.example:8000/other/v1"))) == (0.1, 0.2)
    assert price_of(openai("house-7b", base_url="http://llm.house.example:9000/v1")) is None, "another port is another server"
    assert price_of(openai("gpt-4o-2024-08-06", base_url="https://proxy.example/v1")) is None, "a proxy asks what it likes"
    assert price_of(openai("gpt-4o-2024-08")) is None
    assert price_of(batch("house-7b", base_url=house)) is None, "nobody states a batch price"


def test_another_service_tier_has_another_price() -> None:
    assert price_of(openai(extra={"service_tier": "priority"})) is None
    assert price_of(openai(extra={"service_tier": "default"})) is not None


def test_what_runs_here_costs_nothing_and_what_is_local_may_be_a_proxy() -> None:
    assert dollars(price_of(TransformersConfig(backend="transformers", model="m"))) == (0.0, 0.0)
    assert dollars(price_of(VllmServerConfig(backend="vllm-server", model="m"))) == (0.0, 0.0)
    assert price_of(openai("m", base_url="http://localhost:8000/v1")) is None


def test_each_model_without_a_price_is_named_once() -> None:
    lost = openai("m", base_url="http://localhost:8000/v1")
    faults = unpriced([lost, openai(), lost, openai(extra={"service_tier": "flex"})])
    assert [("'m' at http://localhost:8000/v1" in str(f), "service_tier 'flex'" in str(f)) for f in faults] == [(True, False), (False, True)]
    assert "price: {input: 0, output: 0}" in str(faults[0]) and "schemas/prices" in str(faults[0])


def test_faults_have_file_line_and_key(own: Path) -> None:
    own.write_text(OWN.replace("output: 0.2, source: https://house.example/prices", "outputt: 0.2").replace("batch_output: 0.9, ", ""))
    with pytest.raises(InputErrors) as e:
        price_of(openai())
    message = str(e.value)
    assert "house.yaml:5:models.house-7b.outputt: unknown key 'outputt'\n  did you mean 'output'?" in message
    assert "house.yaml:5:models.house-7b.source: the key 'source' is missing" in message
    assert "house.yaml:6:models.gpt-4o.batch_input: batch_input and batch_output go together" in message


def test_an_old_price_is_marked_as_old() -> None:
    found = FoundPrice(Price(input=1, output=2), "https://house.example/prices", datetime.date(2026, 1, 2))
    assert found.words(datetime.date(2026, 1, 30)) == "$1 a million tokens read, $2 written (https://house.example/prices, 2026-01-02)"
    assert f"; {OLD + 1} days old, look whether it still holds" in found.words(datetime.date(2026, 1, 2) + datetime.timedelta(OLD + 1))
