"""Sources on the Hugging Face hub, through ``datasets.load_dataset``.

The set is downloaded and prepared by ``datasets`` in its own cache; its rows are then read from there block by block. The cached
files are memory-mapped by ``datasets``: their pages count as resident until the system wants them back.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import FULL, GuardkitError, InputError, InputErrors, Missing, Stopped, require
from toolkit.common.http import careful_hub
from toolkit.common.paths import here, is_there
from toolkit.common.secrets import shown
from toolkit.common.sizes import BLOCK_BYTES
from toolkit.sources._convert import Converter
from toolkit.sources._faults import RowError
from toolkit.sources._files import missing_columns
from toolkit.sources._formats import Raw, arrow_rows
from toolkit.sources._source_definition import Hub, Source

if TYPE_CHECKING:
    import pyarrow as pa

    from toolkit.guards import Guard
    from toolkit.taxonomy import Taxonomy


@dataclass(frozen=True)
class HubCheck:
    """What the first rows of a hub set tell. Fine when `missing` and `faults` are empty."""

    source: str
    hub: str
    rows: int
    """Rows looked at."""
    missing: list[str] = field(default_factory=list)
    """Columns that the source needs and the set lacks."""
    faults: dict[str, list[str]] = field(default_factory=dict)
    """Reason code -> details (at most five) of the rows that cannot be seeds: values that a map does not know, say."""

    @property
    def ok(self) -> bool:
        """Whether rows were read and nothing was found."""
        return self.rows > 0 and not self.missing and not self.faults


def hub_needs(source: Source) -> list[str]:
    """What this machine lacks for reading a source from the hub, in words; nothing is asked of the network."""
    out = []
    if find_spec("datasets") is None:
        out.append(f"source {source.name!r}: the package 'datasets' is missing: pip install 'guardkit[hub]'")
    if source.gated and not (os.environ.get("HF_TOKEN") or _token_file()):
        out.append(
            f"source {source.name!r} is gated: accept its terms at https://huggingface.co/datasets/{source.hub.id if source.hub else '?'}, "
            f"make a token at https://huggingface.co/settings/tokens and set HF_TOKEN, or give local files (--source {source.name}=FILE)"
        )
    return out


def _token_file() -> bool:
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    return (home / "token").is_file()


def hub_blocks(source: Source, required: Sequence[str], wanted: Sequence[str], block_rows: int) -> Iterator[list[Raw]]:
    """Raw rows of a hub set. The set is fetched and its columns are checked here, before the first block.

    Raises:
        InputError: no such config, split or column, or no rows; Missing: no access, or the hub is out of reach.
    """

    where = _hub(source).id
    data = _load(source, streaming=False)
    errors = missing_columns(source, required, frozenset(data.column_names), where)
    if errors:
        raise errors[0] if len(errors) == 1 else InputErrors(errors)
    if not len(data):
        raise InputError(f"source {source.name!r} is empty: 0 rows", where=where)
    tables = data.select_columns([c for c in wanted if c in data.column_names]).with_format("arrow")
    return _blocks(tables.iter(batch_size=block_rows))


def _blocks(tables: Iterator[pa.Table]) -> Iterator[list[Raw]]:
    """Tables as rows, in pieces of about `BLOCK_BYTES` where one is larger."""
    start = 0
    for table in tables:
        n = max(1, BLOCK_BYTES * table.num_rows // max(1, table.nbytes))
        for at in range(0, table.num_rows, n):
            piece = table.slice(at, n)
            yield arrow_rows(piece, start)
            start += piece.num_rows


def check_hub(source: Source, *, guard: Guard, taxonomy: Taxonomy, rows: int = 200) -> HubCheck:
    """Read the first rows of a hub set, without downloading the rest, and say what does not fit the source definition.

    Raises:
        InputError: the source has no hub set, or it has no such config or split.
        Missing: no access (with how to get it), or the hub is out of reach.
    """
    hub = _hub(source)
    converter = Converter(source, guard, taxonomy)
    data = _load(source, streaming=True)
    try:
        with careful_hub():
            first = list(islice(data, rows))
    except Exception as e:  # as in _load: streaming reads the files only now
        raise _failed(source, e) from e
    missing = [c for c in converter.required if first and c not in first[0]]
    faults: dict[str, list[str]] = {}
    for row, view in product(first if not missing else [], converter.views):
        try:
            if view.keeps(row):
                view.seed(row)
        except RowError as e:
            details = faults.setdefault(e.reason, [])
            if e.detail not in details and len(details) < 5:
                details.append(e.detail)
    return HubCheck(source.name, hub.id, len(first), missing, faults)


def _hub(source: Source) -> Hub:
    if source.hub is None:
        raise InputError(f"source {source.name!r} is not on the hub")
    return source.hub


def _load(source: Source, *, streaming: bool) -> Any:
    require("datasets", "hub", f"source {source.name!r} on the hub")
    from datasets import load_dataset

    hub = _hub(source)
    if not Path(hub.id).is_absolute() and is_there(here() / hub.id, Path.is_dir):
        message = "a folder of this name is in the working folder, and `datasets` would read that instead of the hub"
        raise InputError(message, where=hub.id, hint=f"start elsewhere, or read the folder: --source {source.name}={hub.id}")
    try:
        with careful_hub():
            return load_dataset(hub.id, hub.config, split=hub.split, revision=hub.revision, streaming=streaming)
    except ValueError as e:
        raise InputError(f"the hub set has another form than the source says: {e}", where=hub.id) from e
    except Exception as e:  # errors of httpx, fsspec, pyarrow, huggingface_hub and datasets' own come through: all mean that no data came
        raise _failed(source, e) from e


def _failed(source: Source, error: Exception) -> GuardkitError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in FULL:
            return Stopped(f"the disk is full: {source.name!r} could not be fetched", hint="make room (HF_HOME says where the cache is)")
        cause = cause.__cause__
    hub = _hub(source)
    what = f"{type(error).__name__}: {shown(' '.join(str(error).split()))[:300]}"
    files = "or give local files of the same columns" + (f" ({', '.join(source.files)})" if source.files else "")
    page = source.url or f"https://huggingface.co/datasets/{hub.id}"
    if source.gated and not isinstance(error, TypeError | AttributeError | LookupError):
        hint = (
            f"the set is gated: sign in and accept its terms at {page}, make a token with read access at "
            f"https://huggingface.co/settings/tokens and set it as HF_TOKEN; {files}"
        )
    else:
        hint = f"check the network (the set's page: {page}), {files}"
    return Missing(f"source {source.name!r} cannot be fetched from the hub ({what})", where=hub.id, hint=hint)
