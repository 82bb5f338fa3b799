"""A category of one's own: its file written, and checked before anything is spent on it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.api._categories import DEFAULT, holding
from toolkit.api._init import write_new
from toolkit.common.errors import InputError, short_path
from toolkit.common.paths import at_door, here, is_there
from toolkit.common.resources import find, names
from toolkit.common.yamlfile import YamlFile, load_yaml
from toolkit.report import Figures, Lines
from toolkit.sources.draft import flow
from toolkit.taxonomy import NAME, SEVERITIES, Category, Rule, Taxonomy, load_taxonomy, parse_taxonomy

SAME, LIKE = 0.8, 0.4
"""Similarity from which on two definitions are the same, and from which on they are much alike: Jaccard's, of runs of five characters."""
FEW = 2
"""Cues of another category in the texts of one from which on it is reported."""
_SIDES = ("includes", "excludes")


def new_category(
    name: str,
    *,
    title: str | None = None,
    definition: str,
    severity: str | None = None,
    parent: str | None = None,
    includes: Mapping[str, Sequence[str]] | None = None,
    excludes: Mapping[str, Sequence[str]] | None = None,
    aliases: Sequence[str] = (),
    cues: Sequence[str] = (),
    extends: str = DEFAULT,
    to: str | Path | None = None,
) -> Figures:
    """Write a commented file for a new category, ``schemas/taxonomies/<name>.yaml``: a taxonomy that extends another. Nothing is overwritten.

    Args:
        name: small letters, digits, ``-`` and ``_``, a letter first; also the name of the taxonomy.
        title: for people; default: made of the name.
        definition: one or two sentences.
        severity: low, medium, high or critical.
        parent: the wider category.
        includes, excludes: what is in and what is out, each a rule with its examples.
        aliases: other names of the category.
        cues: words and short phrases that are typical of it.
        extends: the taxonomy, by name.
        to: folder that holds ``schemas`` (default: the working folder).

    Returns:
        ``file``, ``category``, ``taxonomy``, and ``open``: what is still to be written.

    Raises:
        InputError: a name that cannot be one, or something is there already; InputErrors: what would be wrong with the file.

    Example:
        >>> rules = {"Noise at night.": ["Help me wake the whole street."]}
        >>> found = toolkit.new_category("noise", definition="Wanting to rob others of their sleep.", includes=rules)
        >>> found["file"], found["open"]
        ('schemas/taxonomies/noise.yaml', ['excludes', 'severity', 'cues'])
    """
    if not re.fullmatch(NAME, name):
        raise InputError(f"{name!r} cannot name a category", hint="small letters, digits, - and _, a letter first")
    path = (here() if to is None else at_door(to)) / "schemas" / "taxonomies" / f"{name}.yaml"
    sides = {"includes": includes or {}, "excludes": excludes or {}}
    given: dict[str, Any] = {
        "title": title or re.sub(r"[_-]+", " ", name).capitalize(),
        "definition": definition,
        "severity": severity,
        "parent": parent,
        **sides,
        "aliases": list(aliases),
        "cues": list(cues),
    }
    text = "\n".join(_lines(name, extends, given)) + "\n"
    parse_taxonomy(text, path)
    if is_there(path):
        raise InputError("is there already, and nothing is overwritten", where=str(path), hint="give another name or {--to|to}, or move it")
    write_new(path, text)
    left = [key for key in ("includes", "excludes", "severity", "cues") if not given[key]]
    return Figures({"file": short_path(path), "category": name, "taxonomy": name, "open": left})


