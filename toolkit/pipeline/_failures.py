"""What of a run failed, held against what its recipe allows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from toolkit.common.errors import TooManyFailures, short_path
from toolkit.pipeline._finished import StepFolder
from toolkit.pipeline._planned import Plan


def failures_of(plan: Plan, steps: Mapping[str, StepFolder], folder: Path) -> tuple[dict[str, tuple[int, int]], TooManyFailures | None]:
    """For each step with failures how many of how many, and the error where one has more than the recipe allows. Steps that were reused count too, so
    that a second run of the same command says the same."""
    allowed = plan.recipe.spec.may_fail
    failures: dict[str, tuple[int, int]] = {}
    too_many, rejected, unmet = [], [], []
    for done in (steps[s] for s in steps if s in plan.chosen):
        if (words := plan.steps[done.step].operator.unmet(done.manifest["stats"])) is not None:
            unmet.append(f"step {done.step!r}: {words}")
        for counts in done.manifest["counts"]:
            own = counts["step"] == done.step
            failed = counts["rejected"].get("operator_error", 0) + (done.failed if own else 0)
            of = done.manifest["asked"] if own and done.manifest["asked"] else counts["in"]
            if failed:
                failures[counts["step"]] = (failed, of)
                if failed > allowed.generations * of:
                    too_many.append(f"{failed:,} of {of:,} in step {counts['step']!r}")
            gone = sum(counts["rejected"].values())
            if counts["step"] in plan.chosen and plan.steps[counts["step"]].operator.validates and gone > allowed.validation * counts["in"]:
                rejected.append(f"{gone:,} of {counts['in']:,} rows in step {counts['step']!r}")
    faults = [f"{', '.join(too_many)} failed; the recipe allows {allowed.generations:.1%} of a step"] if too_many else []
    faults += [f"{', '.join(rejected)} were rejected; the recipe allows {allowed.validation:.1%} of a step that validates"] if rejected else []
    faults += unmet
    if not faults:
        return failures, None
    if faults == unmet:
        return failures, TooManyFailures(f"the run is complete, but {'; '.join(faults)}", hint=f"all of it is under {short_path(folder)}")
    again = "; the same command asks again for the generations that failed, and only for them" if too_many else ""
    hint = f"see rejects.parquet in the steps' folders under {short_path(folder)}{again}"
    return failures, TooManyFailures(f"the run is complete, but {'; '.join(faults)}", hint=hint)
