"""Planted faults: what the operator `validate` finds of them, and how often it is wrong.

    python tests/benchmarks/faults_bench.py               # prints the tables and writes them into docs/validators.md
    python tests/benchmarks/faults_bench.py --sample 100  # a sample of what it flags in the released outputs, for a reader

20,000 rows: each kind of `plant.KINDS` in 1.25 % of them, half in released GuardReasoner outputs ($GUARDKIT_DATA or ../shared/data), half in what the
template teacher writes on the bundled seeds; the rest are unchanged: all 3,441 released outputs, and template ones. `validate` runs with the profile
`strict`, `faults: flag`, and a budget of 2,048 tokens of a tokenizer made as the quickstart's tiny guard has it.

Recall: of the rows of a kind whose output is clean, that is, not flagged unchanged, the share that is flagged with a code that is due for it (`DUE`).
A fault that is planted in an output with another one may hide behind it; that row is flagged either way. Precision: of the rows that a code is on, those where it is due for, or follows from (`FOLLOWS`), what was planted. Over
the template's rows it is strict: any other flag is wrong. Released outputs have faults of their own, which nobody has marked: there only flags that
the unchanged output does not have are counted, and how many unchanged outputs are flagged is beside it; a reader judged a sample of those.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fault_rows import frame, released, templates
from plant import KINDS, RATE, Row, plant

import toolkit

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "validators.md"
ROWS, SEED, TEACHERS, MAX_TOKENS = 20_000, 4, 20, 2_048

DUE: dict[str, tuple[str, ...]] = {
    "task_missing": ("structure",),
    "tasks_swapped": ("structure",),
    "step_misnumbered": ("steps_misnumbered",),
    "steps_missing": ("step_count",),
    "too_many_steps": ("step_count",),
    "answers_missing": ("no_answers_block",),
    "answers_twice": ("answers_repeated",),
    "text_before": ("structure", "text_before_tasks"),
    "heading_after": ("structure", "text_before_tasks", "steps_before_heading"),
    "text_after_answers": ("text_after_answers",),
    "answer_misspelt": ("answer_line_malformed",),
    "answer_emphasised": ("answer_line_malformed",),
    "label_changed": ("label_changed",),
    "answer_none": ("label_changed",),
    "answer_invented": ("label_changed",),
    "conclusion_flipped": ("conclusion_contradicts",),
    "conclusion_unseen": ("conclusion_contradicts",),
    "last_step_flipped": ("conclusion_contradicts",),
    "last_step_words_flipped": ("conclusion_contradicts",),
    "wrong_task_word": ("verdict_foreign",),
    "step_emptied": ("step_empty",),
    "step_repeated": ("step_repeated",),
    "step_repeated_nearly": ("step_similar", "step_repeated"),
    "loop_dots": ("run_of_characters", "ngram_repeated"),
    "loop_sentence": ("ngram_repeated",),
    "loop_tasks": ("structure", "sections_endless"),
    "cut_anywhere": ("cut_off", "no_answers_block"),
    "cut_at_limit": ("truncated",),
    "refusal_instead": ("teacher_refused",),
    "refusal_inside": ("teacher_refused",),
    "refusal_unseen": ("teacher_refused",),
    "exchange_copied": ("prompt_copied",),
    "instruction_copied": ("prompt_copied",),
    "scaffold_phrase": ("scaffold", "label_told"),
    "scaffold_unseen": ("scaffold", "label_told"),
    "label_given_away": ("label_first",),
    "label_given_away_unseen": ("label_first",),
    "over_long": ("too_many_tokens",),
    "other_language": ("wrong_language",),
    "control_character": ("control_character",),
    "step_too_short": ("step_short",),
    "step_too_long": ("step_long",),
}
"""For each kind the codes of which any one says what was planted."""

_LOST = ("structure", "step_count", "step_empty", "steps_misnumbered", "conclusion_missing", "conclusion_contradicts", "no_answers_block", "cut_off")
FOLLOWS: dict[str, tuple[str, ...]] = {
    "task_missing": ("conclusion_contradicts",),
    "steps_missing": ("reasoning_short",),
    "too_many_steps": ("step_repeated", "step_similar", "ngram_repeated", "conclusion_contradicts", "verdict_foreign", "label_first", "scaffold", "prompt_copied"),
    "answers_missing": ("cut_off",),
    "answers_twice": ("structure", "text_before_tasks"),
    "text_after_answers": ("cut_off",),
    "answer_misspelt": ("cut_off",),  # "harm" at the end may be a word cut off
    "heading_after": ("steps_misnumbered", "verdict_foreign", "conclusion_contradicts", "step_similar"),
    "label_changed": ("conclusion_contradicts",),
    "answer_none": ("conclusion_contradicts",),
    "answer_invented": ("conclusion_contradicts",),
    "wrong_task_word": ("conclusion_contradicts",),
    "step_emptied": ("step_short", "reasoning_short"),
    "step_repeated": ("step_similar", "ngram_repeated"),
    "step_repeated_nearly": ("ngram_repeated",),
    "loop_dots": ("step_long", "too_many_tokens", "conclusion_contradicts"),
    "loop_sentence": ("step_long", "too_many_tokens", "reasoning_long"),
    "loop_tasks": ("ngram_repeated", "too_many_tokens", "reasoning_long"),
    "cut_anywhere": (*(c for c in _LOST if c not in ("cut_off", "no_answers_block")), "answer_line_malformed", "label_changed", "reasoning_short", "step_short", "label_not_inferred"),
    "cut_at_limit": (*_LOST, "answer_line_malformed", "label_changed", "reasoning_short", "step_short", "label_not_inferred"),
    "refusal_instead": (*_LOST, "reasoning_short", "label_changed"),
    "exchange_copied": ("step_long", "ngram_repeated", "run_of_characters", "wrong_language", "too_many_tokens", "scaffold", "teacher_refused"),
    "instruction_copied": ("structure", "steps_misnumbered"),
    "scaffold_phrase": ("label_first",),
    "scaffold_unseen": ("label_first",),
    "refusal_unseen": (*_LOST, "reasoning_short", "label_changed"),
    "over_long": (
        "step_long", "reasoning_long", "step_similar", "ngram_repeated", "label_first", "conclusion_contradicts", "verdict_foreign", "scaffold", "prompt_copied",
    ),
    "other_language": ("step_repeated", "step_similar", "label_first"),
    "control_character": ("step_short",),
    "step_too_short": ("reasoning_short",),
    "step_too_long": (
        "step_similar", "ngram_repeated", "label_first", "conclusion_contradicts", "verdict_foreign", "scaffold", "prompt_copied", "too_many_tokens",
    ),
}  # fmt: skip
"""Codes that follow from what was planted, or come with it: a flag with one is not wrong, nor is what was planted found by it."""


@dataclass
class Kind:
    """How one kind fared."""

    planted: int = 0
    flagged: int = 0
    """Flagged with any code."""
    clean: int = 0
    """Planted in an output that was not flagged unchanged."""
    found: int = 0
    """Of these, flagged with a code that is due."""
    otherwise: int = 0
    """Of these, flagged, but with no code that is due."""

    @property
    def recall(self) -> float:
        """Found of those in clean outputs."""
        return self.found / max(1, self.clean)


@dataclass
class Code:
    """How one reason code fared."""

    right: int = 0
    wrong: dict[str, int] = field(default_factory=lambda: {"template": 0, "released": 0})
    on_sound: int = 0
    """Unchanged released outputs that it is on."""
    wrongly: Counter[str] = field(default_factory=Counter)

    @property
    def precision(self) -> float | None:
        """Of the flags that planting explains or should have."""
        found = self.right + sum(self.wrong.values())
        return self.right / found if found else None


@dataclass
class Found:
    """All figures of a run."""

    kinds: dict[str, Kind]
    codes: dict[str, Code]
    rows: int
    sound_templates: int
    flagged_templates: int
    flagged_released: int
    seconds: float


def tokenizer(rows: Sequence[Row], folder: Path) -> str:
    """A tokenizer as the quickstart's tiny guard has it, learnt from template outputs."""
    from toolkit.guards import load_guard, render_input
    from toolkit.training import Scratch
    from toolkit.training._model import scratch_tokenizer

    guard = load_guard("guardreasoner")
    asked: Iterator[dict[str, Any]] = ({"prompt": r.prompt, "response": r.response, "context": []} for r in rows)
    texts = [f"{render_input(guard, a)}{r.reasoning}" for a, r in zip(asked, rows, strict=True)]
    scratch_tokenizer(Scratch(vocab=2048), texts).save_pretrained(str(folder))
    (folder / "config.json").write_text('{"model_type": "llama"}')  # a model's folder without its weights
    return str(folder)


