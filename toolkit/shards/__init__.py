"""Shards: parquet files that trainers read as they are, with a manifest that is written last, and the check of both."""

from toolkit.shards._card import CARD_SECTIONS, card, markdown_table, plain
from toolkit.shards._kinds import SHARD_KINDS, ShardKind, kind_of
from toolkit.shards._licences import Licences, known, licence_digests, licence_section, load_licences, models_section, resolve
from toolkit.shards._manifest import GUARD_FACETS, MANIFEST, NAMED, read_manifest, trained_on
from toolkit.shards._push import push, to_send
from toolkit.shards._shards import SPLIT_HINT, ShardWriter, check_columns, names_split
from toolkit.shards._sign import SUFFIX, Signature, public_keys, sign, signature_of
from toolkit.shards._verify import unproven, verify

__all__ = [
    "CARD_SECTIONS",
    "GUARD_FACETS",
    "MANIFEST",
    "NAMED",
    "SHARD_KINDS",
    "SPLIT_HINT",
    "SUFFIX",
    "Licences",
    "ShardKind",
    "ShardWriter",
    "Signature",
    "card",
    "check_columns",
    "kind_of",
    "known",
    "licence_digests",
    "licence_section",
    "load_licences",
    "markdown_table",
    "models_section",
    "names_split",
    "plain",
    "public_keys",
    "push",
    "read_manifest",
    "resolve",
    "sign",
    "signature_of",
    "to_send",
    "trained_on",
    "unproven",
    "verify",
]
