"""The verbs. Bodies import what they need, so that `--help` stays quick."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from toolkit.cli import _complete, _plan, _reach, _report, _say
from toolkit.cli._audit import audit
from toolkit.cli._category import category
from toolkit.cli._certify import certify
from toolkit.cli._ci_gate import gate
from toolkit.cli._compare import compare
from toolkit.cli._coverage import coverage
from toolkit.cli._definitions import guards, sources
from toolkit.cli._diff import diff
from toolkit.cli._disputes import disputes
from toolkit.cli._doctor import doctor
from toolkit.cli._evaluate import evaluate
from toolkit.cli._export import export
from toolkit.cli._generate import generate
from toolkit.cli._hygiene import hygiene
from toolkit.cli._init import init
from toolkit.cli._journal import journal
from toolkit.cli._mine import mine
from toolkit.cli._moderate import moderate
from toolkit.cli._overlaps import overlaps
from toolkit.cli._overlay import overlay
from toolkit.cli._reach import AllowOpt
from toolkit.cli._rejects import rejects
from toolkit.cli._report import report
from toolkit.cli._review import review
from toolkit.cli._reward import reward
from toolkit.cli._runs import runs
from toolkit.cli._serve import serve
from toolkit.cli._train import train
from toolkit.cli._verify import sign, verify
from toolkit.cli._view import view

BUILD, TRAIN, JUDGE, LOOK = PANELS = "build", "train", "judge", "look"


class Grouped(TyperGroup):
    """Lists the verbs by panel, in the order of the work."""

    def list_commands(self, ctx: Any) -> list[str]:
        def panel(name: str) -> int:
            return PANELS.index(getattr(self.commands[name], "rich_help_panel", LOOK))

        return sorted(super().list_commands(ctx), key=panel)


app = typer.Typer(
    name="guardkit",
    cls=Grouped,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Build the data that reasoning guard models are trained on, and train on it.",
)

RecipeArg = Annotated[
    str,
    typer.Argument(
        help="A recipe: a file, a folder with recipe.yaml, or a shipped name (quickstart, guardreasoner/8b).",
        show_default=False,
        autocompletion=_complete.recipes,
    ),
]
SetOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="STEP.OPTION=VALUE",
        help="Override an option of a step, or seed=N. Repeatable.",
        autocompletion=_complete.recipe_options,
    ),
]
SourceOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--source",
        metavar="NAME=FILE",
        help="Read a source from local files or folders of the same columns. Repeatable.",
        autocompletion=_complete.schemas("sources", "="),
    ),
]
BudgetOpt = Annotated[float | None, typer.Option("--budget", metavar="DOLLARS", min=0, help="Hard cap on what this run may spend.")]
OutputOpt = Annotated[Path | None, typer.Option("--output", help="Folder of the run (default: outputs/RECIPE).")]
UntilOpt = Annotated[list[str] | None, typer.Option("--until", metavar="STEP", help="Run this step and what it depends on, no other. Repeatable.")]
FromOpt = Annotated[
    list[str] | None, typer.Option("--from", metavar="STEP", help="Run this step and what depends on it, on finished steps. Repeatable.")
]
OnlyOpt = Annotated[list[str] | None, typer.Option("--only", metavar="STEP", help="Run this step alone, on finished steps. Repeatable.")]
JsonOpt = Annotated[bool, typer.Option("--json", help="One JSON document on stdout; progress goes to stderr.")]


@app.callback(invoke_without_command=True)
def top(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Build the data that reasoning guard models are trained on, and train on it."""
    if version:
        from toolkit._version import __version__

        _say.lines(__version__)
        raise typer.Exit


# Build ----------------------------------------------------------------------------------------------------------------


@app.command(rich_help_panel=BUILD)
def quickstart(
    output: OutputOpt = None,
    set_: SetOpt = None,
    base: Annotated[
        str | None,
        typer.Option("--base", metavar="MODEL", help="Start the guards from a model (smollm2-135m, a .gguf file, a folder); takes longer."),
    ] = None,
    budget: BudgetOpt = None,
    allow: AllowOpt = None,
    json: JsonOpt = False,
) -> None:
    """The whole loop on the bundled seeds: no key, no GPU.

    Example: guardkit quickstart
    """
    if base is not None:
        from toolkit.api.command import quickstart_folder, quickstart_on

        output, set_ = output or quickstart_folder(base), [*quickstart_on(base), *(set_ or [])]
    _run("quickstart", set_, None, output, False, budget, allow, json)


