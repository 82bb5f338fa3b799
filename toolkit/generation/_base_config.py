"""What a backend says of itself on its config class: where it sends what, its price, what it needs here, what shapes an answer, how it is opened.

Contract: whoever asks a backend knows no other class than `BaseBackendConfig`; nothing outside this room asks which backend it is. What a class does
not say counts the careful way: it sends to another machine, its price is not known (so that a budget refuses it), and every key of it is part of
the request's key and of the fingerprint, unless it is in `not_in_key` with a reason.

Nothing here loads a model, opens a connection or reads a secret.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field

from toolkit.common.files import canonical_json
from toolkit.common.machine import has_gpu, wants_gpu
from toolkit.common.paths import Beside
from toolkit.common.plugins import Registry

if TYPE_CHECKING:
    from toolkit.common.reading import Files
    from toolkit.generation._protocol import Backend
    from toolkit.guards import Guard
    from toolkit.taxonomy import Taxonomy

NOT_IN_KEY: dict[str, str] = {
    "backend": "the endpoint's name says it",
    "timeout": "how long we wait does not change the answer",
    "retries": "an answer is the same at the first attempt and the third",
    "patience": "likewise for refusals by the rate limit",
    "concurrency": "how many requests are in flight does not change one of them",
    "api_key_env": "a secret's place; who pays does not change the answer",
    "batch": "a local draw is seeded by its own key, not by its batch",
    "device": "where the arithmetic runs; what is computed is the same",
    "engine": "capacity of the engine: memory, parallelism",
    "slow_start": "how fast requests begin does not change one of them",
    "requests_per_minute": "likewise",
    "tokens_per_minute": "likewise",
    "price": "what an answer costs does not change it",
    "video_parts": "which files go along is in the key, each by its sha256",
    "poll": "how often we look does not change what is there",
    "batch_requests": "a request is answered alone, whatever it is sent with",
    "batch_megabytes": "likewise",
    "start_timeout": "how long we wait does not change the answer",
    "reasoning": "how an answer is read; it is kept as it came",
    "structured": "part of the key as the request's schema, which the operator renders from it",
    "check_training": "whether we ask at all does not change the answer",
    "adapter": "part of the key as model_id, which is the content hash of model and adapter together",
    "model": "part of the key as model_id: the name at an endpoint, the content hash of a local model",
    "base_url": "part of the key as endpoint, unless a name is declared there",
}
"""Keys of guardkit's own configs that do not go into `shaping`, each with its reason."""

Structured = Literal["off", "try", "require"]


class Model(BaseModel):
    """Base of the config models: unknown keys are refused, nothing changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Price(Model):
    """What tokens cost."""

    input: float = Field(ge=0)
    """Dollars for a million tokens read."""
    output: float = Field(ge=0)
    """Dollars for a million tokens written, those of hidden reasoning included."""


class Sampling(Model):
    """Sampling parameters; their resolved values are part of every request's key."""

    temperature: float | None = Field(default=0.0, ge=0)
    """0 takes the likeliest token. None (openai only) sends nothing: for models that refuse the parameter."""
    top_p: float | None = Field(default=1.0, gt=0, le=1)
    """Share of the probability that is sampled from. None (openai only) sends nothing."""
    max_tokens: int = Field(default=2048, ge=1)
    """Tokens of output at most (2,048 in the paper, spec A.4 and D)."""
    seed: int | None = Field(default=0, ge=0, lt=2**31)
    """Seed of the draws; None for none."""
    stop: list[str] = Field(default=[], max_length=4)
    """Strings at which the output ends."""

    def sampling(self) -> dict[str, Any]:
        """Resolved sampling parameters, as `Request` names them."""
        values: dict[str, Any] = {name: getattr(self, name) for name in Sampling.model_fields}
        return values | {"stop": tuple(self.stop)}


class Listed(NamedTuple):
    """Where a price table may have a model: host of its endpoint (the port with it where there is one), exact name, and whether by the batch."""

    host: str
    model: str
    batch: bool = False


