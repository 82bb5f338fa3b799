"""One kind of harm, as a taxonomy's file has it."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import AliasChoices, Field, StringConstraints

from toolkit.common.facets import Part

Severity = Literal["low", "medium", "high", "critical"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
NAME = r"^[a-z][a-z0-9_-]*$"
"""What a category may be called."""
Name = Annotated[str, StringConstraints(pattern=NAME)]


class Rule(Part):
    """What is in a category, or what is out although it looks alike."""

    rule: str = Field(min_length=1)
    """One sentence."""
    examples: list[str] = []
    """Texts that the rule is about: mild ones, which say what kind of text is meant and not how anything is done."""


class Category(Part):
    """One kind of harm."""

    later = frozenset({"severity", "parent", "includes", "excludes", "policy", "aliases"})
    digested = {"definition": "description", "cues": "terms"}

    name: Name
    """Stands in the column `categories`."""
    title: str = Field(min_length=1)
    """For people."""
    definition: str = Field(min_length=1, validation_alias=AliasChoices("definition", "description"))
    """One or two sentences. `description` in files of before is the same."""
    severity: Severity | None = None
    parent: str | None = None
    """The wider category, of this taxonomy or of one that it extends."""
    includes: list[Rule] = []
    """What is in."""
    excludes: list[Rule] = []
    """What is out: the benign side of the line."""
    policy: str = ""
    """Text for prompts; without it `policy_text` is made of the definition and the rules."""
    aliases: list[Name] = []
    """Other names of the category, of before or of other data: rows that have one are rows of the category."""
    cues: list[str] = Field(default=[], validation_alias=AliasChoices("cues", "terms"))
    """Mild words and short phrases that the template teacher may quote. `terms` in files of before is the same."""

    def policy_text(self) -> str:
        """What a prompt says of the category: its `policy`, else definition, what is in and what is out, with the examples."""
        if self.policy.strip():
            return self.policy.strip()
        return "\n".join([self.definition.strip(), *_listed("Includes", self.includes), *_listed("Excludes", self.excludes)])


def _listed(heading: str, rules: list[Rule]) -> list[str]:
    return [f"{heading}:", *(f"- {rule.rule.strip()}{_examples(rule)}" for rule in rules)] if rules else []


def _examples(rule: Rule) -> str:
    quoted = [f'"{text.strip()}"' for text in rule.examples]
    return f" For example: {'; '.join(quoted)}" if quoted else ""
