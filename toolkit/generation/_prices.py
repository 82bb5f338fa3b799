"""What models charge: the price that a recipe states, else the dated table in ``schemas/prices``, else unknown. Nothing is guessed.

Contract: `price_of` gives dollars for a million tokens for one backend, with where the figure comes from; None where nobody states one. A
model that says of itself that it runs here costs nothing; whatever says nothing of that may cost. A table entry is found by the host of the
endpoint and the exact name of the model; the user's files (``./schemas/prices``) come before the shipped ones. A table price holds for the
provider's standard service: a request that asks for another tier (``service_tier``) has no table price.

Failure semantics: a faulty file is an `InputErrors` with file, line and key.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from toolkit.common import resources
from toolkit.common.errors import InputError
from toolkit.common.paths import Beside
from toolkit.common.yamlfile import FaultAt, load_yaml
from toolkit.generation._base_config import BaseBackendConfig, Model, Price

OLD = 180
"""Days after which a table price counts as old: providers change theirs several times a year."""

HERE = "runs here"
"""Origin of the price of a model that runs on this machine."""

Text = Annotated[str, StringConstraints(min_length=1)]
Url = Annotated[str, StringConstraints(pattern=r"^https?://")]


class ListedPrice(Model):
    """One model in a price file."""

    input: float = Field(ge=0)
    """Dollars for a million tokens read."""
    output: float = Field(ge=0)
    """Dollars for a million tokens written."""
    batch_input: float | None = Field(default=None, ge=0)
    """The same through the Batch API; none where no such price is known."""
    batch_output: float | None = Field(default=None, ge=0)
    """Likewise."""
    source: Url
    """Where the price was read."""
    date: datetime.date
    """The day of that text."""

    @property
    def batch(self) -> Price | None:
        """Through the Batch API."""
        both = self.batch_input is not None and self.batch_output is not None
        return Price(input=self.batch_input, output=self.batch_output) if both else None

    @model_validator(mode="after")
    def _both(self) -> ListedPrice:
        if (self.batch_input is None) != (self.batch_output is None):
            raise FaultAt("batch_input and batch_output go together", "batch_input" if self.batch_output is None else "batch_output")
        return self


class PriceFile(Model):
    """A file of ``schemas/prices``: one provider."""

    provider: Text
    """Its name."""
    hosts: list[Text] = Field(min_length=1)
    """Hosts of its endpoints (``api.openai.com``), the port with it where there is one."""
    models: dict[str, ListedPrice]
    """By the exact name that requests use."""


@dataclass(frozen=True)
class FoundPrice:
    """A price and where it comes from.

    Args:
        price: dollars for a million tokens.
        origin: `HERE`, ``the recipe``, or the URL that the table names.
        date: the day of that text; None where there is no need of one.
        file: the table's file; likewise.
    """

    price: Price
    origin: str
    date: datetime.date | None = None
    file: Path | None = None

    def words(self, today: datetime.date) -> str:
        """The price in words, with its source and, where it is older than `OLD` days, its age."""
        if self.origin == HERE:
            return "runs here, at no price"
        words = f"${self.price.input:g} a million tokens read, ${self.price.output:g} written ({self.origin}"
        if self.date is None:
            return words + ")"
        age = (today - self.date).days
        return words + f", {self.date})" + (f"; {age} days old, look whether it still holds" if age > OLD else "")


def price_of(config: BaseBackendConfig | None, beside: Beside = None) -> FoundPrice | None:
    """What the model of a backend charges; None where nobody states it, or there is no config that could.

    `beside`: see `toolkit.common.resources.find`.

    Raises:
        InputErrors: a price file is faulty.
    """
    if not isinstance(config, BaseBackendConfig):
        return None
    if config.runs_here:
        return FoundPrice(Price(input=0, output=0), HERE)
    if (stated := config.stated_price()) is not None:
        return FoundPrice(stated, "the recipe")
    if (listed := config.listed_price()) is None:
        return None
    for path, table in tables(beside):
        if listed.host in table.hosts and (found := table.models.get(listed.model)):
            price = found.batch if listed.batch else Price(input=found.input, output=found.output)
            return None if price is None else FoundPrice(price, found.source, found.date, path)
    return None


def tables(beside: Beside = None) -> Iterator[tuple[Path, PriceFile]]:
    """Every price file, the user's own first.

    Raises:
        InputErrors: one is faulty.
    """
    for root in resources.schema_folders("prices", beside):
        for path in sorted(root.glob("*.yaml")):
            yield path, read_table(path)


def read_table(path: Path) -> PriceFile:
    """A price file.

    Raises:
        InputErrors: each fault with file, line and key.
    """
    return load_yaml(path).model(PriceFile)


def unpriced(configs: Iterable[BaseBackendConfig | None]) -> list[InputError]:
    """A fault for each backend whose price nobody states: what a run with a budget is refused for before anything is sent.

    Raises:
        InputErrors: a price file is faulty.
    """
    return list({str(fault): fault for config in configs if price_of(config) is None for fault in [no_price(config)]}.values())


def no_price(config: BaseBackendConfig | None) -> InputError:
    """The refusal of a budget where the price of a backend is unknown."""
    if config is None:
        hint = "only a backend that `toolkit.generation.open_backend` opened says what it charges; run the step without a budget, or not at all"
        return InputError("a budget needs a price, and a backend that an operator made itself states none", hint=hint)
    tier = getattr(config, "extra", {}).get("service_tier")
    return unknown(config.model_name, config.endpoint_name, f" (service_tier {tier!r})" if tier else "")


def unknown(model: str, endpoint: str, beside: str = "") -> InputError:
    """The same by name; `beside` is put after it."""
    return InputError(
        f"a budget needs a price, and none is known for the model {model!r} at {endpoint}{beside}",
        hint="state it in the backend, in dollars for a million tokens: price: {input: …, output: …} (price: {input: 0, output: 0} where it "
        "costs nothing), or in a file of schemas/prices",
    )