class Destination(NamedTuple):
    """Where a backend sends the texts of rows.

    Attributes:
        url: address.
        model: name of the model there.
        key: environment variable whose secret goes along; None for none.
    """

    url: str
    model: str
    key: str | None = None


@dataclass(frozen=True)
class Opening:
    """What a backend may be opened with; see `toolkit.generation.open_backend`."""

    guard: Guard | None = None
    taxonomy: Taxonomy | None = None
    beside: Beside = None
    work: Path | None = None
    judges: bool = False


class _Traits:
    """What a config class says of its backend once for all its configs. A subclass that says otherwise names it anew, as a ``ClassVar``."""

    is_model: ClassVar[bool] = True
    """Whether a model answers; False for what writes by rules and answers no questions."""
    runs_here: ClassVar[bool] = False
    """Whether it answers on this machine: it costs nothing, and nothing of a row is sent away."""
    deferred: ClassVar[bool] = False
    """Whether an answer may take hours, so that nothing is asked just to try."""
    requires: ClassVar[tuple[str, str] | None] = None
    """A package that it imports, and how it is installed."""
    on_gpu: ClassVar[bool] = False
    """Whether that package runs on a GPU alone, unless its version says otherwise."""
    carries: ClassVar[frozenset[str]] = frozenset()
    """Kinds of media (`toolkit.records.KINDS`) that can go along with a request. What it does not carry it must never leave out unseen: rows that
    have such media are refused."""
    fills_forms: ClassVar[bool] = False
    """Whether it gives log-probabilities of words behind a given beginning of an answer (`Request.form`)."""
    uses: ClassVar[frozenset[str]] = frozenset()
    """What of the guard and the taxonomy that it is opened with it reads itself, in the words of `toolkit.operators.Operator.uses`."""
    remark: ClassVar[str] = ""
    """A remark beside the figures of every run that asks it."""
    not_in_key: ClassVar[Mapping[str, str]] = {
        "backend": "the endpoint's name says it",
        "model": "part of the key as model_id",
        "price": "what an answer costs does not change it",
    }
    """Keys that shape no answer, or are elsewhere in the request's key, each with its reason."""


_Traits.__annotations__.clear()  # pydantic would evaluate all of them again for every config class, at each start