@app.command(rich_help_panel=BUILD)
def run(
    recipe: RecipeArg,
    set_: SetOpt = None,
    source: SourceOpt = None,
    output: OutputOpt = None,
    force: Annotated[bool, typer.Option("--force", help="Rebuild every step; answers in the journal are still not paid for again.")] = False,
    budget: BudgetOpt = None,
    until: UntilOpt = None,
    from_: FromOpt = None,
    only: OnlyOpt = None,
    processes: Annotated[int, typer.Option("--processes", metavar="N", min=1, help="Share the row steps among N processes.")] = 1,
    allow: AllowOpt = None,
    page: Annotated[bool, typer.Option("--report", help="Write its report, too: report.html in its folder (`guardkit report`).")] = False,
    json: JsonOpt = False,
) -> None:
    """Run a recipe, or some of its steps; what is finished and unchanged is reused.

    Example: guardkit run quickstart --set samples.k=2
    """
    steps: dict[str, Any] = {"until": until or (), "from_": from_ or (), "only": only or ()}
    _run(recipe, set_, source, output, force, budget, allow, json, page=page, processes=processes, **steps)


def _run(
    recipe: str,
    overrides: list[str] | None,
    sources: list[str] | None,
    output: Path | None,
    force: bool,
    budget: float | None,
    allow: list[str] | None,
    json: bool,
    page: bool = False,
    **how: Any,
) -> None:
    from toolkit.api import run as run_recipe
    from toolkit.api.command import Progress

    paths = _say.pairs(sources)
    result = run_recipe(
        recipe,
        overrides=overrides or (),
        sources=paths,
        output=output,
        force=force,
        budget=budget,
        progress=Progress(),
        raise_failures=False,
        allow=allow or (),
        **how,
    )
    made = result.report() if page else None
    if json:
        _say.document({**result.summary, **({"report": made} if made is not None else {})})
    else:
        _say.summary(result.summary)
        if made is not None:
            _report.say(made)
    if result.failed is not None:
        raise result.failed


@app.command(rich_help_panel=BUILD)
def check(
    recipe: RecipeArg,
    set_: SetOpt = None,
    source: SourceOpt = None,
    ready: Annotated[bool, typer.Option("--ready", help="Exit with 4 when this machine lacks something.")] = False,
    until: UntilOpt = None,
    from_: FromOpt = None,
    only: OnlyOpt = None,
    allow: AllowOpt = None,
    json: JsonOpt = False,
) -> None:
    """Check a recipe: all faults at once, what this machine lacks, and what the recipe sends where.

    Example: guardkit check guardreasoner/8b
    """
    from toolkit.api import check as check_recipe
    from toolkit.common.errors import InputError, Missing

    try:
        steps: dict[str, Sequence[str]] = {"until": until or (), "from_": from_ or (), "only": only or ()}
        found = check_recipe(recipe, overrides=set_ or (), sources=_say.pairs(source), allow=allow or (), **steps)
    except InputError as e:
        if json:
            _say.document(
                {"recipe": recipe, "steps": None, "words": [], "faults": _say.faults(e), "needs": [], "sends": [], "fetches": [], "allowed": []}
            )
        raise
    if json:
        _say.document({**found, "faults": []})
    else:
        words = (f"  {line}" for line in found["words"])
        needs = (f"  needs: {need}" for need in found["needs"])
        plural = "" if found["steps"] == 1 else "s"
        _say.lines(f"{found['recipe']}: {found['steps']} step{plural}, no faults", *words, *_reach.lines(found), *needs)
    if ready and found["needs"]:
        raise Missing("not ready to run: see `needs`")


@app.command(rich_help_panel=BUILD)
def plan(
    recipe: RecipeArg,
    set_: SetOpt = None,
    source: SourceOpt = None,
    output: OutputOpt = None,
    sample: Annotated[int, typer.Option("--sample", metavar="N", min=1, help="Rows of each step to estimate tokens and dollars from.")] = 200,
    probe: Annotated[int, typer.Option("--probe", metavar="N", min=0, help="Rows of each step to ask for real; the run reuses the answers.")] = 0,
    budget: Annotated[
        float | None, typer.Option("--budget", metavar="DOLLARS", min=0, help="What the run may spend: every price must be known.")
    ] = None,
    until: UntilOpt = None,
    from_: FromOpt = None,
    only: OnlyOpt = None,
    allow: AllowOpt = None,
    json: JsonOpt = False,
) -> None:
    """What a run would do and cost: steps, rows, calls, tokens, dollars, time.

    Example: guardkit plan quickstart
    """
    from toolkit.api import plan as plan_recipe

    named: dict[str, Any] = {"sources": _say.pairs(source), "output": output, "sample": sample, "probe": probe, "budget": budget}
    named |= {"until": until or (), "from_": from_ or (), "only": only or ()}
    found = plan_recipe(recipe, overrides=set_ or (), allow=allow or (), **named)
    if json:
        _say.document(found)
    else:
        _plan.show(found)


