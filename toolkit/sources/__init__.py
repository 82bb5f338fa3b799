"""Sources of seeds as data: each ``schemas/sources/<name>.yaml`` says how a public set's columns become labelled interactions.

`read_source` reads one from the hub, from local parquet, JSON Lines, JSON or CSV files of the same columns, or from the files that ship
with guardkit. Another source is another file and no other code.
"""

from toolkit.sources._convert import GUARDS, guards_of, read_labels
from toolkit.sources._definition import Columns, Filter, Hub, Label, LabelSource, Part, Source, SourceInfo, VoteMethod, list_sources, load_source
from toolkit.sources._faults import Fault, has_surrogate
from toolkit.sources._files import SourceFile, expand_files, source_files
from toolkit.sources._formats import arrow_rows, file_columns, format_of, read_blocks
from toolkit.sources._frames import Frame, count_rows, read_frames
from toolkit.sources._hub import HubCheck, check_hub, hub_needs
from toolkit.sources._json_lines import JsonLine, opened, read_json_lines
from toolkit.sources._occurrences import Occurrences, SeenKeys
from toolkit.sources._read import REJECT_COLUMNS, Block, read_rows, read_source
from toolkit.sources._released import split_released_input

__all__ = [
    "GUARDS",
    "REJECT_COLUMNS",
    "Block",
    "Columns",
    "Fault",
    "Filter",
    "Frame",
    "Hub",
    "HubCheck",
    "JsonLine",
    "Label",
    "LabelSource",
    "Occurrences",
    "Part",
    "SeenKeys",
    "Source",
    "SourceFile",
    "SourceInfo",
    "VoteMethod",
    "arrow_rows",
    "check_hub",
    "count_rows",
    "expand_files",
    "file_columns",
    "format_of",
    "guards_of",
    "has_surrogate",
    "hub_needs",
    "list_sources",
    "load_source",
    "opened",
    "read_blocks",
    "read_frames",
    "read_json_lines",
    "read_labels",
    "read_rows",
    "read_source",
    "source_files",
    "split_released_input",
]
