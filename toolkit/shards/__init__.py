"""Shards: parquet files that trainers read as they are, with a manifest that is written last, and the check of both."""

from typing import TYPE_CHECKING

from toolkit.common.lazy import lazily

if TYPE_CHECKING:
    from toolkit.shards._card import CARD_SECTIONS as CARD_SECTIONS
    from toolkit.shards._card import PAPER as PAPER
    from toolkit.shards._card import PAPER_ALL as PAPER_ALL
    from toolkit.shards._card import card as card
    from toolkit.shards._card import markdown_table as markdown_table
    from toolkit.shards._card import plain as plain
    from toolkit.shards._check_folder import unproven as unproven
    from toolkit.shards._check_folder import verify as verify
    from toolkit.shards._embedded import BYTES as BYTES
    from toolkit.shards._embedded import MEDIA_BYTES as MEDIA_BYTES
    from toolkit.shards._embedded import with_bytes as with_bytes
    from toolkit.shards._kinds import SHARD_KINDS as SHARD_KINDS
    from toolkit.shards._kinds import ShardKind as ShardKind
    from toolkit.shards._kinds import holds_media as holds_media
    from toolkit.shards._kinds import kind_of as kind_of
    from toolkit.shards._licences import Licences as Licences
    from toolkit.shards._licences import known as known
    from toolkit.shards._licences import licence_digests as licence_digests
    from toolkit.shards._licences import licence_section as licence_section
    from toolkit.shards._licences import load_licences as load_licences
    from toolkit.shards._licences import models_section as models_section
    from toolkit.shards._licences import resolve as resolve
    from toolkit.shards._manifest import GUARD_FACETS as GUARD_FACETS
    from toolkit.shards._manifest import MANIFEST as MANIFEST
    from toolkit.shards._manifest import NAMED as NAMED
    from toolkit.shards._manifest import read_manifest as read_manifest
    from toolkit.shards._manifest import trained_on as trained_on
    from toolkit.shards._overlay_file import DECIDED as DECIDED
    from toolkit.shards._overlay_file import Overlay as Overlay
    from toolkit.shards._overlay_file import add_to_overlay as add_to_overlay
    from toolkit.shards._overlay_file import is_overlay as is_overlay
    from toolkit.shards._overlay_file import read_overlay as read_overlay
    from toolkit.shards._overlay_file import sign_overlay as sign_overlay
    from toolkit.shards._push import push as push
    from toolkit.shards._push import to_send as to_send
    from toolkit.shards._rewritten import rewrite_categories as rewrite_categories
    from toolkit.shards._row_counts import NONE as NONE
    from toolkit.shards._row_counts import SEED_MODELS as SEED_MODELS
    from toolkit.shards._shards import SPLIT_HINT as SPLIT_HINT
    from toolkit.shards._shards import ShardWriter as ShardWriter
    from toolkit.shards._shards import check_columns as check_columns
    from toolkit.shards._shards import names_split as names_split
    from toolkit.shards._sign import SUFFIX as SUFFIX
    from toolkit.shards._sign import Signature as Signature
    from toolkit.shards._sign import public_keys as public_keys
    from toolkit.shards._sign import sign as sign
    from toolkit.shards._sign import signature_of as signature_of
    from toolkit.shards._versions import OldVersion as OldVersion
    from toolkit.shards._versions import added_rows as added_rows
    from toolkit.shards._versions import old_version as old_version
    from toolkit.shards._versions import shard_rows as shard_rows
    from toolkit.shards._versions import title_of as title_of
    from toolkit.shards._versions import versions as versions

__getattr__, __dir__ = lazily(__name__)