@app.command(rich_help_panel=BUILD)
def explain(
    recipe: RecipeArg, set_: SetOpt = None, source: SourceOpt = None, output: OutputOpt = None, allow: AllowOpt = None, json: JsonOpt = False
) -> None:
    """The resolved recipe, each value with where it comes from, and what a run would build.

    Example: guardkit explain quickstart
    """
    from toolkit.api import explain as explain_recipe

    found = explain_recipe(recipe, overrides=set_ or (), sources=_say.pairs(source), output=output, allow=allow or ())
    if json:
        _say.document(found)
        return
    for key, one in found["recipe"].items():
        _say.lines(f"{key}: {_say.short(one['value'])}    # {one['origin']}")
    for step in found["steps"]:
        inputs = ", ".join(f"{name}: {source}" for name, source in step["from"].items())
        _say.lines("", f"{step['id']}: {step['use']} (version {step['version']}), {_plan.state(step)}    # {step['where']}")
        if inputs:
            _say.lines(f"  from {inputs}    # {step['from_origin']}")
        for key, one in step["with"].items():
            _say.lines(f"  {key}: {_say.short(one['value'])}    # {one['origin']}")
        _say.lines(*(f"  in words: {words}" for words in step["words"]))


app.command("init", rich_help_panel=BUILD)(init)
app.command("generate", rich_help_panel=BUILD)(generate)


app.command("mine", rich_help_panel=BUILD)(mine)
app.command("export", rich_help_panel=BUILD)(export)
app.command("overlay", rich_help_panel=BUILD)(overlay)
app.command("verify", rich_help_panel=BUILD)(verify)
app.command("sign", rich_help_panel=BUILD)(sign)


# Train ----------------------------------------------------------------------------------------------------------------

app.add_typer(train, name="train", rich_help_panel=TRAIN)

# Judge ----------------------------------------------------------------------------------------------------------------

app.command("moderate", rich_help_panel=JUDGE)(moderate)
app.command("serve", rich_help_panel=JUDGE)(serve)
app.command("evaluate", rich_help_panel=JUDGE)(evaluate)
app.command("audit", rich_help_panel=JUDGE)(audit)
app.command("reward", rich_help_panel=JUDGE)(reward)

# Judge ----------------------------------------------------------------------------------------------------------------

app.command("compare", rich_help_panel=JUDGE)(compare)
app.command("certify", rich_help_panel=JUDGE)(certify)
app.command("gate", rich_help_panel=JUDGE)(gate)

# Look -----------------------------------------------------------------------------------------------------------------


@app.command(rich_help_panel=LOOK)
def operators(
    name: Annotated[str | None, typer.Argument(help="Show one operator whole.", show_default=False, autocompletion=_complete.operators)] = None,
    json: JsonOpt = False,
) -> None:
    """The operators with their options and columns.

    Example: guardkit operators mine
    """
    from toolkit.api.command import describe_operator, operator_names

    found = [describe_operator(n) for n in ([name] if name else operator_names())]
    if json:
        _say.document(found)
    elif name is None:
        rows = [[o["name"], o["kind"], o["shape"]] for o in found]
        _say.table("Operators", ["name", "kind", "shape"], [], rows, "what it does", [" ".join(o["doc"].split("\n\n")[0].split()) for o in found])
    else:
        _say.operator(found[0])


@app.command(rich_help_panel=LOOK)
def schema(json: JsonOpt = False) -> None:
    """The JSON Schema of recipes, for editors.

    Example: guardkit schema > recipe.schema.json
    """
    from toolkit.api import recipe_schema

    _say.document(recipe_schema())


app.command("hygiene", rich_help_panel=JUDGE)(hygiene)
for verb in (view, report, sources, guards, coverage, overlaps, disputes, review, diff, doctor, rejects):
    app.command(verb.__name__, rich_help_panel=LOOK)(verb)
app.add_typer(category, name="category", rich_help_panel=LOOK)
app.add_typer(journal, name="journal", rich_help_panel=LOOK)
app.add_typer(runs, name="runs", rich_help_panel=LOOK)


def only(verb: str = "") -> typer.Typer:
    """The command line with this verb alone, where it is one: typer takes a fifth of a second to make them all."""
    commands = [c for c in app.registered_commands if verb == (c.name or getattr(c.callback, "__name__", ""))]
    groups = [g for g in app.registered_groups if verb == g.name]
    if not commands and not groups:
        return app
    one = copy(app)
    one.registered_commands, one.registered_groups = commands, groups
    return one
