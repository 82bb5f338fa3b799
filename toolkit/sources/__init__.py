"""Sources of seeds as data: each ``schemas/sources/<name>.yaml`` says how a public set's columns become labelled interactions.

`read_source` reads one from the hub, from local parquet, JSON Lines, JSON or CSV files of the same columns, or from the files that ship
with guardkit. Another source is another file and no other code.
"""

from typing import TYPE_CHECKING

from toolkit.common.lazy import lazily

if TYPE_CHECKING:
    from toolkit.sources._column_frames import Frame as Frame
    from toolkit.sources._column_frames import count_rows as count_rows
    from toolkit.sources._column_frames import read_frames as read_frames
    from toolkit.sources._convert import GUARDS as GUARDS
    from toolkit.sources._convert import guards_of as guards_of
    from toolkit.sources._convert import read_labels as read_labels
    from toolkit.sources._faults import Fault as Fault
    from toolkit.sources._faults import has_surrogate as has_surrogate
    from toolkit.sources._files import expand_files as expand_files
    from toolkit.sources._files import source_files as source_files
    from toolkit.sources._formats import arrow_rows as arrow_rows
    from toolkit.sources._formats import file_columns as file_columns
    from toolkit.sources._formats import format_of as format_of
    from toolkit.sources._formats import read_blocks as read_blocks
    from toolkit.sources._hub import check_hub as check_hub
    from toolkit.sources._hub import hub_needs as hub_needs
    from toolkit.sources._json_lines import opened as opened
    from toolkit.sources._media_files import MediaFiles as MediaFiles
    from toolkit.sources._media_files import archives_of as archives_of
    from toolkit.sources._members import count_members as count_members
    from toolkit.sources._members import source_digest as source_digest
    from toolkit.sources._occurrences import Occurrences as Occurrences
    from toolkit.sources._occurrences import SeenKeys as SeenKeys
    from toolkit.sources._read_source import Block as Block
    from toolkit.sources._read_source import check_media as check_media
    from toolkit.sources._read_source import read_rows as read_rows
    from toolkit.sources._read_source import read_source as read_source
    from toolkit.sources._released import split_released_input as split_released_input
    from toolkit.sources._released import split_released_inputs as split_released_inputs
    from toolkit.sources._source_definition import Columns as Columns
    from toolkit.sources._source_definition import Filter as Filter
    from toolkit.sources._source_definition import Hub as Hub
    from toolkit.sources._source_definition import Label as Label
    from toolkit.sources._source_definition import LabelSource as LabelSource
    from toolkit.sources._source_definition import Part as Part
    from toolkit.sources._source_definition import Source as Source
    from toolkit.sources._source_definition import VoteMethod as VoteMethod
    from toolkit.sources._source_definition import list_sources as list_sources
    from toolkit.sources._source_definition import load_source as load_source
    from toolkit.sources._written import USUAL as USUAL
    from toolkit.sources._written import Layout as Layout
    from toolkit.sources._written import RowsByNumber as RowsByNumber
    from toolkit.sources._written import check_columns as check_columns
    from toolkit.sources._written import known_columns as known_columns
    from toolkit.sources._written import layout_of as layout_of
    from toolkit.sources._written import read_layout as read_layout
    from toolkit.sources._written import unreadable_rows as unreadable_rows

__getattr__, __dir__ = lazily(__name__)