def check_category(
    name: str | Path | None = None, taxonomy: str | Path | None = None, shards: Iterable[str | Path] = (), *, definitions: bool = True
) -> Figures:
    """Whether a category is complete and apart from the others, and whether a taxonomy still has the categories that shards use.

    Args:
        name: a category; or a taxonomy, by name or file, whose own categories are all checked. None: the taxonomy's.
        taxonomy: where the category is; without it guardkit's own or one in ``schemas/taxonomies``.
        shards: folders whose column `categories` is held against the taxonomy. A category that has been renamed is found by its alias.
        definitions: whether to check the categories themselves.

    Returns:
        ``taxonomy``, ``file``, ``categories`` (checked), ``findings`` (``category``, ``kind``: ``fault`` or ``note``, ``what``, ``where``),
        ``shards`` (``folder``, ``category``, ``rows``, ``now``: the category that it is in the taxonomy, None for none), ``ok``: no fault.

    Raises:
        InputError: no such category, taxonomy or shards, or faults in a taxonomy's file.

    Example:
        >>> toolkit.new_category("noise", definition="Wanting to rob others of their sleep.", severity="low", cues=["a loud party"])["taxonomy"]
        'noise'
        >>> for line in toolkit.check_category("noise")["findings"]:
        ...     print(line["kind"], line["what"])
        fault nothing says what is in: `includes`
        fault nothing says what is out: `excludes`
        >>> toolkit.check_category("guardkit")["ok"]
        True
    """
    whole, path, wanted = _looked_up(name, taxonomy)
    file = load_yaml(path)
    own = _own_names(file)
    checked = [c for c in whole.categories if c.name in own and (wanted is None or c.name == wanted)]
    findings = Lines(line for c in checked for line in _findings(c, whole, own, file)) if definitions else Lines()
    used = Lines(line for folder in shards for line in _used(at_door(folder), whole))
    for line in used:
        if line["now"] is None:
            what = f"{line['folder']} has {line['rows']:,} rows of {line['category']!r}, and the taxonomy has no such category or alias"
            findings.append({"category": line["category"], "kind": "fault", "what": what, "where": file.where(("categories",))})
    ok = all(line["kind"] != "fault" for line in findings)
    return Figures(
        {
            "taxonomy": whole.name,
            "file": short_path(path),
            "categories": [c.name for c in checked] if definitions else [],
            "findings": findings,
            "shards": used,
            "ok": ok,
        }
    )


def _looked_up(name: str | Path | None, taxonomy: str | Path | None) -> tuple[Taxonomy, Path, str | None]:
    """The taxonomy, the file that has the category (or is the taxonomy's), and the category; None for all of the file."""
    if name is None or (taxonomy is None and (str(name).endswith((".yaml", ".yml")) or str(name) in names("taxonomies"))):
        wanted = DEFAULT if name is None and taxonomy is None else name if name is not None else taxonomy
        path = find("taxonomies", str(wanted))
        return load_taxonomy(path), path, None
    whole = holding(str(name), taxonomy)
    category = whole.category(str(name)).name
    for each in dict.fromkeys((taxonomy or DEFAULT, DEFAULT, *names("taxonomies"))):
        path = find("taxonomies", str(each))
        if category in _own_names(load_yaml(path)):
            return whole, path, category
    raise InputError(f"{category!r} is in a file that {whole.name!r} extends", hint="name that file instead")


def _own_names(file: YamlFile) -> list[str]:
    return [c["name"] for c in file.data["categories"]]


# Findings -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Place:
    """Where a category is in its file."""

    file: YamlFile
    at: int
    category: str

    def finding(self, kind: str, what: str, *key: str | int) -> dict[str, Any]:
        return {"category": self.category, "kind": kind, "what": what, "where": self.file.where(("categories", self.at, *key))}


