"""Rules of what is hard, as data: ``schemas/mining/<name>.yaml``, a file of one's own, or a mapping in a recipe.

A rule looks at the *outputs* of guards on a row (one for each draw) and says which rows are hard, for which task and for which guard: its *hard
units*. docs/mining.md has the language on one page. A rule that `extends` another has its keys where it says nothing itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from toolkit.common.errors import InputError
from toolkit.common.paths import Beside
from toolkit.common.resources import find, names
from toolkit.common.yamlfile import YamlFile, load_yaml
from toolkit.guards import Guard
from toolkit.mining._rule_check import check_rule
from toolkit.mining._rule_keys import Part, RuleKeys
from toolkit.mining._rule_words import explain_rule


class Rule(RuleKeys):
    """What counts as hard. Load one with `load_rule`, which follows `extends`."""

    def explain(self, guard: Guard, k: int | None = None, guards: int | None = None) -> str:
        """What it says in plain words, `k` being the draws of each guard, of which there are `guards`. See `toolkit.mining._rule_words`."""
        return explain_rule(self, guard, k, guards)

    def check(self, guard: Guard, draws: Mapping[str, int] | None = None, names: Collection[str] = ()) -> list[str]:
        """Hold it against a guard and the draws of each model, or their names where these alone are known. See `toolkit.mining._rule_check`.

        Raises:
            InputError: what it names is not there, or no row can be hard by it, or every row is.

        Returns:
            What is odd but can be run, in words.
        """
        return check_rule(self, guard, draws, names)


def load_rule(rule: str | Path | Mapping[str, Any] | Rule, beside: Beside = None) -> Rule:
    """A rule by name or path, or of its keys, with what it extends filled in.

    Args:
        rule: name of a file in ``schemas/mining``, path of a YAML file, a mapping of keys, or a rule as it was written.
        beside: folder that a relative path is also looked up from.

    Raises:
        InputError: no such rule, or one that extends itself; InputErrors: faults in it, each with its line.

    Example:
        >>> toolkit.mining.load_rule({"hard": "0 < wrong < k"}).right_on
        'task'
    """
    return _loaded(rule, beside, ())


def _loaded(rule: str | Path | Mapping[str, Any] | Rule, beside: Beside, below: tuple[str, ...]) -> Rule:
    where = None
    if isinstance(rule, str | Path):
        file = load_yaml(find("mining", rule, beside))
        where, own = file.where(("extends",)), file.model(Rule)
    else:
        own = rule if isinstance(rule, Rule) else YamlFile("rule", dict(rule)).model(Rule)
    if own.extends is None:
        return own
    if own.extends in below:
        raise InputError(f"the rule {own.extends!r} extends itself", where=where)
    base = _loaded(own.extends, beside, (*below, own.extends))
    inherited = _over(base.model_dump(), own.model_dump(exclude_unset=True))
    for name in ("name", "version", "description", "source"):
        inherited[name] = getattr(own, name)
    return YamlFile(where or "rule", {**inherited, "extends": None}).model(Rule)


def _over(base: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the keys of `own` over it; parts key by key, all else as a whole."""
    parts = {n for n, f in Rule.model_fields.items() if isinstance(f.annotation, type) and issubclass(f.annotation, Part)}
    return {**base, **{k: {**base[k], **v} if k in parts else v for k, v in own.items()}}


def rule_names(beside: Beside = None) -> list[str]:
    """Names that `load_rule` knows, the user's own included."""
    return names("mining", beside)
