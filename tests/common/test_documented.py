"""The help of options is the docstring under each of them, in the class and in those that it comes of."""

from __future__ import annotations

from typing import Any

from pydantic import Field, create_model

from toolkit.common.documented import Documented, field_docs


class Base(Documented):
    """A class."""

    size: int = 1
    """How many."""
    plain: str = ""
    aliased: str | None = Field(None, alias="from")
    """Where it
    comes from."""


class Further(Base):
    """Another, of the first."""

    size: int = 2
    """How many here."""
    given: str = Field("", description="In its own words.")
    inner: Base = Base()
    """One in another."""


def test_help_is_read_from_the_source_and_inherited() -> None:
    assert field_docs(Base) == {"size": "How many.", "aliased": "Where it\ncomes from."}
    found = field_docs(Further)
    assert found["size"] == "How many here." and found["given"] == "In its own words." and found["aliased"] == "Where it\ncomes from."
    made: Any = create_model("Made", __base__=Further, size=(int, 3))
    assert field_docs(made)["inner"] == "One in another.", "a class without a source has what it comes of"


def test_a_schema_has_the_help_of_each_option_by_the_name_that_a_file_gives_it() -> None:
    schema = Further.model_json_schema()
    assert schema["properties"]["size"]["description"] == "How many here." and schema["properties"]["from"]["description"].startswith("Where it")
    assert schema["$defs"]["Base"]["properties"]["size"]["description"] == "How many." and "description" not in schema["properties"]["plain"]