def _findings(category: Category, whole: Taxonomy, own: Sequence[str], file: YamlFile) -> Iterator[dict[str, Any]]:
    place = _Place(file, own.index(category.name), category.name)
    yield from _incomplete(category, place)
    yield from _like_examples(category, whole, place)
    kin = {*whole.above(category.name), *(c.name for c in whole.categories if category.name in whole.above(c.name))}
    others = [c for c in whole.categories if c.name != category.name]
    likeness = _likeness(category.definition, [c.definition for c in others])
    examples = {_plain(text): side for side in ("includes", "excludes") for rule in getattr(category, side) for text in rule.examples}
    words = _plain(" ".join([category.title, category.definition, *(t for r in category.includes for t in (r.rule, *r.examples))]))
    for other, alike in zip(others, likeness, strict=True):
        if alike >= SAME:
            yield place.finding("fault", f"its definition is that of {other.name!r} (similarity {alike:.2f})", "definition")
        elif alike >= LIKE:
            yield place.finding("note", f"its definition is like that of {other.name!r} (similarity {alike:.2f})", "definition")
        if _plain(category.title) == _plain(other.title):
            yield place.finding("fault", f"{other.name!r} has the same title", "title")
        spelled = {_plain(n): n for n in (other.name, *other.aliases)}
        for n, word in enumerate((category.name, *category.aliases)):
            if _plain(word) in spelled:
                key = ("name",) if n == 0 else ("aliases", n - 1)
                yield place.finding("fault", f"{word!r} differs in nothing but its marks from {spelled[_plain(word)]!r} of {other.name!r}", *key)
        if twice := [text for rule in other.includes for text in rule.examples if examples.get(_plain(text)) == "includes"]:
            yield place.finding("fault", f"{other.name!r} has the same example: {twice[0]!r}", "includes")
        if other.name in kin:
            continue
        if shared := sorted({_cue(cue) for cue in category.cues} & {_cue(cue) for cue in other.cues}):
            yield place.finding("note", f"{other.name!r} has the same cues: {', '.join(shared)}", "cues")
        if len(named := [cue for cue in other.cues if f" {_cue(cue)}" in f" {words}"]) >= FEW:
            yield place.finding("note", f"its texts have cues of {other.name!r} in them: {', '.join(named)}")


def _incomplete(category: Category, place: _Place) -> Iterator[dict[str, Any]]:
    sides: dict[str, list[Rule]] = {"includes": category.includes, "excludes": category.excludes}
    for (side, rules), which in zip(sides.items(), ("in", "out"), strict=True):
        if not rules:
            yield place.finding("fault", f"nothing says what is {which}: `{side}`", side)
        elif not any(rule.examples for rule in rules):
            yield place.finding("fault", f"no example of what is {which}: `{side}` … `examples`", side)
    inside = {_plain(text) for rule in category.includes for text in rule.examples}
    for n, rule in enumerate(category.excludes):
        if twice := next((text for text in rule.examples if _plain(text) in inside), None):
            yield place.finding("fault", f"an example is on both sides of the line: {twice!r}", "excludes", n)
    if category.severity is None:
        yield place.finding("note", f"no severity: {', '.join(SEVERITIES)}", "severity")
    if not category.cues:
        yield place.finding("note", "no cues: the template teacher has its title alone to write of", "cues")


def _like_examples(category: Category, whole: Taxonomy, place: _Place) -> Iterator[dict[str, Any]]:
    """Examples that are like one of another category: of each side of each category the nearest."""
    rest = [
        (c.name, side, text) for c in whole.categories if c.name != category.name for side in _SIDES for r in getattr(c, side) for text in r.examples
    ]
    for side in _SIDES:
        nearest: dict[tuple[str, str], tuple[float, str]] = {}
        for text in (text for rule in getattr(category, side) for text in rule.examples):
            for (name, other, _), alike in zip(rest, _likeness(text, [t for *_, t in rest]), strict=True):
                nearest[name, other] = max(nearest.get((name, other), (0.0, "")), (alike, text))
        for (name, other), (alike, text) in nearest.items():
            if alike >= LIKE and not (side == other == "includes" and alike == 1.0):  # that is a fault
                word = "in it" if other == "includes" else "out of it"
                yield place.finding("note", f"an example is like one that {name!r} has {word} (similarity {alike:.2f}): {text!r}", side)


