"""The policy that a guard judges by, where that is given with the question and not learnt: a block of its input.

Contract: the input of a guard has exactly one such block. What the marks of the block enclose is the policy and nothing else; where a text of the
row, or the policy itself, has one of the marks, in any case and with white space within it, a backslash parts it after its first character.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic import model_validator

from toolkit.common.errors import InputError
from toolkit.common.facets import Part
from toolkit.common.yamlfile import FaultAt

POLICY = "policy"
"""Column of the policy that a row is judged by."""


class PolicyBlock(Part):
    """How a guard is shown the policy: ``open``, a newline, the text, a newline, ``close``."""

    later = frozenset({"text"})

    open: str = "<policy>"
    close: str = "</policy>"
    text: str | None = None
    """The policy of a row that brings none; null: such a row cannot be judged."""

    @model_validator(mode="after")
    def _marks(self) -> PolicyBlock:
        for name in ("open", "close"):
            mark = getattr(self, name)
            if len("".join(mark.split())) < 3 or "\n" in mark:
                raise FaultAt("a mark is in one line and has three characters or more that are no white space", name)
        if self.open.casefold() in self.close.casefold() or self.close.casefold() in self.open.casefold():
            raise FaultAt("one of the marks is within the other", "close")
        return self

    def quoted(self, text: str) -> str:
        """A text in which nothing reads as one of the marks."""
        return _marks(self.open, self.close).sub(lambda found: found[0][0] + "\\" + found[0][1:], text)

    def block(self, text: str) -> str:
        """The block with a policy."""
        return f"{self.open}\n{self.quoted(text).strip()}\n{self.close}"


def without_policy(block: PolicyBlock) -> InputError:
    """The error for a row of which nothing says by which policy it is to be judged."""
    hint = "give the rows a column `policy` (the operator add_policies), or the guard one: {--guard-policy TAXONOMY|guard_policy=TAXONOMY}"
    return InputError(f"the guard judges by the policy between {block.open} and {block.close}, and there is none", hint=hint)


@lru_cache(maxsize=32)
def _marks(*marks: str) -> re.Pattern[str]:
    each = (r"\s*".join(re.escape(c) for c in "".join(mark.split())) for mark in marks)
    return re.compile("|".join(each), re.IGNORECASE)


def texts_of(block: PolicyBlock | None, row: Mapping[str, Any]) -> dict[str, Any]:
    """What the templates of an input are rendered with: `prompt`, `response` and `context` of a row; where the guard is shown a policy, that is
    `policy`, and none of the others has its marks.

    Raises:
        InputError: the guard is shown a policy, and neither the row nor the definition has one.
    """
    found = {"prompt": row["prompt"], "response": row.get("response"), "context": row.get("context") or []}
    if block is None:
        return found
    policy = row.get(POLICY) if row.get(POLICY) is not None else block.text
    if policy is None:
        raise without_policy(block)
    context = [{"role": m["role"], "content": block.quoted(m["content"])} for m in found["context"]]
    texts = {name: None if found[name] is None else block.quoted(found[name]) for name in ("prompt", "response")}
    return {**texts, "context": context, POLICY: block.block(policy)}
