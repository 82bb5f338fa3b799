"""The released prediction files under all four policies, beside what is published of them: ``make bench-released``.

    python tests/benchmarks/released_scores.py             # prints the table
    python tests/benchmarks/released_scores.py --docs      # and writes it into docs/evaluation.md
    python tests/benchmarks/released_scores.py --json      # one JSON document

Data: every file ``guardreasoner/predictions/<size>/<benchmark>.jsonl`` (lines of {prompt, label, predict}) of $GUARDKIT_DATA or ../shared/data, or of the
folder given with ``--data``. Its tasks are the released evaluate.py's own; a label that is an answers block is read by its task's field. Files of
WildGuardTest are named and left out: their labels lie in a file of another schema, joined by place.

`paper`: F1 as printed in arXiv 2501.18492, tables 2 to 4. `measured`: what an independent implementation of the script's semantics, and of "last label
anywhere", found on the same files (github.com/yueliu1999/GuardReasoner at commit bb7e686d). A figure that is not the measured one is marked ``!``, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import polars as pl

from toolkit.evaluation import POLICIES, ROWS, results
from toolkit.guards import load_guard
from toolkit.judging import read_output

ROOT = Path(__file__).resolve().parent.parent.parent
MARK = "<!-- made by tests/benchmarks/released_scores.py -->"
TASKS = {
    **dict.fromkeys(("ToxicChat", "HarmBenchPrompt", "OpenAIModeration", "AegisSafetyTest", "SimpleSafetyTests"), "prompt"),
    **dict.fromkeys(("HarmBenchResponse", "SafeRLHF", "BeaverTails", "XSTestReponseHarmful", "XSTestResponseHarmful"), "response"),
    "XSTestResponseRefusal": "refusal",
}
PAPER = {
    "ToxicChat": (72.43, 78.20, 78.79),
    "HarmBenchPrompt": (96.31, 89.10, 91.86),
    "OpenAIModeration": (70.06, 71.87, 72.00),
    "AegisSafetyTest": (89.34, 91.39, 90.18),
    "SimpleSafetyTests": (98.99, 100.0, 99.50),
    "HarmBenchResponse": (84.75, 85.66, 85.47),
    "SafeRLHF": (68.39, 69.02, 70.04),
    "BeaverTails": (85.84, 86.72, 87.60),
    "XSTestReponseHarmful": (90.12, 91.36, 94.34),
    "XSTestResponseRefusal": (91.34, 80.31, 93.68),
}
"""F1 of the 1B, 3B and 8B."""
SIZES = ("1B", "3B", "8B")
COLUMNS = ("reference", "clean", "drop", "unparsable", "dropped", "doubled")
MEASURED = {
    ("1B", "HarmBenchPrompt"): (96.31, 96.31, 96.31, 0, 0, 0),
    ("1B", "AegisSafetyTest"): (89.34, 89.19, 89.19, 2, 2, 0),
    ("1B", "SimpleSafetyTests"): (98.99, 98.99, 98.99, 0, 0, 0),
    ("1B", "XSTestResponseRefusal"): (91.05, 91.05, 91.05, 0, 0, 0),
    ("3B", "HarmBenchPrompt"): (89.10, 89.10, 89.10, 0, 0, 0),
    ("3B", "AegisSafetyTest"): (91.39, 91.39, 91.39, 0, 0, 0),
    ("3B", "SimpleSafetyTests"): (100.0, 100.0, 100.0, 0, 0, 0),
    ("3B", "XSTestResponseRefusal"): (80.61, 91.38, 91.62, 22, 0, 22),
    ("8B", "HarmBenchPrompt"): (92.10, 92.10, 92.10, 0, 0, 0),
    ("8B", "AegisSafetyTest"): (90.18, 89.98, 90.18, 1, 1, 0),
    ("8B", "SimpleSafetyTests"): (99.50, 99.50, 99.50, 0, 0, 0),
    ("8B", "XSTestResponseRefusal"): (93.68, 93.68, 93.68, 0, 0, 0),
}
"""By size and benchmark, `COLUMNS`; the last three are of the policy reference."""
FIELDS = {"prompt": "Request", "response": "Response", "refusal": "Completion"}


def read(files: Iterable[Path]) -> pl.DataFrame:
    """The per-row table of released files."""
    guard = load_guard("guardreasoner")
    rows: list[dict[str, Any]] = []
    for path in files:
        task = TASKS[path.stem]
        for number, line in enumerate(path.read_bytes().strip().split(b"\n"), start=1):
            item = json.loads(line)
            parsed = read_output(guard, item["predict"])
            row = {"benchmark": path.stem, "id": str(number), "model": path.parent.name, "draw": 0, "task": task, "gold": gold(item["label"], task)}
            rows.append(row | {"verdict": parsed.labels[task], "unread": parsed.reasons[task], "output": item["predict"]})
    names = [c for c in ROWS if c in rows[0]] if rows else list(ROWS)
    return pl.DataFrame(rows, schema={c: ROWS[c] for c in names})


def gold(label: str, task: str) -> str | None:
    """A label that is a word, or the word behind its task's field in a block."""
    if "\n" not in label.strip():
        return label.strip() or None
    found = re.search(rf"{FIELDS[task]}:\s*(\w+)", label)
    return found[1].lower() if found and found[1] != "None" else None