def flags(rows: Sequence[Row], tokens: str) -> tuple[list[list[str]], float]:
    """For each row what `validate` finds, as ``code: detail``, and the seconds that it took."""
    asked = frame(rows)
    options: dict[str, Any] = {"profile": "strict", "faults": "flag", "tokenizer": tokens, "max_tokens": MAX_TOKENS, "languages": ["en"]}
    toolkit.apply("validate", asked.head(100), **options)  # loads what it needs
    start = time.perf_counter()
    kept, gone = toolkit.apply("validate", asked, **options)
    seconds = time.perf_counter() - start
    if gone.height or kept["id"].to_list() != asked["id"].to_list():
        raise AssertionError("faults: flag drops rows, or changes their order")
    pairs = zip(kept["faults"].to_list(), kept["fault_details"].to_list(), strict=True)
    return [[f"{code}: {detail}" for code, detail in zip(codes or [], details or [], strict=True)] for codes, details in pairs], seconds


def code_of(flag: str) -> str:
    """The reason code of a flag."""
    return flag.partition(":")[0]


def measure(data: Path, rows: int) -> Found:
    """Plant, validate, count."""
    real, made = released(data), templates(TEACHERS)
    faulty = list(plant({"released": real, "template": made}, rows, SEED))
    sound = made[: rows - len(faulty) - len(real)]
    bases = {r.origin: r for r in (*real, *made)}
    changed = {r.origin for r in faulty} - {r.origin for r in (*real, *sound)}
    unchanged = [*real, *sound, *(bases[o] for o in sorted(changed))]
    with tempfile.TemporaryDirectory() as folder:
        tokens = tokenizer(made[:640], Path(folder))
        stated, seconds = flags([*real, *sound, *faulty], tokens)
        others, _ = flags(unchanged[len(real) + len(sound) :], tokens)
    count = len(real) + len(sound)
    before = {r.origin: {code_of(f) for f in s} for r, s in zip(unchanged, [*stated[:count], *others], strict=True)}
    found = Found({k: Kind() for k in KINDS}, {}, count + len(faulty), len(sound), 0, 0, seconds)
    for row in (*real, *sound):
        _sound(found, row, before[row.origin])
    for row, s in zip(faulty, stated[count:], strict=True):
        _faulty(found, row, {code_of(f) for f in s}, before[row.origin])
    return found


