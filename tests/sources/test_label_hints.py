"""Labels of several columns, named as other tools name them: the error shows how it is written here."""

from __future__ import annotations

from typing import Any

import pytest

from toolkit.common.errors import InputErrors
from toolkit.common.yamlfile import parse_yaml
from toolkit.sources import Source

HEAD = "name: mod\nversion: 1\ndescription: d\nlicence: MIT\nfiles: [x.jsonl]\ncolumns: {prompt: prompt}\nlabels:\n"


@pytest.mark.parametrize(
    ("label", "where", "message"),
    [
        ("{columns: [S, H, V], any: true, source: human}", "labels.prompt.any", "write any: [S, H, V]"),
        ("{columns: [S, H], all: true, source: human}", "labels.prompt.all", "write all: [S, H]"),
        ("{any: true, source: human}", "labels.prompt.any", "write any: [COLUMN, COLUMN]"),
        ("{columns: [S, H], source: human}", "labels.prompt.columns", "any: [S, H], or in all: [S, H]"),
    ],
)
def test_the_error_shows_how_it_is_written(label: str, where: str, message: str) -> None:
    with pytest.raises(InputErrors) as e:
        parse_yaml(f"{HEAD}  prompt: {label}\n", "mod.yaml").model(Source)
    (fault,) = e.value.errors
    assert fault.where == f"mod.yaml:8:{where}" and message in fault.message


@pytest.mark.parametrize("label", [{"any": ["S", "H"]}, {"all": ["S"]}])
def test_what_is_declared_is_read(label: dict[str, Any]) -> None:
    rule = {**label, "map": {True: "harmful", False: "unharmful"}, "source": "human"}
    given = {"name": "m", "version": 1, "description": "d", "licence": "MIT", "files": ["x"], "columns": {"prompt": "p"}, "labels": {"prompt": rule}}
    assert Source.model_validate(given).labels["prompt"].columns == next(iter(label.values()))