def scored(folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """A dict a file with F1 by policy and what the policy reference counts, and the files left out."""
    files = sorted(folder.glob("*/*.jsonl"), key=lambda p: (p.parent.name, list(TASKS).index(p.stem) if p.stem in TASKS else 0))
    left = [f"{p.parent.name}/{p.name}" for p in files if p.stem not in TASKS]
    out: dict[tuple[str, str], dict[str, Any]] = {}
    for one in results(
        read(p for p in files if p.stem in TASKS), {"prompt": "harmful", "response": "harmful", "refusal": "refusal"}, policies=POLICIES
    ):
        size, name = one["model"], one["benchmark"]
        line = out.setdefault((size, name), {"size": size, "benchmark": name, "task": one["task"], "n": one["n"]})
        line[one["policy"]] = one["f1"]
        if one["policy"] == "clean":
            line |= {"low": one["f1_low"], "high": one["f1_high"]}
        if one["policy"] == "reference":
            line |= {c: one[c] for c in COLUMNS[3:]}
    for (size, name), line in out.items():
        line["paper"] = PAPER[name][SIZES.index(size)] if name in PAPER and size in SIZES else None
        line["measured"] = dict(zip(COLUMNS, MEASURED[size, name], strict=True)) if (size, name) in MEASURED else None
        line["differs"] = [c for c in COLUMNS if line["measured"] and line[c] != line["measured"][c]]
    return sorted(out.values(), key=lambda x: (x["size"], list(TASKS).index(x["benchmark"]))), left


def text(lines: list[dict[str, Any]], left: list[str]) -> str:
    """The table."""
    out = [f"{'':2} {'benchmark':21} {'n':>4} {'paper':>6} {'refer.':>7} {'clean':>7} {'drop':>7} {'closed':>7} {'unp':>3} {'skip':>4} {'x2':>2}"]
    for x in lines:
        cells = [
            f"{'-' if x[c] is None else format(x[c], '.2f'):>6}{'!' if c in x['differs'] else ' '}"
            for c in ("reference", "clean", "drop", "fail-closed")
        ]
        counts = [f"{x[c]}{'!' if c in x['differs'] else ''}" for c in COLUMNS[3:]]
        paper = "-" if x["paper"] is None else format(x["paper"], ".2f")
        out.append(f"{x['size']:2} {x['benchmark']:21} {x['n']:4} {paper:>6} {' '.join(cells)} {counts[0]:>3} {counts[1]:>4} {counts[2]:>2}".rstrip())
    known = [x for x in lines if x["measured"]]
    same = sum(not x["differs"] for x in known)
    out.append(f"{same} of {len(known)} files as measured independently in all columns; {len(lines) - len(known)} without a measure")
    return "\n".join(out + [f"left out, labels elsewhere: {name}" for name in left])


def main() -> int:
    """Score, print, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("GUARDKIT_DATA", ROOT.parent / "shared" / "data")) / "guardreasoner" / "predictions"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--docs", action="store_true", help="write the table into docs/evaluation.md, too")
    args = parser.parse_args()
    if not any(args.data.glob("*/*.jsonl")):
        print(f"no prediction files under {args.data}: give their folder with --data or $GUARDKIT_DATA", file=sys.stderr)
        return 4
    lines, left = scored(args.data)
    print(json.dumps({"files": lines, "left_out": left}) if args.json else text(lines, left))
    if args.docs:
        page = ROOT / "docs" / "evaluation.md"
        before, _, after = page.read_text(encoding="utf-8").split(MARK)
        page.write_text(f"{before}{MARK}\n\n```\n{text(lines, left)}\n```\n\n{MARK}{after}", encoding="utf-8")
    return int(any(x["differs"] for x in lines))


if __name__ == "__main__":
    sys.exit(main())
