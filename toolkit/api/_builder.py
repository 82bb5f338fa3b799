"""Recipes made in Python, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.common.files import new_file
from toolkit.common.outputs import check_output
from toolkit.common.paths import at_door
from toolkit.common.yamlfile import dump_yaml


class Recipe(dict[str, Any]):
    """A recipe as a dict, made step by step; `run`, `check`, `plan` and `explain` take it, and check it, as they do a file.

    Args:
        name: of the recipe, and of its folder in ``outputs``.
        about: what else is at the top of a recipe's file: `guard`, `taxonomy`, `seed`, `failures`, `sources`, …

    Example:
        >>> recipe = toolkit.Recipe("tiny", seed=1).step("seeds", "load", source="quickstart", limit=3)
        >>> recipe = recipe.step("harmful", "select", where={"label_prompt": "harmful"})
        >>> toolkit.run(recipe).built
        ['seeds', 'harmful']
        >>> toolkit.check(recipe.step("clean", "normalise", unicod="NFC"))
        Traceback (most recent call last):
        toolkit.common.errors.InputErrors: recipe:steps.2.with.unicod (step 'clean'): unknown key 'unicod'
          did you mean 'unicode'?
        >>> print(recipe.yaml("tiny.yaml"))
        recipe: tiny
        seed: 1
        steps:
        - id: seeds
          use: load
          with:
            source: quickstart
            limit: 3
        - id: harmful
          use: select
          with:
            where:
              label_prompt: harmful
        <BLANKLINE>
        >>> toolkit.run("tiny.yaml").reused
        ['seeds', 'harmful']
    """

    def __init__(self, name: str, /, **about: Any) -> None:
        super().__init__({"recipe": name, **_plain(about), "steps": []})

    def step(
        self,
        id: str,  # noqa: A002  as it is called in a recipe
        use: str,
        /,
        *,
        from_: str | Mapping[str, str] | None = None,
        each: Mapping[str, Sequence[str]] | None = None,
        doc: str | None = None,
        **options: Any,
    ) -> Recipe:
        """The recipe with one step more; this one stays as it is.

        Args:
            id: of the step.
            use: its operator (`guardkit operators`).
            from_: the step that it reads (default: the one before), or a step for each named input.
            each: write it once for each value, as in a file.
            doc: a line for people.
            options: of the operator.
        """
        more_keys = {"from": from_, "with": options or None, "each": each, "doc": doc}
        one = {"id": id, "use": use} | {name: _plain(value) for name, value in more_keys.items() if value is not None}
        more = Recipe.__new__(Recipe)
        more.update({**self, "steps": [*self["steps"], one]})
        return more

    def yaml(self, file: str | Path | None = None) -> str:
        """The text of its file, which `guardkit run` takes; `file` is written where one is named.

        Raises:
            InputError: the file would take the place of what guardkit keeps, or cannot be written.
        """
        text = dump_yaml(dict(self))
        if file is not None:
            check_output(path := at_door(file), hint="name another file")
            with new_file(path) as new:
                new.write_text(text, encoding="utf-8")
        return text


def _plain(value: Any) -> Any:
    """The value as a file has it: a path as text, a tuple as a list."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
