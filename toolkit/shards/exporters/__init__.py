"""Shards in other trainers' formats: TRL, LLaMA-Factory, verl, ms-swift, OpenAI fine-tuning, the released GuardReasonerTrain layout, and those that
other packages bring."""

from toolkit.shards.exporters._check import unproven_of_export, verify_export
from toolkit.shards.exporters._copied_media import EMBEDDED
from toolkit.shards.exporters._export_folder import export, shard_folder
from toolkit.shards.exporters._exporter_registry import EXPORTERS
from toolkit.shards.exporters._page import card_of
from toolkit.shards.exporters._pair_weights import COPIES, Weights
from toolkit.shards.exporters._record import RECORD, read_export
from toolkit.shards.exporters._shapes import Format, Made, ShardSet

__all__ = [
    "COPIES",
    "EMBEDDED",
    "EXPORTERS",
    "RECORD",
    "Format",
    "Made",
    "ShardSet",
    "Weights",
    "card_of",
    "export",
    "read_export",
    "shard_folder",
    "unproven_of_export",
    "verify_export",
]
