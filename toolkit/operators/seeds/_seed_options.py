"""Options of `generate_seeds`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from toolkit.common.yamlfile import FaultAt
from toolkit.generation import BackendConfig, BaseBackendConfig
from toolkit.operators._stop_if import StopIf
from toolkit.operators.base import Config
from toolkit.operators.clean.deduplicate import NearConfig
from toolkit.operators.seeds._grid import Cell, Form, SeedLabel, may_be_harmful
from toolkit.operators.seeds._questions import Disputed

LABELS: tuple[SeedLabel, ...] = ("harmful", "benign", "borderline")
VARIED = ""
"""Style of a cell whose seeds take turns in the voices of the prompts."""


class SeedNear(NearConfig):
    """When two prompts are too much alike. The defaults find a pair of similarity 0.5 with probability 0.98, 0.6 with 0.9999."""

    threshold: float = Field(0.5, gt=0, le=1)
    """Least Jaccard similarity of two prompts' sets of shingles."""
    size: int = Field(3, ge=1)
    """Words or characters in a shingle."""
    bands: int = Field(64, ge=1)
    """Parts that the MinHash values are cut into."""


class VariantsConfig(Config):
    """Seeds that are made out of others, for each cell of prompts without a response; they share the group of what they are made of."""

    twin: int = Field(0, ge=0)
    """Harmless twins of harmful prompts."""
    rephrase: int = Field(0, ge=0)
    """Prompts in other words."""


Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]
Count = Annotated[int, Field(ge=1)]


