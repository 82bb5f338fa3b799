"""The check of a shard folder against its manifest, by what its files hold.

A manifest is trusted for nothing that the files can tell: which checks apply depends on them, too, not on the format that it names. The rows are
read once, in batches; of each row 8 bytes stay in memory (a hash of its id). What the files cannot tell is listed in `UNPROVEN`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError, InputErrors
from toolkit.common.manifests import read_bytes
from toolkit.common.parquet import batches, open_parquet
from toolkit.common.reading import sha256_once
from toolkit.common.resources import names
from toolkit.guards import Guard, input_fingerprint, load_guard
from toolkit.records import MEDIA, frame_has_media, media_faults
from toolkit.shards._card import CARD_SECTIONS, NO_LABEL, ORIGINS, card
from toolkit.shards._embedded import MEDIA_BYTES, bytes_fault, file_faults
from toolkit.shards._kinds import SHARD_KINDS, holds_media, kind_of
from toolkit.shards._licences import licence_section, load_licences, models_section, resolve
from toolkit.shards._manifest import AGAIN, CARD, GUARD_FACETS, KNOWN, LATER, MANIFEST, UNPROVEN, read_manifest
from toolkit.shards._row_counts import NONE, RowCounts
from toolkit.shards._sign import SUFFIX, signature_of
from toolkit.shards._versions import added_rows, false_extension, left_out, of_old, title_of, versions

if TYPE_CHECKING:
    import polars as pl

GONE = "put the file back in its place, or name the folder that has it: {--media FOLDER|media=FOLDER}; the shards are as they were made"
SHOWN = 20
"""Files that rows refer to and that are missing or others, named for each file of rows."""
TABLE = "or the table of licences (schemas/licences) has changed since: make the shards again"


def verify(folder: Path, *, signature: bool = True, media: Path | None = None) -> dict[str, Any]:
    """Check a shard folder: every file there, nothing else, sizes, sha256, names, row counts, columns; then all that the manifest counts of the rows,
    their ids, splits and labels; its licence and models against those of the rows; that the numbers of the steps before add up; its card against the
    one that it gives; and a signature, where there is one.

    Args:
        folder: of shards.
        signature: whether one is checked; False is for whoever is about to replace it.
        media: the dataset's folder, if the files that rows refer to are to be looked at, too; bytes in the shards always are.

    Returns:
        The manifest.

    Raises:
        InputError: no manifest that can be read; InputErrors: all that is wrong, each with its file; Missing: see `signature_of`.
    """
    manifest = read_manifest(folder)
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()}
    extra = there - set(manifest["files"]) - {MANIFEST, MANIFEST + SUFFIX, *([CARD] if "card" in manifest else [])}
    errors = [InputError("not in the manifest", where=str(folder / name), hint="a shard folder holds nothing else") for name in sorted(extra)]
    if "card" in manifest and (fault := _other_bytes(folder / CARD, manifest["card"]) if CARD in there else "missing"):
        errors.append(InputError(fault, where=str(folder / CARD), hint=AGAIN))
    whole = not errors
    sound = True
    for name, about in manifest["files"].items():
        fault = _fault(folder / name, about, manifest["columns"]) if name in there else "missing"
        if fault:
            sound = False
            errors.append(InputError(fault + of_old(manifest, name), where=str(folder / name), hint=AGAIN))
    false = _false(folder, manifest, media) if sound else _false_licence(manifest)
    errors += [InputError(words, where=str(folder / MANIFEST), hint=hint) for words, hint in false]
    if whole and not errors and manifest["format"] != 1 and _has_sections(manifest) and (line := _other_card(folder / CARD, manifest)):
        errors.append(InputError(f"not the card that the manifest gives: {line}", where=str(folder / CARD), hint=AGAIN))
    if errors:
        raise InputErrors(errors)
    if signature:
        signature_of(folder / MANIFEST)
    return manifest


def _other_bytes(path: Path, about: Mapping[str, Any]) -> str | None:
    """Whether a file is not the one of which `about` has size and sha256."""
    if path.is_symlink():
        return "a link, not a file"
    if path.stat().st_size != about["bytes"] or sha256_once(path, path) != about["sha256"]:
        return "its bytes are not those of the manifest (sha256)"
    return None


def _fault(path: Path, about: Mapping[str, Any], columns: list[dict[str, Any]]) -> str | None:
    """What is wrong with one file of rows."""
    if other := _other_bytes(path, about):
        return other
    try:
        with open_parquet(path, sha256=about["sha256"]) as f:
            rows, schema = f.metadata.num_rows, f.schema_arrow
    except InputError as e:
        return e.message
    if rows != about["rows"]:
        return f"it has {rows:,} rows, the manifest says {about['rows']:,}"
    found = [{"name": field.name, "type": str(field.type), "nullable": field.nullable} for field in schema]
    return None if found == columns else "its columns are not those of the manifest"


Fault = tuple[str, str]
"""What of the manifest is not so, and what to do about it."""


def _false(folder: Path, manifest: Mapping[str, Any], media: Path | None = None) -> list[Fault]:
    """What the manifest says that its files, each as the manifest names it, contradict."""
    rows = _Rows(folder, manifest, media)
    try:
        rows.read()
    except InputError as e:
        return [(e.message, AGAIN)]
    faults = [*_false_format(folder, manifest), *_false_names(manifest["files"]), *rows.faults()]
    counts, tables = rows.counted.counts(), rows.counted.tables()
    if manifest["rows"] != sum(counts["split"].values()):
        faults.append("its row count is not that of its files together")
    checked = counts if manifest["format"] != 1 else {n: n_of for n, n_of in counts.items() if n in manifest["counts"]}
    faults += _differing("counts", manifest["counts"], checked)
    guard = _guard_of(manifest)
    faults += _false_labels(tables["labels"], guard)
    if guard is not None and manifest.get("guard_input", input_fingerprint(guard)) != input_fingerprint(guard):
        faults.append("guard_input: it is not that of the guard")
    if manifest["format"] == 1:
        return [(words, AGAIN) for words in faults] + rows.gone_files()
    faults += _differing("tables", manifest["tables"], tables)
    faults += _false_kind(folder, manifest)
    faults += false_lineage(manifest)
    faults += false_extension(manifest) or _false_versions(folder, manifest)
    return [(words, AGAIN) for words in faults] + rows.gone_files() + ([] if faults else false_papers(manifest, counts))


def _differing(part: str, stated: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    return [f"{part}: {name} is not what its rows say" for name in sorted({*stated, *found}) if stated.get(name) != found.get(name)]


def _false_versions(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """What the versions before counted and their files, which are here under other names, contradict."""
    out, names = [], {name: name for name in manifest["files"]}
    for version in versions(manifest):
        if version is not manifest:
            rows = _Rows(folder, {**version, "files": {names[name]: about for name, about in version["files"].items()}})
            rows.read()
            found = _differing("counts", version["counts"], rows.counted.counts()) + _differing("tables", version["tables"], rows.counted.tables())
            out += [f"extends, {title_of(version)[:60]!r}: {fault}" for fault in found]
        names = {old: names[new] for new, old in (version.get("extends") or {}).get("files", {}).items()}
    return out


def _false_format(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Whether a folder that calls itself format 1 has what only later ones have."""
    import pyarrow.parquet as pq

    if manifest["format"] != 1:
        return []
    later = [f"the key {name!r}" for name in LATER if name in manifest]
    later += [CARD] if (folder / CARD).exists() else []
    for name in manifest["files"]:
        about = pq.read_metadata(folder / name)
        if any(about.row_group(0).column(i).has_offset_index for i in range(about.num_columns)):
            later.append(f"a page index in {name}")
            break
    return [f"it says format 1, and has what came later: {', '.join(later)}"] if later else []


