"""A rule as an option of an operator."""

from __future__ import annotations

from typing import Annotated

from pydantic import Discriminator, Tag

from toolkit.mining import Rule

RuleGiven = Annotated[Annotated[str, Tag("name")] | Annotated[Rule, Tag("rule")], Discriminator(lambda v: "name" if isinstance(v, str) else "rule")]
"""The name of a rule, the path of one, or its keys."""
