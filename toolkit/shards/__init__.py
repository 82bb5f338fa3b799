"""Shards: parquet files that trainers read as they are, with a manifest that is written last, and the check of both."""

from toolkit.shards._card import card
from toolkit.shards._licences import Licences, known, licence_digests, licence_section, load_licences, models_section, resolve
from toolkit.shards._manifest import read_manifest, verify
from toolkit.shards._push import push, to_send
from toolkit.shards._shards import SPLIT_HINT, ShardWriter, check_columns, names_split

__all__ = [
    "SPLIT_HINT",
    "Licences",
    "ShardWriter",
    "card",
    "check_columns",
    "known",
    "licence_digests",
    "licence_section",
    "load_licences",
    "models_section",
    "names_split",
    "push",
    "read_manifest",
    "resolve",
    "to_send",
    "verify",
]
