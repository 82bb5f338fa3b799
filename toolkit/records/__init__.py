"""Arrow schemas of the records, declared in ``schemas/records``, and content ids.

A record's columns may depend on the guard: those under ``per_task`` stand once for each of the guard's tasks.
"""

from toolkit.records._ids import child_id, content_id, pair_id, row_id
from toolkit.records._schemas import Column, RecordSchema, load_record, name_fault, to_arrow, to_polars

__all__ = ["Column", "RecordSchema", "child_id", "content_id", "load_record", "name_fault", "pair_id", "row_id", "to_arrow", "to_polars"]