def _likeness(text: str, others: Sequence[str]) -> list[float]:
    """How alike a text is to each other one, as `deduplicate` measures it."""
    import numpy as np
    import polars as pl

    from toolkit.operators.clean._minhash import Shape, Sketches

    if not others:
        return []
    sketches = Sketches(Shape(unit="character"))
    texts = pl.Series([_plain(t) for t in (text, *others)])
    sketches.add(texts, texts, pl.Series([0] * len(texts)))
    found: list[float] = sketches.similarity(np.zeros(len(others), np.int64), np.arange(1, len(others) + 1)).tolist()
    return found


def _cue(text: str) -> str:
    """A cue by its words, without an article before them."""
    return re.sub(r"^(?:an?|the) ", "", _plain(text))


def _plain(text: str) -> str:
    """A text by its words alone."""
    return " ".join(re.findall(r"[^\W_]+", text.casefold()))


# Shards ---------------------------------------------------------------------------------------------------------------


def _used(folder: Path, taxonomy: Taxonomy) -> Iterator[dict[str, Any]]:
    """The categories of a shard folder's rows, and which they are in a taxonomy."""
    from toolkit.shards import read_manifest, shard_rows
    from toolkit.shards.exporters import shard_folder

    place = shard_folder(folder)
    manifest = read_manifest(place)
    if "categories" not in (column["name"] for column in manifest["columns"]):
        raise InputError("these shards have no column `categories`", where=short_path(place))
    counts: Counter[str] = Counter()
    for rows in shard_rows(place, manifest, ["categories"]):
        counts.update(rows["categories"].explode().drop_nulls().to_list())
    for name, count in sorted(counts.items()):
        try:
            now: str | None = taxonomy.category(name).name
        except KeyError:
            now = None
        yield {"folder": short_path(place), "category": name, "rows": count, "now": now}


# The file -------------------------------------------------------------------------------------------------------------


def _lines(name: str, extends: str, given: Mapping[str, Any]) -> Iterator[str]:
    """The file's text, with what each key is for."""
    yield f"# A category of your own. `guardkit category check {name}` says whether it is complete. What each key means: docs/categories.md."
    yield f"extends: {flow(extends)}   # its categories and maps belong to this taxonomy, too"
    yield f"name: {name}   # of the taxonomy: `taxonomy: {name}` in a recipe"
    yield "version: 1"
    yield "categories:"
    yield f"  - name: {name}   # stands in the column `categories`"
    yield f"    title: {flow(given['title'])}"
    yield f"    definition: {flow(given['definition'])}"
    yield _optional("severity", given["severity"], f"medium   # {', '.join(SEVERITIES)}")
    yield _optional("parent", given["parent"], f"misinformation   # a wider category; `guardkit category list --taxonomy {extends}` shows them")
    yield from _side(
        "includes", given["includes"], "What is in: rules, each with mild examples (what kind of text is meant, never how anything is done)."
    )
    yield from _side("excludes", given["excludes"], "What is out although it looks alike: the benign side of the line.")
    yield _optional("aliases", given["aliases"], "[an-earlier-name]   # other names; a category that is renamed keeps its old one here")
    yield _optional("cues", given["cues"], '["a mild phrase"]   # words that are typical of it; the template teacher quotes them')
    yield "    # policy: |   # text for prompts, where the definition and the rules are not to be it"
    yield ""
    yield "# Labels of a source of yours, each to a category, or null where it names no harm:"
    yield "# maps:"
    yield f"#   my_source: {{bad: {name}, fine: null}}"


def _optional(key: str, value: Any, example: str) -> str:
    return f"    {key}: {flow(value)}" if value else f"    # {key}: {example}"


def _side(key: str, rules: Mapping[str, Sequence[str]], comment: str) -> Iterator[str]:
    yield f"    # {comment}"
    if not rules:
        yield f"    {key}: []"
        yield f'    # {key}: [{{rule: "One sentence.", examples: ["A text that it is about."]}}]'
        return
    yield f"    {key}:"
    for rule, examples in rules.items():
        yield f"      - rule: {flow(rule)}"
        yield f"        examples: {flow(list(examples))}"
