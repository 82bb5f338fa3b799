"""A small run with doubts of most kinds: blind verdicts, a list of noise, reasonings with faults that are flagged or reject."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

import toolkit

BLIND = ["harmful", "unharmful", "unharmful", "harmful", None, "harmful", "harmful", "harmful"]
"""The blind verdicts on rows r0 … r7, whose labels are all `harmful`: r1 and r2 are in doubt."""


def make(folder: Path) -> Path:
    """Run the recipe in a folder; the run's."""
    rows = [
        {
            "id": f"r{n}",
            "prompt": f"Question {n}?",
            "label_prompt": "harmful",
            "blind_prompt": blind,
            "reasoning": "It begins and ends nowhere.",
        }
        for n, blind in enumerate(BLIND)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns: dict[str, object] = {name: name for name in rows[0]}
    columns |= {"blind_prompt": {"name": "blind_prompt", "nullable": True}}
    read = {"files": ["rows.jsonl"], "columns": columns, "record": "reasoned", "constants": {"label_prompt_source": "human"}}
    steps = [
        {"id": "rows", "use": "read", "with": read},
        {"id": "noisy", "use": "noise", "from": {"rows": "rows"}},
        {"id": "faulty", "use": "validate", "from": "rows", "with": {"faults": "flag"}},
        {"id": "valid", "use": "validate", "from": "rows"},
    ]
    recipe = folder / "doubts.yaml"
    recipe.write_text(yaml.safe_dump({"recipe": "doubts", "steps": steps}, sort_keys=False))
    return toolkit.run(recipe, output=folder / "run").folder
