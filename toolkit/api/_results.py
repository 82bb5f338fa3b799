"""What the verbs return: dicts with the keys that their functions name, as attributes, too, and shown as tables."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from toolkit.report import Figures, audit_text, certificate_text, comparison_text, coverage_text, evaluation_text, gate_text

if TYPE_CHECKING:
    import polars as pl

    from toolkit.evaluation import Evaluation


class Checked(Figures):
    """Of `check`."""

    recipe: str
    steps: int
    words: list[str]
    needs: list[str]
    sends: list[dict[str, Any]]
    fetches: list[dict[str, Any]]
    allowed: list[str]


class Compared(Figures):
    """Of `compare`."""

    verdicts: list[dict[str, Any]]
    lines: list[dict[str, Any]]
    means: list[dict[str, Any]]
    costs: list[dict[str, Any]]
    differences: list[dict[str, Any]]
    apart: list[dict[str, Any]]
    lacking: list[dict[str, Any]]
    breakdown: list[dict[str, Any]]
    errors: list[dict[str, Any]]
    published: list[dict[str, Any]]
    notes: list[str]

    def as_text(self, form: str = "table", width: int | None = None) -> str:
        """Its tables: `form` is table, markdown, latex, csv or json (InputError for another one)."""
        return comparison_text(self, form, width)

    def __repr__(self) -> str:
        return self.as_text().rstrip("\n")


class Gate(Figures):
    """Of `gate`."""

    verdict: str
    passed: bool
    words: str
    baseline: str
    run: str
    level: float
    limits: dict[str, Any]
    lines: list[dict[str, Any]]
    notes: list[str]

    def __repr__(self) -> str:
        return gate_text(self, "table", shutil.get_terminal_size((100, 24)).columns)


class Certificate(Figures):
    """Of `certify`."""

    verdict: str
    words: str
    before: str
    after: str
    policy: str
    margin: float
    level: float
    power: float
    lines: list[dict[str, Any]]
    apart: list[dict[str, Any]]
    lacking: list[dict[str, Any]]
    notes: list[str]

    def __repr__(self) -> str:
        return certificate_text(self, "table", shutil.get_terminal_size((100, 24)).columns).rstrip("\n")


class Coverage(Figures):
    """Of `coverage`."""

    of: str
    rows: int
    unread: int
    taxonomy: str
    verdicts: str | None
    minimum: int
    dimensions: list[str]
    categories: list[dict[str, Any]]
    cells: list[dict[str, Any]]
    together: list[dict[str, Any]]
    assigned: list[dict[str, Any]]
    gaps: list[dict[str, Any]]
    missing: list[dict[str, Any]]
    steps: list[dict[str, Any]]
    notes: list[str]

    def __repr__(self) -> str:
        return coverage_text(self, "table", shutil.get_terminal_size((100, 24)).columns).rstrip("\n")


class Explained(Figures):
    """Of `explain`."""

    recipe: dict[str, Any]
    steps: list[dict[str, Any]]


class Planned(Figures):
    """Of `plan`."""

    recipe: str
    output: str
    steps: list[dict[str, Any]]
    total: dict[str, Any]
    words: list[str]
    needs: list[str]
    notes: list[str]


class Drafted(Figures):
    """Of `init`."""

    recipe: str
    source: str | None
    rows: int
    kept: int
    uses: dict[str, str]
    unused: list[str]
    open: list[str]
    faults: list[str]


class Health(Figures):
    """Of `doctor`."""

    ok: bool
    needed: list[str]
    found: list[dict[str, Any]]


class Verified(Figures):
    """Of `verify`."""

    folder: str
    kind: str
    to: str | None
    rows: int
    files: dict[str, dict[str, Any]]
    extends: list[dict[str, Any]]
    signature: dict[str, Any] | None
    stale: list[str]
    unproven: dict[str, str]


class Overlaid(Figures):
    """Of `overlay`."""

    file: str
    lines: int
    decisions: int
    rows: int
    superseded: int
    by: list[dict[str, Any]]
    first: str | None
    last: str | None
    signatures: list[dict[str, Any]]
    unsigned: int
    added: int


class Signed(Figures):
    """Of `sign`."""

    folder: str
    file: str
    by: str
    key: str


class Exported(Figures):
    """Of `export`."""

    output: str | None
    export: dict[str, Any] | None
    signed: str | None
    push: dict[str, Any] | None


class Difference(Figures):
    """Of `diff`."""

    equal: bool
    a: dict[str, Any]
    b: dict[str, Any]
    step: str
    same: int
    columns: dict[str, list[str]]
    steps: list[dict[str, Any]]
    extends: str | None
    labels: list[dict[str, Any]]
    pairs: list[dict[str, Any]]
    gone: dict[str, Any]
    added: dict[str, Any]
    changed: dict[str, Any]


class Rejects(Figures):
    """Of `rejects`."""

    run: str
    rows: int
    counts: list[dict[str, Any]]
    shown: list[dict[str, Any]]
    output: str | None


class Overlaps(Figures):
    """Of `overlaps`."""

    ngram: int
    sets: list[dict[str, Any]]
    pairs: list[dict[str, Any]]
    without: list[str]
    output: str | None


class Hygiene(Figures):
    """Of `hygiene`."""

    ngram: int
    benchmarks: list[dict[str, Any]]
    pairs: list[dict[str, Any]]
    against: list[dict[str, Any]]
    contamination: list[dict[str, Any]]
    evaluation: str | None
    scores: list[dict[str, Any]]
    without: list[str]
    output: str | None


class Mined(Figures):
    """Of `mine`."""

    rows: int
    hard: int
    always_right: int
    always_wrong: int
    undecided: int
    others: dict[str, int]
    with_unparsable: int
    missing: dict[str, int]
    fewer_draws: dict[str, int]
    pairs: int
    passed_over: dict[str, int]
    passed_over_rejected: dict[str, int]
    lengths: dict[str, Any]
    rejected: dict[str, int]
    rule: str
    remarks: list[str]
    statistics: dict[str, Any]
    output: str
    shards: str | None


class Reported(Figures):
    """Of `report_page`."""

    output: str
    bytes: int
    pictures: list[str]
    images: list[str]
    notes: list[str]


class Disputes(Figures):
    """Of `disputes`."""

    folder: str
    of: list[str]
    tasks: list[dict[str, Any]]
    disputed: int
    shown: list[dict[str, Any]]
    notes: list[str]
    output: str | None


class Reward(Figures):
    """Of `reward`."""

    guard: str
    formula: str
    outputs: int
    rewarded: int
    lacks: dict[str, int]
    mean: float | None
    least: float | None
    most: float | None
    well_formed: int
    cells: list[dict[str, Any]]
    shown: list[dict[str, Any]]
    output: str | None


class Generated(Figures):
    """Of `generate`."""

    output: str
    rows: int
    answered: int
    failed: int
    errors: dict[str, int]
    asked: int
    from_journal: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    seconds: float
    too_many: str | None


class Evaluated(Figures):
    """Of `evaluate`: the document of the evaluation, and where it is."""

    settings: dict[str, Any]
    models: list[dict[str, Any]]
    benchmarks: list[dict[str, Any]]
    results: list[dict[str, Any]]
    means: list[dict[str, Any]]
    remarks: list[str]
    folder: str | None
    spent: dict[str, Any]
    too_many: str | None

    def __init__(self, figures: Mapping[str, Any], evaluation: Evaluation) -> None:
        super().__init__(figures)
        self._evaluation = evaluation

    def rows(self) -> pl.LazyFrame:
        """The table that the figures are computed from: `toolkit.evaluation.ROWS`. Where no folder is kept, in memory."""
        found = self._evaluation.rows()
        return found if self["folder"] is not None else found.collect().lazy()

    def __repr__(self) -> str:
        return evaluation_text(self, shutil.get_terminal_size((100, 24)).columns)


class Audited(Figures):
    """Of `audit`."""

    model: str
    guard: str
    tasks: list[str]
    chains: dict[str, Any]
    stages: list[dict[str, Any]]
    settled: list[dict[str, Any]]
    flips: list[dict[str, Any]]
    contradictions: list[dict[str, Any]]
    early: list[dict[str, Any]]
    twin: dict[str, Any] | None
    notes: list[str]
    spent: dict[str, int]

    def __repr__(self) -> str:
        return audit_text(self, shutil.get_terminal_size((100, 24)).columns)


class Trained(Figures):
    """Of `train`: the trainer's metrics, and where the model is."""

    output: str


class TrainingPlan(Figures):
    """Of `plan_training`: what the trainer found, where the model would be, and all of it in words."""

    output: str
    words: list[str]


class JournalFigures(Figures):
    """Of the verbs of the journal."""

    folder: str
