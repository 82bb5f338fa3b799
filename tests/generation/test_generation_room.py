"""The room as others see it: light to import, clear about what is missing."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import toolkit.generation as room
from toolkit.common.errors import InputError
from toolkit.generation import TransformersConfig, open_backend


def test_importing_loads_no_model_library_and_no_client() -> None:
    heavy = ["torch", "transformers", "openai", "vllm", "datasets", "aiohttp", "httpx2", "polars", "numpy", "jinja2", "huggingface_hub"]
    code = f"import sys, toolkit.generation; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_what_is_public_is_there() -> None:
    assert sorted(room.__all__) == sorted(set(room.__all__))
    assert all(hasattr(room, name) for name in room.__all__)


@pytest.mark.parametrize("name", ["nowhere", "./nowhere/at-all", "/nowhere/at/all", "a/b/c"])
def test_a_model_that_is_nowhere(name: str) -> None:
    with pytest.raises(InputError, match="no such model folder"):
        open_backend(TransformersConfig(backend="transformers", model=name))


def test_a_hub_model_without_network() -> None:
    code = """
from toolkit.common.errors import Missing
from toolkit.generation import TransformersConfig, open_backend
try:
    open_backend(TransformersConfig(backend="transformers", model="nobody/nothing"))
except Missing as e:
    print(e)
"""
    env = {**os.environ, "HF_HUB_OFFLINE": "1"}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env).stdout
    assert "could not be downloaded" in out
    assert "check the network" in out
