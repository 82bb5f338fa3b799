"""The mining side of guardkit, one process: ``mining_task.py DATA OUTPUT MODELS K`` mines the generations in DATA through the real operators in the
real pipeline and writes the pairs as OUTPUT/pairs.parquet, the run beside them.

DATA has ``model<M>_<draw>.parquet`` (or .jsonl) of {id, predict}, and samples.parquet of {id, input, gold_request, gold_completion, gold_response}. The
rule is `baseline`: GuardReasoner's released code for each guard alone.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from toolkit.common.yamlfile import YamlFile
from toolkit.mining import load_rule
from toolkit.pipeline import build_recipe, make_plan, run_plan

COLUMNS = {"label_prompt": "gold_request", "label_refusal": "gold_completion", "label_response": "gold_response", "prompt": "input"}


def steps(files: dict[str, Any], samples: Path) -> list[dict[str, Any]]:
    """The recipe."""
    rule = load_rule("baseline").pairs
    pairs = {} if rule is None else rule.model_dump(exclude_none=True)
    load = {"files": files, "samples": str(samples), "columns": COLUMNS, "texts": "reference"}
    return [
        {"id": "said", "use": "load_predictions", "with": load},
        {"id": "hard", "use": "mine", "with": {"rule": "baseline"}},
        {"id": "pairs", "use": "pair", "from": {"rows": "hard", "verdicts": "said"}, "with": {**pairs, "rejected_passes": "anything"}},
    ]


def files_of(data: Path, models: int, k: int, form: str, times: int, links: Path) -> dict[str, Any]:
    """Each guard's draws; `times`: as many guards more, whose files are further names of the same ones."""
    out: dict[str, Any] = {}
    for again in range(times):
        for m in range(models):
            paths = [data / f"model{m}_{draw}.{form}" for draw in range(k)]
            if again:
                links.mkdir(parents=True, exist_ok=True)
                places = [links / f"{again}-{path.name}" for path in paths]
                for path, place in zip(paths, places, strict=True):
                    place.unlink(missing_ok=True)
                    os.link(path, place)
                paths = places
            out[f"model{m}" + (f"-{again}" if again else "")] = [str(p) for p in paths]
    return out


def mined(data: Path, output: Path, models: int, k: int, form: str = "parquet", times: int = 1) -> Path:
    """Mine; the folder of the run."""
    files = files_of(data, models, k, form, times, data / "links")
    recipe = build_recipe(
        YamlFile("mining", {"recipe": "mining", "guard": "guardreasoner", "steps": steps(files, data / "samples.parquet")}), Path.cwd()
    )
    done = run_plan(make_plan(recipe), output=output / "run")
    os.link(done.folder / "pairs" / "rows" / "rows.parquet", output / "pairs.parquet")
    return done.folder


def main() -> None:
    """Mine."""
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("data", type=Path)
    ap.add_argument("output", type=Path)
    ap.add_argument("models", type=int)
    ap.add_argument("k", type=int)
    ap.add_argument("--form", choices=("parquet", "jsonl"), default="parquet")
    ap.add_argument("--times", type=int, default=1, help="so many times the guards, from the same files")
    a = ap.parse_args()
    mined(a.data.resolve(), a.output, a.models, a.k, a.form, a.times)


if __name__ == "__main__":
    main()
