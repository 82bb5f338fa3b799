"""What the tests of recipes/guardreasoner read: its files, and the steps that `explain` makes of them."""

from __future__ import annotations

from typing import Any

import yaml

from toolkit import api
from toolkit.common.resources import shipped

RECIPES = shipped("recipes") / "guardreasoner"
SIZES = {"1b": "meta-llama/Llama-3.2-1B", "3b": "meta-llama/Llama-3.2-3B", "8b": "meta-llama/Llama-3.1-8B"}
PARTS = {"aegis": "aegis_train", "beavertails": "beavertails_30k_train", "toxicchat": "toxicchat_train"}


def read(size: str) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load((RECIPES / f"{size}.yaml").read_text(encoding="utf-8"))
    return data


def steps(size: str) -> dict[str, dict[str, Any]]:
    return {s["id"]: s for s in api.explain(f"guardreasoner/{size}")["steps"]}


def options(step: dict[str, Any], under: str = "") -> dict[str, Any]:
    """Options of a step as `explain` gives them: nested ones by dotted name; those below `under` without it."""
    return {k.removeprefix(under): v["value"] for k, v in step["with"].items() if k.startswith(under)}
