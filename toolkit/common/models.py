"""What a local model folder is, whatever its path: a hash of everything in it that shapes its outputs.

The hash names a local model in requests and in the journal (architecture.md, invariant 2), so that a model retrained at the
same path is another model and a copied folder is the same one. It counts every file but those known not to shape outputs:
a file that nobody thought of costs at most one repeated question, never a stale answer.

A model is named by a folder or by its id on the hub, and `model_folder` alone says which is meant: a folder of that name that is there comes first;
what is written as a path (it begins with ``.``, ``/`` or ``~``, or could be no id) is one; ``owner/name`` is an id. Only libraries that know ids
without an owner (of embedding models, say) are given such. A GGUF file, and a model that a Python package brings as one, stands for the folder that
it is turned into (`toolkit.common.gguf_models`).

Nothing here imports torch or transformers.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from toolkit.common.errors import InputError
from toolkit.common.files import digest
from toolkit.common.folders import Kind, files_below
from toolkit.common.gguf_models import gguf_file, gguf_lacks, is_gguf, unpacked
from toolkit.common.manifests import read_json
from toolkit.common.paths import Beside, Roots, near_file
from toolkit.common.reading import Files, sha256_once, unreadable

TRAINED = "guardkit.json"
"""File of a model folder that says what guardkit trained it for, and the files that it wrote; see `trained_for`."""

METRICS, CURVES = "metrics.jsonl", "curves.svg"
"""Files of a model folder with what its training was like, update by update; they shape no output."""

_VERSION = "model/1"
_WEIGHTS = ("*.safetensors", "*.bin", "*.gguf", "*.pt", "*.pth")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
# Left by trainers and by people beside a model; no loader reads them (transformers.trainer and accelerate write the first six).
_IGNORED = {
    "training_args.bin",
    "trainer_state.json",
    "optimizer.pt",
    "optimizer.bin",
    "scheduler.pt",
    "scaler.pt",
    "readme.md",
    "license",
    "license.txt",
    "license.md",
    "notice",
    "use_policy.md",
    METRICS,
    CURVES,
    "guardkit.json",  # what a model was trained for (`TRAINED`): it is checked, and shapes nothing
}
_IGNORED_STARTS = (".", "rng_state", "events.out.tfevents")
# Keys of the JSON files that say where a model was or who wrote it.
_IGNORED_KEYS = {"_name_or_path", "name_or_path", "transformers_version", "base_model_name_or_path"}


def calm_threads() -> None:
    """Let torch's idle threads sleep instead of spin; call before torch is first imported, later it changes nothing.

    PyTorch's OpenMP threads spin while they wait for each other. On a machine with another busy process that made training on 2 cores
    4 to 10 times slower; asleep, they cost a few per cent where the machine is idle (measured, torch 2.13). A value that the user
    has set stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


_CONFIGS = ("config.json", "adapter_config.json", "modules.json")  # the last: of sentence-transformers
_HUB_ID = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*/)?[A-Za-z0-9_][A-Za-z0-9_.-]*")


def model_folder(name: str, beside: Beside = None, *, short: bool = False) -> Path | None:
    """The local folder, absolute, that a model's, adapter's or tokenizer's name stands for; None for an id on the hub (see above).

    Of several folders of that name the first with a model in it is taken; whether that is whole is the caller's to check. A step's folder is as good
    as the model in it (``model``).

    Args:
        name: as the user wrote it.
        beside: folder that a relative name is also looked up from.
        short: whether the library that gets an id knows some without an owner.

    Raises:
        InputError: no such folder, and no id that the hub could have; a GGUF file that cannot be turned into one.
        Missing: what a GGUF file needs is not installed.
    """
    if "://" in name:
        raise InputError("a URL, not a model folder nor a hub model (owner/name)", where=name, hint="a model on the hub is named by owner/name alone")
    roots = Roots.of(beside)
    found = roots.first(name, lambda path: _holds(path) or _holds(path / "model")) or roots.first(name, Path.is_dir)
    if found is not None:
        found = found / "model" if not _holds(found) and _holds(found / "model") else found
        roots.saw(found)
        return found
    if is_gguf(name, roots):
        calm_threads()  # torch is first loaded here, perhaps
        return unpacked(gguf_file(name, roots))
    if _HUB_ID.fullmatch(name) is None or not (short or "/" in name):
        near = next((hint for folder in roots.folders if (hint := near_file(folder / name)) is not None), None)
        raise InputError("no such model folder, nor a hub model (owner/name)", where=name, hint=near)
    return None


