"""A step of a recipe, once `each` is expanded and overrides are in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from toolkit.common.yamlfile import Key, YamlFile


@dataclass(frozen=True)
class Step:
    """A step after expansion.

    Attributes:
        key: its place in the file.
        file: the recipe's file as this step sees it: overrides of its options have their own place.
        origins: where each option came from, by dotted name.
        faulty: it has a fault of its own and is only here so that later steps may name it.
    """

    id: str
    use: str
    inputs: dict[str, str] | str | None
    options: dict[str, Any]
    key: Key
    file: YamlFile
    doc: str | None
    origins: dict[str, str] = field(default_factory=dict)
    faulty: bool = False

    def where(self, *key: str) -> str:
        """Place of the step, or of a key in it."""
        return self.file.where((*self.key, *key))
