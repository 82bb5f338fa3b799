"""What differs between two texts, word by word."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from toolkit.viewing._rendering import visible

if TYPE_CHECKING:
    from markupsafe import Markup

WORDS = 3_000
"""Words of a text up to which differences are marked: comparing takes the product of both."""
_PIECES = re.compile(r"\w+|\s+|[^\w\s]")


def differences(old: str, new: str) -> tuple[Markup, Markup]:
    """Both texts, escaped, with what only one of them has in ``<del>`` and ``<ins>``; long texts are cut, and very long ones not compared."""
    from markupsafe import Markup

    left, right = _PIECES.findall(old), _PIECES.findall(new)
    if max(len(left), len(right)) > WORDS:
        return visible("".join(left[:WORDS]), len(left) > WORDS), visible("".join(right[:WORDS]), len(right) > WORDS)
    out: tuple[list[Markup], list[Markup]] = ([], [])
    for what, i, j, k, m in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        gone, came = visible("".join(left[i:j])), visible("".join(right[k:m]))
        out[0].append(gone if what == "equal" or not gone else Markup("<del>{}</del>").format(gone))
        out[1].append(came if what == "equal" or not came else Markup("<ins>{}</ins>").format(came))
    return Markup("").join(out[0]), Markup("").join(out[1])