def _holds(folder: Path) -> bool:
    return any((folder / f).is_file() for f in (*_CONFIGS, *_TOKENIZERS))


def is_model_folder(name: str) -> bool:
    """Whether `name` is a local folder with a model's or an adapter's configuration."""
    return any((Path(name) / f).is_file() for f in ("config.json", "adapter_config.json"))


def adapter_config(folder: Path) -> dict[str, Any] | None:
    """What ``adapter_config.json`` says; None where `folder` holds a whole model.

    Raises:
        InputError: it is not JSON.
    """
    return None if (folder / "config.json").is_file() else _json_object(folder / "adapter_config.json")


def chat_template(folder: Path) -> str | None:
    """Text of the chat template in a model folder, as transformers would take it; None where there is none.

    Raises:
        InputError: a file of the tokenizer is not JSON.
    """
    file = folder / "chat_template.jinja"  # wins over the one in tokenizer_config.json (transformers.tokenization_utils_base)
    if file.is_file():
        return _text(file)
    found = (_json_object(folder / "tokenizer_config.json") or {}).get("chat_template")
    if isinstance(found, list):  # several by name; "default" is the one that is taken
        found = next((t.get("template") for t in found if t.get("name") == "default"), None)
    return found if isinstance(found, str) else None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as e:
        raise unreadable(e, file) from None
    except UnicodeDecodeError as e:
        raise InputError(f"not UTF-8 (byte {e.start})", where=str(file)) from None


def trained_for(folder: Path) -> dict[str, Any] | None:
    """What guardkit trained the model for: ``{"guard", "input", "chat_template", "prompts"}``; None where another program trained it.

    ``guard`` is the definition's name and version and ``input`` the fingerprint of its input (null where the shards did not say),
    ``chat_template`` the sha256 of the template's text; ``chat_template_kwargs``, where it is there, its arguments, which the text has in it.
    ``base`` of an adapter: ``{"name", "sha256"}`` of the model that it was trained on, the latter null for one on the hub.

    Raises:
        InputError: the file is not JSON.
    """
    return _json_object(folder / TRAINED)


def model_hash(path: str | Path, base: Path | None = None, beside: Beside = None) -> str:
    """sha256 (hex) of what shapes a local model's outputs: weights, adapter, tokenizer, chat template, configuration.

    File names count, the folder's own path and its files' times do not; JSON counts by its values, without the keys that record a
    path or a library's version. The base of an adapter counts by its own hash when it is a local folder, else by its name.
    Reads every byte of the weights: about a second for 1-2 GB from a warm disk.

    Args:
        path: a folder as ``save_pretrained`` writes it.
        base: folder of an adapter's base; default: the one that its configuration names.
        beside: folder that this name is also looked up from.

    Raises:
        InputError: no such folder, or no configuration or no weights in it.
    """
    return _hash(Path(path), None if base is None else Path(base), (), beside)


def model_digest(name: str, roots: Roots, files: Files, *, short: bool = False) -> str:
    """What a model counts by in a fingerprint: its folder's content hash, taken through `files`, a GGUF file's sha256, or its name on the hub.

    Args:
        name: as the user wrote it.
        roots: where a folder of that name is looked up.
        files: of the step.
        short: as for `model_folder`.

    Raises:
        InputError: no such folder.
    """
    if is_gguf(name, roots):  # not unpacked to make a plan
        return name if gguf_lacks(name) else files.digest(gguf_file(name, roots))
    folder = model_folder(name, roots, short=short)
    return name if folder is None else files.digest(folder, partial(model_hash, beside=roots), partial(model_parts, beside=roots))


