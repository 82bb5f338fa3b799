"""A definition of which a reader is shown some parts alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from toolkit.common.facets import Faceted, Undeclared
from toolkit.common.files import digest
from toolkit.guards import Guard, load_guard, load_prompt, parse, render_input, template
from toolkit.taxonomy import Taxonomy, load_taxonomy

GUARD = load_guard("guardreasoner")
TAXONOMY = load_taxonomy()
ROW = {"prompt": "How do tulips grow?", "response": None}


def test_what_is_not_shown_cannot_be_read() -> None:
    seen = GUARD.only(["tasks"])
    assert seen.task_names == GUARD.task_names and seen.task("prompt").labels == GUARD.task("prompt").labels
    assert seen.name == GUARD.name, "messages name it"
    for read in (
        lambda: seen.instruction,
        lambda: seen.output,
        lambda: seen.teacher,
        lambda: seen.tasks[0].question,
        lambda: render_input(seen, ROW),
        lambda: parse(seen, "Request: harmful"),
        lambda: template("{{ tasks[0].question }}").render(tasks=seen.tasks),
    ):
        with pytest.raises(Undeclared, match="does not name it"):
            read()
    with pytest.raises(AttributeError):
        _ = seen.no_such_thing  # type: ignore[attr-defined]


def test_what_is_shown_is_as_it_was() -> None:
    assert render_input(GUARD.only(["input"]), ROW) == render_input(GUARD, ROW)
    seen = GUARD.only(["tasks", "output", "input"])
    assert parse(seen, "Request: harmful", "lenient") == parse(GUARD, "Request: harmful", "lenient")
    assert GUARD.only(["input"]) is GUARD.only(["input"]), "one object, so that caches by guard find it at once"
    assert TAXONOMY.only(["names", "maps"]).map("guardkit", "violence") == "violence"


def test_a_prompt_of_its_own_stands_in_for_a_teacher_that_is_not_shown() -> None:
    prompt = load_prompt("short")
    asked = GUARD.only(["tasks", "output"]).with_teacher(prompt)
    assert asked.taught.system == prompt.system and asked.taught.feedback == prompt.feedback
    assert asked.fingerprint != GUARD.only(["tasks", "output"]).fingerprint
    with pytest.raises(Undeclared):
        _ = asked.instruction


def test_equal_parts_are_equal_and_others_are_not() -> None:
    assert GUARD.only(["input"]) == GUARD.only(["input"]) != GUARD.only(["input", "steps"])
    assert len({GUARD.only(["input"]), GUARD.only(["input"]), GUARD.only(["tasks"]), GUARD}) == 3


@pytest.mark.parametrize("whole", [GUARD, TAXONOMY], ids=["guard", "taxonomy"])
def test_every_field_is_in_one_facet(whole: Faceted) -> None:
    """A field that is added to a definition and to no facet would be shown to nobody and shape nothing."""
    described = {"description"} if isinstance(whole, Guard) else set()
    paths = [path for paths in whole.facets.values() for path in paths]
    assert sorted(paths) == sorted(set(paths)), "no field is in two"
    covered = {field: sum(field == p or field.startswith(f"{p}.") for p in paths) for field in _fields(type(whole))}
    assert {field for field, n in covered.items() if n != 1} == described
    assert whole.only(list(whole.facets)).digests(list(whole.facets)) == whole.digests(list(whole.facets))


def test_a_change_is_in_the_facet_that_has_it_and_in_no_other() -> None:
    def facets(**changed: Any) -> set[str]:
        other = Guard.model_validate(GUARD.model_dump() | changed)
        mine, its = GUARD.digests(list(GUARD.facets)), other.digests(list(GUARD.facets))
        return {name for name in mine if mine[name] != its[name]}

    teacher = GUARD.taught.model_dump()
    first, *rest = GUARD.model_dump()["tasks"]
    assert facets() == facets(description="another word") == set()
    assert facets(teacher=teacher | {"feedback": "{{ reasons }}!"}) == {"feedback"}
    assert facets(teacher=teacher | {"system": "Be brief."}) == {"system"}
    assert facets(instruction="Judge.") == {"input"}
    assert facets(steps={"min": 1, "max": 4}) == {"steps"}
    assert facets(tasks=[first | {"question": "is it fine"}, *rest]) == {"questions"}
    assert facets(tasks=[first | {"missing": "to_infer"}, *rest]) == {"tasks"}
    assert facets(tasks=[first | {"field": "Asked"}, *rest]) == {"output"}


def test_fingerprints_of_whole_definitions_are_as_they_were() -> None:
    """Manifests of steps and shards that an earlier guardkit wrote hold them."""
    dumped = GUARD.model_dump(exclude={"description"})
    later = [task.pop(name) for task in dumped["tasks"] for name in ("about", "ordinal", "readings", "words")] + [dumped["output"].pop("data")]
    assert dumped.pop("inputs") == ["prompt", "response"] and dumped.pop("calls") == []
    assert dumped.pop("grammar") is dumped.pop("policy") is dumped.pop("switch") is None
    assert GUARD.fingerprint == digest(dumped) and not any(later)
    other = GUARD.model_dump() | {
        "tasks": [{**t, "readings": {"loose": {"refusal": "compliance"}} if t["name"] == "refusal" else {}} for t in dumped["tasks"]]
    }
    other["tasks"][1]["positive"] = "compliance"
    assert Guard.model_validate(other).fingerprint != GUARD.fingerprint
    first = {"name": "a", "title": "A", "description": "One.", "terms": ["x"]}
    harms = Taxonomy.model_validate({"name": "own", "version": 1, "categories": [first]})
    assert harms.fingerprint == digest({"name": "own", "version": 1, "description": "", "categories": [first], "maps": {}})


def _fields(cls: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every field, with a dot between a part and its own; of a part that a facet has whole, the part."""
    for name, field in cls.model_fields.items():
        inner = [a for a in (field.annotation, *get_args(field.annotation)) if isinstance(a, type) and issubclass(a, BaseModel)]
        whole = any(prefix + name in paths for paths in (*Guard.facets.values(), *Taxonomy.facets.values()))
        if inner and not whole:
            yield from _fields(inner[0], f"{prefix}{name}.")
        else:
            yield prefix + name
