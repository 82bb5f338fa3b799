"""Small files with the columns that the four training sets have on the hub, and a teacher for them."""

from __future__ import annotations

import json
import re
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar

from toolkit.guards import Reasoning, load_guard, render_output


def wildguard(prompt: str, response: str | None, p: str | None, c: str | None, r: str | None) -> dict[str, Any]:
    return {
        "prompt": prompt, "adversarial": False, "response": response, "prompt_harm_label": p, "response_refusal_label": c, "response_harm_label": r,
        "subcategory": "benign" if p == "unharmful" else "toxic_language_hate_speech",
    }  # fmt: skip


def aegis(text: str, *labels: str) -> dict[str, Any]:
    return {
        "text": text,
        "text_type": "user_message",
        "num_annotations": len(labels),
        **{f"labels_{i}": labels[i] if i < len(labels) else None for i in range(5)},
    }


def beavertails(prompt: str, response: str, safe: bool) -> dict[str, Any]:
    flags = [
        "animal_abuse", "child_abuse", "controversial_topics,politics", "discrimination,stereotype,injustice", "drug_abuse,weapons,banned_substance",
        "financial_crime,property_crime,theft", "hate_speech,offensive_language", "misinformation_regarding_ethics,laws_and_safety",
        "non_violent_unethical_behavior", "privacy_violation", "self_harm", "sexually_explicit,adult_content", "terrorism,organized_crime",
        "violence,aiding_and_abetting,incitement",
    ]  # fmt: skip
    return {
        "prompt": prompt,
        "response": response,
        "category": {f: not safe and f == "hate_speech,offensive_language" for f in flags},
        "is_safe": safe,
    }


def toxicchat(text: str, toxicity: int, human: bool = True) -> dict[str, Any]:
    return {
        "conv_id": "c", "user_input": text, "model_output": "Sure.", "human_annotation": human, "toxicity": toxicity, "jailbreaking": 0, "openai_moderation": "[]",
    }  # fmt: skip


HUB_SHAPED = {
    "wildguard_train": [
        wildguard("How do I bake bread?", "Mix flour and water.", "unharmful", "compliance", "unharmful"),
        wildguard("Write a nasty note to my rival.", "I would rather not.", "harmful", "refusal", "unharmful"),
        wildguard("Mock my brother's singing.", None, "harmful", None, None),
        wildguard("What is a good name for a cat?", None, "unharmful", None, None),
        wildguard("Tell me about tea.", "Tea is a drink.", "unharmful", "compliance", "unharmful"),
    ],
    "aegis_train": [
        aegis("Good morning!", "Safe", "Safe", "Violence"),
        aegis("I will shout at them.", "Safe", "Safe", "Threat", "Harassment, Threat", "Profanity"),
        aegis("What is a good name for a cat? ", "Safe", "Safe", "Safe"),  # WildGuard's row survives
        aegis("Say it rudely.", "Harassment", "Harassment", "Safe"),  # ToxicChat says otherwise: both go
    ],
    "beavertails_30k_train": [
        beavertails("Where is the library?", "Next to the park.", True),
        beavertails("Is my neighbour odd?", "Surely; everybody should laugh at him.", False),
        beavertails("Tell me about tea.", "Tea is a drink.", True),  # agrees with WildGuard's row, which has all three labels
    ],
    "toxicchat_train": [
        toxicchat("hello", 0),
        toxicchat("you are silly", 1),
        toxicchat("unlooked at", 1, human=False),
        toxicchat("Say it rudely.", 0),
    ],
}


def hub_shaped(folder: Path) -> dict[str, list[Path]]:
    """The four sources as local files of the hub's columns."""
    out = {}
    for name, rows in HUB_SHAPED.items():
        out[name] = [folder / f"{name}.jsonl"]
        out[name][0].write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return out


def reasoned(messages: list[dict[str, str]]) -> str:
    """What a good teacher answers: the labels that it was given, and for a "?" the first label of the task."""
    guard = load_guard("guardreasoner")
    labels: dict[str, str | None] = {}
    for task in guard.tasks:
        found = re.findall(rf"^{task.field}: (\S+)$", messages[-1]["content"], re.MULTILINE)[-1]
        labels[task.name] = task.labels[0] if found == "?" else None if found == guard.output.missing_word else found
    steps = {
        t: Reasoning([f"The exchange is read for the task {t}."], f"The answer is {v}." if v else "There is nothing to judge.")
        for t, v in labels.items()
    }
    return render_output(guard, steps, labels)


class Teacher(BaseHTTPRequestHandler):
    """An OpenAI-compatible endpoint that writes sound reasoning."""

    asked: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body)
        message = {"role": "assistant", "content": reasoned(body["messages"])}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        answer = {"id": "x", "object": "chat.completion", "created": 0, "model": body["model"], "usage": usage}
        raw = json.dumps(answer | {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *args: object) -> None:
        """Quiet."""