class BaseBackendConfig(Model, _Traits):
    """Base of backend configs, those of other packages too. A subclass has the key ``backend`` with its name as the only value, what else its
    backend takes, and `open`; the rest has defaults that are safe, see the module's docstring.
    """

    if TYPE_CHECKING:
        backend: str

    @classmethod
    def __branch__(cls, tag: str) -> type | None:
        """For errors (`toolkit.common.yamlfile`): the config class of that name, where this is the type of an option."""
        return BACKENDS.get(tag) if cls is BaseBackendConfig and tag in BACKENDS.names() else None

    def open(self, at: Opening) -> Backend:
        """The backend itself; what it takes to load is imported here.

        Raises:
            Missing: an extra is not installed, or a key is not set.
            InputError: there is no such model, or one trained for another guard.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how it is opened")

    # What it is called -------------------------------------------------------------------------------------------------

    @property
    def endpoint_name(self) -> str:
        """What requests call the endpoint."""
        return self.backend

    @property
    def model_name(self) -> str:
        """The model as the config names it; empty where it names none."""
        return str(getattr(self, "model", ""))

    def address(self) -> tuple[str, ...]:
        """Which model is asked, and where: two backends of a step must differ in it."""
        return self.endpoint_name, self.model_name

    def declared_id(self, beside: Beside) -> str:
        """The model id of its requests as far as it is known without opening it."""
        return self.model_name

    def shown_name(self, model_id: str, beside: Beside) -> str:
        """The model's name for a data card, where requests have this model id."""
        return self.model_name or self.backend

    def guard_fault(self, guard: Guard) -> str | None:
        """Why it cannot play a guard; None where it can."""
        return f"the backend {self.backend!r} sends messages, and the guard is asked by a text of its own" if guard.raw else None

    # What shapes an answer ----------------------------------------------------------------------------------------------

    def shaping(self) -> dict[str, Any]:
        """All that this config adds to a request, as `Request` names it. Here: the sampling parameters that it has, and every other key but those of
        `not_in_key` in ``extra``.
        """
        own = {n: v for n, v in self.model_dump(mode="json").items() if n not in self.not_in_key}
        known = {n: own.pop(n) for n in Sampling.model_fields if n in own}
        plain = {"temperature": None, "top_p": None, "max_tokens": Sampling.model_fields["max_tokens"].default, "seed": None} | known
        return plain | {"stop": tuple(known.get("stop", ())), "extra": canonical_json(own)}

    def identity(self) -> dict[str, Any]:
        """What of the config shapes answers, for a fingerprint: timeouts, retries and capacity do not."""
        return {"backend": self.backend, "model": self.model_name, "endpoint": self.endpoint_name, **self.shaping()}

    def files(self, beside: Beside, files: Files) -> dict[str, str]:
        """Outside files that shape answers: ``{name: digest}``, taken through `files` (`toolkit.common.reading`).

        Raises:
            InputError: a file is not there.
        """
        return {}

    @property
    def structure(self) -> Structured:
        """Whether it is asked for JSON by a schema; try: in text where the endpoint takes no schema."""
        found: Structured = getattr(self, "structured", "off")
        return found

    @property
    def reads_reasoning(self) -> str:
        """Who takes reasoning off the content of an answer (`toolkit.generation._thoughts`)."""
        return str(getattr(self, "reasoning", "keep"))

    # What it takes ------------------------------------------------------------------------------------------------------

    def needs(self) -> list[str]:
        """What this machine lacks to open it, in words. Here: the package that it `requires`, and the variable that `sends` names."""
        out = []
        if self.requires is not None and find_spec(self.requires[0]) is None:
            out.append(f"the package {self.requires[0]!r} is missing: pip install {self.requires[1]}")
        elif self.requires is not None and self.on_gpu and wants_gpu(self.requires[0]) and not has_gpu():
            what = f"{self.requires[0]} is installed for a GPU, and this machine has none to use"
            out.append(f"{what}: run this step where there is one, or with another backend")
        to = self.sends()
        if to is not None and to.key is not None and self.needs_key and not os.environ.get(to.key):
            out.append(f"the environment variable {to.key} is not set: it holds the key for {to.url}")
        return out

    @property
    def needs_key(self) -> bool:
        """Whether it cannot be asked without the key that `sends` names."""
        return True

    def sends(self) -> Destination | None:
        """Where the texts of rows go; None where they stay on this machine."""
        return None if self.runs_here else Destination(self.endpoint_name, self.model_name, getattr(self, "api_key_env", None))

    def stated_price(self) -> Price | None:
        """What the config itself says that the model charges; None: nothing."""
        found = getattr(self, "price", None)
        return found if isinstance(found, Price) else None

    def listed_price(self) -> Listed | None:
        """Where a price table may have it; None: nowhere."""
        return None

    @property
    def at_once(self) -> int:
        """Requests that it answers at a time."""
        return int(getattr(self, "concurrency", 1))


def _fits(name: str, found: Any) -> bool:
    if not (isinstance(found, type) and issubclass(found, BaseBackendConfig)):
        return False
    key = found.model_fields.get("backend")
    return key is not None and name in get_args(key.annotation)


_HOME = "toolkit.generation._config"
BACKENDS: Registry[type[BaseBackendConfig]] = Registry(
    "backend",
    "guardkit.backends",
    {
        "template": f"{_HOME}:TemplateConfig",
        "transformers": f"{_HOME}:TransformersConfig",
        "openai": f"{_HOME}:OpenAIConfig",
        "openai-batch": f"{_HOME}:OpenAIBatchConfig",
        "openai-moderation": "toolkit.generation._moderation_config:ModerationConfig",
        "vllm": f"{_HOME}:VllmConfig",
        "vllm-server": f"{_HOME}:VllmServerConfig",
    },
    _fits,
    "backend: its entry point names a subclass of toolkit.generation.BaseBackendConfig whose key `backend` is that name",
)
"""Config classes by the name that is in a recipe; those of other packages by their entry points (name = ``module:Config``)."""