def _hash(folder: Path, base: Path | None, above: tuple[Path, ...], beside: Beside) -> str:
    """`above`: the adapters that are on this folder."""
    path = folder
    if not folder.is_dir():
        raise InputError("no such model folder", where=str(path))
    if not is_model_folder(str(folder)) and not (folder / "modules.json").is_file():  # the latter: a sentence-transformers model of other parts
        raise InputError("not a model folder: neither config.json nor adapter_config.json", where=str(path))
    files = counted_files(folder)
    if not any(p.match(w) for p in files for w in _WEIGHTS):
        raise InputError("a model folder without weights", where=str(path), hint="expected *.safetensors (or *.bin)")
    parts = {p.relative_to(folder).as_posix(): _file_digest(p) for p in files}
    return digest([_VERSION, parts, _hash(base, None, above, beside) if base is not None else _base(folder, above, beside)])


def check_base(adapter: Path, base: Path) -> None:
    """Refuse a base other than the one that guardkit trained an adapter on, as the adapter's folder says.

    Raises:
        InputError: another base, or the same one changed since.
    """
    known = ((trained_for(adapter) or {}).get("base") or {}).get("sha256")
    if known is not None and model_hash(base) != known:
        hint = "give the model that it was trained on, or train the adapter anew"
        raise InputError(f"an adapter of another base: it was not trained on {base.name} as it is now", where=str(adapter), hint=hint)


def tokenizer_hash(path: str | Path) -> str:
    """sha256 (hex) of what shapes a local model's tokens: every file at the top of the folder that counts for `model_hash` and holds no weights.

    A guard that was trained on keeps the hash of its tokenizer; one with another vocabulary or chat template has another.

    Raises:
        InputError: no such folder, or no tokenizer in it.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise InputError("no such model folder", where=str(path))
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise InputError("no tokenizer in the folder", where=str(path), hint=f"expected one of {', '.join(_TOKENIZERS)}")
    files = tokenizer_parts(folder)
    return digest(["tokenizer/1", {p.name: _file_digest(p) for p in files}])


def parameters(folder: Path) -> int | None:
    """About how many weights lie in a model folder, by the size of its files; None where that is not known (quantised, an adapter, none there)."""
    try:
        config = _json_object(folder / "config.json") or {}
    except InputError:
        return None
    files = [p for pattern in ("*.safetensors", "*.bin") if (p := sorted(folder.glob(pattern)))]
    if not files or "quantization_config" in config:
        return None
    size = 4 if "32" in str(config.get("dtype") or config.get("torch_dtype")) else 2
    return sum(f.stat().st_size for f in files[0] if f.name not in _IGNORED) // size


def counted_files(folder: Path) -> list[Path]:
    """The files in a model folder that `model_hash` depends on."""
    return [p for p in sorted(folder.rglob("*")) if p.is_file() and _counts(p.relative_to(folder))]


def model_parts(folder: Path, beside: Beside = None) -> list[Path]:
    """The same, with those of an adapter's base where that is a local folder; `beside` as for `model_hash`."""
    files, here = counted_files(folder), folder
    for _ in range(_DEEPEST):
        config = _json_object(here / "adapter_config.json")
        if config is None or (base := _local_base(here, config, beside)) is None:
            break
        here = base
        files += counted_files(here)
    return files


def tokenizer_parts(folder: Path) -> list[Path]:
    """The files in a model folder that `tokenizer_hash` depends on."""
    return [p for p in sorted(folder.iterdir()) if p.is_file() and _counts(Path(p.name)) and not any(p.match(w) for w in _WEIGHTS)]


