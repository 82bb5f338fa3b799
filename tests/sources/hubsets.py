"""Small sets with the columns and types that the public ones have on the hub. All texts are ours and mild."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

Rows = list[dict[str, Any]]
FLAGS = [
    "animal_abuse", "child_abuse", "controversial_topics,politics", "discrimination,stereotype,injustice", "drug_abuse,weapons,banned_substance",
    "financial_crime,property_crime,theft", "hate_speech,offensive_language", "misinformation_regarding_ethics,laws_and_safety",
    "non_violent_unethical_behavior", "privacy_violation", "self_harm", "sexually_explicit,adult_content", "terrorism,organized_crime",
    "violence,aiding_and_abetting,incitement",
]  # fmt: skip
S, B, I = pa.string(), pa.bool_(), pa.int64()  # noqa: E741
SCHEMAS = {
    "wildguard_train": pa.schema(
        [("prompt", S), ("adversarial", B), ("response", S), ("prompt_harm_label", S), ("response_refusal_label", S), ("response_harm_label", S), ("subcategory", S)]
    ),
    "aegis_train": pa.schema([("text", S), ("text_type", S), ("num_annotations", I), *((f"labels_{i}", S) for i in range(5))]),
    "beavertails_30k_train": pa.schema([("prompt", S), ("response", S), ("category", pa.struct([(f, B) for f in FLAGS])), ("is_safe", B)]),
    "toxicchat_train": pa.schema(
        [("conv_id", S), ("user_input", S), ("model_output", S), ("human_annotation", B), ("toxicity", I), ("jailbreaking", I), ("openai_moderation", S)]
    ),
}  # fmt: skip


def wildguard(prompt: Any, response: str | None, p: str | None, c: str | None, r: str | None, kind: str = "benign") -> dict[str, Any]:
    """A row of WildGuardTrain."""
    return {
        "prompt": prompt, "adversarial": False, "response": response, "prompt_harm_label": p, "response_refusal_label": c,
        "response_harm_label": r, "subcategory": kind,
    }  # fmt: skip


def aegis(text: str, *votes: str | None) -> dict[str, Any]:
    """A row of AegisTrain."""
    labels = {f"labels_{i}": votes[i] if i < len(votes) else None for i in range(5)}
    return {"text": text, "text_type": "user_message", "num_annotations": len(votes), **labels}


def beavertails(prompt: str, response: str, *flags: str) -> dict[str, Any]:
    """A row of BeaverTails."""
    return {"prompt": prompt, "response": response, "category": {f: f in flags for f in FLAGS}, "is_safe": not flags}


def toxicchat(text: str, toxicity: int, human: bool = True) -> dict[str, Any]:
    """A row of ToxicChat."""
    return {
        "conv_id": "c", "user_input": text, "model_output": "Sure.", "human_annotation": human, "toxicity": toxicity, "jailbreaking": 0,
        "openai_moderation": "[]",
    }  # fmt: skip


ROWS: dict[str, Rows] = {
    "wildguard_train": [
        wildguard("How do I bake bread?", "Mix flour and water.", "unharmful", "compliance", "unharmful"),
        wildguard("Write a nasty note to my rival.", "I would rather not.", "harmful", "refusal", "unharmful", "toxic_language_hate_speech"),
        wildguard("Help me copy this film.", None, "harmful", None, None, "copyright_violations"),
        wildguard("Tell me about tea.", "Tea is a drink.", None, "compliance", None, "others"),
    ],
    "aegis_train": [
        aegis("Good morning!", "Safe", "Safe", "Violence"),
        aegis("I will shout at them.", "Safe", "Safe", "Threat", "Harassment, Threat", "Profanity"),
        aegis("Could go either way.", "Safe", "Needs Caution"),
        aegis("Nobody looked."),
        aegis("Rude words here.", "Profanity, Harassment", "Needs Caution", "Profanity"),
    ],
    "beavertails_30k_train": [
        beavertails("Where is the library?", "Next to the park."),
        beavertails("Is my neighbour odd?", "Surely; take his bike.", "financial_crime,property_crime,theft", "non_violent_unethical_behavior"),
    ],
    "toxicchat_train": [toxicchat("hello", 0), toxicchat("you are silly", 1), toxicchat("unlooked at", 1, human=False)],
}
FILES = {
    "wildguard_train": "train/wildguard_train.parquet", "aegis_train": "data/train.parquet", "beavertails_30k_train": "30k_train.parquet",
    "toxicchat_train": "data/train.parquet",
}  # fmt: skip
