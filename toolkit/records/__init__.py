"""Arrow schemas of the records, declared in ``schemas/records``, and content ids.

A record's columns may depend on the guard: those under ``per_task`` occur once for each of the guard's tasks. Those that are `optional` stand only
in tables that have what they hold.
"""

from toolkit.records._ids import child_id, content_id, content_ids, group_id, pair_id, row_id
from toolkit.records._media import KINDS, MEASURES, MEDIA, MOST, TYPE, Media, frame_has_media, has_media, hashes, media_faults, media_of, others
from toolkit.records._schemas import Column, load_record, name_fault, polars_type, to_arrow, to_polars

__all__ = [
    "KINDS",
    "MEASURES",
    "MEDIA",
    "MOST",
    "TYPE",
    "Column",
    "Media",
    "child_id",
    "content_id",
    "content_ids",
    "frame_has_media",
    "group_id",
    "has_media",
    "hashes",
    "load_record",
    "media_faults",
    "media_of",
    "name_fault",
    "others",
    "pair_id",
    "polars_type",
    "row_id",
    "to_arrow",
    "to_polars",
]