def _sound(found: Found, row: Row, codes: set[str]) -> None:
    template = row.origin.startswith("template")
    found.flagged_templates += template and bool(codes)
    found.flagged_released += not template and bool(codes)
    for code in codes:
        c = found.codes.setdefault(code, Code())
        c.on_sound += not template
        if template:
            c.wrong["template"] += 1
            c.wrongly["nothing planted"] += 1


def _faulty(found: Found, row: Row, codes: set[str], before: set[str]) -> None:
    kind, due = found.kinds[row.kind], set(DUE[row.kind])
    kind.planted += 1
    kind.flagged += bool(codes)
    if not before:
        kind.clean += 1
        kind.found += bool(due & codes)
        kind.otherwise += bool(codes) and not due & codes
    for code in codes:
        c = found.codes.setdefault(code, Code())
        if code in due or (code in FOLLOWS.get(row.kind, ()) and code not in before):
            c.right += 1
        elif code not in before:
            c.wrong["template" if row.origin.startswith("template") else "released"] += 1
            c.wrongly[row.kind] += 1


def tables(found: Found) -> str:
    """The figures as markdown."""
    total = [sum(getattr(k, n) for k in found.kinds.values()) for n in ("planted", "flagged", "clean", "found")]
    out = [
        f"{found.rows:,} rows, {total[0]:,} with a planted fault, of which {total[1]:,} ({total[1] / total[0]:.1%}) are flagged at all. {total[2]:,} are planted in "
        f"outputs that are not flagged unchanged: there {total[3]:,} ({total[3] / total[2]:.1%}) are found by their own code. Of {found.sound_templates:,} unchanged "
        f"template outputs {found.flagged_templates:,} are flagged, of 3,441 unchanged released ones {found.flagged_released:,}. "
        f"{found.rows / found.seconds:,.0f} rows a second with all rules, tokens and languages included.",
        "",
        "| planted | rows | flagged at all | in clean outputs | found | missed | of these with another code | recall | due |",
        "|---|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    for name, k in found.kinds.items():
        due = ", ".join(f"`{c}`" for c in DUE[name])
        out.append(f"| {name} | {k.planted} | {k.flagged} | {k.clean} | {k.found} | {k.clean - k.found} | {k.otherwise} | {k.recall:.1%} | {due} |")
    out += [
        "",
        "| reason code | right | wrong, template | wrong, released | precision | unchanged released outputs flagged | wrong where |",
        "|---|--:|--:|--:|--:|--:|---|",
    ]
    for name, c in sorted(found.codes.items()):
        precision = "" if c.precision is None else f"{c.precision:.1%}"
        where = ", ".join(f"{k} {n}" for k, n in c.wrongly.most_common(3))
        out.append(f"| `{name}` | {c.right} | {c.wrong['template']} | {c.wrong['released']} | {precision} | {c.on_sound} | {where} |")
    return "\n".join(out)


def sample(data: Path, size: int, codes: Sequence[str]) -> Iterator[Mapping[str, str]]:
    """A stratified sample of flags on the released outputs: from each code in turn, until there are enough; seeded by the code alone, so that a
    change of one rule moves no other code's sample."""
    real = released(data)
    with tempfile.TemporaryDirectory() as folder:
        found, _ = flags(real, tokenizer(templates(1), Path(folder)))
    by_code: dict[str, list[tuple[Row, str]]] = {}
    for row, its in zip(real, found, strict=True):
        for flag in its:
            by_code.setdefault(code_of(flag), []).append((row, flag))
    shuffled = {c: random.Random(f"{SEED}:{c}").sample(f, len(f)) for c, f in sorted(by_code.items()) if not codes or c in codes}
    taken = 0
    for nth in range(max(map(len, shuffled.values()), default=0)):
        for code, flagged in shuffled.items():
            if nth < len(flagged) and taken < size:
                taken += 1
                row, flag = flagged[nth]
                yield {"code": code, "of": str(len(flagged)), "row": row.origin.removeprefix("released:"), "flag": flag}


MARK = "<!-- measured -->"


def write(page: Path, text: str) -> None:
    """Put the tables between the page's two marks, or at the end of a page without them."""
    old = page.read_text(encoding="utf-8") if page.is_file() else "# The validators, measured\n"
    head, _, rest = old.partition(MARK)
    tail = rest.partition(MARK)[2]
    page.write_text(f"{head.rstrip()}\n\n{MARK}\n{text}\n{MARK}\n{tail.rstrip()}".rstrip() + "\n", encoding="utf-8")


def main() -> int:
    """Measure, print, write the page; or print a sample."""
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--data", type=Path, default=Path(os.environ.get("GUARDKIT_DATA") or ROOT.parent / "shared" / "data"))
    ap.add_argument("--rows", type=int, default=ROWS)
    ap.add_argument("--sample", type=int, help="print so many flags on the released outputs, as JSON Lines, and nothing else")
    ap.add_argument("--code", nargs="*", default=[], help="with --sample: of these reason codes only")
    ap.add_argument("--no-page", action="store_true", help="print only")
    a = ap.parse_args()
    if not (a.data / "guardreasoner" / "predictions").is_dir():
        sys.exit(f"{a.data} holds no guardreasoner/predictions: set GUARDKIT_DATA, or give --data")
    if a.sample:
        for line in sample(a.data, a.sample, a.code):
            sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
        return 0
    text = tables(measure(a.data, a.rows))
    sys.stdout.write(f"{text}\n\nEach kind is planted in {RATE:.2%} of the rows.\n")
    if not a.no_page:
        write(PAGE, text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
