"""Which steps of a workspace hold some rows, or what came from some records."""

from __future__ import annotations

from pathlib import Path

from toolkit.common.errors import short_path


def runs_holding(root: Path, rows: set[str], keys: set[str]) -> list[str]:
    """The step folders below `root` with a parquet file that names one of the rows (columns id, parent) or keys (columns …_key).

    A file that cannot be read counts as one: nobody can say that it does not.
    """
    import polars as pl

    def holds(path: Path) -> bool:
        try:
            columns = pl.scan_parquet(path, glob=False).collect_schema()
            names = [c for c, kind in columns.items() if kind == pl.String and (c in ("id", "parent") or c.endswith("_key"))]
            wanted = [pl.col(c).is_in(sorted(keys if c.endswith("_key") else rows)).any() for c in names]
            return bool(wanted) and bool(pl.scan_parquet(path, glob=False).select(pl.any_horizontal(wanted)).collect().item())
        except (pl.exceptions.PolarsError, OSError):
            return True

    return sorted({short_path(root / Path(*path.relative_to(root).parts[:2])) for path in root.glob("*/*/**/*.parquet") if holds(path)})
