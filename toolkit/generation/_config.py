"""guardkit's own backends as a recipe declares them: pydantic models, distinguished by the key ``backend``; what each says of itself: `_base_config`.

Contract: every key is known (``extra="forbid"``), every default is resolved here, and each key either shapes the answers, and is
then part of every request's key through `shaping`, or is in `NOT_IN_KEY` (there) with its reason. Nothing here loads a model, opens a
connection or reads a secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from toolkit.common.chat_arguments import TemplateArguments as TemplateArguments
from toolkit.common.files import canonical_json
from toolkit.common.models import is_model_folder, model_digest, model_folder, model_hash
from toolkit.common.paths import Beside, Roots
from toolkit.common.reach import HubName
from toolkit.generation._attached import OPENAI_CARRIES
from toolkit.generation._base_config import BaseBackendConfig, Listed, Opening, Price, Sampling, Structured
from toolkit.generation._endpoint_config import Address, Paced
from toolkit.generation._thoughts import Reader

if TYPE_CHECKING:
    from toolkit.common.reading import Files
    from toolkit.generation._protocol import Backend
    from toolkit.guards import Guard


class _Chat(Sampling, BaseBackendConfig):
    system: Literal["keep", "merge", "drop"] = "keep"
    """What becomes of a system message: keep sends it; merge puts it before the user's text, for models without a system role (Gemma, …); drop
    leaves it out."""
    reasoning: Reader = "auto"
    """Who takes a thinking model's reasoning off the content of an answer where the server leaves it there: auto knows all marks, a name takes one
    kind (`think`: <think>…</think>, `harmony`: gpt-oss's channels, …), keep leaves the answer as it is. What is taken off is kept beside it."""

    logprobs: int = Field(default=0, ge=0, le=20)
    """Likeliest tokens of which the log-probabilities are asked for at each token of an answer; 0 asks for none. 20 is the most that OpenAI and vLLM
    give; some endpoints give fewer."""

    def shaping(self) -> dict[str, Any]:
        added = ({} if self.system == "keep" else {"system": self.system}) | ({"logprobs": self.logprobs} if self.logprobs else {})
        return self.sampling() | added

    def identity(self) -> dict[str, Any]:
        return {"backend": self.backend, **self.shaping()} | ({} if self.reasoning == "auto" else {"reasoning": self.reasoning})


class _Local(_Chat):
    runs_here: ClassVar[bool] = True

    model: Annotated[str, HubName()]
    """Folder of the model, its name on the Hugging Face hub (downloaded once), a GGUF file, or `smollm2-135m`."""
    adapter: Annotated[str | None, HubName("adapter")] = None
    """Folder or hub name of a LoRA adapter on top of `model`. A `model` that is itself an adapter needs none: it names its base."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type of the weights; auto takes the one that they are saved in."""
    check_training: bool = True
    """Refuse a model that guardkit trained for another guard's input, or with another chat template, than it would now be asked with."""
    chat_template_kwargs: TemplateArguments = {}
    """Arguments of the model's chat template (`enable_thinking: false`, …). A guard that guardkit trained has its own in its template."""

    @field_validator("temperature", "top_p")
    @classmethod
    def _is_given(cls, value: float | None) -> float | None:
        if value is None:
            raise ValueError("a local model needs a number here")
        return value

    def guard_fault(self, guard: Guard) -> str | None:
        return None

    def shaping(self) -> dict[str, Any]:
        return super().shaping() | {"extra": canonical_json(self._runs_as())}

    def _runs_as(self) -> dict[str, Any]:
        """What of the model's running shapes its answers; what was added later only where it says something, so that older answers stay found."""
        return {"dtype": self.dtype} | ({"chat_template_kwargs": self.chat_template_kwargs} if self.chat_template_kwargs else {})

    @property
    def model_name(self) -> str:
        return self.model + (f" + {self.adapter}" if self.adapter else "")

    def declared_id(self, beside: Beside) -> str:
        """Of a model that is not a plain folder here the declared name, which no answer is found under."""
        roots = Roots.of(beside)
        folder = None if self.adapter else roots.first(self.model, lambda path: is_model_folder(str(path)))
        return self.model if folder is None else model_hash(folder, beside=roots)

    def shown_name(self, model_id: str, beside: Beside) -> str:
        """Of a local folder its content hash: a path says nothing elsewhere."""
        return model_id if self.adapter is not None or model_folder(self.model, beside) is not None else self.model

    def files(self, beside: Beside, files: Files) -> dict[str, str]:
        """Content hashes of model and adapter, so that a retrained one at the same path is another; a hub name counts by its name."""
        parts = {"model": self.model} | ({"adapter": self.adapter} if self.adapter else {})
        return {part: model_digest(name, Roots.of(beside), files) for part, name in parts.items()}


class TransformersConfig(_Local):
    """A local model run by transformers, in batches: for machines without vLLM, and for small models."""

    requires: ClassVar[tuple[str, str] | None] = ("transformers", "'guardkit[train]'")
    fills_forms: ClassVar[bool] = True
    carries: ClassVar[frozenset[str]] = frozenset({"image", "audio"})  # to a model that takes them: a request to another one fails

    backend: Literal["transformers"]
    batch: int = Field(default=64, ge=1)
    """Sequences generated together."""
    device: str = "auto"
    """``cpu``, ``cuda``, ``cuda:1``, …; auto takes the GPU where there is one."""

    def open(self, at: Opening) -> Backend:
        from toolkit.generation.backends._transformers import TransformersBackend

        return TransformersBackend(self, beside=at.beside, guard=at.guard if at.judges else None)

    @property
    def at_once(self) -> int:
        return self.batch


class VllmConfig(_Local):
    """A local model run by vLLM in this process."""

    requires: ClassVar[tuple[str, str] | None] = ("vllm", "'guardkit[vllm]'")
    on_gpu: ClassVar[bool] = True
    fills_forms: ClassVar[bool] = True

    backend: Literal["vllm"]
    concurrency: int = Field(default=1024, ge=1)
    """Requests that the engine holds at once: as many as it works on together (``max_num_seqs``) or more, so that its batch stays full."""
    max_model_len: int | None = Field(default=None, ge=1)
    """Tokens of prompt and output together at most; None takes the model's own limit."""
    engine: dict[str, Any] = {}
    """Further arguments of ``vllm.LLM`` that do not change answers: ``gpu_memory_utilization``, ``tensor_parallel_size``, …"""

    @field_validator("engine")
    @classmethod
    def _capacity_only(cls, value: dict[str, Any]) -> dict[str, Any]:
        if bad := sorted(set(value) - VLLM_CAPACITY):
            raise ValueError(f"engine takes only what does not change answers, not {bad}; it knows {sorted(VLLM_CAPACITY)}")
        if value.get("distributed_executor_backend", "mp") not in _EXECUTORS:  # vLLM imports any other name as Python
            raise ValueError(f"distributed_executor_backend is one of {', '.join(_EXECUTORS)}")
        return value

    def _runs_as(self) -> dict[str, Any]:
        return super()._runs_as() | {"max_model_len": self.max_model_len}

    def open(self, at: Opening) -> Backend:
        from toolkit.generation.backends._vllm import VllmBackend

        return VllmBackend(self, beside=at.beside, guard=at.guard if at.judges else None)


VLLM_CAPACITY = frozenset(
    {
        "gpu_memory_utilization",
        "kv_cache_memory_bytes",
        "tensor_parallel_size",
        "pipeline_parallel_size",
        "max_num_seqs",
        "max_num_batched_tokens",
        "enforce_eager",
        "enable_prefix_caching",
        "enable_chunked_prefill",
        "cpu_offload_gb",
        "disable_custom_all_reduce",
        "distributed_executor_backend",
        "async_scheduling",
        "block_size",
    }
)
"""Arguments of vLLM 0.32's ``EngineArgs`` that `VllmConfig.engine` may hold."""
_EXECUTORS = ("mp", "uni", "ray", "external_launcher")


class _Endpoint(Address, _Chat):
    model: str
    """The model's name at the endpoint."""
    max_tokens_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the endpoint calls ``max_tokens``."""
    structured: Structured = "off"
    """Ask for JSON by the guard's schema (``response_format``), rendered to the guard's text. try: where the endpoint has no such thing, as text."""
    extra: dict[str, Any] = {}
    """Further keys of the request's body, sent as they are (``reasoning_effort``, …)."""
    price: Price | None = None
    """What the endpoint charges; default: the price table (``schemas/prices``)."""

    @field_validator("extra")
    @classmethod
    def _extra_is_other(cls, value: dict[str, Any]) -> dict[str, Any]:
        taken = {"model", "messages", "stream", "n", "max_tokens", "max_completion_tokens", "response_format", *Sampling.model_fields}
        if bad := sorted(taken & set(value)):
            raise ValueError(f"extra may not hold {bad}: they have keys of their own, or guardkit sets them")
        try:
            canonical_json(value)
        except TypeError as e:
            raise ValueError(f"extra must be JSON: {e}") from None
        return value

    @model_validator(mode="after")
    def _logprobs_once(self) -> Self:
        if self.logprobs and (bad := sorted({"logprobs", "top_logprobs"} & set(self.extra))):
            raise ValueError(f"extra may not hold {bad} beside `logprobs`, which sends both")
        return self

    def shaping(self) -> dict[str, Any]:
        named = {"max_tokens_name": self.max_tokens_name, "revision": self.revision}
        return super().shaping() | {"extra": canonical_json(self.extra), **named}

    def identity(self) -> dict[str, Any]:
        asked = {} if self.structured == "off" else {"structured": self.structured}
        return super().identity() | {"model": self.model, "endpoint": self.endpoint_name} | asked

    def listed_price(self) -> Listed | None:
        """None for another service than the provider's standard one, which the tables are of."""
        plain = self.extra.get("service_tier", "default") in ("default", "auto")
        return Listed(urlsplit(self.base_url).netloc.lower(), self.model, self.deferred) if plain else None


class OpenAIConfig(Paced, _Endpoint):
    """Any endpoint that speaks OpenAI's chat completions: OpenAI, vllm serve, llama.cpp, Ollama, …"""

    backend: Literal["openai"]
    video_parts: bool = False
    """Send videos, as `video_url` with a data URI: vLLM, SGLang and others take these; OpenAI itself does not."""

    @property  # a class attribute of the others
    def carries(self) -> frozenset[str]:  # type: ignore[override]
        """Kinds of media that its content parts carry."""
        return OPENAI_CARRIES | {"video"} if self.video_parts else OPENAI_CARRIES

    def open(self, at: Opening) -> Backend:
        from toolkit.generation.backends._lane import CHAT, TEXT
        from toolkit.generation.backends._openai import OpenAIBackend

        return OpenAIBackend(self, beside=at.beside, form=TEXT if at.judges and at.guard is not None and at.guard.raw else CHAT)

    def guard_fault(self, guard: Guard) -> str | None:
        return None


class OpenAIBatchConfig(_Endpoint):
    """OpenAI's Batch API: half the price, answers within a day."""

    deferred: ClassVar[bool] = True

    backend: Literal["openai-batch"]
    poll: float = Field(default=60.0, gt=0)
    """Seconds between two looks at a batch."""
    batch_requests: int = Field(default=50_000, ge=1, le=50_000)
    """Requests in one batch, at most (OpenAI's limit: 50,000)."""
    batch_megabytes: float = Field(default=200.0, gt=0, le=200.0)
    """Size of one batch's file, at most (OpenAI's limit: 200 MB)."""

    def open(self, at: Opening) -> Backend:
        from toolkit.generation.backends._batch import OpenAIBatchBackend

        return OpenAIBatchBackend(self, work=at.work)


class VllmServerConfig(VllmConfig):
    """A local model behind ``vllm serve``, which guardkit starts and stops."""

    fills_forms: ClassVar[bool] = False

    backend: Literal["vllm-server"]  # type: ignore[assignment]
    concurrency: int = Field(default=256, ge=1)
    """Requests in flight at once."""
    timeout: float = Field(default=1800.0, gt=0)
    """Seconds for one attempt, from sending to the last byte, waiting in the server's own queue included."""
    retries: int = Field(default=5, ge=0)
    """Further attempts after a timeout, a broken connection or a server's error."""
    start_timeout: float = Field(default=900.0, gt=0)
    """Seconds that the server may take to load the model."""

    def shaping(self) -> dict[str, Any]:
        return _Chat.shaping(self) | {"revision": canonical_json(self._runs_as())}  # in the key, not in what is sent

    def open(self, at: Opening) -> Backend:
        from toolkit.generation.backends._vllm_server import VllmServerBackend

        return VllmServerBackend(self, beside=at.beside, guard=at.guard if at.judges else None)


class TemplateConfig(BaseBackendConfig):
    """The embedded teacher: reasoning true to the labels, put together from templates; for trying guardkit, never a model."""

    is_model: ClassVar[bool] = False
    runs_here: ClassVar[bool] = True
    carries: ClassVar[frozenset[str]] = frozenset({"image", "video", "audio"})  # it goes by the labels alone
    uses: ClassVar[frozenset[str]] = frozenset({"guard.tasks", "guard.questions", "guard.steps", "guard.output", "taxonomy.names", "taxonomy.cues"})
    remark: ClassVar[str] = (
        "The reasoning was put together by the embedded template teacher, for trying guardkit; train no guard on it that is to be used."
    )

    backend: Literal["template"]
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Seed of the wording."""
    steps: tuple[int, int] = (1, 3)
    """Fewest and most reasoning steps a task."""

    @field_validator("steps")
    @classmethod
    def _ordered(cls, value: tuple[int, int]) -> tuple[int, int]:
        if not 1 <= value[0] <= value[1]:
            raise ValueError("steps is [fewest, most], and fewest at least 1")
        return value

    def shaping(self) -> dict[str, Any]:
        """Seed and steps; the template samples nothing else."""
        return {
            "temperature": 0.0,
            "top_p": 1.0,
            "max_tokens": 2048,
            "seed": self.seed,
            "extra": canonical_json({"steps": list(self.steps)}),
        }

    def identity(self) -> dict[str, Any]:
        return {"backend": self.backend, **self.shaping()}

    def open(self, at: Opening) -> Backend:
        from toolkit.generation.backends._template import TemplateBackend

        return TemplateBackend(self, at.guard, at.taxonomy)
