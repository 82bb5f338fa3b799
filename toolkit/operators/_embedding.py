"""Texts as vectors of unit length, whose product is how alike two texts are in meaning.

By default the model that ships in the package ``wordllama`` (MIT; 32,000 tokens by 256 numbers, static vectors distilled from the embeddings of
larger models): a text's vector is the mean of its tokens' vectors, so it takes no torch, no GPU and no download, and knows nothing of word order.
The package is where its files are, and is not imported: its code looks for the tokenizer in a folder that the wheel does not have and would fetch it.
Or any model that sentence-transformers loads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import Missing, require
from toolkit.common.models import calm_threads, model_folder
from toolkit.common.paths import Beside
from toolkit.operators import _backends

if TYPE_CHECKING:
    import numpy as np

    from toolkit.operators.base import Context

    Floats = np.ndarray[Any, Any]

Embed = Callable[[Sequence[str]], "Floats"]
"""Texts to their vectors: float32, a line for each; all zeros for a text of which the model sees nothing."""
SHIPPED = "wordllama"
"""The package with the default model."""
FILES = ("weights/l2_supercat_256.safetensors", "tokenizers/l2_supercat_tokenizer_config.json")
_TOKENS = 8192
"""Tokens that are added up at once."""


def needs(model: str | None) -> list[str]:
    """What this machine lacks for a model; None: the one that ships in a package."""
    package, extra = (SHIPPED, SHIPPED) if model is None else ("sentence_transformers", "semantic")
    return [] if find_spec(package) else [f"the package {package!r} is missing: pip install 'guardkit[{extra}]'"]


def digest(model: str | None, ctx: Context) -> str:
    """What a model counts by."""
    if model is not None:
        return _backends.model_digest(model, ctx, short=True)
    folder = _shipped()
    return "not installed" if folder is None else " ".join(ctx.files.digest(folder / name) for name in FILES)


def open_model(model: str | None, beside: Beside, device: str | None = None, batch: int = 64) -> Embed:
    """A model, loaded.

    Args:
        model: a folder or a name on the hub for sentence-transformers; None: the one that ships in a package.
        beside: where a folder's name is looked up.
        device, batch: where it runs and how many texts it sees at a time; the shipped one runs on the CPU, a text at a time.

    Raises:
        Missing: a package is missing, or the model cannot be loaded.
    """
    return _open_shipped() if model is None else _open_other(str(model_folder(model, beside, short=True) or model), device, batch)


def unit(vectors: Floats) -> Floats:
    """Vectors of unit length; one of all zeros stays."""
    import numpy as np

    vectors = np.asarray(vectors, np.float32)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    out: Floats = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
    return out


def _shipped() -> Path | None:
    found = find_spec(SHIPPED)
    return Path(found.origin).parent if found is not None and found.origin is not None else None


def _open_shipped() -> Embed:
    folder = _shipped()
    if folder is None:
        raise Missing(needs(None)[0])
    import numpy as np
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    try:
        tokens = load_file(folder / FILES[0])["embedding.weight"].astype(np.float32)
        tokenizer = Tokenizer.from_file(str(folder / FILES[1]))
    except (OSError, KeyError) as e:
        raise Missing(f"the model of the package {SHIPPED!r} is not where it is expected: {str(e)[:200]}", hint=f"{SHIPPED}>=0.4,<0.5") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()

    def embed(texts: Sequence[str]) -> Floats:
        out = np.zeros((len(texts), tokens.shape[1]), np.float32)
        for line, found in zip(out, tokenizer.encode_batch_fast(list(texts), add_special_tokens=False), strict=True):
            ids = np.minimum(np.asarray(found.ids, np.int64), len(tokens) - 1)
            for at in range(0, len(ids), _TOKENS):
                line += tokens[ids[at : at + _TOKENS]].sum(axis=0)
        return unit(out)

    return embed


def _open_other(name: str, device: str | None, batch: int) -> Embed:
    require("sentence_transformers", "semantic", "finding semantic duplicates")
    calm_threads()
    from sentence_transformers import SentenceTransformer

    try:
        model = SentenceTransformer(name, device=device)
    except (OSError, ValueError) as e:  # the hub's errors are OSErrors
        raise Missing(f"the embedding model {name!r} cannot be loaded: {str(e).splitlines()[0][:200]}") from None
    return lambda texts: unit(model.encode(list(texts), batch_size=batch, show_progress_bar=False, convert_to_numpy=True))
