"""Shards in other trainers' formats: TRL, LLaMA-Factory, verl, ms-swift, OpenAI fine-tuning, and the released GuardReasonerTrain layout."""

from toolkit.shards.exporters._check import unproven_of_export
from toolkit.shards.exporters._export import FORMATS, export, shard_folder
from toolkit.shards.exporters._page import card_of
from toolkit.shards.exporters._record import RECORD, read_export, verify_export
from toolkit.shards.exporters._weights import COPIES, Weights

__all__ = ["COPIES", "FORMATS", "RECORD", "Weights", "card_of", "export", "read_export", "shard_folder", "unproven_of_export", "verify_export"]