class GenerateSeedsConfig(Config):
    """Options of `generate_seeds`."""

    backend: BackendConfig
    """Who writes the prompts, and earlier turns: a general model with a temperature, or `{backend: template}` to try guardkit."""
    categories: list[str] = Field(min_length=1)
    """Categories of the recipe's taxonomy, by name or alias."""
    count: Count | Annotated[dict[SeedLabel, Count], Field(min_length=1)] = 20
    """Seeds for each cell: a number for all labels, or one for each label that is wanted: {harmful: 30, benign: 30, borderline: 10}. `benign` are
    look-alikes: what is out of the category by its `excludes`."""
    forms: list[Form] = Field(["prompt", "refuse", "comply"], min_length=1)
    """`prompt`: without a response; else what the response does: `refuse`, `comply`, or `partial` (it does a part and declines the rest)."""
    styles: list[Annotated[str, Field(min_length=1)]] = []
    """How prompts are written, in words (`as a worried parent`), each a cell of its own. Default: the voices of the prompts' file take turns in a
    cell."""
    languages: list[Language] = Field(["en"], min_length=1)
    """Languages as BCP 47 tags, each a cell of its own."""
    turns: int = Field(1, ge=1, le=8)
    """Messages of the person in a conversation; the last one is the prompt."""
    variants: VariantsConfig = VariantsConfig()
    """Seeds made out of accepted ones, for each cell: {twin: 5, rephrase: 5}."""
    responses: BackendConfig | None = None
    """Who writes the responses (default: `backend`)."""
    harmful_completions: bool = False
    """Whether responses may be harmful. false: no cell has a response that goes along with a harmful or borderline prompt, and a response that the
    judge finds harmful is blanked and its seed rejected. true: such responses are asked for with their substance left out."""
    judge: BackendConfig | None = None
    """Another model that is shown the text and the category's definition, not what was asked for. Where it agrees the labels' source is `consensus`;
    where not, the seed is set aside as `disputed`. null: nobody checks, and the source is `constructed`."""
    disputed: Disputed = "set_aside"
    """What becomes of a seed that the judge contradicts: it is set aside and its place asked for again; or `keep`: it takes the place, with the
    labels that it was written to have, and `noise` lists it for `review` by the judge's label (`blind_<task>`)."""
    rounds: int = Field(4, ge=1, le=20)
    """How often a seed is asked for, at most, until one is taken."""
    near: SeedNear = SeedNear()
    """How like a prompt may be to another accepted one, or to one of the rows that the step reads."""
    licence: str = Field("synthetic", min_length=1)
    """Licence of the rows."""
    source: str | None = Field(None, min_length=1)
    """Source of the rows (default: the step's id)."""
    prompts: str = "seeds"
    """How models are asked: a name in schemas/authors, or a path ending in .yaml."""
    stop_if: StopIf | None = StopIf(rejected=0.9)
    """Stop asking once more than this share of the first round comes to nothing: an author that declines everything is found out early. null:
    never."""

    @field_validator("backend", "responses")
    @classmethod
    def _in_text(cls, value: BaseBackendConfig | None) -> BaseBackendConfig | None:
        if value is not None and value.structure != "off":
            raise ValueError("this asks for text: structured is for the judge")
        return value

    @field_validator("forms", "styles", "languages", "categories")
    @classmethod
    def _once_each(cls, value: list[str]) -> list[str]:
        for i, word in enumerate(value):
            if word in value[:i]:
                raise FaultAt(f"{word!r} is there twice", i)
        return value

    @model_validator(mode="after")
    def _models_fit(self) -> GenerateSeedsConfig:
        author = self.backend
        for name in ("responses", "judge"):
            other: BaseBackendConfig | None = getattr(self, name)
            if other is not None and other.is_model != author.is_model:
                raise FaultAt("the template is no model: it writes, replies and judges beside itself alone", name)
        if not author.is_model:
            if self.languages != ["en"]:
                raise FaultAt("the template writes English", "languages")
            return self
        if self.judge is not None and self.judge.address() in [b.address() for b in (author, self.responses) if b is not None]:
            raise FaultAt("it would judge what it wrote itself: name another model", "judge")
        if getattr(author, "temperature", None) == 0:
            raise FaultAt("at temperature 0 a model repeats itself: set a temperature, 1.0 say", "backend", "temperature")
        return self

    @model_validator(mode="after")
    def _something_is_wanted(self) -> GenerateSeedsConfig:
        if not self.wanted_forms():
            raise FaultAt("each of these responses could be harmful, and harmful_completions is false: add prompt or refuse", "forms")
        if (self.variants.twin or self.variants.rephrase) and "prompt" not in self.forms:
            raise FaultAt("variants are made of prompts without a response: add prompt to `forms`", "variants")
        if self.variants.twin and "harmful" not in self.counts:
            raise FaultAt("twins are made of harmful seeds, and none is wanted", "variants", "twin")
        return self

    @property
    def counts(self) -> dict[SeedLabel, int]:
        """Seeds wanted of a cell by its label."""
        given = self.count
        return {label: given if isinstance(given, int) else given[label] for label in LABELS if isinstance(given, int) or label in given}

    def wanted_forms(self) -> list[tuple[SeedLabel, Form]]:
        """Labels and forms that are wanted."""
        return [(label, form) for label in self.counts for form in self.forms if self.harmful_completions or not may_be_harmful(label, form)]

    @property
    def left_out(self) -> list[str]:
        """Those that are not, as their responses could be harmful; in words."""
        wanted = self.wanted_forms()
        return [f"{label} / {form}" for label in self.counts for form in self.forms if (label, form) not in wanted]

    def cells(self, categories: list[str]) -> list[Cell]:
        """All cells, those of variants last."""
        out = list(self._written(categories))
        for change, n in (("rephrase", self.variants.rephrase), ("twin", self.variants.twin)):
            for cell in [c for c in out if c.change is None and c.form == "prompt" and n and (change != "twin" or c.label == "harmful")]:
                about: dict[str, Any] = vars(cell) | {"label": "benign"} if change == "twin" else vars(cell)
                out.append(Cell(**{**about, "number": len(out), "wanted": min(n, cell.wanted), "change": change, "of": cell.number}))
        return out

    def _written(self, categories: list[str]) -> Iterator[Cell]:
        number = 0
        for category in categories:
            for label, form in self.wanted_forms():
                for style in self.styles or [VARIED]:
                    for language in self.languages:
                        yield Cell(number, category, label, form, style, language, self.counts[label])
                        number += 1
