"""What a recipe allows to fail, and what of a run did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from toolkit.common.errors import TooManyFailures, short_path

if TYPE_CHECKING:
    from toolkit.pipeline._plan import Plan
    from toolkit.pipeline._run import Run


class Failures(BaseModel):
    """What may fail of a step; above it the run ends with exit code 1."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    generations: float = Field(0.0, ge=0.0, le=1.0)
    """Share of its generations, or of its rows, where an operator fails on a row."""
    validation: float = Field(1.0, ge=0.0, le=1.0)
    """Share of the rows of a step that validates (`validate`) that it may reject."""


def judge_failures(plan: Plan, run: Run) -> None:
    """Hold each step's failures against what the recipe allows: those of steps that were reused too, so that the verdict hangs on what lies there."""
    allowed = plan.recipe.spec.may_fail
    too_many, rejected = [], []
    for done in (run.steps[s] for s in run.steps if s in plan.chosen):
        for counts in done.manifest["counts"]:
            own = counts["step"] == done.step
            failed = counts["rejected"].get("operator_error", 0) + (done.failed if own else 0)
            of = done.manifest["asked"] if own and done.manifest["asked"] else counts["in"]
            if failed:
                run.failures[counts["step"]] = (failed, of)
                if failed > allowed.generations * of:
                    too_many.append(f"{failed:,} of {of:,} in step {counts['step']!r}")
            gone = sum(counts["rejected"].values())
            if counts["step"] in plan.chosen and plan.steps[counts["step"]].operator.validates and gone > allowed.validation * counts["in"]:
                rejected.append(f"{gone:,} of {counts['in']:,} rows in step {counts['step']!r}")
    told = [f"{', '.join(too_many)} failed; the recipe allows {allowed.generations:.1%} of a step"] if too_many else []
    told += [f"{', '.join(rejected)} were rejected; the recipe allows {allowed.validation:.1%} of a step that validates"] if rejected else []
    if told:
        again = "; the same command asks again for the generations that failed, and only for them" if too_many else ""
        hint = f"see rejects.parquet in the steps' folders under {short_path(run.folder)}{again}"
        run.failed = TooManyFailures(f"the run is complete, but {'; '.join(told)}", hint=hint)
