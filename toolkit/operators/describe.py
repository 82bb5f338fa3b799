"""What is known of an operator without running it: its documentation, options and columns, from its class."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from toolkit.common.documented import field_docs
from toolkit.common.errors import GuardkitError
from toolkit.common.resources import names
from toolkit.guards import Guard, load_guard
from toolkit.operators.base import Operator
from toolkit.operators.registry import operator_class
from toolkit.records import Column, load_record


def describe_operator(name: str, guard: str = "guardreasoner") -> dict[str, Any]:
    """An operator's documentation, options and columns.

    Args:
        name: of the operator.
        guard: definition whose tasks name the columns.

    Returns:
        ``name, version, kind, shape, doc, inputs, reads, writes, drops, makes, takes, figures, options, example``; an option has ``name, type,
        required, default, doc``, and ``choices`` where it takes names of definitions. ``drops`` is ``["all others"]`` where rows of another kind
        come out.

    Raises:
        InputError: no such operator or guard, or one that cannot be loaded.
    """
    cls = operator_class(name)
    reads, writes, drops = _columns(cls, load_guard(guard))
    return {
        "name": cls.name,
        "version": cls.version,
        "kind": cls.kind,
        "shape": cls.shape,
        "doc": inspect.cleandoc(cls.__doc__ or ""),
        "inputs": list(cls.inputs),
        "reads": reads,
        "writes": writes,
        "drops": drops,
        "makes": list(cls.makes),
        "takes": dict(cls.takes),
        "figures": [{"name": f.name, "doc": f.doc} for f in cls.figures],
        "options": _options(cls),
        "example": dict(cls.example),
    }


def _columns(cls: type[Operator], guard: Guard) -> tuple[list[str], list[str], list[str]]:
    """Columns read, written and dropped in the operator's example."""
    try:
        operator = cls(cls.config_class.model_validate(dict(cls.example)))
    except ValueError:  # another package's, whose example is not sound
        return [], [], []
    reads = operator.reads(guard)
    known = {c.name: c for name in names("records") for c in load_record(name, guard.task_names).columns}
    known |= {c: Column(c, "string") for c in [*reads, "_other"] if c not in known}
    try:
        out = list(operator.columns({name: known for name in operator.inputs if name != "*"}, guard))
    except GuardkitError:  # it needs what only a recipe gives
        return reads, [c.name for c in operator.writes(guard)], []
    if "_other" in out:
        return reads, [c.name for c in operator.writes(guard)], []
    return reads, out, ["all others"] if operator.inputs and out else []


def _options(cls: type[Operator]) -> list[dict[str, Any]]:
    schema = cls.config_class.model_json_schema()
    choices, docs = cls.choices(), field_docs(cls.config_class)
    out = []
    for field, about in cls.config_class.model_fields.items():
        required = about.is_required()
        default = None if required else about.get_default(call_default_factory=True, validated_data={})
        words = _type_words(schema["properties"][field], schema.get("$defs", {}))
        out.append({"name": field, "type": words, "required": required, "default": default, "doc": " ".join(docs.get(field, "").split())})
        if field in choices:
            out[-1]["choices"] = choices[field]
    return out


def _type_words(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    """A JSON Schema in a few words."""
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    if "discriminator" in schema:
        kinds = schema["discriminator"].get("mapping", {})
        return "{" + f"{schema['discriminator']['propertyName']}: {' | '.join(kinds)}, …" + "}"
    if (some := schema.get("anyOf", schema.get("oneOf"))) is not None:
        return " | ".join(_type_words(s, defs) for s in some if s.get("type") != "null")
    if "$ref" in schema:
        return "{" + ", ".join(defs.get(schema["$ref"].rsplit("/", 1)[-1], {}).get("properties", ["…"])) + "}"
    if schema.get("type") == "array":
        return f"list of {_type_words(schema.get('items', {}), defs)}"
    if isinstance(inner := schema.get("additionalProperties"), dict):
        return "{name: " + _type_words(inner, defs) + "}"
    return {"object": "{key: value}", "number": "number", "integer": "integer"}.get(str(schema.get("type")), str(schema.get("type", "any")))


def as_step(found: Mapping[str, Any]) -> str:
    """An operator's example as a step of a recipe, in one line of YAML."""
    from toolkit.common.yamlfile import dump_yaml

    step: dict[str, Any] = {"id": str(found["name"]).replace("_", "-"), "use": found["name"]}
    named = [n for n in found["inputs"][1:] if n != "*"] or list(found["takes"])
    if named and "*" not in named:
        step["from"] = {n: "STEP" for n in found["inputs"] if n != "*"}
    if found["inputs"] == ["*"] and found["shape"] != "source":  # which makes rows without any
        step["from"] = {"one": "STEP", "other": "STEP"}
    if found["example"]:
        step["with"] = found["example"]
    return dump_yaml(step, default_flow_style=True, width=10_000).strip()
