"""What is missing in a dataset, in words and as cells that can be generated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

FORMS = ("prompt", "refuse", "comply", "partial", "response")
"""A row without a response; what its response does; a response of which that is not known."""
MINIMUM = 20
"""Rows that a cell should have."""
_ASKED = (("harmful", "prompt"), ("benign", "prompt"))
_ANSWERED = (("harmful", "refuse"), ("benign", "comply"))
"""Labels and forms that a category should have rows of. Responses that go along with harmful prompts are not asked for."""
_WHAT = {("harmful", "prompt"): "harmful prompts", ("benign", "prompt"): "benign look-alikes", ("harmful", "refuse"): "refusals"}
_WHAT |= {("benign", "comply"): "answers to benign look-alikes"}


@dataclass(frozen=True)
class WantedRows:
    """What a dataset should have.

    Attributes:
        minimum: rows of each category by label and form.
        categories: only these; none: all of the taxonomy.
        languages: in each of these; none: in any.
    """

    minimum: int = MINIMUM
    categories: Sequence[str] = ()
    languages: Sequence[str] = ()


def missing_cells(cells: pl.DataFrame, categories: Sequence[str], wanted: WantedRows, *, responses: bool) -> list[dict[str, Any]]:
    """Cells below the minimum: category, label, form, language (None: any), rows and missing."""
    import polars as pl

    keys = ["category", "label", "form"]
    languages: Sequence[str | None] = wanted.languages or (None,)
    if wanted.languages:
        tagged = cells if "language" in cells.columns else cells.with_columns(language=pl.lit("en"))
        keys, cells = [*keys, "language"], tagged
    have = {tuple(line[:-1]): line[-1] for line in cells.group_by(keys).agg(pl.col("rows").sum()).iter_rows()}
    out = []
    for category in categories:
        for label, form in (*_ASKED, *(_ANSWERED if responses else ())):
            for language in languages:
                n = have.get((category, label, form, *([language] if language else [])), 0)
                if n < wanted.minimum:
                    cell = {"category": category, "label": label, "form": form, "language": language, "rows": n}
                    out.append({**cell, "missing": wanted.minimum - n})
    return out


def seed_steps(missing: Sequence[Mapping[str, Any]], known: Sequence[str]) -> list[dict[str, Any]]:
    """The missing cells as options of `generate_seeds`: cells with the same label, form, language and number in one; `known`: the categories that the
    taxonomy has, for it generates no others."""
    groups: dict[tuple[Any, ...], list[str]] = {}
    for cell in missing:
        if cell["category"] in known:
            groups.setdefault((cell["form"], cell["language"], cell["label"], cell["missing"]), []).append(cell["category"])
    merged: dict[tuple[Any, ...], dict[str, int]] = {}
    for (form, language, label, n), categories in groups.items():
        merged.setdefault((form, language, tuple(categories)), {})[label] = n
    out = []
    for (form, language, categories), count in merged.items():
        options = {"categories": list(categories), "count": count, "forms": [form]}
        out.append(options | ({"languages": [language]} if language else {}))
    return out


def gaps_of(
    lines: Sequence[Mapping[str, Any]], cells: pl.DataFrame, categories: Sequence[str], wanted: WantedRows, *, responses: bool
) -> list[dict[str, Any]]:
    """What is missing: ``category`` (None: of several), ``what`` and ``words``."""
    by = {line["category"]: line for line in lines}
    empty = [c for c in categories if c not in by]
    out: list[dict[str, Any]] = []
    if empty:
        out.append({"category": None, "what": "no_rows", "words": f"no rows in {', '.join(empty)}"})
    for category in (c for c in categories if c in by):
        out += ({"category": category, "what": what, "words": words} for what, words in _gaps(category, by[category], cells, wanted, responses))
    return out


def _gaps(category: str, line: Mapping[str, Any], cells: pl.DataFrame, wanted: WantedRows, responses: bool) -> Iterator[tuple[str, str]]:
    import polars as pl

    mine = cells.filter(pl.col("category") == category)
    if not line["harmful"]:
        yield "no_harmful", f"no harmful rows in {category}"
    if not line["benign"]:
        yield "no_benign", f"no benign look-alikes in {category}"
    if line["sources"] == 1:
        yield "one_source", f"{category} has only one source, {mine['source'][0]}"
    if responses and not any(line[f] for f in FORMS[1:]):
        yield "no_responses", f"no responses in {category}"
    elif responses:
        for form, words in (("refuse", "refusals"), ("comply", "responses that comply")):
            if not line[form] and not line["response"]:
                yield f"no_{form}", f"no {words} in {category}"
    if not line["prompt"]:
        yield "no_prompts", f"no prompts without a response in {category}"
    spoken = cells["language"].n_unique() if "language" in cells.columns else 1
    if spoken > 1 and mine["language"].n_unique() == 1:
        yield "one_language", f"{category} is in one language alone, {mine['language'][0]}, and the rows are in {spoken}"
    few = {
        kind: mine.filter((pl.col("label") == kind[0]) & (pl.col("form") == kind[1]))["rows"].sum() for kind in _WHAT if responses or kind in _ASKED
    }
    low = [f"{_WHAT[kind]} {n:,}" for kind, n in few.items() if 0 < n < wanted.minimum]
    if low:
        yield "few", f"fewer than {wanted.minimum:,} in {category}: {', '.join(low)}"