def _counts(relative: Path) -> bool:
    if any(part.startswith(("checkpoint-", ".")) for part in relative.parts[:-1]):
        return False
    name = relative.name.lower()
    return name not in _IGNORED and not name.startswith(_IGNORED_STARTS)


def _file_digest(path: Path) -> str:
    if path.suffix != ".json":
        return sha256_once(path, path)
    try:
        value = json.loads(path.read_bytes())
        return digest({k: v for k, v in value.items() if k not in _IGNORED_KEYS} if isinstance(value, dict) else value)
    except OSError as e:
        raise unreadable(e, path) from None
    except (ValueError, RecursionError):  # not JSON after all (or NaN in it, or too deep): its bytes then
        return sha256_once(path, path)


def base_roots(folder: Path, beside: Beside = None) -> Roots:
    """Where the base that an adapter names is looked up: as its own name is, then in its own folder."""
    roots = Roots.of(beside)
    return Roots((*roots.folders, folder), roots.read)


def _local_base(folder: Path, config: Mapping[str, Any], beside: Beside) -> Path | None:
    name = str(config.get("base_model_name_or_path") or None)
    return None if "://" in name else base_roots(folder, beside).first(name, lambda path: is_model_folder(str(path)))


def _base(folder: Path, above: tuple[Path, ...], beside: Beside) -> str | None:
    """What an adapter is on; None for a whole model.

    Raises:
        InputError: it builds on itself, or on more than `_DEEPEST` others.
    """
    config = _json_object(folder / "adapter_config.json")
    if config is None:
        return None
    base = _local_base(folder, config, beside)
    if base is None:
        return f"{config.get('base_model_name_or_path')}@{config.get('revision')}"
    above = (*above, folder.resolve())
    if base.resolve() in above:
        names = " on ".join(p.name for p in (*above, base.resolve()))
        raise InputError(f"an adapter that builds on itself: {names}", where=str(folder), hint=_NAME_IT)
    if len(above) > _DEEPEST:
        raise InputError(f"an adapter on an adapter, more than {_DEEPEST} deep", where=str(folder), hint=_NAME_IT)
    return _hash(base, None, above, beside)


_DEEPEST = 8
"""Adapters that are on one another, at most."""

_NAME_IT = "base_model_name_or_path of adapter_config.json is to name the model that the adapter was trained on"


def _wrote(folder: Path) -> dict[str, str | None] | None:
    """The files that a training wrote; see `toolkit.common.folders.Kind`."""
    try:
        record = trained_for(folder)
    except (InputError, OSError):
        return None
    if record is None or not {"guard", "input", "chat_template", "prompts"} <= record.keys():
        return None
    files = record.get("files")
    if isinstance(files, dict):
        return {TRAINED: None, **files}
    return {TRAINED: None, **dict.fromkeys(_written_before(folder))}


def _written_before(folder: Path) -> list[str]:
    """Of an earlier guardkit's model, whose training did not list them: files of the names that a training writes, none of them younger than
    `TRAINED`, which was written last."""
    last = (folder / TRAINED).stat().st_mtime_ns
    return [n for n in files_below(folder) if _WRITTEN.fullmatch(n) and (folder / n).lstat().st_mtime_ns <= last]


_WRITTEN = re.compile(
    r"(config|generation_config|adapter_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab)\.json"
    r"|chat_template\.jinja|merges\.txt|vocab\.txt|tokenizer\.model|spiece\.model"
    r"|(model|adapter_model)(-[0-9]{5}-of-[0-9]{5})?\.safetensors(\.index\.json)?"
)

MODEL = Kind("model folder", _wrote, "give a new folder, or that of a model that guardkit trained")


def _json_object(file: Path) -> dict[str, Any] | None:
    """A JSON object in a file; None where there is no such file."""
    try:
        value = read_json(file)
    except FileNotFoundError:
        return None
    if not isinstance(value, dict):
        raise InputError("not a JSON object", where=str(file))
    return value