def _false_names(files: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Whether files are not called after their splits, all parts of each."""
    parts: dict[str, int] = {}
    for about in files.values():
        parts[about["split"]] = parts.get(about["split"], 0) + 1
    wanted = {f"data/{split}-{i:05d}-of-{n:05d}.parquet": split for split, n in parts.items() for i in range(n)}
    splits = {name: about["split"] for name, about in files.items()}
    return [] if splits == wanted else ["files: they are not called after their splits, part by part"]


@dataclass
class _Rows:
    """The rows of a folder, read once."""

    folder: Path
    manifest: Mapping[str, Any]
    files: Path | None = None
    counted: RowCounts = field(init=False)
    hashes: list[pl.Series] = field(default_factory=list)
    strays: set[str] = field(default_factory=set)
    media: dict[str, dict[str, None]] = field(default_factory=dict)
    """By file, what is wrong with the media of rows."""
    gone: dict[str, dict[str, None]] = field(default_factory=dict)
    """By file, what of the files that rows refer to is not there or is another one, no more than `SHOWN`."""

    def __post_init__(self) -> None:
        self.names = [c["name"] for c in self.manifest["columns"]]
        self.counted = RowCounts(self.names)
        self.extra = [n for n in ("id", "split", MEDIA, MEDIA_BYTES) if n in self.names]

    def read(self) -> None:
        """Read and count them (InputError: a file cannot be read)."""
        import polars as pl

        for name, about in self.manifest["files"].items():
            wanted = list(dict.fromkeys([*self.counted.columns, *self.extra]))
            for rows in _batches(self.folder / name, wanted, about):
                self.counted.add(rows, about["split"])
                if "id" in self.extra and not rows.schema["id"].is_nested():
                    self.hashes.append(rows["id"].hash())
                if "split" in self.extra and rows.schema["split"] == pl.String and (rows["split"].fill_null("train") != about["split"]).any():
                    self.strays.add(name)
                if frame_has_media(rows):
                    self._look_at_media(rows, name, self.media.setdefault(name, {}))

    def _look_at_media(self, rows: pl.DataFrame, name: str, found: dict[str, None]) -> None:
        fault = next(filter(None, media_faults(rows[MEDIA].to_list())), None)
        if fault is None and MEDIA_BYTES in rows.columns:
            fault = bytes_fault(rows)
        if fault is not None:
            found.setdefault(fault)
        elif self.files is not None:
            gone = self.gone.setdefault(name, {})
            gone.update(dict.fromkeys(islice(file_faults(rows, self.files), SHOWN - len(gone))))

    def faults(self) -> list[str]:
        """What is wrong with the ids, splits and media of the rows."""
        out = [f"{name}: {fault}" for name, faults in sorted(self.media.items()) for fault in faults]
        out += [f"{name}: the split of its rows is not {self.manifest['files'][name]['split']!r}" for name in sorted(self.strays)]
        twice = self._twice()
        return [*out, *([f"the id {twice!r} is there more than once"] if twice is not None else [])]

    def gone_files(self) -> list[Fault]:
        """Files that rows refer to, and that are not there or are others."""
        return [(f"{name}: {fault}", GONE) for name, faults in sorted(self.gone.items()) for fault in faults]

    def _twice(self) -> Any:
        """An id that two rows have; only where two hashes are equal are the ids themselves looked at."""
        import polars as pl

        if not self.hashes:
            return None
        hashes = pl.concat(self.hashes)
        same = hashes.filter(hashes.is_duplicated()).unique()
        seen: set[Any] = set()
        for name, about in self.manifest["files"].items() if same.len() else ():
            for rows in _batches(self.folder / name, ["id"], about):
                for one in rows["id"].filter(rows["id"].hash().is_in(same.implode())):
                    if one in seen:
                        return one
                    seen.add(one)
        return None


def _batches(path: Path, columns: list[str], about: Mapping[str, Any]) -> Iterator[pl.DataFrame]:
    """Some columns of a file, in batches; without any, a frame that has as many rows."""
    import polars as pl
    import pyarrow as pa

    if not columns:
        yield pl.DataFrame({"n": range(about["rows"])})
        return
    try:
        with open_parquet(path, sha256=about["sha256"]) as f:
            for batch in batches(f, path, 8192, columns):
                batch.validate(full=True)  # polars takes text for UTF-8 unseen
                yield pl.DataFrame(pl.from_arrow(pa.Table.from_batches([batch])))
    except (pa.ArrowException, InputError) as e:
        message = e.message if isinstance(e, InputError) else str(e).partition("\n")[0][:200]
        raise InputError(f"{path.name}: its rows cannot be read: {message}") from None


def unproven(manifest: Mapping[str, Any]) -> dict[str, str]:
    """What a manifest says and its folder cannot prove: that part of `UNPROVEN` which applies to it."""
    here = {
        "splits": all(c["name"] != "split" for c in manifest["columns"]),
        "guard": "guard" in manifest and _guard_of(manifest) is None,
        "licence.target": "licence" in manifest,
        "media": holds_media((c["name"], c["type"]) for c in manifest["columns"]) and all(c["name"] != MEDIA_BYTES for c in manifest["columns"]),
        "kind": manifest.get("kind") is not None and manifest["kind"] not in SHARD_KINDS.names(),
        "sections": not _has_sections(manifest),
        **{name: name in manifest for name in ("title", "step", "made_from", "extends", "rewritten")},
        "others": bool(set(manifest) - KNOWN),
    }
    return {name: words for name, words in UNPROVEN.items() if here.get(name, True)}


def _has_sections(manifest: Mapping[str, Any]) -> bool:
    """Whether all sections of the card are known here."""
    return not (named := manifest.get("sections")) or set(named) <= set(CARD_SECTIONS.names())


def _false_kind(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Whether the shards cannot be of the kind that the manifest names, where it is known here."""
    if (named := manifest.get("kind")) is None or named not in SHARD_KINDS.names():
        return []
    try:
        kind_of([c["name"] for c in manifest["columns"]], named, str(folder))
    except InputError as e:
        return [f"kind: {e.message}"]
    return []


def _guard_of(manifest: Mapping[str, Any]) -> Guard | None:
    """The guard, if one of this name is known here and is the same one; a path is never followed."""
    name, _, version = str(manifest.get("guard")).rpartition(" ")
    if name not in names("guards"):
        return None
    guard = load_guard(name)
    same = (guard.only(GUARD_FACETS).fingerprint, guard.fingerprint)
    return guard if version == str(guard.version) and manifest.get("guard_fingerprint") in same else None


def _false_labels(lines: Iterable[Mapping[str, Any]], guard: Guard | None) -> list[str]:
    """Labels that the guard does not know, and labels beside a word that says that there is none, or the other way round."""
    out: dict[str, None] = {}
    for line in lines:
        task, label, origin = line["task"], line["label"], line["origin"]
        known = guard.task(task).labels if guard is not None and task in guard.task_names else None
        if label != NONE and origin in NO_LABEL:
            out[f"label_{task}: rows have the label {label!r}, and its origin {origin!r} says that there is none"] = None
        if known is not None and label != NONE and label not in known:
            out[f"label_{task}: {label[:60]!r} is no label of the guard's"] = None
        if known is not None and label == NONE and NONE not in known and origin in ORIGINS and origin not in NO_LABEL:
            out[f"label_{task}: rows have no label, and its origin {origin!r} says that there is one"] = None
    return list(out)


def false_lineage(manifest: Mapping[str, Any]) -> list[str]:
    """Steps whose numbers do not add up. Those of an earlier guardkit do not say which steps multiply rows: any may have more."""
    steps = (manifest.get("made_from") or {}).get("steps", [])
    out = []
    for s in steps:
        gone = sum(s["rejected"].values()) + s["merged"] + sum(s["set_aside"].values())
        came, kept = s["in"], s["kept"]
        shape = s.get("shape")
        if shape == "expand":
            came = round(came * (s.get("factor") or 1.0))
        elif shape == "pick":
            kept = s.get("parents") or 0
        more = kept + gone > came and shape is None and not s["merged"]
        if min(chain([0], s["rejected"].values(), s["set_aside"].values())) < 0 or (kept + gone != came and not more):
            out.append(f"made_from: what became of the rows of {s['step']!r} does not add up")
    if steps and steps[-1]["kept"] != added_rows(manifest) + left_out(manifest):
        out.append(f"made_from: {steps[-1]['step']!r} kept another number of rows")
    old = (manifest.get("extends") or {}).get("manifest")
    return out + ([f"extends: {fault}" for fault in false_lineage(old)] if old else [])


def false_papers(manifest: Mapping[str, Any], counts: Mapping[str, Mapping[str, int]]) -> list[Fault]:
    """What the manifest says of licences and models that does not follow from its rows and the table."""
    if wrong := _false_licence(manifest):
        return wrong
    stated, table = manifest.get("licence"), load_licences()
    if stated is None or manifest.get("models") is None:
        return [(f"{part}: it says nothing of them", AGAIN) for part in ("licence", "models") if manifest.get(part) is None]
    out = [("models: they are not what its rows say", TABLE)] if manifest["models"] != models_section(counts, table) else []
    if stated["target"] is not None and table.find(stated["target"]) is None:
        return [*out, (f"licence: {stated['target']!r} is not known (schemas/licences)", TABLE)]
    found = licence_section(counts["licence"], stated["target"], table)
    other = [name for name in sorted({*stated, *found}) if stated.get(name) != found.get(name)]
    return out + [(f"licence: {name} is not what its rows and the table of licences say", TABLE) for name in other]


def _false_licence(manifest: Mapping[str, Any]) -> list[Fault]:
    """Whether the set carries a licence that its rows, by today's table, may not go into."""
    carried = (manifest.get("licence") or {}).get("id")
    if carried is None:
        return []
    table = load_licences()
    if table.find(carried) is None:
        return [(f"licence: {carried!r} is not known (schemas/licences)", TABLE)]
    refused = [word if table.find(word) else f"{word} (not known)" for word in resolve(manifest["counts"].get("licence", {}), carried, table).refused]
    return [(f"licence: {carried}, but rows are under {', '.join(refused)}, which may not go into it", AGAIN)] if refused else []


def _other_card(path: Path, manifest: Mapping[str, Any]) -> str | None:
    """The first line of a card that is not the one which the manifest gives."""
    there, wanted = read_bytes(path).decode(errors="backslashreplace").split("\n"), card(manifest).split("\n")
    if there == wanted:
        return None
    at = next((i for i, (a, b) in enumerate(zip(there, wanted, strict=False)) if a != b), min(len(there), len(wanted)))
    return f"line {at + 1}, {there[at][:80]!r}" if at < len(there) else f"it ends at line {at}"
