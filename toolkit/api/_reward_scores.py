"""Scores of outputs by models, for rewards outside a recipe."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputErrors
from toolkit.common.outputs import check_output
from toolkit.common.paths import Beside, Roots, at_door
from toolkit.common.reach import Key, refused, unknown
from toolkit.common.resources import workspace
from toolkit.common.several import several
from toolkit.common.yamlfile import YamlFile, load_yaml
from toolkit.guards import Guard
from toolkit.pipeline import JOURNAL
from toolkit.training import ScoreModel

if TYPE_CHECKING:
    from toolkit.judging import OpenScores


def score_models(scores: str | Path | Mapping[str, Any] | None, allow: str | Collection[str] = ()) -> tuple[dict[str, ScoreModel], Beside]:
    """Score models as a caller declares them, by name, and where their relative paths are looked up.

    Raises:
        InputErrors: faults of their keys; what they reach beyond the rows without leave.
    """
    file = load_yaml(at_door(scores)) if isinstance(scores, str | Path) else YamlFile("scores", dict(scores or {}))
    roots = Roots.of(at_door(scores).parent if isinstance(scores, str | Path) else None)
    data: Any = file.data
    found = {name: file.model(ScoreModel, data[name], (name,)) for name in data}
    left = []
    for name, how in found.items():
        left += refused(how, several(allow), partial(_place, file, name))
    if left := left or unknown(list(found.values()), several(allow)):
        raise InputErrors(left)
    return found, roots


def _place(file: YamlFile, name: str, key: Key) -> str:
    return file.where((name, *key))


@contextmanager
def open_scores(
    guard: Guard, models: Mapping[str, ScoreModel], *, work: str | Path | None, budget: float | None, beside: Beside = None, strict: bool = False
) -> Iterator[OpenScores]:
    """Score models with the journal of a workspace, open as long as the block goes on.

    Args:
        guard: of the outputs that are scored.
        models: by name of the score.
        work: folder of the journal (``WORK/journal``); default: the workspace.
        budget: dollars that may be spent; None for no cap.
        beside, strict: as for `OpenScores`.
    """
    from toolkit.generation import Journal, Meter
    from toolkit.judging import OpenScores

    folder, meter = (at_door(work) if work else workspace()) / JOURNAL, Meter(cap=budget)
    check_output(folder, reads=Roots.of(None).read, own="journal", hint="name another folder with `work`")
    with Journal(folder) as journal, OpenScores(guard, models, journal=journal, meter=meter, beside=beside, work=folder, strict=strict) as one:
        yield one
