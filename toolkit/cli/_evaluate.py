"""The verb `evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from toolkit.cli import _complete, _say
from toolkit.cli._generate import options_of
from toolkit.cli._moderate import GuardPolicyOpt
from toolkit.cli._reach import AllowOpt

ModelOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--model", metavar="[NAME=]MODEL", help="A model that is asked: its folder, or its name at the endpoint. Repeatable.", show_default=False
    ),
]
PredictionsOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--predictions",
        metavar="[NAME=]FILE",
        help="What a model wrote before: JSON Lines, parquet or CSV, or a folder of such files. Repeatable.",
        show_default=False,
    ),
]
BenchmarkOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--benchmark",
        metavar="NAME[=FILE]",
        help="A benchmark, its YAML file, or all: of FILE, --data or the hub. Repeatable.",
        autocompletion=_complete.schemas("benchmarks"),
        show_default=False,
    ),
]
DataOpt = Annotated[
    list[Path] | None,
    typer.Option(
        "--data", metavar="PLACE", help="Folder or file with benchmarks, or with --task your own labelled rows. Repeatable.", show_default=False
    ),
]
TaskOpt = Annotated[
    list[str] | None,
    typer.Option("--task", help="What the labels of files of your own are for; of benchmarks, these tasks alone.", show_default=False),
]
GuardOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--guard",
        metavar="[MODEL=]GUARD",
        help="Guard definition (default: what the model was trained for, else guardreasoner).",
        autocompletion=_complete.schemas("guards"),
        show_default=False,
    ),
]
ColumnOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--column", metavar="WHAT=COLUMN", help="Column of the files: output, verdict, label, id, prompt, response, draw, …", show_default=False
    ),
]
PolicyOpt = Annotated[
    list[str] | None,
    typer.Option("--policy", help="How unread outputs count: clean (default), drop, fail-closed, reference. Repeatable.", show_default=False),
]
PerturbOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--perturb",
        metavar="NAME",
        help="Ask about changed rows, too: case, white_space, unicode, benign, policy, turns, markdown, one change of these, all; paraphrase,"
        " translation:LANGUAGE. Repeatable.",
        show_default=False,
    ),
]
LookAlikesOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--look-alikes",
        metavar="NAME",
        help="Of this benchmark, benign rows that look harmful: the others' positive rows are held against them. Repeatable.",
        autocompletion=_complete.schemas("benchmarks"),
        show_default=False,
    ),
]
WriterOpt = Annotated[
    str | None, typer.Option("--perturb-model", metavar="MODEL", help="Who paraphrases or translates: a folder, or a name at an endpoint; no guard.")
]
WriterSetOpt = Annotated[
    list[str] | None, typer.Option("--perturb-set", metavar="KEY=VALUE", help="Option of that model's backend: backend, base_url, … Repeatable.")
]


def evaluate(
    model: ModelOpt = None,
    predictions: PredictionsOpt = None,
    benchmark: BenchmarkOpt = None,
    data: DataOpt = None,
    task: TaskOpt = None,
    backend: Annotated[str | None, typer.Option("--backend", help="transformers, vllm, vllm-server, openai, … (default: as the model fits).")] = None,
    base_url: Annotated[str | None, typer.Option("--base-url", help="Where the endpoint is (default: OpenAI's).")] = None,
    guard: GuardOpt = None,
    column: ColumnOpt = None,
    policy: PolicyOpt = None,
    k: Annotated[int, typer.Option("--k", metavar="N", min=1, help="How often each model is asked about a row.")] = 1,
    temperature: Annotated[float | None, typer.Option("--temperature", help="Default 0.")] = None,
    combine: Annotated[Literal["majority", "mean"], typer.Option("--combine", help="How several draws become one verdict.")] = "majority",
    reading: Annotated[str | None, typer.Option("--reading", help="By which reading labels stand for others: strict, loose, …")] = None,
    guard_policy: GuardPolicyOpt = None,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Ask for log-probabilities: AUPRC, AUROC, calibration, thresholds.")] = False,
    min_parse_rate: Annotated[float, typer.Option("--min-parse-rate", min=0, max=1, help="Fewer readable outputs are an error, not a figure.")] = 0.5,
    failures: Annotated[float, typer.Option("--failures", min=0, max=1, help="Share of generations that may fail without an error.")] = 0.0,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="A sample of each benchmark's rows.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the sample, the intervals and the changes.")] = 0,
    perturb: PerturbOpt = None,
    perturb_model: WriterOpt = None,
    perturb_set: WriterSetOpt = None,
    look_alikes: LookAlikesOpt = None,
    work: Annotated[Path | None, typer.Option("--work", help="Folder for the journal (default: the workspace, outputs).")] = None,
    budget: Annotated[float | None, typer.Option("--budget", metavar="DOLLARS", min=0, help="Hard cap on what this may spend.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any other option of the backend. Repeatable.")] = None,
    output: Annotated[Path | None, typer.Option("--output", help="Folder for evaluation.json and rows.parquet.")] = None,
    allow: AllowOpt = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout; progress goes to stderr.")] = False,
) -> None:
    """Score guards on benchmarks, or on rows of your own; what the journal has is not asked again.

    Example: guardkit evaluate --model outputs/quickstart/guard-main --benchmark xstest_response_refusal --data benchmarks --output outputs/evaluation
    """
    from toolkit.api import evaluate as evaluate_models
    from toolkit.api.command import Progress, evaluation_text, unreliable

    shared = options_of(set_, backend=backend, base_url=base_url, temperature=temperature)
    if not model and (odd := next(iter(shared), None)):
        from toolkit.common.errors import InputError

        raise InputError(f"{odd} is for a model that is asked, and none is named", hint="--model NAME-OR-FOLDER")
    options: dict[str, Any] = {"benchmarks": _benchmarks(benchmark), "data": data or (), "task": task or (), "guard": _guards(guard)}
    options |= {"columns": _say.columns(column), "policies": policy or ("clean",), "draws": k}
    options |= {"combine": combine, "reading": reading, "probabilities": probabilities, "min_parse_rate": min_parse_rate, "failures": failures}
    options["guard_policy"] = guard_policy
    options |= {"limit": limit, "seed": seed, "work": work, "budget": budget, "allow": allow or (), "output": output}
    options |= {"look_alikes": look_alikes or (), "perturb": perturb or (), "perturb_model": _writer(perturb_model, options_of(perturb_set))}
    found = evaluate_models(_models(model, shared), predictions=_predictions(predictions), **options, progress=Progress(), raise_failures=False)
    if json:
        _say.document(found)
    else:
        _say.lines(evaluation_text(found, _say.width()))
    if found["too_many"]:
        raise unreliable(found)


def _models(texts: list[str] | None, shared: dict[str, Any]) -> dict[str, dict[str, Any]]:
    from toolkit.api.command import backend_for, model_name
    from toolkit.common.errors import InputError

    out: dict[str, dict[str, Any]] = {}
    for text in texts or ():
        name, place = _named(text)
        name = name or model_name(place)
        if name in out:
            raise InputError(f"two models are called {name!r}", where="--model", hint="give each a name of its own: NAME=MODEL")
        out[name] = {"backend": backend_for(shared), "model": place, **shared}
    return out


def _writer(model: str | None, given: dict[str, Any]) -> dict[str, Any] | None:
    """The backend of the model that writes changes."""
    from toolkit.api.command import backend_for
    from toolkit.common.errors import InputError

    if model is None:
        if given:
            raise InputError(f"{next(iter(given))} is for a model that writes changes, and none is named", hint="--perturb-model NAME-OR-FOLDER")
        return None
    return {"backend": backend_for(given), "model": model, **given}


def _predictions(texts: list[str] | None) -> dict[str, list[str]]:
    from toolkit.common.errors import InputError

    out: dict[str, list[str]] = {}
    bare: set[str] = set()
    for text in texts or ():
        name, place = _named(text)
        called = name or Path(place).name.partition(".")[0] or "model"
        if called in out and (name is None or called in bare):
            hint = "give each a name of its own (NAME=FILE), or several files of one model the same name"
            raise InputError(f"two models are called {called!r}", where="--predictions", hint=hint)
        out.setdefault(called, []).append(place)
        if name is None:
            bare.add(called)
    return out


def _named(text: str) -> tuple[str | None, str]:
    """``NAME=PLACE``, or a place alone; what has a ``/`` before the sign is a place."""
    name, eq, place = text.partition("=")
    return (name, place) if eq and name and place and "/" not in name else (None, text)


def _benchmarks(texts: list[str] | None) -> Any:
    out: dict[str, list[str] | None] = {}
    for text in texts or ():
        name, place = _named(text)
        if name is None:
            out.setdefault(place, None)
        else:
            out[name] = [*(out.get(name) or ()), place]
    return "all" if "all" in out else out or None


def _guards(texts: list[str] | None) -> Any:
    from toolkit.common.errors import InputError

    pairs = [_named(text) for text in texts or ()]
    if not pairs:
        return None
    if any(name is None for name, _ in pairs):
        if len(pairs) > 1:
            raise InputError("several guards: say whose each is", where="--guard", hint="--guard MODEL=GUARD")
        return pairs[0][1]
    return dict(pairs)
