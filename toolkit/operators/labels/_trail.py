"""The trail of a row's labels: the column `label_trail`, in which every change of a label, and every decision about one, is recorded for good.

It holds a JSON list, oldest entry first; null where nothing happened. An entry has `task`, `label` and `source` (before), `new_label` and
`new_source` (after; equal to those before where nothing changed), `by` (step and operator), `decision`, and what is known of `reviewer`, `why` and
`when`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from toolkit.common.errors import InputError
from toolkit.records import Column

TRAIL = "label_trail"
COLUMN = Column(TRAIL, "string", nullable=True, doc="what became of the row's labels, as JSON: oldest first; null for nothing")


def entry(task: str, before: tuple[str | None, str], after: tuple[str | None, str], by: str, decision: str, **more: Any) -> dict[str, Any]:
    """One entry; `before` and `after` are label and label source, what of `more` is None is left out."""
    known = {k: v for k, v in more.items() if v is not None}
    return {
        "task": task,
        "label": before[0],
        "source": before[1],
        "new_label": after[0],
        "new_source": after[1],
        "by": by,
        "decision": decision,
        **known,
    }


def extended(trail: str | None, entries: Sequence[dict[str, Any]]) -> str | None:
    """A trail with further entries.

    Raises:
        InputError: the trail is no JSON list.
    """
    if not entries:
        return trail
    try:
        old = json.loads(trail) if trail is not None else []
    except ValueError:
        old = None
    if not isinstance(old, list):
        raise InputError(f"the column {TRAIL!r} holds no JSON list: {str(trail)[:60]!r}")
    return json.dumps([*old, *entries], ensure_ascii=False)
