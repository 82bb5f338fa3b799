"""Where recipes and schemas are found: the user's own first, then those that ship with guardkit.

A checkout keeps them at its top level; the wheel carries the same two folders inside the package. Names are looked up the
same way in both.
"""

from __future__ import annotations

import os
from pathlib import Path

from toolkit.common.errors import InputError, did_you_mean, short_path
from toolkit.common.paths import Beside, Roots, at_door, here, is_there, near_folder

_PACKAGE = Path(__file__).resolve().parent.parent
_ONE = {
    "guards": "guard",
    "taxonomies": "taxonomy",
    "sources": "source",
    "records": "record",
    "benchmarks": "benchmark",
    "prices": "price file",
    "prompts": "prompt",
    "graders": "grader's prompt",
    "authors": "file of prompts for authors",
    "licences": "licence file",
    "published": "file of published figures",
    "mining": "rule",
    "rewards": "formula of rewards",
    "grpo": "preset of GRPO",
}

_FORMER = {"graders": "judges"}
"""The name that a folder had before; where a user has one, it is still read."""


def shipped(kind: str) -> Path:
    """The folder ``recipes`` or ``schemas`` that came with guardkit."""
    inside = _PACKAGE / "_shipped" / kind
    return inside if inside.is_dir() else _PACKAGE.parent / kind


def schema_folders(folder: str, beside: Beside = None) -> list[Path]:
    """Where the schemas of a kind are, the user's own before the shipped one: ``schemas/<folder>`` in the working folder, then in `beside` and, where
    that is in a folder called ``recipes``, beside this one."""
    own = Roots.of(beside).folders
    above = [parent.parent for root in own[1:] for parent in (root, *root.parents) if parent.name == "recipes"][:1]
    spelled = [folder, *([_FORMER[folder]] if folder in _FORMER else [])]
    return list(dict.fromkeys(root / "schemas" / name for root in (*own, *above, shipped("schemas").parent) for name in spelled))


def names(folder: str, beside: Beside = None) -> list[str]:
    """Names that `find` knows in ``schemas/<folder>``, the user's own included."""
    return sorted({p.stem for r in schema_folders(folder, beside) if r.is_dir() for p in r.glob("*.yaml")})


def find(folder: str, name: str | Path, beside: Beside = None) -> Path:
    """The file of a schema: a path as given, else ``<name>.yaml`` in the user's or the shipped ``schemas/<folder>``.

    Args:
        folder: ``guards``, ``taxonomies``, ``sources``, ``records``, ``benchmarks``, ``prices``, ``prompts``, ``graders``, ``authors``, ``licences``,
            ``published``, ``mining``, ``rewards`` or ``grpo``.
        name: a name, or a path that ends in ``.yaml``.
        beside: folder that a relative path is also looked up from (that of the recipe).

    Raises:
        InputError: no such file, or nothing of that name; the message then has the nearest one.
    """
    roots, name = Roots.of(beside), str(name)
    if name.endswith((".yaml", ".yml")):
        return roots.file(name)
    for root in schema_folders(folder, roots):
        if is_there(path := root / f"{name}.yaml", Path.is_file):
            roots.saw(path)
            return path
    raise InputError(f"no {_ONE.get(folder, folder)} called {name!r}", hint=did_you_mean(name, names(folder, roots)))


def find_recipe(name: str) -> Path:
    """A recipe's file: a path to a file, a folder that holds ``recipe.yaml``, or the name of a shipped recipe (``guardreasoner/8b``).

    Raises:
        InputError: nothing there; the message has the nearest name.
    """
    for root in (here(), *_recipe_folders()):
        for spelling in (name, f"{name}.yaml", f"{name}/recipe.yaml"):
            if (path := Roots((root,)).first(spelling, Path.is_file)) is not None:
                return path
    known = recipe_names()
    below = [one for one in known if one.startswith(f"{name}/")]
    raise InputError(f"no recipe called {name!r}", hint=f"one of {', '.join(below)}" if below else did_you_mean(name, known))


def recipe_names() -> list[str]:
    """Names that `find_recipe` knows: the user's own in ``./recipes``, and those that ship with guardkit."""
    found = {p.relative_to(top) for top in _recipe_folders() for p in top.rglob("*.yaml")}
    return sorted({p.with_suffix("").as_posix().removesuffix("/recipe") for p in found if "schemas" not in p.parts})


def _recipe_folders() -> tuple[Path, Path]:
    return here() / "recipes", shipped("recipes")


def workspace() -> Path:
    """The folder that holds all runs and the journal: ``$GUARDKIT_WORKSPACE``, else ``./outputs``."""
    return at_door(os.environ.get("GUARDKIT_WORKSPACE") or "outputs")


def near_run(path: Path) -> str | None:
    """``did you mean …?`` for a run's folder that is not there: the one of that name in the workspace, else one of a name like it beside it."""
    path = at_door(path)
    inside = workspace() / path.relative_to(here()) if path.is_relative_to(here()) else path
    return f"did you mean {short_path(inside)!r}?" if inside != path and is_there(inside, Path.is_dir) else near_folder(path)
