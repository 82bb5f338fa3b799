"""``guardkit category``: a thin face over `toolkit.api._categories` and `toolkit.api._category_check`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.cli import _complete, _say

category = typer.Typer(
    no_args_is_help=True,
    help="Harm categories: what there are, how vocabularies fit, and one of your own.\n\nExample: guardkit category list",
)

JsonOpt = Annotated[bool, typer.Option("--json", help="One JSON document on stdout; progress goes to stderr.")]
TaxonomyOpt = Annotated[
    str | None,
    typer.Option("--taxonomy", metavar="NAME", help="A taxonomy, by name or file.", autocompletion=_complete.schemas("taxonomies")),
]
NameArg = Annotated[str, typer.Argument(help="Name of the category.", show_default=False)]


@category.command("list")
def list_(taxonomy: TaxonomyOpt = None, json: JsonOpt = False) -> None:
    """The categories of a taxonomy: severity, parent, counts of examples, and how many labels of the sources are each.

    Example: guardkit category list --taxonomy guardkit
    """
    from toolkit import api

    found = api.list_categories(taxonomy or "guardkit")
    if json:
        _say.document(found)
        return
    rows = [[c["name"], c["severity"] or "", c["parent"] or "", *(f"{c[n]:,}" for n in ("included", "excluded", "cues", "labels"))] for c in found]
    titles = [c["title"] for c in found]
    _say.table("Categories", ["name", "severity", "parent"], ["in", "out", "cues", "labels"], rows, "title", titles)


@category.command("show")
def show(name: NameArg, taxonomy: TaxonomyOpt = None, json: JsonOpt = False) -> None:
    """One category whole, with the labels of the sources that are it.

    Example: guardkit category show self_harm
    """
    from toolkit import api

    found = api.describe_category(name, taxonomy)
    if json:
        _say.document(found)
        return
    whole = {key: value for key, value in found.items() if value not in (None, [], {}, "") and key != "policy"}
    _say.mapping(whole)
    _say.lines("", "In a prompt:", found["policy"])


@category.command("map")
def map_(
    one: Annotated[str, typer.Argument(help="A taxonomy, or a scheme of one (wildguard, mlcommons, …).", show_default=False)],
    other: Annotated[str, typer.Argument(help="The one that it is held against.", show_default=False)],
    taxonomy: TaxonomyOpt = None,
    json: JsonOpt = False,
) -> None:
    """How two vocabularies fit: which labels of the one are which of the other, both ways, and which have no match.

    Example: guardkit category map wildguard mlcommons
    """
    from toolkit import api

    found = api.map_categories(one, other, taxonomy)
    if json:
        _say.document(found)
        return
    for lines, left, right in ((found["there"], found["one"], found["other"]), (found["back"], found["other"], found["one"])):
        rows = [[line["label"], line["category"]] for line in lines]
        _say.table(f"{left} → {right}, by {found['taxonomy']}", [left, "category"], [], rows, right, [_matches(line) for line in lines])
        if found["unmatched"][left]:
            _say.lines(f"of {left} without a match in {right}: {', '.join(found['unmatched'][left])}", "")
        if found["harmless"][left]:
            _say.lines(f"of {left}, naming no harm: {', '.join(found['harmless'][left])}", "")


def _matches(line: dict[str, Any]) -> str:
    parts = [", ".join(line["same"])]
    parts += [f"{word}: {', '.join(line[word])}" for word in ("wider", "narrower") if line[word]]
    return "; ".join(part for part in parts if part) or "–"


RuleOpt = list[str] | None
_RULE = "RULE|EXAMPLE|…"


@category.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Small letters, digits, - and _, a letter first.", show_default=False)],
    title: Annotated[str | None, typer.Option("--title", help="For people (default: made of the name).")] = None,
    definition: Annotated[str | None, typer.Option("--definition", help="One or two sentences.")] = None,
    severity: Annotated[str | None, typer.Option("--severity", help="low, medium, high or critical.")] = None,
    parent: Annotated[str | None, typer.Option("--parent", metavar="CATEGORY", help="The wider category.")] = None,
    include: Annotated[RuleOpt, typer.Option("--include", metavar=_RULE, help="What is in, with examples. Repeatable.")] = None,
    exclude: Annotated[RuleOpt, typer.Option("--exclude", metavar=_RULE, help="What is out although it looks alike. Repeatable.")] = None,
    alias: Annotated[list[str] | None, typer.Option("--alias", help="Another name. Repeatable.")] = None,
    cue: Annotated[list[str] | None, typer.Option("--cue", help="A word or phrase that is typical of it. Repeatable.")] = None,
    extends: Annotated[
        str, typer.Option("--extends", metavar="TAXONOMY", help="What it is added to.", autocompletion=_complete.schemas("taxonomies"))
    ] = "guardkit",
    to: Annotated[Path | None, typer.Option("--to", metavar="FOLDER", help="Folder that holds `schemas` (default: here).")] = None,
    json: JsonOpt = False,
) -> None:
    """Write a commented file for a category of your own, schemas/taxonomies/NAME.yaml. Asks on a terminal; overwrites nothing.

    Example: guardkit category new noise --definition "Robbing others of their sleep."
    """
    from toolkit import api
    from toolkit.common.errors import InputError

    includes, excludes = _rules(include), _rules(exclude)
    if definition is None:
        if json or not sys.stdin.isatty():
            raise InputError("no definition", where="--definition", hint="one or two sentences; on a terminal it is asked for")
        title = title or typer.prompt("Title", default=name.replace("-", " ").replace("_", " ").capitalize())
        definition = typer.prompt("Definition, one or two sentences")
        severity = severity or typer.prompt("Severity (low, medium, high, critical; empty: none)", default="", show_default=False) or None
        parent = parent or typer.prompt("Wider category (empty: none)", default="", show_default=False) or None
        includes = includes or _asked("What is in")
        excludes = excludes or _asked("What is out although it looks alike")
    made = api.new_category(
        name,
        title=title,
        definition=definition,
        severity=severity,
        parent=parent,
        includes=includes,
        excludes=excludes,
        aliases=alias or (),
        cues=cue or (),
        extends=extends,
        to=to,
    )
    if json:
        _say.document(made)
        return
    _say.lines(f"written: {made['file']}", *([f"still open in it: {', '.join(made['open'])}"] if made["open"] else []))
    _say.lines(f"next: guardkit category check {name}")


@category.command("check")
def check(
    name: Annotated[
        str | None, typer.Argument(help="A category, or a taxonomy by name or file (default: all of guardkit's).", show_default=False)
    ] = None,
    taxonomy: TaxonomyOpt = None,
    shards: Annotated[
        list[Path] | None,
        typer.Option("--shards", metavar="FOLDER", help="Also whether these shards' categories are in it. Repeatable."),
    ] = None,
    json: JsonOpt = False,
) -> None:
    """Whether a category is complete and apart from the others, and whether shards use categories that are gone. Exit code 2 where it has faults.

    Example: guardkit category check --shards outputs/quickstart/sft-shards
    """
    from toolkit import api
    from toolkit.common.errors import InputError

    found = api.check_category(name, taxonomy, shards or ())
    faults = [line for line in found["findings"] if line["kind"] == "fault"]
    if json:
        _say.document(found)
    else:
        _say.lines(f"{found['taxonomy']}: {', '.join(found['categories'])} ({found['file']})", "")
        if found["findings"]:
            rows = [[line["category"], line["kind"], line["where"]] for line in found["findings"]]
            _say.table("Findings", ["category", "", "where"], [], rows, "what", [line["what"] for line in found["findings"]])
        if found["shards"]:
            rows = [[line["folder"], line["category"], line["now"] or "–", f"{line['rows']:,}"] for line in found["shards"]]
            _say.table("Shards", ["folder", "category", "now"], ["rows"], rows)
    if faults:
        gone = any(line["now"] is None for line in found["shards"])
        hint = "a category that was renamed keeps its old name as an alias: `aliases: [old-name]`" if gone else "each is named above"
        raise InputError(f"{len(faults)} {'fault' if len(faults) == 1 else 'faults'}", where=found["file"], hint=hint)
    if not json:
        _say.lines("all as it should be")


@category.command("migrate")
def migrate(
    name: NameArg,
    to: Annotated[str | None, typer.Option("--to", metavar="NAME", help="A new name, or a category that it becomes a part of.")] = None,
    drop: Annotated[bool, typer.Option("--drop", help="Remove it.")] = False,
    taxonomy: TaxonomyOpt = None,
    shards: Annotated[
        list[Path] | None, typer.Option("--shards", metavar="FOLDER", help="Shards to look at beside those of the workspace. Repeatable.")
    ] = None,
    rewrite: Annotated[bool, typer.Option("--rewrite", help="Write the shards that use it anew; those of before stay as they are.")] = False,
    output: Annotated[Path | None, typer.Option("--output", metavar="FOLDER", help="Folder for these (default: in the workspace).")] = None,
    json: JsonOpt = False,
) -> None:
    """Rename a category of yours, merge it into another one, or remove it. Shards that use it are named, and nothing is changed without --rewrite.

    Example: guardkit category migrate noise --to late-noise --rewrite
    """
    from toolkit import api

    found = api.migrate_category(name, to=to, drop=drop, taxonomy=taxonomy, shards=shards or (), rewrite=rewrite, output=output)
    if json:
        _say.document(found)
        return
    became = f"is {found['became']} now" if found["became"] else "is gone"
    _say.lines(f"{found['category']} {became}: {found['file']}", *(f"written anew: {line['folder']} → {line['new']}" for line in found["shards"]))
    if found["runs"]:
        _say.lines(f"runs whose recipe names it, or its taxonomy, build anew what depends on it: {', '.join(found['runs'])}")


def _rules(texts: list[str] | None) -> dict[str, list[str]]:
    """``RULE|EXAMPLE|…`` arguments."""
    out: dict[str, list[str]] = {}
    for text in texts or ():
        rule, *examples = (part.strip() for part in text.split("|"))
        out.setdefault(rule, []).extend(example for example in examples if example)
    return out


def _asked(what: str) -> dict[str, list[str]]:
    """Rules with examples, asked for on a terminal until an empty answer."""
    out: dict[str, list[str]] = {}
    while rule := typer.prompt(f"{what}: a rule (empty: no more)", default="", show_default=False):
        out[rule] = []
        while example := typer.prompt("  an example (empty: no more)", default="", show_default=False):
            out[rule].append(example)
    return out
